//! `spanqa embed` as a process, and what stands under it: vectors of texts.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::embed::{Embedder, Error, Overrides};
use spanqa::encoder::{Precision, Runtime};
use spanqa::heads::pool::Pooling;
use spanqa::source::{SourceOptions, resolve};

use crate::support::{Run, fixture, fixture_json, gap, numbers, run, run_with_input, spanqa};

/// A tiny model as a folder of sentence-transformers that reads 12 tokens and pools by the mean.
pub fn embedder(family: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture("tiny").join(family)).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "modules.json",
        r#"[{"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}]"#,
    );
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    write("1_Pooling/config.json", r#"{"pooling_mode_mean_tokens": true}"#);
    write("sentence_bert_config.json", r#"{"max_seq_length": 12, "do_lower_case": false}"#);
    folder
}

/// The tiny BERT in such a folder.
fn model() -> &'static str {
    static MODEL: std::sync::LazyLock<String> =
        std::sync::LazyLock::new(|| embedder("minilm").keep().display().to_string());
    &MODEL
}

fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
    ["embed", "--model", model()].into_iter().chain(more.iter().copied()).collect()
}

fn embed(more: &[&str], input: &str) -> Run {
    run_with_input(&arguments(more), input.as_bytes())
}

fn vectors(run: &Run) -> Vec<Vec<f32>> {
    run.records().iter().map(|record| numbers(&record["embedding"])).collect()
}

fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, contents).unwrap();
    path.display().to_string()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A few hundred texts of different lengths, as JSON lines.
fn requests(count: usize) -> String {
    const WORDS: [&str; 8] = ["the", "old", "king", "did", "see", "a", "town", "year"];
    let text = |number: usize| -> String {
        (0..number % 23).map(|at| format!("{} ", WORDS[(number * 5 + at * 3 + at * at) % 8])).collect()
    };
    (0..count).map(|number| format!("{}\n", json!({"id": number, "text": text(number)}))).collect()
}

// ---- vectors -------------------------------------------------------------------------------------------------------

/// See tests/fixtures/texts.py: texts are stripped, framed by special tokens and cut as sentence-transformers does it.
#[test]
fn vectors_equal_pytorch() {
    let golden = fixture_json("heads/texts.json");
    for (family, rows) in golden["families"].as_object().unwrap() {
        let folder = embedder(family);
        let files = ModelFiles::from_dir(folder.path()).unwrap();
        let texts: Vec<&str> =
            rows.as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap()).collect();
        for (name, pooling, normalise) in [
            ("normalised", None, None),
            ("mean", None, Some(false)),
            ("cls", Some(Pooling::First), Some(false)),
        ] {
            let wanted = Overrides { pooling, normalise, ..Overrides::default() };
            let runtime = Runtime { precision: Some(Precision::F32), ..Runtime::default() };
            let embedder = Embedder::open_with(&files, &runtime, &wanted).unwrap();
            assert_eq!(embedder.max_tokens() as u64, golden["longest"].as_u64().unwrap());
            let vectors = embedder.embed(&texts).unwrap();
            for (row, vector) in rows.as_array().unwrap().iter().zip(vectors) {
                let (worst, at) = gap(&numbers(&row[name]), &vector);
                assert!(worst < 1e-4, "{family} {name} {}: {worst} at {at}", row["text"]);
                let tokenised = embedder.tokenise(row["text"].as_str().unwrap()).unwrap();
                assert_eq!(tokenised.tokens as u64, row["tokens"].as_u64().unwrap());
                assert_eq!(tokenised.truncated(), tokenised.tokens > 12);
            }
        }
    }
}

