//! A repository on the hub, checked so that its name is safe in paths and URLs.

use std::fmt;

use crate::source::error::{Error, Result};

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

    /// The same for what was checked before.
    pub(super) fn checked(id: &str, revision: Option<&str>) -> Self {
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

    #[test]
    fn a_repository_is_checked_when_it_is_made() {
        assert!(HubRepo::new("a/b", Some("..")).is_err() && HubRepo::new("../b", None).is_err());
        assert_eq!(HubRepo::new("a/b", None).unwrap().to_string(), "a/b");
        assert_eq!(HubRepo::new("a/b", Some("v1")).unwrap().to_string(), "a/b@v1");
    }
}
