//! What can go wrong when a model leaves for other programs.

use std::path::PathBuf;

use crate::class::ErrorClass;
use crate::{checkpoint, embed, encoder, fs, text};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model was not exported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file is in the way.
    #[error("{path} exists already", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A format does not know a number type.
    #[error("{format} is not written in {dtype}, only in {known}")]
    NoSuchType {
        /// The format.
        format: &'static str,
        /// The type that was asked for.
        dtype: &'static str,
        /// Those that it is written in.
        known: &'static str,
    },
    /// llama.cpp cannot run a model.
    #[error("{model} cannot be written as gguf: {reason}")]
    NotForLlama {
        /// The model.
        model: String,
        /// Why not.
        reason: &'static str,
    },
    /// A number is too large for the type.
    #[error("{tensor} holds {number}, which is too large for {dtype}")]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// The number.
        number: f32,
        /// The type that was asked for.
        dtype: &'static str,
    },
    /// The model computes something that is not a number: its weights are damaged.
    #[error("{model} gives logits or vectors that are not finite numbers")]
    NotFinite {
        /// The model.
        model: String,
    },
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The files of a model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
    /// Texts and tokens.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// Texts and their vectors.
    #[error(transparent)]
    Embed(#[from] embed::Error),
    /// The neural part.
    #[error(transparent)]
    Encoder(#[from] encoder::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Exists { .. } => "exists",
            Self::NoSuchType { .. } => "no_such_type",
            Self::NotForLlama { .. } => "not_for_llama",
            Self::TooLarge { .. } => "too_large_for_type",
            Self::NotFinite { .. } => "weights_not_finite",
            Self::Fs(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
            Self::Text(error) => error.code(),
            Self::Embed(error) => error.code(),
            Self::Encoder(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Exists { .. } | Self::NoSuchType { .. } | Self::NotForLlama { .. } => ErrorClass::Caller,
            Self::TooLarge { .. } | Self::NotFinite { .. } => ErrorClass::Model,
            Self::Fs(error) => error.class(),
            Self::Checkpoint(error) => error.class(),
            Self::Text(error) => error.class(),
            Self::Embed(error) => error.class(),
            Self::Encoder(error) => error.class(),
        }
    }
}
