//! Documents that stay loaded, and the questions that are put to them: what `ask` and `chat` have in common.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use spanqa::index::Index;
use spanqa::inspect::Inspector;
use spanqa::reader::{self, Document, Event, Question, Reader};
use spanqa::request::reply::Reply;
use spanqa::request::{FOUND, Options};
use spanqa::retrieve::{Library, Retrieved};
use spanqa::source::{Origin, Resolved};
use spanqa::text::offsets::OffsetUnit;

use super::inputs::{InputArgs, Text};
use super::options::{CareArgs, Read, ReaderArgs, UNITS, choice};
use super::output::color::ColorArg;
use super::output::{self, Format, Look, Printer};
use super::progress::WindowBar;
use super::searching::FindArgs;
use super::waiting::Waiting;
use super::{Outcome, Usage, hints, notice, terminal};

const EXPLANATIONS: &[(&str, &str)] = &[
    ("windows", "Windows, spans and tokens"),
    (
        "words",
        "The same, and what each word of the window does for the margin: gradient times input, in f32; slower",
    ),
];

/// How much of a reply is explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Explain {
    Windows,
    Words,
}

impl FromStr for Explain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "windows" => Ok(Self::Windows),
            "words" => Ok(Self::Words),
            _ => Err(format!("`{text}` is no explanation: expected windows, words")),
        }
    }
}

/// What to read, and how to print replies.
#[derive(clap::Args)]
pub struct SessionArgs {
    #[command(flatten)]
    pub inputs: InputArgs,
    /// Search folders and corpora of JSON lines, the current folder if none is named, and read what is found; see spanqa search
    #[arg(long, conflicts_with_all = ["contexts", "recursive"], help_heading = "Search")]
    pub search: bool,
    #[command(flatten)]
    searching: FindArgs,
    /// How to print replies; SPANQA_FORMAT sets it for good [default: json; text with `spanqa chat`]
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
    /// The same as --format text
    #[arg(short = 't', overrides_with = "format")]
    pub text: bool,
    /// Show the sentence of an answer and N more on each side, with --format text or grep
    #[arg(short = 'C', long = "sentences", value_name = "N")]
    pub sentences: Option<usize>,
    /// What start, end and column count
    #[arg(long, value_parser = choice::<OffsetUnit>(UNITS), value_name = "UNIT", default_value_t = OffsetUnit::Char)]
    pub offset_unit: OffsetUnit,
    /// Explain replies: windows, their null logits and best spans, token scores; --why=words says what each word does for an answer, too
    #[arg(
        long,
        value_parser = choice::<Explain>(EXPLANATIONS),
        value_name = "WHAT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "windows"
    )]
    pub why: Option<Explain>,
    /// When to colour what is printed; NO_COLOR, CLICOLOR and CLICOLOR_FORCE are heard by auto
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    pub color: ColorArg,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub care: CareArgs,
    #[command(flatten)]
    pub reader: ReaderArgs,
}

impl SessionArgs {
    /// Flags that a format knows nothing of would change nothing, in silence.
    fn refuse_what_does_not_apply(&self, format: Format) -> Result<()> {
        use Format::{Grep, Json, Text};
        let flags = [
            (
                "-C",
                self.sentences.is_some(),
                &[Text, Grep][..],
                "leave it out, or add `-t` for text or `--format grep`",
            ),
            (
                "--why",
                self.why.is_some(),
                &[Json, Text],
                "leave it out, or add `-t` for text or `--format json`",
            ),
        ];
        match flags.into_iter().find(|(_, given, known, _)| *given && !known.contains(&format)) {
            None => Ok(()),
            Some((flag, _, known, hint)) => {
                let known: Vec<String> =
                    known.iter().map(|format| format!("--format {}", format.name())).collect();
                let what =
                    format!("{flag} belongs to {}, not to --format {}", known.join(" and "), format.name());
                Err(Usage::new(what, hint).into())
            }
        }
    }
}

/// How a session differs between the commands that open one.
pub struct Manner {
    /// The format unless another one is asked for.
    pub format: Format,
    /// Replies have to say which question they belong to.
    pub several: bool,
    /// Questions are typed at a prompt, so they stand on the screen.
    pub typed: bool,
}

/// What questions are about.
enum Matter {
    /// All of these.
    Documents(Vec<Arc<Document>>),
    /// What is found for each question.
    Library(Box<Library>),
}

