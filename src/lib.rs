//! Extractive question answering.

pub mod error;
pub mod source;
pub mod text;

pub use error::{Error, Result};
