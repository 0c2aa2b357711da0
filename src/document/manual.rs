//! Formatted manual pages, as `man PAGE > file` leaves them: bold and underlined letters are struck over each other, and words are
//! hyphenated over lines.

use std::ops::Range;

use super::hyphens;
use super::origin::Origin;
use super::{Text, View};

/// Whether a text is a formatted manual page, by its form: it begins with a line such as `LS(1)   User Commands   LS(1)`, or all
/// its backspaces strike letters over.
pub fn is_page(text: &str) -> bool {
    let first = text.trim_start_matches(['\n', ' ']).lines().next().unwrap_or_default();
    is_title(&without(first)) || strikes_only(text)
}

/// Whether a text is what manual pages are formatted from.
pub fn is_source(text: &str) -> bool {
    let begins = |line: &str| [".TH ", ".Dd ", ".so man"].iter().any(|macro_| line.starts_with(macro_));
    let comment = |line: &str| {
        line.is_empty()
            || [".\\\"", "'\\\"", ".ig", "'br", "..", ".if", ".ie", ".el", ".de", ".ds", ".nr"]
                .iter()
                .any(|start| line.starts_with(start))
    };
    text.lines().find(|line| !comment(line.trim_end())).is_some_and(begins)
}

/// The text of a formatted page.
pub fn text(page: String) -> Text {
    let (text, origin) = match page.contains(['\u{8}', '\u{1b}']) {
        true => {
            let (text, cuts) = View::without(&page, struck(&page)).into_parts();
            (text, Origin::Overstruck(cuts))
        }
        false => (page, Origin::Plain),
    };
    let seen = View::without(&text, hyphens::left_out(&text));
    Text { seen: (!seen.is_whole()).then_some(seen), text, origin }
}

fn without(line: &str) -> String {
    View::without(line, struck(line)).into_parts().0
}

/// A page's first line names it at both ends, with its section in parentheses.
fn is_title(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (Some(first), Some(last)) = (words.next(), words.next_back()) else { return false };
    let section = first.strip_suffix(')').and_then(|rest| rest.rsplit_once('(')).map(|(_, section)| section);
    first.eq_ignore_ascii_case(last)
        && section.is_some_and(|section| {
            section.len() <= 8
                && section.starts_with(|char: char| char.is_ascii_digit() || "nlo".contains(char))
        })
}

/// Whether there are backspaces and each of them stands between two characters that a typewriter strikes over each other.
fn strikes_only(text: &str) -> bool {
    let mut any = false;
    for (at, _) in text.match_indices('\u{8}') {
        let before = text[..at].chars().next_back();
        let after = text[at + 1..].chars().next();
        match (before, after) {
            (Some(before), Some(after))
                if before == after || before == '_' || after == '_' || before == '+' =>
            {
                any = true
            }
            _ => return false,
        }
    }
    any
}

/// What is struck over, and the escape sequences that newer systems have in its place: all of it is left out.
fn struck(text: &str) -> Vec<Range<usize>> {
    let mut pieces: Vec<Range<usize>> = Vec::new();
    let mut before: Option<Range<usize>> = None;
    let mut chars = text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '\u{8}' => {
                let start = before.take().map_or(at, |before| before.start);
                // Escape sequences behind the letter go with it.
                while pieces.pop_if(|piece| piece.start >= start).is_some() {}
                pieces.push(start..at + 1);
            }
            '\u{1b}' => {
                let end = escape_end(text, at);
                while chars.next_if(|(next, _)| *next < end).is_some() {}
                pieces.push(at..end);
            }
            _ => before = Some(at..at + char.len_utf8()),
        }
    }
    pieces
}

/// Where the escape sequence at `at` ends: a colour, a weight, or a link.
fn escape_end(text: &str, at: usize) -> usize {
    let rest = &text[at + 1..];
    let inside = match rest.as_bytes().first() {
        Some(b'[') => rest[1..].find(|char: char| ('@'..='~').contains(&char)).map(|end| end + 2),
        Some(b']') => {
            let bell = rest.find('\u{7}').map(|end| end + 1);
            let string = rest.find("\u{1b}\\").map(|end| end + 2);
            bell.into_iter().chain(string).min()
        }
        _ => None,
    };
    at + 1 + inside.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_by_their_form() {
        let title = "LS(1)                 User Commands                 LS(1)\n\nNAME\n";
        for page in [
            title,
            &format!("\n{title}"),
            "GIT-LOG(1)  Git Manual  GIT-LOG(1)",
            "a(3pm)  x  A(3pm)",
            "N\u{8}NA\u{8}A _\u{8}x",
            "\u{1b}[4mLS\u{1b}[24m(1)  User Commands  \u{1b}[4mLS\u{1b}[24m(1)\n",
        ] {
            assert!(is_page(page), "{page}");
        }
        for other in
            ["", "printf(1) writes", "f(x) = f(x)", "See ls(1)\nand", "ab\u{8}c", "LS(1)", "Olav (1) and (1)"]
        {
            assert!(!is_page(other), "{other}");
        }
    }

    #[test]
    fn sources_are_told_by_their_first_macro() {
        for source in
            [".TH LS 1", ".\\\" Comment\n.\\\"\n.TH LS 1", "'\\\" t\n.Dd May 1\n", ".so man1/ls.1\n"]
        {
            assert!(is_source(source), "{source}");
        }
        for other in ["", ".gitignore\n", "LS(1)", "# .TH", "text\n.TH LS 1"] {
            assert!(!is_source(other), "{other}");
        }
    }

    #[test]
    fn letters_are_struck_once_and_words_are_whole() {
        let page = "X(1)  a  X(1)\n\nN\u{8}NA\u{8}AM\u{8}ME\u{8}E\n  set the _\u{8}w_\u{8}i_\u{8}n‐\n  _\u{8}d_\u{8}o_\u{8}w + \u{8}o\n";
        let text = text(page.to_owned());
        assert_eq!(text.text, "X(1)  a  X(1)\n\nNAME\n  set the win‐\n  dow +o\n");
        let seen = text.seen.unwrap();
        assert_eq!(seen.text(), "X(1)  a  X(1)\n\nNAME\n  set the window +o\n");
        let at = seen.text().find("window").unwrap();
        let quoted = seen.original(at..at + 6);
        assert_eq!(&text.text[quoted.clone()], "win‐\n  dow");
        let place = text.origin.place(&text.text, &quoted).unwrap();
        assert_eq!(place.format, "man");
        assert_eq!(
            &page[place.start.unwrap()..place.end.unwrap()],
            "w_\u{8}i_\u{8}n‐\n  _\u{8}d_\u{8}o_\u{8}w"
        );
    }

    #[test]
    fn escape_sequences_are_left_out() {
        let page = "\u{1b}[1mLS\u{1b}[0m(1) \u{1b}]8;;man:cp(1)\u{1b}\\cp(1)\u{1b}]8;;\u{7} é\u{1b}";
        assert_eq!(without(page), "LS(1) cp(1) é");
        assert_eq!(without("N\u{8}NA\u{1b}[0m\u{1b}\u{8}AM"), "NAM");
        assert_eq!(text("A(1)  b  A(1)\n".to_owned()), Text::from("A(1)  b  A(1)\n".to_owned()));
    }
}
