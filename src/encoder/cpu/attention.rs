//! Attention within each window of a group: nothing is padded across windows and nothing masked.
//!
//! One piece of work is a head of a window and some of its rows. Keys are transposed and values gathered once per piece, so that both
//! products run on the tiles of `gemm`; the scores of one tile of rows stay in the first-level cache from product to product.

use std::cell::RefCell;
use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{tile_of, tiles};
use super::isa::Isa;
use super::math::exp2;
use super::memory::{Buffer, Canvas, Sheet, WIDEST_TILE};
use super::simd::{Kernel, Simd, TILE_VECTORS};

/// The shape of the heads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heads {
    pub(super) count: usize,
    pub(super) width: usize,
}

/// Rows of a window that ask, and where their results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asking {
    /// The rows of the window.
    pub(super) window: Range<usize>,
    /// Those of them that ask.
    pub(super) rows: Range<usize>,
    /// The row of the result that the first of them goes to.
    pub(super) to: usize,
}

impl Asking {
    /// Rows of windows that ask, each with its window, in order; the batch's tokens count from `first`. The results lie behind one
    /// another; returns how many there are, too.
    pub(super) fn lay_out<'a>(
        first: usize,
        windows: impl Iterator<Item = (&'a Range<usize>, &'a Range<usize>)>,
    ) -> (Vec<Asking>, usize) {
        let mut to = 0;
        let from = |range: &Range<usize>| range.start - first..range.end - first;
        let all = windows.filter(|(_, rows)| !rows.is_empty()).map(|(window, rows)| {
            let asking = Asking { window: from(window), rows: from(rows), to };
            to += rows.len();
            asking
        });
        (all.collect(), to)
    }

    /// Cuts the rows in two halves, each long enough to be worth transposing the keys for, or gives up.
    fn halves(&self) -> Option<[Asking; 2]> {
        const LEAST_ROWS: usize = 24;
        let middle = self.rows.start + self.rows.len() / 2;
        (self.rows.len() >= 2 * LEAST_ROWS).then(|| {
            let first = Asking { rows: self.rows.start..middle, ..self.clone() };
            let second =
                Asking { rows: middle..self.rows.end, to: self.to + first.rows.len(), ..self.clone() };
            [first, second]
        })
    }
}

/// Cuts the work of few windows smaller until there are several pieces for each thread.
fn spread(asking: &[Asking], heads: usize) -> Vec<Asking> {
    let mut pieces = asking.to_vec();
    while pieces.len() * heads < 4 * rayon::current_num_threads() {
        let Some(halves) = pieces.iter().map(Asking::halves).collect::<Option<Vec<_>>>() else { break };
        pieces = halves.concat();
    }
    pieces
}

/// Attends: `qkv` has query, key and value of all heads in each row; `output` gets the heads' results side by side.
pub(super) fn attend(
    isa: Isa,
    heads: Heads,
    qkv: &Sheet,
    asking: &[Asking],
    (output, rows): (&mut Sheet, usize),
) {
    output.shape(rows, heads.count * heads.width);
    let canvas = output.canvas();
    let asking = spread(asking, heads.count);
    (0..asking.len() * heads.count).into_par_iter().with_max_len(1).for_each(|piece| {
        let (asking, head) = (&asking[piece / heads.count], piece % heads.count);
        SCRATCH.with_borrow_mut(|scratch| isa.run(Attend { heads, head, qkv, asking, canvas, scratch }));
    });
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// What one piece of work needs beside its input and output.
#[derive(Default)]
struct Scratch {
    /// Keys, transposed: panels of as many tokens as a tile is wide, within a panel number by number of the head.
    keys: Buffer<f32>,
    /// Values: panels of as many numbers of the head as a tile is wide, within a panel token by token.
    values: Buffer<f32>,
    scores: Buffer<f32>,
    result: Buffer<f32>,
}

struct Attend<'a> {
    heads: Heads,
    head: usize,
    qkv: &'a Sheet,
    asking: &'a Asking,
    canvas: Canvas<'a>,
    scratch: &'a mut Scratch,
}

