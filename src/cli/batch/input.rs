//! Reads requests: files or standard input, plain or compressed, cut into lines or rows of a table. It runs in a thread of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::ValueEnum;
use flate2::bufread::MultiGzDecoder;
use spanqa::request;
use spanqa::stream::Queue;

use super::frames::ZstdFrames;
use super::table::Quotes;

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// A JSON object a line
    Jsonl,
    /// A table with commas and a header
    Csv,
    /// A table with tabs and a header
    Tsv,
}

impl InputFormat {
    /// What a file's name says it is.
    fn of(path: &Path) -> Self {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
        match name.rsplit('.').next() {
            Some("csv") => InputFormat::Csv,
            Some("tsv" | "tab") => InputFormat::Tsv,
            _ => InputFormat::Jsonl,
        }
    }

    /// The separator of a table's cells.
    pub fn separator(self) -> Option<char> {
        match self {
            InputFormat::Jsonl => None,
            InputFormat::Csv => Some(','),
            InputFormat::Tsv => Some('\t'),
        }
    }
}

/// One line, or one row, which may have several lines.
pub struct Line {
    /// Where it starts, counted over all inputs, from 1.
    pub number: u64,
    /// Which input it is from.
    pub input: usize,
    /// Where it starts in that input, from 1.
    pub in_input: u64,
    /// What that input holds.
    pub format: InputFormat,
    /// Bytes of all inputs that had been read by then, before decompression.
    pub position: u64,
    /// The line without its end, or why there is none.
    pub content: Result<Vec<u8>, request::Error>,
}

impl Line {
    /// What it takes in a queue.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 128;
        OVERHEAD + self.content.as_ref().map_or(0, Vec::len)
    }
}

/// What to read.
#[derive(Clone)]
pub struct Inputs {
    /// Files; `-` is standard input.
    pub paths: Vec<PathBuf>,
    /// What they hold; by their names if nothing is said.
    pub format: Option<InputFormat>,
    /// Bytes that a line may have.
    pub limit: usize,
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
        let mut reading = Reading { queue, lines: 0, read: Arc::default(), limit: self.limit };
        for (input, path) in self.paths.iter().enumerate() {
            let format = self.format.unwrap_or_else(|| InputFormat::of(path));
            if reading.input(input, path, format).is_err() {
                return;
            }
        }
        queue.end();
    }
}

struct Reading<'a> {
    queue: &'a Queue<Line>,
    lines: u64,
    read: Arc<AtomicU64>,
    limit: usize,
}

/// Nobody reads any more.
struct Unwanted;

