//! `spanqa ask` and its neighbours, driven as a process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Run, fixture, run, run_with_input, spanqa};

const TOWER: &str =
    "The Eiffel Tower was built in 1889 by the company of Gustave Eiffel. It stands in Paris.";

/// Asks a tiny random model: what it answers means nothing, but it answers fast and never abstains.
fn tiny(arguments: &[&str]) -> Run {
    let model = fixture("tiny/minilm");
    let fixed = ["--model", model.to_str().unwrap(), "--window", "60", "--overlap", "16", "--always-answer"];
    run(&[&["ask"], arguments, &fixed].concat())
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

/// One of the tests that depend on what the built-in model answers.
#[test]
fn the_built_in_model_quotes_and_abstains() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "tower.txt", TOWER);
    let answered = run(&["ask", "When was the Eiffel Tower built?", &file]);
    assert_eq!(answered.code, Some(0), "{answered:?}");
    let record = &answered.records()[0];
    assert_eq!((&record["answered"], &record["model"]), (&json!(true), &json!("builtin")));
    assert_eq!(record["answers"][0]["text"], "1889");
    assert_eq!(record["answers"][0]["document"], Value::String(file.clone()));
    let abstained = run(&["ask", "How tall is the tower?", &file]);
    assert_eq!(abstained.code, Some(1), "{abstained:?}");
    let record = &abstained.records()[0];
    assert_eq!((&record["answered"], &record["answers"]), (&json!(false), &json!([])));
    assert_eq!(record["candidates"].as_array().unwrap().len(), 1);
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&record["no_answer_score"]) > number(&record["candidates"][0]["score"]));
    assert!(number(&record["null_odds"]) > 0.0);
}

/// Another of them.
#[test]
fn confidence_is_of_the_reply_and_of_models_that_were_measured() {
    let ask = |question: &str, flags: &[&str]| {
        let run = run(&[&["ask", question, "-c", TOWER], flags].concat());
        run.records()[0]["confidence"].as_f64()
    };
    let (built, tall) = ("When was the Eiffel Tower built?", "How tall is the tower?");
    let (answered, refused) = (ask(built, &[]).unwrap(), ask(tall, &[]).unwrap());
    assert!(answered > 0.75 && refused > 0.6, "{answered} {refused}");
    // What is believed does not depend on who asks; what is replied does.
    assert_eq!(ask(built, &["--always-answer", "-k", "3", "--dedup", "overlap"]), Some(answered));
    assert_eq!(ask(built, &["--null-threshold", "5"]), Some(answered));
    let forced = ask(tall, &["--always-answer"]).unwrap();
    assert!(forced < 0.5, "{forced}");
    let known = ["--temperature", "1.15"];
    assert_eq!(ask(built, &known), Some(answered));
    for unknown in [&["--temperature", "2"][..], &["--score", "squad"], &["--score", "hf"]] {
        assert_eq!(ask(built, unknown), None, "{unknown:?}");
    }
    assert_eq!(tiny(&[built, "-c", TOWER]).records()[0].get("confidence"), None);
    // Numbers of one's own.
    let folder = tempfile::tempdir().unwrap();
    let profile = |numbers: &str| {
        let text = format!(
            "model = \"builtin\"\nnull_threshold = 0.0\ntemperature = 1.15\nconfidence = {numbers}\n"
        );
        write(folder.path(), "mine.toml", text)
    };
    let sure = ask(built, &["--profile", &profile("{ slope = 0.0, shift = 0.0 }")]);
    assert_eq!(sure, Some(0.5));
    run(&["ask", built, "-c", TOWER, "--profile", &profile("{ slope = -1.0, shift = 0.0 }")])
        .fails_with("its slope is not from 0 to 1000");
}

#[test]
fn windows_that_cannot_be_are_refused() {
    for (flags, said, most) in [
        (
            &["--overlap", "400", "--read", "all"][..],
            "windows of 384 tokens cannot share 400",
            "`--overlap 192`",
        ),
        (&["--overlap", "192"], "windows of 192 tokens cannot share 192", "`--overlap 96`"),
        (&["--window", "60", "--overlap", "60"], "windows of 60 tokens cannot share 60", "`--overlap 30`"),
    ] {
        let run = run(&[&["ask", "who?", "-c", TOWER], flags].concat());
        run.fails_with(said);
        assert!(run.stderr.contains(most), "{}", run.stderr);
    }
    // The usual overlap is fitted to a window that was asked for.
    assert_ne!(run(&["ask", "who?", "-c", TOWER, "--window", "60"]).code, Some(2));
    let none = run(&["ask", "who?", "-c", TOWER, "--max-question-tokens", "0"]);
    assert_eq!(none.code, Some(2), "{none:?}");
    assert!(none.stderr.contains("it must be at least 1"), "{none:?}");
}

