//! Reads requests: files or standard input, plain or compressed, cut into lines or rows of a table. It runs in a thread of its own.
//! Rows of Parquet become lines of JSON.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use spanqa::document::compression::{Unpacked, first_bytes, unpack};
use spanqa::document::encoding::FromUtf16;
use spanqa::document::kind::{ByteOrder, Kind};
use spanqa::parquet::{self, BadRow};
use spanqa::request;
use spanqa::request::lines::{Content, Format, Line, Lines};
use spanqa::stream::Queue;

use crate::cli::Usage;

/// What to read.
#[derive(Clone)]
pub struct Inputs {
    /// Files; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// What they hold; by their names if nothing is said.
    pub format: Option<Format>,
    /// Bytes that a line may have.
    pub limit: usize,
    /// What is read of Parquet, if anything is.
    pub columns: Option<parquet::Choice>,
}

impl Inputs {
    /// Bytes of all inputs together, if that is known.
    pub fn size(&self) -> Option<u64> {
        self.paths
            .iter()
            .map(|path| std::fs::metadata(path).ok().filter(|data| data.is_file()).map(|data| data.len()))
            .sum()
    }

    /// Reads everything into the queue, and ends it.
    pub fn read(&self, queue: &Queue<Line>) {
        let mut reading = Reading { inputs: self, queue, lines: 0, read: Arc::default() };
        for (input, path) in self.paths.iter().enumerate() {
            let format = self.format.unwrap_or_else(|| Format::of(path));
            if reading.input(input, path, format).is_err() {
                return;
            }
        }
        queue.end();
    }

    /// Says what is wrong with inputs that cannot be read, as far as that can be told before: nobody should wait for a model to hear it.
    pub fn require_readable(&self, quiet: bool) -> Result<()> {
        for path in &self.paths {
            let name = path.display();
            if path.as_os_str() == "-" {
                if io::stdin().is_terminal() && !quiet {
                    eprintln!("note: reading requests from standard input; end them with Ctrl-D");
                }
            } else if path.is_dir() {
                return Err(Usage::new(format!("{name} is a folder"), "name the files in it").into());
            } else if let Err(error) = can_be_read(path) {
                let hint = "check the path and its permissions";
                return Err(Usage::new(format!("cannot read {name}: {error}"), hint).into());
            } else if path.is_file()
                && let Ok(Some(kind)) = other_kind(path)
            {
                self.other(path, kind)?;
            }
        }
        Ok(())
    }

    /// The rows of something that is no text, if it has any.
    fn other(&self, path: &Path, kind: Kind) -> request::Result<parquet::Rows<File>> {
        let input = path.display().to_string();
        let Some(columns) = self.columns.as_ref().filter(|_| kind == Kind::Parquet) else {
            return Err(request::Error::NoRequests { input, kind });
        };
        let rows = match path.is_file() {
            true => File::open(path).map_err(parquet::Error::from),
            false => Err(parquet::Error::NoFile),
        };
        rows.and_then(|file| parquet::Rows::open(file, columns, self.limit))
            .map_err(|error| request::Error::Parquet { input, error })
    }
}

struct Reading<'a> {
    inputs: &'a Inputs,
    queue: &'a Queue<Line>,
    lines: u64,
    read: Arc<AtomicU64>,
}

/// Nobody reads any more.
struct Unwanted;

