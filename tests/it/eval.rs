//! `spanqa eval` as a user meets it.

use std::path::Path;

use serde_json::Value;

use crate::support::{Run, fixture, fixture_json, run};

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

fn data() -> String {
    path("metrics/squad2.json")
}

/// Runs the tiny model on a part of the data.
fn model(arguments: &[&str]) -> Run {
    let (data, model) = (data(), path("tiny/minilm"));
    let base = ["eval", &data, "--model", &model, "--max-question-tokens", "20", "--threads", "1"];
    run(&[&base[..], arguments].concat())
}

fn json(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

#[test]
fn predictions_are_scored_as_the_official_script_scores_them() {
    let expected = fixture_json("metrics/expected.json");
    let (data, predictions) = (data(), path("metrics/predictions.json"));
    let (probabilities, odds) = (path("metrics/na_probs.json"), path("metrics/null_odds.json"));
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("deep/report").display().to_string();
    let base = ["eval", &data, "--predictions", &predictions, "--official"];
    let cases: [(&str, &[&str]); 3] = [
        ("v2", &[]),
        ("v2_half", &["--na-probs", &probabilities, "--na-prob-thresh", "0.5", "--report", &report]),
        ("v2_odds", &["--na-probs", &odds, "--report", &report]),
    ];
    for (name, more) in cases {
        let found = run(&[&base[..], more].concat());
        assert_eq!((found.code, found.stderr.as_str()), (Some(0), ""), "{name}");
        assert_eq!(found.stdout.trim_end(), expected[name].as_str().unwrap(), "{name}");
    }
    // Without a folder the script draws no curves, and prints nothing about them.
    let plain = run(&[&base[..], &["--na-probs", &odds]].concat());
    assert!(plain.stdout.contains("best_f1_thresh") && !plain.stdout.contains("pr_"), "{plain:?}");
    let results = json(Path::new(&report), "results.json");
    assert_eq!(results["dataset"]["questions"], 198);
    assert!(
        results["thresholds"]["best_f1"]["f1"].as_f64().unwrap()
            >= results["official"]["best_f1"].as_f64().unwrap()
    );
}

#[test]
fn goals_set_the_exit_code() {
    let (data, predictions) = (data(), path("metrics/predictions.json"));
    let base = ["eval", &data, "--predictions", &predictions, "--official"];
    let with = |goals: &[&str]| run(&[&base[..], goals].concat());
    assert_eq!(with(&["--fail-under", "f1=67.08", "--fail-under", "HasAns_f1=59"]).code, Some(0));
    let failed = with(&["--fail-under", "f1=67.08", "--fail-under", "exact=62.63"]);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("failed: exact is 62.63, below 62.63"), "{failed:?}");
    assert!(failed.stdout.contains("\"exact\""), "{failed:?}");
    with(&["--fail-under", "accuracy=1"]).fails_with("there is no score accuracy");
    assert_eq!(with(&["--fail-under", "f1"]).code, Some(2));
}

#[test]
fn mistakes_are_explained() {
    let (data, predictions, odds) =
        (data(), path("metrics/predictions.json"), path("metrics/null_odds.json"));
    run(&["eval", "nowhere.json"]).fails_with("cannot read nowhere.json");
    run(&["eval", &data, "--predictions", &path("tiny/minilm/config.json")])
        .fails_with("config.json: invalid type");
    run(&["eval", &odds]).fails_with("null_odds.json");
    run(&["eval", &data, "--predictions", &predictions, "--language", "de"])
        .fails_with("MLQA (de) cannot score");
    run(&["eval", &data, "--ids", &data]).fails_with("it has no question");
    run(&["eval", &data, "--limit", "0"]).fails_with("no question is left");
    let folder = tempfile::tempdir().unwrap();
    let few = folder.path().join("few.json");
    std::fs::write(&few, "{\"x\": \"y\"}").unwrap();
    let found = run(&["eval", &data, "--predictions", few.to_str().unwrap(), "--quiet"]);
    found.fails_with("lacks 198 of the 198 questions");
}

