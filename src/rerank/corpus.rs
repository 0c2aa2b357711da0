//! Passages to be put in order.

use std::ops::Range;

use rayon::prelude::*;

use crate::document::Text;
use crate::rank::Passages;
use crate::request::reply::DocumentId;

/// A document, and what to call it.
#[derive(Debug, Clone)]
pub struct Source {
    /// What records call it.
    pub id: DocumentId,
    /// What it says.
    pub text: Text,
}

/// Passages of some documents.
#[derive(Debug, Clone, Default)]
pub struct Corpus {
    pub(super) sources: Vec<Source>,
    pub(super) passages: Passing,
    /// How many passages there are before those of each document.
    before: Vec<usize>,
    count: usize,
}

/// The passages of each document.
#[derive(Debug, Clone)]
pub(super) enum Passing {
    /// All of them, with the words of each.
    All(Vec<Passages>),
    /// Those that a search has found: the bytes and the score of each.
    Found(Vec<Vec<(Range<usize>, f64)>>),
}

impl Default for Passing {
    fn default() -> Self {
        Self::All(Vec::new())
    }
}

impl Corpus {
    /// Documents cut into passages, as they are cut before a part of them is read.
    pub fn cut(sources: Vec<Source>) -> Self {
        Self::of(sources, Passages::of)
    }

    /// Documents that are one passage each, however long.
    pub fn whole(sources: Vec<Source>) -> Self {
        Self::of(sources, Passages::whole)
    }

    fn of(sources: Vec<Source>, passages: impl Fn(&str) -> Passages + Sync) -> Self {
        let passages: Vec<Passages> = sources.par_iter().map(|source| passages(&source.text.text)).collect();
        let mut count = 0;
        let before = passages.iter().map(|passages| {
            count += passages.len();
            count - passages.len()
        });
        let before = before.collect();
        Self { sources, passages: Passing::All(passages), before, count }
    }

    /// What a search has found in documents, of which it looked through `count` passages: the document, the bytes and the score of each
    /// passage.
    pub fn found(sources: Vec<Source>, passages: &[(usize, Range<usize>, f64)], count: usize) -> Self {
        let mut found = vec![Vec::new(); sources.len()];
        for (document, bytes, score) in passages {
            found[*document].push((bytes.clone(), *score));
        }
        Self { sources, passages: Passing::Found(found), before: Vec::new(), count }
    }

    /// How many documents there are.
    pub fn documents(&self) -> usize {
        self.sources.len()
    }

    /// How many passages there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The place of a passage among all of them, from 0; `None` for what a search has found.
    pub fn index(&self, document: usize, passage: usize) -> Option<usize> {
        Some(self.before.get(document)? + passage)
    }

    /// The bytes of a passage in its document.
    pub fn range(&self, document: usize, passage: usize) -> Range<usize> {
        match &self.passages {
            Passing::All(passages) => passages[document].range(passage),
            Passing::Found(found) => found[document][passage].0.clone(),
        }
    }

    /// What a passage says.
    pub fn text(&self, document: usize, passage: usize) -> &str {
        &self.sources[document].text.text[self.range(document, passage)]
    }

    /// A passage as a text of its own.
    pub(super) fn part(&self, document: usize, passage: usize) -> Text {
        self.sources[document].text.part(self.range(document, passage))
    }
}
