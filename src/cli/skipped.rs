//! What is left out of many: one remark about all of a kind, because most folders have some.

use std::fmt::Display;

/// Things of one kind that were left out.
pub struct Skipped {
    /// What the others are, behind a number.
    others: &'static str,
    first: String,
    count: usize,
}

impl Skipped {
    /// Files of a folder that are no text.
    pub fn binaries() -> Self {
        Self { others: "that are no text", first: String::new(), count: 0 }
    }

    /// Lines of a corpus that are no texts.
    pub fn lines() -> Self {
        Self { others: "lines", ..Self::binaries() }
    }

    pub fn count(&mut self, why: &dyn Display) {
        if self.count == 0 {
            self.first = why.to_string();
        }
        self.count += 1;
    }

    pub fn report(&self, note: &mut dyn FnMut(String)) {
        let Self { others, first, count } = self;
        match count {
            0 => {}
            1 => note(format!("skipped: {first}")),
            count => note(format!("skipped: {first}, and {} more {others}", count - 1)),
        }
    }
}
