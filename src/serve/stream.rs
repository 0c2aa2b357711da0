//! `POST /v1/answer/stream`: lines of requests in, a record for each question out, in order and as they are ready: what `batch` does.

use std::convert::Infallible;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::asking::{TakenBack, require_few};
use super::body::{self, Content};
use super::engine::{Call, Engine, Manner};
use super::native::{failure, fields};
use super::problem::Problem;
use super::routes::Model;
use super::server::Shared;
use crate::request::lines::{Format, Line, Lines};
use crate::request::parser::{Parsed, Parser, Ticket};
use crate::request::record::{Failure, Layout};
use crate::request::reply::Id;
use crate::stream;

/// Streams at a time.
pub const STREAMS: usize = 64;

/// Requests of a stream whose records may wait for their turn.
const WAITING: usize = 256;

/// Pieces of the body that may wait to be read.
const PIECES: usize = 16;

/// Answers a stream for as long as it comes.
pub async fn answer_lines(
    State(shared): State<Arc<Shared>>,
    Model(engine): Model,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let (head, body) = request.into_parts();
    if body::content(&head.headers)? == Content::Csv {
        return Err(body::unsupported("this path takes JSON lines"));
    }
    // Each has a thread for as long as it lasts.
    let Ok(own) = shared.streams.clone().try_acquire_owned() else {
        return Err(Problem::overloaded(shared.admission.retry_after()));
    };
    let call = Call::default();
    let (pieces, incoming) = mpsc::channel(PIECES);
    tokio::spawn(forward(body, pieces, shared.clone()));
    let (records, ready) = mpsc::channel(WAITING);
    let (sender, outgoing) = Channel::<Bytes, Infallible>::new(1);
    tokio::spawn(write(ready, sender, TakenBack(call.cancel.clone())));
    let reading = Reading { shared, engine, call, records, handle: Handle::current() };
    // It reads, understands and tokenises line after line, and waits where there is no room.
    tokio::task::spawn_blocking(move || {
        let _own = own;
        reading.run(Pieces { incoming, rest: Bytes::new() });
    });
    let kind = HeaderValue::from_static("application/x-ndjson");
    Ok(([(header::CONTENT_TYPE, kind)], HttpBody::new(outgoing)).into_response())
}

/// A piece of the body, or why there is none.
type Piece = Result<Bytes, String>;

/// Hands the body on. A sender who is silent for too long has ended.
async fn forward(mut body: HttpBody, pieces: mpsc::Sender<Piece>, shared: Arc<Shared>) {
    loop {
        let piece = match timeout(shared.config.bounds.body_read, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_) => continue,
            },
            Ok(Some(Err(error))) => Err(error.to_string()),
            Err(_) => Err("nothing came for too long".to_owned()),
        };
        let over = piece.is_err();
        if pieces.send(piece).await.is_err() || over {
            return;
        }
    }
}

/// Records in their order, as they become ready.
async fn write(
    mut ready: mpsc::Receiver<oneshot::Receiver<Vec<u8>>>,
    mut sender: http_body_util::channel::Sender<Bytes, Infallible>,
    _taken_back: TakenBack,
) {
    while let Some(next) = ready.recv().await {
        // What has no records was in the way of a panic, and says so elsewhere.
        let Ok(records) = next.await else { continue };
        if sender.send_data(records.into()).await.is_err() {
            return;
        }
    }
}

/// The body for whoever reads it in lines.
struct Pieces {
    incoming: mpsc::Receiver<Piece>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.incoming.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.rest = piece,
                Some(Err(reason)) => return Err(io::Error::other(reason)),
            }
        }
        let taken = buffer.len().min(self.rest.len());
        buffer[..taken].copy_from_slice(&self.rest.split_to(taken));
        Ok(taken)
    }
}

/// A stream on its way from lines to questions.
struct Reading {
    shared: Arc<Shared>,
    engine: Arc<Engine>,
    call: Call,
    records: mpsc::Sender<oneshot::Receiver<Vec<u8>>>,
    handle: Handle,
}

