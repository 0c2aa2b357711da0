//! Requests as other programs write them: one JSON object, or one row of a table, into questions and the texts they are about.
//!
//! A request takes one of these shapes; names of fields can be mapped with [`Fields`].
//!
//! ```text
//! {"id"?, "question", "context"}                one text; rows of SQuAD and Hugging Face data sets look like this, too
//! {"id"?, "question", "contexts": [..]}         several texts that are read as one
//! {"id"?, "question", "file"} or "files": [..]  the same from files
//! {"id"?, "question", "search": DIR}            the same from what is found below a folder, or in a corpus
//! {"id"?, "questions": [..], ...}               several questions about the same texts
//! {"id"?, "inputs": {"question", "context"}}    as transformers' pipeline and its servers take it, lists included
//! ```

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::{RawValue, to_raw_value};

use super::error::{Error, Result};
use super::parameters::Parameters;
use super::reply::Id;

/// What the fields of a request are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    /// The question.
    pub question: String,
    /// The text.
    pub context: String,
    /// The caller's name for the request.
    pub id: String,
    /// Whether a request may name files to read and folders to search.
    pub files: bool,
    /// Whether `parameters` mean something beside a question, too, and not only beside `inputs`.
    pub parameters: bool,
    /// Whether a request that names no text is about what is searched anyway.
    pub search: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            question: "question".into(),
            context: "context".into(),
            id: "id".into(),
            files: true,
            parameters: false,
            search: false,
        }
    }
}

/// A request that can be worked on.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The caller's name for it.
    pub id: Option<Id>,
    /// The documents.
    pub documents: Vec<DocumentRef>,
    /// The questions, each with the documents it is about. There is at least one.
    pub items: Vec<Item>,
    /// Whether the questions came as a list, be it of one.
    pub listed: bool,
    /// How its replies are to be made.
    pub parameters: Parameters,
    /// Fields that mean nothing here, in their order.
    pub rest: Vec<Extra>,
}

/// A field that is passed through: its name and its value as it was written.
pub type Extra = (String, Box<RawValue>);

/// One question of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The question.
    pub question: String,
    /// Which of the request's documents it is about.
    pub documents: Range<usize>,
}

/// A document, or where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DocumentRef {
    /// Its text.
    Text(String),
    /// A file that holds it.
    File(PathBuf),
    /// What is found below a folder or in a corpus, or where the caller searches anyway.
    Search(Option<PathBuf>),
}

/// A request that cannot be worked on, with what could be read of it.
#[derive(Debug)]
pub struct Rejected {
    /// The caller's name for it.
    pub id: Option<Id>,
    /// Fields that mean nothing here.
    pub rest: Vec<Extra>,
    /// What is wrong with it.
    pub problem: Error,
}

impl Request {
    /// Reads a JSON object. Halves of surrogate pairs, which JSON can spell and text cannot hold, become U+FFFD; that keeps
    /// offsets in characters and UTF-16 units equal to those of a sender who can hold them.
    pub fn from_json(bytes: &[u8], fields: &Fields) -> Result<Self, Rejected> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Rejected::from(Error::NotUtf8 { at: error.valid_up_to() }))?;
        let text = whole_characters(text);
        let object: Object = serde_json::from_str(&text).map_err(|error| not_an_object(&text, &error))?;
        Reading::new(object, fields).request(fields)
    }

    /// Reads a row of a table. Cells are texts; an empty one counts as absent, except for the question and the context.
    pub fn from_row(header: &[String], cells: &[String], fields: &Fields) -> Result<Self, Rejected> {
        if header.len() != cells.len() {
            let id = header.iter().position(|name| *name == fields.id).and_then(|at| cells.get(at));
            let id = id.filter(|id| !id.is_empty()).map(|id| Id::from(id.as_str()));
            let problem = Error::WrongWidth { expected: header.len(), found: cells.len() };
            return Err(Rejected { id, rest: Vec::new(), problem });
        }
        let filled =
            |name: &str| header.iter().zip(cells).any(|(known, cell)| known == name && !cell.is_empty());
        let by_file = fields.files && filled("file");
        let taken = header.iter().zip(cells).filter(|(name, cell)| {
            let special =
                [&fields.id, "file"].contains(&name.as_str()) || (by_file && **name == fields.context);
            !(cell.is_empty() && special)
        });
        let object = taken.map(|(name, cell)| (Cow::Borrowed(name.as_str()), Value::Text(cell))).collect();
        Reading::new(Object(object), fields).request(fields)
    }
}

