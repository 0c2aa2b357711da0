//! Data sets in, official scores out.
//!
//! [`Dataset`] reads the formats in which extractive questions are published. [`score`] holds the rules of the official scripts, to
//! the last digit. Everything else is what those scripts do not say.

pub mod analysis;
pub mod compare;
pub mod data;
pub mod error;
pub mod journal;
pub mod losses;
pub mod profile;
pub mod report;
pub mod run;
pub mod score;
pub mod stats;
pub mod tune;

pub use data::{Article, Dataset, Entry, Format, Gold, Options, Paragraph, Question};
pub use error::{Error, Result};
