//! The files that a run leaves behind, in the form of transformers' `run_qa`.

use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::eval::run::{Candidate, Prediction};
use crate::fs::{Result, write_json};

/// What stands in `null_odds.json` for the lead of "no answer" where there was nothing to quote: the official script wants a number, and
/// no model gives so high a one.
const NOTHING_TO_QUOTE: f64 = 1e9;

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
