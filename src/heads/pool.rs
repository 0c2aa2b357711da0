//! Pooling: one vector for a whole window, as the folders of sentence-transformers describe it. Or none: the states of its tokens.

use std::ops::Range;
use std::str::FromStr;

use serde_json::Value;

use crate::checkpoint::{self, EncoderConfig, ModelFile, ModelFiles, Weights};
use crate::encoder::batch::Batch;
use crate::encoder::{self, Encoder, Runtime, Tap, WindowRows};

/// What a sentence-transformers model is made of.
const MODULES: &str = "modules.json";

/// What becomes of the tokens' hidden states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pooling {
    /// Their mean.
    #[default]
    Mean,
    /// The first one, that of `[CLS]` or `<s>`.
    First,
    /// All of them stay, one behind the other.
    None,
}

impl FromStr for Pooling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "mean" => Ok(Self::Mean),
            "cls" => Ok(Self::First),
            "none" => Ok(Self::None),
            _ => Err(format!("`{text}` is not a way to pool: expected mean, cls, none")),
        }
    }
}

/// Which hidden states are pooled: 0 is the embeddings, then comes the output of each layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum States {
    /// What the last layer gives.
    #[default]
    Last,
    /// What one layer gives.
    Layer(usize),
    /// Each, behind one another.
    All,
}

impl States {
    /// The numbers of the states of an encoder with so many layers.
    pub fn numbers(self, layers: usize) -> Vec<usize> {
        match self {
            Self::Last => vec![layers],
            Self::Layer(layer) => vec![layer],
            Self::All => (0..=layers).collect(),
        }
    }
}

impl FromStr for States {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            number => number
                .parse()
                .map(Self::Layer)
                .map_err(|_| "it must be a whole number from 0, or `all`".into()),
        }
    }
}

/// How a model makes vectors of texts. The default is what sentence-transformers does with a folder that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PoolConfig {
    /// What becomes of the hidden states.
    pub pooling: Pooling,
    /// Which of them.
    pub states: States,
    /// Whether vectors are made 1 long, so that their product is the cosine of their angle.
    pub normalise: bool,
    /// The most tokens of a text, with the special ones.
    pub max_tokens: Option<usize>,
    /// Whether texts go to lower case before they are tokenised.
    pub lower_case: bool,
}

impl PoolConfig {
    /// Whether a model says how it makes vectors.
    pub fn is_in(files: &ModelFiles) -> bool {
        files.get(MODULES).is_some()
    }

    /// Reads modules.json and what it points to. Modules and ways of pooling that are not computed here are refused by name.
    pub fn from_files(files: &ModelFiles) -> checkpoint::Result<Self> {
        let mut config = Self::default();
        if let Some(file) = files.get("sentence_bert_config.json") {
            let json = read(file)?;
            config.max_tokens = json["max_seq_length"].as_u64().map(|tokens| tokens as usize);
            config.lower_case = json["do_lower_case"].as_bool().unwrap_or(false);
        }
        let Some(file) = files.get(MODULES) else { return Ok(config) };
        let json = read(file)?;
        let modules = json.as_array().ok_or_else(|| file.bad("it is not a list of modules"))?;
        for module in modules {
            let name = module["type"].as_str().unwrap_or_default();
            // The path in front of the class has changed over time.
            match name.rsplit('.').next().unwrap_or_default() {
                "Transformer" => {}
                "Pooling" => {
                    let folder = module["path"].as_str().unwrap_or_default();
                    let inside = if folder.is_empty() { String::new() } else { format!("{folder}/") };
                    config.pooling = pooling(files.require(&format!("{inside}config.json"))?)?;
                }
                "Normalize" => config.normalise = true,
                _ => return Err(unsupported(file, "module", name)),
            }
        }
        Ok(config)
    }

