//! The optimiser: AdamW, with the decay kept apart from the gradient and both moments corrected for their start at zero.

use rayon::prelude::*;

use crate::encoder::places::{Rule, Slot, Step};

/// How one step changes the numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// The learning rate of the head.
    pub rate: f64,
    /// The largest norm that all gradients together may have; longer ones are shortened to it. Zero for any.
    pub clip: f64,
    /// How fast the mean of the gradients forgets.
    pub beta1: f64,
    /// How fast the mean of their squares forgets.
    pub beta2: f64,
    /// Added to the root of the squares' mean.
    pub epsilon: f64,
    /// The share of each matrix that a step at rate 1 takes away.
    pub decay: f64,
    /// What the rate is multiplied with from each layer to the one below.
    pub layer_decay: f64,
}

impl Default for Update {
    fn default() -> Self {
        Self { rate: 3e-5, clip: 1.0, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, decay: 0.01, layer_decay: 1.0 }
    }
}

impl Update {
    /// What becomes of each slot in the step of that number, counted from 1.
    pub(super) fn step(&self, number: u64, slots: &[Slot]) -> Step {
        let top = slots.last().map_or(0, |slot| slot.depth);
        let count = number.min(i32::MAX as u64) as i32;
        let (bias1, bias2) = (1.0 - self.beta1.powi(count), 1.0 - self.beta2.powi(count));
        let rule = |slot: &Slot| {
            let rate = self.rate * self.layer_decay.powi((top - slot.depth) as i32);
            let decay = if slot.decays { self.decay } else { 0.0 };
            Rule { keep: (1.0 - rate * decay) as f32, rate: (rate / bias1) as f32 }
        };
        Step {
            clip: self.clip,
            beta1: self.beta1 as f32,
            beta2: self.beta2 as f32,
            spread: (1.0 / bias2.sqrt()) as f32,
            epsilon: self.epsilon as f32,
            rules: slots.iter().map(rule).collect(),
        }
    }
}

/// What the optimiser remembers.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moments {
    pub(super) first: Vec<f32>,
    pub(super) second: Vec<f32>,
    pub(super) steps: u64,
}

/// Numbers that are summed or changed by one thread at a time.
const PIECE: usize = 1 << 16;

impl Moments {
    pub(super) fn new(length: usize) -> Self {
        Self { first: vec![0.0; length], second: vec![0.0; length], steps: 0 }
    }

    /// Changes the values of the slots that learn by gradients that have this norm.
    pub(super) fn step(
        &mut self,
        values: &mut [f32],
        (gradients, norm): (&[f32], f64),
        slots: &[Slot],
        learns: impl Fn(&Slot) -> bool,
        step: &Step,
    ) {
        // As PyTorch's clip_grad_norm_ does.
        let shrink = if step.clip > 0.0 { (step.clip / (norm + 1e-6)).min(1.0) as f32 } else { 1.0 };
        for (slot, rule) in slots.iter().zip(&step.rules).filter(|(slot, _)| learns(slot)) {
            let place = slot.place.clone();
            let changed =
                values[place.clone()].par_chunks_mut(PIECE).zip(gradients[place.clone()].par_chunks(PIECE));
            let moments = self.first[place.clone()].par_chunks_mut(PIECE);
            let moments = moments.zip(self.second[place].par_chunks_mut(PIECE));
            changed.zip(moments).for_each(|((values, gradients), (first, second))| {
                apply(step, *rule, shrink, (values, gradients), (first, second));
            });
        }
    }
}

fn apply(
    step: &Step,
    rule: Rule,
    shrink: f32,
    (values, gradients): (&mut [f32], &[f32]),
    (first, second): (&mut [f32], &mut [f32]),
) {
    let &Step { beta1, beta2, spread, epsilon, .. } = step;
    let moments = first.iter_mut().zip(second);
    for ((value, gradient), (first, second)) in values.iter_mut().zip(gradients).zip(moments) {
        let gradient = gradient * shrink;
        *first += (1.0 - beta1) * (gradient - *first);
        *second = beta2 * *second + (1.0 - beta2) * gradient * gradient;
        *value = *value * rule.keep - rule.rate * *first / (second.sqrt() * spread + epsilon);
    }
}

/// The length of all gradients taken together; the same whatever the number of threads.
pub(super) fn norm(gradients: &[f32]) -> f64 {
    let squares: Vec<f64> = gradients
        .par_chunks(PIECE)
        .map(|piece| {
            // Sixteen sums side by side, so that the processor can keep up.
            let mut sums = [0.0f64; 16];
            let (whole, rest) = piece.as_chunks::<16>();
            for chunk in whole {
                for (sum, number) in sums.iter_mut().zip(chunk) {
                    *sum += f64::from(*number) * f64::from(*number);
                }
            }
            sums.iter().sum::<f64>() + rest.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>()
        })
        .collect();
    squares.iter().sum::<f64>().sqrt()
}
