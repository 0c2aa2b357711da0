//! A run of training as one web page, in the style of the page about an evaluation.

use std::fmt::Write;

use super::journal::{DevRecord, Record, StepRecord};
use crate::report::html::{Page, Table, with_remark};
use crate::report::svg::{Chart, Series};
use crate::report::text::{escape, rounded};

/// What the page says about the run as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The heading.
    pub title: String,
    /// Settings and results, each with its name.
    pub rows: Vec<(String, String)>,
}

/// The page: facts, curves and evaluations. It needs no other file and runs no script.
pub fn html(facts: &Facts, records: &[Record]) -> String {
    let run = Run::new(records);
    let mut page = Page::new(&facts.title);
    if !facts.rows.is_empty() {
        let rows = facts.rows.iter().map(|(name, value)| [escape(name), escape(value)]);
        page.table(Table::Text, &[], rows);
    }
    page.heading("Curves");
    let charts: Vec<_> = [run.losses(), run.rates(), run.scores()].into_iter().flatten().collect();
    if charts.is_empty() {
        page.remark("No step has been taken yet.");
    } else {
        page.charts(&charts);
    }
    run.evaluations(&mut page);
    page.html()
}

/// The records by kind.
struct Run<'a> {
    steps: Vec<&'a StepRecord>,
    devs: Vec<&'a DevRecord>,
    /// Where all curves end, so that they can be compared by eye.
    end: f64,
}

