//! Every kernel on every vector unit of this machine, against plain arithmetic in f64.

use std::path::Path;

use half::bf16;
use proptest::prelude::*;

use super::attention::{Asking, Heads, attend};
use super::gemm::{Linear, Then};
use super::isa::Isa;
use super::math::{exp2, gelu, gelu_gradient};
use super::memory::Sheet;
use super::quantise::CodedSheet;
use super::rows::{Norm, projector_for};
use super::simd::{Kernel, Simd};
use super::{Engine, Precision};
use crate::checkpoint::ModelFiles;
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::{Rows, Weights};
use crate::encoder::Projection;
use crate::encoder::batch::Batch;
use crate::random::Random;

fn noise(count: usize, seed: u32) -> Vec<f32> {
    Random::new(seed.into()).noise(count)
}

fn sheet(numbers: &[f32], rows: usize, width: usize) -> Sheet {
    let mut sheet = Sheet::default();
    sheet.shape(rows, width);
    // What stands in the padding must not matter.
    sheet.all_mut().fill(1e30);
    let stride = sheet.stride();
    for (row, numbers) in numbers.chunks_exact(width).enumerate() {
        sheet.all_mut()[row * stride..][..width].copy_from_slice(numbers);
    }
    sheet
}

fn numbers(sheet: &Sheet, width: usize) -> Vec<f32> {
    (0..sheet.rows()).flat_map(|row| sheet.row(row)[..width].to_vec()).collect()
}

fn product(isa: Isa, input: &[f32], weights: &[f32], bias: &[f32], integer: bool, then: Then) -> Vec<f32> {
    let (outputs, inputs) = (bias.len(), weights.len() / bias.len());
    let rows = Rows::from_numbers(weights.to_vec(), inputs);
    let linear = Linear::pack(isa, &[rows], bias, inputs, integer);
    let mut output = Sheet::default();
    let input = sheet(input, input.len() / inputs, inputs);
    linear.forward(isa, input.whole(), &mut CodedSheet::default(), &mut output, then);
    numbers(&output, outputs)
}

/// The product and, for each of its numbers, the sum of the absolute values that it was made of.
fn exact_product(input: &[f32], weights: &[f32], bias: &[f32]) -> Vec<(f64, f64)> {
    let inputs = weights.len() / bias.len();
    let mut all = Vec::new();
    for row in input.chunks_exact(inputs) {
        for (weights, bias) in weights.chunks_exact(inputs).zip(bias) {
            let terms = || row.iter().zip(weights).map(|(x, w)| f64::from(*x) * f64::from(*w));
            let size = terms().map(f64::abs).sum::<f64>() + f64::from(bias.abs());
            all.push((terms().sum::<f64>() + f64::from(*bias), size));
        }
    }
    all
}

/// Shapes around the edges of tiles, panels and blocks: rows, inputs, outputs. The last four take an interpreter too long.
const SHAPES: &[(usize, usize, usize)] = {
    const ALL: &[(usize, usize, usize)] = &[
        (1, 1, 1),
        (2, 7, 5),
        (11, 16, 32),
        (12, 33, 33),
        (13, 64, 31),
        (25, 48, 65),
        (200, 20, 8),
        (30, 769, 17),
        (5, 1600, 40),
    ];
    if cfg!(miri) { ALL.split_at(5).0 } else { ALL }
};

#[test]
fn products_are_exact_to_rounding() {
    for isa in Isa::all() {
        for &(rows, inputs, outputs) in SHAPES {
            let (input, weights) = (noise(rows * inputs, 1), noise(outputs * inputs, 2));
            let bias = noise(outputs, 3);
            let found = product(isa, &input, &weights, &bias, false, Then::Nothing);
            let expected = exact_product(&input, &weights, &bias);
            for (index, (found, (expected, size))) in found.iter().zip(&expected).enumerate() {
                let gap = (f64::from(*found) - expected).abs();
                assert!(gap <= 1e-6 * size.max(1e-3), "{} {rows}x{inputs}x{outputs} [{index}]", isa.name());
            }
        }
    }
}

