//! `POST /embed` and `/rerank`, as text-embeddings-inference takes them.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::asking::{TakenBack, require_few_of};
use super::body::{self, Whole};
use super::config::OpenRanker;
use super::metrics::Timings;
use super::native::json_body;
use super::problem::{Problem, json};
use super::server::Shared;
use crate::class::ErrorClass;
use crate::document::Text;
use crate::embed::Embedder;
use crate::reader::{Cancel, Progress};
use crate::request::reply::DocumentId;
use crate::rerank::{By, Corpus, Ranker, Source, Task, Wanted};
use crate::stream::{Done, Queue, TextWork, embed_stream};
use crate::text::BYTES_PER_TOKEN;
use crate::text::offsets::OffsetUnit;

/// A model that is opened by whoever needs it first.
pub struct Lazy {
    open: Option<OpenRanker>,
    opened: Mutex<Option<Ranker>>,
    /// Whose turn it is. Those who wait for it hold no thread, and leave when nobody waits for them any more.
    turn: Semaphore,
}

impl Lazy {
    pub fn new(open: Option<OpenRanker>) -> Self {
        Self { open, opened: Mutex::default(), turn: Semaphore::new(1) }
    }

    /// Does something with the model, which is opened now unless it is. It takes as long as that takes. What cannot be opened now may be
    /// there the next time.
    fn with<T>(&self, work: impl FnOnce(&Ranker) -> Result<T, Problem>) -> Result<T, Problem> {
        let Some(open) = &self.open else {
            let message = "this server has no model for this";
            return Err(Problem::new(StatusCode::NOT_FOUND, "validation", "no_embedder", message)
                .hint("start the server with --embedder MODEL"));
        };
        let failed = |reason: String| {
            let message = format!("the model cannot be opened: {reason}");
            Problem::new(StatusCode::FAILED_DEPENDENCY, "backend", "embedder_unavailable", message)
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        let ranker = match opened.take() {
            Some(ranker) => ranker,
            None => open().map_err(failed)?,
        };
        work(opened.insert(ranker))
    }
}

#[derive(Deserialize)]
struct EmbedRequest {
    inputs: Texts,
    #[serde(default)]
    truncate: bool,
    normalize: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct RerankRequest {
    query: String,
    texts: Vec<String>,
    #[serde(default)]
    raw_scores: bool,
    #[serde(default)]
    return_text: bool,
}

#[derive(Serialize)]
struct Rank<'a> {
    index: usize,
    score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// `POST /embed`: a vector for each text.
pub async fn embed(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let (asked, _room): (EmbedRequest, _) = understand(&shared, request).await?;
    let texts = match asked.inputs {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    let (truncate, normalize) = (asked.truncate, asked.normalize);
    let bytes = texts.iter().map(String::len).sum();
    beside(shared, makes_vectors, (bytes, texts.len()), move |ranker, call| {
        let (Ranker::Embedding(embedder) | Ranker::Both(embedder)) = ranker else {
            return Err(invalid(
                "no_vectors",
                "the model of this server puts texts in order, it makes no vectors",
            ));
        };
        if normalize == Some(false) && embedder.pooling().normalise {
            return Err(invalid(
                "always_normalised",
                "vectors of this model are 1 long, whatever `normalize` says",
            ));
        }
        let vectors = vectors(embedder, &texts, truncate, call)?;
        Ok(json(&vectors))
    })
    .await
}

/// `POST /rerank`: texts in the order in which they answer the query.
pub async fn rerank(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let (asked, _room): (RerankRequest, _) = understand(&shared, request).await?;
    let RerankRequest { query, texts, raw_scores, return_text } = asked;
    // A cross-encoder reads the query beside each text.
    let bytes = query.len() * texts.len() + texts.iter().map(String::len).sum::<usize>();
    beside(shared, orders, (bytes, texts.len()), move |ranker, call| {
        let source = |(index, text): (usize, &String)| Source {
            id: DocumentId::Index(index),
            text: Text::from(text.clone()),
        };
        let corpus = Corpus::whole(texts.iter().enumerate().map(source).collect());
        let wanted = Wanted {
            top_k: usize::MAX,
            read: usize::MAX,
            min_score: None,
            matching: false,
            unit: OffsetUnit::Char,
        };
        let task = Task { query: &query, corpus: &corpus };
        let mut before = (0, Duration::ZERO);
        let mut watch = |now: Progress| {
            call.read(now.tokens - before.0, now.model - before.1);
            before = (now.tokens, now.model);
        };
        let ranking = ranker
            .rank(&[task], &wanted, &mut watch)
            .and_then(|mut rankings| rankings.pop().transpose())
            .map_err(|error| match error.class() {
                ErrorClass::Caller => invalid(error.code(), error.to_string()),
                _ => Problem::new(StatusCode::FAILED_DEPENDENCY, "backend", error.code(), error.to_string()),
            })?;
        let scored = ranking.map(|ranking| ranking.scored).unwrap_or_default();
        let ranks: Vec<Rank> = scored
            .iter()
            .map(|scored| Rank {
                index: scored.document,
                score: match (ranker.by(), scored.probability) {
                    (By::CrossEncoder, Some(probability)) if !raw_scores => probability.into(),
                    _ => scored.score.unwrap_or(0.0),
                },
                text: return_text.then(|| texts[scored.document].as_str()),
            })
            .collect();
        Ok(json(&ranks))
    })
    .await
}

fn makes_vectors(shared: &Shared) -> &Lazy {
    &shared.embedder
}

fn orders(shared: &Shared) -> &Lazy {
    if shared.reranker.open.is_some() { &shared.reranker } else { &shared.embedder }
}

/// The vector of each text, in order.
fn vectors(
    embedder: &Embedder,
    texts: &[String],
    truncate: bool,
    call: &Call,
) -> Result<Vec<Vec<f32>>, Problem> {
    let failed = |code: &'static str, message: String| {
        Problem::new(StatusCode::FAILED_DEPENDENCY, "backend", code, message)
    };
    let work: Queue<TextWork<usize>> = Queue::new(usize::MAX);
    for (place, text) in texts.iter().enumerate() {
        let text = embedder.tokenise(text).map_err(|error| invalid(error.code(), error.to_string()))?;
        if text.truncated() && !truncate {
            let message = format!(
                "`inputs` must have at most {} tokens, one has {}",
                embedder.max_tokens(),
                text.tokens
            );
            return Err(invalid("too_many_tokens", message).hint("shorten it, or send \"truncate\": true"));
        }
        let text = TextWork { ticket: place, text: Ok(text) };
        // Nobody has ended this queue.
        let _ = work.push(text.weight(), text);
    }
    work.end();
    let mut vectors = vec![Vec::new(); texts.len()];
    let mut problem = None;
    embed_stream(embedder, &work, embedder.group_tokens(), &mut |done| {
        match done {
            Done::Reply(place, Ok(embedded)) => vectors[place] = embedded.vector,
            Done::Reply(_, Err(error)) => problem = Some(failed(error.code(), error.to_string())),
            Done::Began { .. } => {}
            Done::Read { tokens, model, .. } => call.read(tokens, model),
        }
        if problem.is_none() && !call.is_wanted() {
            problem = Some(Problem::too_late());
        }
        if problem.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .map_err(|error| failed(error.code(), error.to_string()))?;
    problem.map_or(Ok(vectors), Err)
}

fn invalid(code: &'static str, message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", code, message)
}

async fn understand<T: for<'de> Deserialize<'de> + Send + 'static>(
    shared: &Arc<Shared>,
    request: HttpRequest,
) -> Result<(T, body::Room), Problem> {
    let Whole { bytes, room } = json_body(shared, request).await?;
    let asked = body::understood(shared, &bytes, |body, _| {
        serde_json::from_slice(body).map_err(|error| invalid("not_understood", error.to_string()))
    });
    Ok((asked.await?, room))
}

/// Whether somebody still waits for what is being computed.
struct Call {
    shared: Arc<Shared>,
    cancel: Cancel,
    deadline: Instant,
    /// Tokens that the model has read, and the time that took.
    read: Mutex<(usize, Duration)>,
}

impl Call {
    fn is_wanted(&self) -> bool {
        !self.cancel.is_cancelled() && Instant::now() < self.deadline
    }

    fn read(&self, tokens: usize, model: Duration) {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        *read = (read.0 + tokens, read.1 + model);
        self.shared.metrics.read(tokens);
        self.shared.admission.measured(tokens, model);
    }
}

/// Does something with the model on a thread of its own, counted among what waits.
async fn beside(
    shared: Arc<Shared>,
    which: fn(&Shared) -> &Lazy,
    (bytes, texts): (usize, usize),
    work: impl FnOnce(&Ranker, &Call) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    require_few_of(texts, &shared)?;
    if texts == 0 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "empty", "empty", "there are no texts"));
    }
    let admitted = shared
        .admission
        .admit(bytes / BYTES_PER_TOKEN + texts)
        .map_err(|full| Problem::overloaded(full.retry_after))?;
    let deadline = Instant::now() + shared.config.bounds.request;
    let cancel = Cancel::default();
    // Dropped with this future, which happens when the sender leaves.
    let _taken_back = TakenBack(cancel.clone());
    let asked = Instant::now();
    let working = async {
        let _turn = which(&shared).turn.acquire().await;
        let begun = Instant::now();
        let call = Call { shared: shared.clone(), cancel, deadline, read: Mutex::default() };
        let working = move || {
            let _admitted = admitted;
            let mut response = which(&call.shared).with(|ranker| work(ranker, &call))?;
            let (tokens, model) = *call.read.lock().unwrap_or_else(PoisonError::into_inner);
            let inference = model.min(begun.elapsed());
            response.extensions_mut().insert(Timings {
                queue: begun - asked,
                inference,
                tokenization: begun.elapsed().saturating_sub(inference),
                tokens,
                ..Timings::default()
            });
            Ok(response)
        };
        tokio::task::spawn_blocking(working).await.map_err(|_| Problem::model_failed())?
    };
    let working = tokio::time::timeout_at(deadline.into(), working);
    working.await.unwrap_or_else(|_| Err(Problem::too_late()))
}
