//! When enough has been read of what a search has found: windows are read in steps, the most promising ones first.

use super::Question;
use super::plan::{Job, Place};
use super::promise::prior_of_found;
use crate::decode::{Decoded, Scoring};

/// The ranks up to which windows are read before it is seen whether the others are worth it.
const STEPS: [usize; 3] = [4, 8, 16];

/// Farther down, no span leads "no answer" of its window by more logits. Of some thousand windows none did that had a chance to win.
const MOST: f64 = 7.0;

/// How far a question is read at first. Whoever wants several answers gets the best of everything.
pub(super) fn first_step(question: &Question) -> usize {
    match &question.options.decoding.scoring {
        Scoring::Joint(_) if question.search.is_some() && question.options.decoding.top_k == 1 => STEPS[0],
        _ => usize::MAX,
    }
}

/// How many windows up to some rank have not been read.
pub(super) fn unread(places: &[Place], reach: usize) -> usize {
    places.iter().map(|place| place.next(reach).count()).sum()
}

impl Job {
    /// How many windows have not been read.
    pub(super) fn left(&self) -> usize {
        unread(&self.places, usize::MAX)
    }

    /// Whether the reply can be made. Otherwise the next windows are to be read.
    pub(super) fn is_enough(&mut self, question: &Question) -> bool {
        while self.unread == 0 && self.left() > 0 {
            if self.leads(question) {
                self.places.iter_mut().for_each(Place::forget_unread);
                return true;
            }
            self.reach = STEPS.into_iter().find(|step| *step > self.reach).unwrap_or(usize::MAX);
            self.unread = unread(&self.places, self.reach);
            self.under_way = false;
        }
        self.unread == 0
    }

    /// Whether a span leads by so much that none of those that were not read is going to win.
    fn leads(&self, question: &Question) -> bool {
        let Scoring::Joint(joint) = &question.options.decoding.scoring else { return false };
        let prior = |rank| joint.rank_weight * prior_of_found(rank);
        let best = self.places.iter().flat_map(|place| {
            let read = place.windows.iter().zip(place.ranks.iter().flatten());
            let read = read.filter_map(|(decoded, rank)| Some((decoded.as_ref()?, *rank)));
            let null = read.clone().map(|(decoded, _)| decoded.null).fold(f32::INFINITY, f32::min);
            let best = |decoded: &Decoded| decoded.candidates.first().map(|span| span.logit);
            read.filter_map(move |(decoded, rank)| Some(f64::from(best(decoded)? - null) + prior(rank)))
        });
        best.fold(f64::NEG_INFINITY, f64::max) >= MOST + prior(self.reach + 1)
    }
}

impl Place {
    /// The windows that are to be read up to some rank.
    pub(super) fn next(&self, reach: usize) -> impl Iterator<Item = usize> + '_ {
        let rank = |window: usize| self.ranks.as_ref().map_or(0, |ranks| ranks[window]);
        (0..self.layout.len()).filter(move |&window| self.windows[window].is_none() && rank(window) <= reach)
    }

    /// Keeps only what was read.
    fn forget_unread(&mut self) {
        let read: Vec<bool> = self.windows.iter().map(Option::is_some).collect();
        keep(&mut self.layout, &read);
        self.ranks.iter_mut().for_each(|ranks| keep(ranks, &read));
        keep(&mut self.logits, &read);
        keep(&mut self.windows, &read);
    }
}

/// Drops the things of a list that stand where `wanted` is false.
fn keep<T>(things: &mut Vec<T>, wanted: &[bool]) {
    let mut wanted = wanted.iter();
    things.retain(|_| wanted.next().is_some_and(|wanted| *wanted));
}
