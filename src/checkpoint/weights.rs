//! The tensors of a checkpoint by name, read where they lie and widened to f32 when asked for.
//!
//! Safetensors files are mapped, not copied: a vocabulary of a quarter of a million rows costs nothing until rows of it are
//! looked up. A two-dimensional tensor may also be stored as 8-bit integers with one quantisation scale per row in a companion
//! tensor called `<name>.scale`; that is how the built-in model is kept small.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use super::archive::Archive;
use super::pickle;
use crate::checkpoint::error::{Error, Result};
use crate::checkpoint::{FileBytes, ModelFile, ModelFiles};

/// The suffix of the tensor that holds the quantisation scales of an 8-bit one.
pub(crate) const SCALE_SUFFIX: &str = ".scale";
/// The longest header of a safetensors file, in bytes. The largest models have a thousand tensors, of some 100 bytes each.
const LONGEST_HEADER: u64 = 10 << 20;

/// All tensors of one checkpoint.
pub struct Weights {
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Stored>,
}

/// A file with some of the tensors.
struct Shard {
    file: ModelFile,
    bytes: Arc<FileBytes>,
}

struct Stored {
    shard: usize,
    shape: Vec<usize>,
    place: Place,
}

/// Where the numbers of a tensor lie in its file.
struct Place {
    kind: Kind,
    range: Range<usize>,
    /// How far apart neighbours in a row and rows are, where they are not one after the other.
    strides: Option<[usize; 2]>,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F64,
    F32,
    F16,
    Bf16,
    I8,
}

impl Kind {
    fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F64 => Some(Kind::F64),
            Dtype::F32 => Some(Kind::F32),
            Dtype::F16 => Some(Kind::F16),
            Dtype::BF16 => Some(Kind::Bf16),
            Dtype::I8 => Some(Kind::I8),
            _ => None,
        }
    }

    /// The same for the storages of PyTorch.
    fn of_storage(class: &str) -> Option<Self> {
        match class {
            "DoubleStorage" => Some(Kind::F64),
            "FloatStorage" => Some(Kind::F32),
            "HalfStorage" => Some(Kind::F16),
            "BFloat16Storage" => Some(Kind::Bf16),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Kind::F64 => 8,
            Kind::F32 => 4,
            Kind::F16 | Kind::Bf16 => 2,
            Kind::I8 => 1,
        }
    }

    /// Widens stored numbers and hands each to `put` with its place; `bytes` and `out` hold equally many.
    fn widen(self, bytes: &[u8], scale: f32, out: &mut [f32], put: impl Fn(&mut f32, f32)) {
        match self {
            Kind::F64 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    put(value, f64::from_le_bytes(*bytes) as f32);
                }
            }
            Kind::F32 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    put(value, f32::from_le_bytes(*bytes));
                }
            }
            Kind::F16 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    put(value, f16::from_le_bytes(*bytes).to_f32());
                }
            }
            Kind::Bf16 => {
                for (value, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                    put(value, bf16::from_le_bytes(*bytes).to_f32());
                }
            }
            Kind::I8 => {
                for (value, &byte) in out.iter_mut().zip(bytes) {
                    put(value, f32::from(byte as i8) * scale);
                }
            }
        }
    }
}

impl Weights {
    /// Opens the weights of a model in whichever form it has them.
    pub fn open(files: &ModelFiles) -> Result<Self> {
        const FORMS: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
        for whole in FORMS {
            let index = format!("{whole}.index.json");
            let shards = match (files.get(whole), files.get(&index)) {
                (Some(file), _) => vec![file.clone()],
                (None, Some(index)) => shards(files, index)?,
                (None, None) => continue,
            };
            let mut weights = Weights { shards: Vec::new(), tensors: BTreeMap::new() };
            for file in shards {
                if whole == FORMS[0] { weights.add_safetensors(file)? } else { weights.add_pickle(file)? }
            }
            return Ok(weights);
        }
        Err(Error::MissingFile {
            model: files.name.clone(),
            wanted: "model.safetensors, model.safetensors.index.json or pytorch_model.bin".into(),
        })
    }

