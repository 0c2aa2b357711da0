//! Memory that vector loads like: aligned to cache lines, rows padded so that whole vectors may be read and written.

use std::alloc::{Layout, handle_alloc_error};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Mutex, PoisonError};

use memmap2::{MmapMut, MmapOptions};
use rayon::prelude::*;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes of a large page.
const LARGE_PAGE: usize = 2 << 20;

/// Numbers that are all zeros when their bytes are.
///
/// # Safety
/// Zeroed memory must be valid numbers of the type, and dropping one must do nothing.
pub(super) unsafe trait Number: Copy + Send + Sync {}

// SAFETY: plain numbers.
unsafe impl Number for f32 {}
// SAFETY: plain numbers.
unsafe impl Number for i32 {}
// SAFETY: plain numbers.
unsafe impl Number for i8 {}

/// A fixed number of numbers, zero at first, in pages of their own: aligned to any vector, and asked for in large pages where the system
/// has them.
#[derive(Debug)]
pub(super) struct Buffer<T> {
    pages: Option<MmapMut>,
    length: usize,
    numbers: PhantomData<T>,
}

impl<T> Default for Buffer<T> {
    fn default() -> Self {
        Self { pages: None, length: 0, numbers: PhantomData }
    }
}

impl<T: Number> Buffer<T> {
    pub(super) fn zeroed(length: usize) -> Self {
        if length == 0 {
            return Self::default();
        }
        let bytes = length * size_of::<T>();
        // One call for all small pages costs less than a fault for each. Large ones are few.
        let mut pages = MmapOptions::new();
        if bytes < LARGE_PAGE && !cfg!(miri) {
            pages.populate();
        }
        let Ok(pages) = pages.len(bytes).map_anon() else {
            // What happens to everything else that finds no memory.
            handle_alloc_error(Layout::array::<T>(length).unwrap_or(Layout::new::<T>()));
        };
        #[cfg(target_os = "linux")]
        if bytes >= LARGE_PAGE && !cfg!(miri) {
            // The system may refuse: pages of the usual size do as well, only slower.
            let _ = pages.advise(memmap2::Advice::HugePage);
        }
        Self { pages: Some(pages), length, numbers: PhantomData }
    }

    /// Makes room for at least `length` numbers; what stood there may be lost.
    pub(super) fn reserve(&mut self, length: usize) {
        if self.length < length {
            *self = Self::zeroed(length);
        }
    }
}

impl<T: Number> Deref for Buffer<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        match &self.pages {
            // SAFETY: the pages hold `length` numbers, which started as zeros; they are aligned to more than any number.
            Some(pages) => unsafe { std::slice::from_raw_parts(pages.as_ptr().cast(), self.length) },
            None => &[],
        }
    }
}

impl<T: Number> DerefMut for Buffer<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.pages {
            // SAFETY: as above, and the pages are borrowed exclusively.
            Some(pages) => unsafe { std::slice::from_raw_parts_mut(pages.as_mut_ptr().cast(), self.length) },
            None => &mut [],
        }
    }
}

/// The widest tile of any vector unit, in columns: rows are padded to a multiple of it.
pub(super) const WIDEST_TILE: usize = 32;

/// Rows of numbers, reused from one forward pass to the next.
#[derive(Debug)]
pub(super) struct Sheet<T = f32> {
    numbers: Buffer<T>,
    rows: usize,
    stride: usize,
}

impl<T> Default for Sheet<T> {
    fn default() -> Self {
        Self { numbers: Buffer::default(), rows: 0, stride: 0 }
    }
}

impl<T: Number> Sheet<T> {
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

impl Sheet {
    /// All rows.
    pub(super) fn whole(&self) -> Block<'_> {
        self.block(0..self.rows)
    }

    /// Some rows.
    pub(super) fn block(&self, rows: Range<usize>) -> Block<'_> {
        Block { numbers: &self.all()[rows.start * self.stride..rows.end * self.stride], stride: self.stride }
    }
}

/// Neighbouring rows of a sheet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    numbers: &'a [f32],
    stride: usize,
}

impl<'a> Block<'a> {
    pub(super) fn new(numbers: &'a [f32], stride: usize) -> Self {
        Self { numbers, stride }
    }

    pub(super) fn rows(&self) -> usize {
        self.numbers.len() / self.stride
    }

    #[inline(always)]
    pub(super) fn stride(&self) -> usize {
        self.stride
    }

    /// All rows with their padding.
    #[inline(always)]
    pub(super) fn all(&self) -> &'a [f32] {
        self.numbers
    }
}

/// Things that are put back after use, so that their memory is asked for once.
#[derive(Debug)]
pub(super) struct Idle<T>(Mutex<Vec<T>>);

impl<T> Default for Idle<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Default> Idle<T> {
    /// Lends one to `work`; what it holds is whatever was left in it.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let idle = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut item = idle().pop().unwrap_or_default();
        let result = work(&mut item);
        idle().push(item);
        result
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
