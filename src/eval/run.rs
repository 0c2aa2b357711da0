//! Puts the questions of a data set to a model, a stretch of paragraphs at a time: as much as keeps the model busy for some seconds
//! at most on a card, and for a minute or two where it is slow.

use std::collections::HashSet;
use std::sync::mpsc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::eval::data::dataset::{Dataset, Paragraph, Question};
use crate::eval::error::Result;
use crate::reader::{self, Asking, Passage, Query, Reader};
use crate::request::reply::{DocumentId, Reply, Why};
use crate::text::BYTES_PER_TOKEN;

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

/// A paragraph and those of its questions that are to be asked.
type Open<'a> = (&'a Paragraph, Vec<&'a Question>);

/// Asks every question that is not in `done`. `finished` gets the predictions of one stretch after another, in order.
pub fn run(
    reader: &Reader,
    dataset: &Dataset,
    asking: &Asking,
    done: &HashSet<&str>,
    finished: &mut dyn FnMut(Vec<Prediction>) -> Result<()>,
    progress: &mut dyn FnMut(RunProgress),
) -> Result<()> {
    let open: Vec<Open> = (dataset.articles.iter())
        .flat_map(|article| &article.paragraphs)
        .map(|paragraph| {
            let open = paragraph.questions.iter().filter(|question| !done.contains(question.id.as_str()));
            (paragraph, open.collect::<Vec<_>>())
        })
        .filter(|(_, questions)| !questions.is_empty())
        .collect();
    let mut total = RunProgress { questions: 0, tokens: 0 };
    std::thread::scope(|scope| {
        // While one stretch is answered the next one is tokenised.
        let (give, given) = mpsc::sync_channel(0);
        let stretches = stretches(&open, reader.group_tokens());
        scope.spawn(move || {
            for stretch in stretches {
                let passages: reader::Result<Vec<Passage>> = (stretch.par_iter().enumerate())
                    .map(|(index, (paragraph, _))| {
                        reader.prepare(DocumentId::Index(index), paragraph.context.clone())
                    })
                    .collect();
                if give.send((stretch, passages)).is_err() {
                    break;
                }
            }
        });
        // Taken along, so that the other thread ends whichever way this closure is left.
        for (stretch, passages) in given {
            let passages = passages?;
            let queries: Vec<Query> = (stretch.iter().zip(&passages))
                .flat_map(|((_, questions), passage)| {
                    questions.iter().map(move |question| Query {
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
                total =
                    RunProgress { questions: before.questions + share, tokens: before.tokens + now.tokens };
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
    })
}

/// Cuts paragraphs into stretches of about so many tokens to read.
fn stretches<'a, 'b>(open: &'b [Open<'a>], tokens: usize) -> Vec<&'b [Open<'a>]> {
    let mut stretches = Vec::new();
    let mut rest = open;
    while !rest.is_empty() {
        let mut sum = 0;
        let fits = |(paragraph, questions): &&Open| {
            sum += questions.len() * paragraph.context.len() / BYTES_PER_TOKEN;
            sum <= tokens
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (stretch, later) = rest.split_at(count);
        stretches.push(stretch);
        rest = later;
    }
    stretches
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
