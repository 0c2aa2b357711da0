//! An evaluation as one web page.

use crate::eval::analysis::losses::Loss;
use crate::eval::analysis::stats::{BINS, Calibration, RESAMPLES, Sureness};
use crate::eval::analysis::{Breakdown, Estimate, Group, Part, Point, Row, Sweep};
use crate::eval::lost;
use crate::eval::open::{Retrieval, Stage};
use crate::report::html::{Page, Table, with_remark};
use crate::report::svg::{Chart, Series};
use crate::report::text::escape;

/// What the page shows.
#[derive(Debug)]
pub struct Report<'a> {
    /// The heading.
    pub title: &'a str,
    /// Sentences below it.
    pub about: Vec<String>,
    /// Scores of all questions and of the two kinds.
    pub parts: &'a [Part],
    /// What other thresholds would do.
    pub sweep: Option<&'a Sweep>,
    /// The threshold in use, if there is one.
    pub threshold: Option<f64>,
    /// Whether probabilities can be trusted.
    pub calibration: Option<&'a Calibration>,
    /// How often the paragraph of a question was found, if paragraphs were searched.
    pub retrieval: Option<&'a Retrieval>,
    /// Where points are lost.
    pub groups: &'a Breakdown,
    /// Which questions lose them.
    pub losses: &'a [Loss<'a>],
    /// The questions.
    pub rows: &'a [Row<'a>],
    /// Whether no-answer scores are logits.
    pub logits: bool,
    /// How the page came about, each fact with its name.
    pub facts: Vec<(String, String)>,
}

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = Page::new(self.title);
        self.about.iter().for_each(|line| page.remark(line));
        self.scores(&mut page);
        if let Some(retrieval) = self.retrieval {
            found(&mut page, retrieval);
        }
        page.heading("Charts");
        page.charts(&self.charts());
        for (title, groups) in [
            ("By question word", &self.groups.question_word),
            ("By words of the shortest gold answer", &self.groups.answer_words),
            ("By words of the context", &self.groups.context_words),
            ("By article, worst first", &self.groups.article),
        ] {
            page.heading(title);
            table(&mut page, groups);
        }
        lost::section(&mut page, self.losses, self.logits);
        page.heading("How this was made");
        page.table(Table::Text, &[], self.facts.iter().map(|(name, value)| [escape(name), escape(value)]));
        page.html()
    }

    fn scores(&self, page: &mut Page) {
        page.heading("Scores");
        let cell = |estimate: &Estimate| {
            let Estimate { mean, interval } = estimate;
            with_remark(&format!("{mean:.2}"), &format!("{:.2} to {:.2}", interval.low, interval.high))
        };
        let row =
            |part: &Part| [part.name.into(), part.questions.to_string(), cell(&part.exact), cell(&part.f1)];
        page.table(Table::Numbers, &["", "questions", "exact", "F1"], self.parts.iter().map(row));
        page.remark(&format!("Percent, with 95 % bootstrap intervals ({RESAMPLES} samples)."));
    }

    fn charts(&self) -> Vec<(Chart, String)> {
        let mut charts = Vec::new();
        if let Some(sweep) = self.sweep {
            charts.push(curve(sweep));
            charts.push(self.thresholds(sweep));
            charts.push(self.histogram());
        }
        if let Some(calibration) = self.calibration {
            charts.push(reliability(calibration));
        }
        charts.extend(self.retrieval.map(hits));
        charts.push(lengths("F1 by words of the shortest gold answer", &self.groups.answer_words));
        charts.push(lengths("F1 by words of the context", &self.groups.context_words));
        charts
    }

    /// The range of no-answer scores worth showing: without the outermost hundredths, but with the threshold.
    fn odds(&self) -> (f64, f64) {
        let mut odds: Vec<f64> = self.rows.iter().filter_map(|row| row.given.null_odds.number()).collect();
        odds.sort_by(f64::total_cmp);
        let at = |share: f64| odds.get((odds.len().saturating_sub(1) as f64 * share) as usize).copied();
        let (low, high) = (at(0.005).unwrap_or(0.0), at(0.995).unwrap_or(1.0));
        let with = self.threshold.filter(|threshold| threshold.is_finite());
        let (low, high) = with.map_or((low, high), |threshold| (low.min(threshold), high.max(threshold)));
        if low < high { (low, high) } else { (low - 0.5, high + 0.5) }
    }

    fn thresholds(&self, sweep: &Sweep) -> (Chart, String) {
        let line = |value: fn(&Point) -> f64| {
            Series::Line(sweep.points.iter().filter_map(|p| Some((p.threshold?, value(p)))).collect())
        };
        let mut series = vec![
            ("exact".into(), line(|point| point.exact)),
            ("F1".into(), line(|point| point.f1)),
            ("F1, has answer".into(), line(|point| point.has_answer_f1)),
            ("right, no answer".into(), line(|point| point.no_answer)),
        ];
        if let Some(threshold) = self.threshold {
            series.push((String::new(), Series::Mark(threshold)));
        }
        let chart = Chart {
            title: "Scores by threshold".into(),
            x_label: "threshold: answer unless \"no answer\" leads by more".into(),
            y_label: "percent".into(),
            x: self.odds(),
            y: (0.0, 100.0),
            series,
            ..Chart::default()
        };
        let best = &sweep.best_f1;
        let place = best.threshold.map_or("abstaining always".into(), |at| format!("the threshold {at:.3}"));
        let remark = format!("Best F1 {:.2} at {place}. Optimistic: tuned on the test data.", best.f1);
        (chart, remark)
    }

    fn histogram(&self) -> (Chart, String) {
        const COLUMNS: usize = 30;
        let (low, high) = self.odds();
        let width = (high - low) / COLUMNS as f64;
        let count = |wanted: bool| {
            let mut counts = [0usize; COLUMNS];
            for row in self.rows.iter().filter(|row| row.entry.question.has_answer() == wanted) {
                if let Some(odds) = row.given.null_odds.number().filter(|odds| (low..=high).contains(odds)) {
                    counts[(((odds - low) / width) as usize).min(COLUMNS - 1)] += 1;
                }
            }
            counts
        };
        let (with, without) = (count(true), count(false));
        let bars = |counts: [usize; COLUMNS], half: f64| {
            let bar = |(index, count): (usize, usize)| {
                let from = low + width * (index as f64 + half);
                (from, from + width / 2.0, count as f64)
            };
            Series::Bars(counts.into_iter().enumerate().map(bar).collect())
        };
        let highest = with.iter().chain(&without).copied().max().unwrap_or(0).max(1);
        let chart = Chart {
            title: "Null odds".into(),
            x_label: "logits by which \"no answer\" leads".into(),
            y_label: "questions".into(),
            x: (low, high),
            y: (0.0, highest as f64),
            series: vec![("has answer".into(), bars(with, 0.0)), ("no answer".into(), bars(without, 0.5))],
            ..Chart::default()
        };
        (chart, "The less the two overlap, the better the model knows what it does not know.".into())
    }
}