#[test]
fn integer_products_are_as_near_as_their_scales_allow() {
    for isa in Isa::all() {
        for &(rows, inputs, outputs) in SHAPES {
            let (input, weights) = (noise(rows * inputs, 4), noise(outputs * inputs, 5));
            let bias = noise(outputs, 6);
            let found = product(isa, &input, &weights, &bias, true, Then::Nothing);
            let expected = exact_product(&input, &weights, &bias);
            // Half a scale of a weight (1/127) and of an activation (2/255), on every product.
            let allowed = inputs as f64 * (0.5 / 127.0 + 1.0 / 255.0 + 2e-5) + 1e-5;
            let mut squares = 0.0;
            for (found, (expected, _)) in found.iter().zip(&expected) {
                let gap = (f64::from(*found) - expected).abs();
                assert!(gap <= allowed, "{} {rows}x{inputs}x{outputs}: {found}, {expected}", isa.name());
                squares += gap * gap;
            }
            // Errors of unrelated signs nearly cancel; a mistake in an offset or a factor would not.
            let mean = (squares / found.len() as f64).sqrt();
            assert!(
                mean <= 0.004 * (inputs as f64).sqrt(),
                "{} {rows}x{inputs}x{outputs}: {mean}",
                isa.name()
            );
        }
    }
}

/// Integers that are their own codes come out exactly, on every unit alike: the sums are exact.
#[test]
fn integer_products_of_codes_are_exact() {
    for isa in Isa::all() {
        let (_, steps) = isa.codes().range();
        let inputs = 300;
        let mut input: Vec<f32> = (0..inputs).map(|k| (k * 37 % (steps as usize + 1)) as f32).collect();
        (input[0], input[1]) = (0.0, steps as f32);
        let mut weights: Vec<f32> = (0..inputs).map(|k| (k * 91 % 255) as f32 - 127.0).collect();
        weights[7] = 127.0;
        let found = product(isa, &input, &weights, &[5.0], true, Then::Nothing);
        let expected = exact_product(&input, &weights, &[5.0])[0].0;
        let gap = (f64::from(found[0]) - expected).abs();
        assert!(gap <= 1e-6 * expected.abs(), "{}: {found:?}, {expected}", isa.name());
    }
}

/// The largest sums that codes can make, at the largest depth that integers are used for.
#[test]
#[cfg_attr(miri, ignore = "takes an interpreter too long")]
fn integer_sums_do_not_overflow() {
    for isa in Isa::all() {
        let inputs = isa.codes().most_inputs();
        let mut input = vec![1.0; inputs];
        input[0] = -1.0;
        for weight in [1.0, -1.0] {
            let found = product(isa, &input, &vec![weight; inputs], &[0.0], true, Then::Nothing);
            let expected = weight * (inputs - 2) as f32;
            assert!((found[0] - expected).abs() < 2.0, "{}: {found:?}, {expected}", isa.name());
        }
        // One more, and it is computed in f32 instead.
        input.push(0.1234);
        let found = product(isa, &input, &vec![1.0; inputs + 1], &[0.0], true, Then::Nothing);
        assert!((found[0] - (inputs - 2) as f32 - 0.1234).abs() < 0.02, "{}: {found:?}", isa.name());
    }
}

/// A row's bits do not depend on how many rows there are, nor on the threads.
#[test]
fn rows_do_not_know_each_other() {
    for isa in Isa::all() {
        for integer in [false, true] {
            let (inputs, outputs, most) = if cfg!(miri) { (9, 33, 26) } else { (100, 70, 210) };
            let (weights, bias) = (noise(inputs * outputs, 7), noise(outputs, 8));
            let input = noise(most * inputs, 9);
            let run = |rows| product(isa, &input[..rows * inputs], &weights, &bias, integer, Then::Gelu);
            let all = run(most);
            for threads in if cfg!(miri) { [1, 2] } else { [1, 3] } {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                for rows in [1, 2, 5, 12, 13, 31, 209].into_iter().filter(|rows| *rows < most) {
                    let some = pool.install(|| run(rows));
                    assert!(some == all[..rows * outputs], "{} {rows} rows", isa.name());
                }
            }
        }
    }
}

