//! From what people have, files, to the text that is read.
//!
//! ```text
//! compression  takes .gz, .zst and .bz2 off
//! kind         says by its first bytes what a file is
//! program      has other programs make text of it: pdftotext, pandoc, man, or the user's own
//! encoding     bytes -> text, without a byte order mark
//! manual       formatted manual pages: letters struck over each other, words hyphenated over lines
//! html         HTML -> the text that a browser shows
//! origin       a place in the text -> the place in the file
//! ```
//!
//! Two things are kept apart. What is *quoted and counted* is the document's text: `start`, `end`, `line` and `column` count in it.
//! What the *model sees* may leave out pieces of it, such as a hyphen at the end of a line.

pub mod compression;
pub mod encoding;
pub mod error;
mod html;
mod hyphens;
pub mod kind;
mod manual;
pub mod origin;
mod program;
mod zstd;

use std::fmt;
use std::io::{self, Cursor, Read};
use std::ops::Range;
use std::path::Path;
use std::str::FromStr;

use crate::fs;
use crate::text::view::View;

pub use error::{Error, Result};
pub use origin::{Origin, SourcePlace};

use compression::{Compression, unpack};
use kind::{HEAD, Kind};
use program::{Converter, Failure};

/// The text of a document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// What is quoted, and what offsets count in.
    pub text: String,
    /// What the model sees, where that is not the same.
    pub seen: Option<View>,
    /// How the text came out of its file.
    pub origin: Origin,
}

impl Text {
    /// What a model sees of it.
    pub fn seen(&self) -> &str {
        self.seen.as_ref().map_or(&self.text, View::text)
    }

    /// A piece of the text as a text of its own, seen as it is seen in the whole one. Where it stands in a file only the whole one tells.
    pub fn part(&self, range: Range<usize>) -> Self {
        let seen = self.seen.as_ref().map(|view| view.part(&self.text, range.clone()));
        Self { text: self.text[range].to_owned(), seen, origin: Origin::Plain }
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// What to take a file for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadAs {
    /// What it looks like.
    #[default]
    Auto,
    /// Text as it stands.
    Text,
    /// HTML.
    Html,
    /// A formatted manual page.
    Man,
}

impl fmt::Display for ReadAs {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            ReadAs::Auto => "auto",
            ReadAs::Text => "text",
            ReadAs::Html => "html",
            ReadAs::Man => "man",
        })
    }
}

impl FromStr for ReadAs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(ReadAs::Auto),
            "text" => Ok(ReadAs::Text),
            "html" => Ok(ReadAs::Html),
            "man" => Ok(ReadAs::Man),
            _ => Err(format!("`{text}` is not a way to read: expected auto, text, html, man")),
        }
    }
}

/// How files are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// What to take them for.
    pub read_as: ReadAs,
    /// Bytes that a text may have, unpacked.
    pub limit: u64,
    /// A command that makes text of files in place of everything here.
    pub pre: Option<&'a Path>,
}

impl Reading<'_> {
    /// Reads a file, which messages call `name`. Pipes and devices are files here: whoever must not wait for them asks first.
    pub fn file(&self, path: &Path, name: &str) -> Result<Text> {
        let opened = || std::fs::File::open(path).and_then(|file| Ok((file.metadata()?.is_file(), file)));
        let (regular, file) = opened().map_err(|source| fs::Error::Read { path: path.to_owned(), source })?;
        let document = Document { name, path: regular.then_some(path), reading: self };
        match self.pre {
            Some(command) => document.preprocessed(command, path),
            None => document.read(file),
        }
    }

    /// Reads a document that has no file: `name` is what messages call it.
    pub fn stream(&self, name: &str, bytes: impl Read) -> Result<Text> {
        Document { name, path: None, reading: self }.read(bytes)
    }
}

/// A document on its way to its text.
struct Document<'a> {
    name: &'a str,
    /// Where other programs find it.
    path: Option<&'a Path>,
    reading: &'a Reading<'a>,
}

