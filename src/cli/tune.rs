//! `spanqa tune`: when should a model say "no answer", and how sure may it sound?

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use spanqa::checkpoint::Identity;
use spanqa::decode::confidence::Confidence;
use spanqa::decode::{Scoring, ScoringRules};
use spanqa::eval::Dataset;
use spanqa::eval::analysis::{self, Point, Row};
use spanqa::eval::open::Pool;
use spanqa::eval::profile::{Profile, TunedOn};
use spanqa::eval::run::{self, About, Prediction};
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::tune::{self, Choice, Confidences, Quality, Tuning, temperatures};
use spanqa::fs;
use spanqa::reader::Reader;
use spanqa::reader::memo;
use spanqa::request::{FOUND, Options};

use super::compare::Format;
use super::data::DataArgs;
use super::options::{Read, ReaderArgs};
use super::progress::QuestionBar;
use super::{Outcome, Usage};

/// Choose when a model should say "no answer", and how sure it may sound
///
/// Runs the model once and tries thresholds for "no answer" and temperatures for probabilities. Cross-validation by article tells what they
/// are worth on text that had no part in the choice; the profile gets the choice made on everything. Tune on data that is like yours and
/// that the model was not trained on, and measure on other data.
#[derive(clap::Args)]
#[command(
    after_help = "Example: spanqa tune questions.json --output mine.toml && spanqa ask --profile mine.toml ..."
)]
pub struct Args {
    #[command(flatten)]
    data: DataArgs,
    /// Ask of all paragraphs of the file, as `spanqa eval --open` does, and choose how much the order of the search counts, too
    #[arg(long)]
    open: bool,
    /// Where to write the profile
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Into how many parts to split the articles
    #[arg(long, value_name = "N", default_value_t = 5)]
    folds: usize,
    /// How to print the result [default: text on a terminal, json in a pipe]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    reader: ReaderArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let (dataset, rules) = args.data.open(args.quiet)?;
    if rules != Rules::Squad2 || !dataset.has_unanswerable() {
        let hint = "use data like SQuAD v2.0, where some questions have no answer";
        return Err(Usage::new("there is nothing to tune: every question has an answer", hint).into());
    }
    let resolved = args.reader.resolve(args.quiet)?;
    let pool = match args.open {
        true => Some(Pool::new(&args.data.open_whole(true)?.0, Vec::new())?),
        false => None,
    };
    let about = pool.as_ref().map_or(About::Own, About::Found);
    let read = args.reader.read(if args.open { Read::Best(FOUND) } else { Read::All });
    let mut options = Options {
        decoding: args.reader.decoding.decoding(&resolved, false)?,
        limits: args.reader.limits.limits(read)?,
        read,
        ..Options::default()
    };
    let rules_asked = options.decoding.scoring.rules();
    if rules_asked != ScoringRules::Joint {
        let hint = "leave --score out; the threshold that is found holds for --score squad, too";
        return Err(Usage::new(format!("--score {rules_asked} has no temperature to tune"), hint).into());
    }
    // A model that always answers has no threshold that "no answer" could pass.
    let null_threshold = options.decoding.null_threshold().map_or(f64::INFINITY, shortest);
    options.decoding.always_answer = false;
    let reader = args.reader.open_by(&resolved, args.quiet, memo::open)?;

