//! The rows of tables that a batch has looked up, so that their gradients are added up in one order.
//!
//! Many tokens share a row: all of them one of two segments. A row's tokens are cut into pieces, which are summed side by side, and
//! the pieces' sums are added to the row.

use crate::checkpoint::config::EncoderConfig;
use crate::encoder::batch::Batch;
use crate::encoder::places::Places;

/// Tokens of a piece; more if a row has so many that its pieces would be more than their tokens.
const TOKENS: u32 = 32;

/// Which tokens' gradients go to which rows. Tables lie one behind the other, so that a row has one number in all of them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SharedRows {
    /// Tokens, those of a row beside each other.
    pub(super) order: Vec<u32>,
    /// For each piece its first place in `order`, and how many it has.
    pub(super) pieces: Vec<[u32; 2]>,
    /// For each row that is used its number, its first piece, and how many it has.
    pub(super) targets: Vec<[u32; 3]>,
}

impl SharedRows {
    pub(super) fn of(batch: &Batch, config: &EncoderConfig, places: &Places) -> Self {
        let mut shared = Self::default();
        let first = |start: usize| (start / config.hidden) as u32;
        shared.add(first(places.words.start), config.vocabulary, &batch.ids, 0);
        match &places.segments {
            None => {}
            Some(place) if config.segments == 1 => {
                shared.add(first(place.start), 1, &vec![0; batch.tokens()], 0);
            }
            Some(place) => shared.add(first(place.start), config.segments, &batch.segments, 0),
        }
        let offset = config.position_offset as u32;
        shared.add(first(places.positions.start), config.positions, &batch.positions, offset);
        shared
    }

    /// Adds a table of which each token has used a row, `offset` after the one it names.
    fn add(&mut self, first_row: u32, rows: usize, used: &[u32], offset: u32) {
        let row = |token: usize| (used[token] + offset) as usize;
        // Where the next token of each row goes.
        let mut next = vec![0u32; rows + 1];
        (0..used.len()).for_each(|token| next[row(token) + 1] += 1);
        let start = self.order.len();
        next[0] = start as u32;
        for row in 0..rows {
            next[row + 1] += next[row];
        }
        self.order.resize(start + used.len(), 0);
        for token in 0..used.len() {
            let place = &mut next[row(token)];
            self.order[*place as usize] = token as u32;
            *place += 1;
        }
        let mut from = start as u32;
        for (row, &end) in next[..rows].iter().enumerate().filter(|(_, end)| **end as usize > start) {
            if end == from {
                continue;
            }
            let before = self.pieces.len();
            let tokens = (end - from).isqrt().max(TOKENS);
            let places = (from..end).step_by(tokens as usize);
            self.pieces.extend(places.map(|place| [place, (end - place).min(tokens)]));
            self.targets.push([first_row + row as u32, before as u32, (self.pieces.len() - before) as u32]);
            from = end;
        }
    }

    /// Everything behind one another, as it is sent to the card.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let Self { order, pieces, targets } = self;
        order.iter().chain(pieces.as_flattened()).chain(targets.as_flattened()).copied()
    }

    /// How many numbers that are.
    pub(super) fn len(&self) -> usize {
        self.order.len() + 2 * self.pieces.len() + 3 * self.targets.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_in_one_piece_of_its_row() {
        let mut shared = SharedRows::default();
        let used: Vec<u32> = (0..200).map(|token| if token % 3 == 0 { 4 } else { token * 7 % 11 }).collect();
        shared.add(0, 11, &used, 0);
        shared.add(11, 15, &used, 2);
        let mut seen = vec![0; 2 * used.len()];
        for [row, first, count] in &shared.targets {
            for [place, tokens] in &shared.pieces[*first as usize..][..*count as usize] {
                assert!((1..=TOKENS).contains(tokens));
                for place in *place..place + tokens {
                    let token = shared.order[place as usize] as usize;
                    let second = usize::from(*row >= 11);
                    assert_eq!(*row, used[token] + [0, 13][second]);
                    seen[token + second * used.len()] += 1;
                }
            }
        }
        assert!(seen.iter().all(|count| *count == 1));
        let rows: Vec<u32> = shared.targets.iter().map(|[row, ..]| *row).collect();
        assert!(rows.is_sorted() && rows.windows(2).all(|pair| pair[0] != pair[1]), "{rows:?}");
        assert_eq!(shared.numbers().count(), shared.len());
    }
}
