//! The stages of a run: requests, questions, replies.

use std::sync::Arc;

use anyhow::Result;
use spanqa::reader::Reader;
use spanqa::request::Options;
use spanqa::request::lines::Line;
use spanqa::request::parser::{Parsed, Parser, Ticket};
use spanqa::stream::{Done, Libraries, Preparing, Queue, Work, answer_stream};

use super::writer::Writer;
use crate::cli::stages::Stages;

/// What the stages share.
pub struct Run {
    stages: Stages<Line, Work<Ticket>, Done<Ticket>>,
    pub lines: Arc<Queue<Line>>,
    /// Bytes that a document may have.
    limit: usize,
    /// Tokens that are answered together.
    group: usize,
}

impl Run {
    /// A run that answers about `group` tokens together. Files that requests name may have `limit` bytes.
    pub fn new(limit: usize, group: usize) -> Self {
        let stages = Stages::new(group);
        Self { lines: stages.input.clone(), stages, limit, group }
    }

    /// The exit code of whatever asked for an early end; 0 if nothing did.
    pub fn stopped(&self) -> u8 {
        self.stages.stopped()
    }

    /// Something that ends the run early: nothing new is begun, the windows in flight are finished.
    pub fn stopper(&self) -> impl Fn(u8) + Send + 'static {
        self.stages.stopper()
    }

    /// Runs all stages until the input ends or something stops them.
    pub fn stages(
        &self,
        reader: &Reader,
        options: &Arc<Options>,
        libraries: &Libraries,
        mut parser: Parser,
        first: Option<Parsed>,
        writer: &mut Writer,
    ) -> Result<()> {
        let work = &self.stages.work;
        let prepare = || {
            let lines = std::iter::from_fn(|| next_request(&self.lines, &mut parser));
            Preparing::new(reader, options.clone(), self.limit, work)
                .with_libraries(libraries)
                .run(first.into_iter().chain(lines), rayon::current_num_threads());
        };
        self.stages.run(
            prepare,
            |emit| answer_stream(reader, work, self.group, emit),
            weight,
            |done| writer.write_all(done),
        )
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
            Done::Began { .. } | Done::Read { .. } => 0,
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

    use super::super::report::Report;
    use super::super::writer::{Failures, Order};
    use super::*;
    use crate::cli::meter::ProgressArg;
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
                run.stages(&reader, &Arc::default(), &|_| unreachable!(), parser, None, &mut writer)
            }));
            assert!(ended.is_err(), "{lanes} lanes");
        }
    }
}
