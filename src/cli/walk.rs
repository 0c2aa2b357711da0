//! Which files of a folder are read: what version control ignores and what is hidden is not, unless it is asked for.

use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::Usage;

/// What is read below folders.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Files")]
pub struct WalkArgs {
    /// Below folders: only files whose path matches, as it is printed or from the named folder on, or with ! in front none that does; may be
    /// repeated, the last match counts
    #[arg(short, long, value_name = "GLOB")]
    glob: Vec<String>,
    /// Below folders: only files of a type, such as md or py; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// List the types and the names that belong to them
    #[arg(long)]
    pub type_list: bool,
    /// How many folders deep to go
    #[arg(long, value_name = "N")]
    max_depth: Option<usize>,
    /// Below folders: read hidden files and folders, too
    #[arg(long)]
    hidden: bool,
    /// Below folders: read what .gitignore and .ignore leave out, too
    #[arg(long)]
    no_ignore: bool,
}

/// The files outside of some folders that say what is left out below them.
#[cfg(feature = "mcp")]
pub fn ignored_by(folders: &[PathBuf]) -> impl Iterator<Item = PathBuf> {
    let above = folders.iter().flat_map(|folder| folder.ancestors().skip(1));
    let files =
        above.flat_map(|folder| [".gitignore", ".ignore", ".git/info/exclude"].map(|name| folder.join(name)));
    files.chain(ignore::gitignore::gitconfig_excludes_path()).filter(|path| path.is_file())
}

/// A file, or what is wrong with a part of a folder.
pub type Found = Result<PathBuf, String>;

/// What a walk passes over.
#[derive(Clone, Copy)]
struct Skip {
    hidden: bool,
    ignored: bool,
    /// A repository's own files.
    git: bool,
}

impl WalkArgs {
    /// The files below a folder that are to be read, by their names.
    pub fn files(&self, folder: &Path) -> Result<impl Iterator<Item = Found>> {
        // Hidden or not, a repository's own files are nothing to read.
        self.walk(folder, Skip { hidden: !self.hidden, ignored: !self.no_ignore, git: !self.no_ignore })
    }

    fn walk(&self, folder: &Path, skip: Skip) -> Result<impl Iterator<Item = Found>> {
        let mut walk = WalkBuilder::new(folder);
        walk.hidden(skip.hidden)
            .ignore(skip.ignored)
            .git_ignore(skip.ignored)
            .git_global(skip.ignored)
            .git_exclude(skip.ignored)
            .parents(skip.ignored)
            // Sources that were unpacked from an archive have the file, but no repository around it.
            .require_git(false)
            .max_depth(self.max_depth)
            .overrides(globs_below(folder, &self.glob)?)
            .types(self.types()?)
            .sort_by_file_name(|a, b| a.cmp(b))
            .filter_entry(move |entry| !skip.git || entry.depth() == 0 || entry.file_name() != ".git");
        Ok(walk.build().filter_map(|entry| match entry {
            Ok(entry) => is_file(&entry).then(|| Ok(entry.into_path())),
            Err(error) => Some(Err(error.to_string())),
        }))
    }

    /// Flags that are about folders would change nothing, in silence, where no folder is read.
    pub fn refuse_without_folders(&self, recursive: bool) -> Result<()> {
        let given = [
            ("--glob", !self.glob.is_empty()),
            ("--type", !self.types.is_empty()),
            ("--max-depth", self.max_depth.is_some()),
            ("--hidden", self.hidden),
            ("--no-ignore", self.no_ignore),
        ];
        match given.into_iter().find(|(_, given)| *given && !recursive) {
            Some((flag, _)) => {
                Err(Usage::new(format!("{flag} is about folders"), "add `-r` to read the files below them")
                    .into())
            }
            None => Ok(()),
        }
    }

    /// What the flags say, as a text: other flags, another text.
    pub fn spelled(&self) -> String {
        let Self { glob, types, type_list: _, max_depth, hidden, no_ignore } = self;
        format!("{glob:?} {types:?} {max_depth:?} {hidden} {no_ignore}")
    }

    /// Whether flags leave out a part of what is below a folder.
    pub fn is_limited(&self) -> bool {
        !self.glob.is_empty() || !self.types.is_empty() || self.max_depth.is_some()
    }

