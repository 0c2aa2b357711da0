//! Why a Parquet file cannot be read, or a row of it.

use std::io;

use crate::class::ErrorClass;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the rest of a file cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system could not read it.
    #[error("{reason}")]
    Unreadable {
        /// What the system said.
        reason: String,
    },
    /// It is no file of its own.
    #[error(
        "it is Parquet, which is read from its end: it must be a file, not a pipe, and not be compressed as a whole"
    )]
    NoFile,
    /// It does not hold what it says it holds.
    #[error("it is damaged: {reason}")]
    Damaged {
        /// Where, and how that shows.
        reason: String,
    },
    /// It is in order, and written in a way that is not read.
    #[error("it cannot be read: {reason}")]
    Unsupported {
        /// What it has that is not read.
        reason: String,
    },
    /// A column that is needed is not there.
    #[error("it has none of the columns {}; it has {}", named(wanted), named(found))]
    NoColumn {
        /// What the column may be called.
        wanted: Vec<String>,
        /// The first columns that are there.
        found: Vec<String>,
    },
}

fn named(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Unreadable { reason: error.to_string() }
    }
}

impl Error {
    pub(super) fn damaged(reason: impl Into<String>) -> Self {
        Self::Damaged { reason: reason.into() }
    }

    pub(super) fn unsupported(reason: impl Into<String>) -> Self {
        Self::Unsupported { reason: reason.into() }
    }

    /// The same, saying where.
    pub(super) fn at(self, place: impl FnOnce() -> String) -> Self {
        match self {
            Self::Damaged { reason } => Self::Damaged { reason: format!("{}: {reason}", place()) },
            Self::Unsupported { reason } => Self::Unsupported { reason: format!("{}: {reason}", place()) },
            other => other,
        }
    }

    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "parquet_unreadable",
            Self::NoFile => "parquet_no_file",
            Self::Damaged { .. } => "parquet_damaged",
            Self::Unsupported { .. } => "parquet_unsupported",
            Self::NoColumn { .. } => "missing_column",
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Unreadable { .. } => ErrorClass::Machine,
            Self::NoFile | Self::Damaged { .. } | Self::Unsupported { .. } | Self::NoColumn { .. } => {
                ErrorClass::Caller
            }
        }
    }
}

/// Why there is no object of a row, though the next row can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadRow {
    /// It takes more bytes than are allowed.
    TooLong,
    /// One of its texts is not UTF-8 at that byte.
    NotUtf8(usize),
}
