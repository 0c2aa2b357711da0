//! What can go wrong between a text and its tokens.

use crate::checkpoint;
use crate::class::ErrorClass;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a text cannot become tokens, or tokens no windows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A question without a single token.
    #[error("the question is empty")]
    EmptyQuestion,
    /// The question leaves too little of a window for the text.
    #[error(
        "a window of {window} tokens leaves {width} for the text beside {question} question and {special} special tokens; \
         {minimum} are the least"
    )]
    NoRoomForContext {
        /// Tokens in a window.
        window: usize,
        /// The most that the model takes.
        positions: usize,
        /// Tokens of the question.
        question: usize,
        /// Special tokens.
        special: usize,
        /// What is left.
        width: usize,
        /// The least that is worth running.
        minimum: usize,
    },
    /// A tokenizer works, but does not put a question and a context together as extractive models expect it.
    #[error("the tokenizer of {file} does not fit question answering: {reason}")]
    UnsupportedTokenizer {
        /// The file it was built from.
        file: String,
        /// What it does instead.
        reason: String,
    },
    /// A tokenizer failed on a text.
    #[error("the tokenizer cannot encode this text: {reason}")]
    Tokenize {
        /// What the tokenizer said.
        reason: String,
    },
    /// The files of a model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::EmptyQuestion => "empty_question",
            Self::NoRoomForContext { .. } => "no_room_for_context",
            Self::UnsupportedTokenizer { .. } => "unsupported_tokenizer",
            Self::Tokenize { .. } => "tokenize_failed",
            Self::Checkpoint(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::EmptyQuestion | Self::NoRoomForContext { .. } => ErrorClass::Caller,
            Self::UnsupportedTokenizer { .. } | Self::Tokenize { .. } => ErrorClass::Model,
            Self::Checkpoint(error) => error.class(),
        }
    }
}
