//! Exact match and F1 by the rules of the official SQuAD scripts, with their output to the last digit.
//!
//! Sums run in the order of the data set, one addition after another, as Python did until 3.11; from 3.12 on its `sum` compensates for
//! rounding, so that the same script may differ in the sixteenth digit.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use crate::eval::data::{Dataset, Question};
use crate::eval::error::Result;
use crate::eval::score::mlqa::{self, Language};
use crate::eval::score::normalize::normalize;
use crate::eval::score::predictions::{NoAnswerScores, Predictions};
use crate::eval::score::python::{Figure, dumps};
use crate::eval::score::unicode::split;

/// Whose rules score an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// SQuAD v1.1, also used for XQuAD and MRQA: every question has an answer.
    Squad1,
    /// SQuAD v2.0: a question may have none, and then the empty answer is right.
    Squad2,
    /// MLQA.
    Mlqa(Language),
}

impl fmt::Display for Rules {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Rules::Squad1 => out.write_str("squad1"),
            Rules::Squad2 => out.write_str("squad2"),
            Rules::Mlqa(language) => write!(out, "mlqa:{language}"),
        }
    }
}

impl FromStr for Rules {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("mlqa:")) {
            ("squad1", _) => Ok(Rules::Squad1),
            ("squad2", _) => Ok(Rules::Squad2),
            (_, Some(language)) => Ok(Rules::Mlqa(language.parse()?)),
            _ => Err(format!("`{text}` are no rules: expected squad1, squad2 or mlqa:LANGUAGE")),
        }
    }
}

/// How right one answer is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Score {
    /// 1 if it is the same as a gold answer, else 0.
    pub exact: f64,
    /// Overlap of its words with those of the gold answer that suits it best.
    pub f1: f64,
}

impl Rules {
    /// The rules that a data set is meant for.
    pub fn of(dataset: &Dataset) -> Self {
        let second = dataset
            .version
            .as_deref()
            .is_some_and(|version| version.trim_start_matches('v').starts_with('2'));
        if second || dataset.has_unanswerable() { Rules::Squad2 } else { Rules::Squad1 }
    }

    /// What people call them. Their name on the command line is what [`Display`](fmt::Display) writes.
    pub fn title(self) -> String {
        match self {
            Rules::Squad1 => "SQuAD v1.1".into(),
            Rules::Squad2 => "SQuAD v2.0".into(),
            Rules::Mlqa(language) => format!("MLQA ({language})"),
        }
    }

    /// Scores an answer; the empty text says that there is none.
    pub fn score(self, prediction: &str, question: &Question) -> Score {
        let normal = |text: &str| match self {
            Rules::Mlqa(language) => mlqa::normalize(text, language),
            Rules::Squad1 | Rules::Squad2 => normalize(text),
        };
        let prediction = normal(prediction);
        let mut golds: Vec<String> = question.gold_texts().map(normal).collect();
        if self == Rules::Squad2 {
            golds.retain(|gold| !gold.is_empty());
            if golds.is_empty() {
                golds.push(String::new());
            }
        }
        let mut best = Score::default();
        for gold in &golds {
            let exact = if *gold == prediction { 1.0 } else { 0.0 };
            let f1 = match (self, gold.is_empty() || prediction.is_empty()) {
                (Rules::Squad2, true) => exact,
                _ => overlap(gold, &prediction),
            };
            best = Score { exact: best.exact.max(exact), f1: best.f1.max(f1) };
        }
        best
    }
}

