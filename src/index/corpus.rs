//! Texts of a file of JSON lines: `{"id", "title"?, "text"}`.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::error::{Error, Result};
use super::segment::TextPlace;
use crate::document::compression::Compression;
use crate::fs;

/// A text of a corpus.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    /// What it is called.
    #[serde(alias = "_id")]
    id: Value,
    #[serde(default)]
    pub(super) title: Option<String>,
    pub(super) text: String,
}

impl Entry {
    /// What records call it.
    pub(super) fn name(&self) -> String {
        match &self.id {
            Value::String(id) => id.clone(),
            id => id.to_string(),
        }
    }
}

/// A line is a text unless it is blank; else what is wrong with it.
pub(super) fn entry(line: &[u8]) -> Option<Result<Entry, String>> {
    let line = line.trim_ascii();
    // It is a line among others: which one, the caller knows.
    let reason = |error: serde_json::Error| error.to_string().replace(" at line 1 column ", " at column ");
    (!line.is_empty()).then(|| serde_json::from_slice(line).map_err(reason))
}

/// Every text of a corpus with its title. A line that is no text is an error here.
pub fn texts(path: &Path) -> Result<Vec<(String, String)>> {
    let map = fs::map(path)?;
    refuse_packed(path, &map)?;
    let lines = map.split(|&byte| byte == b'\n').zip(1..);
    let texts = lines.filter_map(|(line, number)| Some((entry(line)?, number))).map(|(entry, line)| {
        let bad = |reason: String| Error::BadLine { path: path.display().to_string(), line, reason };
        let Entry { title, text, .. } = entry.map_err(bad)?;
        Ok((title.unwrap_or_default(), text))
    });
    texts.collect()
}

/// Bytes that may be packed are none that can be read line by line.
pub(super) fn refuse_packed(path: &Path, bytes: &[u8]) -> Result<()> {
    match Compression::of(bytes) {
        Some(_) => Err(Error::Packed { path: path.display().to_string() }),
        None => Ok(()),
    }
}

/// Pieces of about `size` bytes that end with a line, each with the number of its first line.
pub(super) fn pieces(bytes: &[u8], size: usize) -> Vec<(usize, Range<usize>)> {
    let mut pieces = Vec::new();
    let (mut start, mut line) = (0, 0);
    while start < bytes.len() {
        let least = (start + size).min(bytes.len());
        let end =
            bytes[least..].iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| least + at + 1);
        pieces.push((line, start..end));
        line += bytes[start..end].iter().filter(|&&byte| byte == b'\n').count();
        start = end;
    }
    pieces
}

/// Reads a text where it stands.
pub(super) fn read(path: &Path, place: TextPlace) -> Result<Entry> {
    let bytes = || -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(place.start))?;
        let mut bytes = Vec::new();
        file.take(place.length).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = bytes().map_err(|source| fs::Error::Read { path: path.to_owned(), source })?;
    let changed = || Error::Changed { path: path.display().to_string() };
    entry(&bytes).and_then(Result::ok).ok_or_else(changed)
}
