//! Chooses when to abstain and how sure to sound, and says what that is worth on articles that had no part in the choice.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::decode::confidence::Confidence;
use crate::eval::analysis::stats::{Calibration, Sureness};
use crate::eval::analysis::{Given, NullOdds, RIGHT, Row, sweep};
use crate::eval::data::Dataset;
use crate::eval::error::{Error, Result};
use crate::random::Random;

/// The temperatures that are tried.
pub const TEMPERATURES: [f64; 11] = [0.5, 0.6, 0.75, 0.9, 1.0, 1.15, 1.35, 1.6, 2.0, 2.5, 3.0];

/// The [`TEMPERATURES`], and the one that is in force if it is none of them.
pub fn temperatures(in_force: f64) -> Vec<f64> {
    let new = (!TEMPERATURES.contains(&in_force)).then_some(in_force);
    TEMPERATURES.into_iter().chain(new).collect()
}

/// What the model says to a question at threshold 0 and each of the temperatures that are tried.
#[derive(Debug, Clone, PartialEq)]
pub struct Confidences {
    /// The probability of the best span.
    pub best: Vec<f64>,
    /// The probability of all spans that overlap it.
    pub around: Vec<f64>,
    /// The probability of "no answer".
    pub no_answer: Vec<f64>,
}

/// A choice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Choice {
    /// Abstain when "no answer" leads by more logits.
    pub null_threshold: f64,
    /// What divides logits before they become probabilities.
    pub temperature: f64,
    /// What replies are worth, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
}

/// Scores in percent, and how good probabilities are.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// Exact match.
    pub exact: f64,
    /// F1.
    pub f1: f64,
    /// Expected calibration error of the confidence, or where none is known of the plain probability.
    pub ece: f64,
    /// Brier score likewise.
    pub brier: f64,
}

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuning {
    /// Made on all articles: what a profile should hold.
    pub choice: Choice,
    /// Made on all articles but those of one fold, for each fold.
    pub per_fold: Vec<Choice>,
    /// Every question judged by the choice that was made without its article. The number to expect elsewhere.
    pub held_out: Quality,
    /// What was in force before.
    pub before: Choice,
    /// Every question judged by that.
    pub untuned: Quality,
    /// The final choice judged on the questions it was made on: optimistic.
    pub on_itself: Quality,
}

/// Tunes by cross-validation over articles: questions about one article, or one context, never stand on both sides. The rows are those
/// of the data set's questions; their confidences are those at the [`temperatures`] that go with what is in force.
pub fn tune(
    dataset: &Dataset,
    rows: &[Row],
    confidences: &[Confidences],
    in_force: Choice,
    folds: usize,
    seed: u64,
) -> Result<Tuning> {
    let temperatures = &temperatures(in_force.temperature);
    let of_row = split(dataset, rows, folds, seed)?;
    let all: Vec<usize> = (0..rows.len()).collect();
    let mut judged: Vec<Option<Judged>> = vec![None; rows.len()];
    let mut per_fold = Vec::new();
    for fold in 0..folds {
        let (held_out, rest): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&row| of_row[row] == fold);
        let choice = choose(rows, temperatures, confidences, &rest);
        for row in held_out {
            judged[row] = Some(judge(&rows[row], temperatures, &confidences[row], choice));
        }
        per_fold.push(choice);
    }
    let choice = choose(rows, temperatures, confidences, &all);
    let with = |choice| {
        all.iter().map(|&row| judge(&rows[row], temperatures, &confidences[row], choice)).collect::<Vec<_>>()
    };
    Ok(Tuning {
        choice,
        per_fold,
        held_out: quality(&judged.into_iter().flatten().collect::<Vec<_>>()),
        before: in_force,
        untuned: quality(&with(in_force)),
        on_itself: quality(&with(choice)),
    })
}