impl Document<'_> {
    fn read(&self, bytes: impl Read) -> Result<Text> {
        let (packed, mut unpacked) = unpack(bytes).map_err(|error| self.unreadable(None, error))?;
        let mut head = Vec::new();
        (unpacked.by_ref().take(HEAD as u64).read_to_end(&mut head))
            .map_err(|error| self.unreadable(packed, error))?;
        let kind = Kind::of(&head, self.path.unwrap_or(Path::new(self.name)));
        let converter = kind.and_then(Converter::of).filter(|_| self.reading.read_as == ReadAs::Auto);
        let mut whole = Cursor::new(head).chain(unpacked);
        if let Some(converter) = converter {
            return self.converted(converter, &mut whole, packed);
        }
        if let Some(kind) = kind {
            return Err(Error::OtherKind { path: self.name.to_owned(), kind });
        }
        let mut bytes = Vec::new();
        // One byte more than allowed tells a text of the largest size from a larger one.
        (whole.take(self.reading.limit.saturating_add(1)).read_to_end(&mut bytes))
            .map_err(|error| self.unreadable(packed, error))?;
        self.formed(self.decoded(bytes)?, packed)
    }

    /// Has another program make the text.
    fn converted(
        &self,
        converter: Converter,
        bytes: &mut dyn Read,
        packed: Option<Compression>,
    ) -> Result<Text> {
        let limit = self.reading.limit;
        let made = match self.path.filter(|_| packed.is_none()) {
            Some(path) => converter.run(path, limit),
            None => converter.run_on(bytes, limit),
        };
        let made = made.map_err(|failure| match failure {
            Failure::Missing => Error::NoProgram {
                path: self.name.to_owned(),
                what: converter.what,
                program: converter.program,
            },
            failure => self.failed(converter.program, failure),
        })?;
        let made = self.decoded(made)?;
        Ok(match converter.format {
            // It has joined broken words itself.
            "pdf" => Text { origin: Origin::Pdf, ..made.into() },
            format @ "roff" => Text { origin: Origin::Program(format), ..manual::text(made) },
            format => Text { origin: Origin::Program(format), ..made.into() },
        })
    }

    /// Takes a text for what it looks like, or for what it is said to be.
    fn formed(&self, text: String, packed: Option<Compression>) -> Result<Text> {
        Ok(match self.reading.read_as {
            ReadAs::Text => text.into(),
            ReadAs::Html => html::document(&text),
            ReadAs::Man => manual::text(text),
            ReadAs::Auto if html::is_page(&text) || self.is_named_html() => html::document(&text),
            ReadAs::Auto if manual::is_source(&text) => {
                return self.converted(program::MAN, &mut text.as_bytes(), packed);
            }
            ReadAs::Auto if manual::is_page(&text) => manual::text(text),
            ReadAs::Auto => text.into(),
        })
    }

    /// Whether its name says that it is HTML, with or without that of a compression behind it.
    fn is_named_html(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        let name =
            [".gz", ".zst", ".bz2"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
        [".html", ".htm", ".xhtml"].iter().any(|extension| name.ends_with(extension))
    }

    /// Has the user's own command make the text.
    fn preprocessed(&self, command: &Path, path: &Path) -> Result<Text> {
        let program = command.display().to_string();
        let made = program::preprocess(command, path, self.reading.limit)
            .map_err(|failure| self.failed(&program, failure))?;
        Ok(Text { origin: Origin::Program("pre"), ..self.decoded(made)?.into() })
    }

    fn decoded(&self, bytes: Vec<u8>) -> Result<String> {
        let path = || self.name.to_owned();
        if let Some(at) = encoding::nul(&bytes) {
            return Err(Error::Binary { path: path(), at });
        }
        if bytes.len() as u64 > self.reading.limit {
            return Err(Error::TooLarge { path: path(), limit: self.reading.limit });
        }
        let declared = html::declared_encoding(&bytes);
        encoding::decode(bytes).map_err(|encoding::NotText { at, encoding }| Error::NotText {
            path: path(),
            at,
            encoding,
            declared,
        })
    }

    fn failed(&self, program: &str, failure: Failure) -> Error {
        let path = self.name.to_owned();
        let reason = match failure {
            Failure::TooLarge => return Error::TooLarge { path, limit: self.reading.limit },
            Failure::Missing => return Error::NoCommand { path, command: program.to_owned() },
            Failure::Failed(reason) => reason,
        };
        Error::ProgramFailed { path, program: program.to_owned(), reason }
    }

    fn unreadable(&self, packed: Option<Compression>, source: io::Error) -> Error {
        let path = self.name.to_owned();
        match packed {
            Some(compression) => Error::Damaged { path, compression, reason: source.to_string() },
            None => fs::Error::Read { path: path.into(), source }.into(),
        }
    }
}
