//! Models that are broken, hostile or of another kind: each ends in one message, and none in a panic.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Run, fixture, folder_of, overwrite, random_model, run, run_with_input, tiny_model};

fn ask(model: &Path) -> Run {
    run(&["ask", "the", "-c", "the cat", "--window", "60", "--model", model.to_str().unwrap()])
}

fn edit_config(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

/// Rewrites the header of a safetensors file and leaves its data alone.
fn edit_header(folder: &Path, edit: impl FnOnce(&mut Value)) {
    let path = folder.join("model.safetensors");
    let bytes = std::fs::read(&path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    edit(&mut header);
    let header = header.to_string();
    let parts = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &bytes[8 + length..]];
    std::fs::write(path, parts.concat()).unwrap();
}

#[test]
fn other_kinds_of_models_are_refused_by_name() {
    for (key, value, said) in [
        ("model_type", json!("deberta-v2"), "deberta-v2"),
        ("model_type", json!("xlnet"), "xlnet"),
        ("model_type", Value::Null, "model_type"),
        ("position_embedding_type", json!("relative_key_query"), "relative_key_query"),
        ("num_labels", json!(3), "num_labels \"3\""),
        ("hidden_act", json!("relu"), "relu"),
        ("num_attention_heads", json!(5), "not a multiple"),
        ("hidden_size", json!("wide"), "hidden_size"),
        ("num_hidden_layers", json!(9), "encoder.layer.2"),
        // As many as there may be: nothing is laid out before the first one is missed.
        ("num_hidden_layers", json!(1 << 24), "encoder.layer.2"),
        ("intermediate_size", json!(32), "[32, 32]"),
        ("vocab_size", json!(119), "[119, 32]"),
        ("max_position_embeddings", json!(10_000_000), "10000000"),
    ] {
        let folder = tiny_model();
        edit_config(folder.path(), |config| config[key] = value);
        ask(folder.path()).fails_with(said);
    }
}

#[test]
fn a_model_for_another_task_is_refused() {
    let folder = tiny_model();
    edit_header(folder.path(), |header| {
        let header = header.as_object_mut().unwrap();
        let weight = header.remove("qa_outputs.weight").unwrap();
        header.insert("classifier.weight".into(), weight);
    });
    let run = ask(folder.path());
    run.fails_with("qa_outputs");
    assert!(run.stderr.contains("it has classifier"), "{}", run.stderr);
}

/// Scales of scales of scales would be followed for ever.
#[test]
fn quantisation_scales_are_numbers() {
    let folder = tiny_model();
    edit_header(folder.path(), |header| {
        let header = header.as_object_mut().unwrap();
        let name = "bert.embeddings.token_type_embeddings.weight";
        let mut tensor = header.remove(name).unwrap();
        let start = tensor["data_offsets"][0].as_u64().unwrap();
        let end = tensor["data_offsets"][1].as_u64().unwrap();
        // The same bytes, as so many integers.
        tensor["dtype"] = json!("I8");
        tensor["shape"] = json!([2, 32]);
        let mut chain = name.to_owned();
        let (mut start, count) = (start, (end - start - 64) / 2);
        tensor["data_offsets"] = json!([start, start + 64]);
        header.insert(chain.clone(), tensor);
        start += 64;
        for _ in 0..count {
            chain += ".scale";
            header.insert(
                chain.clone(),
                json!({"dtype": "I8", "shape": [2], "data_offsets": [start, start + 2]}),
            );
            start += 2;
        }
    });
    ask(folder.path()).fails_with("expected f32, f16 or bf16");
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    let folder = tiny_model();
    edit_header(folder.path(), |header| {
        let header = header.as_object_mut().unwrap();
        let tensor = header.remove("bert.encoder.layer.1.output.dense.bias").unwrap();
        header.insert("something.else".into(), tensor);
    });
    ask(folder.path()).fails_with("bert.encoder.layer.1.output.dense.bias");
    let folder = tiny_model();
    edit_header(folder.path(), |header| {
        header["bert.encoder.layer.0.intermediate.dense.weight"]["shape"] = json!([32, 64]);
    });
    ask(folder.path()).fails_with("[32, 64]");
}

#[test]
fn damaged_weights_are_refused() {
    let original = std::fs::read(fixture("tiny/minilm/model.safetensors")).unwrap();
    let header = u64::from_le_bytes(original[..8].try_into().unwrap()) as usize;
    let mut cases: Vec<(String, Vec<u8>)> = [0, 1, 7, 8, 9, header, header + 8, original.len() - 1]
        .map(|length| (format!("cut to {length}"), original[..length].to_vec()))
        .into();
    cases.push(("longer".into(), [&original[..], b"more"].concat()));
    for length in [u64::MAX, 1 << 62, 1 << 40, original.len() as u64, 0] {
        let mut bytes = original.clone();
        bytes[..8].copy_from_slice(&length.to_le_bytes());
        cases.push((format!("header of {length}"), bytes));
    }
    let with_header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    for header in [
        "",
        "{}",
        "[]",
        "not json",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,18446744073709551615]}}",
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}",
        "{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}",
    ] {
        cases.push((header.into(), with_header(header)));
    }
    cases.push(("deep".into(), with_header(&"[".repeat(100_000))));
    for (name, bytes) in cases {
        let folder = tiny_model();
        std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
        let run = ask(folder.path());
        assert!(run.stderr.contains("model.safetensors"), "{name}: {run:?}");
        run.fails_with("");
    }
}

