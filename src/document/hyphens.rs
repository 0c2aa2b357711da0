//! Words that are hyphenated over two lines. The model is to see them whole.
//!
//! A hyphen at the end of a line is one of two things: where a word was broken, or where a compound (`read-only`) was. The text itself
//! often says which: the same word stands elsewhere in it, in one piece or with its hyphen.

use std::collections::HashSet;
use std::ops::Range;

/// What a model need not see of a text: hyphens and line breaks inside words, and soft hyphens.
pub fn left_out(text: &str) -> Vec<Range<usize>> {
    let mut words: Option<HashSet<String>> = None;
    let mut pieces = Vec::new();
    for (at, char) in text.char_indices() {
        let after = at + char.len_utf8();
        match char {
            '\u{ad}' if !text[after..].starts_with('\n') => pieces.push(at..after),
            '-' | '\u{2010}' | '\u{ad}' => {
                if let Some(broken) = Broken::at(text, at, after) {
                    let words = words.get_or_insert_with(|| words_of(text));
                    pieces.push(if broken.is_compound(char, words) {
                        after..broken.next
                    } else {
                        at..broken.next
                    });
                }
            }
            _ => {}
        }
    }
    pieces
}

/// A word over two lines.
struct Broken<'a> {
    left: &'a str,
    right: &'a str,
    /// Where it goes on.
    next: usize,
}

impl<'a> Broken<'a> {
    /// The word around the hyphen at `at`, if it ends a line and the next line goes on in the same case.
    fn at(text: &'a str, at: usize, after: usize) -> Option<Self> {
        let line = text[after..].strip_prefix('\n')?;
        let rest = line.trim_start_matches(' ');
        let left = &text[..at];
        let left = &left[left.trim_end_matches(char::is_alphabetic).len()..];
        let right = &rest[..rest.len() - rest.trim_start_matches(char::is_alphabetic).len()];
        let goes_on = right.starts_with(char::is_lowercase)
            || (right.starts_with(char::is_uppercase) && left.ends_with(char::is_uppercase));
        let broken = left.chars().count() >= 2 && goes_on && !is_name(&text[..at]);
        broken.then(|| Self { left, right, next: text.len() - rest.len() })
    }

    /// Whether the hyphen is the word's own.
    fn is_compound(&self, hyphen: char, words: &HashSet<String>) -> bool {
        let spelt =
            |between: &str| words.contains(&format!("{}{between}{}", self.left, self.right).to_lowercase());
        hyphen != '\u{ad}' && !spelt("") && spelt("-")
    }
}

/// Whether a text ends in an option or the name of a file: they are not hyphenated, so their hyphens are their own.
fn is_name(text: &str) -> bool {
    let word = text.rsplit(char::is_whitespace).next().unwrap_or_default();
    let word = word.trim_start_matches(['(', '[', '"', '\'', '\u{201c}', '\u{2018}']);
    word.starts_with('-') || word.contains(['/', '_', '=', '<', '@', '\\'])
}

/// The words of a text that stand in one line, in small letters, with their hyphens.
fn words_of(text: &str) -> HashSet<String> {
    let pieces = text.split(|char: char| !(char.is_alphanumeric() || char == '-' || char == '\u{2010}'));
    let words = pieces.filter(|word| !word.ends_with(['-', '\u{2010}']) && !word.is_empty());
    words.map(|word| word.to_lowercase().replace('\u{2010}', "-")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::view::View;

    fn seen(text: &str) -> String {
        View::without(text, left_out(text)).text().to_owned()
    }

    #[test]
    fn broken_words_are_joined() {
        assert_eq!(seen("a direc‐\n       tory, non‐\n   graphic"), "a directory, nongraphic");
        assert_eq!(seen("infor-\nmation"), "information");
        assert_eq!(seen("soft\u{ad}ware and hard\u{ad}\n ware"), "software and hardware");
        assert_eq!(seen("(see INVOCA‐\n  TION, non-inter‐\nactive)"), "(see INVOCATION, non-interactive)");
        assert_eq!(seen("Ü‐\nber Über‐\nsetzung"), "Ü‐\nber Übersetzung");
    }

    #[test]
    fn compounds_keep_their_hyphens() {
        assert_eq!(seen("read-only: it is Read‐\n  only now"), "read-only: it is Read‐only now");
        assert_eq!(seen("nonempty, and non-empty: non-\nempty"), "nonempty, and non-empty: nonempty");
    }

    #[test]
    fn other_hyphens_stay() {
        for text in [
            "--no-\n  ignore",
            "a -\n b",
            "1-\n2",
            "see foo-\n\nbar",
            "pre-\n  Columbian",
            "/usr/lib-\n foo",
            "x-",
        ] {
            assert_eq!(seen(text), text);
        }
    }
}
