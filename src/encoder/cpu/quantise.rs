//! Numbers as small integers: weights with one quantisation scale per output, activations with one scale and one least value per token.
//!
//! Nothing is calibrated and nothing depends on other tokens: a token's codes follow from its own numbers.

use rayon::prelude::*;

use super::isa::Isa;
use super::memory::{Block, Sheet};
use super::simd::{Kernel, Simd};

/// Rows that one thread encodes at a time.
const BLOCK_ROWS: usize = 16;

/// The largest code of a weight.
const LARGEST_CODE: f32 = 127.0;

const ROUNDER: f32 = 12_582_912.0;

/// The bit of a float that says whether it is negative.
const SIGN: u32 = 1 << 31;

/// Writes the codes of one output's weights and returns their scale.
pub(super) fn encode_weights(weights: &[f32], codes: &mut [i8]) -> f32 {
    // As integers absolute values have the same order, and what is no finite number comes last.
    let largest = weights.iter().fold(0, |largest, weight| largest.max(weight.to_bits() & !SIGN));
    let largest = f32::from_bits(largest);
    // A weight that is no number must not become one.
    let poison = largest * 0.0;
    let inverse = if largest > 0.0 { LARGEST_CODE / largest } else { 0.0 };
    for (code, weight) in codes.iter_mut().zip(weights) {
        // In this range adding 1.5 * 2^23 rounds, and the last bits are the integer: no call, no conversion.
        *code = (weight * inverse + ROUNDER).to_bits().wrapping_sub(ROUNDER.to_bits()) as i8;
    }
    largest / LARGEST_CODE + poison
}

/// Activations as codes. A row's number is `scale * code + least`.
#[derive(Debug, Default)]
pub(super) struct CodedSheet {
    words: Sheet<i32>,
    meaning: Vec<(f32, f32)>,
    words_per_row: usize,
}

impl CodedSheet {
    /// Encodes the first `width` numbers of every row.
    pub(super) fn encode(&mut self, isa: Isa, input: Block, width: usize) {
        self.words_per_row = width.div_ceil(isa.codes().per_word());
        self.words.shape(input.rows(), self.words_per_row);
        self.meaning.resize(input.rows(), (0.0, 0.0));
        let stride = self.words.stride();
        let blocks = self.words.blocks_mut(BLOCK_ROWS).zip(self.meaning.par_chunks_mut(BLOCK_ROWS));
        let numbers = input.all().par_chunks(BLOCK_ROWS * input.stride());
        blocks.zip(numbers).for_each(|((words, meaning), numbers)| {
            isa.run(Encode {
                numbers: numbers.chunks_exact(input.stride()).map(|row| &row[..width]),
                rows: words.chunks_exact_mut(stride).zip(meaning),
            });
        });
    }

    #[inline(always)]
    pub(super) fn words(&self) -> usize {
        self.words_per_row
    }

    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.words.stride()
    }

    /// The words of `count` rows, `stride` apart.
    #[inline(always)]
    pub(super) fn rows_from(&self, row: usize, count: usize) -> &[i32] {
        &self.words.all()[row * self.words.stride()..(row + count) * self.words.stride()]
    }

    /// The scale of a row's codes, and what code 0 is.
    #[inline(always)]
    pub(super) fn meaning(&self, row: usize) -> (f32, f32) {
        self.meaning[row]
    }
}

struct Encode<N, R> {
    numbers: N,
    rows: R,
}

impl<'a, N, R> Kernel for Encode<N, R>
where
    N: Iterator<Item = &'a [f32]>,
    R: Iterator<Item = (&'a mut [i32], &'a mut (f32, f32))>,
{
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for (numbers, (words, meaning)) in self.numbers.zip(self.rows) {
            *meaning = encode_row(simd, numbers, words);
        }
    }
}

/// Encodes one row; `words` is padded to whole vectors. Returns the meaning of the codes.
#[inline(always)]
fn encode_row<S: Simd>(simd: S, numbers: &[f32], words: &mut [i32]) -> (f32, f32) {
    let (first, steps) = S::CODES.range();
    let bytes = S::CODES.bytes();
    let whole = numbers.chunks_exact(S::LANES);
    // The last, incomplete vector is filled up with a number that the row has.
    let mut tail = [0.0f32; 16];
    let rest = whole.remainder();
    if let Some(&last) = rest.last() {
        tail.fill(last);
        tail[..rest.len()].copy_from_slice(rest);
    }
    let tail = if rest.is_empty() { &[][..] } else { &tail[..S::LANES] };
    // SAFETY: every chunk, and the tail if there is one, is one vector long.
    let vectors =
        || whole.clone().chain(tail.chunks_exact(S::LANES)).map(|chunk| unsafe { simd.load(chunk.as_ptr()) });

    let mut least = simd.splat(f32::MAX);
    let mut most = simd.splat(f32::MIN);
    let mut poison = simd.splat(0.0);
    for vector in vectors() {
        least = simd.min(least, vector);
        most = simd.max(most, vector);
        poison = simd.fused(vector, simd.splat(0.0), poison);
    }
    let least = simd.lanes(least).as_ref().iter().copied().fold(f32::MAX, f32::min);
    let most = simd.lanes(most).as_ref().iter().copied().fold(f32::MIN, f32::max);
    // Zero, unless the row holds something that is no finite number; that must show in the result.
    let poison: f32 = simd.lanes(poison).as_ref().iter().sum();
    let reach = most - least;
    let inverse = if reach > 0.0 { steps as f32 / reach } else { 0.0 };
    let scale = reach / steps as f32;

    let codes = words.as_mut_ptr().cast::<u8>();
    let padded = numbers.len().next_multiple_of(S::LANES);
    assert!(size_of_val(words) >= padded * bytes, "codes of {padded} numbers need more room");
    for (index, vector) in vectors().enumerate() {
        let steps = simd.mul(simd.sub(vector, simd.splat(least)), simd.splat(inverse));
        let code = simd.round(simd.add(steps, simd.splat(first as f32)));
        // SAFETY: inside `words`, as just checked.
        unsafe { simd.store_codes(codes.add(index * S::LANES * bytes), code) };
    }
    (scale + poison, least - scale * first as f32)
}
