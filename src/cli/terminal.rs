//! Text from outside on its way to a terminal: names of files, ids, messages. Nothing in it may move a cursor, change a colour
//! or turn the direction of reading. What could is written out, `\x1b` for an escape; JSON does that by itself.

use std::borrow::Cow;
use std::fmt::{Display, Write};
use std::io::{self, IsTerminal};

/// How many columns the terminal has that standard output goes to, if it goes to one.
pub fn width() -> Option<usize> {
    let size = io::stdout().is_terminal().then(terminal_size::terminal_size)?;
    size.map(|(width, _)| width.0.into())
}

/// A name, on one line.
pub fn name(text: &str) -> Cow<'_, str> {
    escaped(text, |_| false)
}

/// A message, which may have several lines.
pub fn message(text: &str) -> Cow<'_, str> {
    escaped(text, |char| matches!(char, '\n' | '\t'))
}

/// Text of a document on one line: what would move the cursor is a space there, as white space is.
pub fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// Text of a document as it flows, however its lines are broken and indented. A word that was parted at the end of a line is whole again; its
/// hyphen stays unless it is one that manual pages put only there.
pub fn flowing(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut parted = false;
    for char in text.chars() {
        let blank = char.is_whitespace() || char.is_control();
        if char == '\n' && out.trim_end_matches(' ').ends_with(is_hyphen) && is_parted(&out) {
            out.truncate(out.trim_end_matches(' ').trim_end_matches('\u{2010}').len());
            parted = true;
        } else if !blank {
            parted = false;
            out.push(char);
        } else if !parted && !out.ends_with(' ') {
            out.push(' ');
        }
    }
    out
}

fn is_hyphen(char: char) -> bool {
    matches!(char, '-' | '\u{2010}')
}

/// Whether the hyphen at the end follows a letter: a dash does not.
fn is_parted(text: &str) -> bool {
    text.trim_end_matches(' ').trim_end_matches(is_hyphen).ends_with(char::is_alphabetic)
}

/// Says something on standard error that a person should know.
pub fn note(text: impl Display) {
    eprintln!("note: {}", message(&text.to_string()));
}

fn escaped(text: &str, keep: impl Fn(char) -> bool) -> Cow<'_, str> {
    let harmless = |char: char| keep(char) || !(char.is_control() || turns_reading(char));
    if text.chars().all(harmless) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        // Writing to a string does not fail.
        let _ = match char {
            char if harmless(char) => out.write_char(char),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            char if u32::from(char) < 0x100 => write!(out, "\\x{:02x}", u32::from(char)),
            char => write!(out, "{}", char.escape_unicode()),
        };
    }
    Cow::Owned(out)
}

/// Marks that let a name show in another order than it is written: `cod\u{202e}txt.exe`.
fn turns_reading(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_written_out() {
        for (raw, shown) in [
            ("a\x1b[31mb", "a\\x1b[31mb"),
            ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
            ("a\u{9b}2J", "a\\x9b2J"),
            ("a\r\n\tb\x08\x7f", "a\\r\\n\\tb\\x08\\x7f"),
            ("cod\u{202e}txt.exe", "cod\\u{202e}txt.exe"),
        ] {
            assert_eq!(name(raw), shown);
        }
        assert_eq!(message("a:\n\tb\x1b[2J\r"), "a:\n\tb\\x1b[2J\\r");
        assert_eq!(one_line("a\x1b[31m\nb"), "a [31m b");
        assert_eq!(flowing(" a\x1b[31m,\r\n    b  c \n"), " a [31m, b c ");
    }

    #[test]
    fn words_that_were_parted_are_whole() {
        assert_eq!(
            flowing("all speci\u{2010}\n      fied by read-\r\n  only -\n a"),
            "all specified by read-only - a"
        );
        assert_eq!(flowing("a \u{2010} b, c-d"), "a \u{2010} b, c-d");
    }

    #[test]
    fn ordinary_names_are_left_alone() {
        for plain in ["notes.txt", "C:\\x\\x1b", "Zürich/東京.md", "👩‍👩‍👧", "שלום", "a b"]
        {
            assert!(matches!(name(plain), Cow::Borrowed(same) if same == plain));
        }
    }
}