/// F1 of two normalised texts as bags of words.
fn overlap(gold: &str, prediction: &str) -> f64 {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let (mut in_gold, mut in_prediction, mut common) = (0, 0, 0);
    for word in split(gold) {
        in_gold += 1;
        *counts.entry(word).or_default() += 1;
    }
    for word in split(prediction) {
        in_prediction += 1;
        if let Some(count) = counts.get_mut(word).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    if common == 0 {
        return 0.0;
    }
    let precision = f64::from(common) / f64::from(in_prediction);
    let recall = f64::from(common) / f64::from(in_gold);
    2.0 * precision * recall / (precision + recall)
}

/// What the official script prints.
#[derive(Debug, Clone, PartialEq)]
pub struct Official {
    /// Names and numbers, in the script's order.
    pub figures: Vec<(&'static str, Figure)>,
    indented: bool,
}

impl Official {
    /// The number under a name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| *known == name).map(|(_, figure)| figure.value())
    }

    /// The text that the script prints, without the line break at its end.
    pub fn json(&self) -> String {
        dumps(&self.figures, self.indented)
    }
}

impl serde::Serialize for Official {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.figures.iter().map(|(name, figure)| (name, figure)))
    }
}

/// No-answer scores and what the v2.0 script does with them.
#[derive(Debug, Clone, Copy)]
pub struct NoAnswer<'a> {
    /// The scores.
    pub scores: &'a NoAnswerScores,
    /// Above this the answer counts as empty; the script's default is 1.
    pub threshold: f64,
    /// Whether to print the areas under the precision-recall curves; the script does so when it draws them.
    pub curves: bool,
}

/// The script's result for predictions. The v1.1 and MLQA scripts count a missing prediction as wrong; the v2.0 script cannot do without.
pub fn official(
    rules: Rules,
    dataset: &Dataset,
    predictions: &Predictions,
    no_answer: Option<NoAnswer>,
) -> Result<Official> {
    if rules == Rules::Squad2 {
        predictions.require_all(dataset)?;
        if let Some(no_answer) = no_answer {
            no_answer.scores.require_all(dataset)?;
        }
    }
    let rows: Vec<Row> =
        dataset.entries().map(|entry| Row::new(rules, entry.question, predictions)).collect();
    let figures = match rules {
        Rules::Squad1 | Rules::Mlqa(_) => {
            vec![
                ("exact_match", mean(rows.iter().map(|r| r.raw.exact))),
                ("f1", mean(rows.iter().map(|r| r.raw.f1))),
            ]
        }
        Rules::Squad2 => squad2(&rows, no_answer),
    };
    Ok(Official { figures, indented: rules == Rules::Squad2 })
}

/// A question on the way through the v2.0 script.
struct Row<'a> {
    id: &'a str,
    has_answer: bool,
    /// The prediction was empty.
    abstained: bool,
    raw: Score,
}

impl<'a> Row<'a> {
    fn new(rules: Rules, question: &'a Question, predictions: &Predictions) -> Self {
        let prediction = predictions.get(&question.id);
        Self {
            id: &question.id,
            has_answer: question.has_answer(),
            abstained: prediction.is_none_or(String::is_empty),
            raw: prediction.map(|text| rules.score(text, question)).unwrap_or_default(),
        }
    }
}

