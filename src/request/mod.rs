//! Requests as other programs write them, and the records that they get back.

pub mod error;
pub mod reply;
pub mod shapes;

pub use error::{Error, Result};
pub use shapes::{Extra, Fields, Question, Rejected, Request, Source};
