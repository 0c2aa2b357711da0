//! Makes questions of requests: options are applied, documents are read and tokenised.

use std::path::Path;
use std::sync::Arc;

use super::Result;
use super::shelf::Shelf;
use crate::document::{ReadAs, Reading, Text};
use crate::fs;
use crate::reader::{Document, Question, Reader};
use crate::request::parameters::Parameters;
use crate::request::parser::Body;
use crate::request::reply::{DocumentId, Id};
use crate::request::{DocumentRef, Error, Options};
use crate::retrieve::Library;

/// Makes questions under the same options, and remembers documents that were tokenised lately.
pub struct Questions {
    /// How replies are made, unless a request says otherwise.
    options: Arc<Options>,
    shelf: Shelf,
    /// Bytes that a file named in a request may have.
    limit: usize,
}

/// Opens what a request wants searched: what it names, or what is searched anyway.
pub type Libraries<'a> = dyn Fn(Option<&Path>) -> Result<Arc<Library>, Error> + Sync + 'a;

/// For those who have nothing to search.
pub fn nothing_is_searched(path: Option<&Path>) -> Result<Arc<Library>, Error> {
    Err(not_searched(path))
}

/// Why nothing is found where nobody has said what to search.
fn not_searched(path: Option<&Path>) -> Error {
    let path = path.map_or_else(|| "anything".to_owned(), |path| path.display().to_string());
    Error::NotSearched { reason: format!("cannot search {path}: nothing is searched here") }
}

/// Bytes of documents and their tokens that are kept in case the next request is about them, too.
const SHELF: usize = 4 << 20;

impl Questions {
    /// For questions that are answered so unless they say otherwise. Files that requests name may have `limit` bytes.
    pub fn new(options: Arc<Options>, limit: usize) -> Self {
        Self { options, shelf: Shelf::new(SHELF), limit }
    }

    /// How replies are made to a request with these parameters.
    pub fn options(&self, parameters: &Parameters) -> Result<Arc<Options>, Error> {
        parameters.apply(&self.options)
    }

    /// Hands on the question that belongs to each ticket of a request, or why there is none, in order. `name` says what a question is
    /// called. Ends early when `hand_on` does.
    pub fn each<T, E>(
        &self,
        reader: &Reader,
        libraries: &Libraries,
        request: Result<Body, Error>,
        tickets: Vec<T>,
        name: &dyn Fn(&T) -> Id,
        hand_on: &mut dyn FnMut(T, Result<Question>) -> Result<(), E>,
    ) -> Result<(), E> {
        let asked = request.and_then(|body| {
            let options = self.options(&body.parameters)?;
            Ok((body, options))
        });
        match asked {
            Err(problem) => {
                for ticket in tickets {
                    hand_on(ticket, Err(problem.clone().into()))?;
                }
            }
            Ok((Body { mut documents, items, .. }, options)) => {
                let library = match documents.as_slice() {
                    [DocumentRef::Search(path)] => Some(libraries(path.as_deref())),
                    _ => None,
                };
                let mut known: Vec<Option<Arc<Document>>> = vec![None; documents.len()];
                for (ticket, item) in tickets.into_iter().zip(items) {
                    if let Some(library) = &library {
                        let found = library.clone().map_err(Into::into).and_then(|library| {
                            let name = name(&ticket);
                            Ok(library.question(reader, name, &item.question, &options)?.question)
                        });
                        hand_on(ticket, found)?;
                        continue;
                    }
                    let range = item.documents;
                    let mut load = |index: usize| -> Result<Arc<Document>> {
                        if let Some(loaded) = &known[index] {
                            return Ok(loaded.clone());
                        }
                        // A document that fails does so for each question that needs it.
                        let loaded = self.load(reader, &mut documents[index], index - range.start)?;
                        known[index] = Some(loaded.clone());
                        Ok(loaded)
                    };
                    let loaded: Result<Vec<Arc<Document>>> = range.clone().map(&mut load).collect();
                    let question = loaded
                        .map(|loaded| Question::new(name(&ticket), item.question, loaded).with(&options));
                    hand_on(ticket, question)?;
                }
            }
        }
        Ok(())
    }

    fn load(&self, reader: &Reader, document: &mut DocumentRef, index: usize) -> Result<Arc<Document>> {
        match document {
            DocumentRef::Text(text) => {
                Ok(self.shelf.document(reader, DocumentId::Index(index), std::mem::take(text).into())?)
            }
            DocumentRef::Search(path) => Err(not_searched(path.as_deref()).into()),
            DocumentRef::File(path) => {
                let text = read_file(path, self.limit)?;
                Ok(self.shelf.document(reader, DocumentId::Path(path.display().to_string()), text)?)
            }
        }
    }
}

/// Reads a file that a request names. A pipe would be waited for, with everybody behind it; a device may never end.
fn read_file(path: &Path, limit: usize) -> Result<Text> {
    let about = path.metadata().map_err(|source| fs::Error::Read { path: path.to_owned(), source })?;
    if !about.is_file() {
        return Err(Error::NotAFile { path: path.display().to_string() }.into());
    }
    let reading = Reading { read_as: ReadAs::Auto, limit: limit as u64, pre: None };
    Ok(reading.file(path, &path.display().to_string())?)
}
