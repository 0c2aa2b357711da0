//! Files of models: weights, configurations, tokenizers.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::encoder::Runtime;
use spanqa::random::Random;
use spanqa::reader::{Question, Reader};
use spanqa::request::reply::DocumentId;
use spanqa::text::Tokenizer;

use crate::ROOT;
use crate::mutate;
use crate::target::Target;

pub const TEXTS: [&str; 7] = [
    "the old king of the hill",
    "",
    " \u{a0}\n\t ",
    "It isn\u{2019}t 3,000 \u{4e2d}\u{6587} words\u{2014}nor \u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}; [SEP] </s> [CLS] caf\u{e9} cafe\u{301}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u{202e}abc\u{0}def\u{feff}\u{fffd}\u{10ffff}\u{e000}\u{fdfa}\u{1d15e}",
    "who was the king?",
];

pub fn fixture(name: &str) -> PathBuf {
    Path::new(ROOT).join("tests/fixtures").join(name)
}

pub fn bytes_of(name: &str) -> Vec<u8> {
    std::fs::read(fixture(name)).unwrap()
}

/// A copy of a fixture's folder, in which one file is exchanged from case to case.
pub struct Folder(tempfile::TempDir);

impl Folder {
    pub fn of(fixtures: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(fixture(fixtures)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn without(self, names: &[&str]) -> Self {
        names.iter().for_each(|name| std::fs::remove_file(self.path().join(name)).unwrap());
        self
    }

    pub fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path().join(name), bytes).unwrap();
    }

    pub fn files(&self) -> ModelFiles {
        ModelFiles::from_dir(self.path()).unwrap()
    }
}

/// Opens a model and asks it, if it is one.
fn ask(files: &ModelFiles) {
    let runtime = Runtime { threads: Some(1), ..Runtime::default() };
    let Ok(reader) = Reader::open(files, &runtime) else { return };
    for text in [TEXTS[0], TEXTS[3]] {
        let Ok(document) = reader.prepare(DocumentId::Index(0), text.into()) else { continue };
        let question = Question::new("1", TEXTS[6], vec![document.into()]);
        let Ok(replies) = reader.answer(&[question], &mut |_| {}) else { continue };
        for reply in replies.into_iter().flatten() {
            for answer in reply.spans() {
                assert!(text.contains(&answer.text) && !answer.text.trim().is_empty(), "{answer:?}");
            }
        }
    }
}

/// Builds a tokenizer and has it cut texts, if it can be built.
fn tokenise(files: &ModelFiles) {
    let Ok(tokenizer) = Tokenizer::from_files(files) else { return };
    for text in TEXTS {
        let Ok(tokens) = tokenizer.encode(text) else { continue };
        assert!(tokens.offsets.len() == tokens.len() && tokens.words.len() == tokens.len());
        let mut before = (0, 0);
        for &(start, end) in &tokens.offsets {
            assert!(text.get(start..end).is_some(), "{start}..{end} of {text:?}");
            assert!(start >= before.0 && end >= before.1, "{:?} in {text:?}", tokens.offsets);
            before = (start, end);
        }
        assert!(tokens.ids.iter().all(|id| !tokenizer.is_structural(*id)), "{tokens:?}");
    }
}

/// Weights whose header, which is JSON, is changed as JSON.
fn header(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if random.below(3) == 0 {
        return mutate::ends(random, seeds, 3000, 16);
    }
    let seed = mutate::one(random, seeds);
    let Some((header, tensors)) = parts(seed) else { return mutate::bytes(random, seeds) };
    let changed = mutate::json(random, &[header.to_vec()]);
    [&(changed.len() as u64).to_le_bytes()[..], &changed, tensors].concat()
}

/// The header of a safetensors file, and what stands behind it.
fn parts(file: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = file.split_first_chunk()?;
    rest.split_at_checked(u64::from_le_bytes(*length).try_into().ok()?)
}

pub fn safetensors() -> Target {
    let folder = Folder::of("tiny/minilm");
    Target::new("safetensors", [bytes_of("tiny/minilm/model.safetensors")], header, move |bytes| {
        folder.put("model.safetensors", bytes);
        ask(&folder.files());
    })
}

pub fn safetensors_index() -> Target {
    let folder = Folder::of("tiny/variants/sharded");
    for name in ["config.json", "vocab.txt"] {
        folder.put(name, &bytes_of(&format!("tiny/minilm/{name}")));
    }
    let seeds = [bytes_of("tiny/variants/sharded/model.safetensors.index.json")];
    Target::new("safetensors-index", seeds, mutate::json, move |bytes| {
        folder.put("model.safetensors.index.json", bytes);
        ask(&folder.files());
    })
}

