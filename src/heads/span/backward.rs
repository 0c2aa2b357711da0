//! The span head while it learns.

use std::ops::Range;

use rayon::prelude::*;

use super::{OUTPUTS, WindowLogits};
use crate::encoder::Projection;
use crate::encoder::batch::Batch;

/// The logits of every token, from hidden states `[tokens, hidden]`.
pub(crate) fn forward(states: &[f32], [weight, bias]: [&[f32]; 2], batch: &Batch) -> Vec<WindowLogits> {
    by_window(&Projection::new(weight, bias).apply(states), batch)
}

/// Sorts logits `[tokens, 2]` by window and side.
pub(crate) fn by_window(logits: &[f32], batch: &Batch) -> Vec<WindowLogits> {
    let side = |window: &Range<usize>, side: usize| {
        logits[window.start * OUTPUTS..window.end * OUTPUTS]
            .iter()
            .skip(side)
            .step_by(OUTPUTS)
            .copied()
            .collect()
    };
    batch.ranges().map(|window| WindowLogits { start: side(&window, 0), end: side(&window, 1) }).collect()
}

/// The other way: numbers of windows as `[tokens, 2]`.
#[cfg(feature = "cuda")]
pub(crate) fn by_token(windows: &[WindowLogits]) -> Vec<f32> {
    let pairs = |window: &WindowLogits| -> Vec<f32> {
        window.start.iter().zip(&window.end).flat_map(|(start, end)| [*start, *end]).collect()
    };
    windows.iter().flat_map(pairs).collect()
}

/// From the gradients of the logits to those of the hidden states, in place; adds those of weight and bias to `sums`.
pub(crate) fn backward(
    states: &mut [f32],
    weight: &[f32],
    gradients: &[WindowLogits],
    [weight_sums, bias_sums]: [&mut [f32]; 2],
) {
    let hidden = weight.len() / OUTPUTS;
    let starts: Vec<f32> = gradients.iter().flat_map(|window| window.start.iter().copied()).collect();
    let ends: Vec<f32> = gradients.iter().flat_map(|window| window.end.iter().copied()).collect();
    bias_sums[0] += starts.iter().sum::<f32>();
    bias_sums[1] += ends.iter().sum::<f32>();
    let (to_start, to_end) = weight_sums.split_at_mut(hidden);
    for (state, (start, end)) in states.chunks_exact(hidden).zip(starts.iter().zip(&ends)) {
        to_start.iter_mut().zip(state).for_each(|(sum, number)| *sum += start * number);
        to_end.iter_mut().zip(state).for_each(|(sum, number)| *sum += end * number);
    }
    let (start_weight, end_weight) = weight.split_at(hidden);
    states.par_chunks_exact_mut(hidden).zip(starts.par_iter().zip(&ends)).for_each(
        |(state, (start, end))| {
            for (number, (a, b)) in state.iter_mut().zip(start_weight.iter().zip(end_weight)) {
                *number = start * a + end * b;
            }
        },
    );
}
