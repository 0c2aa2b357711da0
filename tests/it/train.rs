//! Learning: gradients and steps against PyTorch, on tiny random models of all five families, and the command from end to end.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::decode::ScoringRules;
use spanqa::encoder::Runtime;
use spanqa::encoder::batch::Batch;
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::{Dataset, Options};
use spanqa::heads::WindowLogits;
use spanqa::text::Tokenizer;
use spanqa::text::window::Limits;
use spanqa::train::examples::Examples;
use spanqa::train::folder::{Folder, Progress};
use spanqa::train::journal::{self, Record};
use spanqa::train::learn::{Learner, Learning, Lesson, SoftTargets, Target, Update, View};
use spanqa::train::plan::Mixing;
use spanqa::train::recipe::{Keep, Laying, Objective, Recipe};
use spanqa::train::run::{Dev, End, Event, Run as Training};

use crate::support::{Run, batch_of, fixture, fixture_json, numbers, spanqa};

const FAMILIES: [&str; 5] = ["minilm", "distilbert", "roberta", "bert-large", "xlm-roberta"];

/// The error of a whole tensor, as a share of its length.
const GRADIENT_TOLERANCE: f64 = 1e-4;

fn learner(family: &str, reference: bool, learning: Learning) -> Learner {
    let files = ModelFiles::from_dir(&fixture("tiny").join(family)).unwrap();
    let runtime = Runtime { reference, ..Runtime::default() };
    Learner::load(&files, &runtime, learning).unwrap()
}

fn exact() -> Learning {
    Learning { dropout: 0.0, ..Learning::default() }
}

/// What PyTorch found.
struct Golden {
    json: Value,
    tensors: HashMap<String, Vec<f32>>,
}

impl Golden {
    fn of(family: &str) -> Self {
        let bytes = std::fs::read(fixture(&format!("tiny/{family}/training.safetensors"))).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let floats =
            |data: &[u8]| data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let tensors = tensors.tensors().into_iter().map(|(name, tensor)| (name, floats(tensor.data())));
        Self { json: fixture_json(&format!("tiny/{family}/training.json")), tensors: tensors.collect() }
    }

    fn batch(&self) -> (Batch, Vec<Lesson>) {
        let windows = self.json["windows"].as_array().unwrap();
        let place = |window: &Value, side: &str| window[side].as_u64().unwrap() as usize;
        let target = |window: &Value| {
            Lesson::Window(Target { start: place(window, "start"), end: place(window, "end") })
        };
        (batch_of(windows), windows.iter().map(target).collect())
    }

    fn number(&self, path: &str) -> f64 {
        self.json.pointer(path).unwrap().as_f64().unwrap()
    }

    fn soft_targets(&self) -> SoftTargets {
        let teacher = &self.json["teacher"];
        let logits = teacher["logits"].as_array().unwrap().iter();
        let logits = logits
            .map(|window| WindowLogits { start: numbers(&window["start"]), end: numbers(&window["end"]) });
        SoftTargets {
            logits: logits.collect(),
            temperature: self.number("/teacher/temperature"),
            weight: self.number("/teacher/weight"),
        }
    }

    /// The same windows as two questions, each with its windows' spans together.
    fn lessons(&self) -> Vec<Lesson> {
        let count = |value: &Value| value.as_u64().unwrap() as usize;
        let view = |view: &Value| View {
            context: count(&view["context"][0])..count(&view["context"][1]),
            longest: count(&self.json["joint"]["longest"]),
            prior: view["prior"].as_f64().unwrap(),
            golds: (view["golds"].as_array().unwrap().iter())
                .map(|gold| Target { start: count(&gold[0]), end: count(&gold[1]) })
                .collect(),
        };
        let lessons = self.json["joint"]["lessons"].as_array().unwrap().iter();
        lessons.map(|views| Lesson::Joint(views.as_array().unwrap().iter().map(view).collect())).collect()
    }

    /// Tensors that PyTorch moves by rounding alone.
    fn is_rounding(&self, name: &str) -> bool {
        self.json["rounding_only"].as_array().unwrap().iter().any(|found| found == name)
    }
}

fn length(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.map(|number| number * number).sum::<f64>().sqrt()
}

/// How far two tensors are apart.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    length(a.iter().zip(b).map(|(a, b)| f64::from(a - b)))
}

fn size(numbers: &[f32]) -> f64 {
    length(numbers.iter().map(|number| f64::from(*number)))
}

/// Panics unless each tensor's gradient is PyTorch's; `part` is what the golden file calls them.
fn assert_gradients(family: &str, learner: &mut Learner, golden: &Golden, part: &str) {
    let mut compared = 0;
    for (name, _, _, gradient) in learner.tensors().unwrap() {
        let Some(expected) = golden.tensors.get(&format!("{part}/{name}")) else { continue };
        let allowed = GRADIENT_TOLERANCE * size(expected).max(0.1);
        let error = distance(expected, gradient);
        assert!(error <= allowed, "{family} {name}: {error} from a gradient of {}", size(expected));
        compared += 1;
    }
    assert_eq!(compared, golden.tensors.keys().filter(|name| name.starts_with(part)).count(), "{family}");
}

#[test]
fn gradients_of_every_parameter_equal_pytorch() {
    for family in FAMILIES {
        let golden = Golden::of(family);
        let (batch, targets) = golden.batch();
        let share = 1.0 / targets.len() as f64;
        for reference in [false, true] {
            let mut learner = learner(family, reference, exact());
            let loss = learner.accumulate(&batch, &targets, None, (share, 0)).unwrap();
            assert!((loss - golden.number("/loss")).abs() < 1e-5, "{family} {reference}: loss {loss}");
            assert_gradients(family, &mut learner, &golden, "gradient");
        }
    }
}

#[test]
fn a_teacher_pulls_as_it_does_in_pytorch() {
    for family in FAMILIES {
        let golden = Golden::of(family);
        let (batch, targets) = golden.batch();
        let soft_targets = golden.soft_targets();
        let mut learner = learner(family, false, exact());
        let loss = learner
            .accumulate(&batch, &targets, Some(&soft_targets), (1.0 / targets.len() as f64, 0))
            .unwrap();
        assert!((loss - golden.number("/teacher/loss")).abs() < 1e-5, "{family}: loss {loss}");
        assert_gradients(family, &mut learner, &golden, "distilled");
    }
}

