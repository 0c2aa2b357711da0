//! Small charts as SVG: lines, bars and a legend. Colours are classes of the page, so that they follow light and dark.

use std::fmt::Write;

use crate::report::text::{escape, number};

/// One series of a chart.
#[derive(Debug, Clone)]
pub enum Series {
    /// Points joined by a line.
    Line(Vec<(f64, f64)>),
    /// A dashed line, for comparison.
    Dashed(Vec<(f64, f64)>),
    /// A line with a dot on every point, for measurements that are few.
    Dotted(Vec<(f64, f64)>),
    /// Faint dots that no line joins, for measurements that scatter.
    Cloud(Vec<(f64, f64)>),
    /// Rings around points that stand out.
    Rings(Vec<(f64, f64)>),
    /// Bars from one x to another.
    Bars(Vec<(f64, f64, f64)>),
    /// A vertical line.
    Mark(f64),
}

/// A chart with linear axes.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// What the horizontal axis counts.
    pub x_label: String,
    /// What the vertical axis counts.
    pub y_label: String,
    /// Ends of the horizontal axis.
    pub x: (f64, f64),
    /// Ends of the vertical axis.
    pub y: (f64, f64),
    /// Names along the horizontal axis, at 0.5, 1.5 and so on, instead of numbers.
    pub names: Vec<String>,
    /// The series with their names; one without a name is not in the legend.
    pub series: Vec<(String, Series)>,
}

/// About as many pixels as a chart gets, so that its text is as large as it says.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 280.0;
const LEFT: f64 = 50.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 30.0;
/// Height of a line of the legend.
const LINE: f64 = 16.0;
/// Width of a letter, about.
const LETTER: f64 = 6.6;
const BOTTOM: f64 = 44.0;
/// A line has no use for more points than pixels.
const POINTS: usize = 400;

impl Chart {
    /// Draws it.
    pub fn svg(&self) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(&self.title)
        );
        self.axes(&mut svg);
        for (index, (_, series)) in self.series.iter().enumerate() {
            self.series(&mut svg, index, series);
        }
        self.legend(&mut svg);
        svg.push_str("</svg>");
        svg
    }

    fn at_x(&self, x: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * scaled(x, self.x)
    }

    fn at_y(&self, y: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - self.top() - BOTTOM) * scaled(y, self.y)
    }

    fn axes(&self, svg: &mut String) {
        let (left, right, top, bottom) = (LEFT, WIDTH - RIGHT, self.top(), HEIGHT - BOTTOM);
        for tick in ticks(self.y) {
            let y = self.at_y(tick);
            // Writing to a string cannot fail, here and below.
            let _ = write!(
                svg,
                "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 5.0,
                y + 4.0,
                number(tick)
            );
        }
        let labels: Vec<(f64, String)> = if self.names.is_empty() {
            ticks(self.x).into_iter().map(|tick| (tick, number(tick))).collect()
        } else {
            self.names.iter().enumerate().map(|(index, name)| (index as f64 + 0.5, name.clone())).collect()
        };
        for (x, label) in labels {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                self.at_x(x),
                bottom + 15.0,
                escape(&label)
            );
        }
        let middle = (left + right) / 2.0;
        let _ = write!(
            svg,
            "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>\
             <text x=\"{middle:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(12 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            HEIGHT - 8.0,
            escape(&self.x_label),
            (top + bottom) / 2.0,
            escape(&self.y_label)
        );
    }

    fn series(&self, svg: &mut String, index: usize, series: &Series) {
        match series {
            Series::Line(points) => self.line(svg, index, "", points),
            Series::Dashed(points) => self.line(svg, index, " dashed", points),
            Series::Dotted(points) => {
                self.line(svg, index, "", points);
                self.dots(svg, index, "", points);
            }
            Series::Cloud(points) => self.dots(svg, index, " faint", points),
            Series::Rings(points) => {
                for (x, y) in points {
                    let (x, y) = (self.at_x(*x), self.at_y(*y));
                    let _ =
                        write!(svg, "<circle class=\"line s{index}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"6\"/>");
                }
            }
            Series::Bars(bars) => {
                for (from, to, y) in bars {
                    let (left, right, top) = (self.at_x(*from), self.at_x(*to), self.at_y(*y));
                    let _ = write!(
                        svg,
                        "<rect class=\"bar s{index}\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
                        (right - left - 1.0).max(0.5),
                        (HEIGHT - BOTTOM - top).max(0.0)
                    );
                }
            }
            Series::Mark(x) => {
                let x = self.at_x(*x);
                let _ = write!(
                    svg,
                    "<path class=\"line s{index} dashed\" d=\"M{x:.1} {:.1}V{:.1}\"/>",
                    self.top(),
                    HEIGHT - BOTTOM
                );
            }
        }
    }

    fn line(&self, svg: &mut String, index: usize, more: &str, points: &[(f64, f64)]) {
        if points.len() == 1 {
            // A line that leads nowhere is not drawn.
            return self.dots(svg, index, "", points);
        }
        let mut path = String::new();
        for (x, y) in thinned(points) {
            let command = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{command}{:.1} {:.1}", self.at_x(*x), self.at_y(*y));
        }
        let _ = write!(svg, "<path class=\"line s{index}{more}\" d=\"{path}\"/>");
    }

    /// Lines without length, which their round ends make dots: one element, however many there are.
    fn dots(&self, svg: &mut String, index: usize, more: &str, points: &[(f64, f64)]) {
        let mut path = String::new();
        for (x, y) in thinned(points) {
            let _ = write!(path, "M{:.1} {:.1}h0", self.at_x(*x), self.at_y(*y));
        }
        let _ = write!(svg, "<path class=\"dots s{index}{more}\" d=\"{path}\"/>");
    }

    /// Where each name of the legend stands: a line that is full is followed by another.
    fn places(&self) -> Vec<(usize, &str, f64, f64)> {
        let (mut x, mut y) = (LEFT, 10.0);
        let named = self.series.iter().enumerate().filter(|(_, (name, _))| !name.is_empty());
        named
            .map(|(index, (name, _))| {
                let width = 14.0 + LETTER * name.chars().count() as f64;
                if x > LEFT && x + width > WIDTH - RIGHT {
                    (x, y) = (LEFT, y + LINE);
                }
                let place = (index, name.as_str(), x, y);
                x += width + 14.0;
                place
            })
            .collect()
    }

    /// Where the frame begins, below the legend.
    fn top(&self) -> f64 {
        self.places().last().map_or(TOP, |(.., y)| TOP + y - 10.0)
    }

    fn legend(&self, svg: &mut String) {
        for (index, name, x, y) in self.places() {
            let _ = write!(
                svg,
                "<rect class=\"key s{index}\" x=\"{x:.1}\" y=\"{y}\" width=\"10\" height=\"10\"/><text x=\"{:.1}\" y=\"{}\">{}</text>",
                x + 14.0,
                y + 9.5,
                escape(name)
            );
        }
    }
}

