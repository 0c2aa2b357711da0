//! Reads the documents that a question is about.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Result;
use ignore::overrides::Override;
use spanqa::document::{self, ReadAs, Reading};
use spanqa::fs;
use spanqa::request::reply::DocumentId;

use super::options::choice;
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

/// Which files are read, and how.
#[derive(clap::Args, Debug, Clone)]
pub struct InputArgs {
    /// A text to read instead of a file; may be repeated
    #[arg(short, long = "context", value_name = "TEXT")]
    pub contexts: Vec<String>,
    #[command(flatten)]
    pub walk: WalkArgs,
    /// What to take files for
    #[arg(long, value_parser = choice::<ReadAs>(WAYS_TO_READ), value_name = "FORM", default_value_t = ReadAs::Auto, help_heading = "Files")]
    read_as: ReadAs,
    /// Read what this command prints instead of each file, whose path it gets; not for standard input
    #[arg(long, value_name = "COMMAND", help_heading = "Files")]
    pre: Option<PathBuf>,
    /// With --pre: only for files whose path matches, or with ! in front for none that does; may be repeated
    #[arg(long, value_name = "GLOB", requires = "pre", help_heading = "Files")]
    pre_glob: Vec<String>,
    /// Refuse documents larger than this, unpacked
    #[arg(long, value_name = "BYTES", default_value_t = DEFAULT_MAX_BYTES, help_heading = "Files")]
    pub max_bytes: u64,
}

/// A text that was read, and what to call it.
pub struct Text {
    pub id: DocumentId,
    pub text: document::Text,
}

impl InputArgs {
    /// How files are read.
    pub fn ways(&self) -> Result<Ways<'_>> {
        Ok(Ways { args: self, pre_globs: walk::globs(Path::new("."), &self.pre_glob, "--pre-glob")? })
    }

    /// Reads everything. `note` is told what was skipped in folders.
    pub fn read(&self, files: &[PathBuf], note: &mut dyn FnMut(String)) -> Result<Vec<Text>> {
        let mut inputs = Inputs { args: self, ways: self.ways()?, texts: Vec::new(), note };
        for (index, context) in self.contexts.iter().enumerate() {
            inputs.texts.push(Text { id: DocumentId::Index(index), text: context.clone().into() });
        }
        let nothing_named = files.is_empty() && self.contexts.is_empty();
        if nothing_named && self.walk.recursive {
            inputs.folder(Path::new("."))?;
        } else if nothing_named {
            inputs.standard_input()?;
        }
        for path in files {
            if path.as_os_str() == "-" {
                inputs.standard_input()?;
            } else if path.is_dir() {
                inputs.folder(path)?;
            } else {
                let text = inputs.file(path)?;
                inputs.texts.push(text);
            }
        }
        Ok(inputs.texts)
    }
}

/// How files are read, by the flags.
pub struct Ways<'a> {
    args: &'a InputArgs,
    pre_globs: Override,
}

impl Ways<'_> {
    /// How to read a file, or standard input.
    pub fn of(&self, path: Option<&Path>) -> Reading<'_> {
        let wanted = |path: &&Path| !self.pre_globs.matched(path, false).is_ignore();
        Reading {
            read_as: self.args.read_as,
            limit: self.args.max_bytes,
            pre: path.filter(wanted).and(self.args.pre.as_deref()),
        }
    }
}

struct Inputs<'a> {
    args: &'a InputArgs,
    ways: Ways<'a>,
    texts: Vec<Text>,
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
        match self.ways.of(Some(path)).file(path, &terminal::name(&name)) {
            Ok(text) => Ok(Text { id: DocumentId::Path(name), text }),
            Err(document::Error::Fs(fs::Error::Read { source, .. })) => {
                Err(cannot_read(&name, &source).into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Every text file below a folder, in the order of their names.
    fn folder(&mut self, folder: &Path) -> Result<()> {
        let name = folder.display().to_string();
        let name = terminal::name(&name);
        if !self.args.walk.recursive {
            let hint = format!("`-r` reads the text files below it: spanqa ask -r \"...\" {name}");
            return Err(Usage::new(format!("{name} is a folder"), hint).into());
        }
        let before = self.texts.len();
        let mut binaries = Binaries::default();
        for found in self.args.walk.files(folder)? {
            match found.map(|path| self.file(&path)) {
                Ok(Ok(text)) => self.texts.push(text),
                Ok(Err(error)) => match error.downcast_ref() {
                    Some(binary) if document::Error::is_binary(binary) => binaries.count(binary),
                    _ => (self.note)(format!("skipped: {error:#}")),
                },
                Err(error) => (self.note)(format!("skipped: {error}")),
            }
        }
        binaries.report(self.note);
        if self.texts.len() == before {
            let hint = self.args.walk.advice().unwrap_or_else(|| NOTHING_FOUND.to_owned());
            return Err(Usage::new(format!("there is no text file below {name}"), hint).into());
        }
        Ok(())
    }
}

/// The way out for a folder without text.
pub const NOTHING_FOUND: &str =
    "`--hidden` and `--no-ignore` read what is hidden or ignored; `--pre COMMAND` makes text of other files";

/// Files of a folder that are no text: one remark about them all, because most folders have some.
#[derive(Default)]
pub struct Binaries {
    first: String,
    count: usize,
}

impl Binaries {
    pub fn count(&mut self, error: &document::Error) {
        if self.count == 0 {
            self.first = error.to_string();
        }
        self.count += 1;
    }

    pub fn report(&self, note: &mut dyn FnMut(String)) {
        let first = &self.first;
        match self.count {
            0 => {}
            1 => note(format!("skipped: {first}")),
            count => note(format!("skipped: {first}, and {} more that are no text", count - 1)),
        }
    }
}

fn cannot_read(name: &str, error: &io::Error) -> Usage {
    let shown = terminal::name(name);
    let url = ["http://", "https://", "ftp://"].iter().any(|scheme| name.starts_with(scheme));
    let hint = match error.kind() {
        _ if url => format!("spanqa reads files, not addresses: curl -sL '{shown}' | spanqa ask \"...\""),
        io::ErrorKind::NotFound => {
            "check the path; the question comes first and in quotes, then the files".to_owned()
        }
        _ => "check the file's permissions".to_owned(),
    };
    Usage::new(format!("cannot read {shown}: {error}"), hint)
}