fn squad2(rows: &[Row], no_answer: Option<NoAnswer>) -> Vec<(&'static str, Figure)> {
    let score_of = |id: &str| {
        no_answer.and_then(|n| n.scores.get(id)).and_then(serde_json::Number::as_f64).unwrap_or(0.0)
    };
    let threshold = no_answer.map_or(1.0, |no_answer| no_answer.threshold);
    let final_score = |row: &Row| {
        if score_of(row.id) > threshold {
            let right = if row.has_answer { 0.0 } else { 1.0 };
            Score { exact: right, f1: right }
        } else {
            row.raw
        }
    };
    let scores: Vec<Score> = rows.iter().map(final_score).collect();
    let part = |wanted: Option<bool>| {
        let chosen: Vec<Score> = (rows.iter().zip(&scores))
            .filter(|(row, _)| wanted.is_none_or(|wanted| row.has_answer == wanted))
            .map(|(_, score)| *score)
            .collect();
        let (exact, f1) = (mean(chosen.iter().map(|s| s.exact)), mean(chosen.iter().map(|s| s.f1)));
        (exact, f1, chosen.len())
    };
    let mut figures = Vec::new();
    let blocks = [
        (["exact", "f1", "total"], None),
        (["HasAns_exact", "HasAns_f1", "HasAns_total"], Some(true)),
        (["NoAns_exact", "NoAns_f1", "NoAns_total"], Some(false)),
    ];
    for ([exact_name, f1_name, total_name], wanted) in blocks {
        let (exact, f1, total) = part(wanted);
        if total > 0 {
            figures.extend([(exact_name, exact), (f1_name, f1), (total_name, Figure::Count(total))]);
        }
    }
    let Some(no_answer) = no_answer else { return figures };

    // A stable sort of the file's order, as Python's.
    let by_id: HashMap<&str, &Row> = rows.iter().map(|row| (row.id, row)).collect();
    let mut order: Vec<(f64, &serde_json::Number, &Row)> = (no_answer.scores.iter())
        .filter_map(|(id, score)| Some((score.as_f64()?, score, *by_id.get(id)?)))
        .collect();
    order.sort_by(|a, b| a.0.partial_cmp(&b.0).unwrap_or(std::cmp::Ordering::Equal));
    let (exact, exact_at) = best_threshold(&order, |row| row.raw.exact);
    let (f1, f1_at) = best_threshold(&order, |row| row.raw.f1);
    figures.extend([
        ("best_exact", exact),
        ("best_exact_thresh", exact_at),
        ("best_f1", f1),
        ("best_f1_thresh", f1_at),
    ]);
    let answerable = rows.iter().filter(|row| row.has_answer).count();
    if no_answer.curves && answerable > 0 {
        let area = |score: fn(&Row) -> f64| Figure::Real(average_precision(&order, answerable, score));
        figures.extend([
            ("pr_exact_ap", area(|row| row.raw.exact)),
            ("pr_f1_ap", area(|row| row.raw.f1)),
            ("pr_oracle_ap", area(|row| if row.has_answer { 1.0 } else { 0.0 })),
        ]);
    }
    figures
}

/// A percentage.
fn mean(scores: impl ExactSizeIterator<Item = f64>) -> Figure {
    let total = scores.len();
    let sum: f64 = scores.sum();
    Figure::Real(if total == 0 { 0.0 } else { 100.0 * sum / total as f64 })
}

/// The script's search for a threshold. It starts at 0, not below everything, and parts equal scores; both are kept.
fn best_threshold(
    order: &[(f64, &serde_json::Number, &Row)],
    score: impl Fn(&Row) -> f64,
) -> (Figure, Figure) {
    let unanswerable = order.iter().filter(|(_, _, row)| !row.has_answer).count() as f64;
    let mut current = unanswerable;
    let mut best = (current, Figure::Real(0.0));
    for (_, threshold, row) in order {
        current += match (row.has_answer, row.abstained) {
            (true, _) => score(row),
            (false, true) => 0.0,
            (false, false) => -1.0,
        };
        if current > best.0 {
            let threshold = match threshold.as_i64() {
                Some(whole) => Figure::Whole(whole),
                None => Figure::Real(threshold.as_f64().unwrap_or(0.0)),
            };
            best = (current, threshold);
        }
    }
    (Figure::Real(100.0 * best.0 / order.len().max(1) as f64), best.1)
}

/// The script's area under a precision-recall curve, whose points lie between unequal scores only.
fn average_precision(
    order: &[(f64, &serde_json::Number, &Row)],
    answerable: usize,
    score: impl Fn(&Row) -> f64,
) -> f64 {
    let (mut true_positives, mut last_recall, mut area) = (0.0, 0.0, 0.0);
    for (rank, (threshold, _, row)) in order.iter().enumerate() {
        if row.has_answer {
            true_positives += score(row);
        }
        if order.get(rank + 1).is_none_or(|next| next.0 != *threshold) {
            let precision = true_positives / (rank + 1) as f64;
            let recall = true_positives / answerable as f64;
            area += precision * (recall - last_recall);
            last_recall = recall;
        }
    }
    100.0 * area
}
