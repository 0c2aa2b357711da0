//! What can go wrong while a model is trained.

use std::path::PathBuf;

use crate::class::ErrorClass;
use crate::{checkpoint, encoder, eval, fs, reader, text};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why training cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No window holds an answer.
    #[error("there is nothing to learn: none of {questions} questions has an answer in its context")]
    NothingToLearn {
        /// How many questions there are.
        questions: usize,
    },
    /// Loss or gradients left the range of numbers.
    #[error("training came apart at step {step}: {what} is not a number")]
    Diverged {
        /// The step.
        step: u64,
        /// What came out wrong.
        what: &'static str,
    },
    /// So small a share of an epoch that no step is left of it.
    #[error("{epochs} epochs of {batches} batches make no step")]
    NoSteps {
        /// The epochs that were asked for.
        epochs: f64,
        /// Batches of an epoch.
        batches: usize,
    },
    /// More steps than anybody waits for.
    #[error("this run would take about {steps:.1e} steps, and {most} are the most")]
    TooManySteps {
        /// About how many.
        steps: f64,
        /// How many are taken at most.
        most: u64,
    },
    /// A folder holds a run that nobody asked to go on.
    #[error("{path} holds a training run already", path = path.display())]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// There is no run to go on with.
    #[error("{path} holds no training run that could go on", path = path.display())]
    NothingToResume {
        /// The folder.
        path: PathBuf,
    },
    /// A run cannot go on under other conditions.
    #[error("this run was started differently: {what} was {then}, now {now}")]
    OtherRecipe {
        /// Which condition.
        what: String,
        /// Its value at the start.
        then: String,
        /// Its value now.
        now: String,
    },
    /// The teacher cuts text into other tokens than the student.
    #[error("teacher {teacher} cannot teach this model: {reason}")]
    OtherTokens {
        /// The teacher.
        teacher: String,
        /// What is different.
        reason: String,
    },
    /// There is no arithmetic for learning in that type there.
    #[error("a model cannot be trained in {dtype} on {device}")]
    CannotLearnIn {
        /// The type that was asked for.
        dtype: &'static str,
        /// The device.
        device: String,
    },
    /// More layers should stay as they are than there are.
    #[error("{asked} layers cannot be frozen: the model has {layers}")]
    TooManyFrozen {
        /// How many were asked for.
        asked: usize,
        /// How many there are.
        layers: usize,
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
    /// The neural part.
    #[error(transparent)]
    Encoder(#[from] encoder::Error),
    /// Questions and replies.
    #[error(transparent)]
    Reader(#[from] reader::Error),
    /// Data sets and scores.
    #[error(transparent)]
    Eval(#[from] eval::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NothingToLearn { .. } => "nothing_to_learn",
            Self::Diverged { .. } => "diverged",
            Self::NoSteps { .. } => "no_steps",
            Self::TooManySteps { .. } => "too_many_steps",
            Self::Occupied { .. } => "run_exists",
            Self::NothingToResume { .. } => "no_run",
            Self::OtherRecipe { .. } => "other_recipe",
            Self::OtherTokens { .. } => "other_tokens",
            Self::CannotLearnIn { .. } => "dtype_unavailable",
            Self::TooManyFrozen { .. } => "too_many_frozen",
            Self::Fs(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
            Self::Text(error) => error.code(),
            Self::Encoder(error) => error.code(),
            Self::Reader(error) => error.code(),
            Self::Eval(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NothingToLearn { .. }
            | Self::NoSteps { .. }
            | Self::TooManySteps { .. }
            | Self::Occupied { .. }
            | Self::NothingToResume { .. }
            | Self::OtherRecipe { .. }
            | Self::OtherTokens { .. }
            | Self::CannotLearnIn { .. }
            | Self::TooManyFrozen { .. } => ErrorClass::Caller,
            Self::Diverged { .. } => ErrorClass::Model,
            Self::Fs(error) => error.class(),
            Self::Checkpoint(error) => error.class(),
            Self::Text(error) => error.class(),
            Self::Encoder(error) => error.class(),
            Self::Reader(error) => error.class(),
            Self::Eval(error) => error.class(),
        }
    }
}
