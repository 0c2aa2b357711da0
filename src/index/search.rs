//! The best passages of one or several indexes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::corpus;
use super::error::{Error, Result};
use super::home::Root;
use super::manifest::{Manifest, Stat};
use super::segment::{Alive, TextPlace};
use super::vectors::{Query, Vectors};
use crate::document::{self, Text};
use crate::fs;
use crate::rank::{Words, best, worth};
use crate::request::reply::DocumentId;

/// Files with what they looked like when they were read.
type Files = Vec<(PathBuf, Stat)>;

/// An index as it was when it was opened.
#[derive(Debug)]
pub struct Index {
    root: Root,
    segments: Vec<Alive>,
    /// The files of each segment.
    files: Vec<Files>,
    /// The vectors of each, and the model that made them, if every passage has one.
    vectors: Option<(String, Vec<Vectors>)>,
}

/// Somebody who merges segments removes the old ones: so often the new ones are looked for.
const ATTEMPTS: usize = 10;

impl Index {
    /// Opens the index in a folder; `None` if there is none that this program can read.
    pub fn open(folder: &Path, root: &Root) -> Result<Option<Self>> {
        let mut attempts = 0;
        loop {
            let Some(manifest) = Manifest::load(folder)? else { return Ok(None) };
            attempts += 1;
            match Self::of(folder, root, &manifest) {
                Err(Error::Fs(fs::Error::Read { source, .. }))
                    if source.kind() == std::io::ErrorKind::NotFound && attempts < ATTEMPTS => {}
                index => return index.map(Some),
            }
        }
    }

    /// Opens what a manifest says.
    pub(super) fn of(folder: &Path, root: &Root, manifest: &Manifest) -> Result<Self> {
        let segments = manifest.segments.iter().map(|segment| segment.open(folder));
        let segments = segments.collect::<Result<Vec<Alive>>>()?;
        let path = |name: &str| if name.is_empty() { root.path().to_owned() } else { root.path().join(name) };
        let files = manifest
            .segments
            .iter()
            .map(|segment| segment.files.iter().map(|file| (path(&file.path), file.stat)).collect());
        let files = files.collect();
        let vectors = vectors(folder, manifest, &segments);
        Ok(Self { root: root.clone(), segments, files, vectors })
    }

    /// The model that makes its vectors, as it is asked for, whether every passage has one or not yet.
    pub fn embedder(folder: &Path) -> Result<Option<String>> {
        Ok(Manifest::load(folder)?.and_then(|manifest| Some(manifest.embedder?.model)))
    }

    /// Whether every passage has a vector.
    pub fn is_embedded(&self) -> bool {
        self.vectors.is_some()
    }

    /// What was indexed.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// How many passages there are.
    pub fn passages(&self) -> usize {
        self.segments.iter().map(Words::passages).sum()
    }

    /// How many files or lines have text.
    pub fn texts(&self) -> usize {
        let texts = |alive: &Alive| {
            let is_there = |text: &usize| !alive.gone[alive.segment.text(*text).0.file as usize];
            (0..alive.segment.texts()).filter(is_there).count()
        };
        self.segments.iter().map(texts).sum()
    }
}

/// A passage that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its file.
    path: PathBuf,
    stat: Stat,
    is_corpus: bool,
    place: TextPlace,
    /// Its bytes in the text.
    pub bytes: Range<usize>,
    /// What the words of the question make of it.
    pub score: f64,
}

/// The vectors of the segments of an index, if all have them.
fn vectors(folder: &Path, manifest: &Manifest, segments: &[Alive]) -> Option<(String, Vec<Vectors>)> {
    let entry = manifest.embedder.as_ref()?;
    let vectors = manifest.segments.iter().zip(segments).map(|(segment, alive)| {
        Vectors::open(&segment.vectors(folder, entry), alive.segment.len(), entry.dimensions).ok()
    });
    Some((entry.model.clone(), vectors.collect::<Option<_>>()?))
}

impl Index {
    fn found(&self, segment: usize, passage: usize, score: f64) -> Found {
        let passage = self.segments[segment].segment.passage(passage);
        let (path, stat) = self.files[segment].get(passage.text.file as usize).cloned().unwrap_or_default();
        Found {
            path,
            stat,
            is_corpus: matches!(self.root, Root::Corpus(_)),
            place: passage.text,
            bytes: passage.bytes,
            score,
        }
    }
}

/// The passages of some indexes that share most words with a question, best first; those that nothing tells apart in the order of their
/// names, whatever the history of their indexes.
pub fn search(question: &str, indexes: &[Index], most: usize) -> Vec<Found> {
    let segments: Vec<(&Index, usize)> = (indexes.iter())
        .flat_map(|index| (0..index.segments.len()).map(move |segment| (index, segment)))
        .collect();
    let alive: Vec<&Alive> = segments.iter().map(|(index, segment)| &index.segments[*segment]).collect();
    // A passage may be there once for each index.
    let hits = best(question, &alive, most.saturating_mul(indexes.len())).into_iter().map(|hit| {
        let (index, segment) = segments[hit.document];
        index.found(segment, hit.passage, hit.score)
    });
    first(hits.collect(), most, indexes.len())
}

