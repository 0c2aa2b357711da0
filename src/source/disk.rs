//! What the hub's cache takes on disk, and how a model leaves it.
//!
//! The cache belongs to other programs as well: only repositories with a model that answers questions are told of, and only one that was
//! named is removed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use same_file::Handle;
use walkdir::WalkDir;

use super::cache::{RepoCache, not_writable};
use super::repo::{HubRepo, check_repo_id};
use super::{HubSettings, SourceOptions};
use crate::source::error::Result;

/// A repository in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// `owner/name`.
    pub repo: String,
    /// Its folder.
    pub folder: PathBuf,
    /// Revisions that were fetched, whole or in part.
    pub revisions: usize,
    /// What it takes on disk.
    pub bytes: u64,
}

impl SourceOptions {
    /// What the cache has of a repository; `None` if it has nothing.
    pub fn cached(&self, repo: &HubRepo) -> Result<Option<Cached>> {
        let root = RepoCache::new(self.hub.cache_dir()?, repo).root().to_owned();
        Ok(root.is_dir().then(|| describe(repo.id().to_owned(), root)))
    }

    /// The repositories in the cache that have a model for question answering, by name.
    pub fn cached_models(&self) -> Vec<Cached> {
        let HubSettings { cache: Some(cache), .. } = &self.hub else { return Vec::new() };
        let entries = fs::read_dir(cache).into_iter().flatten().flatten();
        let mut found: Vec<Cached> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let repo = name.strip_prefix("models--")?.replacen("--", "/", 1);
                check_repo_id(&repo).ok()?;
                answers_questions(&entry.path()).then(|| describe(repo, entry.path()))
            })
            .collect();
        found.sort_by(|one, other| one.repo.cmp(&other.repo));
        found
    }

    /// Removes a repository from the cache, all its revisions included. Says what that freed; `None` if it was not there.
    pub fn remove(&self, repo: &HubRepo) -> Result<Option<Cached>> {
        let Some(cached) = self.cached(repo)? else { return Ok(None) };
        // A link to another place is removed, what it leads to is not.
        fs::remove_dir_all(&cached.folder).map_err(|source| not_writable(&cached.folder, source))?;
        Ok(Some(cached))
    }
}

/// Whether some revision says that it is a model for question answering.
fn answers_questions(root: &Path) -> bool {
    let snapshots = fs::read_dir(root.join("snapshots")).into_iter().flatten().flatten();
    snapshots.into_iter().any(|snapshot| {
        let config = fs::read(snapshot.path().join("config.json")).unwrap_or_default();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
        let names = config["architectures"].as_array().into_iter().flatten();
        names.filter_map(|name| name.as_str()).any(|name| name.ends_with("ForQuestionAnswering"))
    })
}

fn describe(repo: String, folder: PathBuf) -> Cached {
    let revisions = fs::read_dir(folder.join("snapshots")).into_iter().flatten().count();
    Cached { repo, revisions, bytes: size(&folder), folder }
}

/// The bytes of the files below a folder. Links count nothing, and a file with two names counts once.
fn size(folder: &Path) -> u64 {
    let mut seen = HashSet::new();
    let files = WalkDir::new(folder).into_iter().flatten().filter(|entry| entry.file_type().is_file());
    files
        .filter(|file| Handle::from_path(file.path()).map_or(true, |handle| seen.insert(handle)))
        .filter_map(|file| file.metadata().ok())
        .map(|file| file.len())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// A cache with one repository: 1000 bytes of weights and a config.json.
    fn cache(config: &str) -> (tempfile::TempDir, SourceOptions, HubRepo) {
        let dir = tempfile::tempdir().unwrap();
        let repo = HubRepo::new("a/b-c", None).unwrap();
        let of_repo = RepoCache::new(dir.path(), &repo);
        of_repo.prepare().unwrap();
        for (blob, name, content) in
            [("1", "config.json", config), ("2", "model.safetensors", &"x".repeat(1000))]
        {
            fs::write(of_repo.blob(blob), content).unwrap();
            of_repo.link(blob, COMMIT, name).unwrap();
        }
        let hub = HubSettings { cache: Some(dir.path().into()), ..HubSettings::default() };
        (dir, SourceOptions { hub, ..SourceOptions::default() }, repo)
    }

    #[test]
    fn files_count_once_however_many_names_they_have() {
        let (dir, options, repo) = cache("{}");
        let cached = options.cached(&repo).unwrap().unwrap();
        assert_eq!((cached.repo.as_str(), cached.revisions, cached.bytes), ("a/b-c", 1, 1002));
        fs::hard_link(cached.folder.join("blobs/2"), cached.folder.join("snapshots/second")).unwrap();
        assert_eq!(options.cached(&repo).unwrap().unwrap().bytes, 1002);
        fs::write(dir.path().join("models--a--b-c/blobs/3"), "four").unwrap();
        assert_eq!(options.cached(&repo).unwrap().unwrap().bytes, 1006);
        assert_eq!(options.cached(&HubRepo::new("a/other", None).unwrap()).unwrap(), None);
    }

    #[test]
    fn only_models_that_answer_questions_are_told_of() {
        let (dir, options, _) = cache(r#"{"architectures": ["BertForQuestionAnswering"]}"#);
        for name in ["models--a--..", "models--x", "datasets--a--b", "models--a--empty"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let names: Vec<String> = options.cached_models().into_iter().map(|cached| cached.repo).collect();
        assert_eq!(names, ["a/b-c"]);
        let (_dir, options, _) = cache(r#"{"architectures": ["LlamaForCausalLM"]}"#);
        assert!(options.cached_models().is_empty());
        assert!(SourceOptions::default().cached_models().is_empty());
    }

    #[test]
    fn a_repository_is_removed_whole_and_nothing_else_is() {
        let (dir, options, repo) = cache("{}");
        fs::create_dir(dir.path().join("models--a--b")).unwrap();
        let removed = options.remove(&repo).unwrap().unwrap();
        assert_eq!((removed.bytes, removed.folder.exists()), (1002, false));
        assert!(dir.path().join("models--a--b").is_dir());
        assert_eq!(options.remove(&repo).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_link_leads_to_stays() {
        let (dir, options, repo) = cache("{}");
        let elsewhere = tempfile::tempdir().unwrap();
        let (folder, moved) = (dir.path().join("models--a--b-c"), elsewhere.path().join("moved"));
        fs::rename(&folder, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &folder).unwrap();
        let removed = options.remove(&repo);
        assert!(moved.join("blobs/2").is_file(), "{removed:?}");
        assert!(!folder.exists(), "{removed:?}");
    }
}
