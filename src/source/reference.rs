//! What `--model` means.
//!
//! In this order: a text that is written like a path (`./x`, `/x`, `~/x`, `C:\x`) is a folder; so is any text that
//! names an existing folder with a config.json in it; then come names and repositories of the registry, with
//! `@revision` if another revision is wanted; then `owner/repo[@revision]`. Nothing else is a model.

use std::fmt;
use std::path::{Path, PathBuf};

use super::registry::{Entry, Registry};
use super::settings::expand_home;
use crate::checkpoint;
use crate::source::error::{Error, Result};

/// A model reference that was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Reference {
    /// The model inside this program.
    BuiltIn(Entry),
    /// A folder, and the registry entry that led to it, if one did.
    Folder(PathBuf, Option<Entry>),
    /// A repository on the hub, and the registry entry about it, if there is one.
    Repo(HubRepo, Option<Entry>),
}

impl Reference {
    /// Understands what a user wrote. Looks at the file system only to see whether a folder of that name exists.
    pub fn parse(text: &str, registry: &Registry) -> Result<Self> {
        let wrong = |reason: String| Error::BadReference { reference: text.to_owned(), reason };
        if text.trim().is_empty() {
            return Err(wrong("it is empty".into()));
        }
        if is_written_like_a_path(text) {
            return Ok(Reference::Folder(expand_home(Path::new(text), dirs::home_dir().as_deref()), None));
        }
        if Path::new(text).join("config.json").is_file() {
            return Ok(Reference::Folder(text.into(), None));
        }

        let (name, revision) = match text.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (text, None),
        };
        if let Some(revision) = revision {
            check_revision(revision).map_err(|reason| wrong(format!("revision `{revision}`: {reason}")))?;
        }
        if let Some(entry) = registry.find(name) {
            let entry = entry.clone();
            return match (&entry.repo, &entry.path) {
                (Some(id), _) => {
                    let revision = revision.or(entry.revision.as_deref());
                    Ok(Reference::Repo(HubRepo::checked(id, revision), Some(entry)))
                }
                _ if revision.is_some() => Err(wrong(format!("`{name}` has no revisions"))),
                (None, Some(path)) => Ok(Reference::Folder(path.clone(), Some(entry))),
                (None, None) => Ok(Reference::BuiltIn(entry)),
            };
        }
        if name.contains('/') {
            check_repo_id(name).map_err(wrong)?;
            return Ok(Reference::Repo(HubRepo::checked(name, revision), None));
        }
        if Path::new(text).is_dir() {
            // A folder is meant, so say what it lacks rather than that the name is unknown.
            return Err(checkpoint::Error::MissingFile {
                model: text.to_owned(),
                wanted: "config.json".into(),
            }
            .into());
        }
        Err(Error::UnknownModel { name: name.to_owned(), near: registry.near(name) })
    }
}

/// A repository on the hub at one revision. Both are known to be safe in paths and URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubRepo {
    id: String,
    revision: String,
}

impl HubRepo {
    /// Checks `owner/name` and the revision; no revision is `main`.
    pub fn new(id: &str, revision: Option<&str>) -> Result<Self> {
        let wrong = |reason: String| Error::BadReference { reference: id.to_owned(), reason };
        check_repo_id(id).map_err(wrong)?;
        if let Some(revision) = revision {
            check_revision(revision).map_err(|reason| wrong(format!("revision `{revision}`: {reason}")))?;
        }
        Ok(Self::checked(id, revision))
    }

    fn checked(id: &str, revision: Option<&str>) -> Self {
        let mut revision = revision.unwrap_or("main").to_owned();
        if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            // The hub and its caches write hashes in small letters.
            revision.make_ascii_lowercase();
        }
        Self { id: id.to_owned(), revision }
    }

    /// `owner/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A branch, a tag or a commit.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

impl fmt::Display for HubRepo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.revision.as_str() {
            "main" => f.write_str(&self.id),
            revision => write!(f, "{}@{revision}", self.id),
        }
    }
}

fn is_written_like_a_path(text: &str) -> bool {
    let drive = matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    text.starts_with(['.', '/', '~']) || text.contains('\\') || drive
}

/// Why a text cannot be `owner/name`. The same rules as the hub's, for ASCII.
pub(super) fn check_repo_id(id: &str) -> Result<(), String> {
    let parts: Vec<&str> = id.split('/').collect();
    let [owner, name] = parts.as_slice() else {
        return Err("a repository is written owner/name, a folder ./like/this".into());
    };
    for part in [owner, name] {
        let letters =
            part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if !letters {
            return Err("owner and name of a repository hold letters, digits, `.`, `_` and `-`".into());
        }
        if !(1..=96).contains(&part.len()) {
            return Err("owner and name of a repository have 1 to 96 letters".into());
        }
        if part.starts_with(['.', '-']) || part.ends_with(['.', '-']) {
            return Err("owner and name of a repository neither start nor end with `.` or `-`".into());
        }
        if part.contains("..") || part.contains("--") {
            return Err("owner and name of a repository hold no `..` and no `--`".into());
        }
    }
    if name.ends_with(".git") {
        return Err("the name of a repository does not end in .git".into());
    }
    Ok(())
}

