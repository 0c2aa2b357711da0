//! Web pages: charts and what stands around them.

pub mod html;
pub mod svg;
pub mod text;
