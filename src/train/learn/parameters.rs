//! The numbers that training changes: all tensors of a checkpoint behind one another in one array.
//!
//! They lie in the order in which the encoder uses them, query, key and value side by side, so that three products are one, and
//! gradients and the optimiser's moments are arrays of the same length that need no names.

use std::cell::RefCell;
use std::ops::Range;

use crate::checkpoint::ModelFiles;
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::names::HEAD;
use crate::checkpoint::weights::Weights;
use crate::encoder::{self, layer};
use crate::random::Random;
use crate::train::error::Result;

/// A tensor's place among the numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    /// Its module, below the family's prefix.
    module: String,
    part: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Range<usize>,
    /// Whether weight decay applies: to matrices, not to biases and normalisations.
    pub(crate) decays: bool,
    /// 0 for embeddings, then the layers from 1, and last the head.
    pub(crate) depth: usize,
}

/// A linear module's places: weights `[outputs, inputs]` and bias.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Affine {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

/// A normalisation's places.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Norm {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// Where everything lies.
pub(crate) struct Places {
    pub(crate) words: Range<usize>,
    pub(crate) segments: Option<Range<usize>>,
    pub(crate) positions: Range<usize>,
    pub(crate) embedding_norm: Norm,
    pub(crate) layers: Vec<layer::Layer<Affine, Norm>>,
    pub(crate) head: Affine,
}

/// A checkpoint's numbers.
pub(crate) struct Parameters {
    pub(crate) config: EncoderConfig,
    pub(crate) slots: Vec<Slot>,
    pub(crate) places: Places,
    pub(crate) values: Vec<f32>,
}

impl Slot {
    /// The name under which transformers looks for it.
    pub(crate) fn name(&self, config: &EncoderConfig) -> String {
        let prefix = if self.module == HEAD { "" } else { config.prefix };
        format!("{prefix}{}.{}", self.module, self.part)
    }
}

/// Hands out places one behind the other.
#[derive(Default)]
struct Plan {
    slots: Vec<Slot>,
    next: usize,
}

impl Plan {
    fn add(
        &mut self,
        module: &str,
        part: &'static str,
        shape: &[usize],
        decays: bool,
        depth: usize,
    ) -> Range<usize> {
        let place = self.next..self.next + shape.iter().product::<usize>();
        self.next = place.end;
        let slot =
            Slot { module: module.into(), part, shape: shape.to_vec(), place: place.clone(), decays, depth };
        self.slots.push(slot);
        place
    }

    fn table(&mut self, module: &str, rows: usize, columns: usize) -> Range<usize> {
        self.add(module, "weight", &[rows, columns], true, 0)
    }

    /// Modules with the same input, as one.
    fn affine(&mut self, modules: &[String], outputs: usize, inputs: usize, depth: usize) -> Affine {
        let start = self.next;
        for module in modules {
            self.add(module, "weight", &[outputs, inputs], true, depth);
        }
        let weight = start..self.next;
        for module in modules {
            self.add(module, "bias", &[outputs], false, depth);
        }
        Affine { bias: weight.end..self.next, weight, inputs, outputs: modules.len() * outputs }
    }

    fn norm(&mut self, module: &str, width: usize, depth: usize) -> Norm {
        let weight = self.add(module, "weight", &[width], false, depth);
        Norm { weight, bias: self.add(module, "bias", &[width], false, depth) }
    }
}

/// Lays out the tensors of an encoder of that shape.
fn lay_out(config: &EncoderConfig) -> Result<(Vec<Slot>, Places)> {
    let (names, hidden) = (config.names, config.hidden);
    let mut plan = Plan::default();
    let words = plan.table(names.words, config.vocabulary, hidden);
    let segments = (config.segments > 0).then(|| plan.table(names.segments, config.segments, hidden));
    let positions = plan.table(names.positions, config.positions, hidden);
    let embedding_norm = plan.norm(names.embedding_norm, hidden, 0);
    let shared = RefCell::new(plan);
    let layer = |number: usize| {
        layer::Layer::load(
            config,
            "",
            number,
            |modules, outputs, inputs| Ok(shared.borrow_mut().affine(modules, outputs, inputs, number + 1)),
            |module| Ok(shared.borrow_mut().norm(module, hidden, number + 1)),
        )
    };
    let layers = (0..config.layers).map(layer).collect::<encoder::Result<_>>()?;
    let mut plan = shared.into_inner();
    let head = plan.affine(&[HEAD.to_owned()], 2, hidden, config.layers + 1);
    Ok((plan.slots, Places { words, segments, positions, embedding_norm, layers, head }))
}

impl Parameters {
    /// Reads a checkpoint, with or without a span head. A head that is not there, or not wanted, starts from small random numbers.
    /// Returns whether it did.
    pub(crate) fn load(files: &ModelFiles, fresh_head: bool, seed: u64) -> Result<(Self, bool)> {
        let config = EncoderConfig::from_files(files)?;
        let weights = Weights::open(files)?;
        let prefix = weights.prefix_of(config.names.words)?;
        let head = if fresh_head { None } else { weights.head_module().ok() };
        let (slots, places) = lay_out(&config)?;
        let mut values = vec![0.0; slots.last().map_or(0, |slot| slot.place.end)];
        for slot in &slots {
            let out = &mut values[slot.place.clone()];
            let module = if slot.module != HEAD {
                format!("{prefix}{}", slot.module)
            } else if let Some(head) = &head {
                head.clone()
            } else {
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
        Ok((Self { config, slots, places, values }, head.is_none()))
    }

    /// The rows that describe a token: where each starts among the numbers.
    pub(crate) fn rows(&self, id: u32, segment: u32, position: u32) -> impl Iterator<Item = usize> + use<> {
        let hidden = self.config.hidden;
        let at = |place: &Range<usize>, row: usize| place.start + row * hidden;
        let segment = if self.config.segments == 1 { 0 } else { segment as usize };
        [
            Some(at(&self.places.words, id as usize)),
            self.places.segments.as_ref().map(|place| at(place, segment)),
            Some(at(&self.places.positions, position as usize + self.config.position_offset)),
        ]
        .into_iter()
        .flatten()
    }
}

/// What untrained heads start from: a normal distribution of width 0.02.
fn fill_with_small_numbers(out: &mut [f32], seed: u64) {
    let mut random = Random::new(seed);
    out.iter_mut().for_each(|number| *number = 0.02 * random.normal());
}
