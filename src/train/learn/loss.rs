//! What training minimises, and its gradients: cross entropy of what should be chosen, and how far the student is from its teacher.

use std::ops::Range;

use rayon::prelude::*;

use super::joint::{View, joint};
use crate::heads::WindowLogits;

/// The tokens of a window that should be chosen; both the first one if the window holds no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Where the answer starts.
    pub start: usize,
    /// Its last token.
    pub end: usize,
}

/// What one example should come to. In a batch the windows of the examples follow each other.
#[derive(Debug, Clone, PartialEq)]
pub enum Lesson {
    /// One window: a softmax over its starts, and one over its ends.
    Window(Target),
    /// All windows of a question: one softmax over all their spans and "no answer".
    Joint(Vec<View>),
}

impl Lesson {
    /// How many windows it takes.
    pub fn windows(&self) -> usize {
        match self {
            Lesson::Window(_) => 1,
            Lesson::Joint(views) => views.len(),
        }
    }
}

/// A teacher's logits of the windows, to be imitated, and how much that counts.
#[derive(Debug, Clone)]
pub struct SoftTargets {
    /// The teacher's logits.
    pub logits: Vec<WindowLogits>,
    /// What both sides' logits are divided by: above 1, the less likely tokens count more.
    pub temperature: f64,
    /// The teacher's share of the loss; the rest is the answers'.
    pub weight: f64,
}

/// How the loss changes with each logit of a window.
#[derive(Debug, Clone)]
pub(super) struct Slopes {
    pub(super) start: Vec<f64>,
    pub(super) end: Vec<f64>,
}

impl Slopes {
    pub(super) fn flat(logits: &WindowLogits) -> Self {
        Self { start: vec![0.0; logits.start.len()], end: vec![0.0; logits.end.len()] }
    }
}

/// The loss of some examples, and how it changes with each logit. Everything is multiplied by `share`, so that the examples of
/// several batches add up to one mean. Examples are judged side by side: a card that waits for this has little else to wait for.
pub(crate) fn loss(
    logits: &[WindowLogits],
    lessons: &[Lesson],
    soft: Option<&SoftTargets>,
    share: f64,
) -> (f64, Vec<WindowLogits>) {
    let mut first = 0;
    let own = |lesson: &Lesson| {
        let windows = first..first + lesson.windows();
        first = windows.end;
        windows
    };
    let windows: Vec<Range<usize>> = lessons.iter().map(own).collect();
    let judged: Vec<(f64, Vec<WindowLogits>)> = lessons
        .par_iter()
        .zip(windows)
        .map(|(lesson, windows)| {
            let soft = soft.map(|soft| (soft, &soft.logits[windows.clone()]));
            judge(&logits[windows], lesson, soft, share)
        })
        .collect();
    let total = judged.iter().map(|(loss, _)| loss).sum();
    (total, judged.into_iter().flat_map(|(_, slopes)| slopes).collect())
}

/// The same of one example.
fn judge(
    logits: &[WindowLogits],
    lesson: &Lesson,
    soft: Option<(&SoftTargets, &[WindowLogits])>,
    share: f64,
) -> (f64, Vec<WindowLogits>) {
    let mut slopes: Vec<Slopes> = logits.iter().map(Slopes::flat).collect();
    let own = soft.map_or(1.0, |(soft, _)| 1.0 - soft.weight) * share;
    let mut total = match lesson {
        Lesson::Window(target) => {
            let (logits, slopes) = (&logits[0], &mut slopes[0]);
            choose(&logits.start, target.start, own / 2.0, &mut slopes.start)
                + choose(&logits.end, target.end, own / 2.0, &mut slopes.end)
        }
        Lesson::Joint(views) => joint(logits, views, own, &mut slopes),
    };
    if let Some((soft, theirs)) = soft {
        let weight = soft.weight * share / (2.0 * logits.len() as f64);
        for ((mine, theirs), slopes) in logits.iter().zip(theirs).zip(&mut slopes) {
            total += imitate(&mine.start, &theirs.start, soft.temperature, weight, &mut slopes.start)
                + imitate(&mine.end, &theirs.end, soft.temperature, weight, &mut slopes.end);
        }
    }
    let rounded = |slopes: Vec<f64>| slopes.into_iter().map(|slope| slope as f32).collect();
    let windows = slopes
        .into_iter()
        .map(|Slopes { start, end }| WindowLogits { start: rounded(start), end: rounded(end) });
    (total, windows.collect())
}

/// Cross entropy of one token, and its part of the slopes.
fn choose(logits: &[f32], target: usize, weight: f64, slopes: &mut [f64]) -> f64 {
    let logs = log_softmax(logits, 1.0);
    for (slope, log) in slopes.iter_mut().zip(&logs) {
        *slope += weight * log.exp();
    }
    slopes[target] -= weight;
    -weight * logs[target]
}

/// The divergence from the teacher's softened probabilities, and its part of the slopes.
fn imitate(mine: &[f32], theirs: &[f32], temperature: f64, weight: f64, slopes: &mut [f64]) -> f64 {
    let (mine, theirs) = (log_softmax(mine, temperature), log_softmax(theirs, temperature));
    // Gradients of softened probabilities shrink with the square of the temperature; this keeps their size.
    let factor = weight * temperature * temperature;
    let mut loss = 0.0;
    for ((mine, theirs), slope) in mine.iter().zip(&theirs).zip(slopes) {
        loss += factor * theirs.exp() * (theirs - mine);
        *slope += factor / temperature * (mine.exp() - theirs.exp());
    }
    loss
}

/// The logarithm of each token's probability.
fn log_softmax(logits: &[f32], temperature: f64) -> Vec<f64> {
    let scaled = || logits.iter().map(|logit| f64::from(*logit) / temperature);
    let highest = scaled().fold(f64::NEG_INFINITY, f64::max);
    let sum = highest + scaled().map(|logit| (logit - highest).exp()).sum::<f64>().ln();
    scaled().map(|logit| logit - sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gradients by differences, in a loss with every part.
    #[test]
    fn gradients_are_those_of_the_loss() {
        let logits = WindowLogits { start: vec![0.5, -1.0, 2.0, 0.1], end: vec![1.5, 0.0, -2.0, 0.7] };
        let soft = SoftTargets {
            logits: vec![WindowLogits { start: vec![1.0, 0.0, -1.0, 3.0], end: vec![0.0, 2.0, 0.5, -0.5] }],
            temperature: 2.5,
            weight: 0.6,
        };
        let target = [Lesson::Window(Target { start: 2, end: 3 })];
        for soft in [None, Some(&soft)] {
            let run = |logits: &WindowLogits| loss(std::slice::from_ref(logits), &target, soft, 0.25);
            let (_, gradients) = run(&logits);
            for token in 0..4 {
                let step = 1e-2;
                let (mut more, mut less) = (logits.clone(), logits.clone());
                more.end[token] += step;
                less.end[token] -= step;
                let found = (run(&more).0 - run(&less).0) / f64::from(2.0 * step);
                assert!((found - f64::from(gradients[0].end[token])).abs() < 1e-5, "{token}: {found}");
            }
        }
    }

    #[test]
    fn a_certain_model_has_no_loss() {
        let logits = [WindowLogits { start: vec![0.0, 100.0], end: vec![0.0, 100.0] }];
        let (loss, gradients) = loss(&logits, &[Lesson::Window(Target { start: 1, end: 1 })], None, 1.0);
        assert!(loss < 1e-30 && gradients[0].start.iter().all(|gradient| gradient.abs() < 1e-30));
    }
}
