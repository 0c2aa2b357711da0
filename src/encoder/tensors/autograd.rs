//! Learning with tensor operations: the encoder's equations as a graph that candle finds the slopes of.
//!
//! It learns on GPUs, in f32 or mixed precision, and is what the CPU's [`Backprop`](crate::encoder::cpu::Backprop) is compared with.

use std::ops::Range;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::{layer_norm_slow, softmax};

use super::attention::{Layout, attention};
use crate::encoder::batch::Batch;
use crate::encoder::error;
use crate::encoder::{Precision, WindowLogits};
use crate::train::learn::{Affine, LossSlopes, Norm, Parameters, Pass};

/// f16 has a narrow range: slopes are multiplied with as much as it bears, and divided again.
const HIGHEST_SCALE: f64 = 65_536.0;

/// Passes without overflow after which a larger scale is tried.
const PATIENCE: u32 = 500;

/// Computes slopes with candle.
pub(crate) struct Autograd {
    device: Device,
    precision: Precision,
    /// The numbers on the device; empty when they have changed.
    variables: Vec<Var>,
    scale: f64,
    /// Passes since the scale was changed.
    steady: u32,
}

impl Autograd {
    pub(crate) fn new(device: Device, precision: Precision) -> Self {
        let scale = if precision == Precision::F16 { HIGHEST_SCALE } else { 1.0 };
        Self { device, precision, variables: Vec::new(), scale, steady: 0 }
    }

    /// The numbers have changed.
    pub(crate) fn forget(&mut self) {
        self.variables.clear();
    }

    /// Runs a batch forwards, asks for the slopes of its logits, and adds those of all numbers that learn to `gradients`.
    pub(crate) fn run(
        &mut self,
        parameters: &Parameters,
        batch: &Batch,
        pass: &Pass,
        slopes: &mut LossSlopes,
        gradients: &mut [f32],
    ) -> error::Result<()> {
        if self.variables.is_empty() {
            for slot in &parameters.slots {
                let numbers = &parameters.values[slot.place.clone()];
                self.variables.push(Var::from_slice(numbers, slot.shape.as_slice(), &self.device)?);
            }
        }
        if pass.dropout > 0.0 && !self.device.is_cpu() {
            self.device.set_seed(pass.seed)?;
        }
        let graph = Graph { parameters, variables: &self.variables, precision: self.precision, pass };
        let logits = graph.logits(batch, &self.device)?;
        let numbers = logits.to_vec2::<f32>()?;
        if numbers.iter().flatten().any(|logit| !logit.is_finite()) {
            return Err(error::Error::NotFinite { dtype: self.precision.name() });
        }
        let windows: Vec<WindowLogits> = (batch.ranges())
            .map(|range| WindowLogits {
                start: numbers[0][range.clone()].to_vec(),
                end: numbers[1][range].to_vec(),
            })
            .collect();
        let slopes = slopes(&windows);
        let starts = slopes.iter().flat_map(|window| window.start.iter().copied());
        let slopes: Vec<f32> =
            starts.chain(slopes.iter().flat_map(|window| window.end.iter().copied())).collect();
        let slopes = Tensor::from_vec(slopes, logits.shape(), &self.device)?;
        loop {
            // The sum's slope with respect to each logit is what the loss says.
            let store = ((&logits * &slopes)?.sum_all()? * self.scale)?.backward()?;
            let mut found = Vec::new();
            for (slot, variable) in parameters.slots.iter().zip(&self.variables) {
                if pass.learns(slot.depth)
                    && let Some(slope) = store.get(variable)
                {
                    found.push((slot, slope.flatten_all()?.to_vec1::<f32>()?));
                }
            }
            let finite = found.iter().all(|(_, slopes)| slopes.iter().all(|slope| slope.is_finite()));
            if !finite && self.scale > 1.0 {
                self.scale /= 2.0;
                self.steady = 0;
                continue;
            }
            let factor = (1.0 / self.scale) as f32;
            for (slot, slopes) in found {
                let sums = gradients[slot.place.clone()].iter_mut();
                sums.zip(slopes).for_each(|(sum, slope)| *sum += slope * factor);
            }
            break;
        }
        self.steady += 1;
        if self.precision == Precision::F16 && self.steady >= PATIENCE && self.scale < HIGHEST_SCALE {
            self.scale *= 2.0;
            self.steady = 0;
        }
        Ok(())
    }
}

