//! Where records go. A file is written beside its final name, in whole records and in input order, and renamed when it is complete.
//!
//! Whatever kills the process leaves a beginning of the complete file under the name `FILE.partial`, possibly with half a record
//! at its end. To resume, the requests are read again from the start and laid beside the records that are there: a record belongs
//! to the request if it has its id or its line. At the first request whose records are not all there the file is cut, and the
//! run goes on from that request. Nothing else has to be remembered.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, BufReader, BufWriter, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use spanqa::fs::Error;

use super::input::Lines;
use super::prepare::Ticket;
use super::record::Layout;
use super::table;
use crate::cli::Usage;

/// A file that is not complete yet.
pub struct Partial {
    /// Its name once it is complete.
    target: PathBuf,
    path: PathBuf,
    file: File,
}

impl Partial {
    /// Starts a file, or opens one that was left behind.
    pub fn open(target: &Path, resume: bool) -> Result<Self> {
        let mut name = target.as_os_str().to_owned();
        name.push(".partial");
        let path = PathBuf::from(name);
        if target.is_dir() {
            let hint = "give the name of a file, such as answers.jsonl";
            return Err(Usage::new(format!("{} is a folder", target.display()), hint).into());
        }
        if resume && !path.exists() && target.exists() {
            // A complete file may have got more requests since. It stays until its successor is complete, too.
            let mut copy = tempfile::NamedTempFile::new_in(folder_of(target)).map_err(refused(&path))?;
            let mut source = File::open(target).map_err(refused(target))?;
            io::copy(&mut source, &mut copy).map_err(refused(&path))?;
            copy.persist(&path).map_err(|error| refused(&path)(error.error))?;
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
        Ok(Self { target: target.to_owned(), path, file })
    }

    /// What is in it, from the start.
    pub fn records(&self, layout: &Layout) -> Result<Records> {
        let mut file = self.file.try_clone().map_err(refused(&self.path))?;
        file.seek(SeekFrom::Start(0)).map_err(refused(&self.path))?;
        let separator = match layout {
            Layout::Jsonl => None,
            Layout::Table { separator, .. } => Some(*separator),
        };
        let lines = Lines::new(BufReader::new(file), usize::MAX);
        Ok(Records { lines, separator, layout: layout.clone(), path: self.path.clone() })
    }

    /// Goes on writing after so many bytes; what is behind them is dropped.
    pub fn writer(&self, from: u64) -> Result<BufWriter<File>> {
        let mut file = self.file.try_clone().map_err(refused(&self.path))?;
        file.set_len(from).map_err(refused(&self.path))?;
        file.seek(SeekFrom::Start(from)).map_err(refused(&self.path))?;
        Ok(BufWriter::with_capacity(1 << 16, file))
    }

    /// Gives the file its name.
    pub fn complete(self) -> Result<()> {
        // Without this a power cut could leave the name without the contents.
        self.file.sync_all().map_err(refused(&self.path))?;
        fs::rename(&self.path, &self.target).map_err(refused(&self.target))?;
        Ok(())
    }

    /// Forgets a file that nothing was written to.
    pub fn discard_if_empty(self) {
        if self.file.metadata().is_ok_and(|data| data.len() == 0) {
            // If it stays, it stays empty, which the next run takes for new.
            let _ = fs::remove_file(&self.path);
        }
    }

    /// The name that it has until it is complete.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn refused(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Write { path, source }
}

/// Records that a run left behind.
pub struct Records {
    lines: Lines<BufReader<File>>,
    separator: Option<char>,
    layout: Layout,
    path: PathBuf,
}

/// What a record says came of its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    Answered,
    NotAnswered,
    Error,
    /// The columns of the table do not tell.
    Unknown,
}

/// What a record has to say about whose it is.
#[derive(Deserialize)]
struct Whose<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    line: Option<u64>,
    question_index: Option<usize>,
    answered: Option<bool>,
    error: Option<IgnoredAny>,
    model: Option<String>,
}

impl Records {
    /// Bytes up to the end of the last record that was taken.
    pub fn taken(&self) -> u64 {
        self.lines.taken
    }

    /// Takes what stands before the first record. False if it is not there as a whole.
    pub fn header(&mut self) -> Result<bool> {
        let expected = self.layout.header()?;
        if expected.is_empty() {
            return Ok(true);
        }
        match self.whole()? {
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

    /// Takes the record of a request. `None` if it is not there as a whole.
    pub fn next(&mut self, ticket: &Ticket, model: &str) -> Result<Option<Was>> {
        let Some(record) = self.whole()? else { return Ok(None) };
        let Ok(record) = String::from_utf8(record) else {
            return Err(self.foreign("is not text"));
        };
        let was = match self.layout.clone() {
            Layout::Jsonl => self.object(&record, ticket, model)?,
            Layout::Table { separator, columns } => self.row(&record, separator, &columns, ticket, model)?,
        };
        Ok(Some(was))
    }

    fn object(&self, record: &str, ticket: &Ticket, model: &str) -> Result<Was> {
        let Ok(whose) = serde_json::from_str::<Whose>(record) else {
            return Err(self.foreign("holds something else than records"));
        };
        let id = whose.id.map(RawValue::get);
        let own = ticket.id.as_ref().map(|id| id.json().get());
        let same = match whose.error {
            Some(_) => whose.line == Some(ticket.line) && id == own,
            None => id == Some(ticket.name().json().get()),
        };
        if !same || whose.question_index != ticket.index {
            return Err(self.mismatch(ticket));
        }
        if let Some(other) = whose.model.filter(|other| other != model) {
            return Err(self.foreign(&format!("was made with the model {other}, not {model},")));
        }
        Ok(match (whose.error, whose.answered) {
            (Some(_), _) => Was::Error,
            (None, Some(true)) => Was::Answered,
            (None, _) => Was::NotAnswered,
        })
    }

    fn row(
        &self,
        record: &str,
        separator: char,
        columns: &[String],
        ticket: &Ticket,
        model: &str,
    ) -> Result<Was> {
        let cells = table::cells(record, separator);
        let cell = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            cells.get(at).map(String::as_str)
        };
        let failed = cell("code").or(cell("error")).map(|cell| !cell.is_empty());
        let other = cell("id").is_some_and(|id| id != ticket.name().to_string());
        if cells.len() != columns.len() || other {
            return Err(self.mismatch(ticket));
        }
        if let Some(other) = cell("model").filter(|other| !other.is_empty() && *other != model) {
            return Err(self.foreign(&format!("was made with the model {other}, not {model},")));
        }
        Ok(match (failed, cell("answered")) {
            (Some(true), _) => Was::Error,
            (_, Some("true")) => Was::Answered,
            (_, Some("false")) => Was::NotAnswered,
            _ => Was::Unknown,
        })
    }

    /// The next line or row, if its end is there.
    fn whole(&mut self) -> Result<Option<Vec<u8>>> {
        let read = match self.separator {
            None => self.lines.next(),
            Some(separator) => self.lines.row(separator),
        };
        let line = read.with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(match line {
            Some(Ok(line)) if self.lines.ended => Some(line),
            _ => None,
        })
    }

    fn mismatch(&self, ticket: &Ticket) -> anyhow::Error {
        self.foreign(&format!(
            "does not belong to this input: it differs at line {}, request {},",
            ticket.line,
            ticket.name()
        ))
    }

    fn foreign(&self, what: &str) -> anyhow::Error {
        let path = self.path.display();
        let hint = format!("give the input and the flags of the first run, or start anew with `rm {path}`");
        Usage::new(format!("{path} {what} and cannot be resumed"), hint).into()
    }
}
