//! What a tokenizer.json may ask for, checked before the `tokenizers` crate sees the file.
//!
//! That crate was written for files of one's own: it looks names up that need not be there, builds what a file describes however large that
//! is, and gives a text to normalisers that may double it as often as they like. Here the parts of a file are measured first:
//! how many there are, how long, and how much longer they can make a text. Real tokenizers stay far below all limits.
//! What cannot be seen beforehand is caught when it happens (`engine`).

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::sentencepiece::check_charsmap;

/// The largest file in bytes. That of XLM-R has 9 MB, the largest of any model some 35 MB.
const LARGEST_FILE: usize = 64 << 20;
/// The longest entry of a vocabulary in bytes: the trie of a Unigram model is as deep, and is taken apart by recursion.
pub(super) const LONGEST_PIECE: usize = 1024;
/// The most added tokens.
const MOST_ADDED: usize = 100_000;
/// The most steps of normalisers, pre-tokenizers and post-processors together.
const MOST_STEPS: usize = 64;
/// The most items of a template, and of ids that one of its tokens stands for.
const MOST_ITEMS: usize = 64;
/// The longest regular expression in bytes, and the most of them. How long they may take: [`super::pattern`].
const LONGEST_PATTERN: usize = 8192;
const MOST_PATTERNS: usize = 8;
/// How many times as long all normalisers together can make a text. Those of T5 could make it 136 times as long, if there were
/// a text of nothing but the ligature that stands for eighteen letters.
pub(super) const MOST_GROWTH: usize = 1024;
/// The most characters of a word that a WordPiece model looks up piece by piece, in time that grows with the square. All models have 100.
const LONGEST_WORD: u64 = 256;

/// Refuses a file that would cost more than a tokenizer should. The error says what is too much.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    at_most("bytes", bytes.len(), LARGEST_FILE)?;
    let outline: Outline = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    at_most("added tokens", outline.added_tokens.len(), MOST_ADDED)?;
    let longest = outline.added_tokens.iter().map(|token| token.content.0).max().unwrap_or(0);
    at_most("bytes in an added token", longest, LONGEST_PIECE)?;
    at_most("bytes in a piece of its vocabulary", outline.model.vocab.longest, LONGEST_PIECE)?;
    let word = outline.model.max_input_chars_per_word.unwrap_or(0);
    at_most("max_input_chars_per_word", word as usize, LONGEST_WORD as usize)?;
    let affixes = [&outline.model.continuing_subword_prefix, &outline.model.end_of_word_suffix];
    let affix = affixes.into_iter().flatten().map(String::len).max().unwrap_or(0);
    at_most("bytes in what marks a piece", affix, MOST_ITEMS)?;

    let mut growth = 1usize;
    let (mut steps, mut patterns) = (0, 0);
    let mut waiting = vec![&outline.normalizer, &outline.pre_tokenizer, &outline.post_processor];
    while let Some(value) = waiting.pop() {
        match value {
            Value::Array(items) => waiting.extend(items),
            Value::Object(fields) => {
                waiting.extend(fields.values());
                if let Some(pattern) = fields.get("Regex").and_then(Value::as_str) {
                    patterns += 1;
                    at_most("bytes in a regular expression", pattern.len(), LONGEST_PATTERN)?;
                }
                steps += usize::from(fields.contains_key("type"));
                growth = growth.saturating_mul(growth_of(fields)?);
            }
            _ => {}
        }
    }
    at_most("steps", steps, MOST_STEPS)?;
    at_most("regular expressions", patterns, MOST_PATTERNS)?;
    growth_at_most(growth)
}

/// Refuses normalisers that make texts too long.
pub(super) fn growth_at_most(growth: usize) -> Result<(), String> {
    match growth {
        ..=MOST_GROWTH => Ok(()),
        _ => Err(format!("its normaliser can make a text more than {MOST_GROWTH} times as long")),
    }
}

/// Refuses a number that is too high.
pub(super) fn at_most(what: &str, number: usize, most: usize) -> Result<(), String> {
    if number <= most { Ok(()) } else { Err(format!("{what}: {number}; {most} are the most that are read")) }
}

