//! Extractive question answering.

pub mod error;
pub mod source;

pub use error::{Error, Result};
