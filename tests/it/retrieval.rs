//! Questions about what a search finds: `batch --search`, `--find`, `eval --open` and `tune --open`.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Run, run, run_with_input, tiny_model};

/// A folder to search, and one for its indexes.
struct Desk {
    folder: tempfile::TempDir,
    index: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap(), index: tempfile::tempdir().unwrap() };
        desk.write("ferry.txt", "The ferry to the island leaves at noon. A ticket costs four crowns.\n");
        desk.write("keeper.txt", "The last keeper of the lighthouse was Anna Berg.\nShe left in 1971.\n");
        desk.write("museum.md", "# Museum\n\nThe museum was founded by the teacher Nils Holm in 1985.\n");
        desk
    }

    fn root(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn write(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> Run {
        run(&[arguments, &["--index", self.index.path().to_str().unwrap(), "--quiet"]].concat())
    }

    fn batch(&self, arguments: &[&str], requests: &[Value]) -> Run {
        let lines: String = requests.iter().map(|request| format!("{request}\n")).collect();
        let index = ["--index", self.index.path().to_str().unwrap(), "--quiet"];
        run_with_input(&[&["batch"], arguments, &index].concat(), lines.as_bytes())
    }
}

fn without(record: &Value, fields: &[&str]) -> Value {
    let mut record = record.clone();
    fields.iter().for_each(|field| drop(record.as_object_mut().unwrap().remove(*field)));
    record
}

const QUESTIONS: [&str; 3] =
    ["Who was the last keeper?", "Who founded the museum?", "What is the weight of a whale?"];

#[test]
fn batch_answers_from_what_it_finds_as_ask_does() {
    let desk = Desk::new();
    let requests: Vec<Value> = QUESTIONS.iter().map(|question| json!({"question": question})).collect();
    let batch = desk.batch(&["--search", desk.root()], &requests);
    assert_eq!(batch.code, Some(0), "{batch:?}");
    let records = batch.records();
    for (question, record) in QUESTIONS.iter().zip(&records) {
        let asked = desk.run(&["ask", "--search", question, desk.root()]);
        assert_eq!(without(record, &["id"]), without(&asked.records()[0], &["id"]), "{question}");
    }
    assert_eq!(records[0]["answers"][0]["text"], "Anna Berg");
    assert_eq!(records[0]["answers"][0]["document"], format!("{}/keeper.txt", desk.root()));
    assert_eq!((&records[2]["reason"], &records[2]["windows"]), (&json!("nothing_found"), &json!(0)));
    assert!(records.iter().all(|record| record["passages_searched"] == 3), "{records:?}");
}

#[test]
fn a_request_may_say_what_to_search() {
    let desk = Desk::new();
    let question = QUESTIONS[0];
    let requests = [
        json!({"question": question, "search": desk.root()}),
        json!({"questions": [question, QUESTIONS[1]], "search": desk.root()}),
        json!({"question": question, "search": "no such folder"}),
        json!({"question": question, "context": "The last keeper was Ole.", "search": "kept"}),
        json!({"question": question, "search": 7}),
        json!({"question": question}),
    ];
    let batch = desk.batch(&[], &requests);
    assert_eq!(batch.code, Some(2), "{batch:?}");
    let records = batch.records();
    let answers: Vec<&Value> = records.iter().map(|record| &record["answers"][0]["text"]).collect();
    assert_eq!(answers[..3], ["Anna Berg", "Anna Berg", "Nils Holm"]);
    let error =
        |at: usize| (records[at]["error"]["code"].clone(), records[at]["error"]["message"].to_string());
    assert_eq!(error(3).0, "not_searched");
    assert!(error(3).1.contains("cannot search no such folder"), "{}", error(3).1);
    assert_eq!((answers[4], records[4].get("passages_searched")), (&json!("Ole"), None));
    assert_eq!((error(5).0, error(6).0), (json!("wrong_type"), json!("missing_field")));
    let forbidden = desk.batch(&["--no-files"], &requests[..1]);
    assert_eq!(forbidden.records()[0]["error"]["code"], "files_forbidden");
    // What is searched anyway stays allowed.
    let own = desk.batch(&["--no-files", "--search", desk.root()], &[json!({"question": question})]);
    assert_eq!(own.records()[0]["answers"][0]["text"], "Anna Berg");
}

/// Documents of a ranking, in order.
fn documents(found: &Run) -> Vec<String> {
    let name = |result: &Value| {
        Path::new(result["document"].as_str().unwrap()).file_name().unwrap().to_string_lossy().into_owned()
    };
    found.records()[0]["results"].as_array().unwrap().iter().map(name).collect()
}

#[test]
fn vectors_find_what_shares_no_word() {
    let desk = Desk::new();
    let question = "When does the boat depart?";
    assert_eq!(desk.run(&["search", question, desk.root()]).code, Some(1));
    let early = desk.run(&["ask", "--search", "--find", "both", question, desk.root()]);
    assert_eq!(early.code, Some(2));
    assert!(early.stderr.contains("what is searched has no vectors"), "{early:?}");
    let indexed = desk.run(&["index", "--embed", desk.root()]);
    assert_eq!((indexed.code, &indexed.records()[0]["embedded"]), (Some(0), &json!(3)), "{indexed:?}");
    let again = desk.run(&["index", "--embed", desk.root()]);
    assert_eq!((&again.records()[0]["read"], &again.records()[0]["embedded"]), (&json!(0), &json!(0)));
    for by in ["embedding", "both"] {
        let found = desk.run(&["search", "--by", by, question, desk.root()]);
        assert_eq!(documents(&found)[0], "ferry.txt", "{found:?}");
        let record = &found.records()[0];
        assert_eq!((&record["by"], &record["model"]), (&json!(by), &json!("builtin-embedder")));
        let asked = desk.run(&["ask", "--search", "--find", by, question, desk.root()]);
        let record = &asked.records()[0];
        assert_eq!((&record["passages_searched"], &record["windows"]), (&json!(3), &json!(3)), "{asked:?}");
        let batch = desk.batch(&["--search", desk.root(), "--find", by], &[json!({"question": question})]);
        assert_eq!(without(&batch.records()[0], &["id"]), without(record, &["id"]));
    }
    // Words still lead by themselves.
    assert_eq!(desk.run(&["search", question, desk.root()]).code, Some(1));
}

/// Vectors follow their passages through changes, merges and interruptions: the order is that of a fresh index.
#[test]
fn vectors_stay_with_their_passages() {
    let desk = Desk::new();
    assert_eq!(desk.run(&["index", "--embed", desk.root()]).code, Some(0));
    let subjects =
        ["a whale", "an engine", "bread", "the moon", "taxes", "a violin", "snow", "a dog", "tea", "a king"];
    let orders = |desk: &Desk, index: &Path| -> Vec<(Vec<String>, Vec<Value>)> {
        let index = index.to_str().unwrap();
        (subjects.iter())
            .map(|subject| {
                let question = format!("something about {subject}");
                let found = run(&[
                    "search",
                    "--by",
                    "embedding",
                    "-k",
                    "20",
                    &question,
                    desk.root(),
                    "--index",
                    index,
                    "--quiet",
                ]);
                assert_eq!(found.code, Some(0), "{found:?}");
                let record = &found.records()[0];
                let results = record["results"].as_array().unwrap().iter();
                (documents(&found), results.map(|result| result["score"].clone()).collect())
            })
            .collect()
    };
    for (number, subject) in subjects.iter().enumerate() {
        desk.write(&format!("{number}.txt"), &format!("Page {number} says something about {subject}.\n"));
        if number == 5 {
            std::fs::remove_file(desk.folder.path().join("museum.md")).unwrap();
            desk.write("2.txt", "Page two says something else about cheese.\n");
        }
        // Each of these makes a segment with its vectors; beyond eight they are merged.
        let found = desk.run(&["search", "--by", "embedding", subject, desk.root()]);
        assert_eq!(documents(&found)[0], format!("{number}.txt"), "{found:?}");
    }
    let folder = std::fs::read_dir(desk.index.path()).unwrap().flatten().next().unwrap().path();
    let names = || {
        let names = std::fs::read_dir(&folder).unwrap().flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    let count = |end: &str| names().iter().filter(|name| name.ends_with(end)).count();
    assert!(count(".words") < 9 && count(".words") == count(".vectors"), "{:?}", names());
    let fresh = tempfile::tempdir().unwrap();
    let made = run(&["index", "--embed", desk.root(), "--index", fresh.path().to_str().unwrap(), "--quiet"]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let expected = orders(&desk, fresh.path());
    assert_eq!(orders(&desk, desk.index.path()), expected);
    // What an interruption leaves: some rows, the last of them in part.
    for name in names().iter().filter(|name| name.ends_with(".vectors")) {
        let whole = std::fs::read(folder.join(name)).unwrap();
        std::fs::remove_file(folder.join(name)).unwrap();
        std::fs::write(folder.join(name.replace(".vectors", ".begun")), &whole[..whole.len() - 100]).unwrap();
    }
    assert_eq!(orders(&desk, desk.index.path()), expected);
    assert_eq!(count(".begun"), 0);
}

/// Three articles of two paragraphs, each with a question that has an answer and one that has none.
fn open_questions() -> Value {
    let articles = [
        ("Lighthouse", "keeper", "Anna Berg", "Ole Strand"),
        ("Museum", "teacher", "Nils Holm", "Eva Lind"),
        ("Ferry", "captain", "Jon Dahl", "Mia Falk"),
    ];
    let article = |(number, (title, role, one, other)): (usize, &(&str, &str, &str, &str))| {
        let paragraph = |at: usize, name: &str, year: usize| {
            let context = format!("The {role} of the {year} season was {name}, as the book says.");
            let start = context.find(name).unwrap();
            let question = |kind: &str, text: String, answers: Value| json!({"id": format!("{number}-{at}-{kind}"), "question": text, "answers": answers, "is_impossible": kind == "none"});
            json!({"context": context, "qas": [
                question("one", format!("Who was the {role} of the {year} season?"), json!([{"text": name, "answer_start": start}])),
                question("none", format!("What did the {role} of the {year} season eat?"), json!([])),
            ]})
        };
        json!({"title": title, "paragraphs": [paragraph(0, one, 1901 + number), paragraph(1, other, 1951 + number)]})
    };
    json!({"version": "v2.0", "data": articles.iter().enumerate().map(article).collect::<Vec<_>>()})
}

#[test]
fn open_questions_are_asked_of_all_paragraphs() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("open.json"), open_questions().to_string()).unwrap();
    let eval = |more: &[&str]| {
        run(&[&["eval", &path("open.json"), "--open", "-f", "json", "--quiet"], more].concat())
    };
    let report = path("report");
    let found = eval(&["--report", &report]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let result: Value = serde_json::from_str(&found.stdout).unwrap();
    let retrieval = &result["retrieval"];
    assert_eq!((&retrieval["texts"], &retrieval["questions"]), (&json!(6), &json!(6)));
    let stage = &retrieval["stages"][0];
    assert_eq!((&stage["by"], &stage["hit_1"], &stage["mrr"]), (&json!("words"), &json!(100.0), &json!(1.0)));
    assert_eq!(retrieval["stages"][1]["by"], "reader");
    assert!(result["official"]["HasAns_exact"].as_f64().unwrap() >= 50.0, "{}", result["official"]);
    let page = std::fs::read_to_string(dir.path().join("report/report.html")).unwrap();
    assert!(page.contains("<h2>Retrieval</h2>") && page.contains("Questions whose paragraph is found"));
    // Whatever part of the file is asked, all of it is searched, and a run goes on with the ranks it had.
    let part: Value = serde_json::from_str(&eval(&["--limit", "2"]).stdout).unwrap();
    assert_eq!((&part["retrieval"]["texts"], &part["retrieval"]["questions"]), (&json!(6), &json!(1)));
    let again: Value = serde_json::from_str(&eval(&["--report", &report, "--resume"]).stdout).unwrap();
    assert_eq!(again["retrieval"], *retrieval);
    // More texts to search among: one that answers better by words hides the paragraph.
    let noise = json!({"id": 1, "title": "x", "text": "Who was the keeper of the 1901 season? The keeper of the 1901 season?"});
    std::fs::write(path("noise.jsonl"), format!("{noise}\n\n")).unwrap();
    let among: Value = serde_json::from_str(&eval(&["--corpus", &path("noise.jsonl")]).stdout).unwrap();
    assert_eq!(among["retrieval"]["texts"], 7);
    assert!(among["retrieval"]["stages"][0]["hit_1"].as_f64().unwrap() < 100.0, "{among}");
    std::fs::write(path("noise.jsonl"), "{\"id\": 1}\n").unwrap();
    let bad = eval(&["--corpus", &path("noise.jsonl")]);
    assert!(bad.code == Some(2) && bad.stderr.contains("line 1 of"), "{bad:?}");
    let text = run(&["eval", &path("open.json"), "--open", "-f", "text", "--quiet"]);
    assert!(text.stdout.contains("its own paragraph, by"), "{text:?}");
}

#[test]
fn how_much_the_order_counts_is_tuned() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("open.json"), open_questions().to_string()).unwrap();
    let profile = path("open.toml");
    let model = tiny_model();
    let model = model.path().to_str().unwrap();
    let tune = |more: &[&str]| {
        let common = ["tune", &path("open.json"), "--folds", "2", "--model", model, "-f", "json", "--quiet"];
        run(&[&common, more].concat())
    };
    let tuned = tune(&["--open", "--output", &profile]);
    assert_eq!(tuned.code, Some(0), "{tuned:?}");
    let result: Value = serde_json::from_str(&tuned.stdout).unwrap();
    let weight = result["rank_weight"].as_f64().unwrap();
    assert!([0.0, 0.25, 0.5, 1.0, 1.5, 2.0].contains(&weight), "{weight}");
    let written = std::fs::read_to_string(&profile).unwrap();
    assert_eq!(written.contains("rank_weight"), weight != 1.0, "{written}");
    let used =
        run(&["eval", &path("open.json"), "--open", "--profile", &profile, "--model", model, "--quiet"]);
    assert_eq!(used.code, Some(0), "{used:?}");
    let plain: Value = serde_json::from_str(&tune(&[]).stdout).unwrap();
    assert_eq!(plain.get("rank_weight"), None);
}
