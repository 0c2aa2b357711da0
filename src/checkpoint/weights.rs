//! The tensors of a checkpoint by name, read where they lie and widened to f32 when asked for.
//!
//! Safetensors files are mapped, not copied: a vocabulary of a quarter of a million rows costs nothing until rows of it are
//! looked up. A two-dimensional tensor may also be stored as 8-bit integers with one quantisation scale per row in a companion
//! tensor called `<name>.scale`; that is how the built-in model is kept small.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use candle_core::pickle::PthTensors;
use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};

use crate::checkpoint::error::{Error, Result};
use crate::checkpoint::{FileBytes, ModelFile, ModelFiles};

/// The suffix of the tensor that holds the quantisation scales of an 8-bit one.
pub(crate) const SCALE_SUFFIX: &str = ".scale";

/// All tensors of one checkpoint.
pub struct Weights {
    shards: Vec<Shard>,
    tensors: BTreeMap<String, Stored>,
}

enum Shard {
    Safetensors { file: ModelFile, bytes: Arc<FileBytes> },
    Pickle { file: ModelFile, tensors: PthTensors },
}

impl Shard {
    fn file(&self) -> &ModelFile {
        match self {
            Shard::Safetensors { file, .. } | Shard::Pickle { file, .. } => file,
        }
    }
}

struct Stored {
    shard: usize,
    shape: Vec<usize>,
    place: Place,
}

impl Stored {
    fn kind(&self) -> Kind {
        match self.place {
            Place::Bytes { kind, .. } => kind,
            // Widened when it is unpacked.
            Place::Archive => Kind::F32,
        }
    }
}

enum Place {
    /// Bytes of a mapped file.
    Bytes { kind: Kind, range: Range<usize> },
    /// To be unpacked from an archive.
    Archive,
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    F32,
    F16,
    Bf16,
    I8,
}

