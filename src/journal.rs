//! Files of JSON lines that a run appends to, so that an interrupted run can be continued.
//!
//! The first line, the header, says which run it is: whoever continues must come with the same one. A line that was half
//! written when the process died is cut off.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::fs::{Error, Result, write};

/// A file to which records are appended.
#[derive(Debug)]
pub struct Journal<R> {
    path: PathBuf,
    file: File,
    records: PhantomData<fn(&R)>,
}

/// What differs between the header of a file and the one of a run. Nothing does if the file is not there or has no whole line.
pub fn changed(path: &Path, header: &impl Serialize) -> Result<Option<Changed>> {
    let bytes = read(path)?;
    let first = whole_lines(&bytes).next();
    first.map_or(Ok(None), |first| Ok(compare(first, &value(path, header)?)))
}

/// What differs between the header of a file and the run that wants to continue it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The field, with dots between the names of nested ones.
    pub field: String,
    /// Its value in the file.
    pub found: String,
    /// Its value now.
    pub expected: String,
}

impl<R: Serialize + DeserializeOwned> Journal<R> {
    /// Starts anew, forgetting what the file held.
    pub fn create(path: &Path, header: &impl Serialize) -> Result<Self> {
        let file = File::create(path).map_err(|source| Error::Write { path: path.to_owned(), source })?;
        let mut journal = Self { path: path.to_owned(), file, records: PhantomData };
        journal.lines(&[header])?;
        Ok(journal)
    }

    /// Goes on where the file stops, and returns what it holds. One that is not there or has no whole line is created.
    ///
    /// Fails with what `other_run` makes of the difference if the file has another header.
    pub fn resume<E: From<Error>>(
        path: &Path,
        header: &impl Serialize,
        other_run: impl FnOnce(Changed) -> E,
    ) -> Result<(Self, Vec<R>), E> {
        let bytes = read(path)?;
        let mut lines = whole_lines(&bytes);
        let Some(first) = lines.next() else { return Ok((Self::create(path, header)?, Vec::new())) };
        let unwritable = |source| Error::Write { path: path.to_owned(), source };
        if let Some(changed) = compare(first, &value(path, header)?) {
            return Err(other_run(changed));
        }
        let mut records = Vec::new();
        let mut length = first.len();
        for line in lines {
            let Ok(record) = serde_json::from_slice(line) else { break };
            records.push(record);
            length += line.len();
        }
        crate::fs::cut(path, length as u64).map_err(unwritable)?;
        Ok((Self::continued(path)?, records))
    }

    /// Opens a file without a header, and returns the records for which `keep` is true. The other lines are dropped from
    /// the file; those that stay keep every byte. One that is not there is created.
    pub fn open(path: &Path, keep: impl Fn(&R) -> bool) -> Result<(Self, Vec<R>)> {
        let bytes = read(path)?;
        let (mut kept, mut records) = (Vec::new(), Vec::new());
        for line in bytes.split(|&byte| byte == b'\n') {
            let Ok(record) = serde_json::from_slice::<R>(line) else { continue };
            if keep(&record) {
                kept.extend_from_slice(line);
                kept.push(b'\n');
                records.push(record);
            }
        }
        if kept != bytes {
            write(path, &kept)?;
        }
        Ok((Self::continued(path)?, records))
    }

    fn continued(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path);
        let file = file.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file, records: PhantomData })
    }

    /// Adds records. Their lines are in the file when this returns.
    pub fn append(&mut self, records: &[R]) -> Result<()> {
        self.lines(records)
    }

    /// One write for all lines, so that whoever reads along sees half a line only if this process dies.
    fn lines(&mut self, lines: &[impl Serialize]) -> Result<()> {
        let mut text = Vec::new();
        let written = lines.iter().try_for_each(|line| {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
            Ok(())
        });
        (written.and_then(|()| self.file.write_all(&text)))
            .map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

fn whole_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"))
}

/// A header by way of its text, as the one in the file: a number must come out the same.
fn value(path: &Path, header: &impl Serialize) -> Result<Value> {
    let value = serde_json::to_vec(header).and_then(|text| serde_json::from_slice(&text));
    value.map_err(|error| Error::Write { path: path.to_owned(), source: error.into() })
}

fn read(path: &Path) -> Result<Vec<u8>> {
    match fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(Error::Read { path: path.to_owned(), source }),
    }
}

/// The first difference between the header of a file and the one that is expected.
fn compare(line: &[u8], now: &Value) -> Option<Changed> {
    match serde_json::from_slice::<Value>(line) {
        Ok(then) => difference("", &then, now),
        Err(_) => Some(Changed {
            field: "first line".into(),
            found: String::from_utf8_lossy(line).chars().take(80).collect(),
            expected: "a header".into(),
        }),
    }
}

fn difference(field: &str, then: &Value, now: &Value) -> Option<Changed> {
    if then == now {
        return None;
    }
    let (Value::Object(before), Value::Object(after)) = (then, now) else {
        return Some(Changed {
            field: if field.is_empty() { "header" } else { field }.into(),
            found: shown(then),
            expected: shown(now),
        });
    };
    let below = |name: &str| if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    after.keys().chain(gone).find_map(|name| {
        let side = |object: &serde_json::Map<String, Value>| object.get(name).cloned().unwrap_or(Value::Null);
        difference(&below(name), &side(before), &side(after))
    })
}

