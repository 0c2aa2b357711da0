//! What a question gets back: the JSON record that every command prints.

use std::fmt;
use std::ops::Range;

use serde::Serialize;

/// The reply to one question. Its serialised form is a contract: fields are added over time, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reply {
    /// The caller's name for the question.
    pub id: String,
    /// The question as it was asked.
    pub question: String,
    /// Whether the documents answer it.
    pub answered: bool,
    /// The answers, best first; empty if the reply is "no answer".
    pub answers: Vec<Answer>,
    /// When there is no answer: the spans that came nearest.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Answer>,
    /// The probability of "no answer", in the distribution that the answers' scores are from.
    pub no_answer_score: f32,
    /// How many logits "no answer" leads the best span by; null if there was no span at all.
    pub null_odds: Option<f32>,
    /// Windows that were read.
    pub windows: usize,
    /// The model.
    pub model: String,
    /// The question was longer than the limit and was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub question_truncated: bool,
    /// Why there is no answer, if it was not the model that said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// How the reply came about, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    /// Remarks for a person, not part of the record.
    #[serde(skip)]
    pub notes: Vec<String>,
}

impl Reply {
    /// The answers, or without one the spans that came nearest.
    pub fn spans(&self) -> &[Answer] {
        if self.answered { &self.answers } else { &self.candidates }
    }
}

/// Why a question was not put to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was nothing but white space to read.
    EmptyContext,
}

/// A quotation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The quoted text: exactly what stands at `start..end`.
    pub text: String,
    /// Offset of its first unit.
    pub start: usize,
    /// Offset after its last unit.
    pub end: usize,
    /// The document it is from.
    pub document: DocumentId,
    /// Line of its start, from 1.
    pub line: usize,
    /// Column of its start, from 1.
    pub column: usize,
    /// Its score under the rules that were asked for; by default a probability.
    pub score: f32,
    /// How many logits it leads "no answer" by.
    pub margin: f32,
    /// Which of the documents it is in.
    #[serde(skip)]
    pub passage: usize,
    /// The bytes of that document that are quoted.
    #[serde(skip)]
    pub bytes: Range<usize>,
}

/// What a document is called in records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum DocumentId {
    /// A file, or `-` for standard input.
    Path(String),
    /// The number of a text that came without a name, from 0.
    Index(usize),
}

impl fmt::Display for DocumentId {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DocumentId::Path(path) => out.write_str(path),
            DocumentId::Index(index) => write!(out, "{index}"),
        }
    }
}

/// How a reply came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// Question tokens that were used.
    pub question_tokens: usize,
    /// Every window that was read.
    pub windows: Vec<WindowReport>,
    /// For each span of the reply, its tokens and their neighbours.
    pub spans: Vec<SpanReport>,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WindowReport {
    /// Its document.
    pub document: DocumentId,
    /// Its number in that document.
    pub window: usize,
    /// Where its text starts.
    pub start: usize,
    /// Where its text ends.
    pub end: usize,
    /// Its context tokens.
    pub tokens: usize,
    /// Start plus end logit of "not in this window".
    pub null_logit: f32,
    /// The start and the end logit that it is the sum of.
    #[serde(skip)]
    pub null_parts: (f32, f32),
    /// Its best spans, best first.
    pub best: Vec<SpanSummary>,
}

/// A span in a window's report.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanSummary {
    /// The text.
    pub text: String,
    /// Start plus end logit.
    pub logit: f32,
}

/// A span of the reply.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpanReport {
    /// The text.
    pub text: String,
    /// The window whose view of it counted.
    pub window: usize,
    /// Start plus end logit.
    pub logit: f32,
    /// Its tokens, with a few on either side.
    pub tokens: Vec<TokenReport>,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenReport {
    /// The text it stands for.
    pub text: String,
    /// How much it looks like the start of the answer.
    pub start_logit: f32,
    /// How much it looks like the end of the answer.
    pub end_logit: f32,
    /// Whether it is part of the span.
    pub inside: bool,
}
