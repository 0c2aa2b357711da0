//! The transformer encoder in plain tensor operations: one set of equations for all five families.
//!
//! It runs on GPUs, in half precision, and as the reference that the CPU engine is compared with. It alone can show attention
//! probabilities, which the engines never keep, and go back from rows to the words that they come from.
//!
//! Tokens of all windows lie behind one another in one `[tokens, hidden]` matrix. Everything but attention treats a token by
//! itself, so only [`attention()`] knows where windows begin and end.

mod attention;
mod autograd;

use std::cell::RefCell;
use std::ops::Range;

use candle_core::{D, DType, Device, Tensor, Var};
use candle_nn::ops::{layer_norm, layer_norm_slow, softmax, softmax_last_dim};

use self::attention::{Layout, attention};
pub(crate) use self::autograd::Autograd;
use super::device::Precision;
use super::tables::Tables;
use super::{Projection, Tap, WindowRows, layer};
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::Weights;
use crate::encoder::batch::Batch;
use crate::encoder::error::Result;

/// An encoder with its weights on a device.
pub(super) struct Engine {
    config: EncoderConfig,
    device: Device,
    precision: Precision,
    tables: Tables,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    projection: Option<Projected>,
}

type Layer = layer::Layer<Linear, Norm>;

/// A matrix, stored `[in, out]`, and a bias. With the checkpoint's `[out, in]` the CPU product takes another path, and rounds
/// differently, when a batch is small.
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// f32 in, f32 out; the product itself runs in the weights' type.
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        let product = input.to_dtype(self.weight.dtype())?.matmul(&self.weight)?;
        product.to_dtype(DType::F32)?.broadcast_add(&self.bias)
    }
}

/// A projection. Few columns are too few for a matrix product whose rounding does not depend on the batch, so it multiplies and
/// sums; it decides, so it stays in full precision.
struct Projected {
    /// `[outputs, 1, hidden]`.
    weight: Tensor,
    /// `[outputs, 1]`.
    bias: Tensor,
}

impl Projected {
    /// From `[tokens, hidden]` to `[tokens, outputs]`.
    fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        let products = state.unsqueeze(0)?.broadcast_mul(&self.weight)?.sum(D::Minus1)?;
        products.broadcast_add(&self.bias)?.t()
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        // The fused operation has no gradient.
        let norm = if input.track_op() { layer_norm_slow } else { layer_norm };
        norm(input, &self.weight, &self.bias, self.epsilon)
    }
}

/// Reads modules of a checkpoint onto a device.
struct Loader<'a> {
    weights: &'a Weights,
    device: &'a Device,
    precision: Precision,
    epsilon: f64,
}

impl Loader<'_> {
    /// Several linear modules with the same input as one.
    fn linear(&self, modules: &[String], rows: usize, columns: usize) -> Result<Linear> {
        let mut weight = Vec::with_capacity(modules.len() * rows * columns);
        let mut bias = Vec::with_capacity(modules.len() * rows);
        for module in modules {
            weight.extend(self.weights.matrix(&format!("{module}.weight"), rows, columns)?);
            bias.extend(self.weights.vector(&[format!("{module}.bias")], rows)?);
        }
        let rows = modules.len() * rows;
        let weight = Tensor::from_vec(transposed(&weight, columns), (columns, rows), self.device)?;
        Ok(Linear {
            weight: weight.to_dtype(self.precision.dtype())?,
            bias: Tensor::from_vec(bias, rows, self.device)?,
        })
    }

    fn projection(&self, projection: &Projection) -> Result<Projected> {
        let (outputs, inputs) = (projection.outputs(), projection.inputs());
        Ok(Projected {
            weight: Tensor::from_slice(projection.weight(), (outputs, 1, inputs), self.device)?,
            bias: Tensor::from_slice(projection.bias(), (outputs, 1), self.device)?,
        })
    }

    fn norm(&self, module: &str, width: usize) -> Result<Norm> {
        let (weight, bias) = self.weights.norm(module, width)?;
        Ok(Norm {
            weight: Tensor::from_vec(weight, width, self.device)?,
            bias: Tensor::from_vec(bias, width, self.device)?,
            epsilon: self.epsilon as f32,
        })
    }
}

/// Columns become rows; in blocks, so that both sides stay in cache.
pub(crate) fn transposed<T: Copy + Default>(numbers: &[T], columns: usize) -> Vec<T> {
    const BLOCK: usize = 32;
    let rows = numbers.len() / columns;
    let mut out = vec![T::default(); numbers.len()];
    for row_block in (0..rows).step_by(BLOCK) {
        for column_block in (0..columns).step_by(BLOCK) {
            for row in row_block..rows.min(row_block + BLOCK) {
                for column in column_block..columns.min(column_block + BLOCK) {
                    out[column * rows + row] = numbers[row * columns + column];
                }
            }
        }
    }
    out
}