/// As many points as can be told apart, with the last one.
fn thinned(points: &[(f64, f64)]) -> impl Iterator<Item = &(f64, f64)> {
    let step = points.len().div_ceil(POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().filter(move |(at, _)| at % step == 0 || *at == last).map(|(_, point)| point)
}

/// Where a number stands between two others, at most at their ends.
fn scaled(value: f64, (low, high): (f64, f64)) -> f64 {
    let width = high - low;
    if width > 0.0 && value.is_finite() { ((value - low) / width).clamp(0.0, 1.0) } else { 0.0 }
}

/// About five round numbers between two ends.
fn ticks((low, high): (f64, f64)) -> Vec<f64> {
    let width = high - low;
    // Steps of a width that is nearly nothing would be nothing.
    if !(width > 0.0 && width.is_normal()) {
        return Vec::new();
    }
    let rough = width / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|n| n * power).into_iter().find(|&step| step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    let first = (low / step - 1e-9).ceil() as i64;
    let last = (high / step + 1e-9).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(ticks((0.0, 100.0)), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks((-7.3, 4.0)), [-5.0, -2.5, 0.0, 2.5]);
        assert!(ticks((1.0, 1.0)).is_empty() && ticks((0.0, f64::NAN)).is_empty());
        assert_eq!(number(-0.0), "0");
        assert_eq!(number(0.30000000000000004), "0.3");
        assert_eq!(number(1_234_567.0), "1234567");
    }

    #[test]
    fn a_long_legend_takes_another_line() {
        let series = |name: &str| (name.to_owned(), Series::Line(Vec::new()));
        let one = Chart { series: vec![series("exact"), series("F1")], ..Chart::default() };
        assert_eq!(one.top(), TOP);
        let names = ["exact", "F1", "F1, has answer", "right, no answer"];
        let two = Chart { series: names.map(series).to_vec(), ..Chart::default() };
        assert_eq!(two.top(), TOP + LINE);
        for (_, name, x, _) in two.places() {
            assert!(x + 14.0 + LETTER * name.len() as f64 <= WIDTH - RIGHT, "{name}");
        }
    }

    #[test]
    fn ticks_of_small_numbers_can_be_told_apart() {
        let labels = |ends| ticks(ends).into_iter().map(number).collect::<Vec<_>>();
        assert_eq!(labels((0.0, 5e-5)), ["0", "1e-5", "2e-5", "3e-5", "4e-5", "5e-5"]);
        assert_eq!(labels((0.0, 0.0125)), ["0", "0.0025", "0.005", "0.0075", "0.01", "0.0125"]);
        assert!(ticks((0.0, 5e-324)).is_empty());
    }

    #[test]
    fn lone_points_and_scattered_ones_are_dots() {
        let chart = |series| Chart {
            x: (0.0, 1.0),
            y: (0.0, 1.0),
            series: vec![(String::new(), series)],
            ..Chart::default()
        };
        let (one, two) = (vec![(0.5, 0.5)], vec![(0.0, 0.0), (1.0, 1.0)]);
        let count = |series, what| chart(series).svg().matches(what).count();
        assert_eq!(count(Series::Line(one.clone()), "h0"), 1);
        assert_eq!(count(Series::Line(two.clone()), "h0"), 0);
        assert_eq!(count(Series::Cloud(two.clone()), "h0"), 2);
        assert_eq!(count(Series::Cloud(two.clone()), "class=\"line"), 0);
        assert_eq!(count(Series::Dotted(two.clone()), "h0"), 2);
        assert_eq!(count(Series::Dotted(two.clone()), "class=\"line"), 1);
        assert_eq!(count(Series::Rings(two), "<circle"), 2);
    }

    #[test]
    fn a_chart_stays_in_its_frame_and_holds_no_markup_of_others() {
        let chart = Chart {
            title: "<script>".into(),
            x: (0.0, 1.0),
            y: (0.0, 1.0),
            series: vec![
                (
                    "a\"b".into(),
                    Series::Line((0..2000).map(|n| (f64::from(n) / 1000.0, f64::INFINITY)).collect()),
                ),
                (String::new(), Series::Bars(vec![(0.0, 0.5, 2.0)])),
                (String::new(), Series::Line(Vec::new())),
            ],
            ..Chart::default()
        };
        let svg = chart.svg();
        assert!(!svg.contains("script>") || svg.contains("&lt;script&gt;"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(svg.len() < 16_000, "{}", svg.len());
    }
}
