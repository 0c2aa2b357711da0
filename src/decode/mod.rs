//! From logits to ranked answers: pure arithmetic on slices, no tensors.
//!
//! Every scoring works in two steps. [`Decoding::window`] reduces the logits of one window to a few candidates as soon as
//! they arrive, so that documents of any length need little memory; [`Decoding::rank`] puts the candidates of all windows of
//! all documents of a question into one order and decides whether any of them is an answer.

pub mod confidence;
mod haystack;
mod hf;
mod joint;
pub mod span;
mod squad;

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use crate::text::offsets::is_blank;
use crate::text::window::LastWindow;
use confidence::Confidence;
use span::LogSum;

/// Whose rules turn logits into scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ScoringRules {
    /// One distribution over all spans of all windows and documents and "no answer".
    #[default]
    Joint,
    /// `run_qa`, the evaluation script that published SQuAD numbers come from.
    Squad,
    /// The `question-answering` pipeline that transformers had until 5.2.
    Hf,
    /// The extractive reader of Haystack 2.
    Haystack,
}

/// Names as they are typed, one for each value of an enum.
macro_rules! names {
    ($of:ident, $what:literal, $($value:ident = $name:literal),+) => {
        impl fmt::Display for $of {
            fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str(match self { $($of::$value => $name),+ })
            }
        }

        impl FromStr for $of {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($name => Ok($of::$value),)+
                    _ => Err(format!("`{text}` is not {}: expected {}", $what, [$($name),+].join(", "))),
                }
            }
        }
    };
}

names!(ScoringRules, "a scoring", Joint = "joint", Squad = "squad", Hf = "hf", Haystack = "haystack");
names!(Dedup, "a way to drop duplicates", Span = "span", Overlap = "overlap", Text = "text", None = "none");

impl ScoringRules {
    /// The window layout that belongs to these rules.
    pub fn last_window(self) -> LastWindow {
        match self {
            ScoringRules::Joint => LastWindow::Full,
            ScoringRules::Squad | ScoringRules::Hf | ScoringRules::Haystack => LastWindow::Short,
        }
    }

    /// The longest answer, in tokens, that these rules allow unless told otherwise.
    pub fn default_answer_tokens(self) -> usize {
        match self {
            ScoringRules::Joint | ScoringRules::Squad => 30,
            ScoringRules::Hf => 15,
            ScoringRules::Haystack => usize::MAX,
        }
    }
}

/// The rules that make the scores, each with the options that mean something to it.
#[derive(Debug, Clone, PartialEq)]
pub enum Scoring {
    /// See [`ScoringRules::Joint`].
    Joint(Joint),
    /// See [`ScoringRules::Squad`].
    Squad {
        /// Abstain when "no answer" leads the best span by more than this many logits.
        null_threshold: f32,
    },
    /// See [`ScoringRules::Hf`].
    Hf(Hf),
    /// See [`ScoringRules::Haystack`].
    Haystack,
}

/// Options of [`ScoringRules::Joint`].
#[derive(Debug, Clone, PartialEq)]
pub struct Joint {
    /// Abstain when "no answer" leads the best span by more than this many logits. Probabilities are made as if it had so many less.
    pub null_threshold: f32,
    /// Logits beyond the threshold at which the best span still counts as a possible answer.
    pub perhaps: f32,
    /// Divides logits before they become probabilities.
    pub temperature: f64,
    /// Which similar candidates are dropped.
    pub dedup: Dedup,
    /// How much it counts which windows promised most before they were read: 1 as it is, 0 not at all.
    pub rank_weight: f64,
    /// What replies of the model are worth at this temperature, if it is known.
    pub confidence: Option<Confidence>,
}

/// Temperatures that are taken. Beyond them a score would have no digits left.
pub const TEMPERATURES: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

impl Default for Joint {
    fn default() -> Self {
        Self {
            null_threshold: 0.0,
            perhaps: 2.0,
            temperature: 1.0,
            dedup: Dedup::Span,
            rank_weight: 1.0,
            confidence: None,
        }
    }
}

/// Options of [`ScoringRules::Hf`], as the pipeline had them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hf {
    /// Let "no answer" compete.
    pub handle_impossible_answer: bool,
    /// Widen answers to whole words.
    pub align_to_words: bool,
}

impl Default for Hf {
    fn default() -> Self {
        Self { handle_impossible_answer: false, align_to_words: true }
    }
}

impl Scoring {
    /// Whose rules these are.
    pub fn rules(&self) -> ScoringRules {
        match self {
            Scoring::Joint(_) => ScoringRules::Joint,
            Scoring::Squad { .. } => ScoringRules::Squad,
            Scoring::Hf(_) => ScoringRules::Hf,
            Scoring::Haystack => ScoringRules::Haystack,
        }
    }
}

