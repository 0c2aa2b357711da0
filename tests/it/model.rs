//! The encoder against PyTorch, on tiny random models of all five families.

use std::path::Path;

use serde_json::Value;
use spanqa::checkpoint::ModelFiles;
use spanqa::encoder::Error;
use spanqa::encoder::batch::{Batch, pack};
use spanqa::encoder::{Precision, Runtime, Tap};
use spanqa::heads::{QaModel, SpanModel, WindowLogits};

use crate::support::{
    FullSize, batch_of, best_tokens, fixture, fixture_json, folder_of, full_size_models, gap, largest_gap,
    numbers, overwrite, random_model, run, tiny_model,
};

const FAMILIES: [&str; 5] = ["minilm", "distilbert", "roberta", "bert-large", "xlm-roberta"];
const TOLERANCE: f32 = 1e-4;

fn load_with(path: &Path, runtime: &Runtime) -> QaModel {
    QaModel::load(&ModelFiles::from_dir(path).unwrap(), runtime).unwrap()
}

fn load(family: &str) -> QaModel {
    load_with(&fixture("tiny").join(family), &Runtime::default())
}

fn golden(family: &str) -> Value {
    fixture_json(&format!("tiny/{family}/golden.json"))
}

fn windows(golden: &Value) -> &[Value] {
    golden["windows"].as_array().unwrap()
}

/// Panics with the place of the largest difference.
fn assert_close(what: &str, expected: &[f32], found: &[f32], tolerance: f32) {
    let (worst, at) = gap(expected, found);
    assert!(worst <= tolerance, "{what}[{at}]: expected {}, found {}", expected[at], found[at]);
}

fn assert_logits(what: &str, expected: &[Value], found: &[WindowLogits], tolerance: f32) {
    assert_eq!(expected.len(), found.len());
    for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
        assert_close(
            &format!("{what} window {index} start"),
            &numbers(&expected["start"]),
            &found.start,
            tolerance,
        );
        assert_close(
            &format!("{what} window {index} end"),
            &numbers(&expected["end"]),
            &found.end,
            tolerance,
        );
    }
}

#[test]
fn every_layer_and_the_logits_equal_pytorch() {
    for family in FAMILIES {
        let golden = golden(family);
        let batch = batch_of(windows(&golden));
        let mut tap = Tap::default();
        let logits = load(family).logits_with_tap(&batch, &mut tap).unwrap();
        assert_logits(family, windows(&golden), &logits, TOLERANCE);

        let hidden = golden["hidden"].as_u64().unwrap() as usize;
        let ranges: Vec<_> = batch.ranges().collect();
        for states in golden["hidden_states"].as_array().unwrap() {
            let window = states["window"].as_u64().unwrap() as usize;
            let expected = states["states"].as_array().unwrap();
            assert_eq!(expected.len(), tap.hidden_states.len(), "{family}: embeddings and every layer");
            for (layer, expected) in expected.iter().enumerate() {
                let range = ranges[window].start * hidden..ranges[window].end * hidden;
                let what = format!("{family} window {window} state {layer}");
                assert_close(&what, &numbers(expected), &tap.hidden_states[layer][range], TOLERANCE);
            }
        }
    }
}

/// The comparison above would notice each known mistake: the wrong logits are far from ours.
#[test]
fn known_mistakes_would_be_noticed() {
    for family in FAMILIES {
        let golden = golden(family);
        let logits = load(family).logits(&batch_of(windows(&golden))).unwrap();
        for (name, mutation) in golden["mutations"].as_object().unwrap() {
            for wrong in mutation["windows"].as_array().unwrap() {
                let ours = &logits[wrong["window"].as_u64().unwrap() as usize];
                let start = gap(&numbers(&wrong["start"]), &ours.start).0;
                let end = gap(&numbers(&wrong["end"]), &ours.end).0;
                assert!(
                    start.max(end) > 10.0 * TOLERANCE,
                    "{family}: {name} moves logits by {start} and {end} only"
                );
            }
        }
    }
}

