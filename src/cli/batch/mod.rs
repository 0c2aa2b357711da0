//! `spanqa batch`: a stream of requests in, a record for each one out.
//!
//! Four stages run at once, with a bounded queue between each two, so that memory does not depend on the length of the stream and
//! a slow consumer slows down the reading:
//!
//! ```text
//! input     reads lines                                     (a thread that may wait for input for ever)
//! prepare   understands requests, tokenises their texts     (a thread per core, in turns)
//! stream    puts the questions that wait to the model       (a thread, and the model's own)
//! write     puts records in order, writes, reports          (here)
//! ```

pub(super) mod input;
mod libraries;
mod output;
mod report;
mod resume;
mod run;
mod writer;

use std::collections::HashSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use spanqa::checkpoint::ModelFiles;
use spanqa::parquet::Choice;
use spanqa::reader::Reader;
use spanqa::request::lines::Format;
use spanqa::request::parser::{Parsed, Parser};
use spanqa::request::record::{COLUMNS, Layout, LayoutError};
use spanqa::request::{Fields, Options, Settings};
use spanqa::source::Origin;
use spanqa::text::offsets::OffsetUnit;

use super::inputs::DEFAULT_MAX_BYTES;
use super::meter::ProgressArg;
use super::options::{CareArgs, Read, ReaderArgs, UNITS, choice, size};
use super::searching::FindArgs;
use super::{Outcome, Usage, is_broken_pipe, notice, signals, terminal};
use input::Inputs;
use libraries::Libraries;
use output::Partial;
use report::Report;
use resume::{Earlier, Start, Trace};
use run::{Run, next_request};
use writer::{Failures, Order, Writer};

/// The formats of requests and records.
const FORMATS: &[(&str, &str)] = &[
    ("jsonl", "A JSON object a line"),
    ("csv", "A table with commas and a header"),
    ("tsv", "A table with tabs and a header"),
];

