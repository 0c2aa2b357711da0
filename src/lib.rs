//! Extractive question answering.

pub mod batch;
pub mod decode;
pub mod error;
pub mod answer;
pub mod model;
pub mod reader;
pub mod source;
pub mod text;

pub use error::{Error, Result};