#[test]
fn windows_that_are_learned_from_together_pull_as_they_do_in_pytorch() {
    for family in FAMILIES {
        let golden = Golden::of(family);
        let (batch, _) = golden.batch();
        let lessons = golden.lessons();
        let mut learner = learner(family, false, exact());
        let loss = learner.accumulate(&batch, &lessons, None, (1.0 / lessons.len() as f64, 0)).unwrap();
        assert!((loss - golden.number("/joint/loss")).abs() < 1e-5, "{family}: loss {loss}");
        assert_gradients(family, &mut learner, &golden, "joint");
    }
}

#[test]
fn ten_steps_equal_pytorch() {
    for family in FAMILIES {
        let golden = Golden::of(family);
        let (batch, targets) = golden.batch();
        let share = 1.0 / targets.len() as f64;
        let mut learner = learner(family, false, exact());
        let before: HashMap<String, Vec<f32>> =
            learner.tensors().unwrap().map(|(name, _, values, _)| (name, values.to_vec())).collect();
        let factors = numbers(&golden.json["recipe"]["factors"]);
        for (step, factor) in factors.iter().enumerate() {
            let loss = learner.accumulate(&batch, &targets, None, (share, 0)).unwrap();
            let expected = golden.json["losses"][step].as_f64().unwrap();
            assert!((loss - expected).abs() < 1e-4, "{family} step {step}: loss {loss}, expected {expected}");
            let norm = learner
                .step(&Update {
                    rate: golden.number("/recipe/learning_rate") * f64::from(*factor),
                    clip: golden.number("/recipe/clip_norm"),
                    beta1: golden.number("/recipe/betas/0"),
                    beta2: golden.number("/recipe/betas/1"),
                    epsilon: golden.number("/recipe/epsilon"),
                    decay: golden.number("/recipe/weight_decay"),
                    layer_decay: golden.number("/recipe/layer_decay"),
                })
                .unwrap();
            let expected = golden.json["norms"][step].as_f64().unwrap();
            assert!(
                (norm / expected - 1.0).abs() < 0.02,
                "{family} step {step}: norm {norm}, expected {expected}"
            );
        }
        for (name, _, values, _) in learner.tensors().unwrap() {
            let Some(after) = golden.tensors.get(&format!("after/{name}")) else { continue };
            if !golden.is_rounding(&name) {
                let way = distance(&before[&name], after);
                let error = distance(values, after);
                // The smallest of the mistakes in the golden file is at 0.016, rounding at 0.0005.
                assert!(error <= 5e-3 * way, "{family} {name}: {error} off after a way of {way}");
            }
        }
    }
}

#[test]
fn gradients_add_up_over_parts_of_a_batch() {
    let golden = Golden::of("minilm");
    let (batch, targets) = golden.batch();
    let share = 1.0 / targets.len() as f64;
    let mut whole = learner("minilm", false, exact());
    whole.accumulate(&batch, &targets, None, (share, 0)).unwrap();
    let mut parts = learner("minilm", false, exact());
    for (window, target) in batch.ranges().zip(&targets) {
        let mut one = Batch::default();
        one.push(&batch.ids[window.clone()], &batch.segments[window]);
        parts.accumulate(&one, std::slice::from_ref(target), None, (share, 0)).unwrap();
    }
    for ((name, _, _, whole), (_, _, _, parts)) in whole.tensors().unwrap().zip(parts.tensors().unwrap()) {
        assert!(distance(whole, parts) <= 1e-5 * size(whole).max(0.1), "{name}");
    }
}

#[test]
fn threads_do_not_show_in_the_bits() {
    let golden = Golden::of("roberta");
    let (batch, targets) = golden.batch();
    let run = |threads: usize| {
        let files = ModelFiles::from_dir(&fixture("tiny/roberta")).unwrap();
        let runtime = Runtime { threads: Some(threads), ..Runtime::default() };
        let mut learner = Learner::load(&files, &runtime, Learning::default()).unwrap();
        for seed in 0..3 {
            learner.accumulate(&batch, &targets, None, (0.25, seed)).unwrap();
            learner.step(&Update::default()).unwrap();
        }
        learner
            .tensors()
            .unwrap()
            .flat_map(|(_, _, values, _)| values.to_vec())
            .map(f32::to_bits)
            .collect::<Vec<_>>()
    };
    let one = run(1);
    assert!(one == run(2) && one == run(5));
}

/// Dropout is part of the function whose gradient is taken: the backward pass has the mask of the forward pass.
#[test]
fn gradients_go_through_dropout() {
    let golden = Golden::of("minilm");
    let (batch, targets) = golden.batch();
    let loss_with = |learner: &mut Learner| learner.accumulate(&batch, &targets, None, (0.25, 9)).unwrap();
    let mut learner = learner("minilm", false, Learning { dropout: 0.3, ..Learning::default() });
    let plain = golden.number("/loss");
    let dropped = loss_with(&mut learner);
    assert!((dropped - plain).abs() > 1e-3, "dropout changes the loss");
    let squares: f64 = learner.tensors().unwrap().map(|(_, _, _, gradient)| size(gradient).powi(2)).sum();
    // So large an epsilon makes of AdamW a plain step along the gradient, which lowers the loss by the gradient's square.
    let (rate, epsilon) = (1e-4 / squares.sqrt(), 1e7);
    let plain = Update {
        rate: rate * epsilon,
        clip: 0.0,
        beta1: 0.0,
        beta2: 0.0,
        epsilon,
        decay: 0.0,
        layer_decay: 1.0,
    };
    assert!((learner.step(&plain).unwrap() / squares.sqrt() - 1.0).abs() < 1e-4);
    let after = loss_with(&mut learner);
    let expected = rate * squares;
    assert!(
        ((dropped - after) / expected - 1.0).abs() < 0.05,
        "fell by {}, expected {expected}",
        dropped - after
    );
}

