//! `spanqa mcp`: scripted sessions of both eras of the protocol.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};

use crate::support::{run, spanqa};

const TEXT: &str = "The lighthouse stands on a rock.\nIt was built by Ingrid Dahl in 1871.\n\nThe keeper said: “It’s over”.\n";

/// A session from the agent's side.
struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What every request carries, in the newer era.
    meta: Option<Value>,
    id: u64,
}

impl Agent {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, more: &[&str]) -> Self {
        Self::start_in(folder, more, &[])
    }

    fn start_in(folder: &Path, more: &[&str], variables: &[(&str, &str)]) -> Self {
        let folder = folder.display().to_string();
        let mut child = spanqa(&[&["mcp", "--root", &folder], more].concat())
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, meta: None, id: 0 }
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input.as_mut().unwrap(), "{message}").unwrap();
    }

    /// Sends a request and reads its response, whatever is said in between.
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.id += 1;
        let mut params = params;
        if let Some(meta) = &self.meta {
            params["_meta"] = meta.clone();
        }
        self.send(&json!({"jsonrpc": "2.0", "id": self.id, "method": method, "params": params}));
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the session ended at {method}");
            // Nothing but the protocol is on standard output.
            let message: Value = serde_json::from_str(&line).unwrap();
            assert_eq!(message["jsonrpc"], "2.0", "{message}");
            if message["id"] == self.id {
                return message;
            }
        }
    }

    /// As clients before 2026 begin.
    fn initialize(&mut self) -> Value {
        let client = json!({"name": "test", "version": "1"});
        let asked = json!({"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client});
        let answer = self.ask("initialize", asked);
        self.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        answer["result"].clone()
    }

    /// As later ones do, who begin with any request.
    fn discover(&mut self) -> Value {
        self.meta = Some(json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }));
        self.ask("server/discover", json!({}))["result"].clone()
    }

    fn call(&mut self, tool: &str, arguments: Value) -> Value {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments}))["result"].clone()
    }

    /// What a tool found.
    fn found(&mut self, tool: &str, arguments: Value) -> Value {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{result}");
        // For agents that read texts only.
        let text: Value = serde_json::from_str(result["content"][0]["text"].as_str().unwrap()).unwrap();
        assert_eq!(text, result["structuredContent"]);
        text
    }

    /// What a tool says when it cannot do what it was asked.
    fn refused(&mut self, tool: &str, arguments: Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        result["content"][0]["text"].as_str().unwrap().to_owned()
    }

    /// The end of the input is the end of the process.
    fn end(mut self) {
        drop(self.input.take());
        let ended = self.child.wait_with_output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stderr.is_empty(), "{ended:?}");
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("light house.txt"), TEXT).unwrap();
    std::fs::write(folder.path().join("other.txt"), "Ferries leave at noon.\n").unwrap();
    std::fs::write(folder.path().join("picture.png"), b"\x89PNG\r\n\x1a\n\0\0").unwrap();
    folder
}

