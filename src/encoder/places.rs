//! The numbers of an encoder that learns: all its tensors behind one another in one array, and where each of them lies.
//!
//! They lie in the order in which the encoder uses them, query, key and value side by side, so that three products are one, and
//! gradients and the optimiser's moments are arrays of the same length that need no names. What stands on top of the encoder
//! follows behind it.

use std::cell::RefCell;
use std::ops::Range;

use super::dropout::{Dropout, Site};
use super::layer::Layer;
use crate::checkpoint::config::EncoderConfig;
use crate::encoder::error::Result;

/// A tensor's place among the numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Slot {
    /// Its module, below the family's prefix.
    pub(crate) module: String,
    pub(crate) part: &'static str,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Range<usize>,
    /// Whether weight decay applies: to matrices, not to biases and normalisations.
    pub(crate) decays: bool,
    /// 0 for embeddings, then the layers from 1, and last what stands on top.
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
    pub(crate) layers: Vec<Layer<Affine, Norm>>,
}

/// Hands out places one behind the other.
#[derive(Default)]
pub(crate) struct Plan {
    pub(crate) slots: Vec<Slot>,
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
    pub(crate) fn affine(
        &mut self,
        modules: &[String],
        outputs: usize,
        inputs: usize,
        depth: usize,
    ) -> Affine {
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

    /// Places for the tensors of an encoder of that shape.
    pub(crate) fn encoder(self, config: &EncoderConfig) -> Result<(Self, Places)> {
        let (names, hidden) = (config.names, config.hidden);
        let mut plan = self;
        let words = plan.table(names.words, config.vocabulary, hidden);
        let segments = (config.segments > 0).then(|| plan.table(names.segments, config.segments, hidden));
        let positions = plan.table(names.positions, config.positions, hidden);
        let embedding_norm = plan.norm(names.embedding_norm, hidden, 0);
        let shared = RefCell::new(plan);
        let layer = |number: usize| {
            Layer::load(
                config,
                "",
                number,
                |modules, outputs, inputs| {
                    Ok(shared.borrow_mut().affine(modules, outputs, inputs, number + 1))
                },
                |module| Ok(shared.borrow_mut().norm(module, hidden, number + 1)),
            )
        };
        let layers = (0..config.layers).map(layer).collect::<Result<_>>()?;
        Ok((shared.into_inner(), Places { words, segments, positions, embedding_norm, layers }))
    }
}

/// An encoder that learns, as a pass sees it.
#[derive(Clone, Copy)]
pub(crate) struct Numbers<'a> {
    pub(crate) config: &'a EncoderConfig,
    /// The encoder's tensors alone.
    pub(crate) slots: &'a [Slot],
    pub(crate) places: &'a Places,
    pub(crate) values: &'a [f32],
}

impl<'a> Numbers<'a> {
    pub(crate) fn at(self, place: &Range<usize>) -> &'a [f32] {
        &self.values[place.clone()]
    }

    /// The rows that describe a token: where each starts among the numbers.
    pub(crate) fn rows(self, id: u32, segment: u32, position: u32) -> impl Iterator<Item = usize> {
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

/// How one pass goes forwards and backwards.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) dropout: f32,
    pub(crate) seed: u64,
    /// Whether the embeddings learn, and each layer.
    pub(crate) learns: &'a [bool],
}

impl Pass<'_> {
    /// What is left out in one place.
    pub(crate) fn dropout_at(&self, site: Site) -> Option<Dropout> {
        Dropout::new(self.dropout, self.seed, site.number())
    }

    /// The lowest depth that learns: there is no need to go back further. One above the last layer if none does.
    pub(crate) fn lowest(&self) -> usize {
        self.learns.iter().position(|learns| *learns).unwrap_or(self.learns.len())
    }
}

/// What stands on top of the encoder: gets the last hidden states of a batch, `[tokens, hidden]`, and puts the gradient of each
/// number in its place. Says whether it could.
pub(crate) type Top<'a> = dyn FnMut(&mut [f32]) -> bool + 'a;

/// One step of AdamW, for whatever takes it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// The largest norm that all gradients together may have; zero for any.
    pub(crate) clip: f64,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    /// What the root of the squares' mean is multiplied with, because that started at zero.
    pub(crate) spread: f32,
    pub(crate) epsilon: f32,
    /// One for each slot.
    pub(crate) rules: Vec<Rule>,
}

/// How a step changes the numbers of one slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rule {
    /// The share of a number that decay leaves.
    pub(crate) keep: f32,
    /// How far it goes.
    pub(crate) rate: f32,
}
