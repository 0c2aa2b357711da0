//! `spanqa index`, `spanqa search` and `ask --search`, driven as processes.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Run, run, run_with_input, spanqa};

const NOTES: &str = "docs/examples/notes";

/// A folder to search, and one for its indexes.
struct Desk {
    folder: tempfile::TempDir,
    index: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), index: tempfile::tempdir().unwrap() }
    }

    fn root(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.folder.path().join(name)).unwrap();
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--index", self.index.path().to_str().unwrap()]].concat()
    }

    /// Runs a command with the indexes of this desk.
    fn run(&self, arguments: &[&str]) -> Run {
        run(&self.arguments(arguments))
    }

    fn search(&self, question: &str) -> Run {
        self.run(&["search", question, self.root()])
    }

    /// The names of the files, from the folder on, in which something is found.
    fn found(&self, question: &str) -> Vec<String> {
        let found = self.search(question);
        assert!(matches!(found.code, Some(0 | 1)) && found.stderr.is_empty(), "{found:?}");
        names(&found.records()[0], self.root())
    }

    /// The folder of the only index.
    fn only_index(&self) -> PathBuf {
        let folders: Vec<_> = std::fs::read_dir(self.index.path()).unwrap().flatten().collect();
        assert_eq!(folders.len(), 1, "{folders:?}");
        folders[0].path()
    }
}

fn names(record: &Value, root: &str) -> Vec<String> {
    let results = record["results"].as_array().unwrap().iter();
    let name = |result: &Value| result["document"].as_str().unwrap().trim_start_matches(root)[1..].to_owned();
    results.map(name).collect()
}

/// What lies below a folder, byte for byte.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), std::fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn passages_come_with_their_places() {
    let desk = Desk::new();
    let found = desk.run(&["search", "Who founded the museum in the tower?", NOTES]);
    assert_eq!((found.code, found.stderr.as_str()), (Some(0), ""), "{found:?}");
    let record = &found.records()[0];
    let start = r#"{"id":"1","query":"Who founded the museum in the tower?","by":"words","passages":2,"results":[{"rank":1,"document":"docs/examples/notes/museum.md","#;
    assert!(found.stdout.starts_with(start), "{}", found.stdout);
    for result in record["results"].as_array().unwrap() {
        let text = std::fs::read_to_string(result["document"].as_str().unwrap()).unwrap();
        let [start, end] = ["start", "end"].map(|field| result[field].as_u64().unwrap() as usize);
        let quoted: String = text.chars().take(end).skip(start).collect();
        assert_eq!(quoted, result["text"].as_str().unwrap());
    }
    // The current folder is searched if none is named.
    let mut here = spanqa(&desk.arguments(&["search", "Who founded the museum in the tower?", "-f", "grep"]));
    let here = Run::from(here.current_dir(NOTES).output().unwrap());
    assert!(here.stdout.starts_with("./museum.md:1:1: # The museum"), "{here:?}");
    let text = desk.run(&["search", "Is there a volcano?", NOTES, "-t"]);
    assert_eq!((text.code, text.stdout.as_str()), (Some(1), "Is there a volcano?\n  no passage of 2\n"));
}

#[test]
fn what_changes_is_found_by_the_next_search() {
    let desk = Desk::new();
    desk.write("a.txt", "The purser sells tickets.");
    desk.write("deep/b.md", "A lamp. A reef.");
    assert_eq!(desk.found("Where is the purser?"), ["a.txt"]);
    desk.write("deep/new.txt", "Another purser.");
    let mut both = desk.found("purser");
    both.sort();
    assert_eq!(both, ["a.txt", "deep/new.txt"]);
    desk.write("a.txt", "The captain steers.");
    assert_eq!(desk.found("purser"), ["deep/new.txt"]);
    assert_eq!(desk.found("captain"), ["a.txt"]);
    desk.remove("deep/new.txt");
    assert!(desk.found("purser").is_empty());
    // A name has words, too.
    std::fs::rename(desk.folder.path().join("a.txt"), desk.folder.path().join("bridge-watch.txt")).unwrap();
    assert_eq!(desk.found("bridge"), ["bridge-watch.txt"]);
    // Unless that is not wanted.
    desk.write("late.txt", "A purser again.");
    let stale = desk.run(&["search", "purser", desk.root(), "--no-refresh"]);
    assert_eq!((stale.code, names(&stale.records()[0], desk.root()).len()), (Some(1), 0), "{stale:?}");
    assert_eq!(desk.found("purser"), ["late.txt"]);
}

