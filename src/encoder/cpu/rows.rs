//! What is done to rows one by one: normalisation and projection.

use super::isa::Isa;
use super::memory::Block;
use super::simd::{Kernel, Simd};
use crate::encoder::Projection;

/// Layer normalisation.
pub(super) struct Norm {
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Norm {
    /// `state = norm(state + delta)`, row by row.
    pub(super) fn add_and_normalise(&self, isa: Isa, states: &mut [f32], stride: usize, delta: Block) {
        let rows = states.chunks_exact_mut(stride).zip(delta.all().chunks_exact(delta.stride()));
        isa.run(Normalise { norm: self, rows: rows.map(|(state, delta)| (state, Some(delta))) });
    }

    /// `state = norm(state)`, row by row.
    pub(super) fn normalise(&self, isa: Isa, states: &mut [f32], stride: usize) {
        isa.run(Normalise { norm: self, rows: states.chunks_exact_mut(stride).map(|state| (state, None)) });
    }
}

struct Normalise<'a, R> {
    norm: &'a Norm,
    rows: R,
}

impl<'a, R: Iterator<Item = (&'a mut [f32], Option<&'a [f32]>)>> Kernel for Normalise<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Norm { weight, bias, epsilon } = self.norm;
        let width = weight.len();
        for (row, delta) in self.rows {
            let row = &mut row[..width];
            if let Some(delta) = delta {
                add(simd, row, &delta[..width]);
            }
            let mean = sum(simd, row) / width as f32;
            let variance = sum_of_squares(simd, row, mean) / width as f32;
            scale(simd, row, mean, 1.0 / (variance + epsilon).sqrt(), (weight, bias));
        }
    }
}

/// The numbers of a row that fill whole vectors. The rest, of widths that no real encoder has, is worked through one by one.
#[inline(always)]
fn whole<S: Simd>(row: &[f32]) -> usize {
    row.len() / S::LANES * S::LANES
}

#[inline(always)]
fn add<S: Simd>(simd: S, row: &mut [f32], delta: &[f32]) {
    let whole = whole::<S>(row);
    for (to, from) in row.chunks_exact_mut(S::LANES).zip(delta.chunks_exact(S::LANES)) {
        // SAFETY: both chunks are one vector long.
        unsafe { simd.store(to.as_mut_ptr(), simd.add(simd.load(to.as_ptr()), simd.load(from.as_ptr()))) };
    }
    for (to, from) in row[whole..].iter_mut().zip(&delta[whole..]) {
        *to += from;
    }
}

#[inline(always)]
pub(super) fn sum<S: Simd>(simd: S, row: &[f32]) -> f32 {
    let mut sum = simd.splat(0.0);
    for chunk in row.chunks_exact(S::LANES) {
        // SAFETY: the chunk is one vector long.
        sum = simd.add(sum, unsafe { simd.load(chunk.as_ptr()) });
    }
    simd.sum(sum) + row[whole::<S>(row)..].iter().sum::<f32>()
}

#[inline(always)]
pub(super) fn sum_of_squares<S: Simd>(simd: S, row: &[f32], mean: f32) -> f32 {
    let mut sum = simd.splat(0.0);
    for chunk in row.chunks_exact(S::LANES) {
        // SAFETY: the chunk is one vector long.
        let apart = simd.sub(unsafe { simd.load(chunk.as_ptr()) }, simd.splat(mean));
        sum = simd.fused(apart, apart, sum);
    }
    simd.sum(sum) + row[whole::<S>(row)..].iter().map(|x| (x - mean) * (x - mean)).sum::<f32>()
}

#[inline(always)]
fn scale<S: Simd>(simd: S, row: &mut [f32], mean: f32, factor: f32, (weight, bias): (&[f32], &[f32])) {
    let whole = whole::<S>(row);
    let vectors = weight.chunks_exact(S::LANES).zip(bias.chunks_exact(S::LANES));
    for (chunk, (weight, bias)) in row.chunks_exact_mut(S::LANES).zip(vectors) {
        // SAFETY: all three chunks are one vector long.
        unsafe {
            let apart = simd.sub(simd.load(chunk.as_ptr()), simd.splat(mean));
            let normalised = simd.mul(apart, simd.splat(factor));
            let value = simd.fused(normalised, simd.load(weight.as_ptr()), simd.load(bias.as_ptr()));
            simd.store(chunk.as_mut_ptr(), value);
        }
    }
    for (x, (weight, bias)) in row[whole..].iter_mut().zip(weight[whole..].iter().zip(&bias[whole..])) {
        *x = (*x - mean) * factor * weight + bias;
    }
}

/// What projects a row of a state, on the vector unit in use.
pub(in crate::encoder) fn projector() -> impl Fn(&Projection, &[f32], &mut [f32]) + Copy + Sync {
    projector_for(Isa::in_use())
}

/// The same on some vector unit. A row may be longer than the projection's inputs: that is padding.
pub(super) fn projector_for(isa: Isa) -> impl Fn(&Projection, &[f32], &mut [f32]) + Copy + Sync {
    move |projection, row, out| {
        let weights = projection.weight().chunks_exact(projection.inputs().max(1));
        for ((out, weights), bias) in out.iter_mut().zip(weights).zip(projection.bias()) {
            *out = isa.run(Dot { a: row, b: weights }) + bias;
        }
    }
}

/// The product of the first numbers of `a` with `b`, summed up.
pub(super) struct Dot<'a> {
    pub(super) a: &'a [f32],
    pub(super) b: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let a = &self.a[..self.b.len()];
        let whole = whole::<S>(self.b);
        let mut sum = simd.splat(0.0);
        for (a, b) in a.chunks_exact(S::LANES).zip(self.b.chunks_exact(S::LANES)) {
            // SAFETY: both chunks are one vector long.
            sum = unsafe { simd.fused(simd.load(a.as_ptr()), simd.load(b.as_ptr()), sum) };
        }
        let rest = a[whole..].iter().zip(&self.b[whole..]).map(|(a, b)| a * b);
        simd.sum(sum) + rest.sum::<f32>()
    }
}
