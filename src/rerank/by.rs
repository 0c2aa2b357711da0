//! By what passages are put in order.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rayon::prelude::*;

use super::pairs::{Pair, PairModel};
use super::{Corpus, Ranking, Scored};
use crate::rank::{Passages, rank};
use crate::reader::{Error, Progress, Question, Reader, Result};
use crate::request::Options;
use crate::request::reply::{Answer, DocumentId, Note, Reply};
use crate::text;
use crate::text::offsets::{OffsetUnit, place};

/// By what passages are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// The words that they share with the question: BM25.
    #[default]
    Words,
    /// By how much their best span leads "no answer".
    Reader,
    /// The logit of a cross-encoder.
    CrossEncoder,
}

impl fmt::Display for By {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            By::Words => "words",
            By::Reader => "reader",
            By::CrossEncoder => "cross-encoder",
        })
    }
}

impl FromStr for By {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "words" => Ok(By::Words),
            "reader" => Ok(By::Reader),
            "cross-encoder" => Ok(By::CrossEncoder),
            _ => Err(format!("`{text}` is no order: expected words, reader, cross-encoder")),
        }
    }
}

/// What puts passages in order, with the model that it needs.
pub enum Ranker {
    /// See [`By::Words`].
    Words,
    /// See [`By::Reader`].
    Reader(Box<Reader>, Arc<Options>),
    /// See [`By::CrossEncoder`].
    CrossEncoder(Box<PairModel>),
}

/// A question and the passages to put in order for it.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The question.
    pub query: &'a str,
    /// The passages.
    pub corpus: &'a Corpus,
}

/// Which passages to return.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// At most so many.
    pub top_k: usize,
    /// At most so many are read by a model: those that share most words with the question.
    pub read: usize,
    /// Only those with at least this score.
    pub min_score: Option<f64>,
    /// Only those that have anything to do with the question: one of its words, or a span to quote.
    pub matching: bool,
    /// What offsets count.
    pub unit: OffsetUnit,
}

/// The passages of a task that a model is to read, in their order.
type Chosen = Vec<Scored>;

impl Ranker {
    /// By what it puts passages in order.
    pub fn by(&self) -> By {
        match self {
            Ranker::Words => By::Words,
            Ranker::Reader(..) => By::Reader,
            Ranker::CrossEncoder(_) => By::CrossEncoder,
        }
    }

    /// What its model is called.
    pub fn model(&self) -> Option<&str> {
        match self {
            Ranker::Words => None,
            Ranker::Reader(reader, _) => Some(reader.name()),
            Ranker::CrossEncoder(model) => Some(model.name()),
        }
    }

    /// About how many tokens of passages to gather where there are many tasks.
    pub fn group_tokens(&self) -> usize {
        /// Words need no company: it is about having work for all cores.
        const WORDS: usize = 1 << 16;
        match self {
            Ranker::Words => WORDS,
            Ranker::Reader(reader, _) => reader.group_tokens(),
            Ranker::CrossEncoder(model) => model.batch_tokens().saturating_mul(16),
        }
    }

