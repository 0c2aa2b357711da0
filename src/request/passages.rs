//! Requests to put passages in order: `{"id"?, "query", "passages": [..]}`, each passage a text or `{"id"?, "text"}`.

use serde_json::value::RawValue;

use super::error::{Error, Result};
use super::reply::Id;
use super::shapes::{Object, Rejected, Value, not_an_object, whole_characters};

/// A request to put passages in order.
#[derive(Debug, Clone)]
pub struct RankRequest {
    /// The caller's name for it.
    pub id: Option<Id>,
    /// The question.
    pub query: String,
    /// The passages. There may be none: whoever looked for them may have found nothing.
    pub passages: Vec<Passage>,
}

/// A passage that a request gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// The caller's name for it.
    pub id: Option<Id>,
    /// What it says.
    pub text: String,
}

impl RankRequest {
    /// Reads a JSON object. Halves of surrogate pairs become U+FFFD, as in [every request](super::Request::from_json). Fields that mean
    /// nothing here are passed over.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Rejected> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| Rejected::from(Error::NotUtf8 { at: error.valid_up_to() }))?;
        let text = whole_characters(text);
        let mut object: Object = serde_json::from_str(&text).map_err(|error| not_an_object(&text, &error))?;
        let (id, own) = match object.take("id").map(|id| (id.id(), id)) {
            None => (None, Ok(())),
            Some((Some(id), _)) => (Some(id), Ok(())),
            Some((None, id)) => (None, Err(id.wrong("id", "a text or a number"))),
        };
        match own.and_then(|()| parts(&mut object)) {
            Ok((query, passages)) => Ok(Self { id, query, passages }),
            Err(problem) => Err(Rejected { id, rest: Vec::new(), problem }),
        }
    }
}

fn parts(object: &mut Object) -> Result<(String, Vec<Passage>)> {
    let present = object.names();
    let query = required(object, "query", &present)?.text("query")?;
    let passages = required(object, "passages", &present)?;
    let expected = "a list of texts or of objects with `text`";
    let wrong = |_| passages.wrong("passages", expected);
    let Value::Json(raw) = passages else { return Err(passages.wrong("passages", expected)) };
    let given: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(wrong)?;
    let passages: Result<Vec<Passage>> = given.into_iter().map(|raw| passage(Value::Json(raw))).collect();
    Ok((query, passages?))
}

fn passage(value: Value) -> Result<Passage> {
    match value {
        Value::Json(raw) if value.kind() == "an object" => {
            let field = "passages[]";
            let wrong = |_| value.wrong(field, "a text or an object with `text`");
            let mut object: Object = serde_json::from_str(raw.get()).map_err(wrong)?;
            let present = object.names();
            let id = match object.take("id") {
                None => None,
                Some(id) => Some(id.id().ok_or_else(|| id.wrong("passages[].id", "a text or a number"))?),
            };
            let missing = |error| match error {
                Error::MissingField { null, present, .. } => {
                    Error::MissingField { field: "passages[].text".into(), null, present }
                }
                other => other,
            };
            let text = required(&mut object, "text", &present).map_err(missing)?;
            Ok(Passage { id, text: text.text("passages[].text")? })
        }
        text => match text.kind() {
            "a text" => Ok(Passage { id: None, text: text.text("passages[]")? }),
            _ => Err(text.wrong("passages[]", "a text or an object with `text`")),
        },
    }
}

fn required<'a>(object: &mut Object<'a>, field: &str, present: &[String]) -> Result<Value<'a>> {
    let null = object.is_null(field);
    object.take(field).ok_or_else(|| Error::MissingField {
        field: field.into(),
        null,
        present: present.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(json: &str) -> Result<RankRequest, Rejected> {
        RankRequest::from_json(json.as_bytes())
    }

    #[test]
    fn passages_are_texts_or_have_names() {
        let request = read(
            r#"{"id": 7.50, "query": "q", "passages": ["a", {"id": "x", "text": "b\ud800"}, {"text": "", "id": null, "z": 1}], "k": 2}"#,
        )
        .unwrap();
        assert_eq!(request.id.unwrap().json().get(), "7.50");
        let named = |id: Option<&str>, text: &str| Passage { id: id.map(Id::from), text: text.into() };
        assert_eq!(request.passages, [named(None, "a"), named(Some("x"), "b\u{fffd}"), named(None, "")]);
        assert!(read(r#"{"query": "q", "passages": []}"#).unwrap().passages.is_empty());
    }

    #[test]
    fn mistakes_are_named_and_keep_the_id() {
        for (json, code, message) in [
            ("", "not_json", "not valid JSON"),
            ("[]", "not_an_object", "this is a list"),
            (r#"{"id": 3, "passages": ["a"]}"#, "missing_field", "`query` is missing"),
            (r#"{"id": 3, "query": "q"}"#, "missing_field", "`passages` is missing"),
            (r#"{"id": 3, "query": "q", "passages": null}"#, "missing_field", "`passages` is null"),
            (r#"{"id": 3, "query": ["q"], "passages": []}"#, "wrong_type", "`query` must be a text"),
            (r#"{"id": 3, "query": "q", "passages": "a"}"#, "wrong_type", "`passages` must be a list"),
            (r#"{"id": 3, "query": "q", "passages": [1]}"#, "wrong_type", "`passages[]` must be a text"),
            (r#"{"id": 3, "query": "q", "passages": [{"id": 1}]}"#, "missing_field", "`passages[].text` is"),
            (r#"{"id": 3, "query": "q", "passages": [{"text": 1}]}"#, "wrong_type", "`passages[].text` must"),
            (
                r#"{"id": 3, "query": "q", "passages": [{"id": [], "text": ""}]}"#,
                "wrong_type",
                "`passages[].id`",
            ),
            (r#"{"id": [3], "query": "q", "passages": []}"#, "wrong_type", "`id` must be"),
        ] {
            let rejected = read(json).expect_err(json);
            let found = rejected.problem.to_string();
            assert!(rejected.problem.code() == code && found.contains(message), "{json}: {found}");
            assert_eq!(rejected.id.is_some(), json.contains("\"id\": 3,"), "{json}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in r#"[\{\}\[\]":,\\ud8Dea0-9q\PC]{0,60}"#) {
            let _ = read(&text);
            let _ = read(&format!(r#"{{"query": "{text}", "passages": [{text}]}}"#));
        }
    }
}
