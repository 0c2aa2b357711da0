//! Which files are in an index, as they were when they were read, and in which segments.

use std::collections::HashMap;
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};
use super::segment::{Alive, Segment};
use crate::fs;

/// Changes when a manifest of today means nothing to older programs, or theirs nothing to this one.
const FORMAT: u32 = 1;

const NAME: &str = "index.json";

/// What an index consists of.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: u32,
    /// The path of what was indexed, as the system has it.
    root: String,
    /// The number of the next segment.
    next: u64,
    pub(super) segments: Vec<SegmentEntry>,
    /// Files that are no text, so that they are not looked at again.
    pub(super) skipped: Vec<FileEntry>,
    /// What makes vectors of the passages, if they have any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) embedder: Option<EmbedderEntry>,
}

/// A model that makes vectors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EmbedderEntry {
    /// What it is asked for by.
    pub(super) model: String,
    /// Which model it was, beyond its name.
    digest: String,
    pub(super) dimensions: usize,
}

impl EmbedderEntry {
    pub(super) fn new(model: &str, digest: &str, dimensions: usize) -> Self {
        Self { model: model.into(), digest: digest.into(), dimensions }
    }

    /// What names of files have of it.
    fn key(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SegmentEntry {
    name: String,
    pub(super) files: Vec<FileEntry>,
}

/// A file as it was when it was read.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FileEntry {
    /// From the folder on; empty for a corpus.
    pub(super) path: String,
    pub(super) stat: Stat,
    /// What its text was.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) hash: String,
    /// It was changed so shortly before that it may have changed again without looking different.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) fresh: bool,
    /// It has changed since, or is not there any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) gone: bool,
}

/// What a file looks like from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    size: u64,
    /// Nanoseconds since 1970.
    modified: u64,
}

impl Stat {
    pub(super) fn of(about: &Metadata) -> Self {
        let since = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        Self { size: about.len(), modified: about.modified().map_or(0, since) }
    }

    pub(super) fn at(path: &Path) -> Result<Self> {
        let about = path.metadata().map_err(|source| fs::Error::Read { path: path.to_owned(), source })?;
        Ok(Self::of(&about))
    }

    pub(super) fn size(self) -> u64 {
        self.size
    }

    /// Whether a file that looks so could change once more within the same tick of the clock that stamps files.
    pub(super) fn is_fresh(self) -> bool {
        const NANOS: u64 = 1_000_000_000;
        // Some file systems count whole seconds.
        let tick = if self.modified.is_multiple_of(NANOS) { 2 * NANOS } else { NANOS / 50 };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_nanos() as u64;
        self.modified.saturating_add(tick) > now
    }
}

impl Manifest {
    fn empty(root: &Path, next: u64) -> Self {
        let root = fs::real(root).unwrap_or_else(|_| root.to_owned()).display().to_string();
        Self { format: FORMAT, root, next, segments: Vec::new(), skipped: Vec::new(), embedder: None }
    }

