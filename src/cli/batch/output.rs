//! Where records go. A file is written beside its final name, in whole records and in input order, and renamed when it is complete.
//!
//! Whatever kills the process leaves a beginning of the complete file under the name `FILE.partial`, possibly with half a record
//! at its end. How a later run goes on with it is in [`resume`](super::resume). A complete file is gone on with in a copy of that name,
//! which is gone again unless something is written to it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use spanqa::fs::Error;
use spanqa::request::lines::Lines;
use spanqa::request::parser::Ticket;
use spanqa::request::record::Layout;
use spanqa::request::reply::DocumentId;
use spanqa::request::rows::{self, Rows};
use spanqa::request::table;

use crate::cli::Usage;
use crate::cli::target::refuse_folder;

/// A file that is not complete yet.
pub struct Partial {
    /// Its name once it is complete.
    target: PathBuf,
    path: PathBuf,
    file: File,
    /// It is a copy of a complete file.
    copied: bool,
    /// Something may have been written to it.
    used: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        let empty = || self.file.metadata().is_ok_and(|data| data.len() == 0);
        if !self.used && (self.copied || empty()) {
            // Whatever stays would be in the way of the next run.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Partial {
    /// Starts a file, or opens one that was left behind.
    pub fn open(target: &Path, resume: bool) -> Result<Self> {
        let target = &replaceable(target)?;
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        // A complete file may have got more requests since. It stays until its successor is complete, too.
        let copied = resume && !path.exists() && target.exists();
        if copied {
            spanqa::fs::copy(target, &path)?;
        }
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(refused(&path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let hint = "wait for it, or choose another --output";
                return Err(Usage::new(format!("another run is writing {}", path.display()), hint).into());
            }
            // Not every file system has locks; they guard against a mistake, nothing depends on them.
            Err(TryLockError::Error(_)) => {}
        }
        if !resume && file.metadata().map_err(refused(&path))?.len() > 0 {
            let hint = format!("`--resume` continues it; `rm {}` gives it up", path.display());
            return Err(
                Usage::new(format!("{} was left by a run that did not end", path.display()), hint).into()
            );
        }
        Ok(Self { target: target.to_owned(), path, file, copied, used: false })
    }

    /// The file that says with which flags a complete output was made. Its name is hidden, so that it is in nobody's way.
    pub fn flags(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.target.file_name().unwrap_or_default());
        name.push(".flags");
        self.target.with_file_name(name)
    }

    /// Whether it is a copy of a complete file.
    pub fn is_copied(&self) -> bool {
        self.copied
    }

    /// Why the file cannot be gone on with, and the ways out; one of them is to keep its records if it holds records at all.
    pub fn foreign(&self, what: &str, keep: bool) -> anyhow::Error {
        Refusal::of(self).because(what, keep)
    }

    /// What is in it, from the start.
    pub fn records(&self, layout: &Layout) -> Result<Records> {
        let mut file = self.file.try_clone().map_err(refused(&self.path))?;
        file.seek(SeekFrom::Start(0)).map_err(refused(&self.path))?;
        let (separator, flat) = match layout {
            Layout::Jsonl => (None, false),
            Layout::Rows(rows) => (rows.separator, rows.flat),
        };
        let lines = Lines::new(BufReader::new(file), usize::MAX);
        let (layout, refusal) = (layout.clone(), Refusal::of(self));
        Ok(Records { lines, separator, flat, ahead: None, taken: 0, layout, refusal })
    }

    /// Goes on writing after so many bytes; what is behind them is dropped.
    pub fn writer(&mut self, from: u64) -> Result<BufWriter<File>> {
        self.used = true;
        let mut file = self.file.try_clone().map_err(refused(&self.path))?;
        file.set_len(from).map_err(refused(&self.path))?;
        file.seek(SeekFrom::Start(from)).map_err(refused(&self.path))?;
        Ok(BufWriter::with_capacity(1 << 16, file))
    }

    /// Gives the file its name.
    pub fn complete(&self) -> Result<()> {
        Ok(spanqa::fs::complete(&self.file, &self.path, &self.target).map_err(refused(&self.target))?)
    }

