//! Records as rows of cells: of a table, or JSON objects of one level for data frames.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::value::RawValue;

use super::Extra;
use super::record::COLUMNS;
use super::table;

/// How rows are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// What stands between cells; `None` if a row is a JSON object.
    pub separator: Option<char>,
    /// The names of the cells, in order.
    pub columns: Vec<String>,
    /// Whether a record has a row for each of its answers. Without an answer it has one row all the same.
    pub flat: bool,
    /// Whether fields that are passed through get cells, too.
    pub keeps: bool,
}

impl Rows {
    /// Writes the rows of a record. Cells are taken from its JSON form, so that numbers read the same everywhere.
    pub(super) fn write(&self, record: &str, rest: &[Extra], out: &mut dyn Write) -> io::Result<()> {
        let record = Record::of(record)?;
        let count = if self.flat { record.answers.len().max(1) } else { 1 };
        for at in 0..count {
            match self.separator {
                Some(separator) => {
                    let cell = |name: &String| record.cell(name, at, self.flat).map_or(Ok("".into()), text);
                    let cells: Vec<Cow<str>> =
                        self.columns.iter().map(cell).collect::<serde_json::Result<_>>()?;
                    table::write_row(cells.iter().map(|cell| &**cell), separator, out)?;
                }
                None => out.write_all(self.object(&record, rest, at)?.as_bytes())?,
            }
        }
        Ok(())
    }

    /// A row as an object in which every column is there, be it `null`.
    fn object(&self, record: &Record, rest: &[Extra], at: usize) -> serde_json::Result<String> {
        let mut row = String::new();
        let mut add = |name: &str, value: &str| {
            row.push(if row.is_empty() { '{' } else { ',' });
            row.push_str(&serde_json::to_string(name)?);
            row.push(':');
            row.push_str(value);
            Ok(())
        };
        for name in &self.columns {
            add(name, &record.cell(name, at, true).unwrap_or("null".into()))?;
        }
        for (name, value) in rest.iter().filter(|(name, _)| self.keeps && !COLUMNS.contains(&name.as_str())) {
            add(name, value.get())?;
        }
        row.push_str("}\n");
        Ok(row)
    }
}

/// A JSON value as the text of a cell.
pub fn text(json: Cow<str>) -> serde_json::Result<Cow<str>> {
    match &*json {
        "null" => Ok("".into()),
        text if text.starts_with('"') => Ok(serde_json::from_str::<String>(text)?.into()),
        _ => Ok(json),
    }
}

type Parts<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// A record, taken apart.
struct Record<'a> {
    top: Parts<'a>,
    answers: Vec<Parts<'a>>,
    error: Parts<'a>,
}

impl<'a> Record<'a> {
    fn of(json: &'a str) -> serde_json::Result<Self> {
        let top: Parts = serde_json::from_str(json)?;
        let answers = top.get("answers").map(|answers| serde_json::from_str(answers.get()));
        let error = top.get("error").map(|error| serde_json::from_str(error.get()));
        Ok(Self {
            answers: answers.transpose()?.unwrap_or_default(),
            error: error.transpose()?.unwrap_or_default(),
            top,
        })
    }

    /// The JSON of a cell in the row of an answer. In a flat row it is always told whether there is an answer or may be one, and what it says.
    fn cell(&self, column: &str, at: usize, flat: bool) -> Option<Cow<'a, str>> {
        let of_answer = |name: &str| self.answers.get(at)?.get(name);
        let value = match column {
            "rank" => return self.answers.get(at).map(|_| (at + 1).to_string().into()),
            "answer" => of_answer("text"),
            "start" | "end" | "document" | "line" | "column" | "source" | "score" | "margin" => {
                of_answer(column)
            }
            // As everywhere, the line stands in for an id that is not there.
            "id" => self.top.get("id").or(self.top.get("line")),
            "input_line" => self.top.get("line"),
            "error" => self.error.get("message"),
            "code" | "hint" => self.error.get(column),
            _ => self.top.get(column),
        };
        match (value, column) {
            (None, "answered" | "perhaps") if flat => Some("false".into()),
            (None, "answer") if flat => Some("\"\"".into()),
            (value, _) => Some(value?.get().into()),
        }
    }
}
