//! Data sets in, official scores out.
//!
//! [`Dataset`] reads the formats in which extractive questions are published. [`normalize`], [`metrics`] and [`mlqa`] are
//! the rules of the official scripts, to the last digit. Everything else is what those scripts do not say.

pub mod analysis;
pub mod compare;
pub mod dataset;
pub mod error;
pub mod files;
pub mod journal;
pub mod long;
pub mod losses;
pub mod memo;
pub mod metrics;
pub mod mlqa;
pub mod normalize;
pub mod plot;
pub mod predictions;
pub mod profile;
pub mod python;
mod read;
pub mod report;
pub mod run;
pub mod stats;
pub mod tune;
pub mod unicode;

pub use dataset::{Article, Dataset, Entry, Format, Gold, Options, Paragraph, Question};
pub use error::SquadError;