/// A model, documents, and how to print what comes of questions.
pub struct Session<'a> {
    args: &'a SessionArgs,
    resolved: Resolved,
    reader: Reader,
    /// If words are to be explained.
    inspector: Option<Inspector>,
    options: Arc<Options>,
    matter: Matter,
    printer: Printer,
    notes: Notes,
}

impl<'a> Session<'a> {
    /// Reads the documents and loads the model.
    pub fn open(args: &'a SessionArgs, files: &[PathBuf], manner: &Manner) -> Result<Self> {
        args.searching.refuse_without_search(args.search)?;
        let mut notes = Notes { quiet: args.quiet, said: Vec::new() };
        // Inputs come first: a mistyped path should not wait for a model.
        if args.search && args.reader.read == Some(Read::All) {
            let hint = "a number of windows: --read 100";
            return Err(
                Usage::new("--read all is not for --search: everything is too much to read", hint).into()
            );
        }
        let mut say = |text| notes.say(text);
        let found = match args.search {
            true => Inputs::Library(
                args.searching.open(files, &args.inputs.files, &args.reader, args.quiet, &mut say)?.into(),
            ),
            false => Inputs::Texts(args.inputs.read(files, &mut say)?),
        };
        let format = match (args.text, args.format) {
            (true, _) => Format::Text,
            (false, Some(format)) => format,
            (false, None) => usual_format()?.unwrap_or(manner.format),
        };
        args.refuse_what_does_not_apply(format)?;
        let read = args.reader.read(match args.search {
            true => Read::Best(FOUND),
            false => args.reader.decoding.reads(),
        });
        let limits = args.reader.limits.limits(read)?;
        let resolved = args.reader.resolve(args.quiet)?;
        let options = Arc::new(Options {
            decoding: args.care.decoding(&args.reader.decoding, &resolved, format.is_for_people())?,
            limits,
            read,
            unit: args.offset_unit,
            why: args.why.is_some(),
        });
        let reader = args.reader.open(&resolved, args.quiet)?;
        let inspector = match args.why {
            Some(Explain::Words) => {
                Some(Inspector::open(&resolved.files, &args.reader.runtime.device.runtime())?)
            }
            Some(Explain::Windows) | None => None,
        };

        let matter = match found {
            Inputs::Library(library) => Matter::Library(library),
            Inputs::Texts(texts) => Matter::Documents(prepared(&reader, texts, args.quiet, &mut notes)?),
        };
        let printer = Printer::new(Look {
            format,
            color: args.color,
            context: args.sentences,
            null_competes: args.reader.decoding.handle_impossible_answer,
            top_k: args.reader.decoding.top_k,
            several: manner.several,
            typed: manner.typed,
            quiet: args.quiet,
        });
        Ok(Self { args, resolved, reader, inspector, options, matter, printer, notes })
    }

    /// Answers questions and prints the replies in their order; `None` if `stop` was set before all were there.
    pub fn ask(
        &mut self,
        questions: impl IntoIterator<Item = (u64, String)>,
        stop: &AtomicBool,
        out: &mut dyn Write,
    ) -> Result<Option<Outcome>> {
        let questions = questions.into_iter().map(|(number, text)| self.question(number, &text));
        let questions: Vec<Question> = questions.collect::<Result<_>>()?;
        let Some(replies) = self.replies(&questions, stop)? else { return Ok(None) };
        let mut outcome = Outcome::Success;
        for (question, reply) in questions.iter().zip(replies) {
            let explained = reply.map_err(spanqa::inspect::Error::from).and_then(|mut reply| {
                if let Some(inspector) = &self.inspector {
                    inspector.explain(&self.reader, question, &mut reply)?;
                }
                Ok(reply)
            });
            let reply = match explained {
                Ok(reply) => reply,
                // The others have their replies all the same.
                Err(error) => {
                    say_error(question, &error);
                    outcome = Outcome::Failed;
                    continue;
                }
            };
            reply.notes.iter().map(hints::note).for_each(|note| self.notes.say(note));
            if !reply.answered && outcome == Outcome::Success {
                outcome = Outcome::Negative;
            }
            self.printer.print(&reply, &question.documents, out)?;
            // Whoever interrupts the program finds whole records.
            out.flush()?;
        }
        Ok(Some(outcome))
    }