    /// That no file was found below a folder, and what to try.
    pub fn nothing_below(&self, folder: &Path, name: &str) -> Result<Usage> {
        let finds = |hidden, ignored| -> Result<bool> {
            Ok(self.walk(folder, Skip { hidden, ignored, git: true })?.any(|found| found.is_ok()))
        };
        let (hidden, ignored) = (!self.hidden, !self.no_ignore);
        let left_out = if finds(hidden, ignored)? {
            None
        } else if ignored && finds(hidden, false)? {
            Some(("ignored: .gitignore or .ignore leaves it out", "`--no-ignore` reads what is ignored"))
        } else if hidden && finds(false, ignored)? {
            Some(("hidden", "`--hidden` reads what is hidden"))
        } else if hidden && ignored && finds(false, false)? {
            Some(("hidden or ignored", "`--hidden` and `--no-ignore` together read it"))
        } else {
            None
        };
        Ok(match left_out {
            Some((why, hint)) => Usage::new(format!("everything below {name} is {why}"), hint),
            None => Usage::new(
                format!("there is no text file below {name}"),
                self.advice().unwrap_or_else(|| NOTHING_FOUND.to_owned()),
            ),
        })
    }

    fn advice(&self) -> Option<String> {
        let limits = [
            (!self.glob.is_empty(), "another `-g`"),
            (!self.types.is_empty(), "another `--type`"),
            (self.max_depth.is_some(), "a larger `--max-depth`"),
        ];
        let used: Vec<&str> = limits.iter().filter(|(used, _)| *used).map(|(_, advice)| *advice).collect();
        (!used.is_empty()).then(|| format!("try {}", used.join(" or ")))
    }

    fn types(&self) -> Result<Types> {
        let mut types = TypesBuilder::new();
        types.add_defaults();
        self.types.iter().for_each(|name| {
            types.select(name);
        });
        types.build().map_err(|error| {
            Usage::new(
                format!("cannot use --type: {error}"),
                "`spanqa ask --type-list` lists the types; `-g '*.EXTENSION'` takes any name",
            )
            .into()
        })
    }
}

fn is_file(entry: &DirEntry) -> bool {
    entry.file_type().is_some_and(|kind| kind.is_file())
}

/// Every type with the names that belong to it.
pub fn type_list() -> String {
    let mut types = TypesBuilder::new();
    types.add_defaults();
    types.definitions().iter().map(|kind| format!("{}: {}\n", kind.name(), kind.globs().join(", "))).collect()
}

/// The way out for a folder without text.
const NOTHING_FOUND: &str =
    "`--hidden` and `--no-ignore` read what is hidden or ignored; `--pre COMMAND` makes text of other files";

/// Globs for what is below a folder. One with a slash counts from the folder on, or from where the printed path begins: whoever reads
/// `notes/a.md` in an answer writes `notes/*.md`.
fn globs_below(folder: &Path, patterns: &[String]) -> Result<Override> {
    let below = names(folder);
    let mut both = Vec::new();
    for pattern in patterns {
        both.push(pattern.clone());
        let (not, from_here) = match pattern.strip_prefix('!') {
            Some(rest) => ("!", rest),
            None => ("", pattern.as_str()),
        };
        // Without a slash it counts at any depth as it is.
        if from_here.trim_end_matches('/').contains('/') && !below.is_empty() {
            let from_folder = from_here.trim_start_matches('/');
            both.push(format!("{not}/{}/{from_folder}", literal(&below)));
        }
    }
    globs(Path::new(if folder.starts_with("/") { "/" } else { "." }), &both, "--glob")
}

/// The names in a path with a slash between them, as globs have it.
fn names(path: &Path) -> String {
    let parts = path.components().filter(|part| !matches!(part, Component::CurDir | Component::RootDir));
    let names: Vec<_> = parts.map(|part| part.as_os_str().to_string_lossy()).collect();
    names.join("/")
}

/// A text as a glob that matches nothing else.
fn literal(text: &str) -> String {
    let mut glob = String::with_capacity(text.len());
    for char in text.chars() {
        if "\\*?[]{}".contains(char) {
            glob.push('\\');
        }
        glob.push(char);
    }
    glob
}

/// Globs as `.gitignore` has them, but the other way round: they say what is taken.
pub fn globs(root: &Path, globs: &[String], flag: &str) -> Result<Override> {
    let bad = |error: ignore::Error| {
        Usage::new(
            format!("cannot use {flag}: {error}"),
            format!("a glob looks like '*.md' or '!drafts/': {flag} '*.md'"),
        )
    };
    let mut all = OverrideBuilder::new(root);
    for glob in globs {
        all.add(glob).map_err(bad)?;
    }
    Ok(all.build().map_err(bad)?)
}
