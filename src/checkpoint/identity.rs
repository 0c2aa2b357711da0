//! Which model it is: what profiles, journals and records compare when they have to belong to the same one.
//!
//! A name alone does not tell: `./m` and `m` are one folder, and a folder can hold other weights tomorrow. So what counts
//! is a digest of everything that decides what the model says: config.json, the tokenizer's files, and of the weights
//! their headers, their sizes and a sample of their bytes. Hashing all bytes would take seconds, the sample takes less
//! than a millisecond. Weights of the same shape from another run of training differ nearly everywhere, and the ends,
//! where heads stand, are sampled most.

use std::fmt;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::parts::{self, Parts};
use super::{ModelFile, ModelFiles};
use crate::checkpoint::error::{Error, Result};
use crate::fs::{self, open_regular};

/// Bytes that are hashed at either end of a weights file.
const END: u64 = 64 << 10;
/// Places between the ends where bytes are hashed, as far apart as the file is long.
const PLACES: u64 = 64;
/// Bytes at each of them.
const PLACE: u64 = 4 << 10;
/// A header that claims to be longer is not read as one.
const LONGEST_HEADER: u64 = 100 << 20;

/// Which model it is. Two are equal if their digests are, wherever they lie and whatever they are called.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Identity {
    /// For people: a registry name, `owner/repo`, or the full path of a folder.
    pub name: String,
    /// The commit, if the model comes from a hub. For people, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// 32 hexadecimal digits.
    pub digest: String,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Identity {}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.name)?;
        if let Some(revision) = &self.revision {
            write!(out, "@{revision}")?;
        }
        write!(out, " ({})", self.digest.get(..12).unwrap_or(&self.digest))
    }
}

impl ModelFiles {
    /// Which model this is. Reads the small files and some hundred kilobytes of the weights.
    pub fn identity(&self) -> Result<Identity> {
        let lacks = |wanted: String| Error::MissingFile { model: self.name.clone(), wanted };
        let parts = Parts::choose(|name| self.get(name).is_some()).map_err(lacks)?;
        let mut digest = Sha256::new();
        for name in parts.small {
            let content = self.require(name)?.read()?;
            begin(&mut digest, name, content.len() as u64);
            digest.update(&content);
        }
        let weights = self.require(parts.weights)?;
        if parts.sharded {
            let index = weights.read()?;
            begin(&mut digest, parts.weights, index.len() as u64);
            digest.update(&index);
            for shard in parts::shards(&index).map_err(|reason| weights.bad(reason))? {
                sample(&mut digest, &shard, self.require(&shard)?)?;
            }
        } else {
            sample(&mut digest, parts.weights, weights)?;
        }
        let digest = digest.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        Ok(Identity { name: self.full_name(), revision: self.revision.clone(), digest })
    }

    /// Whether a name that was written down earlier means this model: its own name, or another way to its folder.
    pub fn is_named(&self, name: &str) -> bool {
        let same_folder = |folder: &Path| {
            folder.canonicalize().is_ok_and(|ours| Path::new(name).canonicalize().is_ok_and(|it| it == ours))
        };
        self.name == name || self.named_by_folder().is_some_and(same_folder)
    }

    fn full_name(&self) -> String {
        let full = self.named_by_folder().and_then(|folder| fs::real(folder).ok());
        full.map_or_else(|| self.name.clone(), |folder| folder.display().to_string())
    }

    /// The folder, if it is what the model is called by.
    fn named_by_folder(&self) -> Option<&Path> {
        self.folder().filter(|folder| folder.display().to_string() == self.name)
    }
}

/// Separates a file from the one before, so that no byte can belong to either.
fn begin(digest: &mut Sha256, name: &str, size: u64) {
    digest.update((name.len() as u64).to_le_bytes());
    digest.update(name);
    digest.update(size.to_le_bytes());
}

