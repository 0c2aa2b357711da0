//! What can go wrong when somebody looks inside.

use crate::class::ErrorClass;
use crate::{encoder, fs, reader};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is nothing to be seen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model has fewer layers.
    #[error("{model} has {layers} layers, counted from 0, so there is no attention of layer {asked}")]
    NoSuchLayer {
        /// The model.
        model: String,
        /// Its layers.
        layers: usize,
        /// What was asked for.
        asked: usize,
    },
    /// The model has fewer heads.
    #[error("the layers of {model} have {heads} heads, counted from 0, so there is no head {asked}")]
    NoSuchHead {
        /// The model.
        model: String,
        /// The heads of each layer.
        heads: usize,
        /// What was asked for.
        asked: usize,
    },
    /// There are fewer windows, or this one was not read.
    #[error("{document} has no window {asked}: {}", read_windows(.read))]
    NoSuchWindow {
        /// What the document is called.
        document: String,
        /// The windows that are read.
        read: Vec<usize>,
        /// What was asked for.
        asked: usize,
    },
    /// There is no window at all.
    #[error("there is nothing to read in {document}")]
    NothingToRead {
        /// What the document is called.
        document: String,
    },
    /// The file would be larger than is wanted.
    #[error("the file would take {size} bytes, and {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The model computed something that is not a number.
    #[error("the model gave attention or gradients that are not finite numbers")]
    NotFinite,
    /// Files.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// Windows.
    #[error(transparent)]
    Reader(#[from] reader::Error),
    /// The neural part.
    #[error(transparent)]
    Encoder(#[from] encoder::Error),
}

fn read_windows(read: &[usize]) -> String {
    if let [only] = read {
        return format!("window {only} is the only one that is read");
    }
    if let [first, .., last] = read
        && last - first + 1 == read.len()
    {
        return format!("windows {first} to {last} are read");
    }
    let numbers: Vec<String> = read.iter().map(usize::to_string).collect();
    format!("windows {} are read", numbers.join(", "))
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSuchLayer { .. } => "no_such_attention_layer",
            Self::NoSuchHead { .. } => "no_such_head",
            Self::NoSuchWindow { .. } => "no_such_window",
            Self::NothingToRead { .. } => "nothing_to_read",
            Self::TooLarge { .. } => "inside_too_large",
            Self::NotFinite => "inside_not_finite",
            Self::Fs(error) => error.code(),
            Self::Reader(error) => error.code(),
            Self::Encoder(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NoSuchLayer { .. }
            | Self::NoSuchHead { .. }
            | Self::NoSuchWindow { .. }
            | Self::NothingToRead { .. }
            | Self::TooLarge { .. } => ErrorClass::Caller,
            Self::NotFinite => ErrorClass::Model,
            Self::Fs(error) => error.class(),
            Self::Reader(error) => error.class(),
            Self::Encoder(error) => error.class(),
        }
    }
}
