//! Passages of some files and where each term stands.
//!
//! One run of bytes, numbers in little-endian order:
//!
//! ```text
//! magic (8 bytes), length of it all (u64), numbers of texts, passages, terms (u32 each), 0 (u32)
//! texts     file, first passage (u32 each), start and length of the text in its file (u64 each)
//! passages  text, start and end in the text, terms (u32 each)
//! terms     end of the name, passages that hold it (u32 each), start of their list (u64); in the order of their names
//! names     one after the other
//! lists     for each passage how far it is from the one before, and how often it has the term (short numbers)
//! ```

use std::borrow::Cow;
use std::ops::{Deref, Range};
use std::path::Path;

use memmap2::Mmap;

use super::bytes::{take_short, u32_at, u64_at};
use super::error::{Error, Result};
use crate::fs;
use crate::rank::Words;

/// What a segment begins with. The last character changes when its layout or the terms in it do.
pub(super) const MAGIC: &[u8; 8] = b"spanqas1";
pub(super) const HEAD: usize = 32;
pub(super) const TEXT: usize = 24;
pub(super) const PASSAGE: usize = 16;
pub(super) const TERM: usize = 16;

/// Where a text is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextPlace {
    /// Which of the segment's files.
    pub file: u32,
    /// Its first byte, for a line of a corpus.
    pub start: u64,
    /// Its bytes.
    pub length: u64,
}

/// A passage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Where its text is.
    pub text: TextPlace,
    /// Its bytes in the text.
    pub bytes: Range<usize>,
    /// How many terms it has.
    pub terms: u32,
}

/// Passages of some files, with the words of each.
#[derive(Debug)]
pub struct Segment {
    bytes: Bytes,
    texts: usize,
    passages: usize,
    terms: usize,
    names: usize,
    lists: usize,
}

#[derive(Debug)]
enum Bytes {
    Mapped(Mmap),
    Held(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Held(bytes) => bytes,
        }
    }
}

impl Segment {
    /// Opens a file.
    pub fn open(path: &Path) -> Result<Self> {
        Self::of(Bytes::Mapped(fs::map(path)?)).ok_or_else(|| Error::Damaged { path: path.to_owned() })
    }

    /// Takes what a builder has made.
    pub(super) fn held(bytes: Vec<u8>) -> Option<Self> {
        Self::of(Bytes::Held(bytes))
    }

    fn of(bytes: Bytes) -> Option<Self> {
        let whole = bytes.starts_with(MAGIC) && u64_at(&bytes, 8) == bytes.len() as u64;
        let count = |at| u32_at(&bytes, at) as usize;
        let (texts, passages, terms) = (count(16), count(20), count(24));
        let names = HEAD + TEXT * texts + PASSAGE * passages + TERM * terms;
        let mut segment = Self { bytes, texts, passages, terms, names, lists: names };
        segment.lists = names + segment.name_end(terms);
        (whole && segment.lists <= segment.bytes.len() && segment.is_in_order()).then_some(segment)
    }

    /// Whether the passages of each text stand together, in the order of the texts: who goes through them trusts that.
    fn is_in_order(&self) -> bool {
        let mut passage = 0;
        (0..self.texts).all(|text| {
            let end = if text + 1 < self.texts { self.text(text + 1).1 } else { self.passages };
            let starts_here = self.text(text).1 == passage;
            let is_of_text = |passage: usize| passage < self.passages && self.text_of(passage) == text;
            let all = starts_here && passage <= end && (passage..end).all(is_of_text);
            passage = end;
            all
        }) && passage == self.passages
    }

    /// How many passages there are.
    pub fn len(&self) -> usize {
        self.passages
    }

    /// How many texts there are.
    pub(super) fn texts(&self) -> usize {
        self.texts
    }

    /// A text, and the number of its first passage.
    pub(super) fn text(&self, text: usize) -> (TextPlace, usize) {
        let at = HEAD + TEXT * text;
        let place = TextPlace {
            file: u32_at(&self.bytes, at),
            start: u64_at(&self.bytes, at + 8),
            length: u64_at(&self.bytes, at + 16),
        };
        (place, u32_at(&self.bytes, at + 4) as usize)
    }

    /// Which text a passage is from.
    pub(super) fn text_of(&self, passage: usize) -> usize {
        u32_at(&self.bytes, self.at(passage)) as usize
    }

