//! A bar on standard error for work that takes long enough to wonder about.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use spanqa::reader::Progress;
use spanqa::squad::run::RunProgress;

/// Fewer windows are read before a bar could be looked at.
const WORTH_SHOWING: usize = 24;

/// A bar over windows, drawn only on a terminal.
pub struct WindowBar {
    bar: Option<ProgressBar>,
    wanted: bool,
}

impl WindowBar {
    /// A bar that appears if the work turns out to be long.
    pub fn new(quiet: bool) -> Self {
        Self { bar: None, wanted: !quiet && io::stderr().is_terminal() }
    }

    /// Shows how far the work has come.
    pub fn update(&mut self, progress: Progress) {
        if !self.wanted || progress.total < WORTH_SHOWING {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar =
                ProgressBar::with_draw_target(Some(progress.total as u64), ProgressDrawTarget::stderr());
            let template = "reading {bar:30} {pos}/{len} windows, {msg}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        bar.set_position(progress.done as u64);
        let seconds = bar.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        bar.set_message(format!("{:.0} tokens/s", progress.tokens as f64 / seconds));
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A bar over the questions of a long run: drawn on a terminal, and a plain line now and then elsewhere.
pub struct QuestionBar {
    bar: Option<ProgressBar>,
    before: usize,
    total: usize,
    started: Instant,
    said: Instant,
    quiet: bool,
}

/// How often a plain line is written.
const PLAIN_LINE_EVERY: Duration = Duration::from_secs(30);

impl QuestionBar {
    /// A bar for `total` questions of which `before` were answered earlier.
    pub fn new(total: usize, before: usize, quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
            let template = "asking {bar:30} {pos}/{len} questions, {msg}, {eta} left";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.with_position(before as u64)
        });
        let now = Instant::now();
        Self { bar, before, total, started: now, said: now, quiet }
    }

    /// Shows how far the run has come.
    pub fn update(&mut self, progress: RunProgress) {
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let speed = progress.tokens as f64 / seconds;
        let done = self.before + progress.questions;
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(format!("{speed:.0} tokens/s"));
        } else if !self.quiet && self.said.elapsed() >= PLAIN_LINE_EVERY {
            self.said = Instant::now();
            eprintln!("asked {done} of {} questions, {speed:.0} tokens/s", self.total);
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
