//! Words as they are compared.

use std::borrow::Cow;

use foldhash::HashMap;
use frostem::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

use super::ascii;

/// Words of a question that say how it is asked, not what about.
const ASKING: &[&str] = &[
    "a", "about", "am", "an", "and", "any", "are", "as", "at", "be", "been", "being", "by", "can", "could",
    "did", "do", "does", "for", "from", "get", "had", "has", "have", "how", "i", "if", "in", "into", "is",
    "it", "its", "me", "my", "of", "on", "or", "our", "shall", "should", "so", "some", "than", "that", "the",
    "their", "them", "there", "these", "they", "this", "those", "to", "was", "we", "were", "what", "what's",
    "when", "where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];

/// Past tenses that no ending gives away, and what they are of; and one noun, for whoever asks who wrote a thing.
const IRREGULAR: &[(&str, &str)] = &[
    ("author", "write"),
    ("authors", "write"),
    ("began", "begin"),
    ("begun", "begin"),
    ("bought", "buy"),
    ("broke", "break"),
    ("broken", "break"),
    ("brought", "bring"),
    ("built", "build"),
    ("chose", "choose"),
    ("chosen", "choose"),
    ("drawn", "draw"),
    ("drew", "draw"),
    ("fallen", "fall"),
    ("fed", "feed"),
    ("fell", "fall"),
    ("found", "find"),
    ("gave", "give"),
    ("given", "give"),
    ("gone", "go"),
    ("grew", "grow"),
    ("grown", "grow"),
    ("held", "hold"),
    ("kept", "keep"),
    ("knew", "know"),
    ("known", "know"),
    ("led", "lead"),
    ("left", "leave"),
    ("lost", "lose"),
    ("made", "make"),
    ("meant", "mean"),
    ("met", "meet"),
    ("paid", "pay"),
    ("ran", "run"),
    ("said", "say"),
    ("sent", "send"),
    ("sold", "sell"),
    ("spent", "spend"),
    ("spoke", "speak"),
    ("spoken", "speak"),
    ("taken", "take"),
    ("taught", "teach"),
    ("thought", "think"),
    ("threw", "throw"),
    ("thrown", "throw"),
    ("told", "tell"),
    ("took", "take"),
    ("went", "go"),
    ("won", "win"),
    ("written", "write"),
    ("wrote", "write"),
];

/// Turns texts into terms, and numbers these in the order in which they are met.
#[derive(Default)]
pub(super) struct Analyser {
    stems: Stems,
    /// The terms of plain words that were met, in their own letters, because most are met again.
    words: Met,
    numbers: HashMap<Box<str>, u32>,
}

/// Words with their terms.
#[derive(Default)]
struct Met {
    /// Those of at most 15 bytes, as most are: they are compared without following a pointer.
    short: HashMap<u128, u32>,
    long: HashMap<Box<str>, u32>,
}

impl Met {
    /// The letters and their count.
    fn key(word: &str) -> Option<u128> {
        let mut bytes = [0; 16];
        bytes[..15].get_mut(..word.len())?.copy_from_slice(word.as_bytes());
        bytes[15] = word.len() as u8;
        Some(u128::from_le_bytes(bytes))
    }

    fn get(&self, word: &str) -> Option<u32> {
        match Self::key(word) {
            Some(key) => self.short.get(&key),
            None => self.long.get(word),
        }
        .copied()
    }

    fn insert(&mut self, word: &str, term: u32) {
        match Self::key(word) {
            Some(key) => self.short.insert(key, term),
            None => self.long.insert(word.into(), term),
        };
    }
}

struct Stems(Stemmer);

impl Default for Stems {
    fn default() -> Self {
        Self(Stemmer::new(Algorithm::English))
    }
}

impl Analyser {
    /// The numbers of a text's terms, in order.
    pub(super) fn terms(&mut self, text: &str, mut found: impl FnMut(u32)) {
        // No word has a space in it, and in pieces of plain ASCII, as most are, words are found faster.
        for line in text.split('\n') {
            match line.is_ascii() {
                true => self.terms_of_piece(line, &mut found),
                false => line.split(' ').for_each(|piece| self.terms_of_piece(piece, &mut found)),
            }
        }
    }

    fn terms_of_piece(&mut self, text: &str, found: &mut impl FnMut(u32)) {
        if text.is_ascii() {
            return ascii::words(text, |at, word| self.terms_of_word(text, at, word, found));
        }
        // Scripts without spaces are taken two characters at a time.
        let mut before: Option<(usize, &str)> = None;
        for (at, word) in text.unicode_word_indices() {
            if !unspaced(word) {
                before = None;
                self.terms_of_word(text, at, word, found);
                continue;
            }
            match before {
                Some((start, earlier)) if start + earlier.len() == at => {
                    found(self.number(&text[start..at + word.len()]));
                }
                _ => found(self.number(word)),
            }
            before = Some((at, word));
        }
    }

    fn terms_of_word(&mut self, text: &str, at: usize, word: &str, found: &mut impl FnMut(u32)) {
        if let Some(option) = option(text, at, word) {
            found(self.number(option));
            if option.len() == word.len() + 1 {
                return;
            }
        }
        if let Some(number) = self.words.get(word) {
            return found(number);
        }
        let small = word.to_lowercase();
        if !small.contains('_') {
            return found(self.met(word, &small));
        }
        // `history-limit` and `save_every` are found by their parts, too; hyphens divide words anyway.
        for part in small.split('_').filter(|part| !part.is_empty()) {
            let known = self.words.get(part);
            found(known.unwrap_or_else(|| self.met(part, part)));
        }
        if small.trim_matches('_').contains('_') {
            found(self.number(&small));
        }
    }

    /// The term of a word that is met for the first time, in its own letters and in small ones.
    fn met(&mut self, word: &str, small: &str) -> u32 {
        let number = self.number(&self.stems.of(small));
        self.words.insert(word, number);
        number
    }

    fn number(&mut self, term: &str) -> u32 {
        if let Some(&number) = self.numbers.get(term) {
            return number;
        }
        let number = self.numbers.len() as u32;
        self.numbers.insert(term.into(), number);
        number
    }

    /// Every term that was met, with its number.
    pub(super) fn into_numbers(self) -> HashMap<Box<str>, u32> {
        self.numbers
    }
}

impl Stems {
    fn of<'a>(&self, word: &'a str) -> Cow<'a, str> {
        let bare = word.strip_suffix("'s").or_else(|| word.strip_suffix("’s")).unwrap_or(word);
        let regular =
            IRREGULAR.binary_search_by_key(&bare, |(past, _)| past).map_or(bare, |at| IRREGULAR[at].1);
        self.0.stem(regular)
    }
}

