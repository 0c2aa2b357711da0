//! All integration tests in one binary: one link step instead of one per file.

mod ask;
mod batch;
mod chat;
mod damage;
mod datasets;
mod decode;
mod dependencies;
#[cfg(unix)]
mod docs;
mod embed;
mod eval;
mod export;
#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod faults;
mod files;
mod formats;
#[cfg(feature = "cuda")]
mod gpu;
mod gpu_train;
mod heads;
mod help;
mod hints;
mod hub;
mod inside;
#[cfg(feature = "mcp")]
mod mcp;
mod metrics;
mod model;
mod models;
mod parquet;
#[cfg(unix)]
mod pty;
mod rank;
mod reader;
mod retrieval;
mod rooms;
mod runner;
mod search;
#[cfg(feature = "serve")]
mod serve;
mod support;
mod terminal;
mod tokenizers;
mod train;
