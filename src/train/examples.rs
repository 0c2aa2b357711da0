//! From data sets to windows with the tokens that should be chosen.
//!
//! Contexts and questions are tokenised once and joined when a batch needs them, in the same windows in which they are read later.

use std::ops::Range;

use rayon::prelude::*;

use crate::decode::ScoringRules;
use crate::encoder::batch::Batch;
use crate::eval::{Dataset, Paragraph, Question};
use crate::text;
use crate::text::window::{Limits, WindowShape};
use crate::text::{PairTemplate, Tokenizer, Tokens};
use crate::train::error::{Error, Result};
use crate::train::learn::Target;

/// Windows to learn from.
pub struct Examples {
    template: PairTemplate,
    contexts: Vec<Vec<u32>>,
    questions: Vec<Vec<u32>>,
    windows: Vec<Window>,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    question: usize,
    context: usize,
    tokens: Range<usize>,
    target: Target,
    length: usize,
}

/// What became of the questions.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Questions that are learned from.
    pub questions: usize,
    /// Those of them that have no answer.
    pub unanswerable: usize,
    /// Windows in all.
    pub windows: usize,
    /// Windows that hold no whole answer.
    pub without_answer: usize,
    /// Questions left out because their answer is not where the data set says, nor anywhere else in the context.
    pub unplaced: usize,
    /// Questions left out because they, or their context, have no token.
    pub blank: usize,
    /// Questions that were cut.
    pub cut: usize,
    /// Questions left out because beside them a window has no room for the context.
    #[serde(default)]
    pub too_long: usize,
    /// The id of the first of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_too_long: Option<String>,
}

impl Counts {
    fn add(&mut self, other: &Counts) {
        self.questions += other.questions;
        self.unanswerable += other.unanswerable;
        self.windows += other.windows;
        self.without_answer += other.without_answer;
        self.unplaced += other.unplaced;
        self.blank += other.blank;
        self.cut += other.cut;
        self.too_long += other.too_long;
        if self.first_too_long.is_none() {
            self.first_too_long.clone_from(&other.first_too_long);
        }
    }

    /// What a person should know.
    pub fn remarks(&self) -> Vec<String> {
        let too_long = format!(
            "are left out: beside them a window has no room for the context; the first is {}",
            self.first_too_long.as_deref().unwrap_or_default()
        );
        [
            (self.unplaced, "are left out: their answer does not stand in the context"),
            (self.blank, "are left out: they or their contexts are empty"),
            (self.too_long, &too_long),
            (self.cut, "were cut to the longest that windows take"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} questions {what}"))
        .collect()
    }
}

/// What one paragraph contributes.
struct Part {
    context: Vec<u32>,
    questions: Vec<Asked>,
    counts: Counts,
    /// Why the first question that is too long does not fit.
    no_room: Option<text::Error>,
}

/// A question and its windows: tokens of the context, and what should be chosen among them.
struct Asked {
    question: Vec<u32>,
    windows: Vec<(Range<usize>, Target)>,
}

impl Examples {
    /// Lays windows over data sets.
    pub fn new(
        datasets: &[Dataset],
        tokenizer: &Tokenizer,
        positions: usize,
        limits: &Limits,
    ) -> Result<(Self, Vec<Counts>)> {
        let template = tokenizer.template().clone();
        let mut all = Examples { template, contexts: Vec::new(), questions: Vec::new(), windows: Vec::new() };
        let mut counts = Vec::new();
        let mut no_room = None;
        for dataset in datasets {
            let paragraphs: Vec<&Paragraph> =
                dataset.articles.iter().flat_map(|article| &article.paragraphs).collect();
            let parts: Vec<Result<Part>> = paragraphs
                .into_par_iter()
                .map(|paragraph| read(paragraph, tokenizer, positions, limits))
                .collect();
            let mut sum = Counts::default();
            for part in parts {
                let mut part = part?;
                sum.add(&part.counts);
                no_room = no_room.or_else(|| part.no_room.take());
                all.add(part);
            }
            counts.push(sum);
        }
        if !all.windows.iter().any(Window::is_answerable) {
            // If no question fits, that is the reason.
            let questions = counts.iter().map(|counts| counts.questions).sum();
            return Err(match no_room.filter(|_| questions == 0) {
                Some(no_room) => no_room.into(),
                None => Error::NothingToLearn { questions },
            });
        }
        Ok((all, counts))
    }

    fn add(&mut self, part: Part) {
        let context = self.contexts.len();
        let special = self.template.special_tokens();
        for Asked { question, windows } in part.questions {
            let length = |tokens: &Range<usize>| question.len() + tokens.len() + special;
            self.windows.extend(windows.iter().map(|(tokens, target)| Window {
                question: self.questions.len(),
                context,
                tokens: tokens.clone(),
                target: *target,
                length: length(tokens),
            }));
            self.questions.push(question);
        }
        self.contexts.push(part.context);
    }

    /// How many windows there are.
    pub fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Tokens of a window.
    pub fn length(&self, window: usize) -> usize {
        self.windows[window].length
    }

    /// Whether a window holds a whole answer.
    pub fn is_answerable(&self, window: usize) -> bool {
        self.windows[window].is_answerable()
    }

