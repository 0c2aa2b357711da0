//! How far a run has come, and what came of it: on standard error.

use std::time::Duration;

use indicatif::HumanCount;
use serde::Serialize;

use super::output::Outcome;
use crate::cli::meter::{Meter, ProgressArg, Say};
use crate::cli::progress;

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

    fn say(&self, meter: &Meter, say: Say, event: &'static str) -> String {
        match say {
            Say::Words => self.line(meter),
            Say::Json => self.json(meter, event),
        }
    }

    fn line(&self, meter: &Meter) -> String {
        let rates = self.rates(meter);
        let mut line = format!(
            "{} requests, {:.1}/s, {} tokens/s",
            HumanCount(self.requests),
            rates.requests_per_second,
            HumanCount(rates.tokens_per_second as u64)
        );
        if self.errors > 0 {
            line.push_str(&format!(", {} errors", HumanCount(self.errors)));
        }
        let left = rates.seconds_left.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        line + &left.map_or(String::new(), progress::left)
    }

    fn rates(&self, meter: &Meter) -> Rates {
        let seconds = meter.seconds();
        let done = (self.requests - self.resumed) as f64;
        Rates {
            seconds,
            requests_per_second: done / seconds,
            tokens_per_second: self.tokens as f64 / seconds,
            model_share: (self.model.as_secs_f64() / seconds).min(1.0),
            seconds_left: meter.seconds_left().filter(|_| done > 0.0),
        }
    }

    fn json(&self, meter: &Meter, event: &'static str) -> String {
        let Self { requests, answered, no_answer, errors, resumed, windows, tokens, .. } = *self;
        let rates = self.rates(meter);
        let state = State { event, requests, answered, no_answer, errors, resumed, windows, tokens, rates };
        // Numbers and names always have a JSON form.
        serde_json::to_string(&state).unwrap_or_default()
    }

    fn summary(&self, meter: &Meter) -> String {
        let rates = self.rates(meter);
        let resumed = match self.resumed {
            0 => String::new(),
            resumed => format!(" ({} of them by an earlier run)", HumanCount(resumed)),
        };
        format!(
            "{} requests{resumed}: {} answered, {} no answer, {} errors; {} windows, {} tokens in {:.1} s \
             ({:.1} requests/s, {} tokens/s, {:.0} % of the time in the model)",
            HumanCount(self.requests),
            HumanCount(self.answered),
            HumanCount(self.no_answer),
            HumanCount(self.errors),
            HumanCount(self.windows),
            HumanCount(self.tokens),
            rates.seconds,
            rates.requests_per_second,
            HumanCount(rates.tokens_per_second as u64),
            100.0 * rates.model_share,
        )
    }
}

/// Tells a person or a program.
pub struct Report {
    pub tally: Tally,
    meter: Meter,
}

impl Report {
    pub fn new(arg: ProgressArg, quiet: bool, size: Option<u64>) -> Self {
        Self { tally: Tally::default(), meter: Meter::new(arg, quiet, size) }
    }

    /// Says something once, above the bar if there is one.
    pub fn note(&self, text: &str) {
        self.meter.note(text);
    }

    /// Requests up to that byte of the input were dealt with by an earlier run, and time counts from now.
    pub fn starts_at(&mut self, position: u64) {
        self.meter.starts_at(position);
    }

    /// Requests up to that byte of the input have been dealt with.
    pub fn reached(&mut self, position: u64) {
        self.meter.reached(position);
    }

    /// Shows how far it is, if that was not done just now.
    pub fn tick(&mut self) {
        self.meter.tick(|meter, say| self.tally.say(meter, say, "progress"));
    }

    /// Says what came of it all.
    pub fn summary(&mut self) {
        self.meter.summary(|say| match say {
            Say::Words => self.tally.summary(&self.meter),
            Say::Json => self.tally.json(&self.meter, "summary"),
        });
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
        let (mut tally, mut meter) = (Tally::default(), Meter::new(ProgressArg::Off, true, Some(1000)));
        assert!(!tally.line(&meter).contains("left"), "{}", tally.line(&meter));
        tally.requests += 1;
        meter.reached(1);
        meter.runs_since(Duration::from_secs(1));
        assert!(tally.line(&meter).ends_with(" minutes left"), "{}", tally.line(&meter));
    }

    /// What an earlier run did took none of this one's time.
    #[test]
    fn the_time_left_counts_what_this_run_has_done() {
        let (mut tally, mut meter) = (Tally::default(), Meter::new(ProgressArg::Off, true, Some(1000)));
        tally.resumed(Outcome::Answered);
        meter.starts_at(900);
        assert!(tally.rates(&meter).seconds_left.is_none());
        tally.requests += 1;
        meter.reached(950);
        meter.runs_since(Duration::from_secs(100));
        let left = tally.rates(&meter).seconds_left.unwrap();
        // Fifty bytes took a hundred seconds, and fifty are left.
        assert!((99.0..110.0).contains(&left), "{left}");
    }
}
