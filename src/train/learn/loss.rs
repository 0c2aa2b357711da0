//! What training minimises, and its gradients: cross entropy of starts and ends, and how far the student is from its teacher.

use crate::heads::WindowLogits;

/// The tokens of a window that should be chosen; both the first one if the window holds no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Where the answer starts.
    pub start: usize,
    /// Its last token.
    pub end: usize,
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

/// The loss of some windows, and how it changes with each logit. Everything is multiplied by `share`, so that the windows of
/// several batches add up to one mean.
pub(crate) fn loss(
    logits: &[WindowLogits],
    targets: &[Target],
    soft: Option<&SoftTargets>,
    share: f64,
) -> (f64, Vec<WindowLogits>) {
    let mut total = 0.0;
    let mut gradients = Vec::with_capacity(logits.len());
    for (window, (logits, target)) in logits.iter().zip(targets).enumerate() {
        let teacher = |side: fn(&WindowLogits) -> &Vec<f32>| {
            soft.map(|soft| (side(&soft.logits[window]).as_slice(), soft.temperature, soft.weight))
        };
        let (start_loss, start) =
            side(&logits.start, target.start, teacher(|logits| &logits.start), share / 2.0);
        let (end_loss, end) = side(&logits.end, target.end, teacher(|logits| &logits.end), share / 2.0);
        total += start_loss + end_loss;
        gradients.push(WindowLogits { start, end });
    }
    (total, gradients)
}

/// Loss and gradients of the starts, or ends, of one window.
fn side(logits: &[f32], target: usize, teacher: Option<(&[f32], f64, f64)>, share: f64) -> (f64, Vec<f32>) {
    let own = teacher.map_or(1.0, |(_, _, weight)| 1.0 - weight) * share;
    let mine = log_softmax(logits, 1.0);
    let mut loss = -own * mine[target];
    let mut gradients: Vec<f64> = mine.iter().map(|log| own * log.exp()).collect();
    gradients[target] -= own;
    if let Some((teacher, temperature, weight)) = teacher {
        let mine = log_softmax(logits, temperature);
        let theirs = log_softmax(teacher, temperature);
        // Gradients of softened probabilities shrink with the square of the temperature; this keeps their size.
        let factor = weight * share * temperature * temperature;
        for ((mine, theirs), gradient) in mine.iter().zip(&theirs).zip(&mut gradients) {
            loss += factor * theirs.exp() * (theirs - mine);
            *gradient += factor / temperature * (mine.exp() - theirs.exp());
        }
    }
    (loss, gradients.into_iter().map(|gradient| gradient as f32).collect())
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
        let target = [Target { start: 2, end: 3 }];
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
        let (loss, gradients) = loss(&logits, &[Target { start: 1, end: 1 }], None, 1.0);
        assert!(loss < 1e-30 && gradients[0].start.iter().all(|gradient| gradient.abs() < 1e-30));
    }
}
