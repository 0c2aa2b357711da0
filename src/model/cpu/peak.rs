//! What this processor could do at best: the yardstick of the benchmarks.

use std::hint::black_box;
use std::time::{Duration, Instant};

use super::simd::{Isa, Kernel, Simd};

/// Enough independent sums to keep every unit busy, few enough to stay in registers beside their operands.
const SUMS: usize = 12;

/// Times over the same sums between two looks at the clock.
const ROUNDS: usize = 4_000_000;

struct Peak;

impl Kernel for Peak {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (factor, shift) = (simd.splat(black_box(0.5)), simd.splat(black_box(1.0)));
        let mut sums = [shift; SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = simd.fused(*sum, factor, shift);
            }
        }
        black_box(simd.sum(sums.into_iter().reduce(|a, b| simd.add(a, b)).unwrap_or(shift)));
    }
}

/// Billions of f32 operations per second that `threads` threads do in registers, the best of several tries.
pub(super) fn f32_gflops(threads: usize) -> f64 {
    let isa = Isa::all()[0];
    let best = (0..5).map(|_| {
        let start = Instant::now();
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| isa.run(Peak)))));
        start.elapsed()
    });
    let best = best.min().unwrap_or(Duration::MAX).as_secs_f64();
    let lanes = isa.tile_width() / super::gemm::TILE_VECTORS;
    (2 * lanes * SUMS * ROUNDS * threads) as f64 / best / 1e9
}
