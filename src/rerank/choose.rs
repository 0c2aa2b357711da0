//! Which passages are looked at: those that share most words with the question.

use super::{Result, Scored, Task};
use crate::rank::{Passages, rank};
use crate::text::Error;

/// Some passages of a task, in the order in which they came, scored by the words that they share with the question.
pub(super) fn by_words(task: &Task, most: usize) -> Result<Vec<Scored>> {
    if task.query.trim().is_empty() {
        return Err(Error::EmptyQuestion.into());
    }
    let passages: Vec<&Passages> = task.corpus.passages.iter().collect();
    let mut hits = rank(task.query, &passages);
    hits.truncate(most);
    hits.sort_by_key(|hit| (hit.document, hit.passage));
    let scored =
        hits.iter().map(|hit| Scored { score: Some(hit.score), ..Scored::new(hit.document, hit.passage) });
    Ok(scored.collect())
}