    let (mut temperature, mut rank_weight, mut confidence) = (1.0, 1.0, None);
    if let Scoring::Joint(joint) = &mut options.decoding.scoring {
        (temperature, rank_weight) = (joint.temperature, joint.rank_weight);
        // What another threshold makes of the probabilities can be told from those of one without end, at which every question is answered
        // and "no answer" weighs what it does at 0.
        joint.null_threshold = f32::INFINITY;
        confidence = joint.confidence.replace(Confidence::PLAIN);
    }
    let in_force = Choice { null_threshold, temperature, confidence };
    let asked = Asked { dataset: &dataset, rules, about, in_force };
    let mut tuned: Vec<(f64, Tuned)> = Vec::new();
    // What is in force goes first, so that another weight has to be better.
    let others = RANK_WEIGHTS.into_iter().filter(|&weight| args.open && weight != rank_weight);
    for weight in std::iter::once(rank_weight).chain(others) {
        if let Scoring::Joint(joint) = &mut options.decoding.scoring {
            joint.rank_weight = weight;
        }
        let found = args.tune(&reader, &asked, &options, tuned.is_empty())?;
        if tuned.last().is_none_or(|(_, best)| found.tuning.held_out.f1 > best.tuning.held_out.f1) {
            tuned.push((weight, found));
        }
    }
    args.reader.runtime.report(&reader, args.quiet);
    let Some((rank_weight, Tuned { tuning, trade_off })) = tuned.pop() else { return Ok(Outcome::Failed) };
    let profile =
        args.profile(&resolved.files.identity()?, &resolved.files.name, &dataset, (&tuning, rank_weight));
    if let Some(path) = &args.output {
        fs::write(path, profile.toml().as_bytes())?;
    }
    let result = Summary {
        model: &profile.model,
        data: &dataset.name,
        folds: args.folds,
        rank_weight: args.open.then_some(rank_weight),
        tuning: &tuning,
        trade_off,
    };
    match Format::or_default(args.format) {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?,
        Format::Text => result.print(args, out)?,
    }
    Ok(Outcome::Success)
}

/// How much the order of the search may count.
const RANK_WEIGHTS: [f64; 6] = [0.0, 0.25, 0.5, 1.0, 1.5, 2.0];

/// What is asked.
struct Asked<'a> {
    dataset: &'a Dataset,
    rules: Rules,
    about: About<'a>,
    in_force: Choice,
}

/// What comes of it.
struct Tuned {
    tuning: Tuning,
    trade_off: Vec<Point>,
}

impl Args {
    /// Chooses threshold and temperature.
    fn tune(&self, reader: &Reader, asked: &Asked, options: &Options, first: bool) -> Result<Tuned> {
        let Asked { dataset, rules, about, in_force } = *asked;
        let passes = self.passes(
            reader,
            (dataset, about),
            &temperatures(in_force.temperature),
            options.clone(),
            first,
        )?;
        let first = passes.first().map(Vec::as_slice).unwrap_or_default();
        let by_id: HashMap<&str, usize> =
            first.iter().enumerate().map(|(at, said)| (said.id.as_str(), at)).collect();
        let rows = analysis::rows(rules, dataset, |entry| {
            let said = by_id.get(entry.question.id.as_str()).and_then(|&at| first.get(at));
            said.map(|said| tune::given(&said.best, said.null_odds)).unwrap_or_default()
        });
        let confidences: Vec<Confidences> = (rows.iter())
            .map(|row| {
                let at = by_id.get(row.entry.question.id.as_str()).copied().unwrap_or(0);
                let of = |value: fn(&Prediction) -> f32| {
                    let passes = passes.iter();
                    passes.map(|pass| pass.get(at).map_or(0.0, |said| f64::from(value(said)))).collect()
                };
                Confidences {
                    best: of(|said| said.score),
                    around: of(|said| said.confidence.unwrap_or(0.0)),
                    no_answer: of(|said| said.no_answer_score),
                }
            })
            .collect();
        let tuning = tune::tune(dataset, &rows, &confidences, in_force, self.folds, self.data.seed)?;
        Ok(Tuned { tuning, trade_off: trade_off(&rows) })
    }

    /// What the model says at every temperature. It computes only once: the reader remembers.
    fn passes(
        &self,
        reader: &Reader,
        (dataset, about): (&Dataset, About),
        temperatures: &[f64],
        mut options: Options,
        shown: bool,
    ) -> Result<Vec<Vec<Prediction>>> {
        let mut passes = Vec::with_capacity(temperatures.len());
        let mut bar = QuestionBar::new(dataset.len(), 0, self.quiet || !shown);
        for &temperature in temperatures {
            if let Scoring::Joint(joint) = &mut options.decoding.scoring {
                joint.temperature = temperature;
            }
            let first = passes.is_empty();
            passes.push(run::all(reader, dataset, about, &Arc::new(options.clone()), &mut |progress| {
                if first {
                    bar.update(progress);
                }
            })?);
        }
        bar.finish();
        Ok(passes)
    }

