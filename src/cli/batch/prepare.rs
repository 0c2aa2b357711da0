//! From lines to questions that are ready to be asked.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use spanqa::reader::{Passage, Reader};
use spanqa::request::reply::{DocumentId, Id};
use spanqa::request::{Extra, Fields, Question, Rejected, Request, Source};
use spanqa::stream::{Ask, Queue, Shelf, Work};
use spanqa::text::BYTES_PER_TOKEN;
use spanqa::{request, stream};

use super::input::Line;
use super::table;
use super::turn::{Over, Turn};

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
    request: Result<(Vec<Source>, Vec<Question>), request::Error>,
}

impl Parsed {
    /// About the text that has to be tokenised.
    fn bytes(&self) -> usize {
        let size = |source: &Source| match source {
            Source::Text(text) => text.len(),
            Source::File(path) => path.metadata().map_or(0, |about| about.len() as usize),
        };
        self.request.as_ref().map_or(0, |(documents, _)| documents.iter().map(size).sum())
    }
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
            Err(error) => return Some(Err(request::Error::NotUtf8 { at: error.valid_up_to() }.into())),
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

/// Turns requests into work, on several threads and in the order of the requests.
pub struct Preparing<'a> {
    pub reader: &'a Reader,
    pub shelf: Shelf,
    /// Bytes that a file named in a request may have.
    pub limit: usize,
    pub queue: &'a Queue<Work<Ticket>>,
    pub turn: Turn,
}

/// Makes the other threads end when one panics: they would wait for its turn, and it for them.
struct StopIfPanicking<'a, 'b>(&'b Preparing<'a>);

impl Drop for StopIfPanicking<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.turn.end();
            self.0.queue.abandon();
        }
    }
}

/// Tokens of work that a thread prepares before its turn to hand them on.
const AHEAD: usize = 1 << 16;

impl Preparing<'_> {
    /// Prepares requests until they end or nobody wants them.
    pub fn run(&self, requests: impl Iterator<Item = Parsed> + Send, threads: usize) {
        let requests = Mutex::new(requests.zip(0..));
        let next = || requests.lock().unwrap_or_else(PoisonError::into_inner).next();
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    let _stop = StopIfPanicking(self);
                    while let Some((request, number)) = next() {
                        if self.prepare(request, number).is_err() {
                            self.turn.end();
                            break;
                        }
                    }
                });
            }
        });
    }

    /// Hands on one piece of work for each record of a request, when it is its turn.
    fn prepare(&self, request: Parsed, number: u64) -> Result<(), Over> {
        // One large request at a time is enough.
        if request.bytes() > AHEAD * BYTES_PER_TOKEN {
            self.turn.wait_for(number)?;
        }
        let mut ahead = (Vec::new(), 0);
        let mut hand_on = |work: Work<Ticket>| {
            let (held, weight) = &mut ahead;
            *weight += work.weight();
            held.push(work);
            // Whatever is prepared before its turn waits in memory.
            if *weight < AHEAD && !self.turn.has_come(number) {
                return Ok(());
            }
            *weight = 0;
            self.deliver(held, number)
        };
        match request.request {
            Err(problem) => {
                for ticket in request.tickets {
                    hand_on(work(ticket, Err(problem.clone().into())))?;
                }
            }
            Ok((mut documents, questions)) => {
                let mut passages: Vec<Option<Arc<Passage>>> = vec![None; documents.len()];
                for (ticket, question) in request.tickets.into_iter().zip(questions) {
                    let range = question.documents;
                    let mut load = |index: usize| -> stream::Result<Arc<Passage>> {
                        if let Some(loaded) = &passages[index] {
                            return Ok(loaded.clone());
                        }
                        // A document that fails does so for each question that needs it.
                        let loaded = self.load(&mut documents[index], index - range.start)?;
                        passages[index] = Some(loaded.clone());
                        Ok(loaded)
                    };
                    let loaded: stream::Result<Vec<Arc<Passage>>> = range.clone().map(&mut load).collect();
                    let ask = loaded.map(|loaded| Ask {
                        id: ticket.name(),
                        question: question.text,
                        passages: loaded,
                    });
                    hand_on(work(ticket, ask))?;
                }
            }
        }
        self.deliver(&mut ahead.0, number)?;
        self.turn.pass();
        Ok(())
    }

    /// Waits for the turn of a request and pushes what has been prepared of it.
    fn deliver(&self, held: &mut Vec<Work<Ticket>>, number: u64) -> Result<(), Over> {
        self.turn.wait_for(number)?;
        for work in held.drain(..) {
            self.queue.push(work.weight(), work).map_err(|_| Over)?;
        }
        Ok(())
    }

    fn load(&self, source: &mut Source, index: usize) -> stream::Result<Arc<Passage>> {
        match source {
            Source::Text(text) => {
                Ok(self.shelf.passage(self.reader, DocumentId::Index(index), std::mem::take(text))?)
            }
            Source::File(path) => {
                let text = read_text(path, self.limit)?;
                Ok(self.shelf.passage(self.reader, DocumentId::Path(path.display().to_string()), text)?)
            }
        }
    }
}

