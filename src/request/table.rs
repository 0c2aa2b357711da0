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

impl Place {
    /// Where the byte after this one stands. Separators and quotation marks are ASCII, so it does not matter that others are parts of
    /// characters.
    fn after(self, byte: u8, separator: u8) -> Self {
        match (self, byte) {
            (Place::Start | Place::Mark, b'"') => Place::Quoted,
            (Place::Quoted, b'"') => Place::Mark,
            (Place::Quoted, _) => Place::Quoted,
            (_, byte) if byte == separator => Place::Start,
            _ => Place::Plain,
        }
    }
}

impl Quotes {
    /// Before the first byte of a row.
    pub fn new(separator: char) -> Self {
        Self { separator: separator as u8, place: Place::Start }
    }

    /// Takes the next bytes of the row.
    pub fn scan(&mut self, bytes: &[u8]) {
        self.place = bytes.iter().fold(self.place, |place, &byte| place.after(byte, self.separator));
    }

    /// Whether a quoted cell is open.
    pub fn open(&self) -> bool {
        self.place == Place::Quoted
    }
}

/// The cells of a whole row.
pub fn cells(row: &str, separator: char) -> Vec<String> {
    let mut cells = vec![String::new()];
    let (mut place, mut from) = (Place::Start, 0);
    for (at, byte) in row.bytes().enumerate() {
        let next = place.after(byte, separator as u8);
        let text = match (place, next) {
            // What opens, closes or ends a cell is no part of it; of two quotation marks the second one is.
            (Place::Start | Place::Quoted, Place::Quoted | Place::Mark) if byte == b'"' => Some(at),
            (_, Place::Start) => Some(at),
            _ => None,
        };
        if let Some(end) = text {
            if let Some(cell) = cells.last_mut() {
                cell.push_str(&row[from..end]);
            }
            from = at + 1;
        }
        if next == Place::Start {
            cells.push(String::new());
        }
        place = next;
    }
    if let Some(cell) = cells.last_mut() {
        cell.push_str(&row[from..]);
    }
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
