//! What happens in a run, one line of `metrics.jsonl` per event, so that a run can be watched, drawn and continued.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{fs, journal};

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// The weights were changed.
    Step(StepRecord),
    /// The weights were tried on the development set.
    Dev(DevRecord),
}

impl Record {
    /// How many steps had been taken.
    pub fn step(&self) -> u64 {
        match self {
            Record::Step(step) => step.step,
            Record::Dev(dev) => dev.step,
        }
    }
}

/// One change of the weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// How many steps have been taken, this one included.
    pub step: u64,
    /// How much of the data has been seen; 1.0 is all of it once.
    pub epoch: f64,
    /// The loss before the step.
    #[serde(deserialize_with = "null_is_nan")]
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// The gradient's norm before it was clipped.
    #[serde(deserialize_with = "null_is_nan")]
    pub norm: f64,
    /// Tokens seen so far, in all.
    pub tokens: u64,
    /// Tokens per second of late.
    #[serde(deserialize_with = "null_is_nan")]
    pub tokens_per_second: f64,
}

/// One evaluation on the development set; at step 0 that of the base. Scores are in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DevRecord {
    /// How many steps had been taken.
    pub step: u64,
    /// How much of the data had been seen; 1.0 is all of it once.
    pub epoch: f64,
    /// Exact match.
    pub exact: f64,
    /// F1.
    pub f1: f64,
    /// F1 of the questions that have an answer, if there are any.
    pub has_answer_f1: Option<f64>,
    /// F1 of the questions that have none, if there are any.
    pub no_answer_f1: Option<f64>,
    /// Whether no evaluation before was as good.
    pub best: bool,
}

/// JSON has no infinities and writes `null` for them. A run that diverged must still be readable.
fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|number| number.unwrap_or(f64::NAN))
}

/// The file of a run.
pub type Journal = journal::Journal<Record>;

/// Opens the file of a run that goes on after the step `upto`, and returns what it holds up to there. Later events will happen again
/// and are dropped, as is the evaluation of that step unless it is `evaluated`, and what a crash left half written. One that is not
/// there is created.
pub fn open(path: &Path, upto: u64, evaluated: bool) -> fs::Result<(Journal, Vec<Record>)> {
    Journal::open(path, |record: &Record| match record {
        Record::Dev(dev) if !evaluated => dev.step < upto,
        record => record.step() <= upto,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn step(step: u64) -> Record {
        Record::Step(StepRecord {
            step,
            epoch: step as f64 / 8.0,
            loss: 2.5,
            rate: 3e-5,
            norm: 1.25,
            tokens: step * 1000,
            tokens_per_second: 512.0,
        })
    }

    fn dev(step: u64) -> Record {
        Record::Dev(DevRecord {
            step,
            epoch: step as f64 / 8.0,
            exact: 50.0,
            f1: 62.5,
            has_answer_f1: Some(75.0),
            no_answer_f1: None,
            best: true,
        })
    }

    fn written(records: &[Record]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let (mut journal, before) = open(&path, 0, true).unwrap();
        assert!(before.is_empty());
        for record in records {
            journal.append(std::slice::from_ref(record)).unwrap();
        }
        (dir, path)
    }

    #[test]
    fn a_record_is_one_line_that_says_its_kind() {
        let (_dir, path) = written(&[step(1), dev(1)]);
        assert_eq!(
            std::fs::read_to_string(path).unwrap(),
            "{\"kind\":\"step\",\"step\":1,\"epoch\":0.125,\"loss\":2.5,\"rate\":0.00003,\"norm\":1.25,\"tokens\":1000,\
             \"tokens_per_second\":512.0}\n\
             {\"kind\":\"dev\",\"step\":1,\"epoch\":0.125,\"exact\":50.0,\"f1\":62.5,\"has_answer_f1\":75.0,\
             \"no_answer_f1\":null,\"best\":true}\n"
        );
    }

    /// A run that was killed between its evaluation and saving its state evaluates again.
    #[test]
    fn an_evaluation_that_is_still_due_is_forgotten() {
        let (_dir, path) = written(&[dev(0), step(1), step(2), dev(2), step(3)]);
        let (_, before) = open(&path, 2, false).unwrap();
        assert_eq!(before, [dev(0), step(1), step(2)]);
        let (_, before) = open(&path, 0, false).unwrap();
        assert!(before.is_empty());
    }

    #[test]
    fn what_was_written_is_read_and_the_run_goes_on() {
        let (_dir, path) = written(&[step(1), step(2), dev(2)]);
        let (mut journal, before) = open(&path, 2, true).unwrap();
        assert_eq!(before, [step(1), step(2), dev(2)]);
        journal.append(&[step(3)]).unwrap();
        let (_, all) = open(&path, 3, true).unwrap();
        assert_eq!(all, [step(1), step(2), dev(2), step(3)]);
    }

    #[test]
    fn steps_that_will_be_taken_again_are_dropped_from_the_file() {
        let (dir, path) = written(&[step(1), step(2), dev(2), step(3), dev(3)]);
        let (_, kept) = open(&path, 2, true).unwrap();
        assert_eq!(kept, [step(1), step(2), dev(2)]);
        let (_, kept) = open(&path, u64::MAX, true).unwrap();
        assert_eq!(kept, [step(1), step(2), dev(2)]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn a_loss_that_is_no_number_does_not_lose_its_record() {
        let (_dir, path) = written(&[]);
        let (mut journal, _) = open(&path, 0, true).unwrap();
        let Record::Step(good) = step(1) else { unreachable!() };
        let diverged = StepRecord { loss: f64::NAN, norm: f64::INFINITY, ..good };
        journal.append(&[Record::Step(diverged)]).unwrap();
        let (_, records) = open(&path, 1, true).unwrap();
        let [Record::Step(read)] = records.as_slice() else { panic!("{records:?}") };
        assert!(read.loss.is_nan() && read.norm.is_nan() && read.rate == 3e-5);
    }
}
