//! All integration tests in one binary: one link step instead of one per file.

mod ask;
mod batch;
mod damage;
mod datasets;
mod decode;
#[cfg(unix)]
mod docs;
mod eval;
mod files;
#[cfg(feature = "cuda")]
mod gpu;
mod heads;
mod help;
mod hints;
mod hub;
mod metrics;
mod model;
mod reader;
mod rooms;
mod support;
mod terminal;
mod tokenizers;
mod train;