    /// The vector of one window, or those of its tokens behind one another; empty if the window is.
    pub fn pool(&self, rows: &WindowRows) -> Vec<f32> {
        let mut vector = match (self.pooling, rows.first()) {
            (_, None) => return Vec::new(),
            (Pooling::First, Some(first)) => first.to_vec(),
            (Pooling::None, Some(_)) => rows.numbers.clone(),
            (Pooling::Mean, Some(_)) => {
                let mut sums = vec![0.0; rows.width];
                for (_, row) in rows.iter() {
                    sums.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
                }
                let count = (rows.numbers.len() / rows.width) as f32;
                sums.iter_mut().for_each(|sum| *sum /= count);
                sums
            }
        };
        if self.normalise {
            for vector in vector.chunks_exact_mut(rows.width) {
                let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
                // As PyTorch does: a vector of zeros stays one.
                vector.iter_mut().for_each(|number| *number /= length.max(1e-12));
            }
        }
        vector
    }
}

fn read(file: &ModelFile) -> checkpoint::Result<Value> {
    serde_json::from_slice(&file.read()?).map_err(|error| file.bad(format!("it is not JSON: {error}")))
}

fn unsupported(file: &ModelFile, what: &str, found: &str) -> checkpoint::Error {
    checkpoint::Error::Unsupported { file: file.label(), what: what.into(), found: found.into() }
}

/// The way of pooling that a module's config.json switches on.
fn pooling(file: &ModelFile) -> checkpoint::Result<Pooling> {
    const SWITCH: &str = "pooling_mode_";
    let json = read(file)?;
    let mut found: Vec<&str> = match &json["pooling_mode"] {
        Value::String(mode) => vec![mode],
        _ => {
            let switches = json.as_object().into_iter().flatten();
            let on = switches.filter(|(_, on)| on.as_bool() == Some(true));
            on.filter_map(|(key, _)| key.strip_prefix(SWITCH)).collect()
        }
    };
    // The mean is on unless it is switched off.
    if json["pooling_mode"].is_null() && json[format!("{SWITCH}mean_tokens")].is_null() {
        found.push("mean_tokens");
    }
    match found[..] {
        ["mean" | "mean_tokens"] => Ok(Pooling::Mean),
        ["cls" | "cls_token"] => Ok(Pooling::First),
        _ => Err(unsupported(file, "pooling", &found.join(", "))),
    }
}

/// A checkpoint that makes vectors of texts: an encoder, and how its rows are pooled.
pub struct EmbeddingModel {
    encoder: Encoder,
    config: PoolConfig,
}

impl EmbeddingModel {
    /// Loads a checkpoint onto a device. Any encoder will do, whatever heads it has.
    pub fn load(files: &ModelFiles, runtime: &Runtime) -> encoder::Result<Self> {
        let config = PoolConfig::from_files(files)?;
        let encoder =
            Encoder::load(EncoderConfig::from_files(files)?, &Weights::open(files)?, runtime, None)?;
        Ok(Self { encoder, config })
    }

    /// The same encoder, pooled in another way.
    pub fn with_config(self, config: PoolConfig) -> Self {
        Self { config, ..self }
    }

    /// The encoder below.
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// How rows are pooled.
    pub fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// The longest window it takes, special tokens included.
    pub fn max_tokens(&self) -> usize {
        let positions = self.encoder.config().usable_positions();
        self.config.max_tokens.map_or(positions, |tokens| tokens.min(positions))
    }

    /// Appends a window in the way that suits the pooling: only rows that count are computed to the end.
    pub fn push(&self, batch: &mut Batch, ids: &[u32], segments: &[u32]) {
        match self.config.pooling {
            Pooling::Mean | Pooling::None => batch.push(ids, segments),
            Pooling::First => batch.push_to_read(ids, segments, 0..0),
        }
    }

