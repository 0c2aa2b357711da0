//! What can go wrong with an index.

use std::path::PathBuf;

use crate::class::ErrorClass;
use crate::{document, embed, fs};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why something cannot be indexed or searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A document that has no text.
    #[error(transparent)]
    Document(#[from] document::Error),
    /// Passages and their vectors.
    #[error(transparent)]
    Embed(#[from] embed::Error),
    /// There is no folder for indexes.
    #[error("there is no cache folder to keep an index in")]
    NoHome,
    /// A file of the index is not what it was when it was written.
    #[error("{path} is damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// A text is beyond what numbers in an index can count.
    #[error("a text of {bytes} bytes is too large for an index")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A line of a corpus is no text.
    #[error("line {line} of {path} is no text of a corpus: {reason}")]
    BadLine {
        /// The corpus.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// A corpus is packed, so its lines cannot be found again.
    #[error("{path} is packed; the lines of a corpus are read where they stand")]
    Packed {
        /// The corpus.
        path: String,
    },
    /// A file was changed after it was found.
    #[error("{path} has changed since it was indexed")]
    Changed {
        /// The file.
        path: String,
    },
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fs(error) => error.code(),
            Self::Document(error) => error.code(),
            Self::Embed(error) => error.code(),
            Self::NoHome => "no_index_folder",
            Self::Damaged { .. } => "index_damaged",
            Self::TooLarge { .. } => "text_too_large",
            Self::BadLine { .. } => "bad_corpus_line",
            Self::Packed { .. } => "corpus_packed",
            Self::Changed { .. } => "file_changed",
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Fs(error) => error.class(),
            Self::Document(error) => error.class(),
            Self::Embed(error) => error.class(),
            Self::NoHome | Self::Damaged { .. } => ErrorClass::Machine,
            Self::TooLarge { .. } | Self::BadLine { .. } | Self::Packed { .. } | Self::Changed { .. } => {
                ErrorClass::Caller
            }
        }
    }
}
