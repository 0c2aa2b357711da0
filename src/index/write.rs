//! Makes a segment: of texts, or of other segments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::bytes::push_short;
use super::error::{Error, Result};
use super::segment::{Alive, HEAD, MAGIC, PASSAGE, Passage, Segment, TERM, TEXT, TextPlace};
use crate::rank::{Cutter, Words};

/// Gathers texts for a segment.
#[derive(Default)]
pub struct Builder {
    cutter: Cutter,
    texts: Vec<(TextPlace, usize)>,
}

impl Builder {
    /// Adds a text of a file. It is found by the words of its name, too.
    pub fn add(&mut self, place: TextPlace, text: &str, name: &str) -> Result<()> {
        if u32::try_from(text.len()).is_err() {
            return Err(Error::TooLarge { bytes: text.len() });
        }
        self.texts.push((place, self.cutter.passages()));
        self.cutter.cut(text, name);
        Ok(())
    }

    /// How many texts there are so far.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// The segment, in memory.
    pub fn segment(self) -> Result<Alive> {
        let segment = Segment::held(self.bytes()).ok_or(Error::TooLarge { bytes: 0 })?;
        Ok(Alive::new(segment, Vec::new()))
    }

    /// The bytes of the segment.
    pub fn bytes(self) -> Vec<u8> {
        let passages = self.cutter.finish();
        let mut out = Writer::default();
        for (number, (place, first)) in self.texts.iter().enumerate() {
            out.text(*place, *first);
            let end = self.texts.get(number + 1).map_or(passages.len(), |(_, next)| *next);
            for passage in *first..end {
                let bytes = passages.range(passage);
                out.passage(number, &Passage { text: *place, bytes, terms: passages.length(passage) });
            }
        }
        let mut terms: Vec<(&str, &[(u32, u32)])> = passages.lists().collect();
        terms.sort_unstable_by_key(|(name, _)| *name);
        terms.into_iter().for_each(|(name, list)| out.term(name.as_bytes(), list));
        out.finish()
    }
}

/// One segment of several, without what is gone. Files get the numbers that `files` has for them: for each segment and each of its files.
pub fn merged(segments: &[&Alive], files: &[Vec<u32>]) -> Vec<u8> {
    let mut out = Writer::default();
    // The new number of each passage that is left.
    let mut numbers: Vec<Vec<Option<u32>>> = Vec::with_capacity(segments.len());
    let (mut texts, mut passages) = (0, 0);
    for (alive, files) in segments.iter().zip(files) {
        let segment = &alive.segment;
        let mut new = vec![None; segment.len()];
        for text in 0..segment.texts() {
            let (place, first) = segment.text(text);
            let end = if text + 1 < segment.texts() { segment.text(text + 1).1 } else { segment.len() };
            if alive.gone.get(place.file as usize).is_some_and(|gone| *gone) {
                continue;
            }
            let file = files.get(place.file as usize).copied().unwrap_or_default();
            out.text(TextPlace { file, ..place }, passages as usize);
            for passage in first..end {
                out.passage(texts, &segment.passage(passage));
                if let Some(slot) = new.get_mut(passage) {
                    *slot = Some(passages);
                }
                passages += 1;
            }
            texts += 1;
        }
        numbers.push(new);
    }
    // The next term of each segment. Of the same term the earlier segment comes first: its passages do.
    let term_of = |number: usize, term: usize| {
        let segment = &segments[number].segment;
        (term < segment.terms()).then(|| Reverse((segment.name(term), number, term)))
    };
    let mut next: BinaryHeap<_> = (0..segments.len()).filter_map(|number| term_of(number, 0)).collect();
    while let Some(&Reverse((name, ..))) = next.peek() {
        let mut list: Vec<(u32, u32)> = Vec::new();
        while let Some(&Reverse((other, number, term))) = next.peek()
            && other == name
        {
            next.pop();
            next.extend(term_of(number, term + 1));
            let old = segments[number].segment.list(term).into_iter();
            list.extend(old.filter_map(|(passage, times)| Some((numbers[number][passage as usize]?, times))));
        }
        if !list.is_empty() {
            out.term(name, &list);
        }
    }
    out.finish()
}

/// The parts of a segment, as they grow.
#[derive(Default)]
struct Writer {
    texts: Vec<u8>,
    passages: Vec<u8>,
    terms: Vec<u8>,
    names: Vec<u8>,
    lists: Vec<u8>,
}

impl Writer {
    fn text(&mut self, place: TextPlace, first: usize) {
        self.texts.extend(place.file.to_le_bytes());
        self.texts.extend((first as u32).to_le_bytes());
        self.texts.extend(place.start.to_le_bytes());
        self.texts.extend(place.length.to_le_bytes());
    }

    fn passage(&mut self, text: usize, passage: &Passage) {
        let numbers = [text as u32, passage.bytes.start as u32, passage.bytes.end as u32, passage.terms];
        self.passages.extend(numbers.into_iter().flat_map(u32::to_le_bytes));
    }

    fn term(&mut self, name: &[u8], list: &[(u32, u32)]) {
        self.names.extend(name);
        self.terms.extend((self.names.len() as u32).to_le_bytes());
        self.terms.extend((list.len() as u32).to_le_bytes());
        self.terms.extend((self.lists.len() as u64).to_le_bytes());
        let mut before = 0;
        for &(passage, times) in list {
            push_short(&mut self.lists, passage - before);
            push_short(&mut self.lists, times);
            before = passage;
        }
    }

    fn finish(self) -> Vec<u8> {
        let parts = [&self.texts, &self.passages, &self.terms, &self.names, &self.lists];
        let length = HEAD + parts.iter().map(|part| part.len()).sum::<usize>();
        let mut out = Vec::with_capacity(length);
        out.extend(MAGIC);
        out.extend((length as u64).to_le_bytes());
        for count in [self.texts.len() / TEXT, self.passages.len() / PASSAGE, self.terms.len() / TERM, 0] {
            out.extend((count as u32).to_le_bytes());
        }
        parts.iter().for_each(|part| out.extend(*part));
        out
    }
}
