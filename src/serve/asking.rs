//! From a request that was understood to its replies: admission, tokenisation beside the sockets, and the wait for the model.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::timeout_at;

use super::engine::{Answered, Call, Engine, Manner};
use super::gate::Asked;
use super::metrics::Timings;
use super::problem::Problem;
use super::server::Shared;
use crate::reader::Cancel;
use crate::request::parser::Body;
use crate::request::reply::{Id, Reply};
use crate::request::{DocumentRef, Error};
use crate::stream;

/// Takes questions back when their sender has gone.
pub struct TakenBack(pub Cancel);

impl Drop for TakenBack {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// The replies to a request, in the order of its questions.
pub struct Replies {
    pub replies: Vec<Result<Reply, Arc<stream::Error>>>,
    pub timings: Timings,
    pub asked: Asked,
}

/// Answers all questions of a request.
pub async fn ask(
    shared: &Arc<Shared>,
    engine: &Arc<Engine>,
    manner: Manner,
    body: Body,
    names: Vec<Id>,
) -> Result<Replies, Problem> {
    let deadline = Instant::now() + shared.config.bounds.request;
    require_few(&body, shared)?;
    if let Some(documents) = body.documents.iter().find(|document| !matches!(document, DocumentRef::Text(_)))
    {
        // Nobody who understands requests here lets them name files; this is what makes sure of it.
        debug_assert!(false, "{documents:?}");
        return Err(Problem::of_request(Error::FilesForbidden, shared.config.hint));
    }
    let admitted = shared
        .admission
        .admit(engine.expected_tokens(manner, &body))
        .map_err(|full| Problem::overloaded(full.retry_after))?;
    let asked = match shared.config.log_questions {
        true => Asked(body.items.iter().map(|item| item.question.clone()).collect()),
        false => Asked::default(),
    };
    let call = Call { deadline: Some(deadline), cancel: Cancel::default() };
    // Dropped with this future, which happens when the sender leaves.
    let _taken_back = TakenBack(call.cancel.clone());
    let (count, begun) = (names.len(), Instant::now());
    let until = tokio::time::Instant::from_std(deadline);
    let too_late = |_| Problem::too_late();
    let answering = async {
        let (sender, mut answers) = mpsc::unbounded_channel();
        // Both go along: what goes on when nobody waits for it any more still counts.
        let turn = shared.preparing.clone().acquire_owned().await;
        let (engine, call) = (engine.clone(), call.clone());
        let prepare = move || {
            let _turn = turn;
            engine.prepare(manner, body, names, &call, admitted, &sender);
        };
        tokio::task::spawn_blocking(prepare).await.map_err(|_| Problem::model_failed())?;
        let prepared = Instant::now();
        let mut answered: Vec<Option<Answered>> = std::iter::repeat_with(|| None).take(count).collect();
        let mut last = None;
        while let Some(next) = answers.recv().await {
            last = Some((next.asked, next.inference, Instant::now()));
            let place = next.place;
            if let Some(slot) = answered.get_mut(place) {
                *slot = Some(next);
            }
        }
        Ok((answered, prepared, last))
    };
    let (answered, prepared, last) = timeout_at(until, answering).await.map_err(too_late)??;
    // Whoever has no answer was in the model when it failed.
    let answered: Vec<Answered> =
        answered.into_iter().collect::<Option<_>>().ok_or_else(Problem::model_failed)?;
    let mut timings = Timings {
        tokenization: prepared - begun,
        tokens: answered.iter().map(|answered| answered.tokens).sum(),
        ..Timings::default()
    };
    if let Some((asked, inference, end)) = last {
        // What is tokenised while the first questions are in the model counts once.
        let waited = end.saturating_duration_since(asked.max(prepared));
        timings.inference = inference.min(waited);
        timings.queue = waited - timings.inference;
    }
    Ok(Replies { replies: answered.into_iter().map(|answered| answered.reply).collect(), timings, asked })
}

/// More questions, or documents, than that are a stream.
pub fn require_few(body: &Body, shared: &Shared) -> Result<(), Problem> {
    require_few_of(body.items.len().max(body.documents.len()), shared)
}

/// The same for whatever a request has many of.
pub fn require_few_of(count: usize, shared: &Shared) -> Result<(), Problem> {
    let most = shared.config.bounds.questions;
    if count <= most {
        return Ok(());
    }
    let message = format!("the request has more than the {most} questions or documents that are allowed");
    let status = axum::http::StatusCode::PAYLOAD_TOO_LARGE;
    Err(Problem::new(status, "validation", "batch_too_large", message)
        .hint("send several requests, or a line for each question to /v1/answer/stream"))
}
