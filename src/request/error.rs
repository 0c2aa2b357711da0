//! What can be wrong with a request.

use crate::class::ErrorClass;
use crate::document::kind::Kind;
use crate::parquet;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request cannot be worked on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not JSON.
    #[error("it is not valid JSON: {reason}")]
    NotJson {
        /// What the parser said.
        reason: String,
    },
    /// It is JSON, but not an object.
    #[error("a request is a JSON object, this is {found}")]
    NotAnObject {
        /// What it is.
        found: &'static str,
    },
    /// It is not text.
    #[error("it is not valid UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where.
        at: usize,
    },
    /// It is longer than is allowed.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: usize,
    },
    /// A field that it needs is not there, or holds nothing.
    #[error("the field `{field}` is {}", if *.null { "null" } else { "missing" })]
    MissingField {
        /// The field.
        field: String,
        /// Whether it is there and `null`.
        null: bool,
        /// Fields that are there.
        present: Vec<String>,
    },
    /// A field holds another kind of value than it must.
    #[error("the field `{field}` must be {expected}, not {found}")]
    WrongType {
        /// The field.
        field: String,
        /// What it must be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Two fields that exclude each other.
    #[error("the fields `{first}` and `{second}` exclude each other")]
    Conflict {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// Lists that belong together are not equally long.
    #[error("{questions} questions cannot be put to {contexts} contexts one by one")]
    UnequalLists {
        /// Questions.
        questions: usize,
        /// Contexts.
        contexts: usize,
    },
    /// A row of a table that does not fit its header.
    #[error("the row has {found} cells, the header has {expected}")]
    WrongWidth {
        /// Cells of the header.
        expected: usize,
        /// Cells of the row.
        found: usize,
    },
    /// The header of a table cannot be understood, so its rows cannot either.
    #[error("the header of its table, line {line}, cannot be used: {reason}")]
    BadHeader {
        /// Where the header stands.
        line: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Options of a request that mean nothing.
    #[error("its parameters cannot be used: {reason}")]
    BadParameters {
        /// What is wrong with them.
        reason: String,
    },
    /// A cell of a table that starts with a quotation mark and does not end with one.
    #[error("a quotation mark is not closed")]
    OpenQuote,
    /// It names a file, and whoever reads the requests does not allow that.
    #[error("requests may not name files or folders here")]
    FilesForbidden,
    /// What is named in a request is a folder, a pipe or a device.
    #[error("{path} is not a file")]
    NotAFile {
        /// The path.
        path: String,
    },
    /// What a request wants searched cannot be.
    #[error("{reason}")]
    NotSearched {
        /// What cannot be searched, and why.
        reason: String,
    },
    /// An input holds neither lines nor rows.
    #[error("{input} is {}, not {}", kind.describe(), if kind.is_text() { "UTF-8" } else { "JSON lines or a table" })]
    NoRequests {
        /// The input.
        input: String,
        /// What it is.
        kind: Kind,
    },
    /// A table by columns whose rows, or the rest of them, cannot be read.
    #[error("{input}: {error}")]
    Parquet {
        /// The file.
        input: String,
        /// Why.
        error: parquet::Error,
    },
    /// The rest of the requests could not be read.
    #[error("cannot read on in {input}: {reason}")]
    Unreadable {
        /// Where they come from.
        input: String,
        /// What the system or the decompressor said.
        reason: String,
    },
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject { .. } => "not_an_object",
            Self::NotUtf8 { .. } => "not_utf8",
            Self::TooLong { .. } => "request_too_long",
            Self::MissingField { .. } => "missing_field",
            Self::WrongType { .. } => "wrong_type",
            Self::Conflict { .. } => "conflicting_fields",
            Self::UnequalLists { .. } => "unequal_lists",
            Self::WrongWidth { .. } => "wrong_width",
            Self::OpenQuote => "open_quote",
            Self::BadHeader { .. } => "bad_header",
            Self::BadParameters { .. } => "bad_parameters",
            Self::FilesForbidden => "files_forbidden",
            Self::NotAFile { .. } => "not_a_file",
            Self::NotSearched { .. } => "not_searched",
            Self::NoRequests { .. } => "no_requests",
            Self::Parquet { error, .. } => error.code(),
            Self::Unreadable { .. } => "input_unreadable",
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotJson { .. }
            | Self::NotAnObject { .. }
            | Self::NotUtf8 { .. }
            | Self::TooLong { .. }
            | Self::MissingField { .. }
            | Self::WrongType { .. }
            | Self::Conflict { .. }
            | Self::UnequalLists { .. }
            | Self::WrongWidth { .. }
            | Self::OpenQuote
            | Self::BadHeader { .. }
            | Self::BadParameters { .. }
            | Self::FilesForbidden
            | Self::NotAFile { .. }
            | Self::NotSearched { .. }
            | Self::NoRequests { .. } => ErrorClass::Caller,
            Self::Parquet { error, .. } => error.class(),
            Self::Unreadable { .. } => ErrorClass::Machine,
        }
    }
}
