//! From data sets to windows with the tokens that should be chosen.
//!
//! Contexts and questions are tokenised once and joined when a batch needs them, in the windows in which they are read later.
//!
//! ```text
//! answers   where the answers of a question stand among the tokens
//! lay       which parts of the context are shown with it
//! counts    what became of the questions
//! file      the windows on disk, for training elsewhere
//! ```

mod answers;
mod counts;
mod file;
mod lay;

use std::cell::OnceCell;
use std::ops::Range;

use rayon::prelude::*;

use self::answers::Answers;
pub use self::counts::Counts;
use self::lay::{Context, Shown, within};
use crate::decode::ScoringRules;
use crate::encoder::batch::Batch;
use crate::eval::{Dataset, Paragraph};
use crate::reader::promise::prior;
use crate::text;
use crate::text::window::{Limits, WindowShape};
use crate::text::{PairTemplate, Tokenizer};
use crate::train::error::{Error, Result};
use crate::train::learn::{Lesson, Target, View};
use crate::train::recipe::{Laying, Objective};

/// What is learned from: windows one by one, or all windows of a question together.
pub struct Examples {
    template: PairTemplate,
    objective: Objective,
    contexts: Vec<Vec<u32>>,
    questions: Vec<Vec<u32>>,
    examples: Vec<Example>,
    /// How many examples there are at the end of each data set.
    datasets: Vec<usize>,
}

/// What the loss of one question, or of one window, is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Example {
    question: usize,
    context: usize,
    windows: Vec<Window>,
    /// Tokens of its windows.
    length: usize,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Window {
    /// Which tokens of the context, and which rank they have.
    shown: Shown,
    /// The answers that it holds, by tokens of the context.
    answers: Vec<Range<usize>>,
}

/// What one paragraph contributes.
struct Part {
    context: Vec<u32>,
    questions: Vec<(Vec<u32>, Vec<Window>)>,
    counts: Counts,
    /// Why the first question that is too long does not fit.
    no_room: Option<text::Error>,
}

