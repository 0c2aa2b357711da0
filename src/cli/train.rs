//! `spanqa train`: from a base encoder and questions with answers to a checkpoint.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Serialize;
use spanqa::encoder::{Precision, Runtime};
use spanqa::eval::data::files;
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::{Dataset, Options};
use spanqa::heads::{QaModel, SpanModel};
use spanqa::random::Random;
use spanqa::source::Resolved;
use spanqa::text::Tokenizer;
use spanqa::train::card::{self, Card, DataFact};
use spanqa::train::examples::{Counts, Examples};
use spanqa::train::folder::{Folder, Progress};
use spanqa::train::journal::{Journal, Record};
use spanqa::train::learn::{Learner, Learning};
use spanqa::train::plan::Mixing;
use spanqa::train::recipe::{Keep, Recipe, Teaching};
use spanqa::train::report::{self, Facts};
use spanqa::train::run::{Dev, End, Event, Run, check_teacher};

use super::options::{DeviceArgs, LimitArgs, SourceArgs, at_least_one, positive, share};
use super::progress::TrainBar;
use super::{Outcome, Usage, signals, version};

/// Fine-tune a model on questions with known answers
///
/// Takes any encoder of the five families, with or without a span head, and data in every format that `eval` reads. The output folder is
/// a model for every other command and for transformers. Whatever stops a run, `--resume` goes on from the last saved state, to the same
/// weights as if nothing had happened.
#[derive(clap::Args)]
#[command(
    after_help = "Examples: spanqa train --base builtin --data mine.json --dev held-out.json --out my-model\n          \
                  spanqa ask \"Who pays?\" policy.txt --model ./my-model"
)]
pub struct Args {
    /// What to start from: a name from `spanqa models list`, `owner/repo[@revision]`, or a folder
    #[arg(long, value_name = "MODEL")]
    base: String,
    /// Data sets to learn from
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,
    /// The folder to write the model to
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// A data set to evaluate on, that is not learned from; the best weights are kept
    #[arg(long, value_name = "FILE")]
    dev: Option<PathBuf>,
    /// Go on with the run that was interrupted in the output folder
    #[arg(long)]
    resume: bool,
    /// The licence of the weights, for the model card
    #[arg(long, value_name = "NAME")]
    licence: Option<String>,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    quiet: bool,

    /// Learn from so many questions only, drawn at random
    #[arg(long, value_name = "N", help_heading = "Data")]
    sample: Option<usize>,
    /// Without --dev: hold out this share of the first data set's articles, evaluate on them, and write them to held-out.json
    #[arg(long, value_name = "SHARE", value_parser = part, conflicts_with = "dev", help_heading = "Data")]
    hold_out: Option<f64>,
    /// Evaluate on so many questions only, drawn at random
    #[arg(long, value_name = "N", requires = "dev", help_heading = "Data")]
    dev_sample: Option<usize>,
    /// The share of windows without an answer, such as 0.4 [default: as they come]
    #[arg(long, value_name = "SHARE", value_parser = below_one, help_heading = "Data")]
    null_share: Option<f64>,

    /// How often to go through the data
    #[arg(long, value_name = "N", default_value_t = 2.0, value_parser = positive, help_heading = "Steps")]
    epochs: f64,
    /// How many steps to take, instead of --epochs
    #[arg(long, value_name = "N", conflicts_with = "epochs", value_parser = clap::value_parser!(u64).range(1..), help_heading = "Steps")]
    steps: Option<u64>,
    /// Tokens that one step learns from
    #[arg(long, value_name = "TOKENS", default_value_t = 6144, value_parser = at_least_one, help_heading = "Steps")]
    batch_tokens: usize,
    /// Tokens that go through the model together; their gradients are added up
    #[arg(long, value_name = "TOKENS", default_value_t = 2048, value_parser = at_least_one, help_heading = "Steps")]
    micro_tokens: usize,
    /// Steps between evaluations [default: ten in the run]
    #[arg(long, value_name = "N", help_heading = "Steps")]
    eval_every: Option<u64>,
    /// Steps between saved states, beside those at evaluations
    #[arg(long, value_name = "N", default_value_t = 200, help_heading = "Steps")]
    save_every: u64,
    /// Evaluations without a new best after which to stop [default: never]
    #[arg(long, value_name = "N", help_heading = "Steps")]
    patience: Option<u64>,
    /// Which score makes weights the best
    #[arg(long, value_enum, value_name = "SCORE", default_value = "f1", help_heading = "Steps")]
    keep: KeepArg,

