//! Puts the questions of a data set to a model, a stretch of paragraphs at a time: as much as keeps the model busy for some seconds
//! at most on a card, and for a minute or two where it is slow.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::eval::data::{Dataset, Paragraph, Question};
use crate::eval::error::Result;
use crate::eval::open::{Asked, Pool, Ranks};
use crate::reader::{self, Event, Reader};
use crate::request::Options;
use crate::request::reply::{DocumentId, Reply, Why};
use crate::text::BYTES_PER_TOKEN;

/// What the model answered to one question.
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
    /// How likely the reply is to be right, where that is known of the model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f32>,
    /// Windows that were read.
    pub windows: usize,
    /// Why the question could not be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The candidates, best first, if they were asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<Candidate>,
    /// Where the question's own paragraph came, if paragraphs were searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<Ranks>,
}

impl Prediction {
    /// The probability of what was returned, be it an answer or "no answer".
    pub fn probability(&self) -> f64 {
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

/// Asks every question, in the order of the data set.
pub fn all(
    reader: &Reader,
    dataset: &Dataset,
    about: About,
    options: &Arc<Options>,
    progress: &mut dyn FnMut(RunProgress),
) -> Result<Vec<Prediction>> {
    let mut all = Vec::with_capacity(dataset.len());
    let mut finished = |predictions| {
        all.extend(predictions);
        Ok(())
    };
    let mut watch = |now| {
        progress(now);
        ControlFlow::Continue(())
    };
    let _ = run(reader, dataset, about, options, &HashSet::new(), &mut finished, &mut watch)?;
    Ok(all)
}

/// What questions are about.
#[derive(Clone, Copy)]
pub enum About<'a> {
    /// Their own paragraph.
    Own,
    /// What is found for them in a pool.
    Found(&'a Pool),
}

/// A question that is ready to be asked, and in a pool what was found.
struct Ready {
    question: reader::Question,
    asked: Option<Asked>,
}

impl About<'_> {
    /// Questions about some paragraphs, in order.
    fn ready(self, reader: &Reader, stretch: &[Open], options: &Arc<Options>) -> reader::Result<Vec<Ready>> {
        let about = stretch.par_iter().enumerate().map(|(index, (paragraph, questions))| match self {
            About::Own => {
                let document = reader.prepare(DocumentId::Index(index), paragraph.context.clone())?;
                let document = Arc::new(document);
                let ready = questions.iter().map(|question| {
                    let (id, text) = (question.id.as_str(), question.text.clone());
                    let question = reader::Question::new(id, text, vec![document.clone()]).with(options);
                    Ready { question, asked: None }
                });
                Ok(ready.collect())
            }
            About::Found(pool) => (questions.par_iter())
                .map(|question| {
                    let asked = pool.question(reader, paragraph, question, options)?;
                    Ok(Ready { question: asked.question.clone(), asked: Some(asked) })
                })
                .collect(),
        });
        let about: reader::Result<Vec<Vec<Ready>>> = about.collect();
        Ok(about?.into_iter().flatten().collect())
    }

    /// About how many tokens are read for the questions of a paragraph.
    fn weight(self, (paragraph, questions): &Open, options: &Options) -> usize {
        match self {
            About::Own => questions.len() * paragraph.context.len() / BYTES_PER_TOKEN,
            About::Found(_) => questions.len() * options.read.unwrap_or(1) * options.limits.max_tokens,
        }
    }
}

/// Asks every question that is not in `done`. `finished` gets the predictions of one stretch after another, in order. `watch` may break
/// off; what the stretch under way has found by then is lost.
pub fn run(
    reader: &Reader,
    dataset: &Dataset,
    about: About,
    options: &Arc<Options>,
    done: &HashSet<&str>,
    finished: &mut dyn FnMut(Vec<Prediction>) -> Result<()>,
    watch: &mut dyn FnMut(RunProgress) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
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
        let stretches = stretches(&open, reader.group_tokens(), |open| about.weight(open, options));
        scope.spawn(move || {
            for stretch in stretches {
                if give.send(about.ready(reader, stretch, options)).is_err() {
                    break;
                }
            }
        });
        // Taken along, so that the other thread ends whichever way this closure is left.
        for ready in given {
            let (questions, asked): (Vec<reader::Question>, Vec<Option<Asked>>) =
                ready?.into_iter().map(|Ready { question, asked }| (question, asked)).unzip();
            let before = total;
            let mut flow = ControlFlow::Continue(());
            let mut predictions: Vec<Option<Prediction>> = questions.iter().map(|_| None).collect();
            reader.answer_each(&questions, &mut |event| {
                match event {
                    Event::Read(now) => {
                        // Windows, not questions, are what a stretch is counted in; their share of it is near enough.
                        let share = questions.len() * now.done / now.total.max(1);
                        let (questions, tokens) = (before.questions + share, before.tokens + now.tokens);
                        total = RunProgress { questions, tokens };
                        flow = watch(total);
                    }
                    Event::Reply(at, reply) => {
                        predictions[at] = Some(match reply {
                            Ok(reply) => {
                                let ranks = asked[at].as_ref().map(|asked| asked.ranks(&reply));
                                Prediction { ranks, ..prediction(reply) }
                            }
                            Err(error) => failed(questions[at].id.to_string(), &error.to_string()),
                        });
                    }
                }
                flow
            })?;
            if flow.is_break() {
                return Ok(flow);
            }
            total.questions = before.questions + questions.len();
            let predictions: Option<Vec<Prediction>> = predictions.into_iter().collect();
            finished(predictions.ok_or(reader::Error::ModelStopped)?)?;
        }
        Ok(ControlFlow::Continue(()))
    })
}

/// Cuts paragraphs into stretches of about so many tokens to read.
fn stretches<'a, 'b>(
    open: &'b [Open<'a>],
    tokens: usize,
    weight: impl Fn(&Open) -> usize,
) -> Vec<&'b [Open<'a>]> {
    let mut stretches = Vec::new();
    let mut rest = open;
    while !rest.is_empty() {
        let mut sum = 0;
        let fits = |open: &&Open| {
            sum += weight(open);
            sum <= tokens
        };
        let count = rest.iter().take_while(fits).count().max(1);
        let (stretch, later) = rest.split_at(count);
        stretches.push(stretch);
        rest = later;
    }
    stretches
}

fn failed(id: String, reason: &str) -> Prediction {
    Prediction {
        id,
        answer: String::new(),
        best: String::new(),
        null_odds: None,
        score: 0.0,
        no_answer_score: 1.0,
        confidence: None,
        windows: 0,
        failure: Some(reason.into()),
        candidates: Vec::new(),
        ranks: None,
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
        confidence: reply.confidence,
        windows: reply.windows,
        failure: None,
        candidates,
        ranks: None,
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