fn work(ticket: Ticket, ask: stream::Result<Ask>) -> Work<Ticket> {
    Work { ticket_bytes: ticket.bytes(), ticket, ask }
}

fn read_text(path: &Path, limit: usize) -> stream::Result<String> {
    let refused = |source| spanqa::fs::Error::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One byte more than allowed tells a file of the largest size from a larger one.
    let most = (limit as u64).saturating_add(1);
    File::open(path).map_err(refused)?.take(most).read_to_end(&mut bytes).map_err(refused)?;
    let name = path.display().to_string();
    if bytes.len() > limit {
        return Err(request::Error::DocumentTooLarge { path: name, limit }.into());
    }
    String::from_utf8(bytes).map_err(|error| {
        request::Error::DocumentNotUtf8 { path: name, at: error.utf8_error().valid_up_to() }.into()
    })
}

#[cfg(test)]
pub mod tests {
    use std::path::Path;

    use spanqa::checkpoint::ModelFiles;
    use spanqa::encoder::Runtime;
    use spanqa::text::window::Limits;

    use super::super::input::InputFormat;
    use super::*;

    fn reader() -> Reader {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/minilm");
        Reader::open(&ModelFiles::from_dir(&folder).unwrap(), &Runtime::default(), Limits::default()).unwrap()
    }

    /// One that knows JSON lines with the usual fields.
    pub fn parser() -> Parser {
        Parser {
            fields: Fields::default(),
            keep: false,
            inputs: vec!["-".into()],
            header: None,
            sequence: 0,
            parameters: Arc::default(),
        }
    }

    /// A line of the only input.
    pub fn line(number: u64, text: &str) -> Line {
        Line {
            number,
            input: 0,
            in_input: number,
            format: InputFormat::Jsonl,
            position: 0,
            content: Ok(text.as_bytes().to_vec()),
        }
    }

    /// Long and short requests, and one with more questions than a thread prepares ahead.
    fn requests(count: u64) -> impl Iterator<Item = Parsed> + Send {
        let mut parser = parser();
        (0..count).filter_map(move |number| {
            let context = "the old king ".repeat(if number % 5 == 0 { 4000 } else { 3 });
            let questions = vec!["who?"; if number == 10 { 40 } else { 1 }];
            let request =
                serde_json::json!({"questions": questions, "context": format!("{number} {context}")});
            parser.parse(line(number, &request.to_string()))
        })
    }

    fn preparing<'a>(reader: &'a Reader, queue: &'a Queue<Work<Ticket>>) -> Preparing<'a> {
        Preparing { reader, shelf: Shelf::new(1 << 20), limit: 1 << 20, queue, turn: Turn::default() }
    }

    #[test]
    fn work_comes_in_the_order_of_the_requests() {
        let (reader, queue) = (reader(), Queue::new(1000));
        let mut seen = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                preparing(&reader, &queue).run(requests(60), 4);
                queue.end();
            });
            seen.extend(std::iter::from_fn(|| queue.pop()).map(|work| work.ticket.sequence));
        });
        assert!(seen.iter().copied().eq(0..99), "{seen:?}");
    }

    /// Also threads that wait for requests or for their turn.
    #[test]
    fn a_panic_reaches_everybody() {
        let (reader, queue, lines) = (reader(), Queue::new(1000), Queue::new(1000));
        let ended = std::thread::scope(|scope| {
            let preparing = scope.spawn(|| {
                let _end = queue.end_with();
                let requests = requests(30).chain(std::iter::from_fn(|| lines.pop()));
                preparing(&reader, &queue).run(
                    requests.inspect(|request| {
                        // The last one: the other threads wait for lines by then.
                        assert_ne!(request.tickets[0].sequence, 68, "on purpose");
                    }),
                    4,
                );
            });
            while queue.pop().is_some() {}
            lines.abandon();
            preparing.join()
        });
        assert!(ended.is_err());
    }

    #[test]
    fn threads_end_when_nobody_wants_work() {
        let (reader, queue) = (reader(), Queue::new(1));
        std::thread::scope(|scope| {
            let preparing = scope.spawn(|| preparing(&reader, &queue).run(requests(u64::MAX), 4));
            assert!(queue.pop().is_some());
            queue.abandon();
            preparing.join().unwrap();
        });
    }
}
