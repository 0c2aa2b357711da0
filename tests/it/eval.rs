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
        let said = if more.contains(&"--report") {
            format!("note: the report is in {report}/report.html\n")
        } else {
            String::new()
        };
        let made = format!("note: {} did not exist and was made\n", folder.path().join("deep").display());
        assert_eq!((found.code, found.stderr.replace(&made, "")), (Some(0), said), "{name}");
        assert_eq!(found.stderr.contains(&made), name == "v2_half", "{name}");
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

    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(
        page.contains("leads by more than 0.5.") && page.contains("<td>computed in</td><td>f32 on cpu</td>"),
        "{page}"
    );
    assert!(page.contains("margin ") && page.contains("questions/s"), "{page}");
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
        // The speed is that of the questions asked in this run.
        let speed = &json(Path::new(&broken), "results.json")["speed"];
        let number = |name: &str| speed[name].as_f64();
        let asked = number("seconds").zip(number("questions_per_second")).map(|(time, rate)| time * rate);
        let asked = asked.map_or(0, |asked| asked.round() as usize);
        assert_eq!(asked, 40 - before, "{speed}");
    }
    model(&["--limit", "39", "--report", &broken, "--resume"]).fails_with("its set of questions is");
    model(&["--limit", "40", "--report", &broken, "--resume", "--window", "40"])
        .fails_with("its --window is 384, not 40");
    model(&["--limit", "40", "--report", &broken, "--resume", "--null-threshold", "-1.5"])
        .fails_with("its --null-threshold is 0, not -1.5");
    model(&["--limit", "40", "--report", &broken, "--resume", "--dtype", "int8"])
        .fails_with("its --dtype is default, not int8");
    // A copy of the model goes on; other weights in the same folder do not.
    let copy = folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(fixture("tiny/minilm")).unwrap().map(|file| file.unwrap().path()) {
        std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
    }
    let of_copy = || {
        let (data, copy) = (data(), copy.display().to_string());
        let base = ["eval", &data, "--model", &copy, "--max-question-tokens", "20", "--limit", "40"];
        run(&[&base[..], &["--report", &broken, "--resume"]].concat())
    };
    assert_eq!(of_copy().code, Some(0));
    let weights = copy.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    of_copy().fails_with("its model is");
    // Questions as they were, and a context that changed.
    let mut dataset = fixture_json("metrics/squad2.json");
    let context = &mut dataset["data"][0]["paragraphs"][0]["context"];
    *context = format!("{} More.", context.as_str().unwrap()).into();
    let changed = at("changed.json");
    std::fs::write(&changed, dataset.to_string()).unwrap();
    let tiny = path("tiny/minilm");
    let arguments = ["eval", &changed, "--model", &tiny, "--max-question-tokens", "20", "--limit", "40"];
    run(&[&arguments[..], &["--report", &broken, "--resume"]].concat()).fails_with("its set of questions is");
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
    assert!(text.stdout.contains("in brackets: 95 % bootstrap interval"), "{text:?}");
}

#[test]
fn the_report_is_one_page_that_needs_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().display().to_string();
    let (predictions, odds) = (path("metrics/predictions.json"), path("metrics/null_odds.json"));
    let arguments =
        ["eval", &data(), "--predictions", &predictions, "--na-probs", &odds, "--report", &report];
    assert_eq!(run(&arguments).code, Some(0));
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.trim_end().ends_with("</html>"));
    assert!(page.contains("name=\"viewport\"") && page.contains("prefers-color-scheme:dark"));
    for foreign in ["<script ", "src=", "href=", "url(", "@import", "NaN", "inf "] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    for title in ["Precision and recall", "Scores by threshold", "Null odds", "By article", "Losses"] {
        assert!(page.contains(title), "{title}");
    }
    balanced(&page);
    // Every loss is there, with its passage and its score; how the page came about stands below.
    let listed = page.matches("class=\"loss\"").count();
    assert!(listed > 50 && page.contains("id=\"search\"") && page.contains("no-answer score"), "{listed}");
    assert!(page.contains("<mark class=\"gold\">") && page.contains("<mark class=\"said\">"));
    for fact in ["<td>command</td><td>spanqa eval ", "<td>date</td><td>20", "<td>version</td><td>spanqa 0."] {
        assert!(page.contains(fact), "{fact}");
    }
    let losses = std::fs::read_to_string(folder.path().join("losses.jsonl")).unwrap();
    let losses: Vec<Value> = losses.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let exact = json(folder.path(), "results.json")["official"]["exact"].as_f64().unwrap();
    assert_eq!(losses.len(), 198 - (exact * 1.98).round() as usize);
    assert_eq!(losses.len(), listed);
    let missed = losses.iter().find(|loss| loss["kind"] == "missed").unwrap();
    assert_eq!(missed["answer"], "");
    assert!(!missed["expected"].as_array().unwrap().is_empty());
}

