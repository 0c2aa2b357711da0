//! The table of models that have a name: the one in this program, and the user's own.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::builtin;
use super::repo::{check_repo_id, check_revision};
use super::settings::expand_home;
use crate::decode::confidence::Confidence;
use crate::fs;
use crate::source::error::{Error, Result};

const EMBEDDED: &str = include_str!("../../models.toml");

/// What is known about a model before any of its files is read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// What `--model` takes.
    pub name: String,
    /// `owner/name` on the hub; absent for a folder and for the built-in model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repo: Option<String>,
    /// A folder; relative to the registry file that names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// A branch, a tag or a full commit hash of `repo`; `main` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The kind of encoder, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<Family>,
    /// The licence of the weights, as an SPDX name where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Languages as ISO 639 codes, or `multilingual`.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Published or measured accuracy, the most telling one first.
    #[serde(default)]
    pub accuracy: Vec<Accuracy>,
    /// The tool abstains when the score of "no answer" leads by more than this.
    #[serde(default)]
    pub null_threshold: f32,
    /// The same for joint scores, which `ask` and `batch` give: found on everyday documents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joint_threshold: Option<f32>,
    /// Logits beyond it up to which a span is shown as a possible answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub perhaps: Option<f32>,
    /// What divides logits before they become probabilities, as `spanqa tune` finds it.
    #[serde(default = "one")]
    pub temperature: f64,
    /// What replies are worth at that temperature, as `spanqa tune` finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// Whether the model was never trained on questions without an answer, so that it should always give one.
    #[serde(default)]
    pub always_answer: bool,
    /// Whether it makes vectors of texts instead of answering questions.
    #[serde(default, skip_serializing_if = "is_false")]
    pub embeds: bool,
    /// The size of the weights in millions of bytes, rounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub megabytes: Option<u32>,
    /// What else a user should know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Entry {
    /// What is known of a repository that no registry names.
    pub fn nameless(repo: String) -> Self {
        Self {
            name: repo.clone(),
            repo: Some(repo),
            path: None,
            revision: None,
            family: None,
            licence: None,
            languages: Vec::new(),
            accuracy: Vec::new(),
            null_threshold: 0.0,
            joint_threshold: None,
            perhaps: None,
            temperature: one(),
            confidence: None,
            always_answer: false,
            embeds: false,
            megabytes: None,
            note: None,
        }
    }

    /// Whether this is a model inside this program.
    pub fn is_builtin(&self) -> bool {
        self.repo.is_none() && self.path.is_none()
    }

    fn check(&self, may_be_builtin: bool) -> Result<(), String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if self.name.is_empty() || self.name.starts_with(['.', '-']) || !self.name.chars().all(plain) {
            return Err(format!(
                "the name {:?} may hold letters, digits, `.`, `_` and `-`, and starts with none of `.` and `-`",
                self.name
            ));
        }
        match (&self.repo, &self.path) {
            (Some(_), Some(_)) => return Err(format!("`{}` has both a repo and a path", self.name)),
            (None, None) if !may_be_builtin => {
                return Err(format!("`{}` has neither a repo nor a path", self.name));
            }
            (Some(repo), None) => check_repo_id(repo).map_err(|reason| format!("repo `{repo}`: {reason}"))?,
            _ => {}
        }
        match &self.revision {
            Some(_) if self.repo.is_none() => {
                return Err(format!("`{}` has a revision but no repo", self.name));
            }
            Some(revision) => {
                check_revision(revision).map_err(|reason| format!("revision `{revision}`: {reason}"))?;
            }
            None => {}
        }
        if !self.null_threshold.is_finite() {
            return Err("null_threshold is not a finite number".into());
        }
        if self.joint_threshold.is_some_and(|threshold| !threshold.is_finite()) {
            return Err("joint_threshold is not a finite number".into());
        }
        if self.perhaps.is_some_and(|perhaps| !(perhaps.is_finite() && perhaps >= 0.0)) {
            return Err("perhaps is not a number from 0 up".into());
        }
        if !(1e-6..=1e6).contains(&self.temperature) {
            return Err("temperature is not from 0.000001 to 1000000".into());
        }
        if let Some(flaw) = self.confidence.and_then(|confidence| confidence.flaw()) {
            return Err(format!("confidence: {flaw}"));
        }
        let percent = |value: f64| (0.0..=100.0).contains(&value);
        match self.accuracy.iter().find(|row| !percent(row.exact) || !percent(row.f1)) {
            Some(row) => Err(format!("accuracy on {} is not in percent", row.dataset)),
            None => Ok(()),
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

fn one() -> f64 {
    1.0
}

/// The kinds of encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// BERT and MiniLM.
    Bert,
    /// DistilBERT.
    Distilbert,
    /// RoBERTa.
    Roberta,
    /// XLM-RoBERTa.
    XlmRoberta,
}

