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
use super::quantise::{CodedSheet, encode_weights};
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
        /// As many codes of a column side by side as a word of the product takes.
        codes: Buffer<i8>,
        /// The quantisation scale of each column.
        scale: Buffer<f32>,
        /// The sum of a column's codes.
        total: Buffer<f32>,
    },
}

impl Panels {
    fn of_floats(isa: Isa, rows: &Stacked, inputs: usize) -> Self {
        let width = isa.tile_width();
        let mut panels = Buffer::zeroed(inputs * rows.len().next_multiple_of(width));
        panels.par_chunks_mut(inputs * width).enumerate().for_each(|(panel, numbers)| {
            let used = width.min(rows.len() - panel * width);
            let mut panel_rows = vec![0.0f32; used * inputs];
            for (column, row) in panel_rows.chunks_exact_mut(inputs).enumerate() {
                rows.read(panel * width + column, row);
            }
            for (input, line) in numbers.chunks_exact_mut(width).enumerate() {
                for (column, number) in line[..used].iter_mut().enumerate() {
                    *number = panel_rows[column * inputs + input];
                }
            }
        });
        Panels::Floats(panels)
    }

    fn of_codes(isa: Isa, rows: &Stacked, inputs: usize) -> Self {
        let width = isa.tile_width();
        let per_word = isa.codes().per_word();
        let padded = inputs.next_multiple_of(per_word);
        let columns = rows.len().next_multiple_of(width);
        let mut codes = Buffer::zeroed(padded * columns);
        let mut scale = Buffer::zeroed(columns);
        let mut total = Buffer::zeroed(columns);
        let panels = codes.par_chunks_mut(padded * width);
        let scales = scale.par_chunks_mut(width).zip(total.par_chunks_mut(width));
        panels.zip(scales).enumerate().for_each(|(panel, (panel_codes, (scale, total)))| {
            let mut panel_rows = vec![0; padded * width];
            for column in 0..width.min(rows.len() - panel * width) {
                let row = &mut panel_rows[column * padded..][..inputs];
                scale[column] = rows.read_codes(panel * width + column, row);
                total[column] = row.iter().map(|code| i32::from(*code)).sum::<i32>() as f32;
            }
            match per_word {
                2 => interleave::<2>(&panel_rows, panel_codes, width),
                _ => interleave::<4>(&panel_rows, panel_codes, width),
            }
        });
        Panels::Codes { codes, scale, total }
    }
}

/// Lays `width` rows of codes side by side, `WORD` codes of each at a time.
fn interleave<const WORD: usize>(rows: &[i8], panel: &mut [i8], width: usize) {
    /// Every tile is some times as wide, and so many pieces make one or two stores.
    const GROUP: usize = 8;
    let length = rows.len() / width;
    for (group, rows) in rows.chunks_exact(GROUP * length).enumerate() {
        let rows: [&[[i8; WORD]]; GROUP] =
            std::array::from_fn(|row| rows[row * length..][..length].as_chunks().0);
        let lines = panel.as_chunks_mut::<WORD>().0.chunks_exact_mut(width);
        for (word, line) in lines.take(length / WORD).enumerate() {
            let line = &mut line[group * GROUP..][..GROUP];
            line.iter_mut().zip(rows).for_each(|(place, row)| *place = row[word]);
        }
    }
}

/// The weights of several modules with the same input, one below the other.
struct Stacked<'a>(&'a [Rows]);

impl Stacked<'_> {
    fn len(&self) -> usize {
        self.0.iter().map(Rows::len).sum()
    }

    /// The module that has a row, and the row's number there.
    fn find(&self, mut row: usize) -> (&Rows, usize) {
        for module in self.0 {
            if row < module.len() {
                return (module, row);
            }
            row -= module.len();
        }
        unreachable!("rows are counted by `len`")
    }

    fn read(&self, row: usize, out: &mut [f32]) {
        let (module, row) = self.find(row);
        module.copy_row(row, out);
    }

    /// Returns the scale of the codes.
    fn read_codes(&self, row: usize, out: &mut [i8]) -> f32 {
        let (module, row) = self.find(row);
        module.copy_codes(row, out).unwrap_or_else(|| {
            let mut numbers = vec![0.0; out.len()];
            module.copy_row(row, &mut numbers);
            encode_weights(&numbers, out)
        })
    }
}

impl Linear {
    /// Packs weights that several modules with the same input store, row by row; as integers if that is wanted.
    pub(super) fn pack(isa: Isa, modules: &[Rows], bias: &[f32], inputs: usize, integer: bool) -> Self {
        let rows = Stacked(modules);
        let mut padded_bias = Buffer::zeroed(rows.len().next_multiple_of(isa.tile_width()));
        padded_bias[..bias.len()].copy_from_slice(bias);
        // Wider than any encoder is, integers could overflow.
        let weights = if integer && inputs <= isa.codes().most_inputs() {
            Panels::of_codes(isa, &rows, inputs)
        } else {
            Panels::of_floats(isa, &rows, inputs)
        };
        Self { weights, bias: padded_bias, inputs, outputs: rows.len() }
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
            (Panels::Codes { codes, scale, total }, Operand::Codes(input)) => {
                for panel in self.panels.clone() {
                    let column = panel * width;
                    let outer = Outer {
                        scale: &scale[column..][..width],
                        total: &total[column..][..width],
                        bias: &self.linear.bias[column..][..width],
                    };
                    let codes_per_row = input.words() * S::CODES.per_word();
                    let panel = &codes[column * codes_per_row..][..codes_per_row * width];
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
/// `panel` holds the codes of `input.words()` times two vectors; nobody else writes to the tile's place on the canvas.
#[inline(always)]
unsafe fn tile_codes_of<S: Simd>(
    simd: S,
    count: usize,
    input: (&CodedSheet, usize),
    panel: &[i8],
    outer: &Outer,
    canvas: (Canvas, usize),
) {
    by_rows!(simd: S, count, CodedTile { input, panel, outer, canvas });
}

/// Only [`tile_codes_of`] makes one, and hands on what it was promised.
struct CodedTile<'a, const ROWS: usize> {
    input: (&'a CodedSheet, usize),
    panel: &'a [i8],
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
            let vector = S::LANES * S::CODES.per_word();
            for word in 0..input.words() {
                let weights = [simd.load_weights(b), simd.load_weights(b.add(vector))];
                for (row, sums) in sums.iter_mut().enumerate() {
                    let x = simd.splat_word(*base.add(row * stride + word));
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum = simd.dot(*sum, x, weight);
                    }
                }
                b = b.add(TILE_VECTORS * vector);
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
