//! Indexes as commands open them: brought up to date first, with remarks about what cannot be read.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::ValueEnum;
use spanqa::embed::Embedder;
use spanqa::index::{self, Embedded, Embedding, Home, Index, Progress, Refresh, Refreshed, Root};
use spanqa::retrieve::{Find, Library};

use super::inputs::FileArgs;
use super::options::{ReaderArgs, RuntimeArgs, SourceArgs};
use super::progress::IndexBar;
use super::skipped::Skipped;
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

/// Which index is searched for questions, and by what.
#[derive(clap::Args, Debug, Clone, Default)]
#[command(next_help_heading = "Search")]
pub struct FindArgs {
    #[command(flatten)]
    search: SearchArgs,
    /// By what passages are found; but for words the folder has to be indexed with `spanqa index --embed`
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = FindBy::Words)]
    find: FindBy,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FindBy {
    /// The words that they share with the question
    #[default]
    Words,
    /// How near they are to the question in meaning
    Embedding,
    /// Both, fused
    Both,
}

impl FindArgs {
    /// Flags about searching would change nothing, in silence, where nothing is searched. A folder for indexes may be named for good.
    pub fn refuse_without_search(&self, search: bool) -> Result<()> {
        let given = [("--no-refresh", self.search.no_refresh), ("--find", self.find != FindBy::Words)];
        match given.into_iter().find(|(_, given)| *given && !search) {
            Some((flag, _)) => {
                let hint = "leave it out, or add `--search`";
                Err(Usage::new(format!("{flag} is about searching"), hint).into())
            }
            None => Ok(()),
        }
    }

    /// Opens the indexes of some folders and corpora if all of them have one.
    #[cfg(feature = "mcp")]
    pub fn open_if_there(
        &self,
        paths: &[PathBuf],
        files: &FileArgs,
        reader: &ReaderArgs,
    ) -> Result<Option<Library>> {
        let places = self.search.place.places(paths, files)?;
        match places.iter().all(is_there) {
            true => self.open(paths, files, reader, true, &mut |_| {}).map(Some),
            false => Ok(None),
        }
    }

    /// Where the indexes of some folders are, of those that have one.
    #[cfg(feature = "mcp")]
    pub fn indexes(&self, paths: &[PathBuf], files: &FileArgs) -> Result<Vec<PathBuf>> {
        let places = self.search.place.places(paths, files)?.into_iter();
        Ok(places.filter(is_there).map(|place| place.folder).collect())
    }

    /// The model that is needed to search the indexes of some folders, if one is.
    #[cfg(feature = "mcp")]
    pub fn embedder(&self, paths: &[PathBuf], files: &FileArgs) -> Result<Option<String>> {
        match self.find {
            FindBy::Words => Ok(None),
            FindBy::Embedding | FindBy::Both => self.search.place.embedder(paths, files),
        }
    }

    /// Opens the indexes of some folders and corpora, brought up to date unless that is not wanted.
    pub fn open(
        &self,
        paths: &[PathBuf],
        files: &FileArgs,
        reader: &ReaderArgs,
        quiet: bool,
        note: Note,
    ) -> Result<Library> {
        let library = self.search.open(paths, files, quiet, note)?;
        if self.find == FindBy::Words {
            return Ok(library);
        }
        let Some(model) = self.search.place.embedder(paths, files)? else {
            let hint = "`spanqa index --embed DIR` makes vectors, for all folders by the same model";
            return Err(Usage::new("what is searched has no vectors", hint).into());
        };
        let embedder = open_embedder(&model, &reader.model.source, &reader.runtime, quiet)?;
        let library = match library.is_embedded() {
            true => library,
            // What is new has no vector yet.
            false => self.search.embed(paths, files, (&model, &embedder), quiet, note)?,
        };
        Ok(library.with(match self.find {
            FindBy::Words => Find::Words,
            FindBy::Embedding => Find::Embedding(embedder.into()),
            FindBy::Both => Find::Both(embedder.into()),
        }))
    }
}