#[test]
fn the_loss_falls_on_eight_examples() {
    let golden = Golden::of("distilbert");
    let (batch, targets) = golden.batch();
    let mut learner = learner("distilbert", false, Learning::default());
    let mut losses = Vec::new();
    for step in 0..20 {
        losses.push(learner.accumulate(&batch, &targets, None, (1.0 / targets.len() as f64, step)).unwrap());
        learner.step(&Update { rate: 2e-3, ..Update::default() }).unwrap();
    }
    assert!(losses[19] < 0.2 * losses[0], "{losses:?}");
}

#[test]
fn what_is_frozen_stays() {
    let golden = Golden::of("roberta");
    let (batch, targets) = golden.batch();
    let learning = Learning { freeze_embeddings: true, freeze_layers: 1, ..exact() };
    for reference in [false, true] {
        let mut learner = learner("roberta", reference, learning.clone());
        let before: Vec<Vec<f32>> =
            learner.tensors().unwrap().map(|(_, _, values, _)| values.to_vec()).collect();
        learner.accumulate(&batch, &targets, None, (0.25, 0)).unwrap();
        let norm = learner.step(&Update::default()).unwrap();
        assert!(norm > 0.0);
        for ((name, _, values, _), before) in learner.tensors().unwrap().zip(&before) {
            let frozen = name.contains("embeddings") || name.contains("layer.0.");
            assert_eq!(values == before.as_slice(), frozen, "{name}");
        }
    }
    let learning = Learning { freeze_layers: 99, ..exact() };
    let files = ModelFiles::from_dir(&fixture("tiny/roberta")).unwrap();
    let error = Learner::load(&files, &Runtime::default(), learning).err().unwrap();
    assert!(error.to_string().contains("99 layers cannot be frozen"), "{error}");
}

// ---- examples ---------------------------------------------------------------------------------------------

#[test]
fn targets_point_at_the_answer_in_every_window_that_holds_it() {
    let tokenizer = Tokenizer::from_files(&ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap()).unwrap();
    let context = std::fs::read_to_string(fixture("text/lighthouse.txt")).unwrap();
    let limits = Limits { max_tokens: 60, overlap: 20, ..Limits::default() };
    for (number, word) in context.split_whitespace().enumerate().step_by(11) {
        let start = word.as_ptr() as usize - context.as_ptr() as usize;
        let start = context[..start].chars().count();
        let row = json!({"id": number.to_string(), "question": "Which word?", "context": context,
                         "answers": {"text": [word], "answer_start": [start]}});
        let dataset = Dataset::parse("row.jsonl", row.to_string().as_bytes(), Options::default()).unwrap();
        let (examples, counts) =
            Examples::new(&[dataset], &tokenizer, 64, (&limits, &Laying::default())).unwrap();
        assert_eq!((counts[0].questions, counts[0].windows), (1, examples.len()));
        let with_answer = (0..examples.len()).filter(|&window| examples.is_answerable(window));
        assert_eq!(with_answer.clone().count(), counts[0].windows - counts[0].without_answer);
        for window in with_answer {
            let (batch, lessons) = examples.batch(&[window]);
            assert_eq!(batch.tokens(), examples.length(window));
            let [Lesson::Window(target)] = &lessons[..] else { panic!("{lessons:?}") };
            let found = &batch.ids[target.start..=target.end];
            assert_eq!(found, tokenizer.encode(word).unwrap().ids, "{word} in window {window}");
        }
    }
}

/// Some rows of a data set, each a question about the lighthouse with its answers.
fn lighthouse(rows: &[(&str, &[&str])]) -> Dataset {
    let context = std::fs::read_to_string(fixture("text/lighthouse.txt")).unwrap();
    let rows: Vec<String> = (rows.iter().enumerate())
        .map(|(number, (question, answers))| {
            let start = |answer: &&str| context[..context.find(answer).unwrap()].chars().count();
            let starts: Vec<usize> = answers.iter().map(start).collect();
            json!({"id": number.to_string(), "question": question, "context": context,
                   "answers": {"text": answers, "answer_start": starts}})
            .to_string()
        })
        .collect();
    Dataset::parse("rows.jsonl", rows.join("\n").as_bytes(), Options::default()).unwrap()
}

const QUESTIONS: &[(&str, &[&str])] = &[
    ("When was the lamp converted to paraffin?", &["1903", "In 1903"]),
    ("What did the fire destroy?", &["the keeper's library", "library"]),
    ("Who painted the tower?", &[]),
    ("How do visitors reach the museum?", &["by the ferry", "the ferry"]),
];

#[test]
fn a_question_is_learned_from_in_the_windows_that_promise_most() {
    let tokenizer = Tokenizer::from_files(&ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap()).unwrap();
    let limits = Limits { max_tokens: 60, overlap: 20, ..Limits::default() };
    let data = [lighthouse(QUESTIONS)];
    for read in [1, 3, 100] {
        let laying = Laying { objective: Objective::Joint, read, ..Laying::default() };
        let (examples, counts) = Examples::new(&data, &tokenizer, 64, (&limits, &laying)).unwrap();
        assert_eq!((examples.len(), counts[0].questions), (QUESTIONS.len(), QUESTIONS.len()));
        let mut windows = 0;
        for (example, (question, answers)) in QUESTIONS.iter().enumerate() {
            assert_eq!(examples.is_answerable(example), !answers.is_empty());
            let (batch, lessons) = examples.batch(&[example]);
            assert_eq!(batch.tokens(), examples.length(example));
            let [Lesson::Joint(views)] = &lessons[..] else { panic!("{lessons:?}") };
            windows += views.len();
            assert!(views.len() <= read && (read == 1 || views.len() > 1));
            // The likeliest window is the first one, and no two promise the same.
            assert!(views.len() == 1 || views.is_sorted_by(|a, b| a.prior > b.prior));
            let asked = tokenizer.encode(question).unwrap().ids;
            let mut first = 0;
            let mut held = std::collections::BTreeSet::new();
            for view in views {
                assert_eq!(batch.ids[first + 1..][..asked.len()], asked);
                for gold in &view.golds {
                    assert!(view.context.start <= gold.start && gold.end < view.context.end);
                    held.insert(batch.ids[first + gold.start..=first + gold.end].to_vec());
                }
                first += view.context.end + 1;
            }
            assert_eq!(first, batch.tokens());
            let wanted = answers.iter().map(|answer| tokenizer.encode(answer).unwrap().ids);
            let wanted: std::collections::BTreeSet<_> = wanted.collect();
            assert!(held.is_subset(&wanted), "{question}");
            assert_eq!(held.is_empty(), answers.is_empty(), "{read} {question}");
            assert!(read < 100 || held == wanted, "{question}");
        }
        assert_eq!(counts[0].windows, windows);
    }
}

