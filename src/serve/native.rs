//! Requests and records of our own: what `ask` prints, byte for byte.

use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::response::Response;

use super::asking::{Replies, ask};
use super::body::{self, Content, Whole};
use super::engine::Manner;
use super::problem::{Problem, json_bytes};
use super::routes::Model;
use super::server::Shared;
use crate::request::parser::{Body, Ticket};
use crate::request::record::{Failure, Layout};
use crate::request::reply::Id;
use crate::request::{Fields, Request};
use crate::stream;

/// How requests look here: files are the caller's own and not ours.
pub fn fields() -> Fields {
    Fields { files: false, parameters: true, ..Fields::default() }
}

/// The body of a request as JSON that can be read.
pub async fn json_body(shared: &Shared, request: HttpRequest) -> Result<Whole, Problem> {
    let (head, body) = request.into_parts();
    match body::content(&head.headers)? {
        Content::Json => {}
        Content::Lines | Content::Csv => return Err(body::unsupported("this path takes JSON")),
    }
    let whole = body::read(shared, &head.headers, body).await?;
    body::require_shallow(&whole.bytes)?;
    Ok(whole)
}

/// `POST /v1/answer`: one request, the record that `ask` prints for it; with a list of questions, a list of records.
pub async fn answer(
    State(shared): State<Arc<Shared>>,
    Model(engine): Model,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let Whole { bytes, room: _room } = json_body(&shared, request).await?;
    let request = body::understood(&shared, &bytes, |body, shared| {
        Request::from_json(body, &fields())
            .map_err(|rejected| Problem::of_request(rejected.problem, shared.config.hint))
    })
    .await?;
    let listed = request.listed;
    let tickets = tickets(&request);
    let names = tickets.iter().map(Ticket::name).collect();
    let Request { documents, items, parameters, .. } = request;
    let body = Body { documents, items, parameters };
    let Replies { replies, timings, asked } = ask(&shared, &engine, Manner::Ask, body, names).await?;
    let mut written = Vec::new();
    if listed {
        written.push(b'[');
    }
    for (ticket, reply) in tickets.iter().zip(&replies) {
        if ticket.sequence > 0 {
            written.push(b',');
        }
        match reply {
            Ok(reply) => Layout::Jsonl.reply(ticket, reply, &mut written),
            // Of several questions, one that fails does so alone.
            Err(error) if listed => {
                Layout::Jsonl.error(ticket, &failure(error, shared.config.hint), &mut written)
            }
            Err(error) => return Err(Problem::of(error, shared.config.hint)),
        }
        .map_err(|_| Problem::model_failed())?;
        if listed {
            // The line break.
            written.pop();
        }
    }
    if listed {
        written.extend_from_slice(b"]\n");
    }
    let mut response = json_bytes(written);
    response.extensions_mut().insert(timings);
    response.extensions_mut().insert(asked);
    Ok(response)
}

/// A ticket for each question. Without an id they are called as `ask` calls its questions, with one as `batch` does.
fn tickets(request: &Request) -> Vec<Ticket> {
    let named = request.id.is_some();
    (0..request.items.len())
        .map(|index| Ticket {
            sequence: index as u64,
            line: None,
            place: None,
            id: request.id.clone().or_else(|| Some(Id::from((index + 1).to_string()))),
            index: (named && request.listed).then_some(index),
            rest: Arc::default(),
            position: 0,
            fingerprint: None,
        })
        .collect()
}

/// What the sender of a question is told in its record.
pub fn failure(error: &stream::Error, hint: fn(&stream::Error) -> Option<String>) -> Failure {
    Failure { code: error.code(), message: error.to_string(), hint: hint(error) }
}
