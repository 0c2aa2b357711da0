//! What a server says of itself: whether it lives, what it is, how busy it was, and its pages.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json as value};

use super::problem::{Problem, json, json_bytes};
use super::server::{Phase, Shared};

const PAGE: &str = include_str!("page.html");
const DOCS: &str = include_str!("docs.html");
const OPENAPI: &str = include_str!("openapi.json");

/// Pages may do nothing but talk to this server.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `GET /`: a page to ask questions on.
pub async fn page() -> Response {
    html(PAGE)
}

/// `GET /docs`: what can be asked how.
pub async fn docs() -> Response {
    html(DOCS)
}

/// `GET /openapi.json`: the same for programs.
pub async fn openapi() -> Response {
    json_bytes(OPENAPI.replace("0.0.0", env!("CARGO_PKG_VERSION")).into_bytes())
}

/// `GET /health`: it lives.
pub async fn health() -> &'static str {
    "Ok"
}

/// `GET /ready`, `/ping`: it answers, and is about to go on doing so.
pub async fn ready(State(shared): State<Arc<Shared>>) -> Result<&'static str, Problem> {
    match shared.now() {
        phase if phase.is_ready() => Ok("Ok"),
        Phase::Loading => Err(Problem::not_ready("the model is being loaded")),
        _ => Err(Problem::not_ready("the server is about to end")),
    }
}

/// `GET /metrics`.
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, Problem> {
    let text = shared
        .metrics
        .text(shared.admission.held(), shared.config.bounds.queue_tokens)
        .map_err(|_| Problem::model_failed())?;
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// `GET /info`: by the names of text-embeddings-inference, and more.
pub async fn info(State(shared): State<Arc<Shared>>) -> Response {
    let engines = shared.engines();
    let models: Vec<Value> = engines
        .iter()
        .map(|engine| {
            let reader = &engine.reader;
            let identity = reader.identity();
            value!({
                "name": engine.name,
                "model_id": identity.map_or(reader.name(), |identity| identity.name.as_str()),
                "model_sha": identity.and_then(|identity| identity.revision.as_deref()),
                "model_digest": identity.map(|identity| identity.digest.as_str()),
                "model_dtype": reader.dtype(),
                "device": reader.device().to_string(),
                "max_batch_tokens": reader.batch_tokens(),
            })
        })
        .collect();
    let first = models.first().cloned().unwrap_or_default();
    let bounds = &shared.config.bounds;
    json(&value!({
        "model_id": first["model_id"],
        "model_sha": first["model_sha"],
        "model_dtype": first["model_dtype"],
        "model_type": {"reader": {}},
        "task": "question-answering",
        "models": models,
        "max_batch_tokens": first["max_batch_tokens"],
        "max_client_batch_size": bounds.questions,
        "max_concurrent_requests": bounds.connections,
        "max_queue_tokens": bounds.queue_tokens,
        "max_body_bytes": bounds.body,
        "request_timeout_s": bounds.request.as_secs_f64(),
        "needs_key": shared.config.key.is_some(),
        "version": shared.config.version,
    }))
}

fn html(page: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    (headers, page).into_response()
}
