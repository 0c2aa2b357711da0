//! Reads the documents that a question is about.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::Result;
use spanqa::request::reply::DocumentId;
use walkdir::WalkDir;

use super::{Usage, terminal};

/// The largest document that is read unless told otherwise.
pub const DEFAULT_MAX_BYTES: u64 = 32 << 20;

/// A text that was read, and what to call it.
pub struct Text {
    pub id: DocumentId,
    pub text: String,
}

/// What was asked to be read.
pub struct Inputs<'a> {
    pub files: &'a [PathBuf],
    pub contexts: &'a [String],
    pub recursive: bool,
    pub max_bytes: u64,
}

impl Inputs<'_> {
    /// Reads everything. `note` is told what was skipped in folders.
    pub fn read(&self, note: &mut dyn FnMut(String)) -> Result<Vec<Text>> {
        let mut texts = Vec::new();
        for (index, context) in self.contexts.iter().enumerate() {
            texts.push(Text { id: DocumentId::Index(index), text: context.clone() });
        }
        if self.files.is_empty() && self.contexts.is_empty() {
            texts.push(self.standard_input(note)?);
        }
        for path in self.files {
            if path.as_os_str() == "-" {
                texts.push(self.standard_input(note)?);
            } else if path.is_dir() {
                self.folder(path, &mut texts, note)?;
            } else {
                texts.push(self.file(path)?);
            }
        }
        Ok(texts)
    }

    fn standard_input(&self, note: &mut dyn FnMut(String)) -> Result<Text> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            note("reading the text from standard input; end it with Ctrl-D".into());
        }
        self.text("-", stdin.lock())
    }

    fn file(&self, path: &Path) -> Result<Text> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| {
            let name = terminal::name(&name);
            let hint = match error.kind() {
                io::ErrorKind::NotFound => {
                    "check the path; the question comes first and in quotes, then the files"
                }
                _ => "check the file's permissions",
            };
            Usage::new(format!("cannot read {name}: {error}"), hint)
        })?;
        self.text(&name, file)
    }

    /// Every text file below a folder, in the order of their names.
    fn folder(&self, folder: &Path, texts: &mut Vec<Text>, note: &mut dyn FnMut(String)) -> Result<()> {
        let name = folder.display().to_string();
        let name = terminal::name(&name);
        if !self.recursive {
            let hint = format!("`-r` reads the text files below it: spanqa ask -r \"...\" {name}");
            return Err(Usage::new(format!("{name} is a folder"), hint).into());
        }
        let before = texts.len();
        for entry in WalkDir::new(folder).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => match self.file(entry.path()) {
                    Ok(text) => texts.push(text),
                    Err(error) => note(format!("skipped: {error:#}")),
                },
                Ok(_) => {}
                Err(error) => note(format!("skipped: {error}")),
            }
        }
        if texts.len() == before {
            return Err(Usage::new(format!("there is no text file below {name}"), CONVERT).into());
        }
        Ok(())
    }

    fn text(&self, path: &str, reader: impl Read) -> Result<Text> {
        let name = &terminal::name(path);
        let mut bytes = Vec::new();
        // One byte more than allowed tells a file of the largest size from a larger one.
        reader.take(self.max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(|error| {
            Usage::new(format!("cannot read {name}: {error}"), "check that it is a readable file")
        })?;
        if let Some(at) = bytes.iter().take(PROBE).position(|&byte| byte == 0)
            && !is_utf16(&bytes)
        {
            return Err(Usage::new(format!("{name} looks binary: it has a NUL at byte {at}"), CONVERT).into());
        }
        if bytes.len() as u64 > self.max_bytes {
            let hint =
                "split it, or raise the limit with `--max-bytes`; a CPU reads some 10 kB of text a second";
            return Err(Usage::new(format!("{name} is larger than {} bytes", self.max_bytes), hint).into());
        }
        let text =
            String::from_utf8(bytes).map_err(|error| not_text(name, error.as_bytes(), error.utf8_error()))?;
        Ok(Text { id: DocumentId::Path(path.to_owned()), text })
    }
}

/// How far into a file a NUL marks it as binary.
const PROBE: usize = 8192;

/// The way out for everything that is not text.
const CONVERT: &str = "spanqa reads UTF-8 text; convert other formats first, for example with pdftotext";

fn is_utf16(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])
}

fn not_text(name: &str, bytes: &[u8], error: std::str::Utf8Error) -> Usage {
    let at = error.valid_up_to();
    if is_utf16(bytes) {
        let hint = format!("convert it: iconv -f UTF-16 -t UTF-8 {name} | spanqa ask \"...\"");
        return Usage::new(format!("{name} is UTF-16, not UTF-8"), hint);
    }
    if bytes.starts_with(b"%PDF") {
        return Usage::new(format!("{name} is a PDF file"), CONVERT);
    }
    let hint = format!("convert it: iconv -f LATIN1 -t UTF-8 {name} | spanqa ask \"...\"");
    Usage::new(format!("{name} is not valid UTF-8 at byte {at}"), hint)
}
