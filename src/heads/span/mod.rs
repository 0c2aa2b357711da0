//! The span head: for each token, how much it looks like the start and like the end of the answer.

pub(crate) mod backward;

use std::time::Duration;

use super::pool::PoolConfig;
use crate::checkpoint::{self, EncoderConfig, Error, ModelFiles, Weights};
use crate::encoder::batch::Batch;
use crate::encoder::{CPU_BATCH_TOKENS, DeviceChoice, Encoder, Projection, Result, Runtime, Tap, WindowRows};

/// What all families call the head.
pub const MODULE: &str = "qa_outputs";

/// Numbers for each token: one for the start and one for the end.
pub(crate) const OUTPUTS: usize = 2;

/// Something that scores the tokens of windows: the seam between text and tensors.
pub trait SpanModel: Send + Sync {
    /// The longest window it takes.
    fn usable_positions(&self) -> usize;

    /// One past the highest token id it takes.
    fn vocabulary(&self) -> usize;

    /// The logits of each window of the batch, in order and exactly as long as the window. They do not depend on what else is in
    /// the batch. Those that [nobody reads](Batch::read) may be negative infinity. A model that is damaged, or whose number type is
    /// too narrow, may give logits that are not finite.
    fn logits(&self, batch: &Batch) -> Result<Vec<WindowLogits>>;

    /// Batches that it works on at the same time, on cores of its own; 0 if it needs those of the caller.
    fn lanes(&self) -> usize {
        0
    }

    /// Tokens that suit a batch: enough to keep everything busy, few enough to stay near.
    fn batch_tokens(&self) -> usize {
        CPU_BATCH_TOKENS
    }

    /// How long each kind of computation has taken so far, summed over threads; empty if nobody counts.
    fn times(&self) -> Vec<(&'static str, Duration)> {
        Vec::new()
    }

    /// What a person should know about how it ran.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where it runs: never [`DeviceChoice::Auto`].
    fn device(&self) -> DeviceChoice {
        DeviceChoice::Cpu
    }

    /// The type that it multiplies in, for messages.
    fn dtype(&self) -> &'static str {
        "f32"
    }
}

/// What a model says about one window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowLogits {
    /// For each token, how much it looks like the start of the answer.
    pub start: Vec<f32>,
    /// For each token, how much it looks like the end of the answer.
    pub end: Vec<f32>,
}

impl WindowLogits {
    /// Sorts what the head gave; tokens without a row get negative infinity.
    fn of(rows: &WindowRows) -> Self {
        let mut start = vec![f32::NEG_INFINITY; rows.tokens];
        let mut end = start.clone();
        for (token, row) in rows.iter() {
            (start[token], end[token]) = (row[0], row[1]);
        }
        Self { start, end }
    }
}

/// A checkpoint for extractive question answering: an encoder with a span head.
pub struct QaModel {
    encoder: Encoder,
}

impl QaModel {
    /// Whether a checkpoint has a span head.
    pub fn is_in(files: &ModelFiles) -> checkpoint::Result<bool> {
        Ok(Weights::open(files)?.module(MODULE).is_some())
    }

    /// Loads a checkpoint onto a device. One that has no span head is refused.
    pub fn load(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        let config = EncoderConfig::from_files(files)?;
        let weights = Weights::open(files)?;
        let module = weights.module(MODULE).ok_or_else(|| match PoolConfig::is_in(files) {
            true => Error::OnlyEmbeds { model: files.name.clone() },
            false => no_head(&weights),
        })?;
        config.expect_labels(files, OUTPUTS)?;
        let head = Projection::load(&weights, &module, OUTPUTS, config.hidden)?;
        Ok(Self { encoder: Encoder::load(config, &weights, runtime, Some(head))? })
    }

    /// The encoder below the head.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        self.encoder.config()
    }

    /// What computes, for people.
    pub fn describe(&self) -> String {
        self.encoder.describe()
    }

    /// Like [`SpanModel::logits`], and shows the intermediate states.
    pub fn logits_with_tap(&self, batch: &Batch, tap: &mut Tap) -> Result<Vec<WindowLogits>> {
        Ok(self.encoder.forward(batch, Some(tap))?.iter().map(WindowLogits::of).collect())
    }

    /// What the word of each token of a window contributes, to first order, to the margin of a span over "no answer": gradient times
    /// input. The span is its first and its last token. Only a model that was loaded with [`Runtime::reference`] has it.
    pub fn margin_gradient(&self, window: &Batch, (start, end): (usize, usize)) -> Result<Vec<f32>> {
        let mut weights = vec![0.0; window.tokens() * OUTPUTS];
        for (token, side, weight) in [(start, 0, 1.0), (end, 1, 1.0), (0, 0, -1.0), (0, 1, -1.0)] {
            if let Some(number) = weights.get_mut(token * OUTPUTS + side) {
                *number += weight;
            }
        }
        self.encoder.gradient_times_input(window, &weights)
    }
}

impl SpanModel for QaModel {
    fn usable_positions(&self) -> usize {
        self.config().usable_positions()
    }

    fn vocabulary(&self) -> usize {
        self.config().vocabulary
    }

    fn logits(&self, batch: &Batch) -> Result<Vec<WindowLogits>> {
        Ok(self.encoder.forward(batch, None)?.iter().map(WindowLogits::of).collect())
    }

    fn lanes(&self) -> usize {
        self.encoder.lanes()
    }

    fn batch_tokens(&self) -> usize {
        self.encoder.batch_tokens()
    }

    fn times(&self) -> Vec<(&'static str, Duration)> {
        self.encoder.times()
    }

    fn notes(&self) -> Vec<String> {
        self.encoder.notes()
    }

    fn device(&self) -> DeviceChoice {
        self.encoder.device()
    }

    fn dtype(&self) -> &'static str {
        self.encoder.precision().name()
    }
}

/// The error of a checkpoint for something else, which says what that may be.
pub(crate) fn no_head(weights: &Weights) -> Error {
    /// Modules of other heads.
    const OTHERS: [&str; 6] =
        ["classifier", "lm_head", "cls.predictions.decoder", "pooler.dense", "pre_classifier", "score"];
    let other = |name: &str| {
        let module = name.strip_suffix(".weight")?;
        OTHERS.iter().any(|head| module.ends_with(head)).then(|| module.to_owned())
    };
    Error::NoHead { file: weights.label(), heads: weights.names().filter_map(other).collect() }
}
