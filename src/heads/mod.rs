//! Heads: what is made of an encoder's rows.
//!
//! ```text
//! encoder -> span   start and end logits of every token: extractive question answering
//!         -> pool   one vector for a whole window: what searching by meaning compares
//!         -> class  one number for a pair of texts: how well a document fits a question
//! ```
//!
//! A head opens a checkpoint with its own weights and an [`Encoder`](crate::encoder::Encoder), which knows nothing of it.

pub mod class;
pub mod pool;
pub mod span;

pub use class::CrossEncoder;
pub use pool::EmbeddingModel;
pub use span::{QaModel, SpanModel, WindowLogits};