    /// Puts windows together.
    pub fn batch(&self, windows: &[usize]) -> (Batch, Vec<Target>) {
        let mut batch = Batch::default();
        for &window in windows {
            let window = &self.windows[window];
            let context = &self.contexts[window.context][window.tokens.clone()];
            let (ids, segments) = self.template.join(&self.questions[window.question], context);
            batch.push(&ids, &segments);
        }
        (batch, windows.iter().map(|&window| self.windows[window].target).collect())
    }
}

impl Window {
    fn is_answerable(&self) -> bool {
        self.target.end > 0
    }
}

/// The place of "no answer".
const NOWHERE: Target = Target { start: 0, end: 0 };

fn read(paragraph: &Paragraph, tokenizer: &Tokenizer, positions: usize, limits: &Limits) -> Result<Part> {
    let context = tokenizer.encode(&paragraph.context)?;
    let (questions, counts) = (Vec::new(), Counts::default());
    let mut part = Part { context: context.ids.clone(), questions, counts, no_room: None };
    for question in &paragraph.questions {
        let mut ids = tokenizer.encode(question.text.trim())?.ids;
        let special = tokenizer.template().special_tokens();
        let shape = match WindowShape::fit(ids.len(), special, positions, limits) {
            Ok(shape) if !context.is_empty() => shape,
            Ok(_) | Err(text::Error::EmptyQuestion) => {
                part.counts.blank += 1;
                continue;
            }
            Err(error @ text::Error::NoRoomForContext { .. }) => {
                part.counts.too_long += 1;
                part.counts.first_too_long.get_or_insert_with(|| question.id.clone());
                part.no_room.get_or_insert(error);
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let answer = match answer(question, &paragraph.context, &context) {
            Answer::Tokens(tokens) => Some(tokens),
            Answer::None => None,
            Answer::Unplaced => {
                part.counts.unplaced += 1;
                continue;
            }
        };
        part.counts.cut += usize::from(ids.len() > shape.question);
        ids.truncate(shape.question);
        let offset = tokenizer.template().context_offset(ids.len());
        let windows = shape.windows(context.len(), ScoringRules::default().last_window());
        let windows = windows.into_iter().map(|window| {
            let inside =
                answer.clone().filter(|answer| window.start <= answer.start && answer.end <= window.end);
            let target = inside.map_or(NOWHERE, |answer| Target {
                start: offset + answer.start - window.start,
                end: offset + answer.end - 1 - window.start,
            });
            (window, target)
        });
        let windows: Vec<_> = windows.collect();
        part.counts.questions += 1;
        part.counts.unanswerable += usize::from(answer.is_none());
        part.counts.windows += windows.len();
        part.counts.without_answer += windows.iter().filter(|(_, target)| *target == NOWHERE).count();
        part.questions.push(Asked { question: ids, windows });
    }
    Ok(part)
}

/// Where a question's answer stands among the tokens of its context.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Tokens(Range<usize>),
    /// It has none.
    None,
    /// It should have one.
    Unplaced,
}

/// The first gold answer that can be found: where the data set says, else nearest to there.
fn answer(question: &Question, context: &str, tokens: &Tokens) -> Answer {
    if !question.has_answer() {
        return Answer::None;
    }
    let placed = question.golds.iter().find_map(|gold| {
        let text = gold.text.trim();
        let said = gold.start.and_then(|start| context.char_indices().nth(start)).map_or(0, |(byte, _)| byte);
        let nearest =
            context.match_indices(text).map(|(byte, _)| byte).min_by_key(|byte| byte.abs_diff(said));
        let start = nearest.filter(|_| !text.is_empty())?;
        let end = start + text.len();
        let first = tokens.offsets.iter().position(|(_, token_end)| *token_end > start)?;
        let last = tokens.offsets.iter().rposition(|(token_start, _)| *token_start < end)?;
        (first <= last && tokens.offsets[first].0 < end).then_some(first..last + 1)
    });
    placed.map_or(Answer::Unplaced, Answer::Tokens)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Gold;

    fn words(context: &str) -> Tokens {
        let mut tokens = Tokens::default();
        for word in context.split(' ') {
            let start = word.as_ptr() as usize - context.as_ptr() as usize;
            tokens.ids.push(7);
            tokens.offsets.push((start, start + word.len()));
            tokens.words.push(tokens.words.len() as u32);
        }
        tokens
    }

    fn asked(golds: &[(&str, Option<usize>)]) -> Question {
        let gold = |(text, start): &(&str, Option<usize>)| Gold { text: (*text).into(), start: *start };
        Question { id: "q".into(), text: "?".into(), golds: golds.iter().map(gold).collect(), number: 0 }
    }

    #[test]
    fn answers_are_found_where_they_stand() {
        let context = "é the tower and the tower again";
        let tokens = words(context);
        let find = |golds: &[(&str, Option<usize>)]| answer(&asked(golds), context, &tokens);
        assert_eq!(find(&[("the tower", Some(2))]), Answer::Tokens(1..3));
        assert_eq!(find(&[("the tower", Some(16))]), Answer::Tokens(4..6));
        // A wrong place leads to the nearest right one, a part of a word to the whole one.
        assert_eq!(find(&[("the tower", Some(14))]), Answer::Tokens(4..6));
        assert_eq!(find(&[(" owe ", None)]), Answer::Tokens(2..3));
        assert_eq!(find(&[("the bridge", Some(2))]), Answer::Unplaced);
        assert_eq!(find(&[("the bridge", Some(2)), ("again", None)]), Answer::Tokens(6..7));
        assert_eq!(find(&[("", Some(0))]), Answer::Unplaced);
        assert_eq!(find(&[]), Answer::None);
    }
}
