//! Stores a checkpoint's large matrices as 8-bit integers with one factor per row: a quarter of the size, for the model that
//! travels inside the binary.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;

use super::config::EncoderConfig;
use super::store::{Stored, little_endian, write};
use super::weights::{SCALE_SUFFIX, Weights};
use crate::checkpoint::ModelFiles;
use crate::checkpoint::error::Result;

/// Matrices with fewer numbers are not worth rounding.
const WORTH_PACKING: usize = 1 << 14;

/// What the packed model lacks: parts that a span head never looks at.
const UNUSED: [&str; 3] = ["pooler.", "cls.", "position_ids"];

/// Writes the weights of `files` in 8-bit form to `output`, whole or not at all. Returns the file's size.
pub fn pack(files: &ModelFiles, output: &Path) -> Result<u64> {
    // Reading the config first refuses what could not be loaded again anyway.
    EncoderConfig::from_files(files)?;
    let weights = Weights::open(files)?;
    let mut stored = Vec::new();
    let mut store = |name: &str, dtype, shape, bytes| {
        stored.push(Stored { name: name.into(), dtype, shape, bytes });
    };
    let names: Vec<String> = weights.names().map(str::to_owned).collect();
    for name in names.iter().filter(|name| !UNUSED.iter().any(|unused| name.contains(unused))) {
        let shape = weights.shape(name).unwrap_or_default().to_vec();
        match shape[..] {
            [rows, columns] if rows * columns >= WORTH_PACKING => {
                let (bytes, scales) = quantise(&weights.matrix(name, rows, columns)?, columns);
                store(name, Dtype::I8, shape, bytes);
                let scales_name = format!("{name}{SCALE_SUFFIX}");
                store(&scales_name, Dtype::F32, vec![rows], little_endian(&scales));
            }
            [rows, columns] => {
                let numbers = weights.matrix(name, rows, columns)?;
                store(name, Dtype::F32, shape, little_endian(&numbers));
            }
            [length] => {
                let numbers = weights.vector(std::slice::from_ref(name), length)?;
                store(name, Dtype::F32, shape, little_endian(&numbers));
            }
            _ => {}
        }
    }
    write(output, &stored, HashMap::from([("format".to_owned(), "pt".to_owned())]))
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
