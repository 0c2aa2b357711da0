//! Reads the documents that a question is about.

use std::collections::HashSet;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Result;
use ignore::overrides::Override;
use spanqa::document::{self, ReadAs, Reading};
use spanqa::fs;
use spanqa::request::reply::DocumentId;

use super::hints::files::quoted;
use super::options::{choice, size};
use super::skipped::Skipped;
use super::walk::{self, WalkArgs};
use super::{Usage, terminal};

/// The largest document that is read unless told otherwise.
pub const DEFAULT_MAX_BYTES: u64 = 32 << 20;

const WAYS_TO_READ: &[(&str, &str)] = &[
    ("auto", "What it looks like"),
    ("text", "Text as it stands"),
    ("html", "HTML"),
    ("man", "A formatted manual page"),
];

/// What is read, and how.
#[derive(clap::Args, Debug, Clone)]
pub struct InputArgs {
    /// A text to read instead of a file; may be repeated
    #[arg(short, long = "context", value_name = "TEXT")]
    pub contexts: Vec<String>,
    /// Read the text files below folders, the current one if none is named; .gitignore counts, and hidden files are left out
    #[arg(short, long, help_heading = "Files")]
    pub recursive: bool,
    #[command(flatten)]
    pub files: FileArgs,
}

/// Which files are read, and how.
#[derive(clap::Args, Debug, Clone)]
#[command(next_help_heading = "Files")]
pub struct FileArgs {
    #[command(flatten)]
    pub walk: WalkArgs,
    /// What to take files for
    #[arg(long, value_parser = choice::<ReadAs>(WAYS_TO_READ), value_name = "FORM", default_value_t = ReadAs::Auto)]
    read_as: ReadAs,
    /// Read what this program prints instead of each file, whose path is its only argument; not for standard input
    #[arg(long, value_name = "COMMAND")]
    pre: Option<PathBuf>,
    /// With --pre: only for files whose path matches, or with ! in front for none that does; may be repeated
    #[arg(long, value_name = "GLOB", requires = "pre")]
    pre_glob: Vec<String>,
    /// Refuse documents larger than this, unpacked; 10k, 5M and 1G are powers of 1024
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_BYTES, value_parser = size)]
    pub max_bytes: u64,
}

impl FileArgs {
    /// What somebody has typed who said nothing about files but how large they may be.
    pub fn usual(max_bytes: u64) -> Self {
        let walk = WalkArgs::default();
        Self { walk, read_as: ReadAs::Auto, pre: None, pre_glob: Vec::new(), max_bytes }
    }

    /// How files are read.
    pub fn ways(&self) -> Result<Ways> {
        Ok(Ways {
            read_as: self.read_as,
            max_bytes: self.max_bytes,
            pre: self.pre.clone(),
            pre_globs: walk::globs(Path::new("."), &self.pre_glob, "--pre-glob")?,
        })
    }

    /// What the flags say, as a text: other flags, another text.
    pub fn spelled(&self) -> String {
        let Self { walk, read_as, pre, pre_glob, max_bytes } = self;
        format!("{} {read_as} {pre:?} {pre_glob:?} {max_bytes}", walk.spelled())
    }
}

/// A text that was read, and what to call it.
pub struct Text {
    pub id: DocumentId,
    pub text: document::Text,
}

impl InputArgs {
    /// Reads everything. `note` is told what was skipped in folders.
    pub fn read(&self, files: &[PathBuf], note: &mut dyn FnMut(String)) -> Result<Vec<Text>> {
        self.files.walk.refuse_without_folders(self.recursive)?;
        let mut inputs = Inputs {
            args: self,
            ways: self.files.ways()?,
            texts: Vec::new(),
            known: HashSet::new(),
            again: Vec::new(),
            empty: Vec::new(),
            note,
        };
        for (index, context) in self.contexts.iter().enumerate() {
            inputs.texts.push(Text { id: DocumentId::Index(index), text: context.clone().into() });
        }
        let nothing_named = files.is_empty() && self.contexts.is_empty();
        if nothing_named && self.recursive {
            inputs.folder(Path::new("."))?;
        } else if nothing_named {
            inputs.standard_input()?;
        }
        for path in files {
            if path.as_os_str() == "-" {
                inputs.standard_input()?;
            } else if path.is_dir() {
                inputs.folder(path)?;
            } else if inputs.is_new(path) {
                let text = inputs.file(path)?;
                inputs.texts.push(text);
            }
        }
        inputs.finish()
    }
}

/// How files are read, by the flags.
pub struct Ways {
    read_as: ReadAs,
    max_bytes: u64,
    pre: Option<PathBuf>,
    pre_globs: Override,
}

impl Ways {
    /// How to read a file, or standard input.
    pub fn of(&self, path: Option<&Path>) -> Reading<'_> {
        let wanted = |path: &&Path| !self.pre_globs.matched(path, false).is_ignore();
        Reading {
            read_as: self.read_as,
            limit: self.max_bytes,
            pre: path.filter(wanted).and(self.pre.as_deref()),
        }
    }

    /// The text of a file.
    pub fn read(&self, path: &Path) -> document::Result<document::Text> {
        self.of(Some(path)).file(path, &terminal::name(&path.display().to_string()))
    }
}

