//! Tokenizers against goldens made by transformers (tests/fixtures/tokenizer_goldens.py).

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use spanqa::checkpoint::{ModelFile, ModelFiles};
use spanqa::text::{Error, Result, Tokenizer, TokenizerOrigin, Tokens};

use crate::hints::hint;

const LEGACY: [&str; 4] = ["vocab.txt", "vocab.json", "merges.txt", "sentencepiece.bpe.model"];
const FAMILIES: [&str; 4] = ["bert-uncased", "bert-cased", "roberta", "xlm-roberta"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers")
}

/// The files of a family without its tokenizer.json.
fn legacy_files(folder: &Path) -> ModelFiles {
    let all = ModelFiles::from_dir(folder).unwrap();
    let mut files: Vec<_> = all
        .iter()
        .filter(|(name, _)| *name != "tokenizer.json")
        .map(|(name, file)| (name.to_owned(), file.clone()))
        .collect();
    if !LEGACY.iter().any(|name| all.get(name).is_some()) {
        // bert-uncased: the vocabulary is the built-in model's.
        let vocab = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/builtin/vocab.txt");
        files.push(("vocab.txt".into(), ModelFile::OnDisk(vocab)));
    }
    ModelFiles::new(folder.display().to_string(), None, files)
}

fn golden(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<u32> {
    let number = |value: &Value| value.as_i64().map_or(0, |n| if n < 0 { u32::MAX } else { n as u32 });
    value.as_array().unwrap().iter().map(number).collect()
}

fn expected(record: &Value) -> Tokens {
    let flat = numbers(&record["offsets"]);
    Tokens {
        ids: numbers(&record["ids"]),
        offsets: flat.chunks(2).map(|span| (span[0] as usize, span[1] as usize)).collect(),
        words: numbers(&record["words"]),
    }
}

/// Says where two token lists part, not just that they do.
fn compare(what: &str, text: &str, got: &Tokens, want: &Tokens) {
    let start: String = text.chars().take(40).collect();
    let first = (0..got.len().max(want.len())).find(|i| {
        got.ids.get(*i) != want.ids.get(*i)
            || got.offsets.get(*i) != want.offsets.get(*i)
            || got.words.get(*i) != want.words.get(*i)
    });
    if let Some(i) = first {
        let show = |tokens: &Tokens| {
            (tokens.ids.get(i).copied(), tokens.offsets.get(i).copied(), tokens.words.get(i).copied())
        };
        panic!("{what}: {start:?} differs at token {i}: got {:?}, want {:?}", show(got), show(want));
    }
}

/// The tokenizer that comes back from the tokenizer.json that one writes.
fn written(tokenizer: &Tokenizer) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_json().unwrap().to_string()).unwrap();
    Tokenizer::from_files(&ModelFiles::from_dir(folder.path()).unwrap()).unwrap()
}

/// Compares a family's tokenizers with its goldens, and returns how many strings that were.
fn check_family(folder: &Path) -> usize {
    let golden = golden(folder);
    let legacy = Tokenizer::from_files(&legacy_files(folder)).unwrap();
    let mut checked = 0;
    let mut built = vec![written(&legacy), legacy];
    if folder.join("tokenizer.json").exists() {
        built.push(Tokenizer::from_files(&ModelFiles::from_dir(folder).unwrap()).unwrap());
        assert_eq!(built[2].origin(), TokenizerOrigin::Json);
    }
    for (number, tokenizer) in built.iter().enumerate() {
        let what = format!("{} from {}", folder.display(), tokenizer.origin());
        assert_eq!(tokenizer.vocab_size() as u64, golden["vocab_size"].as_u64().unwrap(), "{what}");
        check_pair(&what, tokenizer, &golden["pair"]);
        let of_json: &[Value] = match (number, golden["json_strings"].as_array()) {
            (2, Some(records)) => records,
            _ => &[],
        };
        for record in golden["strings"].as_array().unwrap() {
            let text = record["text"].as_str().unwrap();
            let got = tokenizer.encode(text).unwrap();
            let own = of_json.iter().find(|own| own["text"] == record["text"]);
            match own {
                Some(own) => compare(&what, text, &got, &expected(own)),
                // Long strings are not stored twice.
                None if !of_json.is_empty() && got.len() >= 300 => {
                    assert_eq!(got.ids, expected(record).ids, "{what}")
                }
                None => compare(&what, text, &got, &expected(record)),
            }
            checked += 1;
        }
    }
    checked
}

