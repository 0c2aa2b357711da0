//! `spanqa rank`, driven as a process, and the goldens of cross-encoders through it.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::document::{ReadAs, Reading};
use spanqa::embed::Embedder;
use spanqa::encoder::{Precision, Runtime};

use crate::heads::classifier;
use crate::support::{Run, fixture, fixture_json, folder_of, run, run_with_input, tiny_model};

fn rank(arguments: &[&str]) -> Run {
    run(&[&["rank", "--offline"], arguments].concat())
}

fn lines(arguments: &[&str], input: &str) -> Run {
    run_with_input(&[&["rank", "--offline"], arguments].concat(), input.as_bytes())
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn results(record: &Value) -> &Vec<Value> {
    record["results"].as_array().unwrap()
}

/// A field of each result, in order.
fn each(record: &Value, field: &str) -> Vec<Value> {
    results(record).iter().map(|result| result[field].clone()).collect()
}

fn score(result: &Value) -> f64 {
    result["score"].as_f64().unwrap()
}

const LIGHTHOUSE: &str = "docs/examples/lighthouse.txt";
const NOTES: [&str; 2] = ["docs/examples/notes/ferry.md", "docs/examples/notes/museum.md"];

#[test]
fn passages_of_files_come_with_their_places() {
    let ranked = rank(&["Who founded the museum in the tower?", LIGHTHOUSE, NOTES[0], NOTES[1]]);
    assert_eq!(ranked.code, Some(0), "{ranked:?}");
    let record = &ranked.records()[0];
    let start = r#"{"id":"1","query":"Who founded the museum in the tower?","by":"words","passages":"#;
    assert!(ranked.stdout.starts_with(start), "{}", ranked.stdout);
    assert_eq!(record["model"], Value::Null);
    assert_eq!(results(record)[0]["document"], NOTES[1]);
    let scores: Vec<f64> = results(record).iter().map(score).collect();
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| *score > 0.0), "{scores:?}");
    for (result, rank) in results(record).iter().zip(1..) {
        let fields: Vec<&str> = result.as_object().unwrap().keys().map(String::as_str).collect();
        let all = ["column", "document", "end", "index", "line", "rank", "score", "start", "text"];
        assert_eq!((fields, &result["rank"]), (all.to_vec(), &json!(rank)));
        let text = std::fs::read_to_string(result["document"].as_str().unwrap()).unwrap();
        let place = |field: &str| result[field].as_u64().unwrap() as usize;
        let chars: Vec<char> = text.chars().collect();
        let (start, end) = (place("start"), place("end"));
        assert_eq!(chars[start..end].iter().collect::<String>(), result["text"].as_str().unwrap());
        assert_eq!(1 + chars[..start].iter().filter(|char| **char == '\n').count(), place("line"));
    }
    assert!(results(record).len() as u64 <= record["passages"].as_u64().unwrap());
}

#[test]
fn a_folder_is_read_and_a_whole_file_is_one_passage() {
    let folder = tempfile::tempdir().unwrap();
    let long = "A sentence of some words that says little about ferries. ".repeat(30);
    write(folder.path(), "a.txt", format!("{long}\n\nThe purser sells tickets.\n"));
    write(folder.path(), "deep/b.md", "Tickets for the purser.");
    write(folder.path(), ".hidden.txt", "purser");
    let root = folder.path().to_str().unwrap();
    let question = "Where does the purser sell tickets?";
    rank(&[question, root]).fails_with("is a folder");
    let cut = &rank(&[question, "-r", root]).records()[0];
    assert!(cut["passages"].as_u64().unwrap() > 3, "{cut}");
    assert_eq!(results(cut).len(), 2, "{cut}");
    let whole = &rank(&[question, "-r", root, "--whole"]).records()[0];
    assert_eq!((&whole["passages"], each(whole, "start")), (&json!(2), vec![json!(0), json!(0)]));
    let length = std::fs::read_to_string(folder.path().join("a.txt")).unwrap().len();
    assert!(each(whole, "end").contains(&json!(length)));
    let one = &rank(&[question, "-r", root, "-g", "*.md", "-k", "1"]).records()[0];
    assert_eq!((&one["passages"], results(one).len()), (&json!(1), 1));
}

