//! Learning on the CPU: the encoder's equations forwards, with everything kept that the backward pass needs, and their gradients.
//!
//! ```text
//! batch -> embeddings -> normalise
//!   per layer: multiply (query, key, value) -> attention -> multiply -> normalise -> multiply -> GELU -> multiply -> normalise
//! -> last hidden states -> whatever stands on top -> their gradients
//! and back through all of it: gradients of states, and of every number on the way
//! ```
//!
//! candle's autograd computes the same gradients through [`Autograd`](crate::encoder::tensors::Autograd), which tests compare with.

mod attention;
mod product;
mod rows;

use std::ops::Range;

use rayon::prelude::*;

use self::attention::{Attention, Scratch};
use self::product::{Matrix, MatrixMut, Onto, multiply};
use self::rows::{Normed, Scale, activate, add_columns, drop_out, start_from, unactivate};
use super::attention::Heads;
use super::isa::Isa;
use super::memory::{Idle, Sheet};
use crate::encoder::batch::Batch;
use crate::encoder::dropout::{Dropout, Site};
use crate::encoder::error::Result;
use crate::encoder::places::{Affine, Norm, Numbers, Pass, Top};

/// Computes gradients with kernels of our own.
pub(crate) struct Backprop {
    isa: Isa,
    layers: Vec<Kept>,
    embedding: Normed,
    state: Sheet,
    work: Work,
    scratch: Idle<Scratch>,
}

/// What a layer leaves behind for the backward pass.
#[derive(Default)]
struct Kept {
    input: Sheet,
    qkv: Sheet,
    attended: Sheet,
    middle_norm: Normed,
    middle: Sheet,
    inner: Sheet,
    active: Sheet,
    output_norm: Normed,
}

/// Sheets that are used over and over.
#[derive(Default)]
struct Work {
    delta: Sheet,
    inner: Sheet,
    qkv: Sheet,
    attended: Sheet,
}

impl Backprop {
    /// On the vector unit in use.
    pub(crate) fn new() -> Result<Self> {
        Isa::chosen().map(Self::on)
    }

    fn on(isa: Isa) -> Self {
        Self {
            isa,
            layers: Vec::new(),
            embedding: Normed::default(),
            state: Sheet::default(),
            work: Work::default(),
            scratch: Idle::default(),
        }
    }

    /// One for each vector unit of this processor, the last one for none.
    #[cfg(test)]
    pub(crate) fn on_every_unit() -> Vec<(&'static str, Self)> {
        Isa::all().into_iter().map(|isa| (isa.name(), Self::on(isa))).collect()
    }

    /// Runs a batch forwards, lets `top` turn the last hidden states into their gradients, and adds those of all numbers that learn
    /// to `gradients`.
    pub(crate) fn run(
        &mut self,
        numbers: Numbers,
        batch: &Batch,
        pass: &Pass,
        top: &mut Top,
        gradients: &mut [f32],
    ) {
        let windows: Vec<Range<usize>> = batch.ranges().collect();
        self.layers.resize_with(numbers.config.layers, Kept::default);
        self.embed(numbers, batch, pass);
        for layer in 0..self.layers.len() {
            self.forward(numbers, &windows, layer, pass);
        }
        if !self.turn_round(numbers.config.hidden, top) {
            return;
        }
        for layer in (0..self.layers.len()).rev() {
            if layer + 1 < pass.lowest() {
                return;
            }
            self.backward(numbers, &windows, layer, pass, gradients);
        }
        if pass.learns[0] {
            self.embed_backward(numbers, batch, pass, gradients);
        }
    }

    /// `self.state` holds the last hidden states and gets their gradients.
    fn turn_round(&mut self, hidden: usize, top: &mut Top) -> bool {
        let rows = 0..self.state.rows();
        let mut states: Vec<f32> = rows.flat_map(|row| self.state.row(row)[..hidden].to_vec()).collect();
        let found = top(&mut states);
        let stride = self.state.stride();
        let rows = self.state.all_mut().chunks_exact_mut(stride).zip(states.chunks_exact(hidden));
        rows.for_each(|(row, gradients)| row[..hidden].copy_from_slice(gradients));
        found
    }