    /// The name that it has until it is complete.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The file that will be replaced. A link stays, and what it leads to is replaced; a device or a pipe would be gone.
fn replaceable(target: &Path) -> Result<PathBuf> {
    refuse_folder(target, "answers.jsonl")?;
    let shown = target.display();
    let (what, hint) = match fs::metadata(target) {
        _ if target.as_os_str() == "-" => {
            ("is no name for a file".into(), "without --output records go to standard output".into())
        }
        Ok(found) if !found.is_file() => {
            let hint = format!("leave out --output and write `> {shown}`");
            ("is a device or a pipe, in whose place a file would come".to_owned(), hint)
        }
        Ok(_) if target.is_symlink() => return Ok(spanqa::fs::real(target).map_err(refused(target))?),
        _ => return Ok(target.to_owned()),
    };
    Err(Usage::new(format!("{shown} {what}"), hint).into())
}

/// How a refusal speaks of a file: a copy of a complete one is gone when somebody reads it.
struct Refusal {
    shown: PathBuf,
    anew: String,
}

impl Refusal {
    fn of(partial: &Partial) -> Self {
        match partial.copied {
            true => Self { shown: partial.target.clone(), anew: "leave `--resume` out".into() },
            false => Self {
                shown: partial.path.clone(),
                anew: format!("start anew with `rm {}`", partial.path.display()),
            },
        }
    }

    fn because(&self, what: &str, keep: bool) -> anyhow::Error {
        let keep = if keep { ", keep its records with `--resume-anyway`" } else { "" };
        let hint = format!("give the input and the flags of the first run{keep}, or {}", self.anew);
        Usage::new(format!("{} {what} and cannot be resumed", self.shown.display()), hint).into()
    }
}

/// A JSON object of one level, read as a row.
fn flat_object(object: BTreeMap<String, &RawValue>) -> Option<Record> {
    let (columns, cells): (Vec<String>, Vec<_>) = object.into_iter().unzip();
    let text = |cell: &RawValue| Some(rows::text(cell.get().into()).ok()?.into_owned());
    let cells = cells.into_iter().map(text).collect::<Option<Vec<String>>>()?;
    Some(Record::of_row(&cells, &columns))
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

/// Records that a run left behind.
pub struct Records {
    lines: Lines<BufReader<File>>,
    separator: Option<char>,
    /// Whether a record may have several rows.
    flat: bool,
    /// The first row of the next record, which shows that the one before is whole.
    ahead: Option<Record>,
    taken: u64,
    layout: Layout,
    refusal: Refusal,
}

/// What a record says came of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    NotAnswered,
    Error,
    /// The columns of the table do not tell.
    Unknown,
}

/// What a record says about whose it is, as far as its format goes.
pub struct Record {
    id: Option<String>,
    line: Option<u64>,
    index: Option<usize>,
    /// Of several rows: which answer it is.
    rank: Option<usize>,
    /// Whether it is a row of a table: cells hold texts, and may leave out what JSON has.
    row: bool,
    pub has_id: bool,
    pub outcome: Outcome,
    pub question: Option<String>,
    pub model: Option<String>,
    /// Of an error; empty if it is not told.
    pub code: Option<String>,
    /// Whether a record of an error would say that it is one.
    tells_errors: bool,
    pub quotes: Vec<Quote>,
}

/// A quotation in a record.
#[derive(Deserialize)]
pub struct Quote {
    pub text: String,
    pub start: usize,
    pub end: usize,
    pub document: Option<DocumentId>,
}

/// A JSON record, read back.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    line: Option<u64>,
    question: Option<String>,
    question_index: Option<usize>,
    answered: Option<bool>,
    error: Option<Failure>,
    model: Option<String>,
    answers: Option<Vec<Quote>>,
    #[serde(default)]
    candidates: Vec<Quote>,
}

#[derive(Deserialize)]
struct Failure {
    code: String,
}

impl Record {
    fn of_object(object: Object) -> Self {
        Self {
            id: object.id.map(|id| id.get().to_owned()),
            line: object.line,
            index: object.question_index,
            rank: None,
            row: false,
            has_id: true,
            outcome: match (&object.error, object.answered) {
                (Some(_), _) => Outcome::Error,
                (None, Some(true)) => Outcome::Answered,
                (None, _) => Outcome::NotAnswered,
            },
            question: object.question,
            model: object.model,
            code: object.error.map(|error| error.code),
            tells_errors: true,
            quotes: object.answers.into_iter().flatten().chain(object.candidates).collect(),
        }
    }

