//! Cuts a tokenised context into windows that together cover every token.

use std::ops::Range;

use crate::text::error::{Error, Result};

/// How much text a window may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Tokens in one window, question and special tokens included. The model's own limit applies as well.
    pub max_tokens: usize,
    /// The same of a window that holds a whole document: one that fits is not cut, though it be longer than other windows. 0 for no such
    /// exception.
    pub whole: usize,
    /// Context tokens that neighbouring windows share.
    pub overlap: usize,
    /// Tokens a question may have; a longer one is cut on the right and the reply says so.
    pub max_question_tokens: usize,
}

impl Default for Limits {
    /// The values that published SQuAD v2 scores were made with.
    fn default() -> Self {
        Self { max_tokens: 384, whole: 0, overlap: 128, max_question_tokens: 64 }
    }
}

impl Limits {
    /// For windows around passages that promise most: what is around a passage costs time, and beyond this finds nothing more.
    /// A document that is hardly longer is read in one piece, which costs less than two windows that overlap.
    pub const AROUND_PASSAGES: Self =
        Self { max_tokens: 192, whole: 384, overlap: 64, max_question_tokens: 64 };
}

/// Where the last window of a long context starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastWindow {
    /// Shifted back until it is full, so that its answers have as much context as any.
    Full,
    /// At the regular step, however short it gets: what transformers does.
    Short,
}

/// The fewest context tokens that make a window worth running.
pub const MIN_CONTEXT_TOKENS: usize = 16;

/// The room that one question leaves for the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowShape {
    /// Question tokens that are kept.
    pub question: usize,
    /// Context tokens per window.
    pub width: usize,
    /// Context tokens that are one window if there are no more; at least `width`.
    pub whole: usize,
    /// Context tokens that neighbouring windows share; at most half of `width`.
    pub overlap: usize,
}

impl WindowShape {
    /// Fits a question of `question` tokens and `special` special tokens into windows of a model that has `positions`
    /// usable positions.
    pub fn fit(question: usize, special: usize, positions: usize, limits: &Limits) -> Result<Self> {
        if question == 0 {
            return Err(Error::EmptyQuestion);
        }
        let window = limits.max_tokens.min(positions);
        let question = question.min(limits.max_question_tokens.max(1));
        let width = window.saturating_sub(question + special);
        if width < MIN_CONTEXT_TOKENS {
            let minimum = MIN_CONTEXT_TOKENS;
            return Err(Error::NoRoomForContext { window, positions, question, special, width, minimum });
        }
        let whole = limits.whole.min(positions).saturating_sub(question + special).max(width);
        Ok(Self { question, width, whole, overlap: limits.overlap.min(width / 2) })
    }

    /// The same with nothing kept whole that is longer than a window.
    pub fn cut(self) -> Self {
        Self { whole: self.width, ..self }
    }

    /// Context tokens in each window over a context of `tokens` tokens.
    pub fn width_over(&self, tokens: usize) -> usize {
        if tokens <= self.whole { self.whole } else { self.width }
    }

    /// The windows over a context of `tokens` tokens, in order. None if there are no tokens.
    pub fn windows(&self, tokens: usize, last: LastWindow) -> Vec<Range<usize>> {
        let width = self.width_over(tokens);
        let step = width - self.overlap;
        let mut windows = Vec::new();
        let mut start = 0;
        while start < tokens {
            let end = (start + width).min(tokens);
            let start_of_window = match last {
                LastWindow::Full => end.saturating_sub(width),
                LastWindow::Short => start,
            };
            windows.push(start_of_window..end);
            if end == tokens {
                break;
            }
            start += step;
        }
        windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(width: usize, overlap: usize) -> WindowShape {
        WindowShape { question: 4, width, whole: width, overlap }
    }

    #[test]
    fn a_short_context_is_one_window() {
        assert_eq!(shape(20, 8).windows(20, LastWindow::Full), [0..20]);
        assert_eq!(shape(20, 8).windows(3, LastWindow::Full), [0..3]);
        assert!(shape(20, 8).windows(0, LastWindow::Full).is_empty());
    }

    #[test]
    fn a_context_that_is_hardly_longer_than_a_window_is_not_cut() {
        let shape = WindowShape { whole: 28, ..shape(20, 8) };
        assert_eq!(shape.windows(28, LastWindow::Full), [0..28]);
        assert_eq!(shape.windows(29, LastWindow::Full), [0..20, 9..29]);
        assert_eq!(shape.cut().windows(28, LastWindow::Full), [0..20, 8..28]);
        // The question and the model leave less of it.
        let limits = Limits { max_tokens: 40, whole: 100, overlap: 8, max_question_tokens: 8 };
        let fitted = |positions| WindowShape::fit(10, 3, positions, &limits).unwrap();
        assert_eq!((fitted(512).width, fitted(512).whole), (29, 89));
        assert_eq!((fitted(60).width, fitted(60).whole), (29, 49));
        assert_eq!((fitted(30).width, fitted(30).whole), (19, 19));
        let usual = WindowShape::fit(10, 3, 512, &Limits { whole: 0, ..limits }).unwrap();
        assert_eq!(usual.whole, usual.width);
    }

    #[test]
    fn the_last_window_is_full_or_short_as_asked() {
        assert_eq!(shape(20, 8).windows(30, LastWindow::Full), [0..20, 10..30]);
        assert_eq!(shape(20, 8).windows(30, LastWindow::Short), [0..20, 12..30]);
    }

    #[test]
    fn the_question_is_cut_and_the_overlap_bounded() {
        let fit = |question, limits: &Limits| WindowShape::fit(question, 3, 512, limits);
        let limits = Limits::default();
        assert_eq!(
            fit(10, &limits).unwrap(),
            WindowShape { question: 10, width: 371, whole: 371, overlap: 128 }
        );
        assert_eq!(fit(5000, &limits).unwrap().question, 64);
        let narrow = Limits { max_tokens: 60, ..limits.clone() };
        assert_eq!(
            fit(10, &narrow).unwrap(),
            WindowShape { question: 10, width: 47, whole: 47, overlap: 23 }
        );
        assert!(matches!(fit(0, &limits), Err(Error::EmptyQuestion)));
        let tight = Limits { max_tokens: 40, ..limits };
        assert!(matches!(fit(30, &tight), Err(Error::NoRoomForContext { width: 7, .. })));
    }

    proptest! {
        /// Every token lies in a window, windows advance, no window is wider than allowed, and every span that is
        /// not longer than the overlap lies whole in some window.
        #[test]
        fn windows_cover_everything(tokens in 0usize..3000, width in 16usize..400, overlap in 0usize..200,
                                    short in any::<bool>()) {
            let shape = shape(width, overlap.min(width / 2));
            let last = if short { LastWindow::Short } else { LastWindow::Full };
            let windows = shape.windows(tokens, last);
            let mut covered = 0;
            for (index, window) in windows.iter().enumerate() {
                prop_assert!(window.start <= covered && window.end > covered);
                prop_assert!(window.len() <= width);
                if index > 0 {
                    prop_assert!(window.start > windows[index - 1].start);
                    prop_assert!(windows[index - 1].end - window.start >= shape.overlap);
                }
                covered = window.end;
            }
            prop_assert_eq!(covered, tokens);
            if !short && windows.len() > 1 {
                prop_assert!(windows.iter().all(|window| window.len() == width));
            }
        }
    }
}
