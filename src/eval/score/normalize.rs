//! Answers as the official scripts compare them: lower case, without punctuation, articles and extra white space.

use crate::eval::score::unicode::{is_word, split};

/// The articles of the English rules.
pub(super) const ENGLISH: &[&str] = &["a", "an", "the"];

/// `normalize_answer` of the SQuAD scripts, for any language.
pub fn normalize(text: &str) -> String {
    let mut text = text.to_lowercase();
    text.retain(|char| !char.is_ascii_punctuation());
    join(split(&without_articles(&text, ENGLISH)))
}

/// Replaces whole words by a space each. A word ends where [`is_word`] changes, which is not where white space is: an apostrophe
/// or a combining mark ends one too.
pub(super) fn without_articles(text: &str, articles: &[&str]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_word(first);
        let end = rest.find(|char| is_word(char) != inside).unwrap_or(rest.len());
        let (run, later) = rest.split_at(end);
        kept.push_str(if inside && articles.contains(&run) { " " } else { run });
        rest = later;
    }
    kept
}

/// Words with one space between them.
pub(super) fn join<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut joined = String::new();
    for word in words {
        if !joined.is_empty() {
            joined.push(' ');
        }
        joined.push_str(word);
    }
    joined
}