/// See tests/fixtures/inside.py: every token keeps its states, from the embeddings on, with what and where it is.
#[test]
fn the_states_of_every_token_equal_transformers() {
    let golden = fixture_json("heads/inside.json");
    let text = golden["text"].as_str().unwrap();
    for (family, of_family) in golden["families"].as_object().unwrap() {
        let expected = &of_family["single"];
        if expected.is_null() {
            continue;
        }
        // No folder of sentence-transformers is needed: nothing is pooled.
        let model = fixture("tiny").join(family).display().to_string();
        let record = |layer: &str| {
            let arguments =
                ["embed", "--quiet", "--model", &model, "--pool", "none", "--layer", layer, "-c", text];
            let run = run(&arguments);
            assert_eq!(run.code, Some(0), "{family}: {}", run.stderr);
            run.records().remove(0)
        };
        let all = record("all");
        assert_eq!(all["pieces"], expected["tokens"], "{family}");
        assert_eq!(all["offsets"], expected["offsets"], "{family}");
        assert_eq!(all["layers"], json!([0, 1, 2]), "{family}");
        let states = |layer: &Value| {
            numbers(&Value::Array(
                layer.as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap().clone()).collect(),
            ))
        };
        let layers = expected["hidden_states"].as_array().unwrap();
        for (number, layer) in layers.iter().enumerate() {
            let (worst, at) = gap(&numbers(layer), &states(&all["hidden_states"][number]));
            assert!(worst < 1e-4, "{family}: layer {number} is {worst} off at {at}");
            let alone = record(&number.to_string());
            assert_eq!(alone["hidden_states"], json!([all["hidden_states"][number]]), "{family} {number}");
            assert_eq!(alone["layers"], json!([number]));
        }
    }
}

