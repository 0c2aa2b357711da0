//! Makes vectors of passages that have none yet.

use std::path::Path;

use super::corpus;
use super::error::Result;
use super::home::Root;
use super::manifest::{EmbedderEntry, Manifest, SegmentEntry};
use super::refresh::{Progress, Refresh, Watch, lock};
use super::segment::{Alive, TextPlace};
use super::vectors::Growing;
use crate::document::Text;
use crate::embed::Embedder;

/// Passages whose vectors are written together: what an interruption can cost.
const TOGETHER: usize = 256;

/// A model that makes the vectors of an index.
pub struct Embedding<'a> {
    /// What the model is asked for by.
    pub model: &'a str,
    /// Which model it is, beyond its name.
    pub digest: &'a str,
    /// The model.
    pub embedder: &'a Embedder,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Embedded {
    /// Passages that got a vector.
    pub passages: usize,
    /// Whether it was broken off; what had been done by then is kept.
    pub stopped: bool,
}

impl Refresh<'_> {
    /// Makes vectors of the passages that have none by this model. Those of another model go.
    pub fn embed(&self, folder: &Path, embedding: &Embedding, watch: Watch) -> Result<Embedded> {
        let entry = EmbedderEntry::new(embedding.model, embedding.digest, embedding.embedder.dimensions());
        if Manifest::load(folder)?.is_some_and(|manifest| manifest.is_embedded(folder, &entry)) {
            return Ok(Embedded::default());
        }
        let _lock = lock(folder, watch)?;
        let mut manifest = Manifest::load_or_new(folder, self.root.path())?;
        if manifest.embedder.as_ref() != Some(&entry) {
            manifest.embedder = Some(entry.clone());
            manifest.save(folder)?;
            manifest.tidy(folder);
        }
        let missing: Vec<&SegmentEntry> =
            manifest.segments.iter().filter(|segment| !segment.has_vectors(folder, &entry)).collect();
        let opened: Vec<Alive> = missing.iter().map(|segment| segment.open(folder)).collect::<Result<_>>()?;
        let mut begun: Vec<Growing> = (missing.iter().zip(&opened))
            .map(|(segment, alive)| {
                Growing::open(&segment.begun(folder, &entry), alive.segment.len(), entry.dimensions)
            })
            .collect::<Result<_>>()?;
        let total: usize =
            opened.iter().zip(&begun).map(|(alive, begun)| alive.segment.len() - begun.rows()).sum();
        let mut embedded = Embedded::default();
        for ((segment, alive), growing) in missing.into_iter().zip(&opened).zip(begun.drain(..)) {
            let mut growing = growing;
            let begun = segment.begun(folder, &entry);
            let mut texts = LastText { refresh: self, segment, last: None };
            while growing.rows() < alive.segment.len() {
                if watch(Progress::Embedded { passages: embedded.passages, total }).is_break() {
                    embedded.stopped = true;
                    return Ok(embedded);
                }
                let end = alive.segment.len().min(growing.rows() + TOGETHER);
                let passages: Vec<String> =
                    (growing.rows()..end).map(|passage| texts.passage(alive, passage)).collect();
                growing.add(&begun, &embedding.embedder.embed(&passages)?)?;
                embedded.passages += passages.len();
            }
            growing.complete(&begun, &segment.vectors(folder, &entry))?;
        }
        Ok(embedded)
    }
}

/// The text that passages were read from last: the next one is often from the same.
struct LastText<'a> {
    refresh: &'a Refresh<'a>,
    segment: &'a SegmentEntry,
    last: Option<(TextPlace, Text)>,
}

impl LastText<'_> {
    /// What a model is to see of a passage. Nothing if it is gone by now: the next refresh drops it, too.
    fn passage(&mut self, alive: &Alive, number: usize) -> String {
        if !alive.has(number) {
            return String::new();
        }
        let passage = alive.segment.passage(number);
        if self.last.as_ref().is_none_or(|(place, _)| *place != passage.text) {
            self.last = Some((passage.text, self.text(passage.text).unwrap_or_default()));
        }
        let Some((_, text)) = &self.last else { return String::new() };
        match text.text.get(passage.bytes.clone()) {
            Some(_) => text.part(passage.bytes).seen().to_owned(),
            None => String::new(),
        }
    }

    fn text(&self, place: TextPlace) -> Option<Text> {
        let path = self.refresh.root.path();
        match self.refresh.root {
            Root::Corpus(_) => Some(corpus::read(path, place).ok()?.text.into()),
            Root::Folder(_) => {
                let file = self.segment.files.get(place.file as usize)?;
                (self.refresh.read)(&path.join(&file.path)).ok()
            }
        }
    }
}
