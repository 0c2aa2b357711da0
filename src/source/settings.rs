//! Where the hub is, where its cache is, and who asks: read from the environment once, under the names that
//! huggingface_hub gave them.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ureq::http::Uri;

use crate::source::error::{Error, Result};

/// The hub that is asked when `HF_ENDPOINT` is not set.
pub const DEFAULT_ENDPOINT: &str = "https://huggingface.co";

/// Everything that decides how a model is found in the hub's cache and fetched from the hub.
///
/// Only [`HubSettings::from_env`] reads the environment; tests and embedding programs build the struct directly.
#[derive(Debug, Clone)]
pub struct HubSettings {
    /// The hub's address, without a slash at the end (`HF_ENDPOINT`).
    pub endpoint: String,
    /// The cache folder that is shared with other programs (`HF_HUB_CACHE`); `None` when there is no home folder.
    pub cache: Option<PathBuf>,
    /// Sent to the hub, and to nobody else (`HF_TOKEN`).
    pub token: Option<Token>,
    /// The network is forbidden (`HF_HUB_OFFLINE`).
    pub offline: bool,
    /// The proxy to use (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, with `NO_PROXY`).
    pub proxy: Option<ureq::Proxy>,
    /// How often a failure that may pass is tried again.
    pub retries: u32,
    /// The pause before the first retry; each further pause is twice as long, up to half a minute.
    pub backoff: Duration,
    /// A connection that is silent for so long is given up, and so is a lock whose holder makes no progress.
    pub patience: Duration,
}

impl Default for HubSettings {
    /// The public hub without a token, without a proxy, and without a cache folder.
    fn default() -> Self {
        Self {
            endpoint: DEFAULT_ENDPOINT.into(),
            cache: None,
            token: None,
            offline: false,
            proxy: None,
            retries: 4,
            backoff: Duration::from_millis(500),
            patience: Duration::from_secs(60),
        }
    }
}

impl HubSettings {
    /// Reads the environment and the token file.
    pub fn from_env() -> Self {
        let settings = Self::from_variables(|name| std::env::var_os(name), dirs::home_dir());
        Self { proxy: ureq::Proxy::try_from_env(), ..settings }
    }

    /// The same from any source of variables. An empty variable counts as not set.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>, home: Option<PathBuf>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let path = |name: &str| set(name).map(|value| expand_home(Path::new(&value), home.as_deref()));
        let truth = |name: &str| {
            set(name).is_some_and(|value| {
                let value = value.to_string_lossy().to_ascii_uppercase();
                matches!(value.as_str(), "1" | "ON" | "YES" | "TRUE")
            })
        };

        let hub_home = path("HF_HOME")
            .or_else(|| path("XDG_CACHE_HOME").map(|dir| dir.join("huggingface")))
            .or_else(|| home.as_ref().map(|dir| dir.join(".cache").join("huggingface")));
        let token_file = path("HF_TOKEN_PATH").or_else(|| hub_home.as_ref().map(|dir| dir.join("token")));
        let token = set("HF_TOKEN")
            .map(|value| value.to_string_lossy().into_owned())
            .or_else(|| token_file.and_then(|file| std::fs::read_to_string(file).ok()))
            .and_then(|token| Token::new(&token));
        let endpoint = set("HF_ENDPOINT").map(|value| value.to_string_lossy().trim().to_owned());

        Self {
            endpoint: endpoint.unwrap_or_else(|| DEFAULT_ENDPOINT.into()).trim_end_matches('/').to_owned(),
            cache: path("HF_HUB_CACHE").or_else(|| hub_home.map(|dir| dir.join("hub"))),
            token,
            offline: truth("HF_HUB_OFFLINE") || truth("TRANSFORMERS_OFFLINE"),
            ..Self::default()
        }
    }

    /// The cache folder, or an error that says how to name one.
    pub fn cache_dir(&self) -> Result<&Path> {
        self.cache.as_deref().ok_or(Error::NoCacheFolder)
    }

    /// Refuses an endpoint or a token that the HTTP client could not use, before anything is sent.
    ///
    /// The client libraries take a well-formed address for granted; this is where that is made true.
    pub(super) fn check(&self) -> Result<()> {
        let bad = |reason: String| Error::BadSetting { variable: "HF_ENDPOINT", reason };
        let uri: Uri = self.endpoint.parse().map_err(|error| bad(format!("`{}`: {error}", self.endpoint)))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(bad(format!("`{}` does not start with http:// or https://", self.endpoint)));
        }
        if uri.host().is_none_or(str::is_empty) {
            return Err(bad(format!("`{}` names no host", self.endpoint)));
        }
        if !has_usable_port(&uri) {
            return Err(bad(format!("`{}` has a port that is not a number below 65536", self.endpoint)));
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            // Not shown: it may hold a password.
            return Err(bad("it holds a user name; a secret goes into HF_TOKEN".into()));
        }
        if self.endpoint.contains(['?', '#']) {
            return Err(bad(format!("`{}` has a query or a fragment", self.endpoint)));
        }
        if let Some(token) = &self.token
            && !token.secret().bytes().all(|byte| byte.is_ascii_graphic())
        {
            let reason = "the token holds spaces, line breaks or letters beyond ASCII".into();
            return Err(Error::BadSetting { variable: "HF_TOKEN", reason });
        }
        Ok(())
    }
}

