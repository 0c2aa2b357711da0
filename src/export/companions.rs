//! The small files of an exported model: config.json, the tokenizer, and how vectors are pooled.

use serde_json::{Map, Value, json};

use super::model::{Head, Model};
use super::number::Dtype;
use super::place::FileSet;
use crate::checkpoint::ModelFiles;
use crate::checkpoint::parts::{EMBEDDING_FILES, TOKENIZER_FILES};
use crate::export::error::Result;

/// Adds all of them. `changes` adapts config.json to what lies beside it.
pub(super) fn add(
    set: &mut FileSet,
    model: &Model,
    files: &ModelFiles,
    changes: impl FnOnce(&mut Map<String, Value>),
) -> Result<()> {
    let file = files.require("config.json")?;
    let mut config: Map<String, Value> = serde_json::from_slice(&file.read()?)
        .map_err(|error| file.bad(format!("it is not JSON: {error}")))?;
    if let Head::Span(_) = model.head {
        config.insert("architectures".into(), json!([model.config.architecture]));
    }
    // Where it came from is nothing that another machine could use.
    config.remove("_name_or_path");
    changes(&mut config);
    set.add_bytes("config.json", format!("{:#}\n", Value::from(config)).as_bytes())?;
    let embedding = match model.head {
        Head::Pool(_) => &EMBEDDING_FILES[..],
        Head::Span(_) => &[],
    };
    for &name in TOKENIZER_FILES.iter().chain(embedding) {
        if let Some(file) = files.get(name) {
            set.add_bytes(name, &file.read()?)?;
        }
    }
    Ok(())
}

/// Says in config.json how the weights beside it are stored.
pub(super) fn stored_as(dtype: Dtype) -> impl FnOnce(&mut Map<String, Value>) {
    move |config| {
        let name = match dtype {
            Dtype::F32 | Dtype::Int8 => "float32",
            Dtype::F16 => "float16",
            Dtype::Bf16 => "bfloat16",
        };
        // transformers 5 calls it `dtype`, and reads the older name as well.
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        config.insert(key.into(), name.into());
        config.remove("quantization_config");
        if dtype == Dtype::Int8 {
            // Other programs would take the integers for the weights themselves: this makes them stop, or warn.
            config.insert("quantization_config".into(), json!({"quant_method": "spanqa"}));
        }
    }
}

/// Says to transformers.js that the tensors of a graph are in a second file.
pub(super) fn data_beside(config: &mut Map<String, Value>, graph: &str) {
    let settings = config.entry("transformers.js_config").or_insert_with(|| json!({}));
    if let Some(settings) = settings.as_object_mut() {
        let split = settings.entry("use_external_data_format").or_insert_with(|| json!({}));
        if let Some(split) = split.as_object_mut() {
            split.insert(graph.into(), true.into());
        }
    }
}