/// What is not a number stays in its own row and does show there.
#[test]
fn not_a_number_is_never_lost() {
    for isa in Isa::all() {
        for integer in [false, true] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let (inputs, outputs) = (40, 9);
                let mut input = noise(3 * inputs, 10);
                input[inputs + 17] = bad;
                let (weights, bias) = (noise(inputs * outputs, 11), noise(outputs, 12));
                let found = product(isa, &input, &weights, &bias, integer, Then::Gelu);
                for (row, numbers) in found.chunks_exact(outputs).enumerate() {
                    // GELU turns minus infinity into not-a-number, and plus infinity stays.
                    let finite = numbers.iter().filter(|number| number.is_finite()).count();
                    let expected = if row == 1 { 0 } else { outputs };
                    assert_eq!(finite, expected, "{} {bad} row {row} {integer}", isa.name());
                }
                let mut weights = weights.clone();
                weights[0] = bad;
                let found = product(isa, &noise(inputs, 13), &weights, &bias, integer, Then::Nothing);
                assert!(!found[0].is_finite() && found[1].is_finite(), "{} weight {bad}", isa.name());
            }
        }
    }
}

/// Denormals, huge numbers and zeros: as plain f32 arithmetic has them.
#[test]
fn extreme_products_are_exact_to_rounding() {
    let cases: [(&[f32], &[f32]); 5] = [
        (&[1e-40, 1e-40, 0.0], &[1e-3, 1.0, 1.0]),
        (&[1e30, -1e30, 1.0], &[1.0, 1.0, 1.0]),
        (&[1e19, 1e19, 0.0], &[1e18, 1e18, 1.0]),
        (&[0.0, 0.0, 0.0], &[1e30, -1e30, 1.0]),
        (&[-0.0, 3.0, f32::MIN_POSITIVE], &[1.0, 0.0, 2.0]),
    ];
    for isa in Isa::all() {
        for (input, weights) in cases {
            let found = f64::from(product(isa, input, weights, &[0.0], false, Then::Nothing)[0]);
            let (expected, size) = exact_product(input, weights, &[0.0])[0];
            assert!((found - expected).abs() <= 1e-6 * size + 1e-44, "{} {input:?}: {found}", isa.name());
            let coded = f64::from(product(isa, input, weights, &[0.0], true, Then::Nothing)[0]);
            let largest =
                |numbers: &[f32]| f64::from(numbers.iter().fold(0.0f32, |most, x| most.max(x.abs())));
            let allowed = 0.03 * largest(input) * largest(weights) + 1e-38;
            assert!((coded - expected).abs() <= allowed, "{} {input:?}: {coded}", isa.name());
        }
    }
}

struct Map<'a, F>(&'a mut [f32], F);

trait Function {
    fn apply<S: Simd>(&self, simd: S, x: S::Floats) -> S::Floats;
}

struct Exp2;
struct Gelu;
struct GeluGradient;

impl Function for Exp2 {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, x: S::Floats) -> S::Floats {
        exp2(simd, x)
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, x: S::Floats) -> S::Floats {
        gelu(simd, x)
    }
}

impl Function for GeluGradient {
    #[inline(always)]
    fn apply<S: Simd>(&self, simd: S, x: S::Floats) -> S::Floats {
        gelu_gradient(simd, x)
    }
}

impl<F: Function> Kernel for Map<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for chunk in self.0.chunks_exact_mut(S::LANES) {
            // SAFETY: the chunk is one vector long.
            unsafe {
                let value = self.1.apply(simd, simd.load(chunk.as_ptr()));
                simd.store(chunk.as_mut_ptr(), value);
            }
        }
    }
}

/// The normal distribution's share below `x`, by its series and its continued fraction.
fn share_below(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for k in 1..60 {
            term *= x * x / f64::from(2 * k + 1);
            sum += term;
        }
        0.5 + density * sum
    } else {
        let fraction = (1..60).rev().fold(x.abs(), |below, k| x.abs() + f64::from(k) / below);
        let tail = density / fraction;
        if x < 0.0 { tail } else { 1.0 - tail }
    }
}

