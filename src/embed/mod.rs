//! From texts to vectors that can be compared by meaning.
//!
//! ```text
//! text -> Tokenizer -> ids of one window, cut to what the model takes -> packed batches -> EmbeddingModel -> a vector
//! ```
//!
//! A text is one window: what is longer than the model takes is cut, and the result says so. A vector depends on its text and
//! the model, not on what else is in the batch or on the number of threads.

pub mod error;
mod run;

use std::ops::ControlFlow;
use std::time::Duration;

use rayon::prelude::*;

pub use self::error::{Error, Result};
pub use self::run::Event;
use crate::checkpoint::{EncoderConfig, ModelFiles};
use crate::encoder::{self, DeviceChoice, Runtime};
use crate::heads::pool::{PoolConfig, Pooling, States};
use crate::heads::{EmbeddingModel, QaModel};
use crate::text::{SingleTemplate, Tokenizer, Tokens};

/// What a caller wants otherwise than the model's folder says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overrides {
    /// What becomes of the tokens' hidden states.
    pub pooling: Option<Pooling>,
    /// Which layer's they are.
    pub states: States,
    /// Whether vectors are made 1 long.
    pub normalise: Option<bool>,
    /// The most tokens of a text, with the special ones.
    pub max_tokens: Option<usize>,
    /// Pool the hidden states of a model that does not say how: of a reader, which makes poor vectors.
    pub force: bool,
}

/// A tokenizer and a model that make vectors of texts together.
pub struct Embedder {
    tokenizer: Tokenizer,
    template: SingleTemplate,
    model: EmbeddingModel,
    name: String,
    files: ModelFiles,
    max_tokens: usize,
    batch_tokens: Option<usize>,
}

/// A text as the model takes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokenised {
    /// Token ids, special ones included, as many as the model takes.
    pub ids: Vec<u32>,
    /// Where each of them stands in the text, in bytes; special tokens stand at 0..0. Only if every token keeps its vector.
    pub offsets: Vec<(usize, usize)>,
    /// Tokens of the whole text, special ones included: more than there are ids if it was cut.
    pub tokens: usize,
}

impl Tokenised {
    /// Whether a part of the text is not read.
    pub fn truncated(&self) -> bool {
        self.tokens > self.ids.len()
    }
}

/// Batches whose texts are sorted by length together.
const SORTED_TOGETHER: usize = 16;

/// Batches of a group for each lane of the model, which are idle while the last ones of it run.
const GATHERED_PER_LANE: usize = 8;

impl Embedder {
    /// Loads a model and its tokenizer. One whose files do not say how vectors are made is refused.
    pub fn open(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        Self::open_with(files, runtime, &Overrides::default())
    }

    /// The same, with what the caller wants otherwise.
    pub fn open_with(files: &ModelFiles, runtime: &Runtime, wanted: &Overrides) -> Result<Self> {
        // Whoever wants the states themselves need not know how they are pooled.
        if !(PoolConfig::is_in(files) || wanted.force || wanted.pooling == Some(Pooling::None)) {
            let reader = QaModel::is_in(files)?;
            return Err(Error::NoPooling { model: files.name.clone(), reader });
        }
        let (tokenizer, model) =
            rayon::join(|| Tokenizer::from_files(files), || EmbeddingModel::load(files, runtime));
        let (tokenizer, mut model) = (tokenizer?, model?);
        let rows = model.encoder().config().vocabulary;
        if tokenizer.vocab_size() > rows {
            let index = tokenizer.vocab_size() - 1;
            return Err(encoder::Error::OutOfTable { what: "vocabulary", index, rows }.into());
        }
        let layers = model.encoder().config().layers;
        if let States::Layer(asked) = wanted.states
            && asked > layers
        {
            return Err(Error::NoSuchLayer { model: files.name.clone(), layers, asked });
        }
        let own = model.config().clone();
        let pooling = wanted.pooling.unwrap_or(own.pooling);
        model = model.with_config(PoolConfig {
            pooling,
            states: wanted.states,
            // What a folder says is about its one vector.
            normalise: wanted.normalise.unwrap_or(own.normalise && pooling != Pooling::None),
            ..own
        });
        let template = tokenizer.single_template().cloned();
        let template = template.ok_or_else(|| Error::NoTemplate { model: files.name.clone() })?;
        let positions = model.encoder().config().usable_positions();
        let max_tokens = wanted.max_tokens.unwrap_or_else(|| model.max_tokens());
        if max_tokens > positions {
            let model = files.name.clone();
            return Err(Error::TooManyTokens { model, positions, asked: max_tokens });
        }
        if max_tokens <= template.special_tokens() {
            return Err(Error::NoRoom { limit: max_tokens, special: template.special_tokens() });
        }
        let name = files.name.clone();
        let files = files.clone();
        Ok(Self { tokenizer, template, model, name, files, max_tokens, batch_tokens: None })
    }

