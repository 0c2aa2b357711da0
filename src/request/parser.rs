//! From lines to requests that can be worked on, each with a ticket for every record that will come of it.

use std::ops::Range;
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
        let mut ticket = |id: Option<Id>, index, rest: Arc<[Extra]>, fingerprint: Option<String>| {
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
                fingerprint,
            });
        };
        let kept =
            |rest: Vec<Extra>| -> Arc<[Extra]> { if self.keep { rest.into() } else { Arc::default() } };
        match request {
            Ok(request) => {
                let rest = kept(request.rest);
                let Request { documents, items, parameters, .. } = request;
                let mut fingerprints = self.fingerprints.then(|| Fingerprints {
                    documents: &documents,
                    parameters: &parameters,
                    last: None,
                });
                for (index, item) in items.iter().enumerate() {
                    let fingerprint = fingerprints.as_mut().map(|all| all.of(item));
                    ticket(request.id.clone(), request.listed.then_some(index), rest.clone(), fingerprint);
                }
                Some(Parsed { tickets, request: Ok(Body { documents, items, parameters }) })
            }
            Err(rejected) => {
                let fingerprint = self.fingerprints.then(|| rejected.problem.code().to_owned());
                ticket(rejected.id, None, kept(rejected.rest), fingerprint);
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

/// The fingerprints of a request's items.
struct Fingerprints<'a> {
    documents: &'a [DocumentRef],
    parameters: &'a Parameters,
    /// The documents of the item before, hashed: many questions may be about the same large ones.
    last: Option<(Range<usize>, Sha256)>,
}

impl Fingerprints<'_> {
    fn of(&mut self, item: &Item) -> String {
        let documents = match self.last.take() {
            Some((range, hashed)) if range == item.documents => hashed,
            _ => hashed(&self.documents[item.documents.clone()]),
        };
        self.last = Some((item.documents.clone(), documents.clone()));
        let mut hasher = documents;
        add(&mut hasher, item.question.as_bytes());
        add(&mut hasher, format!("{:?}", self.parameters).as_bytes());
        let digest = hasher.finalize();
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn add(hasher: &mut Sha256, part: &[u8]) {
    hasher.update((part.len() as u64).to_le_bytes());
    hasher.update(part);
}

/// Of a file, its size and its time of change stand for what it holds.
fn hashed(documents: &[DocumentRef]) -> Sha256 {
    let mut hasher = Sha256::new();
    for document in documents {
        match document {
            DocumentRef::Text(text) => add(&mut hasher, text.as_bytes()),
            DocumentRef::File(path) => {
                let about = path.metadata().ok();
                let changed = about.as_ref().and_then(|about| about.modified().ok());
                let changed = changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                add(&mut hasher, path.as_os_str().as_encoded_bytes());
                add(&mut hasher, format!("{:?} {changed:?}", about.map(|about| about.len())).as_bytes());
            }
            DocumentRef::Search(path) => add(&mut hasher, format!("search {path:?}").as_bytes()),
        }
    }
    hasher
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

    /// The fingerprints of a request's records, and the tickets' ids.
    fn tickets(json: &str) -> Vec<Ticket> {
        let mut parser = Parser::new(Fields::default(), false, vec!["a.jsonl".into()]).with_fingerprints();
        let content = Ok(json.as_bytes().to_vec());
        let line = Line { number: 1, input: 0, in_input: 1, format: Format::Jsonl, position: 0, content };
        parser.parse(line).unwrap().tickets
    }

    #[test]
    fn fingerprints_tell_questions_and_documents_apart() {
        let of = |json| tickets(json).into_iter().map(|ticket| ticket.fingerprint.unwrap());
        let all: Vec<String> = of(r#"{"questions": ["a", "b", "a"], "context": "c"}"#).collect();
        let one = |json| of(json).next().unwrap();
        let again = [r#"{"question": "a", "context": "c"}"#, r#"{"question": "b", "context": "c"}"#].map(one);
        assert_eq!(all, [again[0].clone(), again[1].clone(), again[0].clone()]);
        assert!(!all.contains(&one(r#"{"question": "a", "context": "d"}"#)));
    }

    #[test]
    fn the_questions_of_a_request_share_its_id() {
        let tickets = tickets(r#"{"id": "seven", "questions": ["q", "r"], "context": "c"}"#);
        let [first, second] = [0, 1].map(|at| std::ptr::from_ref(tickets[at].id.as_ref().unwrap().json()));
        assert!(std::ptr::addr_eq(first, second));
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
