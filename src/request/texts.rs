//! Texts that somebody wants vectors of, as other programs write them: a line of JSON each.
//!
//! ```text
//! {"id"?, "text"}           one text
//! {"id"?, "texts": [..]}    several, a record each
//! "..."                     one text
//! ```

use super::error::{Error, Result};
use super::reply::Id;
use super::shapes::{Object, Rejected, not_an_object, whole_characters};

/// The texts of one line.
#[derive(Debug, Clone, PartialEq)]
pub struct Texts {
    /// The caller's name for them.
    pub id: Option<Id>,
    /// At least one.
    pub texts: Vec<String>,
    /// Whether they came as a list, be it of one.
    pub listed: bool,
}

impl Texts {
    /// Reads a JSON object or string. Halves of surrogate pairs become U+FFFD.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Rejected> {
        let json = std::str::from_utf8(bytes)
            .map_err(|error| Rejected::from(Error::NotUtf8 { at: error.valid_up_to() }))?;
        let json = whole_characters(json);
        if let Ok(text) = serde_json::from_str(&json) {
            return Ok(Self { id: None, texts: vec![text], listed: false });
        }
        let object: Object = serde_json::from_str(&json).map_err(|error| not_an_object(&json, &error))?;
        Self::of(object)
    }

    fn of(mut object: Object) -> Result<Self, Rejected> {
        let present = object.names();
        let id = object.take("id");
        let known = id.as_ref().and_then(|id| id.id());
        let read = match (&id, &known) {
            (Some(id), None) => Err(id.wrong("id", "a text or a number")),
            _ => texts(object, present),
        };
        match read {
            Ok((texts, listed)) => Ok(Self { id: known, texts, listed }),
            Err(problem) => Err(Rejected { id: known, rest: Vec::new(), problem }),
        }
    }
}

/// The texts of an object, and whether they came as a list.
fn texts(mut object: Object, present: Vec<String>) -> Result<(Vec<String>, bool)> {
    let null = object.is_null("text");
    match (object.take("text"), object.take("texts")) {
        (Some(_), Some(_)) => Err(Error::Conflict { first: "text".into(), second: "texts".into() }),
        (Some(text), None) => Ok((vec![text.text("text")?], false)),
        (None, Some(texts)) => Ok((texts.texts("texts")?, true)),
        (None, None) => Err(Error::MissingField { field: "text".into(), null, present }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Texts, Error> {
        Texts::from_json(json.as_bytes()).map_err(|rejected| rejected.problem)
    }

    #[test]
    fn texts_come_in_three_shapes() {
        let texts = |id: Option<Id>, texts: &[&str], listed| Texts {
            id,
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            listed,
        };
        for (json, expected) in [
            (r#"{"id": "a", "text": "one", "more": [1]}"#, texts(Some("a".into()), &["one"], false)),
            (r#"{"text": ""}"#, texts(None, &[""], false)),
            (r#"{"id": 7, "texts": ["one", "two"]}"#, texts(Some(7.into()), &["one", "two"], true)),
            (r#" "one \ud800 two" "#, texts(None, &["one \u{fffd} two"], false)),
        ] {
            assert_eq!(read(json), Ok(expected), "{json}");
        }
    }

    #[test]
    fn what_is_no_text_says_so_and_keeps_its_id() {
        for (json, code) in [
            (r#"{"id": 1, "context": "one"}"#, "missing_field"),
            (r#"{"id": 1, "text": null}"#, "missing_field"),
            (r#"{"id": 1, "text": "a", "texts": ["b"]}"#, "conflicting_fields"),
            (r#"{"id": 1, "text": 5}"#, "wrong_type"),
            (r#"{"id": 1, "texts": []}"#, "wrong_type"),
            (r#"{"id": 1, "texts": ["a", 5]}"#, "wrong_type"),
        ] {
            let rejected = Texts::from_json(json.as_bytes()).unwrap_err();
            assert_eq!((rejected.problem.code(), rejected.id), (code, Some(1.into())), "{json}");
        }
        for (json, code) in [
            (r#"{"id": [], "text": "a"}"#, "wrong_type"),
            (r#"["a"]"#, "not_an_object"),
            (r#"{"text": "#, "not_json"),
        ] {
            assert_eq!(read(json).unwrap_err().code(), code, "{json}");
        }
        assert_eq!(Texts::from_json(b"\"\xff\"").unwrap_err().problem.code(), "not_utf8");
    }
}
