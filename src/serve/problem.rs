//! What the sender of a request is told when it cannot be answered: `{"error", "error_type", "code", "hint"?}`.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::class::ErrorClass;
use crate::request::Error as RequestError;
use crate::{reader, stream};

/// Why a request has no reply.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    /// Of what kind it is, in the words of text-embeddings-inference.
    pub kind: &'static str,
    /// The stable name.
    pub code: &'static str,
    pub message: String,
    pub hint: Option<String>,
    /// Seconds after which it is worth asking again.
    pub retry_after: Option<u64>,
}

/// The stable name of what went wrong, for the log and the counters.
#[derive(Debug, Clone, Copy)]
pub struct Code(pub &'static str);

impl Problem {
    pub fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self { status, kind, code, message: message.into(), hint: None, retry_after: None }
    }

    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What is wrong with a request.
    pub fn of_request(error: RequestError, hint: fn(&stream::Error) -> Option<String>) -> Self {
        Self::of(&error.into(), hint)
    }

    /// What is wrong with a question.
    pub fn of(error: &stream::Error, hint: fn(&stream::Error) -> Option<String>) -> Self {
        use stream::Error::{Reader, Request};
        let (status, kind) = match error {
            Request(RequestError::TooLong { .. }) => (StatusCode::PAYLOAD_TOO_LARGE, "validation"),
            Reader(reader::Error::DeadlineExceeded) => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
            _ => match error.class() {
                ErrorClass::Caller => (StatusCode::BAD_REQUEST, "validation"),
                ErrorClass::Model | ErrorClass::Machine | ErrorClass::Network => {
                    (StatusCode::INTERNAL_SERVER_ERROR, "backend")
                }
            },
        };
        Self { hint: hint(error), ..Self::new(status, kind, error.code(), error.to_string()) }
    }

    /// The request was not answered in time.
    pub fn too_late() -> Self {
        let message = "the request was not answered in time";
        Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout", "deadline_exceeded", message)
    }

    /// The model failed while it had the question.
    pub fn model_failed() -> Self {
        let message = "the model failed while it answered the request";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "backend", "model_failed", message)
    }

    /// There is too much work already.
    pub fn overloaded(retry_after: u64) -> Self {
        let message = "too much work is waiting";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "overloaded", "overloaded", message)
            .hint(format!("ask again in {retry_after} s"));
        Self { retry_after: Some(retry_after), ..problem }
    }

    /// The model is not there yet, or not any more.
    pub fn not_ready(message: &str) -> Self {
        let problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, "unhealthy", "not_ready", message);
        Self { retry_after: Some(1), ..problem }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    error_type: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body =
            Body { error: &self.message, error_type: self.kind, code: self.code, hint: self.hint.as_deref() };
        let mut response = json(&body);
        *response.status_mut() = self.status;
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(Code(self.code));
        response
    }
}

/// A value as a whole response.
pub fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_bytes(bytes),
        // Nothing here has keys that are not texts, which is all that could go wrong.
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// JSON that has been written already.
pub fn json_bytes(bytes: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], bytes).into_response()
}
