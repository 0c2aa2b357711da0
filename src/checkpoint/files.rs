//! The files a model consists of, wherever they lie: on disk or inside this binary.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use super::parts::NESTED;
use crate::checkpoint::error::{Error, Result};
use crate::fs::{self, read_regular};

/// Bytes of the largest file that is read as a whole: JSON takes ten times as much when it is taken apart. The largest tokenizers are half of it;
/// weights are mapped.
const LARGEST: u64 = 64 << 20;

/// The files of one model and the revision they belong to. The model and tokenizer loaders take this and nothing else.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// The model as records name it: a registry name, `owner/repo`, or a folder.
    pub name: String,
    /// The commit the files were resolved to, when they come from a hub.
    pub revision: Option<String>,
    files: BTreeMap<String, ModelFile>,
    /// The folder that all of them were found in.
    folder: Option<PathBuf>,
}

impl ModelFiles {
    /// Collects files under the names that loaders look for (`config.json`, `model.safetensors`, ...).
    pub fn new(
        name: impl Into<String>,
        revision: Option<String>,
        files: impl IntoIterator<Item = (String, ModelFile)>,
    ) -> Self {
        Self { name: name.into(), revision, files: files.into_iter().collect(), folder: None }
    }

    /// Every regular file of a folder, by name, and those files of its subfolders that belong to a model, such as
    /// `1_Pooling/config.json`.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        let unreadable = |source| fs::Error::Read { path: dir.to_path_buf(), source };
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_file()
                && let Some(name) = path.file_name().and_then(|name| name.to_str())
            {
                files.insert(name.to_owned(), ModelFile::OnDisk(path));
            }
        }
        for name in NESTED {
            let path = dir.join(name);
            if path.is_file() {
                files.insert(name.to_owned(), ModelFile::OnDisk(path));
            }
        }
        Ok(Self { name: dir.display().to_string(), revision: None, files, folder: Some(dir.to_owned()) })
    }

    /// The file of that name, if the model has it.
    pub fn get(&self, name: &str) -> Option<&ModelFile> {
        self.files.get(name)
    }

    /// The file of that name, or an error that names it.
    pub fn require(&self, name: &str) -> Result<&ModelFile> {
        self.get(name).ok_or_else(|| Error::MissingFile { model: self.name.clone(), wanted: name.into() })
    }

    /// The folder that the files were found in, if it was one.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// All files by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ModelFile)> {
        self.files.iter().map(|(name, file)| (name.as_str(), file))
    }
}

/// One file of a model.
#[derive(Debug, Clone)]
pub enum ModelFile {
    /// A file on disk.
    OnDisk(PathBuf),
    /// A file that was compiled into this binary.
    BuiltIn {
        /// Its name, for messages.
        name: &'static str,
        /// Its content.
        bytes: &'static [u8],
    },
}

impl ModelFile {
    /// The whole content.
    pub fn read(&self) -> Result<Cow<'static, [u8]>> {
        match self {
            ModelFile::OnDisk(path) => Ok(Cow::Owned(read_regular(path, LARGEST)?)),
            ModelFile::BuiltIn { bytes, .. } => Ok(Cow::Borrowed(bytes)),
        }
    }

    /// The content without copying it: large weights are read where they lie.
    pub fn map(&self) -> Result<FileBytes> {
        match self {
            ModelFile::OnDisk(path) => Ok(FileBytes::Mapped(fs::map(path)?)),
            ModelFile::BuiltIn { bytes, .. } => Ok(FileBytes::Static(bytes)),
        }
    }

    /// The size in bytes.
    pub fn size(&self) -> Result<u64> {
        match self {
            ModelFile::OnDisk(path) => std::fs::metadata(path)
                .map(|meta| meta.len())
                .map_err(|source| fs::Error::Read { path: path.clone(), source }.into()),
            ModelFile::BuiltIn { bytes, .. } => Ok(bytes.len() as u64),
        }
    }

    /// The path, when the file is on disk.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ModelFile::OnDisk(path) => Some(path),
            ModelFile::BuiltIn { .. } => None,
        }
    }

    /// How messages call this file.
    pub fn label(&self) -> String {
        match self {
            ModelFile::OnDisk(path) => path.display().to_string(),
            ModelFile::BuiltIn { name, .. } => format!("{name} (built in)"),
        }
    }

    /// An error about this file's content.
    pub fn bad(&self, reason: impl Into<String>) -> Error {
        Error::BadFile { file: self.label(), reason: reason.into() }
    }
}

/// The bytes of a file, mapped or compiled in.
#[derive(Debug)]
pub enum FileBytes {
    /// A read-only map of a file.
    Mapped(memmap2::Mmap),
    /// Part of this binary.
    Static(&'static [u8]),
}

impl Deref for FileBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            FileBytes::Mapped(map) => map,
            FileBytes::Static(bytes) => bytes,
        }
    }
}
