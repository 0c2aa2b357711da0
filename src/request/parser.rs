//! From lines to requests that can be worked on, each with a ticket for every record that will come of it.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::error::Error;
use super::lines::Line;
use super::parameters::Parameters;
use super::reply::Id;
use super::table;
use super::{DocumentRef, Extra, Fields, Item, Rejected, Request};

/// Whose a record is and what goes into it beside the reply.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// Its place among all records.
    pub sequence: u64,
    /// The line of its request, counted over all inputs, if it came in a line.
    pub line: Option<u64>,
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
    /// What is asked of which documents, in short, if somebody wants to compare it with what is asked another time.
    pub fingerprint: Option<String>,
}

impl Ticket {
    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.rest.iter().map(|(name, value)| name.len() + value.get().len()).sum()
    }

    /// What its record is called: the request's own name, else the line, else its place among the records, from 1.
    pub fn name(&self) -> Id {
        self.id.clone().unwrap_or_else(|| self.line.unwrap_or(self.sequence + 1).into())
    }
}

/// A line that has been understood, or not.
pub struct Parsed {
    /// One for each record that will come of it; never empty.
    pub tickets: Vec<Ticket>,
    /// What to do, or what is wrong with it.
    pub request: Result<Body, Error>,
}

/// What a request asks.
#[derive(Debug, Clone)]
pub struct Body {
    /// What to read.
    pub documents: Vec<DocumentRef>,
    /// What to ask.
    pub items: Vec<Item>,
    /// How, where it differs from what everybody gets.
    pub parameters: Parameters,
}

/// Understands lines.
pub struct Parser {
    fields: Fields,
    /// Whether unknown fields are passed through.
    keep: bool,
    /// What the inputs are called.
    inputs: Vec<Arc<str>>,
    /// The input that is being read, if it is a table, and its header, or why it has none.
    header: Option<(usize, Result<Vec<String>, Error>)>,
    /// Records so far.
    sequence: u64,
    fingerprints: bool,
}

impl Parser {
    /// One for requests from these inputs; `keep` passes fields that mean nothing here through to the records.
    pub fn new(fields: Fields, keep: bool, inputs: Vec<Arc<str>>) -> Self {
        Self { fields, keep, inputs, header: None, sequence: 0, fingerprints: false }
    }

    /// The same, giving each ticket the fingerprint of what it is about.
    pub fn with_fingerprints(self) -> Self {
        Self { fingerprints: true, ..self }
    }

    /// How many records the requests so far make.
    pub fn records(&self) -> u64 {
        self.sequence
    }

    /// The fields that records keep of a request, by name. In a table every row has those of its header, whatever is wrong with the row.
    pub fn kept(&self, parsed: &Parsed) -> Vec<String> {
        let names = |rest: &[Extra]| rest.iter().map(|(name, _)| name.clone()).collect();
        match &self.header {
            Some((_, Ok(header))) if self.keep => {
                let filled = vec!["-".to_owned(); header.len()];
                names(&match Request::from_row(header, &filled, &self.fields) {
                    Ok(request) => request.rest,
                    Err(rejected) => rejected.rest,
                })
            }
            _ => parsed.tickets.first().map_or_else(Vec::new, |ticket| names(&ticket.rest)),
        }
    }

    /// What becomes of a line; nothing if it is the header of a table.
    pub fn parse(&mut self, line: Line) -> Option<Parsed> {
        let request = match line.format.separator() {
            Some(separator) => self.row(&line, separator)?,
            None => match &line.content {
                Ok(content) => Request::from_json(content, &self.fields),
                Err(problem) => Err(Rejected::from(problem.clone())),
            },
        };
        let mut tickets = Vec::new();
        let fingerprints = self.fingerprints;
        let mut ticket = |id: Option<Id>, index, rest: Arc<[Extra]>, about: &dyn Fn() -> String| {
            let place = (self.inputs.len() > 1).then(|| (self.inputs[line.input].clone(), line.in_input));
            let sequence = self.sequence;
            self.sequence += 1;
            tickets.push(Ticket {
                sequence,
                line: Some(line.number),
                place,
                id,
                index,
                rest,
                position: line.position,
                fingerprint: fingerprints.then(about),
            });
        };
        let kept =
            |rest: Vec<Extra>| -> Arc<[Extra]> { if self.keep { rest.into() } else { Arc::default() } };
        match request {
            Ok(request) => {
                let rest = kept(request.rest);
                for (index, item) in request.items.iter().enumerate() {
                    let about = || fingerprint(item, &request.documents, &request.parameters);
                    ticket(request.id.clone(), request.listed.then_some(index), rest.clone(), &about);
                }
                let Request { documents, items, parameters, .. } = request;
                Some(Parsed { tickets, request: Ok(Body { documents, items, parameters }) })
            }
            Err(rejected) => {
                let about = || rejected.problem.code().to_owned();
                ticket(rejected.id, None, kept(rejected.rest), &about);
                Some(Parsed { tickets, request: Err(rejected.problem) })
            }
        }
    }

