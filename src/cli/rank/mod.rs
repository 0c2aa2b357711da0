//! `spanqa rank`: passages, the best first. Those of files for one question, or those that each line of JSON gives.

mod lines;
mod print;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use spanqa::embed::Embedder;
use spanqa::request::Options;
use spanqa::request::reply::Id;
use spanqa::rerank::{By, Corpus, PairModel, Ranker, Record, Source, Spelling, Task, Wanted};
use spanqa::source::Origin;
use spanqa::text::offsets::OffsetUnit;
use spanqa::text::window::Limits;

use self::print::{Format, Printer};
use super::inputs::InputArgs;
use super::options::{
    ModelArgs, PROMISING, Read, ReaderArgs, RuntimeArgs, UNITS, at_least_one, choice, number,
};
use super::output::color::ColorArg;
use super::progress::WindowBar;
use super::{Outcome, Usage, notice, session, terminal, walk};

const ORDERS: &[(&str, &str)] = &[
    ("words", "The words that they share with the question (BM25); needs no model"),
    ("reader", "By how many logits their best span leads \"no answer\""),
    ("embedding", "The cosine of their vector and that of the question"),
    ("both", "Words and embedding, fused by the places in both orders (reciprocal ranks)"),
    ("cross-encoder", "The logit that the model of --model gives to question and passage"),
];

/// The models inside the program.
const BUILT_IN: &str = "builtin";
const BUILT_IN_EMBEDDER: &str = "builtin-embedder";

/// How many passages are shown unless more are asked for.
const SHOWN: usize = 10;

/// How many passages a model reads unless more are asked for.
const READ: usize = 100;

/// Put passages in order: those of files for a question, or those of JSON lines
///
/// With a question, files are cut into the passages of a few hundred characters that `spanqa ask` looks through, or with --whole each file
/// is one. Without files the text is read from standard input. Passages that have no word of the question are left out if the order is
/// by words.
///
/// Without a question, or with --jsonl, each line is a request such as {"id": 7, "query": "...", "passages": ["...", {"id": "a", "text": "..."}]},
/// and a record comes out for each, with all its passages in order. One that cannot be done gets {"line", "id"?, "error": {"code", "message",
/// "hint"}}.
///
/// Exits 0 if a passage is shown, 1 if none is, 2 after an error. With JSON lines 0, or 2 if a request could not be done.
#[derive(clap::Args)]
#[command(override_usage = "spanqa rank [OPTIONS] <QUESTION> [FILE]...\n       \
                            spanqa rank [OPTIONS] [--jsonl <FILE>]")]
