//! All integration tests in one binary: one link step instead of one per file.

mod ask;
mod batch;
mod damage;
mod datasets;
mod decode;
mod eval;
#[cfg(feature = "cuda")]
mod gpu;
mod heads;
mod hints;
mod hub;
mod metrics;
mod model;
mod reader;
mod support;
mod tokenizers;
mod train;
