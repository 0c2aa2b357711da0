//! The questions that were not answered exactly, and in which way.

use std::ops::Range;

use serde::Serialize;

use crate::eval::analysis::Row;

/// In which way an answer is not right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// There is an answer, and none was given.
    Missed,
    /// There is no answer, and one was given.
    MadeUp,
    /// Not a word is right.
    Wrong,
    /// Some words are right.
    Partly,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Missed, Self::MadeUp, Self::Wrong, Self::Partly];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Missed => "missed",
            Kind::MadeUp => "made up",
            Kind::Wrong => "wrong",
            Kind::Partly => "partly right",
        }
    }
}

/// One question that lost points.
#[derive(Debug, Clone, Serialize)]
pub struct Loss<'a> {
    /// The question.
    pub id: &'a str,
    /// In which way.
    pub kind: Kind,
    /// F1 that is left.
    pub f1: f64,
    /// The article.
    pub article: &'a str,
    /// The question's text.
    pub question: &'a str,
    /// The gold answers, each once.
    pub expected: Vec<&'a str>,
    /// The answer that was given.
    pub answer: &'a str,
    /// The best span, if it was not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<&'a str>,
    /// How sure it was that there is no answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub null_odds: Option<f64>,
    /// The text that was asked about, for a page to quote from.
    #[serde(skip)]
    pub context: &'a str,
    /// The bytes of the first gold answer in it.
    #[serde(skip)]
    pub gold_at: Option<Range<usize>>,
    /// The bytes of the answer, or else of the best span.
    #[serde(skip)]
    pub best_at: Option<Range<usize>>,
}

/// All of them, in the order of the data set.
pub fn losses<'a>(rows: &[Row<'a>]) -> Vec<Loss<'a>> {
    rows.iter().filter_map(loss).collect()
}

fn loss<'a>(row: &Row<'a>) -> Option<Loss<'a>> {
    if row.score.exact == 1.0 {
        return None;
    }
    let question = row.entry.question;
    let kind = match (question.has_answer(), row.given.answer.is_empty()) {
        (true, true) => Kind::Missed,
        (false, _) => Kind::MadeUp,
        (true, false) if row.score.f1 == 0.0 => Kind::Wrong,
        (true, false) => Kind::Partly,
    };
    let mut expected: Vec<&str> = Vec::new();
    for text in question.gold_texts() {
        if !expected.contains(&text) {
            expected.push(text);
        }
    }
    let context = row.entry.paragraph.context.as_str();
    let gold_at = question.golds.first().and_then(|gold| {
        let said = gold.start.and_then(|start| context.char_indices().nth(start)).map_or(0, |(at, _)| at);
        nearest(context, &gold.text, said)
    });
    let near = gold_at.as_ref().map_or(0, |gold| gold.start);
    let best_at = nearest(context, row.given.best, near);
    Some(Loss {
        id: &question.id,
        kind,
        f1: row.score.f1,
        article: &row.entry.article.title,
        question: &question.text,
        expected,
        answer: row.given.answer,
        best: (row.given.best != row.given.answer).then_some(row.given.best),
        null_odds: row.given.null_odds.number(),
        context,
        gold_at,
        best_at,
    })
}

/// Where a text stands: predictions do not say. Of several places it is the one nearest to `near`.
fn nearest(context: &str, text: &str, near: usize) -> Option<Range<usize>> {
    let places = context.match_indices(text).filter(|_| !text.is_empty());
    let (start, _) = places.min_by_key(|(at, _)| at.abs_diff(near))?;
    Some(start..start + text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_place_is_found() {
        let context = "é king, a king, the king";
        assert_eq!(nearest(context, "king", 0), Some(3..7));
        assert_eq!(nearest(context, "king", 12), Some(11..15));
        assert_eq!(nearest(context, "king", 99), Some(21..25));
        assert_eq!([nearest(context, "queen", 0), nearest(context, "", 0)], [None, None]);
    }
}
