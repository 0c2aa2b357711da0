//! `spanqa eval`: how good a model is on questions whose answers are known.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use spanqa::eval::analysis;
use spanqa::eval::analysis::losses::losses;
use spanqa::eval::answers::Answers;
use spanqa::eval::files;
use spanqa::eval::open::Pool;
use spanqa::eval::results::{Evaluation, Speed};
use spanqa::eval::score::metrics::{NoAnswer, Official, official};
use spanqa::{fs, index};

mod ask;
mod long;
mod read;
mod text;

use super::compare::Format;
use super::data::DataArgs;
use super::folders::make_folder;
use super::options::ReaderArgs;
use super::provenance::provenance;
use super::{Outcome, Usage, clock, terminal};

/// Score a model, or predictions, on a data set of questions with known answers
///
/// Reads SQuAD v1.1 and v2.0, XQuAD, MLQA, Hugging Face rows and MRQA lines, also as .gz; the content decides. The numbers are those of
/// the official scripts. Unless told otherwise, answers are chosen as run_qa chooses them, because published numbers are made that way;
/// a data set without unanswerable questions is answered always.
///
/// Exits 0, or 1 if `--fail-under` is not reached, or 2 after an error.
#[derive(clap::Args)]
#[command(after_help = "Examples: spanqa eval dev-v2.0.json --model minilm --report report\n          \
                        spanqa eval dev-v2.0.json --predictions predictions.json --official")]
pub struct Args {
    #[command(flatten)]
    pub(super) data: DataArgs,
    /// Score these answers instead of running a model: {"question id": "answer", ...}
    #[arg(long, value_name = "FILE")]
    predictions: Option<PathBuf>,
    /// With --predictions: how sure each "no answer" is: {"question id": number, ...}
    #[arg(long, value_name = "FILE", requires = "predictions")]
    na_probs: Option<PathBuf>,
    /// With --na-probs: above this an answer counts as empty, as in the official script
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1.0,
        requires = "na_probs",
        allow_negative_numbers = true
    )]
    na_prob_thresh: f64,
    /// Print exactly what the official script prints
    #[arg(long)]
    official: bool,
    /// A folder to write predictions, no-answer scores and report.html to
    #[arg(long, value_name = "FOLDER")]
    report: Option<PathBuf>,
    /// Join an article's paragraphs into documents of so many tokens and compare scoring rules on them; several lengths with commas
    #[arg(
        long,
        value_name = "TOKENS",
        value_delimiter = ',',
        conflicts_with_all = ["predictions", "report", "official", "fail_under"]
    )]
    pub(super) long: Vec<usize>,
    /// Ask of all paragraphs of the file instead of each question's own: search them, then read what is found
    ///
    /// Spans of all passages compete as with `spanqa ask --search`, unless --score says otherwise. Beside the scores it is counted how
    /// often a question's own paragraph is found.
    #[arg(long, conflicts_with_all = ["predictions", "long"])]
    open: bool,
    /// With --open: search among these texts, too, a corpus of JSON lines
    #[arg(long, value_name = "FILE", requires = "open")]
    corpus: Option<PathBuf>,
    /// Continue the run that was interrupted in the report's folder
    #[arg(long, requires = "report", conflicts_with = "predictions")]
    resume: bool,
    /// Exit with 1 if a score is lower, such as f1=70; may be repeated
    #[arg(long, value_name = "NAME=PERCENT", value_parser = goal)]
    fail_under: Vec<Goal>,
    /// How to print the result [default: text on a terminal, json in a pipe]
    #[arg(short, long, value_enum)]
    pub(super) format: Option<Format>,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    pub(super) quiet: bool,
    #[command(flatten)]
    pub(super) reader: ReaderArgs,
}

/// A score that must be reached.
#[derive(Debug, Clone)]
struct Goal {
    name: String,
    percent: f64,
}

