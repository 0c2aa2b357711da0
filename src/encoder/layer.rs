//! The parts of a layer and where a checkpoint keeps them, the same for whatever computes with them.

use rayon::prelude::*;

use crate::checkpoint;
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::Weights;
use crate::encoder::error::Result;

/// Refuses a checkpoint that has fewer layers than its config.json says, before there is room for so many.
pub(crate) fn check_depth(config: &EncoderConfig, weights: &Weights, prefix: &str) -> checkpoint::Result<()> {
    let names = config.names;
    let first = |layer| format!("{prefix}{}{layer}.{}.weight", names.layer, names.query);
    (0..config.layers).try_for_each(|layer| weights.require(&first(layer)))
}

/// A layer, made of linear modules and normalisations of some kind.
pub(crate) struct Layer<L, N> {
    /// Query, key and value in one product.
    pub(crate) qkv: L,
    pub(crate) attention_out: L,
    pub(crate) attention_norm: N,
    pub(crate) up: L,
    pub(crate) down: L,
    pub(crate) output_norm: N,
}

impl<L: Send, N: Send> Layer<L, N> {
    /// Loads all layers of an encoder, side by side. `linear` takes the modules that share an input, the outputs of each and the
    /// inputs; `norm` takes a module.
    pub(crate) fn load_all(
        config: &EncoderConfig,
        weights: &Weights,
        prefix: &str,
        linear: impl Fn(&[String], usize, usize) -> Result<L> + Sync,
        norm: impl Fn(&str) -> Result<N> + Sync,
    ) -> Result<Vec<Self>> {
        check_depth(config, weights, prefix)?;
        let load = |number: usize| Self::load(config, prefix, number, &linear, &norm);
        // Collected before it is looked through, so that of several errors the first layer's is reported.
        let layers: Vec<Result<Self>> = (0..config.layers).into_par_iter().map(load).collect();
        layers.into_iter().collect()
    }

    /// Loads one layer; see [`Layer::load_all`].
    pub(crate) fn load(
        config: &EncoderConfig,
        prefix: &str,
        number: usize,
        linear: impl Fn(&[String], usize, usize) -> Result<L>,
        norm: impl Fn(&str) -> Result<N>,
    ) -> Result<Self> {
        let (names, hidden, inner) = (config.names, config.hidden, config.inner);
        let module = |name: &str| format!("{prefix}{}{number}.{name}", names.layer);
        Ok(Self {
            qkv: linear(&[names.query, names.key, names.value].map(module), hidden, hidden)?,
            attention_out: linear(&[module(names.attention_out)], hidden, hidden)?,
            attention_norm: norm(&module(names.attention_norm))?,
            up: linear(&[module(names.up)], inner, hidden)?,
            down: linear(&[module(names.down)], hidden, inner)?,
            output_norm: norm(&module(names.output_norm))?,
        })
    }
}