/// `SPANQA_MODEL= spanqa ...` takes a variable back for one command.
#[test]
fn an_empty_variable_is_none() {
    let ask = ["ask", "When was it built?", "-c", TOWER];
    let mut command = spanqa(&ask);
    for name in ["SPANQA_MODEL", "SPANQA_REGISTRY", "SPANQA_FORMAT"] {
        command.env(name, "");
    }
    let unset = Run::from(command.output().unwrap());
    assert_eq!((unset.code, &unset.records()[0]["model"]), (Some(0), &json!("builtin")), "{unset:?}");
    let list = Run::from(spanqa(&["models", "list"]).env("SPANQA_REGISTRY", "").output().unwrap());
    assert_eq!(list.code, Some(0), "{list:?}");
    // What is typed is meant.
    for (flag, said) in [("--model", "it must be a name"), ("--registry", "it must be a file")] {
        let typed = run(&[&ask[..], &[flag, ""]].concat());
        assert_eq!(typed.code, Some(2), "{typed:?}");
        assert!(typed.stderr.contains(said), "{typed:?}");
    }
}

/// The README's first command.
#[test]
fn the_example_in_the_repository_is_answered() {
    let asked = run(&["ask", "Who was the last keeper?", "tests/fixtures/text/lighthouse.txt"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
}

#[test]
fn records_have_the_promised_fields() {
    let asked = tiny(&["what is the cat", "-c", "the cat sat on the mat", "-k", "2"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    let text = asked.stdout.lines().next().unwrap();
    let order = [
        "id",
        "question",
        "answered",
        "answers",
        "no_answer_score",
        "null_odds",
        "windows",
        "windows_total",
        "model",
    ];
    let places: Vec<usize> = order.iter().map(|field| text.find(&format!("\"{field}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    let record = &asked.records()[0];
    assert_eq!(record.as_object().unwrap().len(), order.len(), "{text}");
    let answers = record["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        let fields: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["column", "document", "end", "line", "margin", "score", "start", "text"]);
        let range = answer["start"].as_u64().unwrap() as usize..answer["end"].as_u64().unwrap() as usize;
        assert_eq!(&"the cat sat on the mat"[range], answer["text"]);
        assert_eq!((&answer["line"], &answer["document"]), (&json!(1), &json!(0)));
    }
}

#[test]
fn a_vector_unit_may_be_named() {
    let model = fixture("tiny/minilm");
    let ask = |unit: &str| {
        let asked = [
            "ask",
            "who is the cat",
            "-c",
            "the cat is\nhere",
            "--model",
            model.to_str().unwrap(),
            "--always-answer",
        ];
        Run::from(spanqa(&asked).env("SPANQA_CPU", unit).output().unwrap())
    };
    assert_alike(&ask("").records()[0], &ask("portable").records()[0]);
    ask("mmx").fails_with("device cpu is not available: SPANQA_CPU is `mmx`, and this processor has ");
    ask("mmx").fails_with("unset the variable");
    let version = Run::from(spanqa(&["--version"]).env("SPANQA_CPU", "Portable").output().unwrap()).stdout;
    assert!(version.contains("cpu kernels: portable\n"), "{version}");
}

/// A golden record: everything but the last digits of numbers, which processors may round differently.
#[test]
fn a_tiny_model_gives_its_golden_record() {
    let asked = tiny(&["-q", "who is the cat", "-q", "what", "-c", "the cat is\nhere é the"]);
    let golden: Vec<Value> = std::fs::read_to_string(fixture("records/tiny.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let mut records = asked.records();
    assert_eq!(records.len(), golden.len());
    // The model is called by its path, which differs from machine to machine.
    for record in &mut records {
        assert!(record["model"].as_str().unwrap().ends_with("minilm"));
        record["model"] = json!("MODEL");
    }
    records.iter().zip(&golden).for_each(|(record, golden)| assert_alike(golden, record));
}

/// The number type changes how answers are computed, not which; and the time that went into them can be seen.
#[test]
fn number_types_agree_on_the_answer() {
    let text = fixture("text/lighthouse.txt");
    let ask = |more: &[&str]| {
        run(&[&["ask", "Who was the last keeper?", text.to_str().unwrap(), "--offline"], more].concat())
    };
    let [packed, f32, int8] = [&[][..], &["--dtype", "f32"], &["--dtype", "int8"]].map(ask);
    assert_eq!(packed.stdout, int8.stdout);
    assert_ne!(f32.stdout, int8.stdout);
    for asked in [&f32, &int8] {
        assert_eq!(asked.records()[0]["answers"][0]["text"], "Olav Brekke");
        assert!(!asked.stderr.contains("time:"));
    }
    let asked = ask(&["--profile-time"]);
    assert_eq!(asked.stdout, packed.stdout);
    for stage in ["embedding", "attention", "feed-forward up, GELU", "add, normalise"] {
        assert!(asked.stderr.contains(&format!("time: {stage}")), "{}", asked.stderr);
    }
    let asked = ask(&["--dtype", "f16", "--profile-time"]);
    assert!(asked.stderr.contains("only the CPU engine"), "{}", asked.stderr);
    assert_eq!(ask(&["--dtype", "int4"]).code, Some(2));
}

fn assert_alike(golden: &Value, found: &Value) {
    match (golden, found) {
        (Value::Object(golden), Value::Object(found)) => {
            assert_eq!(golden.keys().collect::<Vec<_>>(), found.keys().collect::<Vec<_>>());
            golden.iter().for_each(|(key, golden)| assert_alike(golden, &found[key]));
        }
        (Value::Array(golden), Value::Array(found)) => {
            assert_eq!(golden.len(), found.len());
            golden.iter().zip(found).for_each(|(golden, found)| assert_alike(golden, found));
        }
        (Value::Number(golden), Value::Number(found)) if golden.is_f64() => {
            let (golden, found) = (golden.as_f64().unwrap(), found.as_f64().unwrap());
            assert!((golden - found).abs() < 1e-4, "{golden} {found}");
        }
        _ => assert_eq!(golden, found),
    }
}

#[test]
fn offsets_come_in_the_unit_asked_for() {
    let text = "the 😀 é cat";
    for (unit, units) in [
        ("byte", text.bytes().map(u32::from).collect::<Vec<u32>>()),
        ("char", text.chars().map(u32::from).collect()),
        ("utf16", text.encode_utf16().map(u32::from).collect()),
    ] {
        let asked = tiny(&["what is the cat", "-c", text, "-k", "5", "--offset-unit", unit]);
        for answer in asked.records()[0]["answers"].as_array().unwrap() {
            let range = answer["start"].as_u64().unwrap() as usize..answer["end"].as_u64().unwrap() as usize;
            let expected: Vec<u32> = match unit {
                "byte" => answer["text"].as_str().unwrap().bytes().map(u32::from).collect(),
                "char" => answer["text"].as_str().unwrap().chars().map(u32::from).collect(),
                _ => answer["text"].as_str().unwrap().encode_utf16().map(u32::from).collect(),
            };
            assert_eq!(&units[range], expected, "{unit} {answer}");
        }
    }
}

#[test]
fn text_comes_from_files_standard_input_and_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "a.txt", "the cat");
    let document = |run: &Run| run.records()[0]["answers"][0]["document"].clone();
    assert_eq!(document(&tiny(&["the", &file])), Value::String(file.clone()));
    assert_eq!(document(&tiny(&["the", "-c", "the cat"])), json!(0));
    let model = fixture("tiny/minilm");
    let fixed = ["ask", "the", "--always-answer", "--window", "60", "--model", model.to_str().unwrap()];
    assert_eq!(document(&run_with_input(&fixed, b"the cat")), json!("-"));
    let both = run_with_input(&[&fixed[..], &["-", &file, "-k", "9"]].concat(), b"the mat");
    let documents: Vec<Value> = both.records()[0]["answers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| answer["document"].clone())
        .collect();
    assert!(documents.contains(&json!("-")) && documents.contains(&Value::String(file)));
}

#[test]
fn folders_are_read_on_request_and_what_is_not_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "docs/b.txt", "the cat sat");
    write(folder.path(), "docs/deep/a.md", "the mat");
    write(folder.path(), "docs/image.png", b"\x89PNG\x00\x00\x01");
    write(folder.path(), "docs/latin1.txt", b"caf\xe9");
    write(folder.path(), "docs/empty.txt", "");
    let docs = folder.path().join("docs");
    let docs = docs.to_str().unwrap();
    tiny(&["the", docs]).fails_with("is a folder");
    let asked = tiny(&["the", "-r", docs, "-k", "20", "--dedup", "none"]);
    assert_eq!(asked.code, Some(0), "{asked:?}");
    assert!(asked.stderr.contains("image.png") && asked.stderr.contains("latin1.txt"), "{}", asked.stderr);
    assert!(asked.stdout.contains("b.txt") && asked.stdout.contains("a.md"));
    let quiet = tiny(&["the", "-r", docs, "--quiet"]);
    assert!(quiet.stderr.is_empty(), "{}", quiet.stderr);
    let none = write(folder.path(), "none/x.bin", b"\x00");
    tiny(&["the", "-r", Path::new(&none).parent().unwrap().to_str().unwrap()]).fails_with("no text file");
}

#[test]
fn several_questions_give_as_many_records_and_one_exit_code() {
    let asked = run(&["ask", "-q", "When was it built?", "-q", "How tall is the tower?", "-c", TOWER]);
    let records = asked.records();
    assert_eq!((asked.code, records.len()), (Some(1), 2), "one without an answer: {asked:?}");
    assert_eq!((&records[0]["id"], &records[1]["id"]), (&json!("1"), &json!("2")));
}

#[test]
fn formats_for_people_editors_and_old_scripts() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "tower.txt", format!("A title\n\n{TOWER} It rusts.\n"));
    let ask =
        |arguments: &[&str]| run(&[&["ask", "When was the Eiffel Tower built?", &file], arguments].concat());
    let grep = ask(&["--format", "grep"]);
    assert_eq!(grep.stdout, format!("{file}:3:31: 1889\n"));
    let text = ask(&["--format", "text"]);
    assert!(text.stdout.contains("built in ⟦1889⟧ by the company"), "{}", text.stdout);
    assert!(!text.stdout.contains("rusts") && !text.stdout.contains('\x1b'), "{}", text.stdout);
    let colored = ask(&["--format", "text", "--color", "always"]);
    assert!(colored.stdout.contains("\x1b[1;31m1889\x1b[0m"), "{}", colored.stdout);
    let hf = ask(&["--format", "hf", "--score", "hf"]);
    let row = &hf.records()[0];
    assert_eq!(row["answer"], "1889");
    assert_eq!(row.as_object().unwrap().len(), 4);
    assert!(ask(&["--format", "hf", "--score", "hf", "-k", "3"]).records()[0].is_array());
    let why = ask(&["--format", "text", "--why"]);
    assert!(why.stdout.contains("window 0") && why.stdout.contains("▸"), "{}", why.stdout);
    assert!(ask(&["--why"]).records()[0]["why"]["windows"][0]["null_logit"].is_number());
    // "No answer" competes there only if it is asked to.
    let lost = ["ask", "How tall is the tower?", "-c", TOWER, "--score", "hf", "--format", "hf"];
    assert_ne!(run(&lost).records()[0]["answer"], "");
    let competing = run(&[&lost[..], &["--handle-impossible-answer"]].concat());
    assert_eq!((competing.code, &competing.records()[0]["answer"]), (Some(1), &json!("")));
}

/// Long documents are read in part, and how far is said.
#[test]
fn read_says_how_much_is_read() {
    let long: String = (0..200).map(|line| format!("the cat sat on mat {line} and is here\n\n")).collect();
    let ask = |arguments: &[&str]| {
        let asked = tiny(&[&["what is the mat 150", "-c", &long], arguments].concat());
        let record = asked.records().remove(0);
        (record["windows"].as_u64().unwrap(), record["windows_total"].as_u64().unwrap(), record)
    };
    let (windows, total, usual) = ask(&[]);
    assert!(windows == 24 && total > 40, "{usual}");
    let (windows, _, why) = ask(&["--read", "3", "--why"]);
    let reports = why["why"]["windows"].as_array().unwrap();
    assert_eq!((windows, reports.len()), (3, 3));
    assert!(reports.iter().all(|window| (1..=3).contains(&window["rank"].as_u64().unwrap())));
    let (windows, total, all) = ask(&["--read", "all", "--why"]);
    assert_eq!((windows, &all["why"]["windows"][0]["rank"]), (total, &Value::Null));
    let (windows, total, _) = ask(&["--score", "squad"]);
    assert_eq!(windows, total);
    for lines in 1..30 {
        let short: String = (0..lines).map(|line| format!("the cat sat on mat {line}\n\n")).collect();
        let record = tiny(&["what is the mat", "-c", &short]).records().remove(0);
        assert!(record["windows"].as_u64() <= record["windows_total"].as_u64(), "{lines} lines: {record}");
    }
    for wrong in ["0", "some", "-1"] {
        assert_eq!(tiny(&["what", "-c", "x", &format!("--read={wrong}")]).code, Some(2), "{wrong}");
    }
}

/// A document that is hardly longer than a window is not cut, unless somebody says how long windows are; of what a search has found only the
/// surroundings are read.
#[test]
fn a_short_document_is_read_in_one_piece() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(fixture("text/lighthouse.txt")).unwrap();
    let file = write(folder.path(), "short/a.txt", &text);
    let twice = write(folder.path(), "long.txt", text.repeat(2));
    let [short, index] = ["short", "index"].map(|name| folder.path().join(name).display().to_string());
    let windows = |arguments: &[&str]| {
        let asked = run(&[&["ask", "Who was the last keeper?", "--quiet", "--why"], arguments].concat());
        let windows = asked.records()[0]["why"]["windows"].as_array().unwrap().clone();
        windows.iter().map(|window| window["start"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let other = write(folder.path(), "other.txt", "No keeper lives here.");
    assert_eq!(windows(&[&file]), [0]);
    assert_eq!(windows(&[&file, &other]), [0, 0]);
    assert_eq!(windows(&[&file, "--read", "all"]), [0]);
    assert_eq!(windows(&[&file, "--window", "192"]).len(), 2);
    assert!(windows(&[&twice]).len() > 2);
    assert!(windows(&[&short, "--search", "--index", &index])[0] > 0);
}

#[test]
fn the_same_bytes_come_out_however_it_runs() {
    let long: String = (0..120).map(|line| format!("the cat sat on mat {line} and is here\n")).collect();
    let ask =
        |arguments: &[&str]| tiny(&[&["what is the mat", "-c", &long, "-k", "5"], arguments].concat()).stdout;
    let first = ask(&[]);
    for arguments in
        [&["--threads", "1"][..], &["--threads", "3"], &["--batch-tokens", "1"], &["--batch-tokens", "300"]]
    {
        assert_eq!(ask(arguments), first, "{arguments:?}");
    }
}

#[test]
fn the_threshold_and_its_relatives_work() {
    let ask =
        |arguments: &[&str]| run(&[&["ask", "How tall is the tower?", "-c", TOWER], arguments].concat());
    assert_eq!(ask(&[]).code, Some(1));
    assert_eq!(ask(&[]).records()[0]["perhaps"], Value::Null);
    // Not sure enough for an answer, and too sure to keep quiet about it.
    let perhaps = ask(&["--null-threshold", "4"]);
    assert_eq!((perhaps.code, &perhaps.records()[0]["perhaps"]), (Some(1), &json!(true)));
    let strict = ask(&["--strict"]);
    assert_eq!((strict.code, &strict.records()[0]["perhaps"]), (Some(1), &Value::Null));
    assert_eq!(ask(&["--strict", "--score", "haystack"]).code, Some(2));
    assert_eq!(ask(&["--strict", "--always-answer"]).code, Some(2));
    assert_eq!(ask(&["--null-threshold", "inf"]).code, Some(0));
    assert_eq!(ask(&["--null-threshold=-inf"]).code, Some(1));
    assert_eq!(ask(&["--null-threshold", "-5"]).code, Some(1));
    let always = ask(&["--always-answer"]);
    assert_eq!((always.code, always.records()[0]["no_answer_score"].as_f64()), (Some(0), Some(0.0)));
    for (flag, value) in [
        ("--null-threshold", "nan"),
        ("--temperature", "0"),
        ("--temperature", "1e-30"),
        ("--top-k", "0"),
        ("--max-answer-tokens", "0"),
        ("--threads", "0"),
        ("--threads", "2000"),
        ("--device", "tpu"),
        ("--dtype", "int4"),
        ("--offset-unit", "word"),
    ] {
        let refused = ask(&[flag, value]);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{flag} {value}");
        assert!(refused.stderr.contains(flag), "{}", refused.stderr);
    }
    ask(&["--handle-impossible-answer"]).fails_with("--score hf");
    // What would change nothing is refused, not ignored.
    for (scoring, flag, value, belongs) in [
        ("squad", "--temperature", "2", "--temperature belongs to --score joint, not to --score squad"),
        ("squad", "--dedup", "text", "--dedup belongs to --score joint"),
        ("hf", "--null-threshold", "1", "--null-threshold belongs to --score joint and --score squad"),
        ("haystack", "--null-threshold", "1", "not to --score haystack"),
    ] {
        ask(&["--score", scoring, flag, value]).fails_with(belongs);
    }
}

#[test]
fn bad_input_is_refused_in_one_message() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| write(folder.path(), name, content);
    let ask = |path: &str| run(&["ask", "why", path]);
    ask("no/such/file").fails_with("no/such/file");
    ask(&file("latin1.txt", b"caf\xe9 au lait")).fails_with("not valid UTF-8 at byte 3");
    ask(&file("cut.txt", "é".as_bytes()[..1].as_ref())).fails_with("not valid UTF-8 at byte 0");
    ask(&file("binary.bin", b"\x7fELF\x02\x01\x00\x00")).fails_with("is a compiled program");
    ask(&file("utf16.txt", b"\xff\xfew\x00h\x00y")).fails_with("not valid UTF-16 at byte 6");
    ask(&file("paper.pdf", b"%PDF-1.7 \xe2\xe3")).fails_with("pdftotext");
    run(&["ask"]).fails_with("no question");
    run(&["ask", " ", "-c", "x"]).fails_with("question 1 is empty");
    run(&["ask", "-q", "a", "-q", "", "-c", "x"]).fails_with("question 2 is empty");
    run(&["ask", &file("a.txt", b"text")]).fails_with("is a file, and there is no question");
    run(&["ask", "why", "-c", "x", "--window", "18"]).fails_with("leaves 14 for the text");
    run(&["ask", "why", "-c", "x", "--device", "cuda:63"]).fails_with("cuda:63");
    run(&["ask", "why", "-c", "x", "--model", "rob"]).fails_with("rob");
    run(&["ask", "why", "-c", "x", "--model", "./no-such-folder"]).fails_with("no-such-folder");
    run(&["ask", "why", "-c", "x", "--model", "deepset/roberta-base-squad2", "--offline"])
        .fails_with("roberta");
    let big = file("big.txt", &vec![b'a'; 3000]);
    run(&["ask", "why", &big, "--max-bytes", "2999"]).fails_with("larger than 2999 bytes");
    assert_ne!(run(&["ask", "why", &big, "--max-bytes", "3000"]).code, Some(2));
}

#[test]
fn a_forgotten_question_is_told_from_a_question() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap().to_owned();
    let file = write(folder.path(), "a b.txt", "the king");
    let refused = |arguments: &[&str], what: &str, hint: &str| {
        let run = run(&[&["ask"], arguments].concat());
        run.fails_with(what);
        assert!(run.stderr.contains(hint), "expected {hint:?} in {}", run.stderr);
    };
    let command = format!("spanqa ask \"Who wrote it?\" -r {root}");
    refused(&["-r", &root], "is a folder, and there is no question", &command);
    refused(&[&root], "is a folder, and there is no question", &command);
    let command = format!("spanqa ask \"Who wrote it?\" '{file}'");
    refused(&[&file], "is a file, and there is no question", &command);
    let command = format!("spanqa ask -q 'Who is it?' -q 'Where?' '{file}'");
    refused(&["Who is it?", &file, "-q", "Where?"], "there is no file \"Who is it?\"", &command);
    refused(&["no-such.txt", "-q", "Where?"], "cannot read no-such.txt", "check the path");
    // What happens to be the name of a file is a question all the same.
    let model = fixture("tiny/minilm");
    let model = ["--model", model.to_str().unwrap(), "--window", "60", "--always-answer"];
    let mut asked = spanqa(&[&["ask", "a b.txt", "a b.txt"], &model[..]].concat());
    let asked = Run::from(asked.current_dir(folder.path()).output().unwrap());
    assert_eq!(asked.records()[0]["question"], "a b.txt", "{asked:?}");
}

#[test]
fn blank_input_is_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    for content in ["", " \n\t\n", "\u{feff}"] {
        let file = write(folder.path(), "blank.txt", content);
        let asked = run(&["ask", "why", &file]);
        assert_eq!(asked.code, Some(1), "{asked:?}");
        assert_eq!(asked.records()[0]["reason"], "empty_context");
        assert!(asked.stderr.contains("nothing to read in"), "{}", asked.stderr);
    }
    assert_eq!(run_with_input(&["ask", "why"], b"").code, Some(1));
    let text = run(&["ask", "why", "-c", ""]);
    assert!(text.stderr.contains("nothing to read in (text)\n"), "{}", text.stderr);
    let texts = run(&["ask", "why", "-c", "x", "-c", ""]);
    assert!(texts.stderr.contains("nothing to read in (text 2)\n"), "{}", texts.stderr);
}

#[test]
fn marks_line_ends_and_long_questions_are_no_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "dos.txt", format!("\u{feff}Towers\r\n\r\n{TOWER}\r\n"));
    let asked = run(&["ask", "When was the Eiffel Tower built?", &file, "--format", "grep"]);
    assert_eq!(asked.stdout, format!("{file}:3:31: 1889\n"));
    let question = format!("When was the Eiffel Tower built? {}", "Please tell me. ".repeat(1700));
    let asked = run(&["ask", &question, &file]);
    assert!(matches!(asked.code, Some(0 | 1)), "{:?}", asked.stderr);
    assert_eq!(asked.records()[0]["question_truncated"], true);
    assert!(asked.stderr.contains("cut to its first 64 tokens"), "{}", asked.stderr);
}

#[test]
fn one_line_of_many_megabytes_is_refused_or_read() {
    let folder = tempfile::tempdir().unwrap();
    let file =
        write(folder.path(), "line.txt", &"lorem ipsum ".repeat(100 << 20 >> 3).as_bytes()[..100 << 20]);
    run(&["ask", "why", &file]).fails_with("larger than");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let questions: Vec<String> =
        (0..400).flat_map(|_| ["-q".to_owned(), "what is the cat".to_owned()]).collect();
    let model = fixture("tiny/minilm");
    let mut arguments = vec!["ask", "-c", "the cat", "--model", model.to_str().unwrap(), "--window", "60"];
    arguments.extend(questions.iter().map(String::as_str));
    let mut child = spanqa(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    // Reading one line and dropping the rest is what `head -n1` does.
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(serde_json::from_str::<Value>(&line).is_ok());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.contains("error")), (Some(0), false), "{stderr}");
}

