//! Which texts there are: names of files, and lines. It runs in a thread of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Result;
use spanqa::document::Reading;
use spanqa::document::compression::unpack;
use spanqa::request;
use spanqa::request::lines::{Content, Lines};
use spanqa::request::texts::Texts;
use spanqa::stream::{self, Incoming, Queue, TextSource};

use super::Args;
use super::record::{Name, Place, Ticket};
use crate::cli::batch::input::{Counted, can_be_read, open, other_kind};
use crate::cli::{Usage, terminal};

/// What an input holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    /// One text.
    Text,
    /// A text a line.
    Lines,
    /// JSON lines.
    Requests,
    /// JSON lines if its first line is one, else one text.
    Unknown,
}

struct Input {
    /// `-` is standard input.
    path: PathBuf,
    holds: Holds,
    in_folder: bool,
}

/// What to read.
pub struct Inputs {
    contexts: Vec<String>,
    inputs: Vec<Input>,
    /// How standard input is read.
    reading: Reading<'static>,
}

impl Inputs {
    /// Finds the files, and refuses what cannot be read. `note` is told what a person should know.
    pub fn plan(args: &Args, note: &mut dyn FnMut(String)) -> Result<Self> {
        args.inputs.files.walk.refuse_without_folders(args.inputs.recursive)?;
        let Reading { read_as, limit, .. } = args.inputs.files.ways()?.of(None);
        let reading = Reading { read_as, limit, pre: None };
        let mut planned = Self { contexts: args.inputs.contexts.clone(), inputs: Vec::new(), reading };
        let mut files = args.files.clone();
        if files.is_empty() && args.inputs.recursive {
            files.push(".".into());
        } else if files.is_empty() && planned.contexts.is_empty() {
            files.push("-".into());
        }
        for path in files {
            if path.as_os_str() == "-" {
                if io::stdin().is_terminal() {
                    note("reading from standard input; end it with Ctrl-D".into());
                }
            } else if path.is_dir() {
                planned.folder(args, &path, note)?;
                continue;
            } else if let Err(error) = can_be_read(&path) {
                let name = path.display().to_string();
                let what = format!("cannot read {}: {error}", terminal::name(&name));
                return Err(Usage::new(what, "check the path and its permissions").into());
            }
            planned.push(args, path, false);
        }
        planned.refuse_what_has_no_lines()?;
        Ok(planned)
    }

    fn push(&mut self, args: &Args, path: PathBuf, in_folder: bool) {
        let holds = match path.as_os_str() == "-" {
            _ if args.lines => Holds::Lines,
            _ if args.jsonl => Holds::Requests,
            true => Holds::Unknown,
            false if is_named_jsonl(&path) => Holds::Requests,
            false => Holds::Text,
        };
        self.inputs.push(Input { path, holds, in_folder });
    }

    fn folder(&mut self, args: &Args, folder: &Path, note: &mut dyn FnMut(String)) -> Result<()> {
        let name = folder.display().to_string();
        let name = terminal::name(&name);
        if !args.inputs.recursive {
            let hint = format!("`-r` reads the text files below it: spanqa embed -r {name}");
            return Err(Usage::new(format!("{name} is a folder"), hint).into());
        }
        let before = self.inputs.len();
        for found in args.inputs.files.walk.files(folder)? {
            match found {
                Ok(path) => self.push(args, path, true),
                Err(error) => note(format!("skipped: {error}")),
            }
        }
        if self.inputs.len() == before {
            return Err(args.inputs.files.walk.nothing_below(folder, &name)?.into());
        }
        Ok(())
    }

    /// Nobody should wait for a model to hear that.
    fn refuse_what_has_no_lines(&mut self) -> Result<()> {
        let mut refused = Ok(());
        self.inputs.retain(|input| {
            let by_line = matches!(input.holds, Holds::Lines | Holds::Requests);
            if !by_line || !input.path.is_file() {
                return true;
            }
            match other_kind(&input.path) {
                Ok(Some(_)) if input.in_folder => false,
                Ok(Some(kind)) if refused.is_ok() => {
                    let name = input.path.display().to_string();
                    let what =
                        format!("{} is {}, which has no lines", terminal::name(&name), kind.describe());
                    let hint = "leave out `--lines` and `--jsonl` to read it as one text";
                    refused = Err(Usage::new(what, hint).into());
                    false
                }
                _ => true,
            }
        });
        refused
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.inputs.iter().map(|input| &input.path)
    }

