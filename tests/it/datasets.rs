//! Every shape in which data sets come, and what is said when they are broken.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value;
use spanqa::eval::{Dataset, Format, Options};

use crate::hints::hint;
use crate::support::fixture;

fn read(text: &str) -> Dataset {
    Dataset::parse("data", text.as_bytes(), Options::default()).unwrap()
}

fn error(text: &str) -> String {
    let error = Dataset::parse("data", text.as_bytes(), Options::default()).unwrap_err();
    assert!(hint(&error).is_some());
    error.to_string()
}

/// Ids, contexts and golds as one text, to compare shapes with.
fn digest(dataset: &Dataset) -> String {
    let lines = dataset.entries().map(|entry| {
        let golds: Vec<String> = (entry.question.golds.iter())
            .map(|gold| format!("{}@{}", gold.text, gold.start.map_or("-".into(), |start| start.to_string())))
            .collect();
        let (title, context) = (&entry.article.title, &entry.paragraph.context);
        format!("{title}|{context}|{}|{}|{}\n", entry.question.id, entry.question.text, golds.join(","))
    });
    lines.collect()
}

const SQUAD: &str = r#"{"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "Ünder the sea.", "qas": [
    {"id": "a", "question": "Where?", "answers": [{"text": "the sea", "answer_start": 6}], "is_impossible": false},
    {"id": "b", "question": "Why?", "answers": [], "is_impossible": true, "plausible_answers": [{"text": "x", "answer_start": 0}]}]}]}]}"#;

const DIGEST: &str = "T|Ünder the sea.|a|Where?|the sea@6\nT|Ünder the sea.|b|Why?|\n";

#[test]
fn one_document_in_many_shapes() {
    let rows = [
        r#"{"id": "a", "title": "T", "context": "Ünder the sea.", "question": "Where?", "answers": {"text": ["the sea"], "answer_start": [6]}}"#,
        r#"{"qid": "b", "title": "T", "context": "Ünder the sea.", "question": "Why?", "answers": {"text": [], "answer_start": []}, "extra": 1}"#,
    ];
    let squad = read(SQUAD);
    assert_eq!(digest(&squad), DIGEST);
    assert_eq!((squad.format, squad.version.as_deref()), (Format::Squad, Some("v2.0")));
    assert!(squad.has_unanswerable());
    let shapes = [
        SQUAD.replace('\n', " "),
        format!("\u{feff}\n \n{SQUAD}"),
        rows.join("\n"),
        format!("\r\n{}\r\n\r\n\n{}\r\n\n", rows[0], rows[1]),
        format!("[{}]", rows.join(",\n")),
        format!("{{\"data\": [{}], \"version\": 2}}", rows.join(",")),
        // Version after the data, no title would differ.
        SQUAD.replace(r#""version": "v2.0", "#, "").replacen("]}]}]}", r#"]}]}], "version": "v2.0"}"#, 1),
    ];
    for shape in shapes {
        let found = Dataset::parse("data", shape.as_bytes(), Options { strict: true }).unwrap();
        assert_eq!(digest(&found), DIGEST, "{shape}");
        assert_eq!(found.articles.len(), 1);
        assert_eq!(found.articles[0].paragraphs.len(), 1, "a context is held once: {shape}");
    }
    let one = read(rows[0]);
    assert_eq!((one.len(), one.format), (1, Format::Rows));
}

#[test]
fn rows_join_their_article_and_context_wherever_they_stand() {
    let row = |id: usize, title: &str, context: &str| {
        serde_json::json!({"id": id, "title": title, "context": context, "question": "q", "answers": []})
            .to_string()
    };
    let shape = |rows: Vec<String>| -> Vec<Vec<(String, usize)>> {
        let paragraph = |p: &spanqa::eval::Paragraph| (p.context.clone(), p.questions.len());
        let dataset = read(&rows.join("\n"));
        dataset.articles.iter().map(|article| article.paragraphs.iter().map(paragraph).collect()).collect()
    };
    let counts = |list: &[(&str, usize)]| list.iter().map(|(c, n)| ((*c).to_owned(), *n)).collect::<Vec<_>>();
    // Sixty rows of two titles and four contexts, in turns.
    let rows = (0..60).map(|n| row(n, ["A", "B"][n % 2], ["a", "b", "c", "d"][n % 4])).collect();
    assert_eq!(shape(rows), [counts(&[("a", 15), ("c", 15)]), counts(&[("b", 15), ("d", 15)])]);
    // Without titles a context is an article; with them, one context may belong to two.
    let rows = (0..9).map(|n| row(n, "", ["a", "b", "c"][n % 3])).collect();
    assert_eq!(shape(rows), [counts(&[("a", 3)]), counts(&[("b", 3)]), counts(&[("c", 3)])]);
    let rows = (0..4).map(|n| row(n, ["A", "B"][n % 2], "a")).collect();
    assert_eq!(shape(rows), [counts(&[("a", 2)]), counts(&[("a", 2)])]);
    let line = |qid: &str, context: &str| {
        serde_json::json!({"context": context, "qas": [{"qid": qid, "question": "q", "answers": ["x"]}]})
            .to_string()
    };
    assert_eq!(
        shape(vec![line("1", "a"), line("2", "b"), line("3", "a")]),
        [counts(&[("a", 2)]), counts(&[("b", 1)])]
    );
}

#[test]
fn mrqa_lines_with_and_without_header() {
    let header = r#"{"header": {"dataset": "X", "split": "dev"}}"#;
    let line = r#"{"context": "[PAR] One two.", "context_tokens": [["One", 6]], "qas": [{"qid": "q", "question": "What?",
        "detected_answers": [{"text": "One", "char_spans": [[6, 8]], "token_spans": [[0, 0]]}], "answers": ["One", "1"]}]}"#
        .replace('\n', " ");
    let other = line.replace("\"q\"", "\"r\"");
    for text in [format!("{header}\n{line}\n{other}\n"), format!("{line}\n{other}")] {
        let dataset = read(&text);
        assert_eq!(dataset.format, Format::Mrqa);
        let expected = "|[PAR] One two.|q|What?|One@-,1@-\n|[PAR] One two.|r|What?|One@-,1@-\n";
        assert_eq!(digest(&dataset), expected);
        assert_eq!(dataset.flaws.misaligned, 0);
    }
    assert_eq!(read(&format!("{header}\n{}", line.replace("[6, 8]", "[5, 7]"))).flaws.misaligned, 1);
}

