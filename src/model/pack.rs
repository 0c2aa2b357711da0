//! Stores a checkpoint's large matrices as 8-bit integers with one factor per row: a quarter of the size, for the model that
//! travels inside the binary.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};
use tempfile::NamedTempFile;

use super::config::EncoderConfig;
use super::weights::{SCALE_SUFFIX, Weights};
use crate::error::{Error, Result};
use crate::source::ModelFiles;

/// Matrices with fewer numbers are not worth rounding.
const WORTH_PACKING: usize = 1 << 14;

/// What the packed model lacks: parts that a span head never looks at.
const UNUSED: [&str; 3] = ["pooler.", "cls.", "position_ids"];

/// Writes the weights of `files` in 8-bit form to `output`, whole or not at all. Returns the file's size.
pub fn pack(files: &ModelFiles, output: &Path) -> Result<u64> {
    // Reading the config first refuses what could not be loaded again anyway.
    EncoderConfig::from_files(files)?;
    let weights = Weights::open(files)?;
    let unwritable = |source: std::io::Error| Error::Write { path: output.to_path_buf(), source };

    let mut stored: Vec<(String, Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names.iter().filter(|name| !UNUSED.iter().any(|unused| name.contains(unused))) {
        let shape = weights.shape(name).unwrap_or_default().to_vec();
        match shape[..] {
            [rows, columns] if rows * columns >= WORTH_PACKING => {
                let (bytes, scales) = quantise(&weights.matrix(name, rows, columns)?, columns);
                stored.push((name.clone(), Dtype::I8, shape, bytes));
                stored.push((
                    format!("{name}{SCALE_SUFFIX}"),
                    Dtype::F32,
                    vec![rows],
                    little_endian(&scales),
                ));
            }
            [rows, columns] => {
                let numbers = weights.matrix(name, rows, columns)?;
                stored.push((name.clone(), Dtype::F32, shape, little_endian(&numbers)));
            }
            [length] => {
                let numbers = weights.vector(std::slice::from_ref(name), length)?;
                stored.push((name.clone(), Dtype::F32, shape, little_endian(&numbers)));
            }
            _ => {}
        }
    }

    let broken = |error: safetensors::SafeTensorError| unwritable(std::io::Error::other(error));
    let mut views = Vec::with_capacity(stored.len());
    for (name, dtype, shape, bytes) in &stored {
        views.push((name, TensorView::new(*dtype, shape.clone(), bytes).map_err(broken)?));
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let temporary = temporary_file(folder).map_err(unwritable)?;
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    serialize_to_file(views, Some(metadata), temporary.path()).map_err(broken)?;
    let size = temporary.path().metadata().map_err(unwritable)?.len();
    temporary.persist(output).map_err(|error| unwritable(error.error))?;
    Ok(size)
}

/// A temporary file that, once renamed, others may read as far as the user's mask lets them.
fn temporary_file(folder: &Path) -> std::io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder)
}

/// Rounds each row to -127..=127 times a factor.
fn quantise(numbers: &[f32], columns: usize) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(numbers.len());
    let mut scales = Vec::with_capacity(numbers.len() / columns);
    for row in numbers.chunks_exact(columns) {
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        scales.push(scale);
        bytes.extend(row.iter().map(|value| (value / scale).round().clamp(-127.0, 127.0) as i8 as u8));
    }
    (bytes, scales)
}

fn little_endian(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_to_within_half_a_step() {
        let numbers = [0.5, -1.0, 0.25, 0.0, 0.0, 0.0, 300.0, 2.0, -7.0];
        let (bytes, scales) = quantise(&numbers, 3);
        assert_eq!(bytes[1] as i8, -127);
        for (index, number) in numbers.iter().enumerate() {
            let scale = scales[index / 3];
            assert!((f32::from(bytes[index] as i8) * scale - number).abs() <= scale / 2.0 + 1e-6);
        }
    }
}
