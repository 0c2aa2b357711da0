//! Why a file has no text to read.

use super::compression::Compression;
use super::kind::Kind;
use crate::class::ErrorClass;
use crate::fs;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// It cannot be unpacked.
    #[error("cannot unpack {path} ({compression}): {reason}")]
    Damaged {
        /// The document.
        path: String,
        /// How it is packed.
        compression: Compression,
        /// What the decoder said.
        reason: String,
    },
    /// It is larger than is allowed.
    #[error("{path} is larger than {limit} bytes")]
    TooLarge {
        /// The document.
        path: String,
        /// How large its text may be.
        limit: u64,
    },
    /// It is not in the encoding that it seems to be in.
    #[error("{path} is not valid {encoding} at byte {at}")]
    NotText {
        /// The document.
        path: String,
        /// What it was read as.
        encoding: &'static str,
        /// Where.
        at: usize,
        /// The encoding that it says it has.
        declared: Option<String>,
    },
    /// It is no text, and what it is cannot be told.
    #[error("{path} looks binary: it has a NUL at byte {at}")]
    Binary {
        /// The document.
        path: String,
        /// Where.
        at: usize,
    },
    /// It is known to be something else than text.
    #[error("{path} is {}, not {}", kind.describe(), if kind.is_text() { "UTF-8" } else { "text" })]
    OtherKind {
        /// The document.
        path: String,
        /// What it is.
        kind: Kind,
    },
    /// The program that makes text of it is not installed.
    #[error("{path} is {what}, and {program}, which makes text of it, is not installed")]
    NoProgram {
        /// The document.
        path: String,
        /// What it is.
        what: &'static str,
        /// The program.
        program: &'static str,
    },
    /// The user's own command is not there.
    #[error("cannot make text of {path}: there is no such program as `{command}`")]
    NoCommand {
        /// The document.
        path: String,
        /// The command.
        command: String,
    },
    /// A program could not make text of it.
    #[error("{program} made no text of {path}: {reason}")]
    ProgramFailed {
        /// The document.
        path: String,
        /// The program.
        program: String,
        /// What it said.
        reason: String,
    },
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Fs(error) => error.code(),
            Self::Damaged { .. } => "document_damaged",
            Self::TooLarge { .. } => "document_too_large",
            Self::NotText { .. } => "document_not_utf8",
            Self::Binary { .. } => "document_binary",
            Self::OtherKind { .. } => "document_not_text",
            Self::NoProgram { .. } => "program_missing",
            Self::NoCommand { .. } => "command_missing",
            Self::ProgramFailed { .. } => "program_failed",
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Fs(error) => error.class(),
            Self::Damaged { .. }
            | Self::TooLarge { .. }
            | Self::NotText { .. }
            | Self::Binary { .. }
            | Self::OtherKind { .. }
            | Self::NoCommand { .. }
            | Self::ProgramFailed { .. } => ErrorClass::Caller,
            Self::NoProgram { .. } => ErrorClass::Machine,
        }
    }

    /// Whether it is no text at all: what somebody who reads a whole folder expects to be passed over.
    pub fn is_binary(&self) -> bool {
        match self {
            Self::OtherKind { kind, .. } => !kind.is_text(),
            other => matches!(other, Self::Binary { .. }),
        }
    }
}
