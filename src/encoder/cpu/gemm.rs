//! Matrix products with weights that were packed when the model was loaded.
//!
//! Every number of a product is one chain of fused multiply-adds over the inputs in their order (or an exact integer sum), whatever
//! tile, block or thread it falls to: a row's result has the same bits in every batch.
//!
//! Crates were measured first, on two cores of a Zen 4 at eight shapes of the encoders, in shares of the f32 peak in registers, one
//! thread, worst and best shape: gemm 0.19 with AVX-512 87 to 92 %, rten-gemm 0.27 82 to 91 %, matrixmultiply 0.3 79 to 86 %; the integer
//! products of rten-gemm 63 to 81 % of the peak of `vpdpbusd`. In whole models the products here run at 91 to 94 %, 87 % with GELU, finish
//! while the numbers are in cache, and give a single row the same bits as many, which gemm does not promise.

use std::ops::Range;

use rayon::prelude::*;

use super::isa::Isa;
use super::math::gelu;
use super::memory::{Block, Buffer, Canvas, Sheet};
use super::quantise::CodedSheet;
use super::simd::{Kernel, Simd, TILE_VECTORS};
use crate::checkpoint::weights::Rows;

/// Inputs that are worked through at a time, so that a panel of weights and a block of rows stay in cache.
const DEPTH: usize = 768;

/// Rows that are worked through at a time, for the same reason.
const BLOCK_ROWS: usize = 192;

/// What happens to a product while it is still in cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Gelu,
}

/// A linear module: weights `[outputs, inputs]` as panels of as many outputs as a tile is wide, and a bias.
pub(super) struct Linear {
    weights: Panels,
    bias: Buffer<f32>,
    inputs: usize,
    outputs: usize,
}

/// Weights in the order in which tiles read them: panel by panel, within a panel input by input.
enum Panels {
    Floats(Buffer<f32>),
    Codes {
        words: Buffer<i32>,
        /// The quantisation scale of each column.
        scale: Buffer<f32>,
        /// The sum of a column's codes.
        total: Buffer<f32>,
    },
}

impl Linear {
    /// Packs weights that several modules with the same input store, row by row; as integers if that is wanted.
    pub(super) fn pack(isa: Isa, modules: &[Rows], bias: &[f32], inputs: usize, integer: bool) -> Self {
        // Wider than any encoder is, integers could overflow.
        let integer = integer && inputs <= isa.codes().most_inputs();
        let width = isa.tile_width();
        let outputs: usize = modules.iter().map(Rows::len).sum();
        let columns = outputs.next_multiple_of(width);
        let mut padded_bias = Buffer::zeroed(columns);
        padded_bias[..outputs].copy_from_slice(bias);
        let read = |output: usize, out: &mut [f32]| {
            let mut row = output;
            for module in modules {
                if row < module.len() {
                    return module.copy_row(row, out);
                }
                row -= module.len();
            }
        };
        let weights = if integer {
            let codes = isa.codes();
            let words_per_row = inputs.div_ceil(codes.per_word());
            let mut words = Buffer::zeroed(words_per_row * columns);
            let mut scale = Buffer::zeroed(columns);
            let mut total = Buffer::zeroed(columns);
            let panels = words.par_chunks_mut(words_per_row * width);
            let scales = scale.par_chunks_mut(width).zip(total.par_chunks_mut(width));
            panels.zip(scales).enumerate().for_each(|(panel, (words, (scale, total)))| {
                let mut row = vec![0.0f32; inputs];
                for column in 0..width.min(outputs - panel * width) {
                    read(panel * width + column, &mut row);
                    (scale[column], total[column]) =
                        codes.encode_weights(&row, words[column..].iter_mut().step_by(width));
                }
            });
            Panels::Codes { words, scale, total }
        } else {
            let mut panels = Buffer::zeroed(inputs * columns);
            panels.par_chunks_mut(inputs * width).enumerate().for_each(|(panel, numbers)| {
                let used = width.min(outputs - panel * width);
                let mut rows = vec![0.0f32; used * inputs];
                for (column, row) in rows.chunks_exact_mut(inputs).enumerate() {
                    read(panel * width + column, row);
                }
                for (input, line) in numbers.chunks_exact_mut(width).enumerate() {
                    for (column, number) in line[..used].iter_mut().enumerate() {
                        *number = rows[column * inputs + input];
                    }
                }
            });
            Panels::Floats(panels)
        };
        Self { weights, bias: padded_bias, inputs, outputs }
    }

