//! Reads what is new or has changed, and forgets what is gone.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::corpus;
use super::error::{Error, Result};
use super::home::{LOCK, Root, short_hex};
use super::manifest::{EmbedderEntry, FileEntry, Manifest, Stat};
use super::search::Index;
use super::segment::{Alive, TextPlace};
use super::vectors::{self, Vectors};
use super::write::{Builder, merged};
use crate::document::{self, Text};
use crate::fs;

/// Bytes of files that become segments together, before the manifest says so: what an interruption can cost.
const TOGETHER: u64 = 16 << 20;
/// The same in files.
const FILES_TOGETHER: usize = 2048;
/// Segments that an index has when nobody writes.
const MOST_SEGMENTS: usize = 8;
/// How many are left when there were too many: so that not every small change merges them again.
const LEFT_SEGMENTS: usize = 4;

/// What is to be in an index.
pub struct Refresh<'a> {
    /// What is indexed.
    pub root: &'a Root,
    /// The files below a folder; nothing for a corpus.
    pub files: &'a [PathBuf],
    /// Makes text of a file.
    pub read: &'a (dyn Fn(&Path) -> document::Result<Text> + Sync),
}

/// What happens meanwhile.
#[derive(Debug)]
pub enum Progress<'a> {
    /// Somebody else writes; it goes on when that is done.
    Waiting,
    /// So many bytes of those that have to be read have been read.
    Read {
        /// Done.
        bytes: u64,
        /// To do.
        total: u64,
    },
    /// So many of the passages that need a vector have one.
    Embedded {
        /// Done.
        passages: usize,
        /// To do.
        total: usize,
    },
    /// A file or a line that has no text.
    Skipped(&'a Error),
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Refreshed {
    /// Files or lines whose text was read and put into the index.
    pub read: usize,
    /// Bytes of these.
    pub bytes: u64,
    /// Files that were in the index and are not there any more.
    pub forgotten: usize,
    /// Whether it was broken off; what had been done by then is in the index.
    pub stopped: bool,
}

/// Hears what happens, and breaks off.
pub(super) type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// A file that is not in the index as it is now.
struct Todo<'a> {
    path: &'a Path,
    name: String,
    stat: Stat,
    /// The hash of its text in the index.
    old: Option<String>,
}

/// What became of some files.
struct Made {
    builder: Builder,
    files: Vec<FileEntry>,
    /// Those whose text is the one that is in the index.
    same: Vec<FileEntry>,
    skipped: Vec<(FileEntry, Error)>,
}