    fn add_safetensors(&mut self, file: ModelFile) -> Result<()> {
        let bytes = file.map()?;
        let length = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
        if length > LONGEST_HEADER && length < bytes.len() as u64 {
            return Err(file.bad(format!(
                "its safetensors header has {length} bytes; {LONGEST_HEADER} are the most that are read"
            )));
        }
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| file.bad(format!("its safetensors header does not describe it: {error}")))?;
        let data = header + size_of::<u64>();
        for (name, info) in metadata.tensors() {
            let Some(kind) = Kind::of(info.dtype) else { continue };
            let range = data + info.data_offsets.0..data + info.data_offsets.1;
            let stored = Stored {
                shard: self.shards.len(),
                shape: info.shape.clone(),
                place: Place { kind, range, strides: None },
            };
            self.tensors.insert(name, stored);
        }
        self.shards.push(Shard { file, bytes: Arc::new(bytes) });
        Ok(())
    }

    fn add_pickle(&mut self, file: ModelFile) -> Result<()> {
        let bytes = file.map()?;
        let bad = |reason| file.bad(reason);
        let archive = Archive::read(&bytes).map_err(bad)?;
        let (folder, range) =
            archive.ending_in("/data.pkl").ok_or_else(|| file.bad("its archive has no state dictionary"))?;
        let order = archive.get(&format!("{folder}/byteorder")).and_then(|range| bytes.get(range));
        if order.is_some_and(|order| order != b"little") {
            return Err(file.bad("its numbers are big-endian; save it as safetensors"));
        }
        let tensors = pickle::tensors(bytes.get(range).unwrap_or_default()).map_err(bad)?;
        for tensor in tensors {
            let Some(kind) = Kind::of_storage(tensor.class) else { continue };
            let storage = archive
                .get(&format!("{folder}/data/{}", tensor.storage))
                .ok_or_else(|| file.bad(format!("the numbers of {} are not in its archive", tensor.name)))?;
            let place = placed(&tensor, kind, storage).map_err(bad)?;
            let stored = Stored { shard: self.shards.len(), shape: tensor.shape, place };
            self.tensors.insert(tensor.name.to_owned(), stored);
        }
        self.shards.push(Shard { file, bytes: Arc::new(bytes) });
        Ok(())
    }

    /// The names of all tensors that hold numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether matrices are stored as 8-bit integers, as `spanqa models pack` leaves them.
    pub fn are_quantised(&self) -> bool {
        self.tensors.values().any(|stored| stored.place.kind == Kind::I8)
    }

    /// The bytes of a tensor that is stored as 8-bit integers; `None` for any other.
    pub(crate) fn codes(&self, name: &str) -> Option<&[u8]> {
        let stored = self.tensors.get(name)?;
        let Place { kind, range, .. } = &stored.place;
        (*kind == Kind::I8).then(|| &self.shards[stored.shard].bytes[range.clone()])
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|stored| stored.shape.as_slice())
    }

    /// What stands before `module` in this checkpoint's names: `bert.`, nothing, or what a training framework added.
    pub(crate) fn prefix_of(&self, module: &str) -> Result<String> {
        let suffix = format!("{module}.weight");
        let found =
            self.names().filter_map(|name| name.strip_suffix(&suffix)).min_by_key(|prefix| prefix.len());
        found.map(str::to_owned).ok_or_else(|| self.missing(&suffix))
    }

    /// The module whose name ends in `module`, with all that stands before it in this checkpoint.
    pub(crate) fn module(&self, module: &str) -> Option<String> {
        let suffix = format!("{module}.weight");
        let starts_a_name = |before: &str| before.is_empty() || before.ends_with('.');
        let found = |name: &&str| name.strip_suffix(&suffix).is_some_and(starts_a_name);
        self.names().find(found)?.strip_suffix(".weight").map(str::to_owned)
    }

    /// Refuses a checkpoint without that tensor.
    pub(crate) fn require(&self, name: &str) -> Result<()> {
        if self.tensors.contains_key(name) { Ok(()) } else { Err(self.missing(name)) }
    }

    /// A one-dimensional tensor of `length` numbers. `names` are alternatives, the present name first.
    pub(crate) fn vector(&self, names: &[String], length: usize) -> Result<Vec<f32>> {
        self.read(names, &[length])
    }

    /// Weight and bias of a normalisation under their present or their TensorFlow-era names.
    pub(crate) fn norm(&self, module: &str, width: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let read = |now: &str, then: &str| {
            self.vector(&[format!("{module}.{now}"), format!("{module}.{then}")], width)
        };
        Ok((read("weight", "gamma")?, read("bias", "beta")?))
    }

    /// A two-dimensional tensor, row by row.
    pub(crate) fn matrix(&self, name: &str, rows: usize, columns: usize) -> Result<Vec<f32>> {
        self.read(&[name.to_owned()], &[rows, columns])
    }

    fn read(&self, names: &[String], shape: &[usize]) -> Result<Vec<f32>> {
        Ok(self.tensor(names, shape)?.into_all())
    }

    /// A tensor of one or two dimensions, left where it is if it can be; one of one dimension is a single row. `names` are
    /// alternatives, the present name first.
    pub(crate) fn tensor(&self, names: &[String], shape: &[usize]) -> Result<Rows> {
        let name = names.iter().find(|name| self.tensors.contains_key(*name));
        let name = name.ok_or_else(|| self.missing(&names[0]))?;
        let columns = shape.last().copied().unwrap_or(1);
        let rows = shape.iter().product::<usize>() / columns.max(1);
        self.expect_shape(name, shape)?;
        self.rows(name, rows, columns)
    }

    /// A table whose rows are looked up one by one, left where it is if it can be.
    pub(crate) fn table(&self, name: &str, rows: usize, columns: usize) -> Result<Rows> {
        self.expect_shape(name, &[rows, columns])?;
        self.rows(name, rows, columns)
    }

    /// Refuses a tensor that is not there or has another shape.
    pub(crate) fn expect_shape(&self, name: &str, expected: &[usize]) -> Result<()> {
        let stored = self.tensors.get(name).ok_or_else(|| self.missing(name))?;
        if stored.shape != expected {
            return Err(Error::WrongShape {
                file: self.shards[stored.shard].file.label(),
                tensor: name.into(),
                expected: expected.into(),
                found: stored.shape.as_slice().into(),
            });
        }
        Ok(())
    }

    fn rows(&self, name: &str, rows: usize, columns: usize) -> Result<Rows> {
        let stored = &self.tensors[name];
        let Place { kind, ref range, strides } = stored.place;
        let bytes = &self.shards[stored.shard].bytes;
        let (kind, data) = match strides {
            None => (kind, RowData::Mapped { bytes: Arc::clone(bytes), range: range.clone() }),
            Some(strides) => {
                (Kind::F32, RowData::Owned(gathered(&bytes[range.clone()], kind, [rows, columns], strides)))
            }
        };
        let scale = if kind == Kind::I8 { self.scales(name, rows)? } else { Vec::new() };
        Ok(Rows { data, kind, columns, rows, scale })
    }

    /// The quantisation scales of a tensor of 8-bit integers. They are numbers themselves: scales of scales could go on for ever.
    pub(crate) fn scales(&self, name: &str, rows: usize) -> Result<Vec<f32>> {
        let scales = format!("{name}{SCALE_SUFFIX}");
        if let Some(stored) = self.tensors.get(&scales).filter(|stored| stored.place.kind == Kind::I8) {
            let file = &self.shards[stored.shard].file;
            return Err(file.bad(format!("{scales} holds 8-bit integers, expected f32, f16 or bf16")));
        }
        self.read(&[scales], &[rows])
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { file: self.label(), tensor: name.into(), known: self.tensors.len() }
    }

    /// How messages call the file.
    pub(crate) fn label(&self) -> String {
        self.shards.first().map(|shard| shard.file.label()).unwrap_or_default()
    }
}