    /// What becomes of a row. The first one of each input is its header; if it cannot be understood, neither can the rows below it,
    /// and each of them gets a record that says so.
    fn row(&mut self, line: &Line, separator: char) -> Option<Result<Request, Rejected>> {
        let cells = match &line.content {
            Err(problem) => Err(problem.clone()),
            Ok(content) => match std::str::from_utf8(content) {
                Ok(text) => Ok(table::cells(text, separator)),
                Err(error) => Err(Error::NotUtf8 { at: error.valid_up_to() }),
            },
        };
        let header = match &self.header {
            Some((input, header)) if *input == line.input => header,
            _ => {
                let problem = cells.as_ref().err().cloned();
                let header = cells
                    .map_err(|problem| Error::BadHeader { line: line.number, reason: problem.to_string() });
                self.header = Some((line.input, header));
                return problem.map(|problem| Err(problem.into()));
            }
        };
        Some(match (header, cells) {
            (Err(problem), _) => Err(problem.clone().into()),
            (Ok(_), Err(problem)) => Err(problem.into()),
            (Ok(header), Ok(cells)) => Request::from_row(header, &cells, &self.fields),
        })
    }
}

/// Of a file, its size and its time of change stand for what it holds.
fn fingerprint(item: &Item, documents: &[DocumentRef], parameters: &Parameters) -> String {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(item.question.as_bytes());
    for document in &documents[item.documents.clone()] {
        match document {
            DocumentRef::Text(text) => add(text.as_bytes()),
            DocumentRef::File(path) => {
                let about = path.metadata().ok();
                let changed = about.as_ref().and_then(|about| about.modified().ok());
                let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                add(path.as_os_str().as_encoded_bytes());
                add(format!("{:?} {changed:?}", about.map(|about| about.len())).as_bytes());
            }
            DocumentRef::Search(path) => add(format!("search {path:?}").as_bytes()),
        }
    }
    add(format!("{parameters:?}").as_bytes());
    let digest = hasher.finalize();
    digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines::Format;
    use super::*;

    fn parse(rows: &[&[u8]]) -> Vec<(u64, Result<usize, &'static str>)> {
        let mut parser = Parser::new(Fields::default(), false, vec!["t.csv".into()]);
        let lines = rows.iter().zip(1..).map(|(row, number)| Line {
            number,
            input: 0,
            in_input: number,
            format: Format::Csv,
            position: 0,
            content: Ok(row.to_vec()),
        });
        lines
            .filter_map(|line| parser.parse(line))
            .map(|parsed| {
                let request = parsed.request.map(|body| body.items.len()).map_err(|error| error.code());
                (parsed.tickets[0].line.unwrap(), request)
            })
            .collect()
    }

    #[test]
    fn a_header_is_no_request() {
        assert_eq!(parse(&[b"question,context", b"q,c", b"\xe9,c"]), [(2, Ok(1)), (3, Err("not_utf8"))]);
    }

    #[test]
    fn no_row_takes_the_place_of_a_header_that_is_not_text() {
        let rows: [&[u8]; 3] = [b"question,context,caf\xe9", b"q,c,d", b"p,c,d"];
        assert_eq!(parse(&rows), [(1, Err("not_utf8")), (2, Err("bad_header")), (3, Err("bad_header"))]);
    }
}