    fn profile(
        &self,
        identity: &Identity,
        model: &str,
        dataset: &Dataset,
        (tuning, rank_weight): (&Tuning, f64),
    ) -> Profile {
        Profile {
            model: model.into(),
            model_digest: Some(identity.digest.clone()),
            null_threshold: tuning.choice.null_threshold as f32,
            temperature: tuning.choice.temperature,
            confidence: tuning.choice.confidence,
            rank_weight,
            tuned_on: Some(TunedOn {
                data: dataset.name.clone(),
                questions: dataset.len(),
                folds: self.folds,
                exact: tuning.held_out.exact,
                f1: tuning.held_out.f1,
                ece: tuning.held_out.ece,
                untuned_f1: tuning.untuned.f1,
                untuned_ece: tuning.untuned.ece,
            }),
        }
    }
}

/// A threshold with the digits that it was written with: more are only noise of the type.
fn shortest(threshold: f32) -> f64 {
    threshold.to_string().parse().unwrap_or(f64::from(threshold))
}

/// Some thresholds from never to always answering.
fn trade_off(rows: &[Row]) -> Vec<Point> {
    const STEPS: usize = 10;
    let Some(sweep) = analysis::sweep(rows) else { return Vec::new() };
    let last = sweep.points.len().saturating_sub(1);
    (0..=STEPS).filter_map(|step| sweep.points.get(last * step / STEPS)).copied().collect()
}

#[derive(Serialize)]
struct Summary<'a> {
    model: &'a str,
    data: &'a str,
    folds: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    rank_weight: Option<f64>,
    #[serde(flatten)]
    tuning: &'a Tuning,
    trade_off: Vec<Point>,
}

impl Summary<'_> {
    fn print(&self, args: &Args, out: &mut dyn Write) -> Result<()> {
        let Tuning { choice, per_fold, held_out, before, untuned, on_itself } = self.tuning;
        writeln!(out, "{} on {}\n", self.model, self.data)?;
        let Choice { null_threshold, temperature, confidence } = choice;
        let weight = self.rank_weight.map_or(String::new(), |weight| format!(", rank weight {weight}"));
        writeln!(out, "threshold {null_threshold:.3}, temperature {temperature}{weight}")?;
        if let Some(Confidence { slope, shift }) = confidence {
            writeln!(out, "confidence: slope {slope:.3}, shift {shift:+.3}")?;
        }
        let thresholds: Vec<String> =
            per_fold.iter().map(|fold| format!("{:.3}", fold.null_threshold)).collect();
        writeln!(out, "thresholds without each fold: {}\n", thresholds.join(", "))?;
        writeln!(out, "{:<46}{:>8}{:>8}{:>8}{:>8}", "", "exact", "F1", "ECE", "Brier")?;
        let before = match before.null_threshold {
            threshold if threshold.is_finite() => {
                format!("as it is: threshold {threshold}, temperature {}", before.temperature)
            }
            _ => "as it is: always answering".to_owned(),
        };
        for (name, quality) in [
            (before.as_str(), untuned),
            ("tuned, on articles left out of the choice", held_out),
            ("optimistic: tuned on the test data", on_itself),
        ] {
            let Quality { exact, f1, ece, brier } = quality;
            writeln!(out, "{name:<46}{exact:>8.2}{f1:>8.2}{ece:>8.3}{brier:>8.3}")?;
        }
        writeln!(
            out,
            "\n{:>10}{:>10}{:>8}{:>8}{:>20}{:>20}",
            "threshold", "answered", "exact", "F1", "F1, has answer", "right, no answer"
        )?;
        for point in &self.trade_off {
            let threshold = point.threshold.map_or("never".into(), |threshold| format!("{threshold:.2}"));
            let Point { answered, exact, f1, has_answer_f1, no_answer, .. } = point;
            writeln!(
                out,
                "{threshold:>10}{answered:>10}{exact:>8.2}{f1:>8.2}{has_answer_f1:>20.2}{no_answer:>20.2}"
            )?;
        }
        if held_out.f1 <= untuned.f1 {
            let advice = "more data may help, and until then what was in force is as good";
            writeln!(out, "\non articles left out of the choice the new threshold gained nothing: {advice}")?;
        }
        match &args.output {
            Some(path) => writeln!(out, "\nwritten to {}: use it with --profile", path.display())?,
            None => writeln!(out, "\n--output FILE writes a profile for --profile")?,
        }
        Ok(())
    }
}
