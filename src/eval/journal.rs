//! Remembers a run while it goes on, so that an interrupted one can be continued.
//!
//! One line says what the run is, and one line follows per question. A line that was half written is cut off.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::eval::data::dataset::Dataset;
use crate::eval::error::{Error, Result};
use crate::eval::run::Prediction;
use crate::fs;

/// What must be the same for two runs to be one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The model.
    pub model: String,
    /// The questions and contexts, as a digest.
    pub questions: String,
    /// Everything else that changes predictions.
    pub settings: String,
}

impl Header {
    /// Describes a run.
    pub fn new(model: &str, dataset: &Dataset, settings: String) -> Self {
        let mut digest = Sha256::new();
        for entry in dataset.entries() {
            for text in [&entry.question.id, &entry.question.text, &entry.paragraph.context] {
                digest.update((text.len() as u64).to_le_bytes());
                digest.update(text);
            }
        }
        let questions = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Self { model: model.into(), questions, settings }
    }

    fn agree(&self, then: &Self, path: &Path) -> Result<()> {
        let parts = [
            ("model", &then.model, &self.model),
            ("set of questions", &then.questions, &self.questions),
            ("settings", &then.settings, &self.settings),
        ];
        match parts.into_iter().find(|(_, found, expected)| found != expected) {
            None => Ok(()),
            Some((what, found, expected)) => Err(Error::OtherRun {
                path: path.to_owned(),
                what: what.into(),
                found: found.clone(),
                expected: expected.clone(),
            }),
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
