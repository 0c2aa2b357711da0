//! From a checkpoint's config.json to the numbers the encoder needs. A family is a row of data here and nowhere else.

use serde_json::Value;

use super::names::{BERT_NAMES, DISTILBERT_NAMES, NameTable};
use crate::checkpoint::error::{Error, Result};
use crate::checkpoint::{ModelFile, ModelFiles};

/// The shape of an encoder, whatever its checkpoint calls these numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// `model_type` of the checkpoint.
    pub family: &'static str,
    /// Width of a token's vector.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Attention heads per layer.
    pub heads: usize,
    /// Width of the feed-forward layer.
    pub inner: usize,
    /// Rows of the word embedding table.
    pub vocabulary: usize,
    /// Rows of the position embedding table.
    pub positions: usize,
    /// Row of the first token: RoBERTa keeps the rows below for padding.
    pub position_offset: usize,
    /// Rows of the segment embedding table; zero if the family has none.
    pub segments: usize,
    /// Added to the variance in layer normalisation.
    pub epsilon: f64,
    /// How the checkpoint's tensors are called.
    pub names: &'static NameTable,
    /// What transformers puts before these names.
    pub prefix: &'static str,
    /// What transformers calls this encoder with a span head.
    pub architecture: &'static str,
    /// Outputs of the checkpoint's head, where config.json says how many.
    pub labels: Option<usize>,
}

/// How one family writes its config.json.
struct Dialect {
    /// `model_type`, and what transformers calls such an encoder with a span head.
    model_types: &'static [(&'static str, &'static str)],
    hidden: &'static str,
    layers: &'static str,
    heads: &'static str,
    inner: &'static str,
    activation: &'static str,
    segments: Option<(&'static str, usize)>,
    default_epsilon: f64,
    /// Positions start one row after the padding token's id.
    positions_after_padding: bool,
    names: &'static NameTable,
    prefix: &'static str,
}

const BERT: Dialect = Dialect {
    model_types: &[("bert", "BertForQuestionAnswering")],
    hidden: "hidden_size",
    layers: "num_hidden_layers",
    heads: "num_attention_heads",
    inner: "intermediate_size",
    activation: "hidden_act",
    segments: Some(("type_vocab_size", 2)),
    default_epsilon: 1e-12,
    positions_after_padding: false,
    names: &BERT_NAMES,
    prefix: "bert.",
};

static DIALECTS: [Dialect; 3] = [
    BERT,
    Dialect {
        model_types: &[
            ("roberta", "RobertaForQuestionAnswering"),
            ("xlm-roberta", "XLMRobertaForQuestionAnswering"),
        ],
        positions_after_padding: true,
        prefix: "roberta.",
        ..BERT
    },
    Dialect {
        model_types: &[("distilbert", "DistilBertForQuestionAnswering")],
        prefix: "distilbert.",
        hidden: "dim",
        layers: "n_layers",
        heads: "n_heads",
        inner: "hidden_dim",
        activation: "activation",
        segments: None,
        names: &DISTILBERT_NAMES,
        ..BERT
    },
];

/// No real encoder is near this; a config beyond it is a mistake or an attack.
const LARGEST: u64 = 1 << 24;

impl EncoderConfig {
    /// Reads config.json and refuses by name what this encoder does not compute.
    pub fn from_files(files: &ModelFiles) -> Result<Self> {
        let file = files.require("config.json")?;
        let json: Value = serde_json::from_slice(&file.read()?)
            .map_err(|error| file.bad(format!("it is not JSON: {error}")))?;
        Self::parse(&json, file)
    }

    fn parse(json: &Value, file: &ModelFile) -> Result<Self> {
        let refuse =
            |what: &str, found: String| Error::Unsupported { file: file.label(), what: what.into(), found };
        let Some(model_type) = json.get("model_type").and_then(Value::as_str) else {
            return Err(refuse("model_type", "none".into()));
        };
        let find = |dialect: &'static Dialect| {
            let names = dialect.model_types.iter().find(|(name, _)| *name == model_type);
            names.map(|(family, architecture)| (dialect, *family, *architecture))
        };
        let Some((dialect, family, architecture)) = DIALECTS.iter().find_map(find) else {
            return Err(refuse("model_type", model_type.into()));
        };

        let number = |key: &str| match json.get(key).and_then(Value::as_u64) {
            Some(value) if (1..=LARGEST).contains(&value) => Ok(value as usize),
            _ => Err(file.bad(match json.get(key) {
                Some(found) => format!("{key} is {found}, expected a whole number from 1 to {LARGEST}"),
                None => format!("{key} is missing"),
            })),
        };
        let text = |key: &str| json.get(key).and_then(Value::as_str);
        if let Some(found) = text("position_embedding_type").filter(|found| *found != "absolute") {
            return Err(refuse("position_embedding_type", found.into()));
        }
        if let Some(found) = text(dialect.activation).filter(|found| !["gelu", "gelu_python"].contains(found))
        {
            return Err(refuse(dialect.activation, found.into()));
        }
        for key in ["is_decoder", "add_cross_attention"] {
            if json.get(key).and_then(Value::as_bool) == Some(true) {
                return Err(refuse(key, "true".into()));
            }
        }
        let labels = json.get("num_labels").and_then(Value::as_u64).map(|labels| labels as usize);
        let named_labels = json.get("id2label").and_then(Value::as_object).map(serde_json::Map::len);

