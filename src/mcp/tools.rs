//! What agents can call. Arguments that mean nothing are refused, and so is everything outside the roots.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::find::{find_quotes, search_passages};
use super::quote::{self, Match};
use super::roots::uri;
use super::shelf::{File, Shelf};
use crate::index::Index;
use crate::reader::Reader;
use crate::request::Options;
use crate::retrieve::Library;
use crate::text::offsets::{OffsetUnit, place};

/// A model, and how its replies are made.
pub struct Ready {
    /// The model.
    pub reader: Reader,
    /// As `ask` makes them.
    pub options: Options,
}

/// Opens the index of the roots as they are now; `None` if they have none.
pub type OpenIndex = dyn Fn() -> Result<Option<Library>, String> + Send + Sync;

/// A model that may still be on its way.
#[derive(Clone, Default)]
pub struct Loading(Arc<Pending>);

#[derive(Default)]
struct Pending {
    /// Absent until it is there, or will not be.
    state: Mutex<Option<State>>,
    changed: Condvar,
}

type State = Result<Arc<Ready>, String>;

impl Loading {
    /// Says that it is there, or why it will not be.
    pub fn done(&self, ready: Result<Ready, String>) {
        *self.lock() = Some(ready.map(Arc::new));
        self.0.changed.notify_all();
    }

