//! What comes out of an encoder.

use std::ops::Range;

/// A row of numbers for each token of a window that was read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowRows {
    /// Tokens of the window.
    pub tokens: usize,
    /// The tokens that have a row, in ascending order: at least the first one and [those that are read](super::batch::Batch::read),
    /// at most all of them.
    pub present: Vec<Range<usize>>,
    /// Numbers in a row: the hidden size, or the outputs of the [projection](super::Projection).
    pub width: usize,
    /// The rows behind one another.
    pub numbers: Vec<f32>,
}

impl WindowRows {
    /// A window all of whose tokens have a row.
    pub(crate) fn complete(width: usize, numbers: Vec<f32>) -> Self {
        let tokens = numbers.len() / width;
        Self { tokens, present: vec![0..tokens], width, numbers }
    }

    /// The tokens that have a row, each with it.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let tokens = self.present.iter().cloned().flatten();
        tokens.zip(self.numbers.chunks_exact(self.width.max(1)))
    }

    /// The first token's row; `None` in a window without tokens.
    pub fn first(&self) -> Option<&[f32]> {
        self.numbers.get(..self.width).filter(|row| !row.is_empty())
    }
}

/// Collects what a forward pass computes on its way; absent in normal runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tap {
    /// The normalised embeddings, then each layer's output, as flat `[tokens, hidden]` arrays.
    pub hidden_states: Vec<Vec<f32>>,
    /// For each layer and window the attention probabilities as a flat `[head, query, key]` array. `None` if nobody wants them:
    /// they are many, and only an encoder that was loaded with [`Runtime::reference`](super::Runtime::reference) has them.
    pub attention: Option<Vec<Vec<Vec<f32>>>>,
}

impl Tap {
    /// Collects attention probabilities, too.
    pub fn with_attention() -> Self {
        Self { attention: Some(Vec::new()), ..Self::default() }
    }
}