    fn scale<'a>(numbers: Numbers<'a>, norm: &Norm) -> Scale<'a> {
        Scale {
            weight: numbers.at(&norm.weight),
            bias: numbers.at(&norm.bias),
            epsilon: numbers.config.epsilon as f32,
        }
    }

    fn embed(&mut self, numbers: Numbers, batch: &Batch, pass: &Pass) {
        let hidden = numbers.config.hidden;
        self.state.shape(batch.tokens(), hidden);
        self.state.blocks_mut(1).zip(0..batch.tokens()).for_each(|(out, token)| {
            let out = &mut out[..hidden];
            out.fill(0.0);
            for row in numbers.rows(batch.ids[token], batch.segments[token], batch.positions[token]) {
                let row = &numbers.values[row..][..hidden];
                out.iter_mut().zip(row).for_each(|(out, number)| *out += number);
            }
        });
        let scale = Self::scale(numbers, &numbers.places.embedding_norm);
        self.embedding.forward(self.isa, scale, None, None, &mut self.state);
        if let Some(dropout) = pass.dropout_at(Site::Embeddings) {
            drop_out(self.isa, dropout, hidden, &mut self.state);
        }
    }

    fn embed_backward(&mut self, numbers: Numbers, batch: &Batch, pass: &Pass, gradients: &mut [f32]) {
        let hidden = numbers.config.hidden;
        if let Some(dropout) = pass.dropout_at(Site::Embeddings) {
            drop_out(self.isa, dropout, hidden, &mut self.state);
        }
        let norm = &numbers.places.embedding_norm;
        let weight = numbers.at(&norm.weight);
        self.embedding.backward(self.isa, weight, &mut self.state, both(gradients, norm));
        // Tokens share rows, so one after the other.
        for token in 0..batch.tokens() {
            let own = &self.state.row(token)[..hidden];
            for row in numbers.rows(batch.ids[token], batch.segments[token], batch.positions[token]) {
                gradients[row..][..hidden].iter_mut().zip(own).for_each(|(sum, gradient)| *sum += gradient);
            }
        }
    }

    /// `to = from W^T + b`.
    fn affine(numbers: Numbers, affine: &Affine, from: &Sheet, to: &mut Sheet) {
        start_from(numbers.at(&affine.bias), from.rows(), to);
        let weight = Self::weight(numbers, affine);
        multiply(
            Matrix::of(from, affine.inputs),
            weight.transposed(),
            1.0,
            Onto::Present,
            MatrixMut::of(to, affine.outputs),
        );
    }

    fn weight<'a>(numbers: Numbers<'a>, affine: &Affine) -> Matrix<'a> {
        let numbers = numbers.at(&affine.weight);
        Matrix::new(numbers, affine.outputs, affine.inputs, affine.inputs)
    }

    /// Adds the gradients of a linear module's weights and bias.
    fn learn(&self, affine: &Affine, from: &Sheet, output_gradients: &Sheet, gradients: &mut [f32]) {
        add_columns(self.isa, output_gradients, None, &mut gradients[affine.bias.clone()]);
        let to = &mut gradients[affine.weight.clone()];
        let to = MatrixMut::new(to, affine.outputs, affine.inputs, affine.inputs);
        multiply(
            Matrix::of(output_gradients, affine.outputs).transposed(),
            Matrix::of(from, affine.inputs),
            1.0,
            Onto::Present,
            to,
        );
    }

    /// `to = output_gradients W`, or `to += output_gradients W`.
    fn affine_backward(
        numbers: Numbers,
        affine: &Affine,
        output_gradients: &Sheet,
        onto: Onto,
        to: &mut Sheet,
    ) {
        if onto == Onto::Nothing {
            to.shape(output_gradients.rows(), affine.inputs);
        }
        let output_gradients = Matrix::of(output_gradients, affine.outputs);
        multiply(
            output_gradients,
            Self::weight(numbers, affine),
            1.0,
            onto,
            MatrixMut::of(to, affine.inputs),
        );
    }

    fn forward(&mut self, numbers: Numbers, windows: &[Range<usize>], number: usize, pass: &Pass) {
        let Self { isa, layers, state, work, .. } = self;
        let isa = *isa;
        let (kept, layer) = (&mut layers[number], &numbers.places.layers[number]);
        let (hidden, inner) = (numbers.config.hidden, numbers.config.inner);
        copy(state, hidden, &mut kept.input);
        Self::affine(numbers, &layer.qkv, &kept.input, &mut kept.qkv);
        let attention =
            attention(isa, numbers, windows, pass.dropout_at(Site::Probabilities(number)), &self.scratch);
        attention.forward(&kept.qkv, &mut kept.attended);
        Self::affine(numbers, &layer.attention_out, &kept.attended, &mut work.delta);
        let scale = Self::scale(numbers, &layer.attention_norm);
        kept.middle_norm.forward(
            isa,
            scale,
            Some(&work.delta),
            pass.dropout_at(Site::Attention(number)),
            state,
        );
        copy(state, hidden, &mut kept.middle);
        Self::affine(numbers, &layer.up, &kept.middle, &mut kept.inner);
        activate(isa, &kept.inner, inner, &mut kept.active);
        Self::affine(numbers, &layer.down, &kept.active, &mut work.delta);
        let scale = Self::scale(numbers, &layer.output_norm);
        kept.output_norm.forward(isa, scale, Some(&work.delta), pass.dropout_at(Site::Output(number)), state);
    }

    /// `self.state` holds the gradients of the layer's output and gets those of its input.
    fn backward(
        &mut self,
        numbers: Numbers,
        windows: &[Range<usize>],
        number: usize,
        pass: &Pass,
        gradients: &mut [f32],
    ) {
        let (isa, hidden) = (self.isa, numbers.config.hidden);
        let mut state = std::mem::take(&mut self.state);
        let mut work = std::mem::take(&mut self.work);
        let (kept, layer) = (&self.layers[number], &numbers.places.layers[number]);
        let learns = pass.learns[number + 1];
        let value = |place: &Range<usize>| numbers.at(place);

        kept.output_norm.backward(
            isa,
            value(&layer.output_norm.weight),
            &mut state,
            both(gradients, &layer.output_norm),
        );
        drop_copy(isa, &state, hidden, pass.dropout_at(Site::Output(number)), &mut work.delta);
        if learns {
            self.learn(&layer.down, &kept.active, &work.delta, gradients);
        }
        Self::affine_backward(numbers, &layer.down, &work.delta, Onto::Nothing, &mut work.inner);
        unactivate(isa, &kept.inner, &mut work.inner);
        if learns {
            self.learn(&layer.up, &kept.middle, &work.inner, gradients);
        }
        Self::affine_backward(numbers, &layer.up, &work.inner, Onto::Present, &mut state);

        let norm = &layer.attention_norm;
        kept.middle_norm.backward(isa, value(&norm.weight), &mut state, both(gradients, norm));
        drop_copy(isa, &state, hidden, pass.dropout_at(Site::Attention(number)), &mut work.delta);
        if learns {
            self.learn(&layer.attention_out, &kept.attended, &work.delta, gradients);
        }
        Self::affine_backward(numbers, &layer.attention_out, &work.delta, Onto::Nothing, &mut work.attended);
        let attention =
            attention(isa, numbers, windows, pass.dropout_at(Site::Probabilities(number)), &self.scratch);
        attention.backward(&kept.qkv, &work.attended, &mut work.qkv);
        if learns {
            self.learn(&layer.qkv, &kept.input, &work.qkv, gradients);
        }
        Self::affine_backward(numbers, &layer.qkv, &work.qkv, Onto::Present, &mut state);
        self.state = state;
        self.work = work;
    }
}

fn attention<'a>(
    isa: Isa,
    numbers: Numbers,
    windows: &'a [Range<usize>],
    dropout: Option<Dropout>,
    scratch: &'a Idle<Scratch>,
) -> Attention<'a> {
    let heads = Heads { count: numbers.config.heads, width: numbers.config.head_width() };
    Attention { isa, heads, windows, dropout, scratch }
}

/// Gradients of weight and bias of a normalisation, which lie side by side.
fn both<'a>(gradients: &'a mut [f32], norm: &Norm) -> [&'a mut [f32]; 2] {
    let (weight, bias) = gradients[norm.weight.start..norm.bias.end].split_at_mut(norm.weight.len());
    [weight, bias]
}

fn copy(from: &Sheet, width: usize, to: &mut Sheet) {
    to.shape(from.rows(), width);
    to.all_mut().copy_from_slice(from.all());
}

/// The gradients that come through dropout; the original is still needed.
fn drop_copy(isa: Isa, from: &Sheet, width: usize, dropout: Option<Dropout>, to: &mut Sheet) {
    copy(from, width, to);
    if let Some(dropout) = dropout {
        drop_out(isa, dropout, width, to);
    }
}
