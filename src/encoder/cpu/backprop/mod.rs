//! Learning on the CPU: the encoder's equations forwards, with everything kept that the way back needs, and their slopes.
//!
//! ```text
//! batch -> embeddings -> normalise
//!   per layer: multiply (query, key, value) -> attention -> multiply -> normalise -> multiply -> GELU -> multiply -> normalise
//! -> span head -> logits -> loss -> slopes of logits
//! and back through all of it: slopes of states, and of every number on the way
//! ```
//!
//! candle's autograd computes the same slopes through [`Autograd`](crate::encoder::tensors::Autograd), which tests compare with.

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
use super::rows::Head;
use crate::encoder::WindowLogits;
use crate::encoder::batch::Batch;
use crate::encoder::error::{Error, Result};
use crate::train::learn::{Affine, Dropout, LossSlopes, Norm, Parameters, Pass};

/// Computes slopes with kernels of our own.
pub(crate) struct Backprop {
    isa: Isa,
    layers: Vec<Kept>,
    embedding: Normed,
    state: Sheet,
    work: Work,
    scratch: Idle<Scratch>,
}

/// What a layer leaves behind for the way back.
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

/// Places where dropout chooses anew: the embeddings, then three for each layer.
#[derive(Clone, Copy)]
enum Site {
    Embeddings,
    Shares(usize),
    Attention(usize),
    Output(usize),
}

impl Site {
    fn number(self) -> usize {
        match self {
            Site::Embeddings => 0,
            Site::Shares(layer) => 1 + 3 * layer,
            Site::Attention(layer) => 2 + 3 * layer,
            Site::Output(layer) => 3 + 3 * layer,
        }
    }
}

fn dropout(pass: &Pass, site: Site) -> Option<Dropout> {
    Dropout::new(pass.dropout, pass.seed, site.number())
}

impl Default for Backprop {
    fn default() -> Self {
        Self::on(Isa::all()[0])
    }
}

impl Backprop {
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

    /// Runs a batch forwards, asks for the slopes of its logits, and adds those of all numbers that learn to `gradients`.
    pub(crate) fn run(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        pass: &Pass,
        slopes: &mut LossSlopes,
        gradients: &mut [f32],
    ) -> Result<()> {
        let windows: Vec<Range<usize>> = batch.ranges().collect();
        self.layers.resize_with(parameters.config.layers, Kept::default);
        self.embed(parameters, batch, pass);
        for layer in 0..self.layers.len() {
            self.forward(parameters, &windows, layer, pass);
        }
        let logits = self.score(parameters, &windows)?;
        let slopes = slopes(&logits);
        self.head_backward(parameters, &slopes, pass, gradients);
        for layer in (0..self.layers.len()).rev() {
            if layer + 1 < pass.lowest {
                return Ok(());
            }
            self.backward(parameters, &windows, layer, pass, gradients);
        }
        if pass.learns(0) {
            self.embed_backward(parameters, batch, pass, gradients);
        }
        Ok(())
    }

