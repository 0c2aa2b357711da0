//! What happens in a run, one line of `metrics.jsonl` per event, so that a run can be watched, drawn and continued.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize};

use crate::eval::files;
use crate::fs;
use crate::train::error::Result;

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

/// One evaluation on the development set. Scores are in percent.
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
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the file for a run that goes on after the step `upto`, and returns what it holds up to there. Later events
    /// will happen again and are dropped, as is what a crash left half written. One that is not there is created.
    pub fn open(path: &Path, upto: u64) -> Result<(Self, Vec<Record>)> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(fs::Error::Read { path: path.to_owned(), source }.into()),
        };
        let (kept, records) = up_to(&bytes, upto);
        if kept != bytes {
            files::write(path, &kept)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|source| fs::Error::Write { path: path.to_owned(), source })?;
        Ok((Self { path: path.to_owned(), file }, records))
    }

    /// Adds an event; its line is in the file when this returns.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        // One write, so that who reads along sees half a line only if this process dies.
        let written = serde_json::to_vec(record).map_err(Into::into).and_then(|mut line| {
            line.push(b'\n');
            self.file.write_all(&line)?;
            self.file.flush()
        });
        written.map_err(|source| fs::Error::Write { path: self.path.clone(), source }.into())
    }
}

/// The lines that hold events up to a step, and the events. The lines stay as they are, to the last digit.
fn up_to(bytes: &[u8], upto: u64) -> (Vec<u8>, Vec<Record>) {
    let (mut kept, mut records) = (Vec::new(), Vec::new());
    for line in bytes.split(|&byte| byte == b'\n') {
        let Ok(record) = serde_json::from_slice::<Record>(line) else { continue };
        if record.step() <= upto {
            kept.extend_from_slice(line);
            kept.push(b'\n');
            records.push(record);
        }
    }
    (kept, records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::error::Error;

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
        let (mut journal, before) = Journal::open(&path, 0).unwrap();
        assert!(before.is_empty());
        for record in records {
            journal.append(record).unwrap();
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

    #[test]
    fn what_was_written_is_read_and_the_run_goes_on() {
        let (_dir, path) = written(&[step(1), step(2), dev(2)]);
        let (mut journal, before) = Journal::open(&path, 2).unwrap();
        assert_eq!(before, [step(1), step(2), dev(2)]);
        journal.append(&step(3)).unwrap();
        let (_, all) = Journal::open(&path, 3).unwrap();
        assert_eq!(all, [step(1), step(2), dev(2), step(3)]);
    }

    #[test]
    fn steps_that_will_be_taken_again_are_dropped_from_the_file() {
        let (dir, path) = written(&[step(1), step(2), dev(2), step(3), dev(3)]);
        let (_, kept) = Journal::open(&path, 2).unwrap();
        assert_eq!(kept, [step(1), step(2), dev(2)]);
        let (_, kept) = Journal::open(&path, u64::MAX).unwrap();
        assert_eq!(kept, [step(1), step(2), dev(2)]);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "the temporary file is gone");
    }

    #[test]
    fn half_a_line_is_dropped_and_the_next_one_is_whole() {
        let (_dir, path) = written(&[step(1), step(2)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 20]).unwrap();
        let (mut journal, kept) = Journal::open(&path, 9).unwrap();
        assert_eq!(kept, [step(1)]);
        journal.append(&step(2)).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn a_line_that_lacks_only_its_end_is_whole() {
        let (_dir, path) = written(&[step(1), step(2)]);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        assert_eq!(Journal::open(&path, 9).unwrap().1, [step(1), step(2)]);
        assert_eq!(std::fs::read(&path).unwrap(), whole);
    }

    #[test]
    fn lines_that_stay_keep_their_digits_and_their_fields() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        let first = "{\"kind\":\"dev\",\"step\":1,\"epoch\":1.0,\"exact\":71.53000000000000001,\"f1\":80.1,\"later\":[1],\"best\":false}\n";
        std::fs::write(&path, format!("{first}garbage\n")).unwrap();
        assert_eq!(Journal::open(&path, 1).unwrap().1.len(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), first);
    }

    #[test]
    fn a_loss_that_is_no_number_does_not_lose_its_record() {
        let (_dir, path) = written(&[]);
        let (mut journal, _) = Journal::open(&path, 0).unwrap();
        let Record::Step(good) = step(1) else { unreachable!() };
        journal.append(&Record::Step(StepRecord { loss: f64::NAN, norm: f64::INFINITY, ..good })).unwrap();
        let (_, records) = Journal::open(&path, 1).unwrap();
        let [Record::Step(read)] = records.as_slice() else { panic!("{records:?}") };
        assert!(read.loss.is_nan() && read.norm.is_nan() && read.rate == 3e-5);
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_with_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("missing").join("metrics.jsonl");
        assert!(
            matches!(Journal::open(&path, 0), Err(Error::Fs(fs::Error::Write { path: at, .. })) if at == path)
        );
        assert!(
            matches!(Journal::open(dir.path(), 0), Err(Error::Fs(fs::Error::Read { path, .. })) if path == dir.path())
        );
    }
}
