//! By what passages are put in order.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rayon::prelude::*;

use super::choose::by_words;
use super::pairs::{self, PairModel};
use super::{Corpus, Ranking, Result, Scored, meaning, spans};
use crate::embed::Embedder;
use crate::encoder::DeviceChoice;
use crate::reader::{Progress, Reader};
use crate::request::Options;
use crate::text::offsets::OffsetUnit;

/// By what passages are put in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// The words that they share with the question: BM25.
    #[default]
    Words,
    /// By how much their best span leads "no answer".
    Reader,
    /// The cosine of their vector and that of the question.
    Embedding,
    /// Words and embedding, fused by the places that passages have in both orders.
    Both,
    /// The logit of a cross-encoder.
    CrossEncoder,
}

impl fmt::Display for By {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            By::Words => "words",
            By::Reader => "reader",
            By::Embedding => "embedding",
            By::Both => "both",
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
            "embedding" => Ok(By::Embedding),
            "both" => Ok(By::Both),
            "cross-encoder" => Ok(By::CrossEncoder),
            _ => Err(format!("`{text}` is no order: expected words, reader, embedding, both, cross-encoder")),
        }
    }
}

/// What puts passages in order, with the model that it needs.
pub enum Ranker {
    /// See [`By::Words`].
    Words,
    /// See [`By::Reader`].
    Reader(Box<Reader>, Arc<Options>),
    /// See [`By::Embedding`].
    Embedding(Box<Embedder>),
    /// See [`By::Both`].
    Both(Box<Embedder>),
    /// See [`By::CrossEncoder`].
    CrossEncoder(Box<PairModel>),
    /// A search has put them in order already, with the vectors of this model.
    Found(By, String),
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
    /// Only those that have anything to do with the question: one of its words, or for a model anything to read.
    pub matching: bool,
    /// What offsets count.
    pub unit: OffsetUnit,
}

impl Ranker {
    /// By what it puts passages in order.
    pub fn by(&self) -> By {
        match self {
            Ranker::Words => By::Words,
            Ranker::Reader(..) => By::Reader,
            Ranker::Embedding(_) => By::Embedding,
            Ranker::Both(_) => By::Both,
            Ranker::CrossEncoder(_) => By::CrossEncoder,
            Ranker::Found(by, _) => *by,
        }
    }

    /// The model that makes its vectors, if it has any.
    pub fn embedder(&self) -> Option<&Embedder> {
        match self {
            Ranker::Embedding(embedder) | Ranker::Both(embedder) => Some(embedder),
            _ => None,
        }
    }

    /// What its model is called.
    pub fn model(&self) -> Option<&str> {
        match self {
            Ranker::Words => None,
            Ranker::Reader(reader, _) => Some(reader.name()),
            Ranker::Embedding(embedder) | Ranker::Both(embedder) => Some(embedder.name()),
            Ranker::CrossEncoder(model) => Some(model.name()),
            Ranker::Found(_, model) => Some(model),
        }
    }

    /// Where its model runs.
    pub fn device(&self) -> Option<DeviceChoice> {
        match self {
            Ranker::Words | Ranker::Found(..) => None,
            Ranker::Reader(reader, _) => Some(reader.device()),
            Ranker::Embedding(embedder) | Ranker::Both(embedder) => Some(embedder.device()),
            Ranker::CrossEncoder(model) => Some(model.device()),
        }
    }

    /// What a person should know about how its model ran so far.
    pub fn model_notes(&self) -> Vec<String> {
        match self {
            Ranker::Words | Ranker::Found(..) => Vec::new(),
            Ranker::Reader(reader, _) => reader.model_notes(),
            Ranker::Embedding(embedder) | Ranker::Both(embedder) => embedder.notes(),
            Ranker::CrossEncoder(model) => model.notes(),
        }
    }

    /// How long each kind of computation has taken so far; empty if nobody counts.
    pub fn model_times(&self) -> Vec<(&'static str, Duration)> {
        match self {
            Ranker::Words | Ranker::Found(..) => Vec::new(),
            Ranker::Reader(reader, _) => reader.model_times(),
            Ranker::Embedding(embedder) | Ranker::Both(embedder) => embedder.times(),
            Ranker::CrossEncoder(model) => model.times(),
        }
    }

    /// About how many tokens of passages to gather where there are many tasks.
    pub fn group_tokens(&self) -> usize {
        /// Words need no company: it is about having work for all cores.
        const WORDS: usize = 1 << 16;
        match self {
            Ranker::Words | Ranker::Found(..) => WORDS,
            Ranker::Reader(reader, _) => reader.group_tokens(),
            Ranker::Embedding(embedder) | Ranker::Both(embedder) => embedder.group_tokens(),
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
        let is_read = !matches!(self, Ranker::Words | Ranker::Found(..));
        let most = if is_read { wanted.read } else { usize::MAX };
        let chosen: Vec<Result<Vec<Scored>>> = tasks.par_iter().map(|task| by_words(task, most)).collect();
        let rankings = match self {
            Ranker::Words | Ranker::Found(..) => {
                chosen.into_iter().map(|chosen| Ok(Ranking::of(chosen?))).collect()
            }
            Ranker::Reader(reader, options) => {
                spans::rank(reader, options, tasks, chosen, wanted.unit, progress)?
            }
            Ranker::Embedding(embedder) => meaning::rank(embedder, tasks, chosen, progress)?,
            Ranker::Both(embedder) => {
                let words: Vec<Vec<Scored>> = chosen
                    .iter()
                    .map(|chosen| chosen.as_ref().map_or_else(|_| Vec::new(), Vec::clone))
                    .collect();
                let mut rankings = meaning::rank(embedder, tasks, chosen, progress)?;
                for ((ranking, words), task) in rankings.iter_mut().zip(&words).zip(tasks) {
                    let Ok(ranking) = ranking else { continue };
                    ranking.pass_over_blank(task.corpus);
                    meaning::fuse(words, ranking);
                }
                rankings
            }
            Ranker::CrossEncoder(model) => pairs::rank(model, tasks, chosen, progress)?,
        };
        let finished = rankings.into_iter().zip(tasks).map(|(found, task): (Result<Ranking>, _)| {
            let mut ranking = found?;
            ranking.passages = task.corpus.len();
            ranking.read = is_read.then_some(ranking.scored.len());
            if is_read {
                ranking.pass_over_blank(task.corpus);
            }
            ranking.keep(wanted, self.by());
            Ok(ranking)
        });
        Ok(finished.collect())
    }
}

impl Ranking {
    /// Takes the score from passages without anything to read, whatever a model makes of its own special tokens.
    fn pass_over_blank(&mut self, corpus: &Corpus) {
        let is_blank = |scored: &Scored| corpus.text(scored.document, scored.passage).trim().is_empty();
        for scored in self.scored.iter_mut().filter(|scored| is_blank(scored)) {
            *scored = Scored::new(scored.document, scored.passage);
        }
    }

    /// Puts everything in order and drops what is not wanted.
    fn keep(&mut self, wanted: &Wanted, by: By) {
        // A stable sort: what nothing tells apart stays in its order.
        self.scored.sort_by(Scored::order);
        self.scored.retain(|scored| {
            let matches = match by {
                By::Words => scored.score.is_some_and(|score| score > 0.0),
                By::Reader | By::Embedding | By::Both | By::CrossEncoder => scored.score.is_some(),
            };
            let enough =
                wanted.min_score.is_none_or(|least| scored.score.is_some_and(|score| score >= least));
            enough && (matches || !wanted.matching)
        });
        self.scored.truncate(wanted.top_k);
    }
}