#[test]
fn contexts_are_cut_to_the_sentences_around_an_answer() {
    let tokenizer = Tokenizer::from_files(&ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap()).unwrap();
    let limits = Limits { max_tokens: 200, overlap: 20, ..Limits::default() };
    let data = [lighthouse(QUESTIONS)];
    let lengths = |crop: f64, seed: u64| {
        let laying = Laying { crop, seed, ..Laying::default() };
        let (examples, counts) = Examples::new(&data, &tokenizer, 512, (&limits, &laying)).unwrap();
        let lengths: Vec<usize> = (0..examples.len()).map(|example| examples.length(example)).collect();
        let with_answer = (0..examples.len()).filter(|&example| examples.is_answerable(example)).count();
        assert_eq!(counts[0].windows - counts[0].without_answer, with_answer);
        (lengths, with_answer)
    };
    let answerable = QUESTIONS.iter().filter(|(_, answers)| !answers.is_empty()).count();
    let (cut, with_answer) = lengths(1.0, 1);
    assert_eq!((cut.len(), with_answer), (QUESTIONS.len(), answerable));
    assert!(cut.iter().all(|&length| length <= 200) && cut.iter().any(|&length| length < 150), "{cut:?}");
    assert_eq!(lengths(1.0, 1).0, cut);
    assert_ne!(lengths(1.0, 2).0, cut);
    assert!(lengths(0.0, 1).0.len() > QUESTIONS.len());
}

// ---- the command -----------------------------------------------------------------------------------------

/// A data set in the shape of SQuAD v2, with as many questions as asked for; every third one has no answer.
fn questions(folder: &Path, name: &str, count: usize) -> PathBuf {
    let context = std::fs::read_to_string(fixture("text/lighthouse.txt")).unwrap();
    let words: Vec<&str> = context.split_whitespace().filter(|word| word.len() > 4).collect();
    let questions: Vec<Value> = (0..count)
        .map(|number| {
            let word = words[number * 7 % words.len()];
            let start = context[..context.find(word).unwrap()].chars().count();
            let answers =
                if number % 3 == 2 { json!([]) } else { json!([{"text": word, "answer_start": start}]) };
            json!({"id": format!("{name}{number}"), "question": format!("Which word is number {number}?"),
                   "answers": answers, "is_impossible": number % 3 == 2})
        })
        .collect();
    let data = json!({"version": "v2.0",
                      "data": [{"title": "t", "paragraphs": [{"context": context, "qas": questions}]}]});
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, data.to_string()).unwrap();
    path
}

/// A folder with data, and the arguments of a short run in it.
struct Short {
    folder: tempfile::TempDir,
    arguments: Vec<String>,
}

impl Short {
    fn new(extra: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = questions(folder.path(), "data", 30);
        let dev = questions(folder.path(), "dev", 6);
        let base = fixture("tiny/minilm");
        let mut arguments: Vec<String> = ["train", "--base", base.to_str().unwrap(), "--steps", "12"]
            .into_iter()
            .chain(["--data", data.to_str().unwrap(), "--dev", dev.to_str().unwrap()])
            .chain(["--batch-tokens", "300", "--micro-tokens", "150", "--window", "60", "--overlap", "20"])
            .chain(["--rate", "1e-3", "--eval-every", "4", "--save-every", "1"])
            .map(str::to_owned)
            .collect();
        arguments.extend(extra.iter().map(|&argument| argument.to_owned()));
        Self { folder, arguments }
    }

    /// Gives a flag another value.
    fn with(mut self, flag: &str, value: &str) -> Self {
        let place = self.arguments.iter().position(|argument| argument == flag).unwrap() + 1;
        self.arguments[place] = value.to_owned();
        self
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, out: &str, extra: &[&str]) -> std::process::Command {
        let out = self.out(out);
        let arguments = self.arguments.iter().map(String::as_str).chain(["--out", out.to_str().unwrap()]);
        spanqa(&arguments.chain(extra.iter().copied()).collect::<Vec<_>>())
    }

    fn run(&self, out: &str, extra: &[&str]) -> Run {
        Run::from(self.command(out, extra).output().unwrap())
    }
}

