//! Tokenises what stands around some passages: of a large file that a search has found, a few places are read.

use std::ops::Range;
use std::sync::OnceLock;

use super::error::Result;
use super::{Document, Reader};
use crate::document::Text;
use crate::request::reply::DocumentId;
use crate::text::{BYTES_PER_TOKEN, Tokens};

impl Reader {
    /// Tokenises as much of a document around each passage as windows of `width` tokens need: so many tokens on both sides, or all there are.
    /// Passages are whole characters.
    pub fn prepare_around(
        &self,
        id: DocumentId,
        document: Text,
        passages: &[Range<usize>],
        width: usize,
    ) -> Result<Document> {
        let mut tokens = Tokens::default();
        let (mut runs, mut read) = (Vec::new(), Vec::new());
        for (bytes, found) in self.parts(&document, passages, width)? {
            let (from, words) = (tokens.len(), tokens.words.iter().filter(|word| **word != u32::MAX).max());
            // Words of two parts are two words.
            let words = words.map_or(0, |last| last + 1);
            tokens.ids.extend(found.ids);
            tokens
                .offsets
                .extend(found.offsets.iter().map(|(start, end)| (bytes.start + start, bytes.start + end)));
            tokens
                .words
                .extend(found.words.iter().map(|&word| if word == u32::MAX { word } else { words + word }));
            runs.push(from..tokens.len());
            read.push(bytes);
        }
        let whole = read == [0..document.text.len()];
        let Text { text, origin, .. } = document;
        Ok(Document { id, text, origin, tokens, runs, whole, passages: OnceLock::new() })
    }

    /// The parts of a document that are tokenised, in order and apart from each other, with their tokens.
    fn parts(
        &self,
        document: &Text,
        passages: &[Range<usize>],
        width: usize,
    ) -> Result<Vec<(Range<usize>, Tokens)>> {
        let mut margin = 2 * BYTES_PER_TOKEN * width.max(1);
        loop {
            let parts =
                joined(passages.iter().map(|passage| around(&document.text, passage, margin)).collect());
            let tokens = parts.iter().map(|part| self.tokens(&document.part(part.clone())));
            let tokens = tokens.collect::<Result<Vec<Tokens>>>()?;
            let enough = passages.iter().all(|passage| {
                let holding = parts.iter().zip(&tokens).find(|(part, _)| part.end >= passage.end);
                holding.is_none_or(|(part, found)| {
                    let at = |byte: usize| byte - part.start;
                    let left = found.offsets.partition_point(|&(_, end)| end <= at(passage.start));
                    let right =
                        found.len() - found.offsets.partition_point(|&(start, _)| start < at(passage.end));
                    (part.start == 0 || left >= width) && (part.end == document.text.len() || right >= width)
                })
            });
            if enough {
                return Ok(parts.into_iter().zip(tokens).collect());
            }
            // Text with few tokens, such as long runs of spaces: look farther.
            margin *= 2;
        }
    }
}

/// A passage with about `margin` bytes on both sides, from a white space to another one: tokens at its borders are those of the whole text.
fn around(text: &str, passage: &Range<usize>, margin: usize) -> Range<usize> {
    let whole = |at: &usize| text.is_char_boundary(*at);
    let before = (0..=passage.start.saturating_sub(margin)).rev().find(whole).unwrap_or(0);
    let after = (passage.end.saturating_add(margin)..text.len()).find(whole).unwrap_or(text.len());
    let start = text[..before].rfind(char::is_whitespace).unwrap_or(0);
    let end = text[after..].find(char::is_whitespace).map_or(text.len(), |at| after + at);
    start..end
}

/// The same bytes as ranges that are in order and apart from each other.
fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::ModelFiles;
    use crate::encoder::Runtime;

    fn reader(family: &str) -> Reader {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny").join(family);
        Reader::open(&ModelFiles::from_dir(&folder).unwrap(), &Runtime::default()).unwrap()
    }

    #[test]
    fn tokens_around_a_passage_are_those_of_the_whole_text() {
        let line = "The old keeper of the light, Zoë, wrote \u{201c}nothing\u{201d} that day.\n";
        let text = line.repeat(400) + &" ".repeat(5000) + &line.repeat(50);
        let (passages, width) = (
            [
                20 * line.len()..21 * line.len(),
                300 * line.len()..302 * line.len(),
                text.len() - 40..text.len() - 1,
            ],
            100,
        );
        for family in ["minilm", "roberta", "xlm-roberta"] {
            let reader = reader(family);
            let whole = reader.prepare_document(DocumentId::Index(0), text.clone().into()).unwrap();
            let parts =
                reader.prepare_around(DocumentId::Index(0), text.clone().into(), &passages, width).unwrap();
            assert!(!parts.whole && parts.runs.len() == 3, "{family}: {:?}", parts.runs);
            assert!(parts.tokens() < whole.tokens() / 4);
            for passage in &passages {
                let near = |document: &Document| -> Vec<(u32, (usize, usize))> {
                    let offsets = &document.tokens.offsets;
                    let first = offsets.partition_point(|&(_, end)| end <= passage.start);
                    let last = offsets.partition_point(|&(start, _)| start < passage.end);
                    let run = document.runs.iter().find(|run| run.contains(&first)).unwrap();
                    let near = first.saturating_sub(width).max(run.start)..(last + width).min(run.end);
                    near.map(|at| (document.tokens.ids[at], offsets[at])).collect()
                };
                assert_eq!(near(&whole), near(&parts), "{family} {passage:?}");
            }
        }
    }

    #[test]
    fn a_short_text_is_tokenised_whole() {
        let reader = reader("minilm");
        let text = "A light. A keeper.";
        let document =
            reader.prepare_around(DocumentId::Index(0), text.to_owned().into(), &[9..18], 100).unwrap();
        assert!(document.whole);
        assert_eq!((document.runs.len(), document.runs[0].clone()), (1, 0..document.tokens()));
        let none = reader.prepare_around(DocumentId::Index(0), text.to_owned().into(), &[], 100).unwrap();
        assert!(!none.whole && none.tokens() == 0);
    }
}