/// The numbers as variables of one pass.
struct Graph<'a> {
    parameters: &'a Parameters,
    variables: &'a [Var],
    precision: Precision,
    pass: &'a Pass<'a>,
}

impl Graph<'_> {
    /// The tensors of a place, one below the other.
    fn at(&self, place: &Range<usize>) -> Result<Tensor> {
        let slots = self.parameters.slots.iter().zip(self.variables);
        let inside = slots.filter(|(slot, _)| place.start <= slot.place.start && slot.place.end <= place.end);
        let parts: Vec<&Tensor> = inside.map(|(_, variable)| variable.as_tensor()).collect();
        if let [part] = parts[..] { Ok(part.clone()) } else { Tensor::cat(&parts, 0) }
    }

    /// f32 in, f32 out; the product itself runs in the type of the precision.
    fn affine(&self, affine: &Affine, input: &Tensor) -> Result<Tensor> {
        let dtype = self.precision.dtype();
        let weight = self.at(&affine.weight)?.to_dtype(dtype)?.t()?;
        input.to_dtype(dtype)?.matmul(&weight)?.to_dtype(DType::F32)?.broadcast_add(&self.at(&affine.bias)?)
    }

    fn norm(&self, norm: &Norm, input: &Tensor) -> Result<Tensor> {
        let epsilon = self.parameters.config.epsilon as f32;
        layer_norm_slow(input, &self.at(&norm.weight)?, &self.at(&norm.bias)?, epsilon)
    }

    fn drop(&self, input: Tensor) -> Result<Tensor> {
        let share = self.pass.dropout;
        if share == 0.0 {
            return Ok(input);
        }
        let kept =
            Tensor::rand(0f32, 1f32, input.shape(), input.device())?.ge(share)?.to_dtype(DType::F32)?;
        input * (kept * f64::from(1.0 / (1.0 - share)))?
    }

    fn embed(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let (config, places) = (&self.parameters.config, &self.parameters.places);
        let look_up = |place: &Range<usize>, rows: Vec<u32>| {
            let rows = Tensor::from_vec(rows, batch.tokens(), device)?;
            self.at(place)?.index_select(&rows, 0)
        };
        let offset = config.position_offset as u32;
        let positions = batch.positions.iter().map(|position| position + offset).collect();
        let sum = (look_up(&places.words, batch.ids.clone())? + look_up(&places.positions, positions)?)?;
        match &places.segments {
            None => Ok(sum),
            Some(place) if config.segments == 1 => sum + look_up(place, vec![0; batch.tokens()])?,
            Some(place) => sum + look_up(place, batch.segments.clone())?,
        }
    }

    /// `[2, tokens]`.
    fn logits(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let (config, places) = (&self.parameters.config, &self.parameters.places);
        let layout = Layout::new(&batch.lengths, device)?;
        let shares = |scores: &Tensor| self.drop(softmax(scores, D::Minus1)?);
        let mut state = self.drop(self.norm(&places.embedding_norm, &self.embed(batch, device)?)?)?;
        for layer in &places.layers {
            let qkv = self.affine(&layer.qkv, &state)?.to_dtype(self.precision.dtype())?;
            let attended = attention(&qkv, config.heads, config.head_width(), &layout, &shares)?;
            let delta = self.drop(self.affine(&layer.attention_out, &attended)?)?;
            state = self.norm(&layer.attention_norm, &(delta + state)?)?;
            let inner = self.affine(&layer.up, &state)?.gelu_erf()?;
            let delta = self.drop(self.affine(&layer.down, &inner)?)?;
            state = self.norm(&layer.output_norm, &(delta + state)?)?;
        }
        let weight = self.at(&places.head.weight)?.t()?;
        state.matmul(&weight)?.broadcast_add(&self.at(&places.head.bias)?)?.t()?.contiguous()
    }
}
