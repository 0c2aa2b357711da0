//! What can keep a server from running.

use std::io;

use crate::class::ErrorClass;

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address is taken, or not ours to take.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// What was asked for.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Everybody who reaches the address could ask.
    #[error("{address} is open to other machines, and there is no key")]
    Unprotected {
        /// What was asked for.
        address: String,
    },
    /// Two models cannot be told apart.
    #[error("two models are called {name}")]
    SameName {
        /// What both are called.
        name: String,
    },
    /// A path that requests come by cannot be one.
    #[error("{path} cannot be a route: it does not start with a slash")]
    BadRoute {
        /// What was asked for.
        path: String,
    },
    /// The library below would panic at the date of each reply.
    #[error("the clock of this machine stands before 1970 or after 9999, and replies bear a date")]
    Clock,
    /// The system gives no threads or timers.
    #[error("cannot start the server: {0}")]
    Start(io::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "cannot_listen",
            Self::Unprotected { .. } => "key_needed",
            Self::SameName { .. } => "same_model_name",
            Self::BadRoute { .. } => "bad_route",
            Self::Clock => "impossible_clock",
            Self::Start(_) => "cannot_start_server",
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Listen { .. } | Self::Clock | Self::Start(_) => ErrorClass::Machine,
            Self::Unprotected { .. } | Self::SameName { .. } | Self::BadRoute { .. } => ErrorClass::Caller,
        }
    }
}
