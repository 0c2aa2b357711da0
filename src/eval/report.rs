//! An evaluation as one web page: no script, nothing to load, readable on a phone and in the dark.

use std::fmt::Write;

use crate::eval::analysis::{Breakdown, Estimate, Group, Part, Row, Sweep};
use crate::eval::losses::{Kind, Loss};
use crate::eval::stats::{BINS, Calibration};
use crate::report::plot::{Chart, Series, escape};

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
    /// Where points are lost.
    pub groups: &'a Breakdown,
    /// Which questions lose them.
    pub losses: &'a [Loss<'a>],
    /// The questions.
    pub rows: &'a [Row<'a>],
}

/// Losses of each kind that the page lists.
const LISTED: usize = 50;

const STYLE: &str = ":root{color-scheme:light dark;--bg:#fff;--fg:#1c1e21;--dim:#667;--rule:#ddd;--c0:#1f6feb;--c1:#d9730d;--c2:#2da44e;--c3:#a371f7}\
@media(prefers-color-scheme:dark){:root{--bg:#14161a;--fg:#e6e6e6;--dim:#99a;--rule:#333;--c0:#58a6ff;--c1:#f0883e;--c2:#3fb950;--c3:#bc8cff}}\
*{box-sizing:border-box}body{margin:0 auto;padding:1rem;max-width:72rem;background:var(--bg);color:var(--fg);font:16px/1.5 system-ui,sans-serif}\
h1{font-size:1.4rem;margin:.2em 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:2em 0 .4em}p{margin:.3em 0}.dim{color:var(--dim)}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}.text td{text-align:left;white-space:normal;vertical-align:top;overflow-wrap:anywhere}.text th{text-align:left}\
.charts{display:grid;gap:1rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr))}figure{margin:0}figcaption{font-weight:600;font-size:.95rem}\
svg{width:100%;height:auto;display:block}svg text{font:11px system-ui,sans-serif;fill:var(--dim)}.grid{stroke:var(--rule);fill:none}.axis{stroke:var(--dim);fill:none}\
.line{fill:none;stroke-width:2}.dashed{stroke-dasharray:4 4}.s0{--c:var(--c0)}.s1{--c:var(--c1)}.s2{--c:var(--c2)}.s3{--c:var(--c3)}.s4{--c:var(--dim)}\
.line,.dots{stroke:var(--c)}.dots{fill:none;stroke-width:5;stroke-linecap:round}.faint{stroke-width:3;opacity:.4}\
.bar,.key{fill:var(--c)}.bar{opacity:.75}details{margin:.4em 0}summary{cursor:pointer}\
@media(max-width:34rem){td .dim{display:block}th,td{padding:.25em .45em}}";

