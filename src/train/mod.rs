//! From data sets and an encoder to a checkpoint that every other command loads.
//!
//! ```text
//! data sets -> examples          the windows of inference, with the spans that should be chosen
//!           -> plan              batches of an epoch, of one length and one token budget
//!           -> learn             gradients and the step that follows from them
//!           -> run               the loop: learning rate, evaluation, the best weights, a state to go on from
//!           -> folder            what lies in the output folder, each file whole at any time
//!           -> journal, page, card      what a person wants to know of it
//! ```

pub mod card;
pub mod error;
pub mod examples;
pub mod folder;
pub mod journal;
pub mod learn;
pub mod page;
pub mod plan;
pub mod recipe;
pub mod run;
pub mod teacher;

pub use error::{Error, Result};
