//! How near passages come to a question in meaning: the cosine of their vectors. And one order made of two.

use std::ops::ControlFlow;
use std::time::Duration;

use rayon::prelude::*;

use super::{Ranking, Result, Scored, Task};
use crate::embed::{self, Embedder, Event, Tokenised};
use crate::rank as orders;
use crate::reader::Progress;

/// Replaces the scores of chosen passages by cosines with the question.
pub(super) fn rank(
    embedder: &Embedder,
    tasks: &[Task],
    chosen: Vec<Result<Vec<Scored>>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Result<Ranking>>> {
    let tokenised = tasks.par_iter().zip(chosen).map(|(task, chosen)| {
        let mut ranking = Ranking::of(chosen?);
        let query = embedder.tokenise(task.query)?;
        ranking.query_truncated = query.truncated();
        let passages = ranking
            .scored
            .par_iter()
            .map(|scored| embedder.tokenise(task.corpus.part(scored.document, scored.passage).seen()));
        let passages: embed::Result<Vec<Tokenised>> = passages.collect();
        let texts = std::iter::once(query).chain(passages?).collect();
        Ok((ranking, texts))
    });
    let mut tokenised: Vec<Result<(Ranking, Vec<Tokenised>)>> = tokenised.collect();
    let mut texts: Vec<Tokenised> = Vec::new();
    let mut own: Vec<Vec<bool>> = Vec::new();
    tokenised.iter_mut().flatten().for_each(|(_, of_task)| {
        own.push(of_task.iter().map(Tokenised::truncated).collect());
        texts.append(of_task);
    });
    let (mut vectors, mut own) = (vectors(embedder, &texts, progress)?.into_iter(), own.into_iter());
    let ranked = tokenised.into_iter().map(|tokenised| {
        let (mut ranking, _) = tokenised?;
        let truncated = own.next().unwrap_or_default();
        // All of them are taken, whatever is wrong with the first: the next ones are another task's.
        let own: Vec<embed::Result<Vec<f32>>> = vectors.by_ref().take(truncated.len()).collect();
        let own: Vec<Vec<f32>> = own.into_iter().collect::<embed::Result<_>>()?;
        let Some((query, passages)) = own.split_first() else { return Ok(ranking) };
        for ((scored, vector), &truncated) in ranking.scored.iter_mut().zip(passages).zip(&truncated[1..]) {
            scored.score = Some(cosine(query, vector));
            scored.truncated = truncated;
        }
        Ok(ranking)
    });
    Ok(ranked.collect())
}

/// The vector of each text, or why it has none.
fn vectors(
    embedder: &Embedder,
    texts: &[Tokenised],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<embed::Result<Vec<f32>>>> {
    let mut vectors: Vec<Option<embed::Result<Vec<f32>>>> = texts.iter().map(|_| None).collect();
    let mut state = Progress { done: 0, total: texts.len(), tokens: 0, model: Duration::ZERO };
    embedder.embed_each(texts, &mut |event| {
        match event {
            Event::Read { texts, tokens, model } => {
                state.done += texts;
                state.tokens += tokens;
                state.model += model;
                progress(state);
            }
            Event::Vector(place, vector) => vectors[place] = Some(vector),
        }
        ControlFlow::Continue(())
    })?;
    let missing = || Err(embed::Error::ModelStopped);
    Ok(vectors.into_iter().map(|vector| vector.unwrap_or_else(missing)).collect())
}

/// The cosine of the angle of two vectors; 0 if one of them has no length.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let product =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    let lengths = (product(a, a) * product(b, b)).sqrt();
    if lengths > 0.0 { product(a, b) / lengths } else { 0.0 }
}

/// One order made of two: the sum of what each place is worth (reciprocal rank fusion). `words` are the same passages in the same order,
/// scored by shared words; those that share none have no place there.
pub(super) fn fuse(words: &[Scored], ranking: &mut Ranking) {
    let worths = |scored: &[Scored], counts: &dyn Fn(f64) -> bool| -> Vec<f64> {
        let score = |at: &usize| scored[*at].score.unwrap_or(f64::NEG_INFINITY);
        let mut order: Vec<usize> = (0..scored.len()).filter(|at| counts(score(at))).collect();
        order.sort_by(|a, b| score(b).total_cmp(&score(a)));
        let mut worth = vec![0.0; scored.len()];
        order.iter().zip(1..).for_each(|(&at, place)| worth[at] = orders::worth(place));
        worth
    };
    let by_words = worths(words, &|score| score > 0.0);
    let by_meaning = worths(&ranking.scored, &|score| score > f64::NEG_INFINITY);
    for ((scored, a), b) in ranking.scored.iter_mut().zip(by_words).zip(by_meaning) {
        scored.score = Some(a + b);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(scores: &[f64]) -> Vec<Scored> {
        let one = |(passage, score): (usize, &f64)| Scored { score: Some(*score), ..Scored::new(0, passage) };
        scores.iter().enumerate().map(one).collect()
    }

    #[test]
    fn cosines_do_not_depend_on_lengths() {
        assert_eq!(cosine(&[3.0, 4.0], &[30.0, 40.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 1.0]), 0.0);
    }

    #[test]
    fn two_orders_become_one() {
        let mut ranking = Ranking::of(scored(&[0.1, 0.9, 0.5, 0.2]));
        fuse(&scored(&[7.0, 0.0, 3.0, 0.0]), &mut ranking);
        let worth = |places: &[usize]| places.iter().map(|place| 1.0 / (60 + place) as f64).sum::<f64>();
        let expected = [worth(&[1, 4]), worth(&[1]), worth(&[2, 2]), worth(&[3])];
        let found: Vec<f64> = ranking.scored.iter().filter_map(|scored| scored.score).collect();
        assert_eq!(found, expected);
        ranking.scored.sort_by(Scored::order);
        let order: Vec<usize> = ranking.scored.iter().map(|scored| scored.passage).collect();
        assert_eq!(order, [2, 0, 1, 3]);
    }
}
