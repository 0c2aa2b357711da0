//! From lines to questions that are ready to be asked.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spanqa::answer::{DocumentId, Id};
use spanqa::reader::{Passage, Reader};
use spanqa::request::{Extra, Fields, Question, Rejected, Request, RequestError, Source};
use spanqa::stream::{Ask, Queue, Shelf, Work};

use super::input::Line;
use super::table;

/// Whose a record is and what goes into it beside the reply.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its place among all records.
    pub sequence: u64,
    /// The line of its request, counted over all inputs.
    pub line: u64,
    /// With several inputs: the one it is from, and the line there.
    pub place: Option<(Arc<str>, u64)>,
    /// What its request is called by its sender.
    pub id: Option<Id>,
    /// Which of the request's questions it is about, if the request has a list of them.
    pub index: Option<usize>,
    /// Fields of the request to pass through.
    pub rest: Arc<[Extra]>,
    /// How many bytes of the inputs it took to get here.
    pub position: u64,
}

impl Ticket {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.rest.iter().map(|(name, value)| name.len() + value.get().len()).sum()
    }

    /// What its record is called: the request's own name, else the line.
    pub fn name(&self) -> Id {
        self.id.clone().unwrap_or_else(|| self.line.into())
    }
}

/// A line that has been understood, or not.
pub struct Parsed {
    /// One for each record that will come of it; never empty.
    pub tickets: Vec<Ticket>,
    request: Result<(Vec<Source>, Vec<Question>), RequestError>,
}

/// Understands lines.
pub struct Parser {
    /// What fields are called.
    pub fields: Fields,
    /// Whether unknown fields are passed through.
    pub keep: bool,
    /// What the inputs are called.
    pub inputs: Vec<Arc<str>>,
    /// The header of the input that is being read, if it is a table.
    pub header: Option<(usize, Vec<String>)>,
    /// Records so far.
    pub sequence: u64,
    /// Set once a request brings `parameters`, which are not used.
    pub parameters: Arc<AtomicBool>,
}

impl Parser {
    /// What becomes of a line; nothing if it is the header of a table.
    pub fn parse(&mut self, line: Line) -> Option<Parsed> {
        let request = match &line.content {
            Err(problem) => Err(Rejected::from(problem.clone())),
            Ok(content) => match line.format.separator() {
                None => Request::from_json(content, &self.fields),
                Some(separator) => self.row(line.input, content, separator)?,
            },
        };
        let mut tickets = Vec::new();
        let mut ticket = |id: Option<Id>, index, rest: Arc<[Extra]>| {
            let place = (self.inputs.len() > 1).then(|| (self.inputs[line.input].clone(), line.in_input));
            let sequence = self.sequence;
            self.sequence += 1;
            tickets.push(Ticket {
                sequence,
                line: line.number,
                place,
                id,
                index,
                rest,
                position: line.position,
            });
        };
        let kept =
            |rest: Vec<Extra>| -> Arc<[Extra]> { if self.keep { rest.into() } else { Arc::default() } };
        match request {
            Ok(request) => {
                let rest = kept(request.rest);
                for index in 0..request.questions.len() {
                    ticket(request.id.clone(), request.listed.then_some(index), rest.clone());
                }
                if request.parameters {
                    self.parameters.store(true, Ordering::Relaxed);
                }
                Some(Parsed { tickets, request: Ok((request.documents, request.questions)) })
            }
            Err(rejected) => {
                ticket(rejected.id, None, kept(rejected.rest));
                Some(Parsed { tickets, request: Err(rejected.problem) })
            }
        }
    }

    fn row(&mut self, input: usize, content: &[u8], separator: char) -> Option<Result<Request, Rejected>> {
        let text = match std::str::from_utf8(content) {
            Ok(text) => text,
            Err(error) => return Some(Err(RequestError::NotUtf8 { at: error.valid_up_to() }.into())),
        };
        let cells = table::cells(text, separator);
        match &self.header {
            Some((of, header)) if *of == input => Some(Request::from_row(header, &cells, &self.fields)),
            _ => {
                self.header = Some((input, cells));
                None
            }
        }
    }
}

/// Turns requests into work.
pub struct Preparing<'a> {
    pub reader: &'a Reader,
    pub shelf: Shelf,
    /// Bytes that a file named in a request may have.
    pub limit: usize,
    pub queue: &'a Queue<Work<Ticket>>,
}

/// Nobody wants any more work.
pub struct Unwanted;

impl Preparing<'_> {
    /// Pushes one piece of work for each record.
    pub fn push(&mut self, parsed: Parsed) -> Result<(), Unwanted> {
        match parsed.request {
            Err(problem) => {
                for ticket in parsed.tickets {
                    self.queue_up(ticket, Err(problem.clone().into()))?;
                }
            }
            Ok((mut documents, questions)) => {
                let mut passages: Vec<Option<Arc<Passage>>> = vec![None; documents.len()];
                for (ticket, question) in parsed.tickets.into_iter().zip(questions) {
                    let range = question.documents;
                    let mut load = |index: usize| -> spanqa::Result<Arc<Passage>> {
                        if let Some(loaded) = &passages[index] {
                            return Ok(loaded.clone());
                        }
                        // A document that fails does so for each question that needs it.
                        let loaded = self.load(&mut documents[index], index - range.start)?;
                        passages[index] = Some(loaded.clone());
                        Ok(loaded)
                    };
                    let loaded: spanqa::Result<Vec<Arc<Passage>>> = range.clone().map(&mut load).collect();
                    let ask = loaded.map(|loaded| Ask {
                        id: ticket.name(),
                        question: question.text,
                        passages: loaded,
                    });
                    self.queue_up(ticket, ask)?;
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, source: &mut Source, index: usize) -> spanqa::Result<Arc<Passage>> {
        match source {
            Source::Text(text) => {
                self.shelf.passage(self.reader, DocumentId::Index(index), std::mem::take(text))
            }
            Source::File(path) => {
                let text = read_text(path, self.limit)?;
                self.shelf.passage(self.reader, DocumentId::Path(path.display().to_string()), text)
            }
        }
    }

    fn queue_up(&self, ticket: Ticket, ask: spanqa::Result<Ask>) -> Result<(), Unwanted> {
        let work = Work { ticket_bytes: ticket.bytes(), ticket, ask };
        self.queue.push(work.weight(), work).map_err(|_| Unwanted)
    }
}

fn read_text(path: &Path, limit: usize) -> spanqa::Result<String> {
    let refused = |source| spanqa::Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the largest size from a larger one.
    let most = (limit as u64).saturating_add(1);
    File::open(path).map_err(refused)?.take(most).read_to_end(&mut bytes).map_err(refused)?;
    let name = path.display().to_string();
    if bytes.len() > limit {
        return Err(RequestError::DocumentTooLarge { path: name, limit }.into());
    }
    String::from_utf8(bytes).map_err(|error| {
        RequestError::DocumentNotUtf8 { path: name, at: error.utf8_error().valid_up_to() }.into()
    })
}
