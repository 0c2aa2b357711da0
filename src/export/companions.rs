//! The small files of an exported model: config.json, the tokenizer, and how vectors are pooled.

use serde_json::{Map, Value, json};

use super::model::{Head, Model};
use super::number::Dtype;
use super::place::FileSet;
use crate::checkpoint::ModelFiles;
use crate::checkpoint::parts::{EMBEDDING_FILES, TOKENIZER_CONFIG, TOKENIZER_FILES};
use crate::export::error::Result;
use crate::text::Tokenizer;

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
    let padding = config.get("pad_token_id").and_then(Value::as_u64);
    set.add_bytes("config.json", format!("{:#}\n", Value::from(config)).as_bytes())?;
    let embedding = match model.head {
        Head::Pool(_) => &EMBEDDING_FILES[..],
        Head::Span(_) => &[],
    };
    let copied = TOKENIZER_FILES.iter().filter(|name| **name != TOKENIZER_CONFIG);
    for &name in copied.chain(embedding) {
        if let Some(file) = files.get(name) {
            set.add_bytes(name, &file.read()?)?;
        }
    }
    // What the families' own code takes when config.json is silent.
    let usual = model.config.position_offset.saturating_sub(1) as u64;
    add_tokenizer(set, model, files, padding.unwrap_or(usual) as u32)
}

/// Adds what the newer programs want of a tokenizer and older models lack: tokenizer.json, and the names of special tokens.
fn add_tokenizer(set: &mut FileSet, model: &Model, files: &ModelFiles, padding: u32) -> Result<()> {
    let tokenizer = Tokenizer::from_files(files)?;
    if files.get("tokenizer.json").is_none() {
        set.add_bytes("tokenizer.json", tokenizer.to_json()?.to_string().as_bytes())?;
    }
    let mut config: Map<String, Value> = match files.get(TOKENIZER_CONFIG) {
        Some(file) => serde_json::from_slice(&file.read()?)
            .map_err(|error| file.bad(format!("it is not a JSON object: {error}")))?,
        None => Map::new(),
    };
    let template = tokenizer.template();
    for (key, id) in [
        ("cls_token", template.prefix.first().copied()),
        ("sep_token", template.suffix.last().copied()),
        ("unk_token", tokenizer.unknown()),
        ("pad_token", Some(padding)),
    ] {
        if let Some(token) = id.and_then(|id| tokenizer.token(id)) {
            config.entry(key).or_insert_with(|| token.into());
        }
    }
    config.entry("model_max_length").or_insert_with(|| model.config.usable_positions().into());
    set.add_bytes(TOKENIZER_CONFIG, format!("{:#}\n", Value::from(config)).as_bytes())
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