/// Loads a model that makes vectors.
pub fn open_embedder(
    model: &str,
    source: &SourceArgs,
    runtime: &RuntimeArgs,
    quiet: bool,
) -> Result<Embedder> {
    let resolved = source.resolve(model, quiet)?;
    runtime.device.start_threads()?;
    let embedder = Embedder::open(&resolved.files, &runtime.device.runtime())
        .with_context(|| format!("cannot use model {model}"))?;
    runtime.device.note(embedder.device(), quiet);
    Ok(embedder.with_batch_tokens(runtime.batch_tokens))
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

impl IndexArgs {
    /// The model that made the vectors of all these indexes, as it is asked for.
    pub fn embedder(&self, paths: &[PathBuf], files: &FileArgs) -> Result<Option<String>> {
        let models = self.places(paths, files)?.into_iter().map(|place| Index::embedder(&place.folder));
        let models: Vec<Option<String>> = models.collect::<Result<_, _>>()?;
        let first = models.first().cloned().flatten();
        Ok(first.filter(|first| models.iter().all(|model| model.as_ref() == Some(first))))
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

/// How the indexing of one place is watched.
pub struct Watching<'a> {
    /// No bar.
    pub quiet: bool,
    /// Whether somebody wants it to end.
    pub stopped: &'a dyn Fn() -> bool,
    /// Hears remarks.
    pub note: Note<'a>,
}

impl Watching<'_> {
    /// Lets `run` work on an index, showing how far it is and what it skips.
    fn over<T>(
        &mut self,
        name: &str,
        run: impl FnOnce(&mut dyn FnMut(Progress) -> ControlFlow<()>) -> index::Result<T>,
    ) -> Result<T> {
        let Self { quiet, stopped, note } = self;
        let (mut bar, mut binaries, mut lines) =
            (IndexBar::new(*quiet), Skipped::binaries(), Skipped::lines());
        let done = run(&mut |progress| {
            match progress {
                Progress::Waiting => note(format!("waiting for another process that indexes {name}")),
                Progress::Read { bytes, total } => bar.read(bytes, total),
                Progress::Embedded { passages, total } => bar.embedded(passages as u64, total as u64),
                Progress::Skipped(index::Error::Document(error)) if error.is_binary() => {
                    binaries.count(error)
                }
                Progress::Skipped(error @ index::Error::BadLine { .. }) => lines.count(error),
                Progress::Skipped(error) => note(format!("skipped: {error}")),
            }
            if stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish();
        binaries.report(note);
        lines.report(note);
        done.with_context(|| format!("cannot index {name}"))
    }
}

impl Place {
    /// What people call it.
    pub fn name(&self) -> String {
        terminal::name(&self.root.path().display().to_string()).into_owned()
    }

    /// The files below a folder; none for a corpus.
    fn files(&self, args: &FileArgs, note: &mut dyn FnMut(String)) -> Result<Vec<PathBuf>> {
        let Root::Folder(folder) = &self.root else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        // Indexes that lie below the folder are no text of it.
        let indexes = self.home.below(folder);
        for found in args.walk.files(folder)? {
            match found {
                Ok(path) if indexes.iter().any(|index| path.starts_with(index)) => {}
                Ok(path) if path.to_str().is_some() => files.push(path),
                Ok(path) => note(format!("skipped: the name of {} is no UTF-8", path.display())),
                Err(error) => note(format!("skipped: {error}")),
            }
        }
        if files.is_empty() {
            return Err(args.walk.nothing_below(folder, &self.name())?.into());
        }
        Ok(files)
    }

    /// Brings the index up to date.
    pub fn refresh(&self, args: &FileArgs, watching: Watching) -> Result<Refreshed> {
        self.up_to_date(args, watching, |refresh, watch| refresh.run(&self.folder, watch))
    }

    /// The same, and opens it.
    fn open(&self, args: &FileArgs, watching: Watching) -> Result<Option<Index>> {
        self.up_to_date(args, watching, |refresh, watch| refresh.open(&self.folder, watch))
    }

    fn up_to_date<T>(
        &self,
        args: &FileArgs,
        mut watching: Watching,
        run: impl FnOnce(&Refresh, &mut dyn FnMut(Progress) -> ControlFlow<()>) -> index::Result<T>,
    ) -> Result<T> {
        let (files, ways) = (self.files(args, watching.note)?, args.ways()?);
        let read = |path: &Path| ways.read(path);
        let refresh = Refresh { root: &self.root, files: &files, read: &read };
        watching.over(&self.name(), |watch| run(&refresh, watch))
    }

    /// Makes vectors of the passages that have none.
    pub fn embed(
        &self,
        args: &FileArgs,
        (model, embedder): (&str, &Embedder),
        mut watching: Watching,
    ) -> Result<Embedded> {
        let ways = args.ways()?;
        let read = |path: &Path| ways.read(path);
        let refresh = Refresh { root: &self.root, files: &[], read: &read };
        let digest = embedder.digest().with_context(|| format!("cannot tell which model {model} is"))?;
        let embedding = Embedding { model, digest: &digest, embedder };
        watching.over(&self.name(), |watch| refresh.embed(&self.folder, &embedding, watch))
    }
}

impl SearchArgs {
    /// Opens the indexes of some folders and corpora, brought up to date unless that is not wanted.
    pub fn open(&self, paths: &[PathBuf], files: &FileArgs, quiet: bool, note: Note) -> Result<Library> {
        let mut indexes = Vec::new();
        for place in self.place.places(paths, files)? {
            let name = place.name();
            let watching = Watching { quiet, stopped: &|| false, note: &mut *note };
            let index = match self.no_refresh {
                true => Index::open(&place.folder, &place.root)?,
                false => match place.open(files, watching) {
                    Ok(index) => index,
                    // What can be searched is searched: a cache that cannot be written is no reason to stop.
                    Err(error) => {
                        let is_hopeless = matches!(error.downcast_ref(), Some(index::Error::Document(_)));
                        let there = Index::open(&place.folder, &place.root).ok().flatten();
                        if error.is::<Usage>() || is_hopeless || there.is_none() {
                            return Err(error);
                        }
                        note(format!("{}; searching what is there", super::message(&error)));
                        there
                    }
                },
            };
            match index {
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

    /// Opens indexes whose passages all have a vector by a model; makes those that are missing.
    pub fn embed(
        &self,
        paths: &[PathBuf],
        files: &FileArgs,
        embedder: (&str, &Embedder),
        quiet: bool,
        note: Note,
    ) -> Result<Library> {
        for place in self.place.places(paths, files)? {
            place.embed(files, embedder, Watching { quiet, stopped: &|| false, note: &mut *note })?;
        }
        Self { no_refresh: true, ..self.clone() }.open(paths, files, quiet, note)
    }
}

#[cfg(feature = "mcp")]
fn is_there(place: &Place) -> bool {
    Index::open(&place.folder, &place.root).is_ok_and(|index| index.is_some())
}
