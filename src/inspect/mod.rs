//! Looking inside: hidden states and attention of a window, and which words moved the margin of its answer.
//!
//! ```text
//! Question -> Reader -> Reply, ModelInput -> Inspector -> Inside (states, attentions, logits) -> a file, words, a page
//!                                                      -> gradient times input -> words
//! ```
//!
//! Answers and windows are the reader's, so what is looked at is what was answered from. The engines that answer keep no attention and know
//! no way back. So the same window goes once more through the encoder's plain tensor operations, in f32; tests hold their logits to those of the
//! engines. A packed model's weights are widened, its states are not rounded: there the logits differ a little from those of the answer.
//!
//! Attention says where numbers went, not why the answer was chosen. Gradient times input is about the choice itself: the margin of the span over
//! "no answer", and what each word does for it, to first order.

pub mod error;
mod explain;
mod file;
mod page;
mod words;

pub use self::error::{Error, Result};
pub use self::file::{Numbers, size, write};
pub use self::page::{Picture, page};
pub use self::words::{Word, by_word, sum_by_word, words};
use crate::checkpoint::{EncoderConfig, ModelFiles};
use crate::encoder::{Precision, Runtime, Tap};
use crate::heads::{QaModel, WindowLogits};
use crate::reader::input::ModelInput;

/// A model whose inside can be seen.
pub struct Inspector {
    model: QaModel,
    name: String,
}

/// The layers and heads to look at. Both count from 0, as transformers' `attentions` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// In ascending order.
    pub layers: Vec<usize>,
    /// In ascending order.
    pub heads: Vec<usize>,
}

/// What a window looks like inside.
#[derive(Debug, Clone, PartialEq)]
pub struct Inside {
    /// The embeddings, then each layer's output: flat `[tokens, hidden]` arrays.
    pub hidden_states: Vec<Vec<f32>>,
    /// For each layer the attention probabilities: a flat `[head, query, key]` array.
    pub attentions: Vec<Vec<f32>>,
    /// What the head made of the last states.
    pub logits: WindowLogits,
}

impl Inspector {
    /// Loads a checkpoint for looking at.
    pub fn open(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        let runtime = Runtime { precision: Some(Precision::F32), reference: true, ..runtime.clone() };
        Ok(Self { model: QaModel::load(files, &runtime)?, name: files.name.clone() })
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        self.model.config()
    }

    /// Those layers and heads, or all of them.
    pub fn choose(&self, layers: Option<&[usize]>, heads: Option<&[usize]>) -> Result<Choice> {
        let model = || self.name.clone();
        let (all_layers, all_heads) = (self.config().layers, self.config().heads);
        let choose = |chosen: Option<&[usize]>, all: usize| -> Result<Vec<usize>, usize> {
            let Some(chosen) = chosen else { return Ok((0..all).collect()) };
            let mut chosen = chosen.to_vec();
            chosen.sort_unstable();
            chosen.dedup();
            match chosen.iter().find(|number| **number >= all) {
                Some(&missing) => Err(missing),
                None => Ok(chosen),
            }
        };
        let no_layer = |asked| Error::NoSuchLayer { model: model(), layers: all_layers, asked };
        let no_head = |asked| Error::NoSuchHead { model: model(), heads: all_heads, asked };
        Ok(Choice {
            layers: choose(layers, all_layers).map_err(no_layer)?,
            heads: choose(heads, all_heads).map_err(no_head)?,
        })
    }

    /// Runs a window and keeps what is computed on the way.
    pub fn look(&self, input: &ModelInput) -> Result<Inside> {
        let mut tap = Tap::with_attention();
        let logits = self.model.logits_with_tap(&input.batch(), &mut tap)?;
        let Tap { hidden_states, attention } = tap;
        // There is one window.
        let attentions = attention.unwrap_or_default().into_iter().flatten().collect();
        let inside =
            Inside { hidden_states, attentions, logits: logits.into_iter().next().unwrap_or_default() };
        let numbers = inside.attentions.iter().chain(&inside.hidden_states);
        let finite = numbers.flatten().all(|number| number.is_finite());
        if finite { Ok(inside) } else { Err(Error::NotFinite) }
    }

    /// What each token contributes to the margin of a span over "no answer", to first order: the gradient of the margin with respect to its
    /// word's embedding, times that embedding. The span is its first and last token in the window.
    pub fn gradient_times_input(&self, input: &ModelInput, span: (usize, usize)) -> Result<Vec<f32>> {
        let scores = self.model.margin_gradient(&input.batch(), span)?;
        let finite = scores.iter().all(|score| score.is_finite());
        if finite { Ok(scores) } else { Err(Error::NotFinite) }
    }
}

impl Inside {
    /// One head of one layer: `[query, key]`.
    pub fn head(&self, layer: usize, head: usize) -> &[f32] {
        let tokens = self.logits.start.len();
        &self.attentions[layer][head * tokens * tokens..][..tokens * tokens]
    }

    /// The mean of the heads that were chosen: `[query, key]`.
    pub fn mean(&self, choice: &Choice) -> Vec<f32> {
        let tokens = self.logits.start.len();
        let mut sums = vec![0.0; tokens * tokens];
        for (&layer, &head) in choice.pairs() {
            sums.iter_mut().zip(self.head(layer, head)).for_each(|(sum, number)| *sum += number);
        }
        let count = (choice.layers.len() * choice.heads.len()) as f32;
        sums.iter_mut().for_each(|sum| *sum /= count);
        sums
    }
}

impl Choice {
    /// Each layer with each head.
    pub fn pairs(&self) -> impl Iterator<Item = (&usize, &usize)> {
        self.layers.iter().flat_map(|layer| self.heads.iter().map(move |head| (layer, head)))
    }
}
