//! Fetching models from a hub, against a small fake one on this machine that behaves, and misbehaves, like the real.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use spanqa::source::{
    DownloadEvent, Error, HubSettings, Origin, Resolved, SourceOptions, Token, Watcher, resolve,
};

use crate::hints::hint;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &str = "model.safetensors";

// ---- the fake hub ----------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
struct Request {
    method: String,
    path: String,
    /// Where the asked range starts.
    from: Option<usize>,
    token: Option<String>,
}

impl Request {
    fn is(&self, method: &str, end: &str) -> bool {
        self.method == method && self.path.ends_with(end)
    }
}

#[derive(Debug, Clone, Default)]
struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// Announce this length instead of the body's.
    length: Option<usize>,
    /// Say nothing at all, and keep the connection.
    silent: bool,
}

impl Reply {
    fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn body(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }
}

/// Answers instead of the well-behaved hub when it returns a reply. The number counts requests to the same path and
/// method, from 0.
type Mischief = dyn Fn(&Request, usize) -> Option<Reply> + Send + Sync;

pub struct Hub {
    endpoint: String,
    log: Arc<Mutex<Vec<Request>>>,
    state: Arc<State>,
}

struct State {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    commit: Mutex<String>,
    cdn: String,
    mischief: Box<Mischief>,
    log: Arc<Mutex<Vec<Request>>>,
}

fn weights() -> Vec<u8> {
    (0..300_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn model() -> BTreeMap<String, Vec<u8>> {
    [
        ("README.md", b"# Read me".to_vec()),
        ("config.json", br#"{"model_type": "bert"}"#.to_vec()),
        ("flax_model.msgpack", b"not for us".to_vec()),
        ("pytorch_model.bin", b"not for us either".to_vec()),
        ("tokenizer_config.json", b"{}".to_vec()),
        ("vocab.txt", b"[PAD]\n[UNK]\n".to_vec()),
        (WEIGHTS, weights()),
    ]
    .into_iter()
    .map(|(name, content)| (name.to_owned(), content))
    .collect()
}

impl Hub {
    pub fn good() -> Self {
        Self::with(|_, _| None)
    }

    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    fn with(mischief: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Self {
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        // The real hub sends large files from another host. Another port is another origin, too.
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let state = Arc::new(State {
            files: Mutex::new(model()),
            commit: Mutex::new(COMMIT.into()),
            cdn: format!("http://{}", cdn.local_addr().unwrap()),
            mischief: Box::new(mischief),
            log: log.clone(),
        });
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        for listener in [hub, cdn] {
            let state = state.clone();
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = state.clone();
                    thread::spawn(move || state.serve(stream));
                }
            });
        }
        Self { endpoint, log, state }
    }

    fn requests(&self) -> Vec<Request> {
        self.log.lock().unwrap().clone()
    }

    fn count(&self, method: &str, end: &str) -> usize {
        self.requests().iter().filter(|request| request.is(method, end)).count()
    }
}

impl State {
    fn serve(&self, stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::<_, _>::ok);
        let Some(first) = lines.next() else { return };
        let mut words = first.split(' ');
        let mut request = Request {
            method: words.next().unwrap_or_default().into(),
            path: words.next().unwrap_or_default().into(),
            from: None,
            token: None,
        };
        for line in lines.take_while(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            match name.to_ascii_lowercase().as_str() {
                "range" => {
                    let start = value.trim().trim_start_matches("bytes=").trim_end_matches('-');
                    request.from = Some(start.parse().unwrap());
                }
                "authorization" => request.token = Some(value.trim().into()),
                _ => {}
            }
        }
        let seen = {
            let mut log = self.log.lock().unwrap();
            let seen =
                log.iter().filter(|old| old.method == request.method && old.path == request.path).count();
            log.push(request.clone());
            seen
        };
        let reply = (self.mischief)(&request, seen).unwrap_or_else(|| self.behave(&request));
        send(stream, &request, reply);
    }

    fn behave(&self, request: &Request) -> Reply {
        let files = self.files.lock().unwrap();
        let commit = self.commit.lock().unwrap().clone();
        let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
        match parts.as_slice() {
            ["api", "models", "a", "b", "revision", revision]
                if [&commit, "main", "v%2F1"].contains(revision) =>
            {
                let siblings: Vec<_> =
                    files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
                Reply::body(serde_json::json!({"sha": commit, "siblings": siblings}).to_string())
            }
            ["api", "models", "a", "b", ..] => Reply::status(404).with("X-Error-Code", "RevisionNotFound"),
            ["api", ..] => Reply::status(404).with("X-Error-Code", "RepoNotFound"),
            ["a", "b", "resolve", revision, name @ ..] if *revision == commit => {
                match files.get(&name.join("/")) {
                    None => Reply::status(404).with("X-Error-Code", "EntryNotFound"),
                    Some(content) if request.path.ends_with(".safetensors") => Reply::status(302)
                        .with("X-Linked-Etag", format!("\"{}\"", sha256(content)))
                        .with("X-Linked-Size", content.len().to_string())
                        .with("Location", format!("{}/cdn/{}", self.cdn, name.join("/"))),
                    Some(content) => {
                        Reply::body(content.clone()).with("ETag", format!("\"{}\"", &sha256(content)[..40]))
                    }
                }
            }
            ["cdn", name] => {
                let content = &files[*name];
                match request.from {
                    None => Reply::body(content.clone()),
                    Some(from) if from >= content.len() => Reply::status(416),
                    Some(from) => Reply { status: 206, body: content[from..].to_vec(), ..Reply::default() }
                        .with(
                            "Content-Range",
                            format!("bytes {from}-{}/{}", content.len() - 1, content.len()),
                        ),
                }
            }
            _ => Reply::status(404),
        }
    }
}