/// The passages whose vectors are nearest to that of a question, best first. Indexes without vectors have none.
pub fn nearest(vector: &[f32], indexes: &[Index], most: usize) -> Vec<Found> {
    let query = Query::of(vector);
    let mut near: Vec<(&Index, usize, usize, f32)> = Vec::new();
    for index in indexes {
        for (segment, vectors) in index.vectors.iter().flat_map(|(_, vectors)| vectors).enumerate() {
            let alive = &index.segments[segment];
            let products = vectors.products(&query).into_iter().enumerate();
            let products = products.filter(|(passage, _)| alive.has(*passage));
            near.extend(products.map(|(passage, product)| (index, segment, passage, product)));
        }
    }
    // With those that are as good as the last one: their names decide.
    let enough = most.saturating_mul(indexes.len());
    if let Some(last) = enough.checked_sub(1).filter(|last| *last < near.len()) {
        let least = near.select_nth_unstable_by(last, |a, b| b.3.total_cmp(&a.3)).1.3;
        near.retain(|(.., product)| *product >= least);
    }
    let found = near.into_iter();
    let found = found.map(|(index, segment, passage, product)| index.found(segment, passage, product.into()));
    first(found.collect(), most, indexes.len())
}

/// One order of two, by the places of passages in both.
pub fn fused(one: Vec<Found>, other: Vec<Found>, most: usize) -> Vec<Found> {
    let mut all: Vec<Found> = Vec::new();
    let mut known: HashMap<(PathBuf, u64, usize), usize> = HashMap::new();
    for order in [one, other] {
        for (found, place) in order.into_iter().zip(1..) {
            let key = (found.path.clone(), found.place.start, found.bytes.start);
            let at = *known.entry(key).or_insert_with(|| {
                all.push(Found { score: 0.0, ..found });
                all.len() - 1
            });
            all[at].score += worth(place);
        }
    }
    first(all, most, 1)
}

/// The best of so many indexes, in order.
fn first(mut found: Vec<Found>, most: usize, indexes: usize) -> Vec<Found> {
    found.sort_by(|a, b| {
        let place = |found: &Found| (found.place.start, found.bytes.start);
        b.score.total_cmp(&a.score).then_with(|| a.path.cmp(&b.path)).then_with(|| place(a).cmp(&place(b)))
    });
    if indexes > 1 {
        forget_twins(&mut found);
    }
    found.truncate(most);
    found
}

/// Leaves out what was found before, by another name: of folders that lie in each other, all are searched.
fn forget_twins(found: &mut Vec<Found>) {
    let mut wholes: HashMap<PathBuf, PathBuf> = HashMap::new();
    let mut known: HashSet<(PathBuf, u64, usize)> = HashSet::new();
    found.retain(|found| {
        let whole = || found.path.canonicalize().unwrap_or_else(|_| found.path.clone());
        let whole = wholes.entry(found.path.clone()).or_insert_with(whole);
        known.insert((whole.clone(), found.place.start, found.bytes.start))
    });
}

/// The texts in which passages were found.
#[derive(Debug, Default)]
pub struct Texts {
    /// Each with what records call it, in the order of their best passages.
    pub documents: Vec<(DocumentId, Text)>,
    /// The passages, best first: which of these documents, its bytes there, and its score.
    pub passages: Vec<(usize, Range<usize>, f64)>,
    /// Why passages are missing.
    pub missing: Vec<Error>,
}

impl Texts {
    /// Reads the texts of what was found, as they are now. What is gone or has changed is left out.
    pub fn read(found: &[Found], read: &(dyn Fn(&Path) -> document::Result<Text> + Sync)) -> Self {
        let mut numbers: HashMap<(&Path, u64), usize> = HashMap::new();
        let mut first: Vec<&Found> = Vec::new();
        let wanted: Vec<usize> = (found.iter())
            .map(|found| {
                *numbers.entry((&found.path, found.place.start)).or_insert_with(|| {
                    first.push(found);
                    first.len() - 1
                })
            })
            .collect();
        let texts: Vec<Result<(DocumentId, Text)>> = first.par_iter().map(|found| found.text(read)).collect();
        let mut made = Self::default();
        let places: Vec<Option<usize>> = (texts.into_iter())
            .map(|text| match text {
                Ok(text) => {
                    made.documents.push(text);
                    Some(made.documents.len() - 1)
                }
                Err(error) => {
                    made.missing.push(error);
                    None
                }
            })
            .collect();
        for (found, wanted) in found.iter().zip(wanted) {
            let Some(document) = places[wanted] else { continue };
            match made.documents[document].1.text.get(found.bytes.clone()) {
                Some(_) => made.passages.push((document, found.bytes.clone(), found.score)),
                None => made.missing.push(found.changed()),
            }
        }
        made
    }
}

impl Found {
    fn text(&self, read: &dyn Fn(&Path) -> document::Result<Text>) -> Result<(DocumentId, Text)> {
        if Stat::at(&self.path)? != self.stat {
            return Err(self.changed());
        }
        if self.is_corpus {
            let entry = corpus::read(&self.path, self.place)?;
            return Ok((DocumentId::Path(entry.name()), entry.text.into()));
        }
        Ok((DocumentId::Path(self.path.display().to_string()), read(&self.path)?))
    }

    fn changed(&self) -> Error {
        Error::Changed { path: self.path.display().to_string() }
    }
}
