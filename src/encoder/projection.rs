//! A linear module with few outputs on top of an encoder, computed where the states lie.

use rayon::prelude::*;

use super::cpu;
use crate::checkpoint::Weights;
use crate::encoder::error::Result;

/// Weights and bias. An encoder that has one gives `outputs` numbers for a token in place of its hidden state, so that a card sends
/// back few numbers. Always in f32: what it computes decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    /// `[outputs, inputs]`, row by row.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Projection {
    /// Reads a linear module of a checkpoint.
    pub fn load(weights: &Weights, module: &str, outputs: usize, inputs: usize) -> Result<Self> {
        let weight = weights.matrix(&format!("{module}.weight"), outputs, inputs)?;
        let bias = weights.vector(&[format!("{module}.bias")], outputs)?;
        Ok(Self { weight, bias })
    }

    /// Takes numbers that are here already.
    pub(crate) fn new(weight: &[f32], bias: &[f32]) -> Self {
        Self { weight: weight.to_vec(), bias: bias.to_vec() }
    }

    /// Numbers that come out for each token.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// Numbers that go in.
    pub fn inputs(&self) -> usize {
        self.weight.len() / self.outputs().max(1)
    }

    pub(super) fn weight(&self) -> &[f32] {
        &self.weight
    }

    pub(super) fn bias(&self) -> &[f32] {
        &self.bias
    }

    /// Projects rows that lie behind one another, each of [`inputs`](Self::inputs) numbers, on all threads.
    pub(crate) fn apply(&self, rows: &[f32]) -> Vec<f32> {
        let project = cpu::projector();
        let mut projected = vec![0.0; rows.len() / self.inputs().max(1) * self.outputs()];
        let places = projected.par_chunks_mut(self.outputs().max(1));
        places.zip(rows.par_chunks(self.inputs().max(1))).for_each(|(out, row)| project(self, row, out));
        projected
    }
}
