//! Extractive question answering: quotes the span of a document that answers a question, or says that there is none.
//!
//! Everything is one path, written once in [`reader`]; every command calls it or a part of it.
//!
//! ```text
//! documents, questions
//!   -> text::Tokenizer   token ids and byte offsets, once per text
//!   -> text::window      windows that together cover every context token
//!   -> batch             windows packed under a token budget, without padding
//!   -> encoder           a row of numbers for every token that is read
//!   -> heads::span       start and end logits per token
//!   -> decode            best spans and the null score of each window, on raw logits
//!   -> decode (rank)     one ranking per question over all windows and documents
//!   -> answer            text, offsets, document, scores
//! ```
//!
//! ```no_run
//! use spanqa::request::reply::DocumentId;
//! use spanqa::encoder::Runtime;
//! use spanqa::reader::{Asking, Query, Reader};
//! use spanqa::source::{SourceOptions, resolve};
//! use spanqa::text::window::Limits;
//!
//! # fn main() -> spanqa::Result<()> {
//! let model = resolve("builtin", &SourceOptions::from_env())?;
//! let reader = Reader::open(&model.files, &Runtime::default(), Limits::default())?;
//! let passage = reader.prepare(DocumentId::Index(0), "The tower was built in 1889.".into())?;
//! let query = Query { id: "1".into(), question: "When was the tower built?", passages: vec![&passage] };
//! for reply in reader.answer(&[query], &Asking::default(), &mut |_| {})? {
//!     println!("{:?}", reply?.answers);
//! }
//! # Ok(())
//! # }
//! ```

#![warn(missing_docs)]
// No input may make the library panic; tests may.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::todo))]

pub mod checkpoint;
pub mod class;
pub mod decode;
pub mod encoder;
pub mod error;
pub mod eval;
pub mod fs;
pub mod heads;
pub mod random;
pub mod reader;
pub mod report;
pub mod request;
pub mod source;
pub mod stream;
pub mod text;
pub mod train;

pub use class::ErrorClass;
pub use error::{Error, Result};
