//! A line for each request on standard error.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;
use spanqa::serve::{Entry, Log};

use crate::cli::{clock, terminal};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    None,
    Text,
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            LogFormat::None => "none",
            LogFormat::Text => "text",
            LogFormat::Json => "json",
        })
    }
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(LogFormat::None),
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("`{text}` is no way to log: expected none, text, json")),
        }
    }
}

impl LogFormat {
    /// What writes the lines, if any are wanted.
    pub fn lines(self) -> io::Result<Option<Lines>> {
        Ok(match self {
            LogFormat::None => None,
            LogFormat::Text => {
                Some(Lines::new(text, |lost| format!("{} {lost} lines are missing", now()), io::stderr())?)
            }
            LogFormat::Json => Some(Lines::new(
                object,
                |lost| json!({"time": now(), "missing_lines": lost}).to_string(),
                io::stderr(),
            )?),
        })
    }
}

/// Lines on their way. They have a thread of their own, as whoever reads them may be slow, or stop reading: that is no reason to keep
/// requests waiting. What finds too many before it is left out, and the next line says so.
pub struct Lines {
    line: fn(&Entry) -> String,
    sender: SyncSender<Message>,
    lost: Arc<AtomicUsize>,
}

enum Message {
    Line(String),
    /// All lines before this have been written.
    Done(Sender<()>),
}

/// Lines that may wait.
const WAITING: usize = 4096;

/// How long the program's end may wait for them.
const END: Duration = Duration::from_secs(1);

impl Lines {
    fn new(
        line: fn(&Entry) -> String,
        missing: fn(usize) -> String,
        out: impl Write + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, messages) = sync_channel(WAITING);
        let lost = Arc::<AtomicUsize>::default();
        let counted = lost.clone();
        thread::Builder::new().name("log".into()).spawn(move || write(&messages, &counted, missing, out))?;
        Ok(Self { line, sender, lost })
    }

    /// What takes the requests.
    pub fn log(&self) -> Log {
        let (line, sender, lost) = (self.line, self.sender.clone(), self.lost.clone());
        Box::new(move |entry| {
            if sender.try_send(Message::Line(line(entry))).is_err() {
                lost.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let (sender, done) = channel();
        if self.sender.try_send(Message::Done(sender)).is_ok() {
            // If they are not read, they are lost.
            let _ = done.recv_timeout(END);
        }
    }
}

fn write(
    messages: &Receiver<Message>,
    lost: &AtomicUsize,
    missing: fn(usize) -> String,
    mut out: impl Write,
) {
    for message in messages {
        match message {
            Message::Line(line) => {
                // Whoever reads the log may go away; the lines are taken all the same.
                let _ = match lost.swap(0, Ordering::Relaxed) {
                    0 => writeln!(out, "{line}"),
                    lost => writeln!(out, "{}\n{line}", missing(lost)),
                };
            }
            Message::Done(sender) => drop(sender.send(())),
        }
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(clock::wall()).to_string()
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn text(entry: &Entry) -> String {
    let Entry { id, method, path, status, error, total, queue, inference, tokens, questions } = entry;
    let mut line = format!("{} {status} {method} {} {:.1} ms", now(), terminal::name(path), millis(*total));
    if *tokens > 0 {
        let (queue, inference) = (millis(*queue), millis(*inference));
        line += &format!(" ({queue:.1} waiting, {inference:.1} in the model, {tokens} tokens)");
    }
    if let Some(error) = error {
        line += &format!(" {error}");
    }
    line += &format!(" {id}");
    for question in questions {
        line += &format!(" \"{}\"", terminal::flowing(question));
    }
    line
}

fn object(entry: &Entry) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        id: &'a str,
        method: &'a str,
        path: &'a str,
        status: u16,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<&'a str>,
        total_ms: f64,
        queue_ms: f64,
        inference_ms: f64,
        tokens: usize,
        #[serde(skip_serializing_if = "<[String]>::is_empty")]
        questions: &'a [String],
    }
    let line = Line {
        time: now(),
        id: &entry.id,
        method: &entry.method,
        path: &entry.path,
        status: entry.status,
        error: entry.error,
        total_ms: millis(entry.total),
        queue_ms: millis(entry.queue),
        inference_ms: millis(entry.inference),
        tokens: entry.tokens,
        questions: &entry.questions,
    };
    // All of it is texts and numbers.
    serde_json::to_string(&line).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            id: "a-1".into(),
            method: "POST".into(),
            path: "/v1/answer\u{1b}".into(),
            status: 200,
            error: None,
            total: Duration::from_micros(12_345),
            queue: Duration::ZERO,
            inference: Duration::from_millis(10),
            tokens: 7,
            questions: vec!["who\nis it?".into()],
        }
    }

    #[test]
    fn a_request_is_a_line_without_power_over_a_terminal() {
        let line = text(&entry());
        assert!(line.contains("200 POST /v1/answer"), "{line}");
        assert!(line.contains("12.3 ms (0.0 waiting, 10.0 in the model, 7 tokens) a-1"), "{line}");
        assert!(!line.contains(['\u{1b}', '\n']), "{line:?}");
    }

    /// A reader that may be made to wait, and to go on.
    struct Slow(Arc<(std::sync::Mutex<Vec<u8>>, std::sync::Barrier)>, bool);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, gate) = &*self.0;
            if !std::mem::replace(&mut self.1, true) {
                gate.wait();
                gate.wait();
            }
            written.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_reader_keeps_nobody_waiting_and_hears_what_is_missing() {
        let shared = Arc::new((std::sync::Mutex::new(Vec::new()), std::sync::Barrier::new(2)));
        let lines =
            Lines::new(|entry| entry.id.clone(), |lost| format!("lost {lost}"), Slow(shared.clone(), false))
                .unwrap();
        let log = lines.log();
        log(&entry());
        // The first one is being written, and nobody reads it.
        shared.1.wait();
        (0..WAITING + 3).for_each(|_| log(&entry()));
        shared.1.wait();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while shared.0.lock().unwrap().len() < WAITING && std::time::Instant::now() < end {
            thread::yield_now();
        }
        drop((log, lines));
        let written = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert_eq!(written.lines().filter(|line| *line == "a-1").count(), WAITING + 1);
        assert_eq!(written.lines().filter(|line| *line == "lost 3").count(), 1);
    }

    #[test]
    fn a_request_is_an_object() {
        let line: serde_json::Value = serde_json::from_str(&object(&entry())).unwrap();
        assert_eq!(line["total_ms"], 12.345);
        assert_eq!(line["questions"][0], "who\nis it?");
        assert!(line.get("error").is_none());
    }
}