/// Answer a stream of requests: JSON lines or a table in, a record for each question out
///
/// A request is a line such as {"id": 7, "question": "...", "context": "..."}. Instead of "context" it may have "contexts" (a list
/// that is read as one), "file", "files", or "search" (a folder or a corpus, see `spanqa search`); instead of "question" it may have "questions" (a list, one record each, told apart by
/// "question_index"). Rows of SQuAD and Hugging Face data sets and transformers' {"inputs": {...}} are understood, too. Halves of
/// surrogate pairs in JSON strings become U+FFFD. Blank lines are skipped. "parameters" beside "inputs" mean what they meant there.
///
/// Every request gets its record, in the order of the input, with its own "id" or else the number of its line. One that cannot be
/// answered gets {"line", "id"?, "error": {"code", "message", "hint"}}. Requests are answered as they come; memory does not depend
/// on how many there are.
///
/// Rows of Parquet are read as lines of JSON with the same fields; a file is known by its first bytes, whatever it is called. Of its columns
/// only those are read that a request may have, and with `--keep-fields` all others, too.
///
/// Exits 0, also if questions have no answer; 2 if a request could not be answered (unless `--errors-ok`) or after an error; 130 or 143
/// when interrupted.
#[derive(clap::Args)]
pub struct Args {
    /// Files with requests, plain, .gz, .zst, .bz2 or Parquet; - or nothing for standard input
    files: Vec<PathBuf>,
    /// What the lines of the input are [default: by the file's name, else jsonl]
    #[arg(long, value_parser = choice::<Format>(FORMATS), value_name = "FORMAT", help_heading = "Requests")]
    input_format: Option<Format>,
    /// The field or column that holds the question
    #[arg(long, value_name = "NAME", default_value = "question", help_heading = "Requests")]
    question_field: String,
    /// The field or column that holds the text
    #[arg(long, value_name = "NAME", default_value = "context", help_heading = "Requests")]
    context_field: String,
    /// The field or column that holds the id
    #[arg(long, value_name = "NAME", default_value = "id", help_heading = "Requests")]
    id_field: String,
    /// Bytes that a request, or a file that it names, may have; 10k, 5M and 1G are powers of 1024
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_BYTES, value_parser = size, help_heading = "Requests")]
    max_bytes: u64,
    /// Neither read files nor search folders that requests name
    #[arg(long, help_heading = "Requests")]
    no_files: bool,
    /// Search a folder, or a corpus of JSON lines, for each request that has no text; may be repeated. See spanqa search
    #[arg(long, value_name = "DIR", help_heading = "Search")]
    search: Vec<PathBuf>,
    #[command(flatten)]
    searching: FindArgs,
    /// Stop at the first request that cannot be answered
    #[arg(long, help_heading = "Requests")]
    fail_fast: bool,
    /// Exit with 0 also if requests could not be answered: their records say so
    ///
    /// For engines that run a program on each worker and take any other exit code for a broken worker, such as Spark's `pipe`.
    #[arg(long, conflicts_with = "fail_fast", help_heading = "Requests")]
    errors_ok: bool,
    /// Write here instead of standard output; the file gets its name when it is complete
    #[arg(short, long, value_name = "FILE", help_heading = "Records")]
    output: Option<PathBuf>,
    /// Go on with an --output that was interrupted, or whose input has grown
    #[arg(long, requires = "output", conflicts_with = "unordered", help_heading = "Records")]
    resume: bool,
    /// With --resume: keep the records that are there though requests or flags have changed since
    #[arg(long, requires = "resume", help_heading = "Records")]
    resume_anyway: bool,
    /// Write records as soon as they are ready, in any order
    #[arg(long, help_heading = "Records")]
    unordered: bool,
    /// Pass fields of requests that mean nothing to spanqa through to their records
    ///
    /// In a table they become columns behind the others: those of its header, or with JSON lines those of the first request.
    #[arg(long, help_heading = "Records")]
    keep_fields: bool,
    /// How to write records [default: jsonl]
    #[arg(long, value_parser = choice::<Format>(FORMATS), value_name = "FORMAT", help_heading = "Records")]
    output_format: Option<Format>,
    /// Write a row for each answer, and one for each question without an answer: for data frames
    ///
    /// In JSON lines a row is an object of one level. Its columns are id, question, rank (from 1), answered, answer, start, end, document,
    /// score, margin, no_answer_score, code, error, perhaps, windows_total and source (an object, if there is one), or those of `--columns`. `-k` sets how many answers a question may have.
    #[arg(long, conflicts_with = "why", help_heading = "Records")]
    flat: bool,
    /// Columns of a table or of --flat, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Records")]
    columns: Vec<String>,
    /// What start, end and column count
    #[arg(long, value_parser = choice::<OffsetUnit>(UNITS), value_name = "UNIT", default_value_t = OffsetUnit::Char, help_heading = "Records")]
    offset_unit: OffsetUnit,
    /// Explain replies: windows, their null logits and best spans, token scores
    #[arg(long, help_heading = "Records")]
    why: bool,
    /// How to show progress on standard error
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ProgressArg::Auto)]
    progress: ProgressArg,
    /// No remarks, no progress and no summary on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    care: CareArgs,
    #[command(flatten)]
    reader: ReaderArgs,
}

/// A loaded model and how it is to answer.
struct Opened {
    reader: Reader,
    options: Arc<Options>,
    built_in: bool,
    files: ModelFiles,
}

/// An output file on its way.
struct Output {
    partial: Partial,
    /// Absent where records come in any order, which no run can go on with.
    trace: Option<Trace>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    // What can be wrong with the command itself is said before a model is loaded.
    let inputs = args.inputs()?;
    let mut layout = args.layout()?;
    args.refuse_output_that_is_read()?;
    let partial = args.output.as_deref().map(|target| Partial::open(target, args.resume)).transpose()?;
    let opened = args.open()?;
    let mut output = partial.map(|partial| args.follow(partial, &opened)).transpose()?;
    let names = inputs.paths.iter().map(|path| path.display().to_string().into()).collect();
    let mut parser = Parser::new(args.fields(), args.keep_fields, names);
    let mut report = Report::new(args.progress, args.quiet, inputs.size());
    if let Some(note) = args.named_like_a_table() {
        report.note(&note);
    }
    let limit = usize::try_from(args.max_bytes).unwrap_or(usize::MAX);
    let libraries = Libraries::open(&args.search, &args.searching, &args.reader, args.max_bytes, args.quiet)?;
    let run = Run::new(limit, opened.reader.group_tokens());
    // It may wait for input when everything else has ended, so nobody waits for it.
    std::thread::spawn({
        let lines = run.lines.clone();
        move || inputs.read(&lines)
    });