impl Family {
    /// The name as registries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Family::Bert => "bert",
            Family::Distilbert => "distilbert",
            Family::Roberta => "roberta",
            Family::XlmRoberta => "xlm-roberta",
        }
    }
}

/// One row of published accuracy, in percent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accuracy {
    /// The data it was measured on.
    pub dataset: String,
    /// Exact matches.
    pub exact: f64,
    /// Mean F1 of words.
    pub f1: f64,
    /// Who measured it.
    pub source: String,
}

/// All named models.
#[derive(Debug, Clone)]
pub struct Registry {
    entries: Vec<Entry>,
}

impl Registry {
    /// The models that this program knows by itself.
    pub fn embedded() -> Result<Self> {
        Ok(Self { entries: parse(EMBEDDED, "models.toml (built in)", None)? })
    }

    /// The embedded registry, then the files in turn: later ones add to earlier ones and override them by name.
    pub fn with_files<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        let mut registry = Self::embedded()?;
        for file in files {
            let text = std::fs::read_to_string(file)
                .map_err(|source| fs::Error::Read { path: file.to_path_buf(), source })?;
            for entry in parse(&text, &file.display().to_string(), Some(file))? {
                match registry.entries.iter_mut().find(|known| known.name == entry.name) {
                    Some(known) => *known = entry,
                    None => registry.entries.push(entry),
                }
            }
        }
        Ok(registry)
    }

    /// The entry of that name, or else the first with that `owner/name` on the hub.
    pub fn find(&self, name_or_repo: &str) -> Option<&Entry> {
        let by_name = self.entries.iter().find(|entry| entry.name == name_or_repo);
        by_name.or_else(|| self.entries.iter().find(|entry| entry.repo.as_deref() == Some(name_or_repo)))
    }

    /// All entries, the program's own first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Names that a mistyped name may have meant, nearest first, three at most.
    pub fn near(&self, name: &str) -> Vec<String> {
        let name = name.to_ascii_lowercase();
        let reach = (name.chars().count() / 3).max(1);
        let mut near: Vec<(usize, &str)> = self
            .entries
            .iter()
            .filter_map(|entry| {
                let repo_name = entry.repo.as_deref().and_then(|repo| repo.split('/').next_back());
                let known = [Some(entry.name.as_str()), repo_name].into_iter().flatten();
                let distance = known
                    .map(|known| if known.starts_with(&name) { 0 } else { edit_distance(&name, known) })
                    .min()?;
                (distance <= reach).then_some((distance, entry.name.as_str()))
            })
            .collect();
        near.sort_by_key(|(distance, _)| *distance);
        near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
    }
}

