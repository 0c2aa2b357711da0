//! One softmax over all spans of several windows of a document and "no answer", as the reader has it when it decides.

use std::ops::Range;

use super::loss::{Slopes, Target};
use crate::decode::span::LogSum;
use crate::heads::WindowLogits;

/// What of a window may be chosen, and what should be.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The tokens that are context.
    pub context: Range<usize>,
    /// Tokens a span may have.
    pub longest: usize,
    /// The logarithm of how likely the window is to hold the answer before it is read.
    pub prior: f64,
    /// The spans that answer the question, each once.
    pub golds: Vec<Target>,
}

impl View {
    /// Visits every span that may be chosen with its logit. One that answers may be longer than others.
    fn each(&self, logits: &WindowLogits, mut visit: impl FnMut(Target, f64)) {
        let mut span = |start: usize, end: usize| {
            visit(
                Target { start, end },
                self.prior + f64::from(logits.start[start]) + f64::from(logits.end[end]),
            );
        };
        for start in self.context.clone() {
            (start..self.context.end.min(start + self.longest)).for_each(|end| span(start, end));
        }
        let longer = self.golds.iter().filter(|gold| gold.end - gold.start >= self.longest);
        longer.for_each(|gold| span(gold.start, gold.end));
    }
}

/// The loss of a question, `weight` times, and its part of the slopes of each window's logits. All spans that answer count together;
/// if there is none, "no answer" should be chosen: the weakest that any window says.
pub(super) fn joint(logits: &[WindowLogits], views: &[View], weight: f64, slopes: &mut [Slopes]) -> f64 {
    let nulls = logits.iter().map(|logits| f64::from(logits.start[0]) + f64::from(logits.end[0]));
    let Some((weakest, null)) = nulls.enumerate().min_by(|(_, a), (_, b)| a.total_cmp(b)) else { return 0.0 };
    let (mut all, mut right) = (LogSum::default(), LogSum::default());
    all.add(null);
    for (logits, view) in logits.iter().zip(views) {
        view.each(logits, |span, logit| {
            all.add(logit);
            if view.golds.contains(&span) {
                right.add(logit);
            }
        });
    }
    let answerable = views.iter().any(|view| !view.golds.is_empty());
    if !answerable {
        right.add(null);
    }
    let (all, right) = (all.ln(), right.ln());
    for ((logits, view), slopes) in logits.iter().zip(views).zip(slopes.iter_mut()) {
        view.each(logits, |span, logit| {
            let wanted = if view.golds.contains(&span) { (logit - right).exp() } else { 0.0 };
            let slope = weight * ((logit - all).exp() - wanted);
            slopes.start[span.start] += slope;
            slopes.end[span.end] += slope;
        });
    }
    let slope = weight * ((null - all).exp() - if answerable { 0.0 } else { 1.0 });
    slopes[weakest].start[0] += slope;
    slopes[weakest].end[0] += slope;
    weight * (all - right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn views() -> Vec<View> {
        let gold = |start, end| Target { start, end };
        let view =
            |context, golds: &[Target], prior| View { context, longest: 3, prior, golds: golds.to_vec() };
        vec![
            view(2..9, &[], 0.0),
            // One that is longer than spans may be, and two that share tokens.
            view(3..12, &[gold(4, 5), gold(5, 5), gold(6, 10)], -0.7),
            view(2..3, &[gold(2, 2)], -1.1),
        ]
    }

    fn logits() -> Vec<WindowLogits> {
        let mut random = Random::new(4);
        let mut numbers = |count| random.noise(count).into_iter().map(|number| 3.0 * number).collect();
        [10, 13, 4].map(|count| WindowLogits { start: numbers(count), end: numbers(count) }).to_vec()
    }

    fn run(logits: &[WindowLogits], views: &[View]) -> (f64, Vec<Slopes>) {
        let mut slopes: Vec<Slopes> = logits.iter().map(Slopes::flat).collect();
        (joint(logits, views, 0.5, &mut slopes), slopes)
    }

    #[test]
    fn slopes_are_those_of_the_loss() {
        let unanswerable = || views().into_iter().map(|view| View { golds: Vec::new(), ..view }).collect();
        for views in [views(), unanswerable()] {
            let (loss, slopes) = run(&logits(), &views);
            assert!(loss > 0.1);
            for window in 0..views.len() {
                for token in 0..logits()[window].start.len() {
                    let at = |side: fn(&mut WindowLogits) -> &mut Vec<f32>, step: f32| {
                        let mut moved = logits();
                        side(&mut moved[window])[token] += step;
                        run(&moved, &views).0
                    };
                    let step = 1.0 / 256.0;
                    let slope = |side| (at(side, step) - at(side, -step)) / f64::from(2.0 * step);
                    let (start, end) = (slope(|logits| &mut logits.start), slope(|logits| &mut logits.end));
                    assert!((start - slopes[window].start[token]).abs() < 1e-4, "{window} {token}");
                    assert!((end - slopes[window].end[token]).abs() < 1e-4, "{window} {token}");
                }
            }
        }
    }

    #[test]
    fn tokens_that_may_not_be_chosen_do_not_count() {
        let (_, slopes) = run(&logits(), &views());
        // The question of the first window and the separators at the ends.
        assert_eq!(slopes[0].start[1], 0.0);
        assert_eq!((slopes[0].start[9], slopes[1].end[12]), (0.0, 0.0));
        // Of the three that say "no answer" one does.
        let nulls: Vec<bool> = slopes.iter().map(|slopes| slopes.start[0] != 0.0).collect();
        assert_eq!(nulls.iter().filter(|moved| **moved).count(), 1);
    }

    /// What decoding makes of the same logits is what was learned.
    #[test]
    fn the_loss_is_the_probability_that_decoding_gives() {
        let certain = |token: usize| WindowLogits {
            start: (0..6).map(|place| if place == token { 40.0 } else { 0.0 }).collect(),
            end: (0..6).map(|place| if place == token { 40.0 } else { 0.0 }).collect(),
        };
        let view = |golds: &[Target]| View { context: 2..5, longest: 30, prior: 0.0, golds: golds.to_vec() };
        let gold = [Target { start: 3, end: 3 }];
        assert!(run(&[certain(0), certain(3)], &[view(&[]), view(&gold)]).0 < 1e-9);
        // A window that is sure of its answer weakens "no answer" of the others.
        assert!(run(&[certain(0), certain(3)], &[view(&[]), view(&[])]).0 > 30.0);
    }
}