    fn of_row(cells: &[String], columns: &[String]) -> Self {
        let cell = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            cells.get(at).cloned()
        };
        let filled = |name: &str| cell(name).filter(|cell| !cell.is_empty());
        let number = |name: &str| filled(name)?.parse::<usize>().ok();
        let failed = cell("code").or(cell("error")).map(|cell| !cell.is_empty());
        let quote =
            (number("start").zip(number("end")).zip(cell("answer"))).map(|((start, end), text)| Quote {
                text,
                start,
                end,
                document: filled("document").map(|name| match name.parse() {
                    Ok(index) => DocumentId::Index(index),
                    Err(_) => DocumentId::Path(name),
                }),
            });
        Self {
            id: cell("id"),
            line: None,
            index: number("question_index"),
            rank: number("rank"),
            row: true,
            has_id: columns.iter().any(|column| column == "id"),
            outcome: match (failed, cell("answered").as_deref()) {
                (Some(true), _) => Outcome::Error,
                (_, Some("true")) => Outcome::Answered,
                (_, Some("false")) => Outcome::NotAnswered,
                _ => Outcome::Unknown,
            },
            question: filled("question"),
            model: filled("model"),
            code: filled("code").or(failed.filter(|failed| *failed).map(|_| String::new())),
            tells_errors: failed.is_some(),
            quotes: quote.into_iter().collect(),
        }
    }

    /// Whether it may be the record of such an error. Rows need not say what the error was, or that there was one.
    pub fn may_be_error(&self, code: &str) -> bool {
        match (&self.code, self.outcome) {
            (Some(found), _) => found.is_empty() || found == code,
            (None, Outcome::Answered) => false,
            (None, _) => !self.tells_errors,
        }
    }

    /// Whether it is called as the record of that request is.
    pub fn is_of(&self, ticket: &Ticket) -> bool {
        if self.row {
            // A table need not have these columns.
            return self.id.as_ref().is_none_or(|id| *id == ticket.name().to_string())
                && self.index.is_none_or(|index| Some(index) == ticket.index);
        }
        let name = match self.outcome {
            // The line stands for itself there.
            Outcome::Error => {
                self.line == ticket.line && self.id.as_deref() == ticket.id.as_ref().map(|id| id.json().get())
            }
            _ => self.id.as_deref() == Some(ticket.name().json().get()),
        };
        name && self.index == ticket.index
    }
}

impl Records {
    /// Bytes up to the end of the last record that was taken.
    pub fn taken(&self) -> u64 {
        self.taken
    }

    /// Takes what stands before the first record. False if it is not there as a whole.
    pub fn header(&mut self) -> Result<bool> {
        let expected = self.layout.header()?;
        if expected.is_empty() {
            return Ok(true);
        }
        let found = self.whole()?;
        self.taken = self.lines.taken;
        match found {
            None => Ok(false),
            Some(mut found) => {
                found.push(b'\n');
                if found != expected {
                    return Err(self.foreign("has other columns"));
                }
                Ok(true)
            }
        }
    }

    /// Takes the next record. `None` if it is not there as a whole: of several rows the last one shows only in the first row of another
    /// record.
    pub fn next(&mut self) -> Result<Option<Record>> {
        let mut record = match self.ahead.take() {
            Some(record) => record,
            None => match self.row()? {
                Some(record) => record,
                None => return Ok(None),
            },
        };
        let mut end = self.lines.taken;
        while self.flat {
            match self.row()? {
                None => return Ok(None),
                Some(row) if row.rank > Some(1) => {
                    record.quotes.extend(row.quotes);
                    end = self.lines.taken;
                }
                Some(row) => {
                    self.ahead = Some(row);
                    break;
                }
            }
        }
        self.taken = end;
        Ok(Some(record))
    }

    /// The next record, or the next row of one.
    fn row(&mut self) -> Result<Option<Record>> {
        let Some(record) = self.whole()? else { return Ok(None) };
        let Ok(record) = String::from_utf8(record) else {
            return Err(self.foreign("is not text"));
        };
        let record = match &self.layout {
            // A reply has a list of answers, be it empty. A row has none.
            Layout::Jsonl => serde_json::from_str(&record)
                .ok()
                .filter(|object: &Object| object.error.is_some() || object.answers.is_some())
                .map(Record::of_object),
            Layout::Rows(Rows { separator: None, columns, .. }) => {
                let object: Option<BTreeMap<String, &RawValue>> = serde_json::from_str(&record).ok();
                let lacks = |column: &String| object.as_ref().is_some_and(|row| !row.contains_key(column));
                if columns.iter().any(lacks) {
                    return Err(self.foreign("has other columns"));
                }
                object.and_then(flat_object)
            }
            Layout::Rows(Rows { separator: Some(separator), columns, .. }) => {
                let cells = table::cells(&record, *separator);
                (cells.len() == columns.len()).then(|| Record::of_row(&cells, columns))
            }
        };
        record.map(Some).ok_or_else(|| self.foreign("holds something else than records"))
    }

    /// The next line or row, if its end is there.
    fn whole(&mut self) -> Result<Option<Vec<u8>>> {
        let read = match self.separator {
            None => self.lines.next(),
            Some(separator) => self.lines.row(separator),
        };
        let line = read.with_context(|| format!("cannot read {}", self.refusal.shown.display()))?;
        Ok(match line {
            Some(Ok(line)) if self.lines.ended => Some(line),
            _ => None,
        })
    }

    fn foreign(&self, what: &str) -> anyhow::Error {
        self.refusal.because(what, false)
    }
}