impl From<Error> for Rejected {
    fn from(problem: Error) -> Self {
        Self { id: None, rest: Vec::new(), problem }
    }
}

pub(super) fn not_an_object(text: &str, error: &serde_json::Error) -> Rejected {
    let problem = match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if !raw.get().starts_with('{') => Error::NotAnObject { found: Value::Json(raw).kind() },
        // A request is one line, and not the first one of its input.
        _ => Error::NotJson { reason: error.to_string().replace(" at line 1 column ", " at column ") },
    };
    problem.into()
}

/// The fields of an object in their order, values unread.
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

/// A value as its sender wrote it.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Json(&'a RawValue),
    Text(&'a str),
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields: Vec<(Cow<str>, Value)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    fields.push((name.into(), Value::Json(value)));
                }
                // Of fields with the same name the last one counts, as everywhere.
                let mut seen = HashSet::new();
                let last: Vec<bool> =
                    fields.iter().rev().map(|(name, _)| seen.insert(name.clone())).collect();
                let mut last = last.into_iter().rev();
                fields.retain(|_| last.next().unwrap_or(true));
                Ok(Object(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

impl<'a> Object<'a> {
    /// Takes a field out. `null` counts as absent.
    pub(super) fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        let (_, value) = self.0.remove(at);
        (value.kind() != "null").then_some(value)
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value.kind() != "null")
    }

    /// Whether a field is there and holds nothing.
    pub(super) fn is_null(&self, name: &str) -> bool {
        self.0.iter().any(|(known, value)| known == name && value.kind() == "null")
    }

    /// Names of its first fields, for messages.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.chars().take(40).collect()).take(12).collect()
    }
}

impl Value<'_> {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "a text",
            Value::Json(raw) => match raw.get().as_bytes().first() {
                Some(b'"') => "a text",
                Some(b'{') => "an object",
                Some(b'[') => "a list",
                Some(b't' | b'f') => "a truth value",
                Some(b'n') => "null",
                _ => "a number",
            },
        }
    }

    /// The id that it stands for, if it can be one.
    pub(super) fn id(&self) -> Option<Id> {
        match self {
            Value::Text(text) => Some((*text).into()),
            Value::Json(raw) => Id::from_json(raw),
        }
    }

    pub(super) fn wrong(&self, field: &str, expected: &'static str) -> Error {
        Error::WrongType { field: field.into(), expected, found: self.kind() }
    }

    pub(super) fn text(&self, field: &str) -> Result<String, Error> {
        match self {
            Value::Text(text) => Ok((*text).to_owned()),
            Value::Json(raw) => serde_json::from_str(raw.get()).map_err(|_| self.wrong(field, "a text")),
        }
    }

    pub(super) fn texts(&self, field: &str) -> Result<Vec<String>, Error> {
        let wrong = || self.wrong(field, "a list of texts");
        match self {
            Value::Text(_) => Err(wrong()),
            Value::Json(raw) => {
                let parts: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
                if parts.is_empty() {
                    return Err(Error::WrongType {
                        field: field.into(),
                        expected: "a list of texts",
                        found: "an empty list",
                    });
                }
                parts.into_iter().map(|part| Value::Json(part).text(&format!("{field}[]"))).collect()
            }
        }
    }

    /// A text or a list of them, and whether it was a list.
    fn one_or_more(&self, field: &str) -> Result<(Vec<String>, bool), Error> {
        match self.kind() {
            "a list" => Ok((self.texts(field)?, true)),
            _ => Ok((vec![self.text(field)?], false)),
        }
    }

    fn raw(&self) -> Option<Box<RawValue>> {
        match self {
            Value::Text(text) => to_raw_value(text).ok(),
            Value::Json(raw) => Some((*raw).to_owned()),
        }
    }
}