fn use_tools(agent: &mut Agent) {
    let tools = agent.ask("tools/list", json!({}))["result"]["tools"].clone();
    let names: Vec<&str> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["find_quotes", "search_passages", "read_lines", "verify_quote", "status"]);
    for tool in tools.as_array().unwrap() {
        assert_eq!(tool["annotations"]["readOnlyHint"], true);
        assert_eq!(tool["inputSchema"]["additionalProperties"], false);
        assert!(
            tool["outputSchema"].is_object() && tool["description"].as_str().unwrap().len() > 40,
            "{tool}"
        );
    }

    let found = agent.found("find_quotes", json!({"question": "Who built the lighthouse?"}));
    let answer = &found["answers"][0];
    assert_eq!((&found["answered"], &answer["text"]), (&json!(true), &json!("Ingrid Dahl")), "{found}");
    assert_eq!((&answer["document"], &answer["line"]), (&json!("light house.txt"), &json!(2)));
    assert_eq!(answer["sentence"].as_str().unwrap().trim(), "It was built by Ingrid Dahl in 1871.");
    let uri = answer["uri"].as_str().unwrap();
    assert!(uri.starts_with("file:///") && uri.ends_with("/light%20house.txt"), "{uri}");
    // No answer is a result.
    let none =
        agent.found("find_quotes", json!({"question": "Who is the mayor of Oslo?", "paths": ["other.txt"]}));
    assert_eq!(none["answered"], false, "{none}");
    let strict = json!({"question": "Who built the lighthouse?", "min_margin": 1000});
    assert_eq!(agent.found("find_quotes", strict)["answered"], false);

    let passages = agent.found("search_passages", json!({"query": "lighthouse", "k": 1}));
    let passage = &passages["passages"][0];
    assert_eq!(
        (&passage["document"], &passage["line"]),
        (&json!("light house.txt"), &json!(1)),
        "{passages}"
    );
    assert!(passage["text"].as_str().unwrap().contains("stands on a rock"), "{passages}");
    assert_eq!((&passages["files"], passages["passages"].as_array().unwrap().len()), (&json!(2), 1));
    assert_eq!(agent.found("search_passages", json!({"query": "zebra"}))["passages"], json!([]));

    let lines = agent.found("read_lines", json!({"path": "light house.txt", "from": 2, "count": 2}));
    assert_eq!(lines["lines"][0], json!({"line": 2, "text": "It was built by Ingrid Dahl in 1871."}));
    assert_eq!((&lines["total"], &lines["next"]), (&json!(4), &json!(4)));
    assert_eq!(agent.found("read_lines", json!({"path": "light house.txt", "from": 4}))["next"], Value::Null);

    let verdict = |found: &Value| (found["verdict"].as_str().unwrap().to_owned(), found["line"].as_u64());
    let quoted =
        agent.found("verify_quote", json!({"quote": "built by Ingrid Dahl", "path": "light house.txt"}));
    assert_eq!(verdict(&quoted), ("exact".into(), Some(2)));
    let quoted = agent.found("verify_quote", json!({"quote": "\"it's OVER\""}));
    assert_eq!((verdict(&quoted), &quoted["text"]), (("normalised".into(), Some(4)), &json!("“It’s over”")));
    let quoted = agent.found("verify_quote", json!({"quote": "It was built by Ingrid Berg in 1871"}));
    assert_eq!(verdict(&quoted), ("near".into(), Some(2)), "{quoted}");
    assert!(quoted["differences"].to_string().contains("Berg"), "{quoted}");
    let quoted = agent.found("verify_quote", json!({"quote": "Nobody ever wrote this sentence here"}));
    assert_eq!(verdict(&quoted), ("absent".into(), None));

    let status = agent.found("status", json!({}));
    assert_eq!((&status["model"]["state"], &status["model"]["name"]), (&json!("ready"), &json!("builtin")));

    for (tool, arguments, said) in [
        ("find_quotes", json!({"question": "who?", "folder": "x"}), "unknown field `folder`"),
        ("find_quotes", json!({"question": " "}), "the question is empty"),
        ("find_quotes", json!({}), "missing field `question`"),
        ("search_passages", json!({"query": " "}), "the query is empty"),
        ("search_passages", json!({"query": "rock", "paths": []}), "unknown field `paths`"),
        ("find_quotes", json!({"question": "who?", "paths": ["picture.png"]}), "picture.png"),
        ("read_lines", json!({"path": "../secret.txt"}), "there is no file ../secret.txt below the roots"),
        ("read_lines", json!({"path": "/etc/hostname"}), "there is no file /etc/hostname below the roots"),
        ("verify_quote", json!({"quote": ""}), "the quotation is empty"),
        ("status", json!({"verbose": true}), "unknown field `verbose`"),
    ] {
        let reason = agent.refused(tool, arguments);
        assert!(reason.contains(said), "{said}: {reason}");
    }
    assert_eq!(
        agent.ask("tools/call", json!({"name": "write_file", "arguments": {}}))["error"]["code"],
        -32602
    );
    assert_eq!(agent.ask("resources/nothing", json!({}))["error"]["code"], -32601);
}