/// Capitals that become longer, text that is left out for the model, and white space in front.
#[test]
fn tokens_say_where_they_stand_in_the_text_as_it_is() {
    let folder = embedder("distilbert");
    std::fs::write(folder.path().join("sentence_bert_config.json"), r#"{"do_lower_case": true}"#).unwrap();
    let file = write(folder.path(), "a.txt", "\n \u{130}\u{130} THE SEA \u{1f451} win-\n   dow");
    let model = folder.path().display().to_string();
    let run = run(&["embed", "--quiet", "--model", &model, "--pool", "none", "--read-as", "man", &file]);
    let record = run.records().remove(0);
    let text: Vec<char> = std::fs::read_to_string(&file).unwrap().chars().collect();
    let said: Vec<(String, String)> = (record["pieces"].as_array().unwrap().iter())
        .zip(record["offsets"].as_array().unwrap())
        .map(|(piece, offset)| {
            let at = |side: usize| offset[side].as_u64().unwrap() as usize;
            (piece.as_str().unwrap().to_owned(), text[at(0)..at(1)].iter().collect())
        })
        .collect();
    for (piece, quoted) in [("[CLS]", ""), ("the", "THE"), ("sea", "SEA"), ("[SEP]", "")] {
        assert!(said.contains(&(piece.into(), quoted.into())), "{piece}: {said:?}");
    }
    let letters = said.iter().filter(|(piece, _)| ["##d", "##o", "##w"].contains(&piece.as_str()));
    assert_eq!(letters.map(|(_, quoted)| quoted.as_str()).collect::<String>(), "dow", "{said:?}");
}

#[test]
fn states_are_rows_of_a_matrix() {
    let folder = tempfile::tempdir().unwrap();
    let input = "\"the king\"\n\"\"\n\"the old sea\"\n";
    let json = embed(&["--quiet", "--pool", "none", "--layer", "all"], input).records();
    for name in ["states.npy", "states.safetensors"] {
        let target = folder.path().join(name).display().to_string();
        let run = embed(&["--quiet", "--pool", "none", "--layer", "all", "-o", &target], input);
        assert_eq!(run.code, Some(0), "{}", run.stderr);
    }
    let bytes = std::fs::read(folder.path().join("states.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let states = tensors.tensor("hidden_states").unwrap();
    // 4, 2 and 5 tokens, special ones included.
    assert_eq!(states.shape(), [11, 3, 32]);
    let floats: Vec<f32> =
        states.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let npy = std::fs::read(folder.path().join("states.npy")).unwrap();
    assert!(npy.ends_with(states.data()));
    assert!(String::from_utf8_lossy(&npy[..128]).contains("'shape': (11, 3, 32)"));
    let (_, head) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = head.metadata().as_ref().unwrap();
    assert_eq!((metadata["layer"].as_str(), metadata["pooling"].as_str()), ("all", "none"));
    let ids: Vec<Value> = serde_json::from_str(&metadata["ids"]).unwrap();
    assert_eq!(
        ids.iter().map(|row| row["rows"].clone()).collect::<Vec<_>>(),
        [json!([0, 4]), json!([4, 6]), json!([6, 11])]
    );
    assert_eq!(ids[2]["pieces"], json[2]["pieces"]);
    let lines = std::fs::read_to_string(folder.path().join("states.npy.ids.jsonl")).unwrap();
    assert_eq!(lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(), ids);
    // The third text's second token in layer 1.
    assert_eq!(floats[(7 * 3 + 1) * 32..][..32], numbers(&json[2]["hidden_states"][1][1])[..]);
}

#[test]
fn layers_that_are_not_there_are_refused() {
    for (flags, what, hint) in [
        (&["--pool", "none", "--layer", "3"][..], "2 layers, so there are no states 3", "--layer 2"),
        (&["--layer", "all"], "--layer all is for --pool none", "--pool none"),
        (&["--layer=-1"], "a whole number from 0, or `all`", ""),
        (&["--layer", "last"], "a whole number from 0, or `all`", ""),
        (&["--pool", "max"], "possible values: mean, cls, none", ""),
    ] {
        let run = embed(&[flags, &["-c", "the king"]].concat(), "");
        assert_eq!(run.code, Some(2), "{flags:?}");
        assert!(run.stderr.contains(what) && run.stderr.contains(hint), "{flags:?}: {}", run.stderr);
    }
    // A layer can be pooled, too: the last one is what is pooled otherwise.
    let vector = |flags: &[&str]| vectors(&embed(&[flags, &["--quiet", "-c", "the king"]].concat(), ""));
    assert_eq!(vector(&["--layer", "2"]), vector(&[]));
    assert_ne!(vector(&["--layer", "1"]), vector(&[]));
}

#[test]
fn a_text_has_the_same_bytes_in_any_batch_and_any_number_of_threads() {
    let input = requests(300);
    let usual = embed(&["--quiet"], &input);
    assert_eq!(usual.code, Some(0), "{}", usual.stderr);
    assert_eq!(usual.records().len(), 300);
    for flags in [
        &["--threads", "1", "--batch-tokens", "1"][..],
        &["--threads", "3", "--batch-tokens", "40"],
        &["--threads", "2", "--batch-tokens", "100000"],
    ] {
        assert_eq!(embed(&[&["--quiet"], flags].concat(), &input).stdout, usual.stdout, "{flags:?}");
    }
    let mut reversed: Vec<&str> = input.lines().rev().collect();
    let run = embed(&["--quiet"], &reversed.join("\n"));
    let mut lines: Vec<&str> = run.stdout.lines().collect();
    lines.reverse();
    assert_eq!(lines, usual.stdout.lines().collect::<Vec<_>>());
    // Alone, too, and from the library.
    let embedder =
        Embedder::open(&ModelFiles::from_dir(Path::new(model())).unwrap(), &Runtime::default()).unwrap();
    reversed.reverse();
    for number in [1, 22, 45] {
        let text: Value = serde_json::from_str(reversed[number]).unwrap();
        let alone = embedder.embed(&[text["text"].as_str().unwrap()]).unwrap();
        assert_eq!(alone[0], vectors(&usual)[number]);
    }
}

#[test]
fn long_texts_are_cut_and_say_so() {
    let long = "the old king did see the old town and the sea and the hill";
    let record = embed(&["--quiet", "-c", long], "").records().remove(0);
    assert_eq!((&record["tokens"], &record["truncated"]), (&json!(16), &json!(true)), "{record}");
    let start =
        embed(&["--quiet", "-c", "the old king did see the old town and the"], "").records().remove(0);
    assert_eq!((&start["tokens"], &start["truncated"]), (&json!(12), &json!(false)));
    assert_eq!(record["embedding"], start["embedding"]);
    let whole = embed(&["--quiet", "--max-tokens", "40", "-c", long], "").records().remove(0);
    assert_eq!(whole["truncated"], json!(false));
    assert_ne!(whole["embedding"], start["embedding"]);
    embed(&["--max-tokens", "65", "-c", long], "").fails_with("takes 64 tokens");
    embed(&["--max-tokens", "2", "-c", long], "").fails_with("leave no room");
}

#[test]
fn flags_go_before_what_the_folder_says() {
    let length = |flags: &[&str]| {
        let run = embed(&[&["--quiet", "-c", "the old king"], flags].concat(), "");
        vectors(&run)[0].iter().map(|number| number * number).sum::<f32>().sqrt()
    };
    assert!((length(&[]) - 1.0).abs() < 1e-5);
    assert!(length(&["--no-normalize"]) > 1.5);
    assert!((length(&["--no-normalize", "--normalize"]) - 1.0).abs() < 1e-5);
    let mean = embed(&["--quiet", "-c", "the old king", "--pool", "mean"], "").stdout;
    assert_eq!(mean, embed(&["--quiet", "-c", "the old king"], "").stdout);
    assert_ne!(mean, embed(&["--quiet", "-c", "the old king", "--pool", "cls"], "").stdout);
}

// ---- models --------------------------------------------------------------------------------------------------------

#[test]
fn a_reader_is_no_embedder_unless_forced() {
    let reader = fixture("tiny/minilm").display().to_string();
    let run = run(&["embed", "--model", &reader, "-c", "the king"]);
    run.fails_with("it has no modules.json, and it was trained to find answers");
    assert!(run.stderr.contains("--force"), "{}", run.stderr);
    let forced = crate::support::run(&["embed", "--quiet", "--force", "--model", &reader, "-c", "the king"]);
    assert_eq!((forced.code, vectors(&forced)[0].len()), (Some(0), 32), "{}", forced.stderr);
    let files = ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap();
    assert!(matches!(
        Embedder::open(&files, &Runtime::default()),
        Err(Error::NoPooling { reader: true, .. })
    ));
}

#[test]
fn the_built_in_embedder_needs_no_file_and_knows_meaning() {
    let run = run(&[
        "embed",
        "--quiet",
        "-c",
        "How do I reset my password?",
        "-c",
        "I forgot my login credentials",
        "-c",
        "The train to the coast was late",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let vectors = vectors(&run);
    let dot = |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(a, b)| a * b).sum::<f32>();
    assert!((dot(0, 0) - 1.0).abs() < 1e-5);
    assert!(dot(0, 1) > 0.4 && dot(0, 2) < 0.2, "{} {}", dot(0, 1), dot(0, 2));
    let record = &run.records()[0];
    assert_eq!(
        (&record["id"], &record["dimensions"], &record["model"]),
        (&json!(1), &json!(384), &json!("builtin-embedder"))
    );
    let names: Vec<String> = record.as_object().unwrap().keys().cloned().collect();
    let all = ["dimensions", "embedding", "id", "model", "tokens", "truncated"];
    assert_eq!(
        names.iter().collect::<std::collections::BTreeSet<_>>(),
        all.map(String::from).iter().collect()
    );
    let files = resolve("builtin-embedder", &SourceOptions::default()).unwrap().files;
    assert_eq!(Embedder::open(&files, &Runtime::default()).unwrap().max_tokens(), 256);
}

#[test]
fn an_embedder_that_is_asked_a_question_says_what_it_can_do() {
    let run = run(&["ask", "--model", "builtin-embedder", "who?", "-c", "the king"]);
    run.fails_with("builtin-embedder makes vectors of texts and cannot answer questions");
    assert!(run.stderr.contains("`spanqa embed --model builtin-embedder`"), "{}", run.stderr);
}

#[test]
fn models_knows_embedders() {
    let list = run(&["models", "list"]).stdout;
    let row = list.lines().find(|line| line.starts_with("builtin-embedder ")).unwrap();
    assert!(row.contains("Apache-2.0") && row.ends_with("built in"), "{row}");
    let verified = run(&["models", "verify", "builtin-embedder"]);
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
    assert!(verified.stdout.contains("ok: finite vectors of 384 numbers"), "{}", verified.stdout);
    assert!(verified.stdout.contains("256 tokens a text at most"), "{}", verified.stdout);
    let shown = run(&["models", "show", "builtin-embedder"]).stdout;
    assert!(!shown.contains("always answers"), "{shown}");
}

// ---- input ---------------------------------------------------------------------------------------------------------

fn named(run: &Run) -> Vec<Value> {
    let mut records = run.records();
    for record in &mut records {
        let fields = record.as_object_mut().unwrap();
        fields.retain(|name, _| ["id", "file", "line", "text_index"].contains(&name.as_str()));
    }
    records
}

#[test]
fn every_input_gets_its_records_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let text = write(folder.path(), "a.txt", "the old\nking\n");
    let rows = write(
        folder.path(),
        "b.jsonl",
        "{\"id\": \"x\", \"text\": \"the old\\nking\"}\n\n{\"texts\": [\"the sea\", \"\"]}\n\"the town\"\n",
    );
    let run = embed(&["--quiet", "-c", "the sea", "-c", "the town", &text, &rows], "");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let expected = json!([
        {"id": 1}, {"id": 2}, {"file": text}, {"id": "x"},
        {"id": 3, "text_index": 0}, {"id": 3, "text_index": 1}, {"id": 4}
    ]);
    assert_eq!(json!(named(&run)), expected);
    let vectors = vectors(&run);
    assert_eq!((&vectors[2], &vectors[0], &vectors[1]), (&vectors[3], &vectors[4], &vectors[6]));
    assert_eq!(run.records()[5]["tokens"], json!(2));
    // A flag goes before the name of a file.
    let lines = embed(&["--quiet", "--lines", &text], "");
    assert_eq!(json!(named(&lines)), json!([{"file": text, "line": 1}, {"file": text, "line": 2}]));
    let raw = embed(&["--quiet", "--lines", &rows], "");
    assert_eq!(raw.records().len(), 4, "blank lines are texts: rows are lines");
    assert_eq!(embed(&["--quiet", "--jsonl", &text], "").records()[0]["error"]["code"], json!("not_json"));
}

#[test]
fn standard_input_is_taken_for_what_its_first_line_is() {
    for (input, flags, expected) in [
        ("the old\nking\n", &[][..], json!([{"file": "-"}])),
        ("\"Who\", he said\n", &[], json!([{"file": "-"}])),
        ("\"the king\"\n{\"text\": \"a\"}\n", &[], json!([{"id": 1}, {"id": 2}])),
        ("the old\r\nking", &["--lines"], json!([{"file": "-", "line": 1}, {"file": "-", "line": 2}])),
        ("\"the king\"\n", &["--lines", "-"], json!([{"file": "-", "line": 1}])),
        ("", &["--jsonl"], json!([])),
    ] {
        let run = embed(&[&["--quiet"], flags].concat(), input);
        assert_eq!((run.code, json!(named(&run))), (Some(0), expected), "{input:?} {}", run.stderr);
    }
}

/// What `ask` reads: compression, HTML, hyphens at the ends of lines.
#[test]
fn files_are_read_as_ask_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let html = write(
        folder.path(),
        "a.html",
        "<html><head><title>x</title><style>p{}</style></head><body><p>the old king</p></body></html>",
    );
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"{\"text\": \"the old king\"}\n").unwrap();
    let packed = write(folder.path(), "b.jsonl.gz", packed.finish().unwrap());
    let run = embed(&["--quiet", "-c", "the old king", &html, &packed], "");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    let vectors = vectors(&run);
    assert_eq!(vectors[0], vectors[2]);
    let title = embed(&["--quiet", "-c", "x\n\nthe old king"], "");
    let body = self::vectors(&title);
    assert!(vectors[1] == vectors[0] || vectors[1] == body[0], "markup was read");
}

#[test]
fn folders_are_walked_and_what_is_no_text_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(folder.path(), "b.md", "the old king");
    write(folder.path(), "a/c.jsonl", "{\"id\": 7, \"text\": \"the sea\"}\n");
    write(folder.path(), "a/d.bin", b"\0\x01\x02");
    write(folder.path(), ".hidden", "no");
    let root = folder.path().display().to_string();
    let run = embed(&["-r", &root], "");
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert_eq!(json!(named(&run)), json!([{"id": 7}, {"file": path("b.md")}]));
    assert!(run.stderr.contains("note: skipped: ") && run.stderr.contains("d.bin"), "{}", run.stderr);
    embed(&[&root], "").fails_with("is a folder");
    embed(&[&path("missing")], "").fails_with("cannot read");
    embed(&["--lines", &write(folder.path(), "e.pdf", "%PDF-1.4\n")], "").fails_with("has no lines");
}

