//! What can go wrong on the way from a text to its vector.

use crate::class::ErrorClass;
use crate::{checkpoint, encoder, text};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a text has no vector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The files do not say how vectors are made, so the model was not trained to make any.
    #[error("{model} is no embedding model: it has no modules.json{}", .reader.then_some(", and it was trained to find answers").unwrap_or_default())]
    NoPooling {
        /// The model.
        model: String,
        /// Whether it is a model for question answering.
        reader: bool,
    },
    /// The tokenizer puts nothing around a text, or puts it on one side only.
    #[error("the tokenizer of {model} does not put special tokens around a text")]
    NoTemplate {
        /// The model.
        model: String,
    },
    /// The special tokens leave no room for a text.
    #[error("{limit} tokens leave no room for a text beside {special} special tokens")]
    NoRoom {
        /// The most tokens of a text, special ones included.
        limit: usize,
        /// The special ones.
        special: usize,
    },
    /// More tokens were asked for than the model has positions.
    #[error("{model} takes {positions} tokens of a text at most, not {asked}")]
    TooManyTokens {
        /// The model.
        model: String,
        /// What it takes.
        positions: usize,
        /// What was asked for.
        asked: usize,
    },
    /// The model has fewer layers.
    #[error("{model} has {layers} layers, so there are no states {asked}")]
    NoSuchLayer {
        /// The model.
        model: String,
        /// Its layers.
        layers: usize,
        /// What was asked for.
        asked: usize,
    },
    /// The model computed something that is not a number.
    #[error("the model gave a vector that is not all finite numbers in {dtype}")]
    NotFinite {
        /// The type it ran in.
        dtype: &'static str,
    },
    /// The threads that run the model ended before their work was done.
    #[error("the model stopped before every text had its vector")]
    ModelStopped,
    /// Texts and tokens.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// The neural part.
    #[error(transparent)]
    Encoder(#[from] encoder::Error),
}

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        Self::Encoder(error.into())
    }
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoPooling { .. } => "no_pooling",
            Self::NoTemplate { .. } => "no_single_template",
            Self::NoRoom { .. } => "no_room_for_text",
            Self::TooManyTokens { .. } => "too_many_tokens",
            Self::NoSuchLayer { .. } => "no_such_layer",
            Self::NotFinite { .. } => "vector_not_finite",
            Self::ModelStopped => "embedder_stopped",
            Self::Text(error) => error.code(),
            Self::Encoder(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoRoom { .. } | Self::TooManyTokens { .. } | Self::NoSuchLayer { .. } => ErrorClass::Caller,
            Self::NoPooling { .. } | Self::NoTemplate { .. } | Self::NotFinite { .. } => ErrorClass::Model,
            Self::ModelStopped => ErrorClass::Machine,
            Self::Text(error) => error.class(),
            Self::Encoder(error) => error.class(),
        }
    }
}