const NOTHING: [f32; WIDEST_TILE] = [0.0; WIDEST_TILE];

impl Kernel for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { heads, head, qkv, asking, canvas, scratch } = self;
        let tile_width = TILE_VECTORS * S::LANES;
        let hidden = heads.count * heads.width;
        let [query_at, key_at, value_at] = [0, hidden, 2 * hidden].map(|part| part + head * heads.width);
        let tokens = asking.window.len();
        let padded_tokens = tokens.next_multiple_of(tile_width);
        let padded_width = heads.width.next_multiple_of(tile_width);
        // One line more, as in a sheet.
        let score_stride = padded_tokens + 16;
        scratch.keys.reserve(padded_tokens * heads.width);
        scratch.values.reserve(tokens * padded_width);
        scratch.scores.reserve(S::TILE_ROWS * score_stride);
        scratch.result.reserve(S::TILE_ROWS * padded_width);
        let Scratch { keys, values, scores, result } = scratch;
        let (keys, values, scores, result) =
            (&mut keys[..], &mut values[..], &mut scores[..], &mut result[..]);

        transpose_keys(simd, qkv, asking.window.clone(), key_at, heads.width, keys);
        gather_values(qkv, asking.window.clone(), value_at, heads.width, tile_width, values);
        // Powers of two cost less than powers of e.
        let factor = std::f32::consts::LOG2_E / (heads.width as f32).sqrt();

        for (row, count) in tiles::<S>(asking.rows.clone()) {
            let queries = &qkv.all()[row * qkv.stride() + query_at..];
            assert!(queries.len() >= (count - 1) * qkv.stride() + heads.width);
            let nothing = (NOTHING.as_ptr(), 0);
            for column in (0..padded_tokens).step_by(tile_width) {
                let panel = &keys[column * heads.width..][..tile_width * heads.width];
                // SAFETY: the slices and the scratch space hold what the tile touches.
                unsafe {
                    let a = (queries.as_ptr(), qkv.stride());
                    let c = (scores[column..].as_mut_ptr(), score_stride);
                    tile_of(simd, count, heads.width, a, panel.as_ptr(), nothing, c);
                }
            }
            let mut factors = [0.0; 16];
            for (scores, factor_of_row) in scores.chunks_exact_mut(score_stride).zip(&mut factors[..count]) {
                let sum = exponentials(simd, scores, tokens, factor);
                *factor_of_row = 1.0 / sum;
            }
            for column in (0..padded_width).step_by(tile_width) {
                let panel = &values[column * tokens..][..tile_width * tokens];
                // SAFETY: as above.
                unsafe {
                    let c = (result[column..].as_mut_ptr(), padded_width);
                    tile_of(simd, count, tokens, (scores.as_ptr(), score_stride), panel.as_ptr(), nothing, c);
                }
            }
            for (tile_row, factor_of_row) in factors[..count].iter().enumerate() {
                let from = &result[tile_row * padded_width..][..heads.width];
                let to = asking.to + row - asking.rows.start + tile_row;
                // SAFETY: no other piece has these rows of this head.
                let to = unsafe {
                    assert!((head + 1) * heads.width <= canvas.stride());
                    std::slice::from_raw_parts_mut(canvas.at(to, head * heads.width), heads.width)
                };
                for (to, from) in to.iter_mut().zip(from) {
                    *to = from * factor_of_row;
                }
            }
        }
    }
}