/// The files that an index names, each once.
fn shards(files: &ModelFiles, index: &ModelFile) -> Result<Vec<ModelFile>> {
    let json: serde_json::Value = serde_json::from_slice(&index.read()?)
        .map_err(|error| index.bad(format!("it is not JSON: {error}")))?;
    let map = json.get("weight_map").and_then(|map| map.as_object());
    let map = map.ok_or_else(|| index.bad("it has no weight_map"))?;
    let names: Option<BTreeSet<&str>> = map.values().map(|name| name.as_str()).collect();
    let names =
        names.filter(|names| !names.is_empty()).ok_or_else(|| index.bad("its weight_map names no files"))?;
    names.into_iter().map(|name| files.require(name).cloned()).collect()
}

/// Where a tensor of a PyTorch archive lies. It may be a part of its storage, and one of two dimensions may be transposed.
fn placed(tensor: &pickle::Tensor, kind: Kind, storage: Range<usize>) -> Result<Place, String> {
    let pickle::Tensor { name, offset, shape, strides, .. } = tensor;
    let in_bytes = |numbers: usize| numbers.checked_mul(kind.size());
    let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    // One after the last number, counted from the first.
    let last = match elements {
        Some(0) => Some(0),
        _ => shape.iter().zip(strides).try_fold(1usize, |sum, (size, stride)| {
            sum.checked_add(size.saturating_sub(1).checked_mul(*stride)?)
        }),
    };
    let start = in_bytes(*offset).and_then(|offset| storage.start.checked_add(offset));
    let end = |numbers: Option<usize>| start?.checked_add(in_bytes(numbers?)?);
    let inside = |end: Option<usize>| end.is_some_and(|end| end <= storage.end);
    let (Some(start), Some(last_end)) = (start, end(last)) else {
        return Err(format!("{name} claims to be larger than the file"));
    };
    // Numbers that are read many times, as a stride of zero makes them, count as often as they are read.
    if !inside(end(elements)) || !inside(Some(last_end)) {
        return Err(format!("{name} claims to be larger than the file"));
    }
    let mut step = 1usize;
    let in_order = shape.iter().zip(strides).rev().all(|(size, stride)| {
        let expected = step;
        step = expected.wrapping_mul(*size);
        *size == 1 || *stride == expected
    });
    let strides = match strides[..] {
        _ if in_order => None,
        [rows, columns] => Some([rows, columns]),
        _ => {
            return Err(format!(
                "{name} is a view into another tensor; save it with .contiguous() or as safetensors"
            ));
        }
    };
    Ok(Place { kind, range: start..last_end, strides })
}

