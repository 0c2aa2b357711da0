//! Where vectors go: records to standard output as they come, or a file that appears when it is complete.
//!
//! A file is gathered in a temporary one without a name, so that whatever ends the program leaves nothing behind.

use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Result;
use serde::Serialize;

use super::matrix::{Facts, Matrix};
use super::record::{Failed, Record};
use crate::cli::Usage;
use crate::cli::target::refuse_folder;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Jsonl,
    Npy,
    Safetensors,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "jsonl" => Ok(Self::Jsonl),
            "npy" => Ok(Self::Npy),
            "safetensors" => Ok(Self::Safetensors),
            _ => Err(format!("`{text}` is not a format: expected jsonl, npy, safetensors")),
        }
    }
}

/// Where vectors go.
pub enum Output<'a> {
    /// Records, as they come.
    Stdout(&'a mut dyn Write),
    /// Records in a file.
    File { target: PathBuf, records: BufWriter<File> },
    /// Rows in a file.
    Matrix(Matrix),
}

impl<'a> Output<'a> {
    /// Sees that the output can be written before anything is read.
    pub fn open(format: Format, target: Option<&Path>, stdout: &'a mut dyn Write) -> Result<Self> {
        let Some(target) = target else {
            return match format {
                Format::Jsonl => Ok(Self::Stdout(stdout)),
                Format::Npy | Format::Safetensors => {
                    let hint = "add `--output FILE`: such a file starts with the number of its rows";
                    Err(Usage::new("a matrix cannot be written to standard output", hint).into())
                }
            };
        };
        refuse_folder(target, "vectors.npy")?;
        Ok(match format {
            Format::Jsonl => Self::File { target: target.into(), records: spool(target)? },
            Format::Npy | Format::Safetensors => Self::Matrix(Matrix::open(format, target)?),
        })
    }

    /// Says what makes the vectors.
    pub fn begin(&mut self, facts: Facts) {
        if let Self::Matrix(matrix) = self {
            matrix.facts = facts;
        }
    }

    pub fn is_matrix(&self) -> bool {
        matches!(self, Self::Matrix(_))
    }

    /// The file, if it is one.
    pub fn target(&self) -> Option<&Path> {
        match self {
            Self::Stdout(_) => None,
            Self::File { target, .. } => Some(target),
            Self::Matrix(matrix) => Some(matrix.target()),
        }
    }

    pub fn vector(&mut self, record: &Record) -> Result<()> {
        match self {
            Self::Stdout(out) => line(out, record),
            Self::File { records, .. } => line(records, record),
            Self::Matrix(matrix) => matrix.row(record),
        }
    }

    /// A record of a text that has no vector; a matrix has no place for it.
    pub fn failed(&mut self, record: &Failed) -> Result<()> {
        match self {
            Self::Stdout(out) => line(out, record),
            Self::File { records, .. } => line(records, record),
            Self::Matrix(_) => Ok(()),
        }
    }

    /// Lets whoever reads standard output have what is there.
    pub fn flush(&mut self) -> Result<()> {
        match self {
            Self::Stdout(out) => Ok(out.flush()?),
            Self::File { .. } | Self::Matrix(_) => Ok(()),
        }
    }

    /// Gives a file its name, and says which one lies beside it.
    pub fn complete(self) -> Result<Option<PathBuf>> {
        match self {
            Self::Stdout(_) => Ok(None),
            Self::File { target, records } => place(&target, b"", records).map(|()| None),
            Self::Matrix(matrix) => matrix.complete(),
        }
    }
}

/// Writes a JSON object and ends the line.
pub fn line(out: &mut dyn Write, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(&mut *out, value).map_err(io::Error::from)?;
    Ok(out.write_all(b"\n")?)
}

/// A temporary file on the disk of the file that it will become.
pub fn spool(target: &Path) -> Result<BufWriter<File>> {
    let beside = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // A device stands where no files can.
    let file = match target.exists() && !target.is_file() {
        true => tempfile::tempfile(),
        false => tempfile::tempfile_in(beside),
    };
    let refused = |source| spanqa::fs::Error::Write { path: target.to_owned(), source };
    Ok(BufWriter::with_capacity(1 << 16, file.map_err(refused)?))
}

/// Writes a file whole or not at all: what it starts with, then what was gathered.
pub fn place(target: &Path, head: &[u8], gathered: BufWriter<File>) -> Result<()> {
    let refused = |source| spanqa::fs::Error::Write { path: target.to_owned(), source };
    let mut gathered = gathered.into_inner().map_err(|error| refused(error.into_error()))?;
    spanqa::fs::write_with(target, |path| {
        let mut file = File::options().write(true).open(path)?;
        file.write_all(head)?;
        gathered.seek(SeekFrom::Start(0))?;
        io::copy(&mut gathered, &mut file).map(drop)
    })?;
    Ok(())
}