#[test]
fn sessions_that_begin_with_initialize() {
    let folder = folder();
    let mut agent = Agent::start(folder.path());
    let hello = agent.initialize();
    assert_eq!(
        (&hello["protocolVersion"], &hello["serverInfo"]["name"]),
        (&json!("2025-06-18"), &json!("spanqa"))
    );
    assert!(hello["instructions"].as_str().unwrap().contains("find_quotes"));
    use_tools(&mut agent);
    assert_eq!(agent.call("status", json!({}))["resultType"], Value::Null);
    agent.end();
}

#[test]
fn sessions_without_a_beginning() {
    let folder = folder();
    let mut agent = Agent::start(folder.path());
    let hello = agent.discover();
    assert!(hello["supportedVersions"].to_string().contains("2026-07-28"), "{hello}");
    use_tools(&mut agent);
    assert_eq!(agent.call("status", json!({}))["resultType"], "complete");
    agent.end();
}

/// A folder that was indexed is searched by its index, which is as the folder is now.
#[test]
fn an_index_is_used_where_there_is_one() {
    let (folder, home) = (folder(), tempfile::tempdir().unwrap());
    let (path, home) = (folder.path().display().to_string(), home.path().display().to_string());
    // Without an index nothing is made.
    let mut agent = Agent::start_with(folder.path(), &["--index", &home]);
    agent.initialize();
    assert_eq!(agent.found("status", json!({}))["index"], Value::Null);
    agent.found("search_passages", json!({"query": "lighthouse"}));
    assert_eq!(std::fs::read_dir(&home).unwrap().count(), 0);
    run(&["index", &path, "--index", &home, "--quiet"]).code.filter(|code| *code == 0).unwrap();
    assert_eq!(agent.found("status", json!({}))["index"]["files"], 2);
    let found = agent.found("find_quotes", json!({"question": "Who built the lighthouse?"}));
    let answer = &found["answers"][0];
    assert_eq!((&answer["text"], &answer["document"]), (&json!("Ingrid Dahl"), &json!("light house.txt")));
    assert!(answer["uri"].as_str().unwrap().ends_with("/light%20house.txt"), "{found}");
    assert_eq!(answer["sentence"].as_str().unwrap().trim(), "It was built by Ingrid Dahl in 1871.");
    // What only a search says.
    assert!(found["passages_searched"].as_u64().unwrap() >= 2, "{found}");
    let passages = agent.found("search_passages", json!({"query": "ferries"}));
    assert_eq!(passages["passages"][0]["document"], "other.txt", "{passages}");
    // It is read as `ask --search` reads.
    for number in 0..40 {
        let text = format!("Lighthouse {number} was built by somebody else.\n");
        std::fs::write(folder.path().join(format!("lighthouse {number}.txt")), text).unwrap();
    }
    let question = "Who built the lighthouse?";
    let found = agent.found("find_quotes", json!({"question": question}));
    let searched = run(&["ask", question, &path, "--search", "--top-k", "3", "--index", &home, "--quiet"])
        .records()
        .remove(0);
    for field in ["windows", "windows_total", "passages_searched"] {
        assert_eq!(found[field], searched[field], "{field}: {found} {searched}");
    }
    // What has come since, and what has gone.
    std::fs::write(folder.path().join("new.txt"), "The harbour master is called Solveig Moe.\n").unwrap();
    std::fs::remove_file(folder.path().join("other.txt")).unwrap();
    let found = agent.found("find_quotes", json!({"question": "What is the harbour master called?"}));
    assert_eq!(found["answers"][0]["text"], "Solveig Moe", "{found}");
    assert_eq!(agent.found("search_passages", json!({"query": "ferries"}))["passages"], json!([]));
    // Files that are named are read without it.
    let named = json!({"question": "Who built the lighthouse?", "paths": ["light house.txt"]});
    assert_eq!(agent.found("find_quotes", named)["passages_searched"], Value::Null);
    // Nothing in it is no answer, and no failure.
    let none = agent.found("find_quotes", json!({"question": "zebra?"}));
    assert_eq!((&none["answered"], &none["answers"]), (&json!(false), &json!([])), "{none}");
    agent.end();
    // As it was, for those who do not want it to be touched.
    std::fs::write(folder.path().join("newer.txt"), "Zebras graze here.\n").unwrap();
    let mut agent = Agent::start_with(folder.path(), &["--index", &home, "--no-refresh"]);
    agent.initialize();
    assert_eq!(agent.found("search_passages", json!({"query": "zebras"}))["passages"], json!([]));
    agent.end();
}

