//! `spanqa serve`: the library's server, with flags, models and signals.

mod log;
mod models;
mod platform;
mod probe;
mod variables;

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use spanqa::decode::ScoringRules;
use spanqa::request;
use spanqa::serve::{Bounds, Config, Control, Key, Server};
use spanqa::stream;

use self::log::{Lines, LogFormat};
use super::options::{
    CareArgs, DecodingArgs, LimitArgs, Read, RuntimeArgs, SourceArgs, at_least_one, choice, size,
};
use super::sandbox::Sandbox;
use super::{Outcome, Usage, hints, signals, terminal, version};

const LOGS: &[(&str, &str)] =
    &[("none", "Nothing"), ("text", "A line for people"), ("json", "A JSON object a line")];

/// The variable that holds the key. It is no flag: what was typed is seen by everybody on the machine.
const KEY_VARIABLE: &str = "SPANQA_API_KEY";

/// Answer requests over HTTP, as Hugging Face, SageMaker, Vertex, Azure and text-embeddings-inference do
///
/// POST /v1/answer takes {"question": "...", "context": "..."} and gives the record that `spanqa ask` prints; /v1/answer/stream takes and
/// gives JSON lines as `spanqa batch` does. POST / and /predict take {"inputs": {"question", "context"}, "parameters"} as Hugging Face's
/// pipeline, /invocations is SageMaker's, /score Azure's, /embed and /rerank are those of text-embeddings-inference. GET / is a page to ask on,
/// /docs and /openapi.json say the rest, /metrics is for Prometheus, /health and /ready for probes.
///
/// The address is printed when it is open; the model is loaded while it listens. Only this machine can ask, unless --host says otherwise.
/// Whatever waits is answered together, and answers do not depend on it. SIGTERM takes requests for --shutdown-delay more, then
/// answers what has begun; SIGINT does that at once; a second signal leaves.
///
/// Exits 0 after an orderly end; 2 after an error, or if something could not be answered in time.
#[derive(clap::Args, Clone)]
#[command(mut_args(variables::give), mut_arg("batch_tokens", models::batch_tokens))]
pub struct Args {
    /// Where to listen: a name or an address; 0.0.0.0 is every one of this machine, and needs a key or --insecure
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1", help_heading = "Address")]
    host: String,
    /// Port to listen on, 0 for any that is free [default: 8080, or what PORT or AIP_HTTP_PORT says]
    #[arg(long, value_name = "PORT", help_heading = "Address")]
    port: Option<u16>,
    /// A file with the key that requests must send as `authorization: Bearer KEY`; SPANQA_API_KEY holds the key itself
    #[arg(long, value_name = "FILE", help_heading = "Who may ask")]
    api_key_file: Option<PathBuf>,
    /// Let other machines ask without a key
    #[arg(long, help_heading = "Who may ask")]
    insecure: bool,
    /// On Linux: have the kernel keep the server to the files of its models. Nothing else is read, nothing is written, no other machine is
    /// reached; models have to be on this one
    #[arg(long)]
    sandbox: bool,
    /// A name by which browsers and clients may call this server beside its address; may be repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',', help_heading = "Who may ask")]
    allow_host: Vec<String>,
    /// Pages of another server that may ask, such as https://example.org, or * for all; may be repeated
    #[arg(long, value_name = "ORIGIN", value_delimiter = ',', value_parser = origin, help_heading = "Who may ask")]
    allow_origin: Vec<String>,
    /// A model, as NAME=MODEL to call it something else in paths (/models/NAME/...); may be repeated, the first one answers where none
    /// is named [default: builtin, or what HF_MODEL_ID says]
    #[arg(short, long = "model", value_name = "MODEL", value_delimiter = ',', help_heading = "Model")]
    models: Vec<String>,
    /// The model of /embed, and of /rerank unless that has one; loaded by the first request; `none` for no such thing
    #[arg(long, value_name = "MODEL", default_value = "builtin-embedder", help_heading = "Model")]
    embedder: String,
    /// A cross-encoder for /rerank
    #[arg(long, value_name = "MODEL", help_heading = "Model")]
    reranker: Option<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// Bytes that a request, or a line of a stream, may have
    #[arg(long, value_name = "BYTES", default_value = "10M", value_parser = size, help_heading = "Bounds")]
    max_body: u64,
    /// Questions, or texts, of one request
    #[arg(long, value_name = "N", default_value_t = Bounds::default().questions, value_parser = at_least_one, help_heading = "Bounds")]
    max_questions: usize,
    /// Tokens of windows that may wait; beyond it requests get 429 with the time after which to come again
    #[arg(long, value_name = "TOKENS", default_value_t = Bounds::default().queue_tokens, value_parser = at_least_one, help_heading = "Bounds")]
    max_queue_tokens: usize,
    /// Connections at a time; others wait
    #[arg(long, value_name = "N", default_value_t = Bounds::default().connections, value_parser = at_least_one, help_heading = "Bounds")]
    max_connections: usize,
    /// From a whole request to its reply, waiting included; beyond it 504 [times are 30, 1.5s, 500ms or 2m]
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time, help_heading = "Bounds")]
    request_timeout: Duration,
    /// For the head of a request, and between two requests of one connection
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Bounds")]
    header_timeout: Duration,
    /// For the body of a request
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, help_heading = "Bounds")]
    body_timeout: Duration,
    /// How long requests are taken after SIGTERM, while /ready says 503
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time, help_heading = "Bounds")]
    shutdown_delay: Duration,
    /// How long requests may take that were begun by then
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = time, help_heading = "Bounds")]
    drain_timeout: Duration,
    /// Start no server: exit 0 if the one on this machine at --host and --port is ready, 1 if it is not; for health checks of containers
    #[arg(long)]
    probe: bool,
    /// What to write to standard error of each request
    #[arg(long, value_parser = choice::<LogFormat>(LOGS), value_name = "HOW", default_value_t = LogFormat::None)]
    log: LogFormat,
    /// With --log: write what was asked, too
    #[arg(long)]
    log_questions: bool,
    /// No remarks on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
    #[command(flatten)]
    care: CareArgs,
    #[command(flatten)]
    decoding: DecodingArgs,
    #[command(flatten)]
    limits: LimitArgs,
    /// Of documents with more windows, read these many that share most words with the question, or all [default: as `spanqa ask` and
    /// `spanqa batch` do]
    #[arg(long, value_name = "N|all", help_heading = "Windows")]
    read: Option<Read>,
    #[command(flatten)]
    runtime: RuntimeArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.probe {
        let ready = probe::is_ready(&args.host, args.port()?);
        return Ok(if ready { Outcome::Success } else { Outcome::Negative });
    }
    let mut args = args.clone();
    let names = args.names()?;
    let key = args.key()?;
    if args.sandbox {
        args.source.offline = true;
        // Before the first thread, so that all are in it.
        args.sandbox(&names)?.enter()?;
    }
    let lines = args.log.lines()?;
    let server = Server::bind(args.config(key, lines.as_ref())?)?;
    let control = server.control();
    // Before the model is loaded, which may take longer than whoever started this wants to wait.
    signals::watch({
        let control = control.clone();
        move |code| if code == SIGINT { control.drain() } else { control.leave() }
    })
    .context("cannot watch for interrupts")?;
    writeln!(out, "http://{}", server.address())?;
    out.flush()?;
    let failed = Arc::new(Mutex::new(None));
    // Nobody waits for it: a download goes on for long, and the end may be asked for meanwhile.
    std::thread::spawn({
        let (args, failed) = (args.clone(), failed.clone());
        // A server whose model never comes would say for ever that it is on its way.
        move || match catch_unwind(AssertUnwindSafe(|| args.load(names, &control))) {
            Ok(Ok(())) => args.note("ready"),
            broken => {
                let error = match broken {
                    Ok(Err(error)) => error,
                    _ => anyhow!("the model cannot be loaded: there is a mistake in spanqa"),
                };
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                control.drain();
            }
        }
    });
    let done = server.run()?;
    if let Some(error) = failed.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(error);
    }
    if !done {
        args.note("some requests were not answered in time; --drain-timeout gives them more");
    }
    Ok(if done { Outcome::Success } else { Outcome::Failed })
}