/// Every single byte of the header set to something else: an error or an answer, never a crash.
#[test]
fn a_header_with_a_wrong_byte_never_panics() {
    use spanqa::checkpoint::ModelFiles;
    use spanqa::encoder::Runtime;
    use spanqa::heads::QaModel;
    let original = std::fs::read(fixture("tiny/minilm/model.safetensors")).unwrap();
    let header = u64::from_le_bytes(original[..8].try_into().unwrap()) as usize;
    let folder = tiny_model();
    let runtime = Runtime { threads: Some(1), ..Runtime::default() };
    for at in (0..header + 8).step_by(13) {
        for value in [0, b'9', b'"', 0xff] {
            let mut bytes = original.clone();
            bytes[at] = value;
            std::fs::write(folder.path().join("model.safetensors"), bytes).unwrap();
            let _ = QaModel::load(&ModelFiles::from_dir(folder.path()).unwrap(), &runtime);
        }
    }
}

#[test]
fn damaged_pytorch_files_are_refused() {
    let original = std::fs::read(fixture("tiny/variants/bin/pytorch_model.bin")).unwrap();
    for (name, bytes) in [
        ("empty", Vec::new()),
        ("text", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n".to_vec()),
        ("cut", original[..original.len() / 2].to_vec()),
        ("no directory", original[..original.len() - 30].to_vec()),
    ] {
        let folder = tiny_model();
        std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), bytes).unwrap();
        let run = ask(folder.path());
        assert!(run.stderr.contains("pytorch_model.bin"), "{name}: {run:?}");
        run.fails_with("");
    }
}

/// The header of a million tensors, and a pickle of as many opening brackets: refused before anything is laid out.
#[test]
fn weights_with_endless_descriptions_are_refused_at_once() {
    let folder = tiny_model();
    let path = folder.path().join("model.safetensors");
    let entries: Vec<String> = (0..200_000)
        .map(|index| format!("\"t{index}\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}"))
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    std::fs::write(&path, [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()).unwrap();
    ask(folder.path()).fails_with("10485760 are the most that are read");

    std::fs::remove_file(&path).unwrap();
    let path = folder.path().join("pytorch_model.bin");
    let mut bytes = std::fs::read(fixture("tiny/variants/bin/pytorch_model.bin")).unwrap();
    // Its first entry is the pickle: the dictionary becomes tuples in tuples.
    let start = bytes.windows(2).position(|two| two == b"\x80\x02").unwrap();
    bytes[start + 2] = b')';
    bytes[start + 3..start + 4000].fill(0x85);
    bytes[start + 4000] = b'.';
    std::fs::write(&path, bytes).unwrap();
    ask(folder.path()).fails_with("no state dictionary");
}

/// The tiny BERT with its tokenizer as a tokenizer.json, edited.
fn with_tokenizer(edit: impl Fn(&mut Value)) -> tempfile::TempDir {
    use spanqa::checkpoint::ModelFiles;
    use spanqa::text::Tokenizer;
    let tiny = Tokenizer::from_files(&ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap()).unwrap();
    let mut json = tiny.to_json().unwrap();
    edit(&mut json);
    let folder = tiny_model();
    std::fs::remove_file(folder.path().join("vocab.txt")).unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), json.to_string()).unwrap();
    folder
}

