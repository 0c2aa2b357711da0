//! The hub's cache on disk, laid out as huggingface_hub lays it out, so that programs share one copy of a model.
//!
//! ```text
//! models--owner--name/refs/main                      the commit that `main` was when it was last fetched
//! models--owner--name/blobs/<etag>                   the bytes
//! models--owner--name/snapshots/<commit>/<file>      a link to a blob
//! models--owner--name/.no_exist/<commit>/<file>      the repository is known not to have this file
//! ```
//!
//! Reading never touches the network. A snapshot counts only when a model can be loaded from it: another program may
//! have fetched half of the files, and links may dangle.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::repo::HubRepo;
use crate::checkpoint::parts::{self, MODULES, POOLING, Parts, TOKENIZER_CONFIG};
use crate::fs::replace;
use crate::source::error::{Error, Result};

/// A folder from which a model can be loaded, and its commit.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Snapshot {
    pub dir: PathBuf,
    pub commit: String,
}

/// The part of the cache that belongs to one repository.
#[derive(Debug, Clone)]
pub(super) struct RepoCache {
    root: PathBuf,
}

impl RepoCache {
    pub fn new(cache: &Path, repo: &HubRepo) -> Self {
        Self { root: cache.join(format!("models--{}", repo.id().replace('/', "--"))) }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The complete snapshot of a revision, or what it lacks, in words.
    pub fn lookup(&self, revision: &str) -> Result<Snapshot, String> {
        let commit = if parts::is_commit(revision) {
            revision.to_owned()
        } else {
            let written = fs::read_to_string(self.ref_file(revision)).unwrap_or_default();
            // What the file says becomes part of a path, so it has to be a hash.
            match written.trim() {
                commit if parts::is_commit(commit) => commit.to_owned(),
                _ => return Err(format!("revision {revision} was never fetched")),
            }
        };
        let dir = self.snapshot(&commit);
        if !dir.is_dir() {
            return Err(format!("revision {revision} was never fetched"));
        }
        match self.missing(&dir, &commit) {
            Some(missing) => Err(format!("its copy lacks {missing}")),
            None => Ok(Snapshot { dir, commit }),
        }
    }

    fn missing(&self, dir: &Path, commit: &str) -> Option<String> {
        let has = |name: &str| is_filled(&dir.join(name));
        let parts = match Parts::choose(has) {
            Ok(parts) => parts,
            Err(missing) => return Some(missing),
        };
        // Without it a vocabulary may be read in the wrong case, silently.
        if parts.legacy_tokenizer
            && !has(TOKENIZER_CONFIG)
            && !self.absent_marker(commit, TOKENIZER_CONFIG).exists()
        {
            return Some(TOKENIZER_CONFIG.into());
        }
        if has(MODULES) && !has(POOLING) && !self.absent_marker(commit, POOLING).exists() {
            return Some(POOLING.into());
        }
        if parts.sharded {
            let index = match fs::read(dir.join(parts.weights)) {
                Ok(index) => index,
                Err(error) => return Some(format!("a readable {} ({error})", parts.weights)),
            };
            return match parts::shards(&index) {
                Ok(shards) => shards.into_iter().find(|shard| !has(shard)),
                Err(reason) => Some(format!("a usable {} ({reason})", parts.weights)),
            };
        }
        None
    }

    fn ref_file(&self, revision: &str) -> PathBuf {
        self.root.join("refs").join(revision)
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    pub fn blob(&self, name: &str) -> PathBuf {
        self.root.join("blobs").join(name)
    }

    fn absent_marker(&self, commit: &str, file: &str) -> PathBuf {
        self.root.join(".no_exist").join(commit).join(file)
    }

    /// Makes the folders, so that a cache that cannot be written is found out before anything is fetched.
    pub fn prepare(&self) -> Result<()> {
        for name in ["blobs", "snapshots", "refs"] {
            let dir = self.root.join(name);
            fs::create_dir_all(&dir).map_err(|source| not_writable(&dir, source))?;
        }
        let probe = self.root.join(unique_name("probe"));
        File::create(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|source| not_writable(&self.root, source))
    }

    /// Remembers which commit a branch or tag stood for.
    pub fn write_ref(&self, revision: &str, commit: &str) -> Result<()> {
        if revision == commit {
            return Ok(());
        }
        write(&self.ref_file(revision), commit)
    }

    /// Remembers that the repository has no such file.
    pub fn mark_absent(&self, commit: &str, file: &str) -> Result<()> {
        write(&self.absent_marker(commit, file), "")
    }

    /// Makes a blob visible under its name in a snapshot.
    pub fn link(&self, blob: &str, commit: &str, file: &str) -> Result<()> {
        let target = self.blob(blob);
        let link = self.snapshot(commit).join(file);
        // Up from the file's folder to the repository's. Not written with slashes, which a link of Windows does not understand.
        let up: PathBuf = std::iter::repeat_n("..", 2 + file.matches('/').count()).collect();
        let relative = up.join("blobs").join(blob);
        if fs::read_link(&link).is_ok_and(|present| present == relative) && link.exists() {
            return Ok(());
        }
        make_folder_of(&link)?;
        replace(&link, |temporary| {
            // A file system without links gets a second name, or in the end a copy.
            symlink(&relative, temporary)
                .or_else(|_| fs::hard_link(&target, temporary))
                .or_else(|_| fs::copy(&target, temporary).map(drop))
        })
        .map_err(|source| not_writable(&link, source))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    make_folder_of(path)?;
    match crate::fs::write(path, text.as_bytes()) {
        Err(crate::fs::Error::Write { path, source }) => Err(not_writable(&path, source)),
        outcome => Ok(outcome?),
    }
}

fn make_folder_of(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|source| not_writable(path, source))
}

/// The right to write one blob. Ends when it is dropped, and when the process ends.
#[derive(Debug)]
pub(super) struct BlobLock {
    _file: File,
}

impl BlobLock {
    /// Waits for whoever holds the lock, as long as `part` still grows. `None` where the file system has no locks.
    ///
    /// The lock and the partial file have the names that hf-hub gives them, so its programs and ours take turns.
    pub fn acquire(blob: &Path, part: &Path, patience: Duration, waiting: impl Fn()) -> Result<Option<Self>> {
        let path = with_suffix(blob, "lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| not_writable(&path, source))?;
        let size = || fs::metadata(part).map(|meta| meta.len()).unwrap_or_default();
        let (mut seen, mut since, mut pause) = (size(), Instant::now(), Duration::from_millis(20));
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Some(Self { _file: file })),
                Err(TryLockError::Error(_)) => return Ok(None),
                Err(TryLockError::WouldBlock) => {}
            }
            waiting();
            if size() != seen {
                (seen, since) = (size(), Instant::now());
            } else if since.elapsed() > patience {
                return Err(Error::CacheLocked { path });
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
    }
}

/// `abc` and `part` make `abc.part`, whatever dots the name has.
pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// A name that no other process or thread uses at this time.
pub(super) fn unique_name(purpose: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!(".spanqa-{purpose}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn not_writable(path: &Path, source: io::Error) -> Error {
    Error::CacheNotWritable { path: path.to_path_buf(), source }
}

/// Follows links: a dangling one is no file.
fn is_filled(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() > 0)
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_target: &Path, _link: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn cached(files: &[(&str, &str)]) -> (tempfile::TempDir, RepoCache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(dir.path(), &HubRepo::new("a/b", None).unwrap());
        cache.prepare().unwrap();
        for (index, (name, content)) in files.iter().enumerate() {
            let blob = format!("blob{index}");
            fs::write(cache.blob(&blob), content).unwrap();
            cache.link(&blob, COMMIT, name).unwrap();
        }
        cache.write_ref("main", COMMIT).unwrap();
        (dir, cache)
    }

    const WHOLE: [(&str, &str); 3] =
        [("config.json", "{}"), ("tokenizer.json", "{}"), ("model.safetensors", "x")];

    #[test]
    fn a_whole_snapshot_is_found_by_branch_and_by_commit() {
        let (dir, cache) = cached(&WHOLE);
        for revision in ["main", COMMIT] {
            let snapshot = cache.lookup(revision).unwrap();
            assert_eq!(snapshot.commit, COMMIT);
            assert_eq!(snapshot.dir, dir.path().join("models--a--b").join("snapshots").join(COMMIT));
        }
        assert!(cache.lookup("v2").unwrap_err().contains("never fetched"));
        assert!(cache.lookup(&COMMIT.replace('0', "f")).unwrap_err().contains("never fetched"));
    }

    #[test]
    fn a_snapshot_with_a_hole_does_not_count() {
        for hole in 0..WHOLE.len() {
            let mut files = WHOLE.to_vec();
            let (name, _) = files.remove(hole);
            let (_dir, cache) = cached(&files);
            assert!(cache.lookup("main").unwrap_err().contains("lacks"), "without {name}");

            let (_dir, cache) = cached(&WHOLE);
            fs::remove_file(cache.blob(&format!("blob{hole}"))).unwrap();
            assert!(cache.lookup("main").unwrap_err().contains("lacks"), "dangling {name}");

            let (_dir, cache) = cached(&WHOLE);
            fs::write(cache.blob(&format!("blob{hole}")), "").unwrap();
            assert!(cache.lookup("main").unwrap_err().contains("lacks"), "empty {name}");
        }
    }

    #[test]
    fn every_shard_of_an_index_is_needed() {
        let index = r#"{"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}"#;
        let mut files = vec![
            ("config.json", "{}"),
            ("tokenizer.json", "{}"),
            ("model.safetensors.index.json", index),
            ("model-1.safetensors", "x"),
        ];
        let (_dir, cache) = cached(&files);
        assert_eq!(cache.lookup("main").unwrap_err(), "its copy lacks model-2.safetensors");
        files.push(("model-2.safetensors", "y"));
        let (_dir, cache) = cached(&files);
        cache.lookup("main").unwrap();
        files[2].1 = "{\"weight_map\": {\"x\": \"../../../x\"}}";
        let (_dir, cache) = cached(&files);
        assert!(cache.lookup("main").unwrap_err().contains("not a plain file name"));
    }

    #[test]
    fn an_old_tokenizer_needs_its_configuration_or_the_proof_that_there_is_none() {
        let files = [("config.json", "{}"), ("vocab.txt", "a"), ("model.safetensors", "x")];
        let (_dir, cache) = cached(&files);
        assert_eq!(cache.lookup("main").unwrap_err(), "its copy lacks tokenizer_config.json");
        cache.mark_absent(COMMIT, TOKENIZER_CONFIG).unwrap();
        cache.lookup("main").unwrap();
    }

    #[test]
    fn an_embedding_model_needs_its_pooling_or_the_proof_that_there_is_none() {
        let mut files = WHOLE.to_vec();
        files.push((MODULES, "[]"));
        let (_dir, cache) = cached(&files);
        assert_eq!(cache.lookup("main").unwrap_err(), "its copy lacks 1_Pooling/config.json");
        cache.mark_absent(COMMIT, POOLING).unwrap();
        cache.lookup("main").unwrap();
        files.push((POOLING, "{}"));
        let (_dir, cache) = cached(&files);
        let snapshot = cache.lookup("main").unwrap();
        assert_eq!(
            fs::read_to_string(snapshot.dir.join(POOLING)).unwrap(),
            "{}",
            "the link leads to its blob"
        );
    }

    #[test]
    fn a_ref_that_is_no_commit_leads_nowhere() {
        let (_dir, cache) = cached(&WHOLE);
        for bad in ["", "../../../../etc", "0123", &COMMIT.to_uppercase()] {
            fs::write(cache.ref_file("main"), bad).unwrap();
            assert!(cache.lookup("main").is_err(), "{bad}");
        }
    }

    #[test]
    fn a_link_is_replaced_when_its_blob_changes() {
        let (_dir, cache) = cached(&WHOLE);
        fs::write(cache.blob("other"), "{\"new\": 1}").unwrap();
        cache.link("other", COMMIT, "config.json").unwrap();
        assert_eq!(fs::read_to_string(cache.snapshot(COMMIT).join("config.json")).unwrap(), "{\"new\": 1}");
        assert_eq!(fs::read_dir(cache.snapshot(COMMIT)).unwrap().count(), 3, "nothing temporary stays");
    }

    #[test]
    fn a_lock_is_waited_for_while_its_holder_works_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        let blob = dir.path().join("blob");
        let part = with_suffix(&blob, "part");
        let held = BlobLock::acquire(&blob, &part, Duration::ZERO, || ()).unwrap();
        let refused = BlobLock::acquire(&blob, &part, Duration::from_millis(50), || ()).unwrap_err();
        assert_eq!(refused.code(), "cache_locked");
        // The holder writes whenever the other looks, so no patience is needed, and ends after some time.
        let held = std::cell::RefCell::new(held);
        let looked = std::cell::Cell::new(0);
        let working = || {
            looked.set(looked.get() + 1);
            fs::write(&part, "x".repeat(looked.get())).unwrap();
            if looked.get() == 4 {
                held.take();
            }
        };
        assert!(BlobLock::acquire(&blob, &part, Duration::ZERO, working).unwrap().is_some());
        assert_eq!(looked.get(), 4);
    }
}