    if output.as_ref().is_some_and(|output| output.trace.is_some()) {
        parser = parser.with_fingerprints();
    }
    // The header of a table names the fields that are passed through, so it waits for the first request.
    let mut ahead = None;
    if layout.wants_names() {
        ahead = next_request(&run.lines, &mut parser);
        layout = layout.with_names(ahead.as_ref().map_or_else(Vec::new, |parsed| parser.kept(parsed)));
    }
    let mut start = Start { first: ahead, ..Start::default() };
    if let Some(Output { partial, trace: Some(trace) }) = &mut output
        && args.resume
    {
        let earlier = Earlier {
            partial,
            layout: &layout,
            model: opened.reader.name(),
            unit: args.offset_unit,
            anyway: args.resume_anyway,
        };
        start = earlier
            .lay_beside((start.first.take(), &run.lines), &mut parser, trace, &mut report.tally)
            .inspect_err(|_| trace.remove_if_new())?;
        report.starts_at(start.position);
    }
    let mut file = output.as_mut().map(|output| output.partial.writer(start.bytes)).transpose()?;
    let out: &mut dyn Write = match &mut file {
        Some(file) => file,
        None => out,
    };
    if start.bytes == 0 {
        out.write_all(&layout.header()?)?;
        out.flush()?;
    }
    signals::watch(run.stopper()).context("cannot watch for interrupts")?;
    let ended = {
        let mut writer = Writer {
            layout: &layout,
            out,
            report: &mut report,
            trace: output.as_mut().and_then(|output| output.trace.as_mut()),
            order: if args.unordered { Order::Any } else { Order::from(next_record(&parser, &start.first)) },
            failures: args.failures(),
            notes: Vec::new(),
            left_out: HashSet::new(),
        };
        run.stages(
            &opened.reader,
            &opened.options,
            &|path| libraries.of(path),
            parser,
            start.first,
            &mut writer,
        )
    };
    drop(file);
    args.close(ended, run.stopped(), &opened, output, &mut report)
}

/// The place of the first record that this run writes.
fn next_record(parser: &Parser, first: &Option<Parsed>) -> u64 {
    first
        .as_ref()
        .and_then(|parsed| parsed.tickets.first())
        .map_or(parser.records(), |ticket| ticket.sequence)
}

impl Args {
    /// What to read, if it can be.
    fn inputs(&self) -> Result<Inputs> {
        let paths = if self.files.is_empty() { vec![PathBuf::from("-")] } else { self.files.clone() };
        let limit = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        let inputs =
            Inputs { paths, format: self.input_format, limit, columns: Some(self.columns_to_read()) };
        inputs.require_readable(self.quiet)?;
        Ok(inputs)
    }

    /// The columns of Parquet that may say something. Others are not even read, unless records are to have them.
    fn columns_to_read(&self) -> Choice {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<String>>();
        let question = names(&[&self.question_field, "questions", "inputs"]);
        let text = names(&[&self.context_field, "contexts", "file", "files", "search", "inputs"]);
        let mut wanted = names(&[&self.id_field, "parameters"]);
        let mut needed = vec![question, text];
        if !self.search.is_empty() {
            wanted.extend(needed.split_off(1).concat());
        }
        Choice { needed, wanted, others: self.keep_fields }
    }

    fn format(&self) -> Format {
        self.output_format.unwrap_or(Format::Jsonl)
    }

    /// The output's name says table, and nothing was said of a format.
    fn named_like_a_table(&self) -> Option<String> {
        let (None, Some(output)) = (self.output_format, &self.output) else { return None };
        let format = Format::of(output);
        let name = terminal::name(&output.display().to_string()).into_owned();
        (format != Format::Jsonl)
            .then(|| format!("{name} gets JSON lines; `--output-format {format}` writes a table"))
    }

    /// How records are written.
    fn layout(&self) -> Result<Layout> {
        if self.flat
            && self.resume
            && !self.columns.is_empty()
            && !self.columns.iter().any(|name| name == "rank")
        {
            let hint = "without it nothing tells where the rows of a question end: add `rank` to `--columns`";
            return Err(Usage::new("--flat --resume needs the column `rank`", hint).into());
        }
        Layout::new(self.format(), &self.columns, self.keep_fields, self.flat).map_err(|error| {
            let hint = match &error {
                LayoutError::ColumnsWithoutTable => {
                    "add `--flat`, `--output-format csv` or `--output-format tsv`".to_owned()
                }
                LayoutError::UnknownColumn { .. } => format!(
                    "`--keep-fields` makes fields of requests columns; records have {}",
                    COLUMNS.join(", ")
                ),
                LayoutError::ColumnTwice { .. } => "name each column once in `--columns`".to_owned(),
            };
            Usage::new(error.to_string(), hint).into()
        })
    }

