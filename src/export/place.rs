//! A set of files that appears whole or not at all.
//!
//! Everything is written into a hidden folder on the same disk. When it is complete, the files are renamed to their places; if that
//! fails halfway, those that had their place already go back, and what they replaced returns.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::error::{Error, Result};
use crate::checkpoint::Error as CheckpointError;
use crate::fs::Error as FsError;

/// Bytes that are compared at a time.
const BLOCK: usize = 1 << 16;

/// Files on their way to a folder.
pub(super) struct FileSet {
    /// Where they go.
    folder: PathBuf,
    /// Where they are made.
    hidden: tempfile::TempDir,
    names: Vec<String>,
}

/// A file that is written from front to back.
pub(super) struct Output {
    file: BufWriter<File>,
    /// How messages call it: by its place, not by where it is made.
    path: PathBuf,
    written: u64,
}

impl Output {
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|source| refused(&self.path, source))?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// An error about this file.
    pub(super) fn refused(&self, source: io::Error) -> Error {
        refused(&self.path, source)
    }

    /// Bytes so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Fills with zeros to a multiple of so many bytes.
    pub(super) fn align(&mut self, to: u64) -> Result<()> {
        let missing = self.written.next_multiple_of(to) - self.written;
        self.put(&vec![0; missing as usize])
    }
}

fn refused(path: &Path, source: io::Error) -> Error {
    FsError::Write { path: path.to_owned(), source }.into()
}

impl FileSet {
    /// Begins a set of files for a folder, which need not exist.
    pub(super) fn begin(folder: &Path) -> Result<Self> {
        let missing = |place: &&Path| !place.as_os_str().is_empty() && !place.exists();
        let beside = folder.ancestors().find(|place| !missing(place)).unwrap_or(Path::new("."));
        let beside = if beside.as_os_str().is_empty() { Path::new(".") } else { beside };
        let hidden = tempfile::Builder::new().prefix(".spanqa-").tempdir_in(beside);
        let hidden = hidden.map_err(|source| refused(folder, unnamed(source)))?;
        Ok(Self { folder: folder.to_owned(), hidden, names: Vec::new() })
    }

    /// Refuses a file that is in the way before the work is done. [`place`](Self::place) looks again, and closer.
    pub(super) fn refuse_early(&self, name: &str, force: bool) -> Result<()> {
        let path = self.place_of(name);
        if force || path.symlink_metadata().is_err() { Ok(()) } else { Err(Error::Exists { path }) }
    }

    /// Where a file will be.
    fn place_of(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where a file is until then.
    fn path_of(&self, name: &str) -> PathBuf {
        self.hidden.path().join(name)
    }

    /// Adds a file that `fill` writes.
    pub(super) fn add(&mut self, name: &str, fill: impl FnOnce(&mut Output) -> Result<()>) -> Result<()> {
        let path = self.place_of(name);
        let file = self.prepare(name).and_then(File::create_new).map_err(|source| refused(&path, source))?;
        let mut output = Output { file: BufWriter::with_capacity(1 << 20, file), path, written: 0 };
        fill(&mut output)?;
        let Output { file, path, .. } = output;
        let synced =
            file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all());
        synced.map_err(|source| refused(&path, source))?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Adds a file that is here already.
    pub(super) fn add_bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.add(name, |output| output.put(bytes))
    }

    /// Adds a file that `make` puts where it is told to.
    pub(super) fn add_made(&mut self, name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let path = self.prepare(name).map_err(|source| refused(&self.place_of(name), source))?;
        make(&path).map_err(|error| match error {
            Error::Checkpoint(CheckpointError::Fs(FsError::Write { source, .. })) => {
                refused(&self.place_of(name), source)
            }
            error => error,
        })?;
        self.names.push(name.to_owned());
        Ok(())
    }

    /// Makes the folders that a file lies in.
    fn prepare(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path_of(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(path)
    }

    /// Puts all files in their places and says how large they are. Files that are in the way are replaced with `force`, else refused;
    /// one with the same content is not in the way.
    pub(super) fn place(self, force: bool) -> Result<Vec<(String, u64)>> {
        let mut sizes = Vec::with_capacity(self.names.len());
        for name in &self.names {
            let (new, path) = (self.path_of(name), self.place_of(name));
            let size = new.metadata().map_err(|source| refused(&path, source))?.len();
            sizes.push((name.clone(), size));
            if !force && path.symlink_metadata().is_ok() && !same(&new, &path).unwrap_or(false) {
                return Err(Error::Exists { path });
            }
        }
        let mut moves = Moves::default();
        for (number, name) in self.names.iter().enumerate() {
            let (new, path) = (self.path_of(name), self.place_of(name));
            let old = self.hidden.path().join(format!(".old-{number}"));
            moves.place(&new, &path, &old).map_err(|source| refused(&path, source))?;
        }
        moves.done();
        Ok(sizes)
    }
}

/// An error of `tempfile` without the name of the hidden folder, which nobody has to know.
fn unnamed(error: io::Error) -> io::Error {
    let text = error.to_string();
    io::Error::new(error.kind(), text.split(" at path ").next().unwrap_or_default())
}

fn same(one: &Path, two: &Path) -> io::Result<bool> {
    let (mut one, mut two) = (File::open(one)?, File::open(two)?);
    let mut left = one.metadata()?.len();
    if !two.metadata()?.is_file() || two.metadata()?.len() != left {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; BLOCK], vec![0; BLOCK]);
    while left > 0 {
        let length = BLOCK.min(left as usize);
        one.read_exact(&mut ours[..length])?;
        two.read_exact(&mut theirs[..length])?;
        if ours[..length] != theirs[..length] {
            return Ok(false);
        }
        left -= length as u64;
    }
    Ok(true)
}

