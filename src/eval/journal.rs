//! Remembers a run while it goes on, so that an interrupted one can be continued: one line says what the run is, and one follows per
//! question.

use std::path::Path;

use serde::Serialize;

use crate::checkpoint::Identity;
use crate::eval::data::Dataset;
use crate::eval::error::{Error, Result};
use crate::eval::run::Prediction;
use crate::journal::{self, Changed};
use crate::request::Settings;

/// The file of a run.
pub type Journal = journal::Journal<Prediction>;

/// What must be the same for two runs to be one.
#[derive(Debug, Clone, Serialize)]
pub struct Header {
    /// The digest of the model's identity: where it lies and what it is called does not matter.
    model: String,
    /// The questions and contexts, as a digest.
    questions: String,
    /// Everything else that changes predictions.
    settings: Settings,
    /// The model, for messages.
    #[serde(skip)]
    identity: Identity,
}

impl Header {
    /// Describes a run.
    pub fn new(identity: Identity, dataset: &Dataset, settings: Settings) -> Self {
        let questions = dataset.questions_digest();
        Self { model: identity.digest.clone(), questions, settings, identity }
    }
}

/// Continues where the file stops, and returns what it holds. One that is not there is created; one of another run is refused.
pub fn resume(path: &Path, header: &Header) -> Result<(Journal, Vec<Prediction>)> {
    Journal::resume(path, header, |Changed { field, found, expected }| {
        let (what, found, expected) = match field.as_str() {
            "model" => (field, found.chars().take(12).collect(), header.identity.to_string()),
            "questions" => ("set of questions".into(), found, expected),
            _ => match field.strip_prefix("settings.") {
                Some(flag) => (format!("--{flag}"), found, expected),
                None => (field, found, expected),
            },
        };
        Error::OtherRun { path: path.to_owned(), what, found, expected }
    })
}
