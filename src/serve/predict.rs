//! Requests as clients of Hugging Face, SageMaker, Vertex and Azure send them, and what those get back.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::asking::{Replies, ask};
use super::body::{self, Content, Whole};
use super::engine::{Engine, Manner};
use super::native::{fields, json_body};
use super::problem::{Problem, json};
use super::routes::Model;
use super::server::Shared;
use crate::decode::Scoring;
use crate::request::hf::{Row, rows};
use crate::request::lines::Lines;
use crate::request::parser::Body;
use crate::request::reply::{Id, Reply};
use crate::request::{Error, Request, table};

/// The fields of a request, unread.
type Object = BTreeMap<String, Box<RawValue>>;

/// A request of the pipeline that was understood.
struct Asked {
    body: Body,
    form: Form,
}

/// Whose form the reply has.
#[derive(Clone, Copy)]
enum Form {
    /// Hugging Face's.
    Hf {
        /// Whether its questions came as a list.
        listed: bool,
        /// Whether the answers to one question are a list, be it of one.
        array: bool,
    },
    /// Vertex: a list of predictions for a list of instances.
    Vertex {
        /// The same.
        array: bool,
    },
}

/// `POST /`, `/predict`, `/pipeline/question-answering`: Hugging Face's inference toolkit, and Vertex, whose requests have `instances`.
pub async fn predict(
    State(shared): State<Arc<Shared>>,
    Model(engine): Model,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let query = request.uri().query().unwrap_or_default().to_owned();
    let Whole { bytes, room: _room } = json_body(&shared, request).await?;
    let asked = body::understood(&shared, &bytes, move |body, shared| {
        let mut object = object(body, shared)?;
        with_query(&mut object, &query).map_err(|_| Problem::model_failed())?;
        understand(object, shared)
    });
    answer(&shared, &engine, asked.await?, &HeaderMap::new()).await
}

/// `POST /invocations`: SageMaker, JSON or CSV.
pub async fn invocations(
    State(shared): State<Arc<Shared>>,
    Model(engine): Model,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    if body::content(&headers)? == Content::Csv {
        let Whole { bytes, room: _room } = body::read(&shared, &headers, request.into_body()).await?;
        let body = body::understood(&shared, &bytes, |body, shared| {
            of_csv(body, shared).map_err(|error| Problem::of_request(error, shared.config.hint))
        });
        let asked = Asked { body: body.await?, form: Form::Hf { listed: true, array: false } };
        return answer(&shared, &engine, asked, &headers).await;
    }
    let Whole { bytes, room: _room } = json_body(&shared, request).await?;
    let asked =
        body::understood(&shared, &bytes, |body, shared| understand(object(body, shared)?, shared)).await?;
    answer(&shared, &engine, asked, &headers).await
}

/// `POST /score`: Azure, with `inputs` as its older samples send it or `input_data` as models of MLflow do. The reply is a list of texts.
pub async fn score(
    State(shared): State<Arc<Shared>>,
    Model(engine): Model,
    request: HttpRequest,
) -> Result<Response, Problem> {
    let Whole { bytes, room: _room } = json_body(&shared, request).await?;
    let asked = body::understood(&shared, &bytes, |body, shared| {
        let mut object = object(body, shared)?;
        if let Some(data) = object.remove("input_data") {
            // MLflow's name for parameters.
            let parameters = object.remove("params").or_else(|| object.remove("parameters"));
            object = Object::from([("inputs".to_owned(), of_frame(data))]);
            object.extend(parameters.map(|parameters| ("parameters".to_owned(), parameters)));
        }
        understand(object, shared)
    });
    let found = pipeline(&shared, &engine, asked.await?.body).await?;
    let texts: Vec<&str> = found.all.iter().filter_map(|found| Some(found.rows().first()?.answer)).collect();
    Ok(found.respond(json(&texts)))
}

/// What the pipeline says to one question.
struct Found {
    reply: Reply,
    /// "No answer" is one of the answers.
    null_competes: bool,
    /// The most answers.
    top_k: usize,
}

impl Found {
    /// The answers; a text without anything to read gives the empty one, as there is nothing else to put in its place.
    fn rows(&self) -> Vec<Row<'_>> {
        let mut rows = rows(&self.reply, self.null_competes, self.top_k);
        if rows.is_empty() {
            rows.push(Row { score: 0.0, start: 0, end: 0, answer: "", question: None });
        }
        rows
    }
}

