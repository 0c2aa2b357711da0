//! Data sets: the formats in which questions with known answers are published.
//!
//! ```text
//! read, document -> build, golds -> dataset      one file in any of the formats -> articles, paragraphs, questions
//! dataset -> part, group, digest, long           parts of it, what belongs together, what tells it apart, longer documents
//! ```

mod build;
pub mod dataset;
mod digest;
mod document;
mod golds;
mod group;
pub mod long;
mod part;
mod read;

pub use dataset::{Article, Dataset, Entry, Format, Gold, Options, Paragraph, Question};
pub use part::WORTH_DRAWING;