/// How often the paragraph of a question was found.
fn found(page: &mut Page, retrieval: &Retrieval) {
    page.heading("Retrieval");
    let head = ["paragraphs ordered by", "first", "of 5", "of 20", "MRR"];
    let row = |stage: &Stage| {
        let percent = |share: f64| format!("{share:.1}");
        let (first, five) = (percent(stage.hit_1), percent(stage.hit_5));
        [stage.by.into(), first, five, percent(stage.hit_20), format!("{:.3}", stage.mrr)]
    };
    page.table(Table::Numbers, &head, retrieval.stages.iter().map(row));
    let Retrieval { texts, passages, questions, .. } = retrieval;
    page.remark(&format!(
        "The share of {questions} questions with an answer whose own paragraph is among the first of {texts} ({passages} passages)."
    ));
}

fn hits(retrieval: &Retrieval) -> (Chart, String) {
    let at = |index: usize| index as f64 + 0.5;
    let series = retrieval.stages.iter().map(|stage| {
        let points = stage.hits.iter().enumerate().map(|(index, (_, share))| (at(index), *share));
        (stage.by.to_owned(), Series::Dotted(points.collect()))
    });
    let names: Vec<String> = retrieval
        .stages
        .first()
        .map_or_else(Vec::new, |stage| stage.hits.iter().map(|(most, _)| most.to_string()).collect());
    let chart = Chart {
        title: "Questions whose paragraph is found".into(),
        x_label: "among the first".into(),
        y_label: "percent".into(),
        x: (0.0, names.len().max(1) as f64),
        y: (0.0, 100.0),
        series: series.collect(),
        names,
    };
    (chart, "The reader's line ends where its reply has no more spans.".into())
}