/// The terms that a question is about, each once. If it is made of nothing but asking words, these.
pub(super) fn of_question(question: &str) -> Vec<Box<str>> {
    let terms = |asking: bool| {
        let chosen: Vec<&str> = (question.split_whitespace())
            .filter(|word| {
                let bare = word.trim_matches(|char: char| char.is_ascii_punctuation()).to_lowercase();
                asking || word.starts_with('-') || !ASKING.contains(&bare.as_str())
            })
            .collect();
        let mut analyser = Analyser::default();
        analyser.terms(&chosen.join(" "), |_| ());
        let mut terms: Vec<(Box<str>, u32)> = analyser.into_numbers().into_iter().collect();
        terms.sort_unstable_by_key(|(_, number)| *number);
        terms.into_iter().map(|(term, _)| term).collect::<Vec<_>>()
    };
    let about = terms(false);
    if about.is_empty() { terms(true) } else { about }
}

/// The option of a program that a word is the name of, hyphens included: `-R` and `-r` are two things.
fn option<'a>(text: &'a str, at: usize, word: &str) -> Option<&'a str> {
    if at == 0 || text.as_bytes()[at - 1] != b'-' {
        return None;
    }
    let before = &text[..at];
    let bare = before.trim_end_matches('-');
    let hyphens = before.len() - bare.len();
    // A hyphen inside a word makes no option.
    let free = bare.chars().next_back().is_none_or(|char| !char.is_alphanumeric());
    match hyphens {
        1 | 2 if free => {
            let rest = &text[at + word.len()..];
            let name = |char: char| char.is_alphanumeric() || char == '-' || char == '_';
            let tail = if hyphens == 2 { rest.find(|char| !name(char)).unwrap_or(rest.len()) } else { 0 };
            Some(text[at - hyphens..at + word.len() + tail].trim_end_matches('-'))
        }
        _ => None,
    }
}

