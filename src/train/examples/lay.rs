//! Which parts of a context are shown with a question.

use std::ops::Range;

use crate::decode::ScoringRules;
use crate::random::Random;
use crate::rank::Passages;
use crate::reader::promise::{Laid, by_words, promising};
use crate::text::Tokens;
use crate::text::sentences;
use crate::text::window::WindowShape;
use crate::train::recipe::{Laying, Objective};

/// What sets the draw of contexts to cut apart from other draws with the same seed.
const CROP: u64 = 0xc409;

/// Sentences that are left at most on each side of an answer.
const NEIGHBOURS: usize = 2;

/// Some tokens of a context that are shown in one window, and their rank among those that promise an answer, from 1.
pub(super) type Shown = (Range<usize>, usize);

/// A context that questions are put to.
pub(super) struct Context<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a Tokens,
    /// Made for the first question that needs them.
    pub(super) passages: std::cell::OnceCell<Passages>,
}

impl Context<'_> {
    /// A few sentences around an answer, or anywhere if there is none: people ask about short notes, too. Only for as many questions as
    /// the recipe says.
    pub(super) fn cropped(
        &self,
        laying: &Laying,
        number: usize,
        answers: &[Range<usize>],
        width: usize,
    ) -> Option<Shown> {
        let mut random = Random::derive(laying.seed ^ CROP, number as u64);
        if random.uniform() >= laying.crop {
            return None;
        }
        let place = answers.first().cloned().unwrap_or_else(|| {
            let token = random.below(self.tokens.len());
            token..token + 1
        });
        let bytes = self.tokens.offsets[place.start].0..self.tokens.offsets[place.end - 1].1;
        let near = sentences::around(self.text, &bytes, NEIGHBOURS);
        let mut some = |sentences: usize| random.below(sentences + 1);
        let (before, after) = (some(near.before.len()), some(near.after.len()));
        let start = near.before.get(near.before.len() - before).unwrap_or(&near.sentence).start;
        let end = near.after[..after].last().unwrap_or(&near.sentence).end;
        let first =
            self.tokens.offsets.partition_point(|&(_, token_end)| token_end <= start).min(place.start);
        let last = self.tokens.offsets.partition_point(|&(token_start, _)| token_start < end).max(place.end);
        // What is too long for a window loses what is farthest from the answer.
        let first = first.max(place.end.saturating_sub(width));
        Some((first..last.min(first + width), 1))
    }

    /// The windows of a question.
    pub(super) fn windows(
        &self,
        laying: &Laying,
        question: &str,
        answers: &[Range<usize>],
        shape: &WindowShape,
    ) -> Vec<Shown> {
        let whole = shape.windows(self.tokens.len(), ScoringRules::default().last_window());
        if whole.len() == 1 || laying.objective == Objective::Window {
            return whole.into_iter().map(|tokens| (tokens, 1)).collect();
        }
        let passages = self.passages.get_or_init(|| Passages::of(self.text));
        let run = 0..self.tokens.len();
        let document = Laid { offsets: &self.tokens.offsets, runs: std::slice::from_ref(&run) };
        let found = promising(by_words(question, &[passages]), &[document], shape, usize::MAX).into_iter();
        let mut ranked: Vec<Shown> =
            found.flat_map(|(windows, ranks)| windows.into_iter().zip(ranks)).collect();
        ranked.sort_by_key(|(_, rank)| *rank);
        // The first, and if none of them holds an answer, the first that does in place of the last.
        let holds = |(window, _): &Shown| answers.iter().any(|answer| within(answer, window));
        let rest = ranked.split_off(laying.read.min(ranked.len()));
        if !ranked.iter().any(holds)
            && let Some(one) = rest.into_iter().find(holds)
        {
            ranked.pop();
            ranked.push(one);
        }
        ranked
    }
}

/// Whether a window shows all of an answer.
pub(super) fn within(answer: &Range<usize>, window: &Range<usize>) -> bool {
    window.start <= answer.start && answer.end <= window.end
}
