//! What a server is told before it runs.

use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::rerank::Ranker;
use crate::stream;

/// How a server runs.
pub struct Config {
    /// The name or address to listen on.
    pub host: String,
    /// The port; 0 for any that is free.
    pub port: u16,
    /// What requests have to know, if anything.
    pub key: Option<Key>,
    /// Other machines may ask without a key.
    pub insecure: bool,
    /// Names by which browsers may call this server beside its address. Without any, a server that other machines reach takes every name.
    pub hosts: Vec<String>,
    /// Pages of other servers that browsers let talk to this one, such as `https://example.org`.
    pub origins: Vec<String>,
    /// How much it takes.
    pub bounds: Bounds,
    /// More paths for requests of prediction services.
    pub predict_routes: Vec<String>,
    /// More paths for the question whether the model is loaded.
    pub health_routes: Vec<String>,
    /// What a sender can do about an error.
    pub hint: fn(&stream::Error) -> Option<String>,
    /// Is told of every request that was answered, on the thread of the sockets: it must not wait.
    pub log: Option<Log>,
    /// Whether it is told what was asked, too.
    pub log_questions: bool,
    /// Which version of the program this is.
    pub version: String,
    /// Opens the model for vectors, and for the order of texts. It is called once, by the first request for them.
    pub embedder: Option<OpenRanker>,
    /// The same for the order of texts, where that is another model.
    pub reranker: Option<OpenRanker>,
}

/// Takes what is known of a request.
pub type Log = Box<dyn Fn(&Entry) + Send + Sync>;

/// Opens a model, or says why it cannot be opened.
pub type OpenRanker = Arc<dyn Fn() -> Result<Ranker, String> + Send + Sync>;

/// How much a server takes before it refuses, and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of a request, or of a line of a stream.
    pub body: usize,
    /// Bytes of all requests together that are not understood yet: nothing else bounds these.
    pub bodies: usize,
    /// Questions, or texts, of one request.
    pub questions: usize,
    /// Tokens of windows that may wait.
    pub queue_tokens: usize,
    /// Connections at a time.
    pub connections: usize,
    /// From the whole request to its reply, waiting included.
    pub request: Duration,
    /// For the head of a request, and between two requests of a connection.
    pub header: Duration,
    /// For the body of a request.
    pub body_read: Duration,
    /// How long requests are taken after the end was asked for, so that balancers notice.
    pub shutdown_delay: Duration,
    /// How long requests may take that were begun by then.
    pub drain: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body: 10 << 20,
            bodies: 256 << 20,
            questions: 1024,
            queue_tokens: 1 << 18,
            connections: 1024,
            request: Duration::from_secs(60),
            header: Duration::from_secs(30),
            body_read: Duration::from_secs(30),
            shutdown_delay: Duration::from_secs(5),
            // With the delay below the 30 s that Kubernetes gives.
            drain: Duration::from_secs(20),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            key: None,
            insecure: false,
            hosts: Vec::new(),
            origins: Vec::new(),
            bounds: Bounds::default(),
            predict_routes: Vec::new(),
            health_routes: Vec::new(),
            hint: |_| None,
            log: None,
            log_questions: false,
            version: env!("CARGO_PKG_VERSION").into(),
            embedder: None,
            reranker: None,
        }
    }
}

/// What a request has to know. It is never shown.
pub struct Key(String);

impl Key {
    /// A key; white space around it, such as the end of a file, is no part of it. `None` if nothing is left, or if it has what no header
    /// can carry.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        let possible = !text.is_empty() && text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        possible.then(|| Self(text.to_owned()))
    }

    /// Whether somebody knows it. The time that this takes tells at most how long it is.
    pub fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

/// What is known of a request once it was answered.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The name by which its sender can speak of it.
    pub id: String,
    /// The method.
    pub method: String,
    /// The path, without what stands behind a question mark.
    pub path: String,
    /// The status.
    pub status: u16,
    /// The stable name of what went wrong, if something did.
    pub error: Option<&'static str>,
    /// From its head to the head of its reply.
    pub total: Duration,
    /// How long it waited for the model.
    pub queue: Duration,
    /// How long it was in the model.
    pub inference: Duration,
    /// Tokens of its windows.
    pub tokens: usize,
    /// What was asked, if that may be told.
    pub questions: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_compared_whole() {
        let key = Key::new(" secret\n").unwrap();
        assert!(key.is("secret"));
        assert!(!key.is("secre") && !key.is("secrets") && !key.is(""));
        for impossible in [" \n", "one\ntwo", "schlüssel"] {
            assert!(Key::new(impossible).is_none(), "{impossible}");
        }
    }
}
