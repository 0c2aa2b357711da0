//! What comes over a wire: HTTP requests to the server, lines of the agents' protocol.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use spanqa::checkpoint::ModelFiles;
use spanqa::decode::{Scoring, ScoringRules};
use spanqa::encoder::Runtime;
use spanqa::random::Random;
use spanqa::reader::Reader;
use spanqa::request::Options;
use spanqa::serve::{Bounds, Config, Opened, Server};

use super::models::fixture;
use super::mutate;
use super::runner::fuzz;
use super::target::Target;

fn request(path: &str, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn requests() -> Vec<Vec<u8>> {
    let ask = r#"{"question": "who was it?", "context": "the old king of the hill"}"#;
    let lines = format!("{ask}\n{ask}\n");
    let mut all = vec![
        request("/v1/answer", "application/json", ask),
        request("/v1/answer/stream", "application/x-ndjson", &lines),
        request("/predict", "application/json", &format!("{{\"inputs\": {ask}, \"parameters\": {{\"top_k\": 2}}}}")),
        request("/invocations", "application/json", &format!("{{\"dataframe_records\": [{ask}]}}")),
        request("/score", "application/json", ask),
        request("/rerank", "application/json", r#"{"query": "who?", "texts": ["a king", "a hill"]}"#),
        b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_vec(),
        b"POST /v1/answer HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{\"que\r\n0\r\n\r\n".to_vec(),
    ];
    all.push(all[0].repeat(3));
    all
}

/// The head damaged as text, or the body as JSON with the right length.
fn change(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if random.below(2) == 0 {
        return mutate::text(random, seeds);
    }
    let seed = mutate::one(random, seeds).clone();
    let Some(end) = seed.windows(4).position(|four| four == b"\r\n\r\n") else { return seed };
    let body = mutate::json(random, &[seed[end + 4..].to_vec()]);
    let head = String::from_utf8_lossy(&seed[..end]);
    let path = head.split(' ').nth(1).unwrap_or("/");
    let kind =
        *mutate::one(random, &["application/json", "text/csv", "application/x-ndjson", "text/plain", "x"]);
    let kind = if random.below(2) == 0 { "application/json" } else { kind };
    [
        request(path, kind, "").split(|byte| *byte == b'\r').next().unwrap_or_default(),
        b"\r\nhost: localhost\r\nconnection: close\r\ncontent-type: ",
        kind.as_bytes(),
        b"\r\ncontent-length: ",
        body.len().to_string().as_bytes(),
        b"\r\n\r\n",
        &body,
    ]
    .concat()
}

#[test]
fn http() {
    let files = ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap();
    let reader = Reader::open(&files, &Runtime { threads: Some(1), ..Runtime::default() }).unwrap();
    let of = |rules: ScoringRules| {
        let mut options = Options::default();
        options.decoding.scoring = Scoring::from(rules);
        options.limits.max_tokens = 60;
        options
    };
    // Who promises more than comes is not waited for long.
    let soon = Duration::from_millis(150);
    let bounds = Bounds { header: soon, body_read: soon, shutdown_delay: soon, ..Bounds::default() };
    let server = Server::bind(Config { port: 0, bounds, ..Config::default() }).unwrap();
    let (address, control) = (server.address(), server.control());
    let running = std::thread::spawn(move || server.run());
    let ask = [ScoringRules::Joint, ScoringRules::Squad, ScoringRules::Hf].map(of).to_vec();
    let opened = Opened { reader, ask, batch: of(ScoringRules::Joint), pipeline: of(ScoringRules::Hf) };
    control.add("tiny", opened).unwrap();
    control.ready();
    let send = move |bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    let target = Target::new("http", requests(), change, move |bytes| {
        let answer = send(bytes);
        let status = answer.get(9..12).unwrap_or_default();
        let status: u16 = std::str::from_utf8(status).unwrap_or_default().parse().unwrap_or(0);
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{}", String::from_utf8_lossy(&answer));
        assert!(status < 500 || status == 503, "{}", String::from_utf8_lossy(&answer));
    });
    fuzz(&target, 400);
    for request in &requests()[..2] {
        let whole = send(request);
        assert!(whole.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&whole));
    }
    control.drain();
    running.join().unwrap().unwrap();
}

const LINES: [&str; 7] = [
    r#"{"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}"#,
    r#"{"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "read_lines", "arguments": {"path": "a.txt", "start": 1, "end": 3}}}"#,
    r#"{"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "verify_quote", "arguments": {"path": "a.txt", "quote": "kept by Bo"}}}"#,
    r#"{"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {"name": "search_passages", "arguments": {"question": "who keeps it?", "top_k": 2}}}"#,
    r#"{"jsonrpc": "2.0", "id": "6", "method": "resources/list", "params": {"cursor": "1"}}"#,
    r#"{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}"#,
    r#"{"jsonrpc": "2.0", "id": 7, "method": "ping"}"#,
];

/// A session is a process: it ends in order, says nothing but JSON, and does not panic.
#[test]
fn mcp() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("a.txt"), "The lamp\nis kept by Bo.\nIt burns.\n").unwrap();
    let hello = r#"{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "f", "version": "1"}}}
{"jsonrpc": "2.0", "method": "notifications/initialized"}
"#;
    let session = move |random: &mut Random, lines: &[Vec<u8>]| {
        let mut input = hello.as_bytes().to_vec();
        for _ in 0..12 {
            let mut line =
                if random.below(2) == 0 { mutate::json(random, lines) } else { mutate::text(random, lines) };
            line.retain(|byte| *byte != b'\n');
            input.extend(line);
            input.push(b'\n');
        }
        input
    };
    let seeds: Vec<Vec<u8>> = LINES.iter().map(|line| line.as_bytes().to_vec()).collect();
    let change = move |random: &mut Random, _: &[Vec<u8>]| session(random, &seeds);
    let target = Target::new("mcp", [], change, move |bytes| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_spanqa"))
            .args(["mcp", "--offline", "--root"])
            .arg(root.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || input.write_all(&bytes));
        let output = child.wait_with_output().unwrap();
        let _ = writer.join().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("panicked"), "{:?}: {said}", output.status);
        assert!(!output.stdout.is_empty(), "the greeting is answered");
        for line in output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            serde_json::from_slice::<serde_json::Value>(line).expect("a line of JSON");
        }
    });
    fuzz(&target, 12);
}
