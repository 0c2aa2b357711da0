//! What can be wrong with data sets, predictions and the folders of earlier runs.

use std::path::PathBuf;

/// Why an evaluation cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
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
}

fn place(at: &str) -> String {
    if at.is_empty() { String::new() } else { format!(", {at}") }
}

fn some(ids: &[String]) -> String {
    format!("for example {}", ids.join(", "))
}

impl EvalError {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            EvalError::BadDataset { .. } => "bad_dataset",
            EvalError::DuplicateId { .. } => "duplicate_id",
            EvalError::Misaligned { .. } => "misaligned_answers",
            EvalError::NoQuestions { .. } => "no_questions",
            EvalError::BadPredictions { .. } => "bad_predictions",
            EvalError::MissingPredictions { .. } => "missing_predictions",
            EvalError::OtherRun { .. } => "other_run",
            EvalError::BadProfile { .. } => "bad_profile",
            EvalError::TooFewArticles { .. } => "too_few_articles",
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            EvalError::BadDataset { .. } => {
                "known are SQuAD, XQuAD and MLQA JSON, Hugging Face rows and MRQA lines, each also as .gz".into()
            }
            EvalError::DuplicateId { .. } => "give every question an id of its own".into(),
            EvalError::Misaligned { .. } => {
                "answer_start counts code points of the context as it is stored; without `--strict` this is a remark".into()
            }
            EvalError::NoQuestions { .. } => "check `--ids`, `--limit` and `--sample`".into(),
            EvalError::BadPredictions { .. } => {
                "a predictions file is one JSON object: {\"question id\": \"answer\", ...}; na-probs have numbers".into()
            }
            EvalError::MissingPredictions { .. } => {
                "the files belong to another data set, or to a part of it: `--ids` and `--limit` select a part".into()
            }
            EvalError::OtherRun { .. } => {
                "leave out `--resume` to start over, or give another folder to `--report`".into()
            }
            EvalError::BadProfile { .. } => "`spanqa tune DATASET --output FILE` writes one".into(),
            EvalError::TooFewArticles { .. } => "use a larger data set, or fewer `--folds`".into(),
        })
    }
}
