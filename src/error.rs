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
    // ---- models ------------------------------------------------------------------------------------------
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
    /// A checkpoint for another task.
    #[error("{file} has no question-answering head (qa_outputs){}", other_heads(heads))]
    NoHead {
        /// The weights file.
        file: String,
        /// Heads of other tasks that it has.
        heads: Vec<String>,
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
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// The tokenizer knows ids that the embedding table does not.
    #[error("the tokenizer of {model} has ids up to {highest}, but the weights have {rows} embeddings")]
    VocabularyMismatch {
        /// The model.
        model: String,
        /// The tokenizer's highest id.
        highest: usize,
        /// Rows of the embedding table.
        rows: usize,
    },
    /// An index beyond an embedding table.
    #[error("index {index} is outside the {what} of {rows} rows")]
    OutOfTable {
        /// Which table.
        what: &'static str,
        /// The index.
        index: usize,
        /// Its size.
        rows: usize,
    },
    /// A device that was asked for cannot be had.
    #[error("device {device} is not available: {reason}")]
    DeviceUnavailable {
        /// The device.
        device: String,
        /// Why not.
        reason: String,
    },
    /// The worker threads could not be started.
    #[error("cannot start worker threads: {reason}")]
    Threads {
        /// What the system said.
        reason: String,
    },
    /// The model computed something that is not a number.
    #[error("the model gave logits that are not finite numbers in {dtype}")]
    NotFinite {
        /// The type it ran in.
        dtype: &'static str,
    },
    /// The tensor library failed.
    #[error("tensor computation failed: {0}")]
    Tensor(#[from] candle_core::Error),

    // ---- questions ---------------------------------------------------------------------------------------
    /// A question without a single token.
    #[error("the question is empty")]
    EmptyQuestion,
    /// The question leaves too little of a window for the text.
    #[error(
        "a window of {window} tokens leaves {width} for the text beside {question} question and {special} special tokens; \
         {minimum} are the least", minimum = crate::text::window::MIN_CONTEXT_TOKENS
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
            Error::Unsupported { .. } => "unsupported_model",
            Error::NoHead { .. } => "no_span_head",
            Error::MissingTensor { .. } => "missing_tensor",
            Error::WrongShape { .. } => "wrong_shape",
            Error::VocabularyMismatch { .. } => "vocabulary_mismatch",
            Error::OutOfTable { .. } => "out_of_table",
            Error::DeviceUnavailable { .. } => "device_unavailable",
            Error::Threads { .. } => "no_threads",
            Error::NotFinite { .. } => "not_finite",
            Error::Tensor(_) => "tensor_failed",
            Error::EmptyQuestion => "empty_question",
            Error::NoRoomForContext { .. } => "no_room_for_context",
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
            // ---- models
            Error::Unsupported { .. } => Some(
                "supported are BERT, MiniLM, DistilBERT, RoBERTa and XLM-R with absolute positions, erf GELU and two \
                 labels; `spanqa models list` names some"
                    .into(),
            ),
            Error::NoHead { .. } => Some(
                "use a checkpoint that was fine-tuned for question answering; `spanqa models list` names some".into(),
            ),
            Error::MissingTensor { .. } | Error::WrongShape { .. } => {
                Some("config.json and the weights do not belong together, or the export is incomplete".into())
            }
            Error::VocabularyMismatch { .. } | Error::OutOfTable { .. } => {
                Some("take tokenizer files and weights from the same checkpoint".into())
            }
            Error::DeviceUnavailable { .. } => {
                Some("`--device cpu` always works; `spanqa doctor` says what else does".into())
            }
            Error::Threads { .. } => Some("try `--threads 1`".into()),
            Error::NotFinite { .. } => {
                Some("try `--dtype f32`; if it was f32 already, the weights are damaged".into())
            }
            Error::Tensor(_) => Some("`spanqa doctor` prints what a bug report needs".into()),
            Error::EmptyQuestion => Some("type a question, in quotes".into()),
            Error::NoRoomForContext { positions, question, special, .. } => {
                let least = question + special + crate::text::window::MIN_CONTEXT_TOKENS;
                Some(if least <= *positions {
                    format!("use `--window {least}` or more, or a smaller `--max-question-tokens`")
                } else {
                    format!("the model takes {positions} tokens: use a smaller `--max-question-tokens`")
                })
            }
        }
    }
}

fn other_heads(heads: &[String]) -> String {
    if heads.is_empty() { String::new() } else { format!("; it has {}", heads.join(", ")) }
}
