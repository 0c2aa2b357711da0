//! What the official scripts do not say: how sure the numbers are, where they come from, and what another threshold would do.
//!
//! ```text
//! rows            every question with its answer and what that is worth
//!   -> sweep      what other thresholds would do
//!   -> groups     by question word, by length, by article
//!   -> outcomes   right, wrong and refused, by kind of article and windows read
//!   -> losses     the questions that lose points
//!   -> stats      intervals, tests, calibration
//! ```

pub mod groups;
pub mod losses;
mod outcomes;
mod rows;
pub mod stats;
mod sweep;

pub use groups::{Breakdown, Group, breakdown};
pub use outcomes::{OutcomeTable, Outcomes, RIGHT, outcomes};
pub use rows::{Estimate, Given, NullOdds, Part, Row, calibration, parts, rows};
pub use sweep::{Point, Sweep, sweep};