/// What was moved so far. It goes back unless all of it is done.
#[derive(Default)]
struct Moves {
    folders: Vec<PathBuf>,
    /// The place, and where what stood there has gone.
    files: Vec<(PathBuf, Option<PathBuf>)>,
}

impl Moves {
    fn place(&mut self, new: &Path, path: &Path, old: &Path) -> io::Result<()> {
        self.make_folders(path.parent())?;
        let before = match path.symlink_metadata() {
            Ok(found) if found.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(_) => {
                if let Ok(found) = path.metadata() {
                    fs::set_permissions(new, found.permissions())?;
                }
                fs::rename(path, old)?;
                Some(old.to_owned())
            }
            Err(_) => None,
        };
        self.files.push((path.to_owned(), before));
        fs::rename(new, path)
    }

    fn make_folders(&mut self, folder: Option<&Path>) -> io::Result<()> {
        let Some(folder) = folder.filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) else {
            return Ok(());
        };
        self.make_folders(folder.parent())?;
        fs::create_dir(folder)?;
        self.folders.push(folder.to_owned());
        Ok(())
    }

    fn done(mut self) {
        self.folders.clear();
        self.files.clear();
    }
}

impl Drop for Moves {
    fn drop(&mut self) {
        // Nobody is left to tell what cannot be undone.
        for (path, before) in self.files.drain(..).rev() {
            let _ = match before {
                Some(old) => fs::rename(old, path),
                None => fs::remove_file(path),
            };
        }
        for folder in self.folders.drain(..).rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        let mut names: Vec<OsString> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    fn set(folder: &Path, files: &[(&str, &str)]) -> FileSet {
        let mut set = FileSet::begin(folder).unwrap();
        for (name, content) in files {
            set.add_bytes(name, content.as_bytes()).unwrap();
        }
        set
    }

    #[test]
    fn files_appear_together_in_folders_that_are_made() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let set = set(&folder, &[("one", "1"), ("c/two", "22")]);
        assert!(!folder.exists());
        assert_eq!(set.place(false).unwrap(), [("one".to_owned(), 1), ("c/two".to_owned(), 2)]);
        assert_eq!(names(&folder), ["c", "one"]);
        assert_eq!(fs::read(folder.join("c/two")).unwrap(), b"22");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn what_is_in_the_way_stays_unless_forced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), "mine").unwrap();
        fs::write(dir.path().join("two"), "2").unwrap();
        let refused = set(dir.path(), &[("new", ""), ("two", "2"), ("one", "1")]).place(false).unwrap_err();
        assert!(matches!(&refused, Error::Exists { path } if path.ends_with("one")), "{refused}");
        assert_eq!(names(dir.path()), ["one", "two"]);
        // The same content is not in the way.
        set(dir.path(), &[("two", "2"), ("three", "3")]).place(false).unwrap();
        set(dir.path(), &[("one", "1")]).place(true).unwrap();
        assert_eq!(fs::read(dir.path().join("one")).unwrap(), b"1");
        assert_eq!(names(dir.path()), ["one", "three", "two"]);
    }

    #[test]
    fn a_place_that_cannot_be_had_brings_everything_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("one"), "mine").unwrap();
        fs::create_dir(dir.path().join("three")).unwrap();
        let failed = set(dir.path(), &[("one", "1"), ("new/two", "2"), ("three", "3")]).place(true);
        assert!(matches!(failed, Err(Error::Fs(_))));
        assert_eq!(fs::read(dir.path().join("one")).unwrap(), b"mine");
        assert_eq!(names(dir.path()), ["one", "three"]);
    }

    #[test]
    fn what_fails_on_the_way_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut set = set(&dir.path().join("out"), &[("one", "1")]);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(set.add("two", |output| Err(refused(&output.path, full))).is_err());
        drop(set);
        assert!(names(dir.path()).is_empty());
    }

    #[test]
    fn outputs_are_aligned() {
        let dir = tempfile::tempdir().unwrap();
        let mut set = FileSet::begin(dir.path()).unwrap();
        set.add("one", |output| {
            output.put(b"abc")?;
            output.align(8)?;
            output.align(8)?;
            assert_eq!(output.written(), 8);
            output.put(b"d")
        })
        .unwrap();
        set.place(false).unwrap();
        assert_eq!(fs::read(dir.path().join("one")).unwrap(), b"abc\0\0\0\0\0d");
    }
}