/// What [`signals::watch`] says of an interrupt from the keyboard.
const SIGINT: u8 = 130;

impl Args {
    /// What may be read: the models, those that are opened later included.
    fn sandbox(&self, names: &[(String, String)]) -> Result<Sandbox> {
        let mut sandbox = Sandbox::new(&self.runtime.device)?;
        let embedder = (self.embedder != "none").then_some(&self.embedder);
        let models = names.iter().map(|(_, model)| model);
        for model in models.chain(embedder).chain(&self.reranker) {
            sandbox = sandbox.model(model, &self.source)?;
        }
        Ok(sandbox)
    }

    fn config(&self, key: Option<Key>, lines: Option<&Lines>) -> Result<Config> {
        let (predict_routes, health_routes) = platform::routes();
        let to = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Config {
            host: self.host.clone(),
            port: self.port()?,
            key,
            insecure: self.insecure,
            hosts: self.allow_host.clone(),
            origins: self.allow_origin.clone(),
            bounds: Bounds {
                body: to(self.max_body),
                bodies: Bounds::default().bodies,
                questions: self.max_questions,
                queue_tokens: self.max_queue_tokens,
                connections: self.max_connections,
                request: self.request_timeout,
                header: self.header_timeout,
                body_read: self.body_timeout,
                shutdown_delay: self.shutdown_delay,
                drain: self.drain_timeout,
            },
            predict_routes,
            health_routes,
            hint,
            log: lines.map(Lines::log),
            log_questions: self.log_questions,
            version: version::short().into(),
            embedder: self.embedder(),
            reranker: self.reranker(),
        })
    }

    fn port(&self) -> Result<u16> {
        self.port.map_or_else(platform::port, Ok)
    }

    /// Loads the models, one after the other.
    fn load(&self, names: Vec<(String, String)>, control: &Control) -> Result<()> {
        for (name, model) in names {
            control.add(&name, self.open(&model)?)?;
        }
        control.ready();
        Ok(())
    }

    /// What requests have to know.
    fn key(&self) -> Result<Option<Key>> {
        let text = match &self.api_key_file {
            Some(path) => {
                let read = std::fs::read_to_string(path);
                Some(read.map_err(|source| spanqa::fs::Error::Read { path: path.clone(), source })?)
            }
            None => std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()),
        };
        let Some(text) = text else { return Ok(None) };
        match Key::new(&text) {
            Some(key) => Ok(Some(key)),
            None => {
                let what = "the key is empty, or has letters that no header can carry";
                Err(Usage::new(what, "put a long random text of ASCII letters and digits there").into())
            }
        }
    }

    /// The models by their names in paths.
    fn names(&self) -> Result<Vec<(String, String)>> {
        let given: Vec<String> = self.models.iter().filter(|model| !model.is_empty()).cloned().collect();
        let given = if given.is_empty() { vec![platform::model()?] } else { given };
        let mut named: Vec<(String, String)> = Vec::with_capacity(given.len());
        for model in given {
            let (name, model) = match model.split_once('=') {
                Some((name, model)) => (name.to_owned(), model.to_owned()),
                None => (platform::short_name(&model), model),
            };
            if name.is_empty() || name.contains(['/', '?', '#', '%']) {
                let what = format!("`{}` cannot be a name in a path", terminal::name(&name));
                return Err(Usage::new(what, "write NAME=MODEL with a name of letters and digits").into());
            }
            if named.iter().any(|(known, _)| *known == name) {
                return Err(spanqa::serve::Error::SameName { name }.into());
            }
            named.push((name, model));
        }
        Ok(named)
    }

    fn note(&self, text: &str) {
        if !self.quiet {
            terminal::note(text);
        }
    }

    /// The rules that were asked for, if any.
    fn rules(&self) -> Option<ScoringRules> {
        self.decoding.score
    }
}

