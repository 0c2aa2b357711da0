//! What is written for each request: a JSON object a line, or a row of a table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Extra;
use super::lines::Format;
use super::parser::Ticket;
use super::reply::{Id, Reply};
use super::table;

/// A layout that was asked for and makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// JSON has no columns.
    #[error("--columns are for tables")]
    ColumnsWithoutTable,
    /// Records have no such field.
    #[error("there is no column `{name}`")]
    UnknownColumn {
        /// What was asked for.
        name: String,
    },
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// JSON lines.
    Jsonl,
    /// A table with these columns.
    Table {
        /// What stands between cells.
        separator: char,
        /// Their names, in order.
        columns: Vec<String>,
    },
}

/// Columns that are not fields that were passed through.
pub const COLUMNS: &[&str] = &[
    "id",
    "question",
    "question_index",
    "answered",
    "answer",
    "start",
    "end",
    "document",
    "line",
    "column",
    "source",
    "score",
    "margin",
    "no_answer_score",
    "null_odds",
    "windows",
    "model",
    "question_truncated",
    "reason",
    "answers",
    "candidates",
    "why",
    "input_line",
    "file",
    "file_line",
    "error",
    "code",
    "hint",
];

/// Columns of a table unless told otherwise.
const DEFAULT_COLUMNS: &[&str] = &[
    "id",
    "question",
    "answered",
    "answer",
    "start",
    "end",
    "document",
    "score",
    "no_answer_score",
    "code",
    "error",
];

/// Fields that a record has of its own; those of a request do not displace them.
const OWN: &[&str] = &[
    "id",
    "question",
    "question_index",
    "answered",
    "answers",
    "candidates",
    "no_answer_score",
    "null_odds",
    "windows",
    "model",
    "question_truncated",
    "reason",
    "why",
    "line",
    "file",
    "file_line",
    "error",
];

impl Layout {
    /// Checks what was asked for. With `keep`, fields of requests may be columns, too.
    pub fn new(format: Format, columns: &[String], keep: bool) -> Result<Self, LayoutError> {
        let Some(separator) = format.separator() else {
            return if columns.is_empty() {
                Ok(Layout::Jsonl)
            } else {
                Err(LayoutError::ColumnsWithoutTable)
            };
        };
        if let Some(unknown) = columns.iter().find(|name| !keep && !COLUMNS.contains(&name.as_str())) {
            return Err(LayoutError::UnknownColumn { name: unknown.clone() });
        }
        let columns = match columns {
            [] => DEFAULT_COLUMNS.iter().map(|&name| name.to_owned()).collect(),
            _ => columns.to_vec(),
        };
        Ok(Layout::Table { separator, columns })
    }

    /// What stands before the first record.
    pub fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = Vec::new();
        if let Layout::Table { separator, columns } = self {
            table::write_row(columns.iter().map(String::as_str), *separator, &mut header)?;
        }
        Ok(header)
    }

    /// Writes the record of a reply.
    pub fn reply(&self, ticket: &Ticket, reply: &Reply, out: &mut dyn Write) -> io::Result<()> {
        self.write(&Answered { reply, question_index: ticket.index, rest: Rest(&ticket.rest) }, out)
    }

    /// Writes the record of something that could not be answered.
    pub fn error(&self, ticket: &Ticket, failure: &Failure, out: &mut dyn Write) -> io::Result<()> {
        let (file, file_line) = ticket.place.as_ref().map(|(file, line)| (&**file, *line)).unzip();
        let record = Failed {
            line: ticket.line,
            file,
            file_line,
            id: ticket.id.as_ref(),
            question_index: ticket.index,
            error: failure,
            rest: Rest(&ticket.rest),
        };
        self.write(&record, out)
    }

    fn write(&self, record: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
        let mut line = serde_json::to_string(record)?;
        match self {
            Layout::Jsonl => {
                line.push('\n');
                out.write_all(line.as_bytes())
            }
            Layout::Table { separator, columns } => {
                let cells = cells(&line, columns)?;
                table::write_row(cells.iter().map(|cell| &**cell), *separator, out)
            }
        }
    }
}

#[derive(Serialize)]
struct Answered<'a> {
    #[serde(flatten)]
    reply: &'a Reply,
    #[serde(skip_serializing_if = "Option::is_none")]
    question_index: Option<usize>,
    #[serde(flatten)]
    rest: Rest<'a>,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    question_index: Option<usize>,
    error: &'a Failure,
    #[serde(flatten)]
    rest: Rest<'a>,
}

/// Why a request has no reply, as its sender is told.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// The stable name of the kind of error.
    pub code: &'static str,
    /// What happened.
    pub message: String,
    /// What the sender can do about it: for whoever talks to them to say.
    pub hint: Option<String>,
}

/// Fields that are passed through.
struct Rest<'a>(&'a [Extra]);

impl Serialize for Rest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let foreign = self.0.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        serializer.collect_map(foreign.map(|(name, value)| (name, value)))
    }
}

type Parts<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// The cells of a record. They are taken from its JSON form, so that numbers read the same in both.
fn cells<'a>(record: &'a str, columns: &[String]) -> serde_json::Result<Vec<Cow<'a, str>>> {
    let top: Parts = serde_json::from_str(record)?;
    let answers: Vec<Parts> = match top.get("answers") {
        Some(answers) => serde_json::from_str(answers.get())?,
        None => Vec::new(),
    };
    let best = answers.first();
    let error: Parts = match top.get("error") {
        Some(error) => serde_json::from_str(error.get())?,
        None => Parts::new(),
    };
    let cell = |column: &String| {
        let value = match column.as_str() {
            "answer" => best.and_then(|best| best.get("text")),
            "start" | "end" | "document" | "line" | "column" | "source" | "score" | "margin" => {
                best.and_then(|best| best.get(column.as_str()))
            }
            // As everywhere, the line stands in for an id that is not there.
            "id" => top.get("id").or(top.get("line")),
            "input_line" => top.get("line"),
            "error" => error.get("message"),
            "code" | "hint" => error.get(column.as_str()),
            _ => top.get(column.as_str()),
        };
        match value.map(|value| value.get()) {
            None | Some("null") => Ok(Cow::Borrowed("")),
            Some(text) if text.starts_with('"') => Ok(Cow::Owned(serde_json::from_str::<String>(text)?)),
            Some(other) => Ok(Cow::Borrowed(other)),
        }
    };
    columns.iter().map(cell).collect()
}