/// A session in a sandbox does what it does without, and brings an index up to date. A program that is none of the system's is not run.
#[cfg(target_os = "linux")]
#[test]
fn a_sandbox_bounds_what_is_run() {
    use std::os::unix::fs::PermissionsExt;

    let (folder, home, other) = (folder(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = other.path().join("secret.txt");
    std::fs::write(&secret, "The password of the harbour is swordfish.\n").unwrap();
    // A program that somebody has taken over.
    let program = folder.path().join("bin/pdftotext");
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::fs::write(&program, format!("#!/bin/sh\nexec cat {}\n", secret.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("a.pdf"), "%PDF-1.4\n").unwrap();
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let home = home.path().display().to_string();
    let indexed = folder.path().display().to_string();
    for sandbox in [false, true] {
        let more: &[&str] = if sandbox { &["--sandbox"] } else { &[] };
        let mut agent =
            Agent::start_in(folder.path(), &[&["--index", &home], more].concat(), &[("PATH", &path)]);
        agent.initialize();
        let asked = json!({"question": "What is the password of the harbour?", "paths": ["a.pdf"]});
        let found = agent.ask("tools/call", json!({"name": "find_quotes", "arguments": asked})).to_string();
        assert_eq!(found.contains("swordfish"), !sandbox, "{found}");
        let quotes = json!({"question": "Who built the lighthouse?", "paths": ["light house.txt"]});
        assert_eq!(agent.found("find_quotes", quotes)["answers"][0]["text"], "Ingrid Dahl");
        agent.end();
    }
    std::fs::remove_file(folder.path().join("a.pdf")).unwrap();
    run(&["index", &indexed, "--index", &home, "--quiet"]).code.filter(|code| *code == 0).unwrap();
    let mut agent = Agent::start_with(folder.path(), &["--index", &home, "--sandbox"]);
    agent.initialize();
    std::fs::write(folder.path().join("new.txt"), "The harbour master is called Solveig Moe.\n").unwrap();
    let found = agent.found("find_quotes", json!({"question": "What is the harbour master called?"}));
    assert_eq!(found["answers"][0]["text"], "Solveig Moe", "{found}");
    assert!(found["passages_searched"].as_u64().is_some(), "{found}");
    agent.end();
}

/// Whatever the lines are like, nothing of a file is left out in silence.
#[test]
fn long_lines_are_read_to_their_end() {
    let folder = folder();
    let wide: String = (0..300).map(|n| format!("{n:0300}\n")).collect();
    let endless = format!("begin\n{}end\n", "é".repeat(90_000));
    for (name, text) in [("wide.txt", &wide), ("endless.txt", &endless)] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut agent = Agent::start(folder.path());
    agent.initialize();
    for (name, text) in [("wide.txt", &wide), ("endless.txt", &endless)] {
        let (mut read, mut asked) = (String::new(), json!({"path": name, "count": 400}));
        loop {
            let found = agent.found("read_lines", asked.clone());
            assert!(found.to_string().len() < 100_000);
            for line in found["lines"].as_array().unwrap() {
                read += line["text"].as_str().unwrap();
                read += if line["cut"] == true { "" } else { "\n" };
            }
            if found["next"].is_null() {
                break;
            }
            (asked["from"], asked["column"]) = (found["next"].clone(), found["next_column"].clone());
        }
        assert!(read == *text, "{name}: {} of {} bytes", read.len(), text.len());
    }
    // Where a quotation stands is where it can be read on.
    let quoted = agent.found("verify_quote", json!({"quote": "éend"}));
    let asked =
        json!({"path": quoted["uri"], "from": quoted["line"], "column": quoted["column"], "count": 1});
    assert_eq!(agent.found("read_lines", asked)["lines"][0]["text"], "éend");
    agent.end();
}

#[test]
fn roots_may_lie_in_each_other_and_beside_each_other() {
    let (first, second) = (folder(), tempfile::tempdir().unwrap());
    let inner = first.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    std::fs::write(inner.join("a b.txt"), "The door is green.\n").unwrap();
    // A folder of this name is below the first root.
    std::fs::write(second.path().join("inner"), "The door of the other house is blue.\n").unwrap();
    let (inner, second) = (inner.display().to_string(), second.path().display().to_string());
    let mut agent = Agent::start_with(first.path(), &["--root", &inner]);
    agent.initialize();
    let found = agent.found("search_passages", json!({"query": "door"}));
    assert_eq!((&found["files"], found["passages"].as_array().unwrap().len()), (&json!(3), 1), "{found}");
    assert_eq!(agent.found("status", json!({}))["roots"].as_array().unwrap().len(), 1);
    agent.end();
    let mut agent = Agent::start_with(first.path(), &["--root", &second]);
    agent.initialize();
    assert_eq!(agent.found("read_lines", json!({"path": "inner"}))["total"], 1);
    for quote in ["is green", "is blue"] {
        let quoted = agent.found("verify_quote", json!({"quote": quote}));
        // What a tool gives is taken by the others.
        let lines = agent.found("read_lines", json!({"path": quoted["uri"]}));
        assert_eq!((&lines["uri"], &lines["total"]), (&quoted["uri"], &json!(1)));
        let named = json!({"quote": quote, "path": quoted["document"]});
        assert_eq!(agent.found("verify_quote", named)["verdict"], "exact");
        let asked = json!({"question": "What colour is the door?", "paths": [quoted["uri"]]});
        assert_eq!(agent.found("find_quotes", asked)["answers"][0]["uri"], quoted["uri"]);
    }
    agent.end();
}

#[test]
fn no_quotation_is_vouched_for_that_was_not_compared() {
    let folder = folder();
    let words = |from: usize, to: usize| (from..to).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ");
    std::fs::write(folder.path().join("words.txt"), words(0, 1000)).unwrap();
    let mut agent = Agent::start(folder.path());
    agent.initialize();
    let quote = words(0, 400) + " " + &words(2000, 2300);
    let reason = agent.refused("verify_quote", json!({"quote": quote}));
    assert!(reason.contains("400 words") && reason.contains("in parts"), "{reason}");
    assert_eq!(agent.found("verify_quote", json!({"quote": words(0, 900)}))["verdict"], "exact");
    let quoted = agent.found("verify_quote", json!({"quote": words(0, 900).to_uppercase()}));
    assert_eq!((&quoted["verdict"], &quoted["cut"]), (&json!("normalised"), &json!(true)), "{quoted}");
    let quoted = agent.found("verify_quote", json!({"quote": words(0, 380) + " " + &words(2000, 2020)}));
    assert_eq!(quoted["verdict"], "near");
    assert_eq!(quoted["differences"], json!([{"only_quoted": words(2000, 2020)}]));
    assert!(quoted["likeness"].as_f64().unwrap() < 1.0, "{quoted}");
    agent.end();
}

#[test]
fn what_is_too_long_to_be_shown_is_cut_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let endless = "x".repeat(60_000);
    std::fs::write(folder.path().join("a.txt"), format!("The password is {endless}.\n")).unwrap();
    let mut agent = Agent::start(folder.path());
    agent.initialize();
    let found = agent.found("find_quotes", json!({"question": "What is the password?", "top_k": 20}));
    let spans = [&found["answers"], &found["candidates"]];
    let mut spans = spans.into_iter().filter_map(Value::as_array).flatten();
    assert!(found.to_string().len() < 100_000, "{}", found.to_string().len());
    assert!(spans.any(|span| span["cut"] == true), "{found}");
    let quote = format!("the PASSWORD is {endless}");
    let quoted = agent.found("verify_quote", json!({"quote": quote}));
    assert_eq!((&quoted["verdict"], &quoted["cut"]), (&json!("normalised"), &json!(true)));
    assert!(quoted.to_string().len() < 50_000, "{}", quoted.to_string().len());
    agent.end();
}

#[test]
fn a_margin_is_asked_for_under_the_rules_that_have_one() {
    let folder = folder();
    let asked = |least: f32| json!({"question": "Who built the lighthouse?", "min_margin": least});
    let mut agent = Agent::start_with(folder.path(), &["--score", "squad"]);
    agent.initialize();
    assert_eq!(agent.found("find_quotes", asked(-1000.0))["answered"], true);
    assert_eq!(agent.found("find_quotes", asked(1000.0))["answered"], false);
    agent.end();
    let mut agent = Agent::start_with(folder.path(), &["--score", "haystack"]);
    agent.initialize();
    let reason = agent.refused("find_quotes", asked(0.0));
    assert!(reason.contains("min_margin") && reason.contains("haystack"), "{reason}");
    agent.end();
}

/// Of much text only what stands around the best passages is read, as if an index had found it; and no more files are looked through
/// than is said.
#[test]
fn much_text_is_read_as_if_it_had_been_searched() {
    let folder = folder();
    let filler: String =
        (0..8000).map(|n| format!("In year {n} of the record nothing much happened here.\n")).collect();
    std::fs::write(folder.path().join("long.txt"), filler + "The harbour master is called Solveig Moe.\n")
        .unwrap();
    let mut agent = Agent::start(folder.path());
    agent.initialize();
    for paths in [Value::Null, json!(["long.txt"])] {
        let asked = json!({"question": "What is the harbour master called?", "paths": paths});
        let found = agent.found("find_quotes", asked);
        let answer = &found["answers"][0];
        assert_eq!((&answer["text"], &answer["line"]), (&json!("Solveig Moe"), &json!(8001)), "{found}");
        assert!(found["passages_searched"].as_u64().unwrap() > 100, "{found}");
        assert_eq!((&answer["document"], &found["more_files"]), (&json!("long.txt"), &json!(false)));
    }
    std::fs::create_dir(folder.path().join("many")).unwrap();
    for number in 0..5000 {
        std::fs::write(folder.path().join(format!("many/{number}.txt")), "a\n").unwrap();
    }
    let quoted = agent.found("verify_quote", json!({"quote": "nobody wrote this"}));
    assert_eq!((&quoted["verdict"], &quoted["more_files"]), (&json!("absent"), &json!(true)), "{quoted}");
    agent.end();
}

/// A file that has changed is read again.
#[test]
fn files_are_as_they_are_now() {
    let folder = folder();
    let mut agent = Agent::start(folder.path());
    agent.initialize();
    let asked = json!({"path": "other.txt"});
    assert_eq!(agent.found("read_lines", asked.clone())["total"], 1);
    std::fs::write(folder.path().join("other.txt"), "Ferries leave at noon.\nNot on Sundays.\n").unwrap();
    assert_eq!(agent.found("read_lines", asked.clone())["total"], 2);
    std::fs::remove_file(folder.path().join("other.txt")).unwrap();
    agent.refused("read_lines", asked);
    agent.end();
}

#[test]
fn a_model_that_is_not_there_is_told_to_whoever_needs_it() {
    let folder = folder();
    let mut child = spanqa(&["mcp", "--root", &folder.path().display().to_string(), "--model", "./none"]);
    let mut child =
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
    let mut agent = Agent { child, input, output, meta: None, id: 0 };
    agent.initialize();
    let reason = agent.refused("find_quotes", json!({"question": "who?"}));
    assert!(reason.contains("none"), "{reason}");
    // What needs no model works all the same.
    assert_eq!(agent.found("verify_quote", json!({"quote": "Ferries leave"}))["verdict"], "exact");
    agent.end();
    run(&["mcp", "--root", "./no-such-folder"]).fails_with("no-such-folder is no folder that can be read");
}
