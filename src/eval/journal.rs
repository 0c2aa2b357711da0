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
    /// The model, by its name and its digest.
    pub model: String,
    /// The questions and contexts, as a digest.
    pub questions: String,
    /// Everything else that changes predictions.
    pub settings: Settings,
}

impl Header {
    /// Describes a run.
    pub fn new(model: &Identity, dataset: &Dataset, settings: Settings) -> Self {
        Self { model: model.to_string(), questions: dataset.questions_digest(), settings }
    }
}

/// Continues where the file stops, and returns what it holds. One that is not there is created; one of another run is refused.
pub fn resume(path: &Path, header: &Header) -> Result<(Journal, Vec<Prediction>)> {
    Journal::resume(path, header, |Changed { field, found, expected }| {
        let what = match field.strip_prefix("settings.") {
            Some(flag) => format!("--{flag}"),
            None if field == "questions" => "set of questions".into(),
            None => field,
        };
        Error::OtherRun { path: path.to_owned(), what, found, expected }
    })
}