    /// Bytes of all inputs together, if that is known.
    pub fn size(&self) -> Option<u64> {
        let sizes = self.inputs.iter().map(|input| {
            std::fs::metadata(&input.path).ok().filter(|data| data.is_file()).map(|data| data.len())
        });
        sizes.sum::<Option<u64>>().filter(|_| !self.inputs.is_empty())
    }

    /// Reads everything into the queue, and ends it.
    pub fn read(self, queue: &Queue<Incoming<Ticket>>) {
        let Self { contexts, inputs, reading } = self;
        let mut reader = Reader { queue, reading, lines: 0, read: Arc::default() };
        for (number, text) in (1u64..).zip(contexts) {
            let name = Name { id: Some(number.into()), ..Name::default() };
            if reader.push(name, Place::default(), false, Ok(TextSource::Text(text))).is_err() {
                return;
            }
        }
        for input in &inputs {
            if reader.input(input).is_err() {
                return;
            }
        }
        queue.end();
    }
}

/// Nobody reads any more.
struct Unwanted;

struct Reader<'a> {
    queue: &'a Queue<Incoming<Ticket>>,
    reading: Reading<'static>,
    /// Lines of all inputs.
    lines: u64,
    /// Bytes of all inputs.
    read: Arc<AtomicU64>,
}

