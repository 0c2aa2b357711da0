//! What must not reach a terminal: escapes in names and texts, and secrets.

use crate::support::{Run, run, spanqa, tiny_model};

/// A name that would clear the screen and write in red.
#[cfg(unix)]
const NAME: &str = "a\x1b[2J\x1b[31m\u{9b}1m\nhint: .txt";
#[cfg(unix)]
const SHOWN: &str = "a\\x1b[2J\\x1b[31m\\x9b1m\\nhint: .txt";

#[cfg(unix)]
fn ask(folder: &std::path::Path, arguments: &[&str]) -> Run {
    let model = crate::support::fixture("tiny/minilm");
    let fixed = ["--model", model.to_str().unwrap(), "--window", "60", "--always-answer"];
    Run::from(spanqa(&[&["ask", "the"], arguments, &fixed].concat()).current_dir(folder).output().unwrap())
}

fn harmless(text: &str) -> bool {
    text.chars().all(|char| char == '\n' || !char.is_control())
}

#[cfg(unix)]
#[test]
fn names_of_files_have_no_power_over_a_terminal() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(NAME), "the cat\x1b[31m sat\u{9b}1m").unwrap();
    for format in [&["--format", "grep"][..], &["--format", "text"], &["--format", "text", "--why"]] {
        let run = ask(folder.path(), &[format, &[NAME]].concat());
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains(SHOWN) && harmless(&run.stdout), "{run:?}");
    }
    // JSON has its own way, and programs get the name as it is.
    let run = ask(folder.path(), &[NAME]);
    assert_eq!(run.records()[0]["answers"][0]["document"], NAME);

    std::fs::write(folder.path().join(NAME), "\0").unwrap();
    for (arguments, code) in [(&[NAME][..], 2), (&["-r", "."], 2), (&["-c", "the cat", "-r", "."], 2)] {
        let run = ask(folder.path(), arguments);
        assert_eq!(run.code, Some(code), "{run:?}");
        assert!(run.stderr.contains(SHOWN) && harmless(&run.stderr), "{run:?}");
    }
    std::fs::write(folder.path().join(NAME), " ").unwrap();
    let run = ask(folder.path(), &["-c", "the cat", NAME]);
    assert!(run.stderr.contains(SHOWN) && harmless(&run.stderr), "{run:?}");
}

#[cfg(unix)]
#[test]
fn names_in_a_models_folder_are_harmless_too() {
    let folder = tiny_model();
    std::fs::write(folder.path().join(NAME), "").unwrap();
    for command in ["verify", "show"] {
        let run = run(&["models", command, folder.path().to_str().unwrap()]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(run.stdout.contains(SHOWN) && harmless(&run.stdout), "{run:?}");
    }
    for command in ["where", "pull", "show"] {
        let run = run(&["models", command, "./no\x1b[2J"]);
        assert_eq!(run.code, Some(2), "{run:?}");
        assert!(run.stderr.contains("no\\x1b[2J") && harmless(&run.stderr), "{run:?}");
    }
}

#[test]
fn ids_and_questions_of_a_data_set_are_harmless_too() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, value: serde_json::Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, value.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let id = "a\x1b[2J";
    let questions = serde_json::json!([
        {"id": id, "question": "who\x1b[31m?", "answers": [{"text": "the cat", "answer_start": 5}]}
    ]);
    let paragraph = serde_json::json!({"context": "the cat sat", "qas": questions});
    let data = serde_json::json!({"version": "1", "data": [{"title": "t", "paragraphs": [paragraph]}]});
    let data = write("data.json", data);
    let (first, second) = (serde_json::json!({id: "the cat"}), serde_json::json!({id: "sat\x1b[31m"}));
    let (first, second) = (write("a.json", first), write("b.json", second));
    let run = run(&["compare", &first, &second, &data, "--format", "text"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(run.stdout.contains("[a\\x1b[2J]") && harmless(&run.stdout), "{run:?}");
    assert!(run.stderr.contains("a\\x1b[2J") && harmless(&run.stderr), "{run:?}");
}

#[test]
fn doctor_keeps_secrets() {
    for (name, value) in [
        ("HF_TOKEN", "hf_secret"),
        ("HTTPS_PROXY", "http://me:hf_secret@host"),
        ("ALL_PROXY", "me:hf_secret@host"),
        ("HF_ENDPOINT", "https://me:hf_secret@host"),
        ("HF_ENDPOINT", "https://hf_secret@host/a"),
        ("HF_ENDPOINT", "https://host/a?token=hf_secret"),
    ] {
        for arguments in [&["doctor"][..], &["doctor", "--json"]] {
            let doctor = Run::from(spanqa(arguments).env(name, value).output().unwrap());
            assert!(doctor.stdout.contains(name) && !doctor.stdout.contains("hf_secret"), "{doctor:?}");
        }
    }
}

/// A folder of the built-in model's name is another model, and has to be asked for as a folder.
#[test]
fn no_folder_stands_in_for_the_built_in_model() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = tiny_model();
    std::fs::rename(tiny.path(), folder.path().join("builtin")).unwrap();
    let asked = |model: &[&str]| {
        let arguments = ["ask", "the", "-c", "the cat", "--window", "60", "--always-answer", "--quiet"];
        let run =
            Run::from(spanqa(&[&arguments[..], model].concat()).current_dir(folder.path()).output().unwrap());
        assert_eq!(run.code, Some(0), "{run:?}");
        let record = run.records().remove(0);
        (record["model"].as_str().unwrap().to_owned(), record["answers"][0]["margin"].as_f64().unwrap())
    };
    let elsewhere = {
        let arguments = ["ask", "the", "-c", "the cat", "--window", "60", "--always-answer", "--quiet"];
        run(&arguments).records().remove(0)["answers"][0]["margin"].as_f64().unwrap()
    };
    assert_eq!(asked(&[]), ("builtin".into(), elsewhere));
    assert_eq!(asked(&["--model", "builtin"]), ("builtin".into(), elsewhere));
    let (name, margin) = asked(&["--model", "./builtin"]);
    assert_eq!(name, "./builtin");
    assert_ne!(margin, elsewhere);
}
