//! What is written for each request: a JSON object a line, or rows of a table.

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::Extra;
use super::lines::Format;
use super::parser::Ticket;
use super::reply::{Id, Reply};
use super::rows::Rows;
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
    /// Two cells of a row would have one name.
    #[error("the column `{name}` is there twice")]
    ColumnTwice {
        /// What was asked for.
        name: String,
    },
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// JSON lines: a record each.
    Jsonl,
    /// Rows of cells.
    Rows(Rows),
}

/// Columns that are not fields that were passed through.
pub const COLUMNS: &[&str] = &[
    "id",
    "question",
    "question_index",
    "rank",
    "answered",
    "perhaps",
    "confidence",
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
    "windows_total",
    "passages_searched",
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

/// Columns of a row for each answer unless told otherwise.
const FLAT_COLUMNS: &[&str] = &[
    "id",
    "question",
    "rank",
    "answered",
    "answer",
    "start",
    "end",
    "document",
    "score",
    "margin",
    "no_answer_score",
    "code",
    "error",
    "perhaps",
    "windows_total",
    "source",
];

/// Fields that a record has of its own; those of a request do not displace them.
const OWN: &[&str] = &[
    "id",
    "question",
    "question_index",
    "answered",
    "perhaps",
    "confidence",
    "answers",
    "candidates",
    "no_answer_score",
    "null_odds",
    "windows",
    "windows_total",
    "passages_searched",
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
    /// Checks what was asked for. With `keep`, fields of requests may be columns, too; `flat` makes a row of each answer.
    pub fn new(format: Format, columns: &[String], keep: bool, flat: bool) -> Result<Self, LayoutError> {
        let separator = format.separator();
        if separator.is_none() && !flat {
            return match columns {
                [] => Ok(Layout::Jsonl),
                _ => Err(LayoutError::ColumnsWithoutTable),
            };
        }
        if let Some(unknown) = columns.iter().find(|name| !keep && !COLUMNS.contains(&name.as_str())) {
            return Err(LayoutError::UnknownColumn { name: unknown.clone() });
        }
        let twice = |(at, name): &(usize, &String)| columns[..*at].contains(name);
        if let Some((_, name)) = columns.iter().enumerate().find(twice) {
            return Err(LayoutError::ColumnTwice { name: name.clone() });
        }
        let usual = if flat { FLAT_COLUMNS } else { DEFAULT_COLUMNS };
        Ok(Layout::Rows(Rows {
            separator,
            keeps: keep && columns.is_empty(),
            columns: match columns {
                [] => usual.iter().map(|&name| name.to_owned()).collect(),
                _ => columns.to_vec(),
            },
            flat,
        }))
    }

    /// Whether fields that are passed through become columns, so that their names have to be known before the header is written.
    pub fn wants_names(&self) -> bool {
        matches!(self, Layout::Rows(Rows { separator: Some(_), keeps: true, .. }))
    }

    /// Gives each of these fields a column, unless records have something of that name themselves.
    pub fn with_names(self, names: Vec<String>) -> Self {
        match self {
            Layout::Jsonl => self,
            Layout::Rows(mut rows) => {
                for name in names {
                    if !COLUMNS.contains(&name.as_str()) && !rows.columns.contains(&name) {
                        rows.columns.push(name);
                    }
                }
                Layout::Rows(rows)
            }
        }
    }

    /// The fields to pass through that find no room: columns are those of the first request, and records have names of their own.
    pub fn left_out<'a>(&'a self, ticket: &'a Ticket) -> impl Iterator<Item = &'a str> {
        let rows = match self {
            Layout::Jsonl => None,
            Layout::Rows(rows) => Some(rows).filter(|rows| rows.keeps),
        };
        let has_room = |rows: &Rows, name: &str| match COLUMNS.contains(&name) {
            // What every record has displaces what a request says, there as here.
            true => OWN.contains(&name),
            false => rows.separator.is_none() || rows.columns.iter().any(|column| column == name),
        };
        let names = ticket.rest.iter().map(|(name, _)| name.as_str());
        names.filter(move |name| rows.is_some_and(|rows| !has_room(rows, name)))
    }

    /// What stands before the first record.
    pub fn header(&self) -> io::Result<Vec<u8>> {
        let mut header = Vec::new();
        if let Layout::Rows(Rows { separator: Some(separator), columns, .. }) = self {
            table::write_row(columns.iter().map(String::as_str), *separator, &mut header)?;
        }
        Ok(header)
    }

    /// Writes the record of a reply.
    pub fn reply(&self, ticket: &Ticket, reply: &Reply, out: &mut dyn Write) -> io::Result<()> {
        let record = Answered { reply, question_index: ticket.index, rest: Rest(&ticket.rest) };
        self.write(&record, &ticket.rest, out)
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
        self.write(&record, &ticket.rest, out)
    }

    fn write(&self, record: &impl Serialize, rest: &[Extra], out: &mut dyn Write) -> io::Result<()> {
        let mut line = serde_json::to_string(record)?;
        match self {
            Layout::Jsonl => {
                line.push('\n');
                out.write_all(line.as_bytes())
            }
            Layout::Rows(rows) => rows.write(&line, rest, out),
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