    /// What was indexed.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// The manifest of an index; `None` if there is no index, or one that this program cannot read.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(fs::Error::Read { path, source }.into()),
        };
        let manifest: Option<Self> = serde_json::from_slice(&bytes).ok();
        Ok(manifest.filter(|manifest| manifest.format == FORMAT))
    }

    /// The same for whoever goes on writing: an empty one if there is none. Segments get numbers that no file in the folder has.
    pub(super) fn load_or_new(folder: &Path, root: &Path) -> Result<Self> {
        if let Some(manifest) = Self::load(folder)? {
            return Ok(manifest);
        }
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let number = |name: &str| name.split('.').next()?.parse::<u64>().ok();
        let numbers = entries.filter_map(|entry| number(entry.file_name().to_str()?));
        Ok(Self::empty(root, numbers.max().map_or(0, |last| last + 1)))
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(NAME);
        let bytes = serde_json::to_vec(self)
            .map_err(|error| fs::Error::Write { path: path.clone(), source: error.into() })?;
        Ok(fs::write(&path, &bytes)?)
    }

    /// Writes a segment, with vectors of its passages if there are any. It is part of the index once the manifest is saved.
    pub(super) fn add(
        &mut self,
        folder: &Path,
        bytes: &[u8],
        files: Vec<FileEntry>,
        vectors: Option<&[u8]>,
    ) -> Result<()> {
        let segment = SegmentEntry { name: format!("{:08}.words", self.next), files };
        self.next += 1;
        fs::write(&segment.path(folder), bytes)?;
        if let Some((entry, vectors)) = self.embedder.as_ref().zip(vectors) {
            fs::write(&segment.vectors(folder, entry), vectors)?;
        }
        self.segments.push(segment);
        Ok(())
    }

    /// Removes files of the folder that belong to no segment: what is left of segments that were merged, or of a process that was killed.
    /// Only for the one who may write.
    pub(super) fn tidy(&self, folder: &Path) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_ours = [".words", ".vectors", ".begun"].iter().any(|end| name.ends_with(end));
            let is_temporary = name.starts_with(".spanqa-");
            if is_temporary || is_ours && !self.segments.iter().any(|segment| self.has(segment, &name)) {
                // Where an open file cannot be removed, the next writer does it.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Whether a file belongs to a segment.
    fn has(&self, segment: &SegmentEntry, name: &str) -> bool {
        let of_vectors =
            |entry: &EmbedderEntry| ["vectors", "begun"].iter().any(|end| name == segment.beside(entry, end));
        name == segment.name || self.embedder.as_ref().is_some_and(of_vectors)
    }

    /// Whether every passage has a vector by a model.
    pub(super) fn is_embedded(&self, folder: &Path, entry: &EmbedderEntry) -> bool {
        self.embedder.as_ref() == Some(entry)
            && self.segments.iter().all(|segment| segment.has_vectors(folder, entry))
    }

    /// Takes files out by their names, and says how many there were.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&str) -> bool) -> usize {
        let files = self.segments.iter_mut().flat_map(|segment| &mut segment.files);
        let gone = files.filter(|file| !file.gone && is_gone(&file.path));
        gone.map(|file| file.gone = true).count()
    }

    /// Notes how files look now whose text is what it was.
    pub(super) fn replace(&mut self, same: &[FileEntry]) {
        let same: HashMap<&str, &FileEntry> = same.iter().map(|file| (file.path.as_str(), file)).collect();
        for file in self.segments.iter_mut().flat_map(|segment| &mut segment.files) {
            if let Some(now) = same.get(file.path.as_str()).filter(|_| !file.gone) {
                *file = (*now).clone();
            }
        }
    }

    /// Where each file that is still there is: its segment, and its place in it.
    pub(super) fn places(&self) -> HashMap<&str, (usize, usize)> {
        let mut places = HashMap::new();
        for (number, segment) in self.segments.iter().enumerate() {
            let alive = segment.files.iter().enumerate().filter(|(_, file)| !file.gone);
            places.extend(alive.map(|(at, file)| (file.path.as_str(), (number, at))));
        }
        places
    }
}

impl SegmentEntry {
    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(&self.name)
    }

    /// The name of a file with vectors of its passages.
    fn beside(&self, entry: &EmbedderEntry, end: &str) -> String {
        let stem = self.name.strip_suffix(".words").unwrap_or(&self.name);
        format!("{stem}.{}.{end}", entry.key())
    }

    /// Where the vectors of its passages are.
    pub(super) fn vectors(&self, folder: &Path, entry: &EmbedderEntry) -> PathBuf {
        folder.join(self.beside(entry, "vectors"))
    }

    /// Where they are while they are made.
    pub(super) fn begun(&self, folder: &Path, entry: &EmbedderEntry) -> PathBuf {
        folder.join(self.beside(entry, "begun"))
    }

    pub(super) fn has_vectors(&self, folder: &Path, entry: &EmbedderEntry) -> bool {
        self.vectors(folder, entry).is_file()
    }

    pub(super) fn open(&self, folder: &Path) -> Result<Alive> {
        let path = self.path(folder);
        let segment = Segment::open(&path)?;
        let gone: Vec<bool> = self.files.iter().map(|file| file.gone).collect();
        // The file of every text has to be one of these.
        let known = (0..segment.texts()).all(|text| (segment.text(text).0.file as usize) < gone.len());
        if known { Ok(Alive::new(segment, gone)) } else { Err(Error::Damaged { path }) }
    }
}
