//! `spanqa rank`: passages, the best first. Those of files for one question, or those that each line of JSON gives.

mod lines;
pub mod order;
mod print;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use spanqa::rerank::{Corpus, Source, Wanted};

use self::order::OrderArgs;
use self::print::Format;
use super::inputs::InputArgs;
use super::{Outcome, Usage, terminal, walk};

/// How many passages are shown unless more are asked for.
const SHOWN: usize = 10;

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
    #[command(flatten)]
    order: OrderArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.inputs.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    args.order.refuse_what_does_not_apply()?;
    match args.words.split_first() {
        Some((question, files)) => args.files(question, files, out),
        None => args.requests(out),
    }
}

impl Args {
    /// Puts the passages of files in order.
    fn files(&self, question: &OsString, files: &[OsString], out: &mut dyn Write) -> Result<Outcome> {
        let question = self.question(question, files)?;
        let format = self.order.format()?;
        let files: Vec<PathBuf> = files.iter().map(PathBuf::from).collect();
        // Inputs come first: a mistyped path should not wait for a model.
        let texts = self.inputs.read(&files, &mut |text| self.order.note(&text))?;
        let opened = self.order.open(None)?;
        let sources: Vec<Source> =
            texts.into_iter().map(|text| Source { id: text.id, text: text.text }).collect();
        for source in sources.iter().filter(|source| source.text.seen().trim().is_empty()) {
            self.order
                .note(&format!("there is nothing to read in {}", terminal::name(&source.id.to_string())));
        }
        let corpus = if self.whole { Corpus::whole(sources) } else { Corpus::cut(sources) };
        let wanted = Wanted { matching: true, ..self.order.wanted(SHOWN) };
        let outcome = self.order.rank(question, &corpus, &wanted, &opened, format, out)?;
        self.order.close(&opened);
        Ok(outcome)
    }

    /// Puts the passages of requests in order.
    fn requests(&self, out: &mut dyn Write) -> Result<Outcome> {
        let at_terminal = self.jsonl.is_none() && io::stdin().is_terminal();
        let about_files = self.whole || self.inputs.recursive || !self.inputs.contexts.is_empty();
        if at_terminal || about_files {
            let hint = "spanqa rank \"Who wrote it?\" FILE, or JSON lines on standard input";
            return Err(Usage::new("there is no question", hint).into());
        }
        if self.order.text || self.order.format.is_some_and(|format| format != Format::Json) {
            let hint = "leave --format out: a line of JSON comes out for each that goes in";
            return Err(Usage::new("with JSON lines records are JSON", hint).into());
        }
        let path = self.jsonl.clone().unwrap_or_else(|| PathBuf::from("-"));
        let inputs = lines::inputs(path, self.inputs.files.max_bytes, self.order.quiet)?;
        let opened = self.order.open(None)?;
        let outcome = lines::rank(inputs, &opened.ranker, &self.order.wanted(usize::MAX), out)?;
        self.order.close(&opened);
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
        let alone = files.is_empty() && self.inputs.contexts.is_empty() && !self.inputs.recursive;
        if alone && !question.trim().contains(char::is_whitespace) && Path::new(question).is_file() {
            let what = format!("{} is a file, and there is no question", terminal::name(question));
            return Err(Usage::new(what, hint).into());
        }
        Ok(question)
    }
}
