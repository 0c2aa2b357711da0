//! One vocabulary for the vector units of processors, so that every kernel is written once.
//!
//! A value of a type that implements [`Simd`] is the proof that the processor has the instructions: the types of `x86` and `neon`
//! are made only after asking it. That is what makes their methods safe to call.

/// Vectors that a tile of a product is wide.
pub(super) const TILE_VECTORS: usize = 2;

/// A vector unit. All vectors hold [`LANES`](Simd::LANES) numbers of 32 bits.
pub(super) trait Simd: Copy + Send + Sync {
    /// Numbers per vector.
    const LANES: usize;
    /// Rows of the largest tile whose sums fit the registers beside its operands; a tile is two vectors wide.
    const TILE_ROWS: usize;
    /// How the integer product takes its operands.
    const CODES: Codes;
    /// A vector of f32.
    type Floats: Copy;
    /// A vector of 32-bit words: sums, or packed small integers.
    type Words: Copy;

    /// Runs a kernel compiled for this unit, in a function of its own.
    fn run<K: Kernel>(self, kernel: K) -> K::Output;

    fn splat(self, value: f32) -> Self::Floats;
    /// # Safety
    /// `LANES` numbers must be readable.
    unsafe fn load(self, from: *const f32) -> Self::Floats;
    /// # Safety
    /// `LANES` numbers must be writable.
    unsafe fn store(self, to: *mut f32, value: Self::Floats);
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a * b + c`.
    fn fused(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The greater; `b` if one is not a number.
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The smaller; `b` if one is not a number.
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The nearest whole number, ties to even, of numbers below 2^22.
    fn whole(self, value: Self::Floats) -> Self::Floats;
    /// `value` times two to the power of a whole number between -126 and 127.
    fn scale(self, value: Self::Floats, power: Self::Floats) -> Self::Floats;
    /// The lanes in memory order, for what is done once per row.
    fn lanes(self, value: Self::Floats) -> impl AsRef<[f32]>;
    /// The sum of the lanes, from first to last.
    #[inline(always)]
    fn sum(self, value: Self::Floats) -> f32 {
        self.lanes(value).as_ref().iter().sum()
    }

    /// Transposes a block of `LANES` by `LANES` numbers. Both blocks come with the distance of their rows.
    ///
    /// # Safety
    /// All rows of the one block must be readable and of the other writable.
    #[inline(always)]
    unsafe fn transpose(self, (from, from_stride): (*const f32, usize), (to, to_stride): (*mut f32, usize)) {
        for row in 0..Self::LANES {
            for column in 0..Self::LANES {
                // SAFETY: the caller's promise.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) };
            }
        }
    }

    fn splat_word(self, value: i32) -> Self::Words;
    /// The weights' codes of `LANES` columns, widened to words as [`Codes`] says.
    /// # Safety
    /// `LANES` times [`Codes::per_word`] codes must be readable.
    unsafe fn load_weights(self, from: *const i8) -> Self::Words;
    /// The nearest integer, ties to even. Undefined bits (not undefined behaviour) outside i32.
    fn round(self, value: Self::Floats) -> Self::Words;
    fn to_floats(self, value: Self::Words) -> Self::Floats;
    /// Adds to each sum the products of the small integers that its word of `a` and its word of `b` hold, as [`Codes`] says.
    fn dot(self, sum: Self::Words, a: Self::Words, b: Self::Words) -> Self::Words;
    /// Writes words as the activations' small integers.
    /// # Safety
    /// `LANES` integers of [`Codes::bytes`] bytes must be writable.
    unsafe fn store_codes(self, to: *mut u8, value: Self::Words);
}

/// The operations that a unit with byte products shares with the one it extends, its field 0.
/// SAFETY, for the three that are unsafe: they pass on what their caller promises, which is the same for both units.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! inherit {
    ($parent:ty) => {
        type Floats = <$parent as Simd>::Floats;
        type Words = <$parent as Simd>::Words;

        #[inline(always)]
        fn splat(self, value: f32) -> Self::Floats {
            self.0.splat(value)
        }

        #[inline(always)]
        unsafe fn load(self, from: *const f32) -> Self::Floats {
            unsafe { self.0.load(from) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32, value: Self::Floats) {
            unsafe { self.0.store(to, value) }
        }

        #[inline(always)]
        fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            self.0.add(a, b)
        }

        #[inline(always)]
        fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            self.0.sub(a, b)
        }

        #[inline(always)]
        fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            self.0.mul(a, b)
        }

        #[inline(always)]
        fn div(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            self.0.div(a, b)
        }

        #[inline(always)]
        fn fused(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
            self.0.fused(a, b, c)
        }

        #[inline(always)]
        fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            self.0.max(a, b)
        }

        #[inline(always)]
        fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
            self.0.min(a, b)
        }

        #[inline(always)]
        fn lanes(self, value: Self::Floats) -> impl AsRef<[f32]> {
            self.0.lanes(value)
        }

        #[inline(always)]
        fn splat_word(self, value: i32) -> Self::Words {
            self.0.splat_word(value)
        }

        #[inline(always)]
        fn round(self, value: Self::Floats) -> Self::Words {
            self.0.round(value)
        }

        #[inline(always)]
        fn to_floats(self, value: Self::Words) -> Self::Floats {
            self.0.to_floats(value)
        }

        #[inline(always)]
        fn whole(self, value: Self::Floats) -> Self::Floats {
            self.0.whole(value)
        }

        #[inline(always)]
        fn scale(self, value: Self::Floats, power: Self::Floats) -> Self::Floats {
            self.0.scale(value, power)
        }

        #[inline(always)]
        unsafe fn transpose(self, from: (*const f32, usize), to: (*mut f32, usize)) {
            unsafe { self.0.transpose(from, to) }
        }
    };
}
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) use inherit;

/// Work that is compiled once for each vector unit. `run` must be `#[inline(always)]`.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// What the words of an integer product hold. Weights are bytes between -127 and 127 in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// Four unsigned bytes against four signed bytes.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "an instruction of x86-64"))]
    Unsigned8,
    /// Four signed bytes against four signed bytes.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "an instruction of ARM"))]
    Signed8,
    /// Two 16-bit integers against two: nearly without loss. Units that have no dot products of bytes can multiply bytes in pairs, if weights keep
    /// to 7 bits; measured with AVX2, that makes products 1.25 times as fast, and one reply in 25 another one instead of none.
    Signed16,
}

impl Codes {
    /// Bytes of an activation's integer.
    pub(super) const fn bytes(self) -> usize {
        match self {
            Codes::Unsigned8 | Codes::Signed8 => 1,
            Codes::Signed16 => 2,
        }
    }

    /// Integers per word.
    pub(super) const fn per_word(self) -> usize {
        4 / self.bytes()
    }

    /// The most products whose sum surely fits 31 bits: weights are below 2^7, activations below 2^8 or 2^10.
    pub(super) const fn most_inputs(self) -> usize {
        match self {
            Codes::Unsigned8 | Codes::Signed8 => 1 << 16,
            Codes::Signed16 => 1 << 14,
        }
    }

    /// The range that an activation's codes use: from the first, so many steps.
    pub(super) const fn range(self) -> (i32, i32) {
        match self {
            Codes::Unsigned8 => (0, 255),
            Codes::Signed8 => (-128, 255),
            Codes::Signed16 => (-1024, 2047),
        }
    }
}
