//! How fast kernels, whole models and the program are.
//!
//! `cargo bench --bench speed` prints medians, with the least and the greatest beside them: on a shared machine the spread says how
//! far to trust them. Only ratios of figures from one run mean anything. `cargo bench --bench speed -- kernels` (or `models`,
//! `start`, `host`) runs a part. Other engines are measured by benches/peers.

use std::collections::HashMap;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;
use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::json;
use spanqa::checkpoint::ModelFiles;
use spanqa::encoder::batch::Batch;
use spanqa::encoder::{Precision, Runtime, speed};
use spanqa::heads::{QaModel, SpanModel, WindowLogits};
use spanqa::reader::{Document, Question, Reader};
use spanqa::request::reply::DocumentId;
use spanqa::source::{SourceOptions, resolve};
use spanqa::text::Tokenizer;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Window lengths like those of SQuAD: most near 180 tokens, some long, some short.
const LENGTHS: [usize; 16] = [384, 310, 260, 228, 210, 199, 188, 181, 174, 168, 160, 151, 140, 126, 108, 82];

const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Int8];

/// The shapes of models that people use. Few words: the size of the vocabulary does not matter for speed.
const SHAPES: [Shape; 5] = [
    Shape { name: "MiniLM-L6", hidden: 384, layers: 6, heads: 12 },
    Shape { name: "MiniLM-L12", hidden: 384, layers: 12, heads: 12 },
    Shape { name: "DistilBERT", hidden: 768, layers: 6, heads: 12 },
    Shape { name: "RoBERTa-base", hidden: 768, layers: 12, heads: 12 },
    Shape { name: "BERT-large", hidden: 1024, layers: 24, heads: 16 },
];

const WORDS: usize = 1000;

struct Shape {
    name: &'static str,
    hidden: usize,
    layers: usize,
    heads: usize,
}

fn main() -> Result<()> {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    if runs("start") {
        start()?;
    }
    if runs("kernels") {
        kernels()?;
    }
    if runs("models") {
        models()?;
    }
    if runs("host") {
        host()?;
    }
    Ok(())
}

fn threads() -> Result<[usize; 2]> {
    Ok([1, std::thread::available_parallelism()?.get()])
}

/// From the start of the process to the answer.
fn start() -> Result<()> {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/lighthouse.txt");
    report("first answer, four paragraphs", "ms", 15, || {
        let start = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_spanqa"))
            .args(["ask", "Who was the last keeper?", example, "--quiet"])
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err("the example must be answered".into());
        }
        Ok(start.elapsed().as_secs_f64() * 1e3)
    })
}

/// Products of the sizes that models have, and attention, as shares of what registers alone could do.
fn kernels() -> Result<()> {
    for threads in threads()? {
        let peak = speed::peak(threads);
        println!("{} threads: f32 peak {peak:.0} GFLOP/s in registers", threads);
        let line = |what: String, rate: f64| {
            println!("  {what:44} {rate:6.0} Gop/s  {:4.0} % of f32 peak", 100.0 * rate / peak);
        };
        for (inputs, outputs) in
            [(384, 1152), (384, 1536), (1536, 384), (768, 3072), (3072, 768), (1024, 4096), (4096, 1024)]
        {
            for precision in PRECISIONS {
                let what = format!("{} product, 192 x {inputs} x {outputs}", precision.name());
                line(what, speed::product(192, inputs, outputs, precision, false, threads));
            }
        }
        line(
            "f32 product with GELU, 192 x 768 x 3072".into(),
            speed::product(192, 768, 3072, Precision::F32, true, threads),
        );
        for (tokens, heads, width) in [(180, 12, 32), (384, 12, 32), (180, 12, 64), (384, 12, 64)] {
            let what = format!("attention, {tokens} tokens, {heads} heads of {width}");
            line(what, speed::attention(tokens, heads, width, threads));
        }
    }
    Ok(())
}

