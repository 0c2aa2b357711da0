//! Attention within each window, and its backward pass. Probabilities are computed again in the backward pass: keeping them would cost more memory than
//! all the rest.

use std::f32::consts::LOG2_E;
use std::ops::Range;

use rayon::prelude::*;

use super::product::{Matrix, MatrixMut, Onto, multiply_here, split};
use crate::encoder::cpu::attention::{Heads, exponentials};
use crate::encoder::cpu::isa::Isa;
use crate::encoder::cpu::memory::{Idle, Sheet, WIDEST_TILE};
use crate::encoder::cpu::rows::Dot;
use crate::encoder::cpu::simd::{Kernel, Simd};
use crate::encoder::dropout::Dropout;

/// Scratch space for one window.
#[derive(Default)]
pub(super) struct Scratch {
    probabilities: Vec<f32>,
    dropped: Vec<f32>,
    gradients: Vec<f32>,
}

/// What both directions need to know.
#[derive(Clone, Copy)]
pub(super) struct Attention<'a> {
    pub(super) isa: Isa,
    pub(super) heads: Heads,
    pub(super) windows: &'a [Range<usize>],
    pub(super) dropout: Option<Dropout>,
    pub(super) scratch: &'a Idle<Scratch>,
}

/// One head of one window.
struct Piece<'a> {
    qkv: &'a [f32],
    stride: usize,
    tokens: usize,
    head: usize,
    width: usize,
    hidden: usize,
    /// The distance of rows of probabilities.
    step: usize,
    /// The index of its first probability among all probabilities of the batch, for dropout.
    first: u32,
}

impl<'a> Piece<'a> {
    /// Queries, keys or values: part 0, 1 or 2.
    fn part(&self, part: usize) -> Matrix<'a> {
        Matrix::new(&self.qkv[self.at(part)..], self.tokens, self.width, self.stride)
    }

    fn at(&self, part: usize) -> usize {
        part * self.hidden + self.head * self.width
    }

    fn square<'b>(&self, numbers: &'b [f32]) -> Matrix<'b> {
        Matrix::new(numbers, self.tokens, self.tokens, self.step)
    }

    fn square_mut<'b>(&self, numbers: &'b mut [f32]) -> MatrixMut<'b> {
        MatrixMut::new(numbers, self.tokens, self.tokens, self.step)
    }

    fn factor(&self) -> f32 {
        1.0 / (self.width as f32).sqrt()
    }
}

