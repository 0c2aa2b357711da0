//! The body of a request: as many bytes as are allowed, in the time that is allowed, and no deeper than anybody needs.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::config::Bounds;
use super::problem::Problem;

/// How deep brackets may stand in brackets: as deep as serde_json goes.
const DEEPEST: usize = 128;

/// How much of a body that is too long is read, so that its sender gets to hear it: who is cut off while writing sees a broken connection.
const DISCARDED: usize = 64 << 20;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    Json,
    Lines,
    Csv,
}

/// What the head says of the body. Without a word it is JSON.
pub fn content(headers: &HeaderMap) -> Result<Content, Problem> {
    let unsupported = |what: String| {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "validation", "unsupported_media_type", what)
            .hint("send JSON in UTF-8 with the header `content-type: application/json`")
    };
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

/// The whole body.
pub async fn read(headers: &HeaderMap, body: Body, bounds: &Bounds) -> Result<Vec<u8>, Problem> {
    let until = Instant::now() + bounds.body_read;
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > bounds.body as u64) {
        return Err(too_long(body, bounds));
    }
    let mut body = body;
    let mut bytes = Vec::with_capacity(announced.map_or(0, |length| length as usize));
    loop {
        let late = |_| {
            let message = "the body of the request did not come in time";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "validation", "body_timeout", message)
        };
        let Some(frame) = timeout_at(until, body.frame()).await.map_err(late)? else { return Ok(bytes) };
        let frame = frame.map_err(|error| {
            let message = format!("the body of the request breaks off: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "validation", "body_cut", message)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > bounds.body {
            return Err(too_long(body, bounds));
        }
        bytes.extend_from_slice(&data);
    }
}

/// Refuses a body, and reads on for a while beside it.
fn too_long(mut body: Body, bounds: &Bounds) -> Problem {
    let Bounds { body: limit, body_read, .. } = *bounds;
    tokio::spawn(async move {
        let until = Instant::now() + body_read.min(Duration::from_secs(10));
        let mut discarded = 0;
        while discarded < DISCARDED
            && let Ok(Some(Ok(frame))) = timeout_at(until, body.frame()).await
        {
            discarded += frame.data_ref().map_or(0, |data| data.len());
        }
    });
    let message = format!("the request is longer than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "validation", "request_too_long", message)
        .hint("send less text at a time, or start the server with a larger --max-body")
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