struct Inputs<'a> {
    args: &'a InputArgs,
    ways: Ways,
    texts: Vec<Text>,
    /// What was read so far, whatever names it was given.
    known: HashSet<PathBuf>,
    /// Files that were named again.
    again: Vec<String>,
    /// Folders in which the flags leave nothing to read.
    empty: Vec<Usage>,
    note: &'a mut dyn FnMut(String),
}

impl Inputs<'_> {
    fn standard_input(&mut self) -> Result<()> {
        let stdin = io::stdin();
        if stdin.is_terminal() {
            (self.note)("reading the text from standard input; end it with Ctrl-D".into());
        }
        let text = self.ways.of(None).stream("-", stdin.lock())?;
        self.texts.push(Text { id: DocumentId::Path("-".into()), text });
        Ok(())
    }

    fn file(&self, path: &Path) -> Result<Text> {
        let name = path.display().to_string();
        match self.ways.read(path) {
            Ok(text) => Ok(Text { id: DocumentId::Path(name), text }),
            Err(document::Error::Fs(fs::Error::Read { source, .. })) => {
                Err(cannot_read(&name, &source).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether a file was not read yet, under whatever name: its answers would all be there twice.
    fn is_new(&mut self, path: &Path) -> bool {
        // What has no such path cannot be read either, and reading says why.
        let new = path.canonicalize().map_or(true, |path| self.known.insert(path));
        if !new {
            self.again.push(terminal::name(&path.display().to_string()).into_owned());
        }
        new
    }

    /// What was read, with remarks about what was not.
    fn finish(self) -> Result<Vec<Text>> {
        let Self { texts, again, empty, note, .. } = self;
        match again.as_slice() {
            [] => {}
            [one] => note(format!("{one} is named twice and read once")),
            [first, more @ ..] => {
                note(format!("{first} and {} more are named twice and read once", more.len()))
            }
        }
        let mut empty = empty.into_iter();
        if texts.is_empty()
            && let Some(first) = empty.next()
        {
            return Err(first.into());
        }
        empty.for_each(|usage| note(usage.to_string()));
        Ok(texts)
    }

    /// Every text file below a folder, in the order of their names.
    fn folder(&mut self, folder: &Path) -> Result<()> {
        let name = folder.display().to_string();
        let name = terminal::name(&name);
        if !self.args.recursive {
            let hint = format!("`-r` reads the text files below it: spanqa ask \"...\" -r {}", quoted(&name));
            return Err(Usage::new(format!("{name} is a folder"), hint).into());
        }
        let before = self.texts.len() + self.again.len();
        let mut binaries = Skipped::binaries();
        for found in self.args.files.walk.files(folder)? {
            let path = match found {
                Ok(path) => path,
                Err(error) => {
                    (self.note)(format!("skipped: {error}"));
                    continue;
                }
            };
            if !self.is_new(&path) {
                continue;
            }
            match self.file(&path) {
                Ok(text) => self.texts.push(text),
                Err(error) => match error.downcast_ref() {
                    // It will fail for every other file, too.
                    Some(document::Error::NoCommand { .. }) => return Err(error),
                    Some(binary) if document::Error::is_binary(binary) => binaries.count(binary),
                    _ => (self.note)(format!("skipped: {error:#}")),
                },
            }
        }
        binaries.report(self.note);
        if self.texts.len() + self.again.len() == before {
            let nothing = self.args.files.walk.nothing_below(folder, &name)?;
            // A glob is for all folders and may well choose one of them.
            if !self.args.files.walk.is_limited() {
                return Err(nothing.into());
            }
            self.empty.push(nothing);
        }
        Ok(())
    }
}

fn cannot_read(name: &str, error: &io::Error) -> Usage {
    let shown = terminal::name(name);
    let file = quoted(&shown);
    let url = ["http://", "https://", "ftp://", "www."].iter().any(|start| name.starts_with(start));
    let is_link = Path::new(name).is_symlink();
    let hint = match error.kind() {
        _ if url => format!("spanqa reads files, not addresses: curl -sL '{shown}' | spanqa ask \"...\""),
        _ if name.starts_with("file:") => {
            let path = name.trim_start_matches("file:").trim_start_matches("//");
            let path = terminal::name(path.strip_prefix("localhost").unwrap_or(path));
            format!("name the file by its path: spanqa ask \"...\" {}", quoted(&path))
        }
        io::ErrorKind::NotFound if is_link => {
            format!("it is a symbolic link to something that is not there: `readlink {file}` says what")
        }
        io::ErrorKind::NotFound => {
            "check the path; the question comes first and in quotes, then the files".to_owned()
        }
        io::ErrorKind::PermissionDenied => "check the file's permissions".to_owned(),
        _ if is_link => {
            format!("it is a symbolic link that leads nowhere: `ls -l {file}` shows where it goes")
        }
        _ => "check the file and its permissions".to_owned(),
    };
    Usage::new(format!("cannot read {shown}: {error}"), hint)
}
