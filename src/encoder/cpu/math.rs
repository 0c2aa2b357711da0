//! Elementary functions on vectors, about as exact as f32 is. Not-a-number stays what it is.
//!
//! The coefficients are minimax fits that `tests/fixtures/fit_functions.py` makes and checks.

use super::simd::Simd;

/// `2^x` for `x` up to 127; below -126 it is 1e-38, never a denormal. Relative error below 3e-7.
#[inline(always)]
pub(super) fn exp2<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    #[expect(clippy::approx_constant, reason = "a fit, which comes near the series of 2^x and is better")]
    const SERIES: [f32; 6] = [1.326_472_6e-3, 9.671_513e-3, 5.550_733_7e-2, 0.240_222_42, 0.693_147, 1.0];
    // The constant stands first so that a not-a-number comes through.
    let x = simd.max(simd.splat(-126.0), x);
    let whole = simd.whole(x);
    let rest = simd.sub(x, whole);
    let mut sum = simd.splat(SERIES[0]);
    for coefficient in &SERIES[1..] {
        sum = simd.fused(sum, rest, simd.splat(*coefficient));
    }
    simd.scale(sum, whole)
}

/// `x` times the share of the normal distribution below `x`: the GELU of the encoders' papers, by the error function and not
/// by its tanh approximation. Absolute error below 5e-7 times the greater of 1 and `|x|`.
#[inline(always)]
pub(super) fn gelu<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    simd.mul(x, share_below(simd, x))
}

/// The gradient of [`gelu`] at `x`. Absolute error below 1e-6.
#[inline(always)]
pub(super) fn gelu_gradient<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    const DENSITY_AT_ZERO: f32 = 0.398_942_3;
    let half = simd.splat(-0.5 * std::f32::consts::LOG2_E);
    let density = simd.mul(simd.splat(DENSITY_AT_ZERO), exp2(simd, simd.mul(simd.mul(x, x), half)));
    simd.fused(x, density, share_below(simd, x))
}

/// The share of the normal distribution below `x`.
#[inline(always)]
fn share_below<S: Simd>(simd: S, x: S::Floats) -> S::Floats {
    /// Where the distribution is 0 or 1 in f32. The fit is stretched by a few units in the last place so that it surely gets there
    /// and can be cut off: a share that were not quite zero would count at huge negative numbers.
    const EDGE: f32 = 5.6;
    const STRETCH: f32 = 1.000_000_5;
    const OVER: [f32; 6] =
        [2.214_532e-8, 6.356_536e-6, 1.738_509_2e-4, 4.707_260_5e-3, 3.437_612_2e-2, 0.398_942_23];
    const UNDER: [f32; 6] = [1.180_212_5e-6, 7.510_2e-5, 1.912_979_2e-3, 2.894_009_7e-2, 0.252_833_87, 1.0];
    let bounded = simd.min(simd.splat(EDGE), simd.max(simd.splat(-EDGE), x));
    let square = simd.mul(bounded, bounded);
    let mut over = simd.splat(OVER[0]);
    let mut under = simd.splat(UNDER[0]);
    for (top, bottom) in OVER[1..].iter().zip(&UNDER[1..]) {
        over = simd.fused(over, square, simd.splat(*top));
        under = simd.fused(under, square, simd.splat(*bottom));
    }
    let beyond_half = simd.div(simd.mul(simd.mul(bounded, simd.splat(STRETCH)), over), under);
    let beyond_half = simd.min(simd.splat(0.5), simd.max(simd.splat(-0.5), beyond_half));
    simd.add(beyond_half, simd.splat(0.5))
}