/// Mistakes made on purpose on our side give exactly what PyTorch gives for the same mistake.
#[test]
fn the_same_mistakes_give_the_same_logits() {
    for (family, mutation) in [
        ("minilm", "segments_zeroed"),
        ("bert-large", "segments_zeroed"),
        ("distilbert", "positions_shifted"),
    ] {
        let golden = golden(family);
        let mut batch = batch_of(windows(&golden));
        match mutation {
            "segments_zeroed" => batch.segments.fill(0),
            _ => batch.positions.iter_mut().for_each(|position| *position += 1),
        }
        let logits = load(family).logits(&batch).unwrap();
        for wrong in golden["mutations"][mutation]["windows"].as_array().unwrap() {
            let ours = logits[wrong["window"].as_u64().unwrap() as usize].clone();
            assert_logits(mutation, std::slice::from_ref(wrong), &[ours], TOLERANCE);
        }
    }
}

#[test]
fn a_window_gives_the_same_bits_alone_in_a_batch_and_in_any_order() {
    for family in FAMILIES {
        let golden = golden(family);
        let windows = windows(&golden);
        let together = load(family).logits(&batch_of(windows)).unwrap();
        for threads in [1, 2, 3] {
            let runtime = Runtime { threads: Some(threads), ..Runtime::default() };
            let model = load_with(&fixture("tiny").join(family), &runtime);
            for (window, expected) in windows.iter().zip(&together) {
                let alone = model.logits(&batch_of(std::slice::from_ref(window))).unwrap();
                assert_eq!(&alone[0], expected, "{family} alone, {threads} threads");
            }
            let reversed: Vec<Value> = windows.iter().rev().cloned().collect();
            let mut found = model.logits(&batch_of(&reversed)).unwrap();
            found.reverse();
            assert_eq!(found, together, "{family} reversed, {threads} threads");
        }
    }
}

fn built_in(runtime: &Runtime) -> QaModel {
    let resolved = spanqa::source::resolve("builtin", &spanqa::source::SourceOptions::default()).unwrap();
    QaModel::load(&resolved.files, runtime).unwrap()
}

/// Ids and segments without a pattern, different for each length.
fn window(length: usize) -> (Vec<u32>, Vec<u32>) {
    let ids = (0..length as u32).map(|token| 1000 + (token * 7919 + length as u32 * 31) % 20000);
    (ids.collect(), (0..length).map(|token| u32::from(token > length / 4)).collect())
}

fn batch_of_lengths(lengths: &[usize]) -> Batch {
    let mut batch = Batch::default();
    for &length in lengths {
        let (ids, segments) = window(length);
        batch.push(&ids, &segments);
    }
    batch
}

/// The same at the size of a real model, where matrix products are cut into blocks: in floats and in integers, with any number of
/// threads.
#[test]
fn the_built_in_model_depends_on_neither_batch_nor_threads() {
    // From the shortest window to the longest, and enough of them to fill several groups.
    let mut lengths = vec![1usize, 512, 5, 384, 17, 200, 33, 64, 6, 128, 97, 2, 31];
    lengths.extend((0..51).map(|window| 3 + window * 5 % 37));
    for precision in [Precision::F32, Precision::Int8] {
        let load = |threads| {
            built_in(&Runtime { precision: Some(precision), threads: Some(threads), ..Runtime::default() })
        };
        let together = load(1).logits(&batch_of_lengths(&lengths)).unwrap();
        for threads in [2, 3, 8] {
            let model = load(threads);
            assert!(model.logits(&batch_of_lengths(&lengths)).unwrap() == together, "{threads} threads");
            for budget in [1, 300, 700] {
                for members in pack(&lengths, budget) {
                    let some: Vec<usize> = members.iter().map(|&member| lengths[member]).collect();
                    let found = model.logits(&batch_of_lengths(&some)).unwrap();
                    for (logits, &member) in found.iter().zip(&members) {
                        let length = lengths[member];
                        assert!(
                            logits == &together[member],
                            "{length} tokens, budget {budget}, {threads} threads"
                        );
                    }
                }
            }
        }
    }
}

