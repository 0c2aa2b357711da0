//! Requests to the hub: which failures are tried again, and what the others mean.
//!
//! Redirects are followed here rather than by the HTTP client, because the token must reach the hub and nobody else,
//! and because the hub describes a file in the headers of a redirect.

use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, ETAG, LOCATION, RETRY_AFTER};
use ureq::http::{Response, Uri};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

use super::repo::HubRepo;
use super::settings::{HubSettings, has_usable_port};
use crate::source::error::{Error, Result};

pub(super) const USER_AGENT: &str = concat!("spanqa/", env!("CARGO_PKG_VERSION"));

const MAX_REDIRECTS: usize = 10;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A hub that asks for a longer pause than this gets an error instead of a user who waits.
const LONGEST_ASKED_PAUSE: Duration = Duration::from_secs(60);

/// What a request is about, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    pub repo: &'a HubRepo,
    /// `None` for the listing.
    pub file: Option<&'a str>,
}

/// What the hub says about a file before it is fetched.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remote {
    /// Names the content; safe as a file name.
    pub blob: String,
    pub size: u64,
    /// Present when the name is the content's hash, which it is for everything large.
    pub sha256: Option<String>,
}

pub(super) struct Client<'a> {
    agent: Agent,
    settings: &'a HubSettings,
}

impl<'a> Client<'a> {
    pub fn new(settings: &'a HubSettings) -> Self {
        let config = Agent::config_builder()
            .user_agent(USER_AGENT)
            .proxy(settings.proxy.clone())
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_resolve(Some(settings.patience))
            .timeout_connect(Some(settings.patience))
            .timeout_recv_response(Some(settings.patience))
            .timeout_per_read(Some(settings.patience))
            .timeout_per_write(Some(settings.patience))
            .build();
        Self { agent: config.into(), settings }
    }

    /// Asks for the listing of a repository.
    pub fn list(&self, url: &str, about: About) -> Result<Response<Body>> {
        self.follow(url, about, |_| false, |url| self.agent.get(url))
    }

    /// Asks for the headers of a file.
    pub fn describe(&self, url: &str, about: About) -> Result<Remote> {
        let described = |response: &Response<Body>| {
            header(response, "x-linked-etag").is_some() && header(response, "x-linked-size").is_some()
        };
        let response = self.follow(url, about, described, |url| {
            // Compressed answers would announce the wrong size.
            self.agent.head(url).header("Accept-Encoding", "identity")
        })?;
        let strange = |reason: &str| Error::HubAnswer { url: url.to_owned(), reason: reason.to_owned() };
        let tag = header(&response, "x-linked-etag")
            .or_else(|| header(&response, ETAG.as_str()))
            .ok_or_else(|| strange("there is no ETag header"))?;
        let blob = blob_name(tag).ok_or_else(|| strange("its ETag header is empty or too long"))?;
        let size = header(&response, "x-linked-size")
            .or_else(|| header(&response, CONTENT_LENGTH.as_str()))
            .and_then(|size| size.trim().parse().ok())
            .ok_or_else(|| strange("it does not tell the size of the file"))?;
        let is_sha256 =
            blob.len() == 64 && blob.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        Ok(Remote { sha256: is_sha256.then(|| blob.clone()), blob, size })
    }

    /// Asks for a file, from byte `start` on. The status is 200, 206 or 416.
    pub fn open(&self, url: &str, start: u64, about: About) -> Result<Response<Body>> {
        self.follow(
            url,
            about,
            |_| false,
            |url| {
                let request = self.agent.get(url).header("Accept-Encoding", "identity");
                if start > 0 { request.header("Range", format!("bytes={start}-")) } else { request }
            },
        )
    }

