//! Which files may be read: those below some folders, links followed to where they lead.

use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use super::error::{Error, Result};

/// Folders below which files may be read.
#[derive(Debug, Clone)]
pub struct Roots(Vec<PathBuf>);

/// Files that are looked through at most where nobody names any.
const MOST_FILES: usize = 5000;

/// What was found below the roots.
pub struct Found {
    /// Their real places, in order.
    pub files: Vec<PathBuf>,
    /// Whether there are more.
    pub more: bool,
}

impl Roots {
    /// Takes folders to their real places.
    pub fn new(folders: &[PathBuf]) -> Result<Self> {
        let real = |path: &PathBuf| {
            let bad = |source| Error::BadRoot { path: path.clone(), source };
            let real = path.canonicalize().map_err(bad)?;
            std::fs::read_dir(&real).map_err(bad)?;
            Ok(real)
        };
        Ok(Self(folders.iter().map(real).collect::<Result<_>>()?))
    }

    /// The folders.
    pub fn folders(&self) -> &[PathBuf] {
        &self.0
    }

    /// The real place of a file, if it may be read, or why it may not. A relative name is looked for below each root.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, String> {
        let asked = path.strip_prefix("file://").unwrap_or(path);
        let candidates: Vec<PathBuf> = match Path::new(asked).is_absolute() {
            true => vec![PathBuf::from(asked)],
            false => self.0.iter().map(|root| root.join(asked)).collect(),
        };
        let real = candidates.iter().find_map(|candidate| candidate.canonicalize().ok());
        // What lies outside is called missing, too: nobody learns what else is on the machine.
        let real = real.filter(|real| self.0.iter().any(|root| real.starts_with(root)));
        let real = real.ok_or_else(|| format!("there is no file {path} below the roots"))?;
        if real.is_file() {
            Ok(real)
        } else {
            Err(format!("{path} is a folder, or nothing that can be read as text"))
        }
    }

    /// All files below the roots, hidden ones and those that `.gitignore` names aside. Links are not followed.
    pub fn files(&self) -> Found {
        let mut found = Found { files: Vec::new(), more: false };
        for root in &self.0 {
            let walk = WalkBuilder::new(root).require_git(false).sort_by_file_path(|a, b| a.cmp(b)).build();
            for entry in walk.flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file())) {
                if found.files.len() == MOST_FILES {
                    found.more = true;
                    return found;
                }
                found.files.push(entry.into_path());
            }
        }
        found.files.dedup();
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

/// The address of a file.
pub fn uri(path: &Path) -> String {
    let mut uri = String::from("file://");
    let text = path.to_string_lossy().replace('\\', "/");
    if !text.starts_with('/') {
        uri.push('/');
    }
    for byte in text.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b':' => uri.push(byte.into()),
            byte if byte.is_ascii_alphanumeric() => uri.push(byte.into()),
            byte => uri += &format!("%{byte:02X}"),
        }
    }
    uri
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
}
