//! A ranking as it is written down. Its serialised form is a contract: fields are added over time, never renamed.

use std::ops::Range;

use serde::Serialize;

use super::{Corpus, Ranker, Ranking, Scored};
use crate::document::SourcePlace;
use crate::request::reply::{Answer, DocumentId, Id};
use crate::text::offsets::{OffsetUnit, place};

/// What becomes of one question.
#[derive(Debug, Clone, Serialize)]
pub struct Record<'a> {
    /// The caller's name for the question.
    pub id: &'a Id,
    /// The question.
    pub query: &'a str,
    /// By what the passages are in order.
    pub by: String,
    /// The model, if one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<&'a str>,
    /// How many passages there were.
    pub passages: usize,
    /// How many of them the model read: those that share most words with the question.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read: Option<usize>,
    /// The question was longer than the model takes and was cut.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub query_truncated: bool,
    /// The passages, best first.
    pub results: Vec<Item<'a>>,
}

/// One passage.
#[derive(Debug, Clone, Serialize)]
pub struct Item<'a> {
    /// Its place in the order, from 1.
    pub rank: usize,
    /// Its place among all passages as they came, from 0, unless a search has found it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// The caller's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a Id>,
    /// Where it stands, if it is from a document.
    #[serde(flatten)]
    pub place: Option<Place<'a>>,
    /// The higher, the better; null if there is nothing in it to score.
    pub score: Option<f32>,
    /// The score as a probability, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// The best span, if it was looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<&'a Answer>,
    /// The model took only its beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// The passage.
    pub text: &'a str,
    /// Its bytes in its document.
    #[serde(skip)]
    pub bytes: Range<usize>,
}

/// Where a passage stands.
#[derive(Debug, Clone, Serialize)]
pub struct Place<'a> {
    /// The document.
    pub document: &'a DocumentId,
    /// Offset of its first unit.
    pub start: usize,
    /// Offset after its last unit.
    pub end: usize,
    /// Line of its start, from 1.
    pub line: usize,
    /// Column of its start, from 1.
    pub column: usize,
    /// Where it stands in the file, if the document is not the file's own text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourcePlace>,
}

/// How passages are named in a record.
#[derive(Debug, Clone, Copy)]
pub enum Spelling<'a> {
    /// By where they stand in their documents; offsets count this.
    Places(OffsetUnit),
    /// By what the caller calls each.
    Ids(&'a [Option<Id>]),
}

impl<'a> Record<'a> {
    /// The record of a ranking of these passages.
    pub fn new(
        (id, query): (&'a Id, &'a str),
        ranker: &'a Ranker,
        corpus: &'a Corpus,
        ranking: &'a Ranking,
        spelling: Spelling<'a>,
    ) -> Self {
        let results = ranking.scored.iter().zip(1..);
        let results = results.map(|(scored, rank)| Item::new(scored, rank, corpus, spelling));
        Self {
            id,
            query,
            by: ranker.by().to_string(),
            model: ranker.model(),
            passages: ranking.passages,
            read: ranking.read,
            query_truncated: ranking.query_truncated,
            results: results.collect(),
        }
    }
}

impl<'a> Item<'a> {
    fn new(scored: &'a Scored, rank: usize, corpus: &'a Corpus, spelling: Spelling<'a>) -> Self {
        let bytes = corpus.range(scored.document, scored.passage);
        let index = corpus.index(scored.document, scored.passage);
        let source = &corpus.sources[scored.document];
        let (id, place) = match spelling {
            Spelling::Ids(ids) => (index.and_then(|index| ids.get(index)?.as_ref()), None),
            Spelling::Places(unit) => {
                let at = place(&source.text.text, &bytes, unit);
                let place = Place {
                    document: &source.id,
                    start: at.start,
                    end: at.end,
                    line: at.line,
                    column: at.column,
                    source: source.text.origin.place(&source.text.text, &bytes),
                };
                (None, Some(place))
            }
        };
        Self {
            rank,
            index,
            id,
            place,
            score: scored.score.map(|score| score as f32),
            probability: scored.probability,
            answer: scored.answer.as_ref(),
            truncated: scored.truncated,
            text: corpus.text(scored.document, scored.passage),
            bytes,
        }
    }
}
