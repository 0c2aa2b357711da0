//! How far a run has come, and what came of it: on standard error.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::output::Outcome;
use crate::cli::{progress, terminal};

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressArg {
    /// A bar on a terminal, lines elsewhere
    Auto,
    /// A line from time to time
    Plain,
    /// A JSON object from time to time and at the end
    Json,
    /// Only the summary
    Off,
}

/// What has been counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub requests: u64,
    pub answered: u64,
    pub no_answer: u64,
    pub errors: u64,
    /// Of the requests, those that an earlier run had done.
    pub resumed: u64,
    pub windows: u64,
    pub tokens: u64,
    /// Time inside the model.
    pub model: Duration,
}

impl Tally {
    /// Counts a record of an earlier run.
    pub fn resumed(&mut self, outcome: Outcome) {
        self.requests += 1;
        self.resumed += 1;
        match outcome {
            Outcome::Answered => self.answered += 1,
            Outcome::NotAnswered => self.no_answer += 1,
            Outcome::Error => self.errors += 1,
            Outcome::Unknown => {}
        }
    }
}

/// Tells a person or a program.
pub struct Report {
    pub tally: Tally,
    form: Form,
    quiet: bool,
    started: Instant,
    last: Instant,
    /// Bytes there are to read.
    size: Option<u64>,
    /// Bytes of requests that have been dealt with.
    position: u64,
    /// Of these, the ones that an earlier run had dealt with.
    skipped: u64,
}

enum Form {
    Bar(ProgressBar),
    Lines(Duration),
    Json(Duration),
    Off,
}

/// Rarely enough for a log.
const LINE_EVERY: Duration = Duration::from_secs(10);
const JSON_EVERY: Duration = Duration::from_secs(1);
const BAR_EVERY: Duration = Duration::from_millis(100);

impl Report {
    pub fn new(arg: ProgressArg, quiet: bool, size: Option<u64>) -> Self {
        let form = match arg {
            _ if quiet => Form::Off,
            ProgressArg::Off => Form::Off,
            ProgressArg::Plain => Form::Lines(LINE_EVERY),
            ProgressArg::Json => Form::Json(JSON_EVERY),
            ProgressArg::Auto if io::stderr().is_terminal() => {
                Form::Bar(ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr()))
            }
            ProgressArg::Auto => Form::Lines(LINE_EVERY),
        };
        if let Form::Bar(bar) = &form {
            let template = if size.is_some() { "{bar:30} {percent}%  {msg}" } else { "{spinner} {msg}" };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        let now = Instant::now();
        Self { tally: Tally::default(), form, quiet, started: now, last: now, size, position: 0, skipped: 0 }
    }

    /// Says something once, above the bar if there is one.
    pub fn note(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.form {
            Form::Bar(bar) => bar.suspend(|| terminal::note(text)),
            _ => terminal::note(text),
        }
    }

    /// Requests up to that byte of the input were dealt with by an earlier run, and time counts from now.
    pub fn starts_at(&mut self, position: u64) {
        (self.position, self.skipped) = (position, position);
        self.started = Instant::now();
    }