impl Engine {
    pub(super) fn load(
        config: EncoderConfig,
        weights: &Weights,
        device: Device,
        precision: Precision,
        projection: Option<Projection>,
    ) -> Result<Self> {
        let names = config.names;
        let prefix = weights.prefix_of(names.words)?;
        let loader = Loader { weights, device: &device, precision, epsilon: config.epsilon };
        let hidden = config.hidden;
        let layers = Layer::load_all(
            &config,
            weights,
            &prefix,
            |modules, rows, columns| loader.linear(modules, rows, columns),
            |module| loader.norm(module, hidden),
        )?;
        Ok(Self {
            tables: Tables::load(weights, &prefix, &config)?,
            embedding_norm: loader.norm(&format!("{prefix}{}", names.embedding_norm), hidden)?,
            layers,
            projection: projection.as_ref().map(|projection| loader.projection(projection)).transpose()?,
            config,
            device,
            precision,
        })
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    pub(super) fn config(&self) -> &EncoderConfig {
        &self.config
    }

    fn embed(&self, batch: &Batch) -> Result<Tensor> {
        self.tables.check(batch)?;
        let width = self.config.hidden;
        let mut sums = vec![0.0f32; batch.tokens() * width];
        for (token, out) in sums.chunks_exact_mut(width).enumerate() {
            self.tables.embed(batch, token, out);
        }
        Ok(Tensor::from_vec(sums, (batch.tokens(), width), &self.device)?)
    }

    /// The rows of every window, of all its tokens.
    pub(super) fn forward(&self, batch: &Batch, tap: Option<&mut Tap>) -> Result<Vec<WindowRows>> {
        let rows = |width: usize, numbers: &[f32]| {
            let window = |range: Range<usize>| numbers[range.start * width..range.end * width].to_vec();
            batch.ranges().map(|range| WindowRows::complete(width, window(range))).collect()
        };
        if batch.tokens() == 0 {
            return Ok(rows(1, &[]));
        }
        let state = self.run(&self.embed(batch)?, batch, tap)?;
        let width = state.dim(D::Minus1)?;
        Ok(rows(width, &state.flatten_all()?.to_vec1::<f32>()?))
    }

    /// For each token the gradient of a weighted sum of the rows with respect to its word's embedding, times that embedding. There is
    /// a weight for each number of each row.
    pub(super) fn gradient_times_input(&self, batch: &Batch, weights: &[f32]) -> Result<Vec<f32>> {
        if batch.tokens() == 0 {
            return Ok(Vec::new());
        }
        // What is added for position and segment has the same gradient.
        let embedded = Var::from_tensor(&self.embed(batch)?)?;
        let rows = self.run(&embedded, batch, None)?;
        let weights = Tensor::from_slice(weights, rows.shape(), &self.device)?;
        let found = (rows * weights)?.sum_all()?.backward()?;
        let Some(gradients) = found.get(&embedded) else { return Ok(vec![0.0; batch.tokens()]) };
        let gradients = gradients.flatten_all()?.to_vec1::<f32>()?;
        let mut word = vec![0.0; self.config.hidden];
        let product = |(token, gradient): (usize, &[f32])| {
            self.tables.word(batch, token, &mut word);
            gradient.iter().zip(&word).map(|(a, b)| a * b).sum()
        };
        Ok(gradients.chunks_exact(self.config.hidden).enumerate().map(product).collect())
    }

    /// From summed embeddings to the last states, or the projection of them.
    fn run(&self, embedded: &Tensor, batch: &Batch, mut tap: Option<&mut Tap>) -> Result<Tensor> {
        let layout = Layout::new(&batch.lengths, &self.device)?;
        let show_state = |state: &Tensor, tap: &mut Option<&mut Tap>| -> Result<()> {
            if let Some(tap) = tap {
                tap.hidden_states.push(state.flatten_all()?.to_vec1()?);
            }
            Ok(())
        };
        let mut state = self.embedding_norm.forward(embedded)?;
        show_state(&state, &mut tap)?;
        for layer in &self.layers {
            let qkv = layer.qkv.forward(&state)?.to_dtype(self.precision.dtype())?;
            let (heads, width) = (self.config.heads, self.config.head_width());
            let shown = RefCell::new(Vec::new());
            let wanted = tap.as_ref().is_some_and(|tap| tap.attention.is_some());
            let probabilities = |scores: &Tensor| {
                let probabilities =
                    if scores.track_op() { softmax(scores, D::Minus1)? } else { softmax_last_dim(scores)? };
                if wanted {
                    shown.borrow_mut().push(probabilities.clone());
                }
                Ok(probabilities)
            };
            let attended = attention(&qkv, heads, width, &layout, &probabilities)?;
            if let Some(shown_layers) = tap.as_deref_mut().and_then(|tap| tap.attention.as_mut()) {
                shown_layers.push(layout.by_window(&shown.into_inner())?);
            }
            let attended = layer.attention_out.forward(&attended)?;
            state = layer.attention_norm.forward(&(attended + state)?)?;
            let inner = layer.up.forward(&state)?.gelu_erf()?;
            let inner = layer.down.forward(&inner)?;
            state = layer.output_norm.forward(&(inner + state)?)?;
            show_state(&state, &mut tap)?;
        }
        match &self.projection {
            Some(projection) => Ok(projection.forward(&state)?),
            None => Ok(state),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_become_rows() {
        let numbers: Vec<u32> = (0..70 * 33).collect();
        let turned = transposed(&numbers, 33);
        for (row, column) in [(0, 0), (69, 32), (40, 1), (3, 31)] {
            assert_eq!(turned[column * 70 + row], numbers[row * 33 + column]);
        }
    }
}
