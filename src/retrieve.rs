//! From a question to the passages of a folder or a corpus that the reader is to read.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;

use crate::document;
use crate::embed::{self, Embedder};
use crate::index::{self, Index, Texts};
use crate::reader::{self, Document, Found, Question, Reader, Search};
use crate::request::reply::Id;
use crate::request::{FOUND, Options};

/// A [`std::result::Result`] with this room's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a question cannot be asked of what is searched.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Questions and what they are about.
    #[error(transparent)]
    Reader(#[from] reader::Error),
    /// The question's vector.
    #[error(transparent)]
    Embed(#[from] embed::Error),
}

/// Makes text of a file.
pub type Read = dyn Fn(&Path) -> document::Result<document::Text> + Send + Sync;

/// Indexes that are searched, and how their files are read.
pub struct Library {
    indexes: Vec<Index>,
    read: Box<Read>,
    find: Find,
}

/// By what the passages are found that questions are about.
#[derive(Default)]
pub enum Find {
    /// The words that they share with the question.
    #[default]
    Words,
    /// How near their vectors are to that of the question.
    Embedding(Box<Embedder>),
    /// Both orders, fused.
    Both(Box<Embedder>),
}

/// By what passages are found.
#[derive(Debug, Clone, Copy)]
pub enum SearchBy<'a> {
    /// The words that they share with the question.
    Words,
    /// How near their vectors are to that of the question.
    Meaning(&'a [f32]),
    /// Both orders, fused.
    Both(&'a [f32]),
}

/// Of each order so many passages are fused at least.
const FUSED: usize = 100;

/// A question with what was found for it.
pub struct Retrieved {
    /// To be asked.
    pub question: Question,
    /// Why passages that were found cannot be read.
    pub missing: Vec<index::Error>,
}

/// Passages near each other are read in one window: so many are looked for to fill each.
const PASSAGES_A_WINDOW: usize = 4;

impl Library {
    /// Searches these indexes.
    pub fn new(indexes: Vec<Index>, read: Box<Read>) -> Self {
        Self { indexes, read, find: Find::Words }
    }

    /// The same, by what passages are found that questions are about.
    pub fn with(self, find: Find) -> Self {
        Self { find, ..self }
    }

    /// What is searched.
    pub fn indexes(&self) -> &[Index] {
        &self.indexes
    }

    /// How many passages are searched.
    pub fn passages(&self) -> usize {
        self.indexes.iter().map(Index::passages).sum()
    }

    /// Whether every passage has a vector.
    pub fn is_embedded(&self) -> bool {
        self.indexes.iter().all(Index::is_embedded)
    }

    /// The best passages for a question, with the texts that they are from.
    pub fn search(&self, question: &str, by: SearchBy, most: usize) -> Texts {
        let words = |most| index::search(question, &self.indexes, most);
        let near = |vector, most| index::nearest(vector, &self.indexes, most);
        let found = match by {
            SearchBy::Words => words(most),
            SearchBy::Meaning(vector) => near(vector, most),
            SearchBy::Both(vector) => {
                let each = most.max(FUSED);
                index::fused(words(each), near(vector, each), most)
            }
        };
        Texts::read(&found, &self.read)
    }

    /// The same by what questions are asked by.
    pub fn find(&self, question: &str, most: usize) -> embed::Result<Texts> {
        let vector = match &self.find {
            Find::Words => None,
            Find::Embedding(embedder) | Find::Both(embedder) => embedder.embed(&[question])?.pop(),
        };
        let by = match (&self.find, &vector) {
            (Find::Embedding(_), Some(vector)) => SearchBy::Meaning(vector),
            (Find::Both(_), Some(vector)) => SearchBy::Both(vector),
            _ => SearchBy::Words,
        };
        Ok(self.search(question, by, most))
    }

    /// A question about what was found for it. As many windows are read as the options say.
    pub fn question(
        &self,
        reader: &Reader,
        id: impl Into<Id>,
        text: &str,
        options: &Arc<Options>,
    ) -> Result<Retrieved> {
        let options = &match options.read {
            Some(_) => options.clone(),
            None => Arc::new(options.searching()),
        };
        let found = self.find(text, passages_for(options))?;
        question_about(reader, id, text, options, found, self.passages())
    }
}

/// How many passages are looked for to be read under some options.
pub fn passages_for(options: &Options) -> usize {
    options.read.unwrap_or(FOUND).saturating_mul(PASSAGES_A_WINDOW)
}

/// A question about passages that were found, of so many that were searched. The options are those of a search: see
/// [`Options::searching`].
pub fn question_about(
    reader: &Reader,
    id: impl Into<Id>,
    text: &str,
    options: &Arc<Options>,
    found: Texts,
    searched: usize,
) -> Result<Retrieved> {
    let Texts { documents, passages, missing } = found;
    let mut of_each: Vec<Vec<Range<usize>>> = vec![Vec::new(); documents.len()];
    for (document, bytes, _) in &passages {
        of_each[*document].push(bytes.clone());
    }
    let texts: Vec<_> = documents.into_iter().zip(of_each).collect();
    let documents: reader::Result<Vec<Arc<Document>>> = (texts.into_par_iter())
        .map(|((id, text), passages)| {
            Ok(reader.prepare_around(id, text, &passages, options.limits.max_tokens)?.into())
        })
        .collect();
    let found = passages.into_iter().map(|(document, bytes, score)| Found { document, bytes, score });
    let search = Search { found: found.collect(), passages: searched };
    let question = Question::new(id, text, documents?).with(options);
    Ok(Retrieved { question: Question { search: Some(search.into()), ..question }, missing })
}
