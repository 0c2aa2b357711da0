//! What can keep agents from being served.

use std::io;
use std::path::PathBuf;

use crate::class::ErrorClass;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A folder that is to be read is none.
    #[error("{path} is no folder that can be read: {source}")]
    BadRoot {
        /// What was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no threads or timers.
    #[error("cannot start the session: {0}")]
    Start(io::Error),
    /// The other side does not speak the protocol.
    #[error("the session broke off: {reason}")]
    Session {
        /// What happened.
        reason: String,
    },
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadRoot { .. } => "bad_root",
            Self::Start(_) => "cannot_start_session",
            Self::Session { .. } => "session_broke_off",
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BadRoot { .. } | Self::Session { .. } => ErrorClass::Caller,
            Self::Start(_) => ErrorClass::Machine,
        }
    }
}
