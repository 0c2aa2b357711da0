//! How replies are made: what rides on each question.

use crate::decode::Decoding;
use crate::text::offsets::OffsetUnit;
use crate::text::window::Limits;

/// How a reply is made. What one question asks for has no influence on its neighbours.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// How answers are chosen.
    pub decoding: Decoding,
    /// How much text goes into a window.
    pub limits: Limits,
    /// What offsets count.
    pub unit: OffsetUnit,
    /// Whether the reply explains itself.
    pub why: bool,
}
