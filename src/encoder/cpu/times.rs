//! Where the time goes, counted always: a look at the clock costs nothing beside a matrix product.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The kinds of computation.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    Embedding,
    QueryKeyValue,
    Attention,
    AttentionOut,
    Up,
    Down,
    Normalisation,
}

/// Every stage with what people read.
const STAGES: [(Stage, &str); 7] = [
    (Stage::Embedding, "embedding"),
    (Stage::QueryKeyValue, "query, key, value"),
    (Stage::Attention, "attention"),
    (Stage::AttentionOut, "attention output"),
    (Stage::Up, "feed-forward up, GELU"),
    (Stage::Down, "feed-forward down"),
    (Stage::Normalisation, "add, normalise"),
];

/// Nanoseconds per stage, summed over the threads that ran groups.
#[derive(Debug, Default)]
pub(super) struct Times([AtomicU64; STAGES.len()]);

impl Times {
    pub(super) fn start(&self) -> Watch<'_> {
        Watch { times: self, last: Instant::now() }
    }

    pub(super) fn read(&self) -> Vec<(&'static str, Duration)> {
        let nanoseconds = |stage: Stage| self.0[stage as usize].load(Ordering::Relaxed);
        STAGES.iter().map(|&(stage, name)| (name, Duration::from_nanos(nanoseconds(stage)))).collect()
    }
}

/// A clock that is read between stages.
pub(super) struct Watch<'a> {
    times: &'a Times,
    last: Instant,
}

impl Watch<'_> {
    /// Counts the time since the last look as `stage`.
    pub(super) fn lap(&mut self, stage: Stage) {
        let now = Instant::now();
        let passed = now.duration_since(self.last).as_nanos() as u64;
        self.times.0[stage as usize].fetch_add(passed, Ordering::Relaxed);
        self.last = now;
    }
}
