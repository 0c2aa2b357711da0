//! The vector units of x86-64.
//!
//! # Safety
//!
//! The uses of `unsafe` here are of three kinds, and have no notes of their own:
//!
//! - Intrinsics that compute on values, and the call of what `run` compiles for a unit, need a processor that has the instructions. A
//!   value of a unit's type is the proof: only `detect` makes one, after asking the processor for every feature that this unit's
//!   `run` enables. A unit that extends another is made from a value of that other one.
//! - Intrinsics that load and store need memory as well. They stand in functions that are unsafe themselves; [`Simd`] says what
//!   their callers promise, and they touch no more than that.
//! - `lanes` stores one vector into an array that is one vector long.

use std::arch::x86_64::*;

use super::simd::{Codes, Kernel, Simd, inherit};

/// AVX2 with fused multiply-add: nearly every x86-64 processor since 2013.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx2(());

/// AVX2 with the dot products of bytes that came back without AVX-512.
#[derive(Debug, Clone, Copy)]
pub(super) struct AvxVnni(Avx2);

/// AVX-512.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512(());

/// AVX-512 with dot products of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Avx512Vnni(Avx512);

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

impl AvxVnni {
    pub(super) fn detect() -> Option<Self> {
        Avx2::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }
}

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        found.then_some(Self(()))
    }
}

impl Avx512Vnni {
    pub(super) fn detect() -> Option<Self> {
        Avx512::detect().filter(|_| is_x86_feature_detected!("avx512vnni")).map(Self)
    }
}