    /// Sends a request and follows its redirects until `enough` of one is seen.
    fn follow(
        &self,
        url: &str,
        about: About,
        enough: impl Fn(&Response<Body>) -> bool,
        request: impl Fn(&str) -> RequestBuilder<WithoutBody>,
    ) -> Result<Response<Body>> {
        let mut url = url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(about, || match &self.settings.token {
                Some(token) if same_origin(&url, &self.settings.endpoint) => {
                    request(&url).header("Authorization", format!("Bearer {}", token.secret()))
                }
                _ => request(&url),
            })?;
            if !response.status().is_redirection() || enough(&response) {
                return Ok(response);
            }
            let target = header(&response, LOCATION.as_str()).and_then(|location| join(&url, location));
            url = target.ok_or_else(|| Error::HubAnswer {
                url: url.clone(),
                reason: "it redirects to nowhere: the Location header is missing or not a web address".into(),
            })?;
        }
        Err(Error::HubAnswer { url, reason: format!("it redirects more than {MAX_REDIRECTS} times") })
    }

    /// Sends one request, again and again while the failure is one that may pass.
    fn send(
        &self,
        about: About,
        request: impl Fn() -> RequestBuilder<WithoutBody>,
    ) -> Result<Response<Body>> {
        let mut attempts = 0;
        loop {
            let outcome = request().call();
            attempts += 1;
            let last = attempts > self.settings.retries;
            let asked = match outcome {
                Ok(response) => {
                    let status = response.status().as_u16();
                    if response.status().is_success() || response.status().is_redirection() || status == 416 {
                        return Ok(response);
                    }
                    let asked = header(&response, RETRY_AFTER.as_str())
                        .and_then(|seconds| seconds.trim().parse().ok())
                        .map(Duration::from_secs);
                    let may_pass = matches!(status, 408 | 429 | 500 | 502 | 503 | 504);
                    if last || !may_pass || asked.is_some_and(|asked| asked > LONGEST_ASKED_PAUSE) {
                        return Err(self.refusal(&response, attempts, about));
                    }
                    asked
                }
                Err(error) if last || !may_pass(&error) => return Err(self.unreachable(&error)),
                Err(_) => None,
            };
            self.pause(attempts, asked);
        }
    }

    /// Waits before attempt `attempts + 1`.
    pub fn pause(&self, attempts: u32, asked: Option<Duration>) {
        let doubled = 2u32.saturating_pow(attempts.saturating_sub(1));
        let own = self.settings.backoff.saturating_mul(doubled).min(LONGEST_PAUSE);
        std::thread::sleep(asked.unwrap_or(own));
    }

    fn refusal(&self, response: &Response<Body>, attempts: u32, about: About) -> Error {
        let repo = about.repo.id().to_owned();
        let endpoint = self.settings.endpoint.clone();
        let token = self.settings.token.is_some();
        let forbidden = || Error::HubForbidden { page: format!("{endpoint}/{repo}"), repo: repo.clone() };
        let code = header(response, "x-error-code").unwrap_or_default();
        match (response.status().as_u16(), code) {
            (401 | 403, "GatedRepo") if token => forbidden(),
            (401, _) => Error::HubUnauthorized { repo, token },
            (403, _) => forbidden(),
            (404 | 410, "RevisionNotFound") => {
                Error::NoSuchRevision { repo, revision: about.repo.revision().to_owned() }
            }
            (404 | 410, code) => match about.file {
                Some(file) if code != "RepoNotFound" => Error::NoSuchHubFile { repo, file: file.to_owned() },
                _ => Error::NoSuchRepo { repo, endpoint },
            },
            (429, _) => Error::HubBusy { endpoint, attempts },
            (status, _) => Error::HubFailed { endpoint, status, attempts },
        }
    }

    /// The error for a request that got no usable answer at all.
    pub fn unreachable(&self, error: &ureq::Error) -> Error {
        use ureq::Error as Failed;
        let endpoint = self.settings.endpoint.clone();
        match error {
            Failed::HostNotFound => Error::HubUnreachable { endpoint, reason: "no such host".into() },
            Failed::Io(error) => Error::HubUnreachable { endpoint, reason: error.to_string() },
            // Somebody is there, but talks something else.
            Failed::Protocol(_)
            | Failed::LargeResponseHeader(..)
            | Failed::BadUri(_)
            | Failed::Http(_)
            | Failed::RedirectFailed
            | Failed::TooManyRedirects => Error::HubAnswer { url: endpoint, reason: error.to_string() },
            other => Error::HubUnreachable { endpoint, reason: other.to_string() },
        }
    }
}

