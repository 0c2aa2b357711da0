//! One file from the hub into the cache: whole and checked, or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use sha2::{Digest, Sha256};
use ureq::Body;
use ureq::http::Response;

use super::cache::{BlobLock, RepoCache, not_writable, unique_name, with_suffix};
use super::http::{About, Client, Remote, header, may_pass};
use super::progress::{DownloadEvent, Watcher};
use super::settings::HubSettings;
use crate::fs::complete;
use crate::source::error::{Error, Result};

/// Makes a file part of a snapshot, fetching its content unless the cache has it.
pub(super) fn obtain(
    client: &Client,
    cache: &RepoCache,
    commit: &str,
    url: &str,
    about: About,
    settings: &HubSettings,
    watcher: &Watcher,
) -> Result<()> {
    let file = about.file.unwrap_or(url);
    let remote = client.describe(url, about)?;
    let blob = cache.blob(&remote.blob);
    let is_there = || fs::metadata(&blob).is_ok_and(|meta| meta.len() == remote.size);
    if !is_there() {
        let part = with_suffix(&blob, "part");
        let waiting = || watcher.tell(file, DownloadEvent::Waiting);
        let lock = BlobLock::acquire(&blob, &part, settings.patience, waiting)?;
        // Without a lock nobody may be trusted with the shared partial file, so this one is ours alone.
        let part = if lock.is_some() { part } else { cache.blob(&unique_name("part")) };
        if !is_there() {
            let download =
                Download { client, url, about, file, remote: &remote, part: &part, settings, watcher };
            let file = download.run()?;
            complete(&file, &part, &blob).map_err(|source| not_writable(&blob, source))?;
        }
    }
    cache.link(&remote.blob, commit, file)
}

struct Download<'a> {
    client: &'a Client<'a>,
    url: &'a str,
    about: About<'a>,
    file: &'a str,
    remote: &'a Remote,
    part: &'a Path,
    settings: &'a HubSettings,
    watcher: &'a Watcher,
}

/// How one answer of the server ended.
enum End {
    /// The server thinks that it sent everything.
    Said,
    /// What is there cannot be continued.
    Useless(&'static str),
    /// The connection broke.
    Broke(String),
}

impl Download<'_> {
    /// Continues the partial file until it has the announced size and hash.
    fn run(&self) -> Result<File> {
        let full = self.remote.size;
        let mut part = self
            .writing(File::options().create(true).truncate(false).read(true).write(true).open(self.part))?;
        let mut have = self.writing(part.metadata())?.len();
        if self.remote.sha256.is_none() {
            // Nothing could show later that old bytes are wrong, and files without a hash are small.
            have = self.restart(&mut part)?;
        }
        // Bytes of an earlier run may belong to anything, so they get the benefit of one new start.
        let mut from_before = have > 0;
        let (mut furthest, mut failures) = (have, 0);
        loop {
            if have > full {
                have = self.restart(&mut part)?;
            }
            if have == full {
                match self.check_hash(&mut part)? {
                    None => return Ok(part),
                    Some(_) if from_before => {
                        from_before = false;
                        have = self.restart(&mut part)?;
                    }
                    Some(damage) => {
                        drop(part);
                        let _ = fs::remove_file(self.part);
                        return Err(damage);
                    }
                }
            }
            if have == full {
                continue;
            }
            self.tell(have);
            let response = self.client.open(self.url, have, self.about)?;
            let end = self.receive(response, &mut part, have)?;
            have = self.writing(part.metadata())?.len();
            if have == full {
                continue;
            }
            if have > furthest && matches!(end, End::Broke(_)) {
                // A flaky line that moves forward is allowed as many breaks as it takes.
                (furthest, failures) = (have, 0);
            }
            failures += 1;
            if failures > self.settings.retries {
                return Err(self.give_up(end, have));
            }
            if let End::Useless(_) = end {
                from_before = false;
                have = self.restart(&mut part)?;
            }
            self.client.pause(failures, None);
        }
    }

    fn receive(&self, response: Response<Body>, part: &mut File, have: u64) -> Result<End> {
        let mut have = have;
        match response.status().as_u16() {
            206 if content_start(&response) == Some(have) => {}
            206 => return Ok(End::Useless("the server sends another part than it was asked for")),
            416 => return Ok(End::Useless("the server does not have the part that is missing")),
            // The server starts from the beginning, whatever it was asked for.
            _ => have = self.restart(part)?,
        }
        self.writing(part.seek(SeekFrom::Start(have)))?;
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => return Ok(End::Said),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    let error = ureq::Error::from(error);
                    return match may_pass(&error) {
                        true => Ok(End::Broke(error.to_string())),
                        false => Err(self.client.unreachable(&error)),
                    };
                }
            };
            have += count as u64;
            if have > self.remote.size {
                let got = format!("more than {} bytes", self.remote.size);
                return Err(self.damaged("size", self.remote.size.to_string(), got));
            }
            self.writing(part.write_all(&buffer[..count]))?;
            self.tell(have);
        }
    }

    fn tell(&self, have: u64) {
        self.watcher.tell(self.file, DownloadEvent::Bytes { have, size: self.remote.size });
    }

    fn give_up(&self, end: End, have: u64) -> Error {
        match end {
            End::Broke(reason) => Error::DownloadCut {
                file: self.file.to_owned(),
                got: have,
                expected: self.remote.size,
                reason,
            },
            End::Said => self.damaged("size", self.remote.size.to_string(), have.to_string()),
            End::Useless(reason) => self.damaged("size", self.remote.size.to_string(), reason.to_owned()),
        }
    }

    /// An error about bytes that must not be continued, so they are removed.
    fn damaged(&self, property: &'static str, expected: String, got: String) -> Error {
        let _ = fs::remove_file(self.part);
        Error::DownloadDamaged { file: self.file.to_owned(), property, expected, got }
    }

    fn restart(&self, part: &mut File) -> Result<u64> {
        self.writing(part.set_len(0))?;
        Ok(0)
    }

    fn check_hash(&self, part: &mut File) -> Result<Option<Error>> {
        let Some(expected) = &self.remote.sha256 else { return Ok(None) };
        self.writing(part.rewind())?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            match part.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hash.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(crate::fs::Error::Read { path: self.part.to_path_buf(), source }.into());
                }
            }
        }
        let got: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok((got != *expected).then(|| Error::DownloadDamaged {
            file: self.file.to_owned(),
            property: "sha256",
            expected: expected.clone(),
            got,
        }))
    }

    fn writing<T>(&self, outcome: io::Result<T>) -> Result<T> {
        outcome.map_err(|source| not_writable(self.part, source))
    }
}

/// The first byte that a partial answer holds.
fn content_start(response: &Response<Body>) -> Option<u64> {
    let range = header(response, "content-range")?.trim().strip_prefix("bytes")?;
    range.trim_start().split('-').next()?.trim().parse().ok()
}
