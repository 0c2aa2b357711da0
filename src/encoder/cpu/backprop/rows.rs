//! What is done to rows one by one, and its backward pass: biases, normalisation, GELU, dropout.

use rayon::prelude::*;

use crate::encoder::cpu::isa::Isa;
use crate::encoder::cpu::math::{gelu, gelu_gradient};
use crate::encoder::cpu::memory::Sheet;
use crate::encoder::cpu::rows::{Dot, sum, sum_of_squares};
use crate::encoder::cpu::simd::{Kernel, Simd};
use crate::encoder::dropout::Dropout;

/// Rows that one thread takes at a time.
const ROWS: usize = 32;

/// Columns that one thread adds up at a time.
const COLUMNS: usize = 64;

/// Makes every row the bias, which a product is added to.
pub(super) fn start_from(bias: &[f32], rows: usize, sheet: &mut Sheet) {
    sheet.shape(rows, bias.len());
    let stride = sheet.stride();
    sheet.blocks_mut(ROWS).for_each(|rows| {
        rows.chunks_exact_mut(stride).for_each(|row| row[..bias.len()].copy_from_slice(bias));
    });
}

/// The states of a normalisation that its backward pass needs.
#[derive(Default)]
pub(super) struct Normed {
    /// Rows of mean zero and width one, before weight and bias.
    normalised: Sheet,
    /// What each row was multiplied with.
    factors: Vec<f32>,
}

/// Weight and bias of a normalisation.
#[derive(Clone, Copy)]
pub(super) struct Scale<'a> {
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) epsilon: f32,
}

impl Normed {
    /// `state = norm(state + dropout(delta))`, row by row.
    pub(super) fn forward(
        &mut self,
        isa: Isa,
        scale: Scale,
        delta: Option<&Sheet>,
        dropout: Option<Dropout>,
        state: &mut Sheet,
    ) {
        let (width, stride) = (scale.weight.len(), state.stride());
        self.normalised.shape(state.rows(), width);
        self.factors.resize(state.rows(), 0.0);
        let factors = self.factors.par_chunks_mut(ROWS);
        let blocks = state.blocks_mut(ROWS).zip(self.normalised.blocks_mut(ROWS)).zip(factors).enumerate();
        blocks.for_each(|(block, ((states, normalised_rows), factors))| {
            isa.run(Normalise {
                scale,
                delta,
                dropout,
                first: block * ROWS,
                stride,
                states,
                normalised_rows,
                factors,
            });
        });
    }

    /// From the gradients of the result to those of what was normalised, in place; adds to those of weight and bias.
    pub(super) fn backward(
        &self,
        isa: Isa,
        weight: &[f32],
        gradients: &mut Sheet,
        [to_weight, to_bias]: [&mut [f32]; 2],
    ) {
        add_columns(isa, gradients, Some(&self.normalised), to_weight);
        add_columns(isa, gradients, None, to_bias);
        let stride = gradients.stride();
        gradients.blocks_mut(ROWS).enumerate().for_each(|(block, gradients)| {
            isa.run(Unnormalise { normed: self, weight, first: block * ROWS, stride, gradients });
        });
    }
}

struct Normalise<'a> {
    scale: Scale<'a>,
    delta: Option<&'a Sheet>,
    dropout: Option<Dropout>,
    first: usize,
    stride: usize,
    states: &'a mut [f32],
    normalised_rows: &'a mut [f32],
    factors: &'a mut [f32],
}

impl Kernel for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Scale { weight, bias, epsilon } = self.scale;
        let width = weight.len();
        // The sheet of normalised rows has the same width, hence the same stride.
        let rows =
            self.states.chunks_exact_mut(self.stride).zip(self.normalised_rows.chunks_exact_mut(self.stride));
        for (row, ((state, normalised), factor)) in rows.zip(self.factors).enumerate() {
            let (state, normalised) = (&mut state[..width], &mut normalised[..width]);
            match (self.delta.map(|delta| &delta.row(self.first + row)[..width]), self.dropout) {
                (None, _) => {}
                (Some(delta), None) => state.iter_mut().zip(delta).for_each(|(x, delta)| *x += delta),
                (Some(delta), Some(dropout)) => {
                    let first = ((self.first + row) * width) as u32;
                    for (column, (x, delta)) in state.iter_mut().zip(delta).enumerate() {
                        *x += delta * dropout.factor(first.wrapping_add(column as u32));
                    }
                }
            }
            let mean = sum(simd, state) / width as f32;
            let variance = sum_of_squares(simd, state, mean) / width as f32;
            *factor = 1.0 / (variance + epsilon).sqrt();
            for (x, normalised) in state.iter().zip(&mut *normalised) {
                *normalised = (x - mean) * *factor;
            }
            for ((x, normalised), (weight, bias)) in
                state.iter_mut().zip(normalised).zip(weight.iter().zip(bias))
            {
                *x = *normalised * weight + bias;
            }
        }
    }
}

