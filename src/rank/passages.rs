//! A document cut into passages, with the words of each.

use std::borrow::Cow;
use std::ops::Range;

use foldhash::HashMap;
use unicode_segmentation::UnicodeSegmentation;

use super::bm25::Words;
use super::terms::Analyser;

/// Bytes from which a passage may end at the next paragraph or heading.
const ENOUGH: usize = 300;
/// Bytes that a passage has at most, unless a single word is longer.
const MOST: usize = 700;
/// Bytes of a line that can be a heading.
const HEADING: usize = 90;
/// How many headings a passage stands under, at most.
const LEVELS: usize = 3;

/// Texts cut at headings, paragraphs, lines and sentences into passages of a few hundred characters. Those of a text together cover
/// everything of it but white space.
#[derive(Debug, Clone, Default)]
pub struct Passages {
    /// Their bytes, each in its text.
    ranges: Vec<Range<usize>>,
    /// How many terms each has, those of its headings included.
    lengths: Vec<u32>,
    /// The sum of these.
    terms: u64,
    /// For each term the passages it stands in, in order, and how often.
    postings: HashMap<String, Vec<(u32, u32)>>,
}

impl Passages {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let mut made = Self::default();
        made.cut(&mut Analyser::default(), text, "");
        made
    }

    /// Takes a text as a single passage, however long it is.
    pub fn whole(text: &str) -> Self {
        let mut made = Self::default();
        made.add(&mut Analyser::default(), 0..text.len(), [text].into_iter(), "");
        made
    }

    /// Cuts another text and adds its passages. They are found by the words of its `name`, too, which make them no longer.
    pub fn cut(&mut self, analyser: &mut Analyser, text: &str, name: &str) {
        let lines = lines(text);
        let outline = Outline::of(text, &lines);
        for passage in group(text, &lines) {
            let first = lines.partition_point(|line| line.end <= passage.start);
            let headings = outline.above(first).into_iter().map(|line| &text[lines[line].clone()]);
            self.add(analyser, passage.clone(), std::iter::once(&text[passage]).chain(headings), name);
        }
    }

    /// Adds a passage that is found by the terms of these texts.
    fn add<'a>(
        &mut self,
        analyser: &mut Analyser,
        bytes: Range<usize>,
        texts: impl Iterator<Item = &'a str>,
        name: &str,
    ) {
        let number = self.ranges.len() as u32;
        let mut count = |term: &str| match self.postings.get_mut(term) {
            None => {
                self.postings.insert(term.to_owned(), vec![(number, 1)]);
            }
            Some(list) => match list.last_mut() {
                Some((last, times)) if *last == number => *times += 1,
                _ => list.push((number, 1)),
            },
        };
        let mut length = 0;
        for text in texts {
            analyser.terms(text, |term| {
                length += 1;
                count(term);
            });
        }
        analyser.terms(name, count);
        self.lengths.push(length);
        self.terms += u64::from(length);
        self.ranges.push(bytes);
    }

    /// Every term with the passages it stands in, in no order.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &[(u32, u32)])> {
        self.postings.iter().map(|(term, list)| (term.as_str(), list.as_slice()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes of a passage in the document.
    pub fn range(&self, passage: usize) -> Range<usize> {
        self.ranges[passage].clone()
    }
}

impl Words for Passages {
    fn numbers(&self) -> usize {
        self.ranges.len()
    }

    fn passages(&self) -> usize {
        self.ranges.len()
    }

    fn terms(&self) -> u64 {
        self.terms
    }

    fn length(&self, passage: usize) -> u32 {
        self.lengths[passage]
    }

    fn holding(&self, term: &str) -> Cow<'_, [(u32, u32)]> {
        self.postings.get(term).map_or(Cow::Borrowed(&[]), |list| Cow::Borrowed(list))
    }
}

/// The lines of a text, without their ends; blank ones are empty.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    (text.split_inclusive('\n'))
        .map(|line| {
            let kept = line.trim_end().len();
            let range = start..start + kept;
            start += line.len();
            range
        })
        .collect()
}

/// Joins lines, and parts of long ones, into passages.
fn group(text: &str, lines: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut passages: Vec<Range<usize>> = Vec::new();
    let mut open: Option<Range<usize>> = None;
    let mut paragraph = true;
    for line in lines {
        if line.is_empty() {
            paragraph = true;
            continue;
        }
        let border = std::mem::replace(&mut paragraph, false) || is_heading(&text[line.clone()]);
        for (index, piece) in pieces(text, line.clone()).into_iter().enumerate() {
            let border = border && index == 0;
            match &mut open {
                Some(passage)
                    if piece.end - passage.start <= MOST && !(border && passage.len() >= ENOUGH) =>
                {
                    passage.end = piece.end;
                }
                _ => passages.extend(open.replace(piece)),
            }
        }
    }
    passages.extend(open);
    passages
}

