//! What a question needs: its tokens, and windows over its documents.

use std::ops::Range;

use super::enough::{first_step, unread};
use super::promise::{Laid, by_words, promising};
use super::{Question, Reader};
use crate::decode::{self, Decoded, Decoding, ScoringRules};
use crate::heads::WindowLogits;
use crate::rank::Passages;
use crate::reader::error::Result;
use crate::text::window::WindowShape;
use crate::text::{BYTES_PER_TOKEN, PairTemplate, Tokens};

/// A question on its way.
pub(super) struct Job {
    pub(super) question: Tokens,
    pub(super) truncated: bool,
    pub(super) shape: WindowShape,
    /// Special tokens of each window.
    special: usize,
    /// Where in each window the context starts.
    pub(super) context_offset: usize,
    pub(super) places: Vec<Place>,
    /// Windows that reading everything would take.
    pub(super) total: usize,
    /// Windows that are to be read now.
    pub(super) unread: usize,
    /// Windows of greater rank may wait: see [`super::enough`].
    pub(super) reach: usize,
    /// Whether the model is asked about these.
    pub(super) under_way: bool,
}

/// A document as one question sees it.
pub(super) struct Place {
    pub(super) layout: Vec<Range<usize>>,
    /// The rank of each window, from 1, if only the most promising ones are read.
    pub(super) ranks: Option<Vec<usize>>,
    pub(super) windows: Vec<Option<Decoded>>,
    /// Kept only to explain the reply.
    pub(super) logits: Vec<Option<WindowLogits>>,
}

impl Place {
    fn new(layout: Vec<Range<usize>>, ranks: Option<Vec<usize>>) -> Self {
        Self { windows: vec![None; layout.len()], logits: vec![None; layout.len()], layout, ranks }
    }

    /// Whether every token of the document is in a window.
    pub(super) fn covers(&self, tokens: usize) -> bool {
        let reached = self.layout.iter().try_fold(0, |reached: usize, window| {
            (window.start <= reached).then_some(reached.max(window.end))
        });
        reached.is_some_and(|reached| reached >= tokens)
    }

    /// What is expected of each window before it is read.
    pub(super) fn priors(&self, of_rank: fn(usize) -> f64) -> Vec<f64> {
        self.ranks.iter().flatten().map(|&rank| of_rank(rank)).collect()
    }
}

/// One window to run.
pub(super) struct Window {
    pub(super) question: usize,
    pub(super) document: usize,
    pub(super) index: usize,
    /// Its tokens, special ones included.
    pub(super) length: usize,
}

impl Job {
    /// The windows that are to be read now, of this job, which is that of the question at a place.
    pub(super) fn windows(&self, question: usize) -> impl Iterator<Item = Window> + '_ {
        self.places.iter().enumerate().flat_map(move |(document, place)| {
            place.next(self.reach).map(move |index| Window {
                question,
                document,
                index,
                length: self.special + self.question.len() + place.layout[index].len(),
            })
        })
    }

    /// The question and the stretch of its document that a window shows, in the model's pair template: ids and segments.
    pub(super) fn join(
        &self,
        (document, index): (usize, usize),
        question: &Question,
        template: &PairTemplate,
    ) -> (Vec<u32>, Vec<u32>) {
        let stretch = self.places[document].layout[index].clone();
        template.join(&self.question.ids, &question.documents[document].tokens.ids[stretch])
    }

    /// The tokens of a window whose logits decoding looks at, beside the first one. `run_qa` takes its best starts and ends from the
    /// whole window, question included.
    pub(super) fn read(&self, window: &Window, decoding: &Decoding) -> Range<usize> {
        match decoding.scoring.rules() {
            ScoringRules::Squad => 0..window.length,
            ScoringRules::Joint | ScoringRules::Hf | ScoringRules::Haystack => {
                let context = self.places[window.document].layout[window.index].len();
                self.context_offset..self.context_offset + context
            }
        }
    }

    /// Reduces the logits of a window to what ranking needs.
    pub(super) fn decode(&self, window: &Window, logits: &WindowLogits, question: &Question) -> Decoded {
        let document = &question.documents[window.document];
        question.options.decoding.window(&decode::Window {
            start: &logits.start,
            end: &logits.end,
            offset: self.context_offset,
            layout: &self.places[window.document].layout,
            index: window.index,
            text: &document.text,
            offsets: &document.tokens.offsets,
        })
    }

    /// Keeps what was found in a window.
    pub(super) fn keep(&mut self, window: &Window, decoded: Decoded, logits: Option<WindowLogits>) {
        let place = &mut self.places[window.document];
        place.windows[window.index] = Some(decoded);
        place.logits[window.index] = logits;
        self.unread -= 1;
    }
}

