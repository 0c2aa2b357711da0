//! The best spans of one window, exactly, in one pass over its `length x longest-answer` cells.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A span of tokens, both ends included, with the sum of its start and end logit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// First token.
    pub start: usize,
    /// Last token.
    pub end: usize,
    /// `start_logit[start] + end_logit[end]`.
    pub logit: f32,
}

impl Span {
    /// The order of answers: higher sum first, then the earlier start, then the shorter span.
    pub fn rank(&self, other: &Self) -> Ordering {
        other.logit.total_cmp(&self.logit).then(self.start.cmp(&other.start)).then(self.end.cmp(&other.end))
    }

    /// Whether two spans share a token.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}

/// A sum of exponentials that neither overflows nor underflows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogSum {
    highest: f64,
    scaled: f64,
}

impl Default for LogSum {
    fn default() -> Self {
        Self { highest: f64::NEG_INFINITY, scaled: 0.0 }
    }
}

impl LogSum {
    /// Terms this far below the highest one cannot change a double.
    const NEGLIGIBLE: f64 = -50.0;

    /// Adds `exp(value)`.
    pub fn add(&mut self, value: f64) {
        let below = value - self.highest;
        if below > 0.0 {
            self.scaled = self.scaled * (-below).exp() + 1.0;
            self.highest = value;
        } else if below > Self::NEGLIGIBLE {
            self.scaled += below.exp();
        }
    }

    /// All terms times `exp(factor)`.
    pub fn times(self, factor: f64) -> Self {
        Self { highest: self.highest + factor, ..self }
    }

    /// Adds all terms of another sum.
    pub fn merge(&mut self, other: Self) {
        if other.scaled > 0.0 {
            self.add(other.highest + other.scaled.ln());
        }
    }

    /// The logarithm of the sum; negative infinity if it is empty.
    pub fn ln(&self) -> f64 {
        self.highest + self.scaled.ln()
    }
}

/// The spans of a window that may be answers: inside `start..end` logits, at most `longest` tokens, and accepted by `allowed`.
pub struct Spans<'a, F> {
    /// Start logits of the context tokens.
    pub start: &'a [f32],
    /// End logits of the context tokens.
    pub end: &'a [f32],
    /// Tokens an answer may have.
    pub longest: usize,
    /// A further condition on `(start, end)`, such as that this window owns the span.
    pub allowed: F,
}

impl<F: Fn(usize, usize) -> bool> Spans<'_, F> {
    fn each(&self, mut visit: impl FnMut(Span)) {
        for (start, &start_logit) in self.start.iter().enumerate() {
            let limit = self.end.len().min(start.saturating_add(self.longest));
            for end in start..limit {
                if (self.allowed)(start, end) {
                    visit(Span { start, end, logit: start_logit + self.end[end] });
                }
            }
        }
    }

    /// The spans that share a token with another.
    fn each_overlapping(&self, other: &Span, mut visit: impl FnMut(Span)) {
        for start in (other.start + 1).saturating_sub(self.longest)..=other.end {
            let limit = self.end.len().min(start.saturating_add(self.longest));
            for end in other.start.max(start)..limit {
                if (self.allowed)(start, end) {
                    visit(Span { start, end, logit: self.start[start] + self.end[end] });
                }
            }
        }
    }

    /// The `keep` best spans, best first.
    pub fn best(&self, keep: usize) -> Vec<Span> {
        // No more than there are: whoever asks for everything may say so with any number.
        let cells = self.end.len().saturating_mul(self.longest.min(self.end.len()));
        let mut kept = BinaryHeap::with_capacity(keep.min(cells));
        self.each(|span| {
            let span = Ranked(span);
            if kept.len() < keep {
                kept.push(span);
            } else if let Some(mut worst) = kept.peek_mut()
                && span < *worst
            {
                *worst = span;
            }
        });
        kept.into_sorted_vec().into_iter().map(|Ranked(span)| span).collect()
    }

    /// The best span, the best one that shares no token with it, and so on, `keep` at most.
    pub fn best_apart(&self, keep: usize) -> Vec<Span> {
        let mut chosen: Vec<Span> = Vec::new();
        while chosen.len() < keep {
            let mut best: Option<Span> = None;
            self.each(|span| {
                if best.is_none_or(|best| span.rank(&best).is_lt())
                    && !chosen.iter().any(|other| other.overlaps(&span))
                {
                    best = Some(span);
                }
            });
            match best {
                Some(span) => chosen.push(span),
                None => break,
            }
        }
        chosen
    }

    /// The logarithm of the sum of `exp(logit / temperature)` over all spans.
    pub fn log_sum(&self, temperature: f64) -> LogSum {
        let mut sum = LogSum::default();
        self.each(|span| sum.add(f64::from(span.logit) / temperature));
        sum
    }

    /// The same over those that share a token with another.
    pub fn log_sum_around(&self, other: &Span, temperature: f64) -> LogSum {
        let mut sum = LogSum::default();
        self.each_overlapping(other, |span| sum.add(f64::from(span.logit) / temperature));
        sum
    }
}