impl Reader<'_> {
    fn push(
        &self,
        name: Name,
        place: Place,
        in_folder: bool,
        source: stream::Result<TextSource>,
    ) -> Result<(), Unwanted> {
        let position = self.read.load(Ordering::Relaxed);
        let incoming = Incoming { ticket: Ticket { name, place, in_folder, position }, source };
        self.queue.push(incoming.weight(), incoming).map_err(|_| Unwanted)
    }

    fn input(&mut self, input: &Input) -> Result<(), Unwanted> {
        let path = &input.path;
        let standard_input = path.as_os_str() == "-";
        match input.holds {
            Holds::Text => {
                let size = path.metadata().map_or(0, |about| about.len());
                self.read.fetch_add(size, Ordering::Relaxed);
                let name = Name { file: Some(path.display().to_string()), ..Name::default() };
                self.push(name, Place::default(), input.in_folder, Ok(TextSource::File(path.clone())))
            }
            Holds::Unknown => self.unknown(input),
            Holds::Lines | Holds::Requests => {
                let read = self.read.clone();
                let opened = match standard_input {
                    true => open(Counted { source: io::stdin().lock(), read }, path),
                    false => File::open(path).and_then(|source| open(Counted { source, read }, path)),
                };
                match opened {
                    Ok(Ok((source, _))) => self.by_line(input, input.holds, Lines::new(source, self.limit())),
                    Ok(Err(kind)) => {
                        let input_name = path.display().to_string();
                        self.failed(input, request::Error::NoRequests { input: input_name, kind }.into())
                    }
                    Err(error) => self.unreadable(input, &error),
                }
            }
        }
    }

    /// Standard input whose first line tells what it is.
    fn unknown(&mut self, input: &Input) -> Result<(), Unwanted> {
        let stdin = io::stdin().lock();
        let opened = unpack(stdin).and_then(|(_, mut source)| {
            let mut first = Vec::new();
            source.by_ref().take(self.reading.limit.saturating_add(2)).read_until(b'\n', &mut first)?;
            Ok((first, source))
        });
        let (first, source) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.unreadable(input, &error),
        };
        let looks_like_requests = is_request(&first);
        let whole = BufReader::new(Cursor::new(first).chain(source));
        if looks_like_requests {
            return self.by_line(input, Holds::Requests, Lines::new(whole, self.limit()));
        }
        let name = Name { file: Some("-".into()), ..Name::default() };
        let text = self.reading.stream("-", whole).map(Box::new).map(TextSource::Document);
        self.push(name, Place::default(), false, text.map_err(stream::Error::from))
    }

    /// A text, or a request, a line.
    fn by_line(
        &mut self,
        input: &Input,
        holds: Holds,
        mut lines: Lines<impl BufRead>,
    ) -> Result<(), Unwanted> {
        let before = self.lines;
        loop {
            let content = match lines.next() {
                Ok(Some(content)) => content,
                Ok(None) => return Ok(()),
                Err(error) => return self.unreadable(input, &error),
            };
            self.lines = before + lines.count;
            match holds {
                Holds::Lines => self.line(input, lines.count, content)?,
                _ => self.request(input, lines.count, content)?,
            }
        }
    }

    fn line(&self, input: &Input, line: u64, content: Content) -> Result<(), Unwanted> {
        let text = content.and_then(|line| {
            String::from_utf8(line)
                .map_err(|error| request::Error::NotUtf8 { at: error.utf8_error().valid_up_to() })
        });
        let file = Some(input.path.display().to_string());
        let name = Name { file, line: Some(line), ..Name::default() };
        self.push(name, Place::default(), false, text.map(TextSource::Text).map_err(stream::Error::from))
    }

    fn request(&self, input: &Input, line: u64, content: Content) -> Result<(), Unwanted> {
        let place = Place { file: Some(input.path.display().to_string()), line: Some(line) };
        let content = match content {
            Ok(content) if content.trim_ascii().is_empty() => return Ok(()),
            Ok(content) => Texts::from_json(&content).map_err(|rejected| (rejected.id, rejected.problem)),
            Err(problem) => Err((None, problem)),
        };
        match content {
            Ok(Texts { id, texts, listed }) => {
                let id = id.unwrap_or_else(|| self.lines.into());
                for (index, text) in texts.into_iter().enumerate() {
                    let text_index = listed.then_some(index);
                    let name = Name { id: Some(id.clone()), text_index, ..Name::default() };
                    self.push(name, place.clone(), false, Ok(TextSource::Text(text)))?;
                }
                Ok(())
            }
            Err((id, problem)) => {
                self.push(Name { id, ..Name::default() }, place, false, Err(problem.into()))
            }
        }
    }

    /// What follows cannot be read. That is said where the next record would stand, so that nothing is lost in silence.
    fn unreadable(&self, input: &Input, error: &io::Error) -> Result<(), Unwanted> {
        let name = input.path.display().to_string();
        self.failed(input, request::Error::Unreadable { input: name, reason: error.to_string() }.into())
    }

    fn failed(&self, input: &Input, error: stream::Error) -> Result<(), Unwanted> {
        let name = Name { file: Some(input.path.display().to_string()), ..Name::default() };
        self.push(name, Place::default(), input.in_folder, Err(error))
    }

    /// Bytes that a line may have.
    fn limit(&self) -> usize {
        usize::try_from(self.reading.limit).unwrap_or(usize::MAX)
    }
}

/// Whether a line is a JSON object or string.
fn is_request(line: &[u8]) -> bool {
    let value = serde_json::from_slice::<serde_json::Value>(line);
    value.is_ok_and(|value| value.is_object() || value.is_string())
}

fn is_named_jsonl(path: &Path) -> bool {
    let name = path.to_string_lossy().to_ascii_lowercase();
    let name = [".gz", ".zst", ".bz2"].iter().find_map(|packed| name.strip_suffix(packed)).unwrap_or(&name);
    [".jsonl", ".ndjson"].iter().any(|extension| name.ends_with(extension))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_tells_requests_from_text() {
        for (line, requests) in [
            (&b"{\"text\": \"a\"}\n"[..], true),
            (b"\"a text\"\r\n", true),
            (b"{\n", false),
            (b"\"He said so\", he said.\n", false),
            (b"7\n", false),
            (b"", false),
        ] {
            assert_eq!(is_request(line), requests, "{}", String::from_utf8_lossy(line));
        }
        for (name, named) in [("a.jsonl", true), ("A.NDJSON.gz", true), ("a.json", false), ("jsonl", false)] {
            assert_eq!(is_named_jsonl(Path::new(name)), named, "{name}");
        }
    }
}