impl Refresh<'_> {
    /// Brings the index in a folder up to date. If nothing has changed, nothing is written and nobody is waited for.
    pub fn run(&self, folder: &Path, watch: Watch) -> Result<Refreshed> {
        match self.current(folder)? {
            Some(_) => Ok(Refreshed::default()),
            None => self.renew(folder, watch),
        }
    }

    /// Opens the index in a folder, brought up to date like this.
    pub fn open(&self, folder: &Path, watch: Watch) -> Result<Option<Index>> {
        match self.current(folder)? {
            Some(index) => Ok(Some(index)),
            None => {
                self.renew(folder, watch)?;
                Index::open(folder, self.root)
            }
        }
    }

    fn renew(&self, folder: &Path, watch: Watch) -> Result<Refreshed> {
        let _lock = lock(folder, watch)?;
        // Whoever was waited for may have done it.
        if self.current(folder)?.is_some() {
            return Ok(Refreshed::default());
        }
        let mut manifest = Manifest::load_or_new(folder, self.root.path())?;
        // What a damaged one held is read again.
        manifest.segments.retain(|segment| segment.open(folder).is_ok());
        manifest.tidy(folder);
        let refreshed = match self.root {
            Root::Folder(_) => self.files(folder, &mut manifest, watch)?,
            Root::Corpus(path) => self.corpus(path, folder, &mut manifest, watch)?,
        };
        if !refreshed.stopped {
            merge(folder, &mut manifest)?;
        }
        Ok(refreshed)
    }

    /// The name of a file in the index.
    fn name(&self, path: &Path) -> String {
        path.strip_prefix(self.root.path()).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// The index in a folder, if every file is in it as it looks now, and no other.
    fn current(&self, folder: &Path) -> Result<Option<Index>> {
        let Some(manifest) = Manifest::load(folder)? else { return Ok(None) };
        // A damaged one is not what it should be.
        Ok(self.is_current(&manifest).then(|| Index::of(folder, self.root, &manifest).ok()).flatten())
    }

    fn is_current(&self, manifest: &Manifest) -> bool {
        let places = manifest.places();
        let corpus = [self.root.path().to_owned()];
        let files = match self.root {
            Root::Folder(_) => self.files,
            Root::Corpus(_) => &corpus,
        };
        let skipped: HashMap<&str, &FileEntry> =
            manifest.skipped.iter().map(|file| (file.path.as_str(), file)).collect();
        let is_known = |path: &PathBuf| {
            let name = self.name(path);
            let known = match places.get(name.as_str()) {
                Some(&(segment, file)) => Some(&manifest.segments[segment].files[file]),
                None => skipped.get(name.as_str()).copied(),
            };
            known.is_some_and(|known| !known.fresh && Stat::at(path).is_ok_and(|stat| stat == known.stat))
        };
        files.len() == places.len() + skipped.len() && files.par_iter().all(is_known)
    }

    fn files(&self, folder: &Path, manifest: &mut Manifest, watch: Watch) -> Result<Refreshed> {
        let mut refreshed = Refreshed { forgotten: self.forget(folder, manifest)?, ..Refreshed::default() };
        let places = manifest.places();
        let skipped: HashMap<&str, &FileEntry> =
            manifest.skipped.iter().map(|file| (file.path.as_str(), file)).collect();
        let mut todo: Vec<Todo> = Vec::new();
        for path in self.files {
            // What is gone by now is not there the next time either.
            let Ok(stat) = Stat::at(path) else { continue };
            let name = self.name(path);
            let known =
                places.get(name.as_str()).map(|&(segment, file)| &manifest.segments[segment].files[file]);
            let skipped = || skipped.get(name.as_str()).copied();
            if !known.or_else(skipped).is_some_and(|known| known.stat == stat && !known.fresh) {
                todo.push(Todo { path, name, stat, old: known.map(|known| known.hash.clone()) });
            }
        }
        let total = todo.iter().map(|file| file.stat.size()).sum();
        let mut rest = todo.as_slice();
        while !rest.is_empty() {
            if watch(Progress::Read { bytes: refreshed.bytes, total }).is_break() {
                refreshed.stopped = true;
                break;
            }
            let (now, later) = rest.split_at(together(rest, TOGETHER, FILES_TOGETHER));
            rest = later;
            refreshed.bytes += now.iter().map(|file| file.stat.size()).sum::<u64>();
            let groups = shared_out(now, rayon::current_num_threads());
            let made: Vec<Result<Made>> = groups.into_par_iter().map(|group| self.make(group)).collect();
            // Old entries go before new ones come.
            let names: HashSet<&str> = now.iter().map(|file| file.name.as_str()).collect();
            let skipped_before = manifest.skipped.len();
            manifest.skipped.retain(|skipped| !names.contains(skipped.path.as_str()));
            // A file that still cannot be read is no change.
            let mut has_changed = manifest.skipped.len() < skipped_before;
            for made in made {
                let Made { builder, files, same, skipped } = made?;
                refreshed.read += files.len();
                manifest.replace(&same);
                let changed = files.iter().chain(skipped.iter().map(|(file, _)| file));
                let changed: HashSet<&str> = changed.map(|file| file.path.as_str()).collect();
                let forgotten = manifest.forget(|name| changed.contains(name));
                has_changed |= forgotten > 0 || !same.is_empty() || !files.is_empty();
                if !files.is_empty() {
                    manifest.add(folder, &builder.bytes(), files, None)?;
                }
                for (file, error) in skipped {
                    let _ = watch(Progress::Skipped(&error));
                    if is_lasting(&error) {
                        manifest.skipped.push(file);
                        has_changed = true;
                    }
                }
            }
            if has_changed {
                manifest.save(folder)?;
            }
        }
        // An index of nothing is an index, too.
        if Manifest::load(folder)?.is_none() {
            manifest.save(folder)?;
        }
        Ok(refreshed)
    }

    /// Takes files out of the index that are not there any more.
    fn forget(&self, folder: &Path, manifest: &mut Manifest) -> Result<usize> {
        let names: HashSet<String> = self.files.iter().map(|path| self.name(path)).collect();
        let skipped = manifest.skipped.len();
        manifest.skipped.retain(|file| names.contains(&file.path));
        let forgotten = manifest.forget(|name| !names.contains(name));
        if forgotten > 0 || skipped > manifest.skipped.len() {
            manifest.save(folder)?;
        }
        Ok(forgotten)
    }

    /// Reads some files and cuts them.
    fn make(&self, files: &[Todo]) -> Result<Made> {
        let mut made =
            Made { builder: Builder::default(), files: Vec::new(), same: Vec::new(), skipped: Vec::new() };
        for file in files {
            let mut entry = FileEntry {
                path: file.name.clone(),
                stat: file.stat,
                hash: String::new(),
                fresh: file.stat.is_fresh(),
                gone: false,
            };
            let text = match (self.read)(file.path) {
                Ok(text) => text.text,
                // It will fail for every other file, too.
                Err(error @ document::Error::NoCommand { .. }) => return Err(error.into()),
                Err(error) => {
                    made.skipped.push((entry, error.into()));
                    continue;
                }
            };
            entry.hash = short_hex(&Sha256::digest(&text));
            if file.old.as_ref() == Some(&entry.hash) {
                made.same.push(entry);
                continue;
            }
            let place = TextPlace { file: made.files.len() as u32, start: 0, length: file.stat.size() };
            match made.builder.add(place, &text, &words_of_path(&file.name)) {
                Ok(()) => made.files.push(entry),
                Err(error) => made.skipped.push((entry, error)),
            }
        }
        Ok(made)
    }

    /// Reads the lines of a corpus, all of them: they are one file.
    fn corpus(&self, path: &Path, folder: &Path, manifest: &mut Manifest, watch: Watch) -> Result<Refreshed> {
        let stat = Stat::at(path)?;
        let fresh = stat.is_fresh();
        let map = fs::map(path)?;
        corpus::refuse_packed(path, &map)?;
        let mut refreshed = Refreshed::default();
        manifest.forget(|_| true);
        let entry = FileEntry { path: String::new(), stat, hash: String::new(), fresh, gone: false };
        let pieces = corpus::pieces(&map, TOGETHER as usize);
        for several in pieces.chunks(rayon::current_num_threads().max(1)) {
            if watch(Progress::Read { bytes: refreshed.bytes, total: stat.size() }).is_break() {
                refreshed.stopped = true;
                return Ok(refreshed);
            }
            let made: Vec<_> = several.par_iter().map(|piece| lines(path, &map, piece)).collect();
            for ((builder, skipped), (_, bytes)) in made.into_iter().zip(several) {
                refreshed.bytes += bytes.len() as u64;
                refreshed.read += builder.texts();
                for error in &skipped {
                    let _ = watch(Progress::Skipped(error));
                }
                manifest.add(folder, &builder.bytes(), vec![entry.clone()], None)?;
            }
        }
        // An empty corpus has been read, too.
        if pieces.is_empty() {
            manifest.add(folder, &Builder::default().bytes(), vec![entry], None)?;
        }
        manifest.save(folder)?;
        Ok(refreshed)
    }
}

