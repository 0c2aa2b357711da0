//! The transformer encoder and span head in plain tensor operations: one set of equations for all five families.
//!
//! It runs on GPUs, in half precision, and as the reference that the CPU engine is compared with.
//!
//! Tokens of all windows lie behind one another in one `[tokens, hidden]` matrix. Everything but attention treats a token by
//! itself, so only [`attention()`] knows where windows begin and end.

mod attention;
mod autograd;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::ops::{layer_norm, softmax_last_dim};

use self::attention::{Layout, attention};
pub(crate) use self::autograd::Autograd;
use super::device::Precision;
use super::tables::Tables;
use super::{Tap, WindowLogits, layer};
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::Weights;
use crate::encoder::batch::Batch;
use crate::encoder::error::{Error, Result};

/// An encoder with its weights on a device.
pub(super) struct Encoder {
    config: EncoderConfig,
    device: Device,
    precision: Precision,
    tables: Tables,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    head: Head,
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

/// The span head. Two columns are too few for a matrix product whose rounding does not depend on the batch, so it multiplies and
/// sums; it decides, so it stays in full precision.
struct Head {
    weight: Tensor,
    bias: Tensor,
}

impl Head {
    /// From `[tokens, hidden]` to `[2, tokens]`.
    fn forward(&self, state: &Tensor) -> candle_core::Result<Tensor> {
        state.unsqueeze(0)?.broadcast_mul(&self.weight)?.sum(D::Minus1)?.broadcast_add(&self.bias)
    }
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f32,
}

impl Norm {
    fn forward(&self, input: &Tensor) -> candle_core::Result<Tensor> {
        layer_norm(input, &self.weight, &self.bias, self.epsilon)
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

    /// The span head: two rows, one for starts and one for ends.
    fn head(&self, module: &str, width: usize) -> Result<Head> {
        let weight = self.weights.matrix(&format!("{module}.weight"), 2, width)?;
        let bias = self.weights.vector(&[format!("{module}.bias")], 2)?;
        Ok(Head {
            weight: Tensor::from_vec(weight, (2, 1, width), self.device)?,
            bias: Tensor::from_vec(bias, (2, 1), self.device)?,
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
fn transposed(numbers: &[f32], columns: usize) -> Vec<f32> {
    const BLOCK: usize = 32;
    let rows = numbers.len() / columns;
    let mut out = vec![0.0; numbers.len()];
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

impl Encoder {
    pub(super) fn load(
        config: EncoderConfig,
        weights: &Weights,
        device: Device,
        precision: Precision,
    ) -> Result<Self> {
        let names = config.names;
        let prefix = weights.prefix_of(names.words)?;
        let head = weights.head_module()?;
        let loader = Loader { weights, device: &device, precision, epsilon: config.epsilon };
        let hidden = config.hidden;
        let layers = Layer::load_all(
            &config,
            &prefix,
            |modules, rows, columns| loader.linear(modules, rows, columns),
            |module| loader.norm(module, hidden),
        )?;
        Ok(Self {
            tables: Tables::load(weights, &prefix, &config)?,
            embedding_norm: loader.norm(&format!("{prefix}{}", names.embedding_norm), hidden)?,
            layers,
            head: loader.head(&head, hidden)?,
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

    /// Start and end logits of every token of every window.
    pub(super) fn forward(&self, batch: &Batch, tap: Option<&mut Tap>) -> Result<Vec<WindowLogits>> {
        if batch.tokens() == 0 {
            return Ok(batch.lengths.iter().map(|_| WindowLogits::default()).collect());
        }
        let logits = self.run(&self.embed(batch)?, batch, tap)?.to_vec2::<f32>()?;
        batch
            .ranges()
            .map(|range| {
                let window =
                    WindowLogits { start: logits[0][range.clone()].to_vec(), end: logits[1][range].to_vec() };
                let finite = window.start.iter().chain(&window.end).all(|logit| logit.is_finite());
                finite.then_some(window).ok_or(Error::NotFinite { dtype: self.precision.name() })
            })
            .collect()
    }

    /// From summed embeddings to `[2, tokens]` logits.
    fn run(&self, embedded: &Tensor, batch: &Batch, mut tap: Option<&mut Tap>) -> Result<Tensor> {
        let layout = Layout::new(&batch.lengths, &self.device)?;
        let mut record = |state: &Tensor| -> Result<()> {
            if let Some(tap) = tap.as_deref_mut() {
                tap.hidden_states.push(state.flatten_all()?.to_vec1()?);
            }
            Ok(())
        };
        let mut state = self.embedding_norm.forward(embedded)?;
        record(&state)?;
        for layer in &self.layers {
            let qkv = layer.qkv.forward(&state)?.to_dtype(self.precision.dtype())?;
            let (heads, width) = (self.config.heads, self.config.head_width());
            let attended = attention(&qkv, heads, width, &layout, &softmax_last_dim)?;
            let attended = layer.attention_out.forward(&attended)?;
            state = layer.attention_norm.forward(&(attended + state)?)?;
            let inner = layer.up.forward(&state)?.gelu_erf()?;
            let inner = layer.down.forward(&inner)?;
            state = layer.output_norm.forward(&(inner + state)?)?;
            record(&state)?;
        }
        Ok(self.head.forward(&state)?)
    }
}
