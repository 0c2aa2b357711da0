//! From a model reference to files: registry, built-in model, folder, hub cache, download.
//!
//! The order is fixed: what is on this machine is taken first, and the network is asked only when a file is missing
//! and nobody forbade it. A branch that was fetched once stays as it was; `refresh` asks the hub what it is now.

pub mod builtin;
mod cache;
mod disk;
pub mod error;
mod http;
mod hub;
mod progress;
mod reference;
mod registry;
mod repo;
mod settings;
mod transfer;

use std::path::PathBuf;

pub use disk::Cached;
pub use error::{Error, Result};
pub use progress::{Download, DownloadEvent, Watcher};
pub use reference::Reference;
pub use registry::{Accuracy, Entry, Family, Registry};
pub use repo::HubRepo;
pub use settings::{DEFAULT_ENDPOINT, HubSettings, Token};

use crate::checkpoint::ModelFiles;

/// How models are looked for.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// Forbid the network. The hub settings can forbid it as well.
    pub offline: bool,
    /// A registry file beside the built-in one (`--registry`, `SPANQA_REGISTRY`). It has to exist.
    pub registry: Option<PathBuf>,
    /// The registry in the user's configuration folder. It is read where it exists, before `registry`.
    pub user_registry: Option<PathBuf>,
    /// Is told how far downloads have come.
    pub watcher: Watcher,
    /// Ask the hub even when the cache has the model, so that a branch is brought up to date.
    pub refresh: bool,
    /// Where the hub and its cache are.
    pub hub: HubSettings,
}

impl SourceOptions {
    /// What the environment and the platform's folders say.
    pub fn from_env() -> Self {
        Self {
            registry: std::env::var_os("SPANQA_REGISTRY").filter(|path| !path.is_empty()).map(PathBuf::from),
            user_registry: dirs::config_dir().map(|dir| dir.join("spanqa").join("models.toml")),
            hub: HubSettings::from_env(),
            ..Self::default()
        }
    }

    /// The built-in registry with the user's files on top.
    pub fn registry(&self) -> Result<Registry> {
        let user = self.user_registry.as_deref().filter(|path| path.is_file());
        Registry::with_files(user.into_iter().chain(self.registry.as_deref()))
    }
}

/// A model whose files are on this machine.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The files.
    pub files: ModelFiles,
    /// What the registry knows about the model.
    pub entry: Option<Entry>,
    /// Where the files were found.
    pub origin: Origin,
    /// The folder they are in, unless they are inside this program.
    pub folder: Option<PathBuf>,
}

/// Where the files of a model were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Inside this program.
    BuiltIn,
    /// In a folder that was named.
    Folder,
    /// In the hub's cache; the network was not used.
    Cache,
    /// In the hub's cache, after asking the hub.
    Downloaded,
}

/// Finds the files of a model, and fetches them if that is necessary and allowed.
pub fn resolve(reference: &str, options: &SourceOptions) -> Result<Resolved> {
    match Reference::parse(reference, &options.registry()?)? {
        Reference::BuiltIn(entry) => Ok(Resolved {
            files: builtin::files(&entry.name),
            entry: Some(entry),
            origin: Origin::BuiltIn,
            folder: None,
        }),
        Reference::Folder(folder, entry) => {
            if !folder.is_dir() {
                return Err(Error::NoSuchFolder { path: folder });
            }
            let mut files = ModelFiles::from_dir(&folder)?;
            if let Some(entry) = &entry {
                files.name.clone_from(&entry.name);
            }
            files.require("config.json")?;
            Ok(Resolved { files, entry, origin: Origin::Folder, folder: Some(folder) })
        }
        Reference::Repo(repo, entry) => from_hub(reference, &repo, entry, options),
    }
}

fn from_hub(
    reference: &str,
    repo: &HubRepo,
    entry: Option<Entry>,
    options: &SourceOptions,
) -> Result<Resolved> {
    let settings = &options.hub;
    let offline = options.offline || settings.offline;
    let cache_dir = settings.cache_dir()?;
    let cached = cache::RepoCache::new(cache_dir, repo).lookup(repo.revision());
    let (snapshot, origin) = match cached {
        Ok(snapshot) if offline || !options.refresh => (snapshot, Origin::Cache),
        Err(missing) if offline => {
            let cache = cache_dir.to_path_buf();
            return Err(Error::Offline { model: reference.to_owned(), cache, missing });
        }
        _ => (hub::fetch(repo, settings, &options.watcher)?, Origin::Downloaded),
    };
    let mut files = ModelFiles::from_dir(&snapshot.dir)?;
    files.name = entry.as_ref().map_or_else(|| repo.id().to_owned(), |entry| entry.name.clone());
    files.revision = Some(snapshot.commit);
    Ok(Resolved { files, entry, origin, folder: Some(snapshot.dir) })
}