/// Whether an address has no port or a real one; the parser lets others through.
pub(super) fn has_usable_port(uri: &Uri) -> bool {
    uri.authority().is_some_and(|authority| {
        let after_host =
            authority.as_str().rsplit('@').next().unwrap_or_default().strip_prefix(authority.host());
        matches!(after_host, Some("")) || authority.port_u16().is_some_and(|port| port > 0)
    })
}

/// A secret that prints as dots.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// A token without the white space around it; `None` when nothing is left.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    pub(super) fn secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(...)")
    }
}

/// `~` and `~/x` as the shell would have written them.
pub(super) fn expand_home(path: &Path, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path.to_path_buf(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> HubSettings {
        let find = |name: &str| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        };
        HubSettings::from_variables(find, Some("/home/ada".into()))
    }

    fn cache(variables: &[(&str, &str)]) -> String {
        read(variables).cache.map(|path| path.display().to_string()).unwrap_or_default()
    }

    #[test]
    fn the_cache_is_where_huggingface_hub_has_it() {
        assert_eq!(cache(&[]), "/home/ada/.cache/huggingface/hub");
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x")]), "/x/huggingface/hub");
        assert_eq!(cache(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")]), "/home/ada/hf/hub");
        assert_eq!(cache(&[("HF_HOME", "/h"), ("HF_HUB_CACHE", "/c")]), "/c");
        assert_eq!(cache(&[("HF_HUB_CACHE", "")]), "/home/ada/.cache/huggingface/hub");
        assert!(HubSettings::from_variables(|_| None, None).cache_dir().is_err());
    }

    #[test]
    fn offline_has_four_spellings() {
        for yes in ["1", "on", "Yes", "TRUE"] {
            assert!(read(&[("HF_HUB_OFFLINE", yes)]).offline, "{yes}");
        }
        for no in ["0", "", "off", "2"] {
            assert!(!read(&[("HF_HUB_OFFLINE", no)]).offline, "{no}");
        }
    }

    #[test]
    fn the_token_comes_from_the_variable_then_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "from-home\n").unwrap();
        std::fs::write(dir.path().join("other"), " from-path ").unwrap();
        let home = dir.path().to_str().unwrap();
        let other = dir.path().join("other");
        let secret = |variables: &[(&str, &str)]| {
            read(variables).token.map(|token| token.secret().to_owned()).unwrap_or_default()
        };
        assert_eq!(secret(&[("HF_HOME", home)]), "from-home");
        assert_eq!(secret(&[("HF_HOME", home), ("HF_TOKEN_PATH", other.to_str().unwrap())]), "from-path");
        assert_eq!(secret(&[("HF_HOME", home), ("HF_TOKEN", "direct")]), "direct");
        assert!(!format!("{:?}", read(&[("HF_TOKEN", "direct")])).contains("direct"));
    }

    #[test]
    fn an_endpoint_that_cannot_work_is_refused() {
        for good in ["https://huggingface.co", "http://127.0.0.1:80", "https://a.example/api/hub/"] {
            read(&[("HF_ENDPOINT", good)]).check().unwrap();
        }
        for bad in [
            "huggingface.co",
            "ftp://a.example",
            "http://",
            "https:///x",
            "https://a b",
            "https://u:p@a.example",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://a.example:notaport",
            "https://a.example:99999",
            "https://a.example:",
        ] {
            let outcome = read(&[("HF_ENDPOINT", bad)]).check();
            assert_eq!(outcome.map_err(|error| error.code()), Err("bad_setting"), "{bad}");
        }
        assert_eq!(read(&[("HF_TOKEN", "a b")]).check().unwrap_err().code(), "bad_setting");
    }
}
