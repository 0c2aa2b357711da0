//! Pages that explain themselves: charts and what stands around them.

pub mod plot;
