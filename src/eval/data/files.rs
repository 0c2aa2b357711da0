//! The files that a run leaves behind, in the form of transformers' `run_qa`.

use std::fs;
use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::eval::run::{Candidate, Prediction};
use crate::fs::{Error, Result};

/// What stands for the lead of "no answer" where there was nothing to quote: more than any model gives, and still a number.
pub const NOTHING_TO_QUOTE: f64 = 1e9;

/// Writes `predictions.json`, `nbest_predictions.json` and `null_odds.json` into a folder.
pub fn write_run(folder: &Path, predictions: &[Prediction]) -> Result<()> {
    write_json(&folder.join("predictions.json"), &Map(predictions, |p: &Prediction| p.answer.clone()))?;
    let nbest = Map(predictions, |p: &Prediction| -> Vec<Candidate> { p.candidates.clone() });
    write_json(&folder.join("nbest_predictions.json"), &nbest)?;
    write_json(&folder.join("null_odds.json"), &Map(predictions, odds))
}

fn odds(prediction: &Prediction) -> f64 {
    prediction.null_odds.map_or(NOTHING_TO_QUOTE, f64::from)
}

/// Writes a JSON file so that it is there whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Write { path: path.to_owned(), source: error.into() })?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Writes one JSON object per line, so that the file is there whole or not at all.
pub fn write_lines(path: &Path, values: &[impl Serialize]) -> Result<()> {
    let mut bytes = Vec::new();
    for value in values {
        serde_json::to_writer(&mut bytes, value)
            .map_err(|error| Error::Write { path: path.to_owned(), source: error.into() })?;
        bytes.push(b'\n');
    }
    write(path, &bytes)
}

/// Writes a file so that it is there whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let unwritable = |source| Error::Write { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    fs::write(&part, bytes).and_then(|()| fs::rename(&part, path)).map_err(unwritable)
}

/// An object with an entry per question, in the order of the questions.
struct Map<'a, F>(&'a [Prediction], F);

impl<V: Serialize, F: Fn(&Prediction) -> V> Serialize for Map<'_, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for prediction in self.0 {
            map.serialize_entry(&prediction.id, &self.1(prediction))?;
        }
        map.end()
    }
}