/// A window put together from the template equals the pair that transformers encodes.
fn check_pair(what: &str, tokenizer: &Tokenizer, golden: &Value) {
    let template = tokenizer.template();
    let question = tokenizer.encode(golden["question"].as_str().unwrap()).unwrap().ids;
    let context = tokenizer.encode(golden["context"].as_str().unwrap()).unwrap().ids;
    let ids =
        [&template.prefix, &question, &template.middle, &context, &template.suffix].map(|part| &part[..]);
    let segments = [
        &template.prefix_segments[..],
        &vec![template.question_segment; question.len()],
        &template.middle_segments,
        &vec![template.context_segment; context.len()],
        &template.suffix_segments,
    ];
    assert_eq!(ids.concat(), numbers(&golden["ids"]), "{what}");
    assert_eq!(segments.concat(), numbers(&golden["segments"]), "{what}");
    assert_eq!(
        template.special_tokens(),
        ids.concat().len() - question.len() - context.len(),
        "{what}: special tokens"
    );
}

#[test]
fn small_vocabularies_agree_with_transformers() {
    for family in FAMILIES {
        assert!(check_family(&fixtures().join(family)) >= 136, "{family}");
    }
}

/// The same with full vocabularies: `tokenizer_goldens.py full ... OUT_DIR`, then SPANQA_TOKENIZERS=OUT_DIR.
#[test]
#[ignore = "needs full vocabularies in SPANQA_TOKENIZERS"]
fn full_vocabularies_agree_with_transformers() {
    let folder = PathBuf::from(std::env::var_os("SPANQA_TOKENIZERS").expect("SPANQA_TOKENIZERS"));
    for family in FAMILIES {
        println!("{family}: {} strings agree", check_family(&folder.join(family)));
    }
}

/// How long building takes: cargo test --test it -- --ignored --nocapture building_times
#[test]
#[ignore = "a measurement; needs SPANQA_TOKENIZERS"]
fn building_times() {
    let folder = PathBuf::from(std::env::var_os("SPANQA_TOKENIZERS").expect("SPANQA_TOKENIZERS"));
    for family in FAMILIES {
        let folder = folder.join(family);
        for files in [legacy_files(&folder), ModelFiles::from_dir(&folder).unwrap()] {
            let mut times: Vec<_> = (0..7)
                .map(|_| {
                    let start = std::time::Instant::now();
                    let tokenizer = Tokenizer::from_files(&files).unwrap();
                    (start.elapsed(), tokenizer.origin())
                })
                .collect();
            let first = times[0].0;
            times.sort_by_key(|(time, _)| *time);
            println!("{family} from {}: first {first:?}, median {:?}", times[3].1, times[3].0);
        }
    }
}

#[test]
fn special_tokens_in_text_are_text() {
    let names = ["[CLS]", "[SEP]", "[PAD]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>", "<unk>"];
    for family in FAMILIES {
        let folder = fixtures().join(family);
        let legacy = Tokenizer::from_files(&legacy_files(&folder)).unwrap();
        let json = folder.join("tokenizer.json").exists();
        let json = json.then(|| Tokenizer::from_files(&ModelFiles::from_dir(&folder).unwrap()).unwrap());
        for tokenizer in [Some(legacy), json].into_iter().flatten() {
            let size = tokenizer.vocab_size() as u32;
            let structural: Vec<u32> = (0..size)
                .filter(|id| tokenizer.token(*id).is_some_and(|token| names.contains(&token.as_str())))
                .filter(|id| tokenizer.token(*id).as_deref() != Some("<unk>"))
                .collect();
            assert!(structural.len() >= 4, "{family}: {structural:?}");
            for name in names {
                let texts = [
                    name.to_owned(),
                    format!("a {name} b"),
                    format!("a{name}b"),
                    format!(" {name}{name} "),
                    format!("\n{name}\n"),
                    name.to_uppercase(),
                    name.to_lowercase(),
                    // Full-width forms, which XLM-R's normaliser turns into the plain ones.
                    name.chars().map(|c| char::from_u32(c as u32 + 0xfee0).unwrap()).collect(),
                ];
                for text in texts {
                    let tokens = tokenizer.encode(&text).unwrap();
                    let found = tokens.ids.iter().find(|id| structural.contains(id));
                    assert_eq!(found, None, "{family} from {}: {text:?}", tokenizer.origin());
                    // And the text has not gone missing.
                    assert!(!tokens.is_empty(), "{family}: {text:?}");
                }
            }
        }
    }
}

