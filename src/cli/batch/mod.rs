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

mod frames;
mod input;
mod output;
mod prepare;
mod record;
mod report;
mod table;
mod turn;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};
use spanqa::reader::{Asking, Reader};
use spanqa::request::Fields;
use spanqa::request::reply::Reply;
use spanqa::source::Origin;
use spanqa::stream::{Done, Queue, Shelf, Work, answer_stream};

use super::inputs::DEFAULT_MAX_BYTES;
use super::options::{ReaderArgs, UnitArg};
use super::{Outcome, Usage, hints, notice, signals};
use input::{InputFormat, Inputs, Line};
use output::{Partial, Was};
use prepare::{Parsed, Parser, Preparing, Ticket};
use record::{Layout, OutputFormat};
use report::{ProgressArg, Report};
use turn::Turn;

/// Answer a stream of requests: JSON lines or a table in, a record for each question out
///
/// A request is a line such as {"id": 7, "question": "...", "context": "..."}. Instead of "context" it may have "contexts" (a list
/// that is read as one), "file" or "files"; instead of "question" it may have "questions" (a list, one record each, told apart by
/// "question_index"). Rows of SQuAD and Hugging Face data sets and transformers' {"inputs": {...}} are understood, too. Halves of
/// surrogate pairs in JSON strings become U+FFFD. Blank lines are skipped.
///
/// Every request gets its record, in the order of the input, with its own "id" or else the number of its line. One that cannot be
/// answered gets {"line", "id"?, "error": {"code", "message", "hint"}}. Requests are answered as they come; memory does not depend
/// on how many there are. Parquet is not read: that would add some 16 crates for what a data frame does in a line. Convert to JSON lines first.
///
/// Exits 0, also if questions have no answer; 2 if a request could not be answered or after an error; 130 or 143 when interrupted.
#[derive(clap::Args)]
pub struct Args {
    /// Files with requests, plain, .gz or .zst; - or nothing for standard input
    files: Vec<PathBuf>,
    /// What the input is [default: by the file's name, else jsonl]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Requests")]
    input_format: Option<InputFormat>,
    /// The field or column that holds the question
    #[arg(long, value_name = "NAME", default_value = "question", help_heading = "Requests")]
    question_field: String,
    /// The field or column that holds the text
    #[arg(long, value_name = "NAME", default_value = "context", help_heading = "Requests")]
    context_field: String,
    /// The field or column that holds the id
    #[arg(long, value_name = "NAME", default_value = "id", help_heading = "Requests")]
    id_field: String,
    /// Bytes that a request, or a file that it names, may have
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_BYTES, help_heading = "Requests")]
    max_bytes: u64,
    /// Stop at the first request that cannot be answered
    #[arg(long, help_heading = "Requests")]
    fail_fast: bool,
    /// Write here instead of standard output; the file gets its name when it is complete
    #[arg(short, long, value_name = "FILE", help_heading = "Records")]
    output: Option<PathBuf>,
    /// Go on with an --output that was interrupted, or whose input has grown
    #[arg(long, requires = "output", conflicts_with = "unordered", help_heading = "Records")]
    resume: bool,
    /// Write records as soon as they are ready, in any order
    #[arg(long, help_heading = "Records")]
    unordered: bool,
    /// Pass fields of requests that mean nothing to spanqa through to their records
    #[arg(long, help_heading = "Records")]
    keep_fields: bool,
    /// How to write records
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t = OutputFormat::Jsonl, help_heading = "Records")]
    output_format: OutputFormat,
    /// Columns of a table, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = "Records")]
    columns: Vec<String>,
    /// What start, end and column count
    #[arg(long, value_enum, value_name = "UNIT", default_value_t = UnitArg::Char, help_heading = "Records")]
    offset_unit: UnitArg,
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
    reader: ReaderArgs,
}

