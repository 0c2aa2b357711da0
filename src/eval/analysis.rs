//! What the official scripts do not say: how sure the numbers are, where they come from, and what another threshold would do.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::eval::data::dataset::{Dataset, Entry};
use crate::eval::score::metrics::{Rules, Score};
use crate::eval::score::unicode::split;
use crate::eval::stats::{Calibration, Interval, interval};

/// What is known of the answer to one question.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given<'a> {
    /// The answer; empty for "no answer".
    pub answer: &'a str,
    /// The best span, also if the answer is empty. The same as the answer where nothing else is known.
    pub best: &'a str,
    /// A number that grows with how sure it is that there is no answer.
    pub null_odds: Option<f64>,
    /// The probability of what was returned.
    pub confidence: Option<f64>,
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
            Row { entry, given, score, best }
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

/// What the scores would be at a threshold: the best span is the answer unless "no answer" leads by more than the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The threshold; none stands for abstaining always.
    pub threshold: Option<f64>,
    /// Exact match in percent.
    pub exact: f64,
    /// F1 in percent.
    pub f1: f64,
    /// F1 of the questions that have an answer.
    pub has_answer_f1: f64,
    /// Share of the others for which it abstains.
    pub no_answer: f64,
    /// How many questions are answered.
    pub answered: usize,
    /// Mean F1 of the answers that are given, by which precision is meant here.
    pub precision: f64,
}

/// All thresholds that differ. Unlike in the official search, abstaining always is among them, and equal scores stay together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// From abstaining always to answering always.
    #[serde(skip)]
    pub points: Vec<Point>,
    /// The highest exact match.
    pub best_exact: Point,
    /// The highest F1.
    pub best_f1: Point,
}

/// Tries every threshold; none if no-answer scores are not known.
pub fn sweep(rows: &[Row]) -> Option<Sweep> {
    let mut order: Vec<(f64, &Row)> =
        rows.iter().map(|row| Some((row.given.null_odds?, row))).collect::<Option<_>>()?;
    order.sort_by(|a, b| a.0.total_cmp(&b.0));
    let answerable = rows.iter().filter(|row| row.entry.question.has_answer()).count();
    let unanswerable = rows.len() - answerable;
    // Abstaining is right for the unanswerable questions, in sums of exact and F1.
    let (mut exact, mut f1) = (unanswerable as f64, unanswerable as f64);
    let (mut hits, mut abstained) = (0.0, unanswerable);
    let share = |part: f64, whole: usize| if whole == 0 { 0.0 } else { 100.0 * part / whole as f64 };
    let point = |threshold, answered: usize, exact, f1, hits, abstained| Point {
        threshold,
        exact: share(exact, rows.len()),
        f1: share(f1, rows.len()),
        has_answer_f1: share(hits, answerable),
        no_answer: share(abstained as f64, unanswerable),
        answered,
        precision: share(hits, answered),
    };
    let mut points = vec![point(None, 0, exact, f1, hits, abstained)];
    for (index, (odds, row)) in order.iter().enumerate() {
        if row.entry.question.has_answer() {
            exact += row.best.exact;
            f1 += row.best.f1;
            hits += row.best.f1;
        } else if !row.given.best.is_empty() {
            exact -= 1.0 - row.best.exact;
            f1 -= 1.0 - row.best.f1;
            abstained -= 1;
        }
        if order.get(index + 1).is_none_or(|next| next.0 != *odds) {
            points.push(point(Some(*odds), index + 1, exact, f1, hits, abstained));
        }
    }
    let best = |value: fn(&Point) -> f64| {
        points.iter().copied().reduce(|best, point| if value(&point) > value(&best) { point } else { best })
    };
    Some(Sweep { best_exact: best(|point| point.exact)?, best_f1: best(|point| point.f1)?, points })
}

/// Whether answers are exactly right as often as their probability says; none if probabilities are not known.
pub fn calibration(rows: &[Row]) -> Option<Calibration> {
    let pairs: Vec<(f64, bool)> = rows
        .iter()
        .map(|row| Some((row.given.confidence?, row.score.exact == 1.0)))
        .collect::<Option<_>>()?;
    (!pairs.is_empty()).then(|| Calibration::new(&pairs))
}

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

fn groups(rows: &[Row], key: impl Fn(&Row) -> Option<(usize, String)>) -> Vec<Group> {
    let mut members: BTreeMap<(usize, String), Vec<&Row>> = BTreeMap::new();
    for row in rows {
        if let Some(key) = key(row) {
            members.entry(key).or_default().push(row);
        }
    }
    members
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

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Options;

    fn dataset(golds: &[&str]) -> Dataset {
        let rows = golds.iter().enumerate().map(|(id, gold)| {
            let answers: &[&str] = if gold.is_empty() { &[] } else { &[gold] };
            serde_json::json!({"id": id, "context": "c", "question": "Of whom?", "answers": answers})
                .to_string()
        });
        Dataset::parse("data", rows.collect::<Vec<_>>().join("\n").as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn the_sweep_knows_the_ends_and_keeps_ties_together() {
        let dataset = dataset(&["x", "", "y", ""]);
        let odds = [-2.0, -2.0, 1.0, 3.0];
        let rows = rows(Rules::Squad2, &dataset, |entry| {
            let at: usize = entry.question.id.parse().unwrap();
            Given { answer: "x", best: "x", null_odds: Some(odds[at]), confidence: None }
        });
        let sweep = sweep(&rows).unwrap();
        let exact: Vec<(Option<f64>, f64)> = sweep.points.iter().map(|p| (p.threshold, p.exact)).collect();
        assert_eq!(exact, [(None, 50.0), (Some(-2.0), 50.0), (Some(1.0), 50.0), (Some(3.0), 25.0)]);
        assert_eq!(sweep.best_exact.threshold, None);
        let last = sweep.points[3];
        assert_eq!((last.has_answer_f1, last.no_answer, last.answered, last.precision), (50.0, 0.0, 4, 25.0));
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
        assert!(calibration(&rows).is_none() && super::sweep(&rows).is_none());
        let names: Vec<&str> = parts(&rows).iter().map(|part| part.name).collect();
        assert_eq!(names, ["all", "has answer", "no answer"]);
    }
}
