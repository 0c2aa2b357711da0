//! Writes tensors to a safetensors file, whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, serialize_to_file};

use crate::checkpoint::error::Result;
use crate::fs;

/// A tensor as it goes to disk.
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// Writes tensors to a file. Returns its size.
pub(crate) fn write(path: &Path, tensors: &[Stored], metadata: HashMap<String, String>) -> Result<u64> {
    let broken = |error: SafeTensorError| match error {
        SafeTensorError::IoError(error) => error,
        error => std::io::Error::other(error),
    };
    fs::write_with(path, |place| {
        let mut views = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map_err(broken)?;
            views.push((&tensor.name, view));
        }
        serialize_to_file(views, Some(metadata.clone()), place).map_err(broken)
    })?;
    let size = path.metadata().map_err(|source| fs::Error::Write { path: path.to_path_buf(), source })?;
    Ok(size.len())
}

/// The bytes of numbers, as files hold them.
pub(crate) fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