fn send(mut stream: TcpStream, request: &Request, reply: Reply) {
    if reply.silent {
        thread::sleep(Duration::from_secs(3));
        return;
    }
    let mut head = format!("HTTP/1.1 {} Fake\r\nConnection: close\r\n", reply.status);
    head += &format!("Content-Length: {}\r\n", reply.length.unwrap_or(reply.body.len()));
    for (name, value) in &reply.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let _ = stream.write_all(head.as_bytes());
    if request.method != "HEAD" {
        let _ = stream.write_all(&reply.body);
    }
}

// ---- helpers ---------------------------------------------------------------------------------------------

fn options(hub: &Hub, cache: &Path) -> SourceOptions {
    let hub = HubSettings {
        endpoint: hub.endpoint.clone(),
        cache: Some(cache.into()),
        retries: 2,
        backoff: Duration::from_millis(1),
        patience: Duration::from_secs(10),
        ..HubSettings::default()
    };
    SourceOptions { hub, ..SourceOptions::default() }
}

fn cache() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn repo_dir(cache: &Path) -> PathBuf {
    cache.join("models--a--b")
}

fn part_of_weights(cache: &Path) -> PathBuf {
    repo_dir(cache).join("blobs").join(format!("{}.part", sha256(&weights())))
}

fn content(resolved: &Resolved, name: &str) -> Vec<u8> {
    resolved.files.require(name).unwrap().read().unwrap().into_owned()
}

/// The error of fetching `a/b` from such a hub, after making sure that nothing of it is taken for a model.
fn failure(mischief: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> (Error, Hub) {
    let (hub, dir) = (Hub::with(mischief), cache());
    let options = options(&hub, dir.path());
    let error = resolve("a/b", &options).unwrap_err();
    let offline = SourceOptions { offline: true, ..options };
    assert_eq!(resolve("a/b", &offline).unwrap_err().code(), "offline", "after {error}");
    assert_eq!(resolve(&format!("a/b@{COMMIT}"), &offline).unwrap_err().code(), "offline", "after {error}");
    assert!(hint(&error).is_some(), "{error}");
    (error, hub)
}

fn on(
    method: &'static str,
    end: &'static str,
    reply: Reply,
) -> impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static {
    move |request, _| request.is(method, end).then(|| reply.clone())
}

// ---- when all goes well ----------------------------------------------------------------------------------

#[test]
fn fetches_what_a_model_needs_and_then_never_asks_again() {
    let (hub, dir) = (Hub::good(), cache());
    let mut options = options(&hub, dir.path());
    options.hub.token = Token::new("secret");
    let resolved = resolve("a/b", &options).unwrap();
    assert_eq!(resolved.origin, Origin::Downloaded);
    assert_eq!(resolved.files.name, "a/b");
    assert_eq!(resolved.files.revision.as_deref(), Some(COMMIT));
    let names: Vec<&str> = resolved.files.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["config.json", WEIGHTS, "tokenizer_config.json", "vocab.txt"]);
    assert_eq!(content(&resolved, WEIGHTS), weights());
    assert_eq!(content(&resolved, "vocab.txt"), b"[PAD]\n[UNK]\n");

    for request in hub.requests() {
        let expected = (!request.path.starts_with("/cdn/")).then_some("Bearer secret");
        assert_eq!(request.token.as_deref(), expected, "{request:?}");
    }
    let asked = hub.requests().len();
    assert_eq!(asked, 1 + 4 * 2 + 1, "a listing, headers and content of four files, a redirect");

    for reference in ["a/b".to_owned(), format!("a/b@{COMMIT}")] {
        for offline in [false, true] {
            let again = resolve(&reference, &SourceOptions { offline, ..options.clone() }).unwrap();
            assert_eq!(again.origin, Origin::Cache);
            assert_eq!(content(&again, WEIGHTS), weights());
        }
    }
    assert_eq!(hub.requests().len(), asked, "the cache was enough");
    assert!(!repo_dir(dir.path()).join("refs").join(COMMIT).exists(), "a commit needs no ref");
}

