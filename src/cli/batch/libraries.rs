//! What requests want searched. Each folder is indexed once, when it is first named.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Result;
use spanqa::request::Error;
use spanqa::retrieve::Library;

use crate::cli::inputs::FileArgs;
use crate::cli::options::ReaderArgs;
use crate::cli::searching::FindArgs;
use crate::cli::{self, terminal};

type Opened = Arc<OnceLock<Result<Arc<Library>, Error>>>;

/// Opens folders and corpora for requests.
pub struct Libraries<'a> {
    /// For requests that name none.
    usual: Option<Arc<Library>>,
    named: Mutex<HashMap<PathBuf, Opened>>,
    searching: &'a FindArgs,
    reader: &'a ReaderArgs,
    files: FileArgs,
    quiet: bool,
}

impl<'a> Libraries<'a> {
    /// Opens what is searched for every request that names no text. Files below folders may have `max_bytes`.
    pub fn open(
        usual: &[PathBuf],
        searching: &'a FindArgs,
        reader: &'a ReaderArgs,
        max_bytes: u64,
        quiet: bool,
    ) -> Result<Self> {
        let mut libraries = Self {
            usual: None,
            named: Mutex::default(),
            searching,
            reader,
            files: FileArgs::usual(max_bytes),
            quiet,
        };
        if !usual.is_empty() {
            libraries.usual = Some(libraries.library(usual)?.into());
        }
        Ok(libraries)
    }

    fn library(&self, paths: &[PathBuf]) -> Result<Library> {
        let mut note = |text: String| {
            if !self.quiet {
                terminal::note(text);
            }
        };
        self.searching.open(paths, &self.files, self.reader, self.quiet, &mut note)
    }

    /// What a request wants searched.
    pub fn of(&self, path: Option<&Path>) -> Result<Arc<Library>, Error> {
        let missing = || Error::MissingField { field: "search".into(), null: false, present: Vec::new() };
        let Some(path) = path else { return self.usual.clone().ok_or_else(missing) };
        let slot = {
            let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
            named.entry(path.to_owned()).or_default().clone()
        };
        let open = || match self.library(&[path.to_owned()]) {
            Ok(library) => Ok(Arc::new(library)),
            Err(error) => Err(Error::NotSearched { reason: cli::message(&error) }),
        };
        slot.get_or_init(open).clone()
    }
}
