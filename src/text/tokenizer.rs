//! One tokenizer for all families, built from whatever files the model has.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use serde_json::{Value, json};

use super::engine::{Engine, Parts, guarded};
use super::{PairTemplate, SingleTemplate, json, legacy, sentencepiece};
use crate::checkpoint;
use crate::checkpoint::{ModelFile, ModelFiles};
use crate::text::error::{Error, Result};

/// Turns text into token ids with their places in the text.
pub struct Tokenizer {
    engine: Box<dyn Engine>,
    /// Ids that give a window its structure and that text must therefore never produce. Sorted.
    structural: Vec<u32>,
    /// What stands in for a structural id that text produced all the same.
    unknown: Option<u32>,
    /// Names of ids whose entry in the engine's vocabulary was made unmatchable.
    names: Vec<(u32, String)>,
    template: PairTemplate,
    single: Option<SingleTemplate>,
    vocab_size: usize,
    origin: TokenizerOrigin,
    declared_max_length: Option<usize>,
}

/// The tokens of one text. The three lists have the same length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Vocabulary ids.
    pub ids: Vec<u32>,
    /// Where each token lies in the text, in bytes, end exclusive; always on character boundaries, and neither starts nor
    /// ends ever run backwards.
    pub offsets: Vec<(usize, usize)>,
    /// Which of the pre-tokenizer's words each token belongs to; `u32::MAX` when it belongs to none.
    pub words: Vec<u32>,
}

impl Tokens {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Adds a token: its id, where it lies, and the number of its word.
    pub(super) fn push(&mut self, id: u32, bytes: Range<usize>, word: u32) {
        self.ids.push(id);
        self.offsets.push((bytes.start, bytes.end));
        self.words.push(word);
    }

    /// Adds the tokens of what comes later in the same text, behind so many bytes and words.
    pub(super) fn append(&mut self, later: &Tokens, bytes: usize, words: u32) {
        self.ids.extend(&later.ids);
        self.offsets.extend(later.offsets.iter().map(|(start, end)| (bytes + start, bytes + end)));
        // `u32::MAX` stays.
        self.words.extend(later.words.iter().map(|word| word.saturating_add(words)));
    }

    /// Drops the tokens of the first word; the numbers of the others stay.
    pub(super) fn drop_first_word(&mut self) {
        let first = self.words.iter().take_while(|word| **word == 0).count();
        self.ids.drain(..first);
        self.offsets.drain(..first);
        self.words.drain(..first);
    }

    /// How many words there are.
    pub(super) fn word_count(&self) -> u32 {
        let words = self.words.iter().filter(|word| **word != u32::MAX);
        words.max().map_or(0, |highest| highest + 1)
    }

    /// Keeps the first ones.
    pub fn truncate(&mut self, length: usize) {
        self.ids.truncate(length);
        self.offsets.truncate(length);
        self.words.truncate(length);
    }

    /// Whether the text had no token at all.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// The files a tokenizer was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizerOrigin {
    /// `tokenizer.json`.
    Json,
    /// `vocab.txt`: WordPiece as in BERT.
    VocabTxt,
    /// `vocab.json` and `merges.txt`: byte-level BPE as in RoBERTa.
    VocabAndMerges,
    /// `sentencepiece.bpe.model`: Unigram as in XLM-R.
    SentencePiece,
}

impl TokenizerOrigin {
    /// The files' names, as messages show them.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenizerOrigin::Json => "tokenizer.json",
            TokenizerOrigin::VocabTxt => "vocab.txt",
            TokenizerOrigin::VocabAndMerges => "vocab.json + merges.txt",
            TokenizerOrigin::SentencePiece => "sentencepiece.bpe.model",
        }
    }
}

impl fmt::Display for TokenizerOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Tokenizer {
    /// Builds the tokenizer from the best files that the model has: `tokenizer.json`, else `vocab.txt`, else
    /// `vocab.json` with `merges.txt`, else `sentencepiece.bpe.model`.
    pub fn from_files(files: &ModelFiles) -> Result<Self> {
        let config = legacy::Config::read(files)?;
        let (file, origin, parts) = if let Some(file) = files.get("tokenizer.json") {
            (file, TokenizerOrigin::Json, json::build(file)?)
        } else if let Some(file) = files.get("vocab.txt") {
            (file, TokenizerOrigin::VocabTxt, legacy::wordpiece(file, &config.legacy(files)?)?)
        } else if let (Some(vocab), Some(merges)) = (files.get("vocab.json"), files.get("merges.txt")) {
            let parts = legacy::byte_level_bpe(vocab, merges, &config.legacy(files)?)?;
            (vocab, TokenizerOrigin::VocabAndMerges, parts)
        } else if let Some(file) = files.get("sentencepiece.bpe.model") {
            (file, TokenizerOrigin::SentencePiece, sentencepiece::xlm_roberta(file, &config.legacy(files)?)?)
        } else {
            return Err(checkpoint::Error::MissingFile {
                model: files.name.clone(),
                wanted: "tokenizer.json, vocab.txt, vocab.json with merges.txt, or sentencepiece.bpe.model"
                    .into(),
            }
            .into());
        };
        Self::assemble(file, origin, parts, config.declared_max_length())
    }

