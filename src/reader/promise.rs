//! Which windows to read if not all are to be: those around the passages that share most words with the question.

use std::ops::Range;

use crate::rank::{Passages, rank};
use crate::text::window::WindowShape;

/// A document as far as this needs it.
#[derive(Debug, Clone, Copy)]
pub struct Laid<'a> {
    /// The bytes of each of its tokens.
    pub offsets: &'a [(usize, usize)],
    /// Runs of tokens with nothing left out between them: no window goes beyond its run.
    pub runs: &'a [Range<usize>],
}

/// What is expected of a window of some rank, from 1, before it is read: the second best holds the answer half as often as the best, the
/// third a third as often. Measured, this finds more than either the words or the model alone.
pub fn prior(rank: usize) -> f64 {
    -(rank as f64).ln()
}

/// The same where a search has found the windows among all that somebody keeps: more of them look right and are not, and the answer may be in
/// none. Chosen on everyday questions and on articles that the built-in model had not seen; see docs/searching-measured.md.
pub fn prior_of_found(rank: usize) -> f64 {
    2.0 * prior(rank) - 0.6
}

/// The passages of some documents, those first that share most words with a question: which document, and the bytes in it.
pub fn by_words(question: &str, passages: &[&Passages]) -> impl Iterator<Item = (usize, Range<usize>)> {
    rank(question, passages).into_iter().map(|hit| (hit.document, passages[hit.document].range(hit.passage)))
}

/// For each document the windows around the passages that promise most, in their order, and the rank of each, from 1. `most` of them over
/// all documents.
pub fn promising(
    passages: impl IntoIterator<Item = (usize, Range<usize>)>,
    documents: &[Laid],
    shape: &WindowShape,
    most: usize,
) -> Vec<(Vec<Range<usize>>, Vec<usize>)> {
    let mut chosen: Vec<Vec<(Range<usize>, usize)>> = vec![Vec::new(); documents.len()];
    let mut count = 0;
    for (document, bytes) in passages {
        if count == most {
            break;
        }
        let Laid { offsets, runs } = documents[document];
        let first = offsets.partition_point(|&(_, end)| end <= bytes.start);
        let last = offsets.partition_point(|&(start, _)| start < bytes.end);
        let Some(run) = runs.iter().find(|run| run.contains(&first)) else { continue };
        let width = shape.width_over(run.len());
        let known = &mut chosen[document];
        // A passage that no window holds takes several, which overlap as others do.
        for start in (first..last.min(run.end)).step_by(width - shape.overlap) {
            let part = start..last.min(start + width);
            if count == most
                || known.iter().any(|(window, _)| window.start <= part.start && part.end <= window.end)
            {
                continue;
            }
            count += 1;
            known.push((around(part, width, run), count));
        }
    }
    let sorted = |mut windows: Vec<(Range<usize>, usize)>| {
        windows.sort_by_key(|(window, rank)| (window.start, *rank));
        windows.dedup_by_key(|(window, _)| window.start);
        windows.into_iter().unzip()
    };
    chosen.into_iter().map(sorted).collect()
}

/// A window of `width` tokens, or all there are in a run, with a passage in its middle.
fn around(passage: Range<usize>, width: usize, run: &Range<usize>) -> Range<usize> {
    let middle = (passage.start + passage.end) / 2;
    let start = middle.saturating_sub(width / 2).min(run.end.saturating_sub(width)).max(run.start);
    start..(start + width).min(run.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_stands_in_the_middle_of_its_window_where_there_is_room() {
        assert_eq!(around(100..120, 50, &(0..1000)), 85..135);
        assert_eq!(around(0..10, 50, &(0..1000)), 0..50);
        assert_eq!(around(990..1000, 50, &(0..1000)), 950..1000);
        assert_eq!(around(3..5, 50, &(0..20)), 0..20);
        assert_eq!(around(100..120, 50, &(95..1000)), 95..145);
        assert_eq!(around(100..120, 50, &(90..125)), 90..125);
    }
}
