//! Which passages of some documents promise to answer a question: ranked by the words they share with it.
//!
//! ```text
//! terms     words as they are compared: lower case, without endings, options of programs kept whole
//! passages  a document cut at headings, paragraphs, lines and sentences into pieces of a few hundred characters
//! ascii     words and sentences of plain text, faster
//! bm25      what the words of a question say about each passage
//! ```

mod ascii;
mod bm25;
mod passages;
mod terms;

pub use self::bm25::{Hit, Words, best, rank, worth};
pub use self::passages::{Cutter, Passages};