impl<'a> Run<'a> {
    fn new(records: &'a [Record]) -> Self {
        let (mut steps, mut devs) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                Record::Step(step) => steps.push(step),
                Record::Dev(dev) => devs.push(dev),
            }
        }
        let end = records.iter().map(Record::step).max().unwrap_or(0).max(1) as f64;
        Self { steps, devs, end }
    }

    fn chart(&self, title: &str, y_label: &str, y: (f64, f64), series: Vec<(String, Series)>) -> Chart {
        Chart {
            title: title.into(),
            x_label: "step".into(),
            y_label: y_label.into(),
            x: (0.0, self.end),
            y,
            series,
            ..Chart::default()
        }
    }

    fn losses(&self) -> Option<(Chart, String)> {
        let last = self.steps.last()?;
        let raw = finite(self.steps.iter().map(|step| (step.step, step.loss)));
        let window = raw.len().div_ceil(SHARE);
        let mean = running_mean(&raw, window);
        let mut remark = format!("After step {}, epoch {:.2}", last.step, last.epoch);
        if let Some((_, mean)) = mean.last() {
            let _ = write!(remark, ": {mean:.4}");
        }
        if window > 1 {
            let _ = write!(remark, ", the mean of about {window} records");
        }
        remark.push('.');
        let undrawn = self.steps.len() - raw.len();
        if undrawn > 0 {
            let _ = write!(remark, " Not a number, and so not drawn: {undrawn}.");
        }
        let top = top(&raw, &mean);
        let above = raw.iter().filter(|(_, loss)| *loss > top).count();
        if above > 0 {
            let _ = write!(remark, " Higher, and drawn at the upper edge: {above}.");
        }
        // Room for the dot of the highest loss.
        let y = (0.0, top * 1.05);
        let series =
            vec![("recorded".into(), Series::Cloud(raw)), ("running mean".into(), Series::Line(mean))];
        Some((self.chart("Loss", "loss", y, series), remark))
    }

    fn rates(&self) -> Option<(Chart, String)> {
        let last = self.steps.last()?;
        let rates = finite(self.steps.iter().map(|step| (step.step, step.rate)));
        let highest = highest(&rates);
        let now = rates.last().map_or(0.0, |(_, rate)| *rate);
        let remark = format!("At most {}, {} at step {}.", rounded(highest), rounded(now), last.step);
        let y = (0.0, if highest > 0.0 { highest * 1.05 } else { 1.0 });
        let series = vec![(String::new(), Series::Line(rates))];
        Some((self.chart("Learning rate", "", y, series), remark))
    }

    fn scores(&self) -> Option<(Chart, String)> {
        self.devs.first()?;
        let curve = |score: fn(&DevRecord) -> f64| finite(self.devs.iter().map(|dev| (dev.step, score(dev))));
        let (f1, exact) = (curve(|dev| dev.f1), curve(|dev| dev.exact));
        let y = tens(f1.iter().chain(&exact).map(|(_, score)| *score));
        let mut series = vec![("F1".into(), Series::Dotted(f1)), ("exact".into(), Series::Dotted(exact))];
        let remark = match self.best() {
            None => "No evaluation is marked as the best.".into(),
            Some(best) => {
                let points = finite([(best.step, best.f1), (best.step, best.exact)].into_iter());
                series.push(("best".into(), Series::Rings(points)));
                format!("Best: F1 {:.2} and exact {:.2} at step {}.", best.f1, best.exact, best.step)
            }
        };
        Some((self.chart("Scores on the development set", "percent", y, series), remark))
    }

    /// Each best one was better than those before it.
    fn best(&self) -> Option<&'a DevRecord> {
        let scored = |dev: &DevRecord| dev.f1.is_finite() && dev.exact.is_finite();
        self.devs.iter().rev().find(|dev| dev.best && scored(dev)).copied()
    }

    fn evaluations(&self, page: &mut Page) {
        page.heading("Evaluations on the development set");
        if self.devs.is_empty() {
            return page.remark("There was none.");
        }
        let best = self.best();
        // Columns of a kind of question that the data set does not have stay away.
        type Kind = (&'static str, fn(&DevRecord) -> Option<f64>);
        let kinds: [Kind; 2] =
            [("F1, has answer", |dev| dev.has_answer_f1), ("F1, no answer", |dev| dev.no_answer_f1)];
        let kinds = kinds.into_iter().filter(|(_, of)| self.devs.iter().any(|dev| of(dev).is_some()));
        let kinds: Vec<_> = kinds.collect();
        let row = |dev: &&DevRecord| {
            let is_best = best.is_some_and(|best| std::ptr::eq(best, *dev));
            let remarks = [(dev.step == 0, "base"), (is_best, "best")];
            let remarks: Vec<&str> =
                remarks.into_iter().filter(|(holds, _)| *holds).map(|(_, name)| name).collect();
            let step = dev.step.to_string();
            let step = if remarks.is_empty() { step } else { with_remark(&step, &remarks.join(", ")) };
            let mut row =
                vec![step, format!("{:.2}", dev.epoch), score(Some(dev.exact)), score(Some(dev.f1))];
            row.extend(kinds.iter().map(|(_, of)| score(of(dev))));
            row
        };
        let mut head = vec!["step", "epoch", "exact", "F1"];
        head.extend(kinds.iter().map(|(name, _)| *name));
        page.table(Table::Numbers, &head, self.devs.iter().map(row));
        page.remark("Scores are in percent.");
    }
}

/// The running mean reaches over this part of the records: enough to see a trend, and not to delay it.
const SHARE: usize = 25;
/// Losses above this share of all do not stretch the axis; they are drawn at its end.
const SHOWN: f64 = 0.99;

/// A cell of a table; empty where there is no score.
fn score(score: Option<f64>) -> String {
    score.filter(|score| score.is_finite()).map_or(String::new(), |score| format!("{score:.2}"))
}

/// The points that can be drawn.
fn finite(points: impl Iterator<Item = (u64, f64)>) -> Vec<(f64, f64)> {
    points.filter(|(_, value)| value.is_finite()).map(|(step, value)| (step as f64, value)).collect()
}

/// The plain mean until `window` values have come, and from then on one that forgets.
fn running_mean(points: &[(f64, f64)], window: usize) -> Vec<(f64, f64)> {
    let mut mean = 0.0;
    let next = |(index, &(x, value)): (usize, &(f64, f64))| {
        mean += (value - mean) / (index + 1).min(window) as f64;
        (x, mean)
    };
    points.iter().enumerate().map(next).collect()
}