/// Checks one step of the pipeline, known by its fields: old files have steps without a type. How many times as long it can make a text.
fn growth_of(step: &Map<String, Value>) -> Result<usize, String> {
    let text = |field: &str| step.get(field).and_then(Value::as_str);
    if let Some(charsmap) = text("precompiled_charsmap") {
        return check_charsmap(&base64(charsmap).ok_or("its character map is not base64")?);
    }
    if let Some(prepended) = text("prepend") {
        return Ok(prepended.len() + 1);
    }
    if let (Some(pattern), Some(content)) = (step.get("pattern"), text("content")) {
        return Ok(match pattern.get("String").and_then(Value::as_str) {
            Some(replaced) if !replaced.is_empty() => content.len().div_ceil(replaced.len()).max(1),
            // An expression may match nothing, between any two characters.
            _ => content.len() + 1,
        });
    }
    if ["single", "pair", "special_tokens"].iter().any(|field| step.contains_key(*field)) {
        check_template(step)?;
    }
    Ok(1)
}

/// Every token of a template must be described, and all lists be short.
fn check_template(step: &Map<String, Value>) -> Result<(), String> {
    let described = step.get("special_tokens").and_then(Value::as_object);
    at_most("tokens of its template", described.map_or(0, |tokens| tokens.len()), MOST_ITEMS)?;
    for token in described.into_iter().flat_map(|tokens| tokens.values()) {
        let length = |field: &str| token.get(field).and_then(Value::as_array).map_or(0, Vec::len);
        at_most("ids of a token of its template", length("ids").max(length("tokens")), MOST_ITEMS)?;
    }
    for field in ["single", "pair"] {
        let items = step.get(field).and_then(Value::as_array);
        at_most("items of its template", items.map_or(0, Vec::len), MOST_ITEMS)?;
        for item in items.into_iter().flatten() {
            let token = item.get("SpecialToken").and_then(|token| token.get("id")?.as_str());
            if let Some(token) = token.filter(|token| described.is_none_or(|all| !all.contains_key(*token))) {
                return Err(format!("its template uses `{token}` and does not say what it is"));
            }
        }
    }
    Ok(())
}

