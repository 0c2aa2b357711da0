//! What the files below the roots say, kept for the next call as long as they do not change.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;

use super::roots::Roots;
use crate::document::{ReadAs, Reading, Text};
use crate::rank::{Passages, rank};

/// Bytes of text that are kept.
const KEPT: usize = 256 << 20;

/// Bytes that a file may have.
const LARGEST: u64 = 32 << 20;

/// Bytes of text that are looked through for one call.
const MOST: usize = 256 << 20;

/// Documents that are tokenised for one question: those whose passages share most words with it.
const PROMISING: usize = 40;

/// Reads files, and remembers them.
pub struct Shelf {
    roots: Roots,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    files: HashMap<PathBuf, Arc<File>>,
    bytes: usize,
}

/// A file that was read.
pub struct File {
    /// Where it really is.
    pub path: PathBuf,
    pub text: Text,
    pub passages: Passages,
    /// When it was changed, and its size: what tells whether it still says the same.
    changed: (Option<SystemTime>, u64),
}

/// Files for a question or a quotation.
pub struct Chosen {
    pub files: Vec<Arc<File>>,
    /// How many there were to look through.
    pub looked_through: usize,
    /// Whether there were more than are looked through.
    pub more: bool,
    /// Those that were named and cannot be read, and why.
    pub unreadable: Vec<String>,
}

impl Shelf {
    pub fn new(roots: Roots) -> Self {
        Self { roots, known: Mutex::default() }
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The files that are named, or without names all that can be read.
    pub fn choose(&self, paths: Option<&[String]>) -> Result<Chosen, String> {
        let mut chosen = Chosen { files: Vec::new(), looked_through: 0, more: false, unreadable: Vec::new() };
        match paths {
            Some(paths) => {
                for path in paths {
                    let real = self.roots.resolve(path)?;
                    match self.read(&real) {
                        Ok(file) => chosen.files.push(file),
                        Err(reason) => chosen.unreadable.push(format!("{path}: {reason}")),
                    }
                }
            }
            None => {
                let found = self.roots.files();
                chosen.more = found.more;
                // What cannot be read among many was not asked for: pictures and programs lie everywhere.
                chosen.files = found.files.par_iter().filter_map(|path| self.read(path).ok()).collect();
            }
        }
        let mut bytes = 0;
        let before = chosen.files.len();
        chosen.files.retain(|file| {
            bytes += file.text.text.len();
            bytes <= MOST
        });
        chosen.more |= chosen.files.len() < before;
        chosen.looked_through = chosen.files.len();
        Ok(chosen)
    }

    /// The same, and of many files only those whose passages share most words with a question.
    pub fn promising(&self, paths: Option<&[String]>, question: &str) -> Result<Chosen, String> {
        let mut chosen = self.choose(paths)?;
        if chosen.files.len() > PROMISING {
            let passages: Vec<&Passages> = chosen.files.iter().map(|file| &file.passages).collect();
            let mut places: Vec<usize> = Vec::new();
            for hit in rank(question, &passages) {
                if places.len() == PROMISING {
                    break;
                }
                if !places.contains(&hit.document) {
                    places.push(hit.document);
                }
            }
            places.sort_unstable();
            chosen.files = places.into_iter().map(|place| chosen.files[place].clone()).collect();
        }
        Ok(chosen)
    }

    /// A file as it is now.
    pub fn read(&self, real: &Path) -> Result<Arc<File>, String> {
        let about = real.metadata().map_err(|error| error.to_string())?;
        let changed = (about.modified().ok(), about.len());
        let known = |known: &Known| known.files.get(real).filter(|file| file.changed == changed).cloned();
        if let Some(file) = known(&self.lock()) {
            return Ok(file);
        }
        let reading = Reading { read_as: ReadAs::Auto, limit: LARGEST, pre: None };
        let name = real.display().to_string();
        let text = reading.file(real, &name).map_err(|error| error.to_string())?;
        let file = File { path: real.to_owned(), passages: Passages::of(&text.text), text, changed };
        let (file, mut known) = (Arc::new(file), self.lock());
        known.bytes += file.text.text.len();
        if known.bytes > KEPT {
            *known = Known { bytes: file.text.text.len(), ..Known::default() };
        }
        if let Some(before) = known.files.insert(real.to_owned(), file.clone()) {
            known.bytes = known.bytes.saturating_sub(before.text.text.len());
        }
        Ok(file)
    }

    /// Every change is whole before the lock is let go, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
