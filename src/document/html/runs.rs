//! Which bytes of a page each piece of its text stands for.

use std::ops::Range;

/// Pieces of a text, in order. What stands between them has no source: a line break that an element makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runs(Vec<Run>);

/// A piece: the bytes of its source one by one, or all of them for all of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Run {
    text: Range<usize>,
    source: Range<usize>,
}

impl Run {
    fn is_verbatim(&self) -> bool {
        self.text.len() == self.source.len()
    }
}

impl Runs {
    /// Notes a piece behind all others.
    pub fn push(&mut self, text: Range<usize>, source: Range<usize>) {
        let next = Run { text, source };
        match self.0.last_mut() {
            Some(last)
                if last.is_verbatim()
                    && next.is_verbatim()
                    && last.text.end == next.text.start
                    && last.source.end == next.source.start =>
            {
                last.text.end = next.text.end;
                last.source.end = next.source.end;
            }
            _ => self.0.push(next),
        }
    }

    /// The source of a range of the text: the smallest one that holds all its pieces.
    pub fn source(&self, range: &Range<usize>) -> Range<usize> {
        let first = self.0.partition_point(|run| run.text.end <= range.start);
        let last = self.0.partition_point(|run| run.text.start < range.end);
        let end_of_all = self.0.last().map_or(0, |run| run.source.end);
        let start = self.0.get(first).map_or(end_of_all, |run| match run.is_verbatim() {
            true => run.source.start + range.start.saturating_sub(run.text.start),
            false => run.source.start,
        });
        let end = last.checked_sub(1).map_or(start, |last| {
            let run = &self.0[last];
            match run.is_verbatim() {
                true => run.source.start + (range.end - run.text.start).min(run.text.len()),
                false => run.source.end,
            }
        });
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lead_to_their_source() {
        // "ab&c" of "<p>ab&amp;c", then "d" of "<p>d" on a line of its own.
        let mut runs = Runs::default();
        for (text, source) in [(0..1, 3..4), (1..2, 4..5), (2..3, 5..10), (3..4, 10..11), (5..6, 14..15)] {
            runs.push(text, source);
        }
        assert_eq!(runs.0.len(), 4);
        for (range, source) in [
            (0..2, 3..5),
            (1..3, 4..10),
            (2..3, 5..10),
            (3..6, 10..15),
            (4..6, 14..15),
            (3..5, 10..11),
            (6..6, 15..15),
        ] {
            assert_eq!(runs.source(&range), source, "{range:?}");
        }
        assert_eq!(Runs::default().source(&(0..1)), 0..0);
    }
}
