//! What callers send: requests, tables, data sets, documents.

use std::io::{Cursor, Write};
use std::path::Path;

use spanqa::document::{ReadAs, Reading};
use spanqa::eval::{self, Dataset};
use spanqa::parquet::{Choice, Rows};
use spanqa::random::Random;
use spanqa::request::lines::{Format, Line, Lines};
use spanqa::request::parser::Parser;
use spanqa::request::passages::RankRequest;
use spanqa::request::table::{self, Quotes};
use spanqa::request::texts::Texts;
use spanqa::request::{Fields, Request};

use crate::ROOT;
use crate::mutate;
use crate::target::Target;

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const REQUESTS: [&str; 8] = [
    r#"{"question": "Who?", "context": "Bo did it.", "id": 7, "note": [1, {"a": null}]}"#,
    r#"{"questions": ["Who?", "When?"], "documents": [{"id": "a", "text": "In 1871."}, "Bo."], "parameters": {"top_k": 3}}"#,
    r#"{"inputs": {"question": "Who?", "context": "Bo."}, "parameters": {"topk": 2, "handle_impossible_answer": true}}"#,
    r#"{"question": ["Who?", "What?"], "context": ["Bo.", "A lamp."]}"#,
    r#"{"question": "Who?", "file": "a.txt", "parameters": {"max_windows": "all", "null_threshold": -1.5}}"#,
    r#"{"question": "Who?", "search": "folder", "id": "x\ud83d\ude00\ud800"}"#,
    r#"{"query": "Who?", "texts": ["Bo.", "A lamp."], "top_k": 1}"#,
    r#"{"inputs": ["Bo.", "A lamp."], "normalize": true, "truncate": true}"#,
];

pub fn requests() -> Target {
    let change = |random: &mut Random, seeds: &[Vec<u8>]| match random.below(2) {
        0 => mutate::json(random, seeds),
        _ => mutate::text(random, seeds),
    };
    Target::new("requests", seeds(&REQUESTS), change, |bytes| {
        for search in [false, true] {
            let fields = Fields { search, parameters: search, ..Fields::default() };
            if let Ok(request) = Request::from_json(bytes, &fields) {
                let documents = request.documents.len();
                assert!(!request.items.is_empty());
                assert!(request.items.iter().all(|item| item.documents.end <= documents));
            }
            parse(bytes, Format::Jsonl, fields);
        }
        let _ = RankRequest::from_json(bytes);
        let _ = Texts::from_json(bytes);
    })
}

pub fn tables() -> Target {
    let rows = [
        "question,context,id,file\nWho?,\"Bo, he \"\"did\"\" it.\nYes.\",7,\n\"What?\",A lamp.,8,x.txt\n",
        "question\tcontext\nWho?\tBo \"did\" it.\nWho?\n\n\"a\"b\t\"\"\n",
    ];
    Target::new("tables", seeds(&rows), mutate::text, |bytes| {
        for format in [Format::Csv, Format::Tsv] {
            parse(bytes, format, Fields::default());
            let separator = format.separator().unwrap();
            let Ok(text) = std::str::from_utf8(bytes) else { continue };
            // Whatever was read of a row is read again from what is written of it.
            let cells = table::cells(text, separator);
            let mut row = Vec::new();
            table::write_row(cells.iter().map(String::as_str), separator, &mut row).unwrap();
            let row = String::from_utf8(row).unwrap();
            let row = row.strip_suffix('\n').unwrap();
            assert_eq!(table::cells(row, separator), cells);
            let mut quotes = Quotes::new(separator);
            quotes.scan(row.as_bytes());
            assert!(!quotes.open());
        }
    })
}

/// Cuts an input into lines or rows and understands each. Every one has a ticket, and only the next number.
fn parse(bytes: &[u8], format: Format, fields: Fields) {
    let mut lines = Lines::new(bytes, 4096);
    let mut parser = Parser::new(fields, true, vec!["a".into()]).with_fingerprints();
    let mut sequence = 0;
    for number in 1.. {
        let content = match format.separator() {
            Some(separator) => lines.row(separator),
            None => lines.next(),
        };
        let Some(content) = content.unwrap() else { break };
        let line = Line { number, input: 0, in_input: number, format, position: lines.taken, content };
        let Some(parsed) = parser.parse(line) else { continue };
        assert!(!parsed.tickets.is_empty());
        for ticket in &parsed.tickets {
            assert_eq!(ticket.sequence, sequence);
            sequence += 1;
            let _ = (ticket.name(), ticket.bytes());
        }
        let _ = parser.kept(&parsed);
        if let Ok(body) = parsed.request {
            assert!(body.items.iter().all(|item| item.documents.end <= body.documents.len()));
        }
    }
}

/// The pages of a Parquet file, its footer, and the footer's length with the mark.
fn parts(file: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (rest, tail) = file.split_at_checked(file.len().checked_sub(8)?)?;
    let footer = u32::from_le_bytes(*tail.first_chunk()?) as usize;
    let (pages, footer) = rest.split_at_checked(rest.len().checked_sub(footer)?)?;
    Some((pages, footer, tail))
}