impl Default for Scoring {
    fn default() -> Self {
        Scoring::Joint(Joint::default())
    }
}

impl From<ScoringRules> for Scoring {
    /// The rules with their usual options.
    fn from(rules: ScoringRules) -> Self {
        match rules {
            ScoringRules::Joint => Scoring::Joint(Joint::default()),
            ScoringRules::Squad => Scoring::Squad { null_threshold: 0.0 },
            ScoringRules::Hf => Scoring::Hf(Hf::default()),
            ScoringRules::Haystack => Scoring::Haystack,
        }
    }
}

/// Which of several similar candidates are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dedup {
    /// Those that quote the same place.
    #[default]
    Span,
    /// Those that share a character with a better one.
    Overlap,
    /// Those that say the same as a better one, wherever they stand; case does not count.
    Text,
    /// None.
    None,
}

/// How answers are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoding {
    /// The rules, with their options.
    pub scoring: Scoring,
    /// Answers, or candidates when there is no answer, to return.
    pub top_k: usize,
    /// Tokens an answer may have; `None` for what the scoring's rules say.
    pub max_answer_tokens: Option<usize>,
    /// Never abstain and leave "no answer" out of the distribution: for models that were not trained to abstain.
    pub always_answer: bool,
}

impl Default for Decoding {
    fn default() -> Self {
        Self { scoring: Scoring::default(), top_k: 1, max_answer_tokens: None, always_answer: false }
    }
}

/// The logits of one window and where its context lies.
#[derive(Debug, Clone)]
pub struct Window<'a> {
    /// Start logits of every token of the window; the first one is the classification token.
    pub start: &'a [f32],
    /// End logits likewise.
    pub end: &'a [f32],
    /// Where in the window its first context token stands.
    pub offset: usize,
    /// The windows of the document as ranges of context tokens.
    pub layout: &'a [Range<usize>],
    /// Which of them this is.
    pub index: usize,
    /// The document.
    pub text: &'a str,
    /// Byte range of each of its tokens.
    pub offsets: &'a [(usize, usize)],
}

impl<'a> Window<'a> {
    fn tokens(&self) -> Range<usize> {
        self.layout[self.index].clone()
    }

    fn null(&self) -> f32 {
        self.start[0] + self.end[0]
    }

    /// Start and end logits of the context tokens.
    fn context(&self) -> (&'a [f32], &'a [f32]) {
        let range = self.offset..self.offset + self.tokens().len();
        (&self.start[range.clone()], &self.end[range])
    }

    /// Whether a span has anything to quote. White space is never an answer, whatever the rules: where the originals would return it,
    /// the next candidate takes its place. Positions are relative to this window.
    fn quotes(&self, start: usize, end: usize) -> bool {
        let first = self.tokens().start;
        let bytes = self.offsets[first + start].0..self.offsets[first + end].1;
        !is_blank(self.text.get(bytes).unwrap_or_default())
    }

    /// Whether this window is the one whose view of a span counts: of all windows that hold the span, the one that shows
    /// most context on the span's poorer side. Positions are relative to this window.
    fn owns(&self, start: usize, end: usize) -> bool {
        let (start, end) = (self.tokens().start + start, self.tokens().start + end);
        let view = |window: &Range<usize>| {
            (window.start <= start && end < window.end)
                .then(|| (start - window.start).min(window.end - 1 - end))
        };
        let mine = view(&self.layout[self.index]);
        let earlier = self.layout[..self.index].iter().rev().map_while(view);
        let later = self.layout[self.index + 1..].iter().map_while(view);
        earlier.max() < mine && later.max() <= mine
    }
}

/// A span of context tokens, both ends included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate {
    /// First token, counted in the document.
    pub start: usize,
    /// Last token.
    pub end: usize,
    /// Sum of start and end logit.
    pub logit: f32,
    /// What the scoring makes of it within its window; unused by those that normalise later.
    score: f64,
}

/// What is kept of a window after its logits are gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// Sum of start and end logit of the classification token: how strongly this window says "not here".
    pub null: f32,
    /// The best spans, best first.
    pub candidates: Vec<Candidate>,
    null_score: f64,
    log_sum: LogSum,
    /// The part of it that overlaps the best candidate, if somebody wants to know.
    around: LogSum,
}