    fn scale<'a>(parameters: &'a Parameters, norm: &Norm) -> Scale<'a> {
        Scale {
            weight: &parameters.values[norm.weight.clone()],
            bias: &parameters.values[norm.bias.clone()],
            epsilon: parameters.config.epsilon as f32,
        }
    }

    fn embed(&mut self, parameters: &Parameters, batch: &Batch, pass: &Pass) {
        let hidden = parameters.config.hidden;
        self.state.shape(batch.tokens(), hidden);
        self.state.blocks_mut(1).zip(0..batch.tokens()).for_each(|(out, token)| {
            let out = &mut out[..hidden];
            out.fill(0.0);
            for row in parameters.rows(batch.ids[token], batch.segments[token], batch.positions[token]) {
                let row = &parameters.values[row..][..hidden];
                out.iter_mut().zip(row).for_each(|(out, number)| *out += number);
            }
        });
        let scale = Self::scale(parameters, &parameters.places.embedding_norm);
        self.embedding.forward(self.isa, scale, None, None, &mut self.state);
        if let Some(dropout) = dropout(pass, Site::Embeddings) {
            drop_out(self.isa, dropout, hidden, &mut self.state);
        }
    }

    fn embed_backward(&mut self, parameters: &Parameters, batch: &Batch, pass: &Pass, gradients: &mut [f32]) {
        let hidden = parameters.config.hidden;
        if let Some(dropout) = dropout(pass, Site::Embeddings) {
            drop_out(self.isa, dropout, hidden, &mut self.state);
        }
        let norm = &parameters.places.embedding_norm;
        let weight = &parameters.values[norm.weight.clone()];
        self.embedding.backward(self.isa, weight, &mut self.state, both(gradients, norm));
        // Tokens share rows, so one after the other.
        for token in 0..batch.tokens() {
            let slopes = &self.state.row(token)[..hidden];
            for row in parameters.rows(batch.ids[token], batch.segments[token], batch.positions[token]) {
                gradients[row..][..hidden].iter_mut().zip(slopes).for_each(|(sum, slope)| *sum += slope);
            }
        }
    }

    /// `to = from W^T + b`.
    fn affine(parameters: &Parameters, affine: &Affine, from: &Sheet, to: &mut Sheet) {
        start_from(&parameters.values[affine.bias.clone()], from.rows(), to);
        let weight = Self::weight(parameters, affine);
        multiply(
            Matrix::of(from, affine.inputs),
            weight.turned(),
            1.0,
            Onto::Present,
            MatrixMut::of(to, affine.outputs),
        );
    }

    fn weight<'a>(parameters: &'a Parameters, affine: &Affine) -> Matrix<'a> {
        let numbers = &parameters.values[affine.weight.clone()];
        Matrix::new(numbers, affine.outputs, affine.inputs, affine.inputs)
    }

    /// Adds the slopes of a linear module's weights and bias.
    fn learn(&self, affine: &Affine, from: &Sheet, slopes: &Sheet, gradients: &mut [f32]) {
        add_columns(self.isa, slopes, None, &mut gradients[affine.bias.clone()]);
        let to = &mut gradients[affine.weight.clone()];
        let to = MatrixMut::new(to, affine.outputs, affine.inputs, affine.inputs);
        multiply(
            Matrix::of(slopes, affine.outputs).turned(),
            Matrix::of(from, affine.inputs),
            1.0,
            Onto::Present,
            to,
        );
    }

    /// `to = slopes W`, or `to += slopes W`.
    fn affine_backward(parameters: &Parameters, affine: &Affine, slopes: &Sheet, onto: Onto, to: &mut Sheet) {
        if onto == Onto::Nothing {
            to.shape(slopes.rows(), affine.inputs);
        }
        let slopes = Matrix::of(slopes, affine.outputs);
        multiply(slopes, Self::weight(parameters, affine), 1.0, onto, MatrixMut::of(to, affine.inputs));
    }

    fn forward(&mut self, parameters: &Parameters, windows: &[Range<usize>], number: usize, pass: &Pass) {
        let Self { isa, layers, state, work, .. } = self;
        let isa = *isa;
        let (kept, layer) = (&mut layers[number], &parameters.places.layers[number]);
        let (hidden, inner) = (parameters.config.hidden, parameters.config.inner);
        copy(state, hidden, &mut kept.input);
        Self::affine(parameters, &layer.qkv, &kept.input, &mut kept.qkv);
        let attention =
            attention(isa, parameters, windows, dropout(pass, Site::Shares(number)), &self.scratch);
        attention.forward(&kept.qkv, &mut kept.attended);
        Self::affine(parameters, &layer.attention_out, &kept.attended, &mut work.delta);
        let scale = Self::scale(parameters, &layer.attention_norm);
        kept.middle_norm.forward(
            isa,
            scale,
            Some(&work.delta),
            dropout(pass, Site::Attention(number)),
            state,
        );
        copy(state, hidden, &mut kept.middle);
        Self::affine(parameters, &layer.up, &kept.middle, &mut kept.inner);
        activate(isa, &kept.inner, inner, &mut kept.active);
        Self::affine(parameters, &layer.down, &kept.active, &mut work.delta);
        let scale = Self::scale(parameters, &layer.output_norm);
        kept.output_norm.forward(isa, scale, Some(&work.delta), dropout(pass, Site::Output(number)), state);
    }

    /// `self.state` holds the slopes of the layer's output and gets those of its input.
    fn backward(
        &mut self,
        parameters: &Parameters,
        windows: &[Range<usize>],
        number: usize,
        pass: &Pass,
        gradients: &mut [f32],
    ) {
        let (isa, hidden) = (self.isa, parameters.config.hidden);
        let mut state = std::mem::take(&mut self.state);
        let mut work = std::mem::take(&mut self.work);
        let (kept, layer) = (&self.layers[number], &parameters.places.layers[number]);
        let learns = pass.learns(number + 1);
        let value = |place: &Range<usize>| &parameters.values[place.clone()];

        kept.output_norm.backward(
            isa,
            value(&layer.output_norm.weight),
            &mut state,
            both(gradients, &layer.output_norm),
        );
        drop_copy(isa, &state, hidden, dropout(pass, Site::Output(number)), &mut work.delta);
        if learns {
            self.learn(&layer.down, &kept.active, &work.delta, gradients);
        }
        Self::affine_backward(parameters, &layer.down, &work.delta, Onto::Nothing, &mut work.inner);
        unactivate(isa, &kept.inner, &mut work.inner);
        if learns {
            self.learn(&layer.up, &kept.middle, &work.inner, gradients);
        }
        Self::affine_backward(parameters, &layer.up, &work.inner, Onto::Present, &mut state);

        let norm = &layer.attention_norm;
        kept.middle_norm.backward(isa, value(&norm.weight), &mut state, both(gradients, norm));
        drop_copy(isa, &state, hidden, dropout(pass, Site::Attention(number)), &mut work.delta);
        if learns {
            self.learn(&layer.attention_out, &kept.attended, &work.delta, gradients);
        }
        Self::affine_backward(
            parameters,
            &layer.attention_out,
            &work.delta,
            Onto::Nothing,
            &mut work.attended,
        );
        let attention =
            attention(isa, parameters, windows, dropout(pass, Site::Shares(number)), &self.scratch);
        attention.backward(&kept.qkv, &work.attended, &mut work.qkv);
        if learns {
            self.learn(&layer.qkv, &kept.input, &work.qkv, gradients);
        }
        Self::affine_backward(parameters, &layer.qkv, &work.qkv, Onto::Present, &mut state);
        self.state = state;
        self.work = work;
    }

    /// The span head on every token.
    fn score(&self, parameters: &Parameters, windows: &[Range<usize>]) -> Result<Vec<WindowLogits>> {
        let (head, hidden) = (&parameters.places.head, parameters.config.hidden);
        let (weight, bias) = (&parameters.values[head.weight.clone()], &parameters.values[head.bias.clone()]);
        let head =
            Head { weight: [weight[..hidden].to_vec(), weight[hidden..].to_vec()], bias: [bias[0], bias[1]] };
        let logits: Vec<[f32; 2]> = (0..self.state.rows())
            .into_par_iter()
            .map(|row| head.logits(self.isa, self.state.row(row)))
            .collect();
        if logits.iter().flatten().any(|logit| !logit.is_finite()) {
            return Err(Error::NotFinite { dtype: "f32" });
        }
        let side = |window: &Range<usize>, side: usize| {
            logits[window.clone()].iter().map(|logits| logits[side]).collect()
        };
        Ok(windows
            .iter()
            .map(|window| WindowLogits { start: side(window, 0), end: side(window, 1) })
            .collect())
    }

    /// `self.state` holds the last states and gets their slopes.
    fn head_backward(
        &mut self,
        parameters: &Parameters,
        slopes: &[WindowLogits],
        pass: &Pass,
        gradients: &mut [f32],
    ) {
        let (head, hidden) = (&parameters.places.head, parameters.config.hidden);
        let starts: Vec<f32> = slopes.iter().flat_map(|window| window.start.iter().copied()).collect();
        let ends: Vec<f32> = slopes.iter().flat_map(|window| window.end.iter().copied()).collect();
        if pass.learns(parameters.config.layers + 1) {
            gradients[head.bias.start] += starts.iter().sum::<f32>();
            gradients[head.bias.start + 1] += ends.iter().sum::<f32>();
            let (to_start, to_end) = gradients[head.weight.clone()].split_at_mut(hidden);
            for (row, (start, end)) in starts.iter().zip(&ends).enumerate() {
                let state = &self.state.row(row)[..hidden];
                to_start.iter_mut().zip(state).for_each(|(sum, number)| *sum += start * number);
                to_end.iter_mut().zip(state).for_each(|(sum, number)| *sum += end * number);
            }
        }
        let (start_weight, end_weight) = parameters.values[head.weight.clone()].split_at(hidden);
        self.state.blocks_mut(1).zip(starts.par_iter().zip(&ends)).for_each(|(state, (start, end))| {
            for (slope, (a, b)) in state.iter_mut().zip(start_weight.iter().zip(end_weight)) {
                *slope = start * a + end * b;
            }
        });
    }
}

fn attention<'a>(
    isa: Isa,
    parameters: &Parameters,
    windows: &'a [Range<usize>],
    dropout: Option<Dropout>,
    scratch: &'a Idle<Scratch>,
) -> Attention<'a> {
    let heads = Heads { count: parameters.config.heads, width: parameters.config.head_width() };
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

/// The slopes that come through dropout; the original is still needed.
fn drop_copy(isa: Isa, from: &Sheet, width: usize, dropout: Option<Dropout>, to: &mut Sheet) {
    copy(from, width, to);
    if let Some(dropout) = dropout {
        drop_out(isa, dropout, width, to);
    }
}
