//! Which files may be read: those below some folders, links followed to where they lead.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::error::{Error, Result};
use crate::fs;

/// Folders below which files may be read.
#[derive(Debug, Clone)]
pub struct Roots(Vec<PathBuf>);

/// Files that are looked through at most where nobody names any.
const MOST_FILES: usize = 5000;

/// The files below the roots.
pub struct Listing {
    /// Their real places, in order.
    pub files: Vec<PathBuf>,
    /// Whether there are more.
    pub more: bool,
}

impl Roots {
    /// Takes folders to their real places. One that is below another is a part of it, unless it is hidden there: nothing is read twice.
    pub fn new(folders: &[PathBuf]) -> Result<Self> {
        let real = |path: &PathBuf| {
            let bad = |source| Error::BadRoot { path: path.clone(), source };
            let real = fs::real(path).map_err(bad)?;
            std::fs::read_dir(&real).map_err(bad)?;
            Ok(real)
        };
        let mut roots: Vec<PathBuf> = folders.iter().map(real).collect::<Result<_>>()?;
        let mut known = HashSet::new();
        roots.retain(|root| known.insert(root.clone()));
        let is_part = |inner: &PathBuf| roots.iter().any(|outer| inner != outer && reaches(outer, inner));
        Ok(Self(roots.iter().filter(|root| !is_part(root)).cloned().collect()))
    }

    /// Where they really are.
    pub fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// The real place of a file, if it may be read, or why it may not. A relative name is looked for below each root; a `file://` address is
    /// taken as `uri` writes it.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let asked = match path.strip_prefix("file://") {
            Some(address) => of_address(address),
            None => path.into(),
        };
        let candidates: Vec<PathBuf> = match asked.is_absolute() {
            true => vec![asked],
            false => self.0.iter().map(|root| root.join(&asked)).collect(),
        };
        // What lies outside is passed over as if it were missing: nobody learns what else is on the machine.
        let inside = |real: &PathBuf| self.0.iter().any(|root| real.starts_with(root));
        let real = candidates.iter().filter_map(|path| fs::real(path).ok()).filter(inside);
        let (files, others): (Vec<_>, Vec<_>) = real.partition(|real| real.is_file());
        match (files.into_iter().next(), others.as_slice()) {
            (Some(file), _) => Ok(file),
            (None, []) => Err(format!("there is no file {path} below the roots")),
            (None, _) => Err(format!("{path} is a folder, or nothing that can be read as text")),
        }
    }

    /// All files below the roots, hidden ones and those that `.gitignore` names aside. Links are not followed.
    pub fn files(&self) -> Listing {
        let mut found = Listing { files: Vec::new(), more: false };
        for root in &self.0 {
            let walk = walk(root).sort_by_file_path(|a, b| a.cmp(b)).build();
            for entry in walk.flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file())) {
                if found.files.len() == MOST_FILES {
                    found.more = true;
                    return found;
                }
                found.files.push(entry.into_path());
            }
        }
        found
    }

    /// A file as it is called below its root; with several roots by its whole name.
    pub fn short<'a>(&self, path: &'a Path) -> &'a Path {
        match self.0.as_slice() {
            [only] => path.strip_prefix(only).unwrap_or(path),
            _ => path,
        }
    }
}

fn walk(root: &Path) -> WalkBuilder {
    let mut walk = WalkBuilder::new(root);
    walk.require_git(false);
    walk
}

/// Whether the files of one folder are among those of another.
fn reaches(outer: &Path, inner: &Path) -> bool {
    let on_the_way = inner.to_owned();
    let mut walk = walk(outer);
    walk.filter_entry(move |entry| on_the_way.starts_with(entry.path()));
    inner.starts_with(outer) && walk.build().flatten().any(|entry| entry.path() == inner)
}