/// The CPU engine computes what plain tensor operations compute, for windows of every kind of length.
#[test]
fn the_engine_equals_the_reference() {
    let lengths = [1usize, 2, 3, 11, 12, 13, 24, 31, 32, 33, 63, 97, 128, 129, 200, 257, 384, 511, 512];
    let batch = batch_of_lengths(&lengths);
    let f32 = Runtime { precision: Some(Precision::F32), ..Runtime::default() };
    let reference = built_in(&Runtime { reference: true, ..f32.clone() }).logits(&batch).unwrap();
    let found = built_in(&f32).logits(&batch).unwrap();
    let coded = built_in(&Runtime { precision: Some(Precision::Int8), ..f32 }).logits(&batch).unwrap();
    for ((expected, found), coded) in reference.iter().zip(&found).zip(&coded) {
        let what = format!("{} tokens", expected.start.len());
        assert_close(&what, &expected.start, &found.start, TOLERANCE);
        assert_close(&what, &expected.end, &found.end, TOLERANCE);
        // Integers are near, and not the same thing in disguise.
        assert_close(&what, &expected.start, &coded.start, 0.5);
        assert_close(&what, &expected.end, &coded.end, 0.5);
        assert!(coded != found);
    }
}

/// Tokens whose logits nobody reads may be left out; the others have the same bits.
#[test]
fn what_nobody_reads_is_left_out() {
    let model = built_in(&Runtime::default());
    let lengths = [40usize, 3, 200, 7];
    let read = [5..39, 1..2, 100..200, 0..7];
    let all = model.logits(&batch_of_lengths(&lengths)).unwrap();
    let mut batch = Batch::default();
    for (&length, read) in lengths.iter().zip(&read) {
        let (ids, segments) = window(length);
        batch.push_to_read(&ids, &segments, read.clone());
    }
    for ((all, some), read) in all.iter().zip(model.logits(&batch).unwrap()).zip(&read) {
        for token in 0..all.start.len() {
            let expected = if token == 0 || read.contains(&token) {
                (all.start[token], all.end[token])
            } else {
                (f32::NEG_INFINITY, f32::NEG_INFINITY)
            };
            assert_eq!((some.start[token], some.end[token]), expected, "token {token}");
        }
    }
}

/// Integers are the default where the weights are integers anyway, and nowhere else.
#[test]
fn the_number_type_follows_the_weights() {
    assert!(built_in(&Runtime::default()).describe().starts_with("int8 on "));
    assert!(load("minilm").describe().starts_with("f32 on "));
    let reference = Runtime { reference: true, ..Runtime::default() };
    assert_eq!(built_in(&reference).describe(), "f32 on cpu");
    let files = ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap();
    let runtime = Runtime { precision: Some(Precision::Int8), ..reference };
    assert!(matches!(QaModel::load(&files, &runtime), Err(Error::DtypeUnavailable { .. })));
}

/// Integers on every family: near the golden logits, although the tiny models are too narrow to average errors out.
#[test]
fn integers_stay_near_in_every_family() {
    for family in FAMILIES {
        let golden = golden(family);
        let runtime = Runtime { precision: Some(Precision::Int8), ..Runtime::default() };
        let model = load_with(&fixture("tiny").join(family), &runtime);
        assert_logits(family, windows(&golden), &model.logits(&batch_of(windows(&golden))).unwrap(), 0.6);
    }
}

