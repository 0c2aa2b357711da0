//! Plain Rust in the place of a vector unit.

use super::simd::{Codes, Kernel, Simd};

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
    unsafe fn load_weights(self, from: *const i8) -> [i32; 4] {
        // SAFETY: the caller vouches for four words of two codes.
        let codes = unsafe { from.cast::<[[i8; 2]; 4]>().read() };
        codes.map(|[low, high]| i32::from(low) & 0xffff | i32::from(high) << 16)
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
