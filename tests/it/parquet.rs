//! Tables in Parquet, written by pandas, pyarrow and polars: their rows are those that the script says (`tests/fixtures/parquet_files.py`).

use std::fs::{self, File};
use std::io::{Cursor, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use spanqa::parquet::{BadRow, Choice, Error, Rows};

use crate::support::{Run, fixture, run, run_with_input};

const LIMIT: usize = 1 << 20;

fn all() -> Choice {
    Choice { needed: vec![vec!["question".into()]], wanted: Vec::new(), others: true }
}

fn file(name: &str) -> String {
    fixture("parquet").join(name).display().to_string()
}

fn rows(name: &str) -> Result<Vec<Value>, Error> {
    let mut rows = Rows::open(File::open(file(name)).unwrap(), &all(), LIMIT)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(serde_json::from_str(&row.unwrap()).unwrap());
    }
    assert_eq!(rows.position(), fs::metadata(file(name)).unwrap().len());
    Ok(found)
}

fn lines(name: &str) -> Vec<Value> {
    fs::read_to_string(file(name)).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The same rows: in pages of many and of few values, with dictionaries and without, under four kinds of compression.
const QUESTIONS: [&str; 4] = ["pandas.parquet", "plain.parquet", "gzip.parquet", "polars.parquet"];

#[test]
fn rows_are_those_that_were_written() {
    let expected = lines("questions.jsonl");
    for name in QUESTIONS {
        assert_eq!(rows(name).unwrap(), expected, "{name}");
    }
    assert_eq!(rows("encodings.parquet").unwrap(), lines("encodings.jsonl"));
    assert_eq!(rows("types.parquet").unwrap(), lines("types.jsonl"));
    assert_eq!(rows("int96.parquet").unwrap()[0]["moment"], "2026-11-27T09:08:07.250000000");
}

/// A number of a decimal column has the digits that were stored, also those that no float has.
#[test]
fn decimals_are_written_as_they_are() {
    let mut found = Rows::open(File::open(file("types.parquet")).unwrap(), &all(), LIMIT).unwrap();
    let row = found.next().unwrap().unwrap().unwrap();
    assert!(row.contains("\"wide\":111111111111111111111111111111.5,"), "{row}");
    let next = found.next().unwrap().unwrap().unwrap();
    assert!(next.contains("\"money\":12.50,"), "{next}");
}

#[test]
fn only_columns_that_are_wanted_are_read() {
    let open = |choice: &Choice| Rows::open(File::open(file("pandas.parquet")).unwrap(), choice, LIMIT);
    let wanted = vec!["page".to_owned(), "nowhere".to_owned()];
    let mut some = open(&Choice { wanted, others: false, ..all() }).unwrap();
    assert_eq!(
        some.next().unwrap().unwrap().unwrap(),
        "{\"question\":\"Who was the keeper?\",\"page\":null}"
    );
    let needed = vec![vec!["text".to_owned(), "body".to_owned()]];
    let Err(refused) = open(&Choice { needed, ..all() }) else { panic!("there is no such column") };
    let said = "it has none of the columns `text`, `body`; it has `id`, `title`, `context`, `question`, `answers`, `page`";
    assert_eq!(refused.to_string(), said);
}

/// A row that is too long is one bad row, whether one text or many values make it so.
#[test]
fn long_rows_are_read_past() {
    let lengths: Vec<usize> =
        fs::read_to_string(file("questions.jsonl")).unwrap().lines().map(str::len).collect();
    for (name, limit) in [("plain.parquet", 190), ("polars.parquet", 30), ("gzip.parquet", 1)] {
        let mut found = Rows::open(File::open(file(name)).unwrap(), &all(), limit).unwrap();
        let mut bad = 0;
        for length in &lengths {
            match found.next().unwrap().unwrap() {
                // Python writes a blank behind each comma and colon.
                Ok(row) => assert!(row.len() <= limit && row.len() < *length),
                Err(problem) => {
                    assert_eq!(problem, BadRow::TooLong);
                    bad += 1;
                }
            }
        }
        assert!(found.next().unwrap().is_none());
        assert!(bad > 0 && (limit > 100) == (bad < lengths.len()), "{name}: {bad}");
    }
}

/// A file that ends too early, anywhere, says so.
#[test]
fn whatever_is_cut_off_is_told() {
    let bytes = fs::read(file("pandas.parquet")).unwrap();
    for length in (0..bytes.len()).step_by(37) {
        let cut = Rows::open(Cursor::new(&bytes[..length]), &all(), LIMIT);
        assert!(matches!(cut, Err(Error::Damaged { .. })), "{length}");
    }
    // With its footer a file opens, though pages in the middle are gone.
    let mut damaged = fs::read(file("gzip.parquet")).unwrap();
    damaged[4000] ^= 1;
    let mut found = Rows::open(Cursor::new(damaged), &all(), LIMIT).unwrap();
    let error = loop {
        match found.next() {
            Ok(row) => assert!(row.is_some(), "the checksum was not looked at"),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("the checksum of a page is wrong"), "{error}");
}

fn batch(path: &str, more: &[&str]) -> Run {
    let model = fixture("tiny/minilm").display().to_string();
    run(&[&["batch", "--model", &model, "--quiet", path], more].concat())
}

#[test]
fn batch_answers_as_it_does_from_lines() {
    for more in [&["--keep-fields"][..], &["--flat", "--keep-fields"], &["--output-format", "csv"]] {
        let expected = batch(&file("questions.jsonl"), more);
        assert_eq!(expected.stdout.lines().count() / 60, 1, "{}", expected.stdout);
        for name in QUESTIONS {
            assert_eq!(batch(&file(name), more).stdout, expected.stdout, "{name}");
        }
    }
    let other = batch(&file("encodings.parquet"), &["--context-field", "question", "--id-field", "i"]);
    assert_eq!(
        (other.code, other.records()[1]["id"].as_i64()),
        (Some(2), lines("encodings.jsonl")[1]["i"].as_i64())
    );
}

#[test]
fn rows_stand_among_other_inputs() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("named.jsonl").display().to_string();
    fs::copy(file("plain.parquet"), &named).unwrap();
    let model = fixture("tiny/minilm").display().to_string();
    let both =
        run(&["batch", "--model", &model, "--quiet", &file("questions.jsonl"), &named, "--id-field", "none"]);
    let records = both.records();
    assert_eq!((records.len(), &records[60]["id"], &records[119]["id"]), (120, &61.into(), &120.into()));
}

#[test]
fn what_cannot_be_read_is_told_with_a_way_out() {
    let lz4 = batch(&file("lz4.parquet"), &[]);
    assert_eq!(lz4.code, Some(2));
    let error = &lz4.records()[0]["error"];
    assert_eq!(error["code"], "parquet_unsupported");
    assert!(error["message"].as_str().unwrap().contains("column `id`: it is compressed by LZ4"), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("to_parquet"), "{error}");
    // Before a model is opened.
    let columns = run(&["batch", "--model", "nowhere", &file("types.parquet")]);
    columns.fails_with("it has none of the columns `context`, `contexts`, `file`");
    assert!(columns.stderr.contains("--context-field"), "{}", columns.stderr);

    let folder = tempfile::tempdir().unwrap();
    let bytes = fs::read(file("pandas.parquet")).unwrap();
    let packed = folder.path().join("q.parquet.gz").display().to_string();
    let mut out = GzEncoder::new(File::create(&packed).unwrap(), Compression::fast());
    out.write_all(&bytes).unwrap();
    out.finish().unwrap();
    run(&["batch", &packed]).fails_with("must be a file, not a pipe");
    let model = fixture("tiny/minilm").display().to_string();
    let piped = run_with_input(&["batch", "--quiet", "--model", &model], &bytes);
    assert_eq!(piped.records()[0]["error"]["code"], "parquet_no_file");
}

fn scores(path: &str) -> Value {
    let model = fixture("tiny/minilm").display().to_string();
    let run = run(&["eval", "--model", &model, "--quiet", path]);
    let mut report: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
    report.as_object_mut().unwrap().remove("speed");
    report["dataset"]["name"] = Value::Null;
    report
}

#[test]
fn eval_gives_the_same_scores() {
    let expected = scores(&file("questions.jsonl"));
    assert_eq!(expected["official"]["total"], 60);
    for name in QUESTIONS {
        assert_eq!(scores(&file(name)), expected, "{name}");
    }
    let other = run(&["eval", &file("encodings.parquet")]);
    other.fails_with("encodings.parquet, row 1: has no `answers`");
    run(&["eval", &file("types.parquet")]).fails_with("none of the columns `context`");
}
