//! Indexes as commands open them: brought up to date first, with remarks about what cannot be read.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use spanqa::index::{self, Home, Index, Progress, Refresh, Refreshed, Root};
use spanqa::retrieve::Library;

use super::inputs::{Binaries, FileArgs};
use super::progress::IndexBar;
use super::{Usage, terminal};
use crate::cli::hints::files::quoted;

/// Which index is searched.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Search")]
pub struct IndexArgs {
    /// Keep indexes below this folder instead of the user's cache
    #[arg(long, value_name = "FOLDER", env = "SPANQA_INDEX")]
    index: Option<PathBuf>,
}

/// How fresh an index has to be.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Search")]
pub struct SearchArgs {
    #[command(flatten)]
    pub place: IndexArgs,
    /// Search the index as it is, without a look at what has changed since
    #[arg(long)]
    no_refresh: bool,
}

/// Something to index, and where its index is.
pub struct Place {
    home: Home,
    pub root: Root,
    pub folder: PathBuf,
}

/// Hears remarks.
pub type Note<'a> = &'a mut dyn FnMut(String);

impl IndexArgs {
    pub fn home(&self) -> Result<Home> {
        Ok(match &self.index {
            Some(folder) if !folder.as_os_str().is_empty() => Home::at(folder.clone()),
            _ => Home::usual()?,
        })
    }

    /// What is to be indexed, the current folder if nothing is named, and where.
    pub fn places(&self, paths: &[PathBuf], files: &FileArgs) -> Result<Vec<Place>> {
        let home = self.home()?;
        let here = [PathBuf::from(".")];
        let paths = if paths.is_empty() { &here } else { paths };
        let mut places: Vec<Place> = Vec::new();
        for path in paths {
            if path.as_os_str() == "-" {
                let hint = "save it in a file, or ask without `--search`";
                return Err(Usage::new("standard input cannot be searched", hint).into());
            }
            let root = root(path)?;
            let folder = home.index_of(&root, &files.spelled())?;
            // The same folder by another name would be there twice.
            if !places.iter().any(|place| place.folder == folder) {
                places.push(Place { home: home.clone(), root, folder });
            }
        }
        Ok(places)
    }
}

/// A folder, or a file of JSON lines.
fn root(path: &Path) -> Result<Root> {
    let name = path.display().to_string();
    let shown = terminal::name(&name);
    path.metadata().map_err(|error| {
        let hint = "check the path; the question comes first and in quotes, then the folders";
        Usage::new(format!("cannot search {shown}: {error}"), hint)
    })?;
    let root = Root::at(path);
    if matches!(root, Root::Corpus(_)) && !is_lines(&name) {
        let hint = format!("`spanqa ask \"...\" {}` reads it", quoted(&shown));
        let what = format!("{shown} is neither a folder nor a corpus, whose name ends in .jsonl");
        return Err(Usage::new(what, hint).into());
    }
    Ok(root)
}

/// Whether a file's name is that of JSON lines. Of packed ones the index says what to do.
fn is_lines(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let bare = [".gz", ".zst", ".bz2"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(&name);
    [".jsonl", ".ndjson"].iter().any(|end| bare.ends_with(end))
}

/// Brings an index up to date.
pub fn refresh(
    place: &Place,
    args: &FileArgs,
    quiet: bool,
    stopped: &dyn Fn() -> bool,
    note: Note,
) -> Result<Refreshed> {
    let name = terminal::name(&place.root.path().display().to_string()).into_owned();
    let mut files = Vec::new();
    if let Root::Folder(folder) = &place.root {
        // Indexes that lie below the folder are no text of it.
        let indexes = place.home.below(folder);
        for found in args.walk.files(folder)? {
            match found {
                Ok(path) if indexes.iter().any(|index| path.starts_with(index)) => {}
                Ok(path) if path.to_str().is_some() => files.push(path),
                Ok(path) => note(format!("skipped: the name of {} is no UTF-8", path.display())),
                Err(error) => note(format!("skipped: {error}")),
            }
        }
        if files.is_empty() {
            return Err(args.walk.nothing_below(folder, &name)?.into());
        }
    }
    let ways = args.ways()?;
    let read = |path: &Path| ways.read(path);
    let refresh = Refresh { root: &place.root, files: &files, read: &read };
    let (mut bar, mut binaries, mut lines) = (IndexBar::new(quiet), Binaries::default(), BadLines::default());
    let refreshed = refresh.run(&place.folder, &mut |progress| {
        match progress {
            Progress::Waiting => note(format!("waiting for another process that indexes {name}")),
            Progress::Read { bytes, total } => bar.update(bytes, total),
            Progress::Skipped(index::Error::Document(error)) if error.is_binary() => binaries.count(error),
            Progress::Skipped(error @ index::Error::BadLine { .. }) => lines.count(error),
            Progress::Skipped(error) => note(format!("skipped: {error}")),
        }
        if stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    bar.finish();
    binaries.report(note);
    lines.report(note);
    refreshed.with_context(|| format!("cannot index {name}"))
}

impl SearchArgs {
    /// Flags about searching would change nothing, in silence, where nothing is searched. A folder for indexes may be named for good.
    pub fn refuse_without_search(&self, search: bool) -> Result<()> {
        if self.no_refresh && !search {
            let hint = "leave it out, or add `--search`";
            return Err(Usage::new("--no-refresh is about searching", hint).into());
        }
        Ok(())
    }

    /// Opens the indexes of some folders and corpora, brought up to date unless that is not wanted.
    pub fn open(&self, paths: &[PathBuf], files: &FileArgs, quiet: bool, note: Note) -> Result<Library> {
        let mut indexes = Vec::new();
        for place in self.place.places(paths, files)? {
            let name = terminal::name(&place.root.path().display().to_string()).into_owned();
            if !self.no_refresh
                && let Err(error) = refresh(&place, files, quiet, &|| false, note)
            {
                // What can be searched is searched: a cache that cannot be written is no reason to stop.
                let is_hopeless = matches!(error.downcast_ref(), Some(index::Error::Document(_)));
                if error.is::<Usage>() || is_hopeless || !is_there(&place) {
                    return Err(error);
                }
                note(format!("{error:#}; searching what is there"));
            }
            match Index::open(&place.folder, &place.root)? {
                Some(index) => indexes.push(index),
                None => {
                    let hint = format!("`spanqa index {}` makes one", quoted(&name));
                    return Err(Usage::new(format!("there is no index of {name}"), hint).into());
                }
            }
        }
        let ways = files.ways()?;
        Ok(Library::new(indexes, Box::new(move |path| ways.read(path))))
    }
}

fn is_there(place: &Place) -> bool {
    Index::open(&place.folder, &place.root).is_ok_and(|index| index.is_some())
}

/// Lines of a corpus that are no texts: one remark about them all.
#[derive(Default)]
struct BadLines {
    first: String,
    count: usize,
}

impl BadLines {
    fn count(&mut self, error: &index::Error) {
        if self.count == 0 {
            self.first = error.to_string();
        }
        self.count += 1;
    }

    fn report(&self, note: Note) {
        match self.count {
            0 => {}
            1 => note(format!("skipped: {}", self.first)),
            count => note(format!("skipped: {}, and {} more lines", self.first, count - 1)),
        }
    }
}