/// Adds a weights file: its size, its header if it has one, both ends of what follows, and places in between.
fn sample(digest: &mut Sha256, name: &str, file: &ModelFile) -> Result<()> {
    let size = file.size()?;
    begin(digest, name, size);
    let mut bytes = Bytes::open(file)?;
    let mut start = 0;
    if name.ends_with(".safetensors") && size >= 8 {
        let header: [u8; 8] = bytes.at(0, 8)?.try_into().unwrap_or_default();
        let header = u64::from_le_bytes(header);
        if header <= LONGEST_HEADER.min(size - 8) {
            digest.update(bytes.at(8, header)?);
            start = 8 + header;
        }
    }
    let rest = size - start;
    digest.update(bytes.at(start, rest.min(END))?);
    if rest > END {
        digest.update(bytes.at(size - END, END)?);
        let step = (rest - PLACE) / PLACES;
        for place in 1..PLACES {
            digest.update(bytes.at(start + place * step, PLACE)?);
        }
    }
    Ok(())
}

/// Parts of a file, in any order.
enum Bytes<'a> {
    InMemory { file: &'a ModelFile, bytes: &'static [u8] },
    OnDisk { path: &'a Path, file: std::fs::File, buffer: Vec<u8> },
}

impl<'a> Bytes<'a> {
    fn open(file: &'a ModelFile) -> Result<Self> {
        Ok(match file {
            ModelFile::BuiltIn { bytes, .. } => Bytes::InMemory { file, bytes },
            ModelFile::OnDisk(path) => {
                let opened =
                    open_regular(path).map_err(|source| fs::Error::Read { path: path.clone(), source })?;
                Bytes::OnDisk { path, file: opened, buffer: Vec::new() }
            }
        })
    }

