//! Requests as they come in: lines, or rows of a table, of a bounded length.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::Path;
use std::str::FromStr;

use super::error::Error;
use super::table::Quotes;

/// How requests, or records, are written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON object a line.
    Jsonl,
    /// A table with commas and a header.
    Csv,
    /// A table with tabs and a header.
    Tsv,
}

impl Format {
    /// What a file's name says it holds.
    pub fn of(path: &Path) -> Self {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let name =
            [".gz", ".zst", ".bz2"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
        match name.rsplit('.').next() {
            Some("csv") => Format::Csv,
            Some("tsv" | "tab") => Format::Tsv,
            _ => Format::Jsonl,
        }
    }

    /// The separator of a table's cells.
    pub fn separator(self) -> Option<char> {
        match self {
            Format::Jsonl => None,
            Format::Csv => Some(','),
            Format::Tsv => Some('\t'),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Format::Jsonl => "jsonl",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
        })
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "jsonl" => Ok(Format::Jsonl),
            "csv" => Ok(Format::Csv),
            "tsv" => Ok(Format::Tsv),
            _ => Err(format!("`{text}` is not a format: expected jsonl, csv, tsv")),
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
    pub format: Format,
    /// Bytes of all inputs that had been read by then, before decompression.
    pub position: u64,
    /// The line without its end, or why there is none.
    pub content: Content,
}

impl Line {
    /// About the memory that it takes.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 128;
        OVERHEAD + self.content.as_ref().map_or(0, Vec::len)
    }

    /// Whether it is no request at all. A row of empty cells is one, if a bad one.
    pub fn is_blank(&self) -> bool {
        match (&self.content, self.format) {
            (Ok(line), Format::Jsonl) => line.trim_ascii().is_empty(),
            (Ok(line), Format::Csv | Format::Tsv) => line.is_empty(),
            (Err(_), _) => false,
        }
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
pub type Content = Result<Vec<u8>, Error>;

impl<R: BufRead> Lines<R> {
    /// Lines of at most `limit` bytes.
    pub fn new(source: R, limit: usize) -> Self {
        Self { source, limit, count: 0, ended: true, taken: 0 }
    }

    /// The next line without its end.
    #[expect(clippy::should_implement_trait, reason = "it may fail, and the next call may not")]
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
            return Ok(Some(Err(Error::TooLong { limit: self.limit })));
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
                None => return Ok(Some(Err(Error::OpenQuote))),
            };
            if row.len().saturating_add(more.len()) >= self.limit {
                return Ok(Some(Err(Error::TooLong { limit: self.limit })));
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

    fn lines(text: &[u8], limit: usize) -> Vec<Result<String, Error>> {
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
        let long = Err(Error::TooLong { limit: 4 });
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
        assert_eq!(next(), Some(Err(Error::OpenQuote)));
        assert_eq!(next(), None);
        assert_eq!(lines.count, 6);
    }

    #[test]
    fn names_say_what_files_hold() {
        let of = |name: &str| Format::of(Path::new(name));
        assert_eq!((of("a.csv"), of("b.TSV.gz")), (Format::Csv, Format::Tsv));
        assert_eq!((of("a.jsonl.zst"), of("-")), (Format::Jsonl, Format::Jsonl));
    }
}
