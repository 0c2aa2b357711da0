//! Rows of tables, as spreadsheets and data frames write them: cells between separators, quotation marks around cells that hold
//! separators, quotation marks or line breaks, quotation marks doubled inside them.

use std::io::{self, Write};

/// Knows, byte after byte, whether a quoted cell is still open.
pub struct Quotes {
    separator: u8,
    place: Place,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// Before the first byte of a cell: only here does a quotation mark open it.
    Start,
    Plain,
    Quoted,
    /// After a quotation mark that closes the cell or stands for one of two.
    Mark,
}

impl Quotes {
    pub fn new(separator: char) -> Self {
        Self { separator: separator as u8, place: Place::Start }
    }

    pub fn scan(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.place = match (self.place, byte) {
                (Place::Start, b'"') | (Place::Mark, b'"') => Place::Quoted,
                (Place::Quoted, b'"') => Place::Mark,
                (Place::Quoted, _) => Place::Quoted,
                (_, byte) if byte == self.separator => Place::Start,
                _ => Place::Plain,
            };
        }
    }

    pub fn open(&self) -> bool {
        self.place == Place::Quoted
    }
}

/// The cells of a whole row.
pub fn cells(row: &str, separator: char) -> Vec<String> {
    let mut cells = Vec::new();
    let mut cell = String::new();
    let mut place = Place::Start;
    for char in row.chars() {
        place = match (place, char) {
            (Place::Start, '"') => Place::Quoted,
            (Place::Quoted, '"') => Place::Mark,
            (Place::Quoted, _) => {
                cell.push(char);
                Place::Quoted
            }
            (Place::Mark, '"') => {
                cell.push('"');
                Place::Quoted
            }
            (_, char) if char == separator => {
                cells.push(std::mem::take(&mut cell));
                Place::Start
            }
            _ => {
                cell.push(char);
                Place::Plain
            }
        };
    }
    cells.push(cell);
    cells
}

/// Writes a row, with its line break.
pub fn write_row<'a>(
    cells: impl Iterator<Item = &'a str>,
    separator: char,
    out: &mut dyn Write,
) -> io::Result<()> {
    let special = [separator, '"', '\n', '\r'];
    let mut row = String::new();
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            row.push(separator);
        }
        if cell.contains(special) {
            row.push('"');
            row.push_str(&cell.replace('"', "\"\""));
            row.push('"');
        } else {
            row.push_str(cell);
        }
    }
    // A row of one empty cell would be a blank line, which readers skip.
    if row.is_empty() {
        row.push_str("\"\"");
    }
    row.push('\n');
    out.write_all(row.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_are_taken_apart() {
        assert_eq!(cells("a,b c,", ','), ["a", "b c", ""]);
        assert_eq!(cells("\"a,\"\"b\"\"\nc\",d", ','), ["a,\"b\"\nc", "d"]);
        assert_eq!(cells("5\" pipe\tx", '\t'), ["5\" pipe", "x"]);
        assert_eq!(cells("\"\"", ','), [""]);
    }

    proptest! {
        #[test]
        fn rows_come_back(row in prop::collection::vec("[a,\"\t\n\r é]{0,6}", 1..5), tab in any::<bool>()) {
            let separator = if tab { '\t' } else { ',' };
            let mut written = Vec::new();
            write_row(row.iter().map(String::as_str), separator, &mut written).unwrap();
            let text = String::from_utf8(written).unwrap();
            let text = text.strip_suffix('\n').unwrap();
            prop_assert_eq!(cells(text, separator), row);
            let mut quotes = Quotes::new(separator);
            quotes.scan(text.as_bytes());
            prop_assert!(!quotes.open());
        }
    }
}
