//! Stores a checkpoint's large matrices as 8-bit integers with one quantisation scale per row: a quarter of the size, for the model
//! that travels inside the binary.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;

use super::config::EncoderConfig;
use super::store::{Stored, little_endian, write};
use super::weights::{SCALE_SUFFIX, Weights};
use crate::checkpoint::ModelFiles;
use crate::checkpoint::error::Result;

/// Matrices with fewer numbers are not worth rounding.
const WORTH_QUANTISING: usize = 1 << 14;

/// The largest of these integers.
const LARGEST_CODE: f32 = 127.0;

/// What no encoder uses.
const UNUSED: [&str; 2] = ["cls.", "position_ids"];

/// What classification uses, and a checkpoint without a classifier need not keep.
const POOLER: &str = "pooler.";

/// Writes the weights of `files` in 8-bit form to `output`, whole or not at all. Matrices that are 8-bit integers already stay as
/// they are. Returns the file's size.
pub fn pack(files: &ModelFiles, output: &Path) -> Result<u64> {
    // Reading the config first refuses what could not be loaded again anyway.
    EncoderConfig::from_files(files)?;
    let weights = Weights::open(files)?;
    let classifies = weights.names().any(|name| name.contains("classifier."));
    let used = |name: &str| {
        !UNUSED.iter().any(|unused| name.contains(unused)) && (classifies || !name.contains(POOLER))
    };
    let is_scale = |name: &str| name.strip_suffix(SCALE_SUFFIX).is_some_and(|of| weights.shape(of).is_some());
    let mut stored = Vec::new();
    let mut store = |name: String, dtype, shape, bytes| stored.push(Stored { name, dtype, shape, bytes });
    // Scales are stored with their matrix.
    for name in weights.names().filter(|name| used(name) && !is_scale(name)) {
        let shape = weights.shape(name).unwrap_or_default().to_vec();
        let numbers = match shape[..] {
            [rows, columns] => {
                let quantised = match weights.codes(name) {
                    Some(codes) => Some((codes.to_vec(), weights.scales(name, rows)?)),
                    None if rows * columns >= WORTH_QUANTISING => {
                        Some(quantise(&weights.matrix(name, rows, columns)?, columns, LARGEST_CODE))
                    }
                    None => None,
                };
                if let Some((codes, scales)) = quantised {
                    store(name.into(), Dtype::I8, shape, codes);
                    store(format!("{name}{SCALE_SUFFIX}"), Dtype::F32, vec![rows], little_endian(&scales));
                    continue;
                }
                weights.matrix(name, rows, columns)?
            }
            [length] => weights.vector(&[name.to_owned()], length)?,
            _ => continue,
        };
        store(name.into(), Dtype::F32, shape, little_endian(&numbers));
    }
    write(output, &stored, HashMap::from([("format".to_owned(), "pt".to_owned())]))
}

/// Rounds each row to whole numbers from `-most` to `most` times a scale of its own.
pub(crate) fn quantise(numbers: &[f32], columns: usize, most: f32) -> (Vec<u8>, Vec<f32>) {
    let mut bytes = Vec::with_capacity(numbers.len());
    let mut scales = Vec::with_capacity(numbers.len() / columns);
    for row in numbers.chunks_exact(columns) {
        let largest = row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = if largest > 0.0 { largest / most } else { 1.0 };
        scales.push(scale);
        bytes.extend(row.iter().map(|value| (value / scale).round().clamp(-most, most) as i8 as u8));
    }
    (bytes, scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_rounded_to_within_half_a_scale() {
        let numbers = [0.5, -1.0, 0.25, 0.0, 0.0, 0.0, 300.0, 2.0, -7.0];
        let (bytes, scales) = quantise(&numbers, 3, LARGEST_CODE);
        assert_eq!(bytes[1] as i8, -127);
        for (index, number) in numbers.iter().enumerate() {
            let scale = scales[index / 3];
            assert!((f32::from(bytes[index] as i8) * scale - number).abs() <= scale / 2.0 + 1e-6);
        }
    }
}
