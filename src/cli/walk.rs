//! Which files of a folder are read: what version control ignores and what is hidden is not, unless it is asked for.

use std::path::{Path, PathBuf};

use anyhow::Result;
use ignore::overrides::{Override, OverrideBuilder};
use ignore::types::{Types, TypesBuilder};
use ignore::{DirEntry, WalkBuilder};

use super::Usage;

/// What is read below folders.
#[derive(clap::Args, Debug, Clone)]
pub struct WalkArgs {
    /// Read the text files below folders, the current one if none is named; .gitignore counts, and hidden files are left out
    #[arg(short, long, help_heading = "Files")]
    pub recursive: bool,
    /// With -r: only files whose path matches, or with ! in front none that does; may be repeated, the last match counts
    #[arg(short, long, value_name = "GLOB", requires = "recursive", help_heading = "Files")]
    glob: Vec<String>,
    /// With -r: only files of a type, such as md or py; may be repeated
    #[arg(long = "type", value_name = "TYPE", requires = "recursive", help_heading = "Files")]
    types: Vec<String>,
    /// List the types and the names that belong to them
    #[arg(long, help_heading = "Files")]
    pub type_list: bool,
    /// With -r: how many folders deep to go
    #[arg(long, value_name = "N", requires = "recursive", help_heading = "Files")]
    max_depth: Option<usize>,
    /// With -r: read hidden files and folders, too
    #[arg(long, requires = "recursive", help_heading = "Files")]
    hidden: bool,
    /// With -r: read what .gitignore and .ignore leave out, too
    #[arg(long, requires = "recursive", help_heading = "Files")]
    no_ignore: bool,
}

/// A file, or what is wrong with a part of a folder.
pub type Found = Result<PathBuf, String>;

impl WalkArgs {
    /// The files below a folder that are to be read, by their names.
    pub fn files(&self, folder: &Path) -> Result<impl Iterator<Item = Found>> {
        let no_ignore = self.no_ignore;
        let mut walk = WalkBuilder::new(folder);
        walk.hidden(!self.hidden)
            .ignore(!no_ignore)
            .git_ignore(!no_ignore)
            .git_global(!no_ignore)
            .git_exclude(!no_ignore)
            .parents(!no_ignore)
            // Sources that were unpacked from an archive have the file, but no repository around it.
            .require_git(false)
            .max_depth(self.max_depth)
            .overrides(globs(folder, &self.glob, "--glob")?)
            .types(self.types()?)
            .sort_by_file_name(|a, b| a.cmp(b))
            // Hidden or not, a repository's own files are nothing to read.
            .filter_entry(move |entry| no_ignore || entry.depth() == 0 || entry.file_name() != ".git");
        Ok(walk.build().filter_map(|entry| match entry {
            Ok(entry) => is_file(&entry).then(|| Ok(entry.into_path())),
            Err(error) => Some(Err(error.to_string())),
        }))
    }

    /// What to try when nothing was found.
    pub fn advice(&self) -> Option<String> {
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
