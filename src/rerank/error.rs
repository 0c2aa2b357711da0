//! What can go wrong while passages are put in order: what the models say.

use crate::class::ErrorClass;
use crate::{embed, encoder, reader, text};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why passages cannot be put in order.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader, or a cross-encoder, which is asked in the same way.
    #[error(transparent)]
    Reader(#[from] reader::Error),
    /// Texts and their vectors.
    #[error(transparent)]
    Embed(#[from] embed::Error),
}

impl From<text::Error> for Error {
    fn from(error: text::Error) -> Self {
        Self::Reader(error.into())
    }
}

impl From<encoder::Error> for Error {
    fn from(error: encoder::Error) -> Self {
        Self::Reader(error.into())
    }
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Reader(error) => error.code(),
            Self::Embed(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Reader(error) => error.class(),
            Self::Embed(error) => error.class(),
        }
    }
}
