//! `spanqa index`: prepares folders and corpora for searching.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use anyhow::{Context, Result};
use indicatif::HumanBytes;
use serde::Serialize;
use spanqa::index::{Home, Index};
use spanqa::source::builtin::EMBEDDER;

use super::inputs::FileArgs;
use super::options::{RuntimeArgs, SourceArgs};
use super::output::color::ColorArg;
use super::output::json;
use super::searching::{self, IndexArgs, Watching};
use super::{Outcome, Usage, signals, terminal, walk};

/// Prepare folders and corpora for searching
///
/// A search does this by itself; here it can be done ahead. The index lies in the user's cache, the folders stay as they are. Files that have
/// not changed are not read again. After an interrupt what was done is kept.
///
/// A corpus is a file of JSON lines: {"id": "7", "title": "...", "text": "..."}, where the title may be missing.
///
/// Prints a record for each: {"path", "index", "texts", "passages", "read", "bytes", "forgotten", "embedded"?, "seconds"}. "read" counts the files or lines
/// that were new or had changed, and "bytes" what was looked at.
#[derive(clap::Args)]
#[command(after_help = "Example: spanqa index ~/notes; spanqa search \"tide tables\" ~/notes")]
pub struct Args {
    /// Folders, or corpora of JSON lines; the current folder if none is named
    #[arg(value_name = "DIR")]
    paths: Vec<PathBuf>,
    /// List the indexes that there are
    #[arg(long, conflicts_with_all = ["paths", "remove"])]
    list: bool,
    /// Remove the indexes of these folders and corpora, whatever flags they were made with
    #[arg(long, requires = "paths")]
    remove: bool,
    /// Make a vector of each passage, too, so that `spanqa search --by both` finds what shares no word with the question
    ///
    /// From then on searches by vectors make those of new passages, too.
    #[arg(long)]
    embed: bool,
    /// The model that makes vectors: a name from `spanqa models list`, `owner/repo[@revision]`, or a folder of sentence-transformers
    #[arg(short, long, value_name = "MODEL", default_value = EMBEDDER, requires = "embed", help_heading = "Model")]
    model: String,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
    #[command(flatten)]
    place: IndexArgs,
    #[command(flatten)]
    files: FileArgs,
    /// When to colour what is printed; NO_COLOR, CLICOLOR and CLICOLOR_FORCE are heard by auto
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    color: ColorArg,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Record {
    path: String,
    index: String,
    texts: usize,
    passages: usize,
    read: usize,
    bytes: u64,
    forgotten: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedded: Option<usize>,
    seconds: f64,
}

#[derive(Serialize)]
struct Listed {
    path: String,
    index: String,
    bytes: u64,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    if args.list {
        return args.list(&args.place.home()?, out);
    }
    if args.remove {
        return args.remove(&args.place.home()?);
    }
    let stopped: Arc<AtomicU8> = Arc::default();
    let stop = stopped.clone();
    signals::watch(move |code| stop.store(code, Ordering::SeqCst)).context("cannot watch for interrupts")?;
    let json = json::Style::new(args.color);
    let embedder = (args.embed)
        .then(|| searching::open_embedder(&args.model, &args.source, &args.runtime, args.quiet))
        .transpose()?;
    for place in args.place.places(&args.paths, &args.files)? {
        let started = Instant::now();
        let is_stopped = || stopped.load(Ordering::SeqCst) != 0;
        let mut note = |text: String| args.note(&text);
        let refreshed = place
            .refresh(&args.files, Watching { quiet: args.quiet, stopped: &is_stopped, note: &mut note })?;
        let embedded = match &embedder {
            Some(embedder) if !refreshed.stopped => Some(place.embed(
                &args.files,
                (&args.model, embedder),
                Watching { quiet: args.quiet, stopped: &is_stopped, note: &mut note },
            )?),
            _ => None,
        };
        if refreshed.stopped || embedded.is_some_and(|embedded| embedded.stopped) {
            args.note("stopped; the next run goes on from here");
            return Ok(Outcome::Stopped(stopped.load(Ordering::SeqCst)));
        }
        let Some(index) = Index::open(&place.folder, &place.root)? else { continue };
        let record = Record {
            path: place.root.path().display().to_string(),
            index: place.folder.display().to_string(),
            texts: index.texts(),
            passages: index.passages(),
            read: refreshed.read,
            bytes: refreshed.bytes,
            forgotten: refreshed.forgotten,
            embedded: embedded.map(|embedded| embedded.passages),
            seconds: started.elapsed().as_secs_f64(),
        };
        json.write(&record, out)?;
        out.flush()?;
    }
    Ok(Outcome::Success)
}

impl Args {
    fn list(&self, home: &Home, out: &mut dyn Write) -> Result<Outcome> {
        let json = json::Style::new(self.color);
        for kept in home.list()? {
            let listed =
                Listed { path: kept.root, index: kept.folder.display().to_string(), bytes: kept.bytes };
            json.write(&listed, out)?;
        }
        Ok(Outcome::Success)
    }

    fn remove(&self, home: &Home) -> Result<Outcome> {
        let kept = home.list()?;
        for path in &self.paths {
            let name = terminal::name(&path.display().to_string()).into_owned();
            // What was indexed may be gone by now.
            let whole = spanqa::fs::real(path).or_else(|_| std::path::absolute(path))?.display().to_string();
            let of_path: Vec<_> = kept.iter().filter(|kept| kept.root == whole).collect();
            if of_path.is_empty() {
                let hint = "`spanqa index --list` says what there is";
                return Err(Usage::new(format!("there is no index of {name}"), hint).into());
            }
            for kept in of_path {
                home.remove(kept)?;
                self.note(&format!("removed the index of {name}, {}", HumanBytes(kept.bytes)));
            }
        }
        Ok(Outcome::Success)
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            terminal::note(text);
        }
    }
}