/// Whether the same request may succeed in a moment. A refused connection and an unknown host may not.
pub(super) fn may_pass(error: &ureq::Error) -> bool {
    use std::io::ErrorKind;
    match error {
        ureq::Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe
                | ErrorKind::UnexpectedEof
                | ErrorKind::TimedOut
                | ErrorKind::WouldBlock
                | ErrorKind::Interrupted
        ),
        ureq::Error::Timeout(kind) => !matches!(kind, ureq::Timeout::Resolve),
        ureq::Error::Protocol(_) | ureq::Error::ConnectionFailed | ureq::Error::BodyStalled => true,
        _ => false,
    }
}

pub(super) fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response.headers().get(name)?.to_str().ok()
}

/// An ETag as a file name: one component that no other ETag is written as.
fn blob_name(tag: &str) -> Option<String> {
    let tag = tag.trim().trim_start_matches("W/").trim_matches('"');
    let mut name = String::with_capacity(tag.len());
    for (index, byte) in tag.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            b'.' if index > 0 => name.push('.'),
            _ => name.push_str(&format!("%{byte:02X}")),
        }
    }
    (1..=200).contains(&name.len()).then_some(name)
}

/// Where a redirect leads, if it is an address that can be asked.
fn join(from: &str, location: &str) -> Option<String> {
    let target = if location.starts_with('/') && !location.starts_with("//") {
        let from: Uri = from.parse().ok()?;
        format!("{}://{}{location}", from.scheme_str()?, from.authority()?)
    } else {
        location.to_owned()
    };
    let uri: Uri = target.parse().ok()?;
    let usable = matches!(uri.scheme_str(), Some("http" | "https"))
        && uri.host().is_some_and(|host| !host.is_empty())
        && has_usable_port(&uri);
    usable.then_some(target)
}

fn same_origin(a: &str, b: &str) -> bool {
    let origin = |url: &str| -> Option<(String, String)> {
        let uri: Uri = url.parse().ok()?;
        Some((uri.scheme_str()?.to_owned(), uri.authority()?.as_str().to_ascii_lowercase()))
    };
    origin(a).is_some_and(|origin_a| Some(origin_a) == origin(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_etag_can_leave_the_blob_folder() {
        assert_eq!(blob_name("\"abc-1\"").unwrap(), "abc-1");
        assert_eq!(blob_name("W/\"abc\"").unwrap(), "abc");
        assert_eq!(blob_name("\"../../x\"").unwrap(), "%2E.%2F..%2Fx");
        assert_eq!(blob_name("/etc/passwd").unwrap(), "%2Fetc%2Fpasswd");
        assert_eq!(blob_name("..").unwrap(), "%2E.");
        assert_eq!(blob_name("C:\\x").unwrap(), "C%3A%5Cx");
        assert!(blob_name("\"\"").is_none());
        assert!(blob_name(&"a".repeat(201)).is_none());
    }

    #[test]
    fn redirects_lead_to_web_addresses_only() {
        assert_eq!(join("http://a:1/x?y", "/z?q").as_deref(), Some("http://a:1/z?q"));
        assert_eq!(join("http://a/x", "https://b/z").as_deref(), Some("https://b/z"));
        for bad in [
            "//b/z",
            "z",
            "",
            "ftp://b/z",
            "file:///etc/passwd",
            "mailto:a@b",
            "http://b:c/",
            "http://",
            "http:///x",
            "://",
        ] {
            assert_eq!(join("http://a/x", bad), None, "{bad}");
        }
    }

    #[test]
    fn the_token_stays_with_the_hub() {
        assert!(same_origin("https://hub.example/a/b", "https://HUB.example"));
        assert!(!same_origin("http://hub.example/a", "https://hub.example"));
        assert!(!same_origin("https://hub.example.evil/a", "https://hub.example"));
        assert!(!same_origin("https://hub.example:444/a", "https://hub.example"));
        assert!(!same_origin("x", "x"));
    }
}
