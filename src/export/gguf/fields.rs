//! What a GGUF file says beside its tensors: the encoder's sizes, pooling, and the vocabulary.

use super::bytes::{BOOL, Bytes, FLOAT, INTEGER, LIST, NUMBER, TEXT};
use crate::export::model::Model;
use crate::export::number::Float;
use crate::heads::pool::{PoolConfig, Pooling};
use crate::text::Tokenizer;

/// What begins a word in llama.cpp's vocabularies. There a piece inside of a word has no mark.
const WORD: char = '\u{2581}';
const CONTINUING: &str = "##";

/// Kinds of tokens.
const NORMAL: u32 = 1;
const UNKNOWN: u32 = 2;
const CONTROL: u32 = 3;
const UNUSED: u32 = 5;

/// Keys with their values, one after the other.
#[derive(Default)]
pub(super) struct Fields {
    pub(super) bytes: Bytes,
    pub(super) count: u64,
}

impl Fields {
    /// All that there is to say of an embedder.
    pub(super) fn of(
        model: &Model,
        pooling: &PoolConfig,
        tokenizer: &Tokenizer,
        name: &str,
        float: Float,
    ) -> Self {
        let config = &model.config;
        let mut fields = Self::default();
        fields.text("general.architecture", "bert");
        fields.text("general.name", name);
        fields.number("general.file_type", usize::from(float != Float::F32));
        for (key, size) in [
            ("block_count", config.layers),
            ("context_length", config.usable_positions()),
            ("embedding_length", config.hidden),
            ("feed_forward_length", config.inner),
            ("attention.head_count", config.heads),
        ] {
            fields.number(&format!("bert.{key}"), size);
        }
        let pooling = match pooling.pooling {
            Pooling::None => 0,
            Pooling::Mean => 1,
            Pooling::First => 2,
        };
        fields.number("bert.pooling_type", pooling);
        let epsilon = config.epsilon as f32;
        fields.begin("bert.attention.layer_norm_epsilon", FLOAT).raw(&epsilon.to_le_bytes());
        fields.begin("bert.attention.causal", BOOL).raw(&[0]);
        fields.vocabulary(model, tokenizer);
        fields
    }

    fn vocabulary(&mut self, model: &Model, tokenizer: &Tokenizer) {
        let template = tokenizer.template();
        let (first, last) = (template.prefix.first().copied(), template.suffix.last().copied());
        self.text("tokenizer.ggml.model", "bert");
        self.number("tokenizer.ggml.token_type_count", model.config.segments);
        // The third is spelled so over there.
        for (key, id) in
            [("bos", first), ("cls", first), ("seperator", last), ("unknown", tokenizer.unknown())]
        {
            if let Some(id) = id {
                self.number(&format!("tokenizer.ggml.{key}_token_id"), id as usize);
            }
        }
        let tokens: Vec<(String, u32)> =
            (0..model.config.vocabulary as u32).map(|id| token(tokenizer, id)).collect();
        let list = self.begin_list("tokenizer.ggml.tokens", TEXT, tokens.len());
        tokens.iter().for_each(|(token, _)| {
            list.text(token);
        });
        let list = self.begin_list("tokenizer.ggml.token_type", INTEGER, tokens.len());
        tokens.iter().for_each(|(_, kind)| {
            list.number(*kind);
        });
    }

    /// Begins a field whose value follows.
    fn begin(&mut self, key: &str, kind: u32) -> &mut Bytes {
        self.count += 1;
        self.bytes.text(key).number(kind)
    }

    fn begin_list(&mut self, key: &str, kind: u32, length: usize) -> &mut Bytes {
        self.begin(key, LIST).number(kind).long(length as u64)
    }

    fn number(&mut self, key: &str, value: usize) {
        self.begin(key, NUMBER).number(value as u32);
    }

    fn text(&mut self, key: &str, value: &str) {
        self.begin(key, TEXT).text(value);
    }
}

/// A token as llama.cpp spells it, and its kind.
fn token(tokenizer: &Tokenizer, id: u32) -> (String, u32) {
    match tokenizer.token(id) {
        // A row of the table that no token uses.
        None => (format!("[PAD{id}]"), UNUSED),
        Some(token) if tokenizer.unknown() == Some(id) => (token, UNKNOWN),
        Some(token) if tokenizer.is_structural(id) => (token, CONTROL),
        Some(token) => match token.strip_prefix(CONTINUING).filter(|rest| !rest.is_empty()) {
            Some(rest) => (rest.to_owned(), NORMAL),
            None => (format!("{WORD}{token}"), NORMAL),
        },
    }
}
