//! Answers from files.

use std::path::Path;

use anyhow::Result;
use spanqa::eval::Dataset;
use spanqa::eval::answers::Answers;
use spanqa::eval::score::predictions::{NoAnswerScores, Predictions};

use super::Args;

impl Args {
    /// Reads the predictions, and says which questions they leave out.
    pub(super) fn read(&self, path: &Path, dataset: &Dataset) -> Result<Answers> {
        let predictions = Predictions::open(path)?;
        let na_probs = self.na_probs.as_ref().map(|path| NoAnswerScores::open(path)).transpose()?;
        if !self.quiet {
            let strangers = predictions.strangers(dataset);
            if strangers > 0 && self.data.is_whole() {
                eprintln!("note: {strangers} predictions belong to no question of the data set");
            }
            let missing = dataset.len() + strangers - predictions.len();
            if missing > 0 {
                eprintln!("note: {missing} questions have no prediction and count as wrong");
            }
        }
        let mut answers = Answers::from_file(path.display().to_string(), predictions);
        answers.threshold = na_probs.is_some().then_some(self.na_prob_thresh);
        answers.na_probs = na_probs;
        Ok(answers)
    }
}
