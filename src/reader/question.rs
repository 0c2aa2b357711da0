//! What the reader is asked: documents that have been tokenised, and questions with the options that ride on them.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use super::promise::Laid;
use crate::document::Origin;
use crate::rank::Passages;
use crate::request::Options;
use crate::request::reply::{DocumentId, Id};
use crate::text::Tokens;

/// A document that has been tokenised; any number of questions can be put to it.
#[derive(Debug, Clone)]
pub struct Document {
    /// What records call it.
    pub id: DocumentId,
    /// Its text.
    pub text: String,
    /// How that came out of a file.
    pub origin: Origin,
    pub(super) tokens: Tokens,
    /// Runs of tokens with nothing left out between them: one, unless only parts of the text were tokenised.
    pub(super) runs: Vec<Range<usize>>,
    /// Whether every part of the text was tokenised.
    pub(super) whole: bool,
    /// Made by the first question that does not read everything.
    pub(super) passages: OnceLock<Passages>,
}

impl Document {
    /// Whether there is nothing to read in it.
    pub fn is_blank(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Its passages, to be ranked by the words of a question.
    pub(super) fn passages(&self) -> &Passages {
        self.passages.get_or_init(|| Passages::of(&self.text))
    }

    /// Its tokens, as windows are laid over them.
    pub(super) fn laid(&self) -> Laid<'_> {
        Laid { offsets: &self.tokens.offsets, runs: &self.runs }
    }

    /// How many tokens it has.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }
}

/// Passages of a question's documents that a search has found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Search {
    /// The most promising first.
    pub found: Vec<Found>,
    /// How many passages were searched.
    pub passages: usize,
}

/// A passage that a search has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Which of the question's documents it is from.
    pub document: usize,
    /// Its bytes there.
    pub bytes: Range<usize>,
    /// What the search made of it.
    pub score: f64,
}

/// A question, the documents to look in, and how its reply is to be made.
#[derive(Debug, Clone)]
pub struct Question {
    /// What the reply is called.
    pub id: Id,
    /// The question.
    pub text: String,
    /// Where the answer may be.
    pub documents: Vec<Arc<Document>>,
    /// If a search has found these documents: only what it found in them is read.
    pub search: Option<Arc<Search>>,
    /// How the reply is made.
    pub options: Arc<Options>,
    /// When nobody needs a reply any more.
    pub deadline: Option<Instant>,
    /// A way for whoever asked to take the question back.
    pub cancel: Option<Cancel>,
}

impl Question {
    /// A question with the usual options.
    pub fn new(id: impl Into<Id>, text: impl Into<String>, documents: Vec<Arc<Document>>) -> Self {
        Self {
            id: id.into(),
            text: text.into(),
            documents,
            search: None,
            options: Arc::default(),
            deadline: None,
            cancel: None,
        }
    }

    /// The same question under other options.
    pub fn with(mut self, options: &Arc<Options>) -> Self {
        self.options = options.clone();
        self
    }
}

/// Takes a question back. Clones belong together; windows in flight are still finished.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Says that nobody wants the reply any more.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody said so.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
