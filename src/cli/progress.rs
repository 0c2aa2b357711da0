//! A bar on standard error for work that takes long enough to wonder about.

use std::fmt::Write;
use std::io::{self, IsTerminal};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use spanqa::eval::run::RunProgress;
use spanqa::reader::Progress;
use spanqa::source::{Download, DownloadEvent, Watcher};
use spanqa::train::journal::Record;

use super::terminal;

/// Draws a bar for each file that is fetched.
pub fn downloads() -> Watcher {
    let bar: Mutex<Option<ProgressBar>> = Mutex::default();
    Watcher::new(move |download| {
        // A bar that another thread gave up in the middle is still a bar.
        let mut bar = bar.lock().unwrap_or_else(|broken| broken.into_inner());
        show(&mut bar, download);
    })
}

fn show(bar: &mut Option<ProgressBar>, Download { file, event }: Download) {
    if event == DownloadEvent::Ended {
        if let Some(bar) = bar.take() {
            bar.finish_and_clear();
        }
        return;
    }
    let bar = bar.get_or_insert_with(|| {
        let template = "{msg:30} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}{left}";
        ProgressBar::no_length().with_style(style(template)).with_message(file.to_owned())
    });
    match event {
        DownloadEvent::Waiting => {
            bar.set_message(format!("{file}: waiting for another process that fetches it"));
        }
        DownloadEvent::Bytes { have, size } => {
            bar.set_length(size);
            bar.set_position(have);
            if bar.message() != file {
                bar.set_message(file.to_owned());
            }
        }
        DownloadEvent::Started | DownloadEvent::Ended => {}
    }
}

/// A style whose `{left}` is the time that is left, with a comma in front.
fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.with_key("left", |state: &ProgressState, out: &mut dyn Write| {
        // A bar that cannot be drawn is no reason to stop.
        let _ = out.write_str(&left(state.eta()));
    })
}

/// The time that is left, as a bar says it. Nothing as long as nothing is known, which counts as no time, nor at the end.
pub fn left(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        0 => String::new(),
        _ => format!(", {} left", spoken(time)),
    }
}

/// Who waits longer than this wants to know how long.
const WORTH_SHOWING: Duration = Duration::from_secs(3);

/// A bar over windows, drawn only on a terminal.
pub struct WindowBar {
    bar: Option<ProgressBar>,
    wanted: bool,
    started: Instant,
}

