//! The character classes that the official scripts take from Python.
//!
//! The tables are those of `regex-syntax`, which the tokenizers bring along anyway. `regex`'s own word class would not do: it
//! holds combining marks, which are no part of a word in Python.

use std::sync::LazyLock;

use regex_syntax::hir::HirKind;

/// Sorted, disjoint ranges of code points.
struct Class(Vec<(char, char)>);

impl Class {
    /// Reads a bracket expression; one that does not parse is empty, which the tests would notice.
    fn new(expression: &str) -> Self {
        let ranges = match regex_syntax::parse(expression).map(|hir| hir.into_kind()) {
            Ok(HirKind::Class(regex_syntax::hir::Class::Unicode(class))) => {
                class.ranges().iter().map(|range| (range.start(), range.end())).collect()
            }
            _ => Vec::new(),
        };
        Self(ranges)
    }

    fn contains(&self, char: char) -> bool {
        let at = self.0.partition_point(|&(_, end)| end < char);
        self.0.get(at).is_some_and(|&(start, _)| start <= char)
    }
}

static WORD: LazyLock<Class> = LazyLock::new(|| Class::new(r"[\p{L}\p{N}_]"));
static PUNCTUATION: LazyLock<Class> = LazyLock::new(|| Class::new(r"\p{P}"));

/// `\w` of Python: letters, numbers of any kind, and the underscore.
pub fn is_word(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_alphanumeric() || char == '_' } else { WORD.contains(char) }
}

/// A character of any of Unicode's punctuation categories, or one of ASCII's 32.
pub fn is_punctuation(char: char) -> bool {
    if char.is_ascii() { char.is_ascii_punctuation() } else { PUNCTUATION.contains(char) }
}

/// What Python's `str.split()` splits at: white space, and the four separators of ASCII.
pub fn is_space(char: char) -> bool {
    char.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&char)
}

/// The words of a text as `str.split()` gives them.
pub fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(is_space).filter(|word| !word.is_empty())
}