/// Cuts windows into runs of about `tokens` tokens.
pub(super) fn read_ahead(windows: &[Window], tokens: usize) -> impl Iterator<Item = &[Window]> {
    let mut rest = windows;
    std::iter::from_fn(move || {
        let mut sum = 0usize;
        let taken = rest.iter().take_while(|window| {
            let fits = sum == 0 || sum + window.length <= tokens;
            sum += window.length;
            fits
        });
        let (run, later) = rest.split_at(taken.count());
        rest = later;
        (!run.is_empty()).then_some(run)
    })
}

impl Reader {
    /// About how many tokens the windows of a question have together: what it costs to answer it. Its documents have been tokenised, it
    /// itself has not.
    pub fn cost(&self, question: &Question) -> usize {
        let (options, template) = (&question.options, self.tokenizer.template());
        let asked = (question.text.len() / BYTES_PER_TOKEN).max(1);
        let (special, positions) = (template.special_tokens(), self.model.usable_positions());
        let Ok(shape) = WindowShape::fit(asked, special, positions, &options.limits) else { return 0 };
        let last = options.decoding.scoring.rules().last_window();
        let windows =
            question.documents.iter().flat_map(|document| shape.windows(document.tokens.len(), last));
        let most = options.read.unwrap_or(usize::MAX);
        windows.take(most).map(|window| window.len() + shape.question + special).sum()
    }

    /// Tokenises the question and lays windows over its documents.
    pub(super) fn plan(&self, question: &Question) -> Result<Job> {
        let options = &question.options;
        let mut tokens = self.tokenizer.encode(question.text.trim())?;
        let template = self.tokenizer.template();
        let (special, positions) = (template.special_tokens(), self.model.usable_positions());
        let shape = WindowShape::fit(tokens.len(), special, positions, &options.limits)?;
        // What a search has found is a passage, not its document.
        let shape = if question.search.is_some() { shape.cut() } else { shape };
        let truncated = tokens.len() > shape.question;
        tokens.truncate(shape.question);
        let (places, total) = self.places(question, &shape);
        let windows: usize = places.iter().map(|place| place.layout.len()).sum();
        let reach = first_step(question);
        Ok(Job {
            unread: unread(&places, reach),
            reach,
            under_way: false,
            context_offset: template.context_offset(tokens.len()),
            special,
            places,
            // Windows around passages overlap more than those of a whole document: of short ones there may be more.
            total: total.max(windows),
            question: tokens,
            truncated,
            shape,
        })
    }

    /// The documents with the windows that are to be read, and how many there would be if everything were.
    fn places(&self, question: &Question, shape: &WindowShape) -> (Vec<Place>, usize) {
        let options = &question.options;
        let laid: Vec<Laid> = question.documents.iter().map(|document| document.laid()).collect();
        let around = |passages: &mut dyn Iterator<Item = (usize, Range<usize>)>, most| {
            let windows = promising(passages, &laid, shape, most).into_iter();
            windows.map(|(layout, ranks)| Place::new(layout, Some(ranks))).collect()
        };
        if let Some(search) = &question.search {
            let mut found = search.found.iter().map(|found| (found.document, found.bytes.clone()));
            return (around(&mut found, options.read.unwrap_or(usize::MAX)), 0);
        }
        let last = options.decoding.scoring.rules().last_window();
        let whole: Vec<Vec<Range<usize>>> =
            question.documents.iter().map(|document| shape.windows(document.tokens.len(), last)).collect();
        let total = whole.iter().map(Vec::len).sum();
        let places = match options.read {
            Some(most) if total > 1 => {
                let passages: Vec<&Passages> =
                    question.documents.iter().map(|document| document.passages()).collect();
                around(&mut by_words(&question.text, &passages), most)
            }
            _ => whole.into_iter().map(|layout| Place::new(layout, None)).collect(),
        };
        (places, total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_a_document_or_leave_gaps() {
        let covers = |layout: &[Range<usize>], tokens| Place::new(layout.to_vec(), None).covers(tokens);
        assert!(covers(&[0..10, 8..20], 20) && covers(&[], 0) && covers(&[0..10, 10..12], 12));
        assert!(
            !covers(&[0..10, 11..20], 20)
                && !covers(&[1..20], 20)
                && !covers(&[0..19], 20)
                && !covers(&[], 1)
        );
    }
}