/// A line, or if it is long its sentences, or if they are long their words.
fn pieces(text: &str, line: Range<usize>) -> Vec<Range<usize>> {
    if line.len() <= MOST {
        return vec![line];
    }
    let mut found: Vec<Range<usize>> = Vec::new();
    for (at, sentence) in text[line.clone()].split_sentence_bound_indices() {
        let start = line.start + at;
        if sentence.len() <= MOST {
            found.push(start..start + sentence.len());
            continue;
        }
        let mut open = start..start;
        for (at, word) in sentence.split_word_bound_indices() {
            let end = start + at + word.len();
            if end - open.start > MOST && !open.is_empty() {
                let next = open.end..end;
                found.push(std::mem::replace(&mut open, next));
            }
            open.end = end;
        }
        found.push(open);
    }
    found
}

/// Whether a line looks like a heading: of Markdown, or short and in capitals as in a manual page.
fn is_heading(line: &str) -> bool {
    let line = line.trim();
    let capitals = || {
        let mut letters = line.chars().filter(|char| char.is_alphabetic()).peekable();
        letters.peek().is_some() && letters.all(char::is_uppercase)
    };
    line.len() <= HEADING && (line.starts_with('#') || capitals())
}

/// What stands under what: by indentation, as in manual pages, lists and configuration files, and by headings.
struct Outline {
    /// For each line the last one before it that is less indented, if that could be a heading.
    parents: Vec<Option<usize>>,
    /// For each line the last heading before it.
    sections: Vec<Option<usize>>,
}

impl Outline {
    fn of(text: &str, lines: &[Range<usize>]) -> Self {
        let mut outline = Self { parents: vec![None; lines.len()], sections: vec![None; lines.len()] };
        // Lines that are open, each more indented than the one before.
        let mut open: Vec<(usize, usize)> = Vec::new();
        let mut section = None;
        for (number, line) in lines.iter().enumerate() {
            outline.sections[number] = section;
            if line.is_empty() {
                continue;
            }
            let content = &text[line.clone()];
            let indent = content.len() - content.trim_start().len();
            while open.last().is_some_and(|(other, _)| *other >= indent) {
                open.pop();
            }
            outline.parents[number] =
                open.last().map(|(_, above)| *above).filter(|above| lines[*above].len() <= HEADING);
            open.push((indent, number));
            if is_heading(content) {
                section = Some(number);
            }
        }
        outline
    }

    /// The lines that a line stands under, the nearest first.
    fn above(&self, line: usize) -> Vec<usize> {
        let parent = |line: &usize| self.parents.get(*line).copied().flatten();
        let mut found: Vec<usize> = std::iter::successors(parent(&line), parent).take(LEVELS).collect();
        found.extend(self.sections.get(line).copied().flatten().filter(|section| !found.contains(section)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(text: &str) -> Vec<&str> {
        Passages::of(text).ranges.iter().map(|range| &text[range.clone()]).collect()
    }

    #[test]
    fn passages_end_at_headings_and_paragraphs() {
        let long = "A sentence of some words that says little. ".repeat(8);
        let text = format!("# One\n\n{long}\n\nMore. {long}\n\n# Two\n{long}\nnext line\n");
        let cut = cut(&text);
        assert_eq!(cut.len(), 3, "{cut:#?}");
        assert!(cut[0].starts_with("# One"));
        assert!(cut[1].starts_with("More."));
        assert!(cut[2].starts_with("# Two") && cut[2].ends_with("next line"));
    }

    #[test]
    fn a_passage_is_found_by_what_it_stands_under() {
        let filler = "words that are of no interest here ".repeat(18);
        let text =
            format!("OPTIONS\n  -x, --extract\n     {filler}\n     {filler}\n     {filler}\n     the last\n");
        let passages = Passages::of(&text);
        assert!(passages.len() > 2);
        let all: Vec<u32> = (0..passages.len() as u32).collect();
        let holding = |term: &str| -> Vec<u32> {
            passages.postings[term].iter().map(|(passage, _)| *passage).collect()
        };
        assert_eq!(holding("-x"), all);
        assert_eq!(holding("option"), all);
        assert_eq!(holding("last"), [passages.len() as u32 - 1]);
    }

    #[test]
    fn a_whole_text_is_one_passage() {
        let text = "# One\n\n".to_owned() + &"the same words again ".repeat(100);
        let passages = Passages::whole(&text);
        assert_eq!((passages.len(), passages.range(0)), (1, 0..text.len()));
        assert_eq!(passages.postings["word"], [(0, 100)]);
        assert_eq!(Passages::whole("").len(), 1);
    }

    proptest! {
        /// Passages are in order, apart, within bounds, and nothing but white space lies between them.
        #[test]
        fn passages_cover_every_text(text in "([a-zäß東 ]{0,40}[ .\n#-]){0,60}", long in "[a-z .]{0,3000}") {
            let text = text + &long;
            let mut end = 0;
            for range in Passages::of(&text).ranges {
                prop_assert!(range.start >= end && range.start < range.end);
                prop_assert!(text[end..range.start].trim().is_empty());
                prop_assert!(range.len() <= MOST || !text[range.clone()].contains(' '));
                end = range.end;
            }
            prop_assert!(text[end..].trim().is_empty());
        }
    }
}
