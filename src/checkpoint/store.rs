//! Writes tensors to a safetensors file, whole or not at all.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use tempfile::NamedTempFile;

use crate::checkpoint::error::Result;
use crate::fs;

/// A tensor as it goes to disk.
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// Writes to a file beside `path` and renames it. Returns the size.
pub(crate) fn write(path: &Path, tensors: &[Stored], metadata: HashMap<String, String>) -> Result<u64> {
    let unwritable = |source: std::io::Error| fs::Error::Write { path: path.to_path_buf(), source };
    let broken = |error: safetensors::SafeTensorError| match error {
        safetensors::SafeTensorError::IoError(error) => unwritable(error),
        error => unwritable(std::io::Error::other(error)),
    };
    let mut views = Vec::with_capacity(tensors.len());
    for tensor in tensors {
        let view = TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes).map_err(broken)?;
        views.push((&tensor.name, view));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_file(folder).map_err(unwritable)?;
    let permissions = temporary.as_file().metadata().map_err(unwritable)?.permissions();
    // From here on only a name: safetensors puts a file of its own, closed to others, in its place.
    let place = temporary.into_temp_path();
    serialize_to_file(views, Some(metadata), &place).map_err(broken)?;
    std::fs::set_permissions(&place, permissions).map_err(unwritable)?;
    let size = place.metadata().map_err(unwritable)?.len();
    place.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(size)
}

/// A temporary file that, once renamed, others may read as far as the user's mask lets them.
fn temporary_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// The bytes of numbers, as files hold them.
pub(crate) fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