/// The fold of each row. Groups of articles go, in random order, to whichever fold has the fewest questions.
fn split(dataset: &Dataset, rows: &[Row], folds: usize, seed: u64) -> Result<Vec<usize>> {
    let groups = dataset.groups();
    let mut names: BTreeMap<usize, (&str, usize)> = BTreeMap::new();
    for (number, (article, &group)) in dataset.articles.iter().zip(&groups).enumerate() {
        names.entry(group).or_insert((article.title.as_str(), number));
    }
    // In the order of their names, so that the order of the file does not matter where there are names.
    let mut articles: BTreeMap<(&str, usize), Vec<usize>> = BTreeMap::new();
    for (index, row) in rows.iter().enumerate() {
        let group = groups.get(row.entry.article_index).copied().unwrap_or(0);
        articles.entry(names.get(&group).copied().unwrap_or_default()).or_default().push(index);
    }
    if folds < 2 || articles.len() < folds {
        return Err(Error::TooFewArticles { articles: articles.len(), folds });
    }
    let mut articles: Vec<Vec<usize>> = articles.into_values().collect();
    Random::new(seed).shuffle(&mut articles);
    let mut sizes = vec![0; folds];
    let mut fold_of = vec![0; rows.len()];
    for members in articles {
        let smallest = (0..folds).min_by_key(|&fold| sizes[fold]).unwrap_or(0);
        sizes[smallest] += members.len();
        members.iter().for_each(|&row| fold_of[row] = smallest);
    }
    Ok(fold_of)
}

/// What the model would have returned.
#[derive(Debug, Clone, Copy)]
struct Judged {
    exact: f64,
    f1: f64,
    /// The probability of what was returned, word for word.
    score: f64,
    /// What stands for it in the distribution, whatever the threshold is: the spans around the answer, or "no answer".
    held: f64,
    confidence: f64,
}

impl Judged {
    fn is_right(&self) -> bool {
        self.f1 >= RIGHT
    }
}

fn judge(row: &Row, temperatures: &[f64], confidences: &Confidences, choice: Choice) -> Judged {
    let at = temperatures.iter().position(|&t| t == choice.temperature).unwrap_or(0);
    let abstains = row.given.null_odds.number().is_none_or(|odds| odds > choice.null_threshold);
    // Probabilities are made as if "no answer" had as many logits less as the threshold says.
    let weight = match choice.null_threshold {
        threshold if threshold.is_finite() => (-threshold / choice.temperature).exp(),
        _ => 1.0,
    };
    let no_answer = confidences.no_answer[at];
    let total = 1.0 - no_answer + no_answer * weight;
    let (exact, f1, score, held) = if abstains {
        let right = if row.entry.question.has_answer() { 0.0 } else { 1.0 };
        (right, right, no_answer * weight / total, no_answer)
    } else {
        (row.best.exact, row.best.f1, confidences.best[at] / total, confidences.around[at])
    };
    Judged { exact, f1, score, held, confidence: choice.confidence.unwrap_or(Confidence::PLAIN).of(held) }
}

fn quality(judged: &[Judged]) -> Quality {
    let percent = |value: fn(&Judged) -> f64| {
        100.0 * judged.iter().map(value).sum::<f64>() / judged.len().max(1) as f64
    };
    let pairs: Vec<(f64, bool)> = judged.iter().map(|j| (j.confidence, j.is_right())).collect();
    let Calibration { ece, brier, .. } = Calibration::new(Sureness::Confidence, &pairs);
    Quality { exact: percent(|j| j.exact), f1: percent(|j| j.f1), ece, brier }
}