#[test]
fn ids_have_their_usual_names() {
    let token = |family: &str, id: u32| {
        Tokenizer::from_files(&legacy_files(&fixtures().join(family))).unwrap().token(id)
    };
    assert_eq!(token("bert-uncased", 101).as_deref(), Some("[CLS]"));
    assert_eq!(token("bert-uncased", 30522), None);
    assert_eq!(token("roberta", 2).as_deref(), Some("</s>"));
    assert_eq!(token("xlm-roberta", 2).as_deref(), Some("</s>"));
    assert_eq!(token("xlm-roberta", 3).as_deref(), Some("<unk>"));
    assert_eq!(token("xlm-roberta", u32::MAX), None);
    let folder = fixtures().join("xlm-roberta");
    for files in [legacy_files(&folder), ModelFiles::from_dir(&folder).unwrap()] {
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        let last = tokenizer.vocab_size() as u32 - 1;
        assert_eq!(tokenizer.token(last).as_deref(), Some("<mask>"), "{}", tokenizer.origin());
        assert_eq!(tokenizer.token(0).as_deref(), Some("<s>"), "{}", tokenizer.origin());
        assert_eq!(tokenizer.declared_max_length(), Some(512));
    }
}

// ---- settings of the old files -------------------------------------------------------------------------------

const WORDS: &str =
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nThe\ncafe\ncaf\u{e9}\n\u{4e2d}\n\u{4e2d}\u{6587}\n##\u{6587}";

/// A model of small files, written here.
fn files(contents: &[(&str, &str)]) -> ModelFiles {
    let leak = |(name, content): &(&str, &str)| {
        let name: &'static str = name.to_string().leak();
        let bytes: &'static [u8] = content.to_string().leak().as_bytes();
        (name.to_owned(), ModelFile::BuiltIn { name, bytes })
    };
    ModelFiles::new("test", None, contents.iter().map(leak))
}

fn words(config: &str, text: &str) -> Vec<String> {
    let tokenizer =
        Tokenizer::from_files(&files(&[("vocab.txt", WORDS), ("tokenizer_config.json", config)])).unwrap();
    let ids = tokenizer.encode(text).unwrap().ids;
    ids.iter().map(|id| tokenizer.token(*id).unwrap()).collect()
}

