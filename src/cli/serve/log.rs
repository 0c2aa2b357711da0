//! A line for each request on standard error.

use std::fmt;
use std::io::Write;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::Serialize;
use spanqa::serve::{Entry, Log};

use crate::cli::terminal;

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
    pub fn writer(self) -> Option<Log> {
        let line: fn(&Entry) -> String = match self {
            LogFormat::None => return None,
            LogFormat::Text => text,
            LogFormat::Json => json,
        };
        // Whoever reads the log may go away; that is no reason to stop answering.
        Some(Box::new(move |entry| drop(writeln!(std::io::stderr(), "{}", line(entry)))))
    }
}

fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
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

fn json(entry: &Entry) -> String {
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

    #[test]
    fn a_request_is_an_object() {
        let line: serde_json::Value = serde_json::from_str(&json(&entry())).unwrap();
        assert_eq!(line["total_ms"], 12.345);
        assert_eq!(line["questions"][0], "who\nis it?");
        assert!(line.get("error").is_none());
    }
}
