//! From text to token ids and back to places in the text. Pure: no tensors here.

mod json;
mod legacy;
mod sentencepiece;
mod template;
mod tokenizer;
mod wordpiece;

pub use template::PairTemplate;
pub use tokenizer::{Tokenizer, TokenizerOrigin, Tokens};
