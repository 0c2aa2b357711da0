//! Two sets of answers to the same questions: who is better where, and whether that may be chance.

use serde::Serialize;

use crate::eval::analysis::Row;
use crate::eval::analysis::stats::{Interval, McNemar, interval};

/// A difference of means in percent: the second minus the first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// The first set's mean.
    pub first: f64,
    /// The second set's mean.
    pub second: f64,
    /// Second minus first.
    pub difference: f64,
    /// Its 95 % interval by the paired bootstrap: questions are drawn anew together with both answers.
    pub interval: Interval,
}

impl Difference {
    fn new(pairs: impl Iterator<Item = (f64, f64)>) -> Self {
        let pairs: Vec<(f64, f64)> = pairs.collect();
        let total = pairs.len().max(1) as f64;
        let first = 100.0 * pairs.iter().map(|pair| pair.0).sum::<f64>() / total;
        let second = 100.0 * pairs.iter().map(|pair| pair.1).sum::<f64>() / total;
        let differences: Vec<f64> = pairs.iter().map(|(first, second)| 100.0 * (second - first)).collect();
        Self { first, second, difference: second - first, interval: interval(&differences) }
    }
}

/// One question that the two sets answer differently well.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change<'a> {
    /// The question.
    pub id: &'a str,
    /// Its text.
    pub question: &'a str,
    /// The gold answers, the first first.
    pub expected: Vec<&'a str>,
    /// The first answer.
    pub first: &'a str,
    /// The second answer.
    pub second: &'a str,
    /// F1 of the second minus F1 of the first.
    pub f1: f64,
}

/// The comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison<'a> {
    /// How many questions there are.
    pub questions: usize,
    /// Questions with different answers, differently good or not.
    pub different: usize,
    /// Exact match.
    pub exact: Difference,
    /// F1.
    pub f1: Difference,
    /// Whether the questions that only one set got exactly right may be split by chance.
    pub mcnemar: McNemar,
    /// Questions that the second set answers better, greatest gain first.
    pub wins: Vec<Change<'a>>,
    /// Questions that it answers worse, greatest loss first.
    pub losses: Vec<Change<'a>>,
}

/// Compares two sets of rows about the same questions in the same order.
pub fn compare<'a>(first: &[Row<'a>], second: &[Row<'a>]) -> Comparison<'a> {
    let pairs = || first.iter().zip(second);
    let only = |winner: fn((&Row, &Row)) -> (f64, f64)| {
        pairs().map(winner).filter(|(mine, other)| *mine == 1.0 && *other != 1.0).count()
    };
    let mut changes: Vec<Change> = pairs()
        .filter(|(first, second)| first.score != second.score)
        .map(|(first, second)| Change {
            id: &first.entry.question.id,
            question: &first.entry.question.text,
            expected: first.entry.question.gold_texts().collect(),
            first: first.given.answer,
            second: second.given.answer,
            f1: second.score.f1 - first.score.f1,
        })
        .collect();
    // Where F1 is the same and exact match is not, the F1 rules and the exact rules disagree; such a change is a small one.
    changes.sort_by(|a, b| b.f1.abs().total_cmp(&a.f1.abs()));
    let (wins, losses) = changes.into_iter().partition(|change| change.f1 > 0.0);
    Comparison {
        questions: first.len(),
        different: pairs().filter(|(first, second)| first.given.answer != second.given.answer).count(),
        exact: Difference::new(pairs().map(|(first, second)| (first.score.exact, second.score.exact))),
        f1: Difference::new(pairs().map(|(first, second)| (first.score.f1, second.score.f1))),
        mcnemar: McNemar::new(
            only(|(first, second)| (first.score.exact, second.score.exact)),
            only(|(first, second)| (second.score.exact, first.score.exact)),
        ),
        wins,
        losses,
    }
}