/// The texts of some lines, and what is wrong with the others.
fn lines(path: &Path, bytes: &[u8], (first, range): &(usize, Range<usize>)) -> (Builder, Vec<Error>) {
    let (mut builder, mut skipped) = (Builder::default(), Vec::new());
    let mut start = range.start;
    for (line, content) in bytes[range.clone()].split_inclusive(|&byte| byte == b'\n').enumerate() {
        let place = TextPlace { file: 0, start: start as u64, length: content.len() as u64 };
        start += content.len();
        let bad = |reason: String| Error::BadLine {
            path: path.display().to_string(),
            line: first + line + 1,
            reason,
        };
        let added = match corpus::entry(content) {
            None => Ok(()),
            Some(Err(reason)) => Err(bad(reason)),
            Some(Ok(entry)) => builder.add(place, &entry.text, entry.title.as_deref().unwrap_or_default()),
        };
        skipped.extend(added.err());
    }
    (builder, skipped)
}

/// The words of a path: `docs/tar.1.gz` is about tar.
fn words_of_path(path: &str) -> String {
    path.replace(['.', '-', '/', '\\'], " ")
}

/// Whether a file will have no text the next time either, if it looks the same.
fn is_lasting(error: &Error) -> bool {
    match error {
        Error::Document(error) => !matches!(
            error,
            document::Error::Fs(_)
                | document::Error::NoProgram { .. }
                | document::Error::ProgramFailed { .. }
        ),
        _ => true,
    }
}

