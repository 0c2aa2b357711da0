//! Rankings as they are printed: JSON for programs, passages for people, `file:line:column` for editors.

use std::io::Write;
use std::ops::Range;

use anyhow::Result;
use clap::ValueEnum;
use spanqa::request::reply::DocumentId;
use spanqa::rerank::{Corpus, Item, Record};
use spanqa::text::sentences::around;

use crate::cli::output::color::{ColorArg, Palette};
use crate::cli::output::wrap::wrap;
use crate::cli::output::{self, json};
use crate::cli::terminal::{self, flowing, one_line};

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A record with all passages: indented on a terminal, one line in a pipe
    Json,
    /// A line of JSON for each passage
    Jsonl,
    /// The passages, with where they stand
    Text,
    /// file:line:column: passage
    Grep,
}

impl From<output::Format> for Format {
    /// What suits whoever wants this format of answers.
    fn from(usual: output::Format) -> Self {
        match usual {
            output::Format::Text => Format::Text,
            output::Format::Grep => Format::Grep,
            output::Format::Json | output::Format::Hf => Format::Json,
        }
    }
}

/// Bytes of a passage that people are shown: all of it, unless it is a whole file.
const SHOWN: usize = 800;

/// Prints rankings in one format.
pub struct Printer {
    format: Format,
    palette: Palette,
    json: json::Style,
    width: Option<usize>,
}

impl Printer {
    pub fn new(format: Format, color: ColorArg) -> Self {
        let (palette, json) = (Palette::new(color), json::Style::new(color));
        Self { format, palette, json, width: terminal::width() }
    }

    /// Prints a ranking.
    pub fn print(&self, record: &Record, corpus: &Corpus, out: &mut dyn Write) -> Result<()> {
        match self.format {
            Format::Json => self.json.write(record, out)?,
            Format::Jsonl => {
                for item in &record.results {
                    serde_json::to_writer(&mut *out, item)?;
                    out.write_all(b"\n")?;
                }
            }
            Format::Text => self.text(record, corpus, out)?,
            Format::Grep => self.grep(record, out)?,
        }
        Ok(())
    }

    fn text(&self, record: &Record, corpus: &Corpus, out: &mut dyn Write) -> Result<()> {
        let Palette { strong, dim, reset, .. } = self.palette;
        self.line(0, &format!("{dim}{}{reset}", one_line(record.query)), out)?;
        if record.results.is_empty() {
            self.line(2, &format!("{strong}no passage{reset} {dim}of {}{reset}", record.passages), out)?;
        }
        if record.read.is_some_and(|read| read < record.passages) {
            self.line(2, &format!("{dim}{}{reset}", unread(record)), out)?;
        }
        for item in &record.results {
            self.line(2, &self.shown(item), out)?;
            let sheet = item.place.as_ref().and_then(|place| place.source.as_ref()?.page);
            let sheet = sheet.map_or(String::new(), |number| format!("  page {number}"));
            let place = name(item, corpus);
            let numbers = numbers(item);
            self.line(4, &format!("{dim}{}. {place}{sheet}{numbers}{reset}", item.rank), out)?;
        }
        Ok(())
    }

    /// A passage as it flows, with its best span marked; of long ones what is around it, or the beginning.
    fn shown(&self, item: &Item) -> String {
        let Palette { answer: strong, reset, .. } = self.palette;
        let (open, close) = if self.palette.is_plain() { ("⟦", "⟧") } else { ("", "") };
        let answer = item
            .answer
            .map(|answer| answer.bytes.start - item.bytes.start..answer.bytes.end - item.bytes.start);
        let range = match &answer {
            _ if item.text.len() <= SHOWN => 0..item.text.len(),
            Some(answer) => around(item.text, answer, 1).sentence,
            None => 0..beginning(item.text).len(),
        };
        let piece = |range: Range<usize>| flowing(&item.text[range]);
        let (before, after) = (
            if range.start > 0 { "... " } else { "" },
            if range.end < item.text.len() { " ..." } else { "" },
        );
        let shown = match answer {
            Some(answer) => format!(
                "{}{strong}{open}{}{close}{reset}{}",
                piece(range.start..answer.start),
                piece(answer.clone()),
                piece(answer.end..range.end)
            ),
            None => piece(range),
        };
        format!("{before}{}{after}", shown.trim())
    }

    fn grep(&self, record: &Record, out: &mut dyn Write) -> Result<()> {
        let Palette { name, reset, .. } = self.palette;
        for item in &record.results {
            let Some(place) = &item.place else { continue };
            let document = terminal::name(&place.document.to_string()).into_owned();
            let shown = flowing(beginning(item.text));
            writeln!(out, "{name}{document}{reset}:{}:{}: {}", place.line, place.column, shown.trim())?;
        }
        Ok(())
    }

    /// One line, or several on a narrow terminal.
    fn line(&self, indent: usize, text: &str, out: &mut dyn Write) -> Result<()> {
        Ok(writeln!(out, "{}", wrap(text, indent, self.width))?)
    }
}

/// As much of a passage as people are shown.
fn beginning(text: &str) -> &str {
    let end = (0..=SHOWN.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}

/// Where a passage stands.
fn name(item: &Item, corpus: &Corpus) -> String {
    let Some(place) = &item.place else { return String::new() };
    let document = match place.document {
        DocumentId::Path(path) => terminal::name(path).into_owned(),
        DocumentId::Index(_) if corpus.documents() == 1 => "(text)".into(),
        DocumentId::Index(index) => format!("(text {})", index + 1),
    };
    format!("{document}:{}:{}", place.line, place.column)
}

/// The score and what it means.
fn numbers(item: &Item) -> String {
    let score = item.score.map_or("no score".into(), |score| format!("score {score:.3}"));
    match (item.probability, item.answer) {
        (Some(probability), _) => format!("  {score}  probability {probability:.3}"),
        (None, Some(answer)) => format!("  margin {:+.2}  probability {:.3}", answer.margin, answer.score),
        (None, None) => format!("  {score}"),
    }
}

/// How much a model read, where that was not everything.
pub fn unread(record: &Record) -> String {
    let read = record.read.unwrap_or(record.passages);
    format!(
        "read {read} of {} passages, those with most words of the question; `--read all` reads the rest",
        record.passages
    )
}
