//! The rules of the official scripts, to the last digit.

pub mod metrics;
pub mod mlqa;
pub mod normalize;
pub mod predictions;
pub mod python;
pub mod unicode;
