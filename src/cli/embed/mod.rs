//! `spanqa embed`: texts in, a vector for each one out.
//!
//! The stages are those of `batch`, and so are their bounds:
//!
//! ```text
//! input     names files, reads lines                  (a thread that may wait for input for ever)
//! stream    reads files, tokenises                    (a thread per core, in turns)
//! stream    puts the texts that wait to the model     (a thread, and the model's own)
//! write     writes records or rows, reports           (here)
//! ```

mod input;
mod matrix;
mod model;
mod output;
mod record;
mod report;
mod writer;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use spanqa::document;
use spanqa::embed::Embedder;
use spanqa::stream::{Done, Embedded, Incoming, TextWork, embed_stream, tokenise_each};

use super::inputs::InputArgs;
use super::meter::ProgressArg;
use super::options::{RuntimeArgs, choice};
use super::stages::Stages;
use super::{Outcome, Usage, is_broken_pipe, signals, terminal, walk};
use input::Inputs;
use matrix::Facts;
use model::ModelArgs;
use output::{Format, Output};
use record::Ticket;
use report::Report;
use writer::Writer;

const FORMATS: &[(&str, &str)] = &[
    ("jsonl", "A JSON object a line"),
    ("npy", "A matrix for NumPy, a row for each text; what the rows are is in FILE.ids.jsonl"),
    ("safetensors", "The tensor `embeddings`, a row for each text; what the rows are is in the metadata"),
];

/// Make vectors of texts, to compare them by meaning
///
/// Every file is one text, unless its name ends in .jsonl or .ndjson or a flag says otherwise. A line of such a file is
/// {"id": 7, "text": "..."}, {"id": 7, "texts": ["...", "..."]} or a JSON string. Standard input is taken for that if its first line
/// looks like it, else for one text.
///
/// Every text gets a record, in the order of the input: {"id" or "file", "embedding", "dimensions", "tokens", "truncated", "model"}. A
/// text that is longer than the model reads is cut, and "truncated" is true; "tokens" counts all of it. One that cannot be read gets
/// {"error": {"code", "message", "hint"}}. Vectors of the built-in model are 1 long, so their product is the cosine of their angle.
///
/// With --pool none every token keeps its hidden states, from the layers that --layer names: "hidden_states" in place of "embedding", with
/// the tokens' "pieces" and "offsets"; in a matrix every token has a row.
///
/// Exits 0; 2 if a text has no vector or after an error; 130 or 143 when interrupted.
#[derive(clap::Args)]
pub struct Args {
    /// Files to read, plain or compressed; - or nothing for standard input
    files: Vec<PathBuf>,
    #[command(flatten)]
    inputs: InputArgs,
    /// Each line of a file is one text
    #[arg(long, help_heading = "Files", conflicts_with = "jsonl")]
    lines: bool,
    /// Files hold JSON lines, whatever they are called
    #[arg(long, help_heading = "Files")]
    jsonl: bool,
    #[command(flatten)]
    model: ModelArgs,
    /// How to write vectors [default: by the name of --output, else jsonl]
    #[arg(long, value_parser = choice::<Format>(FORMATS), value_name = "FORMAT", help_heading = "Records")]
    format: Option<Format>,
    /// Write here instead of standard output; the file appears when it is complete
    #[arg(short, long, value_name = "FILE", help_heading = "Records")]
    output: Option<PathBuf>,
    /// How to show progress on standard error
    #[arg(long, value_enum, value_name = "HOW", default_value_t = ProgressArg::Auto)]
    progress: ProgressArg,
    /// No remarks, no progress and no summary on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.inputs.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    // What can be wrong with the command itself is said before a model is loaded.
    let ways = args.inputs.files.ways()?;
    let inputs = Inputs::plan(args, &mut |note| args.note(&note))?;
    args.refuse_output_that_is_read(&inputs)?;
    let mut output = args.output(out)?;
    let embedder = args.model.open(&args.runtime, args.quiet)?;
    output.begin(Facts::of(&embedder));
    let mut report = Report::new(args.progress, args.quiet, inputs.size());