/// Bytes of lines that may wait to be understood.
const WAITING_LINES: usize = 4 << 20;
/// Bytes of records that may wait to be written.
const WAITING_RECORDS: usize = 1 << 20;
/// Bytes of texts and their tokens that are kept in case the next request is about them, too.
const SHELF: usize = 4 << 20;

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    // What can be wrong with the command itself is said before a model is loaded.
    let inputs = args.inputs()?;
    let layout = Layout::new(args.output_format, &args.columns, args.keep_fields)?;
    let partial = args.output.as_deref().map(|target| Partial::open(target, args.resume)).transpose()?;
    let opened = args.open();
    let (reader, asking, built_in) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            if let Some(partial) = partial {
                partial.discard_if_empty();
            }
            return Err(error);
        }
    };

    let group = reader.group_tokens();
    let run = Run {
        lines: Arc::new(Queue::new(WAITING_LINES)),
        work: Arc::new(Queue::new(group)),
        done: Queue::new(WAITING_RECORDS),
        stopped: Arc::new(AtomicU8::new(0)),
        limit: usize::try_from(args.max_bytes).unwrap_or(usize::MAX),
        group,
    };
    let mut parser = Parser {
        fields: Fields {
            question: args.question_field.clone(),
            context: args.context_field.clone(),
            id: args.id_field.clone(),
            files: true,
        },
        keep: args.keep_fields,
        inputs: inputs.paths.iter().map(|path| path.display().to_string().into()).collect(),
        header: None,
        sequence: 0,
        parameters: Arc::default(),
    };
    let parameters = parser.parameters.clone();
    let mut report = Report::new(args.progress, args.quiet, inputs.size());
    // It may wait for input when everything else has ended, so nobody waits for it.
    std::thread::spawn({
        let lines = run.lines.clone();
        move || inputs.read(&lines)
    });

    let mut first = None;
    let mut file = None;
    let mut fresh = true;
    if let Some(partial) = &partial {
        let mut from = 0;
        if args.resume {
            (from, first) = run.skip_done(partial, &layout, &mut parser, reader.name(), &mut report)?;
            fresh = from == 0;
        }
        file = Some(partial.writer(from)?);
    }
    let out: &mut dyn Write = match &mut file {
        Some(file) => file,
        None => out,
    };
    if fresh {
        out.write_all(&layout.header()?)?;
        out.flush()?;
    }

    signals::watch(run.stopper()).context("cannot watch for interrupts")?;
    let mut writer = Writer {
        layout: &layout,
        out,
        report: &mut report,
        next: first
            .as_ref()
            .and_then(|parsed| parsed.tickets.first())
            .map_or(parser.sequence, |ticket| ticket.sequence),
        held: BTreeMap::new(),
        unordered: args.unordered,
        fail_fast: args.fail_fast,
        // A request that stopped a run is not done: after it was mended, --resume has to see it again.
        write_fatal: args.output.is_none(),
        notes: Vec::new(),
    };
    let ended = run.stages(&reader, &asking, parser, first, &mut writer);
    args.reader.runtime.report(&reader, args.quiet);
    let stopped = run.stopped.load(Ordering::SeqCst);
    if ended.as_ref().is_err_and(super::is_broken_pipe) {
        return ended.map(|_| Outcome::Success);
    }
    drop(file);
    report.summary();
    if parameters.load(Ordering::Relaxed) {
        report.note("`parameters` in requests are not used; flags such as --top-k say how to answer");
    }
    let left = partial.as_ref().map(|partial| partial.path().display().to_string());
    if let (Some(left), true) = (&left, stopped != 0 || ended.is_err()) {
        report.note(&format!("what was done is in {left}; `--resume` goes on from there"));
    }
    ended?;
    if stopped != 0 {
        return Ok(Outcome::Stopped(stopped));
    }
    if let Some(partial) = partial {
        partial.complete()?;
    }
    if built_in && !args.quiet {
        notice::built_in_model(|text| eprintln!("note: {text}"));
    }
    Ok(if report.tally.errors > 0 { Outcome::Failed } else { Outcome::Success })
}

impl Args {
    /// What to read, if it can be.
    fn inputs(&self) -> Result<Inputs> {
        let paths = if self.files.is_empty() { vec![PathBuf::from("-")] } else { self.files.clone() };
        for path in &paths {
            let name = path.display();
            if path.as_os_str() == "-" {
                if io::stdin().is_terminal() && !self.quiet {
                    eprintln!("note: reading requests from standard input; end them with Ctrl-D");
                }
            } else if path.is_dir() {
                return Err(Usage::new(format!("{name} is a folder"), "name the files in it").into());
            } else if let Err(error) = File::open(path) {
                let hint = "check the path and its permissions";
                return Err(Usage::new(format!("cannot read {name}: {error}"), hint).into());
            }
        }
        let limit = usize::try_from(self.max_bytes).unwrap_or(usize::MAX);
        Ok(Inputs { paths, format: self.input_format, limit })
    }

    /// Loads the model. Says whether it is the built-in one.
    fn open(&self) -> Result<(Reader, Asking, bool)> {
        let resolved = self.reader.resolve(self.quiet)?;
        let asking = Asking {
            decoding: self.reader.decoding.decoding(&resolved, false)?,
            unit: self.offset_unit.into(),
            why: self.why,
        };
        let reader = self.reader.open(&resolved, self.quiet)?;
        Ok((reader, asking, resolved.origin == Origin::BuiltIn))
    }
}