/// Every element that is opened is closed, in order.
fn balanced(page: &str) {
    let mut open = Vec::new();
    for tag in page.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag.split([' ', '/']).find(|part| !part.is_empty()).unwrap();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn two_sets_of_answers_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let (data, first) = (data(), path("metrics/predictions.json"));
    // The second set abstains always: it gains the unanswerable questions and loses every answer.
    let mut answers = fixture_json("metrics/predictions.json");
    answers.as_object_mut().unwrap().values_mut().for_each(|answer| *answer = "".into());
    std::fs::write(folder.path().join("predictions.json"), answers.to_string()).unwrap();
    let second = folder.path().display().to_string();
    let found = run(&["compare", &first, &second, &data]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let result: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(result["questions"], 198);
    // 114 of 198 have no answer.
    assert!((result["exact"]["second"].as_f64().unwrap() - 100.0 * 114.0 / 198.0).abs() < 1e-9);
    assert!((result["exact"]["first"].as_f64().unwrap() - 62.62626262626262).abs() < 1e-9);
    // It was right about 83 of them before, and about 41 answers.
    assert_eq!(result["mcnemar"]["only_second"], 31);
    assert_eq!(result["mcnemar"]["only_first"], 41);
    assert_eq!(result["wins"].as_array().unwrap().len(), 31);
    let interval = &result["exact"]["interval"];
    assert!(interval["low"].as_f64().unwrap() < -5.0 && interval["high"].as_f64().unwrap() > -5.1);

    let gate =
        |a: &str, b: &str, more: &[&str]| run(&[&["compare", a, b, &data, "--fail-if-worse"], more].concat());
    assert_eq!(gate(&first, &first, &[]).code, Some(0));
    let worse = gate(&first, &second, &[]);
    assert_eq!(worse.code, Some(1));
    assert!(worse.stderr.contains("failed: B is worse than A"), "{worse:?}");
    assert_eq!(gate(&first, &second, &["--tolerance", "20"]).code, Some(0));
    let text = run(&["compare", &first, &second, &data, "--format", "text", "--list", "2"]);
    assert!(text.stdout.contains("McNemar p = ") && text.stdout.contains("31 gains"), "{text:?}");
    std::fs::write(folder.path().join("predictions.json"), "{}").unwrap();
    run(&["compare", &first, &second, &data]).fails_with("lacks 198 of the 198 questions");
}

#[test]
fn a_profile_is_tuned_and_used() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("p.toml").display().to_string();
    let (data, tiny) = (data(), path("tiny/minilm"));
    let base = ["--model", &tiny, "--max-question-tokens", "20", "--threads", "1"];
    let tune = |more: &[&str]| run(&[&["tune", &data, "--sample", "40"], &base[..], more].concat());
    tune(&["--score", "hf"]).fails_with("--score hf has no temperature to tune");
    let found = tune(&["--folds", "3", "--output", &profile]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let result: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(result["per_fold"].as_array().unwrap().len(), 3);
    let f1 = |name: &str| result[name]["f1"].as_f64().unwrap();
    assert!(f1("on_itself") >= f1("untuned") && f1("on_itself") >= f1("held_out"), "{result}");
    let text = std::fs::read_to_string(&profile).unwrap();
    assert!(text.contains("[tuned_on]") && text.contains("folds = 3"), "{text}");

    // Judged on the same questions, the profile gives what tuning said it would.
    let eval =
        run(&[&["eval", &data, "--sample", "40", "--score", "joint", "--profile", &profile], &base[..]]
            .concat());
    let eval: Value = serde_json::from_str(&eval.stdout).unwrap();
    let (expected, found) = (f1("on_itself"), eval["official"]["f1"].as_f64().unwrap());
    assert!((expected - found).abs() < 1e-6, "{expected} {found}");
    let ece = (result["on_itself"]["ece"].as_f64().unwrap(), eval["calibration"]["ece"].as_f64().unwrap());
    assert!((ece.0 - ece.1).abs() < 1e-6, "{ece:?}");

    let ask = ["ask", "q", "-c", "the cat", "--profile", &profile, "--model"];
    run(&[&ask[..], &[&path("tiny/roberta")]].concat()).fails_with("it was tuned for");
    assert_ne!(run(&[&ask[..], &[&tiny]].concat()).code, Some(2));
    tune(&["--folds", "9"]).fails_with("4 articles cannot be split into 9 folds");
    std::fs::write(&profile, "model = 3").unwrap();
    run(&[&ask[..], &[&tiny]].concat()).fails_with("is no usable profile");
}

/// The threshold of a profile is a number of few digits, and is shown and compared with as that.
#[test]
fn what_is_in_force_is_compared_with() {
    let folder = tempfile::tempdir().unwrap();
    let (data, tiny) = (data(), path("tiny/minilm"));
    let base = ["--model", &tiny, "--max-question-tokens", "20", "--threads", "1", "--sample", "40"];
    let tune = |more: &[&str]| {
        let found = run(&[&["tune", &data, "--folds", "3"], &base[..], more].concat());
        assert_eq!(found.code, Some(0), "{found:?}");
        found.stdout
    };
    let profile = folder.path().join("p.toml").display().to_string();
    tune(&["--output", &profile]);
    let again: Value = serde_json::from_str(&tune(&["--profile", &profile])).unwrap();
    // The same choice on the same questions; a profile's threshold has fewer digits.
    for name in ["exact", "f1", "ece", "brier"] {
        let [before, after] = ["untuned", "on_itself"].map(|which| again[which][name].as_f64().unwrap());
        assert!((before - after).abs() < 1e-6, "{name}: {before} {after}");
    }
    let odd = ["--null-threshold", "0.118", "--temperature", "1.2"];
    let of: Value = serde_json::from_str(&tune(&odd)).unwrap();
    assert_eq!(of["before"], serde_json::json!({"null_threshold": 0.118, "temperature": 1.2}));
    let text = tune(&[&odd[..], &["--format", "text"]].concat());
    assert!(text.contains("as it is: threshold 0.118, temperature 1.2"), "{text}");
    let text = tune(&["--always-answer", "--format", "text"]);
    assert!(text.contains("as it is: always answering"), "{text}");

    let report = folder.path().join("report").display().to_string();
    let found =
        run(&[&["eval", &data, "--null-threshold", "0.118", "--report", &report], &base[..]].concat());
    assert_eq!(found.code, Some(0), "{found:?}");
    let page = std::fs::read_to_string(folder.path().join("report/report.html")).unwrap();
    assert!(page.contains("leads by more than 0.118."), "{page}");
}

#[test]
fn longer_documents_are_made_of_neighbouring_paragraphs() {
    let found = model(&["--limit", "30", "--long", "0,300"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    let rows: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(rows.len(), 6);
    let number = |row: usize, name: &str| rows[row][name].as_f64().unwrap();
    assert!(number(3, "documents") < number(0, "documents"));
    assert!(number(3, "windows_per_question") > number(0, "windows_per_question"));
    assert!(rows.iter().all(|row| row["questions"] == 30));
    // What is not asked about is still there to be mistaken for an answer.
    let found = model(&["--limit", "1", "--long", "0,3000"]);
    let rows: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(rows[3]["documents"], 1);
    let windows = |row: usize| rows[row]["windows_per_question"].as_f64().unwrap();
    assert!(windows(3) > windows(0), "{rows:?}");
    let folder = tempfile::tempdir().unwrap();
    let row = r#"{"id": "a", "context": "c", "question": "q", "answers": ["c"]}"#;
    std::fs::write(folder.path().join("rows"), row).unwrap();
    let rows = folder.path().join("rows").display().to_string();
    run(&["eval", &rows, "--long", "9"]).fails_with("has no article of several paragraphs");
}

#[test]
fn a_run_goes_from_stretch_to_stretch() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let row = |id: usize| {
        let context = format!("the cat {id} is here");
        serde_json::json!({"id": format!("q{id}"), "context": context, "question": "what is here", "answers": []}).to_string()
    };
    std::fs::write(at("rows"), (0..70).map(row).collect::<Vec<_>>().join("\n")).unwrap();
    let (rows, tiny, report) = (at("rows"), path("tiny/minilm"), at("report"));
    let arguments = ["eval", &rows, "--model", &tiny, "--report", &report];
    assert_eq!(run(&arguments).code, Some(0));
    let journal = std::fs::read_to_string(folder.path().join("report/run.jsonl")).unwrap();
    let ids: Vec<String> = (journal.lines().skip(1))
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, (0..70).map(|id| format!("q{id}")).collect::<Vec<_>>());
    // Every stretch found its own contexts: an answer stands in the context of its question.
    for line in journal.lines().skip(1) {
        let said: Value = serde_json::from_str(line).unwrap();
        let context = format!("the cat {} is here", &said["id"].as_str().unwrap()[1..]);
        assert!(context.contains(said["best"].as_str().unwrap()), "{line}");
        assert!(said["windows"] == 1 && !said["best"].as_str().unwrap().is_empty(), "{line}");
    }
}
