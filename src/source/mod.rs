//! From a model reference to files: registry, built-in model, folder, hub cache, download.

mod files;

pub use files::{FileBytes, ModelFile, ModelFiles};
