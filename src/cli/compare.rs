//! `spanqa compare`: two sets of answers, question by question.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::ValueEnum;
use spanqa::eval::Dataset;
use spanqa::eval::analysis::{self, Given, Row};
use spanqa::eval::compare::{Change, Comparison, Difference, compare};
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::score::predictions::Predictions;

use super::Outcome;
use super::data::DataArgs;
use super::terminal::{name, one_line};

/// Compare two sets of answers question by question
///
/// A and B are predictions files, {"question id": "answer", ...}, or report folders of `spanqa eval`. Differences are B minus A. The range
/// in brackets is the 95 % interval of the paired bootstrap; McNemar's test asks whether the questions that only one of the two got exactly
/// right could be split so unevenly by chance.
///
/// Exits 0, or 1 with `--fail-if-worse` if B is worse, or 2 after an error.
#[derive(clap::Args)]
#[command(after_help = "Example: spanqa compare old-report new-report dev-v2.0.json --fail-if-worse")]
pub struct Args {
    /// The first set
    #[arg(value_name = "A")]
    first: PathBuf,
    /// The second set
    #[arg(value_name = "B")]
    second: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Exit with 1 if B scores lower than A, in exact match or F1
    #[arg(long)]
    fail_if_worse: bool,
    /// With --fail-if-worse: how many points lower is still good
    #[arg(long, value_name = "POINTS", default_value_t = 0.0, requires = "fail_if_worse")]
    tolerance: f64,
    /// How many gains and losses to print as text
    #[arg(long, value_name = "N", default_value_t = 10)]
    list: usize,
    /// How to print the result [default: text on a terminal, json in a pipe]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
    /// No remarks on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A summary for people
    Text,
    /// Everything, for programs
    Json,
}

impl Format {
    /// What was asked for, or what suits where it goes.
    pub fn or_default(format: Option<Self>) -> Self {
        format.unwrap_or(if io::stdout().is_terminal() { Self::Text } else { Self::Json })
    }
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let (dataset, rules) = args.data.open(args.quiet)?;
    let (first, second) = (read(&args.first, &dataset)?, read(&args.second, &dataset)?);
    let first = rows(rules, &dataset, &first);
    let second = rows(rules, &dataset, &second);
    let found = compare(&first, &second);
    match Format::or_default(args.format) {
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&found)?)?,
        Format::Text => args.print(&found, out)?,
    }
    let worse = |difference: &Difference| difference.difference < -args.tolerance;
    if args.fail_if_worse && (worse(&found.exact) || worse(&found.f1)) {
        eprintln!(
            "failed: B is worse than A by more than {} points: exact {:+.2}, F1 {:+.2}",
            args.tolerance, found.exact.difference, found.f1.difference
        );
        return Ok(Outcome::Negative);
    }
    Ok(Outcome::Success)
}

/// A predictions file, or the one in a report folder. Every question must be in it, or the comparison would mean nothing.
fn read(path: &Path, dataset: &Dataset) -> Result<Predictions> {
    let file = if path.is_dir() { path.join("predictions.json") } else { path.to_owned() };
    let predictions = Predictions::open(&file)?;
    predictions.require_all(dataset)?;
    Ok(predictions)
}

fn rows<'a>(rules: Rules, dataset: &'a Dataset, predictions: &'a Predictions) -> Vec<Row<'a>> {
    analysis::rows(rules, dataset, |entry| {
        let answer = predictions.get(&entry.question.id).map_or("", String::as_str);
        Given { answer, best: answer, ..Given::default() }
    })
}

impl Args {
    fn print(&self, found: &Comparison, out: &mut dyn Write) -> Result<()> {
        let (questions, different) = (found.questions, found.different);
        writeln!(out, "{questions} questions, {different} answered differently\n")?;
        writeln!(out, "{:<8}{:>8}{:>8}{:>9}", "", "A", "B", "B - A")?;
        for (name, score) in [("exact", &found.exact), ("F1", &found.f1)] {
            let Difference { first, second, difference, interval } = score;
            let (low, high) = (interval.low, interval.high);
            writeln!(out, "{name:<8}{first:>8.2}{second:>8.2}{difference:>+9.2}  [{low:+.2}, {high:+.2}]")?;
        }
        let test = &found.mcnemar;
        writeln!(
            out,
            "\nexactly right in A only: {}, in B only: {}; McNemar p = {:.4} (corrected chi-squared: {:.4})",
            test.only_first, test.only_second, test.exact_p, test.corrected_p
        )?;
        for (title, changes) in [("gains", &found.wins), ("losses", &found.losses)] {
            writeln!(out, "\n{} {title}", changes.len())?;
            for Change { id, question, expected, first, second, f1 } in changes.iter().take(self.list) {
                let expected = expected.first().copied().unwrap_or("no answer");
                writeln!(
                    out,
                    "  {f1:+.2}  {}  [{}]\n         expected {expected:?}, A {first:?}, B {second:?}",
                    one_line(question),
                    name(id)
                )?;
            }
        }
        Ok(())
    }
}
