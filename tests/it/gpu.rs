//! What only a CUDA card can show: `cargo test --features cuda -- --ignored gpu`, or `.ci/cuda` with emulated cards.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use spanqa::checkpoint::ModelFiles;
use spanqa::encoder::batch::Batch;
use spanqa::encoder::{Cards, DeviceChoice, Precision, Runtime, device_problem};
use spanqa::heads::{QaModel, SpanModel};
use spanqa::random::Random;
use spanqa::source::{SourceOptions, resolve};
use spanqa::text::Tokenizer;

use crate::support::{
    FullSize, Run, best_tokens, fixture, full_size_models, gap, largest_gap, random_model, spanqa,
};

const FAMILIES: [&str; 5] = ["minilm", "distilbert", "roberta", "bert-large", "xlm-roberta"];

/// How far logits may be from f32 on the CPU, in models whose logits go up to 14. Rounding nothing but what products read costs up
/// to 6e-3 in f16 and 5e-2 in bf16; PyTorch in these types is 2.2e-2 to 3.8e-2
/// and 1.8e-1 to 3.2e-1 away.
const TOLERANCES: [(Precision, f32); 4] =
    [(Precision::F32, 1e-4), (Precision::Tf32, 2e-2), (Precision::F16, 2e-2), (Precision::Bf16, 1.5e-1)];

/// The same in random models, which are too narrow for the rounding of weights to average out.
const IN_NARROW_MODELS: [(Precision, f32); 4] =
    [(Precision::F32, 1e-4), (Precision::Tf32, 3e-2), (Precision::F16, 3e-2), (Precision::Bf16, 3e-1)];

/// Lengths on every side of what the kernels take in one go.
const LENGTHS: [usize; 10] = [1, 2, 15, 31, 33, 63, 64, 65, 129, 300];

fn on_card(precision: Precision) -> Runtime {
    let device = DeviceChoice::Cuda(Cards::default());
    Runtime { device, precision: Some(precision), ..Runtime::default() }
}

fn on_cpu() -> Runtime {
    let (device, precision) = (DeviceChoice::Cpu, Some(Precision::F32));
    Runtime { device, precision, reference: true, ..Runtime::default() }
}

fn load(folder: &Path, runtime: &Runtime) -> QaModel {
    QaModel::load(&ModelFiles::from_dir(folder).unwrap(), runtime).unwrap()
}

/// Windows of all lengths; ids and segments without a pattern.
fn windows(model: &QaModel) -> Vec<(Vec<u32>, Vec<u32>)> {
    let mut random = Random::new(7);
    let segments = model.config().segments.max(1);
    let mut below = |limit: usize| random.below(limit) as u32;
    let vocabulary = model.config().vocabulary;
    LENGTHS
        .map(|length| {
            ((0..length).map(|_| below(vocabulary)).collect(), (0..length).map(|_| below(segments)).collect())
        })
        .into()
}

fn batch<'a>(windows: impl IntoIterator<Item = &'a (Vec<u32>, Vec<u32>)>) -> Batch {
    let mut batch = Batch::default();
    windows.into_iter().for_each(|(ids, segments)| batch.push(ids, segments));
    batch
}

#[test]
#[ignore = "needs a CUDA card"]
fn gpu_logits_equal_those_of_the_cpu() {
    for family in FAMILIES {
        for width in [32, 64] {
            let folder = random_model(family, width);
            let reference = load(folder.path(), &on_cpu());
            let windows = windows(&reference);
            let expected = reference.logits(&batch(&windows)).unwrap();
            let values = expected.iter().flat_map(|window| &window.start);
            let spread =
                values.clone().fold(f32::MIN, |a, &b| a.max(b)) - values.fold(f32::MAX, |a, &b| a.min(b));
            assert!(spread > 1.0, "logits that hardly differ ({spread}) would show nothing");
            for (precision, tolerance) in IN_NARROW_MODELS {
                let card = load(folder.path(), &on_card(precision));
                assert!(
                    card.describe().starts_with(&format!("{} on cuda:0 (", precision.name())),
                    "{}",
                    card.describe()
                );
                let found = card.logits(&batch(&windows)).unwrap();
                let worst = largest_gap(&expected, &found);
                println!("{family} {width} {}: {worst:e} of {spread}", precision.name());
                assert!(worst < tolerance, "{family} {width} {}: {worst}", precision.name());
            }
        }
    }
}