    fn assemble(
        file: &ModelFile,
        origin: TokenizerOrigin,
        parts: Parts,
        declared_max_length: Option<usize>,
    ) -> Result<Self> {
        let Parts { engine, special: mut structural, unknown, names, vocab_size } = parts;
        let unsupported = |reason: String| Error::UnsupportedTokenizer { file: file.label(), reason };
        // Any text with tokens will do; a cut-down vocabulary may not know the first ones.
        let mut template = Err("it finds no token in plain text".to_owned());
        let mut single = None;
        for text in ["a", "the", "1", "."] {
            let pair = guarded(|| engine.encode_pair(text, text)).map_err(|reason| file.bad(reason))?;
            template = PairTemplate::learn(&pair);
            if template.is_ok() {
                // A model that reads pairs need not know what stands around one text.
                let encoded = guarded(|| engine.encode_single(text));
                single = encoded.ok().as_ref().and_then(SingleTemplate::learn);
                break;
            }
        }
        let template = template.map_err(unsupported)?;
        // A private-use character and a word beyond any length limit, so that a vocabulary without its unknown token
        // fails here, where the file can be named, and not in the middle of somebody's text.
        for text in ["\u{10fffd}", &"a".repeat(300)] {
            guarded(|| engine.encode(text)).map_err(|reason| file.bad(reason))?;
        }
        structural.extend(template.ids());
        structural.extend(single.iter().flat_map(SingleTemplate::ids));
        structural.retain(|id| Some(*id) != unknown);
        structural.sort_unstable();
        structural.dedup();
        Ok(Self {
            engine,
            structural,
            unknown,
            names,
            template,
            single,
            vocab_size,
            origin,
            declared_max_length,
        })
    }

    /// The tokens of a text, without special tokens. Text that spells a special token (`[SEP]`, `</s>`) is text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let mut tokens = guarded(|| self.engine.encode(text)).map_err(|reason| Error::Tokenize { reason })?;
        let mut before = (0, 0);
        let mut kept = 0;
        for at in 0..tokens.len() {
            // The builders see to it that this does not happen. Should a vocabulary find a way all the same, a
            // forged end of the question must not reach the model.
            tokens.ids[kept] = match (self.is_structural(tokens.ids[at]), self.unknown) {
                (false, _) => tokens.ids[at],
                (true, Some(unknown)) => unknown,
                (true, None) => continue,
            };
            before = not_before(before, on_boundaries(text, tokens.offsets[at]));
            tokens.offsets[kept] = before;
            tokens.words[kept] = tokens.words[at];
            kept += 1;
        }
        tokens.truncate(kept);
        Ok(tokens)
    }

    /// What stands around and between a question and a context.
    pub fn template(&self) -> &PairTemplate {
        &self.template
    }

    /// What stands around a single text; `None` if the tokenizer puts nothing around it.
    pub fn single_template(&self) -> Option<&SingleTemplate> {
        self.single.as_ref()
    }

    /// The highest id + 1, added tokens included: a model needs at least this many embeddings.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The token with that id, as the vocabulary spells it.
    pub fn token(&self, id: u32) -> Option<String> {
        match self.names.iter().find(|(named, _)| *named == id) {
            Some((_, name)) => Some(name.clone()),
            None => self.engine.token(id),
        }
    }

    /// The id of what stands for whatever the vocabulary does not know.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// Whether an id is a special token, which no text becomes.
    pub fn is_structural(&self, id: u32) -> bool {
        self.structural.binary_search(&id).is_ok()
    }

    /// tokenizer.json for a model that has none: what the newer programs read, and transformers.js only that. There a special token that
    /// a text spells is a special token.
    pub fn to_json(&self) -> Result<Value> {
        let unsupported =
            |reason: String| Error::UnsupportedTokenizer { file: self.origin.as_str().into(), reason };
        let mut json = self.engine.json().map_err(|error| unsupported(error.to_string()))?;
        let special: BTreeSet<u32> = self.structural.iter().copied().chain(self.unknown).collect();
        let added = special.into_iter().filter_map(|id| {
            let content = self.token(id)?;
            Some(json!({
                "id": id, "content": content, "special": true, "normalized": false,
                "single_word": false, "lstrip": false, "rstrip": false,
            }))
        });
        json["added_tokens"] = added.collect();
        for (id, name) in &self.names {
            if let Some(piece) = json.pointer_mut(&format!("/model/vocab/{id}/0")) {
                *piece = name.as_str().into();
            }
        }
        // Nothing is decoded here, so that the pipelines have no decoder; elsewhere answers are made of tokens with it.
        json["decoder"] = match self.origin {
            TokenizerOrigin::VocabTxt => json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
            TokenizerOrigin::VocabAndMerges => json["pre_tokenizer"].clone(),
            TokenizerOrigin::SentencePiece => {
                json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true})
            }
            TokenizerOrigin::Json => json["decoder"].take(),
        };
        Ok(json)
    }

    /// Which files this tokenizer was built from.
    pub fn origin(&self) -> TokenizerOrigin {
        self.origin
    }

    /// `model_max_length` of tokenizer_config.json, where it is a length and not a stand-in for "none".
    pub fn declared_max_length(&self) -> Option<usize> {
        self.declared_max_length
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("origin", &self.origin)
            .field("vocab_size", &self.vocab_size)
            .field("template", &self.template)
            .finish_non_exhaustive()
    }
}