#[test]
fn revisions_have_their_own_refs() {
    let (hub, dir) = (Hub::good(), cache());
    let options = options(&hub, dir.path());
    resolve("a/b@v/1", &options).unwrap();
    let written = std::fs::read_to_string(repo_dir(dir.path()).join("refs/v/1")).unwrap();
    assert_eq!(written, COMMIT);
    let offline = SourceOptions { offline: true, ..options };
    assert_eq!(resolve("a/b@v/1", &offline).unwrap().origin, Origin::Cache);
    assert_eq!(resolve("a/b", &offline).unwrap_err().code(), "offline");
}

#[test]
fn refreshing_follows_a_branch_and_fetches_only_what_changed() {
    let (hub, dir) = (Hub::good(), cache());
    let options = options(&hub, dir.path());
    resolve("a/b", &options).unwrap();
    let moved = COMMIT.replace('0', "9");
    *hub.state.commit.lock().unwrap() = moved.clone();
    hub.state.files.lock().unwrap().insert("vocab.txt".into(), b"[PAD]\n[UNK]\n[CLS]\n".to_vec());
    assert_eq!(resolve("a/b", &options).unwrap().files.revision.as_deref(), Some(COMMIT), "no refresh");

    let refreshed = resolve("a/b", &SourceOptions { refresh: true, ..options.clone() }).unwrap();
    assert_eq!(refreshed.files.revision.as_deref(), Some(moved.as_str()));
    assert_eq!(content(&refreshed, "vocab.txt"), b"[PAD]\n[UNK]\n[CLS]\n");
    assert_eq!(content(&refreshed, WEIGHTS), weights());
    assert_eq!(hub.count("GET", &format!("/cdn/{WEIGHTS}")), 1, "the weights did not change");
    let old = resolve(&format!("a/b@{COMMIT}"), &options).unwrap();
    assert_eq!(content(&old, "vocab.txt"), b"[PAD]\n[UNK]\n", "the old snapshot stays");
}

#[test]
fn sharded_weights_come_with_all_their_shards() {
    let (hub, dir) = (Hub::good(), cache());
    {
        let mut files = hub.state.files.lock().unwrap();
        files.remove(WEIGHTS);
        files.remove("pytorch_model.bin");
        let index = r#"{"weight_map": {"x": "part-1.safetensors", "y": "part-2.safetensors"}}"#;
        files.insert("model.safetensors.index.json".into(), index.into());
        files.insert("part-1.safetensors".into(), b"one".to_vec());
        files.insert("part-2.safetensors".into(), b"two".to_vec());
    }
    let resolved = resolve("a/b", &options(&hub, dir.path())).unwrap();
    assert_eq!(content(&resolved, "part-2.safetensors"), b"two");

    hub.state.files.lock().unwrap().remove("part-2.safetensors");
    let error = resolve("a/b", &options(&hub, cache().path())).unwrap_err();
    assert!(error.to_string().contains("part-2.safetensors"), "{error}");
}