    let stages: Stages<Incoming<Ticket>, TextWork<Ticket>, Done<Ticket, Embedded>> =
        Stages::new(embedder.group_tokens());
    // It may wait for input when everything else has ended, so nobody waits for it.
    std::thread::spawn({
        let queue = stages.input.clone();
        move || inputs.read(&queue)
    });
    signals::watch(stages.stopper()).context("cannot watch for interrupts")?;
    let read = |path: &Path| ways.read(path);
    let mut writer = Writer::new(&mut output, &mut report, &embedder);
    let ended = run_stages(&stages, &embedder, &read, &mut writer);
    args.close(ended, stages.stopped(), &embedder, output, &report)
}

fn run_stages(
    stages: &Stages<Incoming<Ticket>, TextWork<Ticket>, Done<Ticket, Embedded>>,
    embedder: &Embedder,
    read: &(dyn Fn(&Path) -> document::Result<document::Text> + Sync),
    writer: &mut Writer,
) -> Result<()> {
    let (input, work) = (&stages.input, &stages.work);
    let prepare = || {
        let texts = std::iter::from_fn(|| input.pop());
        tokenise_each(embedder, read, texts, rayon::current_num_threads(), work);
    };
    stages.run(
        prepare,
        |emit| embed_stream(embedder, work, embedder.group_tokens(), emit),
        weight,
        |done| writer.write_all(done),
    )
}

/// About the bytes that something takes while it waits to be written.
fn weight(done: &Done<Ticket, Embedded>) -> usize {
    const OVERHEAD: usize = 512;
    OVERHEAD
        + match done {
            Done::Reply(_, Ok(embedded)) => size_of::<f32>() * embedded.vector.len(),
            Done::Reply(_, Err(_)) | Done::Began { .. } | Done::Read { .. } => 0,
        }
}

impl Args {
    fn note(&self, text: &str) {
        if !self.quiet {
            terminal::note(text);
        }
    }

    /// Where records go.
    fn output<'a>(&self, out: &'a mut dyn Write) -> Result<Output<'a>> {
        let by_name = |path: &Path| match path.extension()?.to_str()? {
            "npy" => Some(Format::Npy),
            "safetensors" => Some(Format::Safetensors),
            _ => None,
        };
        let named = self.output.as_deref().and_then(by_name);
        Output::open(self.format.or(named).unwrap_or(Format::Jsonl), self.output.as_deref(), out)
    }

    /// The vectors would take the place of the texts.
    fn refuse_output_that_is_read(&self, inputs: &Inputs) -> Result<()> {
        let Some(output) = self.output.as_ref().and_then(|output| output.canonicalize().ok()) else {
            return Ok(());
        };
        let same = |file: &&PathBuf| file.canonicalize().is_ok_and(|file| file == output);
        match inputs.paths().find(same) {
            None => Ok(()),
            Some(file) => {
                let what = format!("{} is read, so it cannot be the output", file.display());
                Err(Usage::new(what, "give --output another name").into())
            }
        }
    }

    /// Says what came of it all, and gives a complete output its name.
    fn close(
        &self,
        ended: Result<()>,
        stopped: u8,
        embedder: &Embedder,
        output: Output,
        report: &Report,
    ) -> Result<Outcome> {
        self.runtime.report_of(&embedder.notes(), &embedder.times(), self.quiet);
        if ended.as_ref().is_err_and(is_broken_pipe) {
            return Ok(Outcome::Success);
        }
        report.summary();
        if let Some(target) = output.target()
            && (stopped != 0 || ended.is_err())
        {
            report.note(&format!("{} was not written", terminal::name(&target.display().to_string())));
        }
        ended?;
        if stopped != 0 {
            return Ok(Outcome::Stopped(stopped));
        }
        if let Some(beside) = output.complete()? {
            report
                .note(&format!("what the rows are is in {}", terminal::name(&beside.display().to_string())));
        }
        Ok(if report.tally.errors > 0 { Outcome::Failed } else { Outcome::Success })
    }
}
