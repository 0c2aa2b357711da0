//! Answers questions over HTTP, in the ways that clients of other systems already talk.
//!
//! ```text
//! config     what a server is told before it runs
//! server     its life: an address, models, the end
//! listen     connections with their timers
//! gate       who may ask; request ids, times, the log
//! routes     which path does what
//! body       a body within its bounds
//! native     our own requests and records
//! stream     the same line by line, as `batch` does
//! predict    Hugging Face, SageMaker, Vertex, Azure
//! ranker     vectors and orders, as text-embeddings-inference
//! about      health, metrics and pages
//! asking     from a request that was understood to its replies
//! admission  how much may wait, in tokens
//! engine     a model with its thread
//! metrics    what Prometheus is told
//! problem    what is said when there is no reply
//! ```
//!
//! Sockets have one thread with an async runtime; it neither tokenises nor computes. Tokenising happens on a few threads beside it, and
//! each model has a thread that takes whatever waits and answers it together, as in [`stream`](crate::stream). No clock decides
//! what is a batch, and no answer depends on it.

mod about;
mod admission;
mod asking;
mod body;
pub mod config;
mod engine;
pub mod error;
mod gate;
mod listen;
mod metrics;
mod native;
mod predict;
mod problem;
mod ranker;
mod routes;
#[cfg(all(test, feature = "model-checking"))]
mod schedules;
mod server;
mod stream;

pub use config::{Bounds, Config, Entry, Key, Log, OpenRanker};
pub use engine::Opened;
pub use error::{Error, Result};
pub use server::{Control, Server};