#[test]
fn weights_are_read_in_every_form() {
    let tokenizer =
        ["config.json", "vocab.txt", "tokenizer_config.json"].map(|name| fixture("tiny/minilm").join(name));
    let original = golden("minilm");
    for (variant, expected) in [
        ("f16", "f16"),
        ("bf16", "bf16"),
        ("bin-f16", "f16"),
        ("sharded", ""),
        ("bin", ""),
        ("no-prefix", ""),
    ] {
        let folder = folder_of(&tokenizer);
        for file in std::fs::read_dir(fixture("tiny/variants").join(variant)).unwrap() {
            let file = file.unwrap().path();
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let golden = match expected {
            "" => original.clone(),
            other => fixture_json(&format!("tiny/variants/{other}/golden.json")),
        };
        let logits =
            load_with(folder.path(), &Runtime::default()).logits(&batch_of(windows(&original))).unwrap();
        assert_logits(variant, windows(&golden), &logits, TOLERANCE);
    }
}

/// Half precision is for speed; it must stay near and must never be "not a number".
#[test]
fn half_precision_stays_near_and_finite() {
    for family in FAMILIES {
        let golden = golden(family);
        for (precision, tolerance) in [(Precision::F16, 0.05), (Precision::Bf16, 0.5)] {
            let runtime = Runtime { precision: Some(precision), ..Runtime::default() };
            let logits = load_with(&fixture("tiny").join(family), &runtime)
                .logits(&batch_of(windows(&golden)))
                .unwrap();
            assert_logits(family, windows(&golden), &logits, tolerance);
        }
    }
}

/// Writes the 8-bit form of a folder's weights over them; returns the file's bytes.
fn quantise(folder: &Path) -> Vec<u8> {
    let files = ModelFiles::from_dir(folder).unwrap();
    let packed = folder.join("packed.safetensors");
    spanqa::checkpoint::quantised::pack(&files, &packed).unwrap();
    std::fs::rename(&packed, folder.join("model.safetensors")).unwrap();
    std::fs::read(folder.join("model.safetensors")).unwrap()
}

/// The 8-bit form of a model says nearly the same. Its matrices are large enough to be stored as integers.
#[test]
fn quantised_models_load_and_stay_near() {
    let folder = random_model("minilm", 64);
    let reference = Runtime { reference: true, ..Runtime::default() };
    let batch = batch_of(windows(&golden("minilm")));
    let expected = load_with(folder.path(), &reference).logits(&batch).unwrap();
    let before = std::fs::metadata(folder.path().join("model.safetensors")).unwrap().len() as usize;
    let once = quantise(folder.path());
    assert!(once.len() < before / 2, "{} of {before} bytes", once.len());
    let found = load_with(folder.path(), &reference).logits(&batch).unwrap();
    let apart = largest_gap(&expected, &found);
    assert!(apart > 0.0, "nothing was rounded");
    assert!(apart < 0.3, "{apart}");
    assert!(load_with(folder.path(), &Runtime::default()).describe().starts_with("int8 on "));
    // What is quantised stays as it is.
    assert!(quantise(folder.path()) == once);
}

/// The built-in model is quantised already.
#[test]
fn the_built_in_model_can_be_packed() {
    let folder = tempfile::tempdir().unwrap();
    let packed = folder.path().join("model.safetensors");
    let run = run(&["models", "pack", "builtin", packed.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{run:?}");
    let files = spanqa::source::resolve("builtin", &spanqa::source::SourceOptions::default()).unwrap().files;
    std::fs::write(folder.path().join("config.json"), files.require("config.json").unwrap().read().unwrap())
        .unwrap();
    let batch = batch_of_lengths(&[5, 40]);
    let expected = built_in(&Runtime::default()).logits(&batch).unwrap();
    assert!(load_with(folder.path(), &Runtime::default()).logits(&batch).unwrap() == expected);
}

/// Weights that are not numbers come back as what they make of the logits; whose question that is, others know.
#[test]
fn logits_that_are_not_finite_come_back() {
    let folder = tiny_model();
    let table = "bert.embeddings.word_embeddings.weight";
    // The first number of the row of token 30.
    overwrite(&folder.path().join("model.safetensors"), table, 30 * 32, f32::NAN);
    let mut batch = Batch::default();
    for ids in [[2, 31, 32, 3], [2, 30, 32, 3], [2, 33, 34, 3]] {
        batch.push(&ids, &[0; 4]);
    }
    for runtime in [
        Runtime::default(),
        Runtime { reference: true, ..Runtime::default() },
        Runtime { precision: Some(Precision::Int8), ..Runtime::default() },
    ] {
        let model = load_with(folder.path(), &runtime);
        let finite: Vec<bool> =
            model.logits(&batch).unwrap().iter().map(|window| window.start[0].is_finite()).collect();
        assert_eq!(finite, [true, false, true], "{}", model.describe());
    }
}

/// Inside a layer no number passes by a product: in 8 bits a weight or an activation that is not a number has to show in what the product
/// gives. A single weight of the first half of the feed-forward part makes one activation of each row such a number.
#[test]
fn weights_inside_a_layer_that_are_not_finite_show_in_the_logits() {
    let mut batch = Batch::default();
    batch.push(&[2, 31, 32, 3], &[0; 4]);
    for tensor in ["attention.self.query", "attention.output.dense", "intermediate.dense", "output.dense"] {
        let folder = tiny_model();
        let name = format!("bert.encoder.layer.1.{tensor}.weight");
        overwrite(&folder.path().join("model.safetensors"), &name, 5, f32::NAN);
        for runtime in [
            Runtime::default(),
            Runtime { reference: true, ..Runtime::default() },
            Runtime { precision: Some(Precision::Int8), ..Runtime::default() },
        ] {
            let model = load_with(folder.path(), &runtime);
            let logits = model.logits(&batch).unwrap();
            assert!(!logits[0].start[0].is_finite(), "{tensor}: {}", model.describe());
        }
    }
}

/// A second opinion where there is one: candle-transformers' own BERT, given the same weights.
#[test]
#[cfg(feature = "second-opinion")]
fn candle_transformers_agrees() {
    use candle_core::{DType, Device, Tensor};
    use candle_transformers::models::bert::{BertModel, Config};

    use crate::support::integers;

    let folder = fixture("tiny/minilm");
    let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    let weights = candle_nn::VarBuilder::from_buffered_safetensors(
        std::fs::read(folder.join("model.safetensors")).unwrap(),
        DType::F32,
        &Device::Cpu,
    )
    .unwrap();
    let theirs = BertModel::load(weights.pp("bert"), &config).unwrap();
    let golden = golden("minilm");
    let window = &windows(&golden)[0];
    let tensor = |ids: &Value| Tensor::new(integers(ids), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
    let state = theirs.forward(&tensor(&window["ids"]), &tensor(&window["segments"]), None).unwrap();
    let mut tap = Tap::default();
    load("minilm").logits_with_tap(&batch_of(std::slice::from_ref(window)), &mut tap).unwrap();
    let state: Vec<f32> = state.flatten_all().unwrap().to_vec1().unwrap();
    assert_close("last state", &state, tap.hidden_states.last().unwrap(), TOLERANCE);
}

#[test]
fn ids_outside_the_tables_are_errors() {
    let model = load("minilm");
    let mut batch = Batch::default();
    batch.push(&[2, 100_000], &[0, 0]);
    assert!(matches!(model.logits(&batch), Err(Error::OutOfTable { index: 100_000, .. })));
    let mut batch = Batch::default();
    batch.push(&[2; 65], &[0; 65]);
    assert!(matches!(model.logits(&batch), Err(Error::OutOfTable { index: 64, .. })));
    assert!(model.logits(&Batch::default()).unwrap().is_empty());
}

/// Parity at the real shapes. The models are gigabytes, so they are made on demand:
/// `python tests/fixtures/full_size.py DIR FAMILY...`, then `SPANQA_FULL_SIZE=DIR cargo test --release -- --ignored full_size --nocapture`.
#[test]
#[ignore = "needs models made by tests/fixtures/full_size.py"]
fn full_size_logits_equal_pytorch() {
    let models = full_size_models();
    assert!(!models.is_empty(), "SPANQA_FULL_SIZE names the folder of the models");
    for FullSize { folder, batch, expected } in models {
        let logits = load_with(&folder, &Runtime::default()).logits(&batch).unwrap();
        let integers = Runtime { precision: Some(Precision::Int8), ..Runtime::default() };
        let coded = largest_gap(&logits, &load_with(&folder, &integers).logits(&batch).unwrap());
        let worst = largest_gap(&expected, &logits);
        println!(
            "{}: largest difference {worst:e}, argmax equal in {} windows; integers are {coded:.3} away",
            folder.display(),
            logits.len()
        );
        assert_eq!(best_tokens(&expected), best_tokens(&logits), "{}", folder.display());
        assert!(worst < TOLERANCE);
    }
}