/// A request on its way from fields to its parts.
struct Reading<'a> {
    object: Object<'a>,
    /// Names of its first fields.
    present: Vec<String>,
    /// Names of those that hold nothing.
    nulls: Vec<String>,
    request: Request,
}

impl<'a> Reading<'a> {
    fn new(object: Object<'a>, fields: &Fields) -> Self {
        let present = object.names();
        let nulls = object.0.iter().filter(|(_, value)| value.kind() == "null");
        let nulls = nulls.map(|(name, _)| name.clone().into_owned()).collect();
        let mut reading = Self { object, present, nulls, request: Request::default() };
        // Before anything can go wrong, so that an error can say whose it is.
        if let Some(id) = reading.object.take(&fields.id) {
            reading.request.id = id.id();
            if reading.request.id.is_none() {
                reading.object.0.push((fields.id.clone().into(), id));
            }
        }
        reading
    }

    fn request(mut self, fields: &Fields) -> Result<Request, Rejected> {
        let read = self.read(fields);
        let Self { object, mut request, .. } = self;
        let rest = object.0.into_iter().filter_map(|(name, value)| Some((name.into_owned(), value.raw()?)));
        let rest: Vec<Extra> = rest.collect();
        match read {
            Ok(()) => {
                request.rest = rest;
                Ok(request)
            }
            Err(problem) => Err(Rejected { id: request.id, rest, problem }),
        }
    }

    fn read(&mut self, fields: &Fields) -> Result<()> {
        if self.request.id.is_none()
            && let Some(id) = self.object.take(&fields.id)
        {
            return Err(id.wrong(&fields.id, "a text or a number"));
        }
        let asks = self.object.has(&fields.question) || self.object.has("questions");
        if !asks && let Some(inputs) = self.object.take("inputs") {
            self.parameters()?;
            return self.inputs(inputs);
        }
        let (texts, listed) = match (self.object.take(&fields.question), self.object.take("questions")) {
            (Some(_), Some(_)) => {
                let first = fields.question.clone();
                return Err(Error::Conflict { first, second: "questions".into() });
            }
            (Some(question), None) => (vec![question.text(&fields.question)?], false),
            (None, Some(questions)) => (questions.texts("questions")?, true),
            (None, None) => return Err(self.missing(&fields.question)),
        };
        self.documents(fields)?;
        if fields.parameters {
            self.parameters()?;
        }
        let documents = 0..self.request.documents.len();
        let items = texts.into_iter().map(|question| Item { question, documents: documents.clone() });
        self.request.items = items.collect();
        self.request.listed = listed;
        Ok(())
    }

    fn parameters(&mut self) -> Result<()> {
        if let Some(parameters) = self.object.take("parameters") {
            self.request.parameters = match parameters {
                Value::Json(raw) if parameters.kind() == "an object" => Parameters::from_json(raw)?,
                other => return Err(other.wrong("parameters", "an object")),
            };
        }
        Ok(())
    }