/// The bytes that base64 stands for; `None` if it is none.
fn base64(text: &str) -> Option<Vec<u8>> {
    let text = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for four in text.chunks(4) {
        let mut bits = 0u32;
        for letter in four {
            let six = match letter {
                b'A'..=b'Z' => letter - b'A',
                b'a'..=b'z' => letter - b'a' + 26,
                b'0'..=b'9' => letter - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            bits = bits << 6 | u32::from(six);
        }
        let missing = 4 - four.len();
        let [_, decoded @ ..] = (bits << (6 * missing)).to_be_bytes();
        bytes.extend(&decoded[..3 - missing.min(3)]);
    }
    Some(bytes)
}

/// The parts of the file that are looked at, the vocabulary without copying it.
#[derive(serde::Deserialize)]
struct Outline {
    #[serde(default)]
    added_tokens: Vec<Added>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    model: Model,
}

#[derive(serde::Deserialize)]
struct Added {
    content: Length,
}

#[derive(serde::Deserialize)]
struct Model {
    #[serde(default)]
    vocab: Vocabulary,
    max_input_chars_per_word: Option<u64>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
}

/// How long the longest entry of a vocabulary is: of an object by tokens, or of a list of pieces with their scores.
#[derive(Default)]
struct Vocabulary {
    longest: usize,
}

impl<'de> Deserialize<'de> for Vocabulary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Measure;
        impl<'de> Visitor<'de> for Measure {
            type Value = Vocabulary;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a vocabulary")
            }

            fn visit_unit<E>(self) -> Result<Vocabulary, E> {
                Ok(Vocabulary::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocabulary, A::Error> {
                let mut longest = 0;
                while let Some((Length(length), IgnoredAny)) = map.next_entry()? {
                    longest = longest.max(length);
                }
                Ok(Vocabulary { longest })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocabulary, A::Error> {
                let mut longest = 0;
                while let Some((Length(length), IgnoredAny)) = list.next_element()? {
                    longest = longest.max(length);
                }
                Ok(Vocabulary { longest })
            }
        }
        deserializer.deserialize_any(Measure)
    }
}

/// The length of a string in bytes.
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Measure;
        impl Visitor<'_> for Measure {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Length, E> {
                Ok(Length(text.len()))
            }
        }
        deserializer.deserialize_str(Measure)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn checked(edit: impl FnOnce(&mut Value)) -> Result<(), String> {
        let template = json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}},
        });
        let mut file = json!({
            "added_tokens": [{"id": 0, "content": "[PAD]"}],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
                {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
                {"type": "Prepend", "prepend": "\u{2581}"},
            ]},
            "pre_tokenizer": null,
            "post_processor": template,
            "model": {"type": "WordPiece", "max_input_chars_per_word": 100, "vocab": {"[PAD]": 0, "a": 1}},
        });
        edit(&mut file);
        check(file.to_string().as_bytes())
    }

    #[test]
    fn what_real_files_ask_for_is_allowed() {
        assert_eq!(checked(|_| {}), Ok(()));
        assert_eq!(checked(|file| file["model"]["vocab"] = json!([["a", 0.0], ["\u{2581}b", -1.5]])), Ok(()));
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes an interpreter too long")]
    fn each_limit_is_named() {
        let long = "x".repeat(LONGEST_PIECE + 1);
        let many = |count: usize, value: Value| Value::Array(vec![value; count]);
        type Edit<'a> = Box<dyn FnOnce(&mut Value) + 'a>;
        let set = |place: &'static str, value: Value| -> Edit<'_> {
            Box::new(move |file: &mut Value| *file.pointer_mut(place).unwrap() = value)
        };
        let normalizer = |value| set("/normalizer", value);
        let doubling = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
        let cases: Vec<(Edit<'_>, &str)> = vec![
            (set("/added_tokens/0/content", long.clone().into()), "an added token: 1025; 1024 are the most"),
            (set("/added_tokens", many(MOST_ADDED + 1, json!({"content": "a"}))), "added tokens: 100001"),
            (set("/model/vocab", json!({ (long.clone()): 0 })), "a piece of its vocabulary: 1025"),
            (set("/model/vocab", json!([[long, 0.0]])), "a piece of its vocabulary: 1025"),
            (set("/model/max_input_chars_per_word", json!(1_000_000)), "max_input_chars_per_word: 1000000"),
            (
                normalizer(json!({"type": "Sequence", "normalizers": many(11, doubling)})),
                "1024 times as long",
            ),
            (normalizer(json!({"type": "Prepend", "prepend": "a".repeat(1024)})), "1024 times as long"),
            (
                normalizer(json!({"pattern": {"String": "a"}, "content": "a".repeat(1025)})),
                "1024 times as long",
            ),
            (
                normalizer(json!({"type": "Sequence", "normalizers": many(80, json!({"type": "NFC"}))})),
                "steps: 82",
            ),
            (normalizer(json!({"type": "Precompiled", "precompiled_charsmap": "!"})), "not base64"),
            (normalizer(json!({"type": "Precompiled", "precompiled_charsmap": ""})), "map is broken"),
            (
                set("/pre_tokenizer", json!({"type": "Split", "pattern": {"Regex": "a".repeat(10_000)}})),
                "regular expression: 10000",
            ),
            (
                set(
                    "/pre_tokenizer",
                    json!({"pretokenizers": many(9, json!({"type": "Split", "pattern": {"Regex": "a"}}))}),
                ),
                "regular expressions: 10; 8 are the most",
            ),
            (set("/post_processor/special_tokens", json!({})), "uses `[CLS]` and does not say"),
            (
                set("/post_processor/special_tokens/[CLS]/ids", many(65, json!(1))),
                "a token of its template: 65",
            ),
            (set("/post_processor/pair", many(65, json!({}))), "items of its template: 65"),
        ];
        for (edit, said) in cases {
            let error = checked(edit).expect_err(said);
            assert!(error.contains(said), "{said}: {error}");
        }
        assert!(check(b"{").is_err());
    }

    #[test]
    fn base64_of_any_length() {
        for (text, bytes) in
            [("", &b""[..]), ("Zg==", b"f"), ("Zm8=", b"fo"), ("Zm9v", b"foo"), ("+/8=", b"\xfb\xff")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes), "{text}");
        }
        assert_eq!(base64("Zm 9"), None);
    }
}
