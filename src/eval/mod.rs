//! Data sets in, official scores out.
//!
//! ```text
//! data       the formats in which extractive questions are published
//!   -> run        puts them to a model, about their own paragraph or, with open, about what is found; journal remembers, files leaves what run_qa leaves
//!   -> score      the rules of the official scripts, to the last digit
//!   -> analysis   what those scripts do not say: intervals, thresholds, calibration, losses
//!   -> results, page with lost, compare, tune
//! ```

pub mod analysis;
pub mod answers;
pub mod compare;
pub mod data;
pub mod error;
pub mod files;
pub mod journal;
mod lost;
pub mod open;
pub mod page;
pub mod profile;
pub mod results;
pub mod run;
pub mod score;
pub mod tune;

pub use data::{Article, Dataset, Entry, Format, Gold, Options, Paragraph, Question};
pub use error::{Error, Result};