#[test]
fn an_embedding_model_comes_with_its_pooling_and_nothing_else_of_its_folders() {
    const POOLING: &str = "1_Pooling/config.json";
    let (hub, dir) = (Hub::good(), cache());
    for name in ["modules.json", "sentence_bert_config.json", POOLING, "onnx/model.onnx", "../config.json"] {
        hub.state.files.lock().unwrap().insert(name.into(), name.into());
    }
    let options = options(&hub, dir.path());
    let fetched = resolve("a/b", &options).unwrap();
    let cached = resolve("a/b", &SourceOptions { offline: true, ..options.clone() }).unwrap();
    let folder = resolve(cached.folder.as_ref().unwrap().to_str().unwrap(), &options).unwrap();
    for model in [fetched, cached, folder] {
        let names: Vec<&str> = model.files.iter().map(|(name, _)| name).collect();
        let rest = ["config.json", WEIGHTS, "modules.json", "sentence_bert_config.json"];
        assert_eq!(names, [&[POOLING][..], &rest, &["tokenizer_config.json", "vocab.txt"]].concat());
        assert_eq!(content(&model, POOLING), POOLING.as_bytes());
    }
    assert!(hub.requests().iter().all(|request| !request.path.contains("..")));

    // Without it the model is not whole, unless the hub does not have it either.
    std::fs::remove_file(repo_dir(dir.path()).join("snapshots").join(COMMIT).join(POOLING)).unwrap();
    let offline = SourceOptions { offline: true, ..options.clone() };
    let error = resolve("a/b", &offline).unwrap_err();
    assert!(error.to_string().contains("lacks 1_Pooling/config.json"), "{error}");
    hub.state.files.lock().unwrap().remove(POOLING);
    resolve("a/b", &options).unwrap();
    resolve("a/b", &offline).unwrap();
}

#[test]
fn whoever_asked_is_told_how_far_a_download_has_come() {
    let (hub, dir) = (Hub::good(), cache());
    let told: Arc<Mutex<Vec<(String, DownloadEvent)>>> = Arc::default();
    let watcher = {
        let told = told.clone();
        Watcher::new(move |download| told.lock().unwrap().push((download.file.to_owned(), download.event)))
    };
    resolve("a/b", &SourceOptions { watcher, ..options(&hub, dir.path()) }).unwrap();
    let told = told.lock().unwrap();
    let of_weights: Vec<DownloadEvent> =
        told.iter().filter(|(file, _)| file == WEIGHTS).map(|(_, event)| *event).collect();
    let size = weights().len() as u64;
    assert_eq!(of_weights.first(), Some(&DownloadEvent::Started));
    assert_eq!(of_weights[1], DownloadEvent::Bytes { have: 0, size });
    assert_eq!(of_weights[of_weights.len() - 2], DownloadEvent::Bytes { have: size, size });
    assert_eq!(of_weights.last(), Some(&DownloadEvent::Ended));
    assert_eq!(told.iter().filter(|(_, event)| *event == DownloadEvent::Ended).count(), 4, "four files");
}

#[test]
fn two_at_once_both_succeed_and_fetch_once() {
    let hub = Hub::with(|request, _| {
        if request.is("GET", "/cdn/model.safetensors") {
            thread::sleep(Duration::from_millis(150));
        }
        None
    });
    let dir = cache();
    let options = options(&hub, dir.path());
    thread::scope(|scope| {
        let both: Vec<_> = (0..2).map(|_| scope.spawn(|| resolve("a/b", &options))).collect();
        for one in both {
            assert_eq!(content(&one.join().unwrap().unwrap(), WEIGHTS), weights());
        }
    });
    assert_eq!(hub.count("GET", "/cdn/model.safetensors"), 1, "the others waited for the first");
}

// ---- broken lines ----------------------------------------------------------------------------------------

#[test]
fn twenty_four_processes_at_once_all_succeed_and_fetch_once() {
    let hub = Hub::with(|request, _| {
        if request.is("GET", "/cdn/model.safetensors") {
            thread::sleep(Duration::from_millis(300));
        }
        None
    });
    let dir = cache();
    let pull = || {
        let mut command = crate::support::spanqa(&["models", "pull", "a/b"]);
        command
            .env_remove("HF_HUB_OFFLINE")
            .env("HF_ENDPOINT", &hub.endpoint)
            .env("HF_HUB_CACHE", dir.path());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let pulls: Vec<_> = (0..24).map(|_| pull()).collect();
    for child in pulls {
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        let folder = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
        assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), weights());
    }
    assert_eq!(hub.count("GET", "/cdn/model.safetensors"), 1, "the others waited for the first");
}

