//! How replies are made: what rides on each question.

use std::collections::BTreeMap;

use crate::decode::confidence::Confidence;
use crate::decode::{Decoding, Scoring};
use crate::text::offsets::OffsetUnit;
use crate::text::window::Limits;

/// How a reply is made. What one question asks for has no influence on its neighbours.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// How answers are chosen.
    pub decoding: Decoding,
    /// How much text goes into a window.
    pub limits: Limits,
    /// How many windows are read where documents have more: the most promising ones. `None` for all.
    pub read: Option<usize>,
    /// What offsets count.
    pub unit: OffsetUnit,
    /// Whether the reply explains itself.
    pub why: bool,
}

/// What is read of long documents unless somebody says otherwise: about a second's work.
pub const PROMISING: usize = 24;

/// What is read of what a search has found, unless somebody says otherwise. An answer farther down is held back so much that it hardly ever wins.
pub const FOUND: usize = 12;

/// Options by name, as texts: JSON has no infinities, and two runs are to be compared.
pub type Settings = BTreeMap<String, String>;

impl Options {
    /// The same for what a search has found: of that never everything is read.
    pub fn searching(&self) -> Self {
        if self.read.is_some() {
            return self.clone();
        }
        let max_question_tokens = self.limits.max_question_tokens;
        let usual = Limits { max_question_tokens, ..Limits::default() };
        let limits = match self.limits == usual {
            true => Limits { max_question_tokens, ..Limits::AROUND_PASSAGES },
            false => self.limits.clone(),
        };
        Self { read: Some(FOUND), limits, ..self.clone() }
    }

    /// Everything that replies depend on, by the names that it has on the command line.
    pub fn settings(&self) -> Settings {
        let Self { decoding, limits, read, unit, why } = self;
        let mut settings = BTreeMap::from([
            ("score", decoding.scoring.rules().to_string()),
            ("top-k", decoding.top_k.to_string()),
            ("max-answer-tokens", decoding.longest().to_string()),
            ("always-answer", decoding.always_answer.to_string()),
            ("window", limits.max_tokens.to_string()),
            ("overlap", limits.overlap.to_string()),
            ("max-question-tokens", limits.max_question_tokens.to_string()),
            ("read", read.map_or_else(|| "all".to_owned(), |windows| windows.to_string())),
            ("offset-unit", unit.to_string()),
            ("why", why.to_string()),
        ]);
        if limits.whole > limits.max_tokens {
            settings.insert("whole-document", limits.whole.to_string());
        }
        match &decoding.scoring {
            Scoring::Joint(joint) => {
                settings.insert("null-threshold", joint.null_threshold.to_string());
                settings.insert("perhaps", joint.perhaps.to_string());
                settings.insert("temperature", joint.temperature.to_string());
                settings.insert("dedup", joint.dedup.to_string());
                if let Some(Confidence { slope, shift }) = joint.confidence {
                    settings.insert("confidence", format!("{slope}, {shift}"));
                }
                if joint.rank_weight != 1.0 {
                    settings.insert("rank-weight", joint.rank_weight.to_string());
                }
            }
            Scoring::Squad { null_threshold } => {
                settings.insert("null-threshold", null_threshold.to_string());
            }
            Scoring::Hf(hf) => {
                settings.insert("handle-impossible-answer", hf.handle_impossible_answer.to_string());
                settings.insert("align-to-words", hf.align_to_words.to_string());
            }
            Scoring::Haystack => {}
        }
        settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