impl Attention<'_> {
    /// `qkv` has query, key and value of all heads in each row; `output` gets the heads' results side by side.
    pub(super) fn forward(self, qkv: &Sheet, output: &mut Sheet) {
        let hidden = self.heads.count * self.heads.width;
        output.shape(qkv.rows(), hidden);
        let stride = output.stride();
        let outputs = split(output.all_mut(), stride, self.windows);
        self.windows.par_iter().zip(outputs).with_max_len(1).for_each(|(window, output)| {
            self.scratch.with(|scratch| {
                for head in 0..self.heads.count {
                    let piece = self.piece(qkv, window, head);
                    self.probabilities(&piece, &mut scratch.probabilities);
                    self.drop(&piece, &mut scratch.probabilities);
                    let to =
                        MatrixMut::new(&mut output[head * piece.width..], piece.tokens, piece.width, stride);
                    multiply_here(
                        piece.square(&scratch.probabilities),
                        piece.part(2),
                        1.0,
                        Onto::Nothing,
                        to,
                    );
                }
            });
        });
    }

    /// From the gradients of the output to those of query, key and value.
    pub(super) fn backward(self, qkv: &Sheet, output_gradients: &Sheet, qkv_gradients: &mut Sheet) {
        let hidden = self.heads.count * self.heads.width;
        qkv_gradients.shape(qkv.rows(), 3 * hidden);
        let stride = qkv_gradients.stride();
        let gradients = split(qkv_gradients.all_mut(), stride, self.windows);
        self.windows.par_iter().zip(gradients).with_max_len(1).for_each(|(window, to)| {
            self.scratch.with(|Scratch { probabilities, dropped, gradients }| {
                for head in 0..self.heads.count {
                    let piece = self.piece(qkv, window, head);
                    let from = output_gradients.stride();
                    let output = &output_gradients.all()[window.start * from + head * piece.width..];
                    let output = Matrix::new(output, piece.tokens, piece.width, from);
                    self.probabilities(&piece, probabilities);
                    gradients.resize(probabilities.len(), 0.0);
                    multiply_here(
                        output,
                        piece.part(2).transposed(),
                        1.0,
                        Onto::Nothing,
                        piece.square_mut(gradients),
                    );
                    let mut write = |part: usize, a: Matrix, b: Matrix, factor: f32| {
                        let to = MatrixMut::new(&mut to[piece.at(part)..], piece.tokens, piece.width, stride);
                        multiply_here(a, b, factor, Onto::Nothing, to);
                    };
                    // The values' gradients come of probabilities after dropout, the scores' of probabilities before it.
                    self.drop(&piece, gradients);
                    let used = if self.dropout.is_some() {
                        dropped.clone_from(probabilities);
                        self.drop(&piece, dropped);
                        &*dropped
                    } else {
                        &*probabilities
                    };
                    write(2, piece.square(used).transposed(), output, 1.0);
                    self.isa.run(ScoreGradients {
                        probabilities,
                        gradients,
                        tokens: piece.tokens,
                        step: piece.step,
                    });
                    write(0, piece.square(gradients), piece.part(1), piece.factor());
                    write(1, piece.square(gradients).transposed(), piece.part(0), piece.factor());
                }
            });
        });
    }

    fn piece<'a>(&self, qkv: &'a Sheet, window: &Range<usize>, head: usize) -> Piece<'a> {
        let Heads { count, width } = self.heads;
        let stride = qkv.stride();
        Piece {
            qkv: &qkv.all()[window.start * stride..window.end * stride],
            stride,
            tokens: window.len(),
            head,
            width,
            hidden: count * width,
            step: window.len().next_multiple_of(WIDEST_TILE),
            first: ((head * qkv.rows() + window.start) as u32).wrapping_mul(0x0001_0001),
        }
    }

    /// How much each token attends to each.
    fn probabilities(&self, piece: &Piece, probabilities: &mut Vec<f32>) {
        probabilities.resize(piece.tokens * piece.step, 0.0);
        let (queries, keys) = (piece.part(0), piece.part(1).transposed());
        multiply_here(queries, keys, piece.factor(), Onto::Nothing, piece.square_mut(probabilities));
        self.isa.run(Softmax { probabilities, tokens: piece.tokens, step: piece.step });
    }

    fn drop(&self, piece: &Piece, numbers: &mut [f32]) {
        if let Some(dropout) = self.dropout {
            self.isa.run(Drop { dropout, first: piece.first, numbers });
        }
    }
}

struct Softmax<'a> {
    probabilities: &'a mut [f32],
    tokens: usize,
    step: usize,
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.probabilities.chunks_exact_mut(self.step) {
            let factor = 1.0 / exponentials(simd, row, self.tokens, LOG2_E);
            row.iter_mut().for_each(|number| *number *= factor);
        }
    }
}

/// From the gradients of probabilities to those of scores: a score raises its own probability and lowers all others of its row.
struct ScoreGradients<'a> {
    probabilities: &'a [f32],
    gradients: &'a mut [f32],
    tokens: usize,
    step: usize,
}

impl Kernel for ScoreGradients<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.gradients.chunks_exact_mut(self.step).zip(self.probabilities.chunks_exact(self.step));
        for (gradients, probabilities) in rows {
            let (gradients, probabilities) = (&mut gradients[..self.tokens], &probabilities[..self.tokens]);
            let mean = Dot { a: gradients, b: probabilities }.run(simd);
            gradients
                .iter_mut()
                .zip(probabilities)
                .for_each(|(gradient, probability)| *gradient = probability * (*gradient - mean));
        }
    }
}

struct Drop<'a> {
    dropout: Dropout,
    first: u32,
    numbers: &'a mut [f32],
}

impl Kernel for Drop<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.dropout.apply(self.first, self.numbers);
    }
}