/// The threshold of the highest F1, then the temperature whose probabilities are least surprised by what is right to the letter, then the
/// confidence that is least surprised by what is right.
fn choose(rows: &[Row], temperatures: &[f64], confidences: &[Confidences], chosen: &[usize]) -> Choice {
    let part: Vec<Row> = chosen.iter().map(|&row| rows[row].clone()).collect();
    let null_threshold = best_threshold(&part);
    let judged = |temperature: f64| -> Vec<Judged> {
        let choice = Choice { null_threshold, temperature, confidence: None };
        chosen.iter().map(|&row| judge(&rows[row], temperatures, &confidences[row], choice)).collect()
    };
    let surprise = |temperature: f64| {
        let surprise = judged(temperature).into_iter().map(|Judged { exact, score, .. }| {
            let probability = if exact == 1.0 { score } else { 1.0 - score };
            -probability.max(1e-6).ln()
        });
        surprise.sum::<f64>()
    };
    let temperature = temperatures
        .iter()
        .map(|&temperature| (surprise(temperature), temperature))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map_or(1.0, |(_, temperature)| temperature);
    let replies: Vec<(f64, bool)> = judged(temperature).iter().map(|j| (j.held, j.is_right())).collect();
    Choice { null_threshold, temperature, confidence: Some(Confidence::fit(&replies)) }
}

/// Half-way between the last question that should be answered and the next, to be no nearer to either than needed.
fn best_threshold(rows: &[Row]) -> f64 {
    let Some(sweep) = sweep(rows) else { return 0.0 };
    let threshold = |index: usize| sweep.points.get(index).and_then(|point| point.threshold);
    let best = sweep.points.iter().position(|point| *point == sweep.best_f1).unwrap_or(0);
    match (threshold(best), threshold(best + 1)) {
        (Some(last), Some(next)) => (last + next) / 2.0,
        (Some(last), None) => last,
        (None, Some(next)) => next - 1.0,
        (None, None) => 0.0,
    }
}

