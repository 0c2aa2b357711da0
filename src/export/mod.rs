//! A model leaves for other programs: transformers, ONNX Runtime, OpenVINO, transformers.js, llama.cpp.
//!
//! ```text
//! ModelFiles -> Model: tensors under transformers' names -> safetensors | onnx | gguf -> FileSet -> a folder, whole or not at all
//!                                                   companions: config.json, tokenizer, pooling -^
//!                                                   check: inputs and what the model says of them -^
//! ```
//!
//! Weights go from the file where they lie to the file that is written, a part of a tensor at a time, so that a model of any size can be
//! exported in little memory.

mod check;
mod companions;
pub mod error;
pub mod gguf;
mod model;
mod number;
pub mod onnx;
mod place;
mod safetensors;

use std::path::Path;

pub use self::error::{Error, Result};
use self::model::{Head, Model};
pub use self::number::Dtype;
use self::number::Float;
use self::onnx::Storage;
use self::place::FileSet;
use crate::checkpoint::ModelFiles;
use crate::checkpoint::quantised::pack;

/// The form of an exported model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A folder as transformers keeps them.
    #[default]
    Safetensors,
    /// A graph of operators with its weights.
    Onnx,
    /// An embedder as llama.cpp reads it.
    Gguf,
}

/// Where the files of a graph lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// `model.onnx` beside config.json, as optimum has it.
    #[default]
    Optimum,
    /// Below `onnx`, with the number type in the name, as transformers.js looks for it. Several types share a folder.
    TransformersJs,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Onnx => "onnx",
            Self::Gguf => "gguf",
        }
    }
}

/// What is wanted of an export.
#[derive(Debug, Clone)]
pub struct Options {
    /// The form.
    pub format: Format,
    /// How numbers are stored.
    pub dtype: Dtype,
    /// Where the files of a graph lie.
    pub layout: Layout,
    /// A graph whose tensors take more bytes has them in a second file.
    pub largest_graph: u64,
    /// Whether files that are in the way are replaced.
    pub force: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::default(),
            dtype: Dtype::default(),
            layout: Layout::default(),
            largest_graph: onnx::LARGEST,
            force: false,
        }
    }
}

impl Options {
    fn no_such_type(&self, known: &'static str) -> Error {
        Error::NoSuchType { format: self.format.name(), dtype: self.dtype.name(), known }
    }
}

/// The name of the file with numbers to compare with.
pub const CHECK: &str = "check.jsonl";

/// Writes a model into a folder, whole or not at all, and says which files it has now and how large they are.
pub fn export(files: &ModelFiles, folder: &Path, options: &Options) -> Result<Vec<(String, u64)>> {
    let model = Model::open(files)?;
    let mut set = FileSet::begin(folder)?;
    match options.format {
        Format::Safetensors => {
            add_safetensors(&mut set, &model, files, options)?;
            companions::add(&mut set, &model, files, companions::stored_as(options.dtype))?;
        }
        Format::Onnx => {
            let name = add_onnx(&mut set, &model, options)?;
            companions::add(&mut set, &model, files, |config| {
                if let (Layout::TransformersJs, Some(split)) = (options.layout, name) {
                    companions::data_beside(config, &split);
                }
            })?;
        }
        Format::Gguf => {
            add_gguf(&mut set, &model, files, options)?;
            companions::add(&mut set, &model, files, |_| {})?;
        }
    }
    set.add_bytes(CHECK, &check::lines(&model, files)?)?;
    set.place(options.force)
}

fn add_safetensors(set: &mut FileSet, model: &Model, files: &ModelFiles, options: &Options) -> Result<()> {
    const NAME: &str = "model.safetensors";
    // Before time is spent on it.
    set.refuse_early(NAME, options.force)?;
    let float = match options.dtype {
        Dtype::F32 => Float::F32,
        Dtype::F16 => Float::F16,
        Dtype::Bf16 => Float::Bf16,
        Dtype::Int8 => return set.add_made(NAME, |path| Ok(pack(files, path).map(drop)?)),
    };
    set.add(NAME, |output| safetensors::write(model, float, output))
}

/// Returns the name of a graph whose tensors are in a second file.
fn add_onnx(set: &mut FileSet, model: &Model, options: &Options) -> Result<Option<String>> {
    let (storage, suffix) = match options.dtype {
        Dtype::F32 => (Storage::Float(Float::F32), ""),
        Dtype::F16 => (Storage::Float(Float::F16), "_fp16"),
        Dtype::Int8 => (Storage::Int8, "_quantized"),
        Dtype::Bf16 => {
            return Err(options.no_such_type("f32, f16 and int8"));
        }
    };
    let (folder, name) = match options.layout {
        Layout::Optimum => ("", "model.onnx".to_owned()),
        Layout::TransformersJs => ("onnx/", format!("model{suffix}.onnx")),
    };
    let path = format!("{folder}{name}");
    set.refuse_early(&path, options.force)?;
    let split = onnx::add(set, model, storage, &path, options.largest_graph)?;
    Ok(split.then_some(name))
}

fn add_gguf(set: &mut FileSet, model: &Model, files: &ModelFiles, options: &Options) -> Result<()> {
    const NAME: &str = "model.gguf";
    set.refuse_early(NAME, options.force)?;
    let float = match options.dtype {
        Dtype::F32 => Float::F32,
        Dtype::F16 => Float::F16,
        Dtype::Bf16 | Dtype::Int8 => return Err(options.no_such_type("f32 and f16")),
    };
    let Head::Pool(pooling) = &model.head else {
        let reason = "llama.cpp has no question-answering head, and embedders only are of use to it";
        return Err(Error::NotForLlama { model: files.name.clone(), reason });
    };
    set.add(NAME, |output| gguf::write(model, pooling, files, float, output))
}
