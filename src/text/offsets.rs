//! Byte ranges of a text, cleaned up and counted in the unit a user asked for. Bytes are the only unit used inside.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use unicode_segmentation::GraphemeCursor;

/// What `start`, `end` and `column` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OffsetUnit {
    /// UTF-8 bytes, what Rust and grep count.
    Byte,
    /// Unicode code points, what Python, SQuAD and the Hugging Face interfaces count.
    #[default]
    Char,
    /// UTF-16 code units, what JavaScript, Java and editors' protocols count.
    Utf16,
}

impl fmt::Display for OffsetUnit {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            OffsetUnit::Byte => "byte",
            OffsetUnit::Char => "char",
            OffsetUnit::Utf16 => "utf16",
        })
    }
}

impl FromStr for OffsetUnit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "byte" => Ok(OffsetUnit::Byte),
            "char" => Ok(OffsetUnit::Char),
            "utf16" => Ok(OffsetUnit::Utf16),
            _ => Err(format!("`{text}` is not a unit: expected byte, char, utf16")),
        }
    }
}

impl OffsetUnit {
    /// The length of a piece of text in this unit.
    pub fn length(self, text: &str) -> usize {
        match self {
            OffsetUnit::Byte => text.len(),
            OffsetUnit::Char => text.chars().count(),
            OffsetUnit::Utf16 => text.encode_utf16().count(),
        }
    }
}

impl OffsetUnit {
    /// What stands at `range` of a text, counted in this unit; `None` if that is no piece of the text.
    pub fn slice(self, text: &str, range: Range<usize>) -> Option<&str> {
        let byte = |offset: usize| match self {
            OffsetUnit::Byte => Some(offset),
            OffsetUnit::Char => (text.char_indices().map(|(at, _)| at)).chain([text.len()]).nth(offset),
            OffsetUnit::Utf16 => {
                let mut units = 0;
                let starts = text.char_indices().map(|(at, char)| {
                    let start = units;
                    units += char.len_utf16();
                    (start, at)
                });
                let found = starts.take_while(|(start, _)| *start <= offset).last();
                match found {
                    Some((start, at)) if start == offset => Some(at),
                    _ => (self.length(text) == offset).then_some(text.len()),
                }
            }
        };
        text.get(byte(range.start)?..byte(range.end)?)
    }
}

/// A byte range as a user sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Offset of the first unit.
    pub start: usize,
    /// Offset after the last unit.
    pub end: usize,
    /// Line of `start`, from 1.
    pub line: usize,
    /// Column of `start` in its line, from 1.
    pub column: usize,
}

/// Counts a byte range of `text` in `unit`, with its line and column.
pub fn place(text: &str, range: &Range<usize>, unit: OffsetUnit) -> Place {
    let before = &text[..range.start];
    let start = unit.length(before);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Place {
        start,
        end: start + unit.length(&text[range.clone()]),
        line: 1 + before.bytes().filter(|&byte| byte == b'\n').count(),
        column: 1 + unit.length(&before[line_start..]),
    }
}

/// Byte ranges of a text in another unit. The text is gone through once, up to the last of them.
pub fn counted(text: &str, ranges: &[Range<usize>], unit: OffsetUnit) -> Vec<Range<usize>> {
    let units = match unit {
        _ if text.is_ascii() => return ranges.to_vec(),
        OffsetUnit::Byte => return ranges.to_vec(),
        OffsetUnit::Char => |_| 1,
        OffsetUnit::Utf16 => char::len_utf16,
    };
    let first = ranges.iter().map(|range| range.start).min().unwrap_or(0);
    let last = ranges.iter().map(|range| range.end).max().unwrap_or(0);
    // Units before the first range, and where each one behind starts: a character of two units is there twice.
    let (mut before, mut starts) = (0, Vec::new());
    for (at, char) in text.char_indices().take_while(|(at, _)| *at < last) {
        match at < first {
            true => before += units(char),
            false => starts.extend(std::iter::repeat_n(at, units(char))),
        }
    }
    let count = |byte: usize| before + starts.partition_point(|start| *start < byte);
    ranges.iter().map(|range| count(range.start)..count(range.end)).collect()
}

