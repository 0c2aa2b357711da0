//! Which path does what.

use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::engine::Engine;
use super::problem::Problem;
use super::server::Shared;
use super::{about, gate, native, predict, ranker, stream};

/// The model that a request is for: the one that its path names, else the first.
pub struct Model(pub Arc<Engine>);

impl FromRequestParts<Arc<Shared>> for Model {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, shared: &Arc<Shared>) -> Result<Self, Problem> {
        let named = RawPathParams::from_request_parts(parts, shared).await.ok();
        let named = named.as_ref().and_then(|params| params.iter().find(|(name, _)| *name == "model"));
        let engines = shared.engines();
        let found = match named {
            None => engines.first(),
            Some((_, name)) => engines.iter().find(|engine| engine.name == name),
        };
        match found {
            Some(engine) => Ok(Self(engine.clone())),
            None if !shared.is_loaded() => Err(Problem::not_ready("the model is being loaded")),
            None => {
                let names: Vec<&str> = engines.iter().map(|engine| engine.name.as_str()).collect();
                let message = "there is no model of that name here";
                Err(Problem::new(StatusCode::NOT_FOUND, "validation", "unknown_model", message)
                    .hint(format!("models are {}", names.join(", "))))
            }
        }
    }
}

/// All routes, behind what every request passes.
pub fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new()
        .route("/", get(about::page).post(predict::predict))
        .route("/models/{model}", post(predict::predict))
        .route("/health", get(about::health))
        .route("/ready", get(about::ready))
        .route("/ping", get(about::ready))
        .route("/info", get(about::info))
        .route("/metrics", get(about::metrics))
        .route("/openapi.json", get(about::openapi))
        .route("/docs", get(about::docs))
        .route("/embed", post(ranker::embed))
        .route("/rerank", post(ranker::rerank));
    for prefix in ["", "/models/{model}"] {
        router = router
            .route(&format!("{prefix}/predict"), post(predict::predict))
            .route(&format!("{prefix}/pipeline/question-answering"), post(predict::predict))
            .route(&format!("{prefix}/invocations"), post(predict::invocations))
            .route(&format!("{prefix}/score"), post(predict::score))
            .route(&format!("{prefix}/v1/answer"), post(native::answer))
            .route(&format!("{prefix}/v1/answer/stream"), post(stream::answer_lines));
    }
    let router = router
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(shared.clone(), given))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            Problem::model_failed().into_response()
        }))
        .layer(middleware::from_fn_with_state(shared.clone(), gate::pass))
        .with_state(shared.clone());
    match cors(&shared.config.origins) {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

/// Paths that were given when the server was started, as prediction services do. They go before our own of the same name.
async fn given(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_one_of = |paths: &[String]| paths.contains(&path);
    if method == Method::GET && is_one_of(&shared.config.health_routes) {
        return about::ready(State(shared)).await.into_response();
    }
    if method == Method::POST && is_one_of(&shared.config.predict_routes) {
        let (mut parts, body) = request.into_parts();
        return match Model::from_request_parts(&mut parts, &shared).await {
            Ok(model) => {
                predict::predict(State(shared), model, Request::from_parts(parts, body)).await.into_response()
            }
            Err(problem) => problem.into_response(),
        };
    }
    next.run(request).await
}

async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "validation", "no_such_path", "there is nothing at this path")
        .hint("GET /docs lists what there is")
}

async fn wrong_method() -> Problem {
    let message = "this path takes another method";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "validation", "method_not_allowed", message)
        .hint("GET /docs lists what there is")
}

/// Browsers may let pages of these origins ask; without any they let only our own.
fn cors(origins: &[String]) -> Option<CorsLayer> {
    let allowed = match origins {
        [] => return None,
        origins if origins.iter().any(|origin| origin == "*") => AllowOrigin::any(),
        origins => AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok())),
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER, gate::REQUEST_ID]);
    Some(layer)
}
