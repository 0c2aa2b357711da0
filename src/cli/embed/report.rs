//! How far a run has come, and what came of it: on standard error.

use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use serde::Serialize;

use crate::cli::meter::{Meter, ProgressArg, Say};

/// What has been counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub texts: u64,
    pub truncated: u64,
    pub errors: u64,
    pub tokens: u64,
    /// Time inside the model.
    pub model: Duration,
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

    /// Texts up to that byte of the input have been dealt with.
    pub fn reached(&mut self, position: u64) {
        self.meter.reached(position);
    }

    /// Shows how far it is, if that was not done just now.
    pub fn tick(&mut self) {
        self.meter.tick(|meter, say| match say {
            Say::Words => self.tally.line(meter),
            Say::Json => self.tally.json(meter, "progress"),
        });
    }

    /// Says what came of it all.
    pub fn summary(&self) {
        self.meter.summary(|say| match say {
            Say::Words => self.tally.summary(&self.meter),
            Say::Json => self.tally.json(&self.meter, "summary"),
        });
    }
}

impl Tally {
    fn line(&self, meter: &Meter) -> String {
        let rates = self.rates(meter);
        let mut line = format!(
            "{} texts, {:.1}/s, {} tokens/s",
            HumanCount(self.texts),
            rates.texts_per_second,
            HumanCount(rates.tokens_per_second as u64)
        );
        if self.errors > 0 {
            line.push_str(&format!(", {} errors", HumanCount(self.errors)));
        }
        if let Some(left) = rates.seconds_left {
            line.push_str(&format!(", {} left", HumanDuration(Duration::from_secs_f64(left))));
        }
        line
    }

    fn summary(&self, meter: &Meter) -> String {
        let rates = self.rates(meter);
        format!(
            "{} texts: {} cut, {} errors; {} tokens in {:.1} s ({:.1} texts/s, {} tokens/s, {:.0} % of the time in the model)",
            HumanCount(self.texts),
            HumanCount(self.truncated),
            HumanCount(self.errors),
            HumanCount(self.tokens),
            rates.seconds,
            rates.texts_per_second,
            HumanCount(rates.tokens_per_second as u64),
            100.0 * rates.model_share,
        )
    }

    fn json(&self, meter: &Meter, event: &'static str) -> String {
        let Self { texts, truncated, errors, tokens, .. } = *self;
        let state = State { event, texts, truncated, errors, tokens, rates: self.rates(meter) };
        // Numbers and names always have a JSON form.
        serde_json::to_string(&state).unwrap_or_default()
    }

    fn rates(&self, meter: &Meter) -> Rates {
        let seconds = meter.seconds();
        Rates {
            seconds,
            texts_per_second: self.texts as f64 / seconds,
            tokens_per_second: self.tokens as f64 / seconds,
            model_share: (self.model.as_secs_f64() / seconds).min(1.0),
            seconds_left: meter.seconds_left(),
        }
    }
}

#[derive(Serialize)]
struct State {
    event: &'static str,
    texts: u64,
    truncated: u64,
    errors: u64,
    tokens: u64,
    #[serde(flatten)]
    rates: Rates,
}

#[derive(Serialize)]
struct Rates {
    seconds: f64,
    texts_per_second: f64,
    tokens_per_second: f64,
    model_share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seconds_left: Option<f64>,
}
