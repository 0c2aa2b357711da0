//! A checkpoint that learns: the encoder's numbers, and behind them those of the span head.

use std::ops::Range;

use crate::checkpoint::ModelFiles;
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::Weights;
use crate::encoder::layer::check_depth;
use crate::encoder::places::{Affine, Numbers, Places, Plan, Slot};
use crate::heads::span;
use crate::random::Random;
use crate::train::error::Result;

/// A checkpoint's numbers.
pub(crate) struct Parameters {
    pub(crate) config: EncoderConfig,
    pub(crate) slots: Vec<Slot>,
    places: Places,
    pub(crate) head: Affine,
    pub(crate) values: Vec<f32>,
}

impl Parameters {
    /// Reads a checkpoint, with or without a span head. A head that is not there, or not wanted, starts from small random numbers.
    /// Returns whether it did.
    pub(crate) fn load(files: &ModelFiles, fresh_head: bool, seed: u64) -> Result<(Self, bool)> {
        let config = EncoderConfig::from_files(files)?;
        let weights = Weights::open(files)?;
        let prefix = weights.prefix_of(config.names.words)?;
        let old_head = if fresh_head { None } else { weights.module(span::MODULE) };
        check_depth(&config, &weights, &prefix)?;
        let (mut plan, places) = Plan::default().encoder(&config)?;
        let head = plan.affine(&[span::MODULE.to_owned()], span::OUTPUTS, config.hidden, config.layers + 1);
        let slots = plan.slots;
        // Where each tensor stands in the checkpoint, if it is taken from there.
        let module = |slot: &Slot| {
            if slot.depth <= config.layers {
                Some(format!("{prefix}{}", slot.module))
            } else {
                old_head.clone()
            }
        };
        for slot in &slots {
            // Before there is room for as many numbers as config.json says.
            if let (Some(module), [_, _]) = (module(slot), &slot.shape[..]) {
                weights.expect_shape(&format!("{module}.{}", slot.part), &slot.shape)?;
            }
        }
        let mut values = vec![0.0; head.bias.end];
        for slot in &slots {
            let out = &mut values[slot.place.clone()];
            let Some(module) = module(slot) else {
                if slot.part == "weight" {
                    fill_with_small_numbers(out, seed);
                }
                continue;
            };
            let numbers = match (&slot.shape[..], slot.part) {
                ([rows, columns], _) => {
                    weights.matrix(&format!("{module}.{}", slot.part), *rows, *columns)?
                }
                // Normalisations may go by their older names.
                (_, "weight") => weights.norm(&module, out.len())?.0,
                (_, _) => weights.vector(&[format!("{module}.bias"), format!("{module}.beta")], out.len())?,
            };
            out.copy_from_slice(&numbers);
        }
        let fresh = old_head.is_none();
        Ok((Self { config, slots, places, head, values }, fresh))
    }

    /// The encoder's part.
    pub(crate) fn encoder(&self) -> Numbers<'_> {
        let slots = self.slots.iter().take_while(|slot| slot.depth <= self.config.layers).count();
        let Self { config, places, values, .. } = self;
        Numbers { config, slots: &self.slots[..slots], places, values }
    }

    /// The head's part: weight and bias.
    pub(crate) fn head(&self) -> [&[f32]; 2] {
        [&self.head.weight, &self.head.bias].map(|place| &self.values[place.clone()])
    }

    /// Splits numbers that lie like the parameters into those of the encoder and those of the head, weight and bias.
    pub(crate) fn split<'a>(&self, all: &'a mut [f32]) -> (&'a mut [f32], [&'a mut [f32]; 2]) {
        let Range { start, end } = self.head.weight;
        let (encoder, head) = all.split_at_mut(start);
        let (weight, bias) = head.split_at_mut(end - start);
        (encoder, [weight, bias])
    }

    /// The name under which transformers looks for a tensor.
    pub(crate) fn name(&self, slot: &Slot) -> String {
        let prefix = if slot.depth > self.config.layers { "" } else { self.config.prefix };
        format!("{prefix}{}.{}", slot.module, slot.part)
    }
}

/// What untrained heads start from: a normal distribution of width 0.02.
fn fill_with_small_numbers(out: &mut [f32], seed: u64) {
    let mut random = Random::new(seed);
    out.iter_mut().for_each(|number| *number = 0.02 * random.normal());
}
