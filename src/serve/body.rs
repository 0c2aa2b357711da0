//! The body of a request: as many bytes as are allowed, in the time that is allowed, and no deeper than anybody needs.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use super::server::Shared;

/// How deep brackets may stand in brackets: as deep as serde_json goes.
const DEEPEST: usize = 128;

/// How much is read of a body that nobody wants, so that its sender gets to hear why: who is cut off while writing sees a broken connection.
const DISCARDED: usize = 64 << 20;

/// For how long, and for how long when nothing comes.
const DISCARDING: Duration = Duration::from_secs(10);
const SILENT: Duration = Duration::from_secs(2);

/// A unit in which the memory of bodies is counted.
pub const KIBIBYTE: usize = 1024;

/// Bodies up to this are understood on the thread of the sockets; larger ones would keep everybody else waiting.
const SMALL: usize = 64 * KIBIBYTE;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Json,
    Lines,
    Csv,
}

/// The body is of no kind that is read here.
pub fn unsupported(what: impl Into<String>) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "validation", "unsupported_media_type", what)
        .hint("send JSON in UTF-8 with the header `content-type: application/json`")
}

/// What the head says of the body. Without a word it is JSON.
pub fn content(headers: &HeaderMap) -> Result<Content, Problem> {
    if let Some(coding) = headers.get(header::CONTENT_ENCODING).filter(|coding| *coding != "identity") {
        return Err(unsupported(format!("bodies with content-encoding {coding:?} are not read")));
    }
    let Some(given) = headers.get(header::CONTENT_TYPE) else { return Ok(Content::Json) };
    let given = String::from_utf8_lossy(given.as_bytes()).to_ascii_lowercase();
    let mut parts = given.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let charset = parts.find_map(|part| part.strip_prefix("charset=")).map(|name| name.trim_matches('"'));
    if let Some(other) = charset.filter(|name| !["utf-8", "utf8", "us-ascii"].contains(name)) {
        return Err(unsupported(format!("the charset {other:.40} is not read")));
    }
    match kind {
        "" | "application/json" | "text/json" => Ok(Content::Json),
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/jsonlines"
        | "application/x-jsonlines" => Ok(Content::Lines),
        "text/csv" => Ok(Content::Csv),
        kind if kind.starts_with("application/") && kind.ends_with("+json") => Ok(Content::Json),
        other => Err(unsupported(format!("bodies of the type {other:.80} are not read"))),
    }
}

/// A whole body, counted for as long as anything of it is needed.
pub struct Whole {
    pub bytes: Bytes,
    pub room: Room,
}

/// The part of all memory for bodies that one has.
#[derive(Default)]
pub struct Room(Option<OwnedSemaphorePermit>);

impl Room {
    /// Makes sure that so many bytes have room.
    fn grow(&mut self, shared: &Shared, bytes: usize) -> Result<(), Problem> {
        let held = self.0.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = bytes.div_ceil(KIBIBYTE).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        // Waiting would not help: others may wait for the rest of theirs in the same way.
        let full = |_| Problem::overloaded(shared.admission.retry_after());
        let permit = shared.bodies.clone().try_acquire_many_owned(more as u32).map_err(full)?;
        match &mut self.0 {
            Some(own) => own.merge(permit),
            own => *own = Some(permit),
        }
        Ok(())
    }
}

/// The whole body.
pub async fn read(shared: &Shared, headers: &HeaderMap, mut body: Body) -> Result<Whole, Problem> {
    let bounds = &shared.config.bounds;
    let until = Instant::now() + bounds.body_read;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bounds.body as u64) {
        return Err(too_long(bounds.body));
    }
    let (mut bytes, mut room) = (Vec::new(), Room::default());
    loop {
        let late = |_| {
            let message = "the body of the request did not come in time";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "validation", "body_timeout", message)
        };
        let Some(frame) = timeout_at(until, body.frame()).await.map_err(late)? else {
            return Ok(Whole { bytes: bytes.into(), room });
        };
        let frame = frame.map_err(|error| {
            let message = format!("the body of the request breaks off: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "validation", "body_cut", message)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > bounds.body {
            return Err(too_long(bounds.body));
        }
        room.grow(shared, bytes.len() + data.len())?;
        bytes.extend_from_slice(&data);
    }
}