pub fn parquet() -> Target {
    let names = ["encodings", "gzip", "int96", "pandas", "plain", "polars", "types"];
    let folder = Path::new(ROOT).join("tests/fixtures/parquet");
    let read = |name: &str| std::fs::read(folder.join(name).with_extension("parquet")).unwrap();
    let seeds: Vec<Vec<u8>> = names.into_iter().map(read).collect();
    // Nothing is read of a file whose end is not the mark. Half of the damage is done to what stands before the footer.
    let change = |random: &mut Random, seeds: &[Vec<u8>]| {
        let seed = mutate::one(random, seeds);
        let Some((pages, footer, tail)) = parts(seed) else { return mutate::bytes(random, seeds) };
        match random.below(2) {
            0 => [&mutate::bytes(random, &[pages.to_vec()]), footer, tail].concat(),
            _ => [pages, &mutate::bytes(random, &[footer.to_vec()]), tail].concat(),
        }
    };
    Target::new("parquet", seeds, change, |bytes| {
        let choice = Choice { needed: Vec::new(), wanted: vec!["picture".into()], others: true };
        let Ok(mut rows) = Rows::open(Cursor::new(bytes), &choice, 1 << 16) else { return };
        // What is damaged may claim any number of rows.
        for _ in 0..10_000 {
            match rows.next() {
                Ok(Some(Ok(row))) => {
                    assert!(row.len() <= 1 << 16);
                    let _: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&row).unwrap();
                }
                Ok(Some(Err(_))) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let _ = Dataset::parse("a", bytes, eval::Options::default());
    })
}

pub fn datasets() -> Target {
    let sets = [
        r#"{"version": "v2.0", "data": [{"title": "T", "paragraphs": [{"context": "Bo did it in 1871.", "qas": [
            {"id": "1", "question": "Who?", "is_impossible": false, "answers": [{"text": "Bo", "answer_start": 0}]},
            {"id": "2", "question": "Why?", "is_impossible": true, "answers": [], "plausible_answers": [{"text": "1871", "answer_start": 13}]}]}]}]}"#,
        "{\"id\": \"1\", \"title\": \"T\", \"context\": \"Bo did it.\", \"question\": \"Who?\", \"answers\": {\"text\": [\"Bo\"], \"answer_start\": [0]}}\n",
        "{\"header\": {\"dataset\": \"X\", \"split\": \"dev\"}}\n{\"context\": \"Bo did it.\", \"qas\": [{\"qid\": \"1\", \"question\": \"Who?\", \"answers\": [\"Bo\"], \"detected_answers\": [{\"text\": \"Bo\", \"char_spans\": [[0, 1]]}]}]}\n",
        r#"[{"id": 1, "context": "Bo did it.", "question": "Who?", "answers": ["Bo"]}]"#,
    ];
    let mut seeds = seeds(&sets);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(sets[1].as_bytes()).unwrap();
    seeds.push(packed.finish().unwrap());
    let change = |random: &mut Random, seeds: &[Vec<u8>]| match random.below(3) {
        0 => mutate::text(random, seeds),
        1 => mutate::bytes(random, seeds),
        _ => mutate::json(random, seeds),
    };
    Target::new("datasets", seeds, change, |bytes| {
        for strict in [false, true] {
            let Ok(dataset) = Dataset::parse("a", bytes, eval::Options { strict }) else { continue };
            assert_eq!(dataset.entries().count(), dataset.len());
            let _ = (
                dataset.whole_digest(),
                dataset.questions_digest(),
                dataset.groups(),
                dataset.flaws.remarks(),
            );
            // What is written is read again as the same.
            let again =
                Dataset::parse("b", dataset.json().to_string().as_bytes(), eval::Options { strict: false });
            assert!(dataset.is_empty() || again.unwrap().len() == dataset.len());
        }
    })
}

pub fn documents() -> Target {
    let page = "<!doctype html><title>T</title><body><h1>A &amp; B</h1><p>Bo&nbsp;did <b>it</b>.<script>x</script><table><tr><td>1<td>2</table><pre> a\n b</pre>";
    let manual = "NAME\n       ls - list\n\nO\x08OP\x08PT\x08TI\x08IO\x08ON\x08NS\x08S\n       -a, --all\n              do not ig\u{2010}\n              nore\n";
    let mut seeds = seeds(&[page, manual, "plain \u{e9} text\r\nwith hy-\nphens\n", "\u{feff}with a mark"]);
    let utf_16: Vec<u8> = "\u{feff}caf\u{e9} \u{1f600}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(page.as_bytes()).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(page.as_bytes()).unwrap();
    // zstd's magic number, a frame of 5 raw bytes.
    let zstd = b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello".to_vec();
    seeds.extend([
        utf_16,
        b"caf\xe9 \x93quoted\x94".to_vec(),
        gzip.finish().unwrap(),
        bzip2.finish().unwrap(),
        zstd,
    ]);
    let change = |random: &mut Random, seeds: &[Vec<u8>]| match random.below(2) {
        0 => mutate::text(random, seeds),
        _ => mutate::bytes(random, seeds),
    };
    Target::new("documents", seeds, change, |bytes| {
        // No other program is started: what only another one reads is told apart by its name and its first bytes.
        for (read_as, name) in [(ReadAs::Text, "a"), (ReadAs::Html, "a.html"), (ReadAs::Man, "a.txt")] {
            let reading = Reading { read_as, limit: 1 << 20, pre: None };
            let Ok(text) = reading.stream(name, bytes) else { continue };
            assert!(text.text.len() <= 8 << 20);
            if let Some(view) = &text.seen {
                let seen = text.seen();
                let whole = view.original(0..seen.len());
                assert!(text.text.get(whole).is_some());
            }
            let half = (0..=text.text.len() / 2).rev().find(|at| text.text.is_char_boundary(*at)).unwrap();
            let _ = text.part(half..text.text.len());
        }
    })
}
