//! The sum of what can go wrong in any room.
//!
//! Every room has an error of its own. A variant there holds facts (which path, which tensor, what was expected, what was
//! found); its `Display` is one sentence made of them. [`Error::code`] is the stable name that scripts match on, and
//! [`Error::class`] says who has to do something about it.

use crate::class::ErrorClass;
#[cfg(feature = "mcp")]
use crate::mcp;
#[cfg(feature = "serve")]
use crate::serve;
use crate::{
    checkpoint, document, embed, encoder, eval, export, fs, index, inspect, reader, request, rerank, source,
    stream, text, train,
};

/// A [`std::result::Result`] with this crate's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed. An error that went through several rooms is found under the one where it happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The files of a model.
    #[error(transparent)]
    Checkpoint(checkpoint::Error),
    /// Files and the text in them.
    #[error(transparent)]
    Document(document::Error),
    /// Texts and tokens.
    #[error(transparent)]
    Text(text::Error),
    /// The neural part.
    #[error(transparent)]
    Encoder(encoder::Error),
    /// Questions and replies.
    #[error(transparent)]
    Reader(reader::Error),
    /// Texts and their vectors.
    #[error(transparent)]
    Embed(embed::Error),
    /// Indexes that are searched.
    #[error(transparent)]
    Index(index::Error),
    /// The inside of models.
    #[error(transparent)]
    Inspect(inspect::Error),
    /// Requests as other programs write them.
    #[error(transparent)]
    Request(#[from] request::Error),
    /// Models by reference, the hub and its cache.
    #[error(transparent)]
    Source(source::Error),
    /// A session with an agent.
    #[cfg(feature = "mcp")]
    #[error(transparent)]
    Mcp(#[from] mcp::Error),
    /// A server.
    #[cfg(feature = "serve")]
    #[error(transparent)]
    Serve(#[from] serve::Error),
    /// Data sets, predictions and their scores.
    #[error(transparent)]
    Eval(eval::Error),
    /// Training.
    #[error(transparent)]
    Train(train::Error),
    /// Models that leave for other programs.
    #[error(transparent)]
    Export(export::Error),
}

impl Error {
    /// The stable name of this kind of failure, for scripts and for JSON error records.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Fs(error) => error.code(),
            Error::Checkpoint(error) => error.code(),
            Error::Document(error) => error.code(),
            Error::Text(error) => error.code(),
            Error::Encoder(error) => error.code(),
            Error::Reader(error) => error.code(),
            Error::Embed(error) => error.code(),
            Error::Index(error) => error.code(),
            Error::Inspect(error) => error.code(),
            Error::Request(error) => error.code(),
            Error::Source(error) => error.code(),
            #[cfg(feature = "mcp")]
            Error::Mcp(error) => error.code(),
            #[cfg(feature = "serve")]
            Error::Serve(error) => error.code(),
            Error::Eval(error) => error.code(),
            Error::Train(error) => error.code(),
            Error::Export(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Error::Fs(error) => error.class(),
            Error::Checkpoint(error) => error.class(),
            Error::Document(error) => error.class(),
            Error::Text(error) => error.class(),
            Error::Encoder(error) => error.class(),
            Error::Reader(error) => error.class(),
            Error::Embed(error) => error.class(),
            Error::Index(error) => error.class(),
            Error::Inspect(error) => error.class(),
            Error::Request(error) => error.class(),
            Error::Source(error) => error.class(),
            #[cfg(feature = "mcp")]
            Error::Mcp(error) => error.class(),
            #[cfg(feature = "serve")]
            Error::Serve(error) => error.class(),
            Error::Eval(error) => error.class(),
            Error::Train(error) => error.class(),
            Error::Export(error) => error.class(),
        }
    }
}

impl From<checkpoint::Error> for Error {
    fn from(error: checkpoint::Error) -> Self {
        match error {
            checkpoint::Error::Fs(error) => error.into(),
            own => Self::Checkpoint(own),
        }
    }
}

impl From<document::Error> for Error {
    fn from(error: document::Error) -> Self {
        match error {
            document::Error::Fs(error) => error.into(),
            own => Self::Document(own),
        }
    }
}

impl From<text::Error> for Error {
    fn from(error: text::Error) -> Self {
        match error {
            text::Error::Checkpoint(error) => error.into(),
            own => Self::Text(own),
        }
    }
}

impl From<encoder::Error> for Error {
    fn from(error: encoder::Error) -> Self {
        match error {
            encoder::Error::Checkpoint(error) => error.into(),
            own => Self::Encoder(own),
        }
    }
}

impl From<reader::Error> for Error {
    fn from(error: reader::Error) -> Self {
        match error {
            reader::Error::Text(error) => error.into(),
            reader::Error::Encoder(error) => error.into(),
            own => Self::Reader(own),
        }
    }
}

impl From<embed::Error> for Error {
    fn from(error: embed::Error) -> Self {
        match error {
            embed::Error::Text(error) => error.into(),
            embed::Error::Encoder(error) => error.into(),
            own => Self::Embed(own),
        }
    }
}

impl From<index::Error> for Error {
    fn from(error: index::Error) -> Self {
        match error {
            index::Error::Fs(error) => error.into(),
            index::Error::Document(error) => error.into(),
            index::Error::Embed(error) => error.into(),
            own => Self::Index(own),
        }
    }
}

impl From<inspect::Error> for Error {
    fn from(error: inspect::Error) -> Self {
        match error {
            inspect::Error::Fs(error) => error.into(),
            inspect::Error::Reader(error) => error.into(),
            inspect::Error::Encoder(error) => error.into(),
            own => Self::Inspect(own),
        }
    }
}

impl From<rerank::Error> for Error {
    fn from(error: rerank::Error) -> Self {
        match error {
            rerank::Error::Reader(error) => error.into(),
            rerank::Error::Embed(error) => error.into(),
        }
    }
}

impl From<stream::Error> for Error {
    fn from(error: stream::Error) -> Self {
        match error {
            stream::Error::Fs(error) => error.into(),
            stream::Error::Document(error) => error.into(),
            stream::Error::Request(error) => error.into(),
            stream::Error::Reader(error) => error.into(),
            stream::Error::Embed(error) => error.into(),
        }
    }
}

impl From<source::Error> for Error {
    fn from(error: source::Error) -> Self {
        match error {
            source::Error::Fs(error) => error.into(),
            source::Error::Checkpoint(error) => error.into(),
            own => Self::Source(own),
        }
    }
}

impl From<eval::Error> for Error {
    fn from(error: eval::Error) -> Self {
        match error {
            eval::Error::Fs(error) => error.into(),
            eval::Error::Text(error) => error.into(),
            eval::Error::Reader(error) => error.into(),
            eval::Error::Checkpoint(error) => error.into(),
            own => Self::Eval(own),
        }
    }
}

impl From<train::Error> for Error {
    fn from(error: train::Error) -> Self {
        match error {
            train::Error::Fs(error) => error.into(),
            train::Error::Checkpoint(error) => error.into(),
            train::Error::Text(error) => error.into(),
            train::Error::Encoder(error) => error.into(),
            train::Error::Reader(error) => error.into(),
            train::Error::Eval(error) => error.into(),
            own => Self::Train(own),
        }
    }
}

impl From<export::Error> for Error {
    fn from(error: export::Error) -> Self {
        match error {
            export::Error::Fs(error) => error.into(),
            export::Error::Checkpoint(error) => error.into(),
            export::Error::Text(error) => error.into(),
            export::Error::Embed(error) => error.into(),
            export::Error::Encoder(error) => error.into(),
            own => Self::Export(own),
        }
    }
}

#[cfg(test)]
mod tests {
    /// The rooms' errors as they are written.
    const ROOMS: [&str; 18] = [
        include_str!("fs/error.rs"),
        include_str!("checkpoint/error.rs"),
        include_str!("document/error.rs"),
        include_str!("text/error.rs"),
        include_str!("encoder/error.rs"),
        include_str!("reader/error.rs"),
        include_str!("embed/error.rs"),
        include_str!("index/error.rs"),
        include_str!("inspect/error.rs"),
        include_str!("request/error.rs"),
        include_str!("rerank/error.rs"),
        include_str!("stream/error.rs"),
        include_str!("mcp/error.rs"),
        include_str!("serve/error.rs"),
        include_str!("source/error.rs"),
        include_str!("eval/error.rs"),
        include_str!("train/error.rs"),
        include_str!("export/error.rs"),
    ];

    /// Scripts match on codes. That a type is not to be had is one thing to them, whether a model runs or learns.
    #[test]
    fn every_code_is_of_one_error_and_every_error_has_a_class() {
        let line = |line: &'static str| line.split_once("=> \"")?.1.strip_suffix("\",");
        let codes = || ROOMS.iter().flat_map(|room| room.lines().filter_map(line));
        let mut seen = std::collections::HashSet::new();
        let twice: Vec<&str> = codes().filter(|code| !seen.insert(*code)).collect();
        assert_eq!(twice, ["dtype_unavailable"]);
        assert!(codes().count() > 60, "{}", codes().count());
        // Without a wildcard the compiler asks for the code and the class of every new variant.
        assert!(ROOMS.iter().all(|room| !room.contains("_ =>")));
    }
}