/// A value as a message shows it: a text without its quotes, nothing as "not set".
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Step {
        step: u32,
    }

    fn steps(range: std::ops::Range<u32>) -> Vec<Step> {
        range.map(|step| Step { step }).collect()
    }

    #[derive(Debug)]
    enum Problem {
        File,
        OtherRun(Changed),
    }

    impl From<Error> for Problem {
        fn from(_: Error) -> Self {
            Problem::File
        }
    }

    impl std::fmt::Display for Problem {
        fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
            match self {
                Problem::File => out.write_str("file"),
                Problem::OtherRun(Changed { field, found, expected }) => {
                    write!(out, "{field}: {found} -> {expected}")
                }
            }
        }
    }

    fn resume(path: &Path, header: Value) -> Result<(Journal<Step>, Vec<Step>), Problem> {
        Journal::resume(path, &header, Problem::OtherRun)
    }

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.jsonl");
        (dir, path)
    }

    #[test]
    fn a_run_goes_on_after_its_last_whole_line() {
        let (_dir, path) = place();
        let header = json!({"model": "m"});
        let mut journal = Journal::create(&path, &header).unwrap();
        journal.append(&steps(0..3)).unwrap();
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole, b"{\"model\":\"m\"}\n{\"step\":0}\n{\"step\":1}\n{\"step\":2}\n");
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let (mut journal, before) = resume(&path, header.clone()).unwrap();
            let lines = whole[..cut].iter().filter(|&&byte| byte == b'\n').count() as u32;
            assert_eq!(before, steps(0..lines.saturating_sub(1)), "cut at {cut}");
            journal.append(&steps(lines.saturating_sub(1)..3)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_line_that_is_no_record_ends_what_is_kept() {
        let (_dir, path) = place();
        fs::write(&path, "{}\n{\"step\":0}\ngarbage\n{\"step\":2}\n").unwrap();
        assert_eq!(resume(&path, json!({})).unwrap().1, steps(0..1));
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}\n{\"step\":0}\n");
    }

    #[test]
    fn another_run_is_refused_with_the_field_that_differs() {
        let (_dir, path) = place();
        let then = json!({"model": "m", "limits": {"window": 384, "overlap": 128}, "seed": 1, "dtype": null});
        Journal::<Step>::create(&path, &then).unwrap();
        let written = fs::read(&path).unwrap();
        for (field, value, said) in [
            ("model", json!("n"), "model: m -> n"),
            ("limits", json!({"window": 384, "overlap": 64}), "limits.overlap: 128 -> 64"),
            ("limits", json!({"window": 384}), "limits.overlap: 128 -> not set"),
            ("dtype", json!("f16"), "dtype: not set -> f16"),
            ("new", json!(true), "new: not set -> true"),
            ("seed", json!([1]), "seed: 1 -> [1]"),
        ] {
            let mut now = then.clone();
            now[field] = value;
            assert_eq!(resume(&path, now).unwrap_err().to_string(), said);
        }
        assert_eq!(fs::read(&path).unwrap(), written, "nothing was touched");
        resume(&path, then).unwrap();
        fs::write(&path, "not a header\n").unwrap();
        assert!(resume(&path, json!({})).unwrap_err().to_string().starts_with("first line"));
    }

    #[test]
    fn a_header_can_be_compared_alone() {
        let (_dir, path) = place();
        assert_eq!(changed(&path, &json!({"k": 1})).unwrap(), None);
        Journal::<Step>::create(&path, &json!({"k": 1})).unwrap();
        assert_eq!(changed(&path, &json!({"k": 1})).unwrap(), None);
        let found = changed(&path, &json!({"k": 2})).unwrap().unwrap();
        assert_eq!((&*found.field, &*found.found, &*found.expected), ("k", "1", "2"));
    }

    #[test]
    fn numbers_of_single_precision_stay_the_same() {
        #[derive(Serialize)]
        struct Header {
            threshold: f32,
        }
        let (_dir, path) = place();
        Journal::<Step>::create(&path, &Header { threshold: 0.1 }).unwrap();
        let resume = |threshold| Journal::<Step>::resume(&path, &Header { threshold }, Problem::OtherRun);
        resume(0.1).unwrap();
        assert_eq!(resume(0.2).unwrap_err().to_string(), "threshold: 0.1 -> 0.2");
    }

    #[test]
    fn a_field_that_came_later_and_is_not_set_changes_nothing() {
        let (_dir, path) = place();
        Journal::<Step>::create(&path, &json!({"model": "m"})).unwrap();
        resume(&path, json!({"model": "m", "limit": null})).unwrap();
    }

    #[test]
    fn without_a_header_lines_are_kept_by_what_they_say() {
        let (_dir, path) = place();
        fs::write(&path, "{\"step\":0,\"later\":1.50}\nnoise\n{\"step\":7}\n{\"step\": 1}").unwrap();
        let (mut journal, kept) = Journal::<Step>::open(&path, |record| record.step < 5).unwrap();
        assert_eq!(kept, steps(0..2));
        journal.append(&steps(2..3)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"step\":0,\"later\":1.50}\n{\"step\": 1}\n{\"step\":2}\n");
    }

    #[test]
    fn folders_are_errors_with_the_path() {
        let (dir, _) = place();
        let missing = dir.path().join("missing").join("run.jsonl");
        let open = |path: &Path| Journal::<Step>::open(path, |_| true).map(drop);
        assert!(matches!(open(&missing), Err(Error::Write { path, .. }) if path == missing));
        assert!(matches!(open(dir.path()), Err(Error::Read { path, .. }) if path == dir.path()));
    }
}
