//! Requests in JSON lines: as many at a time as there are, a record out for each.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use spanqa::document::Text;
use spanqa::reader;
use spanqa::request::lines::{self, Line};
use spanqa::request::parser::Ticket;
use spanqa::request::passages::{Passage, RankRequest};
use spanqa::request::record::{Failure, Layout};
use spanqa::request::reply::{DocumentId, Id};
use spanqa::request::{self, Rejected};
use spanqa::rerank::{self, Corpus, Ranker, Record, Source, Spelling, Task, Wanted};
use spanqa::stream::Queue;
use spanqa::text::BYTES_PER_TOKEN;

use crate::cli::batch::input::Inputs;
use crate::cli::{Outcome, hints};

/// Bytes of lines that may wait to be understood.
const WAITING: usize = 4 << 20;

/// What a request looks like.
const SHAPE: &str =
    "a request looks like {\"query\": \"...\", \"passages\": [\"...\", {\"id\": \"a\", \"text\": \"...\"}]}";

/// The lines of a file, if it can be read.
pub fn inputs(path: PathBuf, max_bytes: u64, quiet: bool) -> Result<Inputs> {
    let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
    let inputs = Inputs { paths: vec![path], format: Some(lines::Format::Jsonl), limit, columns: None };
    inputs.require_readable(quiet)?;
    Ok(inputs)
}

/// A request that was understood.
struct Request {
    id: Id,
    query: String,
    /// What the sender calls each passage.
    ids: Vec<Option<Id>>,
    corpus: Corpus,
}

/// A line on its way.
struct Asked {
    line: u64,
    /// What the sender calls it.
    id: Option<Id>,
    request: Result<Request, request::Error>,
}

/// Writes a record for each line, in order.
pub fn rank(inputs: Inputs, ranker: &Ranker, wanted: &Wanted, out: &mut dyn Write) -> Result<Outcome> {
    let queue = Arc::new(Queue::new(WAITING));
    // It may wait for input when everything else has ended, so nobody waits for it.
    std::thread::spawn({
        let queue = queue.clone();
        move || inputs.read(&queue)
    });
    let group = ranker.group_tokens().saturating_mul(BYTES_PER_TOKEN);
    let mut outcome = Outcome::Success;
    while let Some(first) = queue.pop() {
        let mut room = group.saturating_sub(first.weight());
        let mut gathered = vec![first];
        while let Some(next) = queue.pop_waiting(room) {
            room -= next.weight().min(room);
            gathered.push(next);
        }
        let asked: Vec<Asked> = gathered.into_iter().map(Asked::of).collect();
        if answer(&asked, ranker, wanted, out)? > 0 {
            outcome = Outcome::Failed;
        }
        out.flush()?;
    }
    Ok(outcome)
}

/// Writes the records of some lines. Returns how many could not be done.
fn answer(asked: &[Asked], ranker: &Ranker, wanted: &Wanted, out: &mut dyn Write) -> Result<usize> {
    let requests = asked.iter().filter_map(|asked| asked.request.as_ref().ok());
    let tasks: Vec<Task> =
        requests.map(|request| Task { query: &request.query, corpus: &request.corpus }).collect();
    let mut rankings = ranker.rank(&tasks, wanted, &mut |_| {})?.into_iter();
    let mut failed = 0;
    for asked in asked {
        let done = match &asked.request {
            Err(problem) => Err(not_understood(problem)),
            Ok(request) => match rankings.next() {
                Some(Ok(ranking)) => Ok((request, ranking)),
                Some(Err(error)) => Err(not_done(&error)),
                None => Err(not_done(&reader::Error::ModelStopped.into())),
            },
        };
        match done {
            Ok((request, ranking)) => {
                let spelling = Spelling::Ids(&request.ids);
                let about = (&request.id, request.query.as_str());
                let record = Record::new(about, ranker, &request.corpus, &ranking, spelling);
                serde_json::to_writer(&mut *out, &record)?;
                out.write_all(b"\n")?;
            }
            Err(failure) => {
                failed += 1;
                Layout::Jsonl.error(&asked.ticket(), &failure, out)?;
            }
        }
    }
    Ok(failed)
}

impl Asked {
    fn of(line: Line) -> Self {
        let read = line.content.map_err(Rejected::from).and_then(|bytes| RankRequest::from_json(&bytes));
        match read {
            Ok(RankRequest { id, query, passages }) => {
                let name = id.clone().unwrap_or_else(|| line.number.into());
                let source = |(index, passage): (usize, &mut Passage)| Source {
                    id: DocumentId::Index(index),
                    text: Text::from(std::mem::take(&mut passage.text)),
                };
                let mut passages = passages;
                let sources = passages.iter_mut().enumerate().map(source).collect();
                let ids = passages.into_iter().map(|passage| passage.id).collect();
                let request = Request { id: name, query, ids, corpus: Corpus::whole(sources) };
                Self { line: line.number, id, request: Ok(request) }
            }
            Err(Rejected { id, problem, .. }) => Self { line: line.number, id, request: Err(problem) },
        }
    }

    /// What an error record says of its request.
    fn ticket(&self) -> Ticket {
        Ticket {
            sequence: self.line,
            line: Some(self.line),
            place: None,
            id: self.id.clone(),
            index: None,
            rest: Arc::default(),
            position: 0,
            fingerprint: None,
        }
    }
}

/// What the sender of a request that was not understood is told.
fn not_understood(problem: &request::Error) -> Failure {
    use request::Error::{MissingField, NotAnObject, WrongType};
    let hint = match problem {
        NotAnObject { found: "a list" } => hints::request(problem),
        NotAnObject { .. } | MissingField { .. } | WrongType { .. } => Some(SHAPE.to_owned()),
        _ => hints::request(problem),
    };
    Failure { code: problem.code(), message: problem.to_string(), hint }
}

/// What the sender of a request that could not be done is told.
fn not_done(error: &rerank::Error) -> Failure {
    Failure { code: error.code(), message: error.to_string(), hint: hints::rerank(error) }
}