/// The span, widened to whole characters. Byte-level tokens may split one.
fn on_boundaries(text: &str, (start, end): (usize, usize)) -> (usize, usize) {
    let mut end = end.min(text.len());
    let mut start = start.min(end);
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    while !text.is_char_boundary(end) {
        end += 1;
    }
    (start, end)
}

/// The span, moved so that it neither starts nor ends before the token in front of it does: from the start of a token to the
/// end of a later one there must be text, whatever a tokenizer.json makes of it.
fn not_before(before: (usize, usize), (start, end): (usize, usize)) -> (usize, usize) {
    (start.max(before.0), end.max(before.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_that_run_backwards_are_moved() {
        let spans = [(0, 3), (4, 9), (1, 2), (6, 7), (9, 12)];
        let mut before = (0, 0);
        let moved = spans.map(|span| {
            before = not_before(before, span);
            before
        });
        assert_eq!(moved, [(0, 3), (4, 9), (4, 9), (6, 9), (9, 12)]);
    }

    #[test]
    fn spans_are_widened_to_whole_characters() {
        let text = "a\u{e9}\u{4e2d}";
        assert_eq!(on_boundaries(text, (1, 3)), (1, 3));
        assert_eq!(on_boundaries(text, (2, 2)), (1, 3));
        assert_eq!(on_boundaries(text, (4, 5)), (3, 6));
        assert_eq!(on_boundaries(text, (9, 99)), (6, 6));
        assert_eq!(on_boundaries(text, (3, 1)), (1, 1));
    }

    /// Puts tokens where it was told to.
    struct Misplacing(Vec<(usize, usize)>);

    impl Engine for Misplacing {
        fn encode(&self, _: &str) -> tokenizers::Result<Tokens> {
            let count = self.0.len();
            Ok(Tokens { ids: vec![1000; count], offsets: self.0.clone(), words: vec![0; count] })
        }

        fn encode_pair(&self, _: &str, _: &str) -> tokenizers::Result<tokenizers::Encoding> {
            Ok(tokenizers::Encoding::default())
        }

        fn encode_single(&self, _: &str) -> tokenizers::Result<tokenizers::Encoding> {
            Ok(tokenizers::Encoding::default())
        }

        fn token(&self, _: u32) -> Option<String> {
            None
        }

        fn json(&self) -> serde_json::Result<Value> {
            Ok(Value::Null)
        }
    }

    #[test]
    fn between_any_two_tokens_there_is_text_wherever_an_engine_puts_them() {
        let files = ModelFiles::from_dir(std::path::Path::new("models/builtin")).unwrap();
        let mut tokenizer = Tokenizer::from_files(&files).unwrap();
        let text = "a\u{e9}\u{4e2d} and more";
        for spans in [
            vec![(0, 3), (9, 12), (1, 2), (5, 4)],
            vec![(usize::MAX, usize::MAX), (0, 1)],
            vec![(8, 2), (2, 8), (4, 5), (0, usize::MAX), (3, 3)],
        ] {
            tokenizer.engine = Box::new(Misplacing(spans));
            let offsets = tokenizer.encode(text).unwrap().offsets;
            for first in 0..offsets.len() {
                for last in first..offsets.len() {
                    assert!(text.get(offsets[first].0..offsets[last].1).is_some(), "{offsets:?}");
                }
            }
        }
    }

    #[test]
    fn tokenizers_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Tokenizer>();
    }
}
