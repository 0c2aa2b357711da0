//! GGUF, the form of llama.cpp: an embedder in one file, with its vocabulary.
//!
//! llama.cpp has no question-answering head, so it has no use for readers. Of encoders it knows BERT, and its WordPiece makes every text
//! lower-case and takes accents off. A cased model would get other tokens there, and is refused.

mod bytes;
mod fields;
pub mod read;

use self::bytes::Bytes;
use self::fields::Fields;
use super::model::{Model, Tensor};
use super::number::Float;
use super::place::Output;
use crate::checkpoint::ModelFiles;
use crate::export::error::{Error, Result};
use crate::heads::pool::PoolConfig;
use crate::text::Tokenizer;

const MAGIC: &[u8] = b"GGUF";
const VERSION: u32 = 3;

/// Tensors begin at multiples of so many bytes: what is taken where a file does not say.
const ALIGNMENT: u64 = 32;

/// A tensor as llama.cpp calls it.
struct Named {
    name: String,
    tensor: Tensor,
    float: Float,
}

impl Float {
    fn gguf(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Bf16 => 30,
        }
    }
}

/// Writes an embedder.
pub(super) fn write(
    model: &Model,
    pooling: &PoolConfig,
    files: &ModelFiles,
    float: Float,
    output: &mut Output,
) -> Result<()> {
    let tokenizer = Tokenizer::from_files(files)?;
    let refuse = |reason| Err(Error::NotForLlama { model: files.name.clone(), reason });
    if model.config.family != "bert" || model.config.segments == 0 {
        return refuse("of encoders llama.cpp knows BERT");
    }
    if tokenizer.encode("\u{c9}t\u{e9}")?.ids != tokenizer.encode("ete")?.ids {
        return refuse(
            "llama.cpp makes texts lower-case and takes accents off, this model reads them as they are",
        );
    }
    let tensors = tensors(model, float);
    let fields = Fields::of(model, pooling, &tokenizer, &files.name, float);
    let mut head = Bytes::default();
    head.raw(MAGIC).number(VERSION).long(tensors.len() as u64).long(fields.count).raw(&fields.bytes.0);
    let mut offset = 0;
    for Named { name, tensor, float } in &tensors {
        head.text(name).number(tensor.shape.len() as u32);
        // The axis along which numbers lie side by side comes first.
        for &size in tensor.shape.iter().rev() {
            head.long(size as u64);
        }
        head.number(float.gguf()).long(offset);
        offset += ((tensor.len() * float.size()) as u64).next_multiple_of(ALIGNMENT);
    }
    output.put(&head.0)?;
    for Named { tensor, float, .. } in &tensors {
        output.align(ALIGNMENT)?;
        model.for_each_block(tensor, |block| output.put(&float.bytes(block, &tensor.name)?))?;
    }
    output.align(ALIGNMENT)
}

/// All tensors. What is added, not multiplied, stays in 32 bits: llama.cpp asks for it.
fn tensors(model: &Model, float: Float) -> Vec<Named> {
    let (config, names) = (&model.config, model.config.names);
    let (hidden, inner) = (config.hidden, config.inner);
    let mut all = Vec::new();
    let mut add = |name: &str, kind: &str, tensor: Tensor, float: Float| {
        all.push(Named { name: format!("{name}.{kind}"), tensor, float });
    };
    add("token_embd", "weight", model.table(names.words, config.vocabulary), float);
    add("token_types", "weight", model.table(names.segments, config.segments), Float::F32);
    add("position_embd", "weight", model.table(names.positions, config.positions), Float::F32);
    let mut add_pair = |name: &str, [weight, bias]: [Tensor; 2], float: Float| {
        add(name, "weight", weight, float);
        add(name, "bias", bias, Float::F32);
    };
    add_pair("token_embd_norm", model.norm(names.embedding_norm), Float::F32);
    for number in 0..config.layers {
        let linear = |module, outputs, inputs| model.linear(&model.layer(number, module), outputs, inputs);
        let norm = |module| model.norm(&model.layer(number, module));
        for (name, pair, float) in [
            ("attn_q", linear(names.query, hidden, hidden), float),
            ("attn_k", linear(names.key, hidden, hidden), float),
            ("attn_v", linear(names.value, hidden, hidden), float),
            ("attn_output", linear(names.attention_out, hidden, hidden), float),
            ("attn_output_norm", norm(names.attention_norm), Float::F32),
            ("ffn_up", linear(names.up, inner, hidden), float),
            ("ffn_down", linear(names.down, hidden, inner), float),
            ("layer_output_norm", norm(names.output_norm), Float::F32),
        ] {
            add_pair(&format!("blk.{number}.{name}"), pair, float);
        }
    }
    all
}