impl Examples {
    /// Lays windows over data sets.
    pub fn new(
        datasets: &[Dataset],
        tokenizer: &Tokenizer,
        positions: usize,
        (limits, laying): (&Limits, &Laying),
    ) -> Result<(Self, Vec<Counts>)> {
        let template = tokenizer.template().clone();
        let objective = laying.objective;
        let mut all = Examples {
            template,
            objective,
            contexts: Vec::new(),
            questions: Vec::new(),
            examples: Vec::new(),
            datasets: Vec::new(),
        };
        let mut counts = Vec::new();
        let mut no_room = None;
        for dataset in datasets {
            let paragraphs: Vec<&Paragraph> =
                dataset.articles.iter().flat_map(|article| &article.paragraphs).collect();
            let parts: Vec<Result<Part>> = paragraphs
                .into_par_iter()
                .map(|paragraph| read(paragraph, tokenizer, positions, (limits, laying)))
                .collect();
            let mut sum = Counts::default();
            for part in parts {
                let mut part = part?;
                sum.add(&part.counts);
                no_room = no_room.or_else(|| part.no_room.take());
                all.add(part);
            }
            counts.push(sum);
            all.datasets.push(all.examples.len());
        }
        if !all.examples.iter().any(Example::is_answerable) {
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
        for (question, windows) in part.questions {
            let beside = question.len() + self.template.special_tokens();
            let number = self.questions.len();
            let example = |windows: Vec<Window>| Example {
                question: number,
                context,
                length: windows.iter().map(|window| beside + window.shown.0.len()).sum(),
                windows,
            };
            match self.objective {
                Objective::Window => {
                    self.examples.extend(windows.into_iter().map(|window| example(vec![window])));
                }
                Objective::Joint => self.examples.push(example(windows)),
            }
            self.questions.push(question);
        }
        self.contexts.push(part.context);
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Tokens of an example.
    pub fn length(&self, example: usize) -> usize {
        self.examples[example].length
    }

    /// Whether an example holds a whole answer.
    pub fn is_answerable(&self, example: usize) -> bool {
        self.examples[example].is_answerable()
    }

    /// Puts examples together.
    pub fn batch(&self, examples: &[usize]) -> (Batch, Vec<Lesson>) {
        let mut batch = Batch::default();
        let mut lessons = Vec::new();
        for &example in examples {
            let example = &self.examples[example];
            let question = &self.questions[example.question];
            for window in &example.windows {
                let context = &self.contexts[example.context][window.shown.0.clone()];
                let (ids, segments) = self.template.join(question, context);
                batch.push(&ids, &segments);
            }
            lessons.push(self.lesson(example, self.template.context_offset(question.len())));
        }
        (batch, lessons)
    }

    /// What an example should come to, in windows whose contexts start at token `offset`.
    fn lesson(&self, example: &Example, offset: usize) -> Lesson {
        let view = |Window { shown: (tokens, rank), answers }: &Window| View {
            context: offset..offset + tokens.len(),
            longest: ScoringRules::Joint.default_answer_tokens(),
            prior: if example.windows.len() == 1 { 0.0 } else { prior(*rank) },
            golds: (answers.iter())
                .map(|answer| Target {
                    start: offset + answer.start - tokens.start,
                    end: offset + answer.end - 1 - tokens.start,
                })
                .collect(),
        };
        match (self.objective, &example.windows[..]) {
            (Objective::Window, [window]) => {
                Lesson::Window(view(window).golds.first().copied().unwrap_or(NOWHERE))
            }
            (_, windows) => Lesson::Joint(windows.iter().map(view).collect()),
        }
    }
}

impl Example {
    fn is_answerable(&self) -> bool {
        self.windows.iter().any(|window| !window.answers.is_empty())
    }
}

/// The place of "no answer".
const NOWHERE: Target = Target { start: 0, end: 0 };

fn read(
    paragraph: &Paragraph,
    tokenizer: &Tokenizer,
    positions: usize,
    (limits, laying): (&Limits, &Laying),
) -> Result<Part> {
    let tokens = tokenizer.encode(&paragraph.context)?;
    let context = Context { text: &paragraph.context, tokens: &tokens, passages: OnceCell::new() };
    let (questions, counts) = (Vec::new(), Counts::default());
    let mut part = Part { context: tokens.ids.clone(), questions, counts, no_room: None };
    for question in &paragraph.questions {
        let mut ids = tokenizer.encode(question.text.trim())?.ids;
        let special = tokenizer.template().special_tokens();
        let shape = match WindowShape::fit(ids.len(), special, positions, limits) {
            Ok(shape) if !tokens.is_empty() => shape,
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
        let answers = Answers::of(question, &paragraph.context, &tokens);
        if answers == Answers::Unplaced {
            part.counts.unplaced += 1;
            continue;
        }
        part.counts.cut += usize::from(ids.len() > shape.question);
        ids.truncate(shape.question);
        // Windows are learned from one by one towards one answer, as in the scripts that published scores come from.
        let places = match laying.objective {
            Objective::Window => &answers.places()[..answers.places().len().min(1)],
            Objective::Joint => answers.places(),
        };
        let windows = match context.cropped(laying, question.number, places, shape.width) {
            Some(piece) => vec![piece],
            None => context.windows(laying, &question.text, places, &shape),
        };
        let held = |shown: Shown| Window {
            answers: places.iter().filter(|answer| within(answer, &shown.0)).cloned().collect(),
            shown,
        };
        let windows: Vec<Window> = windows.into_iter().map(held).collect();
        part.counts.questions += 1;
        part.counts.unanswerable += usize::from(answers == Answers::None);
        part.counts.windows += windows.len();
        part.counts.without_answer += windows.iter().filter(|window| window.answers.is_empty()).count();
        part.questions.push((ids, windows));
    }
    Ok(part)
}