/// A span ordered so that the worst one is the greatest: the top of the heap is what to replace.
struct Ranked(Span);

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.rank(&other.0)
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every legal span, sorted: the definition that the search must agree with.
    fn brute_force(
        start: &[f32],
        end: &[f32],
        longest: usize,
        allowed: &dyn Fn(usize, usize) -> bool,
    ) -> Vec<Span> {
        let mut all = Vec::new();
        for (i, s) in start.iter().enumerate() {
            for (j, e) in end.iter().enumerate() {
                if i <= j && j - i < longest && allowed(i, j) {
                    all.push(Span { start: i, end: j, logit: s + e });
                }
            }
        }
        all.sort_by(Span::rank);
        all
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        /// Quarter-valued logits make ties common.
        #[test]
        fn the_search_equals_brute_force(cells in prop::collection::vec((-12i8..12, -12i8..12), 0..50),
                                         longest in 1usize..40, keep in 1usize..30, step in 1usize..4) {
            let start: Vec<f32> = cells.iter().map(|&(s, _)| f32::from(s) * 0.25).collect();
            let end: Vec<f32> = cells.iter().map(|&(_, e)| f32::from(e) * 0.25).collect();
            let allowed = |i: usize, j: usize| (i + j).is_multiple_of(step);
            let all = brute_force(&start, &end, longest, &allowed);
            let spans = Spans { start: &start, end: &end, longest, allowed };
            prop_assert_eq!(spans.best(keep), &all[..keep.min(all.len())]);

            let exact: f64 = all.iter().map(|span| f64::from(span.logit).exp()).sum();
            let sum = spans.log_sum(1.0).ln();
            prop_assert!(all.is_empty() || (sum - exact.ln()).abs() < 1e-9);

            for other in all.iter().take(3) {
                let near = all.iter().filter(|span| span.overlaps(other));
                let exact: f64 = near.map(|span| f64::from(span.logit / 2.0).exp()).sum();
                prop_assert!((spans.log_sum_around(other, 2.0).ln() - exact.ln()).abs() < 1e-9);
            }

            let mut apart: Vec<Span> = Vec::new();
            for span in &all {
                if apart.len() < keep && !apart.iter().any(|other| other.overlaps(span)) {
                    apart.push(*span);
                }
            }
            prop_assert_eq!(spans.best_apart(keep), apart);
        }
    }

    #[test]
    fn any_number_may_be_asked_for() {
        let logits = [0.5, 1.0, -1.0];
        let spans = Spans { start: &logits, end: &logits, longest: usize::MAX, allowed: |_, _| true };
        assert_eq!(spans.best(usize::MAX).len(), 6);
        assert_eq!(spans.best_apart(usize::MAX).len(), 3);
    }

    #[test]
    fn log_sums_merge_and_do_not_overflow() {
        let mut left = LogSum::default();
        left.add(1000.0);
        let mut right = LogSum::default();
        right.add(1000.0);
        right.add(-1000.0);
        left.merge(right);
        left.merge(LogSum::default());
        assert!((left.ln() - (1000.0 + 2f64.ln())).abs() < 1e-12);
        assert_eq!(LogSum::default().ln(), f64::NEG_INFINITY);
    }
}
