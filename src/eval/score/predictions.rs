//! Files that name a text or a number for every question, in the form that the official scripts read.

use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};

use crate::eval::data::Dataset;
use crate::eval::error::{Error, Result};
use crate::fs;

/// A JSON object whose order counts: ties between no-answer scores are broken by the order of their file.
#[derive(Debug, Clone, PartialEq)]
pub struct ById<V> {
    /// The file, as messages call it.
    pub name: String,
    entries: Vec<(String, V)>,
    places: HashMap<String, usize>,
}

/// An answer per question; empty for "no answer".
pub type Predictions = ById<String>;
/// How sure one is that a question has no answer: a probability, or any number that grows with it.
pub type NoAnswerScores = ById<serde_json::Number>;

impl<V> ById<V> {
    /// An empty one.
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), entries: Vec::new(), places: HashMap::new() }
    }

    /// Sets the value of a question. One that was there before keeps its place, as in Python.
    pub fn insert(&mut self, id: String, value: V) {
        match self.places.get(&id) {
            Some(&place) => self.entries[place].1 = value,
            None => {
                self.places.insert(id.clone(), self.entries.len());
                self.entries.push((id, value));
            }
        }
    }

    /// The value of a question.
    pub fn get(&self, id: &str) -> Option<&V> {
        self.places.get(id).map(|&place| &self.entries[place].1)
    }

    /// All of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.entries.iter().map(|(id, value)| (id.as_str(), value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries that belong to no question of the data set.
    pub fn strangers(&self, dataset: &Dataset) -> usize {
        self.len()
            .saturating_sub(dataset.entries().filter(|entry| self.get(&entry.question.id).is_some()).count())
    }

    /// Fails unless every question has an entry.
    pub fn require_all(&self, dataset: &Dataset) -> Result<()> {
        let missing =
            || dataset.entries().map(|entry| &entry.question.id).filter(|id| self.get(id.as_str()).is_none());
        match missing().count() {
            0 => Ok(()),
            count => Err(Error::MissingPredictions {
                file: self.name.clone(),
                missing: count,
                total: dataset.len(),
                ids: missing().take(3).cloned().collect(),
            }),
        }
    }
}

impl<V: DeserializeOwned> ById<V> {
    /// Reads a file.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| fs::Error::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &bytes)
    }

    /// Reads what is already in memory.
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut read: Self = serde_json::from_slice(bytes)
            .map_err(|error| Error::BadPredictions { file: name.into(), reason: error.to_string() })?;
        read.name = name.into();
        Ok(read)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for ById<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Object<V> {
            type Value = ById<V>;

            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                out.write_str("an object with one entry per question id")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ById<V>, A::Error> {
                let mut read = ById::new("");
                while let Some((id, value)) = map.next_entry()? {
                    read.insert(id, value);
                }
                Ok(read)
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}
