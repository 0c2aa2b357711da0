//! Data sets: the formats in which questions with known answers are published.

pub mod dataset;
pub mod files;
pub mod long;
mod read;

pub use dataset::{Article, Dataset, Entry, Format, Gold, Options, Paragraph, Question};