    /// The highest learning rate
    #[arg(long, value_name = "RATE", default_value_t = 5e-5, value_parser = positive, help_heading = "Learning")]
    rate: f64,
    /// The share of the steps in which the rate rises
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = share, help_heading = "Learning")]
    warmup: f64,
    /// Weight decay of matrices
    #[arg(long, value_name = "NUMBER", default_value_t = 0.01, value_parser = not_negative, help_heading = "Learning")]
    weight_decay: f64,
    /// How fast the optimiser forgets squares of gradients
    #[arg(long, value_name = "SHARE", default_value_t = 0.999, value_parser = below_one, help_heading = "Learning")]
    beta2: f64,
    /// The largest norm of the gradients; 0 for any
    #[arg(long, value_name = "NORM", default_value_t = 1.0, value_parser = not_negative, help_heading = "Learning")]
    clip: f64,
    /// Multiply the rate with this from each layer to the one below
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive, help_heading = "Learning")]
    layer_decay: f64,
    /// The share of numbers that dropout leaves out
    #[arg(long, value_name = "SHARE", default_value_t = 0.1, value_parser = below_one, help_heading = "Learning")]
    dropout: f64,
    /// Leave the embeddings as they are
    #[arg(long, help_heading = "Learning")]
    freeze_embeddings: bool,
    /// Leave so many layers, from the bottom, as they are
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Learning")]
    freeze_layers: usize,
    /// Start the span head anew even if the base has one
    #[arg(long, help_heading = "Learning")]
    fresh_head: bool,
    /// What the order, dropout and a fresh head are drawn from
    #[arg(long, value_name = "NUMBER", default_value_t = 0, help_heading = "Learning")]
    seed: u64,

    /// Learn also from the logits of this model, which has the same vocabulary
    #[arg(long, value_name = "MODEL", help_heading = "Teacher")]
    teacher: Option<String>,
    /// The teacher's share of the loss
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = share, requires = "teacher", help_heading = "Teacher")]
    teacher_weight: f64,
    /// What the logits of both are divided by
    #[arg(long, value_name = "T", default_value_t = 2.0, value_parser = positive, requires = "teacher", help_heading = "Teacher")]
    teacher_temperature: f64,

    #[command(flatten)]
    limits: LimitArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// What sets the draw of held-out articles apart from other draws with the same seed.
const HELD_OUT: u64 = 0x4e1d;

#[derive(ValueEnum, Debug, Clone, Copy)]
enum KeepArg {
    F1,
    Exact,
}

fn not_negative(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or_else(|| "it must be a number, and not below 0".into())
}

fn below_one(text: &str) -> Result<f64, String> {
    share(text).ok().filter(|number| *number < 1.0).ok_or_else(|| "it must be from 0 to below 1".into())
}

fn part(text: &str) -> Result<f64, String> {
    below_one(text).and(positive(text))
}