/// What a sender can do about an error: flags of other commands are of no use to them.
fn hint(error: &stream::Error) -> Option<String> {
    use request::Error;
    let own = match error {
        stream::Error::Request(Error::FilesForbidden) => "put the text itself into `context`",
        stream::Error::Request(Error::BadParameters { .. }) => {
            "GET /docs lists the parameters; those of transformers' pipeline are among them"
        }
        stream::Error::Request(Error::NotAnObject { .. } | Error::MissingField { .. }) => {
            "a request looks like {\"question\": \"...\", \"context\": \"...\"}; GET /docs shows the other shapes"
        }
        _ => return hints::stream(error),
    };
    Some(own.into())
}

/// A time: a number of seconds, or with a unit.
fn time(text: &str) -> Result<Duration, String> {
    let seconds = text.strip_suffix('s').unwrap_or(text).parse::<f64>();
    let time = match seconds {
        Ok(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        Err(_) => humantime::parse_duration(text).ok(),
    };
    // The clock ends somewhere, and nobody waits for a year.
    let possible = time.filter(|time| *time <= YEAR);
    possible.ok_or_else(|| "write a time of at most a year, such as 30, 1.5s, 500ms or 2m".to_owned())
}

const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What browsers call a page's server: a scheme and a name, perhaps with a port. A slash at its end is forgiven.
fn origin(text: &str) -> Result<String, String> {
    let bare = text.strip_suffix('/').unwrap_or(text);
    let possible = |(scheme, name): (&str, &str)| {
        !scheme.is_empty()
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
    };
    if bare == "*" || bare.split_once("://").is_some_and(possible) {
        return Ok(bare.to_ascii_lowercase());
    }
    Err("write an origin such as https://example.org or http://localhost:3000, without a path, or *".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_a_unit() {
        for (text, millis) in [("30", 30_000), ("1.5s", 1500), ("500ms", 500), ("2m", 120_000), ("0", 0)] {
            assert_eq!(time(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        assert_eq!(time("365d"), Ok(YEAR));
        for wrong in ["", "s", "-1", "soon", "inf", "1e300", "1e19", "366d"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn origins_have_no_path() {
        for (text, known) in [
            ("https://Example.org/", "https://example.org"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("*", "*"),
        ] {
            assert_eq!(origin(text), Ok(known.into()));
        }
        for wrong in
            ["", "example.org", "https://", "://x", "https://x/y", "https://exämple.org", "https://a b"]
        {
            assert!(origin(wrong).is_err(), "{wrong}");
        }
    }
}
