//! What a question gets back: the JSON record that every command prints.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

use serde_json::value::{RawValue, to_raw_value};

use crate::checkpoint::Identity;
use crate::document::SourcePlace;

/// What a request is called: a JSON string or number, kept exactly as its sender wrote it, so that it can be matched again. A
/// number that passed through a float would not always come back. All records of a request share it.
#[derive(Debug, Clone)]
pub struct Id(Arc<RawValue>);

impl Id {
    /// The id that a JSON value stands for, if it is a string or a number.
    pub fn from_json(json: &RawValue) -> Option<Self> {
        let usable =
            json.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit());
        usable.then(|| Self(json.to_owned().into()))
    }

    /// The JSON value.
    pub fn json(&self) -> &RawValue {
        &self.0
    }

    fn made(value: impl Serialize) -> Self {
        // Strings and whole numbers always have a JSON form.
        Self(to_raw_value(&value).unwrap_or_else(|_| RawValue::NULL.to_owned()).into())
    }
}

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json().serialize(serializer)
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

impl From<&str> for Id {
    fn from(text: &str) -> Self {
        Self::made(text)
    }
}

impl From<String> for Id {
    fn from(text: String) -> Self {
        Self::made(text)
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        Self::made(number)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match serde_json::from_str::<String>(self.0.get()) {
            Ok(text) => out.write_str(&text),
            Err(_) => out.write_str(self.0.get()),
        }
    }
}

/// The reply to one question. Its serialised form is a contract: fields are added over time, never renamed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reply {
    /// The caller's name for the question.
    pub id: Id,
    /// The question as it was asked.
    pub question: String,
    /// Whether the documents answer it.
    pub answered: bool,
    /// There is no answer, but the first candidate may well be one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub perhaps: bool,
    /// How likely the reply is to be right, be it an answer or "no answer"; only of models where that was measured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
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
    /// Windows that the documents have.
    pub windows_total: usize,
    /// How many passages were searched for those that were read, if a search came before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passages_searched: Option<usize>,
    /// Whether a part of the documents is in no window that was read. Not part of the record.
    #[serde(skip)]
    pub unread: bool,
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
    pub why: Option<Box<Why>>,
    /// Remarks for a person, not part of the record.
    #[serde(skip)]
    pub notes: Vec<Note>,
}

impl Reply {
    /// The answers, or without one the spans that came nearest.
    pub fn spans(&self) -> &[Answer] {
        if self.answered { &self.answers } else { &self.candidates }
    }
}

/// How limits were applied, where a person may not expect it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Note {
    /// The question was too long.
    QuestionCut {
        /// The tokens that were used.
        kept: usize,
    },
    /// The model cannot take windows as long as was asked for.
    WindowReduced {
        /// What was asked for, in tokens.
        asked: usize,
        /// What became of it.
        used: usize,
    },
    /// Windows are too small for the overlap that was asked for.
    OverlapReduced {
        /// Tokens of the document in a window.
        width: usize,
        /// What was asked for.
        asked: usize,
        /// What became of it.
        used: usize,
    },
    /// An answer may be longer than what windows have in common.
    AnswersMayBeCut {
        /// Tokens that windows share.
        overlap: usize,
        /// Tokens that an answer may have.
        longest: usize,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Note::QuestionCut { kept } => write!(out, "the question was cut to its first {kept} tokens"),
            Note::WindowReduced { asked, used } => {
                write!(out, "the model takes {used} tokens, so windows were reduced from {asked} to that")
            }
            Note::OverlapReduced { width, asked, used } => write!(
                out,
                "windows hold {width} tokens of text, so their overlap was reduced from {asked} to {used}"
            ),
            Note::AnswersMayBeCut { overlap, longest } => write!(
                out,
                "windows overlap by {overlap} tokens, so an answer of up to {longest} may lie in none of them whole"
            ),
        }
    }
}

/// Why a question was not put to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There was nothing but white space to read.
    EmptyContext,
    /// The search found no passage to read.
    NothingFound,
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
    /// Where it stands in the file, if the document is not the file's own text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourcePlace>,
    /// Its score under the rules that were asked for; by default a probability.
    pub score: f32,
    /// How many logits it leads "no answer" by.
    pub margin: f32,
    /// Which of the question's documents it is in.
    #[serde(skip)]
    pub document_index: usize,
    /// The bytes of that document that are quoted.
    #[serde(skip)]
    pub bytes: Range<usize>,
}

/// What a document is called in records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum DocumentId {
    /// A file, or `-` for standard input.
    Path(String),
    /// The number of a document that came without a name, from 0.
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
    /// Which model it was, beyond its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Identity>,
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
    /// Its place among all windows by the words that it shares with the question, from 1, if only the best were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<usize>,
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
    /// Its first and its last token in that window, special tokens and question counted. Not part of the record.
    #[serde(skip)]
    pub place: (usize, usize),
    /// Start plus end logit.
    pub logit: f32,
    /// Its tokens, with a few on either side.
    pub tokens: Vec<TokenReport>,
    /// The words of the window, question first, and what each does for the span's margin, if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub words: Vec<WordReport>,
}

/// One word.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WordReport {
    /// The text.
    pub text: String,
    /// Where it stands.
    #[serde(rename = "in")]
    pub part: WordPart,
    /// Where it starts in the question or in the document.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
    /// What it contributes to the margin of the span over "no answer", to first order: gradient times input, summed over its tokens.
    pub score: f32,
}

/// Where a word stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WordPart {
    /// In the question.
    Question,
    /// In the document.
    Document,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_as_they_were_written() {
        for (json, shown) in
            [("\"a\\u00e9\"", "aé"), ("123456789012345678901", "123456789012345678901"), ("-1.50", "-1.50")]
        {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            let id = Id::from_json(&raw).unwrap();
            assert_eq!(serde_json::to_string(&id).unwrap(), json);
            assert_eq!(id.to_string(), shown);
        }
        for json in ["null", "true", "[1]", "{}"] {
            assert_eq!(Id::from_json(&serde_json::from_str::<Box<RawValue>>(json).unwrap()), None);
        }
        assert_eq!(serde_json::to_string(&[Id::from("7"), Id::from(7)]).unwrap(), "[\"7\",7]");
    }
}