    /// Loads the model.
    fn open(&self) -> Result<Opened> {
        let read = self.reader.read(Read::All);
        let limits = self.reader.limits.limits(read)?;
        let resolved = self.reader.resolve(self.quiet)?;
        let options = Options {
            decoding: self.care.decoding(&self.reader.decoding, &resolved, false)?,
            limits,
            read,
            unit: self.offset_unit,
            why: self.why,
        };
        let reader = self.reader.open(&resolved, self.quiet)?;
        let built_in = resolved.origin == Origin::BuiltIn;
        Ok(Opened { reader, options: options.into(), built_in, files: resolved.files })
    }

    fn fields(&self) -> Fields {
        Fields {
            question: self.question_field.clone(),
            context: self.context_field.clone(),
            id: self.id_field.clone(),
            files: !self.no_files,
            parameters: false,
            search: !self.search.is_empty(),
        }
    }

    /// The records would take the place of the requests.
    fn refuse_output_that_is_read(&self) -> Result<()> {
        let Some(output) = self.output.as_ref().and_then(|output| output.canonicalize().ok()) else {
            return Ok(());
        };
        match self.files.iter().find(|file| file.canonicalize().is_ok_and(|file| file == output)) {
            None => Ok(()),
            Some(file) => {
                let what = format!("{} is read, so it cannot be the output", file.display());
                Err(Usage::new(what, "give --output another name").into())
            }
        }
    }

    /// Notes beside an output what a later run has to know.
    fn follow(&self, partial: Partial, opened: &Opened) -> Result<Output> {
        let trace = match self.unordered {
            true => None,
            false => Some(Trace::open(&partial, self.settings(opened)?, self.resume, self.resume_anyway)?),
        };
        Ok(Output { partial, trace })
    }

    /// The flags that records depend on, with their values.
    fn settings(&self, opened: &Opened) -> Result<Settings> {
        let mut settings = opened.options.settings();
        let own = [
            ("model", opened.files.identity()?.to_string()),
            ("keep-fields", self.keep_fields.to_string()),
            ("no-files", self.no_files.to_string()),
            ("output-format", self.format().to_string()),
            ("columns", self.columns.join(",")),
            ("question-field", self.question_field.clone()),
            ("context-field", self.context_field.clone()),
            ("id-field", self.id_field.clone()),
        ];
        settings.extend(own.map(|(flag, value)| (flag.to_owned(), value)));
        if self.flat {
            settings.insert("flat".into(), "true".into());
        }
        if !self.search.is_empty() {
            settings.insert("search".into(), format!("{:?}", self.search));
        }
        Ok(settings)
    }

    fn failures(&self) -> Failures {
        match (self.fail_fast, &self.output) {
            (false, _) => Failures::Recorded,
            (true, None) => Failures::Last,
            (true, Some(_)) => Failures::Left,
        }
    }

    /// Says what came of it all, and gives a complete output its name.
    fn close(
        &self,
        ended: Result<()>,
        stopped: u8,
        opened: &Opened,
        output: Option<Output>,
        report: &mut Report,
    ) -> Result<Outcome> {
        self.reader.runtime.report(&opened.reader, self.quiet);
        if ended.as_ref().is_err_and(is_broken_pipe) {
            return Ok(Outcome::Success);
        }
        report.summary();
        if let Some(output) = &output
            && (stopped != 0 || ended.is_err())
        {
            let left = output.partial.path().display();
            report.note(&format!("what was done is in {left}; `--resume` goes on from there"));
        }
        ended?;
        if stopped != 0 {
            return Ok(Outcome::Stopped(stopped));
        }
        if let Some(Output { partial, trace }) = output {
            partial.complete()?;
            match trace {
                Some(trace) => {
                    if let Err(error) = trace.complete(&partial) {
                        report.note(&format!("{error}; `--resume` will not notice when flags change"));
                    }
                }
                // They would be those of the file whose place it took.
                None => drop(std::fs::remove_file(partial.flags())),
            }
        }
        if opened.built_in && !self.quiet {
            notice::built_in_model(|text| eprintln!("note: {text}"));
        }
        let failed = report.tally.errors > 0 && !self.errors_ok;
        Ok(if failed { Outcome::Failed } else { Outcome::Success })
    }
}
