//! What can be wrong with the files of a model.

use crate::class::ErrorClass;
use crate::fs;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model on disk cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// A checkpoint of a kind that this encoder does not compute.
    #[error("{file} asks for {what} {found:?}, which is not supported")]
    Unsupported {
        /// The config file.
        file: String,
        /// The setting.
        what: String,
        /// Its value.
        found: String,
    },
    /// A checkpoint for another task was asked a question.
    #[error("{file} has no question-answering head (qa_outputs){}", other_heads(heads))]
    NoHead {
        /// The weights file.
        file: String,
        /// Heads of other tasks that it has.
        heads: Vec<String>,
    },
    /// A model that makes vectors was asked a question.
    #[error("{model} makes vectors of texts and cannot answer questions")]
    OnlyEmbeds {
        /// The model as it was asked for.
        model: String,
    },
    /// A checkpoint for another task was asked to score a pair.
    #[error("{file} has no classifier")]
    NoClassifier {
        /// The weights file.
        file: String,
    },
    /// A tensor that the encoder needs is not there.
    #[error("{file} lacks the tensor {tensor} (it holds {known} others)")]
    MissingTensor {
        /// The weights file.
        file: String,
        /// The tensor.
        tensor: String,
        /// How many tensors there are.
        known: usize,
    },
    /// A tensor is not of the shape that config.json implies.
    #[error("{tensor} in {file} has shape {found:?}, config.json implies {expected:?}")]
    WrongShape {
        /// The weights file.
        file: String,
        /// The tensor.
        tensor: String,
        /// The shape by config.json.
        expected: Box<[usize]>,
        /// The shape in the file.
        found: Box<[usize]>,
    },
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingFile { .. } => "missing_model_file",
            Self::BadFile { .. } => "bad_model_file",
            Self::Unsupported { .. } => "unsupported_model",
            Self::NoHead { .. } => "no_span_head",
            Self::OnlyEmbeds { .. } => "only_embeds",
            Self::NoClassifier { .. } => "no_classifier",
            Self::MissingTensor { .. } => "missing_tensor",
            Self::WrongShape { .. } => "wrong_shape",
            Self::Fs(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::MissingFile { .. }
            | Self::BadFile { .. }
            | Self::Unsupported { .. }
            | Self::NoHead { .. }
            | Self::OnlyEmbeds { .. }
            | Self::NoClassifier { .. }
            | Self::MissingTensor { .. }
            | Self::WrongShape { .. } => ErrorClass::Model,
            Self::Fs(error) => error.class(),
        }
    }
}

fn other_heads(heads: &[String]) -> String {
    if heads.is_empty() { String::new() } else { format!("; it has {}", heads.join(", ")) }
}
