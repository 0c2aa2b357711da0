//! An index of texts that are in memory.

use std::ops::Range;

use super::error::Result;
use super::segment::{Alive, TextPlace};
use super::write::Builder;
use crate::rank::{Words, best};

/// Texts that are searched without a file of the index.
#[derive(Debug)]
pub struct Memory(Alive);

impl Memory {
    /// Texts with their titles.
    pub fn of<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut builder = Builder::default();
        for (number, (text, title)) in texts.into_iter().enumerate() {
            let place = TextPlace { file: 0, start: number as u64, length: text.len() as u64 };
            builder.add(place, text, title)?;
        }
        Ok(Self(builder.segment()?))
    }

    /// How many passages there are.
    pub fn passages(&self) -> usize {
        self.0.passages()
    }

    /// The best passages for a question: the number of the text, the bytes in it, and the score.
    pub fn search(&self, question: &str, most: usize) -> Vec<(usize, Range<usize>, f64)> {
        let hits = best(question, &[&self.0], most).into_iter().take(most);
        hits.map(|hit| {
            let passage = self.0.segment.passage(hit.passage);
            (passage.text.start as usize, passage.bytes, hit.score)
        })
        .collect()
    }
}