#[test]
fn index_says_what_it_did_and_lists_and_removes() {
    let desk = Desk::new();
    desk.write("a.txt", "The purser sells tickets.");
    desk.write("b.txt", "A lamp.");
    let first = &desk.run(&["index", desk.root()]).records()[0];
    assert_eq!([&first["texts"], &first["passages"], &first["read"], &first["bytes"]], [2, 2, 2, 32]);
    assert_eq!(first["path"], desk.root());
    desk.remove("b.txt");
    let second = &desk.run(&["index", desk.root()]).records()[0];
    assert_eq!([&second["texts"], &second["forgotten"]], [1, 1], "{second}");
    desk.run(&["index", desk.root(), "--hidden"]);
    let listed = desk.run(&["index", "--list"]).records();
    let whole = desk.folder.path().canonicalize().unwrap();
    assert!(listed.len() == 2 && listed.iter().all(|index| index["path"] == whole.to_str().unwrap()));
    let removed = desk.run(&["index", "--remove", desk.root()]);
    assert_eq!((removed.code, removed.stdout.as_str()), (Some(0), ""), "{removed:?}");
    assert_eq!(removed.stderr.matches("note: removed the index of").count(), 2, "{removed:?}");
    assert!(desk.run(&["index", "--list"]).stdout.is_empty());
    desk.run(&["index", "--remove", desk.root()]).fails_with("there is no index of");
}

/// A record without what says how much was searched.
fn answers(run: &Run) -> Vec<Value> {
    let mut records = run.records();
    for record in &mut records {
        for field in ["windows_total", "passages_searched"] {
            record.as_object_mut().unwrap().remove(field);
        }
    }
    records
}

#[test]
fn ask_answers_from_what_it_finds_as_if_it_had_read_everything() {
    let desk = Desk::new();
    desk.write("one.txt", "The museum in the tower — opened in 1994 — was founded by Astrid Brekke.");
    desk.write("two.txt", "\n\nThe tower was built by Ingrid Dahl 🙂. A museum ticket costs eighty kroner.");
    let questions = ["Who founded the museum in the tower?", "What does a museum ticket for the tower cost?"];
    let asked = questions.map(|question| ["-q", question]).concat();
    for unit in ["char", "byte", "utf16"] {
        // Without a weight, what is found is held back no more than what is read.
        let flags = ["--offset-unit", unit, "--always-answer", "--rank-weight", "0"];
        let flags = [&asked[..], &[desk.root()], &flags].concat();
        let searched = desk.run(&[&["ask", "--search"], &flags[..]].concat());
        let read = run(&[&["ask", "-r"], &flags[..]].concat());
        assert_eq!((searched.code, read.code), (Some(0), Some(0)), "{searched:?}");
        assert_eq!(answers(&searched), answers(&read));
        assert!(searched.records().iter().all(|record| record["passages_searched"] == 2), "{searched:?}");
    }
    let chat = desk.arguments(&["chat", "--search", desk.root(), "-f", "json"]);
    let chat = run_with_input(&chat, questions.join("\n").as_bytes());
    let asked = desk.run(&[&["ask", "--search"], &asked[..], &[desk.root()]].concat());
    assert_eq!(chat.stdout, asked.stdout, "{chat:?}");
    desk.remove("one.txt");
    desk.remove("two.txt");
    // Nothing but what is around the passages is read: the place is that in the whole file all the same.
    let line = "The ferry Havsule — a small ship — sails at nine. Fog is no reason to stay.\n";
    let long =
        format!("{}\nThe museum was founded by Astrid Brekke.\n\n{}", line.repeat(900), line.repeat(900));
    let file = desk.write("long.txt", &long);
    let found = desk.run(&["ask", "--search", "Who founded the museum?", desk.root()]);
    let answer = &found.records()[0]["answers"][0];
    let at = 900 * line.chars().count() + 1 + "The museum was founded by ".len();
    let expected = [json!("Astrid Brekke"), json!(file), json!(at), json!(902), json!(27)];
    assert_eq!(["text", "document", "start", "line", "column"].map(|field| answer[field].clone()), expected);
}