/// A limit on file sizes fails writes in the middle of a file, as a full disk does.
#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_leaves_nothing_that_looks_whole() {
    let hub = Hub::good();
    let dir = cache();
    let pull = |limit: &str| {
        let spanqa = crate::support::spanqa(&[]);
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("{limit} exec \"$0\" models pull a/b")]).arg(spanqa.get_program());
        command.env_clear().env("HF_ENDPOINT", &hub.endpoint).env("HF_HUB_CACHE", dir.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).output().unwrap()
    };
    let full = pull("ulimit -f 100; trap '' XFSZ;");
    let stderr = String::from_utf8_lossy(&full.stderr).into_owned();
    assert_eq!(full.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("cannot write to the model cache") && stderr.contains("HF_HUB_CACHE"),
        "{stderr}"
    );
    let offline = SourceOptions { offline: true, ..options(&hub, dir.path()) };
    assert!(matches!(resolve("a/b", &offline), Err(Error::Offline { .. })));
    let room = pull("");
    assert_eq!(room.status.code(), Some(0), "{}", String::from_utf8_lossy(&room.stderr));
    assert_eq!(content(&resolve("a/b", &offline).unwrap(), WEIGHTS), weights());
}

#[test]
fn a_broken_download_resumes_where_it_stopped() {
    let hub = Hub::with(|request, seen| {
        (request.is("GET", "/cdn/model.safetensors") && seen == 0).then(|| {
            let whole = weights();
            Reply { length: Some(whole.len()), ..Reply::body(&whole[..100_000]) }
        })
    });
    let dir = cache();
    let resolved = resolve("a/b", &options(&hub, dir.path())).unwrap();
    assert_eq!(content(&resolved, WEIGHTS), weights());
    let ranges: Vec<_> = hub
        .requests()
        .into_iter()
        .filter(|request| request.is("GET", "/cdn/model.safetensors"))
        .map(|r| r.from)
        .collect();
    assert_eq!(ranges, [None, Some(100_000)]);
    assert!(!part_of_weights(dir.path()).exists());
}

#[test]
fn a_line_that_breaks_often_but_moves_forward_arrives() {
    let hub = Hub::with(|request, _| {
        request.is("GET", "/cdn/model.safetensors").then(|| {
            let (whole, from) = (weights(), request.from.unwrap_or(0));
            let to = (from + 30_000).min(whole.len());
            let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
            let status = if from == 0 { 200 } else { 206 };
            Reply { status, length: Some(whole.len() - from), ..Reply::body(&whole[from..to]) }
                .with("Content-Range", range)
        })
    });
    let resolved = resolve("a/b", &options(&hub, cache().path())).map(|resolved| content(&resolved, WEIGHTS));
    assert_eq!(resolved.unwrap(), weights());
}

#[test]
fn the_next_run_resumes_and_a_corrupt_part_starts_over() {
    let dir = cache();
    let cut = Hub::with(|request, _| {
        request.is("GET", "/cdn/model.safetensors").then(|| {
            let whole = weights();
            Reply { length: Some(whole.len()), ..Reply::body(&whole[..100_000]) }
        })
    });
    let error = resolve("a/b", &options(&cut, dir.path())).unwrap_err();
    assert_eq!(error.code(), "download_cut");
    assert!(hint(&error).unwrap().contains("resumes"));
    let part = part_of_weights(dir.path());
    assert_eq!(std::fs::metadata(&part).unwrap().len(), 100_000);
    let left = std::fs::read(&part).unwrap();

    let hub = Hub::good();
    let resolved = resolve("a/b", &options(&hub, dir.path())).unwrap();
    assert_eq!(content(&resolved, WEIGHTS), weights());
    assert!(hub.requests().iter().any(|request| request.from == Some(100_000)));

    let whole = weights();
    for corrupt in [vec![7; 100_000], vec![7; whole.len()], vec![7; whole.len() + 5], left] {
        let dir = cache();
        let part = part_of_weights(dir.path());
        std::fs::create_dir_all(part.parent().unwrap()).unwrap();
        std::fs::write(&part, &corrupt).unwrap();
        let resolved = resolve("a/b", &options(&Hub::good(), dir.path())).unwrap();
        assert_eq!(content(&resolved, WEIGHTS), whole, "part of {} bytes", corrupt.len());
    }
}

#[test]
fn a_server_without_ranges_sends_it_all_again() {
    let hub = Hub::with(|request, seen| {
        let whole = weights();
        match (request.is("GET", "/cdn/model.safetensors"), seen) {
            (true, 0) => Some(Reply { length: Some(whole.len()), ..Reply::body(&whole[..100_000]) }),
            (true, _) => Some(Reply::body(whole)),
            _ => None,
        }
    });
    let resolved = resolve("a/b", &options(&hub, cache().path())).map(|resolved| content(&resolved, WEIGHTS));
    assert_eq!(resolved.unwrap(), weights());
}

