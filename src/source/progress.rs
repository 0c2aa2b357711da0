//! What there is to see while files are fetched. Whether and how it is shown is for whoever asked for the model.

use std::fmt;
use std::sync::Arc;

/// One file on its way into the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download<'a> {
    /// Its name in the repository.
    pub file: &'a str,
    /// What has just happened.
    pub event: DownloadEvent,
}

/// What can happen to a file on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownloadEvent {
    /// It is asked for. If the cache has its content, nothing else happens before the end.
    Started,
    /// Another process is fetching it.
    Waiting,
    /// So many of so many bytes are there.
    Bytes {
        /// Bytes that are there, earlier runs included.
        have: u64,
        /// Bytes that it should have.
        size: u64,
    },
    /// It is there, or could not be fetched.
    Ended,
}

type Tell = dyn Fn(Download) + Send + Sync;

/// Is told of every event; the default does nothing.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<Tell>>);

impl Watcher {
    /// A watcher that calls a function.
    pub fn new(tell: impl Fn(Download) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    pub(super) fn tell(&self, file: &str, event: DownloadEvent) {
        if let Some(tell) = &self.0 {
            tell(Download { file, event });
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Watcher(...)" } else { "Watcher" })
    }
}
