//! What other thresholds for "no answer" would do.

use serde::Serialize;

use crate::eval::analysis::{NullOdds, Row};

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
    if rows.iter().any(|row| row.given.null_odds == NullOdds::Unknown) {
        return None;
    }
    // A question with nothing to quote is not answered at any threshold.
    let mut order: Vec<(f64, &Row)> =
        rows.iter().filter_map(|row| Some((row.given.null_odds.number()?, row))).collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::analysis::groups::tests::dataset;
    use crate::eval::analysis::{Given, rows};
    use crate::eval::score::metrics::Rules;

    #[test]
    fn the_sweep_knows_the_ends_and_keeps_ties_together() {
        let dataset = dataset(&["x", "", "y", ""]);
        let odds = [-2.0, -2.0, 1.0, 3.0];
        let rows = rows(Rules::Squad2, &dataset, |entry| {
            let at: usize = entry.question.id.parse().unwrap();
            Given { answer: "x", best: "x", null_odds: NullOdds::By(odds[at]), ..Given::default() }
        });
        let sweep = sweep(&rows).unwrap();
        let exact: Vec<(Option<f64>, f64)> = sweep.points.iter().map(|p| (p.threshold, p.exact)).collect();
        assert_eq!(exact, [(None, 50.0), (Some(-2.0), 50.0), (Some(1.0), 50.0), (Some(3.0), 25.0)]);
        assert_eq!(sweep.best_exact.threshold, None);
        let last = sweep.points[3];
        assert_eq!((last.has_answer_f1, last.no_answer, last.answered, last.precision), (50.0, 0.0, 4, 25.0));
    }

    #[test]
    fn what_has_nothing_to_quote_is_at_no_threshold() {
        let dataset = dataset(&["x", "y", ""]);
        let known = |id: &str| match id {
            "0" => NullOdds::By(-1.0),
            _ => NullOdds::NothingToQuote,
        };
        let rows = rows(Rules::Squad2, &dataset, |entry| {
            let null_odds = known(&entry.question.id);
            let best = if null_odds == NullOdds::NothingToQuote { "" } else { "x" };
            Given { answer: best, best, null_odds, ..Given::default() }
        });
        let sweep = sweep(&rows).unwrap();
        let found: Vec<_> = sweep.points.iter().map(|point| (point.threshold, point.answered)).collect();
        assert_eq!(found, [(None, 0), (Some(-1.0), 1)]);
        assert_eq!(sweep.best_f1.threshold, Some(-1.0));
    }
}