pub struct Args {
    /// The question, in quotes; then the files to read, or - for standard input
    #[arg(value_name = "QUESTION] [FILE")]
    words: Vec<OsString>,
    /// Read requests from a file of JSON lines, plain, .gz, .zst or .bz2, or from - for standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["words", "contexts", "recursive", "whole"])]
    jsonl: Option<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Take each file as one passage
    #[arg(long, help_heading = "Order")]
    whole: bool,
    /// What passages are ordered by
    #[arg(long, value_parser = choice::<By>(ORDERS), value_name = "WHAT", default_value_t = By::Words, help_heading = "Order")]
    by: By,
    /// How many passages to show, best first [default: 10; with JSON lines all]
    #[arg(short = 'k', long, value_name = "N", value_parser = at_least_one, help_heading = "Order")]
    top_k: Option<usize>,
    /// Show only passages with at least this score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = number, help_heading = "Order")]
    min_score: Option<f64>,
    /// With a model: read only these many passages that share most words with the question, or all [default: 100; all for embeddings]
    #[arg(long, value_name = "N|all", help_heading = "Order")]
    read: Option<Read>,
    /// How to print passages; SPANQA_FORMAT sets it for good [default: json]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// The same as --format text
    #[arg(short = 't', overrides_with = "format")]
    text: bool,
    /// What start, end and column count
    #[arg(long, value_parser = choice::<OffsetUnit>(UNITS), value_name = "UNIT", default_value_t = OffsetUnit::Char)]
    offset_unit: OffsetUnit,
    /// When to colour what is printed; NO_COLOR, CLICOLOR and CLICOLOR_FORCE are heard by auto
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    color: ColorArg,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// What puts passages in order, and whether the model inside the program answers.
struct Opened {
    ranker: Ranker,
    built_in: bool,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.inputs.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    if args.by == By::Words && args.read.is_some() {
        let hint = "leave it out, or add `--by reader`";
        return Err(Usage::new("--read belongs to orders that a model makes", hint).into());
    }
    match args.words.split_first() {
        Some((question, files)) => args.files(question, files, out),
        None => args.requests(out),
    }
}

impl Args {
    /// Puts the passages of files in order.
    fn files(&self, question: &OsString, files: &[OsString], out: &mut dyn Write) -> Result<Outcome> {
        let question = self.question(question, files)?;
        let format = match (self.text, self.format) {
            (true, _) => Format::Text,
            (false, Some(format)) => format,
            (false, None) => session::usual_format()?.map_or(Format::Json, Format::from),
        };
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        // Inputs come first: a mistyped path should not wait for a model.
        let texts = self.inputs.read(&files, &mut |text| self.note(&text))?;
        let opened = self.open()?;
        let sources: Vec<Source> =
            texts.into_iter().map(|text| Source { id: text.id, text: text.text }).collect();
        for source in sources.iter().filter(|source| source.text.seen().trim().is_empty()) {
            self.note(&format!("there is nothing to read in {}", terminal::name(&source.id.to_string())));
        }
        let corpus = if self.whole { Corpus::whole(sources) } else { Corpus::cut(sources) };
        let wanted = Wanted { matching: true, ..self.wanted(SHOWN) };
        let mut bar = WindowBar::new(self.quiet);
        let task = Task { query: question, corpus: &corpus };
        let found = opened.ranker.rank(&[task], &wanted, &mut |progress| bar.update(progress));
        bar.finish();
        let Some(ranking) = found?.pop().transpose()? else { return Ok(Outcome::Negative) };
        let id = Id::from("1");
        let spelling = Spelling::Places(self.offset_unit);
        let record = Record::new((&id, question), &opened.ranker, &corpus, &ranking, spelling);
        let printer = Printer::new(format, self.color);
        printer.print(&record, &corpus, out)?;
        out.flush()?;
        if format == Format::Grep && record.read.is_some_and(|read| read < record.passages) {
            self.note(&print::unread(&record));
        }
        self.close(&opened);
        Ok(if record.results.is_empty() { Outcome::Negative } else { Outcome::Success })
    }

    /// Puts the passages of requests in order.
    fn requests(&self, out: &mut dyn Write) -> Result<Outcome> {
        let at_terminal = self.jsonl.is_none() && io::stdin().is_terminal();
        let about_files = self.whole || self.inputs.walk.recursive || !self.inputs.contexts.is_empty();
        if at_terminal || about_files {
            let hint = "spanqa rank \"Who wrote it?\" FILE, or JSON lines on standard input";
            return Err(Usage::new("there is no question", hint).into());
        }
        if self.text || self.format.is_some_and(|format| format != Format::Json) {
            let hint = "leave --format out: a line of JSON comes out for each that goes in";
            return Err(Usage::new("with JSON lines records are JSON", hint).into());
        }
        let path = self.jsonl.clone().unwrap_or_else(|| PathBuf::from("-"));
        let inputs = lines::inputs(path, self.inputs.max_bytes, self.quiet)?;
        let opened = self.open()?;
        let outcome = lines::rank(inputs, &opened.ranker, &self.wanted(usize::MAX), out)?;
        self.close(&opened);
        Ok(outcome)
    }

