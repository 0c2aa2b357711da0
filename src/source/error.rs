//! What can go wrong while a model is looked for and fetched.

use std::path::PathBuf;

use crate::class::ErrorClass;
use crate::{checkpoint, fs};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why the files of a model cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text that can name no model.
    #[error("`{reference}` cannot be a model: {reason}")]
    BadReference {
        /// The text as it was given.
        reference: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// A bare name that no registry knows.
    #[error("there is no model named `{name}`")]
    UnknownModel {
        /// The name as it was given.
        name: String,
        /// Known names that are spelled nearly the same, nearest first.
        near: Vec<String>,
    },
    /// A model folder that is not there.
    #[error("{path} is not a folder", path = path.display())]
    NoSuchFolder {
        /// The path.
        path: PathBuf,
    },
    /// A registry file with a mistake in it.
    #[error("{file}{}: {reason}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
    BadRegistry {
        /// The registry file.
        file: String,
        /// The line of the mistake, counted from 1, where it is known.
        line: Option<usize>,
        /// What is wrong.
        reason: String,
    },
    /// An environment variable whose value cannot be used.
    #[error("{variable} cannot be used: {reason}")]
    BadSetting {
        /// The variable.
        variable: &'static str,
        /// What is wrong with its value. Never the value of a secret.
        reason: String,
    },
    /// There is no folder to cache models in.
    #[error("cannot tell where models are cached: there is no home folder")]
    NoCacheFolder,
    /// A model that would have to be fetched while the network is forbidden.
    #[error("{model} is not in the cache {cache} ({missing}) and the network is switched off", cache = cache.display())]
    Offline {
        /// The model as it was asked for.
        model: String,
        /// The cache that was searched.
        cache: PathBuf,
        /// What is lacking.
        missing: String,
    },
    /// The hub wants to know who is asking (401).
    #[error(
        "the hub refuses {repo} without {}: it is private, gated or misspelt",
        if *token { "another token" } else { "a token" }
    )]
    HubUnauthorized {
        /// The repository.
        repo: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// The hub knows who is asking and says no (403).
    #[error("the hub does not let this token read {repo}")]
    HubForbidden {
        /// The repository.
        repo: String,
        /// The page where access is asked for.
        page: String,
    },
    /// The hub has no such repository.
    #[error("{endpoint} has no repository {repo}")]
    NoSuchRepo {
        /// The repository.
        repo: String,
        /// The hub that was asked.
        endpoint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision {revision}")]
    NoSuchRevision {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The hub lists a file and then does not have it.
    #[error("the hub does not have {file} of {repo}")]
    NoSuchHubFile {
        /// The repository.
        repo: String,
        /// The file.
        file: String,
    },
    /// The hub asks to slow down (429), also after waiting.
    #[error("{endpoint} limits the rate of requests and still refused after {attempts} attempts")]
    HubBusy {
        /// The hub that was asked.
        endpoint: String,
        /// How often it was asked.
        attempts: u32,
    },
    /// The hub failed (5xx) or answered with a status that has no meaning here.
    #[error("{endpoint} answered with status {status} (attempts: {attempts})")]
    HubFailed {
        /// The hub that was asked.
        endpoint: String,
        /// The HTTP status.
        status: u16,
        /// How often it was asked.
        attempts: u32,
    },
    /// No connection: no network, no such host, refused, timed out, bad certificate, bad proxy.
    #[error("cannot reach {endpoint}: {reason}")]
    HubUnreachable {
        /// The hub that was asked.
        endpoint: String,
        /// What the network said.
        reason: String,
    },
    /// An answer that does not follow the hub's protocol.
    #[error("cannot make sense of the answer from {url}: {reason}")]
    HubAnswer {
        /// What was asked for.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// A download that broke off again and again. What has arrived is kept.
    #[error("the download of {file} broke off after {got} of {expected} bytes: {reason}")]
    DownloadCut {
        /// The file.
        file: String,
        /// How many bytes have arrived.
        got: u64,
        /// How many it should be.
        expected: u64,
        /// What the network said.
        reason: String,
    },
    /// A finished download that is not the file which the hub announced. It is thrown away.
    #[error("the download of {file} is damaged: its {property} is {got}, not {expected}")]
    DownloadDamaged {
        /// The file.
        file: String,
        /// What was compared.
        property: &'static str,
        /// What the hub announced.
        expected: String,
        /// What arrived.
        got: String,
    },
    /// The cache cannot be written: read-only, not a folder, full disk.
    #[error("cannot write to the model cache at {path}: {source}", path = path.display())]
    CacheNotWritable {
        /// What could not be written.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// Another process holds the lock of a download and makes no progress.
    #[error("another process has been holding {path} without progress", path = path.display())]
    CacheLocked {
        /// The lock file.
        path: PathBuf,
    },
    /// The operating system refused a file.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// The files of a model.
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::Error),
}

impl Error {
    /// The stable name of this kind of failure.
    pub fn code(&self) -> &'static str {
        match self {
            Self::BadReference { .. } => "bad_model_reference",
            Self::UnknownModel { .. } => "unknown_model",
            Self::NoSuchFolder { .. } => "no_such_folder",
            Self::BadRegistry { .. } => "bad_registry",
            Self::BadSetting { .. } => "bad_setting",
            Self::NoCacheFolder => "no_cache_folder",
            Self::Offline { .. } => "offline",
            Self::HubUnauthorized { .. } => "hub_unauthorized",
            Self::HubForbidden { .. } => "hub_forbidden",
            Self::NoSuchRepo { .. } => "no_such_repo",
            Self::NoSuchRevision { .. } => "no_such_revision",
            Self::NoSuchHubFile { .. } => "no_such_hub_file",
            Self::HubBusy { .. } => "hub_busy",
            Self::HubFailed { .. } => "hub_failed",
            Self::HubUnreachable { .. } => "hub_unreachable",
            Self::HubAnswer { .. } => "hub_answer",
            Self::DownloadCut { .. } => "download_cut",
            Self::DownloadDamaged { .. } => "download_damaged",
            Self::CacheNotWritable { .. } => "cache_not_writable",
            Self::CacheLocked { .. } => "cache_locked",
            Self::Fs(error) => error.code(),
            Self::Checkpoint(error) => error.code(),
        }
    }

    /// Who has to do something about it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::BadReference { .. }
            | Self::UnknownModel { .. }
            | Self::NoSuchFolder { .. }
            | Self::BadRegistry { .. }
            | Self::BadSetting { .. }
            | Self::NoSuchRepo { .. }
            | Self::NoSuchRevision { .. } => ErrorClass::Caller,
            Self::NoCacheFolder | Self::CacheNotWritable { .. } | Self::CacheLocked { .. } => {
                ErrorClass::Machine
            }
            Self::Offline { .. }
            | Self::HubUnauthorized { .. }
            | Self::HubForbidden { .. }
            | Self::NoSuchHubFile { .. }
            | Self::HubBusy { .. }
            | Self::HubFailed { .. }
            | Self::HubUnreachable { .. }
            | Self::HubAnswer { .. }
            | Self::DownloadCut { .. }
            | Self::DownloadDamaged { .. } => ErrorClass::Network,
            Self::Fs(error) => error.class(),
            Self::Checkpoint(error) => error.class(),
        }
    }
}
