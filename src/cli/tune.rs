//! `spanqa tune`: when should a model say "no answer", and how sure may it sound?

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use serde::Serialize;
use spanqa::checkpoint::Identity;
use spanqa::decode::{Scoring, ScoringRules};
use spanqa::eval::Dataset;
use spanqa::eval::analysis::{self, Point, Row};
use spanqa::eval::profile::{Profile, TunedOn};
use spanqa::eval::run::{self, Prediction};
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::tune::{self, Choice, Confidences, Quality, Tuning, temperatures};
use spanqa::fs;
use spanqa::reader::Reader;
use spanqa::reader::memo;
use spanqa::request::Options;

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
    let read = args.reader.read(Read::All);
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

    let mut temperature = 1.0;
    if let Scoring::Joint(joint) = &mut options.decoding.scoring {
        temperature = joint.temperature;
        // What another threshold makes of the probabilities can be told from those at 0.
        joint.null_threshold = 0.0;
    }
    let in_force = Choice { null_threshold, temperature };
    let passes = args.passes(&reader, &dataset, &temperatures(temperature), options)?;
    args.reader.runtime.report(&reader, args.quiet);
    let first = passes.first().map(Vec::as_slice).unwrap_or_default();
    let by_id: HashMap<&str, usize> =
        first.iter().enumerate().map(|(at, said)| (said.id.as_str(), at)).collect();
    let rows = analysis::rows(rules, &dataset, |entry| {
        let said = by_id.get(entry.question.id.as_str()).and_then(|&at| first.get(at));
        said.map(|said| tune::given(&said.best, said.null_odds)).unwrap_or_default()
    });
    let confidences: Vec<Confidences> = (rows.iter())
        .map(|row| {
            let at = by_id.get(row.entry.question.id.as_str()).copied().unwrap_or(0);
            let of = |value: fn(&Prediction) -> f32| {
                passes.iter().map(|pass| pass.get(at).map_or(0.0, |said| f64::from(value(said)))).collect()
            };
            Confidences { best: of(|said| said.score), no_answer: of(|said| said.no_answer_score) }
        })
        .collect();
    let tuning = tune::tune(&dataset, &rows, &confidences, in_force, args.folds, args.data.seed)?;
    let profile = args.profile(&resolved.files.identity()?, &resolved.files.name, &dataset, &tuning);
    if let Some(path) = &args.output {
        fs::write(path, profile.toml().as_bytes())?;
    }
    let result = Summary {
        model: &profile.model,
        data: &dataset.name,
        folds: args.folds,
        tuning: &tuning,
        trade_off: trade_off(&rows),
    };
    match Format::or_default(args.format) {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?,
        Format::Text => result.print(args, out)?,
    }
    Ok(Outcome::Success)
}

impl Args {
    /// What the model says at every temperature. It computes only once: the reader remembers.
    fn passes(
        &self,
        reader: &Reader,
        dataset: &Dataset,
        temperatures: &[f64],
        mut options: Options,
    ) -> Result<Vec<Vec<Prediction>>> {
        let mut passes = Vec::with_capacity(temperatures.len());
        let mut bar = QuestionBar::new(dataset.len(), 0, self.quiet);
        for &temperature in temperatures {
            if let Scoring::Joint(joint) = &mut options.decoding.scoring {
                joint.temperature = temperature;
            }
            let first = passes.is_empty();
            passes.push(run::all(reader, dataset, &Arc::new(options.clone()), &mut |progress| {
                if first {
                    bar.update(progress);
                }
            })?);
        }
        bar.finish();
        Ok(passes)
    }

    fn profile(&self, identity: &Identity, model: &str, dataset: &Dataset, tuning: &Tuning) -> Profile {
        Profile {
            model: model.into(),
            model_digest: Some(identity.digest.clone()),
            null_threshold: tuning.choice.null_threshold as f32,
            temperature: tuning.choice.temperature,
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
    #[serde(flatten)]
    tuning: &'a Tuning,
    trade_off: Vec<Point>,
}

impl Summary<'_> {
    fn print(&self, args: &Args, out: &mut dyn Write) -> Result<()> {
        let Tuning { choice, per_fold, held_out, before, untuned, on_itself } = self.tuning;
        writeln!(out, "{} on {}\n", self.model, self.data)?;
        let Choice { null_threshold, temperature } = choice;
        writeln!(out, "threshold {null_threshold:.3}, temperature {temperature}")?;
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
