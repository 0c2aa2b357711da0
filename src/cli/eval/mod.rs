//! `spanqa eval`: how good a model is on questions whose answers are known.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use serde::Serialize;
use spanqa::decode::Scoring;
use spanqa::eval::analysis::{self, Given, Row};
use spanqa::eval::data::files;
use spanqa::eval::journal::{Header, Journal};
use spanqa::eval::losses::{Loss, losses};
use spanqa::eval::report::Report;
use spanqa::eval::run::{self, Prediction};
use spanqa::eval::score::metrics::{NoAnswer, Official, Rules, official};
use spanqa::eval::score::predictions::{NoAnswerScores, Predictions};
use spanqa::eval::stats::Calibration;
use spanqa::eval::{Dataset, Entry};
use spanqa::reader::Asking;

mod long;

use super::compare::Format;
use super::data::DataArgs;
use super::options::{ReaderArgs, ScoreArg};
use super::progress::QuestionBar;
use super::{Outcome, Usage};

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
        std::fs::create_dir_all(folder)
            .map_err(|source| spanqa::fs::Error::Write { path: folder.clone(), source })?;
    }
    let answers = match &args.predictions {
        Some(path) => args.read(path, &dataset)?,
        None => args.ask(&dataset, rules)?,
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
        files::write_json(&folder.join("results.json"), &result)?;
        let losses = losses(&rows);
        files::write_lines(&folder.join("losses.jsonl"), &losses)?;
        let page = result.page(&answers, &rows, &losses).html();
        files::write(&folder.join("report.html"), page.as_bytes())?;
    }
    match Format::or_default(args.format) {
        _ if args.official => writeln!(out, "{}", official.json())?,
        Format::Json => writeln!(out, "{}", serde_json::to_string_pretty(&result)?)?,
        Format::Text => result.print(out)?,
    }
    for (goal, found) in &missed {
        eprintln!("failed: {} is {found:.2}, below {}", goal.name, goal.percent);
    }
    Ok(if missed.is_empty() { Outcome::Success } else { Outcome::Negative })
}

/// Where answers come from, and what is known beside them.
struct Answers {
    source: String,
    /// What the model abstained by.
    threshold: Option<f64>,
    predictions: Predictions,
    na_probs: Option<NoAnswerScores>,
    run: Vec<Prediction>,
    by_id: HashMap<String, usize>,
    seconds: Option<f64>,
    tokens: usize,
}

impl Answers {
    fn given<'a>(&'a self, entry: Entry<'a>, no_answer: Option<NoAnswer>) -> Given<'a> {
        let id = entry.question.id.as_str();
        if let Some(said) = self.by_id.get(id).and_then(|&at| self.run.get(at)) {
            return Given {
                answer: &said.answer,
                best: &said.best,
                null_odds: Some(said.null_odds.map_or(files::NOTHING_TO_QUOTE, f64::from)),
                confidence: Some(said.confidence()),
            };
        }
        let answer = self.predictions.get(id).map_or("", String::as_str);
        let odds = no_answer.and_then(|no_answer| no_answer.scores.get(id)?.as_f64());
        let hidden = no_answer.zip(odds).is_some_and(|(no_answer, odds)| odds > no_answer.threshold);
        Given { answer: if hidden { "" } else { answer }, best: answer, null_odds: odds, confidence: None }
    }
}

impl Args {
    /// Answers from files.
    fn read(&self, path: &Path, dataset: &Dataset) -> Result<Answers> {
        let predictions = Predictions::open(path)?;
        let na_probs = self.na_probs.as_ref().map(|path| NoAnswerScores::open(path)).transpose()?;
        if !self.quiet {
            let strangers = predictions.strangers(dataset);
            if strangers > 0 && self.data.is_whole() {
                eprintln!("note: {strangers} predictions belong to no question of the data set");
            }
            let missing = dataset.len() + strangers - predictions.len();
            if missing > 0 {
                eprintln!("note: {missing} questions have no prediction and count as wrong");
            }
        }
        Ok(Answers {
            source: path.display().to_string(),
            threshold: self.na_probs.is_some().then_some(self.na_prob_thresh),
            predictions,
            na_probs,
            run: Vec::new(),
            by_id: HashMap::new(),
            seconds: None,
            tokens: 0,
        })
    }

