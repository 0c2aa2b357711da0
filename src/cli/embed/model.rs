//! The model that makes vectors, and how it is to make them.

use anyhow::{Context, Result};
use clap::Args;
use spanqa::embed::{Embedder, Overrides};
use spanqa::heads::pool::{Pooling, States};

use crate::cli::Usage;
use crate::cli::options::{RuntimeArgs, SourceArgs, at_least_one, choice};

const WAYS_TO_POOL: &[(&str, &str)] = &[
    ("mean", "The mean of the hidden states of all tokens"),
    ("cls", "The hidden state of the first token"),
    ("none", "Every token keeps its own"),
];

/// Which model makes vectors, and how.
#[derive(Args, Debug, Clone)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// A name from `spanqa models list`, `owner/repo[@revision]`, or a folder of sentence-transformers
    #[arg(short, long, value_name = "MODEL", default_value = "builtin-embedder")]
    model: String,
    #[command(flatten)]
    source: SourceArgs,
    /// What becomes of the tokens' hidden states [default: what the model's folder says]
    #[arg(long, value_parser = choice::<Pooling>(WAYS_TO_POOL), value_name = "HOW")]
    pool: Option<Pooling>,
    /// Take the hidden states that this layer gives; 0 is the embeddings, and `all` goes with --pool none [default: the last layer]
    #[arg(long, value_name = "N|all")]
    layer: Option<States>,
    /// Make vectors 1 long, whatever the model's folder says
    #[arg(long, overrides_with = "no_normalize")]
    normalize: bool,
    /// Leave the length of vectors as it is
    #[arg(long, overrides_with = "normalize")]
    no_normalize: bool,
    /// Tokens of a text that are read, special ones included [default: what the model's folder says; 256 with the built-in model]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_tokens: Option<usize>,
    /// Pool a model that does not say how, such as one that answers questions: its vectors are poor
    #[arg(long)]
    force: bool,
}

impl ModelArgs {
    /// Finds and loads the model as the flags say.
    pub fn open(&self, runtime: &RuntimeArgs, quiet: bool) -> Result<Embedder> {
        if self.layer == Some(States::All) && self.pool != Some(Pooling::None) {
            let hint =
                "add `--pool none`, which keeps the states of every token, or give one layer: `--layer 4`";
            return Err(Usage::new("--layer all is for --pool none", hint).into());
        }
        let resolved = self.source.resolve(&self.model, quiet)?;
        runtime.device.start_threads()?;
        let wanted = Overrides {
            pooling: self.pool,
            states: self.layer.unwrap_or_default(),
            normalise: self.normalize.then_some(true).or(self.no_normalize.then_some(false)),
            max_tokens: self.max_tokens,
            force: self.force,
        };
        let embedder = Embedder::open_with(&resolved.files, &runtime.device.runtime(), &wanted)
            .with_context(|| format!("cannot use model {}", self.model))?;
        runtime.device.note(embedder.device(), quiet);
        Ok(embedder.with_batch_tokens(runtime.batch_tokens))
    }
}