/// The numbers of a table that does not lie in the order of its rows.
fn gathered(bytes: &[u8], kind: Kind, [rows, columns]: [usize; 2], strides: [usize; 2]) -> Vec<f32> {
    let mut numbers = vec![0.0; rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            let at = (row * strides[0] + column * strides[1]) * kind.size();
            let number = &mut numbers[row * columns + column..][..1];
            kind.widen(&bytes[at..at + kind.size()], 1.0, number, |place, number| *place = number);
        }
    }
    numbers
}

/// A two-dimensional tensor whose rows are widened when they are looked up.
pub(crate) struct Rows {
    data: RowData,
    kind: Kind,
    columns: usize,
    rows: usize,
    scale: Vec<f32>,
}

enum RowData {
    Mapped { bytes: Arc<FileBytes>, range: Range<usize> },
    Owned(Vec<f32>),
}

impl Rows {
    /// A table of numbers that are here already.
    pub(crate) fn from_numbers(numbers: Vec<f32>, columns: usize) -> Self {
        let rows = numbers.len() / columns;
        Rows { data: RowData::Owned(numbers), kind: Kind::F32, columns, rows, scale: Vec::new() }
    }

    /// How many rows there are.
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// Writes row `row` to `out`, which has one place per column.
    pub(crate) fn copy_row(&self, row: usize, out: &mut [f32]) {
        self.read_row(row, out, |place, number| *place = number);
    }

    /// Writes row `row` as it is stored to `out` and returns its scale, if it is stored as integers between -127 and 127.
    pub(crate) fn copy_codes(&self, row: usize, out: &mut [i8]) -> Option<f32> {
        let RowData::Mapped { bytes, range } = &self.data else { return None };
        let scale = *self.scale.get(row)?;
        let stored = &bytes[range.clone()][row * self.columns..][..self.columns];
        out.iter_mut().zip(stored).for_each(|(code, byte)| *code = *byte as i8);
        // Without a branch, so that vectors can do it.
        let is_in_range = out.iter().fold(true, |all, code| all & (*code != i8::MIN));
        is_in_range.then_some(scale)
    }

    /// Adds row `row` to `out`.
    pub(crate) fn add_row(&self, row: usize, out: &mut [f32]) {
        self.read_row(row, out, |place, number| *place += number);
    }