        let (hidden, heads) = (number(dialect.hidden)?, number(dialect.heads)?);
        if hidden % heads != 0 {
            return Err(file
                .bad(format!("{} {hidden} is not a multiple of {} {heads}", dialect.hidden, dialect.heads)));
        }
        let positions = number("max_position_embeddings")?;
        let padding = json.get("pad_token_id").and_then(Value::as_u64).unwrap_or(1);
        let position_offset =
            if dialect.positions_after_padding { padding.min(LARGEST) as usize + 1 } else { 0 };
        if position_offset >= positions {
            return Err(
                file.bad(format!("positions start at {position_offset} but there are only {positions}"))
            );
        }
        let segments = match dialect.segments {
            Some((key, default)) if json.get(key).is_none() => default,
            // Zero rows are legal there: a model without segments.
            Some((key, _)) if json[key].as_u64() == Some(0) => 0,
            Some((key, _)) => number(key)?,
            None => 0,
        };
        Ok(Self {
            family,
            hidden,
            layers: number(dialect.layers)?,
            heads,
            inner: number(dialect.inner)?,
            vocabulary: number("vocab_size")?,
            positions,
            position_offset,
            segments,
            epsilon: json.get("layer_norm_eps").and_then(Value::as_f64).unwrap_or(dialect.default_epsilon),
            names: dialect.names,
            prefix: dialect.prefix,
            architecture,
            labels: labels.or(named_labels),
        })
    }

    /// Refuses a checkpoint whose config.json says that its head has other than so many outputs.
    pub(crate) fn expect_labels(&self, files: &ModelFiles, expected: usize) -> Result<()> {
        match self.labels.filter(|labels| *labels != expected) {
            None => Ok(()),
            Some(found) => Err(Error::Unsupported {
                file: files.require("config.json")?.label(),
                what: "num_labels".into(),
                found: found.to_string(),
            }),
        }
    }

    /// The longest window the position table allows.
    pub fn usable_positions(&self) -> usize {
        self.positions - self.position_offset
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> usize {
        self.hidden / self.heads
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bert() -> Value {
        json!({"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
               "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 64, "type_vocab_size": 2,
               "layer_norm_eps": 1e-12, "hidden_act": "gelu", "output_attentions": true})
    }

    fn parse(json: &Value) -> Result<EncoderConfig> {
        EncoderConfig::parse(json, &ModelFile::BuiltIn { name: "config.json", bytes: b"" })
    }

    fn with(key: &str, value: Value) -> Result<EncoderConfig> {
        let mut json = bert();
        json[key] = value;
        parse(&json)
    }

    #[test]
    fn three_dialects_give_one_config() {
        let bert_config = parse(&bert()).unwrap();
        assert_eq!((bert_config.usable_positions(), bert_config.head_width()), (64, 8));
        let distilbert = parse(&json!({"model_type": "distilbert", "dim": 32, "n_layers": 2, "n_heads": 4,
            "hidden_dim": 64, "vocab_size": 100, "max_position_embeddings": 64, "activation": "gelu"}))
        .unwrap();
        assert_eq!((distilbert.hidden, distilbert.inner, distilbert.segments), (32, 64, 0));
        let mut roberta = bert();
        roberta["model_type"] = json!("xlm-roberta");
        roberta["pad_token_id"] = json!(1);
        roberta["max_position_embeddings"] = json!(66);
        let roberta = parse(&roberta).unwrap();
        assert_eq!((roberta.position_offset, roberta.usable_positions()), (2, 64));
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (key, value, found) in [
            ("model_type", json!("deberta-v2"), "deberta-v2"),
            ("position_embedding_type", json!("relative_key"), "relative_key"),
            ("hidden_act", json!("gelu_new"), "gelu_new"),
            ("is_decoder", json!(true), "true"),
        ] {
            let message = with(key, value).unwrap_err().to_string();
            assert!(message.contains(found), "{message}");
        }
    }

    #[test]
    fn labels_are_counted() {
        assert_eq!(parse(&bert()).unwrap().labels, None);
        assert_eq!(with("num_labels", json!(3)).unwrap().labels, Some(3));
        assert_eq!(with("id2label", json!({"0": "a"})).unwrap().labels, Some(1));
    }

    #[test]
    fn nonsense_numbers_are_refused() {
        for (key, value) in [
            ("hidden_size", json!(0)),
            ("hidden_size", json!(33)),
            ("num_hidden_layers", json!(-1)),
            ("vocab_size", json!("many")),
            ("intermediate_size", json!(1u64 << 60)),
            ("max_position_embeddings", Value::Null),
        ] {
            assert!(matches!(with(key, value), Err(Error::BadFile { .. })), "{key}");
        }
    }
}
