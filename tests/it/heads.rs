//! Heads and taps against PyTorch: pooled vectors, classifiers with one output, attention probabilities.

use std::path::PathBuf;

use serde_json::{Value, json};
use spanqa::checkpoint::{self, ModelFiles};
use spanqa::encoder::batch::Batch;
use spanqa::encoder::{self, DeviceChoice, Encoder, Precision, Runtime, Tap};
use spanqa::heads::pool::{PoolConfig, Pooling};
use spanqa::heads::{CrossEncoder, EmbeddingModel, QaModel};
use spanqa::text::Tokenizer;

use crate::support::{batch_of, fixture, fixture_json, folder_of, gap, integers, numbers};

const FAMILIES: [&str; 4] = ["minilm", "distilbert", "roberta", "xlm-roberta"];
const TOLERANCE: f32 = 1e-4;

/// What PyTorch says: see tests/fixtures/heads.py.
fn golden(family: &str) -> Value {
    fixture_json("heads/golden.json")[family].clone()
}

/// The windows that a family's numbers are about.
fn windows(family: &str) -> Vec<Value> {
    fixture_json(&format!("tiny/{family}/golden.json"))["windows"].as_array().unwrap().clone()
}

fn tiny(family: &str) -> ModelFiles {
    ModelFiles::from_dir(&fixture("tiny").join(family)).unwrap()
}

/// The products of tests run in f32, whatever the weights are stored in.
fn exact() -> Runtime {
    Runtime { precision: Some(Precision::F32), ..Runtime::default() }
}

/// The encoder of a tiny model and its classifier, as two shards; config.json counts so many labels.
pub fn classifier(family: &str, labels: usize) -> tempfile::TempDir {
    let [encoder, head]: [PathBuf; 2] = [
        fixture("tiny").join(family).join("model.safetensors"),
        fixture(&format!("heads/{family}.safetensors")),
    ];
    let folder = folder_of(&[encoder, head]);
    let mut config = fixture_json(&format!("tiny/{family}/config.json"));
    config["num_labels"] = json!(labels);
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    std::fs::rename(folder.path().join("model.safetensors"), folder.path().join("encoder.safetensors"))
        .unwrap();
    let map = json!({"weight_map": {"a": "encoder.safetensors", "b": format!("{family}.safetensors")}});
    std::fs::write(folder.path().join("model.safetensors.index.json"), map.to_string()).unwrap();
    folder
}

fn assert_close(what: &str, expected: &Value, found: &[f32], tolerance: f32) {
    let expected = numbers(expected);
    let (worst, at) = gap(&expected, found);
    assert!(worst <= tolerance, "{what}[{at}]: expected {}, found {}", expected[at], found[at]);
}

#[test]
fn pooled_vectors_equal_pytorch() {
    for family in FAMILIES {
        let (windows, golden) = (windows(family), golden(family));
        for (pooling, normalise, name) in [
            (Pooling::Mean, false, "mean"),
            (Pooling::Mean, true, "normalised"),
            (Pooling::First, false, "first"),
        ] {
            let config = PoolConfig { pooling, normalise, ..PoolConfig::default() };
            for runtime in [exact(), Runtime { reference: true, ..exact() }] {
                let encoder = Encoder::open(&tiny(family), &runtime).unwrap();
                let rows = encoder.forward(&batch_of(&windows), None).unwrap();
                for (number, rows) in rows.iter().enumerate() {
                    let what = format!("{family} window {number} {name}");
                    assert_close(&what, &golden["windows"][number][name], &config.pool(rows), TOLERANCE);
                }
            }
        }
    }
}

