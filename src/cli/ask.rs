//! `spanqa ask`: questions against files, standard input or a text.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use spanqa::reader::{Document, Question};
use spanqa::request::Options;
use spanqa::source::Origin;
use spanqa::text::offsets::OffsetUnit;

use super::inputs::InputArgs;
use super::options::{CareArgs, ReaderArgs, UNITS, choice};
use super::output::{ColorArg, Format, Printer};
use super::progress::WindowBar;
use super::{Outcome, Usage, hints, notice, terminal, walk};

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
    #[command(flatten)]
    inputs: InputArgs,
    /// How to print replies
    #[arg(short, long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// What start, end and column count
    #[arg(long, value_parser = choice::<OffsetUnit>(UNITS), value_name = "UNIT", default_value_t = OffsetUnit::Char)]
    offset_unit: OffsetUnit,
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
    care: CareArgs,
    #[command(flatten)]
    reader: ReaderArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.inputs.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    let (questions, files) = args.split()?;
    let mut notes: Vec<String> = Vec::new();
    let mut note = |text: String| {
        if !args.quiet && !notes.contains(&text) {
            terminal::note(&text);
            notes.push(text);
        }
    };

    // Inputs come first: a mistyped path should not wait for a model.
    let texts = args.inputs.read(&files, &mut note)?;
    let resolved = args.reader.resolve(args.quiet)?;
    let read = args.reader.read(args.reader.decoding.reads());
    let options = Arc::new(Options {
        decoding: args.care.decoding(&args.reader.decoding, &resolved, args.format == Format::Text)?,
        limits: args.reader.limits.limits(read),
        read,
        unit: args.offset_unit,
        why: args.why,
    });
    let reader = args.reader.open(&resolved, args.quiet)?;

    let mut documents: Vec<Arc<Document>> = Vec::with_capacity(texts.len());
    for text in texts {
        let document = reader.prepare_document(text.id, text.text)?;
        if document.is_blank() {
            note(format!("there is nothing to read in {}", terminal::name(&document.id.to_string())));
        }
        documents.push(document.into());
    }
    let questions: Vec<Question> = (questions.into_iter().zip(1..))
        .map(|(text, number)| Question::new(number.to_string(), text, documents.clone()).with(&options))
        .collect();
    let mut bar = WindowBar::new(args.quiet);
    let replies = reader.answer(&questions, &mut |progress| bar.update(progress));
    bar.finish();
    args.reader.runtime.report(&reader, args.quiet);

    let printer = Printer::new(args.format, args.color, args.reader.decoding.handle_impossible_answer);
    let mut outcome = Outcome::Success;
    for (question, reply) in questions.iter().zip(replies?) {
        let reply = match reply {
            Ok(reply) => reply,
            // The others have their replies all the same.
            Err(error) => {
                let message = error.to_string();
                eprintln!("error: cannot ask question {}: {}", question.id, terminal::message(&message));
                if let Some(hint) = hints::advice(&error).and_then(|advice| advice.hint) {
                    eprintln!("hint: {}", terminal::message(&hint));
                }
                outcome = Outcome::Failed;
                continue;
            }
        };
        reply.notes.iter().map(hints::note).for_each(&mut note);
        if !reply.answered && outcome == Outcome::Success {
            outcome = Outcome::Negative;
        }
        printer.print(&reply, &documents, out)?;
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
            && self.inputs.contexts.is_empty()
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
