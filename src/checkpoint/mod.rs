//! What a model is on disk: its files, what config.json says, what tensors are called, and their numbers.

mod archive;
pub mod config;
pub mod error;
pub mod files;
pub mod identity;
pub mod names;
pub mod parts;
mod pickle;
pub mod quantised;
pub(crate) mod store;
pub mod weights;

pub use config::EncoderConfig;
pub use error::{Error, Result};
pub use files::{FileBytes, ModelFile, ModelFiles};
pub use identity::Identity;
pub use names::NameTable;
pub use weights::Weights;