/// A folder as sentence-transformers writes it, read from its files.
#[test]
fn an_embedding_model_reads_its_folder() {
    let family = "minilm";
    let at = |name: &str| fixture("tiny").join(family).join(name);
    let inside = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = inside.path().join(name.replace('/', "-"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let modules = r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"},
                      {"path": "2_Normalize", "type": "a.Normalize"}]"#;
    let files = [
        ("config.json", at("config.json")),
        ("model.safetensors", at("model.safetensors")),
        ("modules.json", write("modules.json", modules)),
        ("1_Pooling/config.json", write("1_Pooling/config.json", r#"{"pooling_mode_cls_token": false}"#)),
        ("sentence_bert_config.json", write("sentence_bert_config.json", r#"{"max_seq_length": 48}"#)),
    ];
    let files = files.map(|(name, path)| (name.to_owned(), spanqa::checkpoint::ModelFile::OnDisk(path)));
    let model = EmbeddingModel::load(&ModelFiles::new("tiny", None, files), &exact()).unwrap();
    assert_eq!(model.max_tokens(), 48);
    let mut batch = Batch::default();
    for window in &windows(family) {
        model.push(&mut batch, &integers(&window["ids"]), &integers(&window["segments"]));
    }
    let golden = golden(family);
    for (number, vector) in model.embed(&batch).unwrap().iter().enumerate() {
        assert_close("vector", &golden["windows"][number]["normalised"], vector, TOLERANCE);
    }
}

#[test]
fn cross_encoders_equal_pytorch() {
    for family in FAMILIES {
        let folder = classifier(family, 1);
        let files = ModelFiles::from_dir(folder.path()).unwrap();
        let golden = golden(family);
        for runtime in [exact(), Runtime { reference: true, ..exact() }] {
            let model = CrossEncoder::load(&files, &runtime).unwrap();
            let mut batch = Batch::default();
            for window in &windows(family) {
                model.push(&mut batch, &integers(&window["ids"]), &integers(&window["segments"]));
            }
            let scores = model.scores(&batch).unwrap();
            assert_eq!(scores.len(), windows(family).len());
            for (number, score) in scores.iter().enumerate() {
                let what = format!("{family} window {number}");
                assert_close(&what, &golden["windows"][number]["score"], &[*score], TOLERANCE);
            }
        }
    }
}

/// A checkpoint is opened for what it can do; for anything else the error says what that is.
#[test]
fn a_head_that_is_not_there_is_an_error_and_the_encoder_opens() {
    let files = tiny("minilm");
    assert!(matches!(
        CrossEncoder::load(&files, &exact()),
        Err(encoder::Error::Checkpoint(checkpoint::Error::NoClassifier { .. }))
    ));

    let folder = classifier("minilm", 3);
    let files = ModelFiles::from_dir(folder.path()).unwrap();
    let error = CrossEncoder::load(&files, &exact()).err().unwrap().to_string();
    assert!(error.contains("num_labels \"3\""), "{error}");

    // Without the span head it is a classifier and nothing else.
    let encoder = folder.path().join("encoder.safetensors");
    let bytes = std::fs::read(&encoder).unwrap();
    let at = |name: &str| bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
    let mut renamed = bytes.clone();
    renamed[at("qa_outputs.weight")..][..2].copy_from_slice(b"no");
    std::fs::write(&encoder, renamed).unwrap();
    let files = ModelFiles::from_dir(folder.path()).unwrap();
    let Err(error) = QaModel::load(&files, &exact()) else { panic!("it answers questions") };
    assert!(matches!(&error, encoder::Error::Checkpoint(checkpoint::Error::NoHead { .. })), "{error}");
    assert!(error.to_string().contains("classifier"), "{error}");
    assert_eq!(Encoder::open(&files, &exact()).unwrap().config().hidden, 32);
}

/// The probabilities of each layer, window and head.
fn attention(family: &str, windows: &[Value]) -> Tap {
    let encoder = Encoder::open(&tiny(family), &Runtime { reference: true, ..exact() }).unwrap();
    let mut tap = Tap::with_attention();
    encoder.forward(&batch_of(windows), Some(&mut tap)).unwrap();
    tap
}

#[test]
fn attention_probabilities_equal_pytorch() {
    for family in FAMILIES {
        let windows = windows(family);
        let layers = attention(family, &windows).attention.unwrap();
        for expected in golden(family)["attention"].as_array().unwrap() {
            let window = expected["window"].as_u64().unwrap() as usize;
            let expected = expected["layers"].as_array().unwrap();
            assert_eq!(expected.len(), layers.len());
            for (number, (expected, found)) in expected.iter().zip(&layers).enumerate() {
                let what = format!("{family} window {window} layer {number}");
                assert_close(&what, expected, &found[window], 1e-5);
            }
        }
        for (window, json) in layers.iter().flat_map(|layer| layer.iter().zip(&windows)) {
            let tokens = integers(&json["ids"]).len();
            assert_eq!(window.len() % (tokens * tokens), 0, "{family}: heads of squares");
            for row in window.chunks_exact(tokens) {
                assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{family}: a row sums to one");
            }
        }
    }
}

/// The fused kernels keep no probabilities, and say so.
#[test]
fn attention_is_not_to_be_had_from_the_kernels() {
    let encoder = Encoder::open(&tiny("minilm"), &Runtime { device: DeviceChoice::Cpu, ..exact() }).unwrap();
    let batch = batch_of(&windows("minilm"));
    let found = encoder.forward(&batch, Some(&mut Tap::with_attention()));
    assert!(cfg!(feature = "accelerate") || matches!(found, Err(encoder::Error::NoAttention { .. })));
}

#[test]
fn a_single_text_stands_between_special_tokens() {
    for (family, first, last) in
        [("minilm", 2, 3), ("distilbert", 2, 3), ("roberta", 0, 2), ("xlm-roberta", 0, 2)]
    {
        let tokenizer = Tokenizer::from_files(&tiny(family)).unwrap();
        let text = tokenizer.encode("the king of the hill").unwrap().ids;
        let (ids, segments) = tokenizer.single_template().unwrap().join(&text);
        assert_eq!(ids, [&[first], &text[..], &[last]].concat(), "{family}");
        assert_eq!(segments, vec![0; ids.len()], "{family}");
    }
}
