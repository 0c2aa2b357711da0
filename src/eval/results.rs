//! Everything that an evaluation finds out, in the form of `results.json`.

use std::path::Path;

use serde::Serialize;

use crate::eval::analysis::losses::Loss;
use crate::eval::analysis::stats::Calibration;
use crate::eval::analysis::{self, Row};
use crate::eval::answers::{Answers, Pace};
use crate::eval::data::Dataset;
use crate::eval::open::Retrieval;
use crate::eval::page::Report;
use crate::eval::score::metrics::{Official, Rules};

/// Everything that is found out.
#[derive(Debug, Clone, Serialize)]
pub struct Evaluation<'a> {
    /// The questions.
    pub dataset: About<'a>,
    /// Where the answers come from.
    pub answers: &'a str,
    /// What scored them.
    pub rules: String,
    /// What the official script prints.
    pub official: &'a Official,
    /// Scores of all questions and of the two kinds, with intervals.
    pub parts: Vec<analysis::Part>,
    /// What the best spans score, whether they were returned or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub always_answering: Option<AlwaysAnswering>,
    /// What other thresholds would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<analysis::Sweep>,
    /// Whether probabilities can be trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
    /// What came of the questions as a person counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcomes: Option<analysis::OutcomeTable>,
    /// How often the paragraph of a question was found, if paragraphs were searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<Retrieval>,
    /// Where points are lost.
    pub groups: analysis::Breakdown,
    /// How fast the model was in this run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<Speed>,
}

/// The questions.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct About<'a> {
    pub name: &'a str,
    pub format: &'static str,
    pub version: Option<&'a str>,
    pub articles: usize,
    pub questions: usize,
    pub answerable: usize,
    pub misaligned_answers: usize,
}

/// What the best spans of the answerable questions score, whether they were returned or not.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct AlwaysAnswering {
    pub has_answer_exact: f64,
    pub has_answer_f1: f64,
}

/// How fast a model was; questions that were answered before this run do not count.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Speed {
    pub seconds: f64,
    pub questions_per_second: f64,
    pub tokens_per_second: f64,
}

impl<'a> Evaluation<'a> {
    /// Looks at answers from all sides.
    pub fn new(
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
            rules: rules.title(),
            official,
            parts: analysis::parts(rows),
            always_answering: known.then(|| AlwaysAnswering {
                has_answer_exact: share(answerable.iter().map(|row| row.best.exact).sum()),
                has_answer_f1: share(answerable.iter().map(|row| row.best.f1).sum()),
            }),
            thresholds: (rules == Rules::Squad2).then(|| analysis::sweep(rows)).flatten(),
            calibration: analysis::calibration(rows),
            outcomes: known.then(|| analysis::outcomes(rows)),
            retrieval: answers.pool.and_then(|pool| Retrieval::of(pool, dataset, &answers.run)),
            groups: analysis::breakdown(rows),
            speed: answers.pace.filter(|pace| pace.tokens > 0).map(|Pace { seconds, questions, tokens }| {
                Speed {
                    seconds,
                    questions_per_second: questions as f64 / seconds,
                    tokens_per_second: tokens as f64 / seconds,
                }
            }),
        }
    }

    /// The same as a web page, with `facts` about how it came about.
    pub fn page<'b>(
        &'b self,
        answers: &Answers,
        rows: &'b [Row<'b>],
        losses: &'b [Loss<'b>],
        facts: Vec<(String, String)>,
    ) -> Report<'b> {
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
            // As it was typed: the wider type would show digits that nobody meant.
            about.push(format!("It abstains if \"no answer\" leads by more than {}.", threshold as f32));
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
            retrieval: self.retrieval.as_ref(),
            groups: &self.groups,
            losses,
            rows,
            logits: !answers.run.is_empty(),
            facts,
        }
    }
}