    /// Which file a passage is from.
    pub(super) fn file_of(&self, passage: usize) -> usize {
        u32_at(&self.bytes, HEAD + TEXT * self.text_of(passage)) as usize
    }

    /// A passage.
    pub(super) fn passage(&self, passage: usize) -> Passage {
        let number = |field: usize| u32_at(&self.bytes, self.at(passage) + 4 * field);
        let bytes = number(1) as usize..number(2) as usize;
        Passage { text: self.text(self.text_of(passage)).0, bytes, terms: number(3) }
    }

    fn at(&self, passage: usize) -> usize {
        HEAD + TEXT * self.texts + PASSAGE * passage
    }

    /// How many terms there are.
    pub(super) fn terms(&self) -> usize {
        self.terms
    }

    fn term_at(&self, term: usize) -> usize {
        HEAD + TEXT * self.texts + PASSAGE * self.passages + TERM * term
    }

    /// Where the names of the first so many terms end.
    fn name_end(&self, terms: usize) -> usize {
        terms.checked_sub(1).map_or(0, |last| u32_at(&self.bytes, self.term_at(last)) as usize)
    }

    /// The name of a term.
    pub(super) fn name(&self, term: usize) -> &[u8] {
        let name = self.names + self.name_end(term)..self.names + self.name_end(term + 1);
        self.bytes.get(name).unwrap_or_default()
    }

    /// The passages that hold a term.
    pub(super) fn list(&self, term: usize) -> Vec<(u32, u32)> {
        let at = self.term_at(term);
        let start = usize::try_from(u64_at(&self.bytes, at + 8)).unwrap_or(usize::MAX);
        let mut rest = self.bytes.get(self.lists.saturating_add(start)..).unwrap_or_default();
        let mut passage = 0u32;
        // A damaged count does not ask for more memory than there are bytes.
        let count = (u32_at(&self.bytes, at + 4) as usize).min(rest.len());
        let mut list = Vec::with_capacity(count);
        for _ in 0..count {
            let (Some(step), Some(times)) = (take_short(&mut rest), take_short(&mut rest)) else { break };
            // In a damaged list a passage may be missing, or stand there again.
            if step == 0 && !list.is_empty() {
                break;
            }
            passage = passage.saturating_add(step);
            if passage as usize >= self.passages {
                break;
            }
            list.push((passage, times));
        }
        list
    }

    fn find(&self, term: &str) -> Option<usize> {
        let (mut low, mut high) = (0, self.terms);
        while low < high {
            let middle = low.midpoint(high);
            match self.name(middle).cmp(term.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// A segment without the files that are gone since it was written.
#[derive(Debug)]
pub struct Alive {
    /// All there was.
    pub segment: Segment,
    /// For each file whether it is gone.
    pub gone: Vec<bool>,
    passages: usize,
    terms: u64,
}

impl Alive {
    /// A segment of which these files are gone.
    pub fn new(segment: Segment, gone: Vec<bool>) -> Self {
        let mut alive = Self { segment, gone, passages: 0, terms: 0 };
        for passage in 0..alive.segment.len() {
            if alive.has(passage) {
                alive.passages += 1;
                alive.terms += u64::from(alive.length(passage));
            }
        }
        alive
    }

    /// How many passages are left.
    pub(super) fn left(&self) -> usize {
        self.passages
    }

    /// Whether a passage is still there.
    pub fn has(&self, passage: usize) -> bool {
        !self.gone.get(self.segment.file_of(passage)).is_some_and(|gone| *gone)
    }
}

impl Words for Alive {
    fn numbers(&self) -> usize {
        self.segment.len()
    }

    fn passages(&self) -> usize {
        self.passages
    }

    fn terms(&self) -> u64 {
        self.terms
    }

    fn length(&self, passage: usize) -> u32 {
        u32_at(&self.segment.bytes, self.segment.at(passage) + 12)
    }

    fn holding(&self, term: &str) -> Cow<'_, [(u32, u32)]> {
        let mut list = self.segment.find(term).map_or_else(Vec::new, |term| self.segment.list(term));
        if self.passages < self.segment.len() {
            list.retain(|(passage, _)| self.has(*passage as usize));
        }
        list.into()
    }
}
