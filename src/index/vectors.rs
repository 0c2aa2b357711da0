//! Vectors of the passages of a segment, in 8 bits a number.
//!
//! ```text
//! magic (8 bytes), dimensions, passages (u32 each)
//! for each passage: what to multiply its numbers by (f32), and the numbers (i8 each)
//! ```
//!
//! While they are made, rows are added to a file that has another name, so that who is interrupted goes on where it ended.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;

use memmap2::Mmap;
use rayon::prelude::*;

use super::bytes::u32_at;
use super::error::{Error, Result};
use crate::fs;

const MAGIC: &[u8; 8] = b"spanqav1";
const HEAD: usize = 16;
/// Rows that a thread takes at a time.
const TOGETHER: usize = 4096;

/// The vectors of a segment.
#[derive(Debug)]
pub(super) struct Vectors {
    map: Mmap,
    dimensions: usize,
}

/// Bytes of a row.
fn row(dimensions: usize) -> usize {
    size_of::<f32>() + dimensions
}

impl Vectors {
    /// Opens a file with a vector for each of so many passages.
    pub(super) fn open(path: &Path, passages: usize, dimensions: usize) -> Result<Self> {
        let map = fs::map(path)?;
        let whole = map.starts_with(MAGIC)
            && (u32_at(&map, 8) as usize, u32_at(&map, 12) as usize) == (dimensions, passages)
            && map.len() == HEAD + passages * row(dimensions);
        if whole { Ok(Self { map, dimensions }) } else { Err(Error::Damaged { path: path.to_owned() }) }
    }

    /// The row of a passage, as it lies in the file.
    pub(super) fn row(&self, passage: usize) -> &[u8] {
        let at = HEAD + passage * row(self.dimensions);
        self.map.get(at..at + row(self.dimensions)).unwrap_or_default()
    }

    /// The product of a query's vector with that of each passage: the cosine of their angle where both are 1 long.
    pub(super) fn products(&self, query: &Query) -> Vec<f32> {
        let rows = &self.map[HEAD..];
        let rows = rows.par_chunks(TOGETHER * row(self.dimensions));
        rows.flat_map_iter(|rows| {
            rows.chunks_exact(row(self.dimensions)).map(|row| match row.split_first_chunk() {
                Some((scale, numbers)) => {
                    f32::from_le_bytes(*scale) * query.scale * query.product(numbers) as f32
                }
                None => 0.0,
            })
        })
        .collect()
    }
}

/// A vector to compare with.
pub(super) struct Query {
    numbers: Vec<i16>,
    scale: f32,
}

/// So large that rounding a query costs nothing beside rounding passages, and so small that a sum of products has room.
const LARGEST: f32 = 8191.0;

impl Query {
    pub(super) fn of(vector: &[f32]) -> Self {
        let scale = largest(vector) / LARGEST;
        Self { numbers: vector.iter().map(|number| rounded(number / scale) as i16).collect(), scale }
    }

    fn product(&self, numbers: &[u8]) -> i32 {
        let products = self.numbers.iter().zip(numbers);
        products.map(|(&query, &number)| i32::from(query) * i32::from(number as i8)).sum()
    }
}

/// The largest number of a vector, whatever its sign; not 0.
fn largest(vector: &[f32]) -> f32 {
    vector.iter().fold(f32::MIN_POSITIVE, |largest, number| largest.max(number.abs()))
}

fn rounded(number: f32) -> f32 {
    if number.is_finite() { number.round_ties_even() } else { 0.0 }
}

/// A vector as a row.
pub(super) fn packed(vector: &[f32]) -> Vec<u8> {
    let scale = largest(vector) / f32::from(i8::MAX);
    let mut row = Vec::with_capacity(row(vector.len()));
    row.extend(scale.to_le_bytes());
    row.extend(vector.iter().map(|number| rounded(number / scale) as i8 as u8));
    row
}

