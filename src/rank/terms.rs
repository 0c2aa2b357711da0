//! Words as they are compared.

use std::borrow::Cow;

use foldhash::{HashMap, HashMapExt};
use frostem::{Algorithm, Stemmer};
use unicode_segmentation::UnicodeSegmentation;

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

/// Words whose stems are remembered.
const REMEMBERED: usize = 1 << 16;

/// Turns texts into terms.
pub struct Analyser {
    stemmer: Stemmer,
    /// Words that were met, because most are met again, and the places of their stems.
    met: HashMap<Box<str>, usize>,
    stems: Vec<Box<str>>,
}

impl Default for Analyser {
    fn default() -> Self {
        Self { stemmer: Stemmer::new(Algorithm::English), met: HashMap::new(), stems: Vec::new() }
    }
}

impl Analyser {
    /// The terms of a text, in order.
    pub(super) fn terms(&mut self, text: &str, mut found: impl FnMut(&str)) {
        // No word has a space in it, and in pieces of plain ASCII, as most are, words are found faster.
        for line in text.split('\n') {
            match line.is_ascii() {
                true => self.terms_of_piece(line, &mut found),
                false => line.split(' ').for_each(|piece| self.terms_of_piece(piece, &mut found)),
            }
        }
    }

    fn terms_of_piece(&mut self, text: &str, found: &mut impl FnMut(&str)) {
        // Scripts without spaces are taken two characters at a time.
        let mut before: Option<(usize, &str)> = None;
        for (at, word) in text.unicode_word_indices() {
            if option(text, at, word).is_some_and(|option| {
                found(option);
                option.len() == word.len() + 1
            }) {
                continue;
            }
            if unspaced(word) {
                match before {
                    Some((start, earlier)) if start + earlier.len() == at => {
                        found(&text[start..at + word.len()])
                    }
                    _ => found(word),
                }
                before = Some((at, word));
                continue;
            }
            before = None;
            let word = lowercase(word);
            // `history-limit` and `save_every` are found by their parts, too; hyphens divide words anyway.
            for part in word.split('_').filter(|part| !part.is_empty()) {
                found(self.stem(part));
            }
            if word.trim_matches('_').contains('_') {
                found(&word);
            }
        }
    }

    /// The terms that a question is about, each once. If it is made of nothing but asking words, these.
    pub(super) fn question(&mut self, question: &str) -> Vec<String> {
        let mut words = |asking: bool| {
            let mut terms: Vec<String> = Vec::new();
            let chosen: Vec<&str> = (question.split_whitespace())
                .filter(|word| {
                    let bare = word.trim_matches(|char: char| char.is_ascii_punctuation()).to_lowercase();
                    asking || word.starts_with('-') || !ASKING.contains(&bare.as_str())
                })
                .collect();
            self.terms(&chosen.join(" "), |term| {
                if !terms.iter().any(|known| known == term) {
                    terms.push(term.to_owned());
                }
            });
            terms
        };
        let about = words(false);
        if about.is_empty() { words(true) } else { about }
    }

    fn stem(&mut self, word: &str) -> &str {
        if let Some(&at) = self.met.get(word) {
            return &self.stems[at];
        }
        if self.stems.len() == REMEMBERED {
            self.met.clear();
            self.stems.clear();
        }
        let bare = word.trim_end_matches("'s").trim_end_matches("’s");
        let regular =
            IRREGULAR.binary_search_by_key(&bare, |(past, _)| past).map_or(bare, |at| IRREGULAR[at].1);
        let at = self.stems.len();
        self.met.insert(word.into(), at);
        self.stems.push(self.stemmer.stem(regular).into());
        &self.stems[at]
    }
}

fn lowercase(word: &str) -> Cow<'_, str> {
    let is_lower = word.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lower { Cow::Borrowed(word) } else { Cow::Owned(word.to_lowercase()) }
}

/// The option of a program that a word is the name of, hyphens included: `-R` and `-r` are two things.
fn option<'a>(text: &'a str, at: usize, word: &str) -> Option<&'a str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let mut terms = Vec::new();
        Analyser::default().terms(text, |term| terms.push(term.to_owned()));
        terms
    }

    #[test]
    fn every_irregular_verb_is_found() {
        for (past, of) in IRREGULAR {
            let mut analyser = Analyser::default();
            assert_eq!(analyser.stem(past).to_owned(), analyser.stem(of), "{past}");
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
        let words = |text: &str| {
            let mut words = Vec::new();
            Analyser::default().terms_of_piece(text, &mut |term| words.push(term.to_owned()));
            words
        };
        for text in [
            "Zoë's café -- naïve --dry-run, -x 3.5 1,000\tß\r\nA.B. o'clock 東京 都 \u{301}a \u{a0}b",
            "plain words, in a line",
            " \n \u{200d}é  \u{1f468}\u{200d}\u{1f469} สวัสดี ชาว",
        ] {
            assert_eq!(terms(text), words(text), "{text}");
        }
    }

    #[test]
    fn a_question_is_about_its_other_words() {
        let about = |question: &str| Analyser::default().question(question);
        assert_eq!(about("How do I set the default port?"), ["set", "default", "port"]);
        assert_eq!(about("What does -d do?"), ["-d"]);
        assert_eq!(about("Who is who?"), ["who", "is"]);
        assert!(about("?!").is_empty());
    }
}