/// What it says to all questions of a request.
struct AllFound {
    all: Vec<Found>,
    replies: Replies,
}

impl AllFound {
    fn lists(&self) -> Vec<Vec<Row<'_>>> {
        self.all.iter().map(Found::rows).collect()
    }

    fn firsts(&self) -> Vec<Row<'_>> {
        self.all.iter().filter_map(|found| found.rows().into_iter().next()).collect()
    }

    fn respond(&self, mut response: Response) -> Response {
        response.extensions_mut().insert(self.replies.timings);
        response.extensions_mut().insert(self.replies.asked.clone());
        response
    }
}

impl Asked {
    /// A client that asks for several answers gets a list of them, however many there are.
    fn wants_lists(&self) -> bool {
        let (Form::Hf { array, .. } | Form::Vertex { array }) = self.form;
        array || self.body.parameters.top_k.is_some_and(|most| most > 1)
    }
}

/// Answers by the rules of the pipeline. Its contract has no place for a question that fails alone.
async fn pipeline(shared: &Arc<Shared>, engine: &Arc<Engine>, body: Body) -> Result<AllFound, Problem> {
    let names = (1..=body.items.len() as u64).map(Id::from).collect();
    let decoding = &engine.pipeline_options().decoding;
    let top_k = body.parameters.top_k.unwrap_or(decoding.top_k);
    let null_competes = match &decoding.scoring {
        Scoring::Hf(hf) => body.parameters.handle_impossible_answer.unwrap_or(hf.handle_impossible_answer),
        Scoring::Joint(_) | Scoring::Squad { .. } | Scoring::Haystack => false,
    };
    let mut replies = ask(shared, engine, Manner::Pipeline, body, names).await?;
    let mut all = Vec::with_capacity(replies.replies.len());
    for reply in std::mem::take(&mut replies.replies) {
        let reply = reply.map_err(|error| Problem::of(&error, shared.config.hint))?;
        all.push(Found { reply, null_competes, top_k });
    }
    Ok(AllFound { all, replies })
}

/// One object for one answer, a list where several were asked for: what the pipeline and the services before it did.
async fn answer(
    shared: &Arc<Shared>,
    engine: &Arc<Engine>,
    asked: Asked,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct Predictions<T> {
        predictions: T,
    }
    let (form, lists) = (asked.form, asked.wants_lists());
    let found = pipeline(shared, engine, asked.body).await?;
    let wants_csv =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"text/csv"));
    let response = match (form, lists) {
        (Form::Vertex { .. }, true) => json(&Predictions { predictions: found.lists() }),
        (Form::Vertex { .. }, false) => json(&Predictions { predictions: found.firsts() }),
        _ if wants_csv => csv(&found).map_err(|_| Problem::model_failed())?,
        (Form::Hf { listed: true, .. }, true) => json(&found.lists()),
        (Form::Hf { listed: true, .. }, false) => json(&found.firsts()),
        (Form::Hf { listed: false, .. }, true) => {
            json(&found.lists().into_iter().flatten().collect::<Vec<Row>>())
        }
        (Form::Hf { listed: false, .. }, false) => json(&found.firsts().first()),
    };
    Ok(found.respond(response))
}