/// A document's text and tokens, with what was kept of its windows.
#[derive(Debug, Clone)]
pub struct Document<'a> {
    /// The text.
    pub text: &'a str,
    /// Byte range of each token.
    pub offsets: &'a [(usize, usize)],
    /// Number of the word that each token belongs to.
    pub words: &'a [u32],
    /// Ranges of context tokens, one per window.
    pub layout: &'a [Range<usize>],
    /// What was kept of each window.
    pub windows: &'a [Decoded],
    /// For each window the logarithm of how likely it is to hold the answer before it is read; nothing if nobody said.
    pub priors: &'a [f64],
}

impl Document<'_> {
    fn prior(&self, window: usize) -> f64 {
        self.priors.get(window).copied().unwrap_or(0.0)
    }

    /// The smallest null score of any window: infinite if there are no windows.
    fn null(&self) -> f32 {
        self.windows.iter().map(|window| window.null).fold(f32::INFINITY, f32::min)
    }

    /// The candidates of all windows, with the number of their window, in window order.
    fn candidates(&self) -> impl Iterator<Item = (usize, &Candidate)> {
        self.windows
            .iter()
            .enumerate()
            .flat_map(|(index, window)| window.candidates.iter().map(move |candidate| (index, candidate)))
    }

    /// The bytes from a first to a last token, as the tokenizer reported them.
    fn bytes(&self, first: usize, last: usize) -> Range<usize> {
        self.offsets[first].0..self.offsets[last].1
    }

    /// The candidates of this document, number `index` of its question, measured against a null score.
    fn ranked(&self, index: usize, null: f32) -> impl Iterator<Item = Ranked> + '_ {
        self.candidates().map(move |(window, candidate)| Ranked {
            document: index,
            window,
            start: candidate.start,
            end: candidate.end,
            bytes: self.bytes(candidate.start, candidate.end),
            logit: candidate.logit,
            score: candidate.score,
            margin: candidate.logit - null,
        })
    }
}

/// One answer, or one candidate of a question without an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// Which of the documents it is in.
    pub document: usize,
    /// Which window of that document scored it.
    pub window: usize,
    /// First token.
    pub start: usize,
    /// Last token.
    pub end: usize,
    /// The bytes to quote.
    pub bytes: Range<usize>,
    /// Sum of start and end logit.
    pub logit: f32,
    /// The score under the chosen rules.
    pub score: f64,
    /// How many logits it leads "no answer" by.
    pub margin: f32,
}

/// What came of a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// Whether the best span counts as an answer.
    pub answered: bool,
    /// Whether it counts as a possible one.
    pub perhaps: bool,
    /// The best spans, best first.
    pub spans: Vec<Ranked>,
    /// The score of "no answer" under the chosen rules.
    pub no_answer_score: f64,
    /// How many logits "no answer" leads the best span by; `None` if there was no span.
    pub null_odds: Option<f32>,
    /// How likely the reply is to be right, if that is known of the model and there was something to read.
    pub confidence: Option<f64>,
}

impl Decoding {
    /// The longest answer, in tokens.
    pub fn longest(&self) -> usize {
        self.max_answer_tokens.unwrap_or(self.scoring.rules().default_answer_tokens()).max(1)
    }

    /// How far "no answer" must lead the best span, in logits, before the reply abstains; `None` if these rules compare scores instead
    /// or never abstain.
    pub fn null_threshold(&self) -> Option<f32> {
        match &self.scoring {
            _ if self.always_answer => None,
            Scoring::Joint(joint) => Some(joint.null_threshold),
            Scoring::Squad { null_threshold } => Some(*null_threshold),
            Scoring::Hf(_) | Scoring::Haystack => None,
        }
    }

    /// Reduces a window to its candidates.
    pub fn window(&self, window: &Window) -> Decoded {
        match &self.scoring {
            Scoring::Joint(joint) => joint::window(self, joint, window),
            Scoring::Squad { .. } => squad::window(self, window),
            Scoring::Hf(options) => hf::window(self, options, window),
            Scoring::Haystack => haystack::window(self, window),
        }
    }

    /// Ranks the candidates of all documents of a question.
    pub fn rank(&self, documents: &[Document]) -> Ranking {
        match &self.scoring {
            Scoring::Joint(joint) => joint::rank(self, joint, documents),
            Scoring::Squad { null_threshold } => squad::rank(self, *null_threshold, documents),
            Scoring::Hf(options) => hf::rank(self, options, documents),
            Scoring::Haystack => haystack::rank(self, documents),
        }
    }
}

/// The lead of "no answer" over the best of some spans.
fn null_odds<'a>(spans: impl IntoIterator<Item = &'a Ranked>) -> Option<f32> {
    spans.into_iter().map(|span| -span.margin).min_by(f32::total_cmp)
}

#[cfg(test)]
mod tests;