/// A whole file of rows.
pub(super) fn bytes<'a>(dimensions: usize, rows: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = head(dimensions, rows.len());
    rows.for_each(|row| bytes.extend(row));
    bytes
}

fn head(dimensions: usize, passages: usize) -> Vec<u8> {
    let mut head = MAGIC.to_vec();
    head.extend((dimensions as u32).to_le_bytes());
    head.extend((passages as u32).to_le_bytes());
    head
}

/// A file of rows that is not complete yet.
pub(super) struct Growing {
    file: File,
    rows: usize,
}

impl Growing {
    /// Goes on with a file, or begins one. What is there must be for as many passages.
    pub(super) fn open(path: &Path, passages: usize, dimensions: usize) -> Result<Self> {
        let head = head(dimensions, passages);
        let open = || {
            let there = std::fs::read(path).unwrap_or_default();
            let known = there.starts_with(&head);
            let rows = if known { (there.len() - HEAD) / row(dimensions) } else { 0 };
            if known {
                // The last row may have been written in part.
                fs::cut(path, (HEAD + rows * row(dimensions)) as u64)?;
            } else {
                std::fs::write(path, &head)?;
            }
            let file = OpenOptions::new().append(true).open(path)?;
            Ok(Self { file, rows })
        };
        open().map_err(|source| fs::Error::Write { path: path.to_owned(), source }.into())
    }

    /// How many passages have their row.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows.
    pub(super) fn add(&mut self, path: &Path, vectors: &[Vec<f32>]) -> Result<()> {
        let bytes: Vec<u8> = vectors.iter().flat_map(|vector| packed(vector)).collect();
        self.rows += vectors.len();
        self.file
            .write_all(&bytes)
            .map_err(|source| fs::Error::Write { path: path.to_owned(), source }.into())
    }

    /// Gives the file the name of a complete one.
    pub(super) fn complete(self, path: &Path, complete: &Path) -> Result<()> {
        fs::complete(&self.file, path, complete)
            .map_err(|source| fs::Error::Write { path: complete.to_owned(), source }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(seed: u32, dimensions: usize) -> Vec<f32> {
        let mut state = seed;
        let numbers = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        });
        let numbers: Vec<f32> = numbers.take(dimensions).collect();
        let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
        numbers.iter().map(|number| number / length).collect()
    }

    #[test]
    fn products_are_cosines_and_a_file_grows_over_several_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (growing, complete) = (dir.path().join("a.part"), dir.path().join("a.vectors"));
        let vectors: Vec<Vec<f32>> = (0..50).map(|seed| vector(seed, 384)).collect();
        let mut file = Growing::open(&growing, 50, 384).unwrap();
        file.add(&growing, &vectors[..20]).unwrap();
        file.file.write_all(&[1, 2, 3]).unwrap();
        drop(file);
        assert!(Vectors::open(&growing, 50, 384).is_err());
        let mut file = Growing::open(&growing, 50, 384).unwrap();
        assert_eq!(file.rows(), 20);
        file.add(&growing, &vectors[20..]).unwrap();
        file.complete(&growing, &complete).unwrap();
        let found = Vectors::open(&complete, 50, 384).unwrap();
        let query = vector(99, 384);
        for (product, other) in found.products(&Query::of(&query)).iter().zip(&vectors) {
            let expected: f32 = query.iter().zip(other).map(|(a, b)| a * b).sum();
            assert!((product - expected).abs() < 2e-3, "{product} {expected}");
        }
        assert_eq!(found.row(7), packed(&vectors[7]));
        // Another number of passages or dimensions: from the start.
        assert_eq!(Growing::open(&complete, 51, 384).unwrap().rows(), 0);
    }

    #[test]
    fn a_vector_of_nothing_is_far_from_everything() {
        let query = Query::of(&[0.6, 0.8]);
        let row = packed(&[0.0, 0.0]);
        assert_eq!(query.product(&row[4..]), 0);
        assert!(packed(&[f32::NAN, 1.0])[4..] == [0, 127]);
    }
}
