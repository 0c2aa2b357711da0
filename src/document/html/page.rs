//! The text of a page as it grows: white space collapses, and breaks wait until something follows them.

use std::ops::Range;

use super::runs::Runs;

/// What stands between what was written and what comes next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Pending {
    /// A space, and where the source has it.
    space: Option<usize>,
    /// Line breaks: two make a blank line.
    breaks: usize,
    /// Tabs, one for each cell that begins.
    tabs: usize,
}

/// A text with the way back to its source.
#[derive(Debug, Default)]
pub struct Page {
    text: Vec<u8>,
    runs: Runs,
    pending: Pending,
    /// Cells that have begun in this row.
    cells: usize,
    /// Whether this row has text.
    row_has_text: bool,
    /// Whether this cell has text.
    cell_is_empty: bool,
}

impl Page {
    /// Asks for line breaks before what comes next.
    pub fn line_breaks(&mut self, count: usize) {
        // A paragraph that begins a cell does not end its row.
        if self.cells > 0 && self.cell_is_empty {
            return;
        }
        self.pending.breaks = self.pending.breaks.max(count);
        self.pending.space = None;
    }

    /// Breaks the line; two breaks in a row leave one blank.
    pub fn line_break(&mut self) {
        self.line_breaks((self.pending.breaks + 1).min(2));
    }

    /// Begins or ends a table.
    pub fn table(&mut self) {
        self.end_row();
        self.line_breaks(2);
    }

    /// Begins a row of a table.
    pub fn row(&mut self) {
        self.end_row();
        self.line_breaks(1);
    }

    /// Ends a row of a table.
    pub fn end_row(&mut self) {
        let any = self.cells > 0;
        (self.cells, self.row_has_text, self.cell_is_empty) = (0, false, false);
        if any {
            self.pending = Pending { breaks: self.pending.breaks.max(1), ..Pending::default() };
        }
    }

    /// Begins a cell.
    pub fn cell(&mut self) {
        self.end_cell();
        if self.cells > 0 {
            self.pending.tabs += 1;
        }
        self.cells += 1;
        self.cell_is_empty = true;
    }

    /// Ends a cell: breaks at its end are not those of its row.
    pub fn end_cell(&mut self) {
        if self.row_has_text {
            self.pending.breaks = 0;
        }
        self.pending.space = None;
    }

    /// Writes text in which white space only separates. What has the length of its source is that, byte for byte.
    pub fn write(&mut self, text: &[u8], source: Range<usize>) {
        let verbatim = text.len() == source.len();
        let mut at = 0;
        while at < text.len() {
            let is_space = text[at].is_ascii_whitespace();
            let rest = &text[at..];
            let length = rest.iter().take_while(|byte| byte.is_ascii_whitespace() == is_space).count();
            let of = if verbatim { source.start + at..source.start + at + length } else { source.clone() };
            if !is_space {
                self.push(&rest[..length], of);
            } else if self.pending.space.is_none() {
                self.pending.space = Some(of.start);
            }
            at += length;
        }
    }

    /// Writes text as it stands.
    pub fn write_as_it_stands(&mut self, text: &[u8], source: Range<usize>) {
        self.push(text, source);
    }

    fn push(&mut self, text: &[u8], source: Range<usize>) {
        self.separate();
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.runs.push(start..self.text.len(), source);
        self.cell_is_empty = false;
        self.row_has_text |= self.cells > 0;
    }

    /// Writes what has been waiting.
    fn separate(&mut self) {
        let Pending { space, breaks, tabs } = std::mem::take(&mut self.pending);
        if !self.text.is_empty() {
            let there = self.text.iter().rev().take_while(|&&byte| byte == b'\n').count();
            self.text.extend(std::iter::repeat_n(b'\n', breaks.saturating_sub(there)));
        }
        self.text.extend(std::iter::repeat_n(b'\t', tabs));
        let in_line = self.text.last().is_some_and(|byte| !byte.is_ascii_whitespace());
        if let Some(at) = space.filter(|_| in_line) {
            let start = self.text.len();
            self.text.push(b' ');
            self.runs.push(start..start + 1, at..at + 1);
        }
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The text, which ends with a line break, and the way back.
    pub fn finish(mut self) -> (String, Runs) {
        if self.text.last().is_some_and(|&byte| byte != b'\n') {
            self.text.push(b'\n');
        }
        // Pieces come from a text, so together they are one.
        (String::from_utf8(self.text).unwrap_or_default(), self.runs)
    }
}