    /// Multiplies the rows of `input`, adds the bias, and writes to `output`, which gets the shape.
    /// `codes` is scratch space for the integer path.
    pub(super) fn forward(
        &self,
        isa: Isa,
        input: Block,
        codes: &mut CodedSheet,
        output: &mut Sheet,
        then: Then,
    ) {
        let rows = input.rows();
        output.shape(rows, self.outputs);
        if rows == 0 {
            return;
        }
        let operand = match &self.weights {
            Panels::Floats(_) => Operand::Floats(input),
            Panels::Codes { .. } => {
                codes.encode(isa, input, self.inputs);
                Operand::Codes(codes)
            }
        };
        let canvas = output.canvas();
        let panels = self.bias.len() / isa.tile_width();
        let row_blocks = rows.div_ceil(BLOCK_ROWS);
        // Twice as many pieces as threads, so that none waits long for another.
        let panel_blocks = (2 * rayon::current_num_threads()).div_ceil(row_blocks).min(panels);
        (0..row_blocks * panel_blocks).into_par_iter().with_max_len(1).for_each(|piece| {
            let (row_block, panel_block) = (piece / panel_blocks, piece % panel_blocks);
            isa.run(Product {
                linear: self,
                operand: &operand,
                rows: share(rows, row_blocks, row_block),
                panels: share(panels, panel_blocks, panel_block),
                canvas,
                then,
            });
        });
    }
}

/// Part `part` of `parts` nearly equal parts of `0..count`.
fn share(count: usize, parts: usize, part: usize) -> Range<usize> {
    count * part / parts..count * (part + 1) / parts
}

enum Operand<'a> {
    Floats(Block<'a>),
    Codes(&'a CodedSheet),
}

/// A rectangle of a product: some rows, some panels of columns.
struct Product<'a> {
    linear: &'a Linear,
    operand: &'a Operand<'a>,
    rows: Range<usize>,
    panels: Range<usize>,
    canvas: Canvas<'a>,
    then: Then,
}

impl Kernel for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let width = TILE_VECTORS * S::LANES;
        assert!(self.linear.bias.len() >= self.panels.end * width, "panels were packed for another tile");
        match (&self.linear.weights, self.operand) {
            (Panels::Floats(weights), Operand::Floats(input)) => self.floats(simd, weights, *input),
            (Panels::Codes { words, scale, total }, Operand::Codes(input)) => {
                for panel in self.panels.clone() {
                    let column = panel * width;
                    let outer = Outer {
                        scale: &scale[column..][..width],
                        total: &total[column..][..width],
                        bias: &self.linear.bias[column..][..width],
                    };
                    let words_per_row = input.words();
                    let panel = &words[column * words_per_row..][..words_per_row * width];
                    for (row, count) in tiles::<S>(self.rows.clone()) {
                        let canvas = self.canvas;
                        // SAFETY: the slices hold what the tile reads; no other piece writes to this rectangle.
                        unsafe { tile_codes_of(simd, count, (input, row), panel, &outer, (canvas, column)) };
                    }
                    self.finish(simd, column);
                }
            }
            _ => unreachable!("the operand was made for these weights"),
        }
    }
}

impl Product<'_> {
    #[inline(always)]
    fn floats<S: Simd>(&self, simd: S, weights: &[f32], input: Block) {
        let width = TILE_VECTORS * S::LANES;
        let inputs = self.linear.inputs;
        let parts = inputs.div_ceil(DEPTH);
        assert!(input.stride() >= inputs && input.rows() >= self.rows.end);
        for part in 0..parts {
            let depth = share(inputs, parts, part);
            for panel in self.panels.clone() {
                let column = panel * width;
                let b = &weights[panel * inputs * width..][depth.start * width..depth.end * width];
                let bias = &self.linear.bias[column..][..width];
                for (row, count) in tiles::<S>(self.rows.clone()) {
                    let a = &input.all()[row * input.stride() + depth.start..];
                    assert!(a.len() >= (count - 1) * input.stride() + depth.len());
                    // SAFETY: the slices hold what the tile reads; no other piece writes to this rectangle.
                    unsafe {
                        let c = self.canvas.at(row, column);
                        let stride = self.canvas.stride();
                        let init = if part == 0 { (bias.as_ptr(), 0) } else { (c.cast_const(), stride) };
                        let a = (a.as_ptr(), input.stride());
                        tile_of(simd, count, depth.len(), a, b.as_ptr(), init, (c, stride));
                    }
                }
                if part + 1 == parts {
                    self.finish(simd, column);
                }
            }
        }
    }

    /// What follows the product, on one panel of columns that was just written.
    #[inline(always)]
    fn finish<S: Simd>(&self, simd: S, column: usize) {
        if self.then == Then::Gelu {
            for row in self.rows.clone() {
                // SAFETY: this rectangle is this piece's own, and rows are padded to whole tiles.
                unsafe {
                    let start = self.canvas.at(row, column);
                    for vector in 0..TILE_VECTORS {
                        let at = start.add(vector * S::LANES);
                        simd.store(at, gelu(simd, simd.load(at)));
                    }
                }
            }
        }
    }
}

