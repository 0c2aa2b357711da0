//! What agents can call. Arguments that mean nothing are refused, and so is everything outside the roots.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::files::Files;
use super::find::{find_quotes, search_passages};
use super::lines::read_lines;
use super::model::Loading;
use super::patience::Patience;
use super::roots::uri;
use super::verify::verify_quote;
use crate::index::Index;
use crate::retrieve::Library;

/// Opens the index of the roots as they are now; `None` if they have none.
pub type OpenIndex = dyn Fn() -> Result<Option<Library>, String> + Send + Sync;

/// What the tools work with.
pub struct Tools {
    pub files: Files,
    pub index: Box<OpenIndex>,
    pub model: Loading,
}

/// Characters of files that one call gives at most.
pub const MOST_CHARACTERS: usize = 40_000;

/// So many characters of a text, or all there are.
pub fn beginning(text: &str, most: usize) -> &str {
    text.char_indices().nth(most).map_or(text, |(end, _)| &text[..end])
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Status {}

/// What agents are told about a tool: the protocol asks for each of these.
pub struct Described {
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub input: Value,
    pub output: Value,
}

/// Agents choose by these words, and each tool costs them attention: five are enough.
pub fn described() -> Vec<Described> {
    let object = |required: &[&str], properties: Value| json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties});
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str, least: usize| json!({"type": "integer", "minimum": least, "description": description});
    let span = json!({"type": "object", "properties": {
        "text": {"type": "string"}, "uri": {"type": "string"}, "line": {"type": "integer"}, "column": {"type": "integer"},
        "score": {"type": "number"}, "margin": {"type": "number"}, "sentence": {"type": "string"},
        "cut": {"type": "boolean", "description": "Text or sentence are longer than is shown: read_lines gives the rest."}}});
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
                "answered": {"type": "boolean"}, "perhaps": {"type": "boolean"},
                "confidence": {"type": "number", "description": "How likely this is to be right, where that is known of the model."},
                "answers": {"type": "array", "items": span.clone()},
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
                          `next` and `next_column` are the `from` and the `column` to go on with.",
            input: object(
                &["path"],
                json!({
                    "path": text("A file below the roots, as find_quotes names it."),
                    "from": number("The first line, from 1.", 1),
                    "column": number("The first character of that line, from 1: for lines that did not fit in.", 1),
                    "count": number("How many lines. 40 unless told otherwise.", 1),
                }),
            ),
            output: json!({"type": "object", "required": ["uri", "lines", "total"], "properties": {
                "uri": {"type": "string"}, "lines": {"type": "array", "items": {"type": "object", "properties": {"line": {"type": "integer"}, "text": {"type": "string"},
                    "column": {"type": "integer"}, "cut": {"type": "boolean", "description": "The line goes on."}}}},
                "total": {"type": "integer"}, "next": {"type": ["integer", "null"]}, "next_column": {"type": ["integer", "null"]}}}),
        },
        Described {
            name: "verify_quote",
            title: "Check that a quotation stands in a file",
            description: "Says whether words stand in a file exactly as quoted, but for white space, case and how Unicode writes characters (`normalised`), \
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
                "differences": {"type": "array", "items": {"type": "object"}}, "files": {"type": "integer", "description": "How many files were looked through."},
                "more_files": {"type": "boolean", "description": "There are more than were looked through: name the path."},
                "cut": {"type": "boolean", "description": "Text or differences are too long to be shown whole."}}}),
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

impl Tools {
    /// Does what was called, unless there is no such tool. An error is for whoever called to read.
    pub fn call(
        &self,
        name: &str,
        arguments: Map<String, Value>,
        patience: &Patience,
    ) -> Option<Result<Value, String>> {
        Some(match name {
            "find_quotes" => arguments_of(arguments).and_then(|asked| find_quotes(self, patience, asked)),
            "search_passages" => {
                arguments_of(arguments).and_then(|asked| search_passages(self, patience, asked))
            }
            "read_lines" => arguments_of(arguments).and_then(|asked| read_lines(&self.files, asked)),
            "verify_quote" => {
                arguments_of(arguments).and_then(|asked| verify_quote(&self.files, patience, asked))
            }
            "status" => arguments_of(arguments).map(|Status {}| self.status()),
            _ => return None,
        })
    }

    fn status(&self) -> Value {
        let model = match &self.model.now() {
            None => json!({"state": "loading"}),
            Some(Err(reason)) => json!({"state": "failed", "reason": reason}),
            Some(Ok(ready)) => json!({
                "state": "ready",
                "name": ready.reader.name(),
                "digest": ready.reader.identity().map(|identity| identity.digest.as_str()),
                "device": ready.reader.device().to_string(),
            }),
        };
        let index = match (self.index)() {
            Ok(None) => Value::Null,
            Ok(Some(library)) => json!({
                "files": library.indexes().iter().map(Index::texts).sum::<usize>(),
                "passages": library.passages(),
            }),
            Err(reason) => json!({"reason": reason}),
        };
        let roots = self.files.roots();
        let found = roots.files();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "roots": roots.folders().iter().map(|root| uri(root)).collect::<Vec<_>>(),
            "files": found.files.len(),
            "more_files": found.more,
            "model": model,
            "index": index,
        })
    }
}

fn arguments_of<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| format!("the arguments cannot be used: {error}"))
}
