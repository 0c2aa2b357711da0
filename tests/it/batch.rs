//! `spanqa batch` as a process.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Run, fixture, run, run_with_input, spanqa};

/// Arguments that make windows small and the run quick.
fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    // Leaked once per test process: the path of the fixture.
    static MODEL: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| fixture("tiny/minilm").display().to_string());
    let model: &'static str = &MODEL;
    let fixed = ["batch", "--model", model, "--window", "40", "--overlap", "8"];
    fixed.into_iter().chain(more.iter().copied()).collect()
}

fn batch(more: &[&str], input: &[u8]) -> Run {
    run_with_input(&arguments(more), input)
}

const WORDS: &str =
    "the who what is where when in of and he she it that did see sea king hill town house cat old year";

/// Text that is different for every number and always the same for one.
fn words(seed: usize, count: usize) -> String {
    let words: Vec<&str> = WORDS.split(' ').collect();
    let mut state = seed as u64 + 1;
    let picked = (0..count).map(|_| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        words[(state >> 33) as usize % words.len()]
    });
    picked.collect::<Vec<_>>().join(" ")
}

fn request(number: usize) -> Value {
    json!({"id": format!("r{number}"), "question": words(number, 4), "context": words(number * 7, 1 + number * 13 % 60)})
}

fn requests(count: usize) -> String {
    (0..count).map(|number| format!("{}\n", request(number))).collect()
}

fn ids(run: &Run) -> Vec<Value> {
    run.records().iter().map(|record| record["id"].clone()).collect()
}

fn codes(run: &Run) -> Vec<(u64, String)> {
    let errors = run.records().into_iter().filter(|record| record.get("error").is_some());
    errors
        .map(|record| {
            (record["line"].as_u64().unwrap(), record["error"]["code"].as_str().unwrap().to_owned())
        })
        .collect()
}

/// The answer of a record, or the span that came nearest.
fn best(record: &Value) -> &Value {
    if record["answered"] == true { &record["answers"][0] } else { &record["candidates"][0] }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::write(&path, contents).unwrap();
    path.display().to_string()
}

// ---- order, sameness ---------------------------------------------------------------------------------------------

#[test]
fn records_come_in_input_order_and_are_those_of_ask() {
    let run = batch(&[], requests(120).as_bytes());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(ids(&run), (0..120).map(|number| json!(format!("r{number}"))).collect::<Vec<_>>());
    assert!(run.stderr.contains("120 requests: "), "{}", run.stderr);

    let folder = folder();
    let asked = request(17);
    let file = write(folder.path(), "text", asked["context"].as_str().unwrap());
    // Unless told otherwise `ask` reads the promising parts and `batch` everything.
    let mut arguments = arguments(&["--quiet", "--read", "all", asked["question"].as_str().unwrap(), &file]);
    arguments[0] = "ask";
    let mut expected = crate::support::run(&arguments).records().remove(0);
    let mut found = run.records().remove(17);
    for record in [&mut expected, &mut found] {
        record["id"] = Value::Null;
        for list in ["answers", "candidates"] {
            for answer in record.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                answer["document"] = Value::Null;
            }
        }
    }
    assert_eq!(found, expected);
}

#[test]
fn the_same_bytes_whatever_the_batch_the_threads_and_the_order() {
    let input = requests(150);
    let one = batch(&["--batch-tokens", "64", "--threads", "1", "--quiet"], input.as_bytes());
    let other = batch(&["--batch-tokens", "4096", "--threads", "3", "--quiet"], input.as_bytes());
    assert_eq!((one.code, one.stderr.as_str()), (Some(0), ""));
    assert_eq!(one.stdout, other.stdout);
    let unordered = batch(&["--unordered", "--quiet"], input.as_bytes());
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&one.stdout), sorted(&unordered.stdout));
    let backwards: String = input.lines().rev().map(|line| format!("{line}\n")).collect();
    let backwards = batch(&["--quiet"], backwards.as_bytes());
    assert_eq!(sorted(&one.stdout), sorted(&backwards.stdout));
}

// ---- requests ----------------------------------------------------------------------------------------------------

