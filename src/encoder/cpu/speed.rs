//! What this processor could do at best, and what the kernels make of it: the yardsticks of the benchmarks.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rayon::ThreadPoolBuilder;

use super::attention::{Asking, Heads, attend};
use super::gemm::{Linear, Then};
use super::isa::Isa;
use super::memory::Sheet;
use super::quantise::CodedSheet;
use super::simd::{Kernel, Simd, TILE_VECTORS};
use crate::checkpoint::weights::Rows;
use crate::encoder::Precision;
use crate::random::Random;

/// Tries of which the best one counts: what the processor can do is asked, not what else it had to do.
const TRIES: usize = 7;

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
        let mut total = shift;
        for sum in sums {
            total = simd.add(total, sum);
        }
        black_box(simd.sum(total));
    }
}

/// Billions of f32 operations a second that `threads` threads do in registers, without touching memory.
pub fn peak(threads: usize) -> f64 {
    let isa = Isa::in_use();
    let lanes = isa.tile_width() / TILE_VECTORS;
    rate(2 * lanes * SUMS * ROUNDS * threads, || {
        std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(|| isa.run(Peak)))));
    })
}

/// Billions of operations a second of a product of `rows` by `inputs` by `outputs`, with GELU behind it if `gelu`. Of the precisions,
/// f32 and int8 have products.
pub fn product(
    rows: usize,
    inputs: usize,
    outputs: usize,
    precision: Precision,
    gelu: bool,
    threads: usize,
) -> f64 {
    let isa = Isa::in_use();
    let weights = Rows::from_numbers(Random::new(1).noise(inputs * outputs), inputs);
    let integer = precision == Precision::Int8;
    let linear = Linear::pack(isa, &[weights], &vec![0.0; outputs], inputs, integer);
    let input = filled(rows, inputs);
    let (mut codes, mut output) = (CodedSheet::default(), Sheet::default());
    let then = if gelu { Then::Gelu } else { Then::Nothing };
    in_threads(threads, || {
        rate(2 * rows * inputs * outputs, || {
            linear.forward(isa, input.whole(), &mut codes, &mut output, then);
        })
    })
}

/// Billions of operations a second, softmax not counted, of attention over one window of `tokens` tokens.
pub fn attention(tokens: usize, heads: usize, width: usize, threads: usize) -> f64 {
    let qkv = filled(tokens, 3 * heads * width);
    let mut output = Sheet::default();
    let window = 0..tokens;
    let (asking, rows) = Asking::lay_out(0, [(&window, &window)].into_iter());
    in_threads(threads, || {
        rate(4 * tokens * tokens * heads * width, || {
            let heads = Heads { count: heads, width };
            attend(Isa::in_use(), heads, &qkv, &asking, (&mut output, rows));
        })
    })
}

/// Billions of operations a second of work that does `operations` of them.
fn rate(operations: usize, mut work: impl FnMut()) -> f64 {
    work();
    let time = (0..TRIES).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed()
    });
    operations as f64 / time.min().unwrap_or(Duration::MAX).as_secs_f64() / 1e9
}

/// Runs work where only `threads` threads help. Without a pool there is nothing to measure.
fn in_threads(threads: usize, work: impl FnOnce() -> f64 + Send) -> f64 {
    ThreadPoolBuilder::new().num_threads(threads).build().map_or(f64::NAN, |pool| pool.install(work))
}

fn filled(rows: usize, width: usize) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.shape(rows, width);
    let numbers = Random::new(2).noise(sheet.all().len());
    sheet.all_mut().copy_from_slice(&numbers);
    sheet
}