#[test]
fn a_texts_failure_is_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let binary = write(folder.path(), "a.bin", b"\0\x01\x02");
    let rows =
        write(folder.path(), "b.jsonl", b"{\"id\": 1, \"text\": 5}\n{\"id\": 2\n\"\xff\"\n\"the king\"\n");
    let run = embed(&[&binary, &rows], "");
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let records = run.records();
    let codes: Vec<&Value> = records.iter().map(|record| &record["error"]["code"]).collect();
    assert_eq!(
        codes,
        ["document_binary", "wrong_type", "not_json", "not_utf8"]
            .map(Value::from)
            .iter()
            .chain([&Value::Null])
            .collect::<Vec<_>>()
    );
    assert_eq!(records[0]["file"], json!(binary));
    assert_eq!((&records[1]["id"], &records[1]["line"]), (&json!(1), &json!(1)));
    assert_eq!((&records[2]["file"], &records[2]["line"]), (&json!(rows), &json!(2)));
    assert!(records[1]["error"]["hint"].as_str().unwrap().contains("\"texts\""));
    assert!(run.stderr.contains("5 texts: 0 cut, 4 errors"), "{}", run.stderr);
}

#[test]
fn an_empty_file_is_remarked() {
    let folder = tempfile::tempdir().unwrap();
    let empty = write(folder.path(), "a.txt", " \n");
    let run = embed(&[&empty], "");
    assert_eq!((run.code, &run.records()[0]["tokens"]), (Some(0), &json!(2)));
    assert!(run.stderr.contains("there is nothing to read in"), "{}", run.stderr);
}