/// A trained model at its real size. What matrix units round is far below what moves an answer.
#[test]
#[ignore = "needs a CUDA card"]
fn gpu_logits_of_the_built_in_model_stay_near() {
    let files = resolve("builtin", &SourceOptions::default()).unwrap().files;
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let text = std::fs::read_to_string(fixture("text/lighthouse.txt")).unwrap();
    let (question, context) =
        (tokenizer.encode("Who built the lighthouse?").unwrap(), tokenizer.encode(&text).unwrap());
    let windows = [70, 25].map(|tokens| tokenizer.template().join(&question.ids, &context.ids[..tokens]));
    let expected = QaModel::load(&files, &on_cpu()).unwrap().logits(&batch(&windows)).unwrap();
    for (precision, tolerance) in TOLERANCES {
        let found = QaModel::load(&files, &on_card(precision)).unwrap().logits(&batch(&windows)).unwrap();
        let worst = largest_gap(&expected, &found);
        println!("built-in {}: {worst:e}", precision.name());
        assert!(worst < tolerance, "{}: {worst}", precision.name());
    }
}

/// Models at their real size against PyTorch in f32. Says nothing unless SPANQA_FULL_SIZE names their folder.
#[test]
#[ignore = "needs a CUDA card and models made by tests/fixtures/full_size.py"]
fn gpu_logits_at_full_size_stay_near_those_of_pytorch() {
    let mut far = Vec::new();
    for FullSize { folder, batch, expected } in full_size_models() {
        for (precision, tolerance) in TOLERANCES {
            let found = load(&folder, &on_card(precision)).logits(&batch).unwrap();
            let worst = largest_gap(&expected, &found);
            let (best, ours) = (best_tokens(&expected), best_tokens(&found));
            let equal = best.iter().zip(&ours).filter(|(best, ours)| best == ours).count();
            let what = format!("{} {}: {worst:e}", folder.display(), precision.name());
            println!("{what}, best tokens equal in {equal} of {} windows", best.len());
            if worst >= tolerance {
                far.push(what);
            }
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

#[test]
#[ignore = "needs a CUDA card"]
fn gpu_bits_do_not_depend_on_the_batch() {
    for width in [32, 64] {
        let folder = random_model("minilm", width);
        for (precision, _) in TOLERANCES {
            let model = load(folder.path(), &on_card(precision));
            let windows = windows(&model);
            let together = model.logits(&batch(&windows)).unwrap();
            let mut reversed = model.logits(&batch(windows.iter().rev())).unwrap();
            reversed.reverse();
            assert_eq!(reversed, together, "{} reversed", precision.name());
            for (window, expected) in windows.iter().zip(&together) {
                let alone = model.logits(&batch([window])).unwrap();
                assert_eq!(&alone[0], expected, "{} alone", precision.name());
            }
        }
    }
}

/// Passes that several threads start while others are under way, in memory that grows meanwhile.
#[test]
#[ignore = "needs a CUDA card"]
fn gpu_passes_under_way_at_once_do_not_mix() {
    let folder = random_model("minilm", 32);
    let model = load(folder.path(), &on_card(Precision::F16));
    let windows = windows(&model);
    let expected = model.logits(&batch(&windows)).unwrap();
    // A fresh one: its memory has yet to grow.
    let model = load(folder.path(), &on_card(Precision::F16));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (model, windows, expected) = (&model, &windows, &expected);
            scope.spawn(move || {
                for count in [1, 1, 2, 1, 3, 5] {
                    for first in (0..=windows.len() - count).skip(thread).step_by(4) {
                        let some = first..first + count;
                        let found = model.logits(&batch(&windows[some.clone()])).unwrap();
                        assert_eq!(found, expected[some.clone()], "thread {thread}, windows {some:?}");
                    }
                }
            });
        }
    });
}

#[test]
#[ignore = "needs a CUDA card"]
fn gpu_states_of_every_layer_are_shown() {
    let folder = random_model("roberta", 32);
    let states = |runtime: &Runtime| {
        let model = load(folder.path(), runtime);
        let mut tap = spanqa::encoder::Tap::default();
        model.logits_with_tap(&batch(&windows(&model)), &mut tap).unwrap();
        tap.hidden_states
    };
    let (expected, found) = (states(&on_cpu()), states(&on_card(Precision::F32)));
    assert_eq!(expected.len(), found.len());
    for (layer, (expected, found)) in expected.iter().zip(&found).enumerate() {
        assert!(gap(expected, found).0 < 1e-4, "layer {layer}");
    }
}

