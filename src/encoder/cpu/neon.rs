//! The vector unit of 64-bit ARM.
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

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::simd::{Codes, Kernel, Simd, inherit};

/// What every 64-bit ARM processor has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Neon(());

/// With dot products of bytes: most processors since 2018.
#[derive(Debug, Clone, Copy)]
pub(super) struct NeonDot(Neon);

impl Neon {
    pub(super) fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("neon").then_some(Self(()))
    }
}

impl NeonDot {
    pub(super) fn detect() -> Option<Self> {
        Neon::detect().filter(|_| is_aarch64_feature_detected!("dotprod")).map(Self)
    }
}

impl Simd for Neon {
    const LANES: usize = 4;
    const TILE_ROWS: usize = 12;
    const CODES: Codes = Codes::Signed16;
    type Floats = float32x4_t;
    type Words = int32x4_t;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        #[target_feature(enable = "neon")]
        unsafe fn run<K: Kernel>(simd: Neon, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(value) }
    }

    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: float32x4_t) {
        unsafe { vst1q_f32(to, value) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn fused(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }

    /// ARM's own maximum treats not-a-numbers another way.
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }

    #[inline(always)]
    fn lanes(self, value: float32x4_t) -> impl AsRef<[f32]> {
        let mut lanes = [0.0; Self::LANES];
        unsafe { vst1q_f32(lanes.as_mut_ptr(), value) };
        lanes
    }

    #[inline(always)]
    fn splat_word(self, value: i32) -> int32x4_t {
        unsafe { vdupq_n_s32(value) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> int32x4_t {
        unsafe { vreinterpretq_s32_s16(vmovl_s8(vld1_s8(from))) }
    }

    #[inline(always)]
    fn round(self, value: float32x4_t) -> int32x4_t {
        unsafe { vcvtnq_s32_f32(value) }
    }

    #[inline(always)]
    fn to_floats(self, value: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(value) }
    }

    #[inline(always)]
    fn whole(self, value: float32x4_t) -> float32x4_t {
        unsafe { vrndnq_f32(value) }
    }

    #[inline(always)]
    fn scale(self, value: float32x4_t, power: float32x4_t) -> float32x4_t {
        unsafe {
            let biased = vaddq_s32(vcvtnq_s32_f32(power), vdupq_n_s32(127));
            vmulq_f32(value, vreinterpretq_f32_s32(vshlq_n_s32::<23>(biased)))
        }
    }

    #[inline(always)]
    fn dot(self, sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe {
            let (a, b) = (vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
            let low = vmull_s16(vget_low_s16(a), vget_low_s16(b));
            vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(a, b)))
        }
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: int32x4_t) {
        unsafe { vst1_s16(to.cast(), vqmovn_s32(value)) }
    }
}

impl Simd for NeonDot {
    const LANES: usize = 4;
    const TILE_ROWS: usize = 12;
    const CODES: Codes = Codes::Signed8;
    inherit!(Neon);

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[inline(never)]
        #[target_feature(enable = "neon,dotprod")]
        unsafe fn run<K: Kernel>(simd: NeonDot, kernel: K) -> K::Output {
            kernel.run(simd)
        }
        unsafe { run(self, kernel) }
    }

    #[inline(always)]
    unsafe fn load_weights(self, from: *const i8) -> int32x4_t {
        unsafe { vreinterpretq_s32_s8(vld1q_s8(from)) }
    }

    /// In assembly because the intrinsic is not stable yet.
    #[inline(always)]
    fn dot(self, mut sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
                sum = inout(vreg) sum,
                a = in(vreg) a,
                b = in(vreg) b,
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        sum
    }

    #[inline(always)]
    unsafe fn store_codes(self, to: *mut u8, value: int32x4_t) {
        unsafe {
            let bytes = vqmovn_s16(vcombine_s16(vqmovn_s32(value), vdup_n_s16(0)));
            to.cast::<i32>().write_unaligned(vget_lane_s32::<0>(vreinterpret_s32_s8(bytes)));
        }
    }
}