/// A row as [`tune`] wants it: the best span stands for the answer.
pub fn given(best: &str, null_odds: Option<f32>) -> Given<'_> {
    let null_odds = null_odds.map_or(NullOdds::NothingToQuote, |odds| NullOdds::By(odds.into()));
    Given { answer: best, best, null_odds, ..Given::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Options;
    use crate::eval::analysis::rows;
    use crate::eval::score::metrics::Rules;

    /// Sixty questions about six articles. An odd one has no answer, and its odds lie above 2, the others' below.
    fn dataset() -> Dataset {
        let rows = (0..60).map(|n| {
            let answers: &[&str] = if n % 2 == 0 { &["x"] } else { &[] };
            let title = format!("T{}", n / 10);
            serde_json::json!({"id": n, "title": title, "context": format!("x y {title}"), "question": "q", "answers": answers}).to_string()
        });
        Dataset::parse("data", rows.collect::<Vec<_>>().join("\n").as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn a_clear_case_is_found_by_every_fold() {
        let dataset = dataset();
        let number = |id: &str| id.parse::<usize>().unwrap();
        let rows = rows(Rules::Squad2, &dataset, |entry| {
            let n = number(&entry.question.id);
            let odds = if n % 2 == 0 { -1.0 + n as f32 / 100.0 } else { 1.0 + n as f32 / 100.0 };
            given("x", Some(odds))
        });
        // Nine tenths sure at every temperature but 2, where it is as sure as it is right.
        let sure = |t: f64| if t == 2.0 { 0.999 } else { 0.9 };
        let said =
            |n: usize, sure: f64| if n.is_multiple_of(2) { (sure, 1.0 - sure) } else { (1.0 - sure, sure) };
        let of = |temperatures: &[f64], sure: &dyn Fn(f64) -> f64| -> Vec<Confidences> {
            let of = |n| {
                let (best, no_answer): (Vec<f64>, Vec<f64>) =
                    temperatures.iter().map(|&t| said(n, sure(t))).unzip();
                Confidences { around: best.clone(), best, no_answer }
            };
            rows.iter().map(|row| of(number(&row.entry.question.id))).collect()
        };
        let confidences = of(&TEMPERATURES, &sure);
        let before = Choice { null_threshold: -5.0, temperature: 1.0, confidence: None };
        let tuning = tune(&dataset, &rows, &confidences, before, 3, 5).unwrap();
        assert_eq!(tuning.per_fold.len(), 3);
        for choice in tuning.per_fold.iter().chain([&tuning.choice]) {
            assert!(choice.null_threshold > -0.43 && choice.null_threshold < 1.02, "{choice:?}");
            assert_eq!(choice.temperature, 2.0);
        }
        assert_eq!(tuning.held_out.f1, 100.0);
        // That threshold abstains always. How sure the model is does not depend on it.
        assert_eq!(tuning.untuned.f1, 50.0);
        assert!(tuning.held_out.ece < 0.01, "{tuning:?}");
        assert!((tuning.untuned.ece - 0.1).abs() < 1e-9, "{tuning:?}");
        // What is in force is what the choice is compared with, and no temperature is foreign to it.
        let again = tune(&dataset, &rows, &confidences, tuning.choice, 3, 5).unwrap();
        assert_eq!((again.before, again.untuned), (tuning.choice, tuning.on_itself));
        let always = Choice { null_threshold: f64::INFINITY, temperature: 1.2, confidence: None };
        let odd = of(&temperatures(1.2), &|t| if t == 1.2 { 0.999 } else { sure(t) });
        let tuning = tune(&dataset, &rows, &odd, always, 3, 5).unwrap();
        assert_eq!(tuning.untuned.f1, 50.0);
        assert!((tuning.untuned.ece - 0.001).abs() < 1e-9, "{:?}", tuning.untuned);
        let error = tune(&dataset, &rows, &confidences, before, 7, 5).unwrap_err();
        assert_eq!(error.code(), "too_few_articles");
        assert!(tune(&dataset, &rows, &confidences, before, 1, 5).is_err());
    }

    #[test]
    fn an_article_is_never_on_both_sides() {
        let dataset = dataset();
        let rows = rows(Rules::Squad2, &dataset, |_| given("x", Some(0.0)));
        let fold_of = split(&dataset, &rows, 3, 1).unwrap();
        for article in fold_of.chunks(10) {
            assert!(article.iter().all(|fold| *fold == article[0]));
        }
        for fold in 0..3 {
            assert_eq!(fold_of.iter().filter(|&&of| of == fold).count(), 20);
        }
    }

    /// Forty shuffled rows about eight contexts.
    fn contexts(title: fn(usize) -> String) -> Dataset {
        let rows = (0..40).map(|n| {
            let (title, context) = (title(n), format!("x {}", n % 8));
            serde_json::json!({"id": n, "title": title, "context": context, "question": "q", "answers": []})
                .to_string()
        });
        let text = rows.collect::<Vec<_>>().join("\n");
        Dataset::parse("data", text.as_bytes(), Options::default()).unwrap()
    }

    #[test]
    fn a_context_is_never_on_both_sides() {
        let dataset = contexts(|_| String::new());
        let untitled = rows(Rules::Squad2, &dataset, |_| given("x", Some(0.0)));
        let mut folds: BTreeMap<&str, usize> = BTreeMap::new();
        for (row, fold) in untitled.iter().zip(split(&dataset, &untitled, 4, 1).unwrap()) {
            assert_eq!(*folds.entry(&row.entry.paragraph.context).or_insert(fold), fold);
        }
        // Two titles for the same contexts are one article.
        let dataset = contexts(|n| format!("T{}", n / 20));
        let titled = rows(Rules::Squad2, &dataset, |_| given("x", Some(0.0)));
        assert_eq!(split(&dataset, &titled, 2, 1).unwrap_err().code(), "too_few_articles");
    }

    #[test]
    fn what_has_nothing_to_quote_moves_no_threshold() {
        let dataset = dataset();
        let rows = rows(Rules::Squad2, &dataset, |entry| {
            let n: usize = entry.question.id.parse().unwrap();
            if n.is_multiple_of(2) { given("x", Some(1.0)) } else { given("", None) }
        });
        assert_eq!(best_threshold(&rows), 1.0);
    }
}