/// Answers as a table.
fn csv(found: &AllFound) -> std::io::Result<Response> {
    let mut written = Vec::new();
    table::write_row(["score", "start", "end", "answer"].into_iter(), ',', &mut written)?;
    for row in found.lists().into_iter().flatten() {
        let cells =
            [row.score.to_string(), row.start.to_string(), row.end.to_string(), row.answer.to_owned()];
        table::write_row(cells.iter().map(String::as_str), ',', &mut written)?;
    }
    Ok(([(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"))], written)
        .into_response())
}

/// The fields of the body.
fn object(body: &[u8], shared: &Shared) -> Result<Object, Problem> {
    let wrong = |error: Error| Problem::of_request(error, shared.config.hint);
    let text =
        std::str::from_utf8(body).map_err(|error| wrong(Error::NotUtf8 { at: error.valid_up_to() }))?;
    // The way that every request takes says best what is wrong with it.
    serde_json::from_str(text).map_err(|error| match Request::from_json(body, &fields()) {
        Err(rejected) => wrong(rejected.problem),
        Ok(_) => wrong(Error::NotJson { reason: error.to_string() }),
    })
}

fn understand(mut object: Object, shared: &Shared) -> Result<Asked, Problem> {
    let wrong = |error: Error| Problem::of_request(error, shared.config.hint);
    let is_vertex = object.contains_key("instances") && !object.contains_key("inputs");
    let instances = object.remove("instances").filter(|_| is_vertex);
    object.extend(instances.map(|instances| ("inputs".to_owned(), instances)));
    let array = object.get("array").is_some_and(|array| array.get() == "true");
    let json =
        serde_json::to_vec(&object).map_err(|error| wrong(Error::NotJson { reason: error.to_string() }))?;
    let request = Request::from_json(&json, &fields()).map_err(|rejected| wrong(rejected.problem))?;
    let Request { documents, items, parameters, listed, .. } = request;
    if parameters.score.is_some() {
        // The reply has no place for what other rules say.
        let reason = "`score` is not for this path, whose rules are those of transformers' pipeline".into();
        return Err(wrong(Error::BadParameters { reason }));
    }
    let form = if is_vertex { Form::Vertex { array } } else { Form::Hf { listed, array } };
    Ok(Asked { body: Body { documents, items, parameters }, form })
}

/// Words behind the question mark of the address are parameters, as in Hugging Face's toolkit. Those of the body go before them.
fn with_query(object: &mut Object, query: &str) -> serde_json::Result<()> {
    let mut parameters = Object::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| !name.is_empty()) {
        let value = match serde_json::from_str::<Box<RawValue>>(&value) {
            Ok(value) => value,
            Err(_) => to_raw_value(&value)?,
        };
        parameters.insert(name.into_owned(), value);
    }
    if parameters.is_empty() {
        return Ok(());
    }
    match object.get("parameters").map(|own| serde_json::from_str::<Option<Object>>(own.get())) {
        // Those who read it say what is wrong with it.
        Some(Err(_)) => return Ok(()),
        Some(Ok(own)) => parameters.extend(own.unwrap_or_default()),
        None => {}
    }
    object.insert("parameters".into(), to_raw_value(&parameters)?);
    Ok(())
}

/// The rows of a data frame as MLflow spells it, with `columns` and `data`; anything else as it is.
fn of_frame(data: Box<RawValue>) -> Box<RawValue> {
    #[derive(serde::Deserialize)]
    struct Frame {
        columns: Vec<String>,
        data: Vec<Vec<Box<RawValue>>>,
    }
    let Ok(frame) = serde_json::from_str::<Frame>(data.get()) else { return data };
    let rows: Vec<Object> =
        frame.data.into_iter().map(|row| frame.columns.iter().cloned().zip(row).collect()).collect();
    to_raw_value(&rows).unwrap_or(data)
}

/// The rows of a table whose header names `question` and `context`.
fn of_csv(bytes: &[u8], shared: &Shared) -> Result<Body, Error> {
    let limit = shared.config.bounds.body;
    let mut lines = Lines::new(Cursor::new(bytes), limit);
    let mut next = || {
        // Bytes in memory cannot fail to be read.
        let Some(row) = lines.row(',').ok().flatten() else { return Ok(None) };
        let row = String::from_utf8(row?)
            .map_err(|error| Error::NotUtf8 { at: error.utf8_error().valid_up_to() })?;
        Ok::<_, Error>(Some(row))
    };
    let header = next()?.map(|row| table::cells(row.trim_start_matches('\u{feff}'), ',')).unwrap_or_default();
    let mut body = Body { documents: Vec::new(), items: Vec::new(), parameters: Default::default() };
    // One more than is allowed is enough to refuse it.
    while body.items.len() <= shared.config.bounds.questions
        && let Some(row) = next()?
    {
        if row.is_empty() {
            continue;
        }
        let request = Request::from_row(&header, &table::cells(&row, ','), &fields())
            .map_err(|rejected| rejected.problem)?;
        let before = body.documents.len();
        body.documents.extend(request.documents);
        body.items.extend(request.items.into_iter().map(|mut item| {
            item.documents = item.documents.start + before..item.documents.end + before;
            item
        }));
    }
    if body.items.is_empty() {
        return Err(Error::MissingField { field: "question".into(), null: false, present: header });
    }
    Ok(body)
}
