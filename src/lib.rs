//! Extractive question answering.

pub mod batch;
pub mod decode;
pub mod error;
pub mod model;
pub mod source;
pub mod text;

pub use error::{Error, Result};
