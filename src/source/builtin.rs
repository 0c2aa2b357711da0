//! The models that are compiled into this program, so that it works without any file or network.

use crate::checkpoint::files::{ModelFile, ModelFiles};

/// The name of the model that answers questions.
pub const READER: &str = "builtin";

/// The name of the model that makes vectors.
pub const EMBEDDER: &str = "builtin-embedder";

/// Files by the names that loaders look for, each with its place below `models/`.
macro_rules! built_in {
    ($($name:literal: $place:literal),+ $(,)?) => {
        &[$(($name, include_bytes!(concat!("../../models/", $place)).as_slice())),+]
    };
}

type Files = &'static [(&'static str, &'static [u8])];

static READER_FILES: Files = built_in![
    "config.json": "builtin/config.json",
    "model.safetensors": "builtin/model.safetensors",
    "tokenizer_config.json": "builtin/tokenizer_config.json",
    "vocab.txt": "builtin/vocab.txt",
];

/// Both models stand on the same base, so they share its vocabulary.
static EMBEDDER_FILES: Files = built_in![
    "1_Pooling/config.json": "embedder/1_Pooling/config.json",
    "config.json": "embedder/config.json",
    "model.safetensors": "embedder/model.safetensors",
    "modules.json": "embedder/modules.json",
    "sentence_bert_config.json": "embedder/sentence_bert_config.json",
    "tokenizer_config.json": "builtin/tokenizer_config.json",
    "vocab.txt": "builtin/vocab.txt",
];

/// Whether a name is that of a built-in model.
pub fn is_name(name: &str) -> bool {
    [READER, EMBEDDER].contains(&name)
}

/// The files of the built-in model of that name.
pub fn files(name: &str) -> ModelFiles {
    let files = if name == EMBEDDER { EMBEDDER_FILES } else { READER_FILES };
    let files = files.iter().map(|&(name, bytes)| (name.to_owned(), ModelFile::BuiltIn { name, bytes }));
    ModelFiles::new(name, None, files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::parts::Parts;

    #[test]
    fn the_built_in_models_have_what_loaders_need() {
        for name in [READER, EMBEDDER] {
            let files = files(name);
            assert!(Parts::choose(|wanted| files.get(wanted).is_some()).is_ok(), "{name}");
            let config = files.require("config.json").unwrap().read().unwrap();
            let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
            assert_eq!((&config["num_hidden_layers"], &config["hidden_size"]), (&6.into(), &384.into()));
            assert_eq!(files.get("modules.json").is_some(), name == EMBEDDER);
        }
    }
}