impl Simd for Avx2 {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const CODES: Codes = Codes::Signed16;
    type Floats = __m256;
    type Words = __m256i;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma")]
        unsafe fn run<K: Kernel>(simd: Avx2, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m256) {
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn fused(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn lanes(self, value: __m256) -> impl AsRef<[f32]> {
        let mut lanes = [0.0; Self::LANES];
        unsafe { _mm256_storeu_ps(lanes.as_mut_ptr(), value) };
        lanes
    }

    #[inline(always)]
    fn splat_word(self, value: i32) -> __m256i {
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> __m256i {
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
    }

    #[inline(always)]
    fn round(self, value: __m256) -> __m256i {
        unsafe { _mm256_cvtps_epi32(value) }
    }

    #[inline(always)]
    fn to_floats(self, value: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(value) }
    }

    #[inline(always)]
    fn whole(self, value: __m256) -> __m256 {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
    }

    #[inline(always)]
    fn scale(self, value: __m256, power: __m256) -> __m256 {
        unsafe {
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(power), _mm256_set1_epi32(127));
            _mm256_mul_ps(value, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }

    #[inline(always)]
    unsafe fn transpose(self, (from, from_stride): (*const f32, usize), (to, to_stride): (*mut f32, usize)) {
        unsafe {
            let mut rows = [_mm256_setzero_ps(); 8];
            for (row, numbers) in rows.iter_mut().enumerate() {
                *numbers = _mm256_loadu_ps(from.add(row * from_stride));
            }
            // Pairs of rows, number by number.
            let mut pairs = rows;
            for place in 0..4 {
                let (a, b) = (rows[2 * place], rows[2 * place + 1]);
                pairs[2 * place] = _mm256_unpacklo_ps(a, b);
                pairs[2 * place + 1] = _mm256_unpackhi_ps(a, b);
            }
            // Fours of rows: half `h` of `fours[4 * f + c]` is column `4 * h + c` of rows `4 * f` to `4 * f + 3`.
            let mut fours = pairs;
            for four in 0..2 {
                for half in 0..2 {
                    let (a, b) = (pairs[4 * four + half], pairs[4 * four + half + 2]);
                    fours[4 * four + 2 * half] = _mm256_shuffle_ps::<0x44>(a, b);
                    fours[4 * four + 2 * half + 1] = _mm256_shuffle_ps::<0xee>(a, b);
                }
            }
            for column in 0..4 {
                let (a, b) = (fours[column], fours[4 + column]);
                _mm256_storeu_ps(to.add(column * to_stride), _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(to.add((4 + column) * to_stride), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }

    #[inline(always)]
    fn dot(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: __m256i) {
        unsafe {
            let halves = _mm_packs_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            _mm_storeu_si128(to.cast(), halves);
        }
    }
}

impl Simd for AvxVnni {
    const LANES: usize = 8;
    const TILE_ROWS: usize = 6;
    const CODES: Codes = Codes::Unsigned8;
    inherit!(Avx2);

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        #[target_feature(enable = "avx2,fma,avxvnni")]
        unsafe fn run<K: Kernel>(simd: AvxVnni, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> __m256i {
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe { _mm256_dpbusd_avx_epi32(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: __m256i) {
        unsafe {
            let halves =
                _mm_packus_epi32(_mm256_castsi256_si128(value), _mm256_extracti128_si256::<1>(value));
            _mm_storel_epi64(to.cast(), _mm_packus_epi16(halves, halves));
        }
    }
}

impl Simd for Avx512 {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;
    const CODES: Codes = Codes::Signed16;
    type Floats = __m512;
    type Words = __m512i;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw")]
        unsafe fn run<K: Kernel>(simd: Avx512, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn fused(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn lanes(self, value: __m512) -> impl AsRef<[f32]> {
        let mut lanes = [0.0; Self::LANES];
        unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), value) };
        lanes
    }

    #[inline(always)]
    fn splat_word(self, value: i32) -> __m512i {
        unsafe { _mm512_set1_epi32(value) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> __m512i {
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    fn round(self, value: __m512) -> __m512i {
        unsafe { _mm512_cvtps_epi32(value) }
    }

    #[inline(always)]
    fn to_floats(self, value: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(value) }
    }

    #[inline(always)]
    fn whole(self, value: __m512) -> __m512 {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(value) }
    }

    #[inline(always)]
    fn scale(self, value: __m512, power: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(value, power) }
    }

    #[inline(always)]
    unsafe fn transpose(self, (from, from_stride): (*const f32, usize), (to, to_stride): (*mut f32, usize)) {
        unsafe {
            // Loops and no closures: those would be compiled without the vector unit wherever they are not inlined.
            let mut rows = [_mm512_setzero_ps(); 16];
            for (row, numbers) in rows.iter_mut().enumerate() {
                *numbers = _mm512_loadu_ps(from.add(row * from_stride));
            }
            // Pairs of rows, number by number.
            let mut pairs = rows;
            for place in 0..8 {
                let (a, b) = (rows[2 * place], rows[2 * place + 1]);
                pairs[2 * place] = _mm512_unpacklo_ps(a, b);
                pairs[2 * place + 1] = _mm512_unpackhi_ps(a, b);
            }
            // Fours of rows: quarter `q` of `fours[4 * f + c]` is column `4 * q + c` of rows `4 * f` to `4 * f + 3`.
            let mut fours = pairs;
            for four in 0..4 {
                for half in 0..2 {
                    let a = _mm512_castps_pd(pairs[4 * four + half]);
                    let b = _mm512_castps_pd(pairs[4 * four + half + 2]);
                    fours[4 * four + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
                    fours[4 * four + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
                }
            }
            for column in 0..4 {
                let [a, b] = [fours[column], fours[4 + column]];
                let [c, d] = [fours[8 + column], fours[12 + column]];
                let (even, odd) = (_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
                let (even_too, odd_too) =
                    (_mm512_shuffle_f32x4::<0x88>(c, d), _mm512_shuffle_f32x4::<0xdd>(c, d));
                let columns = [
                    _mm512_shuffle_f32x4::<0x88>(even, even_too),
                    _mm512_shuffle_f32x4::<0x88>(odd, odd_too),
                    _mm512_shuffle_f32x4::<0xdd>(even, even_too),
                    _mm512_shuffle_f32x4::<0xdd>(odd, odd_too),
                ];
                for (quarter, numbers) in columns.into_iter().enumerate() {
                    _mm512_storeu_ps(to.add((4 * quarter + column) * to_stride), numbers);
                }
            }
        }
    }

    #[inline(always)]
    fn dot(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)) }
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: __m512i) {
        unsafe { _mm256_storeu_si256(to.cast(), _mm512_cvtsepi32_epi16(value)) }
    }
}

impl Simd for Avx512Vnni {
    const LANES: usize = 16;
    const TILE_ROWS: usize = 12;
    const CODES: Codes = Codes::Unsigned8;
    inherit!(Avx512);

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        unsafe fn run<K: Kernel>(simd: Avx512Vnni, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> __m512i {
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    fn dot(self, sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { _mm512_dpbusd_epi32(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: __m512i) {
        unsafe { _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(value)) }
    }
}
