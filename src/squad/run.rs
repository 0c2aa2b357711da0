//! Puts the questions of a data set to a model, a few paragraphs at a time.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::dataset::{Dataset, Paragraph};
use crate::answer::{DocumentId, Reply, Why};
use crate::error::Result;
use crate::reader::{Asking, Passage, Query, Reader};

/// What the model said to one question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The question.
    pub id: String,
    /// The answer; empty if the model abstained.
    pub answer: String,
    /// The best span, also if the model abstained.
    pub best: String,
    /// How many logits "no answer" leads the best span by; none if there was nothing to quote.
    pub null_odds: Option<f32>,
    /// The probability of the best span.
    pub score: f32,
    /// The probability of "no answer".
    pub no_answer_score: f32,
    /// Windows that were read.
    pub windows: usize,
    /// Why the question could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The candidates, best first, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
}

impl Prediction {
    /// The probability of what was returned, be it an answer or "no answer".
    pub fn confidence(&self) -> f64 {
        f64::from(if self.answer.is_empty() { self.no_answer_score } else { self.score })
    }
}

/// One candidate, in the form of `run_qa`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The text; empty for "no answer".
    pub text: String,
    /// Its probability among the candidates.
    pub probability: f32,
    /// The logit of its first token.
    pub start_logit: f32,
    /// The logit of its last token.
    pub end_logit: f32,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunProgress {
    /// Questions that were asked in this run.
    pub questions: usize,
    /// Tokens that went through the model.
    pub tokens: usize,
}

/// Paragraphs whose questions are asked together: enough to fill batches, few enough to lose little when interrupted.
pub const PARAGRAPHS_TOGETHER: usize = 32;

/// Asks every question that is not in `done`. `finished` gets the predictions of one stretch after another, in order.
pub fn run(
    reader: &Reader,
    dataset: &Dataset,
    asking: &Asking,
    done: &HashSet<&str>,
    finished: &mut dyn FnMut(Vec<Prediction>) -> Result<()>,
    progress: &mut dyn FnMut(RunProgress),
) -> Result<()> {
    let paragraphs: Vec<&Paragraph> = (dataset.articles.iter().flat_map(|article| &article.paragraphs))
        .filter(|paragraph| paragraph.questions.iter().any(|question| !done.contains(question.id.as_str())))
        .collect();
    let mut total = RunProgress { questions: 0, tokens: 0 };
    for paragraphs in paragraphs.chunks(PARAGRAPHS_TOGETHER) {
        let passages: Vec<Passage> = (paragraphs.iter().enumerate())
            .map(|(index, paragraph)| reader.prepare(DocumentId::Index(index), paragraph.context.clone()))
            .collect::<Result<_>>()?;
        let queries: Vec<Query> = (paragraphs.iter().zip(&passages))
            .flat_map(|(paragraph, passage)| {
                let open = paragraph.questions.iter().filter(|question| !done.contains(question.id.as_str()));
                open.map(move |question| Query {
                    id: question.id.as_str().into(),
                    question: &question.text,
                    passages: vec![passage],
                })
            })
            .collect();
        let before = total;
        let replies = reader.answer(&queries, asking, &mut |now| {
            // Windows, not questions, are what a stretch is counted in; their share of it is near enough.
            let share = queries.len() * now.done / now.total.max(1);
            total = RunProgress { questions: before.questions + share, tokens: before.tokens + now.tokens };
            progress(total);
        })?;
        total.questions = before.questions + queries.len();
        let predictions = queries.iter().zip(replies).map(|(query, reply)| match reply {
            Ok(reply) => prediction(reply),
            Err(error) => failed(query, &error.to_string()),
        });
        finished(predictions.collect())?;
    }
    Ok(())
}

fn failed(query: &Query, reason: &str) -> Prediction {
    Prediction {
        id: query.id.to_string(),
        answer: String::new(),
        best: String::new(),
        null_odds: None,
        score: 0.0,
        no_answer_score: 1.0,
        windows: 0,
        failure: Some(reason.into()),
        candidates: Vec::new(),
    }
}

fn prediction(reply: Reply) -> Prediction {
    let best = reply.spans().first().map(|span| (span.text.clone(), span.score));
    let candidates = reply.why.as_ref().map(|why| candidates(&reply, why)).unwrap_or_default();
    let (best, score) = best.unwrap_or_default();
    Prediction {
        answer: if reply.answered { best.clone() } else { String::new() },
        best,
        null_odds: reply.null_odds,
        score,
        no_answer_score: reply.no_answer_score,
        windows: reply.windows,
        failure: None,
        candidates,
        id: reply.id.to_string(),
    }
}

/// The spans and, if it had a chance, "no answer" at its place among them.
fn candidates(reply: &Reply, why: &Why) -> Vec<Candidate> {
    let mut rows: Vec<Candidate> = (reply.spans().iter().zip(&why.spans))
        .map(|(span, report)| {
            let mut inside = report.tokens.iter().filter(|token| token.inside);
            let first = inside.next();
            let last = inside.next_back().or(first);
            Candidate {
                text: span.text.clone(),
                probability: span.score,
                start_logit: first.map_or(0.0, |token| token.start_logit),
                end_logit: last.map_or(0.0, |token| token.end_logit),
            }
        })
        .collect();
    let least = why.windows.iter().min_by(|a, b| a.null_logit.total_cmp(&b.null_logit));
    if let Some(window) = least.filter(|_| reply.no_answer_score > 0.0) {
        let place = rows.iter().take_while(|row| row.probability >= reply.no_answer_score).count();
        let (start_logit, end_logit) = window.null_parts;
        let probability = reply.no_answer_score;
        rows.insert(place, Candidate { text: String::new(), probability, start_logit, end_logit });
    }
    rows
}