pub fn pickle() -> Target {
    let folder = Folder::of("tiny/minilm").without(&["model.safetensors"]);
    let seeds = ["bin", "bin-f16"].map(|name| bytes_of(&format!("tiny/variants/{name}/pytorch_model.bin")));
    let change = |random: &mut Random, seeds: &[Vec<u8>]| mutate::ends(random, seeds, 4400, 4000);
    Target::new("pickle", seeds, change, move |bytes| {
        folder.put("pytorch_model.bin", bytes);
        ask(&folder.files());
    })
}

pub fn config(family: &str) -> Target {
    let folder = Folder::of(&format!("tiny/{family}"));
    let seeds = [bytes_of(&format!("tiny/{family}/config.json"))];
    Target::new(format!("config-{family}"), seeds, mutate::json, move |bytes| {
        folder.put("config.json", bytes);
        ask(&folder.files());
    })
}

/// tokenizer.json of each family, and others put together of parts that these do not have.
fn tokenizers() -> Vec<Vec<u8>> {
    let mut all: Vec<Value> = ["distilbert", "minilm", "roberta", "xlm-roberta"]
        .map(|family| {
            let folder = Folder::of(&format!("tiny/{family}"));
            Tokenizer::from_files(&folder.files()).unwrap().to_json().unwrap()
        })
        .into();
    let mut parts = all[1].clone();
    let special = |id: &str, number: u32| json!({"id": id, "ids": [number], "tokens": [id]});
    let token = |id: &str, segment: u32| json!({"SpecialToken": {"id": id, "type_id": segment}});
    let sequence = |id: &str, segment: u32| json!({"Sequence": {"id": id, "type_id": segment}});
    parts["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0)],
        "pair": [token("[CLS]", 0), sequence("A", 0), token("[SEP]", 0), sequence("B", 1), token("[SEP]", 1)],
        "special_tokens": {"[CLS]": special("[CLS]", 2), "[SEP]": special("[SEP]", 3)},
    });
    parts["normalizer"] = json!({"type": "Sequence", "normalizers": [
        {"type": "NFKC"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Nmt"},
        {"type": "Strip", "strip_left": true, "strip_right": true},
        {"type": "Replace", "pattern": {"String": "``"}, "content": "\""},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        {"type": "Prepend", "prepend": " "},
    ]});
    parts["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "'s|\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|[^\\s\\p{L}\\p{N}]+"}, "behavior": "Isolated", "invert": false},
        {"type": "Digits", "individual_digits": true}, {"type": "Punctuation", "behavior": "Isolated"},
        {"type": "UnicodeScripts"}, {"type": "CharDelimiterSplit", "delimiter": "_"}, {"type": "WhitespaceSplit"},
        {"type": "FixedLength", "length": 7}, {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "never", "split": true},
    ]});
    parts["truncation"] =
        json!({"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 2});
    parts["padding"] = json!({"strategy": {"Fixed": 16}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    all.push(parts.clone());
    let vocabulary = parts["model"]["vocab"].clone();
    parts["model"] = json!({"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"});
    all.push(parts);
    all.iter().map(|json| json.to_string().into_bytes()).collect()
}

pub fn tokenizer_json() -> Target {
    let folder = Folder::of("tiny/minilm").without(&["vocab.txt"]);
    Target::new("tokenizer-json", tokenizers(), mutate::json, move |bytes| {
        folder.put("tokenizer.json", bytes);
        tokenise(&folder.files());
    })
}

/// Files from which a tokenizer is made where there is no tokenizer.json, and whose they are.
pub const LEGACY: [(&str, &str); 5] = [
    ("minilm", "vocab.txt"),
    ("minilm", "tokenizer_config.json"),
    ("roberta", "vocab.json"),
    ("roberta", "merges.txt"),
    ("xlm-roberta", "sentencepiece.bpe.model"),
];

/// One of them is damaged.
pub fn legacy((family, name): (&str, &'static str)) -> Target {
    let folder = Folder::of(&format!("tiny/{family}"));
    let _ = std::fs::remove_file(folder.path().join("tokenizer.json"));
    let seeds = [std::fs::read(folder.path().join(name)).unwrap()];
    let change = match name.rsplit('.').next() {
        Some("json") => mutate::json,
        Some("txt") => mutate::text,
        _ => mutate::bytes,
    };
    Target::new(format!("legacy-{name}"), seeds, change, move |bytes| {
        folder.put(name, bytes);
        tokenise(&folder.files());
    })
}
