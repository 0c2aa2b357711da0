//! In which order windows are learned from: batches of an epoch under a token budget.

use super::examples::Examples;
use crate::random::Random;

/// What windows there are to put in order.
pub trait Windows {
    /// How many.
    fn count(&self) -> usize;
    /// Tokens of one.
    fn tokens(&self, window: usize) -> usize;
    /// Whether one holds an answer.
    fn answerable(&self, window: usize) -> bool;
}

impl Windows for Examples {
    fn count(&self) -> usize {
        self.len()
    }

    fn tokens(&self, window: usize) -> usize {
        self.length(window)
    }

    fn answerable(&self, window: usize) -> bool {
        self.is_answerable(window)
    }
}

/// How batches are made.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mixing {
    /// Tokens that one step learns from.
    pub batch_tokens: usize,
    /// The share of windows without an answer; `None` takes them as they come.
    pub null_share: Option<f64>,
    /// What the order is drawn from.
    pub seed: u64,
}

/// Batches whose windows are sorted by length together: enough for windows of a batch to be of a kind.
const SORTED_TOGETHER: usize = 32;

impl Mixing {
    /// The batches of an epoch. Every window comes once, unless a share of windows without an answer is wanted: then as many of these
    /// are drawn as belong to the windows with one, and drawn again if there are too few.
    pub fn epoch(&self, windows: &impl Windows, epoch: u64) -> Vec<Vec<usize>> {
        let mut random = Random::derive(self.seed, epoch);
        let (mut with, mut without): (Vec<usize>, Vec<usize>) =
            (0..windows.count()).partition(|window| windows.answerable(*window));
        random.shuffle(&mut with);
        random.shuffle(&mut without);
        if let Some(share) = self.null_share {
            let wanted = (with.len() as f64 * share / (1.0 - share)).round() as usize;
            let wanted = if without.is_empty() { 0 } else { wanted };
            without = without.iter().copied().cycle().take(wanted).collect();
        }
        let tokens: usize = with.iter().chain(&without).map(|&window| windows.tokens(window)).sum();
        let pools = tokens.div_ceil(self.batch_tokens.saturating_mul(SORTED_TOGETHER)).max(1);
        let mut batches = Vec::new();
        for pool in 0..pools {
            let part = |all: &[usize]| all[all.len() * pool / pools..all.len() * (pool + 1) / pools].to_vec();
            let mut order = ranked(part(&with), windows);
            order.extend(ranked(part(&without), windows));
            order.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.cmp(y)));
            let mut room = 0;
            let first = batches.len();
            for (_, window) in order {
                let tokens = windows.tokens(window);
                if batches.len() == first || tokens > room {
                    batches.push(Vec::new());
                    room = self.batch_tokens;
                }
                room = room.saturating_sub(tokens);
                if let Some(batch) = batches.last_mut() {
                    batch.push(window);
                }
            }
        }
        random.shuffle(&mut batches);
        batches
    }
}

/// One step's windows, and how much of the data has been seen after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The windows.
    pub windows: Vec<usize>,
    /// 1.0 when each window was seen once.
    pub epoch: f64,
}

/// The steps of a run. Only the epoch under way is in memory: long runs over much data would fill it otherwise.
#[derive(Debug)]
pub struct Plan<'a, W> {
    mixing: Mixing,
    windows: &'a W,
    /// How many steps have been taken at the end of each epoch.
    ends: Vec<u64>,
    open: Option<(usize, Vec<Vec<usize>>)>,
}

impl<'a, W: Windows> Plan<'a, W> {
    pub(super) fn new(mixing: Mixing, windows: &'a W, ends: Vec<u64>) -> Self {
        Self { mixing, windows, ends, open: None }
    }

    /// How many there are.
    pub fn steps(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// One of them, counted from 0.
    pub fn step(&mut self, step: u64) -> Option<Planned> {
        let epoch = self.ends.partition_point(|&end| end <= step);
        self.ends.get(epoch)?;
        let start = if epoch == 0 { 0 } else { self.ends[epoch - 1] };
        let batches = match self.open.take() {
            Some((open, batches)) if open == epoch => batches,
            _ => self.mixing.epoch(self.windows, epoch as u64),
        };
        let place = (step - start) as usize;
        let seen = epoch as f64 + (place + 1) as f64 / batches.len().max(1) as f64;
        let planned = batches.get(place).map(|windows| Planned { windows: windows.clone(), epoch: seen });
        self.open = Some((epoch, batches));
        planned
    }
}

/// Windows by length, each with its place between 0 and 1. Sorting two kinds by place keeps their proportions the same everywhere.
fn ranked(mut part: Vec<usize>, windows: &impl Windows) -> Vec<(f64, usize)> {
    part.sort_by_key(|&window| (windows.tokens(window), window));
    let count = part.len() as f64;
    part.into_iter().enumerate().map(|(place, window)| ((place as f64 + 0.5) / count, window)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows of 10 to 109 tokens; two of three have an answer.
    struct Some(usize);

    impl Windows for Some {
        fn count(&self) -> usize {
            self.0
        }

        fn tokens(&self, window: usize) -> usize {
            10 + window * 37 % 100
        }

        fn answerable(&self, window: usize) -> bool {
            !window.is_multiple_of(3)
        }
    }

    fn mixing(null_share: Option<f64>) -> Mixing {
        Mixing { batch_tokens: 600, null_share, seed: 5 }
    }

    #[test]
    fn every_window_comes_once_within_the_budget() {
        let windows = Some(3000);
        let batches = mixing(None).epoch(&windows, 0);
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..3000).collect::<Vec<_>>());
        for batch in &batches {
            let tokens: usize = batch.iter().map(|&window| windows.tokens(window)).sum();
            assert!(tokens <= 600);
            let nulls = batch.iter().filter(|&&window| !windows.answerable(window)).count();
            // A third, as near as whole windows can come to it.
            assert!((nulls * 3).abs_diff(batch.len()) <= 4, "{nulls} of {}", batch.len());
        }
        assert!(batches.len() < 3000 * 60 / 600 + 40);
    }

    #[test]
    fn epochs_differ_and_repeat() {
        let order = |epoch| mixing(None).epoch(&Some(500), epoch);
        assert_eq!(order(0), order(0));
        assert_ne!(order(0), order(1));
    }

    #[test]
    fn the_share_without_an_answer_is_what_was_asked_for() {
        for share in [0.0, 0.1, 0.5, 0.6] {
            let windows = mixing(std::option::Option::Some(share)).epoch(&Some(3000), 1).concat();
            let nulls = windows.iter().filter(|window| window.is_multiple_of(3)).count() as f64;
            assert!((nulls / windows.len() as f64 - share).abs() < 0.001);
            assert_eq!(windows.len() as f64 - nulls, 2000.0);
        }
    }
}
