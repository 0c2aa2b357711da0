//! What `--model` means.
//!
//! In this order: a text that is written like a path (`./x`, `/x`, `~/x`, `C:\x`) is a folder; the name of the built-in model
//! is that model, whatever folders there are; any other text that names an existing folder with a config.json in it is
//! that folder; then come names and repositories of the registry, with `@revision` if another revision is wanted; then
//! `owner/repo[@revision]`. Nothing else is a model.

use std::path::{Path, PathBuf};

use super::builtin;
use super::registry::{Entry, Registry};
use super::repo::{HubRepo, check_repo_id, check_revision};
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
        Self::parse_among(text, registry, |path| match path.is_dir() {
            true if path.join("config.json").is_file() => Folder::Model,
            true => Folder::Other,
            false => Folder::Absent,
        })
    }

    fn parse_among(text: &str, registry: &Registry, folder: impl Fn(&Path) -> Folder) -> Result<Self> {
        let wrong = |reason: String| Error::BadReference { reference: text.to_owned(), reason };
        if text.trim().is_empty() {
            return Err(wrong("it is empty".into()));
        }
        if is_written_like_a_path(text) {
            return Ok(Reference::Folder(expand_home(Path::new(text), dirs::home_dir().as_deref()), None));
        }
        // A name that every machine has must not depend on the folder that somebody happens to be in.
        if !builtin::is_name(text) && folder(Path::new(text)) == Folder::Model {
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
        if folder(Path::new(text)) == Folder::Other {
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

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Folder {
    /// A folder with a config.json.
    Model,
    /// Another folder.
    Other,
    Absent,
}

fn is_written_like_a_path(text: &str) -> bool {
    let drive = matches!(text.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
    text.starts_with(['.', '/', '~']) || text.contains('\\') || drive
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
        let registry = Registry::embedded().unwrap();
        let among = |text: &str, here: Folder| Reference::parse_among(text, &registry, |_| here);
        for text in ["minilm", "unknown", "owner/name", "owner/name@v1"] {
            assert_eq!(among(text, Folder::Model).unwrap(), Reference::Folder(text.into(), None));
        }
        for (text, is) in [("minilm", "deepset/minilm-uncased-squad2"), ("owner/name", "owner/name")] {
            match among(text, Folder::Other).unwrap() {
                Reference::Repo(repo, _) => assert_eq!(repo.to_string(), is),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert_eq!(among("unknown", Folder::Other).unwrap_err().code(), "missing_model_file");
        assert_eq!(among("unknown", Folder::Absent).unwrap_err().code(), "unknown_model");
        assert_eq!(parse("src").unwrap_err().code(), "missing_model_file");
        assert_eq!(parse("models/builtin").unwrap(), Reference::Folder("models/builtin".into(), None));
    }

    #[test]
    fn no_folder_takes_a_built_in_models_name() {
        let registry = Registry::embedded().unwrap();
        for here in [Folder::Model, Folder::Other, Folder::Absent] {
            for name in [builtin::READER, builtin::EMBEDDER] {
                let found = Reference::parse_among(name, &registry, |_| here).unwrap();
                assert!(matches!(&found, Reference::BuiltIn(entry) if entry.name == name), "{found:?}");
            }
            let found = Reference::parse_among("./builtin", &registry, |_| here).unwrap();
            assert_eq!(found, Reference::Folder("./builtin".into(), None));
        }
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
    }
}