#[test]
fn a_server_that_sends_another_range_is_not_believed() {
    let hub = Hub::with(|request, seen| {
        let whole = weights();
        match (request.is("GET", "/cdn/model.safetensors"), seen) {
            (true, 0) => Some(Reply { length: Some(whole.len()), ..Reply::body(&whole[..100_000]) }),
            (true, 1) => Some(
                Reply { status: 206, ..Reply::body(&whole[50_000..]) }
                    .with("Content-Range", format!("bytes 50000-{}/{}", whole.len() - 1, whole.len())),
            ),
            _ => None,
        }
    });
    let resolved = resolve("a/b", &options(&hub, cache().path())).map(|resolved| content(&resolved, WEIGHTS));
    assert_eq!(resolved.unwrap(), weights());
}

#[test]
fn failures_that_pass_are_tried_again() {
    for status in [429, 500, 502, 503, 504] {
        for path in ["/revision/main", "/config.json", "/cdn/model.safetensors"] {
            let hub = Hub::with(move |request, seen| {
                (request.path.ends_with(path) && seen < 2)
                    .then(|| Reply::status(status).with("Retry-After", "0"))
            });
            resolve("a/b", &options(&hub, cache().path())).unwrap();
        }
    }
}

// ---- refusals --------------------------------------------------------------------------------------------

#[test]
fn each_refusal_has_its_own_error() {
    let listing = "/revision/main";
    for (reply, code, asked, advice) in [
        (Reply::status(401), "hub_unauthorized", 1, "HF_TOKEN"),
        (Reply::status(401).with("X-Error-Code", "GatedRepo"), "hub_unauthorized", 1, "HF_TOKEN"),
        (
            Reply::status(403).with("X-Error-Code", "GatedRepo"),
            "hub_forbidden",
            1,
            "accept the licence on http",
        ),
        (Reply::status(404), "no_such_repo", 1, "spanqa models list"),
        (Reply::status(404).with("X-Error-Code", "RepoNotFound"), "no_such_repo", 1, "spelling"),
        (Reply::status(404).with("X-Error-Code", "RevisionNotFound"), "no_such_revision", 1, "a/b@main"),
        (Reply::status(400), "hub_failed", 1, "later"),
        (Reply::status(429), "hub_busy", 3, "HF_TOKEN"),
        (Reply::status(429).with("Retry-After", "3600"), "hub_busy", 1, "wait"),
        (Reply::status(500), "hub_failed", 3, "later"),
        (Reply::status(503), "hub_failed", 3, "--offline"),
    ] {
        let (error, hub) = failure(on("GET", listing, reply.clone()));
        assert_eq!(error.code(), code, "{reply:?}");
        assert_eq!(hub.requests().len(), asked, "{reply:?}");
        assert!(hint(&error).unwrap().contains(advice), "{reply:?}: {:?}", hint(&error));
    }
    let (error, _) = failure(on("HEAD", "/vocab.txt", Reply::status(404)));
    assert_eq!(error.code(), "no_such_hub_file");
    assert!(error.to_string().contains("vocab.txt"), "{error}");
}

#[test]
fn an_unknown_revision_is_told_from_an_unknown_repository_even_by_a_terse_mirror() {
    let terse = |request: &Request, _: usize| {
        (request.path.starts_with("/api/") && !request.path.ends_with("/a/b/revision/main"))
            .then(|| Reply::status(404))
    };
    let (hub, dir) = (Hub::with(terse), cache());
    let options = options(&hub, dir.path());
    assert_eq!(resolve("a/b@v7", &options).unwrap_err().code(), "no_such_revision");
    assert_eq!(resolve("a/c@v7", &options).unwrap_err().code(), "no_such_repo");
}

#[test]
fn a_refused_connection_and_a_silent_server_are_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let dir = cache();
    let mut refused = options(&Hub::good(), dir.path());
    refused.hub.endpoint = endpoint.clone();
    let error = resolve("a/b", &refused).unwrap_err();
    assert_eq!(error.code(), "hub_unreachable");
    assert!(error.to_string().contains(&endpoint), "{error}");
    assert!(
        ["--offline", "HF_ENDPOINT", "HTTPS_PROXY"].iter().all(|word| hint(&error).unwrap().contains(word))
    );

    let silent = Hub::with(|_, _| Some(Reply { silent: true, ..Reply::default() }));
    let mut impatient = options(&silent, dir.path());
    (impatient.hub.patience, impatient.hub.retries) = (Duration::from_millis(100), 1);
    assert_eq!(resolve("a/b", &impatient).unwrap_err().code(), "hub_unreachable");
    assert_eq!(silent.requests().len(), 2);
}