/// How many of the first files are about so many bytes together; at least one.
fn together(files: &[Todo], bytes: u64, most: usize) -> usize {
    let mut sum = 0;
    let fit = files.iter().take(most).take_while(|file| {
        sum += file.stat.size();
        sum <= bytes
    });
    fit.count().max(1).min(files.len())
}

/// Files in groups of about as many bytes, in their order.
fn shared_out<'a, 'b>(mut files: &'b [Todo<'a>], groups: usize) -> Vec<&'b [Todo<'a>]> {
    let total: u64 = files.iter().map(|file| file.stat.size()).sum();
    let (share, most) = (total.div_ceil(groups.max(1) as u64), files.len().div_ceil(groups.max(1)));
    let mut shared = Vec::new();
    while !files.is_empty() {
        let (group, rest) = files.split_at(together(files, share, most));
        shared.push(group);
        files = rest;
    }
    shared
}

/// Makes one segment of the smallest ones if there are many, and writes segments anew of which most is gone.
fn merge(folder: &Path, manifest: &mut Manifest) -> Result<()> {
    let opened: Vec<Alive> =
        manifest.segments.iter().map(|segment| segment.open(folder)).collect::<Result<_>>()?;
    let left = |number: &usize| opened[*number].left();
    let mut chosen: Vec<usize> =
        (0..opened.len()).filter(|number| 2 * left(number) < opened[*number].segment.len()).collect();
    if opened.len() > MOST_SEGMENTS {
        let mut by_size: Vec<usize> = (0..opened.len()).collect();
        by_size.sort_by_key(left);
        by_size.truncate(opened.len() - LEFT_SEGMENTS + 1);
        chosen.extend(by_size);
        chosen.sort_unstable();
        chosen.dedup();
    }
    let vectors =
        manifest.embedder.clone().and_then(|entry| vectors_of(folder, manifest, &entry, &chosen, &opened));
    // Vectors are dear: what has them waits for the others to have them, too.
    let has_some = |entry: &EmbedderEntry| {
        chosen.iter().any(|&number| manifest.segments[number].has_vectors(folder, entry))
    };
    if chosen.is_empty() || vectors.is_none() && manifest.embedder.as_ref().is_some_and(has_some) {
        return Ok(());
    }
    let (mut files, mut numbers) = (Vec::new(), Vec::new());
    for &segment in &chosen {
        let new = manifest.segments[segment].files.iter().map(|file| {
            let number = files.len() as u32;
            if !file.gone {
                files.push(file.clone());
            }
            number
        });
        numbers.push(new.collect());
    }
    let segments: Vec<&Alive> = chosen.iter().map(|&number| &opened[number]).collect();
    let bytes = merged(&segments, &numbers);
    let mut number = 0;
    manifest.segments.retain(|_| {
        number += 1;
        !chosen.contains(&(number - 1))
    });
    if !files.is_empty() {
        manifest.add(folder, &bytes, files, vectors.as_deref())?;
    }
    manifest.save(folder)?;
    // Whoever is searching has them open, or finds the new manifest.
    manifest.tidy(folder);
    Ok(())
}

/// The vectors of the passages that are left of some segments, if all have them.
fn vectors_of(
    folder: &Path,
    manifest: &Manifest,
    entry: &EmbedderEntry,
    chosen: &[usize],
    opened: &[Alive],
) -> Option<Vec<u8>> {
    let vectors = chosen.iter().map(|&number| {
        let passages = opened[number].segment.len();
        Vectors::open(&manifest.segments[number].vectors(folder, entry), passages, entry.dimensions).ok()
    });
    let vectors: Vec<Vectors> = vectors.collect::<Option<_>>()?;
    let rows: Vec<&[u8]> = (chosen.iter().zip(&vectors))
        .flat_map(|(&number, vectors)| {
            let alive = &opened[number];
            (0..alive.segment.len()).filter(|&passage| alive.has(passage)).map(|passage| vectors.row(passage))
        })
        .collect();
    Some(vectors::bytes(entry.dimensions, rows.into_iter()))
}

/// Waits until nobody else writes.
pub(super) fn lock(folder: &Path, watch: Watch) -> Result<File> {
    std::fs::create_dir_all(folder).map_err(|source| fs::Error::Write { path: folder.to_owned(), source })?;
    let path = folder.join(LOCK);
    let mut locked = || {
        let file = File::options().write(true).create(true).truncate(false).open(&path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let _ = watch(Progress::Waiting);
                file.lock()?;
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(error),
        }
        Ok(file)
    };
    locked().map_err(|source| fs::Error::Write { path: path.clone(), source }.into())
}
