//! Normalisers and pre-tokenizers of a tokenizer.json as the `tokenizers` crate runs them, but for their regular expressions, which are
//! [`Regex`]es of our own.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use tokenizers::tokenizer::pattern::Invert;
use tokenizers::{
    Decoder, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizedString, PreTokenizer,
    PreTokenizerWrapper, SplitDelimiterBehavior,
};

use super::pattern::Regex;

/// What becomes of a text before it is cut.
pub(super) type Normal = Part<NormalizerWrapper>;
/// How it is cut.
pub(super) type Cut = Part<PreTokenizerWrapper>;

/// A step, or several, and how the file writes it.
pub(super) struct Part<W> {
    written: Value,
    step: Step<W>,
}

enum Step<W> {
    /// One without regular expressions.
    Whole(W),
    /// `Replace` or `Split`.
    Regex(Regex, Then),
    Sequence(Vec<Part<W>>),
}

/// What is done where an expression matches.
#[derive(Deserialize)]
#[serde(untagged)]
enum Then {
    Replace { content: String },
    Split { behavior: SplitDelimiterBehavior, invert: bool },
}

impl<W> Part<W> {
    /// The crate's own, if all of it is.
    pub(super) fn whole(&self) -> Option<&W> {
        match &self.step {
            Step::Whole(whole) => Some(whole),
            _ => None,
        }
    }
}

impl<W: DeserializeOwned> Part<W> {
    fn of(written: Value) -> serde_json::Result<Self> {
        let list =
            ["normalizers", "pretokenizers"].into_iter().find_map(|list| written.get(list)?.as_array());
        let step = match (list, written.get("pattern").and_then(|pattern| pattern.get("Regex")?.as_str())) {
            (Some(parts), _) => {
                Step::Sequence(parts.iter().cloned().map(Self::of).collect::<Result<_, _>>()?)
            }
            (None, Some(pattern)) => {
                let regex = Regex::new(pattern).map_err(|reason| {
                    Error::custom(format!("its regular expression `{pattern}`: {reason}"))
                })?;
                Step::Regex(regex, Then::deserialize(&written)?)
            }
            (None, None) => Step::Whole(W::deserialize(&written)?),
        };
        Ok(Self { written, step })
    }
}

impl<'de, W: DeserializeOwned> Deserialize<'de> for Part<W> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl<W> Serialize for Part<W> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.written.serialize(serializer)
    }
}

impl Normalizer for Normal {
    fn normalize(&self, text: &mut NormalizedString) -> tokenizers::Result<()> {
        match &self.step {
            Step::Whole(whole) => whole.normalize(text),
            Step::Regex(regex, Then::Replace { content }) => text.replace(regex, content),
            Step::Regex(_, Then::Split { .. }) => Err("a normaliser cannot split".into()),
            Step::Sequence(parts) => parts.iter().try_for_each(|part| part.normalize(text)),
        }
    }
}

impl PreTokenizer for Cut {
    fn pre_tokenize(&self, text: &mut PreTokenizedString) -> tokenizers::Result<()> {
        match &self.step {
            Step::Whole(whole) => whole.pre_tokenize(text),
            Step::Regex(regex, Then::Split { behavior, invert: false }) => {
                text.split(|_, piece| piece.split(regex, *behavior))
            }
            Step::Regex(regex, Then::Split { behavior, invert: true }) => {
                text.split(|_, piece| piece.split(Invert(regex), *behavior))
            }
            Step::Regex(_, Then::Replace { .. }) => Err("a pre-tokenizer cannot replace".into()),
            Step::Sequence(parts) => parts.iter().try_for_each(|part| part.pre_tokenize(text)),
        }
    }
}

/// A decoder. Answers are quoted from the text, so nothing is decoded, and what could be wrong with one does not matter.
#[derive(Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Unused(Value);

impl Decoder for Unused {
    fn decode_chain(&self, _: Vec<String>) -> tokenizers::Result<Vec<String>> {
        Err("nothing is decoded here".into())
    }
}