#[test]
fn offline_asks_nobody() {
    let (hub, dir) = (Hub::good(), cache());
    let mut by_flag = options(&hub, dir.path());
    by_flag.offline = true;
    let mut by_variable = options(&hub, dir.path());
    by_variable.hub.offline = true;
    for options in [by_flag, by_variable] {
        for options in [options.clone(), SourceOptions { refresh: true, ..options }] {
            let error = resolve("minilm", &options).unwrap_err();
            assert_eq!(error.code(), "offline");
            assert!(hint(&error).unwrap().contains("spanqa models pull minilm"), "{:?}", hint(&error));
        }
        assert_eq!(
            resolve("builtin", &options_of_builtin(&hub, dir.path())).unwrap().origin,
            Origin::BuiltIn
        );
    }
    assert!(hub.requests().is_empty());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was written");
}

fn options_of_builtin(hub: &Hub, cache: &Path) -> SourceOptions {
    SourceOptions { offline: true, ..options(hub, cache) }
}

#[test]
fn a_cache_that_cannot_be_written_is_found_out_before_anything_is_fetched() {
    let (hub, dir) = (Hub::good(), cache());
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = resolve("a/b", &options(&hub, &file.join("hub"))).unwrap_err();
    assert_eq!(error.code(), "cache_not_writable");
    assert!(error.to_string().contains(&file.display().to_string()), "{error}");
    assert!(hint(&error).unwrap().contains("HF_HUB_CACHE"));
    assert!(hub.requests().is_empty());
}

#[test]
fn settings_that_cannot_work_are_refused_before_anything_is_sent() {
    let (hub, dir) = (Hub::good(), cache());
    for endpoint in ["", "nonsense", "http://", "http://a b/", "mailto:a@b"] {
        let mut options = options(&hub, dir.path());
        options.hub.endpoint = endpoint.into();
        assert_eq!(resolve("a/b", &options).unwrap_err().code(), "bad_setting", "{endpoint}");
    }
    let mut options = options(&hub, dir.path());
    options.hub.token = Token::new("a\nb");
    let error = resolve("a/b", &options).unwrap_err();
    assert_eq!(error.code(), "bad_setting");
    options.hub.cache = None;
    assert_eq!(resolve("a/b", &options).unwrap_err().code(), "no_cache_folder");
}

// ---- damage and malice -----------------------------------------------------------------------------------

#[test]
fn a_file_of_the_wrong_size_or_content_is_thrown_away() {
    let get = "/cdn/model.safetensors";
    let mut flipped = weights();
    flipped[1234] ^= 1;
    let mut longer = weights();
    longer.push(0);
    let whole = weights();
    for (what, property, reply) in [
        ("a flipped bit", "sha256", Reply::body(flipped)),
        ("too long", "size", Reply::body(longer)),
        ("too short", "size", Reply::body(&whole[..1000])),
    ] {
        let (hub, dir) = (Hub::with(on("GET", get, reply)), cache());
        let options = options(&hub, dir.path());
        let error = resolve("a/b", &options).unwrap_err();
        assert_eq!(error.code(), "download_damaged", "{what}: {error}");
        assert!(error.to_string().contains(property), "{what}: {error}");
        assert!(!part_of_weights(dir.path()).exists(), "{what}: the part stays");
        // Too much is noticed at once. A repeat could only help against too little.
        assert_eq!(hub.count("GET", get) == 1, what != "too short", "{what}");
        assert_eq!(
            resolve("a/b", &SourceOptions { offline: true, ..options }).unwrap_err().code(),
            "offline"
        );
    }
    // A small file has no hash, but a size.
    let (error, _) = failure(on("GET", "/vocab.txt", Reply::body("[PAD]\n")));
    assert_eq!(error.code(), "download_damaged");
}

#[test]
fn a_body_that_is_always_truncated_is_an_error_and_its_part_stays() {
    let (error, hub) = failure(|request, _| {
        request
            .is("GET", "/cdn/model.safetensors")
            .then(|| Reply { length: Some(300_000), ..Reply::body("abc") })
    });
    assert_eq!(error.code(), "download_cut");
    assert!((3..=5).contains(&hub.count("GET", "/cdn/model.safetensors")), "{:?}", hub.requests());
}

#[test]
fn a_damaged_blob_in_the_cache_is_fetched_again_by_a_refresh() {
    let (hub, dir) = (Hub::good(), cache());
    let options = options(&hub, dir.path());
    resolve("a/b", &options).unwrap();
    let blob = repo_dir(dir.path()).join("blobs").join(sha256(&weights()));
    std::fs::write(&blob, "short").unwrap();
    let mended = resolve("a/b", &SourceOptions { refresh: true, ..options }).unwrap();
    assert_eq!(content(&mended, WEIGHTS), weights());
}