#[test]
fn every_shape_of_a_request_is_answered() {
    let folder = folder();
    let (sea, hill) =
        (write(folder.path(), "sea.txt", "the sea"), write(folder.path(), "hill.txt", "old hill"));
    let lines = [
        json!({"question": "who?", "context": "the king"}),
        json!({"id": 7, "question": "who?", "contexts": ["the king", "old cat"]}),
        json!({"id": "f", "question": "who?", "file": sea}),
        json!({"question": "who?", "files": [sea, hill]}),
        json!({"id": "q", "questions": ["who?", "where?"], "contexts": ["the king", "in town"]}),
        json!({"inputs": {"question": "who?", "context": "the king"}, "parameters": {"top_k": 2}}),
        json!({"id": "5733", "title": "T", "question": "who?", "context": "the king", "answers": {"text": ["k"], "answer_start": [4]}}),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let run = batch(&[], input.as_bytes());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let records = run.records();
    assert_eq!(
        ids(&run),
        [json!(1), json!(7), json!("f"), json!(4), json!("q"), json!("q"), json!(6), json!("5733")]
    );
    assert_eq!([&records[4]["question_index"], &records[5]["question_index"]], [&json!(0), &json!(1)]);
    assert_eq!(records[5]["question"], "where?");
    assert_eq!(
        records.iter().map(|record| record["windows"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 1, 2, 2, 2, 1, 1]
    );
    assert_eq!(best(&records[2])["document"], sea);
    // The same question of the same text has the same reply, however it was put.
    assert_eq!(records[0]["null_odds"], records[6]["null_odds"]);
    assert!(records.iter().all(|record| record.get("title").is_none()));
}

/// What a request says of its replies holds for it alone; what means nothing is refused.
#[test]
fn parameters_belong_to_their_request() {
    let ask = |parameters: Value| {
        let inputs = json!({"question": "who?", "context": "the king and the old cat of the sea"});
        json!({"inputs": inputs, "parameters": parameters})
    };
    let lines = [
        ask(json!({"top_k": 2, "handle_impossible_answer": false})),
        ask(json!({"handle_impossible_answer": false})),
        ask(json!({"top_p": 2})),
        ask(json!({"top_k": 0})),
        ask(json!([])),
        ask(json!({"max_seq_len": 20})),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let run = batch(&["--quiet"], input.as_bytes());
    assert_eq!(run.code, Some(2));
    let records = run.records();
    let answers = |record: &Value| record["answers"].as_array().unwrap().len();
    assert_eq!((answers(&records[0]), answers(&records[1])), (2, 1));
    let codes: Vec<&Value> = records[2..].iter().map(|record| &record["error"]["code"]).collect();
    assert_eq!(codes[..3], ["bad_parameters", "bad_parameters", "wrong_type"]);
    assert_eq!(codes[3], "no_room_for_context");
}

/// Whoever opens the stream says whether requests may name files.
#[test]
fn files_can_be_forbidden() {
    let folder = folder();
    let sea = write(folder.path(), "sea.txt", "the sea");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let line = |file: &str| format!("{}\n", json!({"question": "who?", "file": file}));
    let (sea, pipe) = (line(&sea), line(&pipe.display().to_string()));
    assert_eq!(batch(&["--quiet"], sea.as_bytes()).code, Some(0));
    assert_eq!(
        codes(&batch(&["--quiet", "--no-files"], sea.as_bytes())),
        [(1, "files_forbidden".to_owned())]
    );
    // A pipe would keep everybody waiting.
    assert_eq!(codes(&batch(&["--quiet"], pipe.as_bytes())), [(1, "not_a_file".to_owned())]);
}

/// Looking whether a pipe can be read would take what is in it.
#[test]
#[cfg(unix)]
fn a_named_pipe_is_read_once_and_whole() {
    let folder = folder();
    let pipe = folder.path().join("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::write(pipe, requests(3)).unwrap()
    });
    let mut child = spanqa(&arguments(&["--quiet", &pipe])).stdout(Stdio::piped()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it waits for ever");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut records = String::new();
    child.stdout.take().unwrap().read_to_string(&mut records).unwrap();
    assert_eq!(records.lines().count(), 3);
    writer.join().unwrap();
}

#[test]
fn every_row_below_a_bad_header_gets_its_record() {
    let folder = folder();
    let table = folder.path().join("q.csv").display().to_string();
    std::fs::write(&table, b"question,context,caf\xe9\nwho?,the king,1\nwhere?,in town,2\n").unwrap();
    let run = batch(&["--quiet", &table], b"");
    let expected = [(1, "not_utf8"), (2, "bad_header"), (3, "bad_header")];
    assert_eq!(codes(&run), expected.map(|(line, code)| (line, code.to_owned())));
    std::fs::write(&table, b"question,\"context\nwho?,the king\n").unwrap();
    assert_eq!(codes(&batch(&["--quiet", &table], b"")), [(1, "open_quote".to_owned())]);
}

#[test]
fn any_number_of_answers_may_be_asked_for() {
    let run = batch(&["--quiet", "-k", "100000000000"], requests(3).as_bytes());
    assert_eq!((run.code, run.records().len()), (Some(0), 3));
}

#[test]
fn fields_can_be_mapped_and_kept() {
    let input = br#"{"key": 12345678901234567890123, "frage": "who?", "text": "the king", "z": 1.50, "a": {"b": [1,  2]}, "answers": 1}
"#;
    let mapped =
        ["--question-field", "frage", "--context-field", "text", "--id-field", "key", "--keep-fields"];
    let run = batch(&mapped, input);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stdout.starts_with(r#"{"id":12345678901234567890123,"#), "{}", run.stdout);
    assert!(run.stdout.ends_with("\"z\":1.50,\"a\":{\"b\": [1,  2]}}\n"), "{}", run.stdout);
    assert_eq!(run.stdout.matches("\"answers\"").count(), 1);
}

#[test]
fn text_of_every_kind_goes_through() {
    let input = "\u{feff}{\"question\": \"who?\", \"context\": \"a \\ud83d king é😀 cat\"}\r\n\r\n  \n{\"id\": \"\\udc00\", \"question\": \"who?\", \"context\": \" \"}";
    let run = batch(&["--keep-fields"], input.as_bytes());
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let records = run.records();
    assert_eq!((records.len(), &records[0]["id"], &records[1]["id"]), (2, &json!(1), &json!("\u{fffd}")));
    assert_eq!(records[1]["reason"], "empty_context");
    let best = best(&records[0]);
    let text: Vec<char> = "a \u{fffd} king é😀 cat".chars().collect();
    let (start, end) = (best["start"].as_u64().unwrap() as usize, best["end"].as_u64().unwrap() as usize);
    assert_eq!(text[start..end].iter().collect::<String>(), best["text"].as_str().unwrap());
}

// ---- bad requests ------------------------------------------------------------------------------------------------

#[test]
fn bad_lines_get_records_and_the_run_goes_on() {
    let folder = folder();
    let binary = write(folder.path(), "binary", b"\xff\xfe\x00");
    let large = write(folder.path(), "large", "x".repeat(5000));
    let good = br#"{"id": "good", "question": "who?", "context": "the king"}"#.to_vec();
    let lines: Vec<(Vec<u8>, &str)> = vec![
        (b"not json".into(), "not_json"),
        (b"{\"question\": \"who?\"".into(), "not_json"),
        (b"[1]".into(), "not_an_object"),
        (b"{\"id\": \"\xff\"}".into(), "not_utf8"),
        (format!("{{\"question\": \"{}\"}}", "x".repeat(5000)).into(), "request_too_long"),
        (br#"{"question": "who?"}"#.to_vec(), "missing_field"),
        (br#"{"question": null, "context": "the king"}"#.to_vec(), "missing_field"),
        (br#"{"id": "x", "question": 7, "context": "the king"}"#.to_vec(), "wrong_type"),
        (br#"{"id": {}, "question": "who?", "context": "the king"}"#.to_vec(), "wrong_type"),
        (br#"{"id": "x", "question": " ", "context": "the king"}"#.to_vec(), "empty_question"),
        (br#"{"id": "x", "question": "who?", "file": "/there/is/no/such"}"#.to_vec(), "read_failed"),
        (json!({"id": "x", "question": "who?", "file": binary}).to_string().into(), "document_not_utf8"),
        (json!({"id": "x", "question": "who?", "file": large}).to_string().into(), "document_too_large"),
        (vec![0; 40], "not_json"),
        (b"[".repeat(3000), "not_json"),
    ];
    let mut input = Vec::new();
    for (line, _) in &lines {
        input.extend_from_slice(line);
        input.push(b'\n');
        input.extend_from_slice(&good);
        input.push(b'\n');
    }
    let run = batch(&["--max-bytes", "4000"], &input);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let records = run.records();
    assert_eq!(records.len(), 2 * lines.len());
    let expected: Vec<_> =
        lines.iter().enumerate().map(|(at, (_, code))| (2 * at as u64 + 1, (*code).to_owned())).collect();
    assert_eq!(codes(&run), expected);
    for (at, record) in records.iter().enumerate() {
        match at % 2 {
            0 => {
                assert!(record["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "{record}");
                assert!(record["error"]["hint"].as_str().is_some_and(|text| !text.is_empty()), "{record}");
                let line = String::from_utf8_lossy(&lines[at / 2].0).replace(": ", ":");
                assert_eq!(record.get("id").is_some(), line.contains("\"id\":\"x\""), "{record}");
            }
            _ => assert_eq!(record["id"], "good"),
        }
    }
    // What is there and holds nothing is not called missing, nor is it offered as something else.
    let null = &records[12]["error"];
    assert_eq!(null["message"], "the field `question` is null");
    assert!(null["hint"].as_str().unwrap().starts_with("give it a text"), "{null}");
    assert!(run.stderr.contains("15 errors"), "{}", run.stderr);
}

#[test]
fn one_bad_question_of_several_fails_alone() {
    let run = batch(&[], br#"{"id": 1, "questions": ["who?", "", "where?"], "context": "the king"}"#);
    assert_eq!(run.code, Some(2));
    let records = run.records();
    assert_eq!(
        records.iter().map(|record| record["question_index"].as_u64().unwrap()).collect::<Vec<_>>(),
        [0, 1, 2]
    );
    assert_eq!(records[1]["error"]["code"], "empty_question");
    assert!(records[0]["answered"].is_boolean() && records[2]["answered"].is_boolean());
}

#[test]
fn fail_fast_stops_at_the_first() {
    let input = format!("{}nonsense\n{}", requests(30), requests(2000));
    for order in [&["--fail-fast"][..], &["--fail-fast", "--batch-tokens", "64"]] {
        let run = batch(order, input.as_bytes());
        assert_eq!(run.code, Some(2));
        assert_eq!(run.stdout.lines().count(), 31);
        assert_eq!(run.records()[30]["error"]["code"], "not_json");
        assert!(run.stderr.contains("error: line 31: it is not valid JSON"), "{}", run.stderr);
    }
}

/// Fifty megabytes on one line, in a process that may not grow by as much. One thread, whatever the machine has.
#[test]
#[cfg(target_os = "linux")]
fn a_huge_line_is_not_kept() {
    let request = b"{\"question\": \"who?\", \"context\": \"the king\"}\n";
    let mut child = start(&["--max-bytes", "100000", "--quiet", "--threads", "1"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut lines = String::new();
    let peak = || -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    };
    stdin.write_all(request).unwrap();
    stdout.read_line(&mut lines).unwrap();
    let before = peak();
    stdin.write_all(b"{\"question\": \"").unwrap();
    for _ in 0..50 {
        stdin.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    stdin.write_all(b"\"}\n").unwrap();
    stdin.write_all(request).unwrap();
    stdout.read_line(&mut lines).unwrap();
    stdout.read_line(&mut lines).unwrap();
    let after = peak();
    assert!(after < before + 20_000, "from {before} to {after} kB");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert!(lines.contains("request_too_long") && lines.contains("\"id\":3"), "{lines}");
}

// ---- inputs ------------------------------------------------------------------------------------------------------

#[test]
fn compressed_inputs_are_recognised_by_their_bytes() {
    let (first, second) =
        (requests(20), requests(35).lines().skip(20).map(|line| format!("{line}\n")).collect::<String>());
    let plain = batch(&["--quiet"], format!("{first}{second}").as_bytes());
    let gzip = |text: &str| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = |text: &str| {
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest)
    };
    let note = [&[0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0][..], b"note"].concat();
    for bytes in [[gzip(&first), gzip(&second)].concat(), [zstd(&first), note, zstd(&second)].concat()] {
        let run = batch(&["--quiet"], &bytes);
        assert_eq!((run.code, run.stdout), (Some(0), plain.stdout.clone()));
        let folder = folder();
        let file = write(folder.path(), "requests", &bytes);
        let run = batch(&["--quiet", &file], b"");
        assert_eq!((run.code, run.stdout), (Some(0), plain.stdout.clone()));
        // What is lost at the end is said.
        let run = batch(&[], &bytes[..bytes.len() - 7]);
        assert_eq!((run.code, codes(&run).len()), (Some(2), 1), "{run:?}");
        assert_eq!(run.records().last().unwrap()["error"]["code"], "input_unreadable");
    }
}

#[test]
fn several_inputs_are_one_stream_with_places() {
    let folder = folder();
    let one = write(folder.path(), "one.jsonl", "\n{\"question\": \"who?\", \"context\": \"a\"}");
    let two = write(folder.path(), "two.jsonl", "{\"question\": \"who?\", \"context\": \"b\"}\nbad\n");
    let run = batch(&[&one, &two, "-"], b"{\"question\": \"who?\", \"context\": \"c\"}\n");
    let records = run.records();
    assert_eq!([&records[0]["id"], &records[1]["id"], &records[3]["id"]], [&json!(2), &json!(3), &json!(5)]);
    let bad = &records[2];
    assert_eq!((&bad["line"], &bad["file"], &bad["file_line"]), (&json!(4), &json!(two), &json!(2)));

    run_fails(&["/there/is/no/such"], "cannot read /there/is/no/such");
    run_fails(&[&folder.path().display().to_string()], "is a folder");
}

fn run_fails(more: &[&str], what: &str) {
    run(&arguments(more)).fails_with(what);
}

#[test]
fn tables_go_in_and_out() {
    let folder = folder();
    let table = "id,question,context,note\n1,who?,\"the king, \"\"old\"\"\r\nand the cat\",\"a\nb\"\n\n,where?,in town,\n3,who?,short\n4,\"\",the sea,x\n";
    let file = write(folder.path(), "in.csv", table);
    let run = batch(&[&file, "--keep-fields"], b"");
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let records = run.records();
    assert_eq!([&records[0]["id"], &records[0]["note"]], [&json!("1"), &json!("a\nb")]);
    assert_eq!((&records[1]["id"], &records[1]["note"]), (&json!(6), &json!("")));
    assert_eq!(codes(&run), [(7, "wrong_width".into()), (8, "empty_question".into())]);
    assert_eq!([&records[2]["id"], &records[3]["id"]], [&json!("3"), &json!("4")]);
    // A spreadsheet of somewhere else.
    let other = write(folder.path(), "other.csv", "id;question;context\n1;who?;the king\n");
    let told = batch(&[&other], b"").records().remove(0)["error"]["hint"].as_str().unwrap().to_owned();
    assert!(told.contains("separated by `;`"), "{told}");
    // The cell is read to the byte: offsets count both characters of its line break.
    let whole = batch(
        &["--quiet"],
        json!({"id": "1", "question": "who?", "context": "the king, \"old\"\r\nand the cat"})
            .to_string()
            .as_bytes(),
    );
    assert_eq!(records[0]["null_odds"], whole.records()[0]["null_odds"]);
    assert_eq!(
        records[0]["candidates"],
        whole.records()[0].get("candidates").cloned().unwrap_or(Value::Null)
    );

    let tsv = batch(
        &[
            "--input-format",
            "tsv",
            "--output-format",
            "tsv",
            "--always-answer",
            "--columns",
            "id,question,answered,answer,start,code,note",
            "--keep-fields",
        ],
        "question\tcontext\tnote\nwho?\tthe 5\" king\tn\nwho?\n".as_bytes(),
    );
    assert_eq!(tsv.code, Some(2), "{}", tsv.stderr);
    let rows: Vec<Vec<&str>> = tsv.stdout.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0], ["id", "question", "answered", "answer", "start", "code", "note"]);
    assert_eq!((rows[1][0], rows[1][2], rows[1][6]), ("2", "true", "n"));
    assert!(!rows[1][3].is_empty() && rows[1][4].parse::<usize>().is_ok());
    assert_eq!(rows[2], ["3", "", "", "", "", "wrong_width", ""]);

    run_fails(&["--columns", "id"], "--columns are for tables");
    run_fails(&["--flat", "--columns", "id", "-o", "x.csv", "--resume"], "needs the column `rank`");
    run_fails(&["--output-format", "csv", "--columns", "id,nonsense"], "there is no column `nonsense`");
    // Readers of JSON would see one of the two, and data frames rename one.
    run_fails(&["--flat", "--columns", "id,rank,id"], "the column `id` is there twice");
    run_fails(&["--output-format", "csv", "--columns", "id,id"], "the column `id` is there twice");
}

/// A file of JSON lines that is called a table is opened by programs that cannot read it.
#[test]
fn a_name_that_says_table_is_remarked() {
    let folder = folder();
    let said = |name: &str, more: &[&str]| {
        let output = folder.path().join(name).display().to_string();
        let run = batch(&[&["-o", &output][..], more].concat(), requests(1).as_bytes());
        assert_eq!(run.code, Some(0), "{run:?}");
        let records = std::fs::read_to_string(&output).unwrap();
        assert_eq!(records.starts_with('{'), !more.contains(&"csv"), "{records}");
        run.stderr.contains("JSON lines; `--output-format")
    };
    assert!(said("out.csv", &[]) && said("out.TSV", &["--flat"]));
    for (name, more) in [
        ("out.csv", &["--quiet"][..]),
        ("out.csv", &["--output-format", "jsonl"]),
        ("out.csv", &["--output-format", "csv"]),
        ("out.jsonl", &[]),
    ] {
        assert!(!said(name, more), "{name} {more:?}");
    }
    let output = folder.path().join("note.csv").display().to_string();
    let run = batch(&["-o", &output], b"");
    let note = format!("note: {output} gets JSON lines; `--output-format csv` writes a table");
    assert!(run.stderr.contains(&note), "{}", run.stderr);
}

/// The rows of a table.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split(',').collect()).collect()
}

#[test]
fn fields_that_are_kept_are_columns() {
    let usual = "id,question,answered,answer,start,end,document,score,no_answer_score,code,error";
    let keep = ["--output-format", "csv", "--keep-fields", "--quiet"];
    // Those of a table's header, even if its first row is damaged.
    let csv = [&keep[..], &["--input-format", "csv"]].concat();
    let run = batch(&csv, b"note,question,context,id,page,score\nbad\nn,who?,the king,7,12,x\n");
    let rows = table(&run.stdout);
    assert_eq!(rows[0].join(","), format!("{usual},note,page"), "{}", run.stderr);
    assert!(
        run.stdout.lines().nth(1).unwrap().starts_with("2,")
            && run.stdout.contains(",wrong_width,\"the row has 1 cell")
    );
    assert!(run.stdout.lines().nth(1).unwrap().ends_with("\",,"), "{}", run.stdout);
    assert_eq!((rows[2][0], &rows[2][11..]), ("7", &["n", "12"][..]));

    // Those of the first request, where there is no header; what has no room is said.
    let input = br#"{"question": "who?", "context": "the king", "page": 3}
{"question": "who?", "context": "the king", "page": 4, "chapter": "x", "answers": []}
{"question": "who?", "context": "the king", "score": 1}
"#;
    let run = batch(&keep[..3], input);
    let rows = table(&run.stdout);
    assert_eq!(rows[0].join(","), format!("{usual},page"));
    assert_eq!(rows[1..].iter().map(|row| row[11]).collect::<Vec<_>>(), ["3", "4", ""]);
    for note in [
        "note: the field `chapter` is left out: the first request has no such field; `--columns` names columns",
        "note: the field `score` is left out: records have a column of that name",
    ] {
        assert!(run.stderr.contains(note), "{}", run.stderr);
    }
    assert!(!run.stderr.contains("`answers`"), "{}", run.stderr);
    // All of them, each once.
    let input =
        br#"{"question": "who?", "context": "the king", "answer": "x", "page": 1, "hint": 2, "rank": 3}
{"question": "who?", "context": "the king", "answer": "x", "code": 4}
"#;
    let run = batch(&["--flat", "--keep-fields"], input);
    let notes: Vec<&str> = run.stderr.lines().filter(|line| line.starts_with("note: ")).collect();
    let expected = [
        "note: the fields `answer`, `hint` and `rank` are left out: records have columns of these names",
        "note: the field `code` is left out: records have a column of that name",
    ];
    assert_eq!(notes, expected);
    let empty = batch(&keep, b"");
    assert_eq!((empty.code, empty.stdout), (Some(0), format!("{usual}\n")));
}

const FLAT: &str = "id,question,rank,answered,answer,start,end,document,score,margin,no_answer_score,code,error,\
                    perhaps,windows_total,source";

/// Requests that are answered, are not, and cannot be.
fn mixed() -> String {
    let parameters = json!({"top_k": 3, "handle_impossible_answer": false});
    let several =
        json!({"id": "s", "inputs": {"question": "who?", "context": words(3, 40)}, "parameters": parameters});
    let listed = json!({"id": "m", "questions": ["who?", "where?"], "context": words(5, 30), "page": 9});
    format!(
        "{several}\n{}\n{{\"id\": 8}}\n{listed}\n{several}\n{}",
        json!({"question": "who?", "context": " "}),
        requests(3)
    )
}

#[test]
fn a_flat_table_has_a_row_for_each_answer() {
    let flat = ["--flat", "--keep-fields", "--quiet"];
    let nested = batch(&["--keep-fields", "--quiet"], mixed().as_bytes());
    let rows = batch(&flat, mixed().as_bytes());
    assert_eq!((rows.code, nested.code), (Some(2), Some(2)), "{}", rows.stderr);
    let mut expected: Vec<Value> = Vec::new();
    for record in nested.records() {
        let answers = record["answers"].as_array().cloned().unwrap_or_default();
        for rank in 0..answers.len().max(1) {
            let answer = answers.get(rank).cloned().unwrap_or(json!({"text": ""}));
            let mut row = serde_json::Map::new();
            for name in FLAT.split(',') {
                let value = match name {
                    "rank" => answers.get(rank).map_or(Value::Null, |_| json!(rank + 1)),
                    "answer" => answer["text"].clone(),
                    "answered" | "perhaps" => json!(record[name] == true),
                    "start" | "end" | "document" | "score" | "margin" | "source" => answer[name].clone(),
                    "code" => record["error"]["code"].clone(),
                    "error" => record["error"]["message"].clone(),
                    name => record[name].clone(),
                };
                row.insert(name.to_owned(), value);
            }
            if let Some(page) = record.get("page") {
                row.insert("page".to_owned(), page.clone());
            }
            expected.push(row.into());
        }
    }
    assert_eq!(rows.records(), expected);
    assert!(
        rows.stdout.starts_with("{\"id\":\"s\",\"question\":\"who?\",\"rank\":1,\"answered\":true,"),
        "{}",
        rows.stdout
    );
    let ranks: Vec<&Value> = expected.iter().filter(|row| row["id"] == "s").map(|row| &row["rank"]).collect();
    assert_eq!(ranks, [1, 2, 3, 1, 2, 3]);
    assert!(expected.iter().any(|row| row["code"] == "missing_field" && row["answered"] == false));
    assert!(
        expected.iter().any(|row| row["answered"] == false && row["answer"] == "" && row["code"].is_null())
    );

    // The same in a table.
    let csv = batch(&[&flat[..], &["--output-format", "tsv"]].concat(), mixed().as_bytes());
    let lines: Vec<Vec<&str>> = csv.stdout.lines().map(|line| line.split('\t').collect()).collect();
    // The first request has nothing to keep but "parameters", which mean something there.
    assert_eq!(lines[0].join(","), FLAT);
    assert_eq!(lines.len(), expected.len() + 1);
    for (line, row) in lines[1..].iter().zip(&expected) {
        assert_eq!(
            (line[3], line[4].trim_matches('"').replace("\"\"", "\"")),
            (
                if row["answered"] == true { "true" } else { "false" },
                row["answer"].as_str().unwrap().to_owned()
            )
        );
    }
    let chosen = batch(&["--flat", "--columns", "rank,answer,windows", "--quiet"], requests(1).as_bytes());
    let row = chosen.records().remove(0);
    assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), ["answer", "rank", "windows"]);
    let both = batch(&["--flat", "--why"], b"");
    assert!(both.code == Some(2) && both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

/// Where a record has several rows, only the next record shows that they are all there.
#[test]
fn flat_records_can_be_resumed_from_every_beginning() {
    for format in ["jsonl", "csv"] {
        let more = ["--flat", "--output-format", format, "--keep-fields"];
        let job = Job::new(&mixed(), &more);
        let length = job.expected.len();
        job.resumes_from((0..length).step_by(7).chain([length]), &more);
        // A complete one grows.
        std::fs::write(&job.output, &job.expected).unwrap();
        let input = format!("{}{}", mixed(), requests(5));
        std::fs::write(&job.input, &input).unwrap();
        let whole = Job::new(&input, &more);
        let run = job.run(&[&more[..], &["--resume", "--quiet"]].concat());
        assert_eq!(run.stderr, "");
        assert!(std::fs::read(&job.output).unwrap() == whole.expected, "{format}");
        // Another layout is another table.
        std::fs::write(&job.partial, &whole.expected).unwrap();
        let other = ["--output-format", "csv", "--keep-fields", "--resume"];
        assert_eq!(job.run(&other).code, Some(2));
    }
}

// ---- streams -----------------------------------------------------------------------------------------------------

fn start(more: &[&str]) -> Child {
    let mut command: Command = spanqa(&arguments(more));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Each line is sent only after the record of the one before has come.
#[test]
fn a_trickle_is_answered_line_by_line() {
    for order in [&["--quiet"][..], &["--quiet", "--unordered"]] {
        let mut child = start(order);
        let mut stdin = child.stdin.take().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        for number in 0..5 {
            writeln!(stdin, "{}", request(number)).unwrap();
            stdin.flush().unwrap();
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let record: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(record["id"], format!("r{number}"));
        }
        drop(stdin);
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

/// Writes lines until it is told to stop or nobody reads, counting bytes.
fn pour(
    mut stdin: ChildStdin,
    line: String,
    lines: usize,
) -> (Arc<AtomicUsize>, std::thread::JoinHandle<()>) {
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let thread = std::thread::spawn(move || {
        for _ in 0..lines {
            if stdin.write_all(line.as_bytes()).is_err() {
                return;
            }
            counter.fetch_add(line.len(), Ordering::SeqCst);
        }
    });
    (written, thread)
}

#[test]
fn a_slow_consumer_slows_down_the_reading() {
    let line = format!("{}\n", json!({"question": "who?", "context": "the king", "pad": "x".repeat(50_000)}));
    let mut child = start(&["--keep-fields", "--quiet"]);
    let total = 600;
    let (written, writer) = pour(child.stdin.take().unwrap(), line.clone(), total);
    // Nobody reads the records. The writer comes to rest long before it is through.
    let mut before = usize::MAX;
    let deadline = Instant::now() + Duration::from_secs(60);
    while written.load(Ordering::SeqCst) != before && Instant::now() < deadline {
        before = written.load(Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(700));
    }
    assert!(before < 15_000_000 && before < total * line.len(), "{before} bytes were taken");
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    writer.join().unwrap();
    assert_eq!(stdout.lines().count(), total);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_closed_pipe_is_a_quiet_end() {
    let mut child = start(&[]);
    let (_, writer) = pour(child.stdin.take().unwrap(), format!("{}\n", request(3)), 1_000_000);
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.starts_with("{\"id\":\"r3\""));
    drop(stdout);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    writer.join().unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert!(!stderr.contains("error"), "{stderr}");
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(status.success());
}

#[test]
#[cfg(unix)]
fn an_interrupt_leaves_whole_records() {
    let all = batch(&["--quiet"], requests(400).as_bytes()).stdout;
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = start(&["--quiet"]);
        let mut stdin = child.stdin.take().unwrap();
        // The pipe stays open: without the signal it would wait for ever.
        stdin.write_all(requests(400).as_bytes()).unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        stdout.read_line(&mut text).unwrap();
        signal(&child, name);
        stdout.read_to_string(&mut text).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code));
        assert!(text.ends_with('\n') && all.starts_with(&text), "{text}");
        drop(stdin);
    }
}

#[test]
#[cfg(unix)]
fn a_second_interrupt_leaves_at_once() {
    let mut child = start(&["--quiet", "--keep-fields"]);
    let line = format!("{}\n", json!({"question": "who?", "context": "the king", "pad": "x".repeat(50_000)}));
    let (_, writer) = pour(child.stdin.take().unwrap(), line, 20);
    let mut first = [0; 1];
    // It is writing, and cannot finish, because nobody reads on.
    child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(child.try_wait().unwrap(), None, "a record was cut off");
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));
    drop(child.stdout.take());
    writer.join().unwrap();
}

// ---- files -------------------------------------------------------------------------------------------------------

struct Job {
    folder: tempfile::TempDir,
    input: String,
    output: PathBuf,
    partial: PathBuf,
    expected: Vec<u8>,
}

impl Job {
    fn new(input: &str, more: &[&str]) -> Self {
        let folder = folder();
        let whole = folder.path().join("whole").display().to_string();
        let input = write(folder.path(), "in", input);
        let name = whole.clone();
        let run = batch(&[&[&input, "-o", &name, "--quiet"][..], more].concat(), b"");
        assert!(matches!(run.code, Some(0 | 2)), "{run:?}");
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
        let (output, partial) = (folder.path().join("out"), folder.path().join("out.partial"));
        Self { expected: std::fs::read(&whole).unwrap(), folder, input, output, partial }
    }

    fn arguments<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let fixed = [self.input.as_str(), "--output", self.output.to_str().unwrap()];
        fixed.into_iter().chain(more.iter().copied()).collect()
    }

    fn run(&self, more: &[&str]) -> Run {
        batch(&self.arguments(more), b"")
    }

    /// Resumes from every beginning of the complete file that is given.
    fn resumes_from(&self, lengths: impl IntoIterator<Item = usize>, more: &[&str]) {
        for length in lengths {
            let _ = std::fs::remove_file(&self.output);
            std::fs::write(&self.partial, &self.expected[..length]).unwrap();
            let run = self.run(&[&["--resume", "--quiet"][..], more].concat());
            assert_eq!(run.stderr, "", "from {length}");
            assert!(std::fs::read(&self.output).unwrap() == self.expected, "from {length}");
            assert!(!self.partial.exists());
        }
    }
}

/// Kills the process twenty times at points that nobody chose, and lets it resume each time.
#[test]
fn twenty_kills_leave_no_trace() {
    let input = format!("{}bad\n{}", requests(700), requests(800));
    let job = Job::new(&input, &["--batch-tokens", "256"]);
    let mut state = 12345u64;
    let (mut kills, mut grown) = (0, 0);
    while kills < 20 {
        let arguments = job.arguments(&["--resume", "--quiet", "--batch-tokens", "256"]);
        let mut child = spanqa(&crate::batch::arguments(&arguments)).stderr(Stdio::piped()).spawn().unwrap();
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        std::thread::sleep(Duration::from_millis((state >> 33) % 150));
        child.kill().unwrap();
        let mut stderr = String::new();
        child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        child.wait().unwrap();
        assert_eq!(stderr, "");
        if job.output.exists() {
            // It was faster; the next kill hits a fresh run.
            assert!(std::fs::read(&job.output).unwrap() == job.expected);
            std::fs::remove_file(&job.output).unwrap();
            grown = 0;
            continue;
        }
        if let Ok(left) = std::fs::read(&job.partial) {
            assert!(job.expected.starts_with(&left));
            // Nothing that was done is done again: at most the half record at the end is lost.
            let whole = left.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            assert!(whole >= grown, "{whole} after {grown}");
            grown = whole;
        }
        kills += 1;
    }
    let run = job.run(&["--resume", "--quiet"]);
    assert_eq!((run.code, run.stderr.as_str()), (Some(2), ""));
    assert!(std::fs::read(&job.output).unwrap() == job.expected);
}

#[test]
fn every_beginning_can_be_resumed() {
    let mixed = format!(
        "{}bad\n\n{}\n{}",
        requests(3),
        json!({"id": "m", "questions": ["who?", "", "where?"], "context": "the old king"}),
        requests(2)
    );
    let job = Job::new(&mixed, &[]);
    let length = job.expected.len();
    let breaks: Vec<usize> = (1..=length).filter(|&at| job.expected[at - 1] == b'\n').collect();
    job.resumes_from([0, 1, length / 3, length - 1].into_iter().chain(breaks), &[]);

    let table =
        format!("question,context\n\"{}\n?\",the king\n\"who \"\"?\"\"\",old cat\nwho?\n", words(1, 3));
    let more = ["--input-format", "csv", "--output-format", "csv"];
    let job = Job::new(&table, &more);
    job.resumes_from(0..=job.expected.len(), &more);
}

#[test]
fn what_cannot_be_resumed_is_refused() {
    let job = Job::new(&requests(12), &[]);
    let half = job.expected.len() / 2;
    std::fs::write(&job.partial, &job.expected[..half]).unwrap();
    job.run(&[]).fails_with("was left by a run that did not end");
    assert_eq!(std::fs::read(&job.partial).unwrap().len(), half);

    let swapped: String = requests(12).lines().rev().map(|line| format!("{line}\n")).collect();
    std::fs::write(&job.input, swapped).unwrap();
    job.run(&["--resume"]).fails_with("does not belong to this input: it has another id or line at line 1");
    assert_eq!(std::fs::read(&job.partial).unwrap(), &job.expected[..half]);

    std::fs::write(&job.partial, "something else\nentirely").unwrap();
    job.run(&["--resume"]).fails_with("holds something else than records");
    assert!(!job.output.exists());
    let unordered = job.run(&["--resume", "--unordered"]);
    assert_eq!(unordered.code, Some(2));
    assert_eq!(batch(&["--resume"], b"").code, Some(2));

    // A model that cannot be loaded leaves nothing behind.
    let fresh = job.folder.path().join("fresh").display().to_string();
    let run = run(&["batch", "--model", "./no/such", "-o", &fresh, &job.input]);
    assert_eq!(run.code, Some(2));
    assert!(!job.folder.path().join("fresh.partial").exists());
}

/// The same ids with other questions, documents or flags are other requests.
#[test]
fn resuming_notices_what_has_changed() {
    let changed = |number: usize, field: &str, value: Value| -> String {
        let line = |at: usize| {
            let mut line = request(at);
            if at == number {
                line[field] = value.clone();
            }
            format!("{line}\n")
        };
        (0..12).map(line).collect()
    };
    let other = |field| changed(2, field, json!(words(99, 40)));
    // An output that is not complete has a journal beside it.
    let job = Job::new(&requests(12), &[]);
    let mut stopped = job.partial.as_os_str().to_owned();
    stopped.push(".journal");
    let journal = PathBuf::from(stopped);
    let broken: String = requests(6) + "{\n" + &requests(12);
    std::fs::write(&job.input, broken).unwrap();
    assert_eq!(job.run(&["--fail-fast"]).code, Some(2));
    assert_eq!(std::fs::read_to_string(&journal).unwrap().lines().count(), 1 + 6);
    let kept = std::fs::read(&job.partial).unwrap();
    for field in ["question", "context"] {
        std::fs::write(&job.input, other(field)).unwrap();
        job.run(&["--resume"]).fails_with("its question or its documents have changed at line 3");
    }
    std::fs::write(&job.input, requests(12)).unwrap();
    let run = job.run(&["--resume", "-k", "2"]);
    run.fails_with("was made with --top-k 1, not 2");
    assert!(run.stderr.contains("`--resume-anyway`"), "{}", run.stderr);
    assert_eq!(std::fs::read(&job.partial).unwrap(), kept);
    std::fs::write(&job.input, other("context")).unwrap();
    assert_eq!(job.run(&["--resume", "--resume-anyway", "--quiet"]).code, Some(0));
    let expected: Vec<&[u8]> = job.expected.split_inclusive(|&byte| byte == b'\n').collect();
    assert_eq!(std::fs::read(&job.output).unwrap(), expected.concat());
    assert!(!journal.exists());

    // A complete one shows its questions and quotations.
    std::fs::write(&job.input, other("question")).unwrap();
    job.run(&["--resume"]).fails_with("it asks another question at line 3");
    assert!(!journal.exists(), "it would say that the records were made with these flags");
    std::fs::write(&job.input, changed(2, "context", json!("sea"))).unwrap();
    job.run(&["--resume"]).fails_with("its document has changed at line 3");
}

/// An output gets its name by replacing what has it. What is no file would be gone, and so would a link.
#[cfg(unix)]
#[test]
fn only_files_are_replaced_by_an_output() {
    let folder = folder();
    let input = write(folder.path(), "in.jsonl", requests(2));
    let place = |name: &str| folder.path().join(name);
    let run_to = |output: &Path| run(&arguments(&[&input, "--quiet", "--output", output.to_str().unwrap()]));
    let _socket = std::os::unix::net::UnixListener::bind(place("socket")).unwrap();
    run_to(&place("socket")).fails_with("is a device or a pipe");
    assert!(!std::fs::metadata(place("socket")).unwrap().is_file() && !place("socket.partial").exists());
    run_to(Path::new("-")).fails_with("is no name for a file");
    std::fs::write(place("file"), "old").unwrap();
    std::os::unix::fs::symlink(place("file"), place("link")).unwrap();
    assert_eq!(run_to(&place("link")).code, Some(0));
    assert!(place("link").is_symlink());
    assert_eq!(std::fs::read_to_string(place("file")).unwrap().lines().count(), 2);
}

/// The folder is the same, what lies in it is another model. Without a journal nothing but `--why` names the model.
#[test]
fn new_weights_in_the_same_folder_are_not_gone_on_with() {
    let folder = folder();
    let model = crate::support::tiny_model();
    let input = write(folder.path(), "in.jsonl", requests(2) + "{\n");
    let output = folder.path().join("out.jsonl");
    let mut flags = arguments(&[&input, "--output", output.to_str().unwrap()]);
    flags[2] = model.path().to_str().unwrap();
    let run_of = |more: &[&str]| run(&[&flags[..], more].concat());
    assert_eq!(run_of(&["--fail-fast"]).code, Some(2));
    let partial = folder.path().join("out.jsonl.partial");
    let kept = std::fs::read(&partial).unwrap();
    assert_eq!(kept.iter().filter(|&&byte| byte == b'\n').count(), 2);
    let weights = model.path().join("model.safetensors");
    let old = std::fs::read(&weights).unwrap();
    let mut new = old.clone();
    *new.last_mut().unwrap() ^= 1;
    std::fs::write(&weights, new).unwrap();
    run_of(&["--resume"]).fails_with("was made with --model ");
    assert_eq!(std::fs::read(&partial).unwrap(), kept);
    std::fs::write(&weights, old).unwrap();
    std::fs::write(&input, requests(3)).unwrap();
    assert_eq!(run_of(&["--resume", "--quiet"]).code, Some(0));
}

/// A complete output knows its flags, too. What was refused leaves nothing behind that would be in the way.
#[test]
fn a_complete_output_is_not_gone_on_with_by_other_flags() {
    let job = Job::new(&requests(4), &[]);
    assert_eq!(job.run(&["--quiet"]).code, Some(0));
    let mut journal = job.partial.as_os_str().to_owned();
    journal.push(".journal");
    let refused = |more: &[&str], what: &str| {
        let run = job.run(&[&["--resume"], more].concat());
        run.fails_with(what);
        assert!(run.stderr.contains(&format!("error: {} ", job.output.display())), "{}", run.stderr);
        assert!(!job.partial.exists() && !Path::new(&journal).exists(), "{what}");
        assert_eq!(std::fs::read(&job.output).unwrap(), job.expected);
    };
    refused(&["-k", "2"], "was made with --top-k 1, not 2, and cannot be resumed");
    refused(&["--flat"], "was made without --flat, and cannot be resumed");
    refused(&["--keep-fields"], "was made without --keep-fields, and cannot be resumed");
    // The next run is free to start anew, or to go on.
    assert_eq!(job.run(&["--quiet"]).code, Some(0));
    assert_eq!(job.run(&["--quiet", "--resume"]).code, Some(0));
    assert_eq!(job.run(&["--quiet", "--resume", "-k", "2", "--resume-anyway"]).code, Some(0));
    assert_eq!(std::fs::read(&job.output).unwrap(), job.expected);
    refused(&["-k", "3"], "was made with --top-k 2, not 3");

    // Where nothing tells the flags, records tell their form.
    let flags = job.output.with_file_name(".out.flags");
    std::fs::remove_file(&flags).unwrap();
    refused(&["--flat"], "has other columns and cannot be resumed");
    assert_eq!(job.run(&["--quiet", "--unordered"]).code, Some(0));
    assert!(!flags.exists(), "they were those of another run");
    let flat = Job::new(&requests(4), &["--flat"]);
    std::fs::write(&flat.output, &flat.expected).unwrap();
    flat.run(&["--resume"]).fails_with("holds something else than records");
    assert!(!flat.partial.exists());
}

/// Rows need not tell what became of a request that cannot be understood, be it an error or only its code.
#[test]
fn rows_that_do_not_tell_errors_can_be_resumed() {
    for columns in ["id,rank,answer", "id,rank,answered", "id,rank,error", "id,rank,code"] {
        for format in ["jsonl", "csv"] {
            let more = ["--flat", "--columns", columns, "--output-format", format];
            let job = Job::new(&mixed(), &more);
            let length = job.expected.len();
            job.resumes_from([length / 2, length], &more);
            let run = job.run(&[&more[..], &["--resume", "--quiet"]].concat());
            assert_eq!(run.stderr, "", "{columns} {format}");
        }
    }
    // What they tell has to be so, in whatever form.
    for more in [&[][..], &["--flat"], &["--output-format", "csv"]] {
        let job = Job::new(&requests(4), more);
        std::fs::write(&job.partial, &job.expected).unwrap();
        let damaged = requests(4).replacen(&request(2).to_string(), "{", 1);
        std::fs::write(&job.input, damaged).unwrap();
        job.run(&[more, &["--resume"]].concat()).fails_with("it has another id or line at line 3");
        let unreadable = requests(4).replacen("\"context\":", "\"contekst\":", 1);
        std::fs::write(&job.input, unreadable).unwrap();
        job.run(&[more, &["--resume"]].concat()).fails_with(
            "does not belong to this input: it has a reply to a request that cannot be understood any more at line 1 (id r0)",
        );
    }
}

/// Only a journal asks which model it is. A file that is too large to read makes that fail, and nothing else.
#[test]
fn a_plain_batch_does_not_ask_which_model_it_is() {
    let folder = folder();
    let model = crate::support::tiny_model();
    let companion = std::fs::File::create(model.path().join("sentence_bert_config.json")).unwrap();
    companion.set_len((512 << 20) + 1).unwrap();
    let input = write(folder.path(), "in.jsonl", requests(2));
    let output = folder.path().join("out.jsonl").display().to_string();
    let mut plain = arguments(&[&input]);
    plain[2] = model.path().to_str().unwrap();
    let run_of = |more: &[&str]| run(&[&plain[..], more].concat());
    assert_eq!(run_of(&[]).code, Some(0));
    run_of(&["--output", &output]).fails_with("sentence_bert_config.json");
    assert!(!folder.path().join("out.jsonl.partial").exists());
    let unordered = run_of(&["--output", &output, "--unordered"]);
    assert_eq!(unordered.code, Some(0), "{}", unordered.stderr);
}

#[test]
fn a_table_that_does_not_tell_whose_its_rows_are_is_not_resumed() {
    let columns = ["--output-format", "csv", "--columns", "answered,windows"];
    let job = Job::new(&requests(4), &columns);
    std::fs::write(&job.output, &job.expected).unwrap();
    let run = job.run(&[&columns[..], &["--resume"]].concat());
    run.fails_with("has neither the column id nor question");
}

/// A complete output stays as readable as it was.
#[test]
#[cfg(unix)]
fn permissions_survive_resuming() {
    use std::os::unix::fs::PermissionsExt;
    let job = Job::new(&requests(4), &[]);
    assert_eq!(job.run(&["--quiet"]).code, Some(0));
    let mode = |mode| std::fs::set_permissions(&job.output, PermissionsExt::from_mode(mode)).unwrap();
    for wanted in [0o644, 0o640] {
        mode(wanted);
        assert_eq!(job.run(&["--quiet", "--resume"]).code, Some(0));
        let found = std::fs::metadata(&job.output).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, wanted);
    }
}

#[test]
fn a_complete_output_grows_with_its_input() {
    let job = Job::new(&requests(20), &[]);
    std::fs::write(&job.input, requests(12)).unwrap();
    assert_eq!(job.run(&["--quiet"]).code, Some(0));
    std::fs::write(&job.input, requests(20)).unwrap();
    let run = job.run(&["--resume"]);
    assert_eq!(run.code, Some(0));
    assert!(run.stderr.contains("20 requests (12 of them by an earlier run)"), "{}", run.stderr);
    assert!(std::fs::read(&job.output).unwrap() == job.expected);
    // And shrinks with it.
    std::fs::write(&job.input, requests(12)).unwrap();
    assert_eq!(job.run(&["--quiet", "--resume"]).code, Some(0));
    assert_eq!(std::fs::read_to_string(&job.output).unwrap().lines().count(), 12);
}

#[cfg(unix)]
#[test]
fn a_resumed_file_keeps_its_permissions() {
    use std::os::unix::fs::PermissionsExt;
    let job = Job::new(&requests(3), &[]);
    for mode in [0o644, 0o640, 0o600] {
        std::fs::write(&job.output, &job.expected).unwrap();
        std::fs::set_permissions(&job.output, std::fs::Permissions::from_mode(mode)).unwrap();
        for more in [&["--resume", "--quiet"][..], &["--quiet"]] {
            assert_eq!(job.run(more).code, Some(0));
            let now = std::fs::metadata(&job.output).unwrap().permissions().mode() & 0o777;
            assert_eq!(now, mode, "{now:o} with {more:?}");
        }
    }
}

#[test]
fn a_request_that_stopped_a_run_is_asked_again() {
    let job = Job::new(&requests(20), &[]);
    let broken: String =
        (0..20).map(|at| if at == 9 { "broken\n".into() } else { format!("{}\n", request(at)) }).collect();
    std::fs::write(&job.input, broken).unwrap();
    let run = job.run(&["--fail-fast"]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("`--resume` goes on from there"), "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&job.partial).unwrap().lines().count(), 9);
    std::fs::write(&job.input, requests(20)).unwrap();
    assert_eq!(job.run(&["--resume", "--quiet", "--fail-fast"]).code, Some(0));
    assert!(std::fs::read(&job.output).unwrap() == job.expected);
}

// ---- words on standard error ---------------------------------------------------------------------------------------

#[test]
fn progress_is_for_people_or_for_programs() {
    let input = format!("{}bad\n", requests(40));
    let run = batch(&["--progress", "json"], input.as_bytes());
    let events: Vec<Value> = run.stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let summary = events.last().unwrap();
    assert_eq!(
        (&summary["event"], &summary["requests"], &summary["errors"]),
        (&json!("summary"), &json!(41), &json!(1))
    );
    let sum =
        ["answered", "no_answer", "errors"].map(|name| summary[name].as_u64().unwrap()).iter().sum::<u64>();
    assert_eq!(sum, 41);
    assert!(summary["windows"].as_u64() >= Some(40) && summary["tokens"].as_u64() > Some(400));
    assert!(batch(&["--progress", "off"], input.as_bytes()).stderr.contains("41 requests: "));
    assert_eq!(batch(&["--quiet"], input.as_bytes()).stderr, "");
    assert_eq!(batch(&["--quiet"], b"").stdout, "");
}

// ---- the library's part ----------------------------------------------------------------------------------------------

/// What several requests share is tokenised once, and what several ask is read once.
#[test]
fn shared_work_is_done_once() {
    use std::ops::ControlFlow;

    use spanqa::checkpoint::ModelFiles;
    use spanqa::encoder::Runtime;
    use spanqa::reader::{Question, Reader};
    use spanqa::request::Options;
    use spanqa::request::reply::DocumentId;
    use spanqa::stream::{Done, Queue, Shelf, Work, answer_stream};
    use spanqa::text::window::Limits;

    let files = ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap();
    let reader = Reader::open(&files, &Runtime::default()).unwrap();
    let limits = Limits { max_tokens: 40, overlap: 8, ..Limits::default() };
    let options = Arc::new(Options { limits, ..Options::default() });
    let shelf = Shelf::new(2000);
    let document =
        |text: &str| shelf.document(&reader, DocumentId::Index(0), text.to_owned().into()).unwrap();
    let (king, again, cat) = (document("the king"), document("the king"), document("old cat"));
    assert!(Arc::ptr_eq(&king, &again) && !Arc::ptr_eq(&king, &cat));
    document(&words(1, 400));
    assert!(!Arc::ptr_eq(&king, &document("the king")), "the shelf must not grow");

    let shelf = Shelf::new(1 << 30);
    let long = words(2, 4000);
    let wanted = || shelf.document(&reader, DocumentId::Index(0), long.clone().into()).unwrap();
    let found: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(wanted)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(found.iter().all(|document| Arc::ptr_eq(document, &found[0])));

    let work = Queue::new(usize::MAX);
    let asks =
        [("who?", &king), ("who?", &again), ("where?", &king), ("", &king), ("who?", &cat), ("", &king)];
    for (ticket, (question, document)) in asks.into_iter().enumerate() {
        let question = Question::new(ticket as u64, question, vec![document.clone()]).with(&options);
        assert!(work.push(1, Work { ticket, question: Ok(question), ticket_bytes: 0 }).is_ok());
    }
    // Under other options it is another question.
    let other = Question::new(6, "who?", vec![king.clone()]).with(&Arc::default());
    assert!(work.push(1, Work { ticket: 6, question: Ok(other), ticket_bytes: 0 }).is_ok());
    work.end();
    let mut read = 0;
    let mut replies = vec![None; asks.len() + 1];
    answer_stream(&reader, &work, usize::MAX, &mut |done| {
        match done {
            Done::Began { .. } => {}
            Done::Read { windows, .. } => read += windows,
            Done::Reply(ticket, reply) => replies[ticket] = Some(reply.map_err(|error| error.code())),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(read, 4);
    let replies: Vec<_> = replies.into_iter().map(Option::unwrap).collect();
    assert_eq!([&replies[3], &replies[5]].map(|reply| reply.clone().err()), [Some("empty_question"); 2]);
    let (first, second) = (replies[0].clone().unwrap(), replies[1].clone().unwrap());
    assert_eq!(serde_json::to_string(&second.id).unwrap(), "1");
    assert_eq!(spanqa::request::reply::Reply { id: first.id.clone(), ..second }, first);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// Requests in are records out, whatever the lines hold.
    #[test]
    fn nothing_is_dropped(lines in prop::collection::vec(
        prop_oneof![
            Just("{\"question\": \"who?\", \"context\": \"the king\"}".to_owned()),
            "[\\{\\}\":,a-z]{1,12}",
            Just("{\"id\": 1, \"question\": \"\", \"context\": \"\"}".to_owned()),
            "[ \t]{0,3}",
        ], 0..30)) {
        let run = batch(&["--quiet", "--batch-tokens", "64"], lines.join("\n").as_bytes());
        let expected = lines.iter().filter(|line| !line.trim().is_empty()).count();
        prop_assert_eq!(run.stdout.lines().count(), expected);
        prop_assert!(matches!(run.code, Some(0 | 2)));
    }
}

#[test]
fn requests_are_never_replaced_by_records() {
    let folder = folder();
    let file = write(folder.path(), "requests.jsonl", requests(2));
    let run = crate::support::run(&arguments(&[&file, "-o", &file]));
    run.fails_with("so it cannot be the output");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), requests(2));
}
