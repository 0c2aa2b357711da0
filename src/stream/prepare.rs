//! From requests to questions that are ready to be asked: documents are read and tokenised on all cores.

use std::sync::Arc;

use super::questions::{Libraries, Questions, nothing_is_searched};
use super::turn::{Over, Turn};
use super::{Queue, Result, Work};
use crate::reader::{Question, Reader};
use crate::request::parser::{Parsed, Ticket};
use crate::request::{DocumentRef, Options};
use crate::text::BYTES_PER_TOKEN;

/// Turns requests into work, on several threads and in the order of the requests.
pub struct Preparing<'a> {
    reader: &'a Reader,
    questions: Questions,
    queue: &'a Queue<Work<Ticket>>,
    turn: Turn,
    libraries: &'a Libraries<'a>,
}

/// Tokens of work that a thread prepares before its turn to hand them on.
pub(super) const AHEAD: usize = 1 << 16;

impl<'a> Preparing<'a> {
    /// Prepares questions for a reader and pushes them into a queue. Files that requests name may have `limit` bytes.
    pub fn new(
        reader: &'a Reader,
        options: Arc<Options>,
        limit: usize,
        queue: &'a Queue<Work<Ticket>>,
    ) -> Self {
        Self {
            reader,
            questions: Questions::new(options, limit),
            queue,
            turn: Turn::default(),
            libraries: &nothing_is_searched,
        }
    }

    /// The same, for requests that are about what a search finds.
    pub fn with_libraries(self, libraries: &'a Libraries<'a>) -> Self {
        Self { libraries, ..self }
    }

    /// Prepares requests until they end or nobody wants them.
    pub fn run(&self, requests: impl Iterator<Item = Parsed> + Send, threads: usize) {
        self.turn.deal(requests, threads, self.queue, |request, number| self.prepare(request, number));
    }

    /// Hands on one piece of work for each record of a request, when it is its turn.
    fn prepare(&self, request: Parsed, number: u64) -> Result<(), Over> {
        // One large request at a time is enough.
        if bytes(&request) > AHEAD * BYTES_PER_TOKEN {
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
        self.questions.each(
            self.reader,
            self.libraries,
            request.request,
            request.tickets,
            &Ticket::name,
            &mut |ticket, question| hand_on(work(ticket, question)),
        )?;
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
}

/// About the text of a request that has to be tokenised.
fn bytes(request: &Parsed) -> usize {
    let size = |document: &DocumentRef| match document {
        DocumentRef::Text(text) => text.len(),
        DocumentRef::File(path) => path.metadata().map_or(0, |about| about.len() as usize),
        DocumentRef::Search(_) => 0,
    };
    request.request.as_ref().map_or(0, |body| body.documents.iter().map(size).sum())
}

fn work(ticket: Ticket, question: Result<Question>) -> Work<Ticket> {
    Work { ticket_bytes: ticket.bytes(), ticket, question }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::checkpoint::ModelFiles;
    use crate::encoder::Runtime;
    use crate::request::Fields;
    use crate::request::lines::{Format, Line};
    use crate::request::parser::Parser;

    fn reader() -> Reader {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/minilm");
        Reader::open(&ModelFiles::from_dir(&folder).unwrap(), &Runtime::default()).unwrap()
    }

    /// Long and short requests, and one with more questions than a thread prepares ahead.
    fn requests(count: u64) -> impl Iterator<Item = Parsed> + Send {
        let mut parser = Parser::new(Fields::default(), false, vec!["-".into()]);
        (0..count).filter_map(move |number| {
            let context = "the old king ".repeat(if number % 5 == 0 { 4000 } else { 3 });
            let questions = vec!["who?"; if number == 10 { 40 } else { 1 }];
            let request =
                serde_json::json!({"questions": questions, "context": format!("{number} {context}")});
            let content = Ok(request.to_string().into_bytes());
            parser.parse(Line {
                number,
                input: 0,
                in_input: number,
                format: Format::Jsonl,
                position: 0,
                content,
            })
        })
    }

    fn preparing<'a>(reader: &'a Reader, queue: &'a Queue<Work<Ticket>>) -> Preparing<'a> {
        Preparing::new(reader, Arc::default(), 1 << 20, queue)
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
