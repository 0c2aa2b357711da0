//! ONNX, written from here: what ONNX Runtime, OpenVINO and transformers.js run.
//!
//! ```text
//! Model -> network: operators and their tensors (weights) -> Graph -> file (proto) -> model.onnx, and model.onnx_data if it is large
//! ```

mod file;
mod graph;
mod network;
mod proto;
pub mod read;
mod weights;

use self::graph::Element;
pub(super) use self::weights::Storage;
use super::model::Model;
use super::number::Float;
use super::place::FileSet;
use crate::export::error::Result;

/// The largest message of protocol buffers is 2 GiB; nodes and names take some of it.
pub(super) const LARGEST: u64 = (2 << 30) - (64 << 20);

impl Float {
    fn element(self) -> Element {
        match self {
            Self::F32 => Element::F32,
            Self::F16 => Element::F16,
            Self::Bf16 => Element::Bf16,
        }
    }
}

/// Adds the graph of a model under that name. Returns whether its tensors are in a second file, which they are if they take more than
/// `limit` bytes.
pub(super) fn add(
    set: &mut FileSet,
    model: &Model,
    storage: Storage,
    name: &str,
    limit: u64,
) -> Result<bool> {
    file::write(&network::graph(model, storage)?, set, name, limit)
}
