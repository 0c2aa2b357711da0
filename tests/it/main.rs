//! All integration tests in one binary: one link step instead of one per file.

mod ask;
mod batch;
mod damage;
mod decode;
mod hub;
mod model;
mod reader;
mod support;
mod tokenizers;
