//! Remembers a run while it goes on, so that an interrupted one can be continued.
//!
//! One line says what the run is, and one line follows per question. A line that was half written is cut off.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::decode::{Decoding, Dedup, Scoring};
use crate::encoder::Precision;
use crate::eval::data::Dataset;
use crate::eval::error::{Error, Result};
use crate::eval::run::Prediction;
use crate::fs;
use crate::text::window::Limits;

/// What must be the same for two runs to be one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// The model.
    pub model: String,
    /// The questions and contexts, as a digest.
    pub questions: String,
    /// Everything else that changes predictions.
    pub settings: Settings,
}

/// Settings by name.
pub type Settings = BTreeMap<String, Value>;

/// The settings that change predictions. Floats are texts, because JSON has no infinities.
pub fn settings(decoding: &Decoding, limits: &Limits, precision: Option<Precision>) -> Settings {
    let Decoding {
        scoring,
        top_k,
        max_answer_tokens,
        null_threshold,
        always_answer,
        temperature,
        dedup,
        handle_impossible_answer,
    } = decoding;
    let Limits { max_tokens, overlap, max_question_tokens } = limits;
    let scoring = match scoring {
        Scoring::Joint => "joint",
        Scoring::Squad => "squad",
        Scoring::Hf => "hf",
        Scoring::Haystack => "haystack",
    };
    let dedup = match dedup {
        Dedup::Span => "span",
        Dedup::Overlap => "overlap",
        Dedup::Text => "text",
        Dedup::None => "none",
    };
    let settings: [(&str, Value); 12] = [
        ("score", scoring.into()),
        ("number of candidates", (*top_k).into()),
        ("max answer tokens", (*max_answer_tokens).into()),
        ("null threshold", null_threshold.to_string().into()),
        ("always answer", (*always_answer).into()),
        ("temperature", temperature.to_string().into()),
        ("dedup", dedup.into()),
        ("handle impossible answer", (*handle_impossible_answer).into()),
        ("window", (*max_tokens).into()),
        ("overlap", (*overlap).into()),
        ("max question tokens", (*max_question_tokens).into()),
        ("dtype", precision.map(Precision::name).into()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

impl Header {
    /// Describes a run.
    pub fn new(model: &str, dataset: &Dataset, settings: Settings) -> Self {
        Self { model: model.into(), questions: dataset.questions_digest(), settings }
    }

    /// Fails if a run that was begun with `then` cannot be continued with this.
    fn agree(&self, then: &Self, path: &Path) -> Result<()> {
        let text = |settings: &Settings, name: &str| match settings.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "not set".into(),
            Some(value) => value.to_string(),
        };
        let names: BTreeSet<&String> = then.settings.keys().chain(self.settings.keys()).collect();
        let settings = (names.into_iter())
            .map(|name| (name.as_str(), text(&then.settings, name), text(&self.settings, name)));
        let parts = [
            ("model", then.model.clone(), self.model.clone()),
            ("set of questions", then.questions.clone(), self.questions.clone()),
        ];
        match parts.into_iter().chain(settings).find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => {
                Err(Error::OtherRun { path: path.to_owned(), what: what.into(), found, expected })
            }
        }
    }
}

/// A run's file.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Starts anew, forgetting what the file held.
    pub fn create(path: &Path, header: &Header) -> Result<Self> {
        let unwritable = |source| fs::Error::Write { path: path.to_owned(), source };
        let file = File::create(path).map_err(unwritable)?;
        let mut journal = Self { path: path.to_owned(), file };
        journal.write(&[header])?;
        Ok(journal)
    }

    /// Continues where the file stops, and returns what it holds. One that is not there is created.
    pub fn resume(path: &Path, header: &Header) -> Result<(Self, Vec<Prediction>)> {
        let text = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(fs::Error::Read { path: path.to_owned(), source }.into()),
        };
        let mut lines = text.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let Some(first) = lines.next() else { return Ok((Self::create(path, header)?, Vec::new())) };
        let then: Header = serde_json::from_slice(first).map_err(|_| Error::OtherRun {
            path: path.to_owned(),
            what: "first line".into(),
            found: String::from_utf8_lossy(first).chars().take(80).collect(),
            expected: "a run".into(),
        })?;
        header.agree(&then, path)?;
        let mut predictions = Vec::new();
        let mut length = first.len();
        for line in lines {
            let Ok(prediction) = serde_json::from_slice(line) else { break };
            predictions.push(prediction);
            length += line.len();
        }
        let unwritable = |source| fs::Error::Write { path: path.to_owned(), source };
        let file = OpenOptions::new().append(true).open(path).map_err(unwritable)?;
        file.set_len(length as u64).map_err(unwritable)?;
        Ok((Self { path: path.to_owned(), file }, predictions))
    }

    /// Adds predictions; they are in the file when this returns.
    pub fn append(&mut self, predictions: &[Prediction]) -> Result<()> {
        self.write(predictions)
    }

    fn write(&mut self, lines: &[impl Serialize]) -> Result<()> {
        let mut text = Vec::new();
        let written = lines.iter().try_for_each(|line| {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
            Ok(())
        });
        (written.and_then(|()| self.file.write_all(&text)))
            .map_err(|source| fs::Error::Write { path: self.path.clone(), source }.into())
    }
}