/// As grep has it: 0 if anything is shown, 1 if nothing is.
#[test]
fn without_a_word_in_common_nothing_is_shown() {
    let none = rank(&["Is there a volcano?", LIGHTHOUSE]);
    assert_eq!((none.code, each(&none.records()[0], "rank")), (Some(1), Vec::new()), "{none:?}");
    let none = rank(&["Is there a volcano?", LIGHTHOUSE, "-t"]);
    assert_eq!(none.stdout, "Is there a volcano?\n  no passage of 3\n");
    let none = rank(&["the lamp", LIGHTHOUSE, "--min-score", "99", "-f", "grep"]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(1), ""), "{none:?}");
    let some = rank(&["the lamp", LIGHTHOUSE, "--min-score", "0.1"]);
    assert_eq!(some.code, Some(0), "{some:?}");
    let empty = rank(&["the lamp", "-c", " \n"]);
    assert_eq!(empty.code, Some(1), "{empty:?}");
    assert!(empty.stderr.contains("nothing to read"), "{empty:?}");
}

#[test]
fn every_format_shows_the_same_passages() {
    let arguments = ["What does a return ticket cost?", NOTES[0], NOTES[1]];
    let with = |format: &str| rank(&[&arguments[..], &["-f", format]].concat());
    let record = &with("json").records()[0];
    assert_eq!(&with("jsonl").records(), results(record));
    let grep = with("grep").stdout;
    let first = &results(record)[0];
    let place = |result: &Value| {
        let name = result["document"].as_str().unwrap();
        format!("{name}:{}:{}", result["line"], result["column"])
    };
    assert_eq!(grep.lines().count(), results(record).len());
    assert!(grep.starts_with(&format!("{}: # The ferry The ferry Havsule", place(first))), "{grep}");
    let text = with("text").stdout;
    assert!(text.starts_with("What does a return ticket cost?\n  # The ferry The ferry Havsule"), "{text}");
    assert!(text.contains(&format!("\n    1. {}  score {:.3}\n", place(first), score(first))), "{text}");
    assert_eq!(rank(&[&arguments[..], &["-t"]].concat()).stdout, text);
}

const REQUESTS: &str = r#"{"id": "a", "query": "Who wrote the log?", "passages": ["Nothing of the kind.", {"id": 7.50, "text": "The keeper wrote the log."}, {"text": "A log."}, {"id": "z", "text": ""}]}
{"query": "log", "passages": ["the log", "no", "the log", "the log"]}

{"query": "What?", "passages": []}
"#;

