//! A pipeline of the `tokenizers` crate as the rest of this folder sees it: whatever its parts are, and never panicking.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::Serialize;
use serde_json::Value;
use tokenizers::{
    Decoder, Encoding, Model, Normalizer, PostProcessor, PreTokenizer, TokenizerImpl as Pipeline,
};

use super::plain::Plain;
use super::{Tokens, long};

/// What a builder hands over: an engine and what cannot be asked of it.
pub(super) struct Parts {
    /// Normaliser, pre-tokenizer, model and post-processor.
    pub engine: Box<dyn Engine>,
    /// Ids of special tokens. The template's own are added to them.
    pub special: Vec<u32>,
    /// The id of the unknown token.
    pub unknown: Option<u32>,
    /// Names of ids whose vocabulary entry was made unmatchable.
    pub names: Vec<(u32, String)>,
    /// Highest id + 1.
    pub vocab_size: usize,
}

/// The little that is asked of a pipeline of the `tokenizers` crate, whatever its parts are.
pub(super) trait Engine: Send + Sync {
    /// One text without special tokens.
    fn encode(&self, text: &str) -> tokenizers::Result<Tokens>;
    fn encode_pair(&self, question: &str, context: &str) -> tokenizers::Result<Encoding>;
    /// One text with the special tokens around it.
    fn encode_single(&self, text: &str) -> tokenizers::Result<Encoding>;
    fn token(&self, id: u32) -> Option<String>;
    /// The pipeline in the form of tokenizer.json.
    fn json(&self) -> serde_json::Result<Value>;
}

impl<M, N, PT, PP, D> Engine for Pipeline<M, N, PT, PP, D>
where
    M: Model + Serialize + Send + Sync,
    N: Normalizer + Serialize + Send + Sync,
    PT: PreTokenizer + Serialize + Send + Sync,
    PP: PostProcessor + Serialize + Send + Sync,
    D: Decoder + Serialize + Send + Sync,
{
    fn encode(&self, text: &str) -> tokenizers::Result<Tokens> {
        let encoding = Pipeline::encode(self, text, false)?;
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            offsets: encoding.get_offsets().to_vec(),
            words: encoding.get_word_ids().iter().map(|word| word.unwrap_or(u32::MAX)).collect(),
        })
    }

    fn encode_pair(&self, question: &str, context: &str) -> tokenizers::Result<Encoding> {
        Pipeline::encode(self, (question, context), true)
    }

    fn encode_single(&self, text: &str) -> tokenizers::Result<Encoding> {
        Pipeline::encode(self, text, true)
    }

    fn token(&self, id: u32) -> Option<String> {
        self.id_to_token(id)
    }

    fn json(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }
}

/// How texts get past a pipeline, or through it, with what it would make of them whole.
pub(super) enum Way {
    /// See [`super::plain`].
    Plain(Plain),
    /// See [`super::long`].
    InPieces,
}

/// A pipeline, and the way for its kind.
pub(super) struct Shortcut {
    pub(super) pipeline: Box<dyn Engine>,
    pub(super) way: Way,
}

impl Engine for Shortcut {
    fn encode(&self, text: &str) -> tokenizers::Result<Tokens> {
        match &self.way {
            Way::Plain(plain) => plain.encode(&*self.pipeline, text),
            Way::InPieces => long::encode(&*self.pipeline, text),
        }
    }

    fn encode_pair(&self, question: &str, context: &str) -> tokenizers::Result<Encoding> {
        self.pipeline.encode_pair(question, context)
    }

    fn encode_single(&self, text: &str) -> tokenizers::Result<Encoding> {
        self.pipeline.encode_single(text)
    }

    fn token(&self, id: u32) -> Option<String> {
        self.pipeline.token(id)
    }

    fn json(&self) -> serde_json::Result<Value> {
        self.pipeline.json()
    }
}

thread_local! {
    /// Whether this thread is inside of [`guarded`].
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic of this thread would be caught and told as an error of a tokenizer. A program's panic hook can stay silent then.
pub fn panics_become_errors() -> bool {
    GUARDED.get()
}

/// Runs code of the `tokenizers` crate, which indexes by numbers it has read from a file without a check: a malformed
/// tokenizer.json can make it panic when it is read and when it is used. Its values are not used after a panic, or
/// are caches that it only ever adds whole entries to.
pub(super) fn guarded<T>(call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    let before = GUARDED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(before);
    match result {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let message = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("no message");
            Err(format!("the tokenizers library cannot work with it ({message})"))
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Sees that an engine makes of a text what its pipeline makes of it whole.
    pub fn check(engine: &dyn Engine, text: &str) {
        let whole = engine.encode_single(text).unwrap();
        // Without what stands around it.
        let inside = 1..whole.len() - 1;
        let words = whole.get_word_ids()[inside.clone()].iter();
        let expected = Tokens {
            ids: whole.get_ids()[inside.clone()].to_vec(),
            offsets: whole.get_offsets()[inside.clone()].to_vec(),
            words: words.map(|word| word.unwrap_or(u32::MAX)).collect(),
        };
        let found = engine.encode(text).unwrap();
        let start: String = text.chars().take(200).collect();
        assert!(found == expected, "{start:?}: {} tokens, {} expected", found.len(), expected.len());
    }

    #[test]
    fn a_panic_becomes_a_reason() {
        let list = [0u8; 2];
        let reason = guarded(|| Ok(list[std::hint::black_box(7)])).unwrap_err();
        assert!(reason.contains("index out of bounds"), "{reason}");
        assert!(!panics_become_errors(), "it is over");
        assert!(guarded(|| Ok(panics_become_errors())).unwrap());
    }
}
