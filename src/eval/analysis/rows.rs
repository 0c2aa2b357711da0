//! Every question with its answer and its score, and what they are worth together.

use serde::Serialize;

use crate::eval::analysis::outcomes::RIGHT;
use crate::eval::analysis::stats::{Calibration, Interval, Sureness, interval, mean};
use crate::eval::data::{Dataset, Entry};
use crate::eval::run::Candidate;
use crate::eval::score::metrics::{Rules, Score};

/// What is known of the answer to one question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given<'a> {
    /// The answer; empty for "no answer".
    pub answer: &'a str,
    /// The best span, also if the answer is empty. The same as the answer where nothing else is known.
    pub best: &'a str,
    /// How far "no answer" leads the best span.
    pub null_odds: NullOdds,
    /// The probability of what was returned, word for word.
    pub probability: Option<f64>,
    /// How likely it was said to be right.
    pub confidence: Option<f64>,
    /// Windows that were read; 0 if nobody said.
    pub windows: usize,
    /// The best spans, best first, if they were kept. "No answer" stands among them as an empty one.
    pub candidates: &'a [Candidate],
}

/// How far "no answer" leads the best span.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum NullOdds {
    /// Nobody said.
    #[default]
    Unknown,
    /// There was nothing to quote, so that no threshold makes it an answer.
    NothingToQuote,
    /// By so many logits, or any number that grows with how sure it is that there is no answer.
    By(f64),
}

impl NullOdds {
    /// The lead, if there is a span that it leads.
    pub fn number(self) -> Option<f64> {
        match self {
            NullOdds::By(odds) => Some(odds),
            NullOdds::Unknown | NullOdds::NothingToQuote => None,
        }
    }
}

/// A question with its answer and what that is worth.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    /// The question.
    pub entry: Entry<'a>,
    /// The answer.
    pub given: Given<'a>,
    /// What the answer scores.
    pub score: Score,
    /// What the best span scores, had it been returned.
    pub best: Score,
    /// Whether one of the first three spans is right, if they are known.
    pub first_three: Option<bool>,
}

/// Every question of a data set with its score.
pub fn rows<'a>(
    rules: Rules,
    dataset: &'a Dataset,
    mut given: impl FnMut(Entry<'a>) -> Given<'a>,
) -> Vec<Row<'a>> {
    dataset
        .entries()
        .map(|entry| {
            let given = given(entry);
            let score = rules.score(given.answer, entry.question);
            let best =
                if given.best == given.answer { score } else { rules.score(given.best, entry.question) };
            let mut spans = given.candidates.iter().filter(|span| !span.text.is_empty()).take(3);
            let right = |span: &Candidate| rules.score(&span.text, entry.question).f1 >= RIGHT;
            let first_three = (!given.candidates.is_empty()).then(|| spans.any(right));
            Row { entry, given, score, best, first_three }
        })
        .collect()
}

/// A score in percent, and where it may lie by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// The mean.
    pub mean: f64,
    /// The 95 % interval of the bootstrap over questions.
    pub interval: Interval,
}

impl Estimate {
    fn new(values: impl Iterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.map(|value| 100.0 * value).collect();
        Self { mean: mean(&values), interval: interval(&values) }
    }
}

/// The scores of some of the questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    /// Which.
    pub name: &'static str,
    /// How many.
    pub questions: usize,
    /// Exact match.
    pub exact: Estimate,
    /// F1.
    pub f1: Estimate,
}

/// All questions, those with an answer and those without. Parts without a question are left out.
pub fn parts(rows: &[Row]) -> Vec<Part> {
    let all: [(&'static str, Option<bool>); 3] =
        [("all", None), ("has answer", Some(true)), ("no answer", Some(false))];
    let mixed = rows.iter().any(|row| !row.entry.question.has_answer());
    all.into_iter()
        .filter(|(_, wanted)| wanted.is_none() || mixed)
        .filter_map(|(name, wanted)| {
            let chosen: Vec<&Row> = rows
                .iter()
                .filter(|row| wanted.is_none_or(|wanted| row.entry.question.has_answer() == wanted))
                .collect();
            (!chosen.is_empty()).then(|| Part {
                name,
                questions: chosen.len(),
                exact: Estimate::new(chosen.iter().map(|row| row.score.exact)),
                f1: Estimate::new(chosen.iter().map(|row| row.score.f1)),
            })
        })
        .collect()
}

/// Whether replies are right as often as their confidence says, or without one exactly right as often as their probability says; none if
/// neither is known.
pub fn calibration(rows: &[Row]) -> Option<Calibration> {
    let confidences = rows.iter().filter_map(|row| Some((row.given.confidence?, row.score.f1 >= RIGHT)));
    let confidences: Vec<(f64, bool)> = confidences.collect();
    if !confidences.is_empty() {
        return Some(Calibration::new(Sureness::Confidence, &confidences));
    }
    let scores = rows.iter().map(|row| Some((row.given.probability?, row.score.exact == 1.0)));
    let scores: Vec<(f64, bool)> = scores.collect::<Option<_>>()?;
    (!scores.is_empty()).then(|| Calibration::new(Sureness::Score, &scores))
}