struct Unnormalise<'a> {
    normed: &'a Normed,
    weight: &'a [f32],
    first: usize,
    stride: usize,
    gradients: &'a mut [f32],
}

impl Kernel for Unnormalise<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = self.weight.len();
        for (row, gradients) in self.gradients.chunks_exact_mut(self.stride).enumerate() {
            let row = self.first + row;
            let (gradients, normalised) =
                (&mut gradients[..width], &self.normed.normalised.row(row)[..width]);
            gradients.iter_mut().zip(self.weight).for_each(|(gradient, weight)| *gradient *= weight);
            let mean = sum(simd, gradients) / width as f32;
            let along = Dot { a: gradients, b: normalised }.run(simd) / width as f32;
            let factor = self.normed.factors[row];
            for (gradient, normalised) in gradients.iter_mut().zip(normalised) {
                *gradient = factor * (*gradient - mean - normalised * along);
            }
        }
    }
}

/// Adds the sum of each column, or of its products with `times`, to `out`, row after row: the same bits on any number of threads.
pub(super) fn add_columns(isa: Isa, sheet: &Sheet, times: Option<&Sheet>, out: &mut [f32]) {
    out.par_chunks_mut(COLUMNS).enumerate().for_each(|(block, out)| {
        isa.run(AddColumns { sheet, times, first: block * COLUMNS, out });
    });
}

struct AddColumns<'a> {
    sheet: &'a Sheet,
    times: Option<&'a Sheet>,
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for AddColumns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let count = self.out.len();
        let mut sums = [0.0f32; COLUMNS];
        for row in 0..self.sheet.rows() {
            let numbers = &self.sheet.row(row)[self.first..][..count];
            match self.times {
                None => sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number),
                Some(times) => {
                    let times = &times.row(row)[self.first..][..count];
                    let products = numbers.iter().zip(times).map(|(number, times)| number * times);
                    sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
                }
            }
        }
        self.out.iter_mut().zip(sums).for_each(|(out, sum)| *out += sum);
    }
}

/// `to = gelu(from)`. Sheets of one width; padding goes along, because rows are whole vectors with it.
pub(super) fn activate(isa: Isa, from: &Sheet, width: usize, to: &mut Sheet) {
    to.shape(from.rows(), width);
    let length = ROWS * from.stride();
    to.blocks_mut(ROWS)
        .zip(from.all().par_chunks(length))
        .for_each(|(to, from)| isa.run(Activate { from, to }));
}

struct Activate<'a> {
    from: &'a [f32],
    to: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (to, from) in self.to.chunks_exact_mut(S::LANES).zip(self.from.chunks_exact(S::LANES)) {
            // SAFETY: both chunks are one vector long.
            unsafe { simd.store(to.as_mut_ptr(), gelu(simd, simd.load(from.as_ptr()))) };
        }
    }
}

/// From the gradients of `gelu(from)` to those of `from`, in place.
pub(super) fn unactivate(isa: Isa, from: &Sheet, gradients: &mut Sheet) {
    let length = ROWS * from.stride();
    let blocks = gradients.blocks_mut(ROWS).zip(from.all().par_chunks(length));
    blocks.for_each(|(gradients, from)| isa.run(Unactivate { from, gradients }));
}

struct Unactivate<'a> {
    from: &'a [f32],
    gradients: &'a mut [f32],
}

impl Kernel for Unactivate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (gradients, from) in
            self.gradients.chunks_exact_mut(S::LANES).zip(self.from.chunks_exact(S::LANES))
        {
            // SAFETY: both chunks are one vector long.
            unsafe {
                let gradient = gelu_gradient(simd, simd.load(from.as_ptr()));
                simd.store(gradients.as_mut_ptr(), simd.mul(gradient, simd.load(gradients.as_ptr())));
            }
        }
    }
}

/// Drops numbers of a sheet in place; in the backward pass, gradients.
pub(super) fn drop_out(isa: Isa, dropout: Dropout, width: usize, sheet: &mut Sheet) {
    let stride = sheet.stride();
    sheet.blocks_mut(ROWS).enumerate().for_each(|(block, rows)| {
        isa.run(DropOut { dropout, width, first: block * ROWS, stride, rows });
    });
}

struct DropOut<'a> {
    dropout: Dropout,
    width: usize,
    first: usize,
    stride: usize,
    rows: &'a mut [f32],
}

impl Kernel for DropOut<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (row, numbers) in self.rows.chunks_exact_mut(self.stride).enumerate() {
            self.dropout.apply(((self.first + row) * self.width) as u32, &mut numbers[..self.width]);
        }
    }
}