impl Reading {
    fn run(&self, body: Pieces) {
        let mut parser = Parser::new(fields(), false, vec!["-".into()]);
        let mut lines = Lines::new(BufReader::new(body), self.shared.config.bounds.body);
        loop {
            let number = lines.count + 1;
            let (content, over) = match lines.next() {
                Ok(Some(content)) => (content, false),
                Ok(None) => return,
                // What follows cannot be read, and its sender may still hear so.
                Err(error) => {
                    let (input, reason) = ("the request".to_owned(), error.to_string());
                    (Err(crate::request::Error::Unreadable { input, reason }), true)
                }
            };
            let line =
                Line { number, input: 0, in_input: number, format: Format::Jsonl, position: 0, content };
            if line.is_blank() {
                continue;
            }
            let Some(parsed) = parser.parse(line) else { continue };
            if self.begin(parsed).is_err() || over {
                return;
            }
        }
    }

    /// Queues the questions of a line. Fails when nobody wants their records.
    fn begin(&self, parsed: Parsed) -> Result<(), ()> {
        let (ready, records) = oneshot::channel();
        self.records.blocking_send(records).map_err(drop)?;
        let Parsed { tickets, request } = parsed;
        let body = match request {
            Ok(body) => body,
            Err(problem) => {
                let problem = Arc::new(problem.into());
                let replies = tickets.iter().map(|_| Some(Err(Arc::clone(&problem)))).collect();
                return ready.send(self.write(&tickets, replies)).map_err(drop);
            }
        };
        if let Err(problem) = require_few(&body, &self.shared) {
            // One record says it for all.
            let failure = Failure { code: problem.code, message: problem.message, hint: problem.hint };
            let mut written = Vec::new();
            // Memory takes everything.
            let _ = tickets.first().map(|ticket| Layout::Jsonl.error(ticket, &failure, &mut written));
            return ready.send(written).map_err(drop);
        }
        let expected = self.engine.expected_tokens(Manner::Batch, &body);
        let (admitted, turn) = self.handle.block_on(async {
            let admitted = self.shared.admission.wait(self.engine.stream_room(), expected).await;
            (admitted, self.shared.preparing.clone().acquire_owned().await)
        });
        let names: Vec<Id> = tickets.iter().map(Ticket::name).collect();
        let (sender, mut answers) = mpsc::unbounded_channel();
        self.engine.prepare(Manner::Batch, body, names, &self.call, admitted, &sender);
        drop((sender, turn));
        let (shared, count) = (self.shared.clone(), tickets.len());
        self.handle.spawn(async move {
            let mut replies: Vec<Option<Result<_, _>>> =
                std::iter::repeat_with(|| None).take(count).collect();
            while let Some(answered) = answers.recv().await {
                if let Some(slot) = replies.get_mut(answered.place) {
                    *slot = Some(answered.reply);
                }
            }
            let _ = ready.send(records_of(&shared, &tickets, replies));
        });
        Ok(())
    }

    fn write(&self, tickets: &[Ticket], replies: Vec<Option<Outcome>>) -> Vec<u8> {
        records_of(&self.shared, tickets, replies)
    }
}

type Outcome = Result<crate::request::reply::Reply, Arc<stream::Error>>;

/// The records of a line. Whoever has no reply was in the model when it failed.
fn records_of(shared: &Shared, tickets: &[Ticket], replies: Vec<Option<Outcome>>) -> Vec<u8> {
    let mut written = Vec::new();
    for (ticket, reply) in tickets.iter().zip(replies) {
        let done = match reply {
            Some(Ok(reply)) => Layout::Jsonl.reply(ticket, &reply, &mut written),
            Some(Err(error)) => {
                Layout::Jsonl.error(ticket, &failure(&error, shared.config.hint), &mut written)
            }
            None => {
                let problem = Problem::model_failed();
                let failure = Failure { code: problem.code, message: problem.message, hint: None };
                Layout::Jsonl.error(ticket, &failure, &mut written)
            }
        };
        // Memory takes everything.
        drop(done);
    }
    written
}
