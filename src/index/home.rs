//! Where indexes lie.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{Error, Result};
use super::manifest::Manifest;

/// The file of an index that its writer locks.
pub(super) const LOCK: &str = "lock";

/// What is indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// The files below a folder, named as the caller names it.
    Folder(PathBuf),
    /// The lines of a file.
    Corpus(PathBuf),
}

impl Root {
    /// What is at a path.
    pub fn at(path: &Path) -> Self {
        if path.is_dir() { Self::Folder(path.to_owned()) } else { Self::Corpus(path.to_owned()) }
    }

    /// Its path, as the caller names it.
    pub fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Corpus(path) => path,
        }
    }
}

/// A folder of indexes. The folders that are indexed stay as they are.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// Indexes below this folder.
    pub fn at(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// Indexes in the user's cache.
    pub fn usual() -> Result<Self> {
        let cache = dirs::cache_dir().ok_or(Error::NoHome)?;
        Ok(Self(cache.join("spanqa").join("index")))
    }

    /// Where the index of something is: one for each path and each way to choose and read its files.
    pub fn index_of(&self, root: &Root, ways: &str) -> Result<PathBuf> {
        let path = root.path();
        let whole = fs::canonicalize(path)
            .map_err(|source| crate::fs::Error::Read { path: path.to_owned(), source })?;
        let mut key = Sha256::new();
        key.update(whole.as_os_str().as_encoded_bytes());
        key.update([0]);
        key.update(ways);
        let name: String = (whole.file_name().map(|name| name.to_string_lossy()).unwrap_or_default().chars())
            .filter(|char| char.is_alphanumeric() || "-_.".contains(*char))
            .take(40)
            .collect();
        Ok(self.0.join(format!("{name}-{}", short_hex(&key.finalize()))))
    }
}

impl Home {
    /// The indexes that lie here and below another folder, named as that is named.
    pub fn below(&self, folder: &Path) -> Vec<PathBuf> {
        let (Ok(home), Ok(whole)) = (self.0.canonicalize(), folder.canonicalize()) else { return Vec::new() };
        let Ok(home) = home.strip_prefix(whole) else { return Vec::new() };
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let indexes = entries.filter(|entry| entry.path().join(LOCK).is_file());
        indexes.map(|entry| folder.join(home).join(entry.file_name())).collect()
    }
}

/// An index that lies in a home.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The path of what was indexed.
    pub root: String,
    /// Where the index is.
    pub folder: PathBuf,
    /// What it takes on disk.
    pub bytes: u64,
}

impl Home {
    /// The indexes that lie here, by what was indexed.
    pub fn list(&self) -> Result<Vec<Kept>> {
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(crate::fs::Error::Read { path: self.0.clone(), source }.into()),
        };
        let mut kept = Vec::new();
        for folder in entries.flatten().map(|entry| entry.path()) {
            // Anything else in there is not ours.
            let Ok(Some(manifest)) = Manifest::load(&folder) else { continue };
            let sizes = fs::read_dir(&folder).into_iter().flatten().flatten();
            let bytes = sizes.filter_map(|entry| Some(entry.metadata().ok()?.len())).sum();
            kept.push(Kept { root: manifest.root().to_owned(), folder, bytes });
        }
        kept.sort_by(|a, b| (&a.root, &a.folder).cmp(&(&b.root, &b.folder)));
        Ok(kept)
    }

    /// Removes an index.
    pub fn remove(&self, kept: &Kept) -> Result<()> {
        let path = &kept.folder;
        fs::remove_dir_all(path)
            .map_err(|source| crate::fs::Error::Write { path: path.clone(), source }.into())
    }
}

/// The beginning of a digest, as text.
pub(super) fn short_hex(digest: &[u8]) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
