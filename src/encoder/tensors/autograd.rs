//! Learning with tensor operations: the encoder's equations as a graph that candle finds the gradients of.
//!
//! It learns on GPUs, in f32 or mixed precision, and is what the CPU's [`Backprop`](crate::encoder::cpu::Backprop) is compared with.

use std::ops::Range;

use candle_core::{D, DType, Device, Result, Tensor, Var};
use candle_nn::ops::{layer_norm_slow, softmax};

use super::attention::{Layout, attention};
use crate::encoder::Precision;
use crate::encoder::batch::Batch;
use crate::encoder::error;
use crate::encoder::places::{Affine, Norm, Numbers, Pass, Top};

/// f16 has a narrow range: gradients are multiplied with as much as it bears, and divided again.
const HIGHEST_SCALE: f64 = 65_536.0;

/// Passes without overflow after which a larger scale is tried.
const PATIENCE: u32 = 500;

/// Computes gradients with candle.
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

    /// Runs a batch forwards, lets `top` turn the last hidden states into their gradients, and adds those of all numbers that learn
    /// to `gradients`.
    pub(crate) fn run(
        &mut self,
        numbers: Numbers,
        batch: &Batch,
        pass: &Pass,
        top: &mut Top,
        gradients: &mut [f32],
    ) -> error::Result<()> {
        if self.variables.is_empty() {
            for slot in numbers.slots {
                let variable = Var::from_slice(numbers.at(&slot.place), slot.shape.as_slice(), &self.device)?;
                self.variables.push(variable);
            }
        }
        if pass.dropout > 0.0 && !self.device.is_cpu() {
            self.device.set_seed(pass.seed)?;
        }
        let graph = Graph { numbers, variables: &self.variables, precision: self.precision, pass };
        let states = graph.states(batch, &self.device)?;
        let mut state_gradients = states.flatten_all()?.to_vec1::<f32>()?;
        if !top(&mut state_gradients) || pass.lowest() > numbers.config.layers {
            return Ok(());
        }
        let state_gradients = Tensor::from_vec(state_gradients, states.shape(), &self.device)?;
        loop {
            // The gradient of this sum with respect to each state is what `top` says.
            let store = ((&states * &state_gradients)?.sum_all()? * self.scale)?.backward()?;
            let mut found = Vec::new();
            for (slot, variable) in numbers.slots.iter().zip(&self.variables) {
                if pass.learns[slot.depth]
                    && let Some(gradient) = store.get(variable)
                {
                    found.push((slot, gradient.flatten_all()?.to_vec1::<f32>()?));
                }
            }
            let finite = found.iter().all(|(_, found)| found.iter().all(|gradient| gradient.is_finite()));
            if !finite && self.scale > 1.0 {
                self.scale /= 2.0;
                self.steady = 0;
                continue;
            }
            let factor = (1.0 / self.scale) as f32;
            for (slot, found) in found {
                let sums = gradients[slot.place.clone()].iter_mut();
                sums.zip(found).for_each(|(sum, gradient)| *sum += gradient * factor);
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
    numbers: Numbers<'a>,
    variables: &'a [Var],
    precision: Precision,
    pass: &'a Pass<'a>,
}

impl Graph<'_> {
    /// The tensors of a place, one below the other.
    fn at(&self, place: &Range<usize>) -> Result<Tensor> {
        let slots = self.numbers.slots.iter().zip(self.variables);
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
        let epsilon = self.numbers.config.epsilon as f32;
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
        let (config, places) = (&self.numbers.config, &self.numbers.places);
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

    /// The last hidden states, `[tokens, hidden]`.
    fn states(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let (config, places) = (&self.numbers.config, &self.numbers.places);
        let layout = Layout::new(&batch.lengths, device)?;
        let probabilities = |scores: &Tensor| self.drop(softmax(scores, D::Minus1)?);
        let mut state = self.drop(self.norm(&places.embedding_norm, &self.embed(batch, device)?)?)?;
        for layer in &places.layers {
            let qkv = self.affine(&layer.qkv, &state)?.to_dtype(self.precision.dtype())?;
            let attended = attention(&qkv, config.heads, config.head_width(), &layout, &probabilities)?;
            let delta = self.drop(self.affine(&layer.attention_out, &attended)?)?;
            state = self.norm(&layer.attention_norm, &(delta + state)?)?;
            let inner = self.affine(&layer.up, &state)?.gelu_erf()?;
            let delta = self.drop(self.affine(&layer.down, &inner)?)?;
            state = self.norm(&layer.output_norm, &(delta + state)?)?;
        }
        Ok(state)
    }
}