#[test]
fn a_model_is_run_and_leaves_files_in_the_form_of_run_qa() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().display().to_string();
    let found = model(&["--limit", "12", "--report", &report, "--null-threshold", "0.5"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let result: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(result["dataset"]["questions"], 12);
    assert_eq!(result["official"]["total"], 12);
    assert!(result["calibration"]["bins"].as_array().unwrap().len() == 10, "{result}");

    let predictions = json(folder.path(), "predictions.json");
    let odds = json(folder.path(), "null_odds.json");
    let candidates = json(folder.path(), "nbest_predictions.json");
    for (id, answer) in predictions.as_object().unwrap() {
        let rows = candidates[id].as_array().unwrap();
        let sum = |row: &Value| row["start_logit"].as_f64().unwrap() + row["end_logit"].as_f64().unwrap();
        let total: f64 = rows.iter().map(|row| sum(row).exp()).sum();
        for row in rows {
            let gap = row["probability"].as_f64().unwrap() - sum(row).exp() / total;
            assert!(gap.abs() < 1e-5, "{id}: {row}");
        }
        let null = rows.iter().find(|row| row["text"] == "").unwrap();
        let best = rows.iter().find(|row| row["text"] != "").unwrap();
        let lead = sum(null) - sum(best);
        assert!((odds[id].as_f64().unwrap() - lead).abs() < 1e-5, "{id}");
        assert_eq!(answer, if lead > 0.5 { &null["text"] } else { &best["text"] }, "{id}");
    }

    // The official script says the same of the files.
    let ids = folder.path().join("ids");
    let list: Vec<&str> = predictions.as_object().unwrap().keys().map(String::as_str).collect();
    std::fs::write(&ids, list.join("\n")).unwrap();
    let file = folder.path().join("predictions.json").display().to_string();
    let again = run(&["eval", &data(), "--predictions", &file, "--ids", ids.to_str().unwrap()]);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again["official"], result["official"]);
}

#[test]
fn an_interrupted_run_continues_to_the_same_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (whole, broken) = (at("whole"), at("broken"));
    assert_eq!(model(&["--limit", "40", "--report", &whole, "--quiet"]).code, Some(0));
    let journal = std::fs::read(folder.path().join("whole/run.jsonl")).unwrap();
    std::fs::create_dir(&broken).unwrap();
    // Before the first line, in it, in a record, between records, at the end.
    let lines: Vec<usize> = (0..journal.len()).filter(|&at| journal[at] == b'\n').map(|at| at + 1).collect();
    for cut in [0, 20, lines[0] + 30, lines[7], lines[25] + 5, journal.len()] {
        std::fs::write(folder.path().join("broken/run.jsonl"), &journal[..cut]).unwrap();
        let resumed = model(&["--limit", "40", "--report", &broken, "--resume"]);
        assert_eq!(resumed.code, Some(0), "{resumed:?}");
        let before = lines.iter().filter(|&&line| line <= cut).count().saturating_sub(1);
        assert!(
            resumed.stderr.contains(&format!("{before} of 40 questions were answered before")),
            "{resumed:?}"
        );
        for name in ["run.jsonl", "predictions.json", "nbest_predictions.json", "null_odds.json"] {
            let read = |run: &str| std::fs::read_to_string(folder.path().join(run).join(name)).unwrap();
            assert!(read("whole") == read("broken"), "{name} after a cut at {cut}");
        }
    }
    model(&["--limit", "39", "--report", &broken, "--resume"]).fails_with("its set of questions is");
    model(&["--limit", "40", "--report", &broken, "--resume", "--window", "40"])
        .fails_with("its settings is");
}

#[test]
fn samples_are_repeatable() {
    let ids = |arguments: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().display().to_string();
        let found = model(&[arguments, &["--report", &report, "--official"]].concat());
        assert_eq!(found.code, Some(0), "{found:?}");
        let predictions = json(folder.path(), "predictions.json");
        predictions.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let first = ids(&["--sample", "5", "--seed", "3"]);
    assert_eq!(first.len(), 5);
    assert_eq!(first, ids(&["--sample", "5", "--seed", "3"]));
    assert_ne!(first, ids(&["--sample", "5", "--seed", "4"]));
}

#[test]
fn data_without_unanswerable_questions_is_always_answered() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("v1.jsonl");
    let row = |id, question: &str| {
        serde_json::json!({"id": id, "context": "the sea is deep", "question": question, "answers": ["sea"]})
            .to_string()
    };
    std::fs::write(&file, [row("1", "what is deep?"), row("2", " ")].join("\n")).unwrap();
    let model = path("tiny/minilm");
    let base = ["eval", file.to_str().unwrap(), "--model", &model];
    let found = run(&[&base[..], &["--official"]].concat());
    assert_eq!(found.code, Some(0), "{found:?}");
    assert!(found.stdout.starts_with("{\"exact_match\": "), "{found:?}");
    assert!(found.stderr.contains("question 2 counts as not answered: the question is empty"), "{found:?}");
    let text = run(&[&base[..], &["--format", "text", "--quiet"]].concat());
    assert!(text.stdout.contains("scored by SQuAD v1.1 rules"), "{text:?}");
    assert!(!text.stdout.contains("threshold"), "{text:?}");
}
