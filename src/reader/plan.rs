//! What a question needs: its tokens, and windows over its passages.

use std::ops::Range;

use super::{Asking, Query, Reader};
use crate::decode::{Decoded, Window};
use crate::heads::WindowLogits;
use crate::reader::error::Result;
use crate::text::window::WindowShape;

/// A question on its way.
pub(super) struct Asked {
    pub(super) question: Vec<u32>,
    pub(super) truncated: bool,
    pub(super) shape: WindowShape,
    /// Where in each window the context starts.
    pub(super) context_offset: usize,
    pub(super) places: Vec<Place>,
    /// Windows that are still to be read.
    pub(super) unread: usize,
}

/// A passage as one question sees it.
pub(super) struct Place {
    pub(super) layout: Vec<Range<usize>>,
    pub(super) windows: Vec<Option<Decoded>>,
    /// Kept only to explain the reply.
    pub(super) logits: Vec<Option<WindowLogits>>,
}

/// One window to run.
pub(super) struct Job {
    pub(super) query: usize,
    pub(super) passage: usize,
    pub(super) window: usize,
    pub(super) length: usize,
}

impl Asked {
    pub(super) fn jobs(&self, query: usize) -> impl Iterator<Item = Job> + '_ {
        self.places.iter().enumerate().flat_map(move |(passage, place)| {
            place.layout.iter().enumerate().map(move |(window, range)| Job {
                query,
                passage,
                window,
                length: self.question.len() + range.len(),
            })
        })
    }

    /// Reduces the logits of a window to what ranking needs.
    pub(super) fn decode(&self, job: &Job, logits: &WindowLogits, asking: &Asking) -> Decoded {
        asking.decoding.window(&Window {
            start: &logits.start,
            end: &logits.end,
            offset: self.context_offset,
            layout: &self.places[job.passage].layout,
            index: job.window,
        })
    }

    /// Keeps what was found in a window.
    pub(super) fn keep(&mut self, job: &Job, decoded: Decoded, logits: Option<WindowLogits>) {
        let place = &mut self.places[job.passage];
        place.windows[job.window] = Some(decoded);
        place.logits[job.window] = logits;
        self.unread -= 1;
    }
}

/// Cuts jobs into runs of about `tokens` tokens.
pub(super) fn read_ahead(jobs: &[Job], tokens: usize) -> impl Iterator<Item = &[Job]> {
    let mut rest = jobs;
    std::iter::from_fn(move || {
        let mut sum = 0usize;
        let taken = rest.iter().take_while(|job| {
            let fits = sum == 0 || sum + job.length <= tokens;
            sum += job.length;
            fits
        });
        let (run, later) = rest.split_at(taken.count());
        rest = later;
        (!run.is_empty()).then_some(run)
    })
}

impl Reader {
    /// Tokenises the question and lays windows over its passages.
    pub(super) fn plan(&self, query: &Query, asking: &Asking) -> Result<Asked> {
        let mut question = self.tokenizer.encode(query.question.trim())?.ids;
        let template = self.tokenizer.template();
        let positions = self.model.usable_positions();
        let shape = WindowShape::fit(question.len(), template.special_tokens(), positions, &self.limits)?;
        let truncated = question.len() > shape.question;
        question.truncate(shape.question);
        let last = asking.decoding.scoring.last_window();
        let places = query.passages.iter().map(|passage| {
            let layout = shape.windows(passage.tokens.len(), last);
            Place { windows: vec![None; layout.len()], logits: vec![None; layout.len()], layout }
        });
        let places: Vec<Place> = places.collect();
        Ok(Asked {
            unread: places.iter().map(|place| place.layout.len()).sum(),
            context_offset: template.context_offset(question.len()),
            places,
            question,
            truncated,
            shape,
        })
    }
}