/// What is printed at the end.
#[derive(Serialize)]
struct Summary<'a> {
    model: String,
    end: &'static str,
    steps: u64,
    tokens: u64,
    seconds: f64,
    tokens_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_step: Option<u64>,
    data: &'a [Counts],
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let base = args.resolve(&args.base)?;
    let teacher = args.teacher.as_deref().map(|name| args.resolve(name)).transpose()?;
    let tokenizer = Tokenizer::from_files(&base.files)?;
    if let Some(teacher) = &teacher {
        check_teacher(&teacher.files, &tokenizer)?;
    }
    let mut datasets = args.datasets()?;
    let dev = match (&args.dev, args.hold_out.zip(datasets.first_mut())) {
        (Some(path), _) => Some(args.open(path, args.dev_sample)?),
        (None, Some((share, first))) => Some(first.hold_out(share, &mut Random::derive(args.seed, HELD_OUT))),
        (None, None) => None,
    };

    let learning = Learning {
        fresh_head: args.fresh_head,
        seed: args.seed,
        dropout: args.dropout as f32,
        freeze_embeddings: args.freeze_embeddings,
        freeze_layers: args.freeze_layers,
    };
    args.device.start_threads()?;
    let runtime = args.device.runtime();
    let mut learner = Learner::load(&base.files, &runtime, learning)
        .with_context(|| format!("cannot train from {}", args.base))?;
    let limits = args.limits.limits();
    let positions = learner.config().usable_positions();
    let (examples, counts) = Examples::new(&datasets, &tokenizer, positions, &limits)?;
    let mut recipe = args.recipe(&base, &datasets, &counts);
    let plan = recipe.plan(&examples);
    if recipe.eval_every == 0 && dev.is_some() && args.eval_every.is_none() {
        recipe.eval_every = (plan.len() as u64).div_ceil(10);
    }

    let (folder, mut progress) = if args.resume {
        let (folder, state, progress) = Folder::resume(&args.out)?;
        recipe.require(&progress.recipe)?;
        learner.restore(&state)?;
        (folder, progress)
    } else {
        let folder = Folder::create(&args.out, &base.files)?;
        if let Some(held_out) = dev.as_ref().filter(|_| args.hold_out.is_some()) {
            files::write_json(&args.out.join("held-out.json"), &held_out.json())?;
        }
        let progress = Progress {
            step: 0,
            tokens: 0,
            seconds: 0.0,
            best: None,
            since_best: 0,
            finished: false,
            recipe,
            counts: counts.clone(),
        };
        (folder, progress)
    };
    let (journal, mut records) = Journal::open(&args.out.join("metrics.jsonl"), progress.step)?;
    args.say(&learner, &datasets, &counts, &progress, plan.len());

    let exact = Runtime { precision: runtime.precision.or(Some(Precision::F32)), ..runtime.clone() };
    let teacher = teacher.map(|teacher| QaModel::load(&teacher.files, &exact)).transpose()?;
    let stopped = Arc::new(AtomicU8::new(0));
    let flag = Arc::clone(&stopped);
    signals::watch(move |code| flag.store(code, Ordering::Relaxed))?;
    let mut bar = TrainBar::new(plan.len() as u64, progress.step, args.quiet);
    let run = Run {
        examples: &examples,
        teacher: teacher.as_ref().map(|teacher| teacher as &dyn SpanModel),
        dev: dev.as_ref().map(|dataset| Dev { dataset, rules: Rules::of(dataset), limits, runtime }),
        folder: &folder,
        journal,
        save_every: args.save_every,
        learner: &mut learner,
    };
    let end = if progress.finished {
        Ok(End::Finished)
    } else {
        run.run(&plan, &mut progress, &mut |event| {
            match event {
                Event::Record(record) => {
                    bar.record(record);
                    records.push(record.clone());
                }
                Event::Asked(asked) => bar.asked(asked),
            }
            if stopped.load(Ordering::Relaxed) > 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    };
    bar.finish();
    args.describe(&datasets, &progress, &records)?;
    let end = end?;
    if end == End::Interrupted {
        if !args.quiet {
            eprintln!("note: stopped after step {}; `--resume` goes on from there", progress.step);
        }
        return Ok(Outcome::Stopped(stopped.load(Ordering::Relaxed)));
    }
    let summary = Summary {
        model: args.out.display().to_string(),
        end: if end == End::Finished { "finished" } else { "stopped early" },
        steps: progress.step,
        tokens: progress.tokens,
        seconds: progress.seconds,
        tokens_per_second: progress.tokens as f64 / progress.seconds.max(f64::MIN_POSITIVE),
        best_score: progress.best.map(|(score, _)| score),
        best_step: progress.best.map(|(_, step)| step),
        data: &progress.counts,
    };
    writeln!(out, "{}", serde_json::to_string(&summary)?)?;
    Ok(Outcome::Success)
}

impl Args {
    fn resolve(&self, name: &str) -> Result<Resolved> {
        self.source.resolve(name, self.quiet)
    }

    fn open(&self, path: &Path, sample: Option<usize>) -> Result<Dataset> {
        let mut dataset = Dataset::open(path, Options::default())?;
        if !self.quiet {
            dataset.flaws.remarks().iter().for_each(|remark| eprintln!("note: {}: {remark}", path.display()));
        }
        if let Some(count) = sample {
            dataset.sample(count, &mut Random::new(self.seed));
        }
        if dataset.is_empty() {
            let message = format!("no question is left of {}", path.display());
            return Err(Usage::new(message, "check the file, `--sample` and `--dev-sample`").into());
        }
        Ok(dataset)
    }

    /// The data sets. Of several, a sample takes from each as much as belongs to it.
    fn datasets(&self) -> Result<Vec<Dataset>> {
        let Some(sample) = self.sample else {
            return self.data.iter().map(|path| self.open(path, None)).collect();
        };
        let [path] = &self.data[..] else {
            let hint = "put the questions into one file, or leave out `--sample`";
            return Err(Usage::new("--sample draws from one data set", hint).into());
        };
        Ok(vec![self.open(path, Some(sample))?])
    }

    fn recipe(&self, base: &Resolved, datasets: &[Dataset], counts: &[Counts]) -> Recipe {
        let data = datasets.iter().zip(counts);
        let data = data.map(|(dataset, counts)| format!("{}: {} windows", dataset.name, counts.windows));
        let limits = self.limits.limits();
        let held_out = self.hold_out.unwrap_or(0.0);
        let windows = format!(
            "windows of {} tokens, overlap {}, held out {held_out}",
            limits.max_tokens, limits.overlap
        );
        Recipe {
            epochs: self.epochs,
            steps: self.steps,
            mixing: Mixing { batch_tokens: self.batch_tokens, null_share: self.null_share, seed: self.seed },
            micro_tokens: self.micro_tokens,
            rate: self.rate,
            warmup: self.warmup,
            weight_decay: self.weight_decay,
            beta2: self.beta2,
            clip: self.clip,
            layer_decay: self.layer_decay,
            dropout: self.dropout as f32,
            freeze_embeddings: self.freeze_embeddings,
            freeze_layers: self.freeze_layers,
            fresh_head: self.fresh_head,
            teaching: self.teacher.as_ref().map(|teacher| Teaching {
                teacher: teacher.clone(),
                temperature: self.teacher_temperature,
                weight: self.teacher_weight,
            }),
            eval_every: self.eval_every.unwrap_or(0),
            keep: match self.keep {
                KeepArg::F1 => Keep::F1,
                KeepArg::Exact => Keep::Exact,
            },
            patience: self.patience.unwrap_or(0),
            inputs: [format!("base: {}", base.files.name), windows].into_iter().chain(data).collect(),
        }
    }

    /// Says what is about to happen.
    fn say(
        &self,
        learner: &Learner,
        datasets: &[Dataset],
        counts: &[Counts],
        progress: &Progress,
        steps: usize,
    ) {
        if self.quiet {
            return;
        }
        for (dataset, counts) in datasets.iter().zip(counts) {
            let Counts { questions, unanswerable, windows, without_answer, .. } = counts;
            eprintln!(
                "note: {}: {questions} questions ({unanswerable} without an answer) in {windows} windows \
                 ({without_answer} without one)",
                dataset.name
            );
            counts.remarks().iter().for_each(|remark| eprintln!("note: {}: {remark}", dataset.name));
        }
        if learner.head_is_fresh() {
            eprintln!("note: the span head starts from random numbers");
        }
        if progress.finished {
            eprintln!("note: this run has ended already, after {} steps", progress.step);
        } else if progress.step > 0 {
            eprintln!("note: going on after step {} of {steps}", progress.step);
        } else {
            eprintln!("note: {steps} steps, {} numbers learn", learner.learning_numbers());
        }
    }

    /// Writes the card and the report.
    fn describe(&self, datasets: &[Dataset], progress: &Progress, records: &[Record]) -> Result<()> {
        let recipe = &progress.recipe;
        let name =
            self.out.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        let mut rows = recipe.rows();
        rows.push(("steps".into(), progress.step.to_string()));
        rows.push(("tokens".into(), progress.tokens.to_string()));
        let best = records.iter().rev().find_map(|record| match record {
            Record::Dev(dev) if dev.best => Some(dev),
            _ => None,
        });
        let dev = self
            .dev
            .as_ref()
            .map_or_else(|| "held-out articles".to_owned(), |path| path.display().to_string());
        let mut scores = Vec::new();
        if let Some(best) = best {
            scores.push((format!("F1, {dev}"), format!("{:.2}", best.f1)));
            scores.push((format!("exact, {dev}"), format!("{:.2}", best.exact)));
            for (what, score) in [("HasAns", best.has_answer_f1), ("NoAns", best.no_answer_f1)] {
                scores.extend(score.map(|score| (format!("{what} F1"), format!("{score:.2}"))));
            }
        }
        let fact = |(dataset, counts): (&Dataset, &Counts)| DataFact {
            file: dataset.name.clone(),
            questions: counts.questions,
            unanswerable: counts.unanswerable,
            windows: counts.windows,
            licence: None,
        };
        let card = Card {
            name: name.clone(),
            base: self.base.clone(),
            command: command(),
            data: datasets.iter().zip(&progress.counts).map(fact).collect(),
            recipe: rows.clone(),
            scores,
            licence: self.licence.clone(),
            limits: Vec::new(),
            version: version::short().to_string(),
        };
        files::write(&self.out.join("README.md"), card::markdown(&card).as_bytes())?;
        let facts = Facts {
            title: name,
            rows: [("base".to_owned(), self.base.clone())].into_iter().chain(rows).collect(),
        };
        files::write(&self.out.join("report.html"), report::html(&facts, records).as_bytes())?;
        Ok(())
    }
}

/// The command as it was typed, quoted where a shell needs it.
fn command() -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./=,:@%+".contains(c))
    };
    let words = std::env::args()
        .skip(1)
        .map(|word| if plain(&word) { word } else { format!("'{}'", word.replace('\'', "'\\''")) });
    std::iter::once("spanqa".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}
