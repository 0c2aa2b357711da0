//! One vocabulary for the vector units of processors, so that every kernel is written once.
//!
//! A value of a type that implements [`Simd`] is the proof that the processor has the instructions: the types of `x86` and `neon`
//! are made only after asking it. That is what makes their methods safe to call.

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

    /// Runs a kernel compiled for this unit.
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

    /// Makes columns of the rows of a block of `LANES` by `LANES` numbers. Both blocks come with the distance of their rows.
    ///
    /// # Safety
    /// All rows of the one block must be readable and of the other writable.
    #[inline(always)]
    unsafe fn turn(self, (from, from_stride): (*const f32, usize), (to, to_stride): (*mut f32, usize)) {
        for row in 0..Self::LANES {
            for column in 0..Self::LANES {
                // SAFETY: the caller's promise.
                unsafe { *to.add(column * to_stride + row) = *from.add(row * from_stride + column) };
            }
        }
    }

    fn splat_word(self, value: i32) -> Self::Words;
    /// # Safety
    /// `LANES` words must be readable.
    unsafe fn load_words(self, from: *const i32) -> Self::Words;
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
/// SAFETY, for the two that are unsafe: they pass their caller's promise on.
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
        unsafe fn load_words(self, from: *const i32) -> Self::Words {
            unsafe { self.0.load_words(from) }
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
        unsafe fn turn(self, from: (*const f32, usize), to: (*mut f32, usize)) {
            unsafe { self.0.turn(from, to) }
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

/// What the words of an integer product hold. Weights are between -127 and 127 in all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// Four unsigned bytes against four signed bytes.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "an instruction of x86-64"))]
    Unsigned8,
    /// Four signed bytes against four signed bytes.
    #[cfg_attr(not(target_arch = "aarch64"), expect(dead_code, reason = "an instruction of ARM"))]
    Signed8,
    /// Two 16-bit integers against two: no faster than f32 would be at half its size, and nearly without loss.
    Signed16,
}

impl Codes {
    /// Bytes per integer.
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

/// Plain Rust for processors without a unit of their own here, and the yardstick of the others in tests.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

type Four = [f32; 4];

#[inline(always)]
fn each(a: Four, b: Four, operation: impl Fn(f32, f32) -> f32) -> Four {
    std::array::from_fn(|lane| operation(a[lane], b[lane]))
}

impl Simd for Portable {
    const LANES: usize = 4;
    const TILE_ROWS: usize = 4;
    const CODES: Codes = Codes::Signed16;
    type Floats = Four;
    type Words = [i32; 4];

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, value: f32) -> Four {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Four {
        // SAFETY: the caller vouches for four numbers.
        unsafe { from.cast::<Four>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Four) {
        // SAFETY: the caller vouches for four numbers.
        unsafe { to.cast::<Four>().write_unaligned(value) }
    }

    #[inline(always)]
    fn add(self, a: Four, b: Four) -> Four {
        each(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Four, b: Four) -> Four {
        each(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Four, b: Four) -> Four {
        each(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Four, b: Four) -> Four {
        each(a, b, |a, b| a / b)
    }

    /// Rounds twice: one rounding would be a library call per number on such a processor.
    #[inline(always)]
    fn fused(self, a: Four, b: Four, c: Four) -> Four {
        self.add(self.mul(a, b), c)
    }

    #[inline(always)]
    fn max(self, a: Four, b: Four) -> Four {
        each(a, b, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn min(self, a: Four, b: Four) -> Four {
        each(a, b, |a, b| if a < b { a } else { b })
    }

    /// In this range adding 1.5 * 2^23 rounds, without the library call that rounding is on old processors.
    #[inline(always)]
    fn whole(self, value: Four) -> Four {
        const ROUNDER: f32 = 12_582_912.0;
        value.map(|value| (value + ROUNDER) - ROUNDER)
    }

    #[inline(always)]
    fn scale(self, value: Four, power: Four) -> Four {
        each(value, power, |value, power| {
            value * f32::from_bits(((power as i32).wrapping_add(127) << 23) as u32)
        })
    }

    #[inline(always)]
    fn lanes(self, value: Four) -> impl AsRef<[f32]> {
        value
    }

    #[inline(always)]
    fn splat_word(self, value: i32) -> [i32; 4] {
        [value; 4]
    }

    #[inline(always)]
    unsafe fn load_words(self, from: *const i32) -> [i32; 4] {
        // SAFETY: the caller vouches for four words.
        unsafe { from.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    fn round(self, value: Four) -> [i32; 4] {
        self.whole(value).map(|value| value as i32)
    }

    #[inline(always)]
    fn to_floats(self, value: [i32; 4]) -> Four {
        value.map(|value| value as f32)
    }

    #[inline(always)]
    fn dot(self, sum: [i32; 4], a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        let low = |word: i32| i32::from(word as i16);
        let high = |word: i32| word >> 16;
        std::array::from_fn(|lane| {
            let (a, b) = (a[lane], b[lane]);
            sum[lane].wrapping_add(low(a) * low(b)).wrapping_add(high(a) * high(b))
        })
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: [i32; 4]) {
        // SAFETY: the caller vouches for four integers of two bytes.
        unsafe { to.cast::<[i16; 4]>().write_unaligned(value.map(|code| code as i16)) }
    }
}

/// The vector unit that a model uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(super::x86::Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(super::x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(super::x86::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx2(super::x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    NeonDot(super::neon::NeonDot),
    #[cfg(target_arch = "aarch64")]
    Neon(super::neon::Neon),
    Portable(Portable),
}

/// Evaluates an expression with `$simd` bound to the vector unit, whichever it is.
macro_rules! with_unit {
    ($isa:expr, $simd:ident => $result:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni($simd) => $result,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512($simd) => $result,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni($simd) => $result,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2($simd) => $result,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot($simd) => $result,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon($simd) => $result,
            Isa::Portable($simd) => $result,
        }
    };
}

impl Isa {
    /// Everything that this processor can run, the fastest first. The last one runs everywhere.
    pub(super) fn all() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use super::x86::{Avx2, Avx512, Avx512Vnni, AvxVnni};
            all.extend(Avx512Vnni::detect().map(Isa::Avx512Vnni));
            all.extend(Avx512::detect().map(Isa::Avx512));
            all.extend(AvxVnni::detect().map(Isa::AvxVnni));
            all.extend(Avx2::detect().map(Isa::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        {
            use super::neon::{Neon, NeonDot};
            all.extend(NeonDot::detect().map(Isa::NeonDot));
            all.extend(Neon::detect().map(Isa::Neon));
        }
        all.push(Isa::Portable(Portable));
        all
    }

    /// Runs a kernel compiled for this unit.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        with_unit!(self, simd => simd.run(kernel))
    }

    /// What its makers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(_) => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(_) => "NEON with dot products",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "NEON",
            Isa::Portable(_) => "portable",
        }
    }

    /// Columns of a tile.
    pub(super) fn tile_width(self) -> usize {
        fn width<S: Simd>(_: S) -> usize {
            super::gemm::TILE_VECTORS * S::LANES
        }
        with_unit!(self, simd => width(simd))
    }

    /// How integer products take their operands.
    pub(super) fn codes(self) -> Codes {
        fn codes<S: Simd>(_: S) -> Codes {
            S::CODES
        }
        with_unit!(self, simd => codes(simd))
    }
}