/// What the stages share.
struct Run {
    lines: Arc<Queue<Line>>,
    work: Arc<Queue<Work<Ticket>>>,
    done: Queue<Done<Ticket>>,
    /// The exit code of whatever asked for an early end, or [`ENOUGH`].
    stopped: Arc<AtomicU8>,
    /// Bytes that a document may have.
    limit: usize,
    /// Tokens that are answered together.
    group: usize,
}

/// The run ends early, but not because of a signal.
const ENOUGH: u8 = u8::MAX;

impl Run {
    /// Something that ends the run early: nothing new is begun, the windows in flight are finished.
    fn stopper(&self) -> impl Fn(u8) + Send + 'static {
        let (stopped, lines, work) = (self.stopped.clone(), self.lines.clone(), self.work.clone());
        move |code| {
            // What came first is what counts.
            let _ = stopped.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
            lines.abandon();
            work.abandon();
        }
    }

    /// Lays the requests beside the records of an earlier run. Returns where in the file to go on, and the request to go on with
    /// unless it is the next line.
    fn skip_done(
        &self,
        partial: &Partial,
        layout: &Layout,
        parser: &mut Parser,
        model: &str,
        report: &mut Report,
    ) -> Result<(u64, Option<Parsed>)> {
        let mut records = partial.records(layout)?;
        if !records.header()? {
            return Ok((0, None));
        }
        let mut from = records.taken();
        while let Some(line) = self.lines.pop() {
            let Some(parsed) = parser.parse(line) else { continue };
            let mut found = Vec::new();
            for ticket in &parsed.tickets {
                match records.next(ticket, model)? {
                    Some(was) => found.push(was),
                    None => return Ok((from, Some(parsed))),
                }
            }
            from = records.taken();
            for was in found {
                report.tally.requests += 1;
                report.tally.resumed += 1;
                match was {
                    Was::Answered => report.tally.answered += 1,
                    Was::NotAnswered => report.tally.no_answer += 1,
                    Was::Error => report.tally.errors += 1,
                    Was::Unknown => {}
                }
            }
        }
        Ok((from, None))
    }

    /// Runs all stages until the input ends or something stops them.
    fn stages(
        &self,
        reader: &Reader,
        asking: &Asking,
        mut parser: Parser,
        first: Option<Parsed>,
        writer: &mut Writer,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _end = self.work.end_with();
                let lines = std::iter::from_fn(|| self.lines.pop()).filter_map(|line| parser.parse(line));
                let (shelf, turn) = (Shelf::new(SHELF), Turn::default());
                Preparing { reader, shelf, limit: self.limit, queue: &self.work, turn }
                    .run(first.into_iter().chain(lines), rayon::current_num_threads());
            });
            let answering = scope.spawn(|| {
                let _end = self.done.end_with();
                answer_stream(reader, asking, &self.work, self.group, &mut |done| {
                    let wanted = self.done.push(weight(&done), done).is_ok();
                    match wanted && self.stopped.load(Ordering::SeqCst) == 0 {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })
            });
            let written = writer.write_all(&self.done);
            // Whatever made this stage end early, the others have no reason to go on.
            self.lines.abandon();
            self.work.abandon();
            self.done.abandon();
            if written.is_err() {
                let _ = self.stopped.compare_exchange(0, ENOUGH, Ordering::SeqCst, Ordering::SeqCst);
            }
            let answered = answering.join();
            written?;
            match answered {
                Ok(answered) => Ok(answered?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// About the bytes that something takes while it waits to be written.
fn weight(done: &Done<Ticket>) -> usize {
    const OVERHEAD: usize = 1 << 10;
    OVERHEAD
        + match done {
            Done::Reply(ticket, Ok(reply)) => ticket.bytes() + reply.question.len(),
            Done::Reply(ticket, Err(_)) => ticket.bytes(),
            Done::Read { .. } => 0,
        }
}

/// The last stage.
struct Writer<'a> {
    layout: &'a Layout,
    out: &'a mut dyn Write,
    report: &'a mut Report,
    /// The record that is to be written next.
    next: u64,
    /// Records that are ready before their turn.
    held: BTreeMap<u64, (Ticket, Result<Reply, Arc<spanqa::stream::Error>>)>,
    unordered: bool,
    fail_fast: bool,
    write_fatal: bool,
    /// What was remarked already.
    notes: Vec<String>,
}

/// Remarks that are made at most.
const NOTES: usize = 4;

impl Writer<'_> {
    /// Writes everything that comes.
    fn write_all(&mut self, done: &Queue<Done<Ticket>>) -> Result<()> {
        while let Some(next) = done.pop() {
            match next {
                Done::Read { windows, tokens, model } => {
                    self.report.tally.windows += windows as u64;
                    self.report.tally.tokens += tokens as u64;
                    self.report.tally.model += model;
                }
                Done::Reply(ticket, reply) if self.unordered => self.write(&ticket, reply)?,
                Done::Reply(ticket, reply) => {
                    self.held.insert(ticket.sequence, (ticket, reply));
                    while let Some((ticket, reply)) = self.held.remove(&self.next) {
                        self.next += 1;
                        self.write(&ticket, reply)?;
                    }
                }
            }
            // Nobody waits for a record while nothing else is ready.
            if done.is_empty() {
                self.out.flush()?;
            }
            self.report.tick();
        }
        Ok(self.out.flush()?)
    }

    fn write(&mut self, ticket: &Ticket, reply: Result<Reply, Arc<spanqa::stream::Error>>) -> Result<()> {
        let tally = &mut self.report.tally;
        tally.requests += 1;
        match &reply {
            Ok(reply) if reply.answered => tally.answered += 1,
            Ok(_) => tally.no_answer += 1,
            Err(_) => tally.errors += 1,
        }
        self.report.reached(ticket.position);
        match reply {
            Ok(reply) => {
                for note in &reply.notes {
                    self.note(note);
                }
                self.layout.reply(ticket, &reply, self.out)
            }
            Err(error) => {
                if self.write_fatal || !self.fail_fast {
                    self.layout.error(ticket, &error, self.out)?;
                }
                if self.fail_fast {
                    self.out.flush()?;
                    let hint = hints::stream(&error)
                        .unwrap_or_else(|| "mend the request, or leave --fail-fast out".into());
                    let place = match &ticket.place {
                        Some((file, line)) => format!("{file}, line {line}"),
                        None => format!("line {}", ticket.line),
                    };
                    return Err(Usage::new(format!("{place}: {error}"), hint).into());
                }
                Ok(())
            }
        }
    }

    fn note(&mut self, text: &str) {
        if self.notes.len() < NOTES && !self.notes.iter().any(|known| known == text) {
            self.report.note(text);
            self.notes.push(text.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use spanqa::checkpoint::ModelFiles;
    use spanqa::encoder::batch::Batch;
    use spanqa::heads::{SpanModel, WindowLogits};
    use spanqa::text::Tokenizer;
    use spanqa::text::window::Limits;

    use super::prepare::tests::{line, parser};
    use super::*;

    /// Has a mistake in it.
    struct Broken(usize);

    impl SpanModel for Broken {
        fn usable_positions(&self) -> usize {
            512
        }

        fn vocabulary(&self) -> usize {
            usize::MAX
        }

        fn logits(&self, _: &Batch) -> spanqa::encoder::Result<Vec<WindowLogits>> {
            panic!("on purpose")
        }

        fn lanes(&self) -> usize {
            self.0
        }
    }

    /// The other stages do not wait for it for ever, even if there is more input to come.
    #[test]
    fn a_stage_that_panics_ends_the_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/minilm");
        for lanes in [0, 2] {
            let tokenizer = Tokenizer::from_files(&ModelFiles::from_dir(&folder).unwrap()).unwrap();
            let model = Box::new(Broken(lanes));
            let reader = Reader::new(tokenizer, model, "broken", Limits::default()).unwrap();
            let run = Run {
                lines: Arc::new(Queue::new(1000)),
                work: Arc::new(Queue::new(1000)),
                done: Queue::new(1000),
                stopped: Arc::default(),
                limit: 1000,
                group: 1000,
            };
            let line = line(1, r#"{"question": "who?", "context": "the king"}"#);
            assert!(run.lines.push(1, line).is_ok());
            let layout = Layout::new(OutputFormat::Jsonl, &[], false).unwrap();
            let mut report = Report::new(ProgressArg::Off, true, None);
            let mut writer = Writer {
                layout: &layout,
                out: &mut Vec::new(),
                report: &mut report,
                next: 0,
                held: BTreeMap::new(),
                unordered: false,
                fail_fast: false,
                write_fatal: true,
                notes: Vec::new(),
            };
            let ended = catch_unwind(AssertUnwindSafe(|| {
                run.stages(&reader, &Asking::default(), parser(), None, &mut writer)
            }));
            assert!(ended.is_err(), "{lanes} lanes");
        }
    }
}
