//! `spanqa models verify`: does everything a model consists of fit together?

use std::io::Write;

use anyhow::Result;
use spanqa::checkpoint::{EncoderConfig, ModelFile, ModelFiles, Weights};
use spanqa::embed::Embedder;
use spanqa::encoder::Runtime;
use spanqa::encoder::batch::Batch;
use spanqa::export::{gguf, onnx};
use spanqa::heads::pool::PoolConfig;
use spanqa::heads::{QaModel, SpanModel};
use spanqa::source::{SourceOptions, resolve};
use spanqa::text::Tokenizer;

use super::{Outcome, terminal};

/// Text that a tokenizer must take apart and place again: accents, scripts, emoji, spaces.
const SAMPLES: [&str; 4] = [
    "The quick brown fox, 1999.",
    "Café Zürich — naïve",
    "東京は日本の首都です。",
    "  two  spaces\tand 👩‍👩‍👧 [SEP] </s>",
];

/// Opens every part and says what it found; the first thing that is wrong is the error.
pub fn run(model: &str, options: &SourceOptions, out: &mut dyn Write) -> Result<Outcome> {
    let resolved = resolve(model, options)?;
    let files = &resolved.files;
    writeln!(out, "model      {}", terminal::name(&files.name))?;
    if let Some(revision) = &files.revision {
        writeln!(out, "revision   {revision}")?;
    }
    for (name, file) in files.iter() {
        writeln!(out, "file       {} ({} bytes)", terminal::name(name), file.size()?)?;
    }

    let tokenizer = Tokenizer::from_files(files)?;
    writeln!(out, "tokenizer  ok: {} ids from {}", tokenizer.vocab_size(), tokenizer.origin())?;
    let mut pieces = 0;
    for sample in SAMPLES {
        let tokens = tokenizer.encode(sample)?;
        for &(start, end) in &tokens.offsets {
            let place = sample.get(start..end);
            anyhow::ensure!(place.is_some(), "the tokenizer places a token at {start}..{end} of {sample:?}");
        }
        pieces += tokens.len();
    }
    writeln!(out, "round trip ok: {} samples, {pieces} tokens, every one sits in its text", SAMPLES.len())?;

    let ending = |ending: &str| -> Vec<&ModelFile> {
        files.iter().filter(|(name, _)| name.ends_with(ending)).map(|(_, file)| file).collect()
    };
    let (graphs, packed) = (ending(".onnx"), ending(".gguf"));
    if (graphs.is_empty() && packed.is_empty()) || Weights::open(files).is_ok() {
        match PoolConfig::is_in(files) && !QaModel::is_in(files)? {
            true => embedder(files, out)?,
            false => reader(files, &tokenizer, out)?,
        }
    }
    graphs.into_iter().try_for_each(|file| graph(files, file, out))?;
    packed.into_iter().try_for_each(|file| for_llama(file, out))?;
    Ok(Outcome::Success)
}

/// A model for other programs. It is looked at, not run.
fn graph(files: &ModelFiles, file: &ModelFile, out: &mut dyn Write) -> Result<()> {
    encoder(&EncoderConfig::from_files(files)?, out)?;
    let summary = onnx::read::read(file)?;
    writeln!(
        out,
        "onnx       ok: whole, {} operators, {} tensors; {} -> {}",
        summary.nodes.len(),
        summary.tensors.len(),
        summary.inputs.join(", "),
        summary.outputs.join(", ")
    )?;
    Ok(())
}

fn for_llama(file: &ModelFile, out: &mut dyn Write) -> Result<()> {
    let summary = gguf::read::read(file)?;
    let (tensors, tokens) = (summary.tensors.len(), summary.tokens.len());
    writeln!(out, "gguf       ok: whole, {tensors} tensors, {tokens} tokens")?;
    Ok(())
}

/// A model that answers questions.
fn reader(files: &ModelFiles, tokenizer: &Tokenizer, out: &mut dyn Write) -> Result<()> {
    let model = QaModel::load(files, &Runtime::default())?;
    let config = model.config();
    encoder(config, out)?;
    let template = tokenizer.template();
    let mut batch = Batch::default();
    let ids: Vec<u32> = template.ids().collect();
    batch.push(&ids, &vec![0; ids.len()]);
    let logits = model.logits(&batch)?;
    let numbers = || logits.iter().flat_map(|window| window.start.iter().chain(&window.end));
    anyhow::ensure!(
        numbers().all(|logit| logit.is_finite()),
        spanqa::reader::Error::NotFinite { dtype: model.dtype() }
    );
    anyhow::ensure!(
        tokenizer.vocab_size() <= config.vocabulary,
        spanqa::reader::Error::VocabularyMismatch {
            model: files.name.clone(),
            highest: tokenizer.vocab_size() - 1,
            rows: config.vocabulary,
        }
    );
    writeln!(out, "forward    ok: finite logits")?;
    let positions = config.usable_positions();
    writeln!(
        out,
        "length     {positions} tokens a window at most, {} of them for question and text",
        positions.saturating_sub(template.special_tokens())
    )?;
    if let Some(declared) = tokenizer.declared_max_length().filter(|&declared| declared != positions) {
        writeln!(out, "           (tokenizer_config.json says {declared})")?;
    }
    Ok(())
}

/// A model that makes vectors.
fn embedder(files: &ModelFiles, out: &mut dyn Write) -> Result<()> {
    let embedder = Embedder::open(files, &Runtime::default())?;
    encoder(embedder.config(), out)?;
    embedder.embed(&SAMPLES)?;
    let (dimensions, pooling) = (embedder.dimensions(), embedder.pooling());
    let length = if pooling.normalise { ", 1 long" } else { "" };
    writeln!(out, "forward    ok: finite vectors of {dimensions} numbers{length}")?;
    let (tokens, special) = (embedder.max_tokens(), embedder.special_tokens());
    writeln!(out, "length     {tokens} tokens a text at most, {} of them its own", tokens - special)?;
    Ok(())
}

fn encoder(config: &EncoderConfig, out: &mut dyn Write) -> Result<()> {
    writeln!(
        out,
        "encoder    ok: {}, {} layers, {} wide, {} heads, {} inner, {} embeddings",
        config.family, config.layers, config.hidden, config.heads, config.inner, config.vocabulary
    )?;
    Ok(())
}
