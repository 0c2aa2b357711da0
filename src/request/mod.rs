//! Requests as other programs write them, and the records that they get back.

pub mod reply;
pub mod shapes;

pub use shapes::{Extra, Fields, Question, Rejected, Request, RequestError, Source};