/// What a tokenizer.json made the `tokenizers` crate do: panics, gigabytes, minutes, a stack without end. One message each.
#[test]
fn hostile_tokenizers_are_refused() {
    let with = |edit: &dyn Fn(&mut Value)| ask(with_tokenizer(edit).path());
    assert_eq!(with(&|_| {}).code, Some(1), "the tokenizer itself works");
    let doubling = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    // 2 GiB of units that are not there.
    let garbage = json!({"type": "Precompiled", "precompiled_charsmap": "////f0FBQUE="});
    with(&|json| json["normalizer"] = garbage.clone()).fails_with("character map is broken");
    with(&|json| json["normalizer"] = json!({"type": "Sequence", "normalizers": vec![doubling.clone(); 30]}))
        .fails_with("times as long");
    with(&|json| json["normalizer"] = json!({"type": "Prepend", "prepend": "a".repeat(10_000_000)}))
        .fails_with("times as long");
    with(&|json| json["model"]["max_input_chars_per_word"] = json!(1_000_000_000))
        .fails_with("max_input_chars_per_word");
    let pieces = json!([["<unk>", 0.0], ["a", -1.0], ["x".repeat(200_000), -2.0]]);
    with(&|json| json["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": pieces}))
        .fails_with("200000");
    with(&|json| {
        json["post_processor"] = json!({
            "type": "TemplateProcessing", "special_tokens": {},
            "single": [{"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        });
    })
    .fails_with("uses `[X]` and does not say");
    with(&|json| {
        let nothing = json!({
            "id": 117, "content": "\u{200d}", "normalized": true, "special": false,
            "single_word": false, "lstrip": false, "rstrip": false,
        });
        json["added_tokens"].as_array_mut().unwrap().push(nothing);
    })
    .fails_with("makes nothing of the added token");
    with(&|json| json["pre_tokenizer"] = split(r"(\w)\1")).fails_with("Backref is not supported");
    // What cannot be seen beforehand: a pre-tokenizer that cuts pieces of no length panics, and is told once.
    with(&|json| json["pre_tokenizer"] = json!({"type": "FixedLength", "length": 0}))
        .fails_with("the tokenizers library cannot work with it");
}

/// Cuts texts where an expression matches, and then as BERT does.
fn split(pattern: &str) -> Value {
    let split =
        json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    json!({"type": "Sequence", "pretokenizers": [split, {"type": "BertPreTokenizer"}]})
}

/// At each of a million places it reads on to the end.
#[test]
fn an_expression_without_end_is_an_error_of_its_text() {
    let folder = with_tokenizer(|json| json["pre_tokenizer"] = split(r"x[\s\S]*Q|x"));
    let line = |context: &str| json!({"question": "who?", "context": context}).to_string();
    let lines = [line("the old king"), line(&"x".repeat(1 << 20)), line("the old king")].join("\n");
    let model = folder.path().display().to_string();
    let begun = std::time::Instant::now();
    let run = run_with_input(&["batch", "--model", &model, "--window", "60"], lines.as_bytes());
    let records = run.records();
    assert_eq!(records.len(), 3, "{run:?}");
    assert!(records[1].to_string().contains("takes too long for this text"), "{}", records[1]);
    assert!(records[0].get("error").is_none() && records[2].get("error").is_none(), "{run:?}");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    // One that is harmless changes nothing.
    let harmless = with_tokenizer(|json| json["pre_tokenizer"] = split(r"\s+(?!\S)|\s+"));
    let answers = |folder: &Path| {
        let model = folder.display().to_string();
        let run =
            run_with_input(&["batch", "--model", &model, "--window", "60"], line("the old king").as_bytes());
        run.records()[0]["answers"].clone()
    };
    assert_eq!(answers(harmless.path()), answers(with_tokenizer(|_| {}).path()));
}

#[test]
fn incomplete_models_say_what_is_missing() {
    for (missing, said) in [
        ("config.json", "config.json"),
        ("model.safetensors", "pytorch_model.bin"),
        ("vocab.txt", "vocab.txt"),
    ] {
        let folder = tiny_model();
        std::fs::remove_file(folder.path().join(missing)).unwrap();
        ask(folder.path()).fails_with(said);
    }
    let folder = tiny_model();
    std::fs::write(folder.path().join("config.json"), "{").unwrap();
    ask(folder.path()).fails_with("not JSON");
    let folder = folder_of(&["config.json", "vocab.txt"].map(|name| fixture("tiny/minilm").join(name)));
    std::fs::write(
        folder.path().join("model.safetensors.index.json"),
        json!({"weight_map": {"a": "../../etc/passwd", "b": "model-1.safetensors"}}).to_string(),
    )
    .unwrap();
    ask(folder.path()).fails_with("../../etc/passwd");
}

#[test]
fn a_tokenizer_of_another_model_is_noticed() {
    let folder = tiny_model();
    let vocabulary = folder.path().join("vocab.txt");
    let words = std::fs::read_to_string(&vocabulary).unwrap() + "extra\nwords\n";
    std::fs::write(&vocabulary, words).unwrap();
    ask(folder.path()).fails_with("118 embeddings");
}

/// Weights that are not numbers give an error that names the type, not an answer.
#[test]
fn weights_that_are_not_numbers_are_noticed() {
    let folder = tiny_model();
    overwrite(&folder.path().join("model.safetensors"), "qa_outputs.bias", 0, f32::NAN);
    ask(folder.path()).fails_with("not finite numbers in f32");
}

/// The same for a packed model, whose weights are integers and scales: one scale inside a layer spoils every question, that of one
/// word the questions that have this word, and no other.
#[test]
fn scales_that_are_not_numbers_are_noticed() {
    let packed = || {
        // So wide that its word embeddings are worth rounding, too.
        let folder = random_model("minilm", 96);
        std::fs::copy(fixture("tiny/minilm/vocab.txt"), folder.path().join("vocab.txt")).unwrap();
        let files = spanqa::checkpoint::ModelFiles::from_dir(folder.path()).unwrap();
        let path = folder.path().join("packed.safetensors");
        spanqa::checkpoint::quantised::pack(&files, &path).unwrap();
        std::fs::rename(path, folder.path().join("model.safetensors")).unwrap();
        folder
    };
    for module in ["attention.self.query", "intermediate.dense", "output.dense"] {
        for bad in [f32::NAN, f32::INFINITY] {
            let folder = packed();
            let name = format!("bert.encoder.layer.1.{module}.weight.scale");
            overwrite(&folder.path().join("model.safetensors"), &name, 3, bad);
            ask(folder.path()).fails_with("not finite numbers in int8");
        }
    }
    let folder = packed();
    let vocabulary = std::fs::read_to_string(folder.path().join("vocab.txt")).unwrap();
    let word = vocabulary.lines().position(|word| word == "king").unwrap();
    let name = "bert.embeddings.word_embeddings.weight.scale";
    overwrite(&folder.path().join("model.safetensors"), name, word, f32::NAN);
    let requests = ["the cat", "the king", "the hill"]
        .map(|context| json!({"question": "who?", "context": context}).to_string() + "\n");
    let model = folder.path().to_str().unwrap();
    let run = run_with_input(&["batch", "--model", model, "--quiet"], requests.concat().as_bytes());
    let codes: Vec<Value> = run.records().iter().map(|record| record["error"]["code"].clone()).collect();
    assert_eq!(codes, [Value::Null, json!("not_finite"), Value::Null], "{run:?}");
}

/// A device never ends and a pipe may never begin: neither is a file of a model.
#[cfg(unix)]
#[test]
fn links_to_devices_are_no_files_of_a_model() {
    for name in ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"] {
        let folder = tiny_model();
        let path = folder.path().join(name);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
        let run = ask(folder.path());
        match name {
            "tokenizer_config.json" => assert_ne!(run.code, Some(2), "{run:?}"),
            "model.safetensors" => run.fails_with("pytorch_model.bin"),
            _ => run.fails_with(name),
        }
    }
}

/// What is not in a folder listing, because it was named file by file.
#[cfg(unix)]
#[test]
fn a_device_is_refused_however_it_was_named() {
    use spanqa::checkpoint::{ModelFile, ModelFiles};
    let zero = || ModelFile::OnDisk("/dev/zero".into());
    for error in [zero().read().unwrap_err(), zero().map().unwrap_err()] {
        assert!(error.to_string().contains("not a regular file"), "{error}");
    }
    let files = ["config.json", "vocab.txt", "model.safetensors"].map(|name| (name.to_owned(), zero()));
    assert!(ModelFiles::new("m", None, files).identity().is_err());
}

#[test]
fn models_are_verified_and_packed() {
    let folder = tiny_model();
    let path = folder.path().to_str().unwrap();
    let verified = run(&["models", "verify", path]);
    assert_eq!(verified.code, Some(0), "{verified:?}");
    for fact in ["tokenizer  ok", "encoder    ok", "forward    ok", "64 tokens a window"] {
        assert!(verified.stdout.contains(fact), "{fact}: {}", verified.stdout);
    }
    let packed = folder.path().join("packed.safetensors");
    assert_eq!(run(&["models", "pack", path, packed.to_str().unwrap()]).code, Some(0));
    assert!(packed.is_file());
    run(&["models", "pack", path, "no/such/folder/out.safetensors"]).fails_with("cannot write");
    edit_config(folder.path(), |config| config["model_type"] = json!("deberta"));
    let refused = run(&["models", "verify", path]);
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("deberta"), "{}", refused.stderr);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said() {
    let folder = tiny_model();
    let mut command = crate::support::spanqa(&["ask", "the", "-c", "the cat", "--window", "60", "--model"]);
    command.arg(folder.path());
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = command.stdout(full).stderr(std::process::Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("No space left"), "{stderr}");
}