    fn at(&mut self, start: u64, length: u64) -> Result<&[u8]> {
        match self {
            Bytes::InMemory { file, bytes } => (bytes.get(start as usize..(start + length) as usize))
                .ok_or_else(|| file.bad("it is shorter than it says")),
            Bytes::OnDisk { path, file, buffer } => {
                buffer.resize(length as usize, 0);
                let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(buffer));
                read.map_err(|source| fs::Error::Read { path: path.to_path_buf(), source })?;
                Ok(buffer)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    const WEIGHTS: &str = "model.safetensors";

    /// Weights of a header and `size` bytes that all depend on `seed`.
    fn weights(seed: u8, size: usize) -> Vec<u8> {
        let header = br#"{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]}}"#;
        let data = (0..size).map(|at| (at as u8).wrapping_mul(31).wrapping_add(seed));
        (header.len() as u64).to_le_bytes().into_iter().chain(*header).chain(data).collect()
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        dir
    }

    fn model() -> tempfile::TempDir {
        let weights = weights(0, 1_000_000);
        folder(&[("config.json", b"{}"), ("vocab.txt", b"a\nb\n"), ("README.md", b"x"), (WEIGHTS, &weights)])
    }

    fn identity(dir: &Path) -> Identity {
        ModelFiles::from_dir(dir).unwrap().identity().unwrap()
    }

    #[test]
    fn what_decides_answers_decides_the_identity() {
        let dir = model();
        let before = identity(dir.path());
        assert_eq!(before.digest.len(), 32);
        let after = |name: &str, content: &[u8]| {
            let path = dir.path().join(name);
            let old = std::fs::read(&path).ok();
            std::fs::write(&path, content).unwrap();
            let after = identity(dir.path());
            match old {
                Some(old) => std::fs::write(&path, old).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            after
        };
        let one_less = weights(0, 999_999);
        let mut head = weights(0, 1_000_000);
        *head.last_mut().unwrap() ^= 1;
        let mut first = weights(0, 1_000_000);
        first[100] ^= 1;
        for (name, content) in [
            ("config.json", &b"{ }"[..]),
            ("vocab.txt", b"a\nc\n"),
            ("tokenizer_config.json", b"{}"),
            (WEIGHTS, &weights(1, 1_000_000)),
            (WEIGHTS, &one_less),
            (WEIGHTS, &head),
            (WEIGHTS, &first),
        ] {
            assert_ne!(after(name, content), before, "{name}");
        }
        for name in ["README.md", "optimizer.pt", "pytorch_model.bin"] {
            assert_eq!(after(name, b"something else"), before, "{name}");
        }
        assert_eq!(identity(dir.path()), before);
    }

    #[test]
    fn a_copy_is_the_same_model_and_so_is_another_way_to_the_folder() {
        let (one, two) = (model(), model());
        assert_eq!(identity(one.path()), identity(two.path()));
        assert_ne!(identity(one.path()).name, identity(two.path()).name);
        let name = one.path().file_name().unwrap();
        let detour = one.path().join("..").join(name);
        assert_eq!(identity(&detour).name, identity(one.path()).name);
        let files = ModelFiles::from_dir(&detour).unwrap();
        assert!(files.is_named(one.path().to_str().unwrap()) && files.is_named(&files.name));
        assert!(!files.is_named(two.path().to_str().unwrap()));
    }

    #[test]
    fn a_model_of_a_name_keeps_it() {
        let dir = model();
        let mut files = ModelFiles::from_dir(dir.path()).unwrap();
        files.name = "owner/name".into();
        files.revision = Some("0123".into());
        let identity = files.identity().unwrap();
        assert_eq!(identity.to_string(), format!("owner/name@0123 ({})", &identity.digest[..12]));
        assert!(files.is_named("owner/name") && !files.is_named(dir.path().to_str().unwrap()));
        let text = serde_json::to_string(&identity).unwrap();
        let read: Identity = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (read.name, read.revision, read.digest),
            (identity.name, identity.revision, identity.digest)
        );
    }

    #[test]
    fn damaged_and_small_weights_have_an_identity_too() {
        let huge_header = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
        let contents: [&[u8]; 6] =
            [b"", b"1234567", b"12345678", &huge_header, &weights(0, 0), &weights(0, 70_000)];
        let identities: Vec<Identity> = contents
            .iter()
            .map(|content| {
                identity(folder(&[("config.json", b"{}"), ("vocab.txt", b"a"), (WEIGHTS, content)]).path())
            })
            .collect();
        for (at, one) in identities.iter().enumerate() {
            assert!(identities[..at].iter().all(|other| other != one), "{at}");
        }
        let error = ModelFiles::from_dir(folder(&[("config.json", b"{}")]).path()).unwrap().identity();
        assert_eq!(error.unwrap_err().code(), "missing_model_file");
    }

    #[test]
    fn every_shard_counts() {
        let shards = |second: &[u8]| {
            let index = br#"{"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}"#;
            folder(&[
                ("config.json", b"{}"),
                ("vocab.txt", b"a"),
                ("model.safetensors.index.json", index),
                ("m-1.safetensors", &weights(0, 10)),
                ("m-2.safetensors", second),
            ])
        };
        let of = |second: &[u8]| identity(shards(second).path());
        assert_eq!(of(&weights(0, 10)), of(&weights(0, 10)));
        assert_ne!(of(&weights(0, 10)), of(&weights(1, 10)));
    }

    #[test]
    fn memory_and_disk_agree() {
        let on_disk = model();
        let files = ModelFiles::from_dir(on_disk.path()).unwrap();
        let in_memory = files.iter().map(|(name, file)| {
            let bytes: &'static [u8] = Box::leak(file.read().unwrap().into_owned().into_boxed_slice());
            (name.to_owned(), ModelFile::BuiltIn { name: "", bytes })
        });
        let in_memory = ModelFiles::new("m", None, in_memory);
        assert_eq!(in_memory.identity().unwrap(), files.identity().unwrap());
        assert_eq!(in_memory.folder(), None::<PathBuf>.as_deref());
    }
}
