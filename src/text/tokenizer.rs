//! One tokenizer for all families, built from whatever files the model has.

use std::fmt;

use super::engine::{Engine, Parts, guarded};
use super::{PairTemplate, json, legacy, sentencepiece};
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
    vocab_size: usize,
    origin: TokenizerOrigin,
    declared_max_length: Option<usize>,
}

/// The tokens of one text. The three lists have the same length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Vocabulary ids.
    pub ids: Vec<u32>,
    /// Where each token lies in the text, in bytes, end exclusive; always on character boundaries.
    pub offsets: Vec<(usize, usize)>,
    /// Which of the pre-tokenizer's words each token belongs to; `u32::MAX` when it belongs to none.
    pub words: Vec<u32>,
}

impl Tokens {
    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.ids.len()
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
        for text in ["a", "the", "1", "."] {
            let pair = guarded(|| engine.encode_pair(text, text)).map_err(|reason| file.bad(reason))?;
            template = PairTemplate::learn(&pair);
            if template.is_ok() {
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
        structural.retain(|id| Some(*id) != unknown);
        structural.sort_unstable();
        structural.dedup();
        Ok(Self { engine, structural, unknown, names, template, vocab_size, origin, declared_max_length })
    }

    /// The tokens of a text, without special tokens. Text that spells a special token (`[SEP]`, `</s>`) is text.
    pub fn encode(&self, text: &str) -> Result<Tokens> {
        let encoding = guarded(|| self.engine.encode(text)).map_err(|reason| Error::Tokenize { reason })?;
        let mut tokens = Tokens {
            ids: Vec::with_capacity(encoding.len()),
            offsets: Vec::with_capacity(encoding.len()),
            words: Vec::with_capacity(encoding.len()),
        };
        let each = encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_word_ids());
        for ((id, span), word) in each {
            // The builders see to it that this does not happen. Should a vocabulary find a way all the same, a
            // forged end of the question must not reach the model.
            let id = match self.structural.binary_search(id) {
                Err(_) => *id,
                Ok(_) => match self.unknown {
                    Some(unknown) => unknown,
                    None => continue,
                },
            };
            tokens.ids.push(id);
            tokens.offsets.push(on_boundaries(text, *span));
            tokens.words.push(word.unwrap_or(u32::MAX));
        }
        Ok(tokens)
    }

    /// What stands around and between a question and a context.
    pub fn template(&self) -> &PairTemplate {
        &self.template
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_widened_to_whole_characters() {
        let text = "a\u{e9}\u{4e2d}";
        assert_eq!(on_boundaries(text, (1, 3)), (1, 3));
        assert_eq!(on_boundaries(text, (2, 2)), (1, 3));
        assert_eq!(on_boundaries(text, (4, 5)), (3, 6));
        assert_eq!(on_boundaries(text, (9, 99)), (6, 6));
        assert_eq!(on_boundaries(text, (3, 1)), (1, 1));
    }

    #[test]
    fn tokenizers_are_shared_between_threads() {
        fn shared<T: Send + Sync>() {}
        shared::<Tokenizer>();
    }
}