#[test]
fn bert_lower_cases_unless_told_otherwise() {
    let text = "The Caf\u{e9}";
    assert_eq!(words("{}", text), ["the", "cafe"]);
    assert_eq!(words(r#"{"do_lower_case": null}"#, text), ["the", "cafe"]);
    assert_eq!(words(r#"{"do_lower_case": true, "strip_accents": false}"#, text), ["the", "caf\u{e9}"]);
    assert_eq!(words(r#"{"do_lower_case": false}"#, text), ["The", "[UNK]"]);
    assert_eq!(words(r#"{"do_lower_case": false}"#, "caf\u{e9}"), ["caf\u{e9}"]);
    assert_eq!(words(r#"{"do_lower_case": false, "strip_accents": true}"#, "caf\u{e9}"), ["cafe"]);
    assert_eq!(words("{}", "\u{4e2d}\u{6587}"), ["\u{4e2d}", "[UNK]"]);
    assert_eq!(words(r#"{"tokenize_chinese_chars": false}"#, "\u{4e2d}\u{6587}"), ["\u{4e2d}\u{6587}"]);
    // No tokenizer_config.json at all.
    let bare = Tokenizer::from_files(&files(&[("vocab.txt", WORDS)])).unwrap();
    assert_eq!(bare.encode(text).unwrap().ids, [5, 7]);
    assert_eq!(bare.declared_max_length(), None);
}

#[test]
fn special_tokens_may_be_spelled_otherwise() {
    let vocab = "<p>\n<u>\n<c>\n<e>\nthe\n<\nc\n>";
    let config =
        r#"{"cls_token": "<c>", "sep_token": {"content": "<e>", "lstrip": false}, "unk_token": "<u>"}"#;
    let map =
        r#"{"cls_token": {"content": "<c>"}, "sep_token": "<e>", "unk_token": "<u>", "pad_token": "<p>"}"#;
    for extra in [("tokenizer_config.json", config), ("special_tokens_map.json", map)] {
        let tokenizer = Tokenizer::from_files(&files(&[("vocab.txt", vocab), extra])).unwrap();
        assert_eq!(tokenizer.template().prefix, [2]);
        assert_eq!(tokenizer.template().middle, [3]);
        assert_eq!(tokenizer.template().context_segment, 1);
        assert_eq!(tokenizer.encode("the <c> x").unwrap().ids, [4, 5, 6, 7, 1]);
    }
    assert!(Tokenizer::from_files(&files(&[("vocab.txt", vocab)])).is_err());
}

#[test]
fn roberta_may_want_a_space_before_the_first_word() {
    let folder = fixtures().join("roberta");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let (vocab, merges) = (read("vocab.json"), read("merges.txt"));
    let ids = |config: &str, text: &str| {
        let all = [("vocab.json", &vocab[..]), ("merges.txt", &merges), ("tokenizer_config.json", config)];
        let tokens = Tokenizer::from_files(&files(&all)).unwrap().encode(text).unwrap();
        (tokens.ids, tokens.offsets)
    };
    let (with, offsets) = ids(r#"{"add_prefix_space": true}"#, "Who designed");
    assert_eq!(with, ids("{}", " Who designed").0);
    assert_ne!(with, ids("{}", "Who designed").0);
    assert_eq!(offsets, ids("{}", "Who designed").1);
}

#[test]
fn only_a_real_length_counts_as_declared() {
    let declared = |value: &str| {
        let config = format!(r#"{{"model_max_length": {value}}}"#);
        let files = files(&[("vocab.txt", WORDS), ("tokenizer_config.json", &config)]);
        Tokenizer::from_files(&files).unwrap().declared_max_length()
    };
    assert_eq!(declared("512"), Some(512));
    assert_eq!(declared("512.0"), Some(512));
    for silly in ["1000000000000000019884624838656", "1e30", "0", "-1", "0.5", "null", "\"512\""] {
        assert_eq!(declared(silly), None, "{silly}");
    }
}

// ---- files that are wrong ------------------------------------------------------------------------------------

fn refuse(contents: &[(&str, &str)]) -> Error {
    match Tokenizer::from_files(&files(contents)) {
        Ok(tokenizer) => panic!("accepted {contents:?}: {tokenizer:?}"),
        Err(error) => error,
    }
}

#[test]
fn a_model_without_tokenizer_files_is_named() {
    let error = refuse(&[("config.json", "{}"), ("vocab.json", "{}")]);
    assert_eq!(error.code(), "missing_model_file");
    assert!(error.to_string().contains("sentencepiece.bpe.model"), "{error}");
}

#[test]
fn broken_files_are_named_with_a_reason() {
    let roberta = r#"{"<s>":0,"<pad>":1,"</s>":2,"<unk>":3,"a":4,"b":5,"ab":6}"#;
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("vocab.txt", "")], "[UNK]"),
        (&[("vocab.txt", "[UNK]\n[CLS]\na")], "[SEP]"),
        (&[("vocab.txt", WORDS), ("tokenizer_config.json", "[]")], "object"),
        (&[("vocab.txt", WORDS), ("tokenizer_config.json", "{")], "tokenizer_config.json"),
        (&[("vocab.txt", WORDS), ("tokenizer_config.json", r#"{"do_lower_case": "no"}"#)], "boolean"),
        (&[("vocab.txt", WORDS), ("special_tokens_map.json", "7")], "special_tokens_map.json"),
        (&[("vocab.json", "[]"), ("merges.txt", "")], "vocab.json"),
        (&[("vocab.json", r#"{"a": -1}"#), ("merges.txt", "")], "vocab.json"),
        (&[("vocab.json", r#"{"a": 1}"#), ("merges.txt", "")], "<s>"),
        (&[("vocab.json", roberta), ("merges.txt", "#version: 0.2\na b c")], "line 2"),
        (&[("vocab.json", roberta), ("merges.txt", "a")], "line 1"),
        (&[("vocab.json", roberta), ("merges.txt", "a b\nab ab")], "line 2 needs the piece `abab`"),
        (&[("sentencepiece.bpe.model", "hello")], "sentencepiece"),
        (&[("sentencepiece.bpe.model", "")], "<unk>"),
        (&[("tokenizer.json", "")], "tokenizer.json"),
        (&[("tokenizer.json", "{}")], "model"),
    ];
    for (contents, reason) in cases {
        let error = refuse(contents);
        assert_eq!(error.code(), "bad_model_file", "{contents:?}");
        assert!(error.to_string().contains(reason), "{contents:?}: {error}");
        assert!(hint(&error).is_some());
    }
}

/// A tokenizer.json with that model, and BERT's surroundings.
fn with_model(model: Value) -> String {
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 0]},
        "decoder": null, "model": model,
    })
    .to_string()
}

#[test]
fn hostile_models_in_tokenizer_json_are_refused() {
    let vocab = json!({"[CLS]": 0, "[SEP]": 1, "a": 2});
    let wordpiece = |vocab: &Value, unk: &str| {
        json!({"type": "WordPiece", "unk_token": unk, "continuing_subword_prefix": "##",
               "max_input_chars_per_word": 100, "vocab": vocab})
    };
    let charsmap = |base64: &str| {
        let mut file: Value = serde_json::from_str(&with_model(
            json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}),
        ))
        .unwrap();
        file["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": base64});
        file.to_string()
    };
    let cases = [
        with_model(wordpiece(&vocab, "[UNK]")),
        with_model(wordpiece(&json!({}), "[UNK]")),
        with_model(wordpiece(&json!({"a": -1}), "a")),
        with_model(json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": vocab})),
        with_model(json!({"type": "Unigram", "unk_id": 9, "vocab": [["a", 0.0]]})),
        with_model(json!({"type": "Unigram", "unk_id": 0, "vocab": []})),
        with_model(json!({"type": "Unigram", "unk_id": null, "vocab": [["a", 0.0]]})),
        with_model(json!({"type": "Unigram", "unk_id": null, "vocab": []})),
        with_model(json!({"type": "BPE", "vocab": {}, "merges": []})),
        with_model(json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"]})),
        with_model(json!({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["ab ab"]})),
        with_model(json!({"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": ["a b"],
                          "continuing_subword_prefix": "####"})),
        with_model(json!({"type": "Nonsense"})),
        with_model(json!(7)),
        charsmap("not base64!"),
        charsmap("AAAAAA=="),
        charsmap("/////w=="),
        format!("{}{}", r#"{"normalizer":"#.repeat(5000), "}".repeat(5000)),
    ];
    for case in &cases {
        let error = refuse(&[("tokenizer.json", case)]);
        assert_eq!(error.code(), "bad_model_file", "{case:.300}");
        assert!(error.to_string().starts_with("tokenizer.json"), "{error}");
    }
}

#[test]
fn other_templates_are_refused() {
    let words = json!({"type": "WordLevel", "unk_token": "[UNK]",
                       "vocab": {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3}});
    let special = json!({"[SEP]": {"id": "[SEP]", "ids": [1], "tokens": ["[SEP]"]}});
    let (a, b, sep) = (
        json!({"Sequence": {"id": "A", "type_id": 0}}),
        json!({"Sequence": {"id": "B", "type_id": 1}}),
        json!({"SpecialToken": {"id": "[SEP]", "type_id": 0}}),
    );
    let pairs = [
        json!([sep, b, sep, a, sep]),
        json!([a, sep, b, sep]),
        json!([sep, a, b, sep]),
        json!([sep, a, sep, b]),
        json!([sep, a, sep, b, sep, a]),
    ];
    let mut files: Vec<Value> = Vec::new();
    let mut file: Value = serde_json::from_str(&with_model(words)).unwrap();
    for pair in pairs {
        file["post_processor"] =
            json!({"type": "TemplateProcessing", "single": [a], "pair": pair, "special_tokens": special});
        files.push(file.clone());
    }
    file["post_processor"] = Value::Null;
    files.push(file);
    for file in files {
        let error = refuse(&[("tokenizer.json", &file.to_string())]);
        assert_eq!(error.code(), "unsupported_tokenizer", "{file}: {error}");
    }
}

#[test]
fn what_a_tokenizer_json_carries_along_does_not_act() {
    let words = json!({"type": "WordLevel", "unk_token": "[UNK]",
                       "vocab": {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3, "[EXTRA]": 4}});
    let mut file: Value = serde_json::from_str(&with_model(words)).unwrap();
    file["pre_tokenizer"] = json!({"type": "WhitespaceSplit"});
    file["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null,
                             "pad_id": 0, "pad_type_id": 0, "pad_token": "[CLS]"});
    // The template's own tokens are special even if nobody says so; other added tokens keep working.
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": false})
    };
    file["added_tokens"] = json!([added(1, "[SEP]"), added(4, "[EXTRA]"), added(9, "[NEW]")]);
    let tokenizer = Tokenizer::from_files(&files(&[("tokenizer.json", &file.to_string())])).unwrap();
    // `[SEP]` as a word of its own is in this vocabulary; it still must not get through.
    let tokens = tokenizer.encode("a a a [SEP] x[SEP] a[EXTRA] a").unwrap();
    assert_eq!(tokens.ids, [3, 3, 3, 2, 2, 3, 4, 3]);
    assert_eq!(tokens.offsets[3], (6, 11));
    assert_eq!(tokenizer.template().special_tokens(), 3);
    assert_eq!(tokenizer.vocab_size(), 6);
}

#[test]
fn dropout_is_switched_off() {
    let model = json!({"type": "BPE", "dropout": 1.0, "unk_token": "[UNK]", "merges": ["a b"],
                       "vocab": {"[CLS]": 0, "[SEP]": 1, "[UNK]": 2, "a": 3, "b": 4, "ab": 5}});
    let tokenizer = Tokenizer::from_files(&files(&[("tokenizer.json", &with_model(model))])).unwrap();
    assert_eq!(tokenizer.encode("ab ab").unwrap().ids, [5, 5]);
}

fn sentencepiece(bytes: Vec<u8>) -> Result<Tokenizer> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sentencepiece.bpe.model");
    std::fs::write(&path, bytes).unwrap();
    let file = ModelFile::OnDisk(path);
    Tokenizer::from_files(&ModelFiles::new("test", None, [("sentencepiece.bpe.model".to_owned(), file)]))
}

/// Cut off or damaged anywhere, a model file gives an error or a tokenizer that works; nothing else.
#[test]
fn damaged_sentencepiece_models_do_no_harm() {
    let whole = std::fs::read(fixtures().join("xlm-roberta/sentencepiece.bpe.model")).unwrap();
    let try_it = |bytes: Vec<u8>| {
        if let Ok(tokenizer) = sentencepiece(bytes) {
            for text in ["Caf\u{e9} \u{ff26}\u{fb01}\u{2122} \u{d55c}", "e\u{301}\u{323} </s> \u{10fffd}"] {
                tokenizer.encode(text).unwrap();
            }
        }
    };
    for length in (0..whole.len()).step_by(997) {
        try_it(whole[..length].to_vec());
    }
    for at in (0..whole.len()).step_by(601) {
        for value in [0x00, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[at] = value;
            try_it(bytes);
        }
    }
}

/// A character map that leads outside itself is found when it is loaded, not when a text happens to go there.
#[test]
fn a_broken_character_map_is_refused() {
    let mut bytes = std::fs::read(fixtures().join("xlm-roberta/sentencepiece.bpe.model")).unwrap();
    let name = b"nmt_nfkc";
    let mut at = bytes.windows(name.len()).position(|window| window == name).unwrap() + name.len();
    assert_eq!(bytes[at], 0x12, "the field of the character map");
    at += 1;
    while bytes[at] & 0x80 != 0 {
        at += 1;
    }
    // Behind the length of the field and that of the trie: the root, which now points far away.
    let root = at + 1 + 4;
    bytes[root..root + 4].copy_from_slice(&[0x00, 0x00, 0xff, 0x7f]);
    let error = sentencepiece(bytes).unwrap_err();
    assert!(error.to_string().contains("character map"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn offsets_are_in_order_and_on_boundaries(
        text in "(\\PC|[ \\t\\n\u{0}\u{301}\u{200d}\u{1f469}]|</s>|\\[SEP\\]){0,60}"
    ) {
        static BUILT: LazyLock<[Tokenizer; 4]> = LazyLock::new(|| {
            FAMILIES.map(|family| Tokenizer::from_files(&legacy_files(&fixtures().join(family))).unwrap())
        });
        for (family, tokenizer) in FAMILIES.iter().zip(&*BUILT) {
            let tokens = tokenizer.encode(&text).unwrap();
            assert_eq!(tokens.ids.len(), tokens.offsets.len());
            assert_eq!(tokens.ids.len(), tokens.words.len());
            let mut last = 0;
            for (start, end) in &tokens.offsets {
                assert!(text.get(*start..*end).is_some(), "{family}: {text:?} {start}..{end}");
                assert!(*start >= last, "{family}: {text:?} goes back to {start}");
                last = *start;
            }
            assert!(!tokens.ids.iter().any(|id| tokenizer.template().ids().any(|own| own == *id)), "{family}: {text:?}");
        }
    }
}
