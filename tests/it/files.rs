//! Files as people have them: which of a folder are read, and what is read of each.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Run, fixture, run, run_with_input, spanqa};

/// A command that asks a tiny random model: what it answers means nothing, but it answers fast and never abstains.
fn tiny(arguments: &[&str]) -> Command {
    let model = fixture("tiny/minilm");
    let fixed = ["--model", model.to_str().unwrap(), "--window", "60", "--overlap", "16", "--always-answer"];
    spanqa(&[&["ask", "who is the king"], arguments, &fixed].concat())
}

fn ask(arguments: &[&str]) -> Run {
    Run::from(tiny(arguments).output().unwrap())
}

/// All spans that can be had.
const EVERYTHING: [&str; 4] = ["-k", "400", "--dedup", "none"];

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> String {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(text).unwrap();
    out.finish().unwrap()
}

fn answers(run: &Run) -> Vec<Value> {
    assert_eq!(run.code, Some(0), "{run:?}");
    run.records()[0]["answers"].as_array().unwrap().clone()
}

fn range(place: &Value) -> std::ops::Range<usize> {
    place["start"].as_u64().unwrap() as usize..place["end"].as_u64().unwrap() as usize
}

// ---- which files ---------------------------------------------------------------------------------------------------

/// The names of the files that were read below a folder, by the answers that come from each.
fn read_below(folder: &Path, arguments: &[&str]) -> Vec<String> {
    let root = folder.to_str().unwrap();
    let run = ask(&[&["-r", root, "--quiet"], &EVERYTHING[..], arguments].concat());
    let mut names: Vec<String> = answers(&run)
        .iter()
        .map(|answer| {
            answer["document"].as_str().unwrap().strip_prefix(root).unwrap()[1..].replace('\\', "/")
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A folder as a project has it.
fn project() -> tempfile::TempDir {
    let folder = folder();
    for (name, content) in [
        (".gitignore", "target/\n*.log\n"),
        (".git/config", "the king"),
        (".hidden/a.txt", "the king"),
        ("README.md", "the king"),
        ("src/main.rs", "the king"),
        ("src/deep/notes.txt", "the king"),
        ("target/out.txt", "the king"),
        ("run.log", "the king"),
    ] {
        write(folder.path(), name, content);
    }
    folder
}

#[test]
fn what_is_ignored_or_hidden_is_not_read() {
    let project = project();
    let read = |arguments: &[&str]| read_below(project.path(), arguments);
    assert_eq!(read(&[]), ["README.md", "src/deep/notes.txt", "src/main.rs"]);
    assert_eq!(
        read(&["--no-ignore"]),
        ["README.md", "run.log", "src/deep/notes.txt", "src/main.rs", "target/out.txt"]
    );
    let hidden = read(&["--hidden"]);
    assert!(
        hidden.contains(&".hidden/a.txt".into()) && !hidden.contains(&".git/config".into()),
        "{hidden:?}"
    );
    assert!(read(&["--hidden", "--no-ignore"]).contains(&".git/config".into()));
}

#[test]
fn globs_types_and_depth_choose_files() {
    let project = project();
    let read = |arguments: &[&str]| read_below(project.path(), arguments);
    assert_eq!(read(&["-g", "*.md"]), ["README.md"]);
    assert_eq!(read(&["-g", "!*.md"]), ["src/deep/notes.txt", "src/main.rs"]);
    assert_eq!(read(&["--type", "rust"]), ["src/main.rs"]);
    assert_eq!(read(&["--type", "rust", "--type", "md"]), ["README.md", "src/main.rs"]);
    assert_eq!(read(&["--max-depth", "1"]), ["README.md"]);
    let root = project.path().to_str().unwrap();
    ask(&["-r", root, "--type", "no-such"]).fails_with("--type");
    ask(&["-r", root, "-g", "a[b"]).fails_with("--glob");
    ask(&["-r", root, "-g", "*.xyz"]).fails_with("no text file");
    // What would change nothing is refused.
    assert_eq!(ask(&["-g", "*.md", "-c", "x"]).code, Some(2));
    let list = run(&["ask", "--type-list"]);
    assert_eq!(list.code, Some(0));
    assert!(list.stdout.lines().any(|line| line.starts_with("rust: *.rs")), "{}", list.stdout);
}

/// As a person writes them who saw `notes/museum.md:3:59` in an answer, and as they count from the folder on.
#[test]
fn globs_match_paths_as_they_are_printed() {
    let folder = folder();
    for name in ["notes/museum.md", "notes/deep/keys.md", "other/museum.md", "a[b]/x.md"] {
        write(folder.path(), name, "the king");
    }
    let read = |arguments: &[&str]| {
        let run = Run::from(
            tiny(&[arguments, &EVERYTHING[..]].concat()).current_dir(folder.path()).output().unwrap(),
        );
        let mut names: Vec<String> =
            answers(&run).iter().map(|answer| answer["document"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names.dedup();
        (names, run.stderr)
    };
    let names = |arguments: &[&str]| read(arguments).0;
    assert_eq!(names(&["-r", "notes", "-g", "notes/*.md"]), ["notes/museum.md"]);
    assert_eq!(names(&["-r", "./notes/", "-g", "notes/*.md"]), ["./notes/museum.md"]);
    assert_eq!(names(&["-r", "notes", "-g", "deep/*.md"]), ["notes/deep/keys.md"]);
    assert_eq!(names(&["-r", "notes", "-g", "/*.md"]), ["notes/museum.md"]);
    assert_eq!(names(&["-r", "notes", "-g", "!notes/deep/"]), ["notes/museum.md"]);
    assert_eq!(names(&["-r", "notes", "-g", "!deep/*"]), ["notes/museum.md"]);
    assert_eq!(names(&["-r", "-g", "notes/*.md"]), ["./notes/museum.md"]);
    assert_eq!(names(&["-r", "a[b]", "-g", "/*.md"]), ["a[b]/x.md"]);
    let whole = folder.path().join("notes");
    assert_eq!(names(&["-r", whole.to_str().unwrap(), "-g", "deep/*.md"]).len(), 1);
    let pattern = format!("{}/*.md", whole.display());
    assert_eq!(names(&["-r", whole.to_str().unwrap(), "-g", &pattern]).len(), 1);
    // One glob for two folders may well choose one of them.
    let (found, said) = read(&["-r", "notes", "other", "-g", "other/*.md"]);
    assert_eq!(found, ["other/museum.md"]);
    assert!(said.contains("no text file below notes"), "{said}");
}

#[test]
fn what_was_left_out_is_named_where_nothing_is_left() {
    let folder = folder();
    for (name, content) in [
        ("ignored/.gitignore", "*.txt"),
        ("ignored/a.txt", "the king"),
        ("built/.gitignore", "target/"),
        ("built/target/a.txt", "the king"),
        ("hidden/.a/a.txt", "the king"),
        ("both/.gitignore", "*.txt"),
        ("both/.a/a.txt", "the king"),
        ("other/a.md", "the king"),
    ] {
        write(folder.path(), name, content);
    }
    let refused = |name: &str, arguments: &[&str], what: &str, hint: &str| {
        let root = folder.path().join(name);
        let run = ask(&[&["-r", root.to_str().unwrap()], arguments].concat());
        run.fails_with(what);
        assert!(run.stderr.contains(hint), "{}", run.stderr);
    };
    refused("ignored", &[], "is ignored", "`--no-ignore` reads");
    refused("built", &["-g", "*.txt"], "is ignored", "`--no-ignore` reads");
    refused("hidden", &["-g", "*.txt"], "is hidden", "`--hidden` reads");
    refused("both", &["--type", "txt"], "is hidden or ignored", "`--hidden` and `--no-ignore` together");
    refused("other", &["-g", "*.xyz"], "there is no text file below", "another `-g`");
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let folder = folder();
    let path = write(folder.path(), "a.txt", "the king");
    let again = folder.path().join(".").join("a.txt").display().to_string();
    let root = folder.path().to_str().unwrap();
    let once = answers(&ask(&[&[path.as_str()], &EVERYTHING[..]].concat())).len();
    for twice in [&[path.as_str(), &path][..], &[&path, &again], &["-r", root, &path], &["-r", &path, root]] {
        let run = ask(&[twice, &EVERYTHING[..]].concat());
        assert_eq!(answers(&run).len(), once, "{twice:?}");
        assert!(run.stderr.contains("a.txt is named twice and read once"), "{}", run.stderr);
    }
}

#[test]
fn the_current_folder_is_read_where_none_is_named() {
    let project = project();
    let run = Run::from(tiny(&["-r", "-g", "*.md"]).current_dir(project.path()).output().unwrap());
    assert_eq!(answers(&run)[0]["document"], "./README.md");
}

#[test]
fn binary_files_of_a_folder_are_one_remark() {
    let folder = folder();
    write(folder.path(), "a.txt", "the king");
    for name in ["1.png", "2.png", "3.png"] {
        write(folder.path(), name, b"\x89PNG\r\n\x1a\n\0");
    }
    let run = ask(&["-r", folder.path().to_str().unwrap()]);
    assert_eq!(run.stderr.matches("skipped").count(), 1, "{}", run.stderr);
    assert!(run.stderr.contains("1.png is a picture, not text, and 2 more"), "{}", run.stderr);
}

// ---- what is read of them --------------------------------------------------------------------------------------------

#[test]
fn compressed_files_are_read_as_what_is_in_them() {
    let folder = folder();
    let text = "the king and the old cat\nof the sea";
    let zstandard =
        ruzstd::encoding::compress_to_vec(text.as_bytes(), ruzstd::encoding::CompressionLevel::Fastest);
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(text.as_bytes()).unwrap();
    let spans = |path: &str| {
        let mut answers = answers(&ask(&[&[path], &EVERYTHING[..]].concat()));
        answers.iter_mut().for_each(|answer| answer["document"] = Value::Null);
        answers
    };
    let plain = spans(&write(folder.path(), "a.txt", text));
    for (name, bytes) in
        [("a.gz", gzip(text.as_bytes())), ("b", zstandard), ("c.bz2", bzip2.finish().unwrap())]
    {
        assert_eq!(spans(&write(folder.path(), name, bytes)), plain, "{name}");
    }
    let damaged = gzip(text.as_bytes());
    let damaged = write(folder.path(), "cut.gz", &damaged[..damaged.len() - 6]);
    ask(&[&damaged]).fails_with("cannot unpack");
    // The limit is on what comes out.
    let bomb = write(folder.path(), "bomb.gz", gzip(&vec![b'a'; 100_000]));
    ask(&[&bomb, "--max-bytes", "5000"]).fails_with("larger than 5000 bytes");
}

/// A mark says how a text is written. It is no column of it.
#[test]
fn byte_order_marks_do_not_count() {
    let folder = folder();
    let text = "king é😀 sea\nthe cat";
    let utf16 = |bytes: fn(u16) -> [u8; 2]| {
        let units = "\u{feff}".encode_utf16().chain(text.encode_utf16());
        units.flat_map(bytes).collect::<Vec<u8>>()
    };
    let spans = |name: &str, bytes: &[u8]| {
        let path = write(folder.path(), name, bytes);
        let mut answers = answers(&ask(&[&[path.as_str()], &EVERYTHING[..]].concat()));
        answers.iter_mut().for_each(|answer| answer["document"] = Value::Null);
        answers
    };
    let plain = spans("plain", text.as_bytes());
    assert!(plain.iter().any(|answer| (&answer["column"], &answer["start"]) == (&json!(1), &json!(0))));
    assert_eq!(spans("marked", format!("\u{feff}{text}").as_bytes()), plain);
    assert_eq!(spans("little", &utf16(u16::to_le_bytes)), plain);
    assert_eq!(spans("big", &utf16(u16::to_be_bytes)), plain);
}

/// Without a mark it is taken for what its NULs say, and the hint is the one that helps.
#[test]
fn utf16_without_a_mark_is_named() {
    let folder = folder();
    let text = "the king of the sea, in 1871\r\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, name) in [(little, "UTF-16LE"), (big, "UTF-16BE")] {
        let path = write(folder.path(), "a.txt", &bytes);
        let refused = ask(&[&path]);
        refused.fails_with(&format!("is {name} text without a byte order mark, not UTF-8"));
        let command = format!("iconv -f {name} -t UTF-8 {path} | spanqa ask");
        assert!(refused.stderr.contains(&command), "{}", refused.stderr);
        let requests = run_with_input(&["batch", "--quiet"], &bytes);
        let error = &requests.records()[0]["error"];
        assert_eq!((requests.records().len(), &error["code"]), (1, &json!("no_requests")));
        assert!(error["hint"].as_str().unwrap().starts_with(&format!("iconv -f {name}")), "{error}");
    }
}

#[test]
fn requests_in_utf16_are_read() {
    let folder = folder();
    let lines = "{\"question\": \"who?\", \"context\": \"the king 😀\"}\r\n{\"question\": \"who?\", \"context\": \"é\"}";
    let table = "question,context\r\nwho?,the king é\r\n";
    let model = fixture("tiny/minilm");
    let batch = ["batch", "--model", model.to_str().unwrap(), "--always-answer", "--quiet"];
    let batch = |path: &str| run(&[&batch[..], &[path]].concat());
    for (name, text, count) in [("a.jsonl", lines, 2), ("a.csv", table, 1)] {
        let plain = batch(&write(folder.path(), name, text));
        assert_eq!((plain.code, plain.records().len()), (Some(0), count), "{plain:?}");
        let marked = |bytes: fn(u16) -> [u8; 2]| {
            "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect::<Vec<u8>>()
        };
        for bytes in [marked(u16::to_le_bytes), marked(u16::to_be_bytes)] {
            assert_eq!(batch(&write(folder.path(), name, &bytes)).stdout, plain.stdout, "{name}");
            let cut = batch(&write(folder.path(), name, &bytes[..bytes.len() - 1]));
            assert!(cut.stdout.contains("not valid UTF-16"), "{cut:?}");
        }
    }
}

#[test]
fn pages_of_html_are_read_as_text_with_their_source() {
    let folder = folder();
    let html = "<!DOCTYPE html>\n<title>The king</title><style>p { color: red }</style>\n\
                <p>Olav &amp; the <b>cat</b></p><table><tr><td>sea<td>hill</table><script>var king;</script>";
    let text = "The king\n\nOlav & the cat\n\nsea\thill\n";
    for (name, packed) in [("a.html", false), ("no-name", false), ("b.htm.gz", true)] {
        let bytes = if packed { gzip(html.as_bytes()) } else { html.into() };
        let path = write(folder.path(), name, bytes);
        let answers = answers(&ask(&[&[path.as_str()], &EVERYTHING[..]].concat()));
        for answer in &answers {
            assert_eq!(&text[range(answer)], answer["text"], "{name}");
            assert_eq!(answer["source"]["format"], "html");
            let source = &html[range(&answer["source"])];
            let words = answer["text"].as_str().unwrap().split_whitespace();
            assert!(words.clone().all(|word| word == "&" || source.contains(word)), "{answer} {source}");
            assert!(source.starts_with(words.clone().next().unwrap()), "{answer} {source}");
        }
        assert!(answers.iter().any(|answer| answer["text"] == "Olav & the cat"), "{answers:?}");
    }
    let path = write(folder.path(), "c.html", "<p>the king</p>");
    let as_it_stands = answers(&ask(&[&[path.as_str(), "--read-as", "text"], &EVERYTHING[..]].concat()));
    assert!(as_it_stands.iter().all(|answer| answer.get("source").is_none()));
    assert!(as_it_stands.iter().any(|answer| answer["text"].as_str().unwrap().contains("<p>")));
    let latin1 = write(folder.path(), "old.html", b"<html><meta charset=windows-1252><p>caf\xe9");
    let refused = ask(&[&latin1]);
    refused.fails_with("not valid UTF-8 at byte 39");
    assert!(refused.stderr.contains("iconv -f windows-1252"), "{}", refused.stderr);
}

/// The model sees whole words and letters once; what is quoted is the page's text as it stands.
#[test]
fn formatted_manual_pages_are_whole_words_for_the_model() {
    let folder = folder();
    let page =
        "KING(1)   Kings   KING(1)\n\nN\u{8}NA\u{8}A\n   the cat king‐\n   dom of _\u{8}s_\u{8}e_\u{8}a\n";
    let text = "KING(1)   Kings   KING(1)\n\nNA\n   the cat king‐\n   dom of sea\n";
    let path = write(folder.path(), "king.txt", page);
    let spans = answers(&ask(&[&[path.as_str(), "--offset-unit", "byte"], &EVERYTHING[..]].concat()));
    for answer in &spans {
        assert_eq!(&text[range(answer)], answer["text"]);
        assert_eq!(answer["source"]["format"], "man");
        let source =
            page[range(&answer["source"])].replace("_\u{8}", "").replace("N\u{8}", "").replace("A\u{8}", "");
        assert_eq!(source, answer["text"].as_str().unwrap());
    }
    assert!(
        spans.iter().any(|answer| answer["text"].as_str().unwrap().contains("king‐\n   dom")),
        "{spans:?}"
    );
    // The hyphen is not a token of its own: no answer begins or ends with it.
    assert!(!spans.iter().any(|answer| answer["text"].as_str().unwrap().ends_with('‐')), "{spans:?}");
    // Prose is not touched.
    let prose = write(folder.path(), "prose.txt", "the cat king‐\n   dom");
    let spans = answers(&ask(&[&[prose.as_str()], &EVERYTHING[..]].concat()));
    assert!(spans.iter().any(|answer| answer["text"].as_str().unwrap().ends_with('‐')), "{spans:?}");
}

#[test]
fn what_is_no_text_is_named_with_the_way_out() {
    let folder = folder();
    let file = |name: &str, content: &[u8]| write(folder.path(), name, content);
    let hint = |path: &str, what: &str, command: &str| {
        let refused = ask(&[path]);
        refused.fails_with(what);
        assert!(refused.stderr.contains(command), "{}", refused.stderr);
    };
    let book = file("my book.xlsx", b"PK\x03\x04 xl/workbook.xml");
    hint(&book, "is a spreadsheet, not text", &format!("--convert-to csv '{book}'"));
    hint(&file("q.parquet", b"PAR1\0\0"), "is a Parquet file", "read_parquet");
    hint(
        &file("x.tar.gz", &gzip(&[vec![0; 257], b"ustar\0".to_vec(), vec![0; 250]].concat())),
        "a tar archive",
        "tar -xOf",
    );
    hint(
        "https://example.org/a.html",
        "cannot read https://",
        "curl -sL 'https://example.org/a.html' | spanqa ask",
    );
    hint("www.example.org/a", "cannot read www.", "curl -sL 'www.example.org/a' | spanqa ask");
    hint("file:///no/such%20file", "cannot read file:", "by its path: spanqa ask \"...\" /no/such%20file");
    let cut = [&b"\x28\xb5\x2f\xfd"[..], b"\xff\xff\xff"].concat();
    hint(&file("cut.zst", &cut), "cut.zst (zstd): it ends too early", "zstd -t");
}

#[cfg(unix)]
#[test]
fn links_that_lead_nowhere_are_named() {
    let folder = folder();
    let link = |name: &str, to: &str| {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink(to, &path).unwrap();
        path.display().to_string()
    };
    for (path, hint) in [(link("loop", "loop"), "leads nowhere"), (link("gone", "nothing"), "not there")] {
        let refused = ask(&[&path]);
        refused.fails_with("cannot read");
        assert!(
            refused.stderr.contains("symbolic link") && refused.stderr.contains(hint),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn sizes_may_have_a_unit() {
    let folder = folder();
    let path = write(folder.path(), "a.txt", "the king ".repeat(200));
    ask(&[&path, "--max-bytes", "1k"]).fails_with("larger than 1024 bytes");
    assert_eq!(ask(&[&path, "--max-bytes", "2K"]).code, Some(0));
    let wrong = ask(&[&path, "--max-bytes", "2x"]);
    assert!(wrong.stderr.contains("such as 5000, 10k, 5M or 1G"), "{}", wrong.stderr);
}

/// A disk without room.
#[cfg(target_os = "linux")]
#[test]
fn an_output_that_is_full_is_named() {
    let full = || std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let refused = Run::from(tiny(&["-c", "the king"]).stdout(full()).output().unwrap());
    refused.fails_with("cannot write to standard output: No space left");
    assert!(refused.stderr.contains("free some space"), "{}", refused.stderr);
    let list = Run::from(spanqa(&["models", "list"]).stdout(full()).output().unwrap());
    list.fails_with("cannot write to standard output: No space left");
}

// ---- other programs --------------------------------------------------------------------------------------------------

/// Programs that only the test has, and no other ones.
#[cfg(unix)]
fn programs(programs: &[(&str, &str)]) -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    for (name, script) in programs {
        let path = write(folder.path(), name, format!("#!/bin/sh\n{script}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    folder
}

#[cfg(unix)]
fn ask_with(programs: &Path, arguments: &[&str]) -> Run {
    Run::from(tiny(arguments).env("PATH", programs).output().unwrap())
}

#[cfg(unix)]
#[test]
fn pdf_and_word_are_read_by_other_programs() {
    let folder = folder();
    let fake = programs(&[
        (
            "pdftotext",
            "printf 'the king\\n\\fthe sea\\n\\f'; test \"$1 $2 $4\" = '-enc UTF-8 -' && test -f \"$3\"",
        ),
        ("pandoc", "test -f \"$6\" && printf 'the king'"),
        ("man", "printf 'KING(1)  x  KING(1)\\n\\n  the ki-\\n  ng\\n'"),
    ]);
    let pdf = write(folder.path(), "-paper.pdf", "%PDF-1.7 \u{e9}");
    let packed = write(folder.path(), "paper.pdf.gz", gzip(b"%PDF-1.7"));
    for path in [&pdf, &packed] {
        let spans = answers(&ask_with(fake.path(), &[&[path.as_str()], &EVERYTHING[..]].concat()));
        let page = |text: &str| {
            let found = spans.iter().find(|answer| answer["text"] == text).unwrap();
            assert_eq!(found["source"]["format"], "pdf");
            found["source"]["page"].as_u64().unwrap()
        };
        assert_eq!((page("king"), page("sea")), (1, 2));
    }
    let word = write(folder.path(), "letter.docx", b"PK\x03\x04");
    let spans = answers(&ask_with(fake.path(), &[&word]));
    assert_eq!(spans[0]["source"], json!({"format": "docx"}));
    let source = write(folder.path(), "king.1", ".\\\" comment\n.TH KING 1\n.SH NAME\n");
    let spans = answers(&ask_with(fake.path(), &[&[source.as_str()], &EVERYTHING[..]].concat()));
    assert!(spans.iter().all(|answer| answer["source"] == json!({"format": "roff"})));
    assert!(spans.iter().any(|answer| answer["text"] == "ki-\n  ng"), "{spans:?}");

    let none = programs(&[]);
    for (path, command) in [(&pdf, "pdftotext"), (&word, "pandoc -t plain"), (&source, "man -P cat -l")] {
        let refused = ask_with(none.path(), &[path]);
        refused.fails_with("which makes text of it, is not installed");
        assert!(refused.stderr.contains(&format!("{command} {path}")), "{}", refused.stderr);
    }
    let broken = programs(&[("pdftotext", "echo 'Syntax Error: no trailer' >&2; exit 1")]);
    ask_with(broken.path(), &[&pdf]).fails_with("no trailer");
    let endless = programs(&[("pdftotext", "while :; do echo the king; done")]);
    ask_with(endless.path(), &[&pdf, "--max-bytes", "5000"]).fails_with("larger than 5000 bytes");
}

#[cfg(unix)]
#[test]
fn a_command_of_the_users_makes_the_text() {
    let folder = folder();
    let tools = programs(&[
        ("upper", "printf 'the king of %s' \"${1##*/}\"; cat >&2"),
        ("fails", "echo 'no luck' >&2; exit 3"),
    ]);
    let tool = |name: &str| tools.path().join(name).to_str().unwrap().to_owned();
    let (a, b) = (write(folder.path(), "a.xyz", "\0"), write(folder.path(), "b.txt", "the sea"));
    let run =
        ask(&[&[a.as_str(), &b, "--pre", &tool("upper"), "--pre-glob", "*.xyz"], &EVERYTHING[..]].concat());
    let spans = answers(&run);
    let of = |text: &str| spans.iter().find(|answer| answer["text"] == text).cloned().unwrap();
    assert_eq!(of("the king")["source"], json!({"format": "pre"}));
    assert!(of("the sea").get("source").is_none());
    ask(&[&b, "--pre", &tool("fails")]).fails_with("no luck");
    ask(&[&b, "--pre", "/no/such/command"]).fails_with("there is no such program");
    let hint = |command: &str, hint: &str| {
        for files in [&[b.as_str()][..], &["-r", folder.path().to_str().unwrap()]] {
            let refused = ask(&[files, &["--pre", command]].concat());
            refused.fails_with(&format!("there is no such program as `{command}`"));
            assert!(refused.stderr.contains(hint), "{}", refused.stderr);
        }
    };
    hint("no-such-command", "`--pre` takes a program in PATH");
    hint("sed -n 1p", "exec %s \"$1\"\\n' 'sed -n 1p' > pre.sh && chmod +x pre.sh");
    let skipped =
        ask(&["-r", folder.path().to_str().unwrap(), "--pre", &tool("fails"), "--pre-glob", "!*.txt"]);
    assert_eq!(skipped.code, Some(0), "{skipped:?}");
    assert!(skipped.stderr.contains("no luck"), "{}", skipped.stderr);
}

// ---- requests ----------------------------------------------------------------------------------------------------------

#[test]
fn requests_may_name_such_files() {
    let folder = folder();
    let html = write(folder.path(), "a.html", "<p>the <i>king</i></p>");
    let packed = write(folder.path(), "b.gz", gzip(b"the king"));
    let tar = write(folder.path(), "c.xlsx", b"PK\x03\x04");
    let line = |file: &str| format!("{}\n", json!({"question": "who?", "file": file}));
    let model = fixture("tiny/minilm");
    let arguments = ["batch", "--model", model.to_str().unwrap(), "--always-answer", "--quiet"];
    let run = run_with_input(&arguments, (line(&html) + &line(&packed) + &line(&tar)).as_bytes());
    let records = run.records();
    assert_eq!(records[0]["answers"][0]["source"]["format"], "html");
    assert!(records[1]["answers"][0]["text"].as_str().is_some_and(|text| "the king".contains(text)));
    assert!(records[1]["answers"][0].get("source").is_none());
    assert_eq!(records[2]["error"]["code"], "document_not_text");
}

#[test]
fn files_that_hold_no_requests_are_one_error() {
    let folder = folder();
    let feather = [&b"ARROW1\0\0"[..], &b"\n\xff".repeat(70), b"ARROW1"].concat();
    let path = write(folder.path(), "q.feather", &feather);
    let refused = run(&["batch", &path]);
    refused.fails_with("is an Arrow (Feather) file, not JSON lines or a table");
    assert!(refused.stderr.contains("read_feather"), "{}", refused.stderr);
    run(&["batch", &write(folder.path(), "q.jsonl.gz", gzip(&feather))]).fails_with("is an Arrow");
    run(&["batch", &write(folder.path(), "q.xlsx", b"PK\x03\x04...")]).fails_with("is a spreadsheet");
    let piped = run_with_input(&["batch", "--quiet"], &feather);
    assert_eq!((piped.code, piped.records().len()), (Some(2), 1), "{piped:?}");
    assert_eq!(piped.records()[0]["error"]["code"], "no_requests");
}

/// Threads that the system does not give are an error, not a panic. No address space has room for a stack of this size, so the first one
/// fails; with a limit on memory instead, one that has started may fail in the standard library, which ends the program.
#[cfg(target_os = "linux")]
#[test]
fn threads_that_cannot_be_had_are_an_error() {
    let model = fixture("tiny/minilm");
    let mut asked = spanqa(&["ask", "why", "-c", "the king", "--model", model.to_str().unwrap()]);
    let refused = Run::from(asked.env("RUST_MIN_STACK", (1u64 << 46).to_string()).output().unwrap());
    refused.fails_with("thread");
}
