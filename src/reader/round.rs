//! Windows on their way through the model.

use std::ops::{ControlFlow, Range};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::plan::{Job, Window};
use super::{Event, Progress, Question, Reader, on_all_cores};
use crate::encoder::batch::Batch;
use crate::heads::WindowLogits;
use crate::reader::error::{Error, Result};

/// The windows of some questions on their way through the model.
pub(super) struct Round<'a> {
    pub(super) reader: &'a Reader,
    pub(super) questions: &'a [Question],
    /// Those with windows to read.
    pub(super) jobs: Vec<Option<Job>>,
    pub(super) progress: Progress,
    pub(super) watch: &'a mut dyn FnMut(Event) -> ControlFlow<()>,
}

/// Batches that wait for each lane of a model, so that none idles while replies are made.
const WAITING: usize = 1;

impl Round<'_> {
    /// Runs batches where the model needs the caller's cores.
    pub(super) fn one_by_one<'w>(
        &mut self,
        batches: impl Iterator<Item = Vec<&'w Window>>,
    ) -> Result<ControlFlow<()>> {
        for windows in batches {
            let windows = match self.wanted(windows) {
                ControlFlow::Continue(windows) if windows.is_empty() => continue,
                ControlFlow::Continue(windows) => windows,
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
            };
            let batch = self.assemble(&windows);
            let started = Instant::now();
            let logits = self.reader.model.logits(&batch)?;
            if self.take(&windows, logits, started.elapsed()).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.ended()
    }

    /// Runs batches on a model with cores of its own, as many at a time as it has lanes; meanwhile this thread makes replies.
    pub(super) fn side_by_side<'w>(
        &mut self,
        mut batches: impl Iterator<Item = Vec<&'w Window>>,
        lanes: usize,
    ) -> Result<ControlFlow<()>> {
        let model = &*self.reader.model;
        let (give, given) = mpsc::channel::<(Vec<&Window>, Batch)>();
        let given = Mutex::new(given);
        let (answer, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                let (given, answer) = (&given, answer.clone());
                scope.spawn(move || {
                    // The lock is free again before the batch runs. Either channel ends when the other side has gone.
                    let next = || given.lock().ok()?.recv().ok();
                    while let Some((windows, batch)) = next() {
                        // Nobody would hear of a panic here: the others wait for this answer.
                        let logits = catch_unwind(AssertUnwindSafe(|| model.logits(&batch)));
                        if answer.send((windows, logits)).is_err() {
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
                    && let Some(windows) = batches.next()
                {
                    let windows = match self.wanted(windows) {
                        ControlFlow::Continue(windows) if windows.is_empty() => continue,
                        ControlFlow::Continue(windows) => windows,
                        ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                    };
                    let batch = self.assemble(&windows);
                    if under_way == 0 {
                        counted = Instant::now();
                    }
                    if give.send((windows, batch)).is_err() {
                        return Err(Error::ModelStopped);
                    }
                    under_way += 1;
                }
                if under_way == 0 {
                    return self.ended();
                }
                let Ok((windows, logits)) = answers.recv() else { return Err(Error::ModelStopped) };
                let time = counted.elapsed();
                counted += time;
                under_way -= 1;
                let logits = logits.unwrap_or_else(|panic| resume_unwind(panic))?;
                if self.take(&windows, logits, time).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        })
    }

    /// The windows that are to be read now.
    pub(super) fn windows(&mut self) -> Vec<Window> {
        self.jobs.iter_mut().flatten().for_each(|job| job.under_way = true);
        let jobs = self.jobs.iter().enumerate();
        jobs.filter_map(|(question, job)| Some(job.as_ref()?.windows(question))).flatten().collect()
    }

    /// Every question has its reply by now or goes on to its next windows, unless the model kept some logits to itself.
    fn ended(&self) -> Result<ControlFlow<()>> {
        match self.jobs.iter().flatten().any(|job| job.under_way) {
            false => Ok(ControlFlow::Continue(())),
            true => Err(Error::ModelStopped),
        }
    }

    /// The windows whose questions still want a reply. Those that were taken back, or are too late, are told so.
    fn wanted<'w>(&mut self, windows: Vec<&'w Window>) -> ControlFlow<(), Vec<&'w Window>> {
        let now = Instant::now();
        for window in &windows {
            let question = &self.questions[window.question];
            let error = if question.cancel.as_ref().is_some_and(|cancel| cancel.is_cancelled()) {
                Error::Cancelled
            } else if question.deadline.is_some_and(|deadline| deadline <= now) {
                Error::DeadlineExceeded
            } else {
                continue;
            };
            if self.jobs[window.question].take().is_some() {
                (self.watch)(Event::Reply(window.question, Err(error)))?;
            }
        }
        let (wanted, unwanted): (Vec<_>, Vec<_>) =
            windows.into_iter().partition(|window| self.jobs[window.question].is_some());
        self.progress.done += unwanted.len();
        ControlFlow::Continue(wanted)
    }

    /// The batch of some windows.
    fn assemble(&self, windows: &[&Window]) -> Batch {
        let mut batch = Batch::default();
        for window in windows {
            let Some(job) = &self.jobs[window.question] else { continue };
            let question = &self.questions[window.question];
            let template = self.reader.tokenizer.template();
            let (ids, segments) = job.join((window.document, window.index), question, template);
            batch.push_to_read(&ids, &segments, job.read(window, &question.options.decoding));
        }
        batch
    }

    /// Takes what the model said about some windows, and hands out the replies that are ready.
    fn take(&mut self, windows: &[&Window], logits: Vec<WindowLogits>, time: Duration) -> ControlFlow<()> {
        self.progress.model += time;
        self.progress.done += windows.len();
        self.progress.tokens += logits.iter().map(|window| window.start.len()).sum::<usize>();
        let mut flow = ControlFlow::Continue(());
        let Round { reader, questions, jobs, watch, progress } = self;
        let read: Vec<(&Window, WindowLogits)> = windows.iter().copied().zip(logits).collect();
        let decoded = on_all_cores(&read, |(window, logits)| {
            let (job, question) = (jobs[window.question].as_ref()?, &questions[window.question]);
            let finite = is_finite(logits, job.read(window, &question.options.decoding));
            Some(finite.then(|| job.decode(window, logits, question)))
        });
        let mut ready = Vec::new();
        for ((window, logits), decoded) in read.into_iter().zip(decoded) {
            let slot = &mut jobs[window.question];
            // The question may have got its reply meanwhile: another of its windows failed.
            let (Some(job), Some(decoded)) = (slot.as_mut(), decoded) else { continue };
            match decoded {
                Some(decoded) => {
                    let why = questions[window.question].options.why;
                    job.keep(window, decoded, why.then_some(logits));
                    if job.unread == 0 {
                        let left = job.left();
                        if job.is_enough(&questions[window.question]) {
                            progress.done += left;
                            ready.extend(slot.take().map(|job| (window.question, job)));
                        }
                    }
                }
                None => {
                    *slot = None;
                    let error = Error::NotFinite { dtype: reader.model.dtype() };
                    if watch(Event::Reply(window.question, Err(error))).is_break() {
                        flow = ControlFlow::Break(());
                    }
                }
            }
        }
        let replies = on_all_cores(&ready, |(question, job)| reader.reply(&questions[*question], job));
        for ((question, _), reply) in ready.iter().zip(replies) {
            if watch(Event::Reply(*question, Ok(reply))).is_break() {
                flow = ControlFlow::Break(());
            }
        }
        // After the replies: whoever does something else now keeps none of them waiting.
        if watch(Event::Read(*progress)).is_break() {
            flow = ControlFlow::Break(());
        }
        flow
    }
}

/// Whether the logits that decoding looks at are numbers.
fn is_finite(logits: &WindowLogits, read: Range<usize>) -> bool {
    [&logits.start, &logits.end]
        .into_iter()
        .all(|side| side[..1].iter().chain(&side[read.clone()]).all(|logit| logit.is_finite()))
}
