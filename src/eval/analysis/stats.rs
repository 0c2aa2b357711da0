//! How much of a difference is chance: bootstrap intervals, McNemar's test, calibration. Everything is deterministic.

use serde::Serialize;

use crate::random::Random;

/// How often samples are drawn anew.
pub const RESAMPLES: usize = 2000;

const SEED: u64 = 20;

/// The mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Where 95 % of the means of samples drawn anew lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// 2.5 % lie below.
    pub low: f64,
    /// 2.5 % lie above.
    pub high: f64,
}

/// The percentile bootstrap of the mean.
pub fn interval(values: &[f64]) -> Interval {
    let mut random = Random::new(SEED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sum: f64 = (0..values.len()).map(|_| values[random.below(values.len())]).sum();
            sum / values.len().max(1) as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
    Interval { low: at(0.025), high: at(0.975) }
}

/// McNemar's test: of the questions that only one of two runs got right, do too many belong to one of them?
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct McNemar {
    /// Questions that only the first run got right.
    pub only_first: usize,
    /// Questions that only the second run got right.
    pub only_second: usize,
    /// The exact two-sided probability of a split at least as uneven, if both were as good.
    pub exact_p: f64,
    /// The same by the chi-squared approximation with continuity correction.
    pub corrected_p: f64,
}

impl McNemar {
    /// Runs the test.
    pub fn new(only_first: usize, only_second: usize) -> Self {
        let total = only_first + only_second;
        let fewer = only_first.min(only_second);
        let ln_half = (0.5f64).ln() * total as f64;
        // ln C(total, k), from one k to the next.
        let (mut ln_ways, mut tail) = (0.0, 0.0);
        for k in 0..=fewer {
            tail += f64::exp(ln_ways + ln_half);
            ln_ways += ((total - k) as f64).ln() - ((k + 1) as f64).ln();
        }
        let gap = (only_first.abs_diff(only_second) as f64 - 1.0).max(0.0);
        let chi_squared = if total == 0 { 0.0 } else { gap * gap / total as f64 };
        Self {
            only_first,
            only_second,
            exact_p: (2.0 * tail).min(1.0),
            corrected_p: if total == 0 { 1.0 } else { erfc((chi_squared / 2.0).sqrt()) },
        }
    }
}

/// The complementary error function of a number that is not negative, to about 1e-7 of its value: a continued fraction where it
/// converges fast, a series elsewhere.
fn erfc(x: f64) -> f64 {
    let scale = (-x * x).exp() / std::f64::consts::PI.sqrt();
    if x < 2.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..60 {
            term *= 2.0 * x * x / (2 * n + 1) as f64;
            sum += term;
        }
        1.0 - 2.0 * scale * sum
    } else {
        let fraction = (1..60).rev().fold(x, |below, n| x + f64::from(n) / 2.0 / below);
        scale / fraction
    }
}

/// Answers whose confidence lies in one tenth.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bin {
    /// How many there are.
    pub count: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share that was right.
    pub accuracy: f64,
}

/// What says how sure a reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sureness {
    /// The probability of what was returned. Right is what is a gold answer to the letter.
    Score,
    /// The reply's confidence. Right is what has F1 0.5 or more.
    Confidence,
}

/// Whether replies are right as often as they are sure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Sure by what.
    pub of: Sureness,
    /// Expected calibration error: the mean distance of confidence from accuracy over ten bins.
    pub ece: f64,
    /// Brier score: the mean square of the distance of each confidence from 1 or 0.
    pub brier: f64,
    /// Ten bins of equal width.
    pub bins: Vec<Bin>,
}

/// Bins of the reliability diagram.
pub const BINS: usize = 10;

impl Calibration {
    /// Judges pairs of how sure a reply was and whether it was right.
    pub fn new(of: Sureness, pairs: &[(f64, bool)]) -> Self {
        let mut bins = vec![Bin::default(); BINS];
        let mut brier = 0.0;
        for &(confidence, right) in pairs {
            let right = f64::from(u8::from(right));
            let bin = &mut bins[((confidence * BINS as f64) as usize).min(BINS - 1)];
            bin.count += 1;
            bin.confidence += confidence;
            bin.accuracy += right;
            brier += (confidence - right).powi(2);
        }
        let total = pairs.len().max(1) as f64;
        let mut ece = 0.0;
        for bin in bins.iter_mut().filter(|bin| bin.count > 0) {
            ece += (bin.confidence - bin.accuracy).abs() / total;
            bin.confidence /= bin.count as f64;
            bin.accuracy /= bin.count as f64;
        }
        Self { of, ece, brier: brier / total, bins }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reference values from scipy: binomtest and chi2.
    #[test]
    fn mcnemar_agrees_with_tables() {
        let test = McNemar::new(8, 2);
        assert!((test.exact_p - 0.109375).abs() < 1e-12, "{test:?}");
        assert!((test.corrected_p - 0.113_846_298_006_654_8).abs() < 1e-9, "{test:?}");
        assert_eq!(McNemar::new(0, 0).exact_p, 1.0);
        assert_eq!(McNemar::new(5, 5).exact_p, 1.0);
        let far = McNemar::new(400, 300);
        assert!((far.exact_p - 1.784_763e-4).abs() < 1e-9, "{far:?}");
        assert!((far.corrected_p - 1.826_718e-4).abs() < 1e-9, "{far:?}");
        // 2 * 0.5^30, 2 * 0.5^1000, and what no number is small enough for.
        assert!((McNemar::new(30, 0).exact_p / 1.862_645_149_230_957e-9 - 1.0).abs() < 1e-12);
        assert!((McNemar::new(0, 1000).exact_p / 1.866_527_237_006_437_8e-301 - 1.0).abs() < 1e-10);
        assert_eq!(McNemar::new(3000, 0).exact_p, 0.0);
    }

    #[test]
    fn calibration_of_a_known_case() {
        let found =
            Calibration::new(Sureness::Score, &[(1.0, true), (0.95, false), (0.25, false), (0.25, true)]);
        assert!((found.brier - (0.0 + 0.9025 + 0.0625 + 0.5625) / 4.0).abs() < 1e-12);
        assert!((found.ece - ((1.95 - 1.0) + (1.0 - 0.5)) / 4.0).abs() < 1e-12);
        assert_eq!((found.bins[9].count, found.bins[2].count), (2, 2));
        assert_eq!(Calibration::new(Sureness::Score, &[]).ece, 0.0);
    }

    #[test]
    fn intervals_hold_the_mean_and_are_repeatable() {
        let values: Vec<f64> = (0..400).map(|n| f64::from(n % 4 == 0)).collect();
        let found = interval(&values);
        assert!(found.low < 0.25 && found.high > 0.25);
        // The standard error is 0.0217.
        assert!((found.high - found.low - 2.0 * 1.96 * 0.0217).abs() < 0.01, "{found:?}");
        assert_eq!(found, interval(&values));
        assert_eq!(interval(&[1.0; 9]), Interval { low: 1.0, high: 1.0 });
        assert_eq!(interval(&[]), Interval { low: 0.0, high: 0.0 });
    }

    #[test]
    fn choices_are_different_and_cover_everything() {
        let mut random = Random::new(3);
        assert_eq!(random.choose(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(random.choose(9, 2), [0, 1]);
        let mut seen = [0; 10];
        for _ in 0..1000 {
            let chosen = random.choose(3, 10);
            assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            chosen.iter().for_each(|&n| seen[n] += 1);
        }
        assert!(seen.iter().all(|&count| (240..360).contains(&count)), "{seen:?}");
    }
}