    /// Requests up to that byte of the input have been dealt with.
    pub fn reached(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Shows how far it is, if that was not done just now.
    pub fn tick(&mut self) {
        let every = match &self.form {
            Form::Bar(_) => BAR_EVERY,
            Form::Lines(every) | Form::Json(every) => *every,
            Form::Off => return,
        };
        if self.last.elapsed() < every {
            return;
        }
        self.last = Instant::now();
        match &self.form {
            Form::Bar(bar) => {
                bar.set_position(self.position);
                bar.set_message(self.line());
            }
            Form::Lines(_) => eprintln!("{}", self.line()),
            Form::Json(_) => self.json("progress"),
            Form::Off => {}
        }
    }

    fn line(&self) -> String {
        let rates = self.rates();
        let mut line = format!(
            "{} requests, {:.1}/s, {} tokens/s",
            HumanCount(self.tally.requests),
            rates.requests_per_second,
            HumanCount(rates.tokens_per_second as u64)
        );
        if self.tally.errors > 0 {
            line.push_str(&format!(", {} errors", HumanCount(self.tally.errors)));
        }
        let left = rates.seconds_left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        line + &left.map_or(String::new(), progress::left)
    }

    fn rates(&self) -> Rates {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-3);
        let done = (self.tally.requests - self.tally.resumed) as f64;
        let fresh = self.position - self.skipped;
        let left = self
            .size
            .filter(|_| fresh > 0 && done > 0.0)
            .map(|size| seconds * size.saturating_sub(self.position) as f64 / fresh as f64);
        Rates {
            seconds,
            requests_per_second: done / seconds,
            tokens_per_second: self.tally.tokens as f64 / seconds,
            model_share: (self.tally.model.as_secs_f64() / seconds).min(1.0),
            seconds_left: left,
        }
    }

    fn json(&self, event: &'static str) {
        let Tally { requests, answered, no_answer, errors, resumed, windows, tokens, .. } = self.tally;
        let rates = self.rates();
        let state = State { event, requests, answered, no_answer, errors, resumed, windows, tokens, rates };
        if let Ok(line) = serde_json::to_string(&state) {
            eprintln!("{line}");
        }
    }

    /// Says what came of it all.
    pub fn summary(&mut self) {
        if self.quiet {
            return;
        }
        match &self.form {
            Form::Json(_) => return self.json("summary"),
            Form::Bar(bar) => bar.finish_and_clear(),
            Form::Lines(_) | Form::Off => {}
        }
        let tally = &self.tally;
        let rates = self.rates();
        let resumed = match tally.resumed {
            0 => String::new(),
            resumed => format!(" ({} of them by an earlier run)", HumanCount(resumed)),
        };
        eprintln!(
            "{} requests{resumed}: {} answered, {} no answer, {} errors; {} windows, {} tokens in {:.1} s \
             ({:.1} requests/s, {} tokens/s, {:.0} % of the time in the model)",
            HumanCount(tally.requests),
            HumanCount(tally.answered),
            HumanCount(tally.no_answer),
            HumanCount(tally.errors),
            HumanCount(tally.windows),
            HumanCount(tally.tokens),
            rates.seconds,
            rates.requests_per_second,
            HumanCount(rates.tokens_per_second as u64),
            100.0 * rates.model_share,
        );
    }
}

#[derive(Serialize)]
struct State {
    event: &'static str,
    requests: u64,
    answered: u64,
    no_answer: u64,
    errors: u64,
    resumed: u64,
    windows: u64,
    tokens: u64,
    #[serde(flatten)]
    rates: Rates,
}

#[derive(Serialize)]
struct Rates {
    seconds: f64,
    requests_per_second: f64,
    tokens_per_second: f64,
    model_share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_is_said_to_be_left_before_anything_is_done() {
        let mut report = Report::new(ProgressArg::Off, true, Some(1000));
        assert!(!report.line().contains("left"), "{}", report.line());
        report.tally.requests += 1;
        report.reached(1);
        report.started -= Duration::from_secs(1);
        assert!(report.line().ends_with(" minutes left"), "{}", report.line());
    }

    /// What an earlier run did took none of this one's time.
    #[test]
    fn the_time_left_counts_what_this_run_has_done() {
        let mut report = Report::new(ProgressArg::Off, true, Some(1000));
        report.tally.resumed(Outcome::Answered);
        report.starts_at(900);
        assert!(report.rates().seconds_left.is_none());
        report.tally.requests += 1;
        report.reached(950);
        report.started -= Duration::from_secs(100);
        let left = report.rates().seconds_left.unwrap();
        // Fifty bytes took a hundred seconds, and fifty are left.
        assert!((99.0..110.0).contains(&left), "{left}");
    }
}