/// Reads one registry file; `file` is its path when it is the user's.
fn parse(text: &str, label: &str, file: Option<&Path>) -> Result<Vec<Entry>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        #[serde(default)]
        model: Vec<Spanned<Entry>>,
    }
    let wrong = |span: Option<Range<usize>>, reason: String| Error::BadRegistry {
        file: label.to_owned(),
        line: span.map(|span| line_of(text, span.start)),
        reason,
    };
    let document: Document = toml::from_str(text)
        .map_err(|error| wrong(error.span(), error.message().trim().replace('\n', ", ")))?;

    let mut entries: Vec<Entry> = Vec::with_capacity(document.model.len());
    for spanned in document.model {
        let span = spanned.span();
        let mut entry = spanned.into_inner();
        let may_be_builtin = file.is_none() && builtin::is_name(&entry.name);
        entry.check(may_be_builtin).map_err(|reason| wrong(Some(span.clone()), reason))?;
        if entries.iter().any(|known| known.name == entry.name) {
            return Err(wrong(Some(span), format!("`{}` is already defined above", entry.name)));
        }
        if let (Some(path), Some(folder)) = (&entry.path, file.and_then(Path::parent)) {
            entry.path = Some(folder.join(expand_home(path, dirs::home_dir().as_deref())));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

/// The number of letters to insert, remove or replace.
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistake(text: &str) -> (Option<usize>, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mine.toml");
        std::fs::write(&file, text).unwrap();
        match Registry::with_files([file.as_path()]).unwrap_err() {
            Error::BadRegistry { file: named, line, reason } => {
                assert_eq!(named, file.display().to_string());
                (line, reason)
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_embedded_registry_holds_the_eight_models() {
        let registry = Registry::embedded().unwrap();
        let names: Vec<&str> = registry.entries().iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(
            names,
            [
                "builtin",
                "builtin-embedder",
                "minilm",
                "distilbert",
                "roberta",
                "tinyroberta",
                "bert-large",
                "xlm-roberta-large"
            ]
        );
        assert!(registry.find("builtin").unwrap().is_builtin());
        for entry in registry.entries() {
            assert!(entry.family.is_some() && entry.licence.is_some());
            assert_eq!(
                (entry.accuracy.is_empty(), entry.embeds),
                [(false, false), (true, true)][usize::from(entry.name == builtin::EMBEDDER)]
            );
            assert_eq!(entry.always_answer, entry.name == "distilbert");
            let pinned = entry.revision.as_deref().is_some_and(crate::checkpoint::parts::is_commit);
            let said = entry.note.as_deref().unwrap_or_default().contains("could not be read");
            assert!(entry.is_builtin() || pinned != said, "{}: a branch needs a reason", entry.name);
        }
    }

    #[test]
    fn an_entry_is_found_by_name_and_by_repo() {
        let registry = Registry::embedded().unwrap();
        assert_eq!(registry.find("roberta").unwrap().repo.as_deref(), Some("deepset/roberta-base-squad2"));
        assert_eq!(registry.find("deepset/roberta-base-squad2").unwrap().name, "roberta");
        assert!(registry.find("Roberta").is_none());
    }

    #[test]
    fn files_add_and_override() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one.toml"), dir.path().join("two.toml"));
        std::fs::write(
            &one,
            "[[model]]\nname = 'mine'\npath = 'here'\n[[model]]\nname='minilm'\nrepo='a/b'\n",
        )
        .unwrap();
        std::fs::write(
            &two,
            "[[model]]\nname = 'mine'\nrepo = 'c/d'\nrevision = 'v1'\nnull_threshold = 1.5\ntemperature = 1.35\n",
        )
        .unwrap();
        let first = Registry::with_files([one.as_path()]).unwrap();
        assert_eq!(first.find("mine").unwrap().path, Some(dir.path().join("here")));
        assert_eq!(first.entries().len(), 9);
        let both = Registry::with_files([one.as_path(), two.as_path()]).unwrap();
        let mine = both.find("mine").unwrap();
        assert_eq!((mine.repo.as_deref(), mine.null_threshold), (Some("c/d"), 1.5));
        assert_eq!(mine.temperature, 1.35);
        assert_eq!(both.find("minilm").unwrap().repo.as_deref(), Some("a/b"));
        assert!(both.find("deepset/minilm-uncased-squad2").is_none());
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let (line, reason) = mistake("[[model]]\nname = 'a'\nrepo = 'a/b'\ncolour = 'red'\n");
        assert_eq!(line, Some(4));
        assert!(reason.contains("colour"), "{reason}");
        let (line, reason) = mistake("[[model]]\nname = 'a'\nrepo = 'a/b'\nfamily = 'gpt'\n");
        assert_eq!(line, Some(4));
        assert!(reason.contains("gpt") && reason.contains("distilbert"), "{reason}");
        assert_eq!(mistake("[[model]\n").0, Some(1));
        assert_eq!(mistake("x = 1\n").0, Some(1));
        for (text, word) in [
            ("name = 'a'", "neither"),
            ("name = 'builtin'", "neither"),
            ("name = 'a'\nrepo = 'a/b'\npath = 'c'", "both"),
            ("name = 'a/b'\npath = 'c'", "name"),
            ("name = 'a'\npath = 'c'\nrevision = 'main'", "no repo"),
            ("name = 'a'\nrepo = '../b'", "repo"),
            ("name = 'a'\nrepo = 'a/b'\nrevision = 'x y'", "revision"),
            ("name = 'a'\nrepo = 'a/b'\nnull_threshold = nan", "finite"),
            ("name = 'a'\nrepo = 'a/b'\njoint_threshold = inf", "finite"),
            ("name = 'a'\nrepo = 'a/b'\nperhaps = -1.0", "from 0 up"),
            ("name = 'a'\nrepo = 'a/b'\ntemperature = 0.0", "from 0.000001"),
            (
                "name = 'a'\nrepo = 'a/b'\naccuracy = [{dataset='d', exact=101.0, f1=1.0, source='s'}]",
                "percent",
            ),
        ] {
            let (line, reason) = mistake(&format!("# mine\n\n[[model]]\n{text}\n"));
            assert_eq!(line, Some(3), "{text}: {reason}");
            assert!(reason.contains(word), "{text}: {reason}");
        }
        let (line, reason) = mistake("[[model]]\nname='a'\npath='b'\n[[model]]\nname='a'\npath='b'\n");
        assert_eq!(line, Some(4));
        assert!(reason.contains("already"));
        let missing = Registry::with_files([Path::new("/no/such/models.toml")]).unwrap_err();
        assert_eq!(missing.code(), "read_failed");
    }

    #[test]
    fn near_names() {
        let registry = Registry::embedded().unwrap();
        assert_eq!(registry.near("robrta"), ["roberta"]);
        assert_eq!(registry.near("bert"), ["bert-large"]);
        assert_eq!(registry.near("Distil"), ["distilbert"]);
        assert_eq!(registry.near("minilm-uncased-squad"), ["minilm"]);
        assert!(registry.near("zzzzzz").is_empty());
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