impl Report<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let mut page = opening(self.title);
        for line in &self.about {
            page.push_str(&format!("<p class=\"dim\">{}</p>\n", escape(line)));
        }
        self.scores(&mut page);
        page.push_str("<h2>Charts</h2>\n");
        figures(&mut page, &self.charts());
        let groups = [
            ("By question word", &self.groups.question_word),
            ("By words of the shortest gold answer", &self.groups.answer_words),
            ("By words of the context", &self.groups.context_words),
            ("By article, worst first", &self.groups.article),
        ];
        for (title, groups) in groups {
            page.push_str(&table(title, groups));
        }
        self.lost(&mut page);
        page.push_str(CLOSING);
        page
    }

    fn scores(&self, page: &mut String) {
        page.push_str("<h2>Scores</h2>\n<div class=\"wide\"><table><thead><tr><th></th><th>questions</th><th>exact</th><th>F1</th></tr></thead><tbody>\n");
        let cell = |estimate: &Estimate| {
            let Estimate { mean, interval } = estimate;
            format!("{mean:.2} <span class=\"dim\">{:.2} to {:.2}</span>", interval.low, interval.high)
        };
        for part in self.parts {
            let (exact, f1) = (cell(&part.exact), cell(&part.f1));
            let _ = writeln!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{exact}</td><td>{f1}</td></tr>",
                part.name, part.questions
            );
        }
        page.push_str(
            "</tbody></table></div>\n<p class=\"dim\">Percent; the ranges hold 95 % of 2,000 samples drawn anew from these questions.</p>\n",
        );
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
        charts.push(lengths("F1 by words of the shortest gold answer", &self.groups.answer_words));
        charts.push(lengths("F1 by words of the context", &self.groups.context_words));
        charts
    }

    /// The range of no-answer scores worth showing: without the outermost hundredths, but with the threshold.
    fn odds(&self) -> (f64, f64) {
        let mut odds: Vec<f64> = self.rows.iter().filter_map(|row| row.given.null_odds).collect();
        odds.sort_by(f64::total_cmp);
        let at = |share: f64| odds.get((odds.len().saturating_sub(1) as f64 * share) as usize).copied();
        let (low, high) = (at(0.005).unwrap_or(0.0), at(0.995).unwrap_or(1.0));
        let with = self.threshold.filter(|threshold| threshold.is_finite());
        let (low, high) = with.map_or((low, high), |threshold| (low.min(threshold), high.max(threshold)));
        if low < high { (low, high) } else { (low - 0.5, high + 0.5) }
    }

    fn thresholds(&self, sweep: &Sweep) -> (Chart, String) {
        let line = |value: fn(&crate::eval::analysis::Point) -> f64| {
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
        let remark = format!(
            "Best F1 {:.2} at {place}. It was chosen on these very questions, so it is too good to be expected elsewhere.",
            best.f1
        );
        (chart, remark)
    }

    fn histogram(&self) -> (Chart, String) {
        const COLUMNS: usize = 30;
        let (low, high) = self.odds();
        let width = (high - low) / COLUMNS as f64;
        let count = |wanted: bool| {
            let mut counts = [0usize; COLUMNS];
            for row in self.rows.iter().filter(|row| row.entry.question.has_answer() == wanted) {
                if let Some(odds) = row.given.null_odds.filter(|odds| (low..=high).contains(odds)) {
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

    fn lost(&self, page: &mut String) {
        let _ = writeln!(
            page,
            "<h2>Losses</h2>\n<p>{} questions were not answered exactly.</p>",
            self.losses.len()
        );
        for kind in Kind::ALL {
            let of_kind = || self.losses.iter().filter(|loss| loss.kind == kind);
            let count = of_kind().count();
            if count == 0 {
                continue;
            }
            let listed = if count > LISTED { format!(", the first {LISTED}") } else { String::new() };
            let _ = write!(
                page,
                "<details><summary>{}: {count}{listed}</summary>\n<div class=\"wide\"><table class=\"text\"><thead><tr>\
                 <th>question</th><th>expected</th><th>answer</th><th>F1</th></tr></thead><tbody>\n",
                kind.name()
            );
            for loss in of_kind().take(LISTED) {
                let expected =
                    if loss.expected.is_empty() { "no answer".into() } else { loss.expected.join(" / ") };
                let answer = match (loss.answer, loss.best) {
                    ("", Some(best)) => format!("no answer (best: {best})"),
                    ("", None) => "no answer".into(),
                    (answer, _) => answer.to_owned(),
                };
                let _ = writeln!(
                    page,
                    "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td></tr>",
                    escape(loss.question),
                    escape(&expected),
                    escape(&answer),
                    loss.f1
                );
            }
            page.push_str("</tbody></table></div></details>\n");
        }
    }
}

/// The top of a page in this style, up to its heading. [`CLOSING`] ends it.
pub(crate) fn opening(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    )
}

/// The end of a page.
pub(crate) const CLOSING: &str = "</body>\n</html>\n";

/// Charts with a remark each, beside each other where there is room.
pub(crate) fn figures(page: &mut String, charts: &[(Chart, String)]) {
    page.push_str("<div class=\"charts\">\n");
    for (chart, remark) in charts {
        let _ = writeln!(
            page,
            "<figure><figcaption>{}</figcaption>{}<p class=\"dim\">{}</p></figure>",
            escape(&chart.title),
            chart.svg(),
            escape(remark)
        );
    }
    page.push_str("</div>\n");
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
    let width = 1.0 / BINS as f64;
    let bars = calibration.bins.iter().enumerate().filter(|(_, bin)| bin.count > 0);
    let chart = Chart {
        title: "Reliability".into(),
        x_label: "probability of what was returned".into(),
        y_label: "share that was exactly right".into(),
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

fn table(title: &str, groups: &[Group]) -> String {
    let mut text = format!(
        "<h2>{}</h2>\n<div class=\"wide\"><table><thead><tr><th></th><th>questions</th><th>with answer</th><th>exact</th>\
         <th>F1</th><th>F1, has answer</th></tr></thead><tbody>\n",
        escape(title)
    );
    for group in groups {
        let has = group.has_answer_f1.map_or("".into(), |f1| format!("{f1:.2}"));
        let _ = writeln!(
            text,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{has}</td></tr>",
            escape(&group.name),
            group.questions,
            group.answerable,
            group.exact,
            group.f1
        );
    }
    text.push_str("</tbody></table></div>\n");
    text
}
