//! What every request passes: who may ask, what the request is called, how long it took.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::body::ToTheEnd;
use super::config::Entry;
use super::metrics::Timings;
use super::problem::{Code, Problem};
use super::server::{Phase, Shared};

/// What was asked, for a log that wants to know.
#[derive(Clone, Default)]
pub struct Asked(pub Arc<[String]>);

/// Paths that say nothing of anybody's questions: probes, counters, and the pages, which ask for the key themselves.
const OPEN: [&str; 7] = ["/", "/health", "/ready", "/ping", "/metrics", "/docs", "/openapi.json"];

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Lets a request through, and notes what became of it.
pub async fn pass(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let request = request.map(ToTheEnd::of);
    let passage = Passage { shared: shared.clone(), id, method, path, route, started, is_over: false };
    let mut response = match refuse(&shared, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let timings = Timings {
        total: started.elapsed(),
        ..response.extensions_mut().remove::<Timings>().unwrap_or_default()
    };
    let error = response.extensions().get::<Code>().map(|code| code.0);
    let asked = response.extensions_mut().remove::<Asked>().unwrap_or_default();
    let id = passage.over(response.status(), error, &timings, asked);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    show(headers, &timings);
    if shared.now() >= Phase::Leaving {
        // The next request should go elsewhere.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What is noted of a request, also if its sender leaves before it is answered.
struct Passage {
    shared: Arc<Shared>,
    id: String,
    method: Method,
    path: String,
    route: String,
    started: Instant,
    is_over: bool,
}

/// What becomes of a request whose sender has left, as nginx calls it.
const LEFT: u16 = 499;

impl Passage {
    /// Notes what became of it, and says what it was called.
    fn over(
        mut self,
        status: StatusCode,
        error: Option<&'static str>,
        timings: &Timings,
        asked: Asked,
    ) -> String {
        self.is_over = true;
        self.note(status.as_u16(), error, timings, asked);
        std::mem::take(&mut self.id)
    }

    fn note(&self, status: u16, error: Option<&'static str>, timings: &Timings, asked: Asked) {
        let Self { shared, id, method, path, route, .. } = self;
        shared.metrics.request(route, error, timings);
        if let Some(log) = &shared.config.log {
            log(&Entry {
                id: id.clone(),
                method: method.to_string(),
                path: path.clone(),
                status,
                error,
                total: timings.total,
                queue: timings.queue,
                inference: timings.inference,
                tokens: timings.tokens,
                questions: if shared.config.log_questions { asked.0.to_vec() } else { Vec::new() },
            });
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if !self.is_over {
            let timings = Timings { total: self.started.elapsed(), ..Timings::default() };
            self.note(LEFT, Some("sender_left"), &timings, Asked::default());
        }
    }
}

/// Times in milliseconds. `x-compute-time` is the sum of the three below it.
fn show(headers: &mut HeaderMap, timings: &Timings) {
    let Timings { total, tokenization, queue, inference, tokens } = *timings;
    let mut time = |name: &'static str, time: Duration| {
        let shown = format!("{:.3}", time.as_micros() as f64 / 1000.0);
        if let Ok(value) = HeaderValue::from_str(&shown) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    time("x-total-time", total);
    if tokens > 0 {
        let whole = |time: Duration| Duration::from_micros(time.as_micros() as u64);
        let (tokenization, queue, inference) = (whole(tokenization), whole(queue), whole(inference));
        time("x-compute-time", tokenization + queue + inference);
        time("x-tokenization-time", tokenization);
        time("x-queue-time", queue);
        time("x-inference-time", inference);
        headers.insert(HeaderName::from_static("x-compute-tokens"), HeaderValue::from(tokens));
    }
}

/// Why a request may not pass.
fn refuse(shared: &Shared, request: &Request) -> Option<Problem> {
    let headers = request.headers();
    let host = host(request);
    if !host_is_known(shared, host.as_ref()) {
        let message =
            format!("this server is not called {}", host.map_or("nothing".into(), |host| host.to_string()));
        return Some(
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "validation", "unknown_host", message)
                .hint("call it by its address, or start it with --allow-host NAME"),
        );
    }
    if let Some(origin) = headers.get(header::ORIGIN)
        && !origin_is_known(shared, origin, host.as_ref())
    {
        let message = "pages of this origin may not ask here";
        return Some(
            Problem::new(StatusCode::FORBIDDEN, "validation", "unknown_origin", message)
                .hint("start the server with --allow-origin ORIGIN"),
        );
    }
    let path = request.uri().path();
    let open = OPEN.contains(&path) || shared.config.health_routes.iter().any(|health| health == path);
    // The same path may take questions, too.
    let open = open && matches!(*request.method(), Method::GET | Method::HEAD);
    if let Some(key) = &shared.config.key
        && !open
        && !bearer(headers).is_some_and(|given| key.is(given))
    {
        let message = "the key is missing or wrong";
        return Some(
            Problem::new(StatusCode::UNAUTHORIZED, "validation", "unauthorized", message)
                .hint("send the header `authorization: Bearer KEY`"),
        );
    }
    None
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// By which name the sender calls this server.
fn host(request: &Request) -> Option<Authority> {
    match request.uri().authority() {
        Some(authority) => Some(authority.clone()),
        None => request.headers().get(header::HOST)?.to_str().ok()?.parse().ok(),
    }
}

/// A page of somebody else can give its own name our address, and its browser would let it read our answers. So a server that only this
/// machine reaches goes only by the names of this machine. An address is nobody's name: probes call by it.
fn host_is_known(shared: &Shared, host: Option<&Authority>) -> bool {
    let listed = &shared.config.hosts;
    if !shared.local && listed.is_empty() {
        return true;
    }
    let Some(name) = host.map(|host| host.host().trim_matches(['[', ']'])) else { return false };
    let is_own = name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok();
    is_own || listed.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

/// A browser says which page asks. Our own may, and those that were named.
fn origin_is_known(shared: &Shared, origin: &HeaderValue, host: Option<&Authority>) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let own =
        origin.split_once("://").is_some_and(|(_, name)| host.is_some_and(|host| host.as_str() == name));
    own || shared.config.origins.iter().any(|known| known == origin || known == "*")
}

/// What the sender calls the request, if that can be printed, or a name that no other request has.
fn request_id(headers: &HeaderMap) -> String {
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let given = headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let printable =
        |id: &&str| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
    match given.filter(printable) {
        Some(id) => id.to_owned(),
        None => format!("{:016x}-{}", *START, NEXT.fetch_add(1, Ordering::Relaxed)),
    }
}