impl WindowBar {
    /// A bar that appears if the work turns out to be long.
    pub fn new(quiet: bool) -> Self {
        Self { bar: None, wanted: !quiet && io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Shows how far the work has come.
    pub fn update(&mut self, progress: Progress) {
        if !self.wanted {
            return;
        }
        if self.bar.is_none() {
            match forecast(progress, self.started.elapsed()) {
                Some(whole) if whole >= WORTH_SHOWING => self.begin(progress, whole),
                _ => return,
            }
        }
        let Some(bar) = &self.bar else { return };
        bar.set_position(progress.done as u64);
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        bar.set_message(format!("{:.0} tokens/s", progress.tokens as f64 / seconds));
    }

    /// Says how long it will take, in a line that stays, and starts the bar.
    fn begin(&mut self, progress: Progress, whole: Duration) {
        terminal::note(format!("reading {} windows takes about {}", progress.total, spoken(whole)));
        let bar = ProgressBar::with_draw_target(Some(progress.total as u64), ProgressDrawTarget::stderr());
        bar.set_style(style("reading {wide_bar} {pos}/{len} windows, {msg}{left}"));
        self.bar = Some(bar);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// How long all the work takes, if the rest goes as fast as what is done.
fn forecast(progress: Progress, elapsed: Duration) -> Option<Duration> {
    let whole = elapsed.as_secs_f64() * progress.total as f64 / progress.done as f64;
    // Nothing may be done yet.
    Duration::try_from_secs_f64(whole).ok()
}

/// A length of time as people say it.
/// A bar over bytes of files that are indexed, drawn only on a terminal.
pub struct IndexBar {
    bar: Option<ProgressBar>,
    wanted: bool,
    started: Instant,
}

impl IndexBar {
    /// A bar that appears if the work turns out to be long.
    pub fn new(quiet: bool) -> Self {
        Self { bar: None, wanted: !quiet && io::stderr().is_terminal(), started: Instant::now() }
    }

    /// Shows how much of the files has been read.
    pub fn read(&mut self, bytes: u64, total: u64) {
        self.show(bytes, total, "indexing {wide_bar} {bytes}/{total_bytes} {bytes_per_sec}{left}");
    }

    /// Shows how many passages have their vector.
    pub fn embedded(&mut self, passages: u64, total: u64) {
        self.show(passages, total, "embedding {wide_bar} {pos}/{len} passages, {per_sec}{left}");
    }

    fn show(&mut self, done: u64, total: u64, template: &str) {
        /// Who waits longer than this wonders what for.
        const PATIENCE: Duration = Duration::from_secs(1);
        if !self.wanted || self.bar.is_none() && self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(style(template));
            bar
        });
        bar.set_length(total);
        bar.set_position(done);
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn spoken(time: Duration) -> String {
    match time.as_secs_f64().round() as u64 {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ ..7200 => format!("{} minutes", (seconds + 30) / 60),
        seconds => format!("{} hours", (seconds + 1800) / 3600),
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
            bar.set_style(style("asking {bar:30} {pos}/{len} questions, {msg}{left}"));
            let bar = bar.with_position(before as u64);
            // What was answered earlier took none of this run's time.
            bar.reset_eta();
            bar
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

/// A bar over the steps of a training run: drawn on a terminal, and a plain line now and then elsewhere.
pub struct TrainBar {
    bar: Option<ProgressBar>,
    total: u64,
    first: u64,
    started: Instant,
    said: Instant,
    quiet: bool,
    /// Smoothed: single batches say little.
    loss: Option<f64>,
}

impl TrainBar {
    /// A bar for `total` steps of which `before` were taken earlier.
    pub fn new(total: u64, before: u64, quiet: bool) -> Self {
        let bar = (!quiet && io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(style("training {bar:24} {pos}/{len} steps, {msg}{left}"));
            let bar = bar.with_position(before);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        Self { bar, total, first: before, started: now, said: now, quiet, loss: None }
    }

    /// Shows a step or an evaluation.
    pub fn record(&mut self, record: &Record) {
        if self.quiet {
            return;
        }
        match record {
            Record::Step(step) => {
                const INERTIA: f64 = 0.95;
                let loss = self.loss.map_or(step.loss, |loss| INERTIA * loss + (1.0 - INERTIA) * step.loss);
                self.loss = Some(loss);
                let message =
                    format!("loss {loss:.3}, rate {:.1e}, {:.0} tokens/s", step.rate, step.tokens_per_second);
                if let Some(bar) = &self.bar {
                    bar.set_position(step.step);
                    bar.set_message(message);
                } else if self.said.elapsed() >= PLAIN_LINE_EVERY {
                    self.said = Instant::now();
                    let per_step =
                        self.started.elapsed().as_secs_f64() / (step.step - self.first).max(1) as f64;
                    let minutes = per_step * self.total.saturating_sub(step.step) as f64 / 60.0;
                    eprintln!("step {} of {}, {message}, {minutes:.0} minutes left", step.step, self.total);
                }
            }
            Record::Dev(dev) => {
                let (what, best) = match dev.step {
                    0 => ("the base".to_owned(), ""),
                    step => (format!("step {step}"), if dev.best { ", the best so far" } else { "" }),
                };
                let line = format!("{what}: exact {:.2}, F1 {:.2}{best}", dev.exact, dev.f1);
                match &self.bar {
                    Some(bar) => bar.println(line),
                    None => eprintln!("{line}"),
                }
            }
        }
    }

    /// Shows how far an evaluation has come.
    pub fn asked(&mut self, progress: RunProgress) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("evaluating, {} questions asked", progress.questions));
        }
    }

    /// Takes the bar away.
    pub fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_from_what_is_done() {
        let progress = |done, total| Progress { done, total, tokens: 0, model: Duration::ZERO };
        let second = Duration::from_secs(1);
        assert_eq!(forecast(progress(5, 412), second), Some(Duration::from_secs_f64(82.4)));
        assert_eq!(forecast(progress(7, 7), second), Some(second));
        assert_eq!(forecast(progress(0, 7), second), None);
        assert_eq!(forecast(progress(0, 0), Duration::ZERO), None);
    }

    #[test]
    fn no_time_is_left_before_anything_is_known() {
        assert_eq!(left(Duration::ZERO), "");
        assert_eq!(left(Duration::from_millis(400)), "");
        assert_eq!(left(Duration::from_millis(600)), ", 1 s left");
        assert_eq!(left(Duration::from_secs(600)), ", 10 minutes left");
    }

    #[test]
    fn times_are_said_in_round_numbers() {
        for (seconds, said) in [(3.4, "3 s"), (119.4, "119 s"), (150.0, "3 minutes"), (9000.0, "3 hours")] {
            assert_eq!(spoken(Duration::from_secs_f64(seconds)), said);
        }
    }
}
