//! Puts passages into the order in which they answer a question.
//!
//! ```text
//! corpus   what is put in order: files cut into passages, whole files, or passages that somebody gives
//! by       by what: shared words, meaning, both, the reader's best span, or a cross-encoder
//! choose   the passages that are looked at, by words
//! spans    the reader asked of each passage
//! pairs    a cross-encoder with its tokenizer
//! meaning  vectors of texts, and two orders made one
//! ranking  what came of it
//! record   the same as it is written down
//! ```
//!
//! Words cost little and read nothing, so they come first always: of many passages a model reads only those that share most words with
//! the question.

mod by;
mod choose;
mod corpus;
pub mod error;
mod meaning;
mod pairs;
mod ranking;
mod record;
mod spans;

pub use self::by::{By, Ranker, Task, Wanted};
pub use self::corpus::{Corpus, Source};
pub use self::error::{Error, Result};
pub use self::pairs::PairModel;
pub use self::ranking::{Ranking, Scored};
pub use self::record::{Item, Place, Record, Spelling};