#[test]
fn a_run_leaves_a_model_and_what_there_is_to_know_of_it() {
    let short = Short::new(&["--dropout", "0.1"]);
    let run = short.run("model", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&summary["end"], &summary["steps"]), (&json!("finished"), &json!(12)));
    assert_eq!(summary["data"][0]["questions"], 30);
    assert_eq!(summary["data"][0]["unanswerable"], 10);
    assert!(run.stderr.contains("30 questions (10 without an answer)"), "{}", run.stderr);

    let out = short.out("model");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let lines: Vec<Value> =
        read("metrics.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["kind"] == "step").count(), 12);
    // That of the base and three more.
    assert_eq!(lines.iter().filter(|line| line["kind"] == "dev").count(), 4);
    assert_eq!(
        (&lines[0]["kind"], &lines[0]["step"], &lines[0]["epoch"]),
        (&json!("dev"), &json!(0), &json!(0.0))
    );
    assert_eq!(summary["base_score"], lines[0]["f1"]);
    assert!(run.stderr.contains("the base: exact "), "{}", run.stderr);
    assert!(
        run.stderr.contains(&format!("note: the report is in {}", short.out("model/report.html").display()))
    );
    let losses: Vec<f64> = lines.iter().filter_map(|line| line["loss"].as_f64()).collect();
    assert!(losses[11] < losses[0], "{losses:?}");
    assert!(read("report.html").contains("<svg") && read("README.md").contains("## "));
    let config: Value = serde_json::from_str(&read("config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["BertForQuestionAnswering"]));
    assert!(!out.join("training/candidate.safetensors").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |name: &str| out.join(name).metadata().unwrap().permissions().mode();
        assert_eq!(mode("model.safetensors"), mode("config.json"), "readable by whoever may read the rest");
        assert_eq!(mode("training/state.safetensors"), mode("config.json"));
    }

    // Every other command loads it, and finds the score that was written down.
    let dev = short.out("dev.json");
    let best = lines.iter().rfind(|line| line["best"] == json!(true)).unwrap();
    let model = out.to_str().unwrap();
    let limits = ["--window", "60", "--overlap", "20", "--format", "json"];
    let arguments = [&["eval", dev.to_str().unwrap(), "--model", model][..], &limits].concat();
    let evaluation: Value = serde_json::from_str(&run_command(&arguments).stdout).unwrap();
    assert_eq!(evaluation["official"]["f1"], best["f1"]);
}

#[test]
fn questions_that_are_held_out_are_written_down_and_not_learned_from() {
    let short = Short::new(&["--hold-out", "0.2"]);
    // One context has all questions; a second one, so that there is something to hold out and something left.
    let path = short.out("two.jsonl");
    let row = |number: usize, context: &str, answer: &str| {
        json!({"id": number.to_string(), "question": "Who?", "context": context,
               "answers": {"text": [answer], "answer_start": [0]}})
        .to_string()
    };
    std::fs::write(&path, [row(1, "Anna came.", "Anna"), row(2, "Berta left.", "Berta")].join("\n")).unwrap();
    let mut short = short.with("--data", path.to_str().unwrap());
    let dev = short.arguments.iter().position(|argument| argument == "--dev").unwrap();
    short.arguments.drain(dev..dev + 2);
    let run = short.run("model", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("1 questions (0 without an answer)"), "{}", run.stderr);
    let held: Value =
        serde_json::from_str(&std::fs::read_to_string(short.out("model").join("held-out.json")).unwrap())
            .unwrap();
    assert_eq!(held["data"].as_array().unwrap().len(), 1);
    let metrics = std::fs::read_to_string(short.out("model").join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"dev\"").count(), 4);
    // The same draw when the run goes on.
    assert_eq!(short.run("model", &["--resume"]).code, Some(0));
}

fn run_command(arguments: &[&str]) -> Run {
    let run = crate::support::run(arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    run
}

/// The tensors of a file by name.
fn stored(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.tensors().into_iter().map(|(name, tensor)| (name, tensor.data().to_vec())).collect()
}

#[test]
fn the_best_weights_are_kept_and_not_the_last() {
    let short = Short::new(&[]);
    assert_eq!(short.run("long", &[]).code, Some(0));
    let metrics = std::fs::read_to_string(short.out("long").join("metrics.jsonl")).unwrap();
    let lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let best: Vec<bool> = lines.filter_map(|line| line["best"].as_bool()).collect();
    // The base first, and then what little is to be learned from so little data.
    assert_eq!(best, [true, true, false, false], "{metrics}");
    // Whether four or eight steps followed the best evaluation, its weights are what is left.
    assert_eq!(short.run("short", &["--patience", "1"]).code, Some(0));
    let [long, short] = ["long", "short"].map(|out| short.out(out));
    assert!(stored(&long.join("model.safetensors")) == stored(&short.join("model.safetensors")));
    let name = "qa_outputs.weight";
    let last = &stored(&long.join("training/state.safetensors"))[&format!("value/{name}")];
    assert!(stored(&long.join("model.safetensors"))[name] != *last);
}

/// Killed wherever it may be, a run goes on to the very same weights.
#[test]
fn a_killed_run_goes_on_to_the_same_weights() {
    let short = Short::new(&["--dropout", "0.2", "--null-share", "0.3"]);
    assert_eq!(short.run("whole", &[]).code, Some(0));
    let mut resumed = Vec::new();
    for delay in [60, 30, 90, 45, 120, 75] {
        let mut child = short.command("cut", if resumed.is_empty() { &[] } else { &["--resume"] });
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(delay));
        child.kill().unwrap();
        child.wait().unwrap();
        let state = short.out("cut").join("training/state.safetensors");
        if state.exists() {
            let bytes = std::fs::read(&state).unwrap();
            SafeTensors::deserialize(&bytes).expect("a state is whole at any time");
            resumed.push(delay);
        } else {
            // Killed before the first step: there is nothing to go on from yet.
            let _ = std::fs::remove_dir_all(short.out("cut"));
        }
    }
    let arguments: &[&str] = if resumed.is_empty() { &[] } else { &["--resume"] };
    let run = short.run("cut", arguments);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for file in ["model.safetensors", "training/state.safetensors"] {
        assert!(
            stored(&short.out("whole").join(file)) == stored(&short.out("cut").join(file)),
            "{file} differs"
        );
    }
    let steps = |out: &str| -> Vec<(Value, Value)> {
        let text = std::fs::read_to_string(short.out(out).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines
            .map(|line| (line["step"].clone(), line.get("loss").or(line.get("f1")).cloned().unwrap()))
            .collect()
    };
    assert_eq!(steps("whole"), steps("cut"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_saves_the_state() {
    let short =
        Short::new(&[]).with("--steps", "100000").with("--save-every", "0").with("--eval-every", "100000");
    let mut command = short.command("model", &[]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let metrics = short.out("model").join("metrics.jsonl");
    while std::fs::read_to_string(&metrics).map_or(0, |text| text.lines().count()) < 3 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output();
    let run = Run::from(output.unwrap());
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stderr.contains("`--resume` goes on from there"), "{}", run.stderr);
    assert!(short.out("model").join("training/state.safetensors").exists());
}

/// Waits until something is there.
#[cfg(unix)]
fn wait_for(path: &Path) {
    while !path.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// An evaluation of many questions is broken off at once, and whoever did it is told where the run goes on.
#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_is_said() {
    for (extra, place) in [
        (&["--fresh-head"][..], "after step 1, before its evaluation"),
        (&[], "while the base was evaluated"),
    ] {
        let short = Short::new(extra).with("--eval-every", "1");
        questions(short.folder.path(), "dev", 20_000);
        let mut command = short.command("model", &[]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&short.out("model").join("training/candidate.safetensors"));
        let pid = child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let run = Run::from(child.wait_with_output().unwrap());
        assert_eq!(run.code, Some(130), "{}", run.stderr);
        let note = format!("note: stopped {place}; `--resume` goes on from there");
        assert!(run.stderr.contains(&note), "{}", run.stderr);
        let metrics = std::fs::read_to_string(short.out("model").join("metrics.jsonl")).unwrap();
        assert!(!metrics.contains("\"dev\""), "{metrics}");
    }
}

/// Where nothing is better than the base, its weights are what is left.
#[test]
fn a_base_that_is_best_stays() {
    let short = Short::new(&[]);
    let (dev, base, report) = (short.out("dev.json"), fixture("tiny/minilm"), short.out("report"));
    let flags = ["--window", "60", "--overlap", "20", "--dtype", "f32", "--report", report.to_str().unwrap()];
    let eval = ["eval", dev.to_str().unwrap(), "--model", base.to_str().unwrap()];
    run_command(&[&eval[..], &flags].concat());
    // Whatever the base says is right.
    let said: Value =
        serde_json::from_slice(&std::fs::read(report.join("predictions.json")).unwrap()).unwrap();
    let mut data: Value = serde_json::from_slice(&std::fs::read(&dev).unwrap()).unwrap();
    let paragraph = &mut data["data"][0]["paragraphs"][0];
    let context = paragraph["context"].as_str().unwrap().to_owned();
    for question in paragraph["qas"].as_array_mut().unwrap() {
        let answer = said[question["id"].as_str().unwrap()].as_str().unwrap();
        let start = context[..context.find(answer).unwrap()].chars().count();
        question["is_impossible"] = json!(answer.is_empty());
        question["answers"] =
            if answer.is_empty() { json!([]) } else { json!([{"text": answer, "answer_start": start}]) };
    }
    std::fs::write(&dev, data.to_string()).unwrap();
    for (out, extra) in [("long", &[][..]), ("patient", &["--patience", "2"])] {
        let run = short.run(out, extra);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let summary: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(
            (&summary["base_score"], &summary["best_score"]),
            (&json!(100.0), &json!(100.0)),
            "{summary}"
        );
        assert_eq!(summary["best_step"], 0);
        assert!(!run.stderr.contains("the best so far"), "{}", run.stderr);
        assert!(run.stderr.contains("note: no evaluation was better than the base"), "{}", run.stderr);
        let left = stored(&short.out(out).join("model.safetensors"));
        let before = stored(&base.join("model.safetensors"));
        assert!(left.iter().all(|(name, bytes)| before[name] == *bytes), "the weights have changed");
        let card = std::fs::read_to_string(short.out(out).join("README.md")).unwrap();
        assert!(card.contains("F1 of the base"), "{card}");
        let page = std::fs::read_to_string(short.out(out).join("report.html")).unwrap();
        assert!(page.contains("base, best") && page.contains("<td>command</td><td>spanqa train "), "{page}");
        assert!(page.contains("<td>data</td>") && page.contains("<td>date</td><td>20"), "{page}");
    }
    assert_eq!(short.run("long", &["--resume"]).code, Some(0));
}

/// What a hub wants to know stands in the card, as far as anybody said.
#[test]
fn a_card_has_what_hubs_read() {
    let short = Short::new(&["--language", "en", "--data-id", "rajpurkar/squad_v2", "--licence", "MIT"]);
    assert_eq!(short.run("deep/model", &[]).code, Some(0));
    let card = std::fs::read_to_string(short.out("deep/model/README.md")).unwrap();
    for said in ["\nlanguage:\n- en\n", "\nlicense: mit\n", "\ndatasets:\n- rajpurkar/squad_v2\n"] {
        assert!(card.contains(said), "{card}");
    }
    let run = short.run("other/model", &["--data-id", "a: b"]);
    assert!(run.code == Some(2) && run.stderr.contains("hubs use letters"), "{}", run.stderr);
    let run = short.run("new/model", &[]);
    assert!(run.stderr.contains("did not exist and was made"), "{}", run.stderr);
}

/// Whoever asks a run to stop while it evaluates does not wait for the end of that: the evaluation comes when the run goes on.
#[test]
fn an_evaluation_that_is_broken_off_is_made_up_for() {
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, count: usize| {
        Dataset::open(&questions(folder.path(), name, count), Options::default()).unwrap()
    };
    let (data, dev) = (open("data", 20), open("dev", 12));
    let files = ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap();
    let tokenizer = Tokenizer::from_files(&files).unwrap();
    let limits = Limits { max_tokens: 60, overlap: 20, ..Limits::default() };
    let runtime = Runtime { threads: Some(1), ..Runtime::default() };
    let (examples, counts) = Examples::new(&[data], &tokenizer, 64, (&limits, &Laying::default())).unwrap();
    let recipe = Recipe {
        epochs: 1.0,
        steps: Some(4),
        laying: Laying::default(),
        mixing: Mixing { batch_tokens: 300, null_share: None, seed: 1 },
        micro_tokens: 300,
        rate: 1e-3,
        warmup: 0.1,
        weight_decay: 0.01,
        beta2: 0.999,
        clip: 1.0,
        layer_decay: 1.0,
        dropout: 0.1,
        freeze_embeddings: false,
        freeze_layers: 0,
        fresh_head: false,
        teaching: None,
        eval_every: 2,
        keep: Keep::F1,
        patience: 0,
        inputs: BTreeMap::new(),
    };
    /// Which evaluation is broken off.
    #[derive(Clone, Copy)]
    enum At {
        Base,
        Later,
    }
    let train = |out: &str, stop: Option<At>| {
        let path = folder.path().join(out);
        let mut learner = Learner::load(&files, &runtime, Learning::default()).unwrap();
        let (folder, mut progress) = if path.exists() {
            let (folder, state, progress) = Folder::resume(&path).unwrap();
            learner.restore(&state).unwrap();
            (folder, progress)
        } else {
            (Folder::create(&path, &files).unwrap(), Progress::new(recipe.clone(), counts.clone()))
        };
        let (journal, _) =
            journal::open(&path.join("metrics.jsonl"), progress.step, !progress.evaluation_due).unwrap();
        let dev = Dev {
            dataset: &dev,
            rules: Rules::Squad2,
            limits: limits.clone(),
            scoring: ScoringRules::Squad,
            read: None,
            runtime: runtime.clone(),
        };
        let run = Training {
            learner: &mut learner,
            examples: &examples,
            teacher: None,
            dev: Some(dev),
            folder: &folder,
            journal,
            save_every: 0,
        };
        let mut stepped = progress.step > 0;
        let watch = &mut |event: Event| {
            stepped |= matches!(event, Event::Record(Record::Step(_)));
            match (event, stop) {
                (Event::Asked(_), Some(At::Base)) => ControlFlow::Break(()),
                (Event::Asked(_), Some(At::Later)) if stepped => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            }
        };
        run.run(&mut recipe.plan(&examples).unwrap(), &mut progress, watch).unwrap()
    };
    let events = |out: &str| -> Vec<(Value, Value)> {
        let text = std::fs::read_to_string(folder.path().join(out).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["step"].clone(), line["f1"].clone())).collect()
    };
    assert_eq!(train("whole", None), End::Finished);
    // The second run is at the same evaluation still.
    for _ in 0..2 {
        assert_eq!(train("cut", Some(At::Base)), End::Interrupted);
        assert_eq!(events("cut"), []);
        assert!(!folder.path().join("cut/training/candidate.safetensors").exists());
    }
    for _ in 0..2 {
        assert_eq!(train("cut", Some(At::Later)), End::Interrupted);
        let events = events("cut");
        assert_eq!(
            events.iter().map(|(step, _)| step).collect::<Vec<_>>(),
            [&json!(0), &json!(1), &json!(2)]
        );
        assert!(events[0].1.is_number() && events[1].1.is_null() && events[2].1.is_null());
        assert!(!folder.path().join("cut/training/candidate.safetensors").exists());
    }
    assert_eq!(train("cut", None), End::Finished);
    assert_eq!(events("whole"), events("cut"));
    for file in ["model.safetensors", "training/state.safetensors"] {
        let [whole, cut] = ["whole", "cut"].map(|out| stored(&folder.path().join(out).join(file)));
        assert!(whole == cut, "{file} differs");
    }
}

#[test]
fn a_question_that_is_too_long_is_left_out_and_named() {
    let short = Short::new(&[]);
    let path = short.out("data.json");
    let mut data: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let questions = data["data"][0]["paragraphs"][0]["qas"].as_array_mut().unwrap();
    for number in [4, 7] {
        questions[number]["question"] = "why ".repeat(70).into();
    }
    std::fs::write(&path, data.to_string()).unwrap();
    let run = short.run("model", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let note =
        "2 questions are left out: beside them a window has no room for the context; the first is data4";
    assert!(run.stderr.contains(note), "{}", run.stderr);
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((&summary["data"][0]["questions"], &summary["data"][0]["too_long"]), (&json!(28), &json!(2)));

    // Where none fits, that is the error.
    let questions = data["data"][0]["paragraphs"][0]["qas"].as_array_mut().unwrap();
    questions.truncate(5);
    questions.drain(..4);
    std::fs::write(&path, data.to_string()).unwrap();
    short.run("none", &[]).fails_with("tokens");
}

#[test]
fn no_steps_and_endless_ones_are_refused() {
    let mut short = Short::new(&[]);
    let steps = short.arguments.iter().position(|argument| argument == "--steps").unwrap();
    short.arguments.drain(steps..steps + 2);
    for (extra, message) in [
        (["--epochs", "0.001"], "make no step"),
        (["--epochs", "2147483648"], "steps, and 10000000 are the most"),
        (["--steps", "4294967296"], "about 4.3e9 steps"),
    ] {
        short.run("model", &extra).fails_with(message);
        assert!(!short.out("model").exists());
    }
}

#[test]
fn scores_that_do_not_rise_end_the_run() {
    let short = Short::new(&["--patience", "1"]).with("--rate", "1e-12");
    let run = short.run("model", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let summary: Value = serde_json::from_str(&run.stdout).unwrap();
    // The base is the best already, so the first evaluation is one without a new best.
    assert_eq!((&summary["end"], &summary["steps"]), (&json!("stopped early"), &json!(4)));
    let again = short.run("model", &["--resume"]);
    assert!(again.stderr.contains("ended already, after 4 steps"), "{}", again.stderr);
}

#[test]
fn windows_are_learned_from_together_if_that_is_the_objective() {
    let joint = ["--objective", "joint", "--read", "3", "--crop", "0.25"];
    let short = Short::new(&joint);
    let run = short.run("model", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(short.run("again", &["--teacher", short.out("model").to_str().unwrap()]).code, Some(0));
    let card = std::fs::read_to_string(short.out("model").join("README.md")).unwrap();
    for said in [
        "| objective | one distribution over the 3 most promising windows of a document |",
        "| contexts cut to a few sentences | 25 % |",
    ] {
        assert!(card.contains(said), "{card}");
    }
    let run = short.with("--crop", "0.5").run("model", &["--resume"]);
    assert!(run.stderr.contains("crop was 0.25, now 0.5"), "{}", run.stderr);
    let run = Short::new(&["--read", "3"]).run("model", &[]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("`--read` belongs to the joint objective"), "{}", run.stderr);
}

/// The windows as `train` itself learns from them.
#[test]
fn the_windows_can_be_written_instead_of_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    let [long, short] = [questions(folder.path(), "long", 9), folder.path().join("short.jsonl")];
    let rows = [json!({"id": "a", "question": "Who pays?", "context": "The tenant pays.",
                       "answers": {"text": ["The tenant"], "answer_start": [0]}})];
    std::fs::write(&short, rows[0].to_string()).unwrap();
    let base = fixture("tiny/minilm");
    let tokenizer = Tokenizer::from_files(&ModelFiles::from_dir(&base).unwrap()).unwrap();
    let limits = Limits { max_tokens: 60, overlap: 20, ..Limits::default() };
    let data = [&long, &short].map(|path| Dataset::open(path, Options::default()).unwrap());
    for objective in [Objective::Joint, Objective::Window] {
        let out = folder.path().join(objective.name());
        let mut command =
            spanqa(&["train", "--lay-only", "--window", "60", "--overlap", "20", "--crop", "0.3"]);
        command.arg("--base").arg(&base).arg("--data").arg(&long).arg(&short).arg("--out").arg(&out);
        command.args(["--objective", objective.name(), "--seed", "4"]);
        let run = Run::from(command.output().unwrap());
        assert_eq!(run.code, Some(0), "{}", run.stderr);
        let summary: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(summary["data"][0]["questions"], 9);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 1);

        let bytes = std::fs::read(summary["windows"].as_str().unwrap()).unwrap();
        assert_eq!(summary["bytes"], bytes.len());
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let whole = |name: &str| -> Vec<usize> {
            let numbers = file.tensor(name).unwrap().data().as_chunks().0.iter();
            numbers.map(|bytes| u32::from_le_bytes(*bytes) as usize).collect()
        };
        let priors = file.tensor("priors").unwrap().data().as_chunks().0.iter();
        let priors: Vec<f32> = priors.map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let laying = Laying { objective, crop: 0.3, seed: 4, ..Laying::default() };
        let (examples, _) = Examples::new(&data, &tokenizer, 512, (&limits, &laying)).unwrap();
        let (batch, lessons) = examples.batch(&(0..examples.len()).collect::<Vec<_>>());
        assert_eq!(whole("ids"), batch.ids.iter().map(|&id| id as usize).collect::<Vec<_>>());
        let segments: Vec<u32> =
            file.tensor("segments").unwrap().data().iter().map(|&id| id.into()).collect();
        assert_eq!(segments, batch.segments);

        let (windows, mut views, mut golds) = (whole("windows"), Vec::new(), Vec::new());
        for (example, lesson) in lessons.iter().enumerate() {
            for number in 0..lesson.windows() {
                let window: &[usize; 4] = &windows.as_chunks().0[views.len()];
                let [tokens, start, end, of] = *window;
                assert_eq!((tokens, of), (batch.lengths[views.len()], example));
                // A separator stands behind the context.
                assert!(start < end && end + 1 == tokens, "{window:?}");
                let (prior, targets) = match lesson {
                    Lesson::Window(Target { start: 0, end: 0 }) => (0.0, Vec::new()),
                    Lesson::Window(target) => (0.0, vec![*target]),
                    Lesson::Joint(views) => {
                        assert_eq!(views[number].context, start..end);
                        (views[number].prior as f32, views[number].golds.clone())
                    }
                };
                golds.extend(targets.iter().flat_map(|gold| [views.len(), gold.start, gold.end]));
                views.push(prior);
            }
        }
        assert_eq!((windows.len(), &priors, whole("golds")), (4 * views.len(), &views, golds));
        // The only question of the second data set is the last.
        let datasets = whole("datasets");
        assert_eq!(datasets.len(), examples.len());
        assert!(datasets[..examples.len() - 1].iter().all(|&number| number == 0) && datasets.ends_with(&[1]));
    }

    // Nothing is evaluated then.
    let short = Short::new(&["--lay-only"]);
    let run = short.run("out", &[]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    assert!(run.stderr.contains("'--dev <FILE>' cannot be used with"), "{}", run.stderr);
    assert!(!short.out("out").exists());
}

#[test]
fn a_model_can_be_its_own_teacher() {
    let base = fixture("tiny/minilm");
    let short = Short::new(&["--teacher", base.to_str().unwrap(), "--teacher-weight", "1", "--dropout", "0"]);
    let run = short.run("model", &[]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let text = std::fs::read_to_string(short.out("model").join("metrics.jsonl")).unwrap();
    let first = text.lines().find(|line| line.contains("\"step\",")).unwrap();
    let first: Value = serde_json::from_str(first).unwrap();
    // Nothing to learn from oneself: no loss, up to rounding.
    assert!(first["loss"].as_f64().unwrap().abs() < 1e-6, "{first}");
}

#[test]
fn what_cannot_be_done_is_said_with_a_way_out() {
    let short = Short::new(&[]);
    let refuses = |short: &Short, out: &str, extra: &[&str], message: &str, hint: &str| {
        let run = short.run(out, extra);
        assert_eq!(run.code, Some(2), "{extra:?}: {}", run.stderr);
        assert!(run.stderr.contains(message) && run.stderr.contains(hint), "{extra:?}: {}", run.stderr);
    };
    let fails =
        |out: &str, extra: &[&str], message: &str, hint: &str| refuses(&short, out, extra, message, hint);
    fails("none", &["--resume"], "holds no training run", "leave out `--resume`");
    assert_eq!(short.run("model", &[]).code, Some(0));
    fails("model", &[], "holds a training run already", "add `--resume`");
    fails(
        "model",
        &["--resume", "--weight-decay", "0.5"],
        "weight_decay was 0.01, now 0.5",
        "flags and files",
    );
    // As many windows as before, and another answer in one of them.
    let path = short.out("data.json");
    let data = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, data.replacen("\"answers\":[{", "\"answers\":[{\"text\":\"coast\"},{", 1)).unwrap();
    fails("model", &["--resume"], "differently: data set 1 was", "flags and files");
    std::fs::write(&path, &data).unwrap();
    let path = short.out("dev.json");
    let dev = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, dev.replacen("Which", "What", 1)).unwrap();
    fails("model", &["--resume"], "differently: data set to evaluate on was 6 questions", "flags and files");
    std::fs::write(&path, &dev).unwrap();
    assert_eq!(short.run("model", &["--resume"]).code, Some(0));
    let wild = Short::new(&["--warmup", "0"]).with("--rate", "1e30");
    refuses(&wild, "model", &[], "training came apart at step", "lower `--rate`");
    fails("cold", &["--freeze-layers", "9"], "9 layers cannot be frozen", "at most 2");
    fails("half", &["--dtype", "bf16"], "cannot be trained in bf16 on cpu", "f32");
    let other = fixture("tiny/roberta");
    fails("school", &["--teacher", other.to_str().unwrap()], "cannot teach this model", "same vocabulary");
    std::fs::create_dir(short.out("blocked")).unwrap();
    std::fs::write(short.out("blocked").join("training"), "a file").unwrap();
    fails("blocked", &[], "cannot write", "training");

    let lost = Short::new(&[]);
    let path = lost.out("lost.jsonl");
    std::fs::write(&path, r#"{"id": "1", "context": "A tower.", "question": "Who?", "answers": {"text": ["a bridge"], "answer_start": [0]}}"#).unwrap();
    let lost = lost.with("--data", path.to_str().unwrap());
    refuses(&lost, "model", &[], "there is nothing to learn", "quote their context");
}