/// Whether a word is a single character of a script that puts no spaces between words.
fn unspaced(word: &str) -> bool {
    let mut chars = word.chars();
    matches!((chars.next(), chars.next()), (Some(first), None) if matches!(first,
        '\u{0e00}'..='\u{0eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}'))
}

/// The terms of a text, in order.
#[cfg(test)]
pub(super) fn of_text(text: &str) -> Vec<String> {
    let (mut analyser, mut found) = (Analyser::default(), Vec::new());
    analyser.terms(text, |term| found.push(term));
    let names = analyser.into_numbers();
    let name = |number| names.iter().find(|(_, other)| **other == number).unwrap().0.to_string();
    found.into_iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::of_text as terms;
    use super::*;

    #[test]
    fn every_irregular_verb_is_found() {
        for (past, of) in IRREGULAR {
            let stems = Stems::default();
            assert_eq!(stems.of(past), stems.of(of), "{past}");
        }
    }

    #[test]
    fn words_are_compared_without_their_endings() {
        assert_eq!(terms("Written by the Keepers"), terms("wrote BY the keeper"));
        assert_eq!(terms("the program's files"), terms("the programs file"));
        assert_eq!(terms("history-limit save_every"), ["histori", "limit", "save", "everi", "save_every"]);
    }

    #[test]
    fn options_are_terms_of_their_own() {
        assert_eq!(terms("-R"), ["-R"]);
        assert_eq!(terms("use -r, not -R."), ["use", "-r", "not", "-R"]);
        assert_eq!(terms("(--only-delimited)"), ["--only-delimited", "onli", "delimit"]);
        assert_eq!(terms("well-known 3-4"), ["well", "know", "3", "4"]);
        assert_eq!(terms("a - b --"), ["a", "b"]);
    }

    #[test]
    fn scripts_without_spaces_are_read_in_pairs() {
        assert_eq!(terms("東京都"), ["東", "東京", "京都"]);
        assert!(!terms("สวัสดี").is_empty());
    }

    #[test]
    fn words_do_not_depend_on_the_pieces_they_are_looked_for_in() {
        for text in [
            "Zoë's café -- naïve --dry-run, -x 3.5 1,000\tß\r\nA.B. o'clock 東京 都 \u{301}a \u{a0}b",
            "plain words, in a line",
            " \n \u{200d}é  \u{1f468}\u{200d}\u{1f469} สวัสดี ชาว",
        ] {
            let (mut analyser, mut pieces, mut whole) = (Analyser::default(), Vec::new(), Vec::new());
            analyser.terms(text, |term| pieces.push(term));
            analyser.terms_of_piece(text, &mut |term| whole.push(term));
            assert_eq!(pieces, whole, "{text}");
        }
    }

    #[test]
    fn a_question_is_about_its_other_words() {
        let about =
            |question: &str| -> Vec<String> { of_question(question).into_iter().map(String::from).collect() };
        assert_eq!(about("How do I set the default port?"), ["set", "default", "port"]);
        assert_eq!(about("What does -d do?"), ["-d"]);
        assert_eq!(about("Who is who?"), ["who", "is"]);
        assert!(about("?!").is_empty());
    }
}