#[test]
fn functions_are_exact_to_rounding() {
    let steps = if cfg!(miri) { 320 } else { 160_000 };
    let places: Vec<f32> = (0..steps).map(|step| (step as f32 / steps as f32 - 0.5) * 24.0).collect();
    for isa in Isa::all() {
        let mut found = places.clone();
        isa.run(Map(&mut found, Gelu));
        for (x, found) in places.iter().zip(&found) {
            let expected = f64::from(*x) * share_below(f64::from(*x));
            let gap = (f64::from(*found) - expected).abs();
            assert!(
                gap <= 5e-7 * f64::from(x.abs().max(1.0)),
                "{} gelu({x}) = {found}, {expected}",
                isa.name()
            );
        }
        let mut found = places.clone();
        isa.run(Map(&mut found, GeluGradient));
        for (x, found) in places.iter().map(|x| f64::from(*x)).zip(&found) {
            let density = (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt();
            let gap = (f64::from(*found) - share_below(x) - x * density).abs();
            assert!(gap <= 1e-6, "{} gradient of gelu at {x}: {found}", isa.name());
        }
        let mut found: Vec<f32> = places.iter().map(|x| x * 10.0).collect();
        isa.run(Map(&mut found, Exp2));
        for (x, found) in places.iter().map(|x| f64::from(x * 10.0)).zip(&found) {
            let expected = x.max(-126.0).exp2();
            let gap = (f64::from(*found) / expected - 1.0).abs();
            assert!(gap <= 4e-7, "{} exp2({x}) = {found}, {expected}", isa.name());
        }
        let mut edges = vec![f32::NAN; 16];
        (edges[1], edges[2], edges[3]) = (f32::NEG_INFINITY, -1e30, 0.0);
        let mut powers = edges.clone();
        isa.run(Map(&mut powers, Exp2));
        assert!(powers[0].is_nan() && powers[1] < 1e-37 && powers[2] < 1e-37 && powers[3] == 1.0);
        isa.run(Map(&mut edges, Gelu));
        assert!(edges[0].is_nan() && edges[2] == 0.0 && edges[3] == 0.0, "{}: {edges:?}", isa.name());
    }
}

#[test]
fn normalisation_and_projection_are_exact_to_rounding() {
    for isa in Isa::all() {
        for width in [1, 3, 16, 20, 64, 385] {
            let rows = 18;
            let (state, delta) = (noise(rows * width, 14), noise(rows * width, 15));
            let norm = Norm { weight: noise(width, 16), bias: noise(width, 17), epsilon: 1e-6 };
            let mut both = sheet(&state, rows, width);
            let stride = both.stride();
            norm.add_and_normalise(isa, both.all_mut(), stride, sheet(&delta, rows, width).whole());
            let sums: Vec<f32> = state.iter().zip(&delta).map(|(a, b)| a + b).collect();
            let mut one = sheet(&sums, rows, width);
            norm.normalise(isa, one.all_mut(), stride);
            assert!(numbers(&one, width) == numbers(&both, width));
            for (found, sums) in numbers(&both, width).chunks_exact(width).zip(sums.chunks_exact(width)) {
                let mean = sums.iter().map(|x| f64::from(*x)).sum::<f64>() / width as f64;
                let variance =
                    sums.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / width as f64;
                for (place, x) in sums.iter().enumerate() {
                    let normalised = (f64::from(*x) - mean) / (variance + 1e-6).sqrt();
                    let expected = normalised * f64::from(norm.weight[place]) + f64::from(norm.bias[place]);
                    let gap = (f64::from(found[place]) - expected).abs();
                    assert!(gap < 2e-5, "{} width {width}: {} {expected}", isa.name(), found[place]);
                }
            }
            let (weight, bias) = (noise(3 * width, 18), [0.5, -0.5, 0.25]);
            let mut found = [0.0; 3];
            projector_for(isa)(&Projection::new(&weight, &bias), one.row(3), &mut found);
            for (found, (weight, bias)) in found.into_iter().zip(weight.chunks_exact(width).zip(bias)) {
                let terms = one.row(3)[..width].iter().zip(weight);
                let expected: f64 = terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                assert!((f64::from(found - bias) - expected).abs() < 1e-4);
            }
        }
    }
}

fn attended(isa: Isa, heads: Heads, qkv: &[f32], asking: &[Asking], rows: usize) -> Vec<f32> {
    let hidden = heads.count * heads.width;
    let input = sheet(qkv, qkv.len() / (3 * hidden), 3 * hidden);
    let mut output = Sheet::default();
    attend(isa, heads, &input, asking, (&mut output, rows));
    numbers(&output, hidden)
}

/// Attention over the rows of one window, in f64.
fn exact_attention(heads: Heads, qkv: &[f32]) -> Vec<f64> {
    let hidden = heads.count * heads.width;
    let rows: Vec<&[f32]> = qkv.chunks_exact(3 * hidden).collect();
    let mut all = Vec::new();
    for query in &rows {
        for head in 0..heads.count {
            let part = |row: &[f32], which: usize| -> Vec<f64> {
                let start = which * hidden + head * heads.width;
                row[start..start + heads.width].iter().map(|x| f64::from(*x)).collect()
            };
            let asked = part(query, 0);
            let score = |row: &&[f32]| -> f64 { part(row, 1).iter().zip(&asked).map(|(k, q)| k * q).sum() };
            let scale = (heads.width as f64).sqrt();
            let scores: Vec<f64> = rows.iter().map(|row| score(row) / scale).collect();
            let highest = scores.iter().copied().fold(f64::MIN, f64::max);
            let powers: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
            let total: f64 = powers.iter().sum();
            for place in 0..heads.width {
                let values = rows.iter().zip(&powers).map(|(row, power)| part(row, 2)[place] * power);
                all.push(values.sum::<f64>() / total);
            }
        }
    }
    all
}

#[test]
fn attention_sees_its_whole_window_and_nothing_else() {
    let lengths: &[usize] = if cfg!(miri) { &[1, 13] } else { &[1, 2, 7, 15, 16, 17, 31, 33, 64, 130, 300] };
    for isa in Isa::all() {
        let heads = [(3, 5), (2, 32), (1, 64)].map(|(count, width)| Heads { count, width });
        for heads in heads.into_iter().take(if cfg!(miri) { 1 } else { 3 }) {
            let hidden = heads.count * heads.width;
            let tokens: usize = lengths.iter().sum();
            let qkv: Vec<f32> = noise(tokens * 3 * hidden, 20).iter().map(|x| x * 3.0).collect();
            let mut first = 0;
            let windows: Vec<_> = lengths
                .iter()
                .map(|length| {
                    first += length;
                    first - length..first
                })
                .collect();
            let (asking, rows) = Asking::lay_out(0, windows.iter().map(|window| (window, window)));
            let found = attended(isa, heads, &qkv, &asking, rows);
            for window in &windows {
                let part =
                    |range: std::ops::Range<usize>, width: usize| range.start * width..range.end * width;
                let expected = exact_attention(heads, &qkv[part(window.clone(), 3 * hidden)]);
                let worst = found[part(window.clone(), hidden)].iter().zip(&expected);
                let worst = worst.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
                assert!(worst < 2e-5, "{} {} tokens, {heads:?}: {worst}", isa.name(), window.len());
            }
            // Some rows only: the same bits.
            let some: Vec<_> =
                windows.iter().map(|window| window.start + window.len() / 3..window.end).collect();
            let (asking, rows) = Asking::lay_out(0, windows.iter().zip(&some));
            let kept = attended(isa, heads, &qkv, &asking, rows);
            let expected: Vec<f32> =
                some.iter().flat_map(|rows| found[rows.start * hidden..rows.end * hidden].to_vec()).collect();
            assert!(kept == expected, "{} {heads:?}", isa.name());
            // One window for many threads is cut into pieces: the same bits.
            let longest = windows.len() - 1;
            let (asking, rows) = Asking::lay_out(0, [(&windows[longest], &some[longest])].into_iter());
            let threads = if cfg!(miri) { 2 } else { 8 };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let alone = pool.install(|| attended(isa, heads, &qkv, &asking, rows));
            assert!(alone == expected[expected.len() - alone.len()..], "{} {heads:?} alone", isa.name());
        }
    }
}

/// Scores far beyond what any model has: no overflow, no loss of what is not a number.
#[test]
fn extreme_scores_do_no_harm() {
    let heads = Heads { count: 1, width: 4 };
    for isa in Isa::all() {
        let run = |qkv: &[f32]| {
            let window = 0..qkv.len() / 12;
            let (asking, rows) = Asking::lay_out(0, [(&window, &window)].into_iter());
            attended(isa, heads, qkv, &asking, rows)
        };
        let mut qkv = noise(6 * 12, 21);
        qkv[..4].fill(1e10);
        qkv[2 * 12 + 4..2 * 12 + 8].fill(1e10);
        let found = run(&qkv);
        // The first row looks at the third alone.
        assert!(found[..4] == qkv[2 * 12 + 8..3 * 12], "{}: {:?}", isa.name(), &found[..4]);
        assert!(found.iter().all(|number| number.is_finite()));
        qkv[5 * 12 + 5] = f32::NAN;
        assert!(run(&qkv).iter().all(|number| number.is_nan()), "{}", isa.name());
        qkv[5 * 12 + 5] = f32::INFINITY;
        assert!(run(&qkv).iter().any(|number| number.is_nan()), "{}", isa.name());
    }
}

/// Whole encoders of all families: the same states on every unit, whichever wrote them first.
#[test]
#[cfg_attr(miri, ignore = "reads files")]
fn units_agree_on_whole_models() {
    for family in ["minilm", "distilbert", "roberta", "bert-large", "xlm-roberta"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny").join(family);
        let files = ModelFiles::from_dir(&folder).unwrap();
        let weights = Weights::open(&files).unwrap();
        let mut batch = Batch::default();
        for length in [1, 2, 9, 30, 17] {
            let ids: Vec<u32> = (0..length).map(|token| 5 + (token * 31 + length) % 50).collect();
            let segments: Vec<u32> = (0..length).map(|token| u32::from(token > length / 2)).collect();
            batch.push(&ids, &segments);
        }
        for (precision, tolerance) in [(Precision::F32, 2e-5), (Precision::Int8, 0.3)] {
            let run = |isa| {
                let config = EncoderConfig::from_files(&files).unwrap();
                let engine = Engine::load_for(isa, config, &weights, precision, None).unwrap();
                engine.forward(&batch, None).unwrap()
            };
            let all = Isa::all();
            let expected = run(all[all.len() - 1]);
            for isa in all {
                for (found, expected) in run(isa).iter().zip(&expected) {
                    let numbers = found.numbers.iter().zip(&expected.numbers);
                    let worst = numbers.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                    assert!(
                        worst <= tolerance,
                        "{family} on {} in {}: {worst}",
                        isa.name(),
                        precision.name()
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 60 }))]

    /// All units agree with plain Rust on any numbers.
    #[test]
    fn units_agree(rows in 1usize..30, inputs in 1usize..80, outputs in 1usize..70, seed: u32, power in -20i32..20) {
        let scale = 2f32.powi(power);
        let input: Vec<f32> = noise(rows * inputs, seed).iter().map(|x| x * scale).collect();
        let (weights, bias) = (noise(inputs * outputs, !seed), noise(outputs, seed ^ 1));
        // Rounded, so that plain Rust's two roundings per step are as good as one.
        let weights: Vec<f32> = weights.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        let all = Isa::all();
        let expected = product(all[all.len() - 1], &input, &weights, &bias, false, Then::Gelu);
        for isa in &all {
            let found = product(*isa, &input, &weights, &bias, false, Then::Gelu);
            for (a, b) in found.iter().zip(&expected) {
                prop_assert!((a - b).abs() <= 3e-6 * (inputs as f32) * scale.max(1.0), "{} {a} {b}", isa.name());
            }
        }
    }
}
