//! `spanqa export`: what leaves holds what came in, under the names that other programs know, and appears whole or not at all.
//!
//! That other programs compute the same with it is measured by benches/exports.py, which needs them.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use spanqa::checkpoint::{ModelFile, ModelFiles};
use spanqa::encoder::batch::Batch;
use spanqa::encoder::{Precision, Runtime};
use spanqa::export::onnx::read::{Summary, read};
use spanqa::export::{Format, Options, export, gguf};
use spanqa::heads::{QaModel, SpanModel};
use spanqa::text::{Tokenizer, TokenizerOrigin};

use crate::runner::Runner;
use crate::support::{fixture, gap, integers, numbers, run};

const FAMILIES: [&str; 5] = ["bert-large", "distilbert", "minilm", "roberta", "xlm-roberta"];

/// A tiny model of a family, with a tokenizer.
fn model(family: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("tiny").join(family)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    if family == "bert-large" {
        // The fixture has none: letters, whole and inside of words.
        let letters = ('a'..='z').flat_map(|letter| [letter.to_string(), format!("##{letter}")]);
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(String::from);
        let vocabulary: Vec<String> = special.into_iter().chain(letters).collect();
        std::fs::write(folder.path().join("vocab.txt"), vocabulary.join("\n")).unwrap();
    }
    folder
}

/// A tiny model without its head.
fn headless() -> tempfile::TempDir {
    let model = model("minilm");
    let weights = model.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let others = file.tensors().into_iter().filter(|(name, _)| !name.starts_with("qa_outputs"));
    std::fs::write(&weights, safetensors::serialize(others, None).unwrap()).unwrap();
    model
}

/// The same as a folder of sentence-transformers.
fn embedder(pooling: &str) -> tempfile::TempDir {
    let model = headless();
    let write = |name: &str, text: &str| std::fs::write(model.path().join(name), text).unwrap();
    let modules = ["Transformer", "Pooling", "Normalize"].map(|kind| {
        let path = if kind == "Pooling" { "1_Pooling" } else { "" };
        json!({"path": path, "type": format!("sentence_transformers.models.{kind}")})
    });
    write("modules.json", &json!(modules).to_string());
    std::fs::create_dir(model.path().join("1_Pooling")).unwrap();
    write("1_Pooling/config.json", &json!({"pooling_mode": pooling}).to_string());
    model
}

