//! `POST /embed` and `/rerank`, as text-embeddings-inference takes them.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use axum::extract::{Request as HttpRequest, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use super::asking::require_few;
use super::config::OpenRanker;
use super::native::json_body;
use super::problem::{Problem, json};
use super::server::Shared;
use crate::class::ErrorClass;
use crate::document::Text;
use crate::embed::Embedder;
use crate::request::reply::DocumentId;
use crate::rerank::{By, Corpus, Ranker, Source, Task, Wanted};
use crate::stream::{Done, Queue, TextWork, embed_stream};
use crate::text::BYTES_PER_TOKEN;
use crate::text::offsets::OffsetUnit;

/// A model that is opened by whoever needs it first.
pub struct Lazy {
    open: Option<OpenRanker>,
    opened: OnceLock<Result<Mutex<Ranker>, String>>,
}

impl Lazy {
    pub fn new(open: Option<OpenRanker>) -> Self {
        Self { open, opened: OnceLock::new() }
    }

    /// The model, opened now unless it is. It takes as long as that takes.
    fn get(&self) -> Result<&Mutex<Ranker>, Problem> {
        let Some(open) = &self.open else {
            let message = "this server has no model for this";
            return Err(Problem::new(StatusCode::NOT_FOUND, "validation", "no_embedder", message)
                .hint("start the server with --embedder MODEL"));
        };
        let failed = |reason: &String| {
            let message = format!("the model cannot be opened: {reason}");
            Problem::new(StatusCode::FAILED_DEPENDENCY, "backend", "embedder_unavailable", message)
        };
        self.opened.get_or_init(|| open().map(Mutex::new)).as_ref().map_err(failed)
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
    let asked: EmbedRequest = understand(&shared, request).await?;
    let texts = match asked.inputs {
        Texts::One(text) => vec![text],
        Texts::Many(texts) => texts,
    };
    let (truncate, normalize) = (asked.truncate, asked.normalize);
    let bytes = texts.iter().map(String::len).sum();
    beside(shared, makes_vectors, (bytes, texts.len()), move |ranker| {
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
        let vectors = vectors(embedder, &texts, truncate)?;
        Ok(json(&vectors))
    })
    .await
}

/// `POST /rerank`: texts in the order in which they answer the query.
pub async fn rerank(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let RerankRequest { query, texts, raw_scores, return_text } = understand(&shared, request).await?;
    let bytes = query.len() + texts.iter().map(String::len).sum::<usize>();
    beside(shared, orders, (bytes, texts.len()), move |ranker| {
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
        let ranking = ranker
            .rank(&[task], &wanted, &mut |_| {})
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
fn vectors(embedder: &Embedder, texts: &[String], truncate: bool) -> Result<Vec<Vec<f32>>, Problem> {
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
            Done::Began { .. } | Done::Read { .. } => {}
        }
        ControlFlow::Continue(())
    })
    .map_err(|error| failed(error.code(), error.to_string()))?;
    problem.map_or(Ok(vectors), Err)
}

fn invalid(code: &'static str, message: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "validation", code, message)
}

async fn understand<T: for<'de> Deserialize<'de>>(
    shared: &Shared,
    request: HttpRequest,
) -> Result<T, Problem> {
    let body = json_body(shared, request).await?;
    serde_json::from_slice(&body).map_err(|error| invalid("not_understood", error.to_string()))
}

/// Does something with the model on a thread of its own, counted among what waits.
async fn beside(
    shared: Arc<Shared>,
    which: fn(&Shared) -> &Lazy,
    (bytes, texts): (usize, usize),
    work: impl FnOnce(&Ranker) -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    require_few(texts, &shared)?;
    if texts == 0 {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "empty", "empty", "there are no texts"));
    }
    let admitted = shared
        .admission
        .admit(bytes / BYTES_PER_TOKEN + texts)
        .map_err(|full| Problem::overloaded(full.retry_after))?;
    let limit = shared.config.bounds.request;
    let working = tokio::task::spawn_blocking(move || {
        let _admitted = admitted;
        let ranker = which(&shared).get()?.lock().unwrap_or_else(PoisonError::into_inner);
        work(&ranker)
    });
    match tokio::time::timeout(limit, working).await {
        Err(_) => Err(Problem::too_late()),
        Ok(Err(_)) => Err(Problem::model_failed()),
        Ok(Ok(done)) => done,
    }
}
