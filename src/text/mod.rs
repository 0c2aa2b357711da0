//! From text to token ids and back to places in the text. Pure: no tensors here.

mod engine;
pub mod error;
mod fence;
mod json;
mod legacy;
mod long;
pub mod offsets;
mod pattern;
mod plain;
mod sentencepiece;
pub mod sentences;
mod steps;
mod template;
mod tokenizer;
pub mod view;
pub mod window;
mod wordpiece;

/// About how many bytes of text are a token, in most languages: for estimates.
pub const BYTES_PER_TOKEN: usize = 4;

pub use engine::panics_become_errors;
pub use error::{Error, Result};
pub use template::{PairTemplate, SingleTemplate};
pub use tokenizer::{Tokenizer, TokenizerOrigin, Tokens};
