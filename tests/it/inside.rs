//! Looking inside: states, attention and gradients of a window, as the library gives them and as `spanqa attention` shows them.

use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::encoder::Runtime;
use spanqa::heads::{QaModel, SpanModel};
use spanqa::inspect::Inspector;
use spanqa::reader::input::{ModelInput, Part};
use spanqa::reader::{Question, Reader};
use spanqa::request::Options;
use spanqa::request::reply::DocumentId;

use crate::support::{Run, fixture, fixture_json, gap, integers, numbers, overwrite, run, tiny_model};

const TOLERANCE: f32 = 1e-4;

fn golden() -> Value {
    fixture_json("heads/inside.json")
}

fn tiny(family: &str) -> ModelFiles {
    ModelFiles::from_dir(&fixture("tiny").join(family)).unwrap()
}

fn inspector(files: &ModelFiles) -> Inspector {
    Inspector::open(files, &Runtime::default()).unwrap()
}

/// A window of a golden file, whose tokens stand nowhere.
fn input(expected: &Value) -> ModelInput {
    ModelInput {
        ids: integers(&expected["ids"]),
        segments: integers(&expected["segments"]),
        ..ModelInput::default()
    }
}

fn assert_close(what: &str, expected: &Value, found: &[f32]) {
    let (worst, at) = gap(&numbers(expected), found);
    assert!(worst <= TOLERANCE, "{what}: {worst} off at {at}");
}

fn floats(tensors: &SafeTensors, name: &str) -> (Vec<usize>, Vec<f32>) {
    let tensor = tensors.tensor(name).unwrap();
    let numbers = match tensor.dtype() {
        safetensors::Dtype::F32 => {
            tensor.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
        }
        safetensors::Dtype::F16 => tensor
            .data()
            .chunks_exact(2)
            .map(|two| half::f16::from_le_bytes(two.try_into().unwrap()).to_f32())
            .collect(),
        other => panic!("{name} is {other:?}"),
    };
    (tensor.shape().to_vec(), numbers)
}

fn whole_numbers(tensors: &SafeTensors, name: &str) -> Vec<i64> {
    let data = tensors.tensor(name).unwrap().data().to_vec();
    data.chunks_exact(8).map(|eight| i64::from_le_bytes(eight.try_into().unwrap())).collect()
}

// ---- the library ----------------------------------------------------------------------------------------------------

/// See tests/fixtures/inside.py: all five families.
#[test]
fn states_attention_and_gradients_equal_transformers() {
    for (family, expected) in golden()["families"].as_object().unwrap() {
        let (inspector, input) = (inspector(&tiny(family)), input(expected));
        let inside = inspector.look(&input).unwrap();
        for (name, found) in [("hidden_states", &inside.hidden_states), ("attentions", &inside.attentions)] {
            let expected = expected[name].as_array().unwrap();
            assert_eq!(expected.len(), found.len(), "{family}: {name}");
            for (layer, (expected, found)) in expected.iter().zip(found).enumerate() {
                assert_close(&format!("{family}, {name} {layer}"), expected, found);
            }
        }
        assert_close(family, &expected["start_logits"], &inside.logits.start);
        assert_close(family, &expected["end_logits"], &inside.logits.end);
        for row in inside.attentions.iter().flat_map(|layer| layer.chunks_exact(input.ids.len())) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{family}: a row sums to 1");
        }
        let span = [0, 1].map(|side| expected["span"][side].as_u64().unwrap() as usize);
        let scores = inspector.gradient_times_input(&input, (span[0], span[1])).unwrap();
        assert_close(&format!("{family}, gradient times input"), &expected["gradient_x_input"], &scores);
    }
}

/// What is looked at is what was answered from: the engine's logits.
#[test]
fn the_logits_are_those_of_the_engine() {
    for (family, expected) in golden()["families"].as_object().unwrap() {
        let (files, input) = (tiny(family), input(expected));
        let inside = inspector(&files).look(&input).unwrap();
        let engine = QaModel::load(&files, &Runtime::default()).unwrap().logits(&input.batch()).unwrap();
        let (start, end) =
            (gap(&engine[0].start, &inside.logits.start), gap(&engine[0].end, &inside.logits.end));
        assert!(start.0 < TOLERANCE && end.0 < TOLERANCE, "{family}: {start:?} {end:?}");
    }
}