#[test]
fn each_line_gets_all_its_passages_in_order() {
    let ranked = lines(&[], REQUESTS);
    assert_eq!(ranked.code, Some(0), "{ranked:?}");
    let records = ranked.records();
    assert_eq!(records.len(), 3);
    assert_eq!(each(&records[0], "index"), [1, 2, 0, 3].map(|index| json!(index)));
    assert!(ranked.stdout.contains(r#"{"rank":1,"index":1,"id":7.50,"score":"#), "{}", ranked.stdout);
    assert_eq!(each(&records[0], "id"), [json!(7.5), Value::Null, Value::Null, json!("z")]);
    assert_eq!(results(&records[0])[1]["text"], "A log.");
    assert_eq!((score(&results(&records[0])[2]), score(&results(&records[0])[3])), (0.0, 0.0));
    // What nothing tells apart stays in its order; a line without a name of its own is called by its number.
    assert_eq!(each(&records[1], "index"), [0, 2, 3, 1].map(|index| json!(index)));
    assert_eq!(
        (&records[0]["id"], &records[1]["id"], &records[2]["id"]),
        (&json!("a"), &json!(2), &json!(4))
    );
    assert_eq!((&records[2]["passages"], results(&records[2]).len()), (&json!(0), 0));

    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "requests.jsonl", REQUESTS);
    assert_eq!(rank(&["--jsonl", &file]).stdout, ranked.stdout);
    let best = lines(&["-k", "1", "--min-score", "0.001"], REQUESTS).records();
    assert_eq!(best.iter().map(|record| results(record).len()).collect::<Vec<_>>(), [1, 1, 0]);
}

#[test]
fn a_bad_line_is_an_error_of_its_own() {
    let input = "{\"id\": 3, \"query\": \"q\"}\n[1]\n{\"query\": \" \", \"passages\": [\"a\"]}\n{\"query\": \"a\", \"passages\": [\"a\"]}\n{\"question\"";
    let ranked = lines(&[], input);
    assert_eq!(ranked.code, Some(2), "{ranked:?}");
    let records = ranked.records();
    let codes: Vec<&str> =
        records.iter().map(|record| record["error"]["code"].as_str().unwrap_or("fine")).collect();
    assert_eq!(codes, ["missing_field", "not_an_object", "empty_question", "fine", "not_json"]);
    assert_eq!((&records[0]["id"], &records[0]["line"]), (&json!(3), &json!(1)));
    let hint = |record: &Value| record["error"]["hint"].as_str().unwrap().to_owned();
    assert!(hint(&records[0]).contains("\"passages\"") && hint(&records[1]).contains("jq"), "{records:?}");
    let long = lines(&["--max-bytes", "20"], "{\"query\": \"a\", \"passages\": [\"a\"]}\n").records();
    assert_eq!(long[0]["error"]["code"], "request_too_long");
}

#[test]
fn what_makes_no_sense_is_refused() {
    rank(&[LIGHTHOUSE]).fails_with("there is no question");
    rank(&[" ", LIGHTHOUSE]).fails_with("the question is empty");
    rank(&["who", "no-such-file"]).fails_with("cannot read no-such-file");
    rank(&["who", LIGHTHOUSE, "--read", "3"]).fails_with("--read belongs");
    lines(&["-c", "a text"], "").fails_with("there is no question");
    lines(&["-t"], "").fails_with("records are JSON");
    rank(&["--jsonl", "no-such-file"]).fails_with("cannot read no-such-file");
    rank(&["who", LIGHTHOUSE, "--by", "cross-encoder"]).fails_with("classifier");
    assert_eq!(rank(&["who", LIGHTHOUSE, "--by", "luck"]).code, Some(2));
    assert_eq!(rank(&["who", LIGHTHOUSE, "--jsonl", "a"]).code, Some(2));
}

/// One of the tests that depend on what the built-in model answers.
#[test]
fn the_reader_finds_the_passage_that_answers() {
    let arguments = ["Who was the last keeper?", NOTES[0], NOTES[1], LIGHTHOUSE, "--by", "reader"];
    let record = &rank(&arguments).records()[0];
    let best = &results(record)[0];
    assert_eq!((&record["model"], &record["read"]), (&json!("builtin"), &record["passages"]));
    assert_eq!(
        (&best["answer"]["text"], &best["answer"]["document"]),
        (&json!("Olav Brekke"), &json!(LIGHTHOUSE))
    );
    assert_eq!(best["answer"]["margin"], best["score"]);
    let text = std::fs::read_to_string(LIGHTHOUSE).unwrap();
    let place = |field: &str| best["answer"][field].as_u64().unwrap() as usize;
    assert_eq!(&text[place("start")..place("end")], "Olav Brekke");
    assert_eq!((place("line"), place("column")), (5, 209));
    let shown = rank(&[&arguments[..], &["-t", "-k", "1"]].concat()).stdout;
    assert!(shown.contains("The last keeper, ⟦Olav Brekke⟧, left the island"), "{shown}");
    assert!(shown.contains("  margin +"), "{shown}");
}

/// The margin is the one that `ask` gives when it is asked of that passage alone.
#[test]
fn a_passages_margin_is_that_of_the_reader() {
    let passages = ["the cat sat on the mat", "a hill", "the king of the hill is he", ""];
    let request = json!({"query": "who is the king?", "passages": passages}).to_string();
    let model = fixture("tiny/minilm");
    let model = model.to_str().unwrap();
    let ranked = lines(&["--by", "reader", "--model", model], &request);
    let record = &ranked.records()[0];
    assert_eq!(results(record).len(), 4, "{ranked:?}");
    let scores: Vec<Option<f64>> = each(record, "score").iter().map(Value::as_f64).collect();
    assert!(scores[..3].is_sorted_by(|a, b| a >= b), "{scores:?}");
    assert_eq!((scores[3], &results(record)[3]["index"]), (None, &json!(3)));
    for result in &results(record)[..3] {
        let text = result["text"].as_str().unwrap();
        let asked = run(&["ask", "who is the king?", "-c", text, "--model", model, "--always-answer"]);
        let answer = &asked.records()[0]["answers"][0];
        assert_eq!((&answer["text"], &answer["margin"]), (&result["answer"]["text"], &result["score"]));
        assert_eq!(result["answer"]["document"], result["index"]);
    }
}

/// A word that a manual page breaks is one word to the reader, also in a passage, and is quoted as it stands.
#[test]
fn passages_are_seen_as_their_documents_are() {
    let folder = tempfile::tempdir().unwrap();
    let filler = "words that are of no interest to anybody here\n".repeat(20);
    let page = format!(
        "CAT(1)    User Commands    CAT(1)\n\nNAME\n{filler}\n\n{filler}\nThe king of the hill is the cat, who is the ki-\n       ng of the hill.\n"
    );
    let file = write(folder.path(), "cat.1.txt", &page);
    let model = fixture("tiny/minilm");
    let arguments = ["who is the king?", &file, "--read-as", "man", "--by", "reader", "-k", "99"];
    let record = &rank(&[&arguments[..], &["--model", model.to_str().unwrap()]].concat()).records()[0];
    assert!(results(record).len() > 2, "{record}");
    for result in results(record) {
        let answer = &result["answer"];
        let place = |field: &str| answer[field].as_u64().unwrap() as usize;
        assert_eq!(&page[place("start")..place("end")], answer["text"].as_str().unwrap());
        let (start, end) = (result["start"].as_u64().unwrap(), result["end"].as_u64().unwrap());
        assert!(start <= place("start") as u64 && place("end") as u64 <= end, "{result}");
    }
    let reading = Reading { read_as: ReadAs::Man, limit: 1 << 20, pre: None };
    let document = reading.stream("-", page.as_bytes()).unwrap();
    let part = document.part(page.find("The king").unwrap()..page.len());
    assert!(part.text.ends_with("the ki-\n       ng of the hill.\n"), "{part:?}");
    assert!(part.seen().ends_with("the king of the hill.\n"), "{part:?}");
}

#[test]
fn only_the_best_by_words_are_read() {
    let model = tiny_model();
    let arguments = ["the king", "--by", "reader", "--model", model.path().to_str().unwrap(), "--whole"];
    let texts = ["a hill", "the king", "a mat", "the king of the hill"];
    let contexts: Vec<&str> = texts.iter().flat_map(|text| ["-c", text]).collect();
    let ranked = |more: &[&str]| rank(&[&arguments[..], &contexts, more].concat());
    let record = &ranked(&["--read", "2"]).records()[0];
    assert_eq!((&record["passages"], &record["read"]), (&json!(4), &json!(2)));
    let mut indices: Vec<u64> = each(record, "index").iter().filter_map(Value::as_u64).collect();
    indices.sort_unstable();
    assert_eq!(indices, [1, 3]);
    assert!(ranked(&["--read", "2", "-t"]).stdout.contains("read 2 of 4 passages"));
    let note = ranked(&["--read", "2", "-f", "grep"]).stderr;
    assert!(note.contains("note: read 2 of 4 passages") && note.contains("`--read all`"), "{note}");
    assert_eq!(results(&ranked(&["--read", "all"]).records()[0]).len(), 4);
}

/// The tiny BERT of the goldens with a classifier, as a folder that loads by itself.
fn cross_encoder() -> tempfile::TempDir {
    let folder = classifier("minilm", 1);
    for name in ["vocab.txt", "tokenizer_config.json"] {
        std::fs::copy(fixture("tiny/minilm").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_cross_encoder_scores_pairs_as_pytorch_does() {
    let folder = cross_encoder();
    let windows = fixture_json("tiny/minilm/golden.json")["windows"].clone();
    let golden = fixture_json("heads/golden.json")["minilm"]["windows"].clone();
    let requests: Vec<String> = windows
        .as_array()
        .unwrap()
        .iter()
        .map(|window| json!({"query": window["question"], "passages": [window["context"]]}).to_string())
        .collect();
    let model = ["--by", "cross-encoder", "--model", folder.path().to_str().unwrap(), "--dtype", "f32"];
    let ranked = lines(&model, &requests.join("\n"));
    assert_eq!(ranked.code, Some(0), "{ranked:?}");
    for (number, record) in ranked.records().iter().enumerate() {
        let result = &results(record)[0];
        let expected = golden[number]["score"][0].as_f64().unwrap();
        assert!((score(result) - expected).abs() < 1e-4, "{number}: expected {expected}, found {result}");
        let probability = 1.0 / (1.0 + (-score(result)).exp());
        assert!((result["probability"].as_f64().unwrap() - probability).abs() < 1e-6);
        assert_eq!(result["truncated"], Value::Null);
    }
    // The model takes 64 tokens.
    let long =
        json!({"query": "who", "passages": ["the king of the hill ".repeat(20), "the cat"]}).to_string();
    let record = &lines(&model, &long).records()[0];
    let cut: Vec<&Value> = results(record).iter().filter(|result| result["truncated"] == true).collect();
    assert_eq!((cut.len(), &cut[0]["index"], &record["query_truncated"]), (1, &json!(0), &Value::Null));
    let long = json!({"query": "the king of the hill ".repeat(20), "passages": ["the cat"]}).to_string();
    assert_eq!(lines(&model, &long).records()[0]["query_truncated"], true);
}

/// The tiny BERT as a sentence-transformers folder.
fn embedder() -> tempfile::TempDir {
    let files = ["config.json", "model.safetensors", "vocab.txt", "tokenizer_config.json"];
    let files: Vec<PathBuf> = files.map(|name| fixture("tiny/minilm").join(name)).into();
    let folder = folder_of(&files);
    let modules = r#"[{"path": "", "type": "a.Transformer"}, {"path": "1_Pooling", "type": "a.Pooling"}]"#;
    write(folder.path(), "modules.json", modules);
    write(folder.path(), "1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    folder
}

#[test]
fn embeddings_order_by_the_cosine() {
    let folder = embedder();
    let texts = ["the king of the hill", "the cat", "a mat is here", "who is he"];
    let request = json!({"query": "the king", "passages": texts}).to_string();
    let model = ["--model", folder.path().to_str().unwrap(), "--dtype", "f32", "--by"];
    let record = &lines(&[&model[..], &["embedding"]].concat(), &request).records()[0];
    let runtime = Runtime { precision: Some(Precision::F32), ..Runtime::default() };
    let embedder = Embedder::open(&ModelFiles::from_dir(folder.path()).unwrap(), &runtime).unwrap();
    let vectors = embedder.embed(&[&["the king"], &texts[..]].concat()).unwrap();
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    for result in results(record) {
        let vector = &vectors[1 + result["index"].as_u64().unwrap() as usize];
        let query = &vectors[0];
        let cosine = product(query, vector) / (product(query, query) * product(vector, vector)).sqrt();
        assert!((score(result) as f32 - cosine).abs() < 1e-5, "expected {cosine}, found {result}");
    }
    assert!(results(record).iter().map(score).is_sorted_by(|a, b| a >= b));
    // Both: what a place is worth in either order. Words give a place only to what has one in common.
    let words = &lines(&["--min-score", "0.001"], &request).records()[0];
    let both = &lines(&[&model[..], &["both"]].concat(), &request).records()[0];
    assert_eq!((&both["by"], results(both).len()), (&json!("both"), 4));
    for result in results(both) {
        let worth = |record: &Value| {
            let place = results(record).iter().position(|other| other["index"] == result["index"]);
            place.map_or(0.0, |place| 1.0 / (61 + place) as f64)
        };
        let expected = worth(words) + worth(record);
        assert!((score(result) - expected).abs() < 1e-6, "expected {expected}, found {result}");
    }
    assert!(results(both).iter().map(score).is_sorted_by(|a, b| a >= b));
}

/// What comes out depends neither on the number of threads nor on how many tokens, or lines, go through a model together.
#[test]
fn the_same_bytes_come_out_of_every_batch() {
    let (pairs, vectors, reader) = (cross_encoder(), embedder(), tiny_model());
    let requests: Vec<String> = (0..12)
        .map(|number| {
            let words = ["the king", "a hill", "the cat", "who", "is he here", "of the mat"];
            let passage =
                |at: usize| format!("{} {}", words[(number + at) % 6], words[at % 5].repeat(at % 3));
            let passages: Vec<String> = (0..1 + number % 5).map(passage).collect();
            json!({"query": words[number % 6], "passages": passages}).to_string()
        })
        .collect();
    for (by, model) in [
        ("words", None),
        ("reader", Some(&reader)),
        ("cross-encoder", Some(&pairs)),
        ("embedding", Some(&vectors)),
        ("both", Some(&vectors)),
    ] {
        let mut arguments = vec!["--by", by];
        arguments.extend(model.iter().flat_map(|folder| ["--model", folder.path().to_str().unwrap()]));
        let together = lines(&arguments, &requests.join("\n"));
        assert_eq!(together.code, Some(0), "{together:?}");
        let other = ["--threads", "1", "--batch-tokens", "7"];
        assert_eq!(lines(&[&arguments[..], &other].concat(), &requests.join("\n")).stdout, together.stdout);
        let alone = lines(&arguments, &requests[7]).records();
        let (mut alone, mut among) = (alone[0].clone(), together.records()[7].clone());
        (alone["id"], among["id"]) = (json!(0), json!(0));
        assert_eq!(alone, among, "{by}");
    }
}
