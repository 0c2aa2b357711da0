//! What came of questions as a person counts it: right, wrong, refused.

use serde::Serialize;

use crate::eval::analysis::Row;
use crate::eval::analysis::groups::grouped;

/// The F1 from which an answer is right: it may have a word too many, not another meaning.
pub const RIGHT: f64 = 0.5;

/// Questions that have something in common, and what came of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Outcomes {
    /// What they have in common.
    pub name: String,
    /// How many have an answer.
    pub answerable: usize,
    /// Of these, those that got it.
    pub right: usize,
    /// Those that got something else.
    pub wrong: usize,
    /// Those that got none.
    pub refused_wrongly: usize,
    /// Those whose best span is right, whether it was returned or not.
    pub forced: usize,
    /// Those with a right span among the first three; none if there are no candidates to look at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_three: Option<usize>,
    /// How many have no answer.
    pub unanswerable: usize,
    /// Of these, those that got none.
    pub refused_rightly: usize,
}

/// All questions, then by the kind of their article and by the windows that were read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutcomeTable {
    /// All questions.
    pub all: Outcomes,
    /// By what the data set says of their articles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kind: Vec<Outcomes>,
    /// By the windows that were read.
    pub windows: Vec<Outcomes>,
}

/// Windows that are counted together: up to so many.
const WINDOWS: [usize; 4] = [1, 4, 10, 40];

/// Counts what came of the questions.
pub fn outcomes(rows: &[Row]) -> OutcomeTable {
    let windows = |row: &Row| WINDOWS.partition_point(|&bound| bound < row.given.windows);
    let name = |class: usize| match (class.checked_sub(1).map(|below| WINDOWS[below] + 1), WINDOWS.get(class))
    {
        (None, _) => "1 window".to_owned(),
        (Some(low), Some(high)) => format!("{low} to {high} windows"),
        (Some(low), None) => format!("{low} windows or more"),
    };
    OutcomeTable {
        all: count("all".into(), rows.iter()),
        kind: grouped(rows, |row| Some(row.entry.article.kind.clone()).filter(|kind| !kind.is_empty()))
            .into_iter()
            .map(|(kind, rows)| count(kind, rows.into_iter()))
            .collect(),
        windows: grouped(rows, |row| Some(windows(row)))
            .into_iter()
            .map(|(class, rows)| count(name(class), rows.into_iter()))
            .collect(),
    }
}

fn count<'a, 'b: 'a>(name: String, rows: impl Iterator<Item = &'a Row<'b>>) -> Outcomes {
    let mut found = Outcomes { name, ..Outcomes::default() };
    for row in rows {
        let refused = row.given.answer.is_empty();
        if !row.entry.question.has_answer() {
            found.unanswerable += 1;
            found.refused_rightly += usize::from(refused);
            continue;
        }
        found.answerable += 1;
        match row.score.f1 >= RIGHT {
            _ if refused => found.refused_wrongly += 1,
            true => found.right += 1,
            false => found.wrong += 1,
        }
        found.forced += usize::from(row.best.f1 >= RIGHT);
        if let Some(right) = row.first_three {
            *found.first_three.get_or_insert(0) += usize::from(right);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::analysis::{Given, rows};
    use crate::eval::data::{Dataset, Options};
    use crate::eval::run::Candidate;
    use crate::eval::score::metrics::Rules;

    #[test]
    fn questions_are_right_wrong_or_refused() {
        let question = |id: &str, answers: &[&str]| {
            let answers: Vec<_> =
                answers.iter().map(|text| serde_json::json!({"text": text, "answer_start": 0})).collect();
            serde_json::json!({"id": id, "question": "q", "answers": answers})
        };
        let article = |kind: Option<&str>, qas: Vec<serde_json::Value>| serde_json::json!({"title": "t", "kind": kind, "paragraphs": [{"context": "red car of mine", "qas": qas}]});
        let data = serde_json::json!({"version": "v2.0", "data": [
            article(Some("letter"), vec![question("a", &["red car"]), question("b", &["mine"]), question("c", &[])]),
            article(None, vec![question("d", &["red"]), question("e", &[])]),
        ]});
        let dataset = Dataset::parse("data", data.to_string().as_bytes(), Options::default()).unwrap();
        let candidates: Vec<Candidate> = ["", "of", "mine"]
            .map(|text| Candidate { text: text.into(), probability: 0.1, start_logit: 0.0, end_logit: 0.0 })
            .into();
        let rows = rows(Rules::Squad2, &dataset, |entry| {
            let (answer, best, windows) = match entry.question.id.as_str() {
                "a" => ("the car", "the car", 1),
                "b" => ("red", "red", 12),
                "c" => ("", "car", 12),
                "d" => ("", "red", 50),
                _ => ("of", "of", 50),
            };
            Given { answer, best, windows, candidates: &candidates, ..Given::default() }
        });
        let found = outcomes(&rows);
        let expected = Outcomes {
            name: "all".into(),
            answerable: 3,
            right: 1,
            wrong: 1,
            refused_wrongly: 1,
            forced: 2,
            first_three: Some(1),
            unanswerable: 2,
            refused_rightly: 1,
        };
        assert_eq!(found.all, expected);
        assert_eq!(
            found.kind.iter().map(|kind| (kind.name.as_str(), kind.answerable)).collect::<Vec<_>>(),
            [("letter", 2)]
        );
        let windows: Vec<(&str, usize)> = found
            .windows
            .iter()
            .map(|group| (group.name.as_str(), group.answerable + group.unanswerable))
            .collect();
        assert_eq!(windows, [("1 window", 1), ("11 to 40 windows", 2), ("41 windows or more", 2)]);
    }
}
