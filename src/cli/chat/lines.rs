//! Where questions come from: a prompt with an editor, or plain lines.

use std::fs;
use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};

use crate::cli::{Usage, terminal};

/// What came of asking for a line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    Typed(String),
    /// Ctrl-C.
    TakenBack,
    /// Ctrl-D, or the end of the input.
    End,
}

/// A source of lines.
pub enum Lines {
    /// A person at a terminal.
    Prompt(Box<Prompt>),
    /// Anything else; somebody may be waiting for a prompt all the same.
    Plain { prompt: bool },
}

const PROMPT: &str = "> ";

impl Lines {
    /// An editor if both ends are terminals, otherwise plain lines.
    pub fn open(both_terminals: bool, prompt: bool, history: bool) -> Self {
        match Prompt::open(history).ok().filter(|_| both_terminals) {
            Some(editor) => Self::Prompt(Box::new(editor)),
            None => Self::Plain { prompt },
        }
    }

    pub fn next(&mut self) -> Result<Line> {
        match self {
            Self::Prompt(prompt) => prompt.next(),
            Self::Plain { prompt } => {
                if *prompt {
                    eprint!("{PROMPT}");
                    io::stderr().flush()?;
                }
                plain(&mut io::stdin().lock())
            }
        }
    }
}

fn plain(input: &mut dyn BufRead) -> Result<Line> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line).context("cannot read standard input")? == 0 {
        return Ok(Line::End);
    }
    let line = String::from_utf8(line).map_err(|_| {
        Usage::new("a question on standard input is not valid UTF-8", "convert it: iconv -f LATIN1 -t UTF-8")
    })?;
    Ok(Line::Typed(line.trim().to_owned()))
}

/// An editor of one line, and the questions of earlier days.
pub struct Prompt {
    editor: Editor<(), FileHistory>,
    history: Option<PathBuf>,
}

/// Questions that are remembered.
const REMEMBERED: usize = 1000;

impl Prompt {
    fn open(history: bool) -> rustyline::Result<Self> {
        let config = Config::builder().max_history_size(REMEMBERED)?.auto_add_history(true).build();
        let mut editor = Editor::with_config(config)?;
        let history = history_file().filter(|_| history);
        if let Some(file) = &history {
            // There is none on the first day.
            let _ = editor.load_history(file);
        }
        Ok(Self { editor, history })
    }

    fn next(&mut self) -> Result<Line> {
        match self.editor.readline(PROMPT) {
            Ok(line) => {
                self.remember();
                Ok(Line::Typed(line))
            }
            Err(ReadlineError::Interrupted) => Ok(Line::TakenBack),
            Err(ReadlineError::Eof) => Ok(Line::End),
            Err(error) => Err(error).context("cannot read from the terminal"),
        }
    }

    /// Writes the question down at once: whoever closes the window keeps it.
    fn remember(&mut self) {
        let Some(file) = &self.history else { return };
        let folder = file.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.map_err(ReadlineError::Io).and_then(|()| self.editor.append_history(file));
        if let Err(error) = written {
            let file = file.display();
            terminal::note(format!("{file} cannot be written ({error}): questions will be forgotten"));
            self.history = None;
        }
    }
}

/// In the state folder of those systems that have one.
fn history_file() -> Option<PathBuf> {
    let folder = dirs::state_dir().or_else(dirs::data_local_dir)?;
    Some(folder.join("spanqa").join("history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_pipe_are_questions() {
        let mut input: &[u8] = b"Who?\r\n\n  When? \nlast";
        let typed = |text: &str| Line::Typed(text.to_owned());
        for expected in [typed("Who?"), typed(""), typed("When?"), typed("last"), Line::End, Line::End] {
            assert_eq!(plain(&mut input).unwrap(), expected);
        }
        let error = plain(&mut &b"caf\xe9\n"[..]).unwrap_err();
        assert!(error.to_string().contains("UTF-8"), "{error}");
    }
}
