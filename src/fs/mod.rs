//! Files: written whole or not at all, and read only where there is an end to what they hold.
//!
//! A file is made beside its place and renamed into it, so nobody ever sees half of one, whatever kills the process. Its
//! permissions are those of the file that it replaces; a new one gets what the user's umask allows.

pub mod error;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use serde::Serialize;

pub use error::{Error, Result};

/// Writes a file whole or not at all.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_with(path, |place| OpenOptions::new().write(true).open(place)?.write_all(bytes))
}

/// The same for content that `make` puts into a file by its name. It may put another file in that place.
pub fn write_with(path: &Path, make: impl FnMut(&Path) -> io::Result<()>) -> Result<()> {
    place(path, make).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// Writes a value as indented JSON.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let mut bytes = serde_json::to_vec_pretty(value)
        .map_err(|error| Error::Write { path: path.to_owned(), source: error.into() })?;
    bytes.push(b'\n');
    write(path, &bytes)
}

/// Writes one JSON object a line.
pub fn write_lines(path: &Path, values: &[impl Serialize]) -> Result<()> {
    let mut bytes = Vec::new();
    for value in values {
        serde_json::to_writer(&mut bytes, value)
            .map_err(|error| Error::Write { path: path.to_owned(), source: error.into() })?;
        bytes.push(b'\n');
    }
    write(path, &bytes)
}

/// Copies a file with its permissions.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    replace(to, |temporary| fs::copy(from, temporary).map(drop))
        .map_err(|source| Error::Write { path: to.to_owned(), source })
}

fn place(path: &Path, mut make: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let (target, permissions) = match fs::metadata(path) {
        // A link stays a link: the file that it leads to is replaced.
        Ok(found) if found.is_file() => (fs::canonicalize(path)?, Some(found.permissions())),
        // Nothing can stand in for a device or a pipe.
        Ok(found) if !found.is_dir() => return make(path),
        _ => (path.to_owned(), None),
    };
    replace(&target, |temporary| {
        let fresh = File::create_new(temporary)?.metadata()?.permissions();
        make(temporary)?;
        let file = OpenOptions::new().write(true).open(temporary)?;
        file.set_permissions(permissions.clone().unwrap_or(fresh))?;
        file.sync_all()
    })
}

/// Makes something new beside `path` and renames it into place. What `make` leaves behind when it fails is removed.
pub(crate) fn replace(path: &Path, mut make: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let made = tempfile::Builder::new().prefix(".spanqa-").make_in(folder, |temporary| {
        make(temporary).inspect_err(|error| {
            // If it existed before, it is somebody else's, and another name is tried.
            if error.kind() != io::ErrorKind::AlreadyExists {
                let _ = fs::remove_file(temporary);
            }
        })
    })?;
    let mut temporary = made.into_temp_path();
    // Not `persist`: on Windows that cannot take the place of a file that somebody has open.
    fs::rename(&temporary, path)?;
    temporary.disable_cleanup(true);
    Ok(())
}

/// Drops what is behind so many bytes. That takes a handle of its own: on Windows one that appends may not.
pub(crate) fn cut(path: &Path, length: u64) -> io::Result<()> {
    OpenOptions::new().write(true).open(path)?.set_len(length)
}

/// Where a path leads, links included. On Windows that begins with `\\?\`, which is left out where it can be: nobody writes it.
pub fn real(path: &Path) -> io::Result<PathBuf> {
    let real = fs::canonicalize(path)?;
    let plain = if cfg!(windows) { real.to_str().and_then(without_prefix).map(PathBuf::from) } else { None };
    Ok(plain.unwrap_or(real))
}

