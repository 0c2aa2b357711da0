//! What can go wrong with a question of a stream.

use crate::class::ErrorClass;
use crate::{document, embed, fs, reader, request, retrieve};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a piece of work has no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A file that it names.
    #[error(transparent)]
    Document(#[from] document::Error),
    /// The request itself.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// Questions and replies.
    #[error(transparent)]
    Reader(#[from] reader::Error),
    /// Texts and their vectors.
    #[error(transparent)]
    Embed(#[from] embed::Error),
}

impl From<retrieve::Error> for Error {
    fn from(error: retrieve::Error) -> Self {
        match error {
            retrieve::Error::Reader(error) => error.into(),
            retrieve::Error::Embed(error) => error.into(),
        }
    }
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fs(error) => error.code(),
            Self::Document(error) => error.code(),
            Self::Request(error) => error.code(),
            Self::Reader(error) => error.code(),
            Self::Embed(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Fs(error) => error.class(),
            Self::Document(error) => error.class(),
            Self::Request(error) => error.class(),
            Self::Reader(error) => error.class(),
            Self::Embed(error) => error.class(),
        }
    }
}