    /// Waits for it.
    pub fn wait(&self) -> State {
        let mut state = self.lock();
        loop {
            match &*state {
                Some(ready) => return ready.clone(),
                None => state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines that one call gives at most.
const MOST_LINES: usize = 400;
/// Characters that one call gives at most.
pub const MOST_CHARACTERS: usize = 40_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadLines {
    path: String,
    from: Option<usize>,
    count: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct VerifyQuote {
    quote: String,
    path: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {}

/// A tool as it is listed.
pub struct Described {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub input: Value,
    pub output: Value,
}

/// All tools.
pub fn described() -> Vec<Described> {
    let object = |required: &[&str], properties: Value| json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str, least: usize| json!({"type": "integer", "minimum": least, "description": description});
    let span = json!({"type": "object", "properties": {
        "text": {"type": "string"}, "uri": {"type": "string"}, "line": {"type": "integer"}, "column": {"type": "integer"},
        "score": {"type": "number"}, "margin": {"type": "number"}, "sentence": {"type": "string"}}});
    vec![
        Described {
            name: "find_quotes",
            title: "Find quotations that answer a question",
            description: "Quotes the exact words of files that answer a question, with file, line, column and sentence, or says that the \
                          files do not answer it (`answered: false`, which is a result and not a failure). Ask for a fact that stands \
                          somewhere: who, what, when, where, how much. It does not sum up or reason.",
            input: object(
                &["question"],
                json!({
                    "question": text("A whole question in plain words, such as \"When was the lighthouse built?\""),
                    "paths": {"type": "array", "items": {"type": "string"}, "minItems": 1, "description": "Files to look in. Without them, all text files below the roots."},
                    "top_k": number("How many quotations to return, best first. 3 unless told otherwise, 20 at most.", 1),
                    "min_margin": {"type": "number", "description": "Answer only if the best quotation leads \"no answer\" by so many logits. Higher is stricter; 0 to 4 are usual."},
                }),
            ),
            output: json!({"type": "object", "required": ["answered", "answers"], "properties": {
                "answered": {"type": "boolean"}, "perhaps": {"type": "boolean"}, "answers": {"type": "array", "items": span.clone()},
                "candidates": {"type": "array", "items": span, "description": "Without an answer: what came nearest."},
                "no_answer_score": {"type": "number"}, "files": {"type": "integer", "description": "How many files were looked through."},
                "more_files": {"type": "boolean", "description": "There are more than are looked through: name paths."}}}),
        },
        Described {
            name: "search_passages",
            title: "Search for passages",
            description: "The passages of all files that share most with a query, best first, each with its text, file and line. For getting an \
                          overview, or for questions that no single quotation answers. Words count, not their order.",
            input: object(
                &["query"],
                json!({
                    "query": text("Words or a question."),
                    "k": number("How many passages to return. 10 unless told otherwise, 50 at most.", 1),
                }),
            ),
            output: json!({"type": "object", "required": ["passages", "files"], "properties": {
                "passages": {"type": "array", "items": {"type": "object", "properties": {
                    "text": {"type": "string"}, "document": {"type": "string"}, "uri": {"type": "string"}, "line": {"type": "integer"},
                    "column": {"type": "integer"}, "score": {"type": "number"}}}},
                "files": {"type": "integer", "description": "How many files were looked through."}, "more_files": {"type": "boolean"},
                "cut": {"type": "boolean", "description": "Not all passages fit in: ask for fewer."}}}),
        },
        Described {
            name: "read_lines",
            title: "Read lines of a file",
            description: "The lines of a file around a quotation, each with its number. At most 400 lines or 40,000 characters come at once; \
                          `next` is the line to go on from.",
            input: object(
                &["path"],
                json!({
                    "path": text("A file below the roots, as find_quotes names it."),
                    "from": number("The first line, from 1.", 1),
                    "count": number("How many lines. 40 unless told otherwise.", 1),
                }),
            ),
            output: json!({"type": "object", "required": ["uri", "lines", "total"], "properties": {
                "uri": {"type": "string"}, "lines": {"type": "array", "items": {"type": "object", "properties": {"line": {"type": "integer"}, "text": {"type": "string"}}}},
                "total": {"type": "integer"}, "next": {"type": ["integer", "null"]}}}),
        },
        Described {
            name: "verify_quote",
            title: "Check that a quotation stands in a file",
            description: "Says whether words stand in a file exactly as quoted, but for white space, case and spelling of marks (`normalised`), \
                          nearly (`near`, with the difference), or not at all (`absent`). Check every quotation before you give it to anybody.",
            input: object(
                &["quote"],
                json!({
                    "quote": text("The words as you would quote them."),
                    "path": text("The file to look in. Without it, all text files below the roots."),
                }),
            ),
            output: json!({"type": "object", "required": ["verdict"], "properties": {
                "verdict": {"enum": ["exact", "normalised", "near", "absent"]}, "uri": {"type": "string"}, "line": {"type": "integer"},
                "column": {"type": "integer"}, "text": {"type": "string", "description": "What stands there."}, "likeness": {"type": "number"},
                "differences": {"type": "array", "items": {"type": "object"}}}}),
        },
        Described {
            name: "status",
            title: "What can be read, and by which model",
            description: "The folders that can be read, how many files are in them, whether they have an index, and which model answers.",
            input: object(&[], json!({})),
            output: json!({"type": "object", "properties": {"version": {"type": "string"}, "roots": {"type": "array", "items": {"type": "string"}},
                "files": {"type": "integer"}, "model": {"type": "object"}, "index": {"type": ["object", "null"]}}}),
        },
    ]
}

/// Does what was called. An error is for whoever called to read.
pub fn call(
    shelf: &Shelf,
    index: &OpenIndex,
    model: &Loading,
    name: &str,
    arguments: Map<String, Value>,
) -> Option<Result<Value, String>> {
    Some(match name {
        "find_quotes" => arguments_of(arguments).and_then(|asked| find_quotes(shelf, index, model, asked)),
        "search_passages" => arguments_of(arguments).and_then(|asked| search_passages(shelf, index, asked)),
        "read_lines" => arguments_of(arguments).and_then(|asked| read_lines(shelf, asked)),
        "verify_quote" => arguments_of(arguments).and_then(|asked| verify_quote(shelf, asked)),
        "status" => arguments_of(arguments).map(|Status {}| status(shelf, index, model)),
        _ => return None,
    })
}

fn arguments_of<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| format!("the arguments cannot be used: {error}"))
}

fn read_lines(shelf: &Shelf, asked: ReadLines) -> Result<Value, String> {
    let from = asked.from.unwrap_or(1).max(1);
    let count = asked.count.unwrap_or(40).clamp(1, MOST_LINES);
    let file = shelf.read(&shelf.roots().resolve(&asked.path)?)?;
    let total = file.text.text.lines().count();
    let (mut lines, mut characters) = (Vec::new(), 0);
    let mut next = None;
    for (index, line) in file.text.text.lines().enumerate().skip(from - 1) {
        let room = MOST_CHARACTERS.saturating_sub(characters);
        if lines.len() == count || (room == 0 && !lines.is_empty()) {
            next = Some(index + 1);
            break;
        }
        let shown: String = line.chars().take(room).collect();
        characters += shown.chars().count() + 1;
        lines.push(json!({"line": index + 1, "text": shown}));
    }
    Ok(json!({"uri": uri(&file.path), "lines": lines, "total": total, "next": next}))
}

fn verify_quote(shelf: &Shelf, asked: VerifyQuote) -> Result<Value, String> {
    if asked.quote.trim().is_empty() {
        return Err("the quotation is empty".into());
    }
    let path = asked.path.map(|path| vec![path]);
    let chosen = shelf.choose(path.as_deref())?;
    if let ([], [reason, ..]) = (chosen.files.as_slice(), chosen.unreadable.as_slice()) {
        return Err(reason.clone());
    }
    let mut best: Option<(u32, f64, &Arc<File>, Match)> = None;
    for file in &chosen.files {
        let Some(found) = quote::find(&asked.quote, &file.text.text) else { continue };
        let (rank, likeness) = match &found {
            Match::Exact(_) => (2, 1.0),
            Match::Normalised(_) => (1, 1.0),
            Match::Near { likeness, .. } => (0, *likeness),
        };
        if best.as_ref().is_none_or(|(known, like, ..)| (rank, likeness) > (*known, *like)) {
            best = Some((rank, likeness, file, found));
        }
        if rank == 2 {
            break;
        }
    }
    let mut verdict = json!({"verdict": "absent", "files": chosen.looked_through, "more_files": chosen.more});
    let Some((_, likeness, file, found)) = best else { return Ok(verdict) };
    let (name, bytes) = match found {
        Match::Exact(bytes) => ("exact", bytes),
        Match::Normalised(bytes) => ("normalised", bytes),
        Match::Near { bytes, .. } => ("near", bytes),
    };
    let at = place(&file.text.text, &bytes, OffsetUnit::Char);
    let text = file.text.text.get(bytes).unwrap_or_default();
    verdict["verdict"] = name.into();
    verdict["uri"] = uri(&file.path).into();
    verdict["document"] = shelf.roots().short(&file.path).display().to_string().into();
    verdict["line"] = at.line.into();
    verdict["column"] = at.column.into();
    verdict["text"] = text.into();
    verdict["likeness"] = likeness.into();
    if name != "exact" {
        verdict["differences"] = json!(quote::differences(&asked.quote, text));
    }
    Ok(verdict)
}

fn status(shelf: &Shelf, index: &OpenIndex, model: &Loading) -> Value {
    let state = model.lock().clone();
    let model = match &state {
        None => json!({"state": "loading"}),
        Some(Err(reason)) => json!({"state": "failed", "reason": reason}),
        Some(Ok(ready)) => json!({
            "state": "ready",
            "name": ready.reader.name(),
            "digest": ready.reader.identity().map(|identity| identity.digest.as_str()),
            "device": ready.reader.device().to_string(),
        }),
    };
    let index = match index() {
        Ok(None) => Value::Null,
        Ok(Some(library)) => json!({
            "files": library.indexes().iter().map(Index::texts).sum::<usize>(),
            "passages": library.passages(),
        }),
        Err(reason) => json!({"reason": reason}),
    };
    let found = shelf.roots().files();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "roots": shelf.roots().folders().iter().map(|root| uri(root)).collect::<Vec<_>>(),
        "files": found.files.len(),
        "more_files": found.more,
        "model": model,
        "index": index,
    })
}