fn too_long(limit: usize) -> Problem {
    let message = format!("the request is longer than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "validation", "request_too_long", message)
        .hint("send less text at a time, or start the server with a larger --max-body")
}

/// Makes something of a body, on another thread if it is large.
pub async fn understood<T: Send + 'static>(
    shared: &Arc<Shared>,
    body: &Bytes,
    understand: impl FnOnce(&[u8], &Shared) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if body.len() <= SMALL {
        return understand(body, shared);
    }
    let turn = shared.preparing.clone().acquire_owned().await;
    let (shared, body) = (shared.clone(), body.clone());
    let understanding = move || {
        let _turn = turn;
        understand(&body, &shared)
    };
    tokio::task::spawn_blocking(understanding).await.map_err(|_| Problem::model_failed())?
}

/// A body that is read to its end by somebody, be it only to be thrown away: whoever is refused early gets to hear it.
pub struct ToTheEnd(Option<Body>);

impl ToTheEnd {
    pub fn of(body: Body) -> Body {
        match body.is_end_stream() {
            true => body,
            false => Body::new(Self(Some(body))),
        }
    }
}

impl HttpBody for ToTheEnd {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(context);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.0 = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.0.as_ref().map_or_else(Default::default, HttpBody::size_hint)
    }
}

impl Drop for ToTheEnd {
    fn drop(&mut self) {
        let (Some(mut body), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        if body.is_end_stream() {
            return;
        }
        runtime.spawn(async move {
            let until = Instant::now() + DISCARDING;
            let mut discarded = 0;
            while discarded < DISCARDED
                && let Ok(Some(Ok(frame))) =
                    timeout_at(until.min(Instant::now() + SILENT), body.frame()).await
            {
                discarded += frame.data_ref().map_or(0, |data| data.len());
            }
        });
    }
}

/// Refuses JSON that nests deeper than anything that means something. Whether it is JSON at all, others find out.
pub fn require_shallow(json: &[u8]) -> Result<(), Problem> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > DEEPEST {
                    let message = format!("the JSON nests deeper than {DEEPEST} levels");
                    return Err(Problem::new(StatusCode::BAD_REQUEST, "validation", "too_deep", message));
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_brackets_outside_of_texts_count() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(require_shallow(nested(DEEPEST).as_bytes()).is_ok());
        assert_eq!(require_shallow(nested(100_000).as_bytes()).unwrap_err().code, "too_deep");
        assert!(require_shallow(format!("{{\"a\": \"\\\"{}\"}}", "[".repeat(1000)).as_bytes()).is_ok());
        assert!(require_shallow("[] {} ".repeat(1000).as_bytes()).is_ok());
    }

    #[test]
    fn the_head_says_what_the_body_is() {
        let of = |kind: &str| {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(kind).unwrap())]);
            content(&headers).map_err(|problem| problem.code)
        };
        assert_eq!(content(&HeaderMap::new()).unwrap(), Content::Json);
        assert_eq!(of("Application/JSON; charset=\"UTF-8\""), Ok(Content::Json));
        assert_eq!(of("application/vnd.x+json"), Ok(Content::Json));
        assert_eq!(of("text/csv"), Ok(Content::Csv));
        assert_eq!(of("application/x-ndjson"), Ok(Content::Lines));
        for kind in ["text/plain", "application/json; charset=latin1", "application/x-www-form-urlencoded"] {
            assert_eq!(of(kind), Err("unsupported_media_type"), "{kind}");
        }
    }
}