/// Whole models with random weights.
fn models() -> Result<()> {
    let mut batch = Batch::default();
    for length in LENGTHS {
        let ids: Vec<u32> = (0..length as u32).map(|token| token * 7919 % WORDS as u32).collect();
        let segments: Vec<u32> = (0..length).map(|token| u32::from(token > 16)).collect();
        batch.push(&ids, &segments);
    }
    for shape in &SHAPES {
        let folder = make(shape)?;
        let files = ModelFiles::from_dir(&folder)?;
        for precision in PRECISIONS {
            for threads in threads()? {
                let runtime =
                    Runtime { precision: Some(precision), threads: Some(threads), ..Runtime::default() };
                let model = QaModel::load(&files, &runtime)?;
                let what = format!("{}, {}, {threads} threads", shape.name, precision.name());
                report(&what, "tokens/s", 5, || {
                    let start = Instant::now();
                    black_box(model.logits(&batch)?);
                    Ok(batch.tokens() as f64 / start.elapsed().as_secs_f64())
                })?;
            }
        }
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// What the processor does for a question that a card reads: how many of each step a second.
fn host() -> Result<()> {
    const QUESTIONS: usize = 2000;
    let files = resolve("builtin", &SourceOptions::default())?.files;
    let words: Vec<&str> =
        include_str!("../tests/fixtures/text/lighthouse.txt").split_ascii_whitespace().collect();
    // Of SQuAD's length: mostly near 110 words.
    let contexts: Vec<String> = (0..QUESTIONS)
        .map(|number| {
            let length = LENGTHS[number % LENGTHS.len()] * 2 / 3 - 10;
            let word = |place| words[(number * 7919 + place * (1 + number % 13)) % words.len()];
            (0..length).map(word).collect::<Vec<_>>().join(" ")
        })
        .collect();
    for threads in threads()? {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        let tokenizer = Tokenizer::from_files(&files)?;
        let reader = Reader::new(tokenizer, Box::new(Oracle), "oracle")?;
        let documents = || -> Vec<Arc<Document>> {
            let document = |text: &String| reader.prepare(DocumentId::Index(0), text.clone()).map(Arc::new);
            contexts.par_iter().map(document).collect::<spanqa::reader::Result<_>>().unwrap_or_default()
        };
        let what = format!("documents tokenised, {threads} threads");
        report(&what, "a second", 5, || {
            let start = Instant::now();
            black_box(pool.install(documents));
            Ok(QUESTIONS as f64 / start.elapsed().as_secs_f64())
        })?;
        let question = |document| Question::new(0, "Who was the last keeper of the light?", vec![document]);
        let questions: Vec<Question> = pool.install(documents).into_iter().map(question).collect();
        let what = format!("questions planned and decoded, {threads} threads");
        report(&what, "a second", 5, || {
            let start = Instant::now();
            black_box(pool.install(|| reader.answer(&questions, &mut |_| {}))?);
            Ok(QUESTIONS as f64 / start.elapsed().as_secs_f64())
        })?;
    }
    Ok(())
}

/// Knows its logits without computing anything.
struct Oracle;

impl SpanModel for Oracle {
    fn usable_positions(&self) -> usize {
        512
    }

    fn vocabulary(&self) -> usize {
        1 << 20
    }

    fn logits(&self, batch: &Batch) -> spanqa::encoder::Result<Vec<WindowLogits>> {
        // Spread like those of trained models.
        let logit = |id: &u32| (id.wrapping_mul(2_654_435_761) >> 20) as f32 / 256.0 - 10.0;
        let window = |range: std::ops::Range<usize>| {
            let start: Vec<f32> = batch.ids[range].iter().map(logit).collect();
            WindowLogits { end: start.iter().rev().copied().collect(), start }
        };
        Ok(batch.ranges().map(window).collect())
    }

    fn batch_tokens(&self) -> usize {
        1 << 16
    }
}

/// Writes a model with random weights.
fn make(shape: &Shape) -> Result<PathBuf> {
    let Shape { hidden, layers, heads, .. } = *shape;
    let inner = 4 * hidden;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(shape.name);
    fs::create_dir_all(&folder)?;
    let config = json!({
        "model_type": "bert", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": inner, "vocab_size": WORDS, "max_position_embeddings": 512, "type_vocab_size": 2,
        "layer_norm_eps": 1e-12, "hidden_act": "gelu",
    });
    fs::write(folder.join("config.json"), config.to_string())?;

    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".into(), vec![WORDS, hidden]),
        ("embeddings.position_embeddings.weight".into(), vec![512, hidden]),
        ("embeddings.token_type_embeddings.weight".into(), vec![2, hidden]),
        ("embeddings.LayerNorm.weight".into(), vec![hidden]),
        ("embeddings.LayerNorm.bias".into(), vec![hidden]),
        ("qa_outputs.weight".into(), vec![2, hidden]),
        ("qa_outputs.bias".into(), vec![2]),
    ];
    for layer in 0..layers {
        for (module, rows, columns) in [
            ("attention.self.query", hidden, Some(hidden)),
            ("attention.self.key", hidden, Some(hidden)),
            ("attention.self.value", hidden, Some(hidden)),
            ("attention.output.dense", hidden, Some(hidden)),
            ("attention.output.LayerNorm", hidden, None),
            ("intermediate.dense", inner, Some(hidden)),
            ("output.dense", hidden, Some(inner)),
            ("output.LayerNorm", hidden, None),
        ] {
            let shape = [Some(rows), columns].into_iter().flatten().collect();
            shapes.push((format!("encoder.layer.{layer}.{module}.weight"), shape));
            shapes.push((format!("encoder.layer.{layer}.{module}.bias"), vec![rows]));
        }
    }
    // One stretch of random bytes serves every tensor.
    let most = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).max().unwrap_or(0);
    let bytes: Vec<u8> = noise(most).into_iter().flat_map(f32::to_le_bytes).collect();
    let mut tensors = HashMap::new();
    for (name, shape) in shapes {
        let length = 4 * shape.iter().product::<usize>();
        tensors.insert(name, TensorView::new(Dtype::F32, shape, &bytes[..length])?);
    }
    serialize_to_file(tensors, None, &folder.join("model.safetensors"))?;
    Ok(folder)
}

/// Small numbers without a pattern.
fn noise(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0) * 0.05
    };
    (0..count).map(|_| next()).collect()
}

/// Runs once to warm up, then `runs` times, and prints median, least and greatest.
fn report(what: &str, unit: &str, runs: usize, mut measure: impl FnMut() -> Result<f64>) -> Result<()> {
    measure()?;
    let mut figures = (0..runs).map(|_| measure()).collect::<Result<Vec<f64>>>()?;
    figures.sort_by(f64::total_cmp);
    let (least, median, greatest) = (figures[0], figures[runs / 2], figures[runs - 1]);
    println!("{what:36} {median:8.0} {unit}  ({least:.0} to {greatest:.0}, {runs} runs)");
    Ok(())
}
