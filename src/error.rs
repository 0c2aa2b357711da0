//! Everything that can go wrong, with the data a message needs and the command that helps.
//!
//! A variant holds facts (which path, which tensor, what was expected, what was found); its `Display` is one
//! sentence made of them, and [`Error::hint`] says what to type next. [`Error::code`] is the stable name that
//! scripts match on.

use std::path::PathBuf;

/// A [`std::result::Result`] with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    // ---- files -------------------------------------------------------------------------------------------
    /// The operating system refused to read a file.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The operating system refused to write a file.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A model lacks a file that it cannot do without.
    #[error("model {model} has no {wanted}")]
    MissingFile {
        /// The model as it was asked for.
        model: String,
        /// The file, or the choice of files, that was looked for.
        wanted: String,
    },
    /// A file of a model is not what its name says.
    #[error("{file} is not usable: {reason}")]
    BadFile {
        /// The file's path, or its name in the built-in model.
        file: String,
        /// What is wrong with it.
        reason: String,
    },

    // ---- tokenizers --------------------------------------------------------------------------------------
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
}

impl Error {
    /// The stable name of this kind of failure, for scripts and for JSON error records.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Read { .. } => "read_failed",
            Error::Write { .. } => "write_failed",
            Error::MissingFile { .. } => "missing_model_file",
            Error::BadFile { .. } => "bad_model_file",
            // ---- tokenizers
            Error::UnsupportedTokenizer { .. } => "unsupported_tokenizer",
            Error::Tokenize { .. } => "tokenize_failed",
        }
    }

    /// What the user can do about it, where there is something to do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Error::Read { .. } => Some("check the path and its permissions".into()),
            Error::Write { .. } => {
                Some("check that the folder exists, is writable and that the disk is not full".into())
            }
            Error::MissingFile { model, .. } => {
                Some(format!("`spanqa models verify {model}` lists what is there"))
            }
            Error::BadFile { .. } => Some("fetch the file again, or re-export the model".into()),
            // ---- tokenizers
            Error::UnsupportedTokenizer { .. } => {
                Some("use a BERT, DistilBERT, RoBERTa or XLM-R model with a question-answering head".into())
            }
            Error::Tokenize { .. } => {
                Some("check the text for damage, or try another model with `--model`".into())
            }
        }
    }
}