fn curve(sweep: &Sweep) -> (Chart, String) {
    let points = sweep.points.iter().filter(|point| point.answered > 0);
    let chart = Chart {
        title: "Precision and recall".into(),
        x_label: "recall: F1 over questions that have an answer".into(),
        y_label: "precision: mean F1 of the answers given".into(),
        x: (0.0, 100.0),
        y: (0.0, 100.0),
        series: vec![(String::new(), Series::Line(points.map(|p| (p.has_answer_f1, p.precision)).collect()))],
        ..Chart::default()
    };
    (chart, "Every point is a threshold; at the right end everything is answered.".into())
}

fn reliability(calibration: &Calibration) -> (Chart, String) {
    let (sure, right) = match calibration.of {
        Sureness::Score => ("probability of what was returned", "share that was exactly right"),
        Sureness::Confidence => ("confidence of the reply", "share that was right (F1 0.5 or more)"),
    };
    let width = 1.0 / BINS as f64;
    let bars = calibration.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
    let chart = Chart {
        title: "Reliability".into(),
        x_label: sure.into(),
        y_label: right.into(),
        x: (0.0, 1.0),
        y: (0.0, 1.0),
        series: vec![
            (
                String::new(),
                Series::Bars(
                    bars.map(|(index, bin)| (index as f64 * width, (index + 1) as f64 * width, bin.accuracy))
                        .collect(),
                ),
            ),
            (String::new(), Series::Dashed(vec![(0.0, 0.0), (1.0, 1.0)])),
        ],
        ..Chart::default()
    };
    let Calibration { ece, brier, .. } = calibration;
    (
        chart,
        format!(
            "Expected calibration error {ece:.3}, Brier score {brier:.3}. Bars on the diagonal would be perfect."
        ),
    )
}

fn lengths(title: &str, groups: &[Group]) -> (Chart, String) {
    let mixed = groups.iter().any(|group| group.answerable < group.questions);
    let bars = |value: fn(&Group) -> Option<f64>, half: f64| {
        let bar = move |(index, group): (usize, &Group)| {
            let from = index as f64 + 0.1 + half;
            value(group).map(|value| (from, from + if mixed { 0.4 } else { 0.8 }, value))
        };
        Series::Bars(groups.iter().enumerate().filter_map(bar).collect())
    };
    let series = if mixed {
        vec![
            ("all".into(), bars(|group| Some(group.f1), 0.0)),
            ("has answer".into(), bars(|group| group.has_answer_f1, 0.4)),
        ]
    } else {
        vec![(String::new(), bars(|group| Some(group.f1), 0.0))]
    };
    let chart = Chart {
        title: title.into(),
        x_label: "words".into(),
        y_label: "F1".into(),
        x: (0.0, groups.len().max(1) as f64),
        y: (0.0, 100.0),
        names: groups.iter().map(|group| group.name.clone()).collect(),
        series,
    };
    let counts: Vec<String> =
        groups.iter().map(|group| format!("{} ({})", group.name, group.questions)).collect();
    (chart, format!("Questions: {}.", counts.join(", ")))
}

fn table(page: &mut Page, groups: &[Group]) {
    let row = |group: &Group| {
        [
            escape(&group.name),
            group.questions.to_string(),
            group.answerable.to_string(),
            format!("{:.2}", group.exact),
            format!("{:.2}", group.f1),
            group.has_answer_f1.map_or(String::new(), |f1| format!("{f1:.2}")),
        ]
    };
    let head = ["", "questions", "with answer", "exact", "F1", "F1, has answer"];
    page.table(Table::Numbers, &head, groups.iter().map(row));
}