    /// Answers from a model.
    fn ask(&self, dataset: &Dataset, rules: Rules) -> Result<Answers> {
        let resolved = self.reader.resolve(self.quiet)?;
        let mut asking = Asking {
            decoding: self.reader.decoding.decoding_by(ScoreArg::Squad, &resolved, false)?,
            why: self.report.is_some(),
            ..Asking::default()
        };
        if self.report.is_some() && asking.decoding.top_k == 1 {
            asking.decoding.top_k = CANDIDATES;
        }
        // The scripts for data sets of this kind know no empty answer.
        asking.decoding.always_answer |=
            rules != Rules::Squad2 && self.reader.decoding.null_threshold.is_none();
        let limits = self.reader.limits.limits();
        let settings = format!("{:?} {limits:?} {:?}", asking.decoding, self.reader.runtime.device.dtype);
        let reader = self.reader.open(&resolved, self.quiet)?;

        let model = match &resolved.files.revision {
            Some(revision) => format!("{}@{revision}", resolved.files.name),
            None => resolved.files.name.clone(),
        };
        let header = Header::new(&model, dataset, settings);
        let (mut journal, mut said) = match &self.report {
            Some(folder) if self.resume => {
                let (journal, said) = Journal::resume(&folder.join(JOURNAL), &header)?;
                (Some(journal), said)
            }
            Some(folder) => (Some(Journal::create(&folder.join(JOURNAL), &header)?), Vec::new()),
            None => (None, Vec::new()),
        };
        if self.resume && !self.quiet {
            eprintln!("note: {} of {} questions were answered before", said.len(), dataset.len());
        }
        let before = said.clone();
        let done: HashSet<&str> = before.iter().map(|said| said.id.as_str()).collect();
        let started = Instant::now();
        let mut tokens = 0;
        let mut bar = QuestionBar::new(dataset.len(), done.len(), self.quiet);
        let finished = run::run(
            &reader,
            dataset,
            &asking,
            &done,
            &mut |predictions| {
                if let Some(journal) = &mut journal {
                    journal.append(&predictions)?;
                }
                said.extend(predictions);
                Ok(())
            },
            &mut |progress| {
                tokens = progress.tokens;
                bar.update(progress);
            },
        );
        bar.finish();
        self.reader.runtime.report(&reader, self.quiet);
        finished?;
        let seconds = started.elapsed().as_secs_f64();

        let by_id: HashMap<String, usize> =
            (said.iter().enumerate()).map(|(at, said)| (said.id.clone(), at)).collect();
        // Files are in the order of the data set, whatever was interrupted when.
        let run: Vec<Prediction> = (dataset.entries())
            .filter_map(|entry| said.get(*by_id.get(&entry.question.id)?).cloned())
            .collect();
        let by_id = run.iter().enumerate().map(|(at, said)| (said.id.clone(), at)).collect();
        let mut predictions = Predictions::new(&model);
        for said in &run {
            predictions.insert(said.id.clone(), said.answer.clone());
            if let (Some(reason), false) = (&said.failure, self.quiet) {
                eprintln!("note: question {} counts as not answered: {reason}", said.id);
            }
        }
        let rules = match asking.decoding.scoring {
            Scoring::Squad => "run_qa",
            Scoring::Joint => "joint",
            Scoring::Hf => "pipeline",
            Scoring::Haystack => "haystack",
        };
        Ok(Answers {
            source: format!("{model}, {rules} rules"),
            threshold: (!asking.decoding.always_answer).then_some(f64::from(asking.decoding.null_threshold)),
            predictions,
            na_probs: None,
            run,
            by_id,
            seconds: Some(seconds),
            tokens,
        })
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

/// The file that remembers an unfinished run.
const JOURNAL: &str = "run.jsonl";

/// Candidates per question in nbest_predictions.json: as many as run_qa keeps.
const CANDIDATES: usize = 20;

/// Everything that is found out.
#[derive(Serialize)]
struct Evaluation<'a> {
    dataset: About<'a>,
    answers: &'a str,
    rules: String,
    official: &'a Official,
    parts: Vec<analysis::Part>,
    #[serde(skip_serializing_if = "Option::is_none")]
    always_answering: Option<AlwaysAnswering>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds: Option<analysis::Sweep>,
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<Calibration>,
    groups: analysis::Breakdown,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed: Option<Speed>,
}

#[derive(Serialize)]
struct About<'a> {
    name: &'a str,
    format: &'static str,
    version: Option<&'a str>,
    articles: usize,
    questions: usize,
    answerable: usize,
    misaligned_answers: usize,
}

/// What the best spans of the answerable questions score, whether they were returned or not.
#[derive(Serialize)]
struct AlwaysAnswering {
    has_answer_exact: f64,
    has_answer_f1: f64,
}

#[derive(Serialize)]
struct Speed {
    seconds: f64,
    questions_per_second: f64,
    tokens_per_second: f64,
}

