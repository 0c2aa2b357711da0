//! What came of putting passages in order.

use std::cmp::Ordering;

use crate::request::reply::Answer;

/// A passage with its score.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Which document it is from.
    pub document: usize,
    /// Which of its passages it is.
    pub passage: usize,
    /// The higher, the better; absent if there is nothing in it to score.
    pub score: Option<f64>,
    /// The score as a probability, where it has one.
    pub probability: Option<f32>,
    /// The best span, if it was looked for.
    pub answer: Option<Answer>,
    /// Whether the model took only its beginning.
    pub truncated: bool,
}

impl Scored {
    pub(super) fn new(document: usize, passage: usize) -> Self {
        Self { document, passage, score: None, probability: None, answer: None, truncated: false }
    }

    /// The better ones first, those without a score last.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let key = |scored: &Self| scored.score.unwrap_or(f64::NEG_INFINITY);
        key(other).total_cmp(&key(self))
    }
}

/// Passages in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The best first; those that nothing tells apart in the order in which they came.
    pub scored: Vec<Scored>,
    /// How many passages there were.
    pub passages: usize,
    /// How many of them a model read; `None` if none was asked.
    pub read: Option<usize>,
    /// The question was longer than the model takes and was cut.
    pub query_truncated: bool,
}

impl Ranking {
    /// Passages with their scores, in any order so far.
    pub(super) fn of(scored: Vec<Scored>) -> Self {
        Self { passages: scored.len(), scored, read: None, query_truncated: false }
    }
}