/// The binary, with what an emulated card is told by.
fn with_card(arguments: &[&str]) -> Command {
    let mut command = spanqa(arguments);
    for (name, value) in std::env::vars_os() {
        if ["LD_", "CARD_", "CUDA_"].iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env(name, value);
        }
    }
    command
}

const QUESTION: [&str; 6] =
    ["ask", "Who was the last keeper?", "tests/fixtures/text/lighthouse.txt", "--quiet", "--format", "text"];

#[test]
#[ignore = "needs a CUDA card"]
fn gpu_answers_are_those_of_the_cpu() {
    let ask = |device: &str| {
        let run = Run::from(with_card(&[&QUESTION[..], &["--device", device]].concat()).output().unwrap());
        assert_eq!(run.code, Some(0), "{run:?}");
        // The question and the sentence with the answer; the scores below differ in their last digits.
        run.stdout.lines().take(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let expected = ask("cpu");
    assert!(expected[1].contains('⟦'), "{expected:?}");
    assert_eq!(ask("cuda"), expected);
    assert_eq!(ask("auto"), expected);
}

/// Several cards give what one gives. Says nothing on a machine with one.
#[test]
#[ignore = "needs two CUDA cards"]
fn gpu_several_cards_share_the_work() {
    if let Some(why) = Cards::one(1).and_then(|card| device_problem(DeviceChoice::Cuda(card))) {
        println!("not tested, the second card is not usable: {why}");
        return;
    }
    let questions: String = (0..12)
        .map(|number| {
            let context =
                format!("The keeper of the light number {number} was called Ann. ").repeat(1 + number % 4);
            json!({"id": number, "question": "Who was the keeper?", "context": context}).to_string() + "\n"
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("questions.jsonl");
    std::fs::write(&path, questions).unwrap();
    let answers = |device: &str| {
        let arguments =
            ["batch", path.to_str().unwrap(), "--quiet", "--batch-tokens", "100", "--device", device];
        let run = Run::from(with_card(&arguments).output().unwrap());
        assert_eq!(run.code, Some(0), "{run:?}");
        run.stdout
    };
    let expected = answers("cuda:0");
    assert_eq!(expected.lines().count(), 12);
    assert_eq!(answers("cuda:0,1"), expected);
}

/// Less memory than a pass would like: fewer tokens at a time, the same answers. A real card has what it has, and answers.
#[test]
#[ignore = "needs a CUDA card"]
fn gpu_little_memory_is_enough() {
    let folder = random_model("minilm", 32);
    for name in ["vocab.txt", "tokenizer_config.json"] {
        std::fs::copy(fixture("tiny/minilm").join(name), folder.path().join(name)).unwrap();
    }
    let document = folder.path().join("long.txt");
    std::fs::write(&document, "The lighthouse stood on a rock far out at sea. ".repeat(130)).unwrap();
    let [model, document] = [folder.path(), &document].map(|path| path.to_str().unwrap().to_owned());
    // An emulated card has 20 MB beside the library's workspace of 32, of which others take this much once the model is loaded.
    let ask = |taken: usize| {
        let arguments =
            ["ask", "Where was it?", &document, "--model", &model, "--device", "cuda", "--always-answer"];
        let mut command = with_card(&arguments);
        command.env("CARD_MEMORY", ((32 + 20) << 20).to_string());
        Run::from(command.env("CARD_TAKEN", (taken << 10).to_string()).output().unwrap())
    };
    let plenty = ask(0);
    assert_eq!(plenty.code, Some(0), "{plenty:?}");
    assert!(!plenty.stderr.contains("ran out of memory"), "{plenty:?}");
    let little = ask(18 << 10);
    assert_eq!(little.stdout, plenty.stdout, "{little:?}");
    if std::env::var_os("CARD_COUNT").is_some() {
        assert!(little.stderr.contains("ran out of memory"), "{little:?}");
        ask((19 << 10) + 512).fails_with("too little free memory");
    }
}
