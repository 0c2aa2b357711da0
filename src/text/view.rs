//! A text as a model sees it: with pieces left out, and the way back to the text as it stands.
//!
//! A word that is hyphenated over two lines is one word to a reader, and has to be one to the model. But a quotation is a piece of
//! the text as it stands. So the model gets a copy, and offsets in the copy are led back.

use std::ops::Range;

/// A copy of a text with pieces left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct View {
    text: String,
    cuts: Cuts,
}

impl View {
    /// Leaves pieces out of a text. They are in order, apart from each other, and whole characters.
    pub fn without(text: &str, pieces: impl IntoIterator<Item = Range<usize>>) -> Self {
        let (mut copy, mut cuts, mut from) = (String::with_capacity(text.len()), Cuts::default(), 0);
        for piece in pieces {
            copy.push_str(&text[from..piece.start]);
            cuts.leave_out(piece.clone());
            from = piece.end;
        }
        copy.push_str(&text[from..]);
        Self { text: copy, cuts }
    }

    /// The view of a part of the text it was made of.
    pub fn part(&self, text: &str, range: Range<usize>) -> Self {
        let inside = |piece: Range<usize>| piece.start.max(range.start)..piece.end.min(range.end);
        let pieces = self.cuts.pieces().map(inside).filter(|piece| !piece.is_empty());
        let moved = pieces.map(|piece| piece.start - range.start..piece.end - range.start);
        Self::without(&text[range.clone()], moved)
    }

    /// The copy.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether nothing is left out.
    pub fn is_whole(&self) -> bool {
        self.cuts.0.is_empty()
    }

    /// Where a range of the copy stands in the text.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        self.cuts.original(range)
    }

    /// The copy, and the way back.
    pub fn into_parts(self) -> (String, Cuts) {
        (self.text, self.cuts)
    }
}

/// The pieces that a copy leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cuts(Vec<Cut>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// Where in the copy something is missing.
    at: usize,
    /// Bytes that are missing up to here, this piece included.
    missing: usize,
}

impl Cuts {
    fn leave_out(&mut self, piece: Range<usize>) {
        let before = self.0.last().map_or(0, |cut| cut.missing);
        let missing = before + piece.len();
        match self.0.last_mut() {
            // Pieces that touch are one.
            Some(last) if last.at == piece.start - before => last.missing = missing,
            _ if piece.is_empty() => {}
            _ => self.0.push(Cut { at: piece.start - before, missing }),
        }
    }

    /// The pieces, as ranges of the text.
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.0.iter().scan(0, |before, cut| {
            let piece = cut.at + *before..cut.at + cut.missing;
            *before = cut.missing;
            Some(piece)
        })
    }

    /// Where a range of the copy stands in the text. What is missing at its borders is not part of it.
    pub fn original(&self, range: Range<usize>) -> Range<usize> {
        let missing = |cuts: usize| if cuts == 0 { 0 } else { self.0[cuts - 1].missing };
        let start = range.start + missing(self.0.partition_point(|cut| cut.at <= range.start));
        let end = range.end + missing(self.0.partition_point(|cut| cut.at < range.end));
        start..end.max(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_word_over_two_lines_is_one_word_and_is_quoted_as_it_stands() {
        let text = "set the win-\n    dow, now";
        let view = View::without(text, [11..17]);
        assert_eq!(view.text(), "set the window, now");
        let back = |range| &text[view.original(range)];
        assert_eq!(back(8..14), "win-\n    dow");
        assert_eq!((back(8..11), back(11..14)), ("win", "dow"));
        assert_eq!((back(4..7), back(14..19)), ("the", ", now"));
        assert_eq!(view.original(0..19), 0..text.len());
        assert_eq!(view.original(11..11), 17..17);
    }

    proptest! {
        #[test]
        fn what_is_left_comes_back(text in "[a-cé \n]{0,40}", borders in prop::collection::vec(0usize..40, 0..8), a in 0usize..80, b in 0usize..80) {
            let at: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let mut borders: Vec<usize> = borders.into_iter().map(|border| at[border % at.len()]).collect();
            borders.sort_unstable();
            let pieces: Vec<Range<usize>> = borders.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
            let view = View::without(&text, pieces.clone());
            let at: Vec<usize> = view.text().char_indices().map(|(at, _)| at).chain([view.text().len()]).collect();
            let (a, b) = (at[a % at.len()], at[b % at.len()]);
            let range = a.min(b)..a.max(b);
            let original = view.original(range.clone());
            let left: String = text[original.clone()]
                .char_indices()
                .filter(|(at, _)| !pieces.iter().any(|piece| piece.contains(&(original.start + at))))
                .map(|(_, char)| char)
                .collect();
            prop_assert_eq!(&left, &view.text()[range]);
            let part = view.part(&text, original);
            prop_assert_eq!(part.text(), &left);
            prop_assert_eq!(view.part(&text, 0..text.len()), view);
        }
    }
}