    /// Puts the passages of each task in order. A task that cannot be done fails alone; a model that cannot run fails the call. No ranking
    /// depends on the other tasks.
    pub fn rank(
        &self,
        tasks: &[Task],
        wanted: &Wanted,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Result<Ranking>>> {
        let most = if self.by() == By::Words { usize::MAX } else { wanted.read };
        let chosen: Vec<Result<Chosen>> = tasks.par_iter().map(|task| by_words(task, most)).collect();
        let rankings = match self {
            Ranker::Words => chosen.into_iter().map(|chosen| Ok(ranking(chosen?))).collect(),
            Ranker::Reader(reader, options) => {
                by_reader(reader, options, tasks, chosen, wanted.unit, progress)?
            }
            Ranker::CrossEncoder(model) => by_pairs(model, tasks, chosen, progress)?,
        };
        let finished = rankings.into_iter().zip(tasks).map(|(found, task): (Result<Ranking>, _)| {
            let mut ranking = found?;
            ranking.passages = task.corpus.len();
            ranking.read = (self.by() != By::Words).then_some(ranking.scored.len());
            ranking.keep(wanted, self.by());
            Ok(ranking)
        });
        Ok(finished.collect())
    }
}

impl Ranking {
    /// Puts everything in order and drops what is not wanted.
    fn keep(&mut self, wanted: &Wanted, by: By) {
        // A stable sort: what nothing tells apart stays in its order.
        self.scored.sort_by(Scored::order);
        self.scored.retain(|scored| {
            let matches = match by {
                By::Words => scored.score.is_some_and(|score| score > 0.0),
                By::Reader | By::CrossEncoder => scored.score.is_some(),
            };
            let enough =
                wanted.min_score.is_none_or(|least| scored.score.is_some_and(|score| score >= least));
            enough && (matches || !wanted.matching)
        });
        self.scored.truncate(wanted.top_k);
    }
}

fn ranking(scored: Chosen) -> Ranking {
    Ranking { scored, passages: 0, read: None, query_truncated: false }
}

/// The passages that share most words with the question, scored by them and in the order in which they came.
fn by_words(task: &Task, most: usize) -> Result<Chosen> {
    if task.query.trim().is_empty() {
        return Err(text::Error::EmptyQuestion.into());
    }
    let passages: Vec<&Passages> = task.corpus.passages.iter().collect();
    let mut hits = rank(task.query, &passages);
    hits.truncate(most);
    hits.sort_by_key(|hit| (hit.document, hit.passage));
    let scored =
        hits.iter().map(|hit| Scored { score: Some(hit.score), ..Scored::new(hit.document, hit.passage) });
    Ok(scored.collect())
}

/// Asks the question of every chosen passage, each a document of its own.
fn by_reader(
    reader: &Reader,
    options: &Arc<Options>,
    tasks: &[Task],
    chosen: Vec<Result<Chosen>>,
    unit: OffsetUnit,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Result<Ranking>>> {
    let asked = tasks.par_iter().zip(chosen).map(|(task, chosen)| {
        let chosen = chosen?;
        let ask = |scored: &Scored| {
            let text = task.corpus.part(scored.document, scored.passage);
            let document = reader.prepare_document(DocumentId::Index(0), text)?;
            Ok(Question::new(0, task.query, vec![document.into()]).with(options))
        };
        let questions: Result<Vec<Question>> = chosen.par_iter().map(ask).collect();
        Ok((chosen, questions?))
    });
    let mut asked: Vec<Result<(Chosen, Vec<Question>)>> = asked.collect();
    let mut questions = Vec::new();
    asked.iter_mut().flatten().for_each(|(_, of_task)| questions.append(of_task));
    let mut replies = reader.answer(&questions, progress)?.into_iter();
    let read = asked.into_iter().zip(tasks).map(|(asked, task)| {
        let (mut chosen, _) = asked?;
        // All of them are taken, whatever is wrong with the first: the next ones are another task's.
        let own: Vec<Result<Reply>> = replies.by_ref().take(chosen.len()).collect();
        let mut query_truncated = false;
        for (scored, reply) in chosen.iter_mut().zip(own) {
            let reply = reply?;
            query_truncated |= reply.notes.iter().any(|note| matches!(note, Note::QuestionCut { .. }));
            let best = reply.spans().first();
            scored.score = best.map(|best| f64::from(best.margin));
            scored.answer = best.map(|best| in_document(best, task.corpus, scored, unit));
        }
        Ok(Ranking { query_truncated, ..ranking(chosen) })
    });
    Ok(read.collect())
}

/// A span of a passage as one of the document that the passage is from.
fn in_document(answer: &Answer, corpus: &Corpus, scored: &Scored, unit: OffsetUnit) -> Answer {
    let source = &corpus.sources[scored.document];
    let before = corpus.range(scored.document, scored.passage).start;
    let bytes = before + answer.bytes.start..before + answer.bytes.end;
    let at = place(&source.text.text, &bytes, unit);
    Answer {
        start: at.start,
        end: at.end,
        document: source.id.clone(),
        line: at.line,
        column: at.column,
        source: source.text.origin.place(&source.text.text, &bytes),
        document_index: scored.document,
        bytes,
        ..answer.clone()
    }
}

/// Scores the question with every chosen passage.
fn by_pairs(
    model: &PairModel,
    tasks: &[Task],
    chosen: Vec<Result<Chosen>>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Result<Ranking>>> {
    let paired = tasks.par_iter().zip(chosen).map(|(task, chosen)| {
        let chosen = chosen?;
        let parts: Vec<_> =
            chosen.iter().map(|scored| task.corpus.part(scored.document, scored.passage)).collect();
        let seen: Vec<&str> = parts.iter().map(|part| part.seen()).collect();
        let pairs = model.pairs(task.query.trim(), &seen)?;
        Ok((chosen, pairs))
    });
    let paired: Vec<Result<(Chosen, Vec<Pair>)>> = paired.collect();
    let all: Vec<&Pair> = paired.iter().flatten().flat_map(|(_, pairs)| pairs).collect();
    let mut logits = model.logits(&all, progress)?.into_iter();
    let scored = paired.into_iter().map(|paired| {
        let (mut chosen, pairs) = paired?;
        let own: Vec<f32> = logits.by_ref().take(chosen.len()).collect();
        if own.iter().any(|logit| !logit.is_finite()) {
            return Err::<_, Error>(model.not_finite());
        }
        for ((scored, pair), &logit) in chosen.iter_mut().zip(&pairs).zip(&own) {
            scored.score = Some(logit.into());
            scored.probability = Some(1.0 / (1.0 + (-logit).exp()));
            scored.truncated = pair.passage_cut;
        }
        Ok(Ranking { query_truncated: pairs.iter().any(|pair| pair.query_cut), ..ranking(chosen) })
    });
    Ok(scored.collect())
}