fn highest(points: &[(f64, f64)]) -> f64 {
    points.iter().map(|(_, value)| *value).fold(0.0, f64::max)
}

/// Where the axis of the loss ends: the mean fits, and all but a few outliers.
fn top(raw: &[(f64, f64)], mean: &[(f64, f64)]) -> f64 {
    let mut losses: Vec<f64> = raw.iter().map(|(_, loss)| *loss).collect();
    losses.sort_by(f64::total_cmp);
    let at = (losses.len() as f64 * SHOWN) as usize;
    let top = losses.get(at).copied().unwrap_or(0.0).max(highest(mean));
    if top > 0.0 { top } else { 1.0 }
}

/// The tens around percentages, so that small differences can be seen.
fn tens(scores: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        scores.fold((100.0, 0.0), |(low, high): (f64, f64), score| (low.min(score), high.max(score)));
    let low = (low / 10.0).floor().clamp(0.0, 9.0) * 10.0;
    let high = (high / 10.0).ceil().clamp(0.0, 10.0) * 10.0;
    (low, high.max(low + 10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            title: "bert <&> \"tiny\"".into(),
            rows: vec![("data".into(), "a<b>.json".into()), ("seed".into(), "7".into())],
        }
    }

    fn step(step: u64, loss: f64) -> Record {
        Record::Step(StepRecord {
            step,
            epoch: step as f64 / 100.0,
            loss,
            rate: 3e-5 * (1.0 - step as f64 / 400.0),
            norm: 1.0,
            tokens: step * 4096,
            tokens_per_second: 1000.0,
        })
    }

    fn dev(step: u64, f1: f64, best: bool) -> Record {
        let record = DevRecord {
            step,
            epoch: step as f64 / 100.0,
            exact: f1 - 5.0,
            f1,
            has_answer_f1: Some(f1 + 1.0),
            no_answer_f1: None,
            best,
        };
        Record::Dev(record)
    }

    fn run() -> Vec<Record> {
        let mut records = Vec::new();
        for at in 1..=300u64 {
            // A loss that falls and scatters.
            let scatter = (at * 7919 % 101) as f64 / 101.0 - 0.5;
            records.push(step(at, 1.0 + 4.0 * (-(at as f64) / 60.0).exp() + scatter));
            if at % 60 == 0 {
                records.push(dev(at, [70.25, 78.5, 81.75, 81.5, 81.0][at as usize / 60 - 1], at <= 180));
            }
        }
        records
    }

    /// Panics unless every tag that opens is closed in its turn.
    fn assert_balanced(page: &str) {
        let mut open = Vec::new();
        for piece in page.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').expect("a tag ends");
            let name = tag.split([' ', '\n']).next().unwrap();
            match name.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{piece}"),
                None if tag.ends_with('/') || ["!DOCTYPE", "meta"].contains(&name) => {}
                None => open.push(name),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }

    fn checked(records: &[Record]) -> String {
        let page = html(&facts(), records);
        assert_balanced(&page);
        assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"));
        assert!(
            page.contains("<h1>bert &lt;&amp;&gt; &quot;tiny&quot;</h1>") && page.contains("a&lt;b&gt;.json")
        );
        for word in ["NaN", "inf", "http", "<script", "<link"] {
            assert!(!page.contains(word), "{word} in {page}");
        }
        page
    }

    #[test]
    fn a_run_has_its_curves_and_its_best_evaluation() {
        let page = checked(&run());
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("<circle").count(), 2, "F1 and exact of the best");
        assert!(page.contains("Best: F1 81.75 and exact 76.75 at step 180."));
        let row = "<tr><td>180 <span class=\"dim\">best</span></td><td>1.80</td><td>76.75</td><td>81.75</td><td>82.75</td></tr>";
        assert!(page.contains(row) && page.matches(">best</span>").count() == 1, "{page}");
        assert_eq!(page.matches("faint\"").count(), 1);
        assert!(page.contains("the mean of about 12 records"));
        assert!(page.contains(">2e-5</text>"), "ticks of the learning rate");
        if let Some(path) = std::env::var_os("SPANQA_TRAIN_REPORT") {
            std::fs::write(path, page).unwrap();
        }
    }

    #[test]
    fn the_base_is_named_and_columns_without_a_score_stay_away() {
        let page = checked(&[dev(0, 60.0, true), step(1, 2.0), dev(1, 50.0, false)]);
        assert!(page.contains("<td>0 <span class=\"dim\">base, best</span></td>"), "{page}");
        assert!(page.contains("F1, has answer") && !page.contains("F1, no answer"), "{page}");
        let Record::Dev(without) = dev(1, 50.0, true) else { unreachable!() };
        let page = checked(&[Record::Dev(DevRecord { has_answer_f1: None, ..without })]);
        assert!(!page.contains("has answer") && !page.contains("<td></td>"), "{page}");
    }

    #[test]
    fn the_highest_losses_are_inside_or_counted() {
        let mut records: Vec<Record> = (1..=200).map(|at| step(at, 2.0)).collect();
        let page = checked(&records);
        assert!(!page.contains("upper edge"));
        records[100] = step(101, 500.0);
        records[101] = step(102, 400.0);
        records[102] = step(103, 300.0);
        let page = checked(&records);
        assert!(page.contains("Higher, and drawn at the upper edge: 1."), "{page}");
    }

    #[test]
    fn a_run_that_has_not_begun_has_a_page() {
        let page = checked(&[]);
        assert!(page.contains("No step has been taken yet.") && page.contains("There was none."));
        assert!(!page.contains("<svg"));
    }

    #[test]
    fn one_record_is_enough_for_a_curve() {
        let page = checked(&[step(1, 5.0)]);
        assert_eq!(page.matches("<svg").count(), 2);
        // The loss, its mean and the learning rate.
        assert_eq!(page.matches("h0\"").count(), 3);
        let page = checked(&[dev(0, 3.0, false)]);
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("No evaluation is marked as the best."));
    }

    #[test]
    fn what_is_no_number_is_counted_and_not_drawn() {
        let mut records = vec![step(1, f64::NAN), step(2, f64::INFINITY), step(3, 0.0)];
        records.push(dev(3, f64::NAN, true));
        let page = checked(&records);
        assert!(page.contains("Not a number, and so not drawn: 2."));
        checked(&[step(1, f64::NAN)]);
    }

    #[test]
    fn the_mean_is_plain_at_first_and_forgets_later() {
        let points = [(1.0, 4.0), (2.0, 2.0), (3.0, 7.0)];
        assert_eq!(running_mean(&points, 2), [(1.0, 4.0), (2.0, 3.0), (3.0, 5.0)]);
        assert_eq!(running_mean(&points, 1), points);
        assert!(running_mean(&[], 0).is_empty());
    }

    #[test]
    fn an_outlier_does_not_flatten_the_loss() {
        let mut raw: Vec<(f64, f64)> = (0..200).map(|at| (f64::from(at), 2.0)).collect();
        raw[100].1 = 500.0;
        assert_eq!(top(&raw, &[(0.0, 3.0)]), 3.0);
        assert_eq!(top(&[], &[]), 1.0);
    }

    #[test]
    fn the_axis_of_scores_is_made_of_tens() {
        assert_eq!(tens([63.2, 78.9].into_iter()), (60.0, 80.0));
        assert_eq!(tens([100.0].into_iter()), (90.0, 100.0));
        assert_eq!(tens([0.0].into_iter()), (0.0, 10.0));
        assert_eq!(tens([70.0].into_iter()), (70.0, 80.0));
        assert_eq!(tens([].into_iter()), (90.0, 100.0));
    }
}
