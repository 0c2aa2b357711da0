//! What can be wrong with data sets, predictions and the folders of earlier runs.

use std::path::PathBuf;

use crate::class::ErrorClass;
use crate::{checkpoint, fs, parquet, reader, text};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an evaluation cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A data set with a mistake in it.
    #[error("{file}{}: {reason}", place(at))]
    BadDataset {
        /// The file.
        file: String,
        /// The line, or the path inside the JSON document.
        at: String,
        /// What is wrong there.
        reason: String,
    },
    /// Two questions share an id, so that predictions cannot be told apart.
    #[error("{file}: {at} has the id {id:?}, and so has {first}")]
    DuplicateId {
        /// The file.
        file: String,
        /// The id.
        id: String,
        /// Where it was seen first.
        first: String,
        /// Where it was seen again.
        at: String,
    },
    /// Gold answers that do not stand where the data set says, while that was asked to be an error.
    #[error("{file}: {count} gold answers do not stand where they should, the first at {first}")]
    Misaligned {
        /// The file.
        file: String,
        /// How many.
        count: usize,
        /// The first one.
        first: String,
    },
    /// There is no question in the data set, or none is left of it.
    #[error("{file} leaves no question to ask: {reason}")]
    NoQuestions {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// A file of predictions that is none.
    #[error("{file}: {reason}")]
    BadPredictions {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// Questions that a file says nothing about.
    #[error("{file} lacks {missing} of the {total} questions, {}", some(ids))]
    MissingPredictions {
        /// The file.
        file: String,
        /// How many are missing.
        missing: usize,
        /// How many there are.
        total: usize,
        /// The first few.
        ids: Vec<String>,
    },
    /// An interrupted run that was made with other settings.
    #[error("{path} is from another run: its {what} is {found}, not {expected}", path = path.display())]
    OtherRun {
        /// The file that remembers the run.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What it was then.
        found: String,
        /// What it is now.
        expected: String,
    },
    /// A profile that cannot be used.
    #[error("{file} is no usable profile: {reason}")]
    BadProfile {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// Too few articles to tune on some and check on others.
    #[error("{articles} articles cannot be split into {folds} folds")]
    TooFewArticles {
        /// How many there are.
        articles: usize,
        /// Into how many parts they were to be split.
        folds: usize,
    },
    /// A table by columns that cannot be read.
    #[error("{file}: {error}")]
    Parquet {
        /// The file.
        file: String,
        /// Why.
        error: parquet::Error,
    },
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// Texts and tokens.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// Questions and replies.
    #[error(transparent)]
    Reader(#[from] reader::Error),
    /// The files of a model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
}

fn place(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!(", {at}") }
}

fn some(ids: &[String]) -> String {
    format!("for example {}", ids.join(", "))
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadDataset { .. } => "bad_dataset",
            Self::DuplicateId { .. } => "duplicate_id",
            Self::Misaligned { .. } => "misaligned_answers",
            Self::NoQuestions { .. } => "no_questions",
            Self::BadPredictions { .. } => "bad_predictions",
            Self::MissingPredictions { .. } => "missing_predictions",
            Self::OtherRun { .. } => "other_run",
            Self::BadProfile { .. } => "bad_profile",
            Self::TooFewArticles { .. } => "too_few_articles",
            Self::Parquet { error, .. } => error.code(),
            Self::Fs(error) => error.code(),
            Self::Text(error) => error.code(),
            Self::Reader(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BadDataset { .. }
            | Self::DuplicateId { .. }
            | Self::Misaligned { .. }
            | Self::NoQuestions { .. }
            | Self::BadPredictions { .. }
            | Self::MissingPredictions { .. }
            | Self::OtherRun { .. }
            | Self::BadProfile { .. }
            | Self::TooFewArticles { .. } => ErrorClass::Caller,
            Self::Parquet { error, .. } => error.class(),
            Self::Fs(error) => error.class(),
            Self::Text(error) => error.class(),
            Self::Reader(error) => error.class(),
            Self::Checkpoint(error) => error.class(),
        }
    }
}