    /// The vector of each window, in order. They do not depend on what else is in the batch.
    pub fn embed(&self, batch: &Batch) -> encoder::Result<Vec<Vec<f32>>> {
        if self.config.states == States::Last {
            return Ok(self
                .encoder
                .forward(batch, None)?
                .iter()
                .map(|rows| self.config.pool(rows))
                .collect());
        }
        let mut tap = Tap::default();
        self.encoder.forward(batch, Some(&mut tap))?;
        let width = self.encoder.config().hidden;
        let layers = self.config.states.numbers(self.encoder.config().layers);
        let vector = |window: Range<usize>| {
            let states = layers.iter().filter_map(|&layer| {
                let numbers = tap.hidden_states.get(layer)?;
                let numbers = numbers[window.start * width..window.end * width].to_vec();
                Some(self.config.pool(&WindowRows::complete(width, numbers)))
            });
            states.flatten().collect()
        };
        Ok(batch.ranges().map(vector).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of: &[(&str, &'static str)]) -> ModelFiles {
        let file = |(name, text): &(&str, &'static str)| {
            (name.to_string(), ModelFile::BuiltIn { name: "test", bytes: text.as_bytes() })
        };
        ModelFiles::new("test", None, of.iter().map(file))
    }

    const MODULES: &str = r#"[
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#;

    fn with_pooling(config: &'static str) -> checkpoint::Result<PoolConfig> {
        PoolConfig::from_files(&files(&[
            ("modules.json", MODULES),
            ("1_Pooling/config.json", config),
            ("sentence_bert_config.json", r#"{"max_seq_length": 256, "do_lower_case": true}"#),
        ]))
    }

    #[test]
    fn folders_say_how_to_pool() {
        let mean =
            PoolConfig { normalise: true, max_tokens: Some(256), lower_case: true, ..PoolConfig::default() };
        let first = PoolConfig { pooling: Pooling::First, ..mean.clone() };
        for (config, expected) in [
            (r#"{"word_embedding_dimension": 384, "pooling_mode_mean_tokens": true}"#, &mean),
            (r#"{"pooling_mode_cls_token": false, "pooling_mode_max_tokens": false}"#, &mean),
            (r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}"#, &first),
            (r#"{"pooling_mode": "cls"}"#, &first),
            (r#"{"pooling_mode": "mean"}"#, &mean),
        ] {
            assert_eq!(with_pooling(config).unwrap(), *expected, "{config}");
        }
        assert_eq!(PoolConfig::from_files(&files(&[])).unwrap(), PoolConfig::default());
        let newer =
            r#"[{"path": "1_Pooling", "type": "sentence_transformers.base.modules.pooling.Pooling"}]"#;
        let newer =
            files(&[("modules.json", newer), ("1_Pooling/config.json", r#"{"pooling_mode": "cls"}"#)]);
        assert_eq!(PoolConfig::from_files(&newer).unwrap().pooling, Pooling::First);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (config, found) in [
            (r#"{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": false}"#, "max_tokens"),
            (
                r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
                "cls_token, mean_tokens",
            ),
            (r#"{"pooling_mode": "lasttoken"}"#, "lasttoken"),
        ] {
            let message = with_pooling(config).unwrap_err().to_string();
            assert!(message.contains(found), "{message}");
        }
        let dense = files(&[("modules.json", r#"[{"type": "sentence_transformers.models.Dense"}]"#)]);
        assert!(PoolConfig::from_files(&dense).unwrap_err().to_string().contains("Dense"));
        let missing = files(&[("modules.json", MODULES)]);
        assert!(matches!(PoolConfig::from_files(&missing), Err(checkpoint::Error::MissingFile { .. })));
    }

    #[test]
    fn vectors_are_pooled() {
        let rows = WindowRows { tokens: 2, present: vec![0..2], width: 2, numbers: vec![1.0, 4.0, 5.0, 2.0] };
        let config = PoolConfig::default();
        assert_eq!(config.pool(&rows), [3.0, 3.0]);
        assert_eq!(PoolConfig { pooling: Pooling::First, ..config.clone() }.pool(&rows), [1.0, 4.0]);
        let normalised = PoolConfig { normalise: true, ..config.clone() }.pool(&rows);
        assert!(normalised.iter().all(|number| (number - 0.5f32.sqrt()).abs() < 1e-6));
        let config = PoolConfig { pooling: Pooling::None, ..config };
        assert_eq!(config.pool(&rows), rows.numbers);
        // Each token's vector by itself.
        let normalised = PoolConfig { normalise: true, ..config }.pool(&rows);
        let lengths = normalised.chunks(2).map(|row| row[0].hypot(row[1]));
        assert!(lengths.into_iter().all(|length| (length - 1.0).abs() < 1e-6), "{normalised:?}");
        assert!(PoolConfig::default().pool(&WindowRows::default()).is_empty());
    }
}