/// Padding of the last panel keeps whatever was there: its scores are never read.
#[inline(always)]
fn transpose_keys<S: Simd>(
    simd: S,
    qkv: &Sheet,
    window: Range<usize>,
    at: usize,
    width: usize,
    keys: &mut [f32],
) {
    let tile = TILE_VECTORS * S::LANES;
    for (panel, first) in keys.chunks_exact_mut(tile * width).zip(window.clone().step_by(tile)) {
        for column in (0..tile).step_by(S::LANES) {
            let tokens = first + column..window.end.min(first + column + S::LANES);
            let blocks = if tokens.len() == S::LANES { width / S::LANES } else { 0 };
            for number in (0..blocks).map(|block| block * S::LANES) {
                let from = &qkv.all()[tokens.start * qkv.stride() + at + number..];
                let to = &mut panel[number * tile + column..];
                assert!(from.len() >= (S::LANES - 1) * qkv.stride() + S::LANES);
                assert!(to.len() >= (S::LANES - 1) * tile + S::LANES);
                // SAFETY: just checked.
                unsafe { simd.transpose((from.as_ptr(), qkv.stride()), (to.as_mut_ptr(), tile)) };
            }
            let rest = blocks * S::LANES..width;
            for (place, token) in tokens.enumerate() {
                let key = &qkv.row(token)[at..][rest.clone()];
                let lines = panel.chunks_exact_mut(tile).skip(rest.start);
                lines.zip(key).for_each(|(line, number)| line[column + place] = *number);
            }
        }
    }
}

fn gather_values(
    qkv: &Sheet,
    window: Range<usize>,
    at: usize,
    width: usize,
    tile: usize,
    values: &mut [f32],
) {
    let tokens = window.len();
    for (panel, from) in values.chunks_exact_mut(tile * tokens).zip((0..width).step_by(tile)) {
        let used = tile.min(width - from);
        for (line, token) in panel.chunks_exact_mut(tile).zip(window.clone()) {
            let (value, padding) = line.split_at_mut(used);
            value.copy_from_slice(&qkv.row(token)[at + from..][..used]);
            padding.fill(0.0);
        }
    }
}

/// Turns the scores of one row into `2^(factor * (score - highest))` and returns their sum. Columns from `tokens` on are padding.
#[inline(always)]
pub(super) fn exponentials<S: Simd>(simd: S, scores: &mut [f32], tokens: usize, factor: f32) -> f32 {
    /// Cuts padding down to what adds nothing to a sum; as wide as the widest vector on either side.
    const BOUNDS: [f32; 32] = {
        let mut bounds = [f32::INFINITY; 32];
        let mut lane = 16;
        while lane < 32 {
            bounds[lane] = f32::MIN;
            lane += 1;
        }
        bounds
    };
    let used = tokens.next_multiple_of(S::LANES);
    let scores = &mut scores[..used];
    let (whole, last) = scores.split_at_mut(used - S::LANES);
    let bound = &BOUNDS[16 - (tokens - whole.len())..][..S::LANES];
    // SAFETY: `last` and `bound` are one vector long. Of a score that is not a number this makes infinity, which the subtraction
    // below turns back.
    let mut final_scores = unsafe { simd.min(simd.load(last.as_ptr()), simd.load(bound.as_ptr())) };

    let mut highest = final_scores;
    for chunk in whole.chunks_exact(S::LANES) {
        // SAFETY: the chunk is one vector long.
        highest = simd.max(highest, unsafe { simd.load(chunk.as_ptr()) });
    }
    let highest = simd.lanes(highest).as_ref().iter().copied().fold(f32::MIN, f32::max);
    let (factor, highest) = (simd.splat(factor), simd.splat(highest));
    // Subtracting first makes the highest exactly 1, however large the scores are.
    final_scores = exp2(simd, simd.mul(simd.sub(final_scores, highest), factor));
    let mut sum = final_scores;
    for chunk in whole.chunks_exact_mut(S::LANES) {
        // SAFETY: as above.
        unsafe {
            let value = exp2(simd, simd.mul(simd.sub(simd.load(chunk.as_ptr()), highest), factor));
            simd.store(chunk.as_mut_ptr(), value);
            sum = simd.add(sum, value);
        }
    }
    // SAFETY: `last` is one vector long.
    unsafe { simd.store(last.as_mut_ptr(), final_scores) };
    simd.sum(sum)
}