    /// A text that is given outright wins over a file: then `file` says where it was taken from.
    fn documents(&mut self, fields: &Fields) -> Result<()> {
        let documents = match (self.object.take(&fields.context), self.object.take("contexts")) {
            (Some(_), Some(_)) => {
                let first = fields.context.clone();
                return Err(Error::Conflict { first, second: "contexts".into() });
            }
            (Some(context), None) => vec![DocumentRef::Text(context.text(&fields.context)?)],
            (None, Some(contexts)) => {
                contexts.texts("contexts")?.into_iter().map(DocumentRef::Text).collect()
            }
            (None, None) if fields.files => match (self.object.take("file"), self.object.take("files")) {
                (Some(_), Some(_)) => {
                    return Err(Error::Conflict { first: "file".into(), second: "files".into() });
                }
                (Some(file), None) => vec![DocumentRef::File(file.text("file")?.into())],
                (None, Some(files)) => {
                    files.texts("files")?.into_iter().map(|file| DocumentRef::File(file.into())).collect()
                }
                (None, None) => match self.object.take("search") {
                    Some(folder) => vec![DocumentRef::Search(Some(folder.text("search")?.into()))],
                    None if fields.search => vec![DocumentRef::Search(None)],
                    None => return Err(self.missing(&fields.context)),
                },
            },
            (None, None) if ["file", "files", "search"].iter().any(|name| self.object.has(name)) => {
                return Err(Error::FilesForbidden);
            }
            (None, None) if fields.search => vec![DocumentRef::Search(None)],
            (None, None) => return Err(self.missing(&fields.context)),
        };
        self.request.documents = documents;
        Ok(())
    }

    /// What transformers' pipeline took: an object, or a list of them; in an object a question and a context, or lists of both.
    fn inputs(&mut self, inputs: Value) -> Result<()> {
        let expected = "an object with question and context";
        let Value::Json(raw) = inputs else { return Err(inputs.wrong("inputs", expected)) };
        let wrong = |_| inputs.wrong("inputs", expected);
        self.request.listed = inputs.kind() == "a list";
        let objects: Vec<Object> = match self.request.listed {
            true => serde_json::from_str(raw.get()).map_err(wrong)?,
            false => vec![serde_json::from_str(raw.get()).map_err(wrong)?],
        };
        for mut object in objects {
            let mut part = |name: &str| {
                let field = format!("inputs.{name}");
                let null = object.0.iter().any(|(known, _)| known == name);
                match object.take(name) {
                    Some(value) => value.one_or_more(&field),
                    None => Err(Error::MissingField { field, null, present: Vec::new() }),
                }
            };
            let (questions, several) = part("question")?;
            let (contexts, _) = part("context")?;
            self.request.listed |= several;
            if contexts.len() != 1 && contexts.len() != questions.len() {
                let (questions, contexts) = (questions.len(), contexts.len());
                return Err(Error::UnequalLists { questions, contexts });
            }
            let first = self.request.documents.len();
            let last = contexts.len() - 1;
            for (index, question) in questions.into_iter().enumerate() {
                let document = first + index.min(last);
                self.request.items.push(Item { question, documents: document..document + 1 });
            }
            self.request.documents.extend(contexts.into_iter().map(DocumentRef::Text));
        }
        if self.request.items.is_empty() {
            return Err(inputs.wrong("inputs", expected));
        }
        Ok(())
    }

    fn missing(&self, field: &str) -> Error {
        let null = self.nulls.iter().any(|name| name == field);
        Error::MissingField { field: field.into(), null, present: self.present.clone() }
    }
}