fn goal(text: &str) -> Result<Goal, String> {
    let parts = text.split_once('=').and_then(|(name, percent)| Some((name, percent.parse::<f64>().ok()?)));
    match parts {
        Some((name, percent)) if percent.is_finite() => Ok(Goal { name: name.trim().into(), percent }),
        _ => Err("write it as f1=70".into()),
    }
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if !args.long.is_empty() {
        return args.long_documents(out);
    }
    let (dataset, rules) = args.data.open(args.quiet)?;
    if let Some(folder) = &args.report {
        make_folder(folder, args.quiet)?;
    }
    let answers = match &args.predictions {
        Some(path) => args.read(path, &dataset)?,
        None => args.ask(&dataset, args.pool()?.as_ref(), rules)?,
    };
    let no_answer = answers.na_probs.as_ref().map(|scores| NoAnswer {
        scores,
        threshold: args.na_prob_thresh,
        curves: args.report.is_some(),
    });
    let official = official(rules, &dataset, &answers.predictions, no_answer)?;
    let missed = args.missed(&official)?;
    let rows = analysis::rows(rules, &dataset, |entry| answers.given(entry, no_answer));
    let result = Evaluation::new(&dataset, rules, &answers, &official, &rows);
    if let Some(folder) = &args.report {
        if !answers.run.is_empty() {
            files::write_run(folder, &answers.run)?;
        }
        fs::write_json(&folder.join("results.json"), &result)?;
        let losses = losses(&rows);
        fs::write_lines(&folder.join("losses.jsonl"), &losses)?;
        let page = result.page(&answers, &rows, &losses, facts(&result, &answers)).html();
        let path = folder.join("report.html");
        fs::write(&path, page.as_bytes())?;
        if !args.quiet {
            terminal::note(format!("the report is in {}", path.display()));
        }
    }
    match Format::or_default(args.format) {
        _ if args.official => writeln!(out, "{}", official.json())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?,
        Format::Text => text::print(&result, out)?,
    }
    for (goal, found) in &missed {
        eprintln!("failed: {} is {found:.2}, below {}", goal.name, goal.percent);
    }
    Ok(if missed.is_empty() { Outcome::Success } else { Outcome::Negative })
}

/// How the report came about.
fn facts(result: &Evaluation, answers: &Answers) -> Vec<(String, String)> {
    let mut facts = vec![
        ("data".to_owned(), result.dataset.name.to_owned()),
        ("answers".to_owned(), result.answers.to_owned()),
    ];
    facts.extend(answers.computed.clone().map(|computed| ("computed in".to_owned(), computed)));
    if let (Some(pace), Some(Speed { questions_per_second, tokens_per_second, .. })) =
        (&answers.pace, &result.speed)
    {
        let time = clock::duration(pace.seconds);
        let speed = format!(
            "{time} for {} questions: {questions_per_second:.1} questions/s, {tokens_per_second:.0} tokens/s",
            pace.questions
        );
        facts.push(("time".into(), speed));
    }
    facts.extend(provenance());
    facts
}

impl Args {
    /// What is searched: the paragraphs of the whole file, whatever part of it is asked.
    fn pool(&self) -> Result<Option<Pool>> {
        if !self.open {
            return Ok(None);
        }
        let others = self.corpus.as_deref().map(index::corpus_texts).transpose()?.unwrap_or_default();
        let (whole, _) = self.data.open_whole(true)?;
        Ok(Some(Pool::new(&whole, others)?))
    }

    /// The goals that were not reached.
    fn missed(&self, official: &Official) -> Result<Vec<(&Goal, f64)>> {
        let mut missed = Vec::new();
        for goal in &self.fail_under {
            let found = official.get(&goal.name).ok_or_else(|| {
                let names: Vec<&str> = official.figures.iter().map(|(name, _)| *name).collect();
                Usage::new(
                    format!("there is no score {}", goal.name),
                    format!("scores are {}", names.join(", ")),
                )
            })?;
            if found < goal.percent {
                missed.push((goal, found));
            }
        }
        Ok(missed)
    }
}
