//! `spanqa search`: the passages of folders and corpora that a question is about.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use spanqa::index::Texts;
use spanqa::rerank::{By, Corpus, Ranker, Source, Wanted};
use spanqa::retrieve::SearchBy;

use super::inputs::FileArgs;
use super::rank::order::{OrderArgs, READ};
use super::searching::SearchArgs;
use super::{Outcome, Usage, terminal, walk};

/// How many passages are shown unless more are asked for.
const SHOWN: usize = 10;

/// Find the passages of folders and corpora that a question is about
///
/// What is searched is indexed first, and what has changed is read again, so only the first search of a large folder takes a while. The index
/// lies in the user's cache; nothing is written into the folders.
///
/// A corpus is a file of JSON lines: {"id": "7", "title": "...", "text": "..."}, where the title may be missing. Its name ends in .jsonl or
/// .ndjson.
///
/// Passages are found by the words that they share with the question, and by those of the file's name or the title. `--by` lets a model put
/// the best of them in another order. After `spanqa index --embed`, `--by embedding` and `--by both` compare the question with every passage. `spanqa ask --search` reads them and quotes the answer.
///
/// Exits 0 if a passage is shown, 1 if none is, 2 after an error.
#[derive(clap::Args)]
#[command(override_usage = "spanqa search [OPTIONS] <QUERY> [DIR]...")]
pub struct Args {
    /// The question, in quotes; then the folders or corpora, the current folder if none is named
    #[arg(value_name = "QUERY] [DIR")]
    words: Vec<OsString>,
    #[command(flatten)]
    search: SearchArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    order: OrderArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    args.order.refuse_what_does_not_apply()?;
    let format = args.order.format()?;
    let (question, paths) = args.split()?;
    let mut note = |text: String| args.order.note(&text);
    let mut library = args.search.open(&paths, &args.files, args.order.quiet, &mut note)?;
    let model = args.search.place.embedder(&paths, &args.files)?;
    let mut opened = args.order.open(model.as_deref())?;
    let mut wanted = Wanted { matching: true, ..args.order.wanted(SHOWN) };
    if args.order.read.is_none() {
        // Of a large folder all passages that share a word are too many for any model.
        wanted.read = READ;
    }
    let mut vector = None;
    if let Some((embedder, model)) = opened.ranker.embedder().zip(model) {
        // What is new has no vector yet.
        if !library.is_embedded() {
            library =
                args.search.embed(&paths, &args.files, (&model, embedder), args.order.quiet, &mut note)?;
        }
        vector = embedder.embed(&[question])?.pop();
        opened.ranker = Ranker::Found(args.order.by, embedder.name().to_owned());
    }
    let by = match (&vector, args.order.by) {
        (Some(vector), By::Embedding) => SearchBy::Meaning(vector),
        (Some(vector), By::Both) => SearchBy::Both(vector),
        _ => SearchBy::Words,
    };
    // Without vectors a model looks at those that share most words with the question.
    let most = if vector.is_some() || args.order.by == By::Words { wanted.top_k } else { wanted.read };
    let Texts { documents, passages, missing } = library.search(question, by, most);
    missing.iter().for_each(|error| note(format!("skipped: {error}")));
    let sources = documents.into_iter().map(|(id, text)| Source { id, text }).collect();
    let corpus = Corpus::found(sources, &passages, library.passages());
    let outcome = args.order.rank(question, &corpus, &wanted, &opened, format, out)?;
    args.order.close(&opened);
    Ok(outcome)
}

impl Args {
    fn split(&self) -> Result<(&str, Vec<PathBuf>)> {
        let hint = "type a question, in quotes: spanqa search \"tide tables\" DIR";
        let Some((question, paths)) = self.words.split_first() else {
            return Err(Usage::new("there is no question", hint).into());
        };
        let question = question
            .to_str()
            .ok_or_else(|| Usage::new("the question is not valid UTF-8", "type it in a UTF-8 terminal"))?;
        if question.trim().is_empty() {
            return Err(Usage::new("the question is empty", hint).into());
        }
        // A lone word that names a folder is a forgotten question.
        if paths.is_empty() && Path::new(question).exists() {
            let what = format!("{} is a path, and there is no question", terminal::name(question));
            return Err(Usage::new(what, hint).into());
        }
        Ok((question, paths.iter().map(PathBuf::from).collect()))
    }
}
