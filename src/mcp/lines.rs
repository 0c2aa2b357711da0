//! The lines of a file, as many as one call may give. Nothing is lost: what does not fit is where the next call begins.

use serde::Deserialize;
use serde_json::{Value, json};

use super::files::Files;
use super::roots::uri;
use super::tools::{MOST_CHARACTERS, beginning};

/// Lines that one call gives at most.
const MOST_LINES: usize = 400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadLines {
    path: String,
    from: Option<usize>,
    column: Option<usize>,
    count: Option<usize>,
}

pub fn read_lines(files: &Files, asked: ReadLines) -> Result<Value, String> {
    let from = (asked.from.unwrap_or(1).max(1), asked.column.unwrap_or(1).max(1));
    let count = asked.count.unwrap_or(40).clamp(1, MOST_LINES);
    let file = files.read(&files.roots().resolve(&asked.path)?)?;
    let text = &file.text.text;
    let (lines, next) = read(text, from, count);
    let next = next.unzip();
    Ok(json!({
        "uri": uri(&file.path),
        "lines": lines,
        "total": text.lines().count(),
        "next": next.0,
        "next_column": next.1,
    }))
}

/// So many lines from a line and a column on, and the line and column after them.
fn read(text: &str, from: (usize, usize), count: usize) -> (Vec<Value>, Option<(usize, usize)>) {
    let (mut lines, mut room) = (Vec::new(), MOST_CHARACTERS);
    for (number, line) in (1..).zip(text.lines()).skip(from.0 - 1) {
        let column = if number == from.0 { from.1 } else { 1 };
        let rest = &line[beginning(line, column - 1).len()..];
        let shown = beginning(rest, room);
        let is_cut = shown.len() < rest.len();
        if lines.len() == count || (is_cut && !lines.is_empty()) {
            return (lines, Some((number, 1)));
        }
        let mut entry = json!({"line": number, "text": shown});
        if column > 1 {
            entry["column"] = column.into();
        }
        if is_cut {
            entry["cut"] = true.into();
        }
        lines.push(entry);
        if is_cut {
            return (lines, Some((number, column + room)));
        }
        room = room.saturating_sub(shown.chars().count() + 1);
    }
    (lines, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a text together again from what one call after the other gives.
    fn all(text: &str, count: usize) -> (String, usize) {
        let (mut whole, mut calls, mut from) = (String::new(), 0, (1, 1));
        loop {
            let (lines, next) = read(text, from, count);
            calls += 1;
            let characters: usize =
                lines.iter().map(|line| line["text"].as_str().unwrap().chars().count()).sum();
            assert!(characters <= MOST_CHARACTERS && lines.len() <= count && !lines.is_empty());
            for line in &lines {
                whole += line["text"].as_str().unwrap();
                if line["cut"] != true {
                    whole.push('\n');
                }
            }
            match next {
                Some(next) => from = next,
                None => return (whole, calls),
            }
        }
    }

    #[test]
    fn nothing_of_long_lines_is_lost() {
        let wide: String = (0..300).map(|n| format!("{n:0300}\n")).collect();
        assert_eq!(all(&wide, MOST_LINES), (wide.clone(), 3));
        // The line that does not fit any more begins the next call.
        assert_eq!(read(&wide, (1, 1), MOST_LINES).1, Some((133, 1)));
        let exact = "é".repeat(MOST_CHARACTERS) + "\n\n";
        assert_eq!(all(&exact, 40), (exact.clone(), 1));
        let endless = "short\n".to_owned() + &"é".repeat(2 * MOST_CHARACTERS + 7) + "\nend\n";
        assert_eq!(all(&endless, 40), (endless.clone(), 4));
        let (lines, next) = read(&endless, (2, 1), 40);
        assert_eq!((&lines[0]["cut"], next), (&json!(true), Some((2, MOST_CHARACTERS + 1))));
        let (lines, next) = read("äbc\nd", (1, 3), 1);
        assert_eq!((lines, next), (vec![json!({"line": 1, "column": 3, "text": "c"})], Some((2, 1))));
        assert_eq!(read("a\nb", (1, 9), 9).0[0]["text"], "");
        assert_eq!(read("a\nb", (3, 1), 9), (Vec::new(), None));
    }
}
