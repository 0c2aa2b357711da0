//! A model that remembers, so that many ways of decoding cost one pass through it.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::checkpoint::ModelFiles;
use crate::encoder::batch::Batch;
use crate::encoder::{self, DeviceChoice, Runtime};
use crate::heads::{QaModel, SpanModel, WindowLogits};
use crate::reader::Reader;
use crate::reader::error::Result;
use crate::text::Tokenizer;

/// Keeps the logits of every window that went through a model: about 8 bytes a token.
pub struct Memo<M> {
    model: M,
    known: Mutex<HashMap<(u64, u64), WindowLogits>>,
}

impl<M: SpanModel> Memo<M> {
    /// Remembers what a model says.
    pub fn new(model: M) -> Self {
        Self { model, known: Mutex::new(HashMap::new()) }
    }
}

/// Opens a reader that remembers, so that asking the same again under other rules costs little more than decoding.
pub fn open(files: &ModelFiles, runtime: &Runtime) -> Result<Reader> {
    let model = Memo::new(QaModel::load(files, runtime)?);
    Reader::new(Tokenizer::from_files(files)?, Box::new(model), &files.name)
}

/// Two hashes of different beginnings: one of 64 bits would meet itself sooner or later.
fn key(ids: &[u32], segments: &[u32], read: &Range<usize>) -> (u64, u64) {
    let hash = |salt: u64| {
        let mut hasher = DefaultHasher::new();
        (salt, ids, segments, read).hash(&mut hasher);
        hasher.finish()
    };
    (hash(1), hash(2))
}

impl<M: SpanModel> SpanModel for Memo<M> {
    fn usable_positions(&self) -> usize {
        self.model.usable_positions()
    }

    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }

    fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
        let windows = || {
            let read = batch.read.iter().cloned();
            batch
                .ranges()
                .zip(read)
                .map(|(range, read)| (&batch.ids[range.clone()], &batch.segments[range], read))
        };
        let keys: Vec<(u64, u64)> =
            windows().map(|(ids, segments, read)| key(ids, segments, &read)).collect();
        let mut found: Vec<Option<WindowLogits>> = {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            keys.iter().map(|key| known.get(key).cloned()).collect()
        };
        let mut unknown = Batch::default();
        for ((ids, segments, read), _) in windows().zip(&found).filter(|(_, found)| found.is_none()) {
            unknown.push_to_read(ids, segments, read);
        }
        if !unknown.lengths.is_empty() {
            let mut fresh = self.model.logits(&unknown)?.into_iter();
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            for (slot, key) in found.iter_mut().zip(&keys).filter(|(slot, _)| slot.is_none()) {
                *slot = fresh.next().inspect(|logits| {
                    known.insert(*key, logits.clone());
                });
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    fn lanes(&self) -> usize {
        self.model.lanes()
    }

    fn batch_tokens(&self) -> usize {
        self.model.batch_tokens()
    }

    fn times(&self) -> Vec<(&'static str, Duration)> {
        self.model.times()
    }

    fn notes(&self) -> Vec<String> {
        self.model.notes()
    }

    fn device(&self) -> DeviceChoice {
        self.model.device()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says of each token what its id and segment are, and counts the windows it is asked about.
    #[derive(Default)]
    struct Echo(Mutex<Vec<usize>>);

    impl SpanModel for Echo {
        fn usable_positions(&self) -> usize {
            512
        }

        fn vocabulary(&self) -> usize {
            100
        }

        fn logits(&self, batch: &Batch) -> encoder::Result<Vec<WindowLogits>> {
            self.0.lock().unwrap().push(batch.lengths.len());
            let floats = |numbers: &[u32]| numbers.iter().map(|&number| number as f32).collect();
            Ok(batch
                .ranges()
                .map(|range| WindowLogits {
                    start: floats(&batch.ids[range.clone()]),
                    end: floats(&batch.segments[range]),
                })
                .collect())
        }

        fn device(&self) -> DeviceChoice {
            DeviceChoice::Cpu
        }
    }

    #[test]
    fn only_what_is_new_reaches_the_model() {
        let memo = Memo::new(Echo::default());
        let ask = |windows: &[(&[u32], &[u32])]| {
            let mut batch = Batch::default();
            windows.iter().for_each(|(ids, segments)| batch.push(ids, segments));
            let expected = Echo::default().logits(&batch).unwrap();
            assert_eq!(memo.logits(&batch).unwrap(), expected);
        };
        let (a, b, c): (&[u32], &[u32], &[u32]) = (&[1, 2], &[3], &[4, 5, 6]);
        ask(&[(a, &[0, 0]), (b, &[0])]);
        ask(&[(c, &[0, 0, 0]), (b, &[0]), (a, &[0, 0])]);
        ask(&[(a, &[0, 0])]);
        ask(&[(a, &[0, 1])]);
        assert_eq!(*memo.model.0.lock().unwrap(), [2, 1, 1]);
    }
}
