//! How far a stream has come, on standard error: a bar, lines, or JSON for programs. What is said is up to the command.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;

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

/// Times a stream, and says when and in which form to tell of it.
pub struct Meter {
    form: Form,
    quiet: bool,
    started: Instant,
    last: Instant,
    /// Bytes there are to read.
    size: Option<u64>,
    /// Bytes of the input that have been dealt with.
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

/// A form of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// For people.
    Words,
    /// For programs.
    Json,
}

/// Rarely enough for a log.
const LINE_EVERY: Duration = Duration::from_secs(10);
const JSON_EVERY: Duration = Duration::from_secs(1);
const BAR_EVERY: Duration = Duration::from_millis(100);

impl Meter {
    /// One for an input of `size` bytes, if that is known.
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
        Self { form, quiet, started: now, last: now, size, position: 0, skipped: 0 }
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

    /// What is before that byte of the input was dealt with by an earlier run, and time counts from now.
    pub fn starts_at(&mut self, position: u64) {
        (self.position, self.skipped) = (position, position);
        self.started = Instant::now();
    }

    /// The input up to that byte has been dealt with.
    pub fn reached(&mut self, position: u64) {
        self.position = self.position.max(position);
    }

    /// Shows how far it is, if that was not done just now.
    pub fn tick(&mut self, say: impl FnOnce(&Self, Say) -> String) {
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
                bar.set_message(say(self, Say::Words));
            }
            Form::Lines(_) => eprintln!("{}", say(self, Say::Words)),
            Form::Json(_) => eprintln!("{}", say(self, Say::Json)),
            Form::Off => {}
        }
    }

    /// Says what came of it all, unless nobody wants to hear.
    pub fn summary(&self, say: impl FnOnce(Say) -> String) {
        if self.quiet {
            return;
        }
        match &self.form {
            Form::Json(_) => return eprintln!("{}", say(Say::Json)),
            Form::Bar(bar) => bar.finish_and_clear(),
            Form::Lines(_) | Form::Off => {}
        }
        eprintln!("{}", say(Say::Words));
    }

    /// As if it had run for so long.
    #[cfg(test)]
    pub fn runs_since(&mut self, time: Duration) {
        self.started -= time;
    }

    /// How long it has run.
    pub fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64().max(1e-3)
    }

    /// How long the rest takes, if it goes as fast as what is done.
    pub fn seconds_left(&self) -> Option<f64> {
        let fresh = self.position - self.skipped;
        let size = self.size.filter(|_| fresh > 0)?;
        Some(self.seconds() * size.saturating_sub(self.position) as f64 / fresh as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an earlier run did took none of this one's time.
    #[test]
    fn the_time_left_counts_what_this_run_has_done() {
        let mut meter = Meter::new(ProgressArg::Off, true, Some(1000));
        meter.starts_at(900);
        assert!(meter.seconds_left().is_none());
        meter.reached(950);
        meter.started -= Duration::from_secs(100);
        let left = meter.seconds_left().unwrap();
        // Fifty bytes took a hundred seconds, and fifty are left.
        assert!((99.0..110.0).contains(&left), "{left}");
    }
}
