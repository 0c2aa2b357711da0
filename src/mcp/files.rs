//! What the files below the roots say, kept for the next call as long as they do not change.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;

use super::patience::Patience;
use super::roots::{Listing, Roots};
use crate::document::{ReadAs, Reading, Text};
use crate::rank::Passages;

/// Bytes of text that are kept, and that are looked through for one call: their words take about as much again.
const MOST: usize = 128 << 20;

/// Bytes that a file may have.
const LARGEST: u64 = 32 << 20;

/// Files that are read at once. A small packed file may hold a large text, so no more of them are read than are wanted.
const AT_ONCE: usize = 8;

/// Reads files, and remembers them.
pub struct Files {
    roots: Roots,
    known: Mutex<Known>,
    /// [`MOST`], but for tests.
    most: usize,
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
    /// Made by the first question.
    passages: OnceLock<Passages>,
    /// When it was changed, and its size: what tells whether it still says the same.
    changed: (Option<SystemTime>, u64),
}

/// Files for a question or a quotation.
pub struct Chosen {
    pub files: Vec<Arc<File>>,
    /// How many there were to look through.
    pub looked_through: usize,
    /// Whether there were more, which were not looked through.
    pub more: bool,
    /// Those that were named and cannot be read, and why.
    pub unreadable: Vec<String>,
}

impl File {
    /// Its passages, with their words.
    pub fn passages(&self) -> &Passages {
        self.passages.get_or_init(|| Passages::of(&self.text.text))
    }
}

impl Files {
    pub fn new(roots: Roots) -> Self {
        Self { roots, known: Mutex::default(), most: MOST }
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The files that are named, or without names all that can be read; in order, until their texts are as much as one call looks through.
    pub fn choose(&self, paths: Option<&[String]>, patience: &Patience) -> Result<Chosen, String> {
        let mut chosen = Chosen { files: Vec::new(), looked_through: 0, more: false, unreadable: Vec::new() };
        let listing = match paths {
            Some(paths) => {
                let files: Result<Vec<_>, _> = paths.iter().map(|path| self.roots.resolve(path)).collect();
                let (mut files, mut known) = (files?, HashSet::new());
                // A file that is named twice is one file.
                files.retain(|file| known.insert(file.clone()));
                Listing { files, more: false }
            }
            None => self.roots.files(),
        };
        let (mut bytes, mut left) = (0, listing.files.as_slice());
        while let Some(some) = left.get(..AT_ONCE.min(left.len())).filter(|some| !some.is_empty()) {
            patience.check("name `paths`, or index the folders with `spanqa index`")?;
            let read: Vec<_> = some.par_iter().map(|path| self.read(path)).collect();
            for (path, file) in some.iter().zip(read) {
                match file {
                    Ok(file) => {
                        bytes += file.text.text.len();
                        chosen.files.push(file);
                    }
                    Err(reason) if paths.is_some() => {
                        chosen.unreadable.push(format!("{}: {reason}", self.roots.short(path).display()));
                    }
                    // What cannot be read among many was not asked for: pictures and programs lie everywhere.
                    Err(_) => {}
                }
            }
            left = &left[some.len()..];
            if bytes >= self.most {
                break;
            }
        }
        chosen.more = listing.more || !left.is_empty();
        chosen.looked_through = chosen.files.len();
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
        let file = File { path: real.to_owned(), passages: OnceLock::new(), text, changed };
        let (file, mut known) = (Arc::new(file), self.lock());
        known.bytes += file.text.text.len();
        if known.bytes > self.most {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_read_than_is_looked_through() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..40 {
            std::fs::write(folder.path().join(format!("{number:02}.txt")), "word ".repeat(20)).unwrap();
        }
        std::fs::write(folder.path().join("00.bin"), b"\0\0").unwrap();
        let files = |most| Files { most, ..Files::new(Roots::new(&[folder.path().to_owned()]).unwrap()) };
        let all = files(MOST).choose(None, &Patience::new()).unwrap();
        assert_eq!((all.looked_through, all.more, all.unreadable.len()), (40, false, 0));
        // 100 bytes each.
        let few = files(1_000);
        let chosen = few.choose(None, &Patience::new()).unwrap();
        let enough = 10..10 + AT_ONCE;
        assert!(enough.contains(&chosen.looked_through) && chosen.more, "{}", chosen.looked_through);
        assert!(few.lock().files.len() <= enough.end && few.lock().bytes <= few.most);
        let names: Vec<String> = (0..40).map(|number| format!("{number:02}.txt")).collect();
        let named = few.choose(Some(&names), &Patience::new()).unwrap();
        assert!(enough.contains(&named.looked_through) && named.more);
        let named = few
            .choose(Some(&["00.bin".into(), "07.txt".into(), "./07.txt".into()]), &Patience::new())
            .unwrap();
        assert_eq!((named.looked_through, named.more, named.unreadable.len()), (1, false, 1));
    }

    #[test]
    fn nothing_is_read_for_nobody() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.txt"), "a").unwrap();
        let files = Files::new(Roots::new(&[folder.path().to_owned()]).unwrap());
        let reason = |patience| files.choose(None, &patience).err().unwrap();
        assert_eq!(reason(Patience::taken_back()), "the call was cancelled");
        assert!(reason(Patience::over()).contains("spanqa index"));
        assert!(files.lock().files.is_empty());
    }
}