    /// A question about everything, or about what is found for it.
    fn question(&mut self, number: u64, text: &str) -> Result<Question> {
        let id = number.to_string();
        match &self.matter {
            Matter::Documents(documents) => {
                Ok(Question::new(id, text, documents.clone()).with(&self.options))
            }
            Matter::Library(library) => {
                let Retrieved { question, missing } =
                    library.question(&self.reader, id, text, &self.options)?;
                missing.iter().for_each(|error| self.notes.say(format!("skipped: {error}")));
                Ok(question)
            }
        }
    }

    /// How much there is to answer from, in words.
    pub fn extent(&self) -> String {
        let count = |count, what| if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") };
        match &self.matter {
            Matter::Documents(documents) => {
                let tokens: usize = documents.iter().map(|document| document.tokens()).sum();
                format!("{}, {tokens} tokens", count(documents.len(), "document"))
            }
            Matter::Library(library) => {
                let texts = library.indexes().iter().map(Index::texts).sum();
                format!("{}, {} passages", count(texts, "document"), library.passages())
            }
        }
    }

    fn replies(
        &self,
        questions: &[Question],
        stop: &AtomicBool,
    ) -> Result<Option<Vec<reader::Result<Reply>>>> {
        let mut bar = WindowBar::new(self.args.quiet);
        let mut replies: Vec<Option<reader::Result<Reply>>> = questions.iter().map(|_| None).collect();
        let stopped = || stop.load(Ordering::Relaxed);
        let end = self.reader.answer_each(questions, &mut |event| {
            match event {
                Event::Read(progress) => bar.update(progress),
                Event::Reply(question, reply) => replies[question] = Some(reply),
            }
            if stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish();
        end?;
        match replies.into_iter().collect::<Option<Vec<_>>>() {
            None if stopped() => Ok(None),
            None => Err(reader::Error::ModelStopped.into()),
            replies => Ok(replies),
        }
    }

    /// Says what is to be said at the end.
    pub fn close(self) {
        let quiet = self.args.quiet;
        self.args.reader.runtime.report(&self.reader, quiet);
        if self.resolved.origin == Origin::BuiltIn && !quiet {
            notice::built_in_model(|text| terminal::note(text));
        }
    }
}

/// What was found to answer from, before there is a model to read it.
enum Inputs {
    Texts(Vec<Text>),
    Library(Box<Library>),
}

/// Tokenises documents.
fn prepared(reader: &Reader, texts: Vec<Text>, quiet: bool, notes: &mut Notes) -> Result<Vec<Arc<Document>>> {
    let waiting = Waiting::new(quiet);
    let documents = texts.into_iter().map(|text| {
        waiting.reading(&text.id.to_string());
        Ok(reader.prepare_document(text.id, text.text)?.into())
    });
    let documents: Vec<Arc<Document>> = documents.collect::<Result<_>>()?;
    drop(waiting);
    for document in documents.iter().filter(|document| document.is_blank()) {
        let name = output::name_of(&document.id, documents.len());
        notes.say(format!("there is nothing to read in {name}"));
    }
    Ok(documents)
}

fn say_error(question: &Question, error: &spanqa::inspect::Error) {
    eprintln!("error: cannot ask question {}: {}", question.id, terminal::message(&error.to_string()));
    if let Some(hint) = hints::advice(error).and_then(|advice| advice.hint) {
        eprintln!("hint: {}", terminal::message(&hint));
    }
}

/// Remarks, each of them made once.
struct Notes {
    quiet: bool,
    said: Vec<String>,
}

impl Notes {
    fn say(&mut self, text: String) {
        if !self.quiet && !self.said.contains(&text) {
            terminal::note(&text);
            self.said.push(text);
        }
    }
}

/// The format that the environment asks for. Not by clap, for which it would stand beside `-t` as if it had been typed.
pub fn usual_format() -> Result<Option<Format>> {
    let Some(name) = std::env::var_os("SPANQA_FORMAT").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let name = name.to_string_lossy();
    match <Format as clap::ValueEnum>::from_str(&name, false) {
        Ok(format) => Ok(Some(format)),
        Err(_) => {
            let what = format!("SPANQA_FORMAT is `{}`, which is no format", terminal::name(&name));
            Err(Usage::new(what, "set it to json, text, grep or hf, or unset it").into())
        }
    }
}
