//! Classification with one output: how well the two texts of a pair fit together, in one number. That is what cross-encoders do.

use crate::checkpoint::{EncoderConfig, Error, ModelFiles, Weights};
use crate::encoder::batch::Batch;
use crate::encoder::{Encoder, Projection, Result, Runtime};

/// Between the two linear modules of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activation {
    Tanh,
    Relu,
}

/// What the families call their head: the module on the first token's state, what follows, the module that gives the output.
const FORMS: [(&str, Activation, &str); 3] = [
    // RoBERTa and XLM-R.
    ("classifier.dense", Activation::Tanh, "classifier.out_proj"),
    // DistilBERT.
    ("pre_classifier", Activation::Relu, "classifier"),
    // BERT.
    ("pooler.dense", Activation::Tanh, "classifier"),
];

/// A checkpoint that scores pairs of texts: an encoder with a classifier of one output.
pub struct CrossEncoder {
    encoder: Encoder,
    dense: Projection,
    activation: Activation,
    output: Projection,
}

impl CrossEncoder {
    /// Loads a checkpoint onto a device. One that has no classifier, or more outputs, is refused.
    pub fn load(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        let config = EncoderConfig::from_files(files)?;
        let weights = Weights::open(files)?;
        let form = |(dense, activation, output): (&str, Activation, &str)| {
            Some((weights.module(dense)?, activation, weights.module(output)?))
        };
        let (dense, activation, output) =
            FORMS.into_iter().find_map(form).ok_or_else(|| Error::NoClassifier { file: weights.label() })?;
        config.expect_labels(files, 1)?;
        let dense = Projection::load(&weights, &dense, config.hidden, config.hidden)?;
        let output = Projection::load(&weights, &output, 1, config.hidden)?;
        Ok(Self { encoder: Encoder::load(config, &weights, runtime, None)?, dense, activation, output })
    }

    /// The encoder below the classifier.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Appends a window of which only the first token is read.
    pub fn push(&self, batch: &mut Batch, ids: &[u32], segments: &[u32]) {
        batch.push_to_read(ids, segments, 0..0);
    }

    /// The logit of each window, in order: the higher, the better the pair fits. They do not depend on what else is in the batch.
    pub fn scores(&self, batch: &Batch) -> Result<Vec<f32>> {
        let rows = self.encoder.forward(batch, None)?;
        let states: Vec<f32> = rows.iter().filter_map(|rows| rows.first()).flatten().copied().collect();
        let mut inner = self.dense.apply(&states);
        inner.iter_mut().for_each(|number| {
            *number = match self.activation {
                Activation::Tanh => number.tanh(),
                // Not `max`, which would hide what is not a number.
                Activation::Relu if *number < 0.0 => 0.0,
                Activation::Relu => *number,
            };
        });
        Ok(self.output.apply(&inner))
    }
}
