//! Help texts and manual pages, compared with the files in `snapshots/`: a change of a flag shows in a review as its reader will see it.
//!
//! `SPANQA_BLESS=1 cargo test --release --test it -- help` writes the files anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::support::{Run, spanqa};

/// Wide enough for tables, and the same wherever the tests run.
const COLUMNS: &str = "100";

fn run(arguments: &[&str]) -> String {
    let done = Run::from(spanqa(arguments).env("COLUMNS", COLUMNS).output().unwrap());
    assert_eq!(done.code, Some(0), "{arguments:?}: {done:?}");
    assert!(done.stderr.is_empty(), "{done:?}");
    // The page says which build made it; Windows shows the program's whole name.
    let built_for = |line: &str| line.starts_with(".TH ") && line.contains("(features: ");
    let lines = done.stdout.lines().map(|line| match line.split_once(" (features: ") {
        Some((start, _)) if built_for(line) => format!("{start} (...)\""),
        // The machine says which vector unit it has.
        _ if line.starts_with("cpu kernels: ") => "cpu kernels: ...".to_owned(),
        _ => line.trim_end().replace("spanqa.exe", "spanqa"),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The commands that a help text lists.
fn commands(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names = listed.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// What each file should hold.
fn texts() -> BTreeMap<String, String> {
    let whole = run(&["--help"]);
    let mut texts = BTreeMap::from([("spanqa".to_owned(), page(&[], true))]);
    for command in commands(&whole) {
        texts.insert(command.clone(), page(&[&command], true));
        for below in commands(&run(&[&command, "--help"])) {
            texts.insert(format!("{command}-{below}"), page(&[&command, &below], false));
        }
    }
    texts
}

/// The short help, the long help and the manual page of a command.
fn page(command: &[&str], manual: bool) -> String {
    let mut calls = vec![[command, &["-h"]].concat(), [command, &["--help"]].concat()];
    if manual {
        calls.push([&["man"], command].concat());
    }
    let shown = calls.iter().map(|call| format!("$ spanqa {}\n{}\n", call.join(" "), run(call)));
    shown.collect::<Vec<_>>().join("\n")
}

#[test]
fn help_and_manual_are_the_snapshots() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let texts = texts();
    if std::env::var_os("SPANQA_BLESS").is_some() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in &texts {
            std::fs::write(folder.join(format!("{name}.txt")), text).unwrap();
        }
        return;
    }
    let again = "SPANQA_BLESS=1 cargo test --release --test it -- help";
    for (name, text) in &texts {
        let file = folder.join(format!("{name}.txt"));
        let stored = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = stored.lines().zip(text.lines()).enumerate();
        let first = lines.filter(|(_, (stored, now))| stored != now).map(|(at, pair)| (at + 1, pair)).next();
        assert!(first.is_none(), "{name}.txt: {first:?} (line, stored, now); if that is meant: {again}");
        assert!(stored == *text, "{name}.txt has another length; if that is meant: {again}");
    }
    let stored: BTreeSet<String> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .map(|name| name.into_string().unwrap())
        .collect();
    let wanted: BTreeSet<String> = texts.keys().map(|name| format!("{name}.txt")).collect();
    assert_eq!(stored, wanted, "if that is meant: {again}");
}