// ---- output --------------------------------------------------------------------------------------------------------

/// The rows of a .npy file, read by the description of the format.
fn npy(path: &Path) -> (Vec<usize>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let head = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(start % 64 == 0 && head.ends_with('\n'), "{head:?}");
    assert!(head.contains("'descr': '<f4'") && head.contains("'fortran_order': False"), "{head}");
    let shape = head.split('(').nth(1).unwrap().split(')').next().unwrap();
    let shape = shape.split(',').map(|size| size.trim().parse().unwrap()).collect();
    let numbers = bytes[start..].chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    (shape, numbers.collect())
}

#[test]
fn matrices_hold_the_numbers_of_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let input = requests(40);
    let records = embed(&["--quiet"], &input);
    let expected: Vec<f32> = vectors(&records).concat();

    let run = embed(&["-o", &at("v.npy").display().to_string()], &input);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
    assert_eq!(npy(&at("v.npy")), (vec![40, 32], expected.clone()));
    assert!(run.stderr.contains("v.npy.ids.jsonl"), "{}", run.stderr);
    let ids = std::fs::read_to_string(at("v.npy.ids.jsonl")).unwrap();
    let ids: Vec<Value> = ids.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ids.len(), &ids[39]), (40, &json!({"id": 39, "tokens": 18, "truncated": true})));

    let run = embed(&["-o", &at("v.safetensors").display().to_string()], &input);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
    let bytes = std::fs::read(at("v.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let embeddings = tensors.tensor("embeddings").unwrap();
    assert_eq!(embeddings.shape(), [40, 32]);
    let found = embeddings.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap()));
    assert_eq!(found.collect::<Vec<_>>(), expected);
    let (_, head) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = head.metadata().as_ref().unwrap();
    assert_eq!(serde_json::from_str::<Vec<Value>>(&metadata["ids"]).unwrap(), ids);
    assert_eq!((metadata["pooling"].as_str(), metadata["normalized"].as_str()), ("mean", "true"));

    let jsonl = at("v.jsonl").display().to_string();
    assert_eq!(embed(&["--quiet", "-o", &jsonl], &input).stdout, "");
    assert_eq!(std::fs::read_to_string(&jsonl).unwrap(), records.stdout);
    assert_eq!(names(folder.path()), ["v.jsonl", "v.npy", "v.npy.ids.jsonl", "v.safetensors"]);

    // Nothing in, no rows out.
    let none = at("none.npy").display().to_string();
    assert_eq!(embed(&["--quiet", "--jsonl", "-o", &none], "").code, Some(0));
    assert_eq!(npy(Path::new(&none)), (vec![0, 32], Vec::new()));
}

