//! `spanqa serve`: the library's server with a model that can be held, and the program as its clients see it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::decode::{Scoring, ScoringRules};
use spanqa::encoder::batch::Batch;
use spanqa::heads::{SpanModel, WindowLogits};
use spanqa::reader::Reader;
use spanqa::request::Options;
use spanqa::serve::{Bounds, Config, Control, Error, Key, Opened, Server};
use spanqa::text::Tokenizer;

use crate::support::{fixture, run, run_with_input, spanqa};

// ---- a client ------------------------------------------------------------------------------------------------------

/// What came back.
#[derive(Debug)]
struct Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn code(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned())
    }

    /// Reads one from a connection that ends behind it.
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        // Who is refused early may find the connection closed behind the answer.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut response = Self { status, head, body: bytes[end + 4..].to_vec() };
        if response.header("transfer-encoding") == Some("chunked") {
            response.body = unchunked(&response.body);
        }
        response
    }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|two| two == b"\r\n").unwrap();
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&bytes[end + 2..][..size]);
        bytes = &bytes[end + 2 + size + 2..];
    }
}

/// Where a server is.
#[derive(Clone, Copy)]
struct At(SocketAddr);

impl At {
    fn connect(self) -> TcpStream {
        let stream = TcpStream::connect(self.0).unwrap();
        // A server that never answers fails a test instead of stopping it.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a request and leaves the connection open.
    fn send(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> TcpStream {
        let mut stream = self.connect();
        let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
        if !has("host") {
            head += &format!("host: {}\r\n", self.0);
        }
        if !has("content-length") && !has("transfer-encoding") && method == "POST" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
        // Who is refused early may have closed already.
        let _ = stream.write_all(body);
        stream
    }

    fn ask(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        Response::read(&mut self.send(method, path, headers, body))
    }

    fn get(self, path: &str) -> Response {
        self.ask("GET", path, &[], b"")
    }

    fn post(self, path: &str, body: &Value) -> Response {
        self.ask("POST", path, &[("content-type", "application/json")], body.to_string().as_bytes())
    }

    /// A number that Prometheus would read.
    fn metric(self, name: &str) -> f64 {
        let text = self.get("/metrics");
        let line = text.text().lines().find(|line| line.split(' ').next() == Some(name));
        line.unwrap_or_else(|| panic!("{name}: {}", text.text())).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Asks until something is so. On the busiest machine that is a matter of seconds.
    fn until(self, what: impl Fn(Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !what(self) {
            assert!(Instant::now() < end, "what was waited for did not come");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

// ---- a model that can be held ----------------------------------------------------------------------------------------

/// Waits until it is let go, and answers with the first token.
#[derive(Default)]
struct Gate {
    /// Calls that may go through while it is closed; `None` if it is open.
    left: Mutex<Option<usize>>,
    changed: Condvar,
    panics: AtomicBool,
    windows: AtomicUsize,
}

impl Gate {
    fn close(&self) {
        *self.left.lock().unwrap() = Some(0);
    }

    /// Lets one more call through.
    fn step(&self) {
        let mut left = self.left.lock().unwrap();
        *left = left.map(|left| left + 1);
        self.changed.notify_all();
    }

    fn open(&self) {
        *self.left.lock().unwrap() = None;
        self.changed.notify_all();
    }
}

struct Held(Arc<Gate>, usize);

impl SpanModel for Held {
    fn usable_positions(&self) -> usize {
        512
    }

    fn vocabulary(&self) -> usize {
        usize::MAX
    }

    fn logits(&self, batch: &Batch) -> spanqa::encoder::Result<Vec<WindowLogits>> {
        let mut left = self.0.left.lock().unwrap();
        self.0.windows.fetch_add(batch.ranges().count(), Ordering::SeqCst);
        while *left == Some(0) {
            left = self.0.changed.wait(left).unwrap();
        }
        *left = left.map(|left| left - 1);
        drop(left);
        assert!(!self.0.panics.load(Ordering::SeqCst), "on purpose");
        let logits = |length: usize| (0..length).map(|at| if at == length / 2 { 5.0 } else { 0.0 }).collect();
        let one = |range: std::ops::Range<usize>| WindowLogits {
            start: logits(range.len()),
            end: logits(range.len()),
        };
        Ok(batch.ranges().map(one).collect())
    }

    fn lanes(&self) -> usize {
        self.1
    }
}

/// A server in this process.
struct Local {
    at: At,
    gate: Arc<Gate>,
    control: Control,
    running: Option<JoinHandle<Result<bool, Error>>>,
}

impl Local {
    fn start(config: Config) -> Self {
        let local = Self::loading(config);
        local.control.add("held", local.opened(0)).unwrap();
        local.control.ready();
        local
    }

    /// Without a model so far.
    fn loading(config: Config) -> Self {
        let server = Server::bind(Config { port: 0, ..config }).unwrap();
        let (at, control) = (At(server.address()), server.control());
        let running = Some(std::thread::spawn(move || server.run()));
        Self { at, gate: Arc::default(), control, running }
    }

    fn opened(&self, lanes: usize) -> Opened {
        let files = ModelFiles::from_dir(&fixture("tiny/minilm")).unwrap();
        let model = Box::new(Held(self.gate.clone(), lanes));
        let reader = Reader::new(Tokenizer::from_files(&files).unwrap(), model, "held").unwrap();
        let of = |rules: ScoringRules| {
            let mut options = Options::default();
            options.decoding.scoring = Scoring::from(rules);
            options
        };
        let ask = [ScoringRules::Joint, ScoringRules::Squad, ScoringRules::Hf].map(of).to_vec();
        Opened { reader, ask, batch: of(ScoringRules::Joint), pipeline: of(ScoringRules::Hf) }
    }

    /// Waits for the end. Whether everything was answered.
    fn ended(&mut self) -> bool {
        self.running.take().unwrap().join().unwrap().unwrap()
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.gate.open();
        self.control.drain();
        if let Some(running) = self.running.take() {
            let ended = running.join();
            assert!(std::thread::panicking() || ended.is_ok());
        }
    }
}

fn bounds(change: impl FnOnce(&mut Bounds)) -> Config {
    let mut bounds = Bounds { drain: Duration::from_secs(60), ..Bounds::default() };
    change(&mut bounds);
    Config { bounds, ..Config::default() }
}

fn question() -> Value {
    json!({"question": "who was it?", "context": "the old king of the hill"})
}

// ---- bounds ----------------------------------------------------------------------------------------------------------

#[test]
fn it_listens_before_the_model_is_there() {
    let local = Local::loading(Config::default());
    assert_eq!((local.at.get("/health").status, local.at.get("/health").text()), (200, "Ok"));
    for response in [local.at.get("/ready"), local.at.get("/ping"), local.at.post("/v1/answer", &question())]
    {
        assert_eq!(response.code(), (503, "not_ready".into()));
        assert_eq!(response.header("retry-after"), Some("1"));
    }
    // Also if it is to end before the model is there.
    let leaving = Local::loading(Config::default());
    leaving.control.leave();
    assert_eq!(leaving.at.post("/v1/answer", &question()).code(), (503, "not_ready".into()));
    local.control.add("held", local.opened(0)).unwrap();
    local.control.ready();
    assert_eq!(local.at.get("/ready").status, 200);
    assert_eq!(local.at.post("/v1/answer", &question()).status, 200);
    let again = local.control.add("held", local.opened(0)).unwrap_err();
    assert_eq!(again.code(), "same_model_name");
}

#[test]
fn too_much_work_is_refused_with_a_time() {
    let local = Local::start(bounds(|bounds| bounds.queue_tokens = 10));
    local.gate.close();
    let body = question().to_string();
    // Each is more than half of the room, and counts for half of it.
    let mut first = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    local.at.until(|at| at.metric("spanqa_queue_tokens") == 5.0);
    let mut second = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 1.0);
    // More than there is room for, and nothing to do with the number of requests.
    let refused = local.at.post("/predict", &json!({"inputs": question()}));
    assert_eq!(refused.code(), (429, "overloaded".into()));
    assert_eq!(refused.json()["error_type"], "overloaded");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    // What can be said without the model is said all the same.
    assert_eq!(local.at.get("/ready").status, 200);
    local.gate.open();
    assert_eq!([&mut first, &mut second].map(|stream| Response::read(stream).status), [200, 200]);
    local.at.until(|at| at.metric("spanqa_queue_tokens") == 0.0);
    assert_eq!(local.at.post("/v1/answer", &question()).status, 200);
    assert_eq!(local.at.metric("spanqa_request_failure_total{err=\"overloaded\"}"), 1.0);
}

#[test]
fn a_request_is_not_waited_for_beyond_its_time() {
    let local = Local::start(bounds(|bounds| bounds.request = Duration::from_secs(1)));
    local.gate.close();
    let mut first = local.at.send("POST", "/v1/answer", &[], question().to_string().as_bytes());
    local.at.until(|_| local.gate.windows.load(Ordering::SeqCst) == 1);
    let late = local.at.post("/v1/answer", &question());
    assert_eq!(late.code(), (504, "deadline_exceeded".into()));
    assert_eq!(Response::read(&mut first).status, 504);
    let behind = local.at.post("/v1/answer", &question());
    assert_eq!(behind.code(), (504, "deadline_exceeded".into()));
    local.gate.open();
    local.at.until(|at| at.metric("spanqa_queue_tokens") == 0.0);
    // What nobody waited for any more while it was queued is not read.
    assert_eq!(local.gate.windows.load(Ordering::SeqCst), 1);
}

/// What has come of requests is memory, before anybody knows what they want.
#[test]
fn bodies_have_a_bound_together() {
    let local = Local::start(bounds(|bounds| (bounds.body, bounds.bodies) = (80_000, 96_000)));
    let asked = json!({"question": "who was it?", "context": "the old king of the hill ".repeat(2_000)});
    let first = local.at.send("POST", "/v1/answer", &[("content-length", "70000")], &[b' '; 69_000]);
    local.at.until(|at| at.post("/v1/answer", &asked).status == 429);
    drop(first);
    local.at.until(|at| at.post("/v1/answer", &asked).status == 200);
}

/// Its queue is shared, so a stream keeps only a part of it busy.
#[test]
fn a_stream_shuts_nobody_out() {
    let local = Local::start(bounds(|bounds| bounds.queue_tokens = 100_000));
    local.gate.close();
    let line = json!({"question": "who was it?", "context": "the old king of the hill ".repeat(50)});
    let lines = format!("{line}\n").repeat(2000);
    let mut stream = local.at.connect();
    let head = "POST /v1/answer/stream HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-ndjson\r\n";
    stream.write_all(format!("{head}content-length: {}\r\n\r\n", lines.len()).as_bytes()).unwrap();
    let writer = std::thread::spawn({
        let mut stream = stream.try_clone().unwrap();
        move || drop(stream.write_all(lines.as_bytes()))
    });
    local.at.until(|at| at.metric("spanqa_queue_size") > 0.0);
    std::thread::sleep(Duration::from_millis(300));
    let waiting = local.at.metric("spanqa_queue_tokens");
    assert!(waiting < 50_000.0, "{waiting}");
    let mut request = local.at.send("POST", "/v1/answer", &[], question().to_string().as_bytes());
    local.gate.open();
    assert_eq!(Response::read(&mut request).status, 200);
    stream.shutdown(std::net::Shutdown::Both).unwrap();
    writer.join().unwrap();
}

#[test]
fn there_are_so_many_streams_at_a_time() {
    let local = Local::start(Config::default());
    let json = ("content-type", "application/x-ndjson");
    let silent = [json, ("content-length", "100")];
    let streams: Vec<TcpStream> =
        (0..64).map(|_| local.at.send("POST", "/v1/answer/stream", &silent, b"\n")).collect();
    local.at.until(|at| at.metric("spanqa_request_count_total{method=\"/v1/answer/stream\"}") == 64.0);
    let refused = local.at.ask("POST", "/v1/answer/stream", &[json], b"\n");
    assert_eq!(refused.code(), (429, "overloaded".into()));
    assert_eq!(local.at.post("/v1/answer", &question()).status, 200);
    drop(streams);
    local.at.until(|at| at.ask("POST", "/v1/answer/stream", &[json], b"\n").status == 200);
}

/// What comes meanwhile is computed after the replies that are ready have gone.
#[test]
fn a_reply_that_is_ready_waits_for_nobody() {
    let local = Local::start(Config::default());
    local.gate.close();
    let body = question().to_string();
    let mut first = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    let mut second = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 1.0);
    local.gate.step();
    assert_eq!(Response::read(&mut first).status, 200);
    local.gate.open();
    assert_eq!(Response::read(&mut second).status, 200);
}

/// It is read batch after batch, and between two of them others have their turn.
#[test]
fn a_long_document_keeps_nobody_waiting() {
    // It is more than what may wait: others are let in all the same.
    let local = Local::start(bounds(|bounds| bounds.queue_tokens = 1000));
    local.gate.close();
    let long = json!({"question": "who was it?", "context": "the old king of the hill ".repeat(5000)});
    let mut first = local.at.send("POST", "/v1/answer", &[], long.to_string().as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    let mut second = local.at.send("POST", "/v1/answer", &[], question().to_string().as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 1.0);
    // A batch of the long one, and the short one; or another batch before, for what waits is counted a moment before it can be taken.
    (0..3).for_each(|_| local.gate.step());
    assert_eq!(Response::read(&mut second).status, 200);
    assert_eq!(local.at.metric("spanqa_batch_current_size"), 1.0);
    local.gate.open();
    let record = Response::read(&mut first).json();
    assert!(record["windows"].as_u64().unwrap() > 50, "{record}");
}

/// Another one that waits is no wall before the short ones.
#[test]
fn two_long_documents_keep_nobody_waiting() {
    let local = Local::start(Config::default());
    local.gate.close();
    let long = json!({"question": "who was it?", "context": "the old king of the hill ".repeat(5000)});
    let mut first = local.at.send("POST", "/v1/answer", &[], long.to_string().as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    let mut third = local.at.send("POST", "/v1/answer", &[], long.to_string().as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 1.0);
    let mut second = local.at.send("POST", "/v1/answer", &[], question().to_string().as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 2.0);
    local.gate.step();
    local.gate.step();
    assert_eq!(Response::read(&mut second).status, 200);
    local.gate.open();
    assert_eq!((Response::read(&mut first).status, Response::read(&mut third).status), (200, 200));
}

#[test]
fn what_nobody_waits_for_is_not_read() {
    let local = Local::start(Config::default());
    local.gate.close();
    let body = question().to_string();
    let mut first = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    let open = local.at.metric("spanqa_connections");
    let second = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 1.0);
    drop(second);
    local.at.until(|at| at.metric("spanqa_connections") == open);
    local.gate.open();
    assert_eq!(Response::read(&mut first).status, 200);
    local.at.until(|at| at.metric("spanqa_queue_tokens") == 0.0);
    assert_eq!(local.gate.windows.load(Ordering::SeqCst), 1);
    assert_eq!(local.at.metric("spanqa_request_failure_total{err=\"sender_left\"}"), 1.0);
}

#[test]
fn bodies_have_bounds() {
    let local = Local::start(bounds(|bounds| bounds.body = 1000));
    let json = ("content-type", "application/json");
    let long = format!("{{\"question\": \"who?\", \"context\": \"{}\"}}", "king ".repeat(100_000));
    let refused = local.at.ask("POST", "/v1/answer", &[json], long.as_bytes());
    assert_eq!(refused.code(), (413, "request_too_long".into()));
    // One that is announced is refused before anything is made ready for it.
    let announced = ("content-length", "1000000000000000");
    let mut refused = [0; 12];
    local.at.send("POST", "/v1/answer", &[json, announced], b"{").read_exact(&mut refused).unwrap();
    assert_eq!(&refused, b"HTTP/1.1 413");
    // Without a length nobody knows before.
    let chunked = format!("{:x}\r\n{long}\r\n0\r\n\r\n", long.len());
    let refused =
        local.at.ask("POST", "/v1/answer", &[json, ("transfer-encoding", "chunked")], chunked.as_bytes());
    assert_eq!(refused.code(), (413, "request_too_long".into()));
    assert_eq!(local.at.post("/v1/answer", &question()).status, 200);
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let local = Local::start(bounds(|bounds| bounds.questions = 3));
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    let deep = format!("{{\"question\": \"q\", \"context\": \"c\", \"x\": {deep}}}");
    for (path, body, status, code) in [
        ("/v1/answer", deep.as_bytes(), 400, "too_deep"),
        ("/v1/answer", b"{\"question\": \"caf\xe9\", \"context\": \"c\"}", 400, "not_utf8"),
        ("/v1/answer", b"", 400, "not_json"),
        ("/v1/answer", b"[1]", 400, "not_an_object"),
        ("/v1/answer", br#"{"question": "q"}"#, 400, "missing_field"),
        ("/v1/answer", br#"{"question": " ", "context": "c"}"#, 400, "empty_question"),
        ("/v1/answer", br#"{"question": "q", "file": "/etc/passwd"}"#, 400, "files_forbidden"),
        ("/v1/answer", br#"{"questions": ["q", "q", "q", "q"], "context": "c"}"#, 413, "batch_too_large"),
        ("/v1/answer", br#"{"question": "q", "contexts": ["c", "c", "c", "c"]}"#, 413, "batch_too_large"),
        (
            "/predict",
            br#"{"inputs": {"question": "q", "context": "c"}, "parameters": {"score": "squad"}}"#,
            400,
            "bad_parameters",
        ),
        (
            "/v1/answer",
            br#"{"question": "q", "context": "c", "parameters": {"kk": 1}}"#,
            400,
            "bad_parameters",
        ),
        ("/predict", br#"{"inputs": {"question": "q"}}"#, 400, "missing_field"),
        ("/predict", br#"{"inputs": "q"}"#, 400, "wrong_type"),
        ("/predict", b"\xff", 400, "not_utf8"),
        ("/predict", b"{", 400, "not_json"),
        ("/predict?top_k=0", br#"{"inputs": {"question": "q", "context": "c"}}"#, 400, "bad_parameters"),
        ("/predict", br#"{"instances": 7}"#, 400, "wrong_type"),
        ("/score", br#"{"input_data": {"columns": ["question"], "data": [["q"]]}}"#, 400, "missing_field"),
        ("/models/other/predict", b"{}", 404, "unknown_model"),
        ("/nothing", b"{}", 404, "no_such_path"),
        ("/health", b"{}", 405, "method_not_allowed"),
        ("/embed", br#"{"inputs": "a"}"#, 404, "no_embedder"),
        ("/embed", br#"{"input": "a"}"#, 422, "not_understood"),
    ] {
        let response = local.at.ask("POST", path, &[("content-type", "application/json")], body);
        assert_eq!(response.code(), (status, code.to_owned()), "{path} {}", String::from_utf8_lossy(body));
        assert_eq!(response.header("content-type"), Some("application/json"));
        assert!(!response.json()["error"].as_str().unwrap().is_empty());
    }
    for kind in ["text/plain", "application/json; charset=latin-1", "text/csv"] {
        let response = local.at.ask("POST", "/v1/answer", &[("content-type", kind)], b"{}");
        assert_eq!(response.code(), (415, "unsupported_media_type".into()), "{kind}");
    }
    let table = "question,context\n".to_owned() + &"q,c\n".repeat(4);
    let response = local.at.ask("POST", "/invocations", &[("content-type", "text/csv")], table.as_bytes());
    assert_eq!(response.code(), (413, "batch_too_large".into()));
    let lines = br#"{"questions": ["q", "q", "q", "q"], "context": "c"}"#;
    let lines = local.at.ask("POST", "/v1/answer/stream", &[("content-type", "application/x-ndjson")], lines);
    assert_eq!((lines.status, lines.text().lines().count()), (200, 1));
    assert_eq!(lines.json()["error"]["code"], "batch_too_large");
    assert_eq!(local.at.post("/v1/answer", &question()).status, 200);
}

/// Words behind the question mark, spelled as addresses are; `null` is nothing.
#[test]
fn parameters_may_stand_in_the_address() {
    let local = Local::start(Config::default());
    let asked = json!({"inputs": question(), "parameters": null});
    for path in ["/predict?top_k=3", "/predict?top%5Fk=%33"] {
        assert!(local.at.post(path, &asked).json().is_array(), "{path}");
    }
    let asked = json!({"inputs": question(), "parameters": {"top_k": 1}});
    assert!(local.at.post("/predict?top_k=3", &asked).json().is_object());
}

/// Who is refused before the whole request was read gets to hear it.
#[test]
fn a_refusal_is_heard() {
    let local = Local::start(Config { key: Key::new("k"), ..Config::default() });
    let long = vec![b' '; 8 << 20];
    for (headers, status) in [
        (&[("content-type", "application/json")][..], 401),
        (&[("content-type", "text/plain"), ("authorization", "Bearer k")], 415),
    ] {
        let mut stream = local.at.connect();
        let mut head =
            format!("POST /v1/answer HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n", local.at.0, long.len());
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}connection: close\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(&long).unwrap();
        assert_eq!(Response::read(&mut stream).status, status);
    }
}

/// Paths that a platform gives go before our own, and only probes need no key there.
#[test]
fn paths_that_are_given_come_first() {
    let local = Local::loading(Config {
        key: Key::new("k"),
        health_routes: vec!["/health".into(), "/vertex".into()],
        predict_routes: vec!["/vertex".into()],
        ..Config::default()
    });
    assert_eq!(local.at.get("/health").code(), (503, "not_ready".into()));
    local.control.add("held", local.opened(0)).unwrap();
    local.control.ready();
    assert_eq!((local.at.get("/health").status, local.at.get("/vertex").status), (200, 200));
    let asked = json!({"instances": [question()]});
    assert_eq!(local.at.post("/vertex", &asked).status, 401);
    let key = [("authorization", "Bearer k"), ("content-type", "application/json")];
    assert_eq!(local.at.ask("POST", "/vertex", &key, asked.to_string().as_bytes()).status, 200);
}

/// Of several questions.
#[test]
fn a_question_fails_alone() {
    let local = Local::start(Config::default());
    let asked = json!({"id": 5, "questions": ["who?", " "], "context": "the king"});
    let response = local.at.post("/v1/answer", &asked);
    let records = response.json();
    assert_eq!(
        (response.status, &records[0]["id"], &records[0]["question_index"]),
        (200, &json!(5), &json!(0))
    );
    assert_eq!((&records[1]["id"], &records[1]["error"]["code"]), (&json!(5), &json!("empty_question")));
}

#[test]
fn who_sends_too_slowly_is_let_go() {
    let local = Local::start(bounds(|bounds| {
        bounds.header = Duration::from_millis(50);
        bounds.body_read = Duration::from_millis(50);
        bounds.connections = 1;
    }));
    let mut slow = local.at.connect();
    slow.write_all(b"POST /v1/answer HTTP/1.1\r\nhost: localhost\r\nx-half: ").unwrap();
    let mut rest = Vec::new();
    // It ends though nothing was finished.
    let _ = slow.read_to_end(&mut rest);
    let slow = local.at.ask("POST", "/v1/answer", &[("content-length", "100")], b"{\"question");
    assert_eq!(slow.code(), (408, "body_timeout".into()));
    // The only connection is free again.
    assert_eq!(local.at.post("/v1/answer", &question()).status, 200);
    // A client that says only that it will say no more, and one that says so behind its request: both have left.
    let half = local.at.connect();
    half.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(local.at.get("/health").status, 200);
    local.gate.close();
    let half = local.at.send("POST", "/v1/answer", &[], question().to_string().as_bytes());
    half.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(local.at.get("/health").status, 200);
}

/// What has been read of it is enough.
#[cfg(unix)]
#[test]
fn a_model_folder_may_vanish() {
    let folder = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(fixture("tiny/minilm")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), folder.path().join(file.file_name())).unwrap();
    }
    let model = folder.path().display().to_string();
    let program = Program::start(&["--model", &format!("m={model}")]);
    let asked = json!({"question": QUESTIONS[0], "context": TEXTS[1]});
    let before = program.at.post("/v1/answer", &asked);
    folder.close().unwrap();
    let after = program.at.post("/v1/answer", &asked);
    assert_eq!((after.status, after.text()), (200, before.text()));
    // One that is gone before is an error, and no server is left.
    let refused = run(&["serve", "--port", "0", "--model", &model]);
    assert!(refused.code == Some(2) && refused.stderr.contains(&model), "{refused:?}");
}

#[test]
fn who_is_one_too_many_waits() {
    let local = Local::start(bounds(|bounds| bounds.connections = 1));
    let first = local.at.connect();
    let mut second = local.at.send("GET", "/health", &[], b"");
    second.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(second.read(&mut [0]).is_err());
    drop(first);
    second.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    assert_eq!(Response::read(&mut second).status, 200);
}

#[test]
fn a_panic_of_the_model_is_an_answer_and_the_server_lives() {
    for lanes in [0, 2] {
        let local = Local::loading(Config::default());
        local.control.add("held", local.opened(lanes)).unwrap();
        local.control.ready();
        local.gate.panics.store(true, Ordering::SeqCst);
        for path in ["/v1/answer", "/predict"] {
            let failed = local.at.post(path, &json!({"inputs": question()}));
            assert_eq!(failed.code(), (500, "model_failed".into()), "{lanes} lanes");
        }
        let lines = format!("{}\n", question());
        let streamed = local.at.ask("POST", "/v1/answer/stream", &[], lines.as_bytes());
        assert_eq!(streamed.json()["error"]["code"], "model_failed");
        local.gate.panics.store(false, Ordering::SeqCst);
        assert_eq!(local.at.post("/v1/answer", &question()).status, 200, "{lanes} lanes");
        assert_eq!(local.at.metric("spanqa_queue_tokens"), 0.0);
    }
}

// ---- who may ask -----------------------------------------------------------------------------------------------------

#[test]
fn pages_of_others_may_not_ask() {
    let mut local = Local::start(Config::default());
    let port = local.at.0.port();
    let answer = |headers: &[(&str, &str)]| {
        let response = local.at.ask("POST", "/v1/answer", headers, question().to_string().as_bytes());
        (response.status, response.header("access-control-allow-origin").map(str::to_owned))
    };
    let own = format!("localhost:{port}");
    assert_eq!(answer(&[("host", &own), ("origin", &format!("http://{own}"))]), (200, None));
    assert_eq!(answer(&[("host", "[::1]:80")]), (200, None));
    // A name that was given our address.
    assert_eq!(answer(&[("host", "evil.example")]).0, 421);
    assert_eq!(answer(&[("host", "evil.example"), ("origin", "http://evil.example")]).0, 421);
    assert_eq!(answer(&[("origin", "https://evil.example")]).0, 403);
    assert_eq!(answer(&[("origin", "null")]).0, 403);
    local = Local::start(Config {
        hosts: vec!["qa.example".into()],
        origins: vec!["https://app.example".into()],
        ..Config::default()
    });
    let answer = |method: &str, headers: &[(&str, &str)]| {
        let response = local.at.ask(method, "/v1/answer", headers, question().to_string().as_bytes());
        (response.status, response.header("access-control-allow-origin").map(str::to_owned))
    };
    // Probes call by the address, which nobody else can have given to it.
    assert_eq!(answer("POST", &[("host", "10.1.2.3:8080")]).0, 200);
    let app = ("origin", "https://app.example");
    assert_eq!(answer("POST", &[("host", "QA.example"), app]), (200, Some("https://app.example".into())));
    assert_eq!(answer("POST", &[("origin", "https://other.example")]).0, 403);
    let before = [app, ("access-control-request-method", "POST"), ("content-length", "0")];
    assert_eq!(answer("OPTIONS", &before), (200, Some("https://app.example".into())));
}

#[test]
fn a_key_is_needed_where_there_is_one() {
    let local = Local::start(Config { key: Key::new("secret"), ..Config::default() });
    let answer = |headers: &[(&str, &str)]| {
        local.at.ask("POST", "/v1/answer", headers, question().to_string().as_bytes()).status
    };
    assert_eq!(answer(&[]), 401);
    assert_eq!(answer(&[("authorization", "Bearer wrong")]), 401);
    assert_eq!(answer(&[("authorization", "Basic secret")]), 401);
    assert_eq!(answer(&[("authorization", "bearer secret")]), 200);
    assert_eq!(local.at.post("/", &json!({})).code(), (401, "unauthorized".into()));
    assert_eq!(local.at.get("/info").status, 401);
    for path in ["/", "/health", "/ready", "/docs", "/openapi.json", "/metrics"] {
        assert_eq!(local.at.get(path).status, 200, "{path}");
    }
}

#[test]
fn other_machines_need_a_key() {
    let open = |config: Config| Server::bind(Config { host: "0.0.0.0".into(), port: 0, ..config }).map(drop);
    assert_eq!(open(Config::default()).unwrap_err().code(), "key_needed");
    assert!(open(Config { insecure: true, ..Config::default() }).is_ok());
    assert!(open(Config { key: Key::new("k"), ..Config::default() }).is_ok());
    let refused = run(&["serve", "--host", "0.0.0.0", "--port", "0"]);
    refused.fails_with("0.0.0.0:0 is open to other machines");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    run(&["serve", "--port", &port]).fails_with("cannot listen on 127.0.0.1:");
    run(&["serve", "--port", "0", "--model", "./no-such-folder"]).code.filter(|code| *code == 2).unwrap();
    run(&["serve", "--model", "a=x,a=y"]).fails_with("two models are called a");
}

// ---- the end ---------------------------------------------------------------------------------------------------------

#[test]
fn the_end_has_two_steps_and_loses_nothing() {
    let mut local = Local::start(bounds(|bounds| bounds.shutdown_delay = Duration::from_secs(3600)));
    local.gate.close();
    let body = question().to_string();
    let mut first = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    local.control.leave();
    // It asks for no more over this connection, and ends it.
    let mut stream = local.at.connect();
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let ready = Response::read(&mut stream);
    assert_eq!((ready.status, ready.header("connection")), (503, Some("close")));
    // It still takes requests.
    let mut second = local.at.send("POST", "/v1/answer", &[], body.as_bytes());
    local.at.until(|at| at.metric("spanqa_queue_size") == 1.0);
    // A connection that says nothing is no reason to wait.
    let _idle = local.at.connect();
    local.control.drain();
    local.at.until(|at| TcpStream::connect(at.0).is_err());
    // Longer than it waits for what has arrived at the last moment.
    std::thread::sleep(Duration::from_millis(300));
    assert!(!local.running.as_ref().unwrap().is_finished());
    local.gate.open();
    assert_eq!(Response::read(&mut first).status, 200);
    assert_eq!(Response::read(&mut second).status, 200);
    assert!(local.ended());
}

#[test]
fn what_takes_too_long_is_not_waited_for() {
    let mut local = Local::start(bounds(|bounds| bounds.drain = Duration::from_millis(10)));
    local.gate.close();
    let _held = local.at.send("POST", "/v1/answer", &[], question().to_string().as_bytes());
    local.at.until(|at| at.metric("spanqa_batch_current_size") == 1.0);
    local.control.drain();
    assert!(!local.ended());
}

// ---- what it says of itself --------------------------------------------------------------------------------------------

#[test]
fn requests_have_names_and_times() {
    let local = Local::start(Config::default());
    let body = question().to_string();
    let named = local.at.ask("POST", "/v1/answer", &[("x-request-id", "mine-7")], body.as_bytes());
    assert_eq!(named.header("x-request-id"), Some("mine-7"));
    let ids =
        [0, 1].map(|_| local.at.post("/v1/answer", &question()).header("x-request-id").unwrap().to_owned());
    assert!(ids[0] != ids[1] && ids[0].len() > 10, "{ids:?}");
    let forged = local.at.ask("GET", "/health", &[("x-request-id", "a b")], b"");
    assert!(!forged.header("x-request-id").unwrap().contains(' '));
    let time = |name: &str| named.header(name).unwrap().parse::<f64>().unwrap();
    let parts = time("x-tokenization-time") + time("x-queue-time") + time("x-inference-time");
    assert!(
        (time("x-compute-time") - parts).abs() < 0.002 && time("x-total-time") >= parts - 0.002,
        "{}",
        named.head
    );
    assert!(time("x-compute-tokens") > 10.0);
}

#[test]
fn it_counts_what_it_does() {
    let local = Local::start(Config::default());
    local.at.post("/v1/answer", &question());
    local.at.post("/v1/answer", &json!({}));
    assert_eq!(local.at.metric("spanqa_request_count_total{method=\"/v1/answer\"}"), 2.0);
    assert_eq!(local.at.metric("spanqa_request_success_total{method=\"/v1/answer\"}"), 1.0);
    assert_eq!(local.at.metric("spanqa_request_failure_total{err=\"missing_field\"}"), 1.0);
    for name in
        ["request_duration", "request_queue_duration", "request_inference_duration", "request_input_length"]
    {
        assert!(local.at.metric(&format!("spanqa_{name}_count")) >= 1.0, "{name}");
    }
    for name in ["inf_queue_size", "inf_batch_current_size", "spanqa_queue_size", "spanqa_queue_tokens"] {
        assert_eq!(local.at.metric(name), 0.0, "{name}");
    }
    let info = local.at.get("/info").json();
    assert_eq!((&info["model_id"], &info["models"][0]["name"]), (&json!("held"), &json!("held")));
}

/// Nothing of them is loaded from elsewhere: they work where there is no network, and tell nobody that they are used.
#[test]
fn pages_stand_alone() {
    let local = Local::start(Config::default());
    for path in ["/", "/docs"] {
        let page = local.at.get(path);
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
        for outside in ["http://", "https://", "src=\"//", "@import"] {
            assert!(!page.text().contains(outside), "{path}: {outside}");
        }
    }
    let description = local.at.get("/openapi.json").json();
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let routes = include_str!("../../src/serve/routes.rs");
    for route in routes.split(".route(").skip(1) {
        let path = route.split('"').nth(1).unwrap().replace("{prefix}", "");
        let method = if route.split_once('\n').unwrap().0.contains("post(") { "post" } else { "get" };
        assert!(!description["paths"][&path][method].is_null(), "{method} {path} is not described");
    }
}

// ---- the program -------------------------------------------------------------------------------------------------------

/// `spanqa serve` as a process.
struct Program {
    at: At,
    child: Child,
}

/// A test that fails leaves no server behind, and neither does one that has seen enough.
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A small model with small windows.
fn small() -> Vec<String> {
    let model = fixture("tiny/minilm").display().to_string();
    ["--model", &model, "--window", "40", "--overlap", "8"].map(str::to_owned).to_vec()
}

impl Program {
    fn start(more: &[&str]) -> Self {
        Self::start_with(more, &[])
    }

    fn start_with(more: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut arguments = vec!["serve", "--port", "0", "--shutdown-delay", "0"];
        arguments.extend(more);
        let mut command = spanqa(&arguments);
        command.envs(variables.iter().copied());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{line:?}"));
        let at = At(address.parse().unwrap());
        at.until(|at| at.get("/ready").status == 200);
        Self { at, child }
    }

    #[cfg(unix)]
    fn signal(&self, signal: nix::sys::signal::Signal) {
        let id = nix::unistd::Pid::from_raw(self.child.id() as i32);
        nix::sys::signal::kill(id, signal).unwrap();
    }

    #[cfg(unix)]
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

/// Whatever the wall clock says, requests are answered, and what takes how long is told by another one.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn a_clock_that_jumps_stops_no_server() {
    use crate::faults::{IMPOSSIBLE_CLOCKS, WRONG_CLOCKS, library};
    let library = library().display().to_string();
    for clock in WRONG_CLOCKS {
        let small = small();
        let flags: Vec<&str> = small.iter().map(String::as_str).chain(["--log", "json"]).collect();
        let program = Program::start_with(&flags, &[("LD_PRELOAD", &library), ("FAULT_CLOCK", clock)]);
        for text in TEXTS {
            let reply = program.at.post("/v1/answer", &json!({"question": QUESTIONS[0], "context": text}));
            assert_eq!(reply.status, 200, "{clock}: {reply:?}");
            let took: f64 = reply.header("x-total-time").unwrap().parse().unwrap();
            assert!((0.0..60_000.0).contains(&took), "{clock}: {took}");
        }
        program.signal(nix::sys::signal::Signal::SIGTERM);
        let (code, said) = program.end();
        assert!(code == Some(0) && !said.contains("panicked"), "{clock}: {code:?} {said}");
        assert_eq!(said.matches("/v1/answer").count(), TEXTS.len(), "{clock}: {said}");
    }
    for clock in IMPOSSIBLE_CLOCKS {
        // A server that starts in spite of it has to end as well.
        let mut command = std::process::Command::new("timeout");
        command.args(["30", env!("CARGO_BIN_EXE_spanqa"), "serve", "--port", "0"]);
        let mut command = crate::support::isolated(command);
        let run = command.envs([("LD_PRELOAD", library.as_str()), ("FAULT_CLOCK", clock)]).output().unwrap();
        crate::support::Run::from(run)
            .fails_with("the clock of this machine stands before 1970 or after 9999");
    }
}

const TEXTS: [&str; 4] = [
    "The old king lived in a house on the hill. He was king for a year.",
    "The cat did see the sea. It was in a town when the king came to the hill, and it did not like that at all. \
     The town was old, and the house of the cat was old, too. Nobody knew who had built it, but the king said that he had.",
    "Zürich — “naïve” café. Ein König 👑 lebte dort.",
    "",
];
const QUESTIONS: [&str; 3] = ["who was it?", "where did the cat see the king?", "when?"];

/// Whatever else is answered at the same time.
#[test]
fn records_are_the_bytes_that_ask_prints() {
    let small = small();
    let flags: Vec<&str> = small.iter().map(String::as_str).collect();
    let program = Program::start(&flags);
    // More than `ask` reads.
    let long = format!("{} {}", TEXTS[1], "The king of the hill was old. ".repeat(400));
    let texts = [TEXTS[0], TEXTS[1], TEXTS[2], TEXTS[3], &long];
    let pairs: Vec<(&str, &str)> =
        texts.iter().flat_map(|text| QUESTIONS.iter().map(move |question| (*question, *text))).collect();
    let expected: Vec<String> = pairs
        .iter()
        .map(|(question, text)| run(&[&["ask", question, "--context", text], &flags[..]].concat()).stdout)
        .collect();
    std::thread::scope(|scope| {
        for first in 0..8 {
            let (pairs, expected, at) = (&pairs, &expected, program.at);
            scope.spawn(move || {
                for turn in 0..pairs.len() {
                    let which = (first * 5 + turn) % pairs.len();
                    let (question, text) = pairs[which];
                    let response = at.post("/v1/answer", &json!({"question": question, "context": text}));
                    assert_eq!(response.text(), expected[which]);
                }
            });
        }
    });
    // Several questions to several texts, with options.
    let asked = json!({"questions": QUESTIONS, "contexts": &TEXTS[..3],
                       "parameters": {"top_k": 3, "why": true, "offset_unit": "byte", "score": "squad"}});
    let mut arguments = vec!["ask", "-k", "3", "--why", "--offset-unit", "byte", "--score", "squad"];
    TEXTS[..3].iter().for_each(|text| arguments.extend(["--context", text]));
    QUESTIONS.iter().for_each(|question| arguments.extend(["-q", question]));
    arguments.extend(&flags);
    let lines: Vec<String> = run(&arguments).stdout.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(program.at.post("/v1/answer", &asked).text(), format!("[{}]\n", lines.join(",")));
}

/// Containers are told by variables; those of flags that other commands have as well count for the server alone.
#[test]
fn flags_are_variables_too() {
    let model = fixture("tiny/minilm").display().to_string();
    let variables = [
        ("SPANQA_MODEL", &*model),
        ("SPANQA_WINDOW", "40"),
        ("SPANQA_OVERLAP", "8"),
        ("SPANQA_TOP_K", "3"),
        ("SPANQA_SCORE", "squad"),
        ("SPANQA_NULL_THRESHOLD", "-2.5"),
        ("SPANQA_THREADS", "1"),
        ("SPANQA_OFFLINE", "yes"),
        ("SPANQA_QUIET", "1"),
        // Set to nothing is not set.
        ("SPANQA_STRICT", ""),
        ("SPANQA_MAX_BODY", ""),
    ];
    let program = Program::start_with(&[], &variables);
    let small = small();
    let mut arguments = vec!["ask", QUESTIONS[0], "--context", TEXTS[1], "-k", "3", "--score", "squad"];
    arguments.push("--null-threshold=-2.5");
    arguments.extend(small.iter().map(String::as_str));
    let asked = json!({"question": QUESTIONS[0], "context": TEXTS[1]});
    assert_eq!(program.at.post("/v1/answer", &asked).text(), run(&arguments).stdout);
    for (name, value, said) in
        [("SPANQA_STRICT", "maybe", "--strict"), ("SPANQA_THREADS", "none", "--threads <N>")]
    {
        let refused = spanqa(&["serve", "--port", "0"]).env(name, value).output().unwrap();
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(2) && told.contains(said), "{told}");
        assert!(told.contains(&format!("that of the variable {name}\n")), "{told}");
    }
    // What was typed is not blamed on a variable.
    let refused = spanqa(&["serve", "--threads", "no"]).env("SPANQA_THREADS", "none").output().unwrap();
    assert!(!String::from_utf8_lossy(&refused.stderr).contains("SPANQA_THREADS"));
}

#[test]
fn streams_are_the_bytes_that_batch_prints() {
    let small = small();
    let flags: Vec<&str> = small.iter().map(String::as_str).collect();
    let program = Program::start(&flags);
    let mut lines = String::new();
    for number in 0..100 {
        let (question, text) = (QUESTIONS[number % 3], TEXTS[number % 4]);
        let request = match number % 5 {
            0 => json!({"question": question, "context": text}),
            1 => json!({"id": format!("n{number}"), "questions": QUESTIONS, "context": text, "page": number}),
            2 => json!({"inputs": {"question": question, "context": text}, "parameters": {"top_k": 2}}),
            3 => json!({"question": "", "contexts": [text, "more"]}),
            _ => json!("no request"),
        };
        lines += &format!("{request}\r\n\n");
    }
    lines += "{broken";
    let expected =
        run_with_input(&[&["batch", "--quiet", "--no-files"], &flags[..]].concat(), lines.as_bytes());
    let kind = [("content-type", "application/x-ndjson")];
    let without_hints = |text: &str| -> Vec<Value> {
        text.lines()
            .map(|line| {
                let mut record: Value = serde_json::from_str(line).unwrap();
                // A hint may name a flag of `batch`.
                if let Some(error) = record.as_object_mut().unwrap().get_mut("error") {
                    error["hint"] = Value::Null;
                }
                record
            })
            .collect()
    };
    let streamed = program.at.ask("POST", "/v1/answer/stream", &kind, lines.as_bytes());
    assert_eq!(streamed.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(without_hints(streamed.text()), without_hints(&expected.stdout));
    let answers =
        |text: &str| text.lines().filter(|line| !line.contains("\"error\"")).map(str::to_owned).collect();
    let (streamed, expected): (Vec<String>, Vec<String>) =
        (answers(streamed.text()), answers(&expected.stdout));
    assert_eq!(streamed, expected);
    // In pieces of any size.
    let mut chunked = Vec::new();
    for piece in lines.as_bytes().chunks(7) {
        chunked.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    let headers = [kind[0], ("transfer-encoding", "chunked")];
    let again = program.at.ask("POST", "/v1/answer/stream", &headers, &chunked);
    assert_eq!(answers(again.text()), expected);
}

#[test]
fn clients_of_other_services_get_what_they_got() {
    let small = small();
    let flags: Vec<&str> = small.iter().map(String::as_str).collect();
    let program = Program::start_with(
        &flags,
        &[("AIP_PREDICT_ROUTE", "/v1/endpoints/7:predict"), ("AIP_HEALTH_ROUTE", "/v1/endpoints/7")],
    );
    let hf = |question: &str, text: &str, more: &[&str]| -> Value {
        let fixed = ["ask", question, "--context", text, "--score", "hf", "--format", "hf", "--quiet"];
        let printed = run(&[&fixed, &flags[..], more].concat());
        serde_json::from_str(&printed.stdout).unwrap_or_else(|_| panic!("{printed:?}"))
    };
    let (question, text) = (QUESTIONS[0], TEXTS[1]);
    let inputs = json!({"question": question, "context": text});
    let (one, three) = (hf(question, text, &[]), hf(question, text, &["-k", "3"]));
    assert!(one.is_object() && three.as_array().unwrap().len() == 3);
    let model = "/models/minilm";
    for path in
        ["/", "/predict", "/pipeline/question-answering", model, "/models/minilm/predict", "/invocations"]
    {
        assert_eq!(program.at.post(path, &json!({"inputs": inputs})).json(), one, "{path}");
        let several = json!({"inputs": inputs, "parameters": {"top_k": 3}});
        assert_eq!(program.at.post(path, &several).json(), three, "{path}");
    }
    assert_eq!(program.at.post("/predict?top_k=3", &json!({"inputs": inputs})).json(), three);
    let own = json!({"inputs": inputs, "parameters": {"top_k": 1}});
    assert_eq!(program.at.post("/predict?top_k=3", &own).json(), one);
    assert_eq!(program.at.post("/predict", &json!({"inputs": inputs, "array": true})).json(), json!([one]));
    let may_not = json!({"inputs": inputs, "parameters": {"handle_impossible_answer": true}});
    assert_eq!(
        program.at.post("/predict", &may_not).json(),
        hf(question, text, &["--handle-impossible-answer"])
    );
    // Lists of either kind.
    let other = hf(QUESTIONS[1], text, &[]);
    let both = json!([one, other]);
    let listed = json!({"inputs": {"question": [question, QUESTIONS[1]], "context": text}});
    assert_eq!(program.at.post("/predict", &listed).json(), both);
    let objects = json!([inputs, {"question": QUESTIONS[1], "context": text}]);
    assert_eq!(program.at.post("/predict", &json!({"inputs": objects})).json(), both);
    // Vertex.
    for path in ["/predict", "/v1/endpoints/7:predict"] {
        assert_eq!(
            program.at.post(path, &json!({"instances": objects})).json(),
            json!({"predictions": both})
        );
    }
    assert_eq!(program.at.get("/v1/endpoints/7").status, 200);
    // SageMaker's tables.
    let table = format!("question,context\r\n{question},\"{text}\"\r\n{},\"{text}\"\r\n", QUESTIONS[1]);
    let csv = program.at.ask("POST", "/invocations", &[("content-type", "text/csv")], table.as_bytes());
    assert_eq!(csv.json(), both);
    let headers = [("content-type", "text/csv"), ("accept", "text/csv")];
    let csv = program.at.ask("POST", "/invocations", &headers, table.as_bytes());
    let first = format!("{},{},{},", one["score"], one["start"], one["end"]);
    assert!(csv.text().starts_with(&format!("score,start,end,answer\n{first}")), "{}", csv.text());
    for (table, code) in
        [("context\nx\n", "missing_field"), ("question,context\n", "missing_field"), ("", "missing_field")]
    {
        let refused =
            program.at.ask("POST", "/invocations", &[("content-type", "text/csv")], table.as_bytes());
        assert_eq!(refused.code(), (400, code.into()), "{table:?}");
    }
    assert_eq!(program.at.get("/ping").status, 200);
    // Azure's bodies: lists of texts come back.
    let texts = json!([one["answer"], other["answer"]]);
    let frame = json!({"columns": ["question", "context"], "index": [0, 1], "data": [[question, text], [QUESTIONS[1], text]]});
    for (body, expected) in [
        (json!({"inputs": {"question": [question, QUESTIONS[1]], "context": [text, text]}}), &texts),
        (json!({"input_data": {"question": question, "context": text}}), &json!([one["answer"]])),
        (json!({"input_data": frame}), &texts),
        (json!({"input_data": objects, "params": {"top_k": 1}}), &texts),
    ] {
        assert_eq!(program.at.post("/score", &body).json(), *expected, "{body}");
    }
}

#[test]
fn several_models_have_names() {
    let folder = fixture("tiny/minilm").display().to_string();
    let program =
        Program::start(&["--model", &format!("a={folder}"), "--model", "b=builtin", "--embedder", "none"]);
    let names: Vec<Value> = program.at.get("/info").json()["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b"]);
    let asked = json!({"question": "Who was king?", "context": "Harald was the king."});
    let record = |path: &str| program.at.post(path, &asked).json();
    assert_eq!(record("/models/b/v1/answer")["answers"][0]["text"], "Harald");
    assert_eq!(record("/v1/answer"), record("/models/a/v1/answer"));
    let missing = program.at.post("/models/c/v1/answer", &asked);
    assert_eq!((missing.status, &missing.json()["hint"]), (404, &json!("models are a, b")));
}

#[test]
fn texts_get_vectors_and_an_order() {
    let small = small();
    let flags: Vec<&str> = small.iter().map(String::as_str).collect();
    let program = Program::start(&flags);
    let vectors = |inputs: Value| program.at.post("/embed", &json!({"inputs": inputs})).json();
    // Both say where their time went.
    for (route, body) in [
        ("/embed", json!({"inputs": ["the sea", "a hill"]})),
        ("/rerank", json!({"query": "the sea", "texts": ["the sea", "a hill"]})),
    ] {
        let reply = program.at.post(route, &body);
        let time = |name: &str| reply.header(name).unwrap().parse::<f64>().unwrap();
        let parts = time("x-tokenization-time") + time("x-queue-time") + time("x-inference-time");
        assert!((time("x-compute-time") - parts).abs() < 0.002, "{route}: {}", reply.head);
        assert!(time("x-compute-tokens") >= 8.0 && time("x-inference-time") > 0.0, "{route}: {}", reply.head);
    }
    let expected = run_with_input(&["embed", "--lines", "--quiet"], b"the old king\na cat\n").records();
    let expected: Vec<Value> = expected.iter().map(|record| record["embedding"].clone()).collect();
    assert_eq!(vectors(json!(["the old king", "a cat"])), json!(expected));
    assert_eq!(vectors(json!("a cat")), json!([expected[1]]));
    let long = "king ".repeat(1000);
    assert_eq!(program.at.post("/embed", &json!({"inputs": long})).code(), (422, "too_many_tokens".into()));
    assert_eq!(program.at.post("/embed", &json!({"inputs": long, "truncate": true})).status, 200);
    assert_eq!(program.at.post("/embed", &json!({"inputs": []})).code(), (400, "empty".into()));
    let texts = ["Ferries are slow.", "The king was called Harald.", "It rains."];
    let order = json!({"query": "What was the name of the king?", "texts": texts, "return_text": true});
    let ranks = program.at.post("/rerank", &order).json();
    assert_eq!((&ranks[0]["index"], &ranks[0]["text"]), (&json!(1), &json!(texts[1])));
    let scores: Vec<f64> =
        ranks.as_array().unwrap().iter().map(|rank| rank["score"].as_f64().unwrap()).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{scores:?}");
}

/// Whatever it might be brought to open: here, where the embedder was, somebody has put a link that leads to another place.
#[cfg(target_os = "linux")]
#[test]
fn a_sandbox_bounds_what_is_opened_later() {
    use std::os::unix::fs::symlink;

    let small = small();
    let start = |embedder: &std::path::Path, sandbox: &str| {
        let mut flags: Vec<&str> = small.iter().map(String::as_str).collect();
        flags.extend(["--embedder", embedder.to_str().unwrap()]);
        Program::start_with(&flags, &[("SPANQA_SANDBOX", sandbox)])
    };
    let text = json!({"inputs": "a cat"});
    let elsewhere = crate::embed::embedder("minilm");
    for sandbox in ["true", "false"] {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("embedder");
        std::fs::rename(crate::embed::embedder("minilm").keep(), &place).unwrap();
        let program = start(&place, sandbox);
        let answer = json!({"question": QUESTIONS[0], "context": TEXTS[1]});
        assert_eq!(program.at.post("/v1/answer", &answer).status, 200);
        std::fs::remove_dir_all(&place).unwrap();
        symlink(elsewhere.path(), &place).unwrap();
        let reply = program.at.post("/embed", &text);
        match sandbox {
            "true" => assert!(reply.status == 424 && reply.text().contains("ermission denied"), "{reply:?}"),
            _ => assert_eq!(reply.status, 200, "{reply:?}"),
        }
        // A folder may be one of links from the beginning, as those in the hub's cache are.
        std::fs::remove_file(&place).unwrap();
        std::fs::create_dir(&place).unwrap();
        for entry in std::fs::read_dir(elsewhere.path()).unwrap() {
            let entry = entry.unwrap();
            symlink(entry.path(), place.join(entry.file_name())).unwrap();
        }
        assert_eq!(start(&place, sandbox).at.post("/embed", &text).status, 200);
    }
    // Nothing can be fetched later, so what is missing is said at once.
    let refused = run(&["serve", "--port", "0", "--sandbox", "--embedder", "nobody/nothing"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("nobody/nothing"), "{refused:?}");
}

#[cfg(unix)]
#[test]
fn signals_end_it_in_order() {
    use nix::sys::signal::Signal;
    let small = small();
    let mut flags: Vec<&str> = small.iter().map(String::as_str).collect();
    flags.extend(["--log", "json", "--log-questions"]);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let program = Program::start(&flags);
        let asked = program.at.post("/v1/answer", &json!({"question": "who?", "context": "the king"}));
        assert_eq!(asked.status, 200);
        let port = program.at.0.port().to_string();
        assert_eq!(run(&["serve", "--probe", "--port", &port]).code, Some(0));
        program.signal(signal);
        let (code, said) = program.end();
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(run(&["serve", "--probe", "--port", &port]).code, Some(1));
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let asked: Vec<Value> = lines.filter(|line| line["path"] == "/v1/answer").collect();
        assert_eq!((&asked[0]["status"], &asked[0]["questions"]), (&json!(200), &json!(["who?"])));
    }
    // Nobody's questions, unless somebody wants them.
    let program = Program::start_with(&flags[..6], &[("SPANQA_LOG", "text"), ("SPANQA_API_KEY", "k")]);
    let headers = [("authorization", "Bearer k"), ("content-type", "application/json")];
    let body = json!({"question": "a secret?", "context": "the king"}).to_string();
    assert_eq!(program.at.ask("POST", "/v1/answer", &headers, body.as_bytes()).status, 200);
    program.signal(Signal::SIGTERM);
    let (code, said) = program.end();
    assert!(code == Some(0) && said.contains(" 200 POST /v1/answer ") && !said.contains("secret"), "{said}");
}
