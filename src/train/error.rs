//! What can go wrong while a model is trained.

use std::path::PathBuf;

/// Why training cannot begin or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
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
}

impl TrainError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            TrainError::NothingToLearn { .. } => "nothing_to_learn",
            TrainError::Diverged { .. } => "diverged",
            TrainError::NoSteps { .. } => "no_steps",
            TrainError::TooManySteps { .. } => "too_many_steps",
            TrainError::Occupied { .. } => "run_exists",
            TrainError::NothingToResume { .. } => "no_run",
            TrainError::OtherRecipe { .. } => "other_recipe",
            TrainError::OtherTokens { .. } => "other_tokens",
        }
    }

    pub(crate) fn hint(&self) -> Option<String> {
        Some(match self {
            TrainError::NothingToLearn { .. } => {
                "check that answers quote their context, or allow longer windows with `--window`".into()
            }
            TrainError::Diverged { .. } => {
                "try a lower `--rate` or a longer `--warmup`; `--resume` goes on from the last saved state"
                    .into()
            }
            TrainError::NoSteps { .. } => {
                "ask for more `--epochs`, for `--steps 1`, or for a smaller `--batch-tokens`".into()
            }
            TrainError::TooManySteps { .. } => {
                "ask for fewer `--epochs` or `--steps`: the learning rate falls until the last of them".into()
            }
            TrainError::Occupied { .. } => "add `--resume` to go on with it, or name another `--out`".into(),
            TrainError::NothingToResume { .. } => "leave out `--resume` to start a run there".into(),
            TrainError::OtherRecipe { .. } => {
                "use the flags and files of the first start, or name another `--out`".into()
            }
            TrainError::OtherTokens { .. } => {
                "use a teacher with the same vocabulary, such as a larger model of the same family".into()
            }
        })
    }
}