#[test]
fn answers_that_are_not_a_hub_are_errors() {
    for body in ["", "<html>", "{}", "[]", r#"{"sha": "main", "siblings": []}"#] {
        let (error, _) = failure(on("GET", "/revision/main", Reply::body(body)));
        assert_eq!(error.code(), "hub_answer", "{body}: {error}");
    }
    let head = |reply| failure(on("HEAD", "/config.json", reply)).0.code();
    assert_eq!(head(Reply::body("{}")), "hub_answer", "no etag");
    assert_eq!(head(Reply::body("{}").with("ETag", "\"\"")), "hub_answer");
    assert_eq!(head(Reply::status(302)), "hub_answer", "no location");
    for location in ["mailto:a@b", "http://", "://", "//x", "file:///etc/passwd", "\u{7f}", "/config.json"] {
        assert_eq!(head(Reply::status(302).with("Location", location)), "hub_answer", "{location}");
    }
    for location in ["mailto:a@b", "http://", "://", ""] {
        let (error, _) = failure(on("GET", "/revision/main", Reply::status(302).with("Location", location)));
        // Some of these read as a path on the same hub, which then is not there.
        assert!(["hub_answer", "no_such_revision"].contains(&error.code()), "{location}: {error}");
    }
}

/// A hundred kilobytes that unpack to a hundred megabytes: not unpacked to the end, and not taken apart.
#[test]
fn a_listing_that_unpacks_without_end_is_refused() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(br#"{"sha":"x","siblings":[{"rfilename":""#).unwrap();
    for _ in 0..100 {
        packed.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    packed.write_all(br#""}]}"#).unwrap();
    let bomb = Reply::body(packed.finish().unwrap()).with("Content-Encoding", "gzip");
    let (error, _) = failure(on("GET", "/revision/main", bomb));
    assert!(error.to_string().contains("longer than 16777216 bytes"), "{error}");
}

#[test]
fn a_repository_without_weights_says_so() {
    let (hub, dir) = (Hub::good(), cache());
    hub.state.files.lock().unwrap().retain(|name, _| name.ends_with(".json") || name == "vocab.txt");
    let error = resolve("a/b", &options(&hub, dir.path())).unwrap_err();
    assert_eq!(error.code(), "missing_model_file");
    assert!(error.to_string().contains("weights"), "{error}");
}

#[test]
fn no_name_from_a_server_leaves_the_cache() {
    let dir = cache();
    let inner = dir.path().join("x/y/z/cache");
    let everything = |root: &Path| {
        let mut found = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() && path != inner {
                    folders.push(path.clone());
                }
                found.push(path);
            }
        }
        found.sort();
        found
    };

    // File names of the listing, and shards of an index.
    let hub = Hub::good();
    {
        let mut files = hub.state.files.lock().unwrap();
        files.remove(WEIGHTS);
        files.remove("pytorch_model.bin");
        let index = r#"{"weight_map": {"x": "../../../../../../evil.safetensors"}}"#;
        files.insert("model.safetensors.index.json".into(), index.into());
        files.insert("../../../../../../evil.safetensors".into(), b"evil".to_vec());
        files.insert("/evil.json".into(), b"evil".to_vec());
    }
    let error = resolve("a/b", &options(&hub, &inner)).unwrap_err();
    assert_eq!(error.code(), "bad_model_file", "{error}");
    assert!(hub.requests().iter().all(|request| !request.path.contains("evil")));

    // The commit of the listing.
    let listing = r#"{"sha": "../../../../../evil", "siblings": [{"rfilename": "config.json"}]}"#;
    let hub = Hub::with(on("GET", "/revision/main", Reply::body(listing)));
    assert_eq!(resolve("a/b", &options(&hub, &inner)).unwrap_err().code(), "hub_answer");

    // The name of the content. The model is usable: the name is written harmlessly.
    let tag = "\"../../../../../evil\"";
    let hub = Hub::with(move |request, _| {
        (request.path.ends_with("/config.json"))
            .then(|| Reply::body("{}").with("ETag", tag).with("X-Repo-Commit", "../../evil"))
    });
    resolve("a/b", &options(&hub, &inner)).unwrap();

    let outside = everything(dir.path());
    assert_eq!(outside.len(), 4, "{outside:?}");
}
