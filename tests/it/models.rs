//! `spanqa models`: sizes on disk, and removing what was fetched.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::{Run, fixture, spanqa};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A cache with a whole model under a name of the hub, its `main` included. Returns its folder.
fn put(cache: &Path, repo: &str) -> PathBuf {
    let root = cache.join(format!("models--{}", repo.replace('/', "--")));
    let snapshot = root.join("snapshots").join(COMMIT);
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::create_dir_all(root.join("refs")).unwrap();
    std::fs::write(root.join("refs/main"), COMMIT).unwrap();
    for name in ["model.safetensors", "vocab.txt", "tokenizer_config.json"] {
        std::fs::copy(fixture("tiny/minilm").join(name), snapshot.join(name)).unwrap();
    }
    let config = std::fs::read(fixture("tiny/minilm/config.json")).unwrap();
    let mut config: Value = serde_json::from_slice(&config).unwrap();
    config["architectures"] = serde_json::json!(["BertForQuestionAnswering"]);
    std::fs::write(snapshot.join("config.json"), config.to_string()).unwrap();
    root
}

fn models(cache: &Path, arguments: &[&str]) -> Run {
    let mut command = spanqa(&[&["models"], arguments].concat());
    Run::from(command.env("HF_HUB_CACHE", cache).output().unwrap())
}

fn row(cache: &Path, name: &str) -> Value {
    let rows: Vec<Value> = serde_json::from_str(&models(cache, &["list", "--json"]).stdout).unwrap();
    rows.into_iter().find(|row| row["name"] == name).unwrap_or_default()
}

#[test]
fn the_list_says_what_models_take_on_disk() {
    let cache = tempfile::tempdir().unwrap();
    assert!(row(cache.path(), "minilm").get("bytes_on_disk").is_none());
    put(cache.path(), "some/reader");
    // Another revision than the registry's: it takes room, and is not what the name stands for.
    put(cache.path(), "deepset/roberta-base-squad2");
    let other = row(cache.path(), "some/reader");
    assert_eq!((&other["repo"], &other["local"]), (&Value::from("some/reader"), &Value::from(true)));
    let bytes = other["bytes_on_disk"].as_u64().unwrap();
    let weights = std::fs::metadata(fixture("tiny/minilm/model.safetensors")).unwrap().len();
    assert!((weights..weights + 100_000).contains(&bytes), "{bytes}");
    let table = models(cache.path(), &["list"]).stdout;
    let line = |name: &str| table.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("NAME").ends_with("ON DISK") && line("minilm").ends_with("no"), "{table}");
    assert!(line("roberta ").contains("part: ") && line("some/reader").ends_with(" kB"), "{table}");
}

#[test]
fn what_is_no_fetched_model_cannot_be_removed() {
    let cache = tempfile::tempdir().unwrap();
    let remove = |name: &str| models(cache.path(), &["remove", name]);
    // Tests run in the folder of the sources.
    remove("docs").fails_with("docs is a folder, not a fetched model");
    remove("./docs").fails_with("./docs is a folder, not a fetched model");
    let unknown = remove("nonsense");
    unknown.fails_with("there is no model named `nonsense`");
    assert!(
        unknown.stderr.contains("shows what was fetched") && !unknown.stderr.contains("./folder"),
        "{unknown:?}"
    );
    assert!(remove("robertta").stderr.contains("did you mean roberta?"));
}

#[test]
fn a_fetched_model_is_removed_on_request() {
    let cache = tempfile::tempdir().unwrap();
    let (gone, stays) = (put(cache.path(), "some/reader"), put(cache.path(), "some/other"));
    let bytes = row(cache.path(), "some/reader")["bytes_on_disk"].as_u64().unwrap();
    models(cache.path(), &["remove", "some/reader"]).fails_with("nobody is here to ask");
    assert!(gone.is_dir());
    let removed = models(cache.path(), &["remove", "--yes", "some/reader"]);
    assert_eq!(removed.code, Some(0), "{removed:?}");
    let said = format!("removed some/reader, which frees {} kB\n", bytes.div_ceil(1000));
    assert_eq!((removed.stdout, gone.exists(), stays.is_dir()), (said, false, true));
    let again = models(cache.path(), &["remove", "--yes", "some/reader"]);
    assert_eq!((again.code, again.stdout.as_str()), (Some(1), ""), "{again:?}");
    assert!(again.stderr.contains("not in the cache"), "{again:?}");
    models(cache.path(), &["remove", "builtin", "--yes"]).fails_with("cannot be removed");
}

#[cfg(unix)]
#[test]
fn whoever_sits_at_the_terminal_is_asked() {
    use crate::pty::Pty;
    let cache = tempfile::tempdir().unwrap();
    let root = put(cache.path(), "some/reader");
    for (answer, code, there) in [("\n", 1, true), ("no\n", 1, true), ("y\n", 0, false)] {
        let mut command = spanqa(&["models", "remove", "some/reader"]);
        command.env("HF_HUB_CACHE", cache.path());
        let mut remove = Pty::spawn(command, 80);
        assert!(remove.expect("[y/N] ").contains("some/reader (1 revision, "));
        remove.send(answer);
        let (end, said) = remove.end();
        assert_eq!((end, root.exists()), (Some(code), there), "{said}");
        assert!(said.contains(if there { "kept some/reader" } else { "frees" }), "{said}");
    }
}