/// A path of Windows as people write it, unless only the longer form can say it: what ends in a dot or a space, and what is called as a device.
fn without_prefix(path: &str) -> Option<&str> {
    let plain = path.strip_prefix(r"\\?\")?;
    let names = plain.strip_prefix(|letter: char| letter.is_ascii_alphabetic())?.strip_prefix(r":\")?;
    let is_device = |name: &str| {
        let name = name.split('.').next().unwrap_or_default().trim_end().to_uppercase();
        let port = name.strip_prefix("COM").or(name.strip_prefix("LPT"));
        ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"].contains(&name.as_str())
            || port.is_some_and(|number| number.chars().count() == 1)
    };
    names.split('\\').all(|name| !name.ends_with(['.', ' ']) && !is_device(name)).then_some(plain)
}

/// Gives a file that was filled under another name, over several runs perhaps, its own name.
pub fn complete(file: &File, under: &Path, path: &Path) -> io::Result<()> {
    if let Ok(replaced) = fs::metadata(path) {
        file.set_permissions(replaced.permissions())?;
    }
    // Without this a power cut could leave the name without the content.
    file.sync_all()?;
    fs::rename(under, path)
}

/// The content of a file of at most `limit` bytes. Folders, pipes and devices are refused before they are opened, because
/// opening one can wait for ever and reading one need not end.
pub fn read_regular(path: &Path, limit: u64) -> Result<Vec<u8>> {
    read_bounded(path, limit).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    let size = file.metadata()?.len();
    let too_large =
        || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {limit} bytes"));
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(size as usize);
    // Some files are larger than they say, and some grow while they are read.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
}

/// The content of a file without copying it: large files are read where they lie.
pub fn map(path: &Path) -> Result<Mmap> {
    let map = || {
        let file = open_regular(path)?;
        // SAFETY: the map is only read. Another process that truncates the file while we read it can
        // kill this process (SIGBUS), as with every program that maps its inputs; downloads and indexes are
        // renamed into place whole, so we never do that to ourselves.
        unsafe { Mmap::map(&file) }
    };
    map().map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Opens a file if it is a regular one.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let refuse = |kind: fs::FileType| {
        let what = if kind.is_dir() { "a folder" } else { "a pipe, a device or a socket" };
        io::Error::new(io::ErrorKind::InvalidInput, format!("it is {what}, not a regular file"))
    };
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() {
        return Err(refuse(kind));
    }
    let file = File::open(path)?;
    // It may have changed in between.
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(refuse(kind)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"one").unwrap();
        write(&path, b"two and more").unwrap();
        write(&path, b"3").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"3");
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn what_fails_leaves_the_old_file_and_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |place| {
            fs::write(place, "half")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.unwrap_err().to_string().contains("the disk is full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["a"]);
        let nowhere = dir.path().join("missing").join("a");
        assert!(matches!(write(&nowhere, b""), Err(Error::Write { path, .. }) if path == nowhere));
        assert!(matches!(write(dir.path(), b""), Err(Error::Write { .. })));
    }

    #[test]
    fn paths_of_windows_are_as_people_write_them() {
        for (real, plain) in [
            (r"\\?\C:\folder\a.txt", Some(r"C:\folder\a.txt")),
            (r"\\?\C:\", Some(r"C:\")),
            (r"\\?\C:\complete\lpt10", Some(r"C:\complete\lpt10")),
            (r"\\?\C:\folder\nul.txt", None),
            (r"\\?\C:\com1\a", None),
            (r"\\?\C:\dot.\a", None),
            (r"\\?\UNC\server\share", None),
            (r"C:\folder", None),
        ] {
            assert_eq!(without_prefix(real), plain, "{real}");
        }
    }

    #[test]
    fn what_is_cut_goes_on_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"12345").unwrap();
        cut(&path, 3).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"x").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"123x");
        assert!(cut(&dir.path().join("missing"), 0).is_err());
    }

    /// On Windows, too.
    #[test]
    fn a_file_that_somebody_reads_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path, b"old").unwrap();
        let mut reader = File::open(&path).unwrap();
        write(&path, b"new").unwrap();
        let mut seen = String::new();
        reader.read_to_string(&mut seen).unwrap();
        assert_eq!((seen.as_str(), fs::read(&path).unwrap().as_slice()), ("old", &b"new"[..]));
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn a_file_that_the_maker_replaces_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_with(&path, |place| {
            let other = dir.path().join("other");
            fs::write(&other, "new")?;
            fs::rename(other, place)
        })
        .unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[cfg(unix)]
    #[test]
    fn permissions_are_the_old_files_or_by_the_umask() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let (plain, path) = (dir.path().join("plain"), dir.path().join("a"));
        fs::write(&plain, "").unwrap();
        // A file of the maker's own, closed to others, as safetensors makes one.
        let closed = |place: &Path| {
            fs::write(place, "x")?;
            fs::set_permissions(place, fs::Permissions::from_mode(0o600))
        };
        write_with(&path, closed).unwrap();
        assert_eq!(mode(&path), mode(&plain), "as any new file");
        for kept in [0o640, 0o604, 0o400, 0o755] {
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            write_with(&path, closed).unwrap();
            assert_eq!(mode(&path), kept);
            write(&path, b"y").unwrap();
            assert_eq!(mode(&path), kept);
        }
    }

    #[cfg(unix)]
    #[test]
    fn copies_and_completed_files_keep_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let dir = tempfile::tempdir().unwrap();
        let (path, partial) = (dir.path().join("a"), dir.path().join("a.partial"));
        for kept in [0o644, 0o640, 0o600, 0o666] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(kept)).unwrap();
            copy(&path, &partial).unwrap();
            assert_eq!((fs::read(&partial).unwrap().as_slice(), mode(&partial)), (&b"old"[..], kept));
            fs::remove_file(&partial).unwrap();
            fs::write(&partial, "new").unwrap();
            complete(&File::open(&partial).unwrap(), &partial, &path).unwrap();
            assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"new"[..], kept));
        }
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_stays_a_link_and_a_device_stays_a_device() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink("target", &link).unwrap();
        write(&link, b"new").unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), Path::new("target"));
        assert_eq!(fs::read(&target).unwrap(), b"new");

        let null = dir.path().join("null");
        std::os::unix::fs::symlink("/dev/null", &null).unwrap();
        write(&null, b"nobody reads this").unwrap();
        assert!(!fs::metadata(&null).unwrap().is_file());
        assert_eq!(names(dir.path()), ["link", "null", "target"]);
    }

    #[test]
    fn only_regular_files_up_to_the_limit_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_regular(&path, 5).unwrap(), b"12345");
        assert_eq!(read_regular(&path, u64::MAX).unwrap(), b"12345");
        let error = read_regular(&path, 4).unwrap_err();
        assert!(error.to_string().contains("larger than 4 bytes"), "{error}");
        let error = read_regular(dir.path(), 5).unwrap_err();
        assert!(error.to_string().contains("it is a folder, not a regular file"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn what_has_no_end_is_refused_at_once() {
        let error = read_regular(Path::new("/dev/zero"), 5).unwrap_err();
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
}