#[test]
fn compressed_files_are_recognised_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("no-suffix");
    let mut file = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
    file.write_all(SQUAD.as_bytes()).unwrap();
    file.finish().unwrap();
    assert_eq!(digest(&Dataset::open(&path, Options::default()).unwrap()), DIGEST);
    let mut cut = std::fs::read(&path).unwrap();
    cut.truncate(cut.len() / 2);
    std::fs::write(&path, cut).unwrap();
    assert_eq!(Dataset::open(&path, Options::default()).unwrap_err().code(), "read_failed");
}

#[test]
fn answers_come_in_several_shapes() {
    let row = |answers: &str| {
        let row = format!(r#"{{"id": 7, "context": "abc", "question": "q", "answers": {answers}}}"#);
        digest(&read(&row)).split('|').next_back().unwrap().trim().to_owned()
    };
    assert_eq!(row(r#"[{"text": "b", "answer_start": 1}, {"text": "c"}]"#), "b@1,c@-");
    assert_eq!(row(r#"["b", "c"]"#), "b@-,c@-");
    assert_eq!(row(r#"{"text": ["b", "c"], "answer_start": [1, 2]}"#), "b@1,c@2");
    assert_eq!(row(r#"{"text": ["b"]}"#), "b@-");
    assert_eq!(row(r#"{"text": "b", "answer_start": 1}"#), "b@1");
    assert_eq!(row("[]"), "");
    assert_eq!(row(r#"null, "is_impossible": true"#), "");
}

#[test]
fn flaws_are_counted_or_fatal_as_asked() {
    let wrong = SQUAD.replace("\"answer_start\": 6", "\"answer_start\": 5");
    let dataset = read(&wrong);
    assert_eq!(dataset.flaws.misaligned, 1);
    assert!(dataset.flaws.remarks()[0].contains("the first is of a (data[0].paragraphs[0].qas[0])"));
    let error = Dataset::parse("data", wrong.as_bytes(), Options { strict: true }).unwrap_err();
    assert_eq!(error.code(), "misaligned_answers");
    for start in ["-1", "99", "18446744073709551615"] {
        assert_eq!(
            read(&SQUAD.replace("\"answer_start\": 6", &format!("\"answer_start\": {start}")))
                .flaws
                .misaligned,
            1
        );
    }
    let nameless = read(&SQUAD.replace(r#""id": "a", "#, ""));
    assert_eq!(nameless.flaws.without_id, 1);
    assert!(digest(&nameless).contains("|1|Where?|"));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let row = r#"{"id": "a", "context": "c", "question": "q", "answers": []}"#;
    let cases = [
        ("", "data: is empty"),
        ("  \n\n", "data: is empty"),
        ("hello", "line 1: is not JSON"),
        ("[]", "has no question"),
        ("{\"data\": []}", "has no question"),
        ("{\"data\": 3}", "expected a list of articles or rows at line 1 column"),
        ("{\"a\": 1}", "line 1: has neither `paragraphs`"),
        (&format!("{row}\n{row}"), "line 2 has the id \"a\", and so has line 1"),
        (&format!("{row}\n{{\"id\""), "line 2: EOF while parsing"),
        (
            &format!("{row}\n{}", row.replace("\"q\"", "5")),
            "line 2: invalid type: integer `5`, expected a string (column",
        ),
        (&format!("{row}\n{}", SQUAD.replace('\n', " ")), "line 2: has neither"),
        (&row.replace(", \"answers\": []", ""), "has no `answers`, so there is nothing to score against"),
        (&row.replace("\"context\": \"c\", ", ""), "line 1: has no `context`"),
        (&row.replace("[]", "[3]"), "has an answer without a text"),
        (&row.replace("[]", "5"), "has `answers` that are neither"),
        (
            &row.replace("[]", "{\"text\": [\"a\"], \"answer_start\": []}"),
            "has 1 answers and 0 answer_starts",
        ),
        (&row.replace("\"a\"", "[1]"), "has an id that is neither text nor number"),
        (
            &SQUAD.replace("\"b\"", "\"a\""),
            "data[0].paragraphs[0].qas[1] has the id \"a\", and so has data[0].paragraphs[0].qas[0]",
        ),
        (
            &SQUAD.replace("\"question\": \"Why?\", ", ""),
            "data, data[0].paragraphs[0].qas[1]: has no `question`",
        ),
        (&SQUAD.replace("\"Why?\"", "[]"), "in data[0]: invalid type: sequence, expected a string at line 3"),
        (SQUAD.trim_end_matches('}'), "EOF while parsing"),
    ];
    for (text, expected) in cases {
        let found = error(text);
        assert!(found.contains(expected), "{text:?}: expected {expected:?} in {found:?}");
    }
    let invalid = Dataset::parse("data", b"{\"id\": \"\xff\"}", Options::default()).unwrap_err();
    assert_eq!(invalid.code(), "bad_dataset");
    assert_eq!(Dataset::open(&fixture("metrics"), Options::default()).unwrap_err().code(), "bad_dataset");
    assert_eq!(Dataset::open(&fixture("nowhere"), Options::default()).unwrap_err().code(), "read_failed");
}

#[test]
fn parts_can_be_chosen() {
    let mut dataset = Dataset::open(&fixture("metrics/squad2.json"), Options::default()).unwrap();
    let ids: Vec<String> = dataset.entries().map(|entry| entry.question.id.clone()).collect();
    let mut first = dataset.clone();
    first.limit(3);
    assert_eq!(first.entries().map(|entry| entry.question.id.as_str()).collect::<Vec<_>>(), &ids[..3]);
    assert_eq!(first.articles.len(), 1);
    dataset.select(&ids[5..6]).unwrap();
    assert_eq!(dataset.len(), 1);
    assert_eq!(dataset.select(&["nobody".into()]).unwrap_err().code(), "no_questions");
}

/// The sets in `tests/everyday`: every answer stands where its offset says, no id occurs twice, no document in two of them.
#[test]
fn everyday_questions_are_sound() {
    let (mut ids, mut contexts, mut answerable) = (HashSet::new(), HashSet::new(), 0);
    for name in ["dev.json", "test.json", "train.json.gz", "held-out.json.gz"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/everyday").join(name);
        let mut bytes = std::fs::read(path).unwrap();
        if name.ends_with(".gz") {
            let mut text = Vec::new();
            GzDecoder::new(&bytes[..]).read_to_end(&mut text).unwrap();
            bytes = text;
        }
        let json: Value = serde_json::from_slice(&bytes).unwrap();
        for article in json["data"].as_array().unwrap() {
            for field in ["title", "kind", "source", "licence"] {
                assert!(!article[field].as_str().unwrap().is_empty(), "{field} of {article}");
            }
            let [paragraph] = article["paragraphs"].as_array().unwrap().as_slice() else {
                panic!("{article}")
            };
            let context = paragraph["context"].as_str().unwrap();
            assert!(contexts.insert(context.to_owned()), "twice: {}", article["title"]);
            for question in paragraph["qas"].as_array().unwrap() {
                let answers = question["answers"].as_array().unwrap();
                assert!(ids.insert(question["id"].as_str().unwrap().to_owned()), "twice: {}", question["id"]);
                assert_eq!(
                    answers.is_empty(),
                    question["is_impossible"].as_bool().unwrap(),
                    "{}",
                    question["id"]
                );
                answerable += usize::from(!answers.is_empty());
                for answer in answers {
                    let (text, start) =
                        (answer["text"].as_str().unwrap(), answer["answer_start"].as_u64().unwrap());
                    let found: String =
                        context.chars().skip(start as usize).take(text.chars().count()).collect();
                    assert_eq!((found.as_str(), text.trim()), (text, text), "{}", question["id"]);
                }
            }
        }
    }
    assert!(
        ids.len() >= 11_000 && answerable >= 7_700 && contexts.len() >= 600,
        "{} {answerable} {}",
        ids.len(),
        contexts.len()
    );
}
