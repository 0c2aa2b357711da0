//! What the command line says that a person can do about an error of the library.

// The binary's own file, because a test cannot name what is inside the binary.
#[path = "../../src/cli/hints.rs"]
#[allow(dead_code)]
mod cli;

use spanqa::request::{Fields, Request};
use spanqa::source::{Reference, SourceOptions};
use spanqa::{Error, ErrorClass, encoder, fs, reader, text, train};

/// The hint for an error of the library or of one of its rooms.
pub fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    cli::advice(error)?.hint
}

#[test]
fn a_request_that_is_wrong_comes_with_a_hint() {
    for json in [
        "",
        "[]",
        "7",
        r#"{"context": "c"}"#,
        r#"{"question": null, "context": "c"}"#,
        r#"{"question": 7, "context": "c"}"#,
        r#"{"question": ["q"], "context": "c"}"#,
        r#"{"id": [1], "question": "q", "context": "c"}"#,
        r#"{"question": "q", "questions": ["q"], "context": "c"}"#,
        r#"{"inputs": {"question": ["p", "q"], "context": ["a", "b", "c"]}}"#,
        r#"{"inputs": {"question": "p"}}"#,
    ] {
        let rejected = Request::from_json(json.as_bytes(), &Fields::default()).unwrap_err();
        assert!(hint(&rejected.problem).is_some(), "{json}");
    }
}

#[test]
fn an_unknown_name_suggests_near_ones() {
    let registry = SourceOptions::default().registry().unwrap();
    let hint = |name| hint(&Reference::parse(name, &registry).unwrap_err()).unwrap();
    let near = hint("robertta");
    assert!(near.contains("did you mean roberta?") && near.contains("spanqa models list"), "{near}");
    assert!(hint("qqq").starts_with("`spanqa models list`"));
}

#[test]
fn an_error_reads_the_same_through_however_many_rooms_it_came() {
    let refused =
        || fs::Error::Read { path: "a".into(), source: std::io::ErrorKind::PermissionDenied.into() };
    let file = || spanqa::checkpoint::Error::from(refused());
    let deep = train::Error::from(reader::Error::from(text::Error::from(file())));
    let other = train::Error::from(reader::Error::from(encoder::Error::from(file())));
    let expected = Error::from(refused());
    for error in [deep, other] {
        assert_eq!((error.to_string(), error.code()), (expected.to_string(), "read_failed"));
        assert_eq!(hint(&error), hint(&expected));
        assert!(hint(&error).is_some_and(|hint| hint.contains("permissions")));
        let error = Error::from(error);
        assert!(matches!(error, Error::Fs(fs::Error::Read { .. })), "{error:?}");
        assert_eq!((error.code(), error.class()), ("read_failed", ErrorClass::Machine));
    }
}
