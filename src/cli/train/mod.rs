//! `spanqa train`: from a base encoder and questions with answers to a checkpoint.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;
use serde::Serialize;
use spanqa::encoder::{Precision, Runtime};
use spanqa::fs;
use spanqa::heads::{QaModel, SpanModel};
use spanqa::text::Tokenizer;
use spanqa::train::card::is_hub_name;
use spanqa::train::examples::{Counts, Examples};
use spanqa::train::folder::{Folder, Progress};
use spanqa::train::journal;
use spanqa::train::recipe::{Keep, Objective};
use spanqa::train::run::{End, Event, Run};
use spanqa::train::teacher::check_teacher;

mod describe;
mod setup;

use self::describe::scores_of_base;
use self::setup::Data;
use super::folders::make_folder;
use super::options::{
    DeviceArgs, LimitArgs, SourceArgs, at_least_one, choice, not_negative, positive, share,
};
use super::output::color::ColorArg;
use super::output::json;
use super::progress::TrainBar;
use super::{Outcome, Usage, signals};

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
    /// Write the windows that would be learned from to windows.safetensors in the output folder, for training elsewhere, and stop
    #[arg(long, conflicts_with_all = ["dev", "resume", "teacher"])]
    lay_only: bool,
    /// The licence of the weights, for the model card
    #[arg(long, value_name = "NAME")]
    licence: Option<String>,
    /// The languages of the model, for its card [default: those of the base, where they are known]
    #[arg(long, value_name = "CODE", value_parser = hub_name)]
    language: Vec<String>,
    /// What a hub calls the data, such as rajpurkar/squad_v2, for the model card
    #[arg(long, value_name = "NAME", value_parser = hub_name)]
    data_id: Vec<String>,
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

    /// The share of questions that are put to a few sentences around the answer, or anywhere, instead of to the whole context
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share, help_heading = "Data")]
    crop: f64,

    /// What is minimised
    #[arg(long, value_parser = choice::<Objective>(OBJECTIVES), value_name = "NAME", default_value = "window", help_heading = "Learning")]
    objective: Objective,
    /// With the joint objective: the windows of a long document, the most promising ones, that are learned from together [default: 4]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "Learning")]
    read: Option<usize>,

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
    #[arg(long, value_parser = choice::<Keep>(SCORES), value_name = "SCORE", default_value = "f1", help_heading = "Steps")]
    keep: Keep,

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

const SCORES: &[(&str, &str)] = &[("f1", ""), ("exact", "")];

const OBJECTIVES: &[(&str, &str)] = &[
    ("window", "Each window for itself: its start and its end, as published checkpoints were trained"),
    (
        "joint",
        "The most promising windows of a document together, as `ask` reads them: one distribution over all spans and \"no answer\"",
    ),
];

fn below_one(text: &str) -> Result<f64, String> {
    share(text).ok().filter(|number| *number < 1.0).ok_or_else(|| "it must be from 0 to below 1".into())
}

fn hub_name(text: &str) -> Result<String, String> {
    let named = is_hub_name(text).then(|| text.to_owned());
    named.ok_or_else(|| "hubs use letters, digits and - _ . / for names".into())
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
    /// What the base scored, if it was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    base_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    best_step: Option<u64>,
    data: &'a [Counts],
}