    #[inline]
    fn read_row(&self, row: usize, out: &mut [f32], put: impl Fn(&mut f32, f32)) {
        match &self.data {
            RowData::Owned(numbers) => {
                let numbers = &numbers[row * self.columns..][..self.columns];
                out.iter_mut().zip(numbers).for_each(|(place, number)| put(place, *number));
            }
            RowData::Mapped { bytes, range } => {
                let width = self.columns * self.kind.size();
                let start = range.start + row * width;
                let scale = self.scale.get(row).copied().unwrap_or(1.0);
                self.kind.widen(&bytes[start..start + width], scale, out, put);
            }
        }
    }

    /// All numbers, row by row.
    pub(crate) fn into_all(self) -> Vec<f32> {
        if let RowData::Owned(numbers) = self.data {
            return numbers;
        }
        let mut all = vec![0.0; self.rows * self.columns];
        for (row, out) in all.chunks_exact_mut(self.columns.max(1)).enumerate() {
            self.copy_row(row, out);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(offset: usize, shape: &[usize], strides: &[usize]) -> pickle::Tensor<'static> {
        let (shape, strides) = (shape.to_vec(), strides.to_vec());
        pickle::Tensor { name: "w", class: "FloatStorage", storage: "0", offset, shape, strides }
    }

    /// In a storage of six numbers at the bytes 100 to 124.
    fn place(offset: usize, shape: &[usize], strides: &[usize]) -> Result<(Range<usize>, bool), String> {
        let place = placed(&tensor(offset, shape, strides), Kind::F32, 100..124)?;
        Ok((place.range, place.strides.is_none()))
    }

    #[test]
    fn a_tensor_lies_inside_its_storage() {
        assert_eq!(place(0, &[2, 3], &[3, 1]), Ok((100..124, true)));
        assert_eq!(place(2, &[4], &[1]), Ok((108..124, true)));
        assert_eq!(place(0, &[3, 2], &[1, 3]), Ok((100..124, false)));
        assert_eq!(place(1, &[2, 2], &[3, 1]), Ok((104..124, false)), "columns of a table");
        assert_eq!(
            place(0, &[1, 6], &[77, 1]),
            Ok((100..124, true)),
            "the stride of a single row says nothing"
        );
        assert_eq!(place(6, &[0, 5], &[5, 1]), Ok((124..124, true)));
        for (offset, shape, strides) in [
            (1, &[2, 3][..], &[3, 1][..]),
            (0, &[7], &[1]),
            (7, &[0], &[1]),
            (0, &[2, 2], &[5, 1]),
            (0, &[1000, 1000], &[0, 0]),
            (usize::MAX, &[1], &[1]),
            (0, &[usize::MAX, 2], &[1, 1]),
            (0, &[2, 2], &[usize::MAX, usize::MAX]),
            (0, &[6], &[2]),
        ] {
            assert!(place(offset, shape, strides).unwrap_err().contains("larger than the file"), "{shape:?}");
        }
        assert!(place(0, &[3], &[2]).unwrap_err().contains(".contiguous()"));
    }

    #[test]
    fn stored_codes_are_read_as_they_are() {
        static BYTES: [u8; 6] = [127, 0x81, 3, 0x80, 5, 6];
        let mapped = RowData::Mapped { bytes: Arc::new(FileBytes::Static(&BYTES)), range: 0..6 };
        let rows = Rows { data: mapped, kind: Kind::I8, columns: 3, rows: 2, scale: vec![0.5, 2.0] };
        let mut codes = [0; 3];
        assert_eq!(rows.copy_codes(0, &mut codes), Some(0.5));
        assert_eq!(codes, [127, -127, 3]);
        assert_eq!(rows.copy_codes(1, &mut codes), None, "-128 is beyond what products take");
        assert_eq!(Rows::from_numbers(vec![1.0; 3], 3).copy_codes(0, &mut codes), None);
    }

    #[test]
    fn a_transposed_table_is_read_by_its_rows() {
        let bytes: Vec<u8> = (0..6).flat_map(|number| f64::from(number).to_le_bytes()).collect();
        assert_eq!(gathered(&bytes, Kind::F64, [3, 2], [1, 3]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }
}