impl<'a> Evaluation<'a> {
    fn new(
        dataset: &'a Dataset,
        rules: Rules,
        answers: &'a Answers,
        official: &'a Official,
        rows: &[Row],
    ) -> Self {
        let answerable: Vec<&Row> = rows.iter().filter(|row| row.entry.question.has_answer()).collect();
        let share = |sum: f64| 100.0 * sum / answerable.len().max(1) as f64;
        let known = !answers.run.is_empty() && rules == Rules::Squad2;
        Self {
            dataset: About {
                name: &dataset.name,
                format: dataset.format.name(),
                version: dataset.version.as_deref(),
                articles: dataset.articles.len(),
                questions: rows.len(),
                answerable: answerable.len(),
                misaligned_answers: dataset.flaws.misaligned,
            },
            answers: &answers.source,
            rules: rules.name(),
            official,
            parts: analysis::parts(rows),
            always_answering: known.then(|| AlwaysAnswering {
                has_answer_exact: share(answerable.iter().map(|row| row.best.exact).sum()),
                has_answer_f1: share(answerable.iter().map(|row| row.best.f1).sum()),
            }),
            thresholds: (rules == Rules::Squad2).then(|| analysis::sweep(rows)).flatten(),
            calibration: analysis::calibration(rows),
            groups: analysis::breakdown(rows),
            speed: answers.seconds.filter(|_| answers.tokens > 0).map(|seconds| Speed {
                seconds,
                questions_per_second: rows.len() as f64 / seconds,
                tokens_per_second: answers.tokens as f64 / seconds,
            }),
        }
    }

    /// The same as a web page.
    fn page<'b>(&'b self, answers: &Answers, rows: &'b [Row<'b>], losses: &'b [Loss<'b>]) -> Report<'b> {
        let About { questions, answerable, articles, format, .. } = self.dataset;
        let mut about = vec![
            format!(
                "{questions} questions about {articles} articles ({format}), {answerable} with an answer."
            ),
            format!("Answers: {}. Scored by {} rules.", self.answers, self.rules),
        ];
        if let Some(always) = &self.always_answering {
            let AlwaysAnswering { has_answer_exact, has_answer_f1 } = always;
            about.push(format!(
                "Made to answer, it scores exact {has_answer_exact:.2} and F1 {has_answer_f1:.2} where there is an answer."
            ));
        }
        if let Some(threshold) = answers.threshold {
            about.push(format!("It abstains if \"no answer\" leads by more than {threshold}."));
        }
        Report {
            title: Path::new(self.dataset.name)
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or(self.dataset.name),
            about,
            parts: &self.parts,
            sweep: self.thresholds.as_ref(),
            threshold: answers.threshold,
            calibration: self.calibration.as_ref(),
            groups: &self.groups,
            losses,
            rows,
        }
    }

    fn print(&self, out: &mut dyn Write) -> Result<()> {
        let About { name, questions, answerable, articles, .. } = self.dataset;
        writeln!(
            out,
            "{name}: {questions} questions about {articles} articles, {answerable} with an answer"
        )?;
        writeln!(out, "{}, scored by {} rules\n", self.answers, self.rules)?;
        writeln!(out, "{:<14}{:>9}  {:^24}{:^24}", "", "questions", "exact", "F1")?;
        for part in &self.parts {
            let cell = |estimate: &analysis::Estimate| {
                let analysis::Estimate { mean, interval } = estimate;
                format!("{mean:>7.2}  [{:.2}, {:.2}]", interval.low, interval.high)
            };
            let (exact, f1) = (cell(&part.exact), cell(&part.f1));
            writeln!(out, "{:<14}{:>9}  {exact:<24}{f1:<24}", part.name, part.questions)?;
        }
        writeln!(out, "in brackets: 95 % of samples of questions like these\n")?;
        if let Some(always) = &self.always_answering {
            let AlwaysAnswering { has_answer_exact, has_answer_f1 } = always;
            writeln!(
                out,
                "made to answer: exact {has_answer_exact:.2}, F1 {has_answer_f1:.2} where there is an answer"
            )?;
        }
        if let Some(sweep) = &self.thresholds {
            let point = |point: &analysis::Point| match point.threshold {
                Some(threshold) => format!("threshold {threshold:.3}"),
                None => "abstaining always".into(),
            };
            let (exact, f1) = (&sweep.best_exact, &sweep.best_f1);
            writeln!(
                out,
                "best on these very questions, so too good: exact {:.2} ({}), F1 {:.2} ({})",
                exact.exact,
                point(exact),
                f1.f1,
                point(f1)
            )?;
        }
        if let Some(calibration) = &self.calibration {
            let Calibration { ece, brier, .. } = calibration;
            writeln!(out, "calibration: ECE {ece:.3}, Brier {brier:.3}")?;
        }
        for (title, groups) in [
            ("question word", &self.groups.question_word),
            ("answer, words", &self.groups.answer_words),
            ("context, words", &self.groups.context_words),
        ] {
            writeln!(out, "\n{title:<14}{:>9}{:>9}{:>9}", "questions", "exact", "F1")?;
            for group in groups.iter().filter(|group| group.questions > 0) {
                writeln!(
                    out,
                    "{:<14}{:>9}{:>9.2}{:>9.2}",
                    group.name, group.questions, group.exact, group.f1
                )?;
            }
        }
        if let Some(speed) = &self.speed {
            let Speed { seconds, questions_per_second, tokens_per_second } = speed;
            writeln!(
                out,
                "\n{seconds:.1} s, {questions_per_second:.1} questions/s, {tokens_per_second:.0} tokens/s"
            )?;
        }
        Ok(())
    }
}
