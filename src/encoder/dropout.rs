//! Which numbers a pass leaves out.

use crate::random::Random;

/// Which numbers of an array are set to zero. Asked twice, it says the same: nothing has to be remembered for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dropout {
    seed: u32,
    /// A number is dropped if its hash is below.
    bound: u32,
    /// What the others are multiplied with, so that sums keep their size.
    factor: f32,
}

/// Places where dropout chooses anew: the embeddings, then three for each layer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Site {
    Embeddings,
    Probabilities(usize),
    Attention(usize),
    Output(usize),
}

impl Site {
    pub(crate) fn number(self) -> usize {
        match self {
            Site::Embeddings => 0,
            Site::Probabilities(layer) => 1 + 3 * layer,
            Site::Attention(layer) => 2 + 3 * layer,
            Site::Output(layer) => 3 + 3 * layer,
        }
    }
}

impl Dropout {
    /// Drops a share of the numbers; another choice for each seed and place. `None` if nothing is dropped.
    pub(crate) fn new(share: f32, seed: u64, place: usize) -> Option<Self> {
        (share > 0.0).then(|| Self {
            seed: Random::derive(seed, place as u64).bits() as u32,
            bound: (f64::from(share) * f64::from(u32::MAX)) as u32,
            factor: 1.0 / (1.0 - share),
        })
    }

    /// What a card computes the same with: seed, bound, and the factor of what is kept.
    #[cfg(feature = "cuda")]
    pub(crate) fn parts(self) -> (u32, u32, f32) {
        (self.seed, self.bound, self.factor)
    }

    /// What the number at this index is multiplied with.
    #[inline(always)]
    pub(crate) fn factor(self, index: u32) -> f32 {
        let bits = index.wrapping_mul(0x9e37_79b1) ^ self.seed;
        let bits = (bits ^ (bits >> 16)).wrapping_mul(0x85eb_ca6b);
        let bits = (bits ^ (bits >> 13)).wrapping_mul(0xc2b2_ae35);
        if bits ^ (bits >> 16) < self.bound { 0.0 } else { self.factor }
    }

    /// Drops numbers of a row whose first one has this index.
    #[inline(always)]
    pub(crate) fn apply(self, first: u32, row: &mut [f32]) {
        for (index, number) in row.iter_mut().enumerate() {
            *number *= self.factor(first.wrapping_add(index as u32));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_drops_its_share_and_keeps_the_sum() {
        assert_eq!(Dropout::new(0.0, 1, 1), None);
        let dropout = Dropout::new(0.1, 3, 5).unwrap();
        let mut row = vec![1.0f32; 100_000];
        dropout.apply(0, &mut row);
        let dropped = row.iter().filter(|number| **number == 0.0).count();
        assert!((9_500..10_500).contains(&dropped), "{dropped}");
        let mean = row.iter().map(|number| f64::from(*number)).sum::<f64>() / row.len() as f64;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let mut again = vec![1.0f32; 10];
        dropout.apply(50, &mut again);
        assert_eq!(again, row[50..60]);
        assert_ne!(Dropout::new(0.1, 3, 6).unwrap(), dropout);
    }
}
