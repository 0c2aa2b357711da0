//! Products of matrices that change with every step: there is no time to pack them for the kernels of `gemm`.
//!
//! The gemm crate, which candle's products use as well, takes any of the three layouts that learning needs as they lie. A result's bits
//! depend neither on the number of threads nor on what is in other rows.

use std::ops::Range;

use gemm::{Parallelism, gemm};

use crate::encoder::cpu::memory::Sheet;

/// A matrix somewhere in memory.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    numbers: &'a [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
    column_step: usize,
}

/// A matrix that a product is written to; its rows lie in one piece.
pub(super) struct MatrixMut<'a> {
    numbers: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_step: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix whose rows start `row_step` apart; `numbers` start with its first one.
    pub(super) fn new(numbers: &'a [f32], rows: usize, columns: usize, row_step: usize) -> Self {
        Self { numbers, rows, columns, row_step, column_step: 1 }
    }

    /// The first columns of a sheet.
    pub(super) fn of(sheet: &'a Sheet, columns: usize) -> Self {
        Self::new(sheet.all(), sheet.rows(), columns, sheet.stride())
    }

    /// Rows for columns.
    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_step: self.column_step,
            column_step: self.row_step,
            ..self
        }
    }
}

impl<'a> MatrixMut<'a> {
    pub(super) fn new(numbers: &'a mut [f32], rows: usize, columns: usize, row_step: usize) -> Self {
        Self { numbers, rows, columns, row_step }
    }

    /// The first columns of a sheet.
    pub(super) fn of(sheet: &'a mut Sheet, columns: usize) -> Self {
        let (rows, row_step) = (sheet.rows(), sheet.stride());
        Self::new(sheet.all_mut(), rows, columns, row_step)
    }
}

/// What becomes of the numbers that a product finds in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Onto {
    /// They are overwritten.
    Nothing,
    /// The product is added to them.
    Present,
}

/// `to = factor * a b`, on all threads.
pub(super) fn multiply(a: Matrix, b: Matrix, factor: f32, onto: Onto, to: MatrixMut) {
    product(a, b, factor, onto, to, Parallelism::Rayon(0));
}

/// `to = factor * a b`, on this thread.
pub(super) fn multiply_here(a: Matrix, b: Matrix, factor: f32, onto: Onto, to: MatrixMut) {
    product(a, b, factor, onto, to, Parallelism::None);
}

fn product(a: Matrix, b: Matrix, factor: f32, onto: Onto, to: MatrixMut, threads: Parallelism) {
    assert_eq!((a.rows, a.columns, b.columns), (to.rows, b.rows, to.columns), "the shapes do not fit");
    if to.rows == 0 || to.columns == 0 || a.columns == 0 {
        return;
    }
    for matrix in [&a, &b] {
        let last = (matrix.rows - 1) * matrix.row_step + (matrix.columns - 1) * matrix.column_step;
        assert!(last < matrix.numbers.len(), "a factor ends early");
    }
    assert!(to.columns <= to.row_step || to.rows == 1, "rows overlap");
    assert!((to.rows - 1) * to.row_step + to.columns <= to.numbers.len(), "the result ends early");
    // SAFETY: every place of the three matrices was just found to be inside its slice, and `to` is borrowed exclusively.
    unsafe {
        gemm(
            to.rows,
            to.columns,
            a.columns,
            to.numbers.as_mut_ptr(),
            1,
            to.row_step as isize,
            onto == Onto::Present,
            a.numbers.as_ptr(),
            a.column_step as isize,
            a.row_step as isize,
            b.numbers.as_ptr(),
            b.column_step as isize,
            b.row_step as isize,
            1.0,
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}

/// The rows of each window; windows lie behind one another from the first row on.
pub(super) fn split<'a>(
    mut numbers: &'a mut [f32],
    stride: usize,
    windows: &[Range<usize>],
) -> Vec<&'a mut [f32]> {
    let mut parts = Vec::with_capacity(windows.len());
    for window in windows {
        let (part, rest) = numbers.split_at_mut(window.len() * stride);
        parts.push(part);
        numbers = rest;
    }
    parts
}
