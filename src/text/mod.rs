//! From text to token ids and back to places in the text. Pure: no tensors.

pub mod offsets;
pub mod window;