impl Reading<'_> {
    fn input(&mut self, input: usize, path: &Path, format: InputFormat) -> Result<(), Unwanted> {
        let before = self.lines;
        if let Err(error) = self.rows(input, path, format)? {
            // What follows cannot be read. That is said where the next record would stand, so that nothing is lost in silence.
            let name = path.display().to_string();
            let problem = request::Error::Unreadable { input: name, reason: error.to_string() };
            self.lines += 1;
            self.push(input, self.lines, self.lines - before, format, Err(problem))?;
        }
        Ok(())
    }

    fn rows(&mut self, input: usize, path: &Path, format: InputFormat) -> Result<io::Result<()>, Unwanted> {
        let before = self.lines;
        let opened: io::Result<Box<dyn BufRead>> = if path.as_os_str() == "-" {
            self.decoded(io::stdin().lock())
        } else {
            File::open(path).and_then(|file| self.decoded(file))
        };
        let mut lines = match opened {
            Ok(opened) => Lines::new(opened, self.limit),
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let start = self.lines + 1;
            let row = match format.separator() {
                None => lines.next(),
                Some(separator) => lines.row(separator),
            };
            self.lines = before + lines.count;
            match row {
                Ok(Some(Ok(content))) if is_blank(&content, format) => {}
                Ok(Some(content)) => self.push(input, start, start - before, format, content)?,
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn push(
        &self,
        input: usize,
        number: u64,
        in_input: u64,
        format: InputFormat,
        content: Result<Vec<u8>, request::Error>,
    ) -> Result<(), Unwanted> {
        let position = self.read.load(Ordering::Relaxed);
        let line = Line { number, input, in_input, format, position, content };
        self.queue.push(line.weight(), line).map_err(|_| Unwanted)
    }

    /// Takes compression off, which is recognised by the first bytes and not by a name.
    fn decoded<'a>(&self, source: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
        const GZIP: &[u8] = &[0x1f, 0x8b];
        const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
        let mut source = BufReader::with_capacity(1 << 16, Counted { source, read: self.read.clone() });
        let mut first = Vec::new();
        // One byte at a time, and only as long as it may be a mark: a slow writer's first line must not wait for a second one.
        while first.len() < ZSTD.len() && (GZIP.starts_with(&first) || ZSTD.starts_with(&first)) {
            match source.by_ref().bytes().next() {
                Some(byte) => first.push(byte?),
                None => break,
            }
        }
        let zstd = first == ZSTD;
        let gzip = first.starts_with(GZIP);
        let whole = BufReader::new(io::Cursor::new(first).chain(source));
        Ok(if zstd {
            Box::new(BufReader::new(ZstdFrames::new(whole)))
        } else if gzip {
            Box::new(BufReader::new(MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        })
    }
}

/// Whether a line is no request at all. A row of empty cells is one, if a bad one.
fn is_blank(line: &[u8], format: InputFormat) -> bool {
    match format {
        InputFormat::Jsonl => line.trim_ascii().is_empty(),
        InputFormat::Csv | InputFormat::Tsv => line.is_empty(),
    }
}

/// Counts what goes through.
struct Counted<R> {
    source: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Cuts bytes into lines of a bounded length.
pub struct Lines<R> {
    source: R,
    limit: usize,
    /// Lines that have begun.
    pub count: u64,
    /// Whether the last line ended with a line break.
    pub ended: bool,
    /// Bytes that have been taken.
    pub taken: u64,
}

/// A line, or why it cannot be had though the next one can.
type Content = Result<Vec<u8>, request::Error>;

impl<R: BufRead> Lines<R> {
    pub fn new(source: R, limit: usize) -> Self {
        Self { source, limit, count: 0, ended: true, taken: 0 }
    }

    /// The next line without its end.
    pub fn next(&mut self) -> io::Result<Option<Content>> {
        Ok(self.next_with_return()?.map(|line| line.map(without_return)))
    }

    /// The next line without its line feed. A line that is too long is read past, not kept.
    fn next_with_return(&mut self) -> io::Result<Option<Content>> {
        let mut line = Vec::new();
        // Two bytes more than allowed: the line's end.
        let most = (self.limit as u64).saturating_add(2);
        let read = self.source.by_ref().take(most).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.count += 1;
        self.taken += read as u64;
        self.ended = line.last() == Some(&b'\n');
        if self.ended {
            line.pop();
        }
        if self.count == 1 && line.starts_with("\u{feff}".as_bytes()) {
            line.drain(..3);
        }
        if line.len() > self.limit.saturating_add(usize::from(line.last() == Some(&b'\r'))) {
            drop(line);
            if !self.ended {
                self.ended = self.skip_line()?;
            }
            return Ok(Some(Err(request::Error::TooLong { limit: self.limit })));
        }
        Ok(Some(Ok(line)))
    }

    /// Reads to the end of the line; whether there was one.
    fn skip_line(&mut self) -> io::Result<bool> {
        loop {
            let buffer = match self.source.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let found = buffer.iter().position(|&byte| byte == b'\n');
            let (used, done) = match found {
                Some(at) => (at + 1, true),
                None => (buffer.len(), buffer.is_empty()),
            };
            self.source.consume(used);
            self.taken += used as u64;
            if done {
                return Ok(found.is_some());
            }
        }
    }

    /// The next row of a table: a line, or several if a quoted cell has line breaks.
    pub fn row(&mut self, separator: char) -> io::Result<Option<Content>> {
        let mut row = match self.next_with_return()? {
            Some(Ok(line)) => line,
            other => return Ok(other),
        };
        let mut quotes = Quotes::new(separator);
        quotes.scan(&row);
        while quotes.open() {
            let more = match self.next_with_return()? {
                Some(Ok(more)) => more,
                Some(Err(problem)) => return Ok(Some(Err(problem))),
                None => return Ok(Some(Err(request::Error::OpenQuote))),
            };
            if row.len().saturating_add(more.len()) >= self.limit {
                return Ok(Some(Err(request::Error::TooLong { limit: self.limit })));
            }
            quotes.scan(b"\n");
            quotes.scan(&more);
            row.push(b'\n');
            row.extend(more);
        }
        Ok(Some(Ok(without_return(row))))
    }
}

fn without_return(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8], limit: usize) -> Vec<Result<String, request::Error>> {
        let mut lines = Lines::new(text, limit);
        let all = std::iter::from_fn(|| lines.next().unwrap());
        all.map(|line| line.map(|line| String::from_utf8(line).unwrap())).collect()
    }

    #[test]
    fn lines_end_in_every_way() {
        let read: Vec<String> =
            lines("\u{feff}a\r\nb\n\n\u{feff}c".as_bytes(), 9).into_iter().map(Result::unwrap).collect();
        assert_eq!(read, ["a", "b", "", "\u{feff}c"]);
        assert!(lines(b"", 9).is_empty());
    }

    #[test]
    fn long_lines_are_read_past() {
        let long = Err(request::Error::TooLong { limit: 4 });
        assert_eq!(lines(b"abcd\nabcde\nab\n", 4), [Ok("abcd".into()), long.clone(), Ok("ab".into())]);
        assert_eq!(
            lines(b"abcd\r\nabcdefghijk\r\nab", 4),
            [Ok("abcd".into()), long.clone(), Ok("ab".into())]
        );
        assert_eq!(lines(b"abcdefgh", 4), [long]);
    }

    #[test]
    fn rows_may_have_several_lines() {
        let mut lines = Lines::new(&b"a,\"b\r\nc\"\"\nd\",e\r\nf\"g,h\n\"i\nj"[..], 99);
        let mut next = || lines.row(',').unwrap();
        assert_eq!(next(), Some(Ok(b"a,\"b\r\nc\"\"\nd\",e".to_vec())));
        assert_eq!(next(), Some(Ok(b"f\"g,h".to_vec())));
        assert_eq!(next(), Some(Err(request::Error::OpenQuote)));
        assert_eq!(next(), None);
        assert_eq!(lines.count, 6);
    }

    #[test]
    fn names_say_what_files_hold() {
        let of = |name: &str| InputFormat::of(Path::new(name));
        assert_eq!((of("a.csv"), of("b.TSV.gz")), (InputFormat::Csv, InputFormat::Tsv));
        assert_eq!((of("a.jsonl.zst"), of("-")), (InputFormat::Jsonl, InputFormat::Jsonl));
    }
}
