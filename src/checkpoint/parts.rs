//! Which files make a model: the one rule for a listing on the hub and for a folder in the cache.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// Tokenizers from best to oldest: whichever is complete first is taken.
const TOKENIZERS: [&[&str]; 4] =
    [&["tokenizer.json"], &["vocab.txt"], &["vocab.json", "merges.txt"], &["sentencepiece.bpe.model"]];

/// Says, among other things, whether a tokenizer without tokenizer.json lowercases.
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";

/// The files that make a tokenizer, in any of the families.
pub(crate) const TOKENIZER_FILES: [&str; 8] = [
    "tokenizer.json",
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
];

/// What a sentence-transformers model is made of, in order: the encoder, pooling, normalisation.
pub(crate) const MODULES: &str = "modules.json";

/// How that model makes one vector of a text.
pub(crate) const POOLING: &str = "1_Pooling/config.json";

/// The files that make a sentence-transformers model of an encoder.
pub(crate) const EMBEDDING_FILES: [&str; 4] =
    [MODULES, "sentence_bert_config.json", "config_sentence_transformers.json", POOLING];

/// Files below a model's folder that belong to the model. There are few such names, and none comes from outside.
pub(crate) const NESTED: [&str; 4] =
    [POOLING, "onnx/model.onnx", "onnx/model_fp16.onnx", "onnx/model_quantized.onnx"];

/// Small files that change how a model works, taken when they are there.
const COMPANIONS: [&str; 7] = [
    TOKENIZER_CONFIG,
    "special_tokens_map.json",
    "added_tokens.json",
    EMBEDDING_FILES[0],
    EMBEDDING_FILES[1],
    EMBEDDING_FILES[2],
    EMBEDDING_FILES[3],
];

/// Weights from best to oldest, and whether the file is only the index of its shards.
const WEIGHTS: [(&str, bool); 4] = [
    ("model.safetensors", false),
    ("model.safetensors.index.json", true),
    ("pytorch_model.bin", false),
    ("pytorch_model.bin.index.json", true),
];

/// The choice among the files of a repository.
#[derive(Debug, PartialEq)]
pub(crate) struct Parts {
    /// config.json, the tokenizer, and what changes how they work.
    pub small: Vec<&'static str>,
    /// The weights, or the index of their shards.
    pub weights: &'static str,
    /// Whether `weights` is an index.
    pub sharded: bool,
    /// Whether the tokenizer has to be built from its vocabulary.
    pub legacy_tokenizer: bool,
}

impl Parts {
    /// Chooses among the files for which `has` is true, or says what is missing.
    pub fn choose(has: impl Fn(&str) -> bool) -> Result<Self, String> {
        if !has("config.json") {
            return Err("config.json".into());
        }
        let tokenizer = TOKENIZERS.into_iter().find(|files| files.iter().all(|file| has(file))).ok_or(
            "tokenizer (tokenizer.json, vocab.txt, vocab.json with merges.txt, or sentencepiece.bpe.model)",
        )?;
        let (weights, sharded) = WEIGHTS
            .into_iter()
            .find(|(file, _)| has(file))
            .ok_or("weights (model.safetensors or pytorch_model.bin)")?;
        let companions = COMPANIONS.into_iter().filter(|file| has(file));
        let small = ["config.json"].into_iter().chain(tokenizer.iter().copied()).chain(companions).collect();
        Ok(Self { small, weights, sharded, legacy_tokenizer: tokenizer != TOKENIZERS[0] })
    }
}

/// The files that an index of shards names. Every name is checked to be a plain file name.
pub(crate) fn shards(index: &[u8]) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(index).map_err(|error| error.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    if shards.is_empty() {
        return Err("it names no shards".into());
    }
    match shards.iter().find(|name| !is_plain_name(name)) {
        Some(name) => Err(format!("it names a shard {name:?}, which is not a plain file name")),
        None => Ok(shards),
    }
}

/// Whether a name that came from outside can be joined to a folder and put into a URL: one component, plain letters.
pub(crate) fn is_plain_name(name: &str) -> bool {
    (1..=200).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// Whether a text is a full commit hash as the hub writes it.
pub(crate) fn is_commit(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(files: &[&str]) -> Result<Parts, String> {
        Parts::choose(|name| files.contains(&name))
    }

    #[test]
    fn the_best_of_each_kind_is_taken() {
        let parts = choose(&[
            "config.json",
            "vocab.txt",
            "tokenizer.json",
            "added_tokens.json",
            "pytorch_model.bin",
            "model.safetensors",
            "flax_model.msgpack",
        ])
        .unwrap();
        assert_eq!(parts.small, ["config.json", "tokenizer.json", "added_tokens.json"]);
        assert_eq!((parts.weights, parts.sharded), ("model.safetensors", false));
        assert!(!parts.legacy_tokenizer);

        let parts =
            choose(&["config.json", "vocab.json", "merges.txt", "pytorch_model.bin.index.json"]).unwrap();
        assert_eq!(parts.small, ["config.json", "vocab.json", "merges.txt"]);
        assert_eq!((parts.weights, parts.sharded), ("pytorch_model.bin.index.json", true));
        assert!(parts.legacy_tokenizer);
    }

    #[test]
    fn an_embedding_model_comes_with_its_pooling() {
        let nested = ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"];
        let whole = ["config.json", "tokenizer.json", "model.safetensors", "2_Normalize/config.json"];
        let parts = choose(&[&whole[..], &nested].concat()).unwrap();
        assert_eq!(
            parts.small,
            [
                "config.json",
                "tokenizer.json",
                "modules.json",
                "sentence_bert_config.json",
                "1_Pooling/config.json"
            ]
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(choose(&["vocab.txt"]).unwrap_err(), "config.json");
        assert!(choose(&["config.json", "vocab.json"]).unwrap_err().starts_with("tokenizer"));
        assert!(choose(&["config.json", "vocab.txt"]).unwrap_err().starts_with("weights"));
    }

    #[test]
    fn shards_cannot_point_elsewhere() {
        let index = |name: &str| serde_json::json!({"weight_map": {"a": name, "b": name}}).to_string();
        assert_eq!(shards(index("model-1-of-1.safetensors").as_bytes()).unwrap().len(), 1);
        for bad in ["../x", "/etc/passwd", "a/b", "a\\b", "C:x", "..", "", ".hidden", "a b", "a?b", "a%2fb"] {
            assert!(shards(index(bad).as_bytes()).is_err(), "{bad}");
        }
        assert!(shards(b"{\"weight_map\": {}}").is_err());
        assert!(shards(b"[]").is_err());
    }
}
