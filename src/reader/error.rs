//! What can go wrong while questions are answered.

use crate::class::ErrorClass;
use crate::{encoder, text};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a question cannot be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tokenizer knows ids that the embedding table does not.
    #[error("the tokenizer of {model} has ids up to {highest}, but the weights have {rows} embeddings")]
    VocabularyMismatch {
        /// The model.
        model: String,
        /// The tokenizer's highest id.
        highest: usize,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// The model computed something that is not a number.
    #[error("the model gave logits that are not finite numbers in {dtype}")]
    NotFinite {
        /// The type it ran in.
        dtype: &'static str,
    },
    /// Whoever asked took the question back.
    #[error("the question was cancelled")]
    Cancelled,
    /// The reply would have come too late.
    #[error("the deadline passed before the question was answered")]
    DeadlineExceeded,
    /// The threads that run the model ended before their work was done.
    #[error("the model stopped before every question was answered")]
    ModelStopped,
    /// Texts and tokens.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// The neural part.
    #[error(transparent)]
    Encoder(#[from] encoder::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::VocabularyMismatch { .. } => "vocabulary_mismatch",
            Self::NotFinite { .. } => "not_finite",
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::ModelStopped => "model_stopped",
            Self::Text(error) => error.code(),
            Self::Encoder(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::VocabularyMismatch { .. } | Self::NotFinite { .. } => ErrorClass::Model,
            Self::Cancelled => ErrorClass::Caller,
            Self::DeadlineExceeded | Self::ModelStopped => ErrorClass::Machine,
            Self::Text(error) => error.class(),
            Self::Encoder(error) => error.class(),
        }
    }
}