#[test]
fn nothing_found_is_no_answer() {
    let desk = Desk::new();
    let none = desk.run(&["ask", "--search", "Is there a volcano?", NOTES]);
    assert_eq!(none.code, Some(1), "{none:?}");
    let record = &none.records()[0];
    let fields = ["reason", "answered", "windows", "passages_searched"].map(|field| record[field].clone());
    assert_eq!(fields, [json!("nothing_found"), json!(false), json!(0), json!(2)]);
    let text = desk.run(&["ask", "--search", "Is there a volcano?", NOTES, "-t"]);
    let expected = "Is there a volcano?\n  no answer (nothing was found)\n  in 2 passages, none of which has a word of it\n";
    assert_eq!(text.stdout, expected);
    desk.write("blank.txt", " \n\n");
    desk.write("binary.bin", [0; 9]);
    let blank = desk.run(&["search", "anything", desk.root()]);
    assert_eq!((blank.code, &blank.records()[0]["passages"]), (Some(1), &json!(0)), "{blank:?}");
    assert!(blank.stderr.contains("note: skipped: ") && blank.stderr.contains("NUL at byte 0"), "{blank:?}");
}

#[test]
fn a_corpus_has_ids_titles_and_bad_lines() {
    let desk = Desk::new();
    let lines = [
        r#"{"id": "keeper", "text": "Olav Brekke left the island in 1986."}"#,
        "",
        r#"{"_id": 7, "title": "Ferries", "text": "Tickets are sold on board — by the purser, Sigrid Moen."}"#,
        "{\"id\": \"8\"",
        r#"{"id": "9", "title": "Ferries"}"#,
        "  ",
        r#"{"text": "no id"}"#,
    ];
    let corpus = desk.write("corpus.jsonl", lines.join("\r\n"));
    let by_title = desk.run(&["search", "ferries", &corpus]);
    let start = format!(
        "note: skipped: line 4 of {corpus} is no text of a corpus: EOF while parsing an object at column"
    );
    assert_eq!(by_title.code, Some(0), "{by_title:?}");
    assert!(
        by_title.stderr.starts_with(&start) && by_title.stderr.ends_with(", and 2 more lines\n"),
        "{by_title:?}"
    );
    let result = &by_title.records()[0]["results"][0];
    let text = "Tickets are sold on board — by the purser, Sigrid Moen.";
    let place = ["document", "text", "start", "end", "line"].map(|field| result[field].clone());
    assert_eq!(place, [json!("7"), json!(text), json!(0), json!(text.chars().count()), json!(1)]);
    let again = desk.run(&["ask", "--search", "Who sells the tickets?", &corpus, "--always-answer"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    let answer = &again.records()[0]["answers"][0];
    let [start, end] = ["start", "end"].map(|field| answer[field].as_u64().unwrap() as usize);
    let quoted: String = text.chars().take(end).skip(start).collect();
    assert_eq!((&answer["document"], &answer["text"]), (&json!("7"), &json!(quoted)));
    // A folder beside it: one ranking.
    let both = desk.run(&["search", "ticket keeper", &corpus, NOTES, "-f", "grep"]);
    assert!(both.stdout.contains("7:1:1: ") && both.stdout.contains("ferry.md:1:1: "), "{both:?}");
    desk.write("corpus.jsonl", r#"{"id": "new", "text": "ferries"}"#);
    let changed = desk.run(&["search", "ferries", &corpus, "-f", "grep"]);
    assert_eq!(changed.stdout, "new:1:1: ferries\n");
    desk.write("corpus.jsonl", "");
    let empty = desk.run(&["search", "ferries", &corpus]);
    assert_eq!((empty.code, &empty.records()[0]["passages"]), (Some(1), &json!(0)), "{empty:?}");
}

#[test]
fn a_packed_corpus_is_to_be_unpacked() {
    let desk = Desk::new();
    for name in ["corpus.jsonl", "corpus.jsonl.gz"] {
        let packed = desk.write(name, [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
        let refused = desk.run(&["search", "anything", &packed]);
        refused.fails_with("is packed");
        assert!(refused.stderr.contains("gunzip"), "{refused:?}");
    }
}

#[test]
fn mistakes_are_told_with_a_way_out() {
    let desk = Desk::new();
    let file = desk.write("lamp.txt", "A lamp.");
    let folder = desk.root();
    let cases: &[(&[&str], &str, &str)] = &[
        (&["search"], "there is no question", "spanqa search"),
        (&["search", folder], "there is no question", "in quotes"),
        (&["search", "", folder], "the question is empty", "in quotes"),
        (&["search", " \t", folder], "the question is empty", "in quotes"),
        (&["search", "lamp", "nowhere"], "cannot search nowhere", "check the path"),
        (&["index", "nowhere"], "cannot search nowhere", "check the path"),
        (&["search", "lamp", "-"], "standard input cannot be searched", "save it in a file"),
        (&["search", "lamp", &file], "neither a folder nor a corpus", "spanqa ask"),
        (&["search", "lamp", folder, "-g", "*.nope"], "there is no text file below", "another `-g`"),
        (&["search", "lamp", folder, "--no-refresh"], "there is no index of", "spanqa index"),
        (&["search", "lamp", folder, "--pre", "no-such-program"], "no such program", "--pre"),
        (&["ask", "--search"], "there is no question", "spanqa ask"),
        (&["ask", "--search", folder], "there is no question", "--search"),
        (&["ask", "--search", "lamp", folder, "--read", "all"], "not for --search", "--read 100"),
        (&["ask", "lamp", &file, "--no-refresh"], "--no-refresh is about searching", "--search"),
    ];
    for (arguments, what, hint) in cases {
        let refused = desk.run(arguments);
        refused.fails_with(what);
        assert!(refused.stderr.contains(hint), "{arguments:?}: {refused:?}");
    }
    for flag in [["-c", "a text"], ["-r", folder]] {
        let refused = desk.run(&[&["ask", "--search", "lamp"], &flag[..]].concat());
        assert_eq!(refused.code, Some(2));
        assert!(refused.stderr.contains("cannot be used with"), "{refused:?}");
    }
    for command in ["ask", "rank", "embed"] {
        let words: &[&str] = if command == "embed" { &[&file] } else { &["lamp", &file] };
        let refused = run(&[&[command, "-g", "*.md"], words].concat());
        refused.fails_with("--glob is about folders");
        assert!(refused.stderr.contains("add `-r`"), "{refused:?}");
    }
}

#[test]
fn each_way_to_choose_files_has_an_index_of_its_own() {
    let desk = Desk::new();
    desk.write("a.txt", "lamp");
    desk.write("b.md", "lamp");
    desk.write(".hidden.txt", "lamp");
    desk.write("ignored.log", "lamp");
    desk.write(".gitignore", "*.log");
    let found = |flags: &[&str]| {
        let found = desk.run(&[&["search", "lamp", desk.root()], flags].concat());
        names(&found.records()[0], desk.root())
    };
    assert_eq!(found(&[]), ["a.txt", "b.md"]);
    assert_eq!(found(&["-g", "*.md"]), ["b.md"]);
    assert_eq!(found(&["--type", "md"]), ["b.md"]);
    assert_eq!(found(&["--no-ignore"]), ["a.txt", "b.md", "ignored.log"]);
    assert_eq!(found(&[]), ["a.txt", "b.md"]);
    assert_eq!(found(&["--hidden"]), [".hidden.txt", "a.txt", "b.md"]);
}

#[test]
fn a_file_that_two_folders_hold_is_found_once() {
    let desk = Desk::new();
    desk.write("deep/a.txt", "The purser sells tickets.");
    let deep = format!("{}/deep", desk.root());
    let found = desk.run(&["search", "purser", desk.root(), &deep, desk.root(), "-f", "grep"]);
    assert_eq!(found.stdout.lines().count(), 1, "{found:?}");
}

#[test]
fn an_index_inside_the_folder_is_no_text_of_it() {
    for inside in ["indexes", ""] {
        let desk = Desk::new();
        // A folder whose name is not hidden: its index has that name, too.
        desk.write("pages/a.txt", "lamp");
        let pages = format!("{}/pages", desk.root());
        let index = format!("{pages}/{inside}");
        for _ in 0..2 {
            let made = run(&["index", &pages, "--index", &index]);
            assert_eq!((&made.records()[0]["texts"], made.stderr.as_str()), (&json!(1), ""), "{made:?}");
        }
    }
}

#[test]
fn an_indexed_folder_configures_nothing_and_stays_as_it_is() {
    let desk = Desk::new();
    desk.write("a.txt", "The purser sells tickets.");
    let plain = desk.search("purser").stdout;
    for name in ["models.toml", "spanqa.toml", "config.json", "index.json", ".spanqa/config.toml", ".env"] {
        desk.write(
            name,
            "by = \"reader\"\nmodel = \"nowhere\"\nindex = \"here\"\nSPANQA_INDEX=here\nSPANQA_FORMAT=text\n",
        );
    }
    let before = contents(desk.folder.path());
    let mut search = spanqa(&desk.arguments(&["search", "purser"]));
    let found = Run::from(search.current_dir(desk.folder.path()).output().unwrap());
    assert_eq!((found.code, found.stderr.as_str()), (Some(0), ""), "{found:?}");
    let [record, old] = [&found.stdout, &plain].map(|line| serde_json::from_str::<Value>(line).unwrap());
    assert_eq!(names(&record, "."), names(&old, desk.root()));
    assert!(record["by"] == "words" && record["model"] == Value::Null);
    assert_eq!(contents(desk.folder.path()), before);
}

#[test]
fn a_file_that_is_gone_or_changed_by_now_is_left_out() {
    let desk = Desk::new();
    for name in ["a.txt", "b.txt", "c.txt"] {
        desk.write(name, format!("The purser sells tickets in {name}: a return ticket costs eighty kroner."));
    }
    assert_eq!(desk.found("purser").len(), 3);
    desk.remove("a.txt");
    desk.write(
        "b.txt",
        "Something else, and longer than what was there before, by far, so that nobody can take it for that.",
    );
    let stale = desk.run(&["search", "purser", desk.root(), "--no-refresh"]);
    assert_eq!((stale.code, names(&stale.records()[0], desk.root())), (Some(0), vec!["c.txt".to_owned()]));
    assert_eq!(stale.stderr.matches("note: skipped: ").count(), 2, "{stale:?}");
    assert!(stale.stderr.contains("b.txt has changed since it was indexed"), "{stale:?}");
    let asked =
        desk.run(&["ask", "--search", "What does a return ticket cost?", desk.root(), "--no-refresh"]);
    assert!(asked.records()[0]["answers"][0]["text"].as_str().unwrap().contains("eighty"), "{asked:?}");
    assert_eq!(asked.stderr.matches("note: skipped: ").count(), 2, "{asked:?}");
}

#[test]
fn an_index_that_cannot_be_written_is_searched_as_it_is() {
    let desk = Desk::new();
    let old = desk.write("a.txt", "The purser sells tickets.");
    // What has just changed is looked at again.
    let yesterday = std::time::SystemTime::now() - std::time::Duration::from_secs(86400);
    std::fs::File::options().write(true).open(old).unwrap().set_modified(yesterday).unwrap();
    assert_eq!(desk.found("purser"), ["a.txt"]);
    // Nobody can lock a folder, not even the one whom permissions do not hold back.
    let lock = desk.only_index().join("lock");
    std::fs::remove_file(&lock).unwrap();
    std::fs::create_dir(&lock).unwrap();
    assert_eq!(desk.found("purser"), ["a.txt"]);
    desk.write("b.txt", "Another purser.");
    let stale = desk.search("purser");
    assert_eq!(
        (stale.code, names(&stale.records()[0], desk.root())),
        (Some(0), vec!["a.txt".to_owned()]),
        "{stale:?}"
    );
    assert!(stale.stderr.contains("searching what is there"), "{stale:?}");
    desk.run(&["index", desk.root()]).fails_with("cannot write");
}

/// Paragraphs of our own.
#[test]
fn passages_are_found_in_languages_without_spaces_and_endings() {
    let desk = Desk::new();
    let texts = [
        (
            "th/lighthouse.txt",
            "ประภาคารแห่งนี้สร้างขึ้นในปี 1871 โดยวิศวกรชื่ออิงกริด ดาห์ล ผู้ดูแลคนสุดท้ายออกจากเกาะในปี 1986",
        ),
        ("th/ferry.txt", "เรือข้ามฟากออกเดินทางวันละสองเที่ยว ตั๋วไปกลับราคาแปดสิบโครน เด็กเล็กเดินทางฟรี"),
        (
            "zh/lighthouse.txt",
            "灯塔建于1871年，由工程师英格丽德·达尔设计。最后一位看守人于1986年离开了小岛。",
        ),
        ("zh/ferry.txt", "渡轮每天开两班。往返票的价格是八十克朗，六岁以下的儿童免费。"),
        (
            "ar/lighthouse.txt",
            "بنيت المنارة عام 1871 على يد المهندسة إنغريد دال. غادر آخر حارس الجزيرة عام 1986.",
        ),
        (
            "ar/ferry.txt",
            "تبحر العبارة مرتين في اليوم. سعر تذكرة الذهاب والعودة ثمانون كرونة، والأطفال مجانا.",
        ),
    ];
    for (name, text) in texts {
        desk.write(name, text);
    }
    for (question, expected) in [
        ("ตั๋วไปกลับราคาเท่าไร", "th/ferry.txt"),
        ("ใครสร้างประภาคาร", "th/lighthouse.txt"),
        ("往返票多少钱？", "zh/ferry.txt"),
        ("谁设计了灯塔？", "zh/lighthouse.txt"),
        ("كم سعر تذكرة الذهاب والعودة؟", "ar/ferry.txt"),
        ("متى بنيت المنارة؟", "ar/lighthouse.txt"),
    ] {
        let found = desk.found(question);
        assert_eq!(found.first().map(String::as_str), Some(expected), "{question}: {found:?}");
    }
}

/// Files that take a while to index: each has a word of its own.
fn library(desk: &Desk, files: usize) {
    let page = "The ferry sails twice a day between the villages, and the keeper of the lamp waits for it. "
        .repeat(100);
    for number in 0..files {
        desk.write(&format!("{}/{number}.txt", number % 7), format!("needle{number}\n\n{page}"));
    }
}

/// What is found for words of several files, and the number of passages.
fn sample(desk: &Desk) -> Vec<String> {
    let searched = |question| {
        let found = desk.search(question);
        assert_eq!(found.code, Some(0), "{found:?}");
        found.stdout
    };
    ["needle0 needle17", "needle44 keeper", "the ferry"].map(searched).to_vec()
}

#[test]
fn a_process_that_is_killed_leaves_an_index_that_is_right_after_the_next() {
    let desk = Desk::new();
    library(&desk, 300);
    for point in 0..20 {
        // Some go on from what the last one left, some begin anew, and every time some files are others.
        if point % 3 == 0 {
            std::fs::remove_dir_all(desk.index.path()).unwrap();
            std::fs::create_dir(desk.index.path()).unwrap();
        }
        for number in 0..point % 4 * 60 {
            desk.write(
                &format!("{}/{number}.txt", number % 7),
                format!("needle{number} point{point}\n\n{}", "ferry ".repeat(2000)),
            );
        }
        let was_there = listed(desk.index.path()).iter().any(|(path, _)| path.ends_with("index.json"));
        let mut index = spanqa(&desk.arguments(&["index", desk.root()]));
        let mut child = index.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // So many changes of its folder are waited for, or the end.
        let (mut changes, mut last) = (0, listed(desk.index.path()));
        while changes < point && child.try_wait().unwrap().is_none() {
            let now = listed(desk.index.path());
            changes += usize::from(now != last);
            last = now;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What is there is what was there before, or some of what is new; never anything broken.
        let stale = desk.run(&["search", "needle17", desk.root(), "--no-refresh", "--quiet"]);
        let is_new = !was_there && stale.stderr.contains("there is no index");
        assert!(is_new || matches!(stale.code, Some(0 | 1)), "point {point}: {stale:?}");
        if point % 5 == 4 {
            let question = "needle0 needle17 point3 keeper";
            let folder = tempfile::tempdir().unwrap();
            let anew = run(&["search", question, desk.root(), "--index", folder.path().to_str().unwrap()]);
            assert_eq!(desk.search(question).stdout, anew.stdout, "point {point}");
        }
    }
    let found = sample(&desk);
    let whole = Desk { index: tempfile::tempdir().unwrap(), folder: desk.folder };
    assert_eq!(found, sample(&whole));
}

/// The names and sizes of all files below a folder that others write into.
fn listed(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(listed(&path)),
            false => found.push((path.clone(), path.metadata().map_or(0, |about| about.len()))),
        }
    }
    found.sort();
    found
}

#[test]
fn processes_that_index_at_once_wait_for_each_other() {
    let desk = Desk::new();
    library(&desk, 200);
    let at_once = |arguments: &[&str]| -> Vec<Run> {
        let start = |_| {
            let mut program = spanqa(&desk.arguments(arguments));
            program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let running: Vec<_> = (0..4).map(start).collect();
        let ended: Vec<Run> =
            running.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
        for run in &ended {
            assert_eq!(run.code, Some(0), "{run:?}");
            assert!(run.stderr.lines().all(|line| line.contains("waiting for another process")), "{run:?}");
        }
        ended
    };
    for found in at_once(&["search", "needle0 needle17", desk.root()]) {
        assert_eq!(found.stdout, desk.search("needle0 needle17").stdout);
    }
    // One of them reads what is new, and the others find it read.
    library(&desk, 300);
    let read = at_once(&["index", desk.root()])
        .iter()
        .map(|run| run.records()[0]["read"].as_u64().unwrap())
        .sum::<u64>();
    assert_eq!(read, 100);
}

#[test]
fn twenty_thousand_small_files_are_searched() {
    let desk = Desk::new();
    for folder in 0..100 {
        std::fs::create_dir(desk.folder.path().join(folder.to_string())).unwrap();
        for file in 0..200 {
            let path = desk.folder.path().join(format!("{folder}/{file}.txt"));
            std::fs::write(path, format!("page {file} of book{folder}")).unwrap();
        }
    }
    let made = desk.run(&["index", desk.root()]);
    assert_eq!(made.records()[0]["texts"], 20_000, "{made:?}");
    assert_eq!(desk.found("page 7 of book42")[0], "42/7.txt");
    let again = desk.run(&["index", desk.root()]);
    assert_eq!(again.records()[0]["read"], 0, "{again:?}");
}
