//! The stages of a run, side by side, with a bounded queue between each two.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;
use spanqa::reader::Reader;
use spanqa::request::Options;
use spanqa::request::lines::Line;
use spanqa::request::parser::{Parsed, Parser, Ticket};
use spanqa::stream::{Done, Preparing, Queue, Work, answer_stream};

use super::writer::Writer;

/// Bytes of lines that may wait to be understood.
const WAITING_LINES: usize = 4 << 20;
/// Bytes of records that may wait to be written.
const WAITING_RECORDS: usize = 1 << 20;

/// What the stages share.
pub struct Run {
    pub lines: Arc<Queue<Line>>,
    work: Arc<Queue<Work<Ticket>>>,
    done: Queue<Done<Ticket>>,
    /// The exit code of whatever asked for an early end, or [`ENOUGH`].
    stopped: Arc<AtomicU8>,
    /// Bytes that a document may have.
    limit: usize,
    /// Tokens that are answered together.
    group: usize,
}

/// The run ends early, but not because of a signal.
const ENOUGH: u8 = u8::MAX;

impl Run {
    /// A run that answers about `group` tokens together. Files that requests name may have `limit` bytes.
    pub fn new(limit: usize, group: usize) -> Self {
        Self {
            lines: Arc::new(Queue::new(WAITING_LINES)),
            work: Arc::new(Queue::new(group)),
            done: Queue::new(WAITING_RECORDS),
            stopped: Arc::default(),
            limit,
            group,
        }
    }

    /// The exit code of whatever asked for an early end; 0 if nothing did.
    pub fn stopped(&self) -> u8 {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Something that ends the run early: nothing new is begun, the windows in flight are finished.
    pub fn stopper(&self) -> impl Fn(u8) + Send + 'static {
        let (stopped, lines, work) = (self.stopped.clone(), self.lines.clone(), self.work.clone());
        move |code| {
            // What came first is what counts.
            let _ = stopped.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
            lines.abandon();
            work.abandon();
        }
    }

    /// Runs all stages until the input ends or something stops them.
    pub fn stages(
        &self,
        reader: &Reader,
        options: &Arc<Options>,
        mut parser: Parser,
        first: Option<Parsed>,
        writer: &mut Writer,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _end = self.work.end_with();
                let lines = std::iter::from_fn(|| next_request(&self.lines, &mut parser));
                Preparing::new(reader, options.clone(), self.limit, &self.work)
                    .run(first.into_iter().chain(lines), rayon::current_num_threads());
            });
            let answering = scope.spawn(|| {
                let _end = self.done.end_with();
                answer_stream(reader, &self.work, self.group, &mut |done| {
                    let wanted = self.done.push(weight(&done), done).is_ok();
                    match wanted && self.stopped.load(Ordering::SeqCst) == 0 {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })
            });
            let written = writer.write_all(&self.done);
            // Whatever made this stage end early, the others have no reason to go on.
            self.lines.abandon();
            self.work.abandon();
            self.done.abandon();
            if written.is_err() {
                let _ = self.stopped.compare_exchange(0, ENOUGH, Ordering::SeqCst, Ordering::SeqCst);
            }
            let answered = answering.join();
            written?;
            match answered {
                Ok(answered) => Ok(answered?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}

/// The next request that comes, waiting for it.
pub fn next_request(lines: &Queue<Line>, parser: &mut Parser) -> Option<Parsed> {
    std::iter::from_fn(|| lines.pop()).find_map(|line| parser.parse(line))
}

/// About the bytes that something takes while it waits to be written.
fn weight(done: &Done<Ticket>) -> usize {
    const OVERHEAD: usize = 1 << 10;
    OVERHEAD
        + match done {
            Done::Reply(ticket, Ok(reply)) => ticket.bytes() + reply.question.len(),
            Done::Reply(ticket, Err(_)) => ticket.bytes(),
            Done::Read { .. } => 0,
        }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::path::Path;

    use spanqa::checkpoint::ModelFiles;
    use spanqa::encoder::batch::Batch;
    use spanqa::heads::{SpanModel, WindowLogits};
    use spanqa::text::Tokenizer;

    use super::super::report::{ProgressArg, Report};
    use super::super::writer::{Failures, Order};
    use super::*;
    use spanqa::request::Fields;
    use spanqa::request::lines::Format;
    use spanqa::request::record::Layout;

    /// Has a mistake in it.
    struct Broken(usize);

    impl SpanModel for Broken {
        fn usable_positions(&self) -> usize {
            512
        }

        fn vocabulary(&self) -> usize {
            usize::MAX
        }

        fn logits(&self, _: &Batch) -> spanqa::encoder::Result<Vec<WindowLogits>> {
            panic!("on purpose")
        }

        fn lanes(&self) -> usize {
            self.0
        }
    }

    /// The other stages do not wait for it for ever, even if there is more input to come.
    #[test]
    fn a_stage_that_panics_ends_the_run() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/minilm");
        for lanes in [0, 2] {
            let tokenizer = Tokenizer::from_files(&ModelFiles::from_dir(&folder).unwrap()).unwrap();
            let model = Box::new(Broken(lanes));
            let reader = Reader::new(tokenizer, model, "broken").unwrap();
            let run = Run::new(1000, 1000);
            let content = Ok(br#"{"question": "who?", "context": "the king"}"#.to_vec());
            let line = Line { number: 1, input: 0, in_input: 1, format: Format::Jsonl, position: 0, content };
            assert!(run.lines.push(1, line).is_ok());
            let parser = Parser::new(Fields::default(), false, vec!["-".into()]);
            let layout = Layout::new(Format::Jsonl, &[], false, false).unwrap();
            let mut report = Report::new(ProgressArg::Off, true, None);
            let mut writer = Writer {
                layout: &layout,
                out: &mut Vec::new(),
                report: &mut report,
                trace: None,
                order: Order::from(0),
                failures: Failures::Recorded,
                notes: Vec::new(),
                left_out: HashSet::new(),
            };
            let ended = catch_unwind(AssertUnwindSafe(|| {
                run.stages(&reader, &Arc::default(), parser, None, &mut writer)
            }));
            assert!(ended.is_err(), "{lanes} lanes");
        }
    }
}