/// What is printed if nothing is learned.
#[derive(Serialize)]
struct Laid<'a> {
    windows: String,
    bytes: u64,
    data: &'a [Counts],
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let base = args.resolve(&args.base)?;
    let teacher = args.teacher.as_deref().map(|name| args.resolve(name)).transpose()?;
    let tokenizer = Tokenizer::from_files(&base.files)?;
    if let Some(teacher) = &teacher {
        check_teacher(&teacher.files, &tokenizer)?;
    }
    let data = args.data()?;
    args.device.start_threads()?;
    let runtime = args.device.runtime();
    let mut learner = args.learner(&base, &runtime)?;
    let laying = args.laying()?;
    let limits = args.limits.limits(args.together())?;
    let positions = learner.config().usable_positions();
    let (examples, counts) = Examples::new(&data.learn, &tokenizer, positions, (&limits, &laying))?;
    if args.lay_only {
        return args.lay(&examples, &data, &counts, out);
    }
    let mut recipe = args.recipe(&base, teacher.as_ref(), &data, &counts, laying)?;
    let mut plan = recipe.plan(&examples)?;
    let steps = plan.steps();
    if recipe.eval_every == 0 && data.dev.is_some() && args.eval_every.is_none() {
        recipe.eval_every = steps.div_ceil(10);
    }

    let (folder, mut progress) = if args.resume {
        let (folder, state, progress) = Folder::resume(&args.out)?;
        recipe.require(&progress.recipe)?;
        learner.restore(&state)?;
        (folder, progress)
    } else {
        make_folder(&args.out, args.quiet)?;
        let folder = Folder::create(&args.out, &base.files)?;
        args.keep_held_out(&data)?;
        (folder, Progress::new(recipe, counts.clone()))
    };
    let metrics = args.out.join("metrics.jsonl");
    let (journal, mut records) = journal::open(&metrics, progress.step, !progress.evaluation_due)?;
    args.say(&learner, &data.learn, &counts, &progress, steps);

    let exact = Runtime { precision: runtime.precision.or(Some(Precision::F32)), ..runtime.clone() };
    let teacher = teacher.map(|teacher| QaModel::load(&teacher.files, &exact)).transpose()?;
    let stopped = args.watch_signals()?;
    let mut bar = TrainBar::new(steps, progress.step, args.quiet);
    let run = Run {
        examples: &examples,
        teacher: teacher.as_ref().map(|teacher| teacher as &dyn SpanModel),
        dev: data.dev.as_ref().map(|dataset| args.examination(dataset, limits, runtime)),
        folder: &folder,
        journal,
        save_every: args.save_every,
        learner: &mut learner,
    };
    let end = run.run(&mut plan, &mut progress, &mut |event| {
        match event {
            Event::Record(record) => {
                bar.record(record);
                records.push(record.clone());
            }
            Event::Asked(asked) => bar.asked(asked),
        }
        match stopped.load(Ordering::Relaxed) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    bar.finish();
    args.describe(&base, &data.learn, &progress, &records)?;
    let end = end?;
    if end == End::Interrupted {
        if !args.quiet {
            let place = match (progress.step, progress.evaluation_due) {
                (0, true) => "while the base was evaluated".to_owned(),
                (step, true) => format!("after step {step}, before its evaluation"),
                (step, false) => format!("after step {step}"),
            };
            eprintln!("note: stopped {place}; `--resume` goes on from there");
        }
        return Ok(Outcome::Stopped(stopped.load(Ordering::Relaxed)));
    }
    if !args.quiet {
        args.say_the_end(&progress);
    }
    let summary = Summary {
        model: args.out.display().to_string(),
        end: if end == End::Finished { "finished" } else { "stopped early" },
        steps: progress.step,
        tokens: progress.tokens,
        seconds: progress.seconds,
        tokens_per_second: progress.tokens as f64 / progress.seconds.max(f64::MIN_POSITIVE),
        base_score: scores_of_base(&records).map(|scores| progress.recipe.keep.of(scores)),
        best_score: progress.best.map(|(score, _)| score),
        best_step: progress.best.map(|(_, step)| step),
        data: &progress.counts,
    };
    json::Style::new(ColorArg::Auto).write(&summary, out)?;
    Ok(Outcome::Success)
}

impl Args {
    /// Writes the windows, for training elsewhere.
    fn lay(
        &self,
        examples: &Examples,
        data: &Data,
        counts: &[Counts],
        out: &mut dyn Write,
    ) -> Result<Outcome> {
        self.say_data(&data.learn, counts);
        make_folder(&self.out, self.quiet)?;
        self.keep_held_out(data)?;
        let path = self.out.join("windows.safetensors");
        let bytes = examples.write(&path)?;
        let laid = Laid { windows: path.display().to_string(), bytes, data: counts };
        json::Style::new(ColorArg::Auto).write(&laid, out)?;
        Ok(Outcome::Success)
    }

    fn keep_held_out(&self, data: &Data) -> Result<()> {
        if let Some(held_out) = data.dev.as_ref().filter(|_| self.hold_out.is_some()) {
            fs::write_json(&self.out.join("held-out.json"), &held_out.json())?;
        }
        Ok(())
    }

    /// Becomes the exit code once the program has been asked to stop.
    fn watch_signals(&self) -> Result<Arc<AtomicU8>> {
        let stopped = Arc::new(AtomicU8::new(0));
        let (flag, quiet) = (Arc::clone(&stopped), self.quiet);
        signals::watch(move |code| {
            flag.store(code, Ordering::Relaxed);
            if !quiet {
                eprintln!("note: stopping as soon as the state can be saved; once more to leave at once");
            }
        })?;
        Ok(stopped)
    }
}
