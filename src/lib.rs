//! Extractive question answering: quotes the span of a document that answers a question, or says that there is none.
//!
//! Everything is one path, written once in [`reader`]; every command calls it or a part of it.
//!
//! ```text
//! documents, questions
//!   -> text::Tokenizer   token ids and byte offsets, once per document
//!   -> text::window      windows that together cover every token of a document
//!   -> encoder           hidden states of the tokens that are read, windows packed without padding
//!   -> heads::span       start and end logits per token
//!   -> decode            best spans and the null score of each window, on raw logits
//!   -> decode (rank)     one ranking per question over all windows and documents
//!   -> request::reply    text, offsets, document, scores
//! ```
//!
//! ```no_run
//! use spanqa::encoder::Runtime;
//! use spanqa::reader::{Question, Reader};
//! use spanqa::request::reply::DocumentId;
//! use spanqa::source::{SourceOptions, resolve};
//!
//! # fn main() -> spanqa::Result<()> {
//! let model = resolve("builtin", &SourceOptions::from_env())?;
//! let reader = Reader::open(&model.files, &Runtime::default())?;
//! let document = reader.prepare(DocumentId::Index(0), "The tower was built in 1889.".into())?;
//! let question = Question::new("1", "When was the tower built?", vec![document.into()]);
//! for reply in reader.answer(&[question], &mut |_| {})? {
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
pub mod document;
pub mod embed;
pub mod encoder;
pub mod error;
pub mod eval;
pub mod export;
pub mod fs;
pub mod heads;
pub mod index;
pub mod inspect;
pub mod journal;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod parquet;
pub mod random;
pub mod rank;
pub mod reader;
pub mod report;
pub mod request;
pub mod rerank;
pub mod retrieve;
#[cfg(feature = "serve")]
pub mod serve;
pub mod source;
pub mod stream;
pub mod text;
pub mod train;

pub use class::ErrorClass;
pub use error::{Error, Result};