/// Why a text cannot be a revision. Stricter than git, so that it is safe in URLs and as a path below `refs/`.
pub(super) fn check_revision(revision: &str) -> Result<(), String> {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'/');
    if !(1..=200).contains(&revision.len()) {
        return Err("a revision has 1 to 200 letters".into());
    }
    if !revision.bytes().all(letters) {
        return Err("a revision holds letters, digits, `.`, `_`, `-`, `+` and `/`".into());
    }
    if revision.split('/').any(|part| part.is_empty() || part.starts_with('.')) || revision.contains("..") {
        return Err(
            "a revision holds no `..`, no `//`, and no part that is empty or starts with a dot".into()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Reference> {
        Reference::parse(text, &Registry::embedded().unwrap())
    }

    fn repo(text: &str) -> String {
        match parse(text).unwrap() {
            Reference::Repo(repo, entry) => {
                format!(
                    "{} {} {}",
                    repo.id(),
                    repo.revision(),
                    entry.map(|entry| entry.name).unwrap_or_default()
                )
            }
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn names_and_repositories() {
        assert!(matches!(parse("builtin").unwrap(), Reference::BuiltIn(_)));
        assert_eq!(repo("minilm"), "deepset/minilm-uncased-squad2 main minilm");
        assert_eq!(repo("minilm@v1"), "deepset/minilm-uncased-squad2 v1 minilm");
        assert_eq!(
            repo("deepset/minilm-uncased-squad2@refs/pr/3"),
            "deepset/minilm-uncased-squad2 refs/pr/3 minilm"
        );
        assert_eq!(repo("a/b.c"), "a/b.c main ");
        let hash = "ABCDEF0123456789abcdef0123456789abcdef01";
        assert_eq!(repo(&format!("a/b@{hash}")), format!("a/b {} ", hash.to_lowercase()));
        assert_eq!(
            repo("roberta"),
            "deepset/roberta-base-squad2 adc3b06f79f797d1c575d5479d6f5efe54a9e3b4 roberta"
        );
    }

    #[test]
    fn paths_are_folders_whether_they_exist_or_not() {
        for path in ["./x", ".", "..", "../x", "/x/y", "C:\\x", "d:/x", "a\\b", "\\\\server\\x"] {
            match parse(path).unwrap() {
                Reference::Folder(folder, None) => assert_eq!(folder, Path::new(path)),
                other => panic!("{path}: {other:?}"),
            }
        }
        assert!(matches!(parse("~/x").unwrap(), Reference::Folder(folder, _) if folder.ends_with("x")));
    }

    #[test]
    fn an_existing_model_folder_wins_over_a_name_and_another_folder_does_not() {
        // `src/source` exists here and holds no config.json, so it reads as a repository.
        assert_eq!(repo("src/source"), "src/source main ");
        assert_eq!(parse("src").unwrap_err().code(), "missing_model_file");
        assert_eq!(parse("models/builtin").unwrap(), Reference::Folder("models/builtin".into(), None));
    }

    #[test]
    fn an_unknown_name_suggests_near_ones() {
        let error = parse("robertta").unwrap_err();
        assert_eq!(error.code(), "unknown_model");
        assert!(matches!(error, Error::UnknownModel { near, .. } if near == ["roberta"]));
        assert!(matches!(parse("qqq"), Err(Error::UnknownModel { near, .. }) if near.is_empty()));
    }

    #[test]
    fn what_would_break_a_path_or_a_url_is_refused() {
        for bad in [
            "",
            " ",
            "a/b/c",
            "a/",
            "a/b c",
            "a/b?x",
            "a/b#x",
            "a/b%2e",
            "a/..",
            "a/b..c",
            "a/b--c",
            "-a/b",
            "a/.b",
            "a/b.",
            "a/b.git",
            "a/b\n",
            "a/b\0",
            "a/ü",
            "a/b@",
            "a/b@x y",
            "a/b@../x",
            "a/b@x/../y",
            "a/b@/x",
            "a/b@x/",
            "a/b@x//y",
            "a/b@.x",
            "a/b@x@y",
            "a/b@x?y",
            "minilm@",
            "builtin@main",
        ] {
            assert_eq!(parse(bad).unwrap_err().code(), "bad_model_reference", "{bad:?}");
        }
        assert!(parse(&format!("a/{}", "b".repeat(97))).is_err());
        assert!(HubRepo::new("a/b", Some("..")).is_err() && HubRepo::new("../b", None).is_err());
    }
}
