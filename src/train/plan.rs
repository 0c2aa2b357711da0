//! In which order examples are learned from: batches of an epoch under a token budget.

use super::examples::Examples;
use crate::random::Random;

/// What examples there are to put in order.
pub trait Pool {
    /// How many.
    fn count(&self) -> usize;
    /// Tokens of one.
    fn tokens(&self, example: usize) -> usize;
    /// Whether one holds an answer.
    fn answerable(&self, example: usize) -> bool;
}

impl Pool for Examples {
    fn count(&self) -> usize {
        self.len()
    }

    fn tokens(&self, example: usize) -> usize {
        self.length(example)
    }

    fn answerable(&self, example: usize) -> bool {
        self.is_answerable(example)
    }
}

/// How batches are made.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Mixing {
    /// Tokens that one step learns from.
    pub batch_tokens: usize,
    /// The share of examples without an answer; `None` takes them as they come.
    pub null_share: Option<f64>,
    /// What the order is drawn from.
    pub seed: u64,
}

/// Batches whose examples are sorted by length together: enough for examples of a batch to be of a kind.
const SORTED_TOGETHER: usize = 32;

impl Mixing {
    /// The batches of an epoch. Every example comes once, unless a share of examples without an answer is wanted: then as many of these
    /// are drawn as belong to the examples with one, and drawn again if there are too few.
    pub fn epoch(&self, examples: &impl Pool, epoch: u64) -> Vec<Vec<usize>> {
        let mut random = Random::derive(self.seed, epoch);
        let (mut with, mut without): (Vec<usize>, Vec<usize>) =
            (0..examples.count()).partition(|example| examples.answerable(*example));
        random.shuffle(&mut with);
        random.shuffle(&mut without);
        if let Some(share) = self.null_share {
            let wanted = (with.len() as f64 * share / (1.0 - share)).round() as usize;
            let wanted = if without.is_empty() { 0 } else { wanted };
            without = without.iter().copied().cycle().take(wanted).collect();
        }
        let tokens: usize = with.iter().chain(&without).map(|&example| examples.tokens(example)).sum();
        let pools = tokens.div_ceil(self.batch_tokens.saturating_mul(SORTED_TOGETHER)).max(1);
        let mut batches = Vec::new();
        for pool in 0..pools {
            let part = |all: &[usize]| all[all.len() * pool / pools..all.len() * (pool + 1) / pools].to_vec();
            let mut order = ranked(part(&with), examples);
            order.extend(ranked(part(&without), examples));
            order.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.cmp(y)));
            let mut room = 0;
            let first = batches.len();
            for (_, example) in order {
                let tokens = examples.tokens(example);
                if batches.len() == first || tokens > room {
                    batches.push(Vec::new());
                    room = self.batch_tokens;
                }
                room = room.saturating_sub(tokens);
                if let Some(batch) = batches.last_mut() {
                    batch.push(example);
                }
            }
        }
        random.shuffle(&mut batches);
        batches
    }
}

/// One step's examples, and how much of the data has been seen after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The examples.
    pub examples: Vec<usize>,
    /// 1.0 when each example was seen once.
    pub epoch: f64,
}

/// The steps of a run. Only the epoch under way is in memory: long runs over much data would fill it otherwise.
#[derive(Debug)]
pub struct Plan<'a, W> {
    mixing: Mixing,
    examples: &'a W,
    /// How many steps have been taken at the end of each epoch.
    ends: Vec<u64>,
    open: Option<(usize, Vec<Vec<usize>>)>,
}

impl<'a, W: Pool> Plan<'a, W> {
    pub(super) fn new(mixing: Mixing, examples: &'a W, ends: Vec<u64>) -> Self {
        Self { mixing, examples, ends, open: None }
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
            _ => self.mixing.epoch(self.examples, epoch as u64),
        };
        let place = (step - start) as usize;
        let seen = epoch as f64 + (place + 1) as f64 / batches.len().max(1) as f64;
        let planned = batches.get(place).map(|examples| Planned { examples: examples.clone(), epoch: seen });
        self.open = Some((epoch, batches));
        planned
    }
}

/// Examples by length, each with its place between 0 and 1. Sorting two kinds by place keeps their proportions the same everywhere.
fn ranked(mut part: Vec<usize>, examples: &impl Pool) -> Vec<(f64, usize)> {
    part.sort_by_key(|&example| (examples.tokens(example), example));
    let count = part.len() as f64;
    part.into_iter().enumerate().map(|(place, example)| ((place as f64 + 0.5) / count, example)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Examples of 10 to 109 tokens; two of three have an answer.
    struct Some(usize);

    impl Pool for Some {
        fn count(&self) -> usize {
            self.0
        }

        fn tokens(&self, example: usize) -> usize {
            10 + example * 37 % 100
        }

        fn answerable(&self, example: usize) -> bool {
            !example.is_multiple_of(3)
        }
    }

    fn mixing(null_share: Option<f64>) -> Mixing {
        Mixing { batch_tokens: 600, null_share, seed: 5 }
    }

    #[test]
    fn every_window_comes_once_within_the_budget() {
        let examples = Some(3000);
        let batches = mixing(None).epoch(&examples, 0);
        let mut seen = batches.concat();
        seen.sort_unstable();
        assert_eq!(seen, (0..3000).collect::<Vec<_>>());
        for batch in &batches {
            let tokens: usize = batch.iter().map(|&example| examples.tokens(example)).sum();
            assert!(tokens <= 600);
            let nulls = batch.iter().filter(|&&example| !examples.answerable(example)).count();
            // A third, as near as whole ones can come to it.
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
            let examples = mixing(std::option::Option::Some(share)).epoch(&Some(3000), 1).concat();
            let nulls = examples.iter().filter(|example| example.is_multiple_of(3)).count() as f64;
            assert!((nulls / examples.len() as f64 - share).abs() < 0.001);
            assert_eq!(examples.len() as f64 - nulls, 2000.0);
        }
    }
}
