//! Fetching a model from the hub into the cache. The only user of hf-hub.
//!
//! hf-hub says how the hub's addresses are written and what its listing holds, and is used for that alone: none of its
//! clients is made. The bytes are moved by [`super::transfer`], because hf-hub 0.5.0, as far as its source shows,
//!
//! - panics on a redirect without a Location header, and on a link that could not be made;
//! - takes an ETag or commit header as a path as it comes, so a hostile server writes outside of the cache;
//! - compares neither size nor hash, and appends to a partial file even when the server starts from the beginning;
//! - waits for ever for a silent server, and no more than five seconds for another process;
//! - fetches again what it has, and sends the token to the host that it is redirected to.

use std::collections::BTreeSet;
use std::io::Read;

use hf_hub::api::RepoInfo;
use hf_hub::{Repo, RepoType};

use super::cache::{RepoCache, Snapshot};
use super::http::{About, Client};
use super::progress::{DownloadEvent, Watcher};
use super::repo::HubRepo;
use super::settings::HubSettings;
use super::transfer;
use crate::checkpoint::parts::{self, MODULES, POOLING, Parts, TOKENIZER_CONFIG};
use crate::source::error::{Error, Result};
use crate::{checkpoint, fs};

/// No listing is longer, unpacked; a server that sends more is not a hub.
const LONGEST_LISTING: u64 = 16 << 20;

/// Brings a revision of a repository into the cache: what is missing is fetched, what is there is kept.
pub(super) fn fetch(repo: &HubRepo, settings: &HubSettings, watcher: &Watcher) -> Result<Snapshot> {
    settings.check()?;
    let cache_dir = settings.cache_dir()?;
    let cache = RepoCache::new(cache_dir, repo);
    cache.prepare()?;
    let hub = Hub { client: Client::new(settings), settings, repo };

    let listing = hub.list(repo.revision())?;
    let lacks = |wanted: String| -> Error {
        checkpoint::Error::MissingFile { model: repo.to_string(), wanted }.into()
    };
    let parts = Parts::choose(|name| listing.names.contains(name)).map_err(lacks)?;
    let commit = listing.commit.as_str();
    let get = |file: &str| -> Result<()> {
        watcher.tell(file, DownloadEvent::Started);
        let outcome = transfer::obtain(
            &hub.client,
            &cache,
            commit,
            &hub.file_url(commit, file),
            About { repo, file: Some(file) },
            settings,
            watcher,
        );
        watcher.tell(file, DownloadEvent::Ended);
        outcome
    };

    if parts.legacy_tokenizer && !listing.names.contains(TOKENIZER_CONFIG) {
        cache.mark_absent(commit, TOKENIZER_CONFIG)?;
    }
    if listing.names.contains(MODULES) && !listing.names.contains(POOLING) {
        cache.mark_absent(commit, POOLING)?;
    }
    // The weights come last: a snapshot that has them has everything else, and an interrupted one does not count.
    for file in &parts.small {
        get(file)?;
    }
    if parts.sharded {
        get(parts.weights)?;
        let path = cache.snapshot(commit).join(parts.weights);
        let index = std::fs::read(&path).map_err(|source| fs::Error::Read { path: path.clone(), source })?;
        let shards = parts::shards(&index).map_err(|reason| checkpoint::Error::BadFile {
            file: format!("{repo}/{}", parts.weights),
            reason,
        })?;
        if let Some(shard) = shards.iter().find(|shard| !listing.names.contains(*shard)) {
            return Err(lacks(shard.clone()));
        }
        for shard in &shards {
            get(shard)?;
        }
    } else {
        get(parts.weights)?;
    }
    cache.write_ref(repo.revision(), commit)?;
    cache.lookup(commit).map_err(lacks)
}

struct Listing {
    commit: String,
    names: BTreeSet<String>,
}

struct Hub<'a> {
    client: Client<'a>,
    settings: &'a HubSettings,
    repo: &'a HubRepo,
}

impl Hub<'_> {
    /// The commit of a revision and the names of its files, in one request.
    fn list(&self, revision: &str) -> Result<Listing> {
        let url = format!("{}/api/{}", self.settings.endpoint, self.at(revision).api_url());
        let about = About { repo: self.repo, file: None };
        let mut response = match self.client.list(&url, about) {
            Ok(response) => response,
            // The hub says which of the two it lacks; a mirror may not, but can be asked for `main`.
            Err(Error::NoSuchRepo { .. }) if revision != "main" && self.list("main").is_ok() => {
                let repo = self.repo.id().to_owned();
                return Err(Error::NoSuchRevision { repo, revision: revision.to_owned() });
            }
            Err(error) => return Err(error),
        };
        let strange = |reason: String| Error::HubAnswer {
            url: format!("{}/api/models/{}", self.settings.endpoint, self.repo.id()),
            reason,
        };
        // A few kilobytes can unpack to gigabytes: what is unpacked counts, which a limit of `ureq` does not see.
        let mut listing = Vec::new();
        let unpacked = response.body_mut().as_reader().take(LONGEST_LISTING + 1).read_to_end(&mut listing);
        if listing.len() as u64 > LONGEST_LISTING {
            return Err(strange(format!("its listing is longer than {LONGEST_LISTING} bytes")));
        }
        let info: RepoInfo = unpacked
            .map_err(|error| error.to_string())
            .and_then(|_| serde_json::from_slice(&listing).map_err(|error| error.to_string()))
            .map_err(|error| strange(format!("it is not the listing of a repository ({error})")))?;
        if !parts::is_commit(&info.sha) {
            return Err(strange("its commit is not a hash of 40 letters".into()));
        }
        Ok(Listing {
            commit: info.sha,
            names: info.siblings.into_iter().map(|file| file.rfilename).collect(),
        })
    }

    /// Where a file of a commit is fetched.
    fn file_url(&self, commit: &str, file: &str) -> String {
        let repo = self.at(commit);
        format!("{}/{}/resolve/{}/{file}", self.settings.endpoint, repo.url(), repo.url_revision())
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.repo.id().to_owned(), RepoType::Model, revision.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hf_hub::Cache;
    use hf_hub::api::sync::ApiBuilder;

    #[test]
    fn our_cache_is_laid_out_as_hf_hub_lays_it_out() {
        let dir = std::path::Path::new("/cache");
        let repo = HubRepo::new("a/b.c", Some("v1")).unwrap();
        let ours = RepoCache::new(dir, &repo);
        let theirs = Cache::new(dir.into()).repo(Repo::model("a/b.c".into()));
        assert_eq!(ours.blob("x"), theirs.blob_path("x"));
        assert_eq!(ours.snapshot("y"), theirs.pointer_path("y"));
    }

    #[test]
    fn files_are_where_hf_hub_fetches_them() {
        let repo = HubRepo::new("a/b.c", None).unwrap();
        let settings = HubSettings::default();
        let ours = Hub { client: Client::new(&settings), settings: &settings, repo: &repo };
        let theirs = ApiBuilder::new().with_endpoint(settings.endpoint.clone()).build().unwrap();
        let at = Repo::with_revision("a/b.c".into(), RepoType::Model, "v/1".into());
        for file in ["config.json", "1_Pooling/config.json"] {
            assert_eq!(ours.file_url("v/1", file), theirs.repo(at.clone()).url(file));
        }
    }
}