    /// Sets how many tokens go through the model together, if not what suits the model. Vectors do not depend on it.
    pub fn with_batch_tokens(mut self, tokens: Option<usize>) -> Self {
        self.batch_tokens = tokens.map(|tokens| tokens.max(1));
        self
    }

    /// How many tokens go through the model together.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens.unwrap_or_else(|| self.model.encoder().batch_tokens())
    }

    /// How many tokens of texts to gather where there are many: enough to sort them by length, and to keep every part of the model
    /// busy for a while.
    pub fn group_tokens(&self) -> usize {
        let batches = SORTED_TOGETHER.max(self.model.encoder().lanes() * GATHERED_PER_LANE);
        self.batch_tokens().saturating_mul(batches)
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which model it is, beyond its name. Reads all its files.
    pub fn digest(&self) -> Result<String> {
        let identity = self.files.identity().map_err(encoder::Error::from)?;
        Ok(identity.digest)
    }

    /// How hidden states become a vector.
    pub fn pooling(&self) -> &PoolConfig {
        self.model.config()
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        self.model.encoder().config()
    }

    /// Numbers in a vector.
    pub fn dimensions(&self) -> usize {
        self.config().hidden
    }

    /// The most tokens of a text that are read, special ones included.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Tokens of an empty text.
    pub fn special_tokens(&self) -> usize {
        self.template.special_tokens()
    }

    /// Where the model runs.
    pub fn device(&self) -> DeviceChoice {
        self.model.encoder().device()
    }

    /// How long each kind of computation has taken so far, summed over threads; empty if nobody counts.
    pub fn times(&self) -> Vec<(&'static str, Duration)> {
        self.model.encoder().times()
    }

    /// What a person should know about how the model ran so far.
    pub fn notes(&self) -> Vec<String> {
        self.model.encoder().notes()
    }

    /// Tokenises a text and cuts it to what the model takes. White space around it does not count.
    pub fn tokenise(&self, text: &str) -> Result<Tokenised> {
        let cut = text.trim_start();
        let (before, cut) = (text.len() - cut.len(), cut.trim_end());
        let Tokens { mut ids, mut offsets, .. } = match self.pooling().lower_case {
            true => lower_case(&self.tokenizer, cut)?,
            false => self.tokenizer.encode(cut)?,
        };
        let special = self.template.special_tokens();
        let tokens = ids.len() + special;
        ids.truncate(self.max_tokens - special);
        if self.pooling().pooling != Pooling::None {
            return Ok(Tokenised { ids: self.template.join(&ids).0, offsets: Vec::new(), tokens });
        }
        offsets.truncate(ids.len());
        offsets.iter_mut().for_each(|(start, end)| (*start, *end) = (*start + before, *end + before));
        let around = |special: &[u32]| vec![(0, 0); special.len()];
        let offsets = [around(&self.template.prefix), offsets, around(&self.template.suffix)].concat();
        Ok(Tokenised { ids: self.template.join(&ids).0, offsets, tokens })
    }

    /// The token with that id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> String {
        self.tokenizer.token(id).unwrap_or_default()
    }

    /// The vector of each text, in order. The first text that has none fails the call.
    pub fn embed<T: AsRef<str> + Sync>(&self, texts: &[T]) -> Result<Vec<Vec<f32>>> {
        let tokenised: Vec<Tokenised> =
            texts.par_iter().map(|text| self.tokenise(text.as_ref())).collect::<Result<_>>()?;
        let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts.len()];
        let mut failed = None;
        self.embed_each(&tokenised, &mut |event| {
            match event {
                Event::Read { .. } => {}
                Event::Vector(place, Ok(vector)) => vectors[place] = Some(vector),
                Event::Vector(_, Err(error)) => failed = Some(error),
            }
            if failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        match failed {
            Some(error) => Err(error),
            // Vectors are told apart by their places, so one that is missing may not be passed over.
            None => vectors.into_iter().collect::<Option<_>>().ok_or(Error::ModelStopped),
        }
    }
}

/// The tokens of a text in lower case, and where they stand in the text as it is.
fn lower_case(tokenizer: &Tokenizer, text: &str) -> Result<Tokens> {
    let mut tokens = tokenizer.encode(&text.to_lowercase())?;
    // Where each byte of the small letters comes from: some take more bytes than their capital, or fewer.
    let mut starts = Vec::with_capacity(text.len() + 1);
    for (at, char) in text.char_indices() {
        let length: usize = char.to_lowercase().map(char::len_utf8).sum();
        starts.resize(starts.len() + length, (at, at + char.len_utf8()));
    }
    let original = |(start, end): (usize, usize)| {
        let first = starts.get(start).map_or(text.len(), |(start, _)| *start);
        let last = if end > start { starts.get(end - 1).map_or(text.len(), |(_, end)| *end) } else { first };
        (first, last)
    };
    tokens.offsets.iter_mut().for_each(|offset| *offset = original(*offset));
    Ok(tokens)
}
