//! The model that is compiled into this program, so that it answers without any file or network.

use crate::checkpoint::files::{ModelFile, ModelFiles};

/// The name that refers to it.
pub const NAME: &str = "builtin";

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../../models/builtin/", $name)).as_slice())),+]
    };
}

static FILES: [(&str, &[u8]); 4] =
    built_in!["config.json", "model.safetensors", "tokenizer_config.json", "vocab.txt"];

/// The files of the built-in model.
pub fn files() -> ModelFiles {
    let files = FILES.iter().map(|&(name, bytes)| (name.to_owned(), ModelFile::BuiltIn { name, bytes }));
    ModelFiles::new(NAME, None, files)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_built_in_model_has_what_loaders_need() {
        let files = super::files();
        for name in ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"] {
            assert!(files.get(name).is_some(), "{name}");
        }
        let config = files.require("config.json").unwrap().read().unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["num_hidden_layers"], 6);
        assert_eq!(config["hidden_size"], 384);
    }
}
