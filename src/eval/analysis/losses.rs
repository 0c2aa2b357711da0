//! The questions that were not answered exactly, and in which way.

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
    })
}
