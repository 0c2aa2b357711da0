//! Words and sentences of text in plain ASCII: those of the Unicode rules (UAX #29), found several times faster.

use std::ops::Range;

/// The words of a text, each with its place.
pub(super) fn words<'a>(text: &'a str, mut found: impl FnMut(usize, &'a str)) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let start = at;
        while at < bytes.len() && (is_inside(bytes[at]) || (at > start && joins(bytes, at))) {
            at += 1;
        }
        if bytes[start..at].iter().any(u8::is_ascii_alphanumeric) {
            found(start, &text[start..at]);
        }
        at = at.max(start + 1);
    }
}

fn is_inside(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Whether a point or the like stands inside a word or a number.
fn joins(bytes: &[u8], at: usize) -> bool {
    let (before, Some(after)) = (bytes[at - 1], bytes.get(at + 1)) else { return false };
    match bytes[at] {
        b'.' | b'\'' if before.is_ascii_digit() => after.is_ascii_digit(),
        b',' | b';' => before.is_ascii_digit() && after.is_ascii_digit(),
        b'.' | b'\'' | b':' => before.is_ascii_alphabetic() && after.is_ascii_alphabetic(),
        _ => false,
    }
}

/// The sentences of a line, which has no line breaks in it.
pub(super) fn sentences(line: &str) -> Vec<Range<usize>> {
    let bytes = line.as_bytes();
    let skip = |from: usize, among: &[u8]| {
        bytes[from..].iter().position(|byte| !among.contains(byte)).map_or(bytes.len(), |at| from + at)
    };
    let (mut sentences, mut start, mut at) = (Vec::new(), 0, 0);
    while let Some(point) = bytes[at..].iter().position(|byte| b".!?".contains(byte)).map(|next| at + next) {
        at = point + 1;
        let is_full_stop = bytes[point] == b'.';
        if is_full_stop && bytes.get(at).is_some_and(|next| is_abbreviation(bytes, point, *next)) {
            continue;
        }
        at = skip(skip(at, b"()[]{}\"'"), b" \t\x0b\x0c");
        let goes_on = bytes.get(at).is_some_and(|next| b",-:;.!?".contains(next));
        if goes_on
            || (is_full_stop
                && bytes[at..].iter().find(|byte| ends_doubt(**byte)).is_some_and(u8::is_ascii_lowercase))
        {
            continue;
        }
        sentences.push(start..at);
        start = at;
    }
    if start < bytes.len() {
        sentences.push(start..bytes.len());
    }
    sentences
}

/// Whether a full stop stands in a number or between a word and a capital: 3.14, U.S.
fn is_abbreviation(bytes: &[u8], point: usize, next: u8) -> bool {
    let before = point.checked_sub(1).map(|before| bytes[before]);
    next.is_ascii_digit()
        || (before.is_some_and(|before| before.is_ascii_alphabetic()) && next.is_ascii_uppercase())
}

/// What tells whether a sentence ended at a full stop: if a small letter comes first, it goes on.
fn ends_doubt(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || b".!?".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::*;

    proptest! {
        #[test]
        fn words_are_those_of_the_unicode_rules(text in "[aZ09_.,;:' \r\n\t\"-]{0,40}|[ -~\t]{0,60}") {
            let mut found = Vec::new();
            words(&text, |at, word| found.push((at, word)));
            prop_assert_eq!(found, text.unicode_word_indices().collect::<Vec<_>>());
        }

        #[test]
        fn sentences_are_those_of_the_unicode_rules(text in "[aZ0.!?)'(,;: \t\"-]{0,40}|[ -~\t]{0,60}") {
            let expected: Vec<&str> = text.split_sentence_bounds().collect();
            prop_assert_eq!(sentences(&text).into_iter().map(|range| &text[range]).collect::<Vec<_>>(), expected);
        }
    }
}