/// Replaces escapes of half a surrogate pair.
pub(super) fn whole_characters(text: &str) -> Cow<'_, str> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return text.into();
    }
    let unit = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        let hexadecimal = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        hexadecimal.then(|| u16::from_str_radix(digits, 16).ok()).flatten()
    };
    let mut whole = String::with_capacity(text.len());
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match unit(at) {
            Some(0xd800..=0xdbff) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => at += 12,
            Some(0xd800..=0xdfff) => {
                whole.push_str(&text[from..at]);
                whole.push_str("\\ufffd");
                at += 6;
                from = at;
            }
            // A backslash and what it escapes, which may be another backslash.
            _ => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    whole.push_str(&text[from..]);
    whole.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<Request, Rejected> {
        Request::from_json(json.as_bytes(), &Fields::default())
    }

    fn asked(request: &Request) -> Vec<(&str, Range<usize>)> {
        request.items.iter().map(|item| (item.question.as_str(), item.documents.clone())).collect()
    }

    fn texts(texts: &[&str]) -> Vec<DocumentRef> {
        texts.iter().map(|&text| DocumentRef::Text(text.into())).collect()
    }

    #[test]
    fn every_shape_is_understood() {
        let plain =
            read(r#"{"id": 7.50, "question": "q", "context": "c", "answers": {"text": []}, "z": 1e2}"#)
                .unwrap();
        assert_eq!(plain.id.unwrap().json().get(), "7.50");
        assert_eq!(plain.documents, texts(&["c"]));
        let rest: Vec<_> = plain.rest.iter().map(|(name, value)| (name.as_str(), value.get())).collect();
        assert_eq!(rest, [("answers", r#"{"text": []}"#), ("z", "1e2")]);

        let several = read(r#"{"questions": ["a", "b"], "contexts": ["c", "d"]}"#).unwrap();
        assert_eq!(asked(&several), [("a", 0..2), ("b", 0..2)]);
        assert!(several.listed && several.id.is_none());

        let files = read(r#"{"question": "q", "files": ["a.txt", "b.txt"], "context": null}"#).unwrap();
        assert_eq!(files.documents, [DocumentRef::File("a.txt".into()), DocumentRef::File("b.txt".into())]);
        let named = read(r#"{"question": "q", "context": "c", "file": "origin.txt"}"#).unwrap();
        assert_eq!(named.documents, texts(&["c"]));
        assert_eq!(named.rest[0].0, "file");
        let no_files = Fields { files: false, ..Fields::default() };
        let rejected = Request::from_json(br#"{"question": "q", "file": "secret"}"#, &no_files).unwrap_err();
        assert_eq!(rejected.problem.code(), "files_forbidden");

        let inputs =
            read(r#"{"inputs": {"question": "q", "context": "c"}, "parameters": {"top_k": 2}}"#).unwrap();
        assert_eq!(
            (asked(&inputs), inputs.listed, inputs.parameters.top_k),
            (vec![("q", 0..1)], false, Some(2))
        );
        let pairs = read(r#"{"inputs": {"question": ["p", "q"], "context": ["c", "d"]}}"#).unwrap();
        assert_eq!(asked(&pairs), [("p", 0..1), ("q", 1..2)]);
        let shared = read(r#"{"inputs": {"question": ["p", "q"], "context": "c"}}"#).unwrap();
        assert_eq!(asked(&shared), [("p", 0..1), ("q", 0..1)]);
        let listed =
            read(r#"{"inputs": [{"question": "p", "context": "c"}, {"question": "q", "context": "d"}]}"#)
                .unwrap();
        assert_eq!((asked(&listed), listed.listed), (vec![("p", 0..1), ("q", 1..2)], true));
    }

    #[test]
    fn mistakes_are_named_and_keep_the_id() {
        for (json, code) in [
            ("", "not_json"),
            ("{", "not_json"),
            ("{'a': 1}", "not_json"),
            (r#"{"question": "q", "context": "c"} x"#, "not_json"),
            ("[]", "not_an_object"),
            ("7", "not_an_object"),
            (r#"{"context": "c"}"#, "missing_field"),
            (r#"{"question": "q"}"#, "missing_field"),
            (r#"{"question": null, "context": "c"}"#, "missing_field"),
            (r#"{"question": 7, "context": "c"}"#, "wrong_type"),
            (r#"{"question": ["q"], "context": "c"}"#, "wrong_type"),
            (r#"{"question": "q", "context": ["c"]}"#, "wrong_type"),
            (r#"{"questions": [], "context": "c"}"#, "wrong_type"),
            (r#"{"questions": ["q", 7], "context": "c"}"#, "wrong_type"),
            (r#"{"question": "q", "contexts": []}"#, "wrong_type"),
            (r#"{"id": [1], "question": "q", "context": "c"}"#, "wrong_type"),
            (r#"{"question": "q", "questions": ["q"], "context": "c"}"#, "conflicting_fields"),
            (r#"{"question": "q", "context": "c", "contexts": ["c"]}"#, "conflicting_fields"),
            (r#"{"inputs": {"question": ["p", "q"], "context": ["a", "b", "c"]}}"#, "unequal_lists"),
            (r#"{"inputs": {"question": "p"}}"#, "missing_field"),
            (r#"{"inputs": []}"#, "wrong_type"),
            (r#"{"inputs": "p"}"#, "wrong_type"),
        ] {
            let rejected = read(json).expect_err(json);
            assert_eq!(rejected.problem.code(), code, "{json}: {}", rejected.problem);
        }
        for (json, message) in [
            (r#"{"question": null, "context": "c"}"#, "the field `question` is null"),
            (r#"{"question": "q", "context": null}"#, "the field `context` is null"),
            (r#"{"question": "q", "a": null}"#, "the field `context` is missing"),
            (r#"{"inputs": {"question": "q", "context": null}}"#, "the field `inputs.context` is null"),
        ] {
            assert_eq!(read(json).unwrap_err().problem.to_string(), message, "{json}");
        }
        let rejected = read(r#"{"question": 1, "context": "c", "id": "x"}"#).unwrap_err();
        assert_eq!(rejected.id, Some("x".into()));
        let rejected = Request::from_json(b"{\"question\": \"\xff\"}", &Fields::default()).unwrap_err();
        assert_eq!(rejected.problem, Error::NotUtf8 { at: 14 });
    }

    #[test]
    fn rows_are_requests() {
        let header: Vec<String> = ["id", "question", "context", "file", "note"].map(Into::into).into();
        let row = |cells: [&str; 5]| Request::from_row(&header, &cells.map(Into::into), &Fields::default());
        let text = row(["7", "q", "c", "", ""]).unwrap();
        assert_eq!((text.id, text.documents), (Some("7".into()), texts(&["c"])));
        assert_eq!(text.rest[0].1.get(), "\"\"");
        assert_eq!(row(["", "q", "", "f.txt", ""]).unwrap().documents, [DocumentRef::File("f.txt".into())]);
        assert_eq!(row(["", "q", "", "", ""]).unwrap().documents, texts(&[""]));
        let cells: Vec<String> = vec!["7".into(), "q".into()];
        let rejected = Request::from_row(&header, &cells, &Fields::default()).unwrap_err();
        assert_eq!((rejected.id, rejected.problem.code()), (Some("7".into()), "wrong_width"));
    }

    #[test]
    fn halves_of_pairs_are_replaced() {
        let question = |json: &str| read(&format!(r#"{{"question": "{json}", "context": "c"}}"#)).unwrap();
        let text = |json: &str| question(json).items[0].question.clone();
        assert_eq!(text(r"a\ud83db"), "a\u{fffd}b");
        assert_eq!(text(r"\uDE00x\ud83d"), "\u{fffd}x\u{fffd}");
        assert_eq!(text(r"\ud83d\ude00"), "😀");
        assert_eq!(text(r"\ud83d\ud83d\ude00"), "\u{fffd}😀");
        assert_eq!(text(r"\\ud83d"), r"\ud83d");
        assert_eq!(text(r"\\\ud83d"), "\\\u{fffd}");
    }

    proptest! {
        /// Whatever arrives, it is understood or refused, and never a panic.
        #[test]
        fn nothing_panics(text in r#"[\{\}\[\]":,\\ud8Dea0-9q\PC]{0,60}"#, bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = read(&text);
            let _ = read(&format!(r#"{{"question": "{text}", "context": "{text}"}}"#));
            let _ = Request::from_json(&bytes, &Fields::default());
        }
    }
}
