//! The embedding tables. They stay where they are on the host, and only the rows in use are ever touched.

use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::{Rows, Weights};
use crate::encoder::batch::Batch;
use crate::encoder::error::{Error, Result};

/// Word, position and segment vectors.
pub(crate) struct Tables {
    words: Rows,
    positions: Rows,
    position_offset: usize,
    segments: Option<Rows>,
}

impl Tables {
    pub(crate) fn load(weights: &Weights, prefix: &str, config: &EncoderConfig) -> Result<Self> {
        let table = |module: &str, rows: usize| {
            weights.table(&format!("{prefix}{module}.weight"), rows, config.hidden)
        };
        Ok(Self {
            words: table(config.names.words, config.vocabulary)?,
            positions: table(config.names.positions, config.positions)?,
            position_offset: config.position_offset,
            segments: match config.segments {
                0 => None,
                rows => Some(table(config.names.segments, rows)?),
            },
        })
    }

    /// Refuses ids that are in no table.
    pub(crate) fn check(&self, batch: &Batch) -> Result<()> {
        for token in 0..batch.tokens() {
            for (table, index, what) in self.places(batch, token) {
                if index >= table.len() {
                    return Err(Error::OutOfTable { what, index, rows: table.len() });
                }
            }
        }
        Ok(())
    }

    /// Writes the sum of a token's vectors. The batch must have been [checked](Tables::check).
    pub(crate) fn embed(&self, batch: &Batch, token: usize, out: &mut [f32]) {
        out.fill(0.0);
        for (table, index, _) in self.places(batch, token) {
            table.add_row(index, out);
        }
    }

    /// Writes the vector of a token's word alone, as long as the batch was [checked](Tables::check).
    pub(crate) fn word(&self, batch: &Batch, token: usize, out: &mut [f32]) {
        self.words.copy_row(batch.ids[token] as usize, out);
    }

    /// The rows that describe a token, in the order in which they are added up.
    fn places(&self, batch: &Batch, token: usize) -> impl Iterator<Item = (&Rows, usize, &'static str)> {
        let segments = self.segments.as_ref().map(|segments| {
            // Families with one row use it for every token, whatever their tokenizer says.
            let segment = if segments.len() == 1 { 0 } else { batch.segments[token] };
            (segments, segment as usize, "segment table")
        });
        let position = batch.positions[token] as usize + self.position_offset;
        [(&self.words, batch.ids[token] as usize, "vocabulary")].into_iter().chain(segments).chain([(
            &self.positions,
            position,
            "position table",
        )])
    }
}