impl Reading<'_> {
    fn input(&mut self, input: usize, path: &Path, format: Format) -> Result<(), Unwanted> {
        let before = self.lines;
        if let Err(problem) = self.rows(input, path, format)? {
            // What follows cannot be read. That is said where the next record would stand, so that nothing is lost in silence.
            self.lines += 1;
            let position = self.read.load(Ordering::Relaxed);
            self.push(input, (self.lines, self.lines - before), position, format, Err(problem))?;
        }
        Ok(())
    }

    fn rows(&mut self, input: usize, path: &Path, format: Format) -> Result<request::Result<()>, Unwanted> {
        let before = self.lines;
        let first_byte = self.read.load(Ordering::Relaxed);
        let opened = if path.as_os_str() == "-" {
            self.decoded(io::stdin().lock(), path)
        } else {
            File::open(path).and_then(|file| self.decoded(file, path))
        };
        let name = || path.display().to_string();
        let unreadable =
            |error: io::Error| request::Error::Unreadable { input: name(), reason: error.to_string() };
        let (mut lines, recoded) = match opened {
            Ok(Ok((opened, recoded))) => (Lines::new(opened, self.inputs.limit), recoded),
            Ok(Err(kind)) => {
                return match self.inputs.other(path, kind) {
                    Ok(rows) => self.table(input, path, rows, first_byte),
                    Err(problem) => Ok(Err(problem)),
                };
            }
            Err(error) => return Ok(Err(unreadable(error))),
        };
        loop {
            let start = self.lines + 1;
            let row = match format.separator() {
                None => lines.next(),
                Some(separator) => lines.row(separator),
            };
            self.lines = before + lines.count;
            // What was read is up to a buffer ahead of what was taken. Through compression or UTF-16 nothing better is known.
            let position = match recoded {
                true => self.read.load(Ordering::Relaxed),
                false => first_byte + lines.taken,
            };
            match row {
                Ok(Some(content)) => self.push(input, (start, start - before), position, format, content)?,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(unreadable(error))),
            }
        }
    }

    /// Rows of Parquet, as the lines of JSON that they are to everybody else.
    fn table(
        &mut self,
        input: usize,
        path: &Path,
        mut rows: parquet::Rows<File>,
        first_byte: u64,
    ) -> Result<request::Result<()>, Unwanted> {
        let before = self.lines;
        loop {
            let row = rows.next();
            // What was read to see what it is counts no more.
            let position = first_byte + rows.position();
            self.read.store(position, Ordering::Relaxed);
            let content = match row {
                Ok(None) => return Ok(Ok(())),
                Ok(Some(Ok(json))) => Ok(json.into_bytes()),
                Ok(Some(Err(BadRow::TooLong))) => Err(request::Error::TooLong { limit: self.inputs.limit }),
                Ok(Some(Err(BadRow::NotUtf8(at)))) => Err(request::Error::NotUtf8 { at }),
                Err(error) => {
                    let input = path.display().to_string();
                    return Ok(Err(request::Error::Parquet { input, error }));
                }
            };
            self.lines += 1;
            let place = (self.lines, self.lines - before);
            self.push(input, place, position, Format::Jsonl, content)?;
        }
    }

    fn push(
        &self,
        input: usize,
        (number, in_input): (u64, u64),
        position: u64,
        format: Format,
        content: Content,
    ) -> Result<(), Unwanted> {
        let line = Line { number, input, in_input, format, position, content };
        if line.is_blank() {
            return Ok(());
        }
        self.queue.push(line.weight(), line).map_err(|_| Unwanted)
    }

    /// Takes compression off, and refuses what holds no lines.
    fn decoded<'a>(&self, source: impl Read + 'a, path: &Path) -> io::Result<Opened<'a>> {
        open(Counted { source, read: self.read.clone() }, path)
    }
}

/// An input and whether its bytes are others than those of its lines, or what it holds instead of requests.
pub type Opened<'a> = Result<(Unpacked<'a>, bool), Kind>;

/// Takes compression off an input of lines.
pub fn open<'a>(source: impl Read + 'a, path: &Path) -> io::Result<Opened<'a>> {
    let (compression, mut unpacked) = unpack(source)?;
    // Two bytes tell UTF-16, and no request is shorter.
    let first = first_bytes(&mut unpacked, |first| first.len() < 2 || Kind::is_open(first))?;
    if let Some(kind) = Kind::of(&first, path) {
        return Ok(Err(kind));
    }
    let order = ByteOrder::marked(&first);
    let whole = BufReader::new(io::Cursor::new(first).chain(unpacked));
    Ok(Ok(match order {
        Some(order) => (Box::new(BufReader::new(FromUtf16::new(whole, order))), true),
        None => (Box::new(whole), compression.is_some()),
    }))
}

/// What a file holds instead of requests. Nobody should wait for a model to hear that.
pub fn other_kind(path: &Path) -> io::Result<Option<Kind>> {
    Ok(open(File::open(path)?, path)?.err())
}

/// Whether a file is there and may be read. A pipe is not opened to see: what it holds would be gone.
pub fn can_be_read(path: &Path) -> io::Result<()> {
    if path.metadata()?.is_file() { File::open(path).map(drop) } else { Ok(()) }
}

/// Counts what goes through.
pub struct Counted<R> {
    pub source: R,
    pub read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that fits into a buffer is not read to its end with its first line: the time left is reckoned by that.
    #[test]
    fn a_line_stands_where_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path
        };
        let paths = vec![write("a.jsonl", b"\xef\xbb\xbfone\n\ntwo\r\n"), write("b.csv", b"h\n\"x\ny\"\nz")];
        let inputs = Inputs { paths, format: None, limit: 100, columns: None };
        let queue = Queue::new(1000);
        inputs.read(&queue);
        let positions: Vec<u64> = std::iter::from_fn(|| queue.pop()).map(|line| line.position).collect();
        assert_eq!(positions, [7, 13, 15, 21, 22]);
        assert_eq!(inputs.size(), Some(22));
    }
}
