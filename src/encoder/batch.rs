//! Packs windows of unequal length behind one another, without padding.

use std::ops::Range;

/// Windows that run through the model together. All token arrays are flat: window 0, then window 1, and so on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids: 0 for the first text of a pair, 1 for the second, in families that tell them apart.
    pub segments: Vec<u32>,
    /// Position of each token in its window, from 0.
    pub positions: Vec<u32>,
    /// Tokens per window.
    pub lengths: Vec<usize>,
    /// The tokens of each window whose rows will be looked at, beside the first one.
    pub read: Vec<Range<usize>>,
}

impl Batch {
    /// Appends a window all of whose rows are wanted.
    pub fn push(&mut self, ids: &[u32], segments: &[u32]) {
        self.push_to_read(ids, segments, 0..ids.len());
    }

    /// Appends a window of which only the rows of the first token and of those in `read` are wanted. An encoder may leave the others
    /// out.
    pub fn push_to_read(&mut self, ids: &[u32], segments: &[u32], read: Range<usize>) {
        self.read.push(read);
        self.ids.extend_from_slice(ids);
        self.segments.extend_from_slice(segments);
        self.positions.extend(0..ids.len() as u32);
        self.lengths.push(ids.len());
    }

    /// Tokens in all windows together.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The windows' places in the flat arrays.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.lengths.iter().scan(0, |start, &length| {
            let range = *start..*start + length;
            *start = range.end;
            Some(range)
        })
    }
}

/// Groups windows of the given lengths into batches of at most `budget` tokens, long ones first, so that a backend that must pad
/// has little to pad. A window that is longer than the budget gets a batch of its own. Every index appears exactly once.
pub fn pack(lengths: &[usize], budget: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(lengths[index]), index));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for index in order {
        if batches.is_empty() || lengths[index] > room {
            batches.push(Vec::new());
            room = budget;
        }
        room = room.saturating_sub(lengths[index]);
        if let Some(batch) = batches.last_mut() {
            batch.push(index);
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_lie_behind_one_another() {
        let mut batch = Batch::default();
        batch.push(&[5, 6, 7], &[0, 0, 1]);
        batch.push(&[8, 9], &[0, 1]);
        assert_eq!(batch.positions, [0, 1, 2, 0, 1]);
        assert_eq!(batch.ranges().collect::<Vec<_>>(), [0..3, 3..5]);
        assert_eq!(batch.tokens(), 5);
    }

    proptest! {
        #[test]
        fn packing_loses_nothing(lengths in prop::collection::vec(1usize..400, 0..80), budget in 1usize..2000) {
            let batches = pack(&lengths, budget);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..lengths.len()).collect::<Vec<_>>());
            for batch in &batches {
                let tokens: usize = batch.iter().map(|&index| lengths[index]).sum();
                prop_assert!(!batch.is_empty() && (tokens <= budget || batch.len() == 1));
            }
        }
    }
}
