//! How likely a reply is to be right.
//!
//! The probability of an answer is less than that: "the keeper" and "keeper" share what is one answer to a reader. What all spans
//! that overlap the answer have together says more, and two numbers that were fitted on questions whose answers are known make a
//! share of right replies out of it.

use serde::{Deserialize, Serialize};

/// `logistic(slope x logit(probability) + shift)`: what replies of a model are worth, as Platt (1999) fits it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confidence {
    /// Below 1, the model is too sure of itself.
    pub slope: f64,
    /// Above 0, it is right more often than it thinks.
    pub shift: f64,
}

/// Probabilities nearer to 0 and 1 count as these.
const LEAST: f64 = 1e-6;

/// What it costs, in questions, to be far from [`Confidence::PLAIN`]. Where every reply is right nothing else would hold the slope.
const PULL: f64 = 1.0;

impl Confidence {
    /// The probability as it is.
    pub const PLAIN: Self = Self { slope: 1.0, shift: 0.0 };

    /// Why it cannot be one, if it cannot.
    pub fn flaw(&self) -> Option<&'static str> {
        match self {
            Self { slope, .. } if !(0.0..=1e3).contains(slope) => Some("its slope is not from 0 to 1000"),
            Self { shift, .. } if !(-1e3..=1e3).contains(shift) => {
                Some("its shift is not from -1000 to 1000")
            }
            _ => None,
        }
    }

    /// How likely a reply is to be right that has so much of the distribution.
    pub fn of(&self, probability: f64) -> f64 {
        1.0 / (1.0 + (-(self.slope * logit(probability) + self.shift)).exp())
    }

    /// The numbers that are least surprised by which replies were right, by Newton's method.
    pub fn fit(replies: &[(f64, bool)]) -> Self {
        const STEPS: usize = 50;
        const HALVINGS: usize = 40;
        let mut fitted = Self::PLAIN;
        let mut surprise = fitted.surprise(replies);
        for _ in 0..STEPS {
            let [by_slope, by_shift] = fitted.newton_step(replies);
            // A whole step may lead beyond the lowest point and far away.
            let shorter = (0..HALVINGS).map(|halvings| 0.5f64.powi(halvings as i32)).map(|share| Self {
                // A more probable reply is never less likely to be right.
                slope: (fitted.slope - share * by_slope).max(0.0),
                shift: fitted.shift - share * by_shift,
            });
            let found =
                shorter.map(|next| (next.surprise(replies), next)).find(|(found, _)| *found < surprise);
            let Some(better) = found else { break };
            (surprise, fitted) = better;
        }
        fitted
    }

    /// Minus the logarithm of how likely these replies are, and what it costs to be far from plain.
    fn surprise(&self, replies: &[(f64, bool)]) -> f64 {
        let of_reply = |&(probability, right): &(f64, bool)| {
            let x = self.slope * logit(probability) + self.shift;
            // ln(1 + e^-x) of what is right, ln(1 + e^x) of what is wrong.
            let against = if right { -x } else { x };
            against.max(0.0) + (-against.abs()).exp().ln_1p()
        };
        replies.iter().map(of_reply).sum::<f64>()
            + PULL / 2.0 * ((self.slope - 1.0).powi(2) + self.shift.powi(2))
    }

    /// What to take off slope and shift.
    fn newton_step(&self, replies: &[(f64, bool)]) -> [f64; 2] {
        let (mut by_slope, mut by_shift) = (PULL * (self.slope - 1.0), PULL * self.shift);
        let (mut slope_slope, mut slope_shift, mut shift_shift) = (PULL, 0.0, PULL);
        for &(probability, right) in replies {
            let (x, said) = (logit(probability), self.of(probability));
            let gap = said - f64::from(u8::from(right));
            let curve = said * (1.0 - said);
            by_slope += gap * x;
            by_shift += gap;
            slope_slope += curve * x * x;
            slope_shift += curve * x;
            shift_shift += curve;
        }
        let determinant = slope_slope * shift_shift - slope_shift * slope_shift;
        [
            (shift_shift * by_slope - slope_shift * by_shift) / determinant,
            (slope_slope * by_shift - slope_shift * by_slope) / determinant,
        ]
    }
}

fn logit(probability: f64) -> f64 {
    let probability = probability.clamp(LEAST, 1.0 - LEAST);
    (probability / (1.0 - probability)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn plain_numbers_change_nothing() {
        for probability in [0.001, 0.3, 0.5, 0.999] {
            assert!((Confidence::PLAIN.of(probability) - probability).abs() < 1e-12);
        }
        let doubtful = Confidence { slope: 0.5, shift: -0.2 };
        assert!(doubtful.of(0.0) > 0.0 && doubtful.of(1.0) < 1.0 && doubtful.of(f64::MIN_POSITIVE) > 0.0);
        // logit 2 becomes 0.8.
        assert!((doubtful.of(1.0 / (1.0 + (-2f64).exp())) - 1.0 / (1.0 + (-0.8f64).exp())).abs() < 1e-12);
    }

    #[test]
    fn fitting_finds_what_made_the_replies() {
        let truth = Confidence { slope: 0.6, shift: -0.4 };
        let mut random = Random::new(7);
        let replies: Vec<(f64, bool)> = (0..40_000)
            .map(|_| {
                let probability = random.uniform();
                (probability, random.uniform() < truth.of(probability))
            })
            .collect();
        let found = Confidence::fit(&replies);
        assert!(
            (found.slope - truth.slope).abs() < 0.03 && (found.shift - truth.shift).abs() < 0.03,
            "{found:?}"
        );
    }

    #[test]
    fn fitting_stands_replies_that_say_nothing() {
        assert_eq!(Confidence::fit(&[]), Confidence::PLAIN);
        for replies in [vec![(0.9, true); 50], vec![(0.0, false); 50], vec![(1.0, false), (0.0, true)]] {
            let found = Confidence::fit(&replies);
            assert_eq!(found.flaw(), None, "{found:?}");
        }
        // Where whole steps of Newton's method run away: very sure, and as often wrong as right.
        let replies: Vec<(f64, bool)> =
            (0..200).map(|n| (if n % 3 == 0 { 1.0 } else { 0.999 }, n % 2 == 0)).collect();
        let found = Confidence::fit(&replies);
        assert!((found.of(0.999) - 0.5).abs() < 0.1 && (found.of(1.0) - 0.5).abs() < 0.1, "{found:?}");
        let sure = Confidence::fit(&[(0.9, true); 50]);
        assert!(sure.of(0.9) > 0.95, "{sure:?}");
    }

    #[test]
    fn impossible_numbers_are_refused() {
        assert_eq!(Confidence::PLAIN.flaw(), None);
        for (slope, shift) in [(-0.1, 0.0), (f64::NAN, 0.0), (1.0, f64::INFINITY), (1e4, 0.0)] {
            assert!(Confidence { slope, shift }.flaw().is_some(), "{slope} {shift}");
        }
    }
}