/// Cuts rows into tiles of nearly equal height: the first row and the number of rows of each.
#[inline(always)]
pub(super) fn tiles<S: Simd>(rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> {
    let count = rows.len().div_ceil(S::TILE_ROWS);
    (0..count).map(move |tile| {
        let part = share(rows.len(), count, tile);
        (rows.start + part.start, part.len())
    })
}

/// Runs a tile of a number of rows that is known only now. Every height is a function of its own: in the midst of others, what those keep in
/// registers leaves too few for the sums, and a sum that goes to memory and back at every step takes twice the time.
macro_rules! by_rows {
    ($simd:ident: $unit:ty, $count:expr, $tile:ident $fields:tt) => {
        by_rows!($simd: $unit, $count, $tile $fields, [1 2 3 4 5 6 7 8 9 10 11 12])
    };
    ($simd:ident: $unit:ty, $count:expr, $tile:ident $fields:tt, [$($rows:literal)*]) => {
        match $count {
            $($rows if $rows <= <$unit>::TILE_ROWS => $simd.run($tile::<$rows> $fields),)*
            count => unreachable!("a tile of {count} rows"),
        }
    };
}

/// A tile of `count` rows and two vectors of columns: `c = init + a * b`. `a`, `init` and `c` come with the distance of their rows.
///
/// # Safety
/// Readable: `depth` numbers of each row of `a`, `depth` times two vectors of `b`, two vectors of each row of `init`; writable:
/// two vectors of each row of `c`.
#[inline(always)]
pub(super) unsafe fn tile_of<S: Simd>(
    simd: S,
    count: usize,
    depth: usize,
    a: (*const f32, usize),
    b: *const f32,
    init: (*const f32, usize),
    c: (*mut f32, usize),
) {
    by_rows!(simd: S, count, Tile { depth, a, b, init, c });
}

/// Only [`tile_of`] makes one, and hands on what it was promised.
struct Tile<const ROWS: usize> {
    depth: usize,
    a: (*const f32, usize),
    b: *const f32,
    init: (*const f32, usize),
    c: (*mut f32, usize),
}

impl<const ROWS: usize> Kernel for Tile<ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { depth, a: (a, a_stride), mut b, init: (init, init_stride), c: (c, c_stride) } = self;
        // SAFETY: the promise that `tile_of` was given.
        unsafe {
            let mut sums = [[simd.splat(0.0); TILE_VECTORS]; ROWS];
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = simd.load(init.add(row * init_stride + vector * S::LANES));
                }
            }
            for k in 0..depth {
                let weights = [simd.load(b), simd.load(b.add(S::LANES))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = simd.splat(*a.add(row * a_stride + k));
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.fused(x, weight, *sum);
                    }
                }
                b = b.add(TILE_VECTORS * S::LANES);
            }
            for (row, sums) in sums.into_iter().enumerate() {
                for (vector, sum) in sums.into_iter().enumerate() {
                    simd.store(c.add(row * c_stride + vector * S::LANES), sum);
                }
            }
        }
    }
}

/// What turns the integer sums of a panel's columns into numbers.
struct Outer<'a> {
    scale: &'a [f32],
    total: &'a [f32],
    bias: &'a [f32],
}

/// A tile of integers: `count` rows from the one that comes with `input`, to the column that comes with `canvas`.
///
/// # Safety
/// `panel` holds `input.words()` times two vectors; nobody else writes to the tile's place on the canvas.
#[inline(always)]
unsafe fn tile_codes_of<S: Simd>(
    simd: S,
    count: usize,
    input: (&CodedSheet, usize),
    panel: &[i32],
    outer: &Outer,
    canvas: (Canvas, usize),
) {
    by_rows!(simd: S, count, CodedTile { input, panel, outer, canvas });
}

/// Only [`tile_codes_of`] makes one, and hands on what it was promised.
struct CodedTile<'a, const ROWS: usize> {
    input: (&'a CodedSheet, usize),
    panel: &'a [i32],
    outer: &'a Outer<'a>,
    canvas: (Canvas<'a>, usize),
}

impl<const ROWS: usize> Kernel for CodedTile<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { input: (input, row), panel, outer, canvas: (canvas, column) } = self;
        let (base, stride) = (input.rows_from(row, ROWS).as_ptr(), input.stride());
        // SAFETY: `rows_from` checked that the rows are there; the rest is the promise of `tile_codes_of`.
        unsafe {
            let mut sums = [[simd.splat_word(0); TILE_VECTORS]; ROWS];
            let mut b = panel.as_ptr();
            for word in 0..input.words() {
                let weights = [simd.load_words(b), simd.load_words(b.add(S::LANES))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = simd.splat_word(*base.add(row * stride + word));
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.dot(*sum, x, weight);
                    }
                }
                b = b.add(TILE_VECTORS * S::LANES);
            }
            let c = canvas.at(row, column);
            for (tile_row, sums) in sums.into_iter().enumerate() {
                let (row_scale, least) = input.meaning(row + tile_row);
                let c = c.add(tile_row * canvas.stride());
                for (vector, sum) in sums.into_iter().enumerate() {
                    let lane = vector * S::LANES;
                    let total = simd.mul(simd.splat(least), simd.load(outer.total[lane..].as_ptr()));
                    let value = simd.fused(simd.to_floats(sum), simd.splat(row_scale), total);
                    let scale = simd.load(outer.scale[lane..].as_ptr());
                    let bias = simd.load(outer.bias[lane..].as_ptr());
                    simd.store(c.add(lane), simd.fused(value, scale, bias));
                }
            }
        }
    }
}