impl Kind {
    fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Kind::F32),
            Dtype::F16 => Some(Kind::F16),
            Dtype::BF16 => Some(Kind::Bf16),
            Dtype::I8 => Some(Kind::I8),
            _ => None,
        }
    }

    fn size(self) -> usize {
        match self {
            Kind::F32 => 4,
            Kind::F16 | Kind::Bf16 => 2,
            Kind::I8 => 1,
        }
    }

    /// Widens stored numbers and hands each to `put` with its place; `bytes` and `out` hold equally many.
    fn widen(self, bytes: &[u8], scale: f32, out: &mut [f32], put: impl Fn(&mut f32, f32)) {
        match self {
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
        let (header, metadata) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| file.bad(format!("its safetensors header does not describe it: {error}")))?;
        let data = header + size_of::<u64>();
        for (name, info) in metadata.tensors() {
            let Some(kind) = Kind::of(info.dtype) else { continue };
            let range = data + info.data_offsets.0..data + info.data_offsets.1;
            let stored = Stored {
                shard: self.shards.len(),
                shape: info.shape.clone(),
                place: Place::Bytes { kind, range },
            };
            self.tensors.insert(name, stored);
        }
        self.shards.push(Shard::Safetensors { file, bytes: Arc::new(bytes) });
        Ok(())
    }

    fn add_pickle(&mut self, file: ModelFile) -> Result<()> {
        let Some(path) = file.path() else {
            return Err(file.bad("a built-in model must be in safetensors form"));
        };
        let size = file.size()?;
        // The pickle reader builds a description of the data and executes nothing, but it may panic on a stream that
        // no torch.save wrote.
        let tensors = catch_unwind(AssertUnwindSafe(|| PthTensors::new(path, None)))
            .map_err(|_| file.bad("it is not what torch.save writes"))?
            .map_err(|error| file.bad(format!("it cannot be read as a PyTorch state dictionary: {error}")))?;
        for (name, info) in tensors.tensor_infos() {
            let elements = info.layout.shape().dims().iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
            let bytes = elements.and_then(|n| n.checked_mul(info.dtype.size_in_bytes()));
            if bytes.is_none_or(|bytes| bytes as u64 > size) {
                return Err(file.bad(format!("{name} claims to be larger than the file")));
            }
            let shape = info.layout.shape().dims().to_vec();
            self.tensors
                .insert(name.clone(), Stored { shard: self.shards.len(), shape, place: Place::Archive });
        }
        self.shards.push(Shard::Pickle { file, tensors });
        Ok(())
    }

    /// The names of all tensors that hold numbers.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Whether matrices are stored as 8-bit integers, as `spanqa models pack` leaves them.
    pub fn are_quantised(&self) -> bool {
        self.tensors.values().any(|stored| stored.kind() == Kind::I8)
    }

    /// The bytes of a tensor that is stored as 8-bit integers; `None` for any other.
    pub(crate) fn codes(&self, name: &str) -> Option<&[u8]> {
        let stored = self.tensors.get(name)?;
        match (&stored.place, &self.shards[stored.shard]) {
            (Place::Bytes { kind: Kind::I8, range }, Shard::Safetensors { bytes, .. }) => {
                Some(&bytes[range.clone()])
            }
            _ => None,
        }
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
                file: self.shards[stored.shard].file().label(),
                tensor: name.into(),
                expected: expected.into(),
                found: stored.shape.as_slice().into(),
            });
        }
        Ok(())
    }

    fn rows(&self, name: &str, rows: usize, columns: usize) -> Result<Rows> {
        let stored = &self.tensors[name];
        let (kind, data) = match (&stored.place, &self.shards[stored.shard]) {
            (Place::Bytes { kind, range }, Shard::Safetensors { bytes, .. }) => {
                (*kind, RowData::Mapped { bytes: Arc::clone(bytes), range: range.clone() })
            }
            (_, shard) => (Kind::F32, RowData::Owned(unpack(shard, name)?)),
        };
        let scale = if kind == Kind::I8 { self.scales(name, rows)? } else { Vec::new() };
        Ok(Rows { data, kind, columns, rows, scale })
    }

    /// The quantisation scales of a tensor of 8-bit integers. They are numbers themselves: scales of scales could go on for ever.
    pub(crate) fn scales(&self, name: &str, rows: usize) -> Result<Vec<f32>> {
        let scales = format!("{name}{SCALE_SUFFIX}");
        if let Some(stored) = self.tensors.get(&scales).filter(|stored| stored.kind() == Kind::I8) {
            let file = self.shards[stored.shard].file();
            return Err(file.bad(format!("{scales} holds 8-bit integers, expected f32, f16 or bf16")));
        }
        self.read(&[scales], &[rows])
    }

    fn missing(&self, name: &str) -> Error {
        Error::MissingTensor { file: self.label(), tensor: name.into(), known: self.tensors.len() }
    }

    /// How messages call the file.
    pub(crate) fn label(&self) -> String {
        self.shards.first().map(|shard| shard.file().label()).unwrap_or_default()
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

/// Unpacks one tensor of a PyTorch archive.
fn unpack(shard: &Shard, name: &str) -> Result<Vec<f32>> {
    let Shard::Pickle { file, tensors } = shard else { return Ok(Vec::new()) };
    let offset = tensors.tensor_infos().get(name).map_or(0, |info| info.layout.start_offset());
    if offset > 0 {
        return Err(file.bad(format!(
            "{name} is a view into another tensor; save it with .contiguous() or as safetensors"
        )));
    }
    let numbers = catch_unwind(AssertUnwindSafe(|| -> candle_core::Result<Option<Vec<f32>>> {
        let Some(tensor) = tensors.get(name)? else { return Ok(None) };
        tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1().map(Some)
    }));
    match numbers {
        Ok(Ok(Some(numbers))) => Ok(numbers),
        Ok(Ok(None)) | Err(_) => Err(file.bad(format!("{name} cannot be unpacked"))),
        Ok(Err(error)) => Err(file.bad(format!("{name} cannot be unpacked: {error}"))),
    }
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
