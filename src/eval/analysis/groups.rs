//! Where points are won and lost: questions divided by what they have in common.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::eval::analysis::Row;
use crate::eval::analysis::stats::mean;
use crate::eval::score::unicode::split;

/// Questions that have something in common.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Group {
    /// What they have in common.
    pub name: String,
    /// How many there are.
    pub questions: usize,
    /// How many of them have an answer.
    pub answerable: usize,
    /// Exact match in percent.
    pub exact: f64,
    /// F1 in percent.
    pub f1: f64,
    /// F1 of those that have an answer, in percent; none if there are none.
    pub has_answer_f1: Option<f64>,
}

/// Four ways to divide the questions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breakdown {
    /// By the word that asks.
    pub question_word: Vec<Group>,
    /// By the words of the shortest gold answer.
    pub answer_words: Vec<Group>,
    /// By the words of the context.
    pub context_words: Vec<Group>,
    /// By article.
    pub article: Vec<Group>,
}

/// Divides the questions.
pub fn breakdown(rows: &[Row]) -> Breakdown {
    let words = |text: &str| split(text).count();
    let mut article = groups(rows, |row| {
        let title = &row.entry.article.title;
        let number = row.entry.article_index;
        Some((0, if title.is_empty() { format!("article {}", number + 1) } else { title.clone() }))
    });
    article.sort_by(|a, b| a.f1.total_cmp(&b.f1).then_with(|| a.name.cmp(&b.name)));
    Breakdown {
        question_word: groups(rows, |row| Some((0, question_word(&row.entry.question.text).into()))),
        answer_words: groups(rows, |row| {
            let shortest = row.entry.question.gold_texts().map(words).min()?;
            Some(class(shortest, &[1, 2, 3, 5, 10, 20]))
        }),
        context_words: groups(rows, |row| {
            Some(class(words(&row.entry.paragraph.context), &[50, 100, 150, 200, 300, 500, 1000, 2000, 5000]))
        }),
        article,
    }
}

/// The class of a number: the first bound that it does not exceed.
fn class(number: usize, bounds: &[usize]) -> (usize, String) {
    let at = bounds.partition_point(|&bound| bound < number);
    let low = if at == 0 { 1 } else { bounds[at - 1] + 1 };
    let name = match bounds.get(at) {
        Some(&high) if high == low => format!("{high}"),
        Some(high) => format!("{low}-{high}"),
        None => format!("over {}", low - 1),
    };
    (at, name)
}

const QUESTION_WORDS: [&str; 8] = ["what", "who", "when", "where", "which", "why", "how many", "how"];

/// The first word of the question that asks something. "Whom" and "whose" ask for a who, "how much" for a how many.
fn question_word(question: &str) -> &'static str {
    let text = question.to_lowercase();
    let words: Vec<&str> =
        text.split(|char: char| !char.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    for (index, word) in words.iter().enumerate() {
        let found = match (*word, words.get(index + 1).copied()) {
            ("how", Some("many" | "much")) => "how many",
            ("whom" | "whose", _) => "who",
            (word, _) => word,
        };
        if let Some(known) = QUESTION_WORDS.into_iter().find(|known| *known == found) {
            return known;
        }
    }
    "other"
}

/// Puts together what has the same key, in the order of the keys; what has none is left out.
pub(super) fn grouped<'a, 'b, K: Ord>(
    rows: &'b [Row<'a>],
    key: impl Fn(&Row) -> Option<K>,
) -> BTreeMap<K, Vec<&'b Row<'a>>> {
    let mut groups: BTreeMap<K, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        if let Some(key) = key(row) {
            groups.entry(key).or_default().push(row);
        }
    }
    groups
}

fn groups(rows: &[Row], key: impl Fn(&Row) -> Option<(usize, String)>) -> Vec<Group> {
    grouped(rows, key)
        .into_iter()
        .map(|((_, name), rows)| {
            let percent = |values: Vec<f64>| 100.0 * mean(&values);
            let answerable: Vec<f64> =
                rows.iter().filter(|row| row.entry.question.has_answer()).map(|row| row.score.f1).collect();
            Group {
                name,
                questions: rows.len(),
                answerable: answerable.len(),
                exact: percent(rows.iter().map(|row| row.score.exact).collect()),
                f1: percent(rows.iter().map(|row| row.score.f1).collect()),
                has_answer_f1: (!answerable.is_empty()).then(|| percent(answerable)),
            }
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::eval::analysis::{Given, calibration, parts, rows, sweep};
    use crate::eval::data::{Dataset, Options};
    use crate::eval::score::metrics::Rules;

    /// One question for each gold answer; an empty one stands for none.
    pub(in crate::eval::analysis) fn dataset(golds: &[&str]) -> Dataset {
        let rows = golds.iter().enumerate().map(|(id, gold)| {
            let answers: &[&str] = if gold.is_empty() { &[] } else { &[gold] };
            serde_json::json!({"id": id, "context": "c", "question": "Of whom?", "answers": answers})
                .to_string()
        });
        Dataset::parse("data", rows.collect::<Vec<_>>().join("\n").as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn questions_fall_into_groups() {
        for (question, word) in [
            ("In whose honour?", "who"),
            ("How many are there?", "how many"),
            ("Roughly how much?", "how many"),
            ("How so?", "how"),
            ("Name the king", "other"),
            ("WHAT is it, and where?", "what"),
            ("", "other"),
        ] {
            assert_eq!(question_word(question), word, "{question}");
        }
        assert_eq!(class(1, &[1, 2, 3, 5]), (0, "1".into()));
        assert_eq!(class(3, &[1, 2, 3, 5]), (2, "3".into()));
        assert_eq!(class(4, &[1, 2, 3, 5]), (3, "4-5".into()));
        assert_eq!(class(6, &[1, 2, 3, 5]), (4, "over 5".into()));
        let dataset = dataset(&["x", ""]);
        let rows = rows(Rules::Squad2, &dataset, |_| Given { answer: "x", best: "x", ..Given::default() });
        let found = breakdown(&rows);
        assert_eq!(found.answer_words.len(), 1);
        assert_eq!((found.question_word[0].questions, found.question_word[0].exact), (2, 50.0));
        assert_eq!(found.question_word[0].has_answer_f1, Some(100.0));
        assert!(calibration(&rows).is_none() && sweep(&rows).is_none());
        let names: Vec<&str> = parts(&rows).iter().map(|part| part.name).collect();
        assert_eq!(names, ["all", "has answer", "no answer"]);
    }
}
