//! Windows as the model reads them, for whoever looks inside: the same tokens that answers come from, and where each of them stands.

use std::ops::Range;

use super::plan::Job;
use super::{Question, Reader};
use crate::encoder::batch::Batch;
use crate::reader::error::Result;
use crate::text::Tokens;

/// A window of a document with the question that is put to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelInput {
    /// Which of the question's documents it is of.
    pub document: usize,
    /// Its number in that document, as explanations count.
    pub window: usize,
    /// Token ids.
    pub ids: Vec<u32>,
    /// Segment ids.
    pub segments: Vec<u32>,
    /// Where each token stands.
    pub places: Vec<TokenPlace>,
}

/// Where a token of a window stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenPlace {
    /// In which text.
    pub part: Part,
    /// Its bytes there.
    pub bytes: Range<usize>,
    /// Which of the pre-tokenizer's words it belongs to; `None` when it belongs to none.
    pub word: Option<u32>,
}

/// What a token of a window belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Part {
    /// To the structure of the window: `[CLS]`, `</s>`.
    #[default]
    Special,
    /// To the question.
    Question,
    /// To the document.
    Document,
}

impl ModelInput {
    /// The window alone, all of whose rows are wanted.
    pub fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        batch.push(&self.ids, &self.segments);
        batch
    }

    /// The tokens of a part, which stand side by side.
    pub fn tokens_of(&self, part: Part) -> Range<usize> {
        let is_of = |place: &TokenPlace| place.part == part;
        let start = self.places.iter().position(is_of).unwrap_or(0);
        start..self.places.iter().rposition(is_of).map_or(0, |last| last + 1)
    }
}

impl Reader {
    /// The windows that would be read to answer a question, in order.
    pub fn inputs(&self, question: &Question) -> Result<Vec<ModelInput>> {
        let job = self.plan(question)?;
        let windows = job
            .places
            .iter()
            .enumerate()
            .flat_map(|(document, place)| (0..place.layout.len()).map(move |window| (document, window)));
        Ok(windows.map(|window| self.input(question, &job, window)).collect())
    }

    fn input(&self, question: &Question, job: &Job, (document, window): (usize, usize)) -> ModelInput {
        let template = self.tokenizer.template();
        let (ids, segments) = job.join((document, window), question, template);
        let mut places = vec![TokenPlace::default(); ids.len()];
        let mut stand = |part: Part, first: usize, tokens: &Tokens, range: Range<usize>, before: usize| {
            for (place, token) in places[first..].iter_mut().zip(range) {
                let (start, end) = tokens.offsets[token];
                let word = Some(tokens.words[token]).filter(|word| *word != u32::MAX);
                *place = TokenPlace { part, bytes: start + before..end + before, word };
            }
        };
        // The tokenizer saw the question without the white space around it.
        let before = question.text.len() - question.text.trim_start().len();
        stand(Part::Question, template.prefix.len(), &job.question, 0..job.question.len(), before);
        let stretch = job.places[document].layout[window].clone();
        stand(Part::Document, job.context_offset, &question.documents[document].tokens, stretch, 0);
        ModelInput { document, window, ids, segments, places }
    }
}
