//! The order of passages, as `rank` and `search` make and print it.

use std::io::Write;
use std::sync::Arc;

use anyhow::{Context, Result};
use spanqa::embed::Embedder;
use spanqa::request::reply::Id;
use spanqa::request::{Options, PROMISING};
use spanqa::rerank::{By, Corpus, PairModel, Ranker, Record, Spelling, Task, Wanted};
use spanqa::source::{Origin, builtin};
use spanqa::text::offsets::OffsetUnit;
use spanqa::text::window::Limits;

use super::print::{self, Format, Printer};
use crate::cli::options::{ModelArgs, Read, ReaderArgs, RuntimeArgs, UNITS, at_least_one, choice, number};
use crate::cli::output::color::ColorArg;
use crate::cli::progress::WindowBar;
use crate::cli::{Outcome, Usage, notice, session, terminal};

const ORDERS: &[(&str, &str)] = &[
    ("words", "The words that they share with the question (BM25); needs no model"),
    ("reader", "By how many logits their best span leads \"no answer\""),
    ("embedding", "The cosine of their vector and that of the question"),
    ("both", "Words and embedding, fused by the places in both orders (reciprocal ranks)"),
    ("cross-encoder", "The logit that the model of --model gives to question and passage"),
];

/// How many passages a model reads unless more are asked for.
pub const READ: usize = 100;

/// How passages are put in order and printed.
#[derive(clap::Args)]
pub struct OrderArgs {
    /// What passages are ordered by
    #[arg(long, value_parser = choice::<By>(ORDERS), value_name = "WHAT", default_value_t = By::Words, help_heading = "Order")]
    pub by: By,
    /// How many passages to show, best first [default: 10; with JSON lines all]
    #[arg(short = 'k', long, value_name = "N", value_parser = at_least_one, help_heading = "Order")]
    pub top_k: Option<usize>,
    /// Show only passages with at least this score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, value_parser = number, help_heading = "Order")]
    min_score: Option<f64>,
    /// With a model: read only these many passages that share most words with the question, or all [default: 100; all for embeddings]
    #[arg(long, value_name = "N|all", help_heading = "Order")]
    pub read: Option<Read>,
    /// How to print passages; SPANQA_FORMAT sets it for good [default: json]
    #[arg(short, long, value_enum)]
    pub format: Option<Format>,
    /// The same as --format text
    #[arg(short = 't', overrides_with = "format")]
    pub text: bool,
    /// What start, end and column count
    #[arg(long, value_parser = choice::<OffsetUnit>(UNITS), value_name = "UNIT", default_value_t = OffsetUnit::Char)]
    offset_unit: OffsetUnit,
    /// When to colour what is printed; NO_COLOR, CLICOLOR and CLICOLOR_FORCE are heard by auto
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorArg::Auto)]
    color: ColorArg,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

/// What puts passages in order, and whether the model inside the program answers.
pub struct Opened {
    pub ranker: Ranker,
    built_in: bool,
}

impl OrderArgs {
    /// Flags that an order knows nothing of would change nothing, in silence.
    pub fn refuse_what_does_not_apply(&self) -> Result<()> {
        if self.by == By::Words && self.read.is_some() {
            let hint = "leave it out, or add `--by reader`";
            return Err(Usage::new("--read belongs to orders that a model makes", hint).into());
        }
        Ok(())
    }

    /// How passages are printed.
    pub fn format(&self) -> Result<Format> {
        Ok(match (self.text, self.format) {
            (true, _) => Format::Text,
            (false, Some(format)) => format,
            (false, None) => session::usual_format()?.map_or(Format::Json, Format::from),
        })
    }

    /// Puts passages in order for a question and prints them.
    pub fn rank(
        &self,
        question: &str,
        corpus: &Corpus,
        wanted: &Wanted,
        opened: &Opened,
        format: Format,
        out: &mut dyn Write,
    ) -> Result<Outcome> {
        let mut bar = WindowBar::new(self.quiet);
        let task = Task { query: question, corpus };
        let found = opened.ranker.rank(&[task], wanted, &mut |progress| bar.update(progress));
        bar.finish();
        let Some(ranking) = found?.pop().transpose()? else { return Ok(Outcome::Negative) };
        let id = Id::from("1");
        let spelling = Spelling::Places(self.offset_unit);
        let record = Record::new((&id, question), &opened.ranker, corpus, &ranking, spelling);
        Printer::new(format, self.color).print(&record, corpus, out)?;
        out.flush()?;
        if format == Format::Grep && record.read.is_some_and(|read| read < record.passages) {
            self.note(&print::unread(&record));
        }
        Ok(if record.results.is_empty() { Outcome::Negative } else { Outcome::Success })
    }

    /// Whether the order needs vectors.
    fn embeds(&self) -> bool {
        matches!(self.by, By::Embedding | By::Both)
    }

    /// Which passages to show, `shown` of them unless the flags say otherwise.
    pub fn wanted(&self, shown: usize) -> Wanted {
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

    /// Loads the model that the order needs, if it needs one; of an index with vectors the one that made them.
    pub fn open(&self, embedder: Option<&str>) -> Result<Opened> {
        if self.by == By::Words {
            self.runtime.device.start_threads()?;
            return Ok(Opened { ranker: Ranker::Words, built_in: false });
        }
        let mut args = ReaderArgs::usual(self.model.clone(), self.runtime.clone());
        // Of the models inside the program, the one that can do it.
        if self.embeds() && args.model.model == builtin::READER {
            args.model.model = embedder.unwrap_or(builtin::EMBEDDER).into();
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
    pub fn close(&self, opened: &Opened) {
        let ranker = &opened.ranker;
        if ranker.by() != By::Words {
            self.runtime.report_of(&ranker.model_notes(), &ranker.model_times(), self.quiet);
        }
        if opened.built_in && !self.quiet {
            notice::built_in_model(|text| terminal::note(text));
        }
    }

    pub fn note(&self, text: &str) {
        if !self.quiet {
            terminal::note(text);
        }
    }
}
