//! Lines that end where words do, on a terminal.

use unicode_width::UnicodeWidthChar;

/// A line behind an indentation, continued on further lines where `room` columns are not enough.
pub fn wrap(line: &str, indent: usize, room: Option<usize>) -> String {
    let margin = " ".repeat(indent);
    let Some(room) = room.filter(|room| *room > 2 * indent) else { return format!("{margin}{line}") };
    let mut out = margin.clone();
    let (mut used, mut gap) = (indent, 0);
    for word in line.split(' ') {
        if word.is_empty() {
            gap += 1;
            continue;
        }
        let width = width(word);
        if used + gap + width > room && used > indent {
            out.push('\n');
            out.push_str(&margin);
            used = indent;
        } else {
            out.push_str(&" ".repeat(gap));
            used += gap;
        }
        out.push_str(word);
        used += width;
        gap = 1;
    }
    out
}

/// The columns that a word takes; colours take none.
fn width(word: &str) -> usize {
    let mut in_code = false;
    let visible = word.chars().filter(|char| {
        let code = in_code || *char == '\x1b';
        in_code = code && *char != 'm';
        !code
    });
    visible.filter_map(UnicodeWidthChar::width).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_words_do() {
        let line = "The last keeper, \x1b[1;31mOlav Brekke\x1b[0m, left.";
        assert_eq!(wrap(line, 2, Some(31)), "  The last keeper, \x1b[1;31mOlav Brekke\x1b[0m,\n  left.");
        assert_eq!(wrap(line, 2, Some(24)), "  The last keeper, \x1b[1;31mOlav\n  Brekke\x1b[0m, left.");
        assert_eq!(wrap(line, 2, Some(80)), format!("  {line}"));
        assert_eq!(wrap(line, 2, None), format!("  {line}"));
        assert_eq!(wrap("東京 東京", 0, Some(8)), "東京\n東京");
    }

    #[test]
    fn what_cannot_be_wrapped_is_left_alone() {
        assert_eq!(wrap("x".repeat(50).as_str(), 2, Some(20)), format!("  {}", "x".repeat(50)));
        assert_eq!(wrap("a b", 4, Some(3)), "    a b");
        assert_eq!(wrap("a:1:2  score 0.8  margin +4", 4, Some(20)), "    a:1:2  score 0.8\n    margin +4");
        assert_eq!(wrap("", 2, Some(20)), "  ");
    }
}
