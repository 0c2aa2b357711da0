//! Reads data sets: one JSON document, one object per line, or rows of Parquet, each of which is such an object.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, ErrorKind, Read, Seek};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;

use crate::eval::data::build::{Builder, bad, columns};
use crate::eval::data::dataset::{Dataset, Options};
use crate::eval::data::document;
use crate::eval::error::{Error, Result};
use crate::fs;
use crate::parquet::{self, BadRow, Rows};

impl Dataset {
    /// Reads a file in any of the known shapes, also compressed with gzip, or as Parquet. The content decides, not the name.
    pub fn open(path: &Path, options: Options) -> Result<Self> {
        let unreadable = |source| fs::Error::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let name = path.display().to_string();
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(bad(&name, "", "is a folder, not a data set"));
        }
        read(&name, BufReader::with_capacity(1 << 16, file), options).map_err(|failure| match failure {
            Failure::Io(source) => unreadable(source).into(),
            Failure::Other(error) => error,
        })
    }

    /// Reads a data set that is already in memory.
    pub fn parse(name: &str, bytes: &[u8], options: Options) -> Result<Self> {
        read(name, Cursor::new(bytes), options).map_err(|failure| match failure {
            Failure::Io(error) => bad(name, "", &error.to_string()),
            Failure::Other(error) => error,
        })
    }
}

/// What stopped the reading: the file system, or what the file says.
enum Failure {
    Io(std::io::Error),
    Other(Error),
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Failure::Io(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

fn read(name: &str, mut source: impl BufRead + Seek, options: Options) -> Result<Dataset, Failure> {
    let (packed, table) = loop {
        match source.fill_buf() {
            Ok(bytes) => break (bytes.starts_with(&[0x1f, 0x8b]), bytes.starts_with(parquet::MAGIC)),
            // A signal came first. Every other way to read goes on by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    };
    if packed {
        let plain = BufReader::with_capacity(1 << 16, MultiGzDecoder::new(source));
        return lines(name, plain, options);
    }
    if table {
        return Ok(rows(name, source, options)?);
    }
    lines(name, source, options)
}

/// The longest row of Parquet in bytes.
const LONGEST: usize = 256 << 20;

fn rows(name: &str, source: impl Read + Seek, options: Options) -> Result<Dataset> {
    let bad_table = |error| Error::Parquet { file: name.into(), error };
    let mut rows = Rows::open(source, &columns(), LONGEST).map_err(bad_table)?;
    let mut builder = Builder::new(name).of_rows();
    let mut number = 0;
    while let Some(row) = rows.next().map_err(bad_table)? {
        number += 1;
        let reason = match row {
            Ok(json) => {
                builder.line(json.as_bytes(), number)?;
                continue;
            }
            Err(BadRow::NotUtf8(_)) => "has a text that is not UTF-8".to_owned(),
            Err(BadRow::TooLong) => format!("is longer than {LONGEST} bytes"),
        };
        return Err(bad(name, &format!("row {number}"), &reason));
    }
    builder.finish(options)
}

/// Tells a document from lines: the first line of a document is not a whole value, or nothing comes after it.
fn lines(name: &str, mut source: impl BufRead, options: Options) -> Result<Dataset, Failure> {
    let mut builder = Builder::new(name);
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if source.read_until(b'\n', &mut line)? == 0 {
            return Err(bad(name, "", "is empty").into());
        }
        number += 1;
        if number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if !line.trim_ascii().is_empty() {
            break;
        }
    }
    let whole = serde_json::from_slice::<IgnoredAny>(&line);
    let mut next = Vec::new();
    let mut skipped = 0;
    if whole.is_ok() {
        while source.read_until(b'\n', &mut next)? > 0 && next.trim_ascii().is_empty() {
            next.clear();
            skipped += 1;
        }
    }
    match whole {
        Ok(_) if next.is_empty() => document::read(&mut builder, &line)?,
        Ok(_) => {
            builder.line(&line, number)?;
            number += skipped + 1;
            line = next;
            loop {
                if !line.trim_ascii().is_empty() {
                    builder.line(&line, number)?;
                }
                line.clear();
                if source.read_until(b'\n', &mut line)? == 0 {
                    break;
                }
                number += 1;
            }
        }
        Err(error) if error.is_eof() => {
            let mut document = vec![b'\n'; number - 1];
            document.append(&mut line);
            source.read_to_end(&mut document)?;
            document::read(&mut builder, &document)?;
        }
        Err(error) => {
            return Err(bad(name, &format!("line {number}"), &format!("is not JSON: {error}")).into());
        }
    }
    Ok(builder.finish(options)?)
}