/// Whether a text has nothing that could be quoted: white space, control characters and characters without width.
pub fn is_blank(text: &str) -> bool {
    let without_width = |char| matches!(char, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    text.chars().all(|char| char.is_whitespace() || char.is_control() || without_width(char))
}

/// Drops white space and byte order marks at both ends of a range and then widens it to whole graphemes, so that no quotation
/// starts or ends inside an accented letter or an emoji. `None` if nothing is left.
pub fn tidy(text: &str, range: Range<usize>) -> Option<Range<usize>> {
    let blank = |char: char| char.is_whitespace() || char == '\u{feff}';
    let slice = text.get(range.clone())?;
    let trimmed = slice.trim_start_matches(blank);
    let start = range.end - trimmed.len();
    let end = start + trimmed.trim_end_matches(blank).len();
    (start < end).then(|| grapheme_start(text, start)..grapheme_end(text, end))
}

fn is_boundary(text: &str, offset: usize) -> bool {
    // The cursor sees the whole text, so it can always decide; an undecided answer would only leave the range as it is.
    GraphemeCursor::new(offset, text.len(), true).is_boundary(text, 0).unwrap_or(true)
}

fn grapheme_start(text: &str, offset: usize) -> usize {
    if is_boundary(text, offset) {
        return offset;
    }
    GraphemeCursor::new(offset, text.len(), true).prev_boundary(text, 0).ok().flatten().unwrap_or(offset)
}

fn grapheme_end(text: &str, offset: usize) -> usize {
    if is_boundary(text, offset) {
        return offset;
    }
    GraphemeCursor::new(offset, text.len(), true).next_boundary(text, 0).ok().flatten().unwrap_or(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_count_in_every_unit() {
        let text = "é😀\nx Zürich.";
        let range = 9..16;
        assert_eq!(&text[range.clone()], "Zürich");
        let at = |unit| place(text, &range, unit);
        assert_eq!(at(OffsetUnit::Byte), Place { start: 9, end: 16, line: 2, column: 3 });
        assert_eq!(at(OffsetUnit::Char), Place { start: 5, end: 11, line: 2, column: 3 });
        assert_eq!(at(OffsetUnit::Utf16), Place { start: 6, end: 12, line: 2, column: 3 });
    }

    #[test]
    fn ranges_are_counted_from_the_start_of_the_text() {
        let in_unit = |unit| counted("é👑 ab", &[7..8, 2..6, 8..9], unit);
        assert_eq!(in_unit(OffsetUnit::Byte), [7..8, 2..6, 8..9]);
        assert_eq!(in_unit(OffsetUnit::Char), [3..4, 1..2, 4..5]);
        assert_eq!(in_unit(OffsetUnit::Utf16), [4..5, 1..3, 5..6]);
        assert!(counted("a", &[], OffsetUnit::Char).is_empty());
    }

    #[test]
    fn tidy_trims_and_keeps_graphemes_whole() {
        let text = "in  Cafe\u{301} now";
        assert_eq!(&text[tidy(text, 2..8).unwrap()], "Cafe\u{301}");
        let family = "a 👩‍👩‍👧 b";
        assert_eq!(&family[tidy(family, 2..6).unwrap()], "👩‍👩‍👧");
        assert_eq!(&family[tidy(family, 9..13).unwrap()], "👩‍👩‍👧");
        assert_eq!(tidy("a \u{a0}\t b", 1..4), None);
        assert_eq!(tidy("\u{feff}ab", 0..5), Some(3..5));
        assert_eq!(tidy("abc", 1..1), None);
        assert_eq!(tidy("abc", 2..9), None);
    }

    #[test]
    fn what_nobody_sees_is_blank() {
        for blank in ["", " \r\n\t", "\u{a0}\u{3000}", "\u{2028}\u{c}\u{1f}", "\u{200b}\u{feff}\u{ad}"] {
            assert!(is_blank(blank), "{blank:?}");
        }
        for text in [".", " a ", "\u{200b}\u{4e2d}", "\u{301}", "\u{fffd}", "👩‍👩‍👧"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn offsets_slice_back(text in "\\PC{0,20}[\\n a\u{301}é😀]{0,12}\\PC{0,20}", a in 0usize..80, b in 0usize..80) {
            let boundaries: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let (a, b) = (boundaries[a % boundaries.len()], boundaries[b % boundaries.len()]);
            if let Some(range) = tidy(&text, a.min(b)..a.max(b)) {
                let answer = &text[range.clone()];
                let chars = place(&text, &range, OffsetUnit::Char);
                let utf16 = place(&text, &range, OffsetUnit::Utf16);
                let by_char: String = text.chars().skip(chars.start).take(chars.end - chars.start).collect();
                let units: Vec<u16> = text.encode_utf16().collect();
                prop_assert_eq!(&by_char, answer);
                prop_assert_eq!(String::from_utf16(&units[utf16.start..utf16.end]).unwrap(), answer);
                for unit in [OffsetUnit::Byte, OffsetUnit::Char, OffsetUnit::Utf16] {
                    let at = place(&text, &range, unit);
                    prop_assert_eq!(unit.slice(&text, at.start..at.end), Some(answer));
                }
                let line = text.split('\n').nth(chars.line - 1).unwrap();
                let from_column: String = line.chars().skip(chars.column - 1).collect();
                prop_assert!(from_column.starts_with(answer.split('\n').next().unwrap()));
            }
        }
    }
}
