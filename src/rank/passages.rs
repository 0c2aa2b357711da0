//! A document cut into passages, with the words of each.

use std::borrow::Cow;
use std::ops::Range;

use foldhash::HashMap;
use unicode_segmentation::UnicodeSegmentation;

use super::ascii;
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
    /// The number of each term.
    numbers: HashMap<Box<str>, u32>,
    /// For the number of a term where its list begins in `postings`, and for one more where the last list ends.
    starts: Vec<u32>,
    /// The lists of the terms: the passages that each stands in, in order, and how often.
    postings: Vec<(u32, u32)>,
}

impl Passages {
    /// Those of a text.
    pub fn of(text: &str) -> Self {
        let mut cutter = Cutter::default();
        cutter.cut(text, "");
        cutter.finish()
    }

    /// Takes a text as a single passage, however long it is.
    pub fn whole(text: &str) -> Self {
        let mut cutter = Cutter::default();
        cutter.analyse(text);
        cutter.add(0..text.len(), &[]);
        cutter.finish()
    }

    /// Every term with the passages it stands in, in no order.
    pub fn lists(&self) -> impl Iterator<Item = (&str, &[(u32, u32)])> {
        self.numbers.iter().map(|(term, number)| (&**term, self.list(*number)))
    }

    fn list(&self, number: u32) -> &[(u32, u32)] {
        let number = number as usize;
        &self.postings[self.starts[number] as usize..self.starts[number + 1] as usize]
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
        self.numbers.get(term).map_or(&[][..], |number| self.list(*number)).into()
    }
}

/// Cuts texts into passages.
#[derive(Default)]
pub struct Cutter {
    analyser: Analyser,
    ranges: Vec<Range<usize>>,
    lengths: Vec<u32>,
    /// The terms of all passages, one after the other; a list for each is made of them at the end.
    found: Vec<u32>,
    /// Where those of each passage end.
    ends: Vec<usize>,
}

impl Cutter {
    /// Cuts another text and adds its passages. They are found by the words of its `name`, too, which make them no longer.
    pub fn cut(&mut self, text: &str, name: &str) {
        let lines = lines(text);
        let outline = Outline::of(text, &lines);
        let named = self.terms(name);
        // Many passages stand under the same headings.
        let mut headings: HashMap<usize, Vec<u32>> = HashMap::default();
        for passage in group(text, &lines) {
            let first = lines.partition_point(|line| line.end <= passage.start);
            self.analyse(&text[passage.clone()]);
            for line in outline.above(first) {
                let heading = headings.entry(line).or_insert_with(|| self.terms(&text[lines[line].clone()]));
                self.found.extend(&*heading);
            }
            self.add(passage, &named);
        }
    }

    fn analyse(&mut self, text: &str) {
        self.analyser.terms(text, |term| self.found.push(term));
    }

    fn terms(&mut self, text: &str) -> Vec<u32> {
        let mut terms = Vec::new();
        self.analyser.terms(text, |term| terms.push(term));
        terms
    }

    /// Makes a passage of the terms that were found since the last one. Others lead to it as well.
    fn add(&mut self, bytes: Range<usize>, others: &[u32]) {
        self.lengths.push((self.found.len() - self.ends.last().unwrap_or(&0)) as u32);
        self.found.extend(others);
        self.ends.push(self.found.len());
        self.ranges.push(bytes);
    }

    /// How many passages there are so far.
    pub fn passages(&self) -> usize {
        self.ranges.len()
    }

    /// All passages.
    pub fn finish(self) -> Passages {
        let numbers = self.analyser.into_numbers();
        let of_passages = || {
            let starts = std::iter::once(0).chain(self.ends.iter().copied());
            starts
                .zip(&self.ends)
                .zip(0u32..)
                .map(|((start, end), passage)| (&self.found[start..*end], passage))
        };
        // How long each list is, then where the next passage goes.
        let mut lists = vec![(0u32, u32::MAX); numbers.len()];
        for (terms, passage) in of_passages() {
            for &term in terms {
                let (length, last) = &mut lists[term as usize];
                *length += u32::from(*last != passage);
                *last = passage;
            }
        }
        let mut starts = Vec::with_capacity(lists.len() + 1);
        starts.push(0);
        let mut total = 0;
        for (list, _) in &mut lists {
            total += std::mem::replace(list, total);
            starts.push(total);
        }
        let mut postings = vec![(u32::MAX, 0); total as usize];
        for (terms, passage) in of_passages() {
            for &term in terms {
                let (next, _) = &mut lists[term as usize];
                let before = (*next > starts[term as usize]).then(|| &mut postings[*next as usize - 1]);
                match before {
                    Some((last, times)) if *last == passage => *times += 1,
                    _ => {
                        postings[*next as usize] = (passage, 1);
                        *next += 1;
                    }
                }
            }
        }
        let terms = self.lengths.iter().map(|length| u64::from(*length)).sum();
        Passages { ranges: self.ranges, lengths: self.lengths, terms, numbers, starts, postings }
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
        let mut put = |piece: Range<usize>, border: bool| match &mut open {
            Some(passage) if piece.end - passage.start <= MOST && !(border && passage.len() >= ENOUGH) => {
                passage.end = piece.end;
            }
            _ => passages.extend(open.replace(piece)),
        };
        if line.len() <= MOST {
            put(line.clone(), border);
            continue;
        }
        pieces(text, line).into_iter().zip(0..).for_each(|(piece, index)| put(piece, border && index == 0));
    }
    passages.extend(open);
    passages
}

/// The sentences of a long line, or if they are long their words.
fn pieces(text: &str, line: &Range<usize>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for sentence in sentences(&text[line.clone()]) {
        let (start, sentence) = (line.start + sentence.start, &text[line.clone()][sentence]);
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

fn sentences(line: &str) -> Vec<Range<usize>> {
    if line.is_ascii() && !line.contains('\r') {
        return ascii::sentences(line);
    }
    line.split_sentence_bound_indices().map(|(at, sentence)| at..at + sentence.len()).collect()
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
        let holding =
            |term: &str| -> Vec<u32> { passages.holding(term).iter().map(|(passage, _)| *passage).collect() };
        assert_eq!(holding("-x"), all);
        assert_eq!(holding("option"), all);
        assert_eq!(holding("last"), [passages.len() as u32 - 1]);
    }

    #[test]
    fn a_whole_text_is_one_passage() {
        let text = "# One\n\n".to_owned() + &"the same words again ".repeat(100);
        let passages = Passages::whole(&text);
        assert_eq!((passages.len(), passages.range(0)), (1, 0..text.len()));
        assert_eq!(*passages.holding("word"), [(0, 100)]);
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