/// The gradient along an embedding is what happens when the embedding grows a little: the engine is asked, with other weights.
#[test]
fn gradients_are_what_small_changes_do() {
    const STEP: f32 = 0.02;
    let golden = golden();
    let expected = &golden["families"]["minilm"];
    let input = input(expected);
    let span = [0, 1].map(|side| expected["span"][side].as_u64().unwrap() as usize);
    let scores = inspector(&tiny("minilm")).gradient_times_input(&input, (span[0], span[1])).unwrap();
    let margin_with = |id: u32, factor: f32| {
        let folder = tiny_model();
        let path = folder.path().join("model.safetensors");
        let mut bytes = std::fs::read(&path).unwrap();
        let (head, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let words = metadata.info("bert.embeddings.word_embeddings.weight").unwrap();
        let width = words.shape[1];
        // Behind the length of the head and the head.
        let row = 8 + head + words.data_offsets.0 + id as usize * width * 4;
        for four in bytes[row..row + width * 4].chunks_exact_mut(4) {
            let number = f32::from_le_bytes((&*four).try_into().unwrap());
            four.copy_from_slice(&(number * factor).to_le_bytes());
        }
        std::fs::write(&path, bytes).unwrap();
        let files = ModelFiles::from_dir(folder.path()).unwrap();
        let logits = QaModel::load(&files, &Runtime::default()).unwrap().logits(&input.batch()).unwrap();
        let (start, end) = (&logits[0].start, &logits[0].end);
        start[span[0]] + end[span[1]] - start[0] - end[0]
    };
    let once = |id: &u32| input.ids.iter().filter(|other| *other == id).count() == 1;
    let tokens: Vec<usize> = (0..input.ids.len()).filter(|&token| once(&input.ids[token])).collect();
    assert!(tokens.len() > 5);
    for token in tokens {
        let id = input.ids[token];
        let slope = (margin_with(id, 1.0 + STEP) - margin_with(id, 1.0 - STEP)) / (2.0 * STEP);
        let off = (slope - scores[token]).abs();
        assert!(off < 0.01 * (1.0 + slope.abs()), "token {token}: {slope} and {}", scores[token]);
    }
}

/// Windows are those of the reader, token by token.
#[test]
fn tokens_of_a_window_say_where_they_stand() {
    for family in ["minilm", "distilbert", "roberta", "xlm-roberta"] {
        let reader = Reader::open(&tiny(family), &Runtime::default()).unwrap();
        let text = "the old king did see the sea, and the town on the hill. ".repeat(8);
        let document = Arc::new(reader.prepare(DocumentId::Index(0), text.clone()).unwrap());
        let asked = "  who did see it? ";
        let question = Question::new("1", asked, vec![document]).with(&Arc::new(Options::default()));
        let inputs = reader.inputs(&question).unwrap();
        assert!(inputs.len() > 1, "{family}");
        let mut covered = 0;
        for (number, input) in inputs.iter().enumerate() {
            assert_eq!((input.document, input.window), (0, number));
            assert!(input.ids.len() == input.segments.len() && input.ids.len() == input.places.len());
            let question = input.tokens_of(Part::Question);
            let first = &input.places[question.start];
            let last = &input.places[question.end - 1];
            assert_eq!(asked[first.bytes.start..last.bytes.end].trim(), asked.trim(), "{family}");
            let document = input.tokens_of(Part::Document);
            assert_eq!(
                input.places[..question.start].iter().filter(|place| place.part == Part::Special).count(),
                question.start
            );
            let bytes = &input.places[document.start].bytes;
            assert!(
                text[covered.min(bytes.start)..bytes.start].trim().is_empty(),
                "{family}: nothing is left out"
            );
            covered = input.places[document.end - 1].bytes.end;
        }
        assert!(covered >= text.trim_end().len(), "{family}: {covered}");
    }
}

// ---- the command ----------------------------------------------------------------------------------------------------

fn attention(family: &str, more: &[&str]) -> Run {
    let model = fixture("tiny").join(family).display().to_string();
    let golden = golden();
    let (question, context) = (golden["question"].as_str().unwrap(), golden["context"].as_str().unwrap());
    let usual = ["attention", "--quiet", "--model", &model, "-q", question, "-c", context, "--always-answer"];
    run(&[&usual, more].concat())
}

fn written(family: &str, more: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let run = attention(family, &[&["-o", path.to_str().unwrap()], more].concat());
    assert_eq!(run.code, Some(0), "{family}: {}", run.stderr);
    std::fs::read(path).unwrap()
}

#[test]
fn files_hold_what_transformers_gives() {
    for (family, expected) in golden()["families"].as_object().unwrap() {
        if expected["tokens"].is_null() {
            continue;
        }
        let bytes = written(family, &["--store-as", "f32", "--method", "gradient"]);
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tokens = expected["tokens"].as_array().unwrap().len();
        let flat = |name: &str| -> Value {
            let layers = expected[name].as_array().unwrap().iter();
            layers.flat_map(|layer| layer.as_array().unwrap().clone()).collect()
        };
        let (shape, found) = floats(&tensors, "attentions");
        assert_eq!((shape[0], &shape[2..]), (2, &[tokens, tokens][..]), "{family}");
        assert_close(family, &flat("attentions"), &found);
        let (shape, found) = floats(&tensors, "hidden_states");
        assert_eq!(shape[..2], [3, tokens], "{family}");
        assert_close(family, &flat("hidden_states"), &found);
        assert_close(family, &expected["start_logits"], &floats(&tensors, "start_logits").1);
        assert_close(family, &expected["end_logits"], &floats(&tensors, "end_logits").1);
        let offsets = expected["offsets"].as_array().unwrap();
        let offsets: Vec<i64> =
            offsets.iter().flat_map(|pair| [pair[0].as_i64(), pair[1].as_i64()]).flatten().collect();
        assert_eq!(whole_numbers(&tensors, "offsets"), offsets, "{family}");
        let ids: Vec<i64> = integers(&expected["ids"]).into_iter().map(i64::from).collect();
        assert_eq!(whole_numbers(&tensors, "input_ids"), ids, "{family}");

        let (_, head) = SafeTensors::read_metadata(&bytes).unwrap();
        let metadata = head.metadata().as_ref().unwrap();
        let json = |name: &str| serde_json::from_str::<Value>(&metadata[name]).unwrap();
        assert_eq!(json("tokens"), expected["tokens"], "{family}");
        let parts = json("parts");
        let first = parts.as_array().unwrap().iter().position(|part| part == "document").unwrap();
        assert_eq!(json("sentence_b_start"), json!(first), "{family}");
        assert_eq!((json("layers"), json("window")), (json!([0, 1]), json!(0)));
        // The answer's tokens are its own.
        let answer = json("answer");
        let at = |name: &str| answer[name].as_u64().unwrap() as usize;
        let place = |token: usize| (offsets[2 * token], offsets[2 * token + 1]);
        assert!(place(at("start_token")).0 <= answer["start"].as_i64().unwrap());
        assert_eq!(place(at("end_token")).1, answer["end"].as_i64().unwrap(), "{family}");
        let margin = floats(&tensors, "start_logits").1[at("start_token")]
            + floats(&tensors, "end_logits").1[at("end_token")]
            - floats(&tensors, "start_logits").1[0]
            - floats(&tensors, "end_logits").1[0];
        assert!((margin - answer["margin"].as_f64().unwrap() as f32).abs() < 1e-4);
        assert_eq!(floats(&tensors, "gradient_x_input").0, [tokens]);
    }
}

#[test]
fn layers_and_heads_can_be_chosen_and_f16_is_half_the_size() {
    let all = written("minilm", &["--store-as", "f32"]);
    let (all, half) =
        (SafeTensors::deserialize(&all).unwrap(), written("minilm", &["--layers", "1", "--heads", "0,2-3"]));
    let (some, (_, head)) =
        (SafeTensors::deserialize(&half).unwrap(), SafeTensors::read_metadata(&half).unwrap());
    assert_eq!(some.tensor("attentions").unwrap().dtype(), safetensors::Dtype::F16);
    let ((_, all_numbers), (shape, numbers)) = (floats(&all, "attentions"), floats(&some, "attentions"));
    let square = shape[2] * shape[3];
    assert_eq!(shape[..2], [1, 3]);
    for (at, head) in [0, 2, 3].into_iter().enumerate() {
        let expected = &all_numbers[(4 + head) * square..][..square];
        assert!(gap(expected, &numbers[at * square..][..square]).0 < 1e-3, "head {head}");
    }
    // The embeddings, and what layer 1 gives.
    let metadata = head.metadata().as_ref().unwrap();
    assert_eq!(metadata["hidden_state_layers"], "[0,2]");
    let ((_, all_states), (shape, states)) = (floats(&all, "hidden_states"), floats(&some, "hidden_states"));
    let layer = shape[1] * shape[2];
    assert!(gap(&all_states[2 * layer..], &states[layer..]).0 < 5e-3);
}

#[test]
fn text_names_the_words_that_count_most() {
    let run = attention("minilm", &["--most", "2"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(lines[0], "who did see it?");
    assert!(
        lines[1].starts_with("  answer \"") && lines[1].ends_with("window 0 of (text)"),
        "{}",
        run.stdout
    );
    assert_eq!(lines[2], "  attention, the mean of 2 layers and 4 heads:");
    // The most first, and what special tokens get at the end.
    for line in &lines[3..] {
        let (words, special) = line.split_once(", (special tokens 0.").unwrap();
        let numbers = words.split_whitespace().map(|word| word.trim_end_matches(','));
        let paid: Vec<f32> = numbers.filter_map(|word| word.parse().ok()).collect();
        assert!(paid.len() == 2 && paid[0] > paid[1] && special.ends_with(')'), "{line}");
    }
    // Words, not pieces.
    assert!(!run.stdout.contains("##"), "{}", run.stdout);
    let gradient = attention("minilm", &["--most", "11", "--method", "gradient"]);
    let lines: Vec<&str> = gradient.stdout.lines().collect();
    assert_eq!((lines.len(), lines[2]), (14, "  gradient times input, summed over the pieces of a word:"));
    let golden = golden();
    let (question, text) = (golden["question"].as_str().unwrap(), golden["context"].as_str().unwrap());
    let mut expected = scores_of("minilm", question, text, 1).remove(0);
    expected.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
    for (line, (word, score)) in lines[3..].iter().zip(&expected) {
        let (number, name) = line.trim().split_once("  ").unwrap();
        assert!((number.parse::<f32>().unwrap() - score).abs() < 1e-3, "{line}: {score}");
        assert_eq!(name.trim_end_matches(" (question)"), word);
    }
}

#[test]
fn the_page_needs_nothing_else() {
    let run = attention("xlm-roberta", &["--html"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    for outside in ["http:", "https:", "//cdn", "src=", "@import", "url("] {
        assert!(!run.stdout.contains(outside), "{outside}");
    }
    let data = run.stdout.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    let words: Vec<&str> =
        data["words"].as_array().unwrap().iter().map(|word| word["text"].as_str().unwrap()).collect();
    for word in ["who", "did", "king", "seas"] {
        assert!(words.iter().any(|found| found.starts_with(word)), "{words:?}");
    }
    assert_eq!(data["scores"].as_array().unwrap().len(), words.len());
    // The answer's words are those of the answer, and side by side.
    let model = fixture("tiny/xlm-roberta").display().to_string();
    let (golden, usual) = (golden(), ["ask", "--quiet", "--model", &model, "--always-answer", "-q"]);
    let asked = [golden["question"].as_str().unwrap(), "-c", golden["context"].as_str().unwrap()];
    let record = crate::support::run(&[&usual[..], &asked].concat()).records().remove(0);
    let all = data["words"].as_array().unwrap().iter().zip(&words);
    let marked: Vec<&str> = all.filter(|(word, _)| word["answer"] == true).map(|(_, text)| *text).collect();
    assert!(words.windows(marked.len()).any(|window| window == marked));
    let answer = record["answers"][0]["text"].as_str().unwrap();
    let letters = |text: &str| text.replace(' ', "");
    // An answer may begin or end within a word.
    assert!(
        letters(&marked.concat()).contains(&letters(answer)) && marked.len() <= answer.len(),
        "{marked:?}, {answer}"
    );
    assert_eq!((&data["layers"], &data["heads"]), (&json!([0, 1]), &json!([0, 1, 2])));
}

#[test]
fn what_cannot_be_shown_is_said_with_a_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there.html");
    std::fs::write(&there, "mine").unwrap();
    let (there_name, folder_name) = (there.display().to_string(), folder.path().display().to_string());
    let new = folder.path().join("x.safetensors").display().to_string();
    for (flags, what, hint) in [
        (
            &["--layers", "2"][..],
            "has 2 layers, counted from 0, so there is no attention of layer 2",
            "from 0 to 1",
        ),
        (&["--heads", "0-4"], "have 4 heads, counted from 0, so there is no head 4", "from 0 to 3"),
        (&["--layers", "last"], "write numbers and ranges", ""),
        (&["--format", "svg"], "possible values: text, html, safetensors", ""),
        (
            &["--window-number", "7"],
            "(text) has no window 7: window 0 is the only one that is read",
            "leave out `--window-number`",
        ),
        (&["--format", "safetensors"], "safetensors cannot be written to standard output", "--output"),
        (&["-o", &there_name], "is there already", "`--force` replaces it"),
        (&["-o", &folder_name], "is a folder", "attention.html"),
        (&["-o", &new, "--max-size", "1k"], "1024 are allowed", "`--max-size 1M`"),
        (&["-c", "another text"], "there are 2 documents, and one can be looked at", "name that one alone"),
        (&["--html", "--format", "text"], "cannot be used with", ""),
    ] {
        let run = attention("minilm", flags);
        assert_eq!(run.code, Some(2), "{flags:?}: {}", run.stderr);
        assert!(run.stderr.contains(what) && run.stderr.contains(hint), "{flags:?}: {}", run.stderr);
    }
    assert!(!Path::new(&new).exists());
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
    let run = attention("minilm", &["-o", &there_name, "--force"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(std::fs::read_to_string(&there).unwrap().starts_with("<!DOCTYPE html>"));
    let model = fixture("tiny/minilm").display().to_string();
    let empty = run_attention(&["--model", &model, "-q", "who?", "-c", " "]);
    assert!(empty.stderr.contains("there is nothing to read in (text)"), "{}", empty.stderr);
    let blank = run_attention(&["--model", &model, "-q", " ", "-c", "a"]);
    assert!(blank.stderr.contains("the question is empty"), "{}", blank.stderr);
    // A model that cannot answer cannot be looked into.
    let embedder = run_attention(&["--model", "builtin-embedder", "-q", "who?", "-c", "he"]);
    assert_eq!(embedder.code, Some(2), "{}", embedder.stderr);
    let nan = tiny_model();
    overwrite(&nan.path().join("model.safetensors"), "bert.embeddings.LayerNorm.weight", 0, f32::NAN);
    let nan = run_attention(&["--model", nan.path().to_str().unwrap(), "-q", "who?", "-c", "he"]);
    assert_eq!(nan.code, Some(2), "{}", nan.stderr);
}

fn run_attention(arguments: &[&str]) -> Run {
    run(&[&["attention"], arguments].concat())
}

/// The model inside the program has 8-bit weights; what is looked at is in f32, and nearly the same.
#[test]
fn the_built_in_model_can_be_looked_into() {
    let text = "The lighthouse of Skarvholm was built in 1871 by Ingrid Dahl. The last keeper, Olav Brekke, left the island in 1986.";
    let question = "Who was the last keeper?";
    let run = run(&["attention", "--quiet", "-q", question, "-c", text, "--method", "gradient"]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.contains("answer \"Olav Brekke\", margin +"), "{}", run.stdout);
    let moved: Vec<&str> = run.stdout.lines().skip(3).collect();
    assert!(moved.iter().any(|line| line.contains("keeper")), "{moved:?}");
}

/// A window of a long text, and one where the answer is not.
#[test]
fn other_windows_can_be_looked_at() {
    let model = fixture("tiny/minilm").display().to_string();
    let text = "the old king did see the sea, and the town on the hill. ".repeat(12);
    let look = |more: &[&str]| {
        run(&[
            &[
                "attention",
                "--quiet",
                "--model",
                &model,
                "-q",
                "who did see it?",
                "-c",
                &text,
                "--read",
                "all",
                "--always-answer",
            ],
            more,
        ]
        .concat())
    };
    let usual = look(&[]);
    let number = usual
        .stdout
        .lines()
        .nth(1)
        .unwrap()
        .split("window ")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert_eq!(look(&["--window-number", &number]).stdout, usual.stdout);
    let other = if number == "0" { "1" } else { "0" };
    let elsewhere = look(&["--window-number", other]);
    assert!(
        elsewhere.stdout.contains(&format!("window {other} of (text), where the answer is not")),
        "{}",
        elsewhere.stdout
    );
    let gradient = look(&["--window-number", other, "--method", "gradient"]);
    assert_eq!(gradient.code, Some(2));
    assert!(gradient.stderr.contains("so there is no margin to explain"), "{}", gradient.stderr);
}

// ---- why=words --------------------------------------------------------------------------------------------------------

/// What words of the question and the document do for the margin of each span, as the library gives it.
fn scores_of(family: &str, question: &str, text: &str, spans: usize) -> Vec<Vec<(String, f32)>> {
    let files = tiny(family);
    let reader = Reader::open(&files, &Runtime::default()).unwrap();
    let document = Arc::new(reader.prepare(DocumentId::Index(0), text.to_owned()).unwrap());
    let mut options = Options { why: true, ..Options::default() };
    options.decoding.top_k = spans;
    let question = Question::new("1", question, vec![document]).with(&Arc::new(options));
    let reply = reader.answer(std::slice::from_ref(&question), &mut |_| {}).unwrap().remove(0).unwrap();
    let inputs = reader.inputs(&question).unwrap();
    let spans = reply.why.unwrap().spans;
    let scores = spans.iter().map(|span| {
        let input = inputs.iter().find(|input| input.window == span.window).unwrap();
        let scores = inspector(&files).gradient_times_input(input, span.place).unwrap();
        let words = spanqa::inspect::words(input, &question.text, text, reader.tokenizer());
        let sums = words.iter().map(|word| scores[word.tokens.clone()].iter().sum());
        let all = words.iter().zip(sums).filter(|(word, _)| word.part != Part::Special);
        all.map(|(word, score): (_, f32)| (word.text.clone(), score)).collect()
    });
    scores.collect()
}

#[test]
fn words_explain_an_answer() {
    let model = fixture("tiny/xlm-roberta").display().to_string();
    let text = "The king, he did see the seas.";
    let ask = |more: &[&str]| {
        let usual = [
            "ask",
            "--quiet",
            "--model",
            &model,
            "--always-answer",
            "-k",
            "2",
            "who did see it?",
            "-c",
            text,
        ];
        run(&[&usual, more].concat())
    };
    let plain = ask(&["--why"]);
    let words = ask(&["--why=words"]);
    let scores = scores_of("xlm-roberta", "who did see it?", text, 2);
    assert_eq!(words.code, Some(0), "{}", words.stderr);
    let mut record = words.records().remove(0);
    let spans = record["why"]["spans"].as_array_mut().unwrap();
    assert_eq!(spans.len(), scores.len());
    for (span, scores) in spans.iter_mut().zip(&scores) {
        let words = span.as_object_mut().unwrap().remove("words").unwrap();
        let words = words.as_array().unwrap();
        assert_eq!(scores.len(), words.len());
        for (word, (text, score)) in words.iter().zip(scores) {
            let close = (word["score"].as_f64().unwrap() - f64::from(*score)).abs() < 1e-4;
            assert!(word["text"] == *text && close, "{word}: {text} {score}");
        }
        let said: Vec<(&str, &str)> =
            words.iter().map(|word| (word["in"].as_str().unwrap(), word["text"].as_str().unwrap())).collect();
        assert_eq!(said[..3], [("question", "who"), ("question", "did"), ("question", "see")]);
        assert!(said.contains(&("document", "king,")) || said.contains(&("document", "king")), "{said:?}");
        for word in words.iter().filter(|word| word["in"] == "document") {
            let at = |side: &str| word[side].as_u64().unwrap() as usize;
            assert_eq!(text[at("start")..at("end")].trim(), word["text"].as_str().unwrap());
        }
        assert!(words.iter().any(|word| word["score"].as_f64().unwrap().abs() > 0.01));
    }
    // Nothing else changes.
    assert_eq!(record, plain.records().remove(0));
    assert_eq!(ask(&["--why=windows"]).stdout, plain.stdout);
    let shown = ask(&["--why=words", "-t"]);
    assert!(shown.stdout.contains("what words do for its margin, to first order: "), "{}", shown.stdout);
    assert!(ask(&["--why=tokens"]).stderr.contains("possible values: windows, words"));
}

/// The sums over words of `--why=words` are those of the tokens, whichever window and document the answer is in.
#[test]
fn an_answer_in_a_later_document_is_explained_from_its_window() {
    let model = fixture("tiny/minilm").display().to_string();
    let town = "the old town on the hill and the house. ".repeat(6);
    let sea = "the cat did see the sea. ".repeat(9);
    let mut documents = Vec::new();
    for texts in [[&town, &sea], [&sea, &town]] {
        let usual = ["ask", "--quiet", "--model", &model, "--always-answer", "-k", "5", "--read", "all"];
        let asked = ["--why=words", "what did the cat see?", "-c", texts[0], "-c", texts[1]];
        let record = run(&[&usual[..], &asked].concat()).records().remove(0);
        let (answers, spans) =
            (record["answers"].as_array().unwrap(), record["why"]["spans"].as_array().unwrap());
        assert_eq!(answers.len(), spans.len());
        for (answer, span) in answers.iter().zip(spans) {
            let words = span["words"].as_array().unwrap();
            let mut inside = words.iter().filter(|word| word["in"] == "document");
            let (first, last) = (inside.clone().next().unwrap(), inside.next_back().unwrap());
            // The window that is explained has the answer in it, and words are from its document.
            assert!(first["start"].as_u64() <= answer["start"].as_u64());
            assert!(answer["end"].as_u64() <= last["end"].as_u64());
            let document = answer["document"].as_u64().unwrap() as usize;
            let at = |side: &str| first[side].as_u64().unwrap() as usize;
            assert_eq!(&texts[document][at("start")..at("end")], first["text"].as_str().unwrap());
            documents.push(document);
        }
    }
    assert!(documents.contains(&1), "{documents:?}");
}

/// Leaving out the words that count most lowers the margin more than leaving out any words does. With the variable SPANQA_DELETION, as
/// `QUESTIONS:FILE`, it asks so many questions of a data set and prints what comes of it; docs/inspecting.md has such a run.
#[test]
fn the_words_that_count_are_missed_when_they_are_left_out() {
    const LEFT_OUT: usize = 3;
    const DRAWS: usize = 5;
    let wanted = std::env::var("SPANQA_DELETION").ok();
    let (count, file) = match wanted.as_deref().and_then(|wanted| wanted.split_once(':')) {
        Some((count, file)) => (count.parse().unwrap(), file.into()),
        None => (6, fixture("../everyday/dev.json")),
    };
    let data: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let resolved = spanqa::source::resolve("builtin", &spanqa::source::SourceOptions::default()).unwrap();
    let reader = Reader::open(&resolved.files, &Runtime::default()).unwrap();
    let inspector = inspector(&resolved.files);
    // As the engine multiplies in f32, so that rounding does not count.
    let runtime = Runtime { precision: Some(spanqa::encoder::Precision::F32), ..Runtime::default() };
    let model = QaModel::load(&resolved.files, &runtime).unwrap();
    let options = Arc::new(Options { why: true, read: Some(4), ..Options::default() });
    let mut random = spanqa::random::Random::new(7);
    // What is lost by leaving out the words that count most, any, and least: of all words, and of the document's alone.
    let mut lost = [[0.0f64; 3]; 2];
    let (mut more, mut asked, mut margins) = ([0; 2], 0, 0.0f64);
    let articles = data["data"].as_array().unwrap().iter();
    let paragraphs: Vec<&Value> =
        articles.flat_map(|article| article["paragraphs"].as_array().unwrap()).collect();
    // One question of each paragraph, then the next of each.
    let most = paragraphs.iter().map(|paragraph| paragraph["qas"].as_array().unwrap().len()).max().unwrap();
    let turns = (0..most).flat_map(|turn| paragraphs.iter().map(move |paragraph| (turn, paragraph)));
    for (turn, paragraph) in turns {
        let Some(qa) = paragraph["qas"].get(turn) else { continue };
        if asked == count {
            break;
        }
        let text = paragraph["context"].as_str().unwrap().to_owned();
        let document = Arc::new(reader.prepare(DocumentId::Index(0), text.clone()).unwrap());
        let question = Question::new("1", qa["question"].as_str().unwrap(), vec![document]).with(&options);
        let reply = reader.answer(std::slice::from_ref(&question), &mut |_| {}).unwrap().remove(0).unwrap();
        let (true, Some(span)) = (reply.answered, reply.why.as_ref().and_then(|why| why.spans.first()))
        else {
            continue;
        };
        let inputs = reader.inputs(&question).unwrap();
        let input = inputs.iter().find(|input| input.window == span.window).unwrap();
        let words = spanqa::inspect::words(input, &question.text, &text, reader.tokenizer());
        let scores = inspector.gradient_times_input(input, span.place).unwrap();
        let scores = spanqa::inspect::sum_by_word(&scores, &words);
        let margin = |left_out: &[usize]| {
            let gone = |token: usize| left_out.iter().any(|&word| words[word].tokens.contains(&token));
            let kept: Vec<usize> = (0..input.ids.len()).filter(|&token| !gone(token)).collect();
            let pick = |from: &[u32]| kept.iter().map(|&token| from[token]).collect::<Vec<u32>>();
            let left = ModelInput {
                ids: pick(&input.ids),
                segments: pick(&input.segments),
                ..ModelInput::default()
            };
            let logits = model.logits(&left.batch()).unwrap();
            let now = |token: usize| kept.iter().position(|&kept| kept == token).unwrap();
            let (start, end) = (&logits[0].start, &logits[0].end);
            f64::from(start[now(span.place.0)] + end[now(span.place.1)] - start[0] - end[0])
        };
        let whole = margin(&[]);
        for (which, lost) in lost.iter_mut().enumerate() {
            let may_go = |word: &spanqa::inspect::Word| {
                let inside = span.place.0 < word.tokens.end && word.tokens.start <= span.place.1;
                !inside && (word.part == Part::Document || which == 0 && word.part == Part::Question)
            };
            let mut order: Vec<usize> = (0..words.len()).filter(|&word| may_go(&words[word])).collect();
            let drawn: f64 = (0..DRAWS)
                .map(|_| {
                    let draw: Vec<usize> =
                        random.choose(LEFT_OUT, order.len()).into_iter().map(|at| order[at]).collect();
                    whole - margin(&draw)
                })
                .sum::<f64>()
                / DRAWS as f64;
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let top = whole - margin(&order[..LEFT_OUT]);
            let bottom = whole - margin(&order[order.len() - LEFT_OUT..]);
            for (lost, now) in lost.iter_mut().zip([top, drawn, bottom]) {
                *lost += now;
            }
            more[which] += usize::from(top > drawn);
        }
        margins += whole;
        asked += 1;
    }
    assert_eq!(asked, count, "there are fewer questions with an answer");
    for (which, what) in ["question and document", "the document alone"].into_iter().enumerate() {
        let [top, drawn, bottom] = lost[which].map(|lost| lost / asked as f64);
        println!(
            "{what}: of a margin of {:.2}, {LEFT_OUT} words that count most take {top:.2}, any {drawn:.2}, least {bottom:.2}; most more than any in {} of {asked}",
            margins / asked as f64,
            more[which]
        );
        assert!(top > 2.0 * drawn.max(0.1), "{what}: {top} and {drawn}");
    }
}
