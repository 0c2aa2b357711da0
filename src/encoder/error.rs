//! What can go wrong in the neural part.

use crate::checkpoint;
use crate::class::ErrorClass;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a model cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
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
    /// There is no arithmetic in that type there.
    #[error("{dtype} products cannot be had on {device}")]
    DtypeUnavailable {
        /// The type that was asked for.
        dtype: &'static str,
        /// The device.
        device: String,
    },
    /// A CUDA card or one of its libraries failed.
    #[error("{device} failed: {reason}")]
    CardFailed {
        /// The card.
        device: String,
        /// What the library said.
        reason: String,
    },
    /// A CUDA card has too little free memory.
    #[error("{device} has too little free memory for the model and one window")]
    CardTooSmall {
        /// The card.
        device: String,
    },
    /// A CUDA card has too little free memory to learn.
    #[error("{device} has too little free memory {}", to_learn(*.tokens))]
    CardTooSmallToLearn {
        /// The card.
        device: String,
        /// Tokens that should go through together; none if there is no room for the model, its gradients and the optimiser.
        tokens: Option<usize>,
    },
    /// The worker threads could not be started.
    #[error("cannot start worker threads: {reason}")]
    Threads {
        /// What the system said.
        reason: String,
    },
    /// Attention probabilities or gradients were asked of an encoder that keeps none.
    #[error("the encoder ({encoder}) keeps no attention probabilities and finds no gradients")]
    NoAttention {
        /// What computes.
        encoder: String,
    },
    /// The tensor library failed.
    #[error("tensor computation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The files of a model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
}

fn to_learn(tokens: Option<usize>) -> String {
    match tokens {
        Some(tokens) => format!("to learn from {tokens} tokens at a time"),
        None => "for a model that learns: it takes about 18 bytes for each of its numbers".into(),
    }
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OutOfTable { .. } => "out_of_table",
            Self::DeviceUnavailable { .. } => "device_unavailable",
            Self::DtypeUnavailable { .. } => "dtype_unavailable",
            Self::CardFailed { .. } => "device_failed",
            Self::CardTooSmall { .. } => "device_out_of_memory",
            Self::CardTooSmallToLearn { .. } => "device_too_small_to_learn",
            Self::Threads { .. } => "no_threads",
            Self::NoAttention { .. } => "no_attention",
            Self::Tensor(_) => "tensor_failed",
            Self::Checkpoint(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::DtypeUnavailable { .. } | Self::NoAttention { .. } => ErrorClass::Caller,
            Self::OutOfTable { .. } | Self::Tensor(_) => ErrorClass::Model,
            Self::DeviceUnavailable { .. }
            | Self::CardFailed { .. }
            | Self::CardTooSmall { .. }
            | Self::CardTooSmallToLearn { .. }
            | Self::Threads { .. } => ErrorClass::Machine,
            Self::Checkpoint(error) => error.class(),
        }
    }
}
