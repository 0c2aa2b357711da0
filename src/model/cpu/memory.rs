//! Memory that vector loads like: aligned to cache lines, rows padded so that whole vectors may be read and written.

use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use rayon::prelude::*;

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;

/// A fixed number of numbers, zero at first, that begin at a cache line.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    numbers: Vec<T>,
    start: usize,
    length: usize,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { numbers: Vec::new(), start: 0, length: 0 }
    }
}

impl<T: Copy + Default> Buffer<T> {
    pub(super) fn zeroed(length: usize) -> Self {
        // The system hands out zeroed pages anyway, so this costs nothing until they are written to.
        let spare = LINE / size_of::<T>();
        let numbers = vec![T::default(); length + spare];
        let start = numbers.as_ptr().align_offset(LINE).min(spare);
        Self { numbers, start, length }
    }

    /// Makes room for at least `length` numbers; what stood there may be lost.
    pub(super) fn reserve(&mut self, length: usize) {
        if self.length < length {
            *self = Self::zeroed(length);
        }
    }
}

impl<T> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.numbers[self.start..self.start + self.length]
    }
}

impl<T> DerefMut for Buffer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.numbers[self.start..self.start + self.length]
    }
}

/// The widest tile of any vector unit, in columns: rows are padded to a multiple of it.
pub(super) const WIDEST_TILE: usize = 32;

/// Rows of numbers, reused from one forward pass to the next.
#[derive(Debug, Default)]
pub(super) struct Sheet<T = f32> {
    numbers: Buffer<T>,
    rows: usize,
    stride: usize,
}

impl<T: Copy + Default + Send + Sync> Sheet<T> {
    /// Sets the shape. The numbers are whatever they were, but always numbers.
    pub(super) fn shape(&mut self, rows: usize, width: usize) {
        self.rows = rows;
        // One line more than a multiple of the tile: rows that lie a power of two apart would share few places in the cache.
        self.stride = width.next_multiple_of(WIDEST_TILE) + LINE / size_of::<T>();
        self.numbers.reserve(rows * self.stride);
    }

    #[inline(always)]
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// All rows with their padding.
    #[inline(always)]
    pub(super) fn all(&self) -> &[T] {
        &self.numbers[..self.rows * self.stride]
    }

    #[inline(always)]
    pub(super) fn all_mut(&mut self) -> &mut [T] {
        let length = self.rows * self.stride;
        &mut self.numbers[..length]
    }

    #[inline(always)]
    pub(super) fn row(&self, row: usize) -> &[T] {
        &self.all()[row * self.stride..][..self.stride]
    }

    /// All rows in blocks of `count`, for several threads.
    pub(super) fn blocks_mut(&mut self, count: usize) -> rayon::slice::ChunksMut<'_, T> {
        let length = (count * self.stride).max(1);
        self.all_mut().par_chunks_mut(length)
    }

    /// Lets several threads write to places of their own.
    pub(super) fn canvas(&mut self) -> Canvas<'_, T> {
        let start = self.all_mut().as_mut_ptr();
        Canvas { start, rows: self.rows, stride: self.stride, lifetime: PhantomData }
    }
}

/// A sheet that several threads write to at once.
#[derive(Clone, Copy)]
pub(super) struct Canvas<'a, T = f32> {
    start: *mut T,
    rows: usize,
    stride: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for an exclusive borrow, and whoever asks for a place promises to be alone there.
unsafe impl<T: Send> Send for Canvas<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Canvas<'_, T> {}

impl<T> Canvas<'_, T> {
    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// The place of a number.
    ///
    /// # Safety
    /// Threads that write at the same time must write to different places within the sheet.
    #[inline(always)]
    pub(super) unsafe fn at(&self, row: usize, column: usize) -> *mut T {
        assert!(row < self.rows && column < self.stride, "({row}, {column}) is outside the sheet");
        // SAFETY: just checked.
        unsafe { self.start.add(row * self.stride + column) }
    }
}