    fn question<'a>(&self, question: &'a OsString, files: &[OsString]) -> Result<&'a str> {
        let question = question
            .to_str()
            .ok_or_else(|| Usage::new("the question is not valid UTF-8", "type it in a UTF-8 terminal"))?;
        let hint = "type a question, in quotes: spanqa rank \"Who wrote it?\" FILE";
        if question.trim().is_empty() {
            return Err(Usage::new("the question is empty", hint).into());
        }
        // A lone word that names a file is a forgotten question, not a question.
        let alone = files.is_empty() && self.inputs.contexts.is_empty() && !self.inputs.walk.recursive;
        if alone && !question.trim().contains(char::is_whitespace) && Path::new(question).is_file() {
            let what = format!("{} is a file, and there is no question", terminal::name(question));
            return Err(Usage::new(what, hint).into());
        }
        Ok(question)
    }

    /// Whether the order needs vectors.
    fn embeds(&self) -> bool {
        matches!(self.by, By::Embedding | By::Both)
    }

    fn wanted(&self, shown: usize) -> Wanted {
        Wanted {
            top_k: self.top_k.unwrap_or(shown),
            read: match self.read {
                // Vectors are there to find what shares no word with the question.
                None if self.embeds() => usize::MAX,
                None => READ,
                Some(Read::Best(passages)) => passages,
                Some(Read::All) => usize::MAX,
            },
            min_score: self.min_score,
            matching: false,
            unit: self.offset_unit,
        }
    }

    /// Loads the model that the order needs, if it needs one.
    fn open(&self) -> Result<Opened> {
        if self.by == By::Words {
            self.runtime.device.start_threads()?;
            return Ok(Opened { ranker: Ranker::Words, built_in: false });
        }
        let mut args = ReaderArgs::usual(self.model.clone(), self.runtime.clone());
        // Of the models inside the program, the one that can do it.
        if self.embeds() && args.model.model == BUILT_IN {
            args.model.model = BUILT_IN_EMBEDDER.into();
        }
        let resolved = args.resolve(self.quiet)?;
        let context = || format!("cannot use model {}", args.model.model);
        let runtime = || self.runtime.device.runtime();
        let ranker = match self.by {
            By::CrossEncoder => {
                self.runtime.device.start_threads()?;
                let model = PairModel::open(&resolved.files, &runtime()).with_context(context)?;
                Ranker::CrossEncoder(Box::new(model.with_batch_tokens(self.runtime.batch_tokens)))
            }
            By::Embedding | By::Both => {
                self.runtime.device.start_threads()?;
                let embedder = Embedder::open(&resolved.files, &runtime()).with_context(context)?;
                let embedder = Box::new(embedder.with_batch_tokens(self.runtime.batch_tokens));
                if self.by == By::Both { Ranker::Both(embedder) } else { Ranker::Embedding(embedder) }
            }
            By::Reader | By::Words => {
                let decoding = args.decoding.decoding(&resolved, false)?;
                let options = Options {
                    decoding,
                    // A passage fits into a window of this size; of longer ones the best windows are read.
                    limits: Limits::default(),
                    read: Some(PROMISING),
                    unit: self.offset_unit,
                    why: false,
                };
                Ranker::Reader(Box::new(args.open(&resolved, self.quiet)?), Arc::new(options))
            }
        };
        // The reader has said it.
        if let Some(device) = ranker.device().filter(|_| self.by != By::Reader) {
            self.runtime.device.note(device, self.quiet);
        }
        let built_in = self.by == By::Reader && resolved.origin == Origin::BuiltIn;
        Ok(Opened { ranker, built_in })
    }

    /// Says what is to be said at the end.
    fn close(&self, opened: &Opened) {
        let ranker = &opened.ranker;
        if ranker.by() != By::Words {
            self.runtime.report_of(&ranker.model_notes(), &ranker.model_times(), self.quiet);
        }
        if opened.built_in && !self.quiet {
            notice::built_in_model(|text| terminal::note(text));
        }
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            terminal::note(text);
        }
    }
}