/// Exports with the program.
fn exported(model: &Path, flags: &[&str]) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    let (model, folder) = (model.to_str().unwrap(), out.path().to_str().unwrap());
    let done = run(&[&["export", model, folder], flags].concat());
    assert_eq!(done.code, Some(0), "{done:?}");
    out
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn tensors(folder: &Path) -> Tensors {
    let bytes = std::fs::read(folder.join("model.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors.map(|(name, view)| (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// What transformers calls a tensor that had another name once, or another prefix.
fn present_name(name: &str, family: &str) -> String {
    let name = name.replace(".gamma", ".weight").replace(".beta", ".bias");
    let prefix = match family {
        "distilbert" => "distilbert.",
        "roberta" | "xlm-roberta" => "roberta.",
        _ => "bert.",
    };
    if name.starts_with(prefix) || name.starts_with("qa_outputs") { name } else { format!("{prefix}{name}") }
}

/// The checkpoint's tensors as they should leave.
fn expected(folder: &Path, family: &str) -> Tensors {
    let unused = |name: &str| ["position_ids", "pooler", "cls."].iter().any(|part| name.contains(part));
    let all = tensors(folder).into_iter().filter(|(name, _)| !unused(name));
    all.map(|(name, tensor)| (present_name(&name, family), tensor)).collect()
}

fn config(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap()
}

fn summary(path: &Path) -> Summary {
    read(&ModelFile::OnDisk(path.to_owned())).unwrap()
}

fn count(summary: &Summary, operator: &str) -> usize {
    summary.nodes.iter().filter(|node| node.operator == operator).count()
}

/// The bytes of a tensor of a graph.
fn stored(folder: &Path, summary: &Summary, name: &str) -> Vec<u8> {
    let tensor = summary.tensors.iter().find(|tensor| tensor.name == name);
    let tensor = tensor.unwrap_or_else(|| panic!("no {name}"));
    let file = std::fs::read(folder.join(tensor.file.as_deref().unwrap_or("model.onnx"))).unwrap();
    file[tensor.bytes.start as usize..tensor.bytes.end as usize].to_vec()
}

fn transposed<T: Copy>(numbers: &[T], columns: usize) -> Vec<T> {
    (0..columns).flat_map(|column| numbers.iter().skip(column).step_by(columns).copied()).collect()
}

#[test]
fn weights_leave_under_the_names_of_transformers() {
    for family in FAMILIES {
        let model = model(family);
        let out = exported(model.path(), &[]);
        assert_eq!(tensors(out.path()), expected(model.path(), family), "{family}");
        let bytes = std::fs::read(out.path().join("model.safetensors")).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
        let config = config(out.path());
        assert_eq!(config["torch_dtype"], "float32");
        assert!(config["architectures"][0].as_str().unwrap().ends_with("ForQuestionAnswering"));
        for name in ["vocab.txt", "vocab.json", "sentencepiece.bpe.model"] {
            assert_eq!(model.path().join(name).exists(), out.path().join(name).exists(), "{family} {name}");
        }
        let verified = run(&["models", "verify", out.path().to_str().unwrap()]);
        assert_eq!(verified.code, Some(0), "{verified:?}");
    }
}

#[test]
fn halves_are_the_numbers_rounded() {
    let model = model("roberta");
    let whole = tensors(model.path());
    for (flag, dtype, name, digits) in
        [("f16", Dtype::F16, "float16", 11), ("bf16", Dtype::BF16, "bfloat16", 8)]
    {
        let out = exported(model.path(), &["--dtype", flag]);
        assert_eq!(config(out.path())["torch_dtype"], name);
        let half = tensors(out.path());
        assert_eq!(half.len(), expected(model.path(), "roberta").len());
        for (name, (kind, shape, bytes)) in half {
            assert_eq!((kind, &shape), (dtype, &whole[&name].1));
            let numbers = floats(&whole[&name].2);
            for (number, bytes) in numbers.iter().zip(bytes.as_chunks::<2>().0) {
                let rounded = match dtype {
                    Dtype::F16 => half::f16::from_le_bytes(*bytes).to_f32(),
                    _ => half::bf16::from_le_bytes(*bytes).to_f32(),
                };
                let gap = (rounded - number).abs();
                assert!(gap <= number.abs() * 0.5f32.powi(digits) + 1e-7, "{name}: {number} {rounded}");
            }
        }
    }
}

#[test]
fn what_is_packed_is_a_form_of_export() {
    let model = model("minilm");
    let out = exported(model.path(), &["--dtype", "int8"]);
    let packed = out.path().join("packed");
    let done = run(&["models", "pack", model.path().to_str().unwrap(), packed.to_str().unwrap()]);
    assert_eq!(done.code, Some(0));
    let read = |path: &Path| std::fs::read(path).unwrap();
    assert!(read(&packed) == read(&out.path().join("model.safetensors")));
    // Other programs take the integers for numbers, unless something stops them.
    assert_eq!(config(out.path())["quantization_config"]["quant_method"], "spanqa");
    let verified = run(&["models", "verify", out.path().to_str().unwrap()]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

#[test]
fn graphs_hold_the_checkpoint_and_take_what_the_family_takes() {
    for family in FAMILIES {
        let model = model(family);
        let out = exported(model.path(), &["--format", "onnx"]);
        let summary = summary(&out.path().join("model.onnx"));
        let inputs = ["input_ids", "attention_mask", "token_type_ids"];
        let inputs = if ["bert-large", "minilm"].contains(&family) { &inputs[..] } else { &inputs[..2] };
        assert_eq!(summary.inputs, inputs, "{family}");
        assert_eq!(summary.outputs, ["start_logits", "end_logits"]);
        let count = |operator: &str| count(&summary, operator);
        let layers = config(model.path())["num_hidden_layers"].as_u64();
        let layers = layers.or(config(model.path())["n_layers"].as_u64()).unwrap() as usize;
        assert_eq!(
            [count("Softmax"), count("Erf"), count("LayerNormalization"), count("MatMul")],
            [layers, layers, 2 * layers + 1, 8 * layers + 1],
            "{family}"
        );
        for (name, (_, shape, bytes)) in expected(model.path(), family) {
            let is_matrix = shape.len() == 2 && !name.contains("embeddings");
            let (name, expected) = match is_matrix {
                true => (format!("{name}_transposed"), transposed(&floats(&bytes), shape[1])),
                false => (name, floats(&bytes)),
            };
            assert!(floats(&stored(out.path(), &summary, &name)) == expected, "{family}: {name}");
        }
        let verified = run(&["models", "verify", out.path().to_str().unwrap()]);
        assert!(verified.stdout.contains("onnx       ok: whole"), "{verified:?}");
    }
}

#[test]
fn graphs_say_what_the_model_says() {
    let readers = FAMILIES.map(|family| (family, model(family)));
    let embedders = ["mean", "cls"].map(|pooling| (pooling, embedder(pooling)));
    for (name, from) in readers.iter().chain(&embedders) {
        for (dtype, most) in [("f32", 1e-4), ("f16", 2e-2), ("int8", 1.0)] {
            let out = exported(from.path(), &["--format", "onnx", "--dtype", dtype]);
            let graph = Runner::new(out.path());
            let check = std::fs::read_to_string(out.path().join("check.jsonl")).unwrap();
            let mut compared = 0;
            for row in check.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                for (output, found) in graph.run(&row, usize::MAX, 0) {
                    let Some(expected) = row.get(&output) else { continue };
                    let expected = numbers(expected);
                    let (gap, place) = gap(&found[..expected.len()], &expected);
                    assert!(gap <= most, "{name} {dtype}: {output} differs by {gap} at {place}");
                    compared += 1;
                }
            }
            assert!(compared >= 4, "{name} {dtype}");
            // Padding changes nothing, but in integers the scale of what is rounded together.
            let row = serde_json::from_str(check.lines().next().unwrap()).unwrap();
            let (alone, padded) = (graph.run(&row, 20, 0), graph.run(&row, 20, 3));
            for ((output, alone), (_, padded)) in alone.iter().zip(&padded).filter(|_| dtype != "int8") {
                let gap = gap(alone, &padded[..alone.len()]).0;
                assert!(gap < 1e-4, "{name} {dtype}: with padding {output} differs by {gap}");
            }
        }
    }
}

#[test]
fn integers_stand_for_the_numbers() {
    let model = model("minilm");
    let out = exported(model.path(), &["--format", "onnx", "--dtype", "int8"]);
    let summary = summary(&out.path().join("model.onnx"));
    let codes = |name: &str| stored(out.path(), &summary, &format!("{name}_quantized"));
    let scales = |name: &str| floats(&stored(out.path(), &summary, &format!("{name}_scale")));
    let whole = tensors(model.path());
    for (name, most) in [
        ("bert.embeddings.word_embeddings.weight", 127),
        ("bert.encoder.layer.1.attention.self.key.weight", 64),
        ("bert.encoder.layer.0.output.dense.weight", 64),
    ] {
        let (_, shape, bytes) = &whole[name];
        let by_row = match most {
            64 => transposed(&codes(&format!("{name}_transposed")), shape[0]),
            _ => codes(name),
        };
        assert_eq!(by_row.iter().map(|&code| (code as i8).unsigned_abs()).max(), Some(most));
        for (place, number) in floats(bytes).into_iter().enumerate() {
            let scale = scales(name)[place / shape[1]];
            let stands_for = f32::from(by_row[place] as i8) * scale;
            assert!((stands_for - number).abs() <= scale * 0.501, "{name}: {number} {stands_for}");
        }
    }
    assert_eq!(count(&summary, "MatMulInteger"), 12);
    // Query, key and value share one rounding of their input.
    assert_eq!(count(&summary, "DynamicQuantizeLinear"), 8);
}

#[test]
fn large_graphs_have_their_tensors_in_a_second_file() {
    let model = model("xlm-roberta");
    let whole = exported(model.path(), &["--format", "onnx"]);
    let out = tempfile::tempdir().unwrap();
    let options = Options { format: Format::Onnx, largest_graph: 10_000, ..Options::default() };
    export(&ModelFiles::from_dir(model.path()).unwrap(), out.path(), &options).unwrap();
    let [whole_summary, split] = [whole.path(), out.path()].map(|folder| summary(&folder.join("model.onnx")));
    assert_eq!(whole_summary.nodes, split.nodes);
    assert!(std::fs::metadata(out.path().join("model.onnx")).unwrap().len() < 100_000);
    let mut outside = 0;
    for tensor in &split.tensors {
        let ours = stored(out.path(), &split, &tensor.name);
        assert!(ours == stored(whole.path(), &whole_summary, &tensor.name), "{}", tensor.name);
        if tensor.file.is_some() {
            assert_eq!((tensor.file.as_deref(), tensor.bytes.start % 4096), (Some("model.onnx_data"), 0));
            outside += 1;
        }
    }
    assert!(outside > 10, "{outside}");
    let data = out.path().join("model.onnx_data");
    let length = data.metadata().unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&data).unwrap().set_len(length - 1).unwrap();
    let verified = run(&["models", "verify", out.path().to_str().unwrap()]);
    assert_eq!(verified.code, Some(2));
    assert!(verified.stderr.contains("is missing or cut short"), "{verified:?}");
}

#[test]
fn a_graph_that_is_cut_short_is_not_whole() {
    let out = exported(model("minilm").path(), &["--format", "onnx"]);
    let path = out.path().join("model.onnx");
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 1, 10, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(read(&ModelFile::OnDisk(path.clone())).is_err(), "{length}");
    }
}

#[test]
fn types_share_a_folder_of_transformers_js() {
    let model = model("xlm-roberta");
    let out = tempfile::tempdir().unwrap();
    let (from, to) = (model.path().to_str().unwrap(), out.path().to_str().unwrap());
    for dtype in ["f32", "f16", "int8"] {
        let flags = ["--format", "onnx", "--layout", "transformers.js", "--dtype", dtype];
        let done = run(&[&["export", from, to], &flags[..]].concat());
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    for name in ["model.onnx", "model_fp16.onnx", "model_quantized.onnx"] {
        assert!(!summary(&out.path().join("onnx").join(name)).tensors.is_empty());
    }
    assert_eq!(run(&["models", "verify", to]).stdout.matches("onnx       ok: whole").count(), 3);
}

#[test]
fn what_is_missing_of_a_tokenizer_is_written() {
    for family in FAMILIES {
        let model = model(family);
        let out = exported(model.path(), &["--format=onnx", "--layout=transformers.js"]);
        let json = out.path().join("tokenizer.json");
        let before = Tokenizer::from_files(&ModelFiles::from_dir(model.path()).unwrap()).unwrap();
        let after = Tokenizer::from_files(&ModelFiles::from_dir(out.path()).unwrap()).unwrap();
        assert_eq!(after.origin(), TokenizerOrigin::Json, "{family}");
        let text = "Wann \u{f6}ffnet das Caf\u{e9}? ab [SEP] 12";
        assert_eq!(before.encode(text).unwrap(), after.encode(text).unwrap(), "{family}");
        assert_eq!(before.template(), after.template(), "{family}");
        let config = std::fs::read(out.path().join("tokenizer_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        let json: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        let roberta = ["roberta", "xlm-roberta"].contains(&family);
        let named =
            if roberta { ["<s>", "</s>", "<pad>", "<unk>"] } else { ["[CLS]", "[SEP]", "[PAD]", "[UNK]"] };
        for (key, name) in ["cls_token", "sep_token", "pad_token", "unk_token"].into_iter().zip(named) {
            assert_eq!(config[key], name, "{family}");
            let added = json["added_tokens"].as_array().unwrap();
            assert!(added.iter().any(|token| token["content"] == name), "{family} {name}");
        }
    }
}

#[test]
fn the_check_holds_what_the_model_says() {
    for family in FAMILIES {
        let model = model(family);
        let out = exported(model.path(), &["--dtype", "f16"]);
        let runtime = Runtime { precision: Some(Precision::F32), ..Runtime::default() };
        let reader = QaModel::load(&ModelFiles::from_dir(model.path()).unwrap(), &runtime).unwrap();
        let text = std::fs::read_to_string(out.path().join("check.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 4);
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let ids = integers(&line["input_ids"][0]);
            let segments = match line.get("token_type_ids") {
                Some(segments) => integers(&segments[0]),
                None => vec![0; ids.len()],
            };
            assert_eq!(integers(&line["attention_mask"][0]), vec![1; ids.len()]);
            let mut batch = Batch::default();
            batch.push(&ids, &segments);
            let logits = reader.logits(&batch).unwrap();
            assert!(gap(&numbers(&line["start_logits"]), &logits[0].start).0 < 1e-6);
            assert!(gap(&numbers(&line["end_logits"]), &logits[0].end).0 < 1e-6);
        }
    }
}

#[test]
fn embedders_leave_with_their_pooling() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("st");
    let done = run(&["export", "builtin-embedder", folder.to_str().unwrap()]);
    assert_eq!(done.code, Some(0), "{done:?}");
    for name in ["modules.json", "1_Pooling/config.json", "sentence_bert_config.json", "vocab.txt"] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    // The name of an encoder without a head.
    assert!(tensors(&folder).contains_key("embeddings.word_embeddings.weight"));
    let verified = run(&["models", "verify", folder.to_str().unwrap()]);
    assert!(verified.stdout.contains("finite vectors of 384 numbers, 1 long"), "{verified:?}");
    let embed = |model: &str| run(&["embed", "--model", model, "-c", "a lamp", "--dtype", "f32"]).records();
    let (ours, theirs) = (embed("builtin-embedder"), embed(folder.to_str().unwrap()));
    assert_eq!(ours[0]["embedding"], theirs[0]["embedding"]);
    let graph = out.path().join("onnx");
    let done = run(&["export", "builtin-embedder", graph.to_str().unwrap(), "--format=onnx", "--dtype=int8"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let summary = summary(&graph.join("model.onnx"));
    assert_eq!(summary.outputs, ["last_hidden_state", "sentence_embedding"]);
    let line = std::fs::read_to_string(graph.join("check.jsonl")).unwrap();
    let line: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    assert_eq!(line["sentence_embedding"].as_array().unwrap().len(), 384);
}

#[test]
fn llama_gets_an_embedder_in_one_file() {
    let out = tempfile::tempdir().unwrap();
    let safe = out.path().join("safetensors");
    let done = run(&["export", "builtin-embedder", safe.to_str().unwrap()]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let expected = tensors(&safe);
    for (dtype, element) in [("f32", 0), ("f16", 1)] {
        let folder = out.path().join(dtype);
        let to = folder.to_str().unwrap();
        let done = run(&["export", "builtin-embedder", to, "--format=gguf", "--dtype", dtype]);
        assert_eq!(done.code, Some(0), "{done:?}");
        let file = ModelFile::OnDisk(folder.join("model.gguf"));
        let summary = gguf::read::read(&file).unwrap();
        assert_eq!((summary.tensors.len(), summary.tokens.len()), (5 + 6 * 16, 30_522));
        // What llama.cpp needs to know of the model; 1 is the mean of all tokens, which is how this embedder pools.
        let fields = json!({
            "general.architecture": "bert",
            "general.name": "builtin-embedder",
            "general.file_type": element,
            "bert.block_count": 6,
            "bert.context_length": 512,
            "bert.embedding_length": 384,
            "bert.feed_forward_length": 1536,
            "bert.attention.head_count": 12,
            "bert.pooling_type": 1,
            "bert.attention.layer_norm_epsilon": 1e-12f32,
            "bert.attention.causal": false,
            "tokenizer.ggml.model": "bert",
            "tokenizer.ggml.token_type_count": 2,
            "tokenizer.ggml.bos_token_id": 101,
            "tokenizer.ggml.cls_token_id": 101,
            "tokenizer.ggml.seperator_token_id": 102,
            "tokenizer.ggml.unknown_token_id": 100,
        });
        assert_eq!(json!(summary.fields), fields);
        // A word, a piece inside of a word, and a special token.
        let token = |id: usize| summary.tokens[id].as_str();
        assert_eq!([token(1996), token(2015), token(101)], ["\u{2581}the", "s", "[CLS]"]);
        let bytes = std::fs::read(folder.join("model.gguf")).unwrap();
        for (ours, theirs) in [
            ("token_embd.weight", "embeddings.word_embeddings.weight"),
            ("position_embd.weight", "embeddings.position_embeddings.weight"),
            ("blk.2.attn_k.weight", "encoder.layer.2.attention.self.key.weight"),
            ("blk.5.ffn_down.bias", "encoder.layer.5.output.dense.bias"),
            ("blk.0.layer_output_norm.weight", "encoder.layer.0.output.LayerNorm.weight"),
        ] {
            let tensor = summary.tensors.iter().find(|tensor| tensor.name == ours).unwrap();
            let (_, shape, expected) = &expected[theirs];
            let reversed: Vec<usize> = tensor.shape.iter().rev().map(|&size| size as usize).collect();
            assert_eq!(&reversed, shape, "{ours}");
            let stored = &bytes[tensor.start as usize..(tensor.start + tensor.length) as usize];
            let large = shape.len() == 2 && !ours.starts_with("position");
            assert_eq!(tensor.element, if large { element } else { 0 }, "{ours}");
            let halves =
                || stored.as_chunks::<2>().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f32());
            let numbers: Vec<f32> = if tensor.element == 0 { floats(stored) } else { halves().collect() };
            let most = if tensor.element == 0 { 0.0 } else { 1e-3 };
            assert!(gap(&numbers, &floats(expected)).0 <= most, "{ours}");
        }
        let verified = run(&["models", "verify", to]);
        assert!(verified.stdout.contains("gguf       ok: whole, 101 tensors"), "{verified:?}");
        std::fs::write(folder.join("model.gguf"), &bytes[..bytes.len() - 64]).unwrap();
        assert!(gguf::read::read(&file).is_err());
    }
    let to = out.path().join("new");
    let to = to.to_str().unwrap();
    run(&["export", "builtin", to, "--format=gguf"]).fails_with("llama.cpp has no question-answering head");
    run(&["export", "builtin-embedder", to, "--format=gguf", "--dtype=int8"])
        .fails_with("gguf is not written in int8");
    assert!(!Path::new(to).exists());
}

#[test]
fn files_that_are_in_the_way_stay() {
    let model = model("minilm");
    let out = tempfile::tempdir().unwrap();
    let (from, to) = (model.path().to_str().unwrap(), out.path().to_str().unwrap());
    for name in ["model.safetensors", "config.json"] {
        std::fs::write(out.path().join(name), "mine").unwrap();
        run(&["export", from, to]).fails_with("exists already");
        assert_eq!(std::fs::read(out.path().join(name)).unwrap(), b"mine");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
        let done = run(&["export", from, to, "--force"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(tensors(out.path()).len() > 10);
        for entry in std::fs::read_dir(out.path()).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

#[test]
fn places_that_cannot_be_had_are_named_and_nothing_stays() {
    let model = model("minilm");
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("file"), "").unwrap();
    let inside = out.path().join("file/below");
    let done = run(&["export", model.path().to_str().unwrap(), inside.to_str().unwrap()]);
    done.fails_with("file/below");
    assert!(!done.stderr.contains(".spanqa-"), "{}", done.stderr);
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_nothing() {
    let model = model("minilm");
    let out = tempfile::tempdir().unwrap();
    for flags in ["", "--format onnx", "--dtype int8"] {
        // No file may grow beyond 8 KB: what a full disk does, and it works everywhere.
        let script = format!(
            "trap '' XFSZ; ulimit -f 16; '{}' export '{}' '{}/new/model' {flags}",
            env!("CARGO_BIN_EXE_spanqa"),
            model.path().display(),
            out.path().display()
        );
        let mut command = std::process::Command::new("sh");
        command.arg("-c").arg(script);
        let done = crate::support::Run::from(crate::support::isolated(command).output().unwrap());
        done.fails_with("new/model/model.");
        assert!(!done.stderr.contains(".spanqa-"), "{}", done.stderr);
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0, "{flags}");
    }
}

#[test]
fn what_cannot_be_exported_is_refused_by_name() {
    let out = tempfile::tempdir().unwrap();
    let to = out.path().join("new");
    let to = to.to_str().unwrap();
    run(&["export", "builtin", to, "--format=onnx", "--dtype=bf16"])
        .fails_with("onnx is not written in bf16");
    run(&["export", "builtin", to, "--layout=optimum"]).fails_with("--layout is for ONNX models");
    let headless = headless();
    for format in ["safetensors", "onnx", "gguf"] {
        let done = run(&["export", headless.path().to_str().unwrap(), to, "--format", format]);
        done.fails_with("no question-answering head");
    }
    let large = model("minilm");
    let weights = large.path().join("model.safetensors");
    crate::support::overwrite(&weights, "qa_outputs.bias", 0, 1e6);
    let done = run(&["export", large.path().to_str().unwrap(), to, "--dtype=f16"]);
    done.fails_with("qa_outputs.bias holds 1000000, which is too large for f16");
    crate::support::overwrite(&weights, "qa_outputs.bias", 0, f32::NAN);
    run(&["export", large.path().to_str().unwrap(), to]).fails_with("not finite numbers");
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
}
