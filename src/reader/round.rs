//! Windows on their way through the model.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::plan::{Asked, Job};
use super::{Asking, Event, Progress, Query, Reader, on_all_cores};
use crate::encoder::batch::Batch;
use crate::heads::WindowLogits;
use crate::reader::error::{Error, Result};

/// The windows of some questions on their way through the model.
pub(super) struct Round<'a> {
    pub(super) reader: &'a Reader,
    pub(super) queries: &'a [Query<'a>],
    pub(super) asking: &'a Asking,
    /// Those with windows to read.
    pub(super) asked: Vec<Option<Asked>>,
    pub(super) progress: Progress,
    pub(super) watch: &'a mut dyn FnMut(Event) -> ControlFlow<()>,
}

/// Batches that wait for each lane of a model, so that none idles while replies are made.
const WAITING: usize = 1;

impl Round<'_> {
    /// Runs batches where the model needs the caller's cores.
    pub(super) fn one_by_one<'j>(mut self, batches: impl Iterator<Item = Vec<&'j Job>>) -> Result<()> {
        for jobs in batches {
            let batch = self.assemble(&jobs);
            let started = Instant::now();
            let logits = self.reader.model.logits(&batch)?;
            self.check(&jobs, &logits)?;
            if self.take(&jobs, logits, started.elapsed()).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Runs batches on a model with cores of its own, as many at a time as it has lanes; meanwhile this thread makes replies.
    pub(super) fn side_by_side<'j>(
        mut self,
        mut batches: impl Iterator<Item = Vec<&'j Job>>,
        lanes: usize,
    ) -> Result<()> {
        let model = &*self.reader.model;
        let (give, given) = mpsc::channel::<(Vec<&Job>, Batch)>();
        let given = Mutex::new(given);
        let (answer, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                let (given, answer) = (&given, answer.clone());
                scope.spawn(move || {
                    // The lock is free again before the batch runs. Either channel ends when the other side has gone.
                    let next = || given.lock().ok()?.recv().ok();
                    while let Some((jobs, batch)) = next() {
                        // Nobody would hear of a panic here: the others wait for this answer.
                        let logits = catch_unwind(AssertUnwindSafe(|| model.logits(&batch)));
                        if answer.send((jobs, logits)).is_err() {
                            break;
                        }
                    }
                });
            }
            // Theirs are the only senders now: should they all end, `recv` does not wait for ever.
            drop(answer);
            // The workers end when this is dropped, whichever way this closure is left.
            let give = give;
            let mut under_way = 0;
            // Time counts once, however many batches share it, and only while the model has any.
            let mut counted = Instant::now();
            loop {
                while under_way < lanes * (1 + WAITING)
                    && let Some(jobs) = batches.next()
                {
                    let batch = self.assemble(&jobs);
                    if under_way == 0 {
                        counted = Instant::now();
                    }
                    if give.send((jobs, batch)).is_err() {
                        break;
                    }
                    under_way += 1;
                }
                if under_way == 0 {
                    return Ok(());
                }
                let Ok((jobs, logits)) = answers.recv() else { return Ok(()) };
                let time = counted.elapsed();
                counted += time;
                under_way -= 1;
                let logits = logits.unwrap_or_else(|panic| resume_unwind(panic))?;
                self.check(&jobs, &logits)?;
                if self.take(&jobs, logits, time).is_break() {
                    return Ok(());
                }
            }
        })
    }

    /// The question and a stretch of the passage of each job, in the model's pair template.
    fn assemble(&self, jobs: &[&Job]) -> Batch {
        let mut batch = Batch::default();
        for job in jobs {
            let Some(asked) = &self.asked[job.query] else { continue };
            let window = asked.places[job.passage].layout[job.window].clone();
            let context = &self.queries[job.query].passages[job.passage].tokens.ids[window];
            let (ids, segments) = self.reader.tokenizer.template().join(&asked.question, context);
            let context = asked.context_offset..asked.context_offset + context.len();
            batch.push_to_read(&ids, &segments, context);
        }
        batch
    }

    /// Refuses logits that are not numbers where they are read.
    fn check(&self, jobs: &[&Job], logits: &[WindowLogits]) -> Result<()> {
        let finite = |(job, window): (&&Job, &WindowLogits)| {
            let context = self.asked[job.query].as_ref().map_or(0, |asked| asked.context_offset);
            let last = window.start.len().saturating_sub(self.reader.tokenizer.template().suffix.len());
            let read = (0..1).chain(context..last);
            read.into_iter().all(|token| window.start[token].is_finite() && window.end[token].is_finite())
        };
        let dtype = self.reader.model.dtype();
        if jobs.iter().zip(logits).all(finite) { Ok(()) } else { Err(Error::NotFinite { dtype }) }
    }

    /// Takes what the model said about some windows, and hands out the replies that are ready.
    fn take(&mut self, jobs: &[&Job], logits: Vec<WindowLogits>, time: Duration) -> ControlFlow<()> {
        self.progress.model += time;
        self.progress.done += jobs.len();
        self.progress.tokens += logits.iter().map(|window| window.start.len()).sum::<usize>();
        let mut flow = (self.watch)(Event::Read(self.progress));
        let Round { reader, queries, asking, asked, watch, .. } = self;
        let read: Vec<(&Job, WindowLogits)> = jobs.iter().copied().zip(logits).collect();
        let decoded =
            on_all_cores(&read, |(job, logits)| Some(asked[job.query].as_ref()?.decode(job, logits, asking)));
        let mut ready = Vec::new();
        for ((job, logits), decoded) in read.into_iter().zip(decoded) {
            let slot = &mut asked[job.query];
            let (Some(question), Some(decoded)) = (slot.as_mut(), decoded) else { continue };
            question.keep(job, decoded, asking.why.then_some(logits));
            if question.unread == 0 {
                ready.extend(slot.take().map(|question| (job.query, question)));
            }
        }
        let replies = on_all_cores(&ready, |(query, asked)| reader.reply(&queries[*query], asked, asking));
        for ((query, _), reply) in ready.iter().zip(replies) {
            if watch(Event::Reply(*query, Ok(reply))).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        flow
    }
}