/// The address of a file.
pub fn uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    let bytes = path.as_os_str().as_encoded_bytes();
    if !bytes.starts_with(b"/") {
        uri.push('/');
    }
    for &byte in bytes {
        match byte {
            b'\\' if cfg!(windows) => uri.push('/'),
            b'/' | b'-' | b'.' | b'_' | b'~' | b':' => uri.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            byte => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

/// The file that an address names, without its `file://`. A percent sign that no two hexadecimal digits follow is one.
fn of_address(address: &str) -> PathBuf {
    let address = address.strip_prefix("localhost").unwrap_or(address).as_bytes();
    let (mut name, mut at) = (Vec::with_capacity(address.len()), 0);
    while let Some(&byte) = address.get(at) {
        let digit =
            |at: usize| char::from(*address.get(at)?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                name.push(16 * high + low);
                at += 3;
            }
            _ => {
                name.push(byte);
                at += 1;
            }
        }
    }
    named(&name)
}

#[cfg(unix)]
fn named(name: &[u8]) -> PathBuf {
    let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(name);
    name.into()
}

/// `/C:/folder` is `C:/folder`.
#[cfg(not(unix))]
fn named(name: &[u8]) -> PathBuf {
    let name = String::from_utf8_lossy(name);
    match name.strip_prefix('/') {
        Some(rest) if rest.as_bytes().get(1) == Some(&b':') => rest.into(),
        _ => name.into_owned().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_read() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(inside.path().join("a b.txt"), "a").unwrap();
        std::fs::write(outside.path().join("secret.txt"), "s").unwrap();
        std::fs::create_dir(inside.path().join("folder")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path().join("secret.txt"), inside.path().join("link.txt"))
            .unwrap();
        let roots = Roots::new(&[inside.path().to_owned()]).unwrap();
        let whole = inside.path().join("a b.txt").display().to_string();
        for named in ["a b.txt", "./folder/../a b.txt", &whole, &format!("file://{whole}")] {
            assert!(roots.resolve(named).unwrap().ends_with("a b.txt"), "{named}");
        }
        let secret = outside.path().join("secret.txt").display().to_string();
        for named in ["link.txt", "folder", "../secret.txt", "nothing", "/etc/hostname", &secret, ""] {
            assert!(roots.resolve(named).is_err(), "{named}");
        }
        let found = roots.files();
        assert_eq!(found.files.len(), 1);
        assert_eq!(roots.short(&found.files[0]), Path::new("a b.txt"));
        assert!(uri(&found.files[0]).ends_with("/a%20b.txt") && uri(&found.files[0]).starts_with("file:///"));
        assert!(Roots::new(&[inside.path().join("a b.txt")]).is_err());
    }

    fn names(roots: &Roots) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().unwrap().display().to_string();
        roots.files().files.iter().map(name).collect()
    }

    #[test]
    fn addresses_lead_back_to_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let roots = Roots::new(&[folder.path().to_owned()]).unwrap();
        for name in ["light house.txt", "100%.txt", "50%25.txt", "größer.txt", "a+b#c?.txt"] {
            let path = roots.folders()[0].join(name);
            std::fs::write(&path, "a").unwrap();
            let address = uri(&path);
            assert!(address.is_ascii() && !address.contains([' ', '#', '?', '+']), "{address}");
            for address in [address.replace("file://", "file://localhost"), address] {
                assert_eq!(roots.resolve(&address), Ok(path.clone()), "{address}");
            }
        }
        assert!(roots.resolve("file:///etc%2Fhostname").is_err());
        let escape = uri(&roots.folders()[0]) + "/%2e%2e/%2e%2e/etc/hostname";
        assert!(roots.resolve(&escape).is_err());
    }

    #[test]
    fn roots_below_roots_are_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let outer = folder.path().to_owned();
        let (inner, hidden) = (outer.join("inner"), outer.join(".hidden"));
        for folder in [&inner, &hidden] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(inner.join("green.txt"), "a").unwrap();
        std::fs::write(hidden.join("secret.txt"), "a").unwrap();
        for given in [[&inner, &outer, &outer], [&outer, &inner, &inner]] {
            let roots = Roots::new(&given.map(PathBuf::clone)).unwrap();
            assert_eq!((names(&roots), roots.folders().len()), (vec!["green.txt".to_owned()], 1));
        }
        // What the outer one passes over is still read where somebody names it.
        let roots = Roots::new(&[outer, hidden]).unwrap();
        assert_eq!(names(&roots), ["green.txt", "secret.txt"]);
    }

    #[test]
    fn what_is_no_file_below_one_root_hides_none_below_another() {
        let (first, second, outside) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(first.path().join("notes")).unwrap();
        std::fs::write(outside.path().join("link"), "s").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink(outside.path().join("link"), first.path().join("link")).unwrap();
        let roots = Roots::new(&[first.path().to_owned(), second.path().to_owned()]).unwrap();
        assert!(roots.resolve("notes").unwrap_err().contains("is a folder"));
        for name in ["notes", "link"] {
            std::fs::write(second.path().join(name), "a").unwrap();
            assert_eq!(roots.resolve(name), Ok(roots.folders()[1].join(name)));
        }
    }
}