#[test]
fn a_matrix_is_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("v.npy"), "old").unwrap();
    for target in ["v.npy", "w.safetensors"] {
        let run = embed(&["--jsonl", "-o", &at(target)], "\"the king\"\n{\"text\": 5}\n\"the sea\"\n");
        run.fails_with("-, line 2: the field `text` must be a text, not a number");
        assert!(run.stderr.contains("was not written"), "{}", run.stderr);
    }
    assert_eq!(names(folder.path()), ["v.npy"]);
    assert_eq!(std::fs::read_to_string(at("v.npy")).unwrap(), "old");
    embed(&["--format", "npy", "-c", "a"], "").fails_with("cannot be written to standard output");
    embed(&["-o", &folder.path().display().to_string(), "-c", "a"], "").fails_with("is a folder");
    embed(&["-o", &at("no/v.npy"), "-c", "a"], "").fails_with("no/v.npy");
    embed(&["-o", &at("v.npy"), &at("v.npy")], "").fails_with("cannot be the output");
}

#[test]
#[cfg(unix)]
fn an_interrupt_leaves_whole_records_and_no_half_file() {
    use std::io::{BufRead, BufReader, Read};
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = folder.path().join("v.npy").display().to_string();
    let empty = write(elsewhere.path(), "empty.txt", "");
    let all = embed(&["--quiet", &empty, "-"], &requests(400)).stdout;
    for (more, signal, code) in [(&[][..], "INT", 130), (&["-o", &target], "TERM", 143)] {
        let mut child = spanqa(&arguments(&[&[empty.as_str(), "-"][..], more].concat()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The pipe stays open: without the signal it would wait for ever.
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(requests(400).as_bytes()).unwrap();
        let mut text = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // It remarks the empty file, so it is at work.
        stderr.read_line(&mut String::new()).unwrap();
        if more.is_empty() {
            stdout.read_line(&mut text).unwrap();
        }
        let kill = ["-s", signal, &child.id().to_string()];
        assert!(std::process::Command::new("kill").args(kill).status().unwrap().success());
        stdout.read_to_string(&mut text).unwrap();
        let mut said = String::new();
        stderr.read_to_string(&mut said).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{said}");
        assert!((text.is_empty() || text.ends_with('\n')) && all.starts_with(&text), "{text}");
        assert_eq!(said.contains("was not written"), !more.is_empty(), "{said}");
        drop(stdin);
    }
    assert!(names(folder.path()).is_empty());
}

#[test]
fn whoever_closes_the_pipe_is_not_an_error() {
    let mut child = spanqa(&arguments(&["--quiet", "--jsonl"]))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(requests(2000).as_bytes());
    drop(stdin);
    let run = Run::from(child.wait_with_output().unwrap());
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""));
}

/// A model whose numbers are damaged: every text fails alone, and nothing panics.
#[test]
fn a_vector_that_is_no_number_is_an_error() {
    let folder = embedder("minilm");
    let path: PathBuf = folder.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let start = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for four in bytes[start..].chunks_exact_mut(4) {
        four.copy_from_slice(&f32::NAN.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let model = folder.path().display().to_string();
    let run = run(&["embed", "--quiet", "--model", &model, "-c", "the king", "-c", "the sea"]);
    assert_eq!(run.code, Some(2), "{}", run.stderr);
    let codes: Vec<Value> = run.records().iter().map(|record| record["error"]["code"].clone()).collect();
    assert_eq!(codes, ["vector_not_finite", "vector_not_finite"]);
}
