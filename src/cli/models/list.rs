//! `spanqa models list`.

use std::collections::HashSet;
use std::io::Write;

use serde::Serialize;
use spanqa::source::{Entry, HubRepo, SourceOptions, resolve};

use super::table::{self, Narrowing};
use super::{readable, size_of, without_network, write_json};
use crate::cli::{Outcome, terminal};

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    entry: Entry,
    /// Whether it can be used without the network.
    local: bool,
    /// What it takes on disk, other revisions and unfinished downloads included.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_on_disk: Option<u64>,
    /// The size of its weights.
    #[serde(skip)]
    size: Option<u64>,
}

pub fn run(options: &SourceOptions, json: bool, out: &mut dyn Write) -> anyhow::Result<Outcome> {
    let rows = rows(options)?;
    if json {
        write_json(&rows, out)?;
        return Ok(Outcome::Success);
    }
    let mut lines = vec![HEADINGS.map(String::from)];
    lines.extend(rows.iter().map(Row::cells));
    match terminal::width() {
        Some(width) => table::write_within(&lines, width, &NARROWING, out)?,
        None => table::write(&lines, out)?,
    }
    Ok(Outcome::Success)
}

/// The models of the registry, then those that were fetched without having a name.
fn rows(options: &SourceOptions) -> anyhow::Result<Vec<Row>> {
    let registry = options.registry()?;
    let offline = without_network(options);
    let mut rows = Vec::new();
    for entry in registry.entries() {
        let found = resolve(&entry.name, &offline).ok();
        let bytes_on_disk = match &entry.repo {
            Some(repo) => on_disk(repo, options),
            None if entry.is_builtin() => None,
            None => found.as_ref().map(|found| size_of(&found.files)),
        };
        let size = match &found {
            Some(found) if entry.is_builtin() => Some(size_of(&found.files)),
            _ => entry.megabytes.map(|megabytes| u64::from(megabytes) * 1_000_000),
        };
        rows.push(Row { entry: entry.clone(), local: found.is_some(), bytes_on_disk, size });
    }
    let named: HashSet<&str> = registry.entries().iter().filter_map(|entry| entry.repo.as_deref()).collect();
    for cached in options.cached_models().into_iter().filter(|cached| !named.contains(cached.repo.as_str())) {
        let local = resolve(&cached.repo, &offline).is_ok();
        let bytes_on_disk = Some(cached.bytes);
        rows.push(Row { entry: Entry::nameless(cached.repo), local, bytes_on_disk, size: None });
    }
    Ok(rows)
}

fn on_disk(repo: &str, options: &SourceOptions) -> Option<u64> {
    // No cache is as good as an empty one.
    let cached = options.cached(&HubRepo::new(repo, None).ok()?).ok()??;
    Some(cached.bytes)
}

const HEADINGS: [&str; 8] = ["NAME", "FAMILY", "SIZE", "LANGUAGES", "LICENCE", "F1", "DATA", "ON DISK"];

/// `models show` has what goes. Ten letters are `SQuAD 2.0…`: scores on two versions of a data set cannot be compared.
const NARROWING: Narrowing = Narrowing { cut: (6, 10), dropped: &[1, 4, 3, 2] };

impl Row {
    fn cells(&self) -> [String; 8] {
        let Self { entry, local, bytes_on_disk, size } = self;
        let unknown = || "-".to_owned();
        let best = entry.accuracy.first();
        [
            entry.name.clone(),
            entry.family.map_or_else(unknown, |family| family.name().to_owned()),
            size.map_or_else(unknown, readable),
            if entry.languages.is_empty() { unknown() } else { entry.languages.join(",") },
            entry.licence.clone().unwrap_or_else(unknown),
            best.map_or_else(unknown, |row| format!("{:.1}", row.f1)),
            best.map_or_else(unknown, |row| row.dataset.clone()),
            match (local, bytes_on_disk) {
                _ if entry.is_builtin() => "built in".into(),
                (true, Some(bytes)) => readable(*bytes),
                (true, None) => "yes".into(),
                // Another revision, or a download that broke off.
                (false, Some(bytes)) => format!("part: {}", readable(*bytes)),
                (false, None) => "no".into(),
            },
        ]
    }
}
