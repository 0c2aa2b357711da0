//! Which passages are looked at: those that share most words with the question.

use super::corpus::Passing;
use super::{Result, Scored, Task};
use crate::rank::{Passages, rank};
use crate::text::Error;

/// Some passages of a task, in the order in which they came, scored by the words that they share with the question.
pub(super) fn by_words(task: &Task, most: usize) -> Result<Vec<Scored>> {
    if task.query.trim().is_empty() {
        return Err(Error::EmptyQuestion.into());
    }
    let scored = |document, passage, score| Scored { score: Some(score), ..Scored::new(document, passage) };
    let mut chosen: Vec<Scored> = match &task.corpus.passages {
        Passing::All(passages) => {
            let passages: Vec<&Passages> = passages.iter().collect();
            let hits = rank(task.query, &passages).into_iter();
            hits.map(|hit| scored(hit.document, hit.passage, hit.score)).collect()
        }
        Passing::Found(found) => {
            let all = found.iter().enumerate().flat_map(|(document, passages)| {
                passages.iter().enumerate().map(move |(passage, (_, score))| (document, passage, *score))
            });
            let mut all: Vec<Scored> =
                all.map(|(document, passage, score)| scored(document, passage, score)).collect();
            all.sort_by(Scored::order);
            all
        }
    };
    chosen.truncate(most);
    chosen.sort_by_key(|scored| (scored.document, scored.passage));
    Ok(chosen)
}
