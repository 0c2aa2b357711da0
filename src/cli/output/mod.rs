//! Prints replies: JSON for programs, marked text for people, `file:line:column` for editors.
//!
//! ```text
//! json   records, and every other JSON that a terminal shows
//! text   the sentence with the answer marked
//! grep   a line for each answer
//! hf     what transformers' pipeline returned
//! color  when to use colours, and which
//! wrap   lines that end where words do
//! ```

pub mod color;
mod grep;
mod hf;
pub mod json;
mod text;
pub mod wrap;

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use spanqa::reader::Document;
use spanqa::request::reply::{Answer, DocumentId, Reply};
use spanqa::text::sentences::{Surroundings, around};

use self::color::{ColorArg, Palette};
use super::terminal::{self, flowing, name};

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A record per question: indented on a terminal, one line in a pipe
    Json,
    /// The sentence with the answer marked
    Text,
    /// file:line:column: answer
    Grep,
    /// What transformers' pipeline returned: score, start, end, answer
    Hf,
}

impl Format {
    /// Whether people read it, who have no use for three answers that share words.
    pub fn is_for_people(self) -> bool {
        matches!(self, Format::Text | Format::Grep)
    }

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Text => "text",
            Format::Grep => "grep",
            Format::Hf => "hf",
        }
    }
}

/// What decides how replies look.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    pub format: Format,
    pub color: ColorArg,
    /// Sentences on each side of the answer's; `None` for what is usual in the format.
    pub context: Option<usize>,
    /// "No answer" is one of the pipeline's candidates.
    pub null_competes: bool,
    /// The most answers to a question.
    pub top_k: usize,
    /// Several questions are asked, so that each reply has to say which one it belongs to.
    pub several: bool,
    /// The question stands on the screen already.
    pub typed: bool,
    /// No remarks on standard error.
    pub quiet: bool,
}

/// Prints replies in one format.
pub struct Printer {
    look: Look,
    palette: Palette,
    json: json::Style,
    /// The width of the terminal, if replies go to one.
    width: Option<usize>,
}

impl Printer {
    pub fn new(look: Look) -> Self {
        let (palette, json) = (Palette::new(look.color), json::Style::new(look.color));
        Self { look, palette, json, width: terminal::width() }
    }

    /// Prints one reply. What is written ends with a line break.
    pub fn print(&self, reply: &Reply, documents: &[Arc<Document>], out: &mut dyn Write) -> Result<()> {
        let page = Page { reply, documents };
        match self.look.format {
            Format::Json => self.json.write(reply, out)?,
            Format::Text => self.text(&page, out)?,
            Format::Grep => self.grep(&page, out)?,
            Format::Hf => self.hf(reply, out)?,
        }
        // These two have no place for it, and an exit code does not say which question it was.
        let unseen = match self.look.format {
            Format::Grep => true,
            Format::Hf => !self.look.null_competes,
            Format::Json | Format::Text => false,
        };
        if unseen && !reply.answered && !self.look.quiet {
            terminal::note(page.no_answer());
        }
        Ok(())
    }
}

/// A reply with the documents it quotes.
struct Page<'a> {
    reply: &'a Reply,
    documents: &'a [Arc<Document>],
}

/// What to call one of several documents. A text from the command line has no name, and only a number if there are several.
pub fn name_of(id: &DocumentId, documents: usize) -> String {
    match id {
        DocumentId::Path(path) => name(path).into_owned(),
        DocumentId::Index(_) if documents == 1 => "(text)".into(),
        DocumentId::Index(index) => format!("(text {})", index + 1),
    }
}

impl Page<'_> {
    /// The document's name, without power over a terminal.
    fn document(&self, answer: &Answer) -> String {
        self.name_of(&answer.document)
    }

    fn name_of(&self, id: &DocumentId) -> String {
        name_of(id, self.documents.len())
    }

    /// A candidate that may well be the answer, though that is not sure.
    fn perhaps(&self) -> Option<&Answer> {
        self.reply.candidates.first().filter(|_| self.reply.perhaps)
    }

    /// How much was read, where that was not everything. Fewer windows may well cover it: those around passages overlap less.
    fn unread(&self) -> Option<String> {
        let Reply { windows, windows_total, passages_searched, .. } = self.reply;
        if let Some(passages) = passages_searched {
            return Some(match windows {
                0 => format!("{passages} passages, none of which has a word of it"),
                _ => format!("the best {windows} windows of {passages} passages"),
            });
        }
        (windows < windows_total && self.reply.unread)
            .then(|| format!("{windows} of {windows_total} windows; `--read all` reads the rest"))
    }

    fn place(&self, answer: &Answer) -> String {
        format!("{}:{}:{}", self.document(answer), answer.line, answer.column)
    }

    fn text_of(&self, answer: &Answer) -> &str {
        &self.documents[answer.document_index].text
    }

    fn surroundings(&self, answer: &Answer, neighbours: usize) -> Surroundings {
        around(self.text_of(answer), &answer.bytes, neighbours)
    }

    /// That a question has no answer, in a line.
    fn no_answer(&self) -> String {
        let question = flowing(&self.reply.question);
        let what = match self.unread() {
            Some(read) => format!("no answer to \"{question}\" in {read}"),
            None => format!("no answer to \"{question}\""),
        };
        match self.perhaps() {
            Some(answer) => {
                let (text, place) = (flowing(&answer.text), self.place(answer));
                format!("{what}; perhaps \"{text}\" ({place}, probability {:.2})", answer.score)
            }
            None => what,
        }
    }
}