#[test]
fn the_notice_about_the_built_in_model_is_said_once() {
    let home = tempfile::tempdir().unwrap();
    let ask = || {
        let mut command = spanqa(&["ask", "why", "-c", "x"]);
        Run::from(command.env("HOME", home.path()).env("XDG_CACHE_HOME", home.path()).output().unwrap())
    };
    assert!(ask().stderr.contains("built-in model"));
    assert!(!ask().stderr.contains("built-in model"));
}

#[test]
fn help_version_completions_and_manual_exist() {
    let help = run(&["ask", "--help"]);
    for flag in [
        "--top-k",
        "--null-threshold",
        "--offset-unit",
        "--why",
        "--device",
        "--dtype",
        "--threads",
        "--offline",
    ] {
        assert!(help.stdout.contains(flag), "{flag}");
    }
    let version = run(&["--version"]).stdout;
    assert!(version.starts_with(&format!("spanqa {}\n", env!("CARGO_PKG_VERSION"))), "{version}");
    assert!(version.contains("features: ") && version.contains("cpu kernels: "));
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(run(&["completions", shell]).stdout.contains("spanqa"), "{shell}");
    }
    assert!(run(&["man"]).stdout.contains(".TH spanqa"));
    assert!(run(&["man", "ask"]).stdout.contains("null\\-threshold"));
    run(&["man", "nothing"]).fails_with("no command nothing");
    let doctor = run(&["doctor"]).stdout;
    for fact in ["processor:", "devices:", "cache:", "network: never used", "HF_HUB_OFFLINE: 1"] {
        assert!(doctor.contains(fact), "{fact}: {doctor}");
    }
    let json: Value = serde_json::from_str(&run(&["doctor", "--json"]).stdout).unwrap();
    assert_eq!(json["spanqa"], env!("CARGO_PKG_VERSION"));
}
