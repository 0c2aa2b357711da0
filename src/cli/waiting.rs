//! A line on a terminal for work of which nobody knows how long it takes. It appears when that turns out to be a while.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;

/// Who waits longer than this wonders what for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Names what is being read, until it is dropped. Whoever reads is busy, so a thread of its own draws.
pub struct Waiting {
    names: Option<Sender<String>>,
    drawing: Option<JoinHandle<()>>,
}

impl Waiting {
    /// Nothing is drawn where nobody looks.
    pub fn new(quiet: bool) -> Self {
        if quiet || !io::stderr().is_terminal() {
            return Self { names: None, drawing: None };
        }
        let (names, told) = channel();
        let drawing = std::thread::Builder::new().spawn(move || follow(&told, PATIENCE, &mut draw()));
        Self { names: Some(names), drawing: drawing.ok() }
    }

    /// Says what is read from now on.
    pub fn reading(&self, name: &str) {
        if let Some(names) = &self.names {
            // Without a thread nothing is drawn.
            let _ = names.send(format!("reading {}", terminal::name(name)));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.names = None;
        if let Some(drawing) = self.drawing.take() {
            let _ = drawing.join();
        }
    }
}

/// Shows lines, the last one for a start, once the patience is over, and `None` at the end.
fn follow(lines: &Receiver<String>, patience: Duration, show: &mut dyn FnMut(Option<&str>)) {
    let Ok(mut line) = lines.recv() else { return };
    let started = Instant::now();
    loop {
        match lines.recv_timeout(patience.saturating_sub(started.elapsed())) {
            Ok(next) => line = next,
            Err(RecvTimeoutError::Timeout) => break,
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
    show(Some(&line));
    while let Ok(next) = lines.recv() {
        show(Some(&next));
    }
    show(None);
}

/// Draws lines in the place of one another.
fn draw() -> impl FnMut(Option<&str>) {
    let mut bar: Option<ProgressBar> = None;
    move |line| match line {
        Some(line) => {
            let bar = bar.get_or_insert_with(|| {
                let style = ProgressStyle::with_template("{wide_msg}");
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
            });
            bar.set_message(line.to_owned());
            bar.tick();
        }
        None => bar.iter().for_each(ProgressBar::finish_and_clear),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown when these names are told one after another, each when the one before is on the screen.
    fn shown(names: &[&str], patience: Duration) -> Vec<Option<String>> {
        let (teller, told) = channel();
        let mut rest = names.iter();
        let mut tell = rest.next().map(|first| {
            teller.send((*first).to_owned()).unwrap();
            teller
        });
        let mut shown = Vec::new();
        // With patience everything is over before it ends.
        if !patience.is_zero() {
            tell = None;
        }
        follow(&told, patience, &mut |line| {
            shown.push(line.map(str::to_owned));
            match rest.next() {
                Some(next) => tell.as_ref().unwrap().send((*next).to_owned()).unwrap(),
                None => tell = None,
            }
        });
        shown
    }

    #[test]
    fn what_is_read_is_named_once_it_takes_a_while() {
        let expected = [Some("a".to_owned()), Some("b".to_owned()), None];
        assert_eq!(shown(&["a", "b"], Duration::ZERO), expected);
        assert!(shown(&["a", "b"], Duration::from_secs(3600)).is_empty(), "it was done before");
        assert!(shown(&[], Duration::ZERO).is_empty());
    }
}
