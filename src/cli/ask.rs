//! `spanqa ask`: questions against files, standard input or a text.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use spanqa::reader::{Asking, Passage, Query};
use spanqa::source::Origin;

use super::inputs::{DEFAULT_MAX_BYTES, Inputs};
use super::options::{ReaderArgs, UnitArg};
use super::output::{ColorArg, Format, Printer};
use super::progress::WindowBar;
use super::{Outcome, Usage, notice, terminal};

/// Answer questions from files, standard input or a text
///
/// Every file is one document. Several documents are read as one: their answers compete, and "no answer" means that none of them
/// answers. Without files the text is read from standard input.
///
/// Exits 0 if every question was answered, 1 if one was not, 2 after an error.
#[derive(clap::Args)]
#[command(override_usage = "spanqa ask [OPTIONS] <QUESTION> [FILE]...\n       \
                            spanqa ask [OPTIONS] -q <QUESTION>... [FILE]...")]
pub struct Args {
    /// The question, in quotes, unless it is given with -q; then the files to read, or - for standard input
    #[arg(value_name = "QUESTION] [FILE")]
    words: Vec<OsString>,
    /// A question; may be repeated
    #[arg(short, long = "question", value_name = "QUESTION")]
    questions: Vec<String>,
    /// A text to read instead of a file; may be repeated
    #[arg(short, long = "context", value_name = "TEXT")]
    contexts: Vec<String>,
    /// Read all text files below folders
    #[arg(short, long)]
    recursive: bool,
    /// Refuse documents larger than this
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_BYTES)]
    max_bytes: u64,
    /// How to print replies
    #[arg(short, long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// What start, end and column count
    #[arg(long, value_enum, value_name = "UNIT", default_value_t = UnitArg::Char)]
    offset_unit: UnitArg,
    /// Explain replies: windows, their null logits and best spans, token scores
    #[arg(long)]
    why: bool,
    /// When to colour answers; NO_COLOR turns auto off
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    color: ColorArg,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    reader: ReaderArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let (questions, files) = args.split()?;
    let mut notes: Vec<String> = Vec::new();
    let mut note = |text: String| {
        if !args.quiet && !notes.contains(&text) {
            terminal::note(&text);
            notes.push(text);
        }
    };

    // Inputs come first: a mistyped path should not wait for a model.
    let inputs = Inputs {
        files: &files,
        contexts: &args.contexts,
        recursive: args.recursive,
        max_bytes: args.max_bytes,
    };
    let texts = inputs.read(&mut note)?;
    let resolved = args.reader.resolve(args.quiet)?;
    let asking = Asking {
        decoding: args.reader.decoding.decoding(&resolved, args.format == Format::Text)?,
        unit: args.offset_unit.into(),
        why: args.why,
    };
    let reader = args.reader.open(&resolved, args.quiet)?;

    let mut passages: Vec<Passage> = Vec::with_capacity(texts.len());
    for text in texts {
        let passage = reader.prepare(text.id, text.text)?;
        if passage.is_blank() {
            note(format!("there is nothing to read in {}", terminal::name(&passage.id.to_string())));
        }
        passages.push(passage);
    }
    let queries: Vec<Query> = (questions.iter().enumerate())
        .map(|(index, question)| Query {
            id: (index + 1).to_string().into(),
            question,
            passages: passages.iter().collect(),
        })
        .collect();
    let mut bar = WindowBar::new(args.quiet);
    let replies = reader.answer(&queries, &asking, &mut |progress| bar.update(progress));
    bar.finish();
    args.reader.runtime.report(&reader, args.quiet);

    let printer = Printer::new(args.format, args.color, args.reader.decoding.handle_impossible_answer);
    let mut outcome = Outcome::Success;
    for (query, reply) in queries.iter().zip(replies?) {
        let reply = reply.with_context(|| format!("cannot ask question {}", query.id))?;
        reply.notes.iter().cloned().for_each(&mut note);
        if !reply.answered {
            outcome = Outcome::Negative;
        }
        printer.print(&reply, &passages, out)?;
        // Whoever interrupts the program finds whole records.
        out.flush()?;
    }
    if resolved.origin == Origin::BuiltIn && !args.quiet {
        notice::built_in_model(|text| terminal::note(text));
    }
    Ok(outcome)
}

impl Args {
    /// The questions and the files among what was typed.
    fn split(&self) -> Result<(Vec<String>, Vec<PathBuf>)> {
        let mut words = self.words.iter();
        let mut questions = self.questions.clone();
        if questions.is_empty() {
            let hint = "spanqa ask \"Who wrote it?\" FILE, or -q \"...\" for each of several questions";
            let word = words.next().ok_or_else(|| Usage::new("there is no question", hint))?;
            let question = word.to_str().ok_or_else(|| {
                Usage::new("the question is not valid UTF-8", "type it in a UTF-8 terminal")
            })?;
            questions.push(question.to_owned());
        }
        if let Some(blank) = questions.iter().position(|question| question.trim().is_empty()) {
            return Err(Usage::new(
                format!("question {} is empty", blank + 1),
                "type a question, in quotes: spanqa ask \"Who wrote it?\" FILE",
            )
            .into());
        }
        // A lone word that names a file is a forgotten question, not a question.
        if let [only] = questions.as_slice()
            && self.questions.is_empty()
            && words.len() == 0
            && self.contexts.is_empty()
            && !only.trim().contains(char::is_whitespace)
            && std::path::Path::new(only).is_file()
        {
            return Err(Usage::new(
                format!("{only} is a file, and there is no question"),
                format!("put the question first: spanqa ask \"Who wrote it?\" {only}"),
            )
            .into());
        }
        Ok((questions, words.map(PathBuf::from).collect()))
    }
}
