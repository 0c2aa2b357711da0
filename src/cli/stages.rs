//! The stages of a stream side by side, with a bounded queue between each two: what `batch` and `embed` have in common.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::Result;
use spanqa::stream::{self, Queue};

/// Bytes of input that may wait to be understood.
const WAITING_INPUT: usize = 4 << 20;
/// Bytes of records that may wait to be written.
const WAITING_RECORDS: usize = 1 << 20;

/// What the stages share: input of one kind, work for the model, and what is done.
pub struct Stages<I, W, D> {
    pub input: Arc<Queue<I>>,
    pub work: Arc<Queue<W>>,
    done: Queue<D>,
    /// The exit code of whatever asked for an early end, or [`ENOUGH`].
    stopped: Arc<AtomicU8>,
}

/// The run ends early, but not because of a signal.
const ENOUGH: u8 = u8::MAX;

/// Takes what the model has done; breaks off if nobody wants more.
pub type Emit<'a, D> = &'a mut dyn FnMut(D) -> ControlFlow<()>;

impl<I: Send + 'static, W: Send + 'static, D: Send> Stages<I, W, D> {
    /// Stages of which the model's has about `group` tokens waiting.
    pub fn new(group: usize) -> Self {
        Self {
            input: Arc::new(Queue::new(WAITING_INPUT)),
            work: Arc::new(Queue::new(group)),
            done: Queue::new(WAITING_RECORDS),
            stopped: Arc::default(),
        }
    }

    /// The exit code of whatever asked for an early end; 0 if nothing did.
    pub fn stopped(&self) -> u8 {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Something that ends the run early: nothing new is begun, what is in the model is finished.
    pub fn stopper(&self) -> impl Fn(u8) + Send + 'static {
        let (stopped, input, work) = (self.stopped.clone(), self.input.clone(), self.work.clone());
        move |code| {
            // What came first is what counts.
            let _ = stopped.compare_exchange(0, code, Ordering::SeqCst, Ordering::SeqCst);
            input.abandon();
            work.abandon();
        }
    }

    /// Runs the stages until the input ends or something stops them. `prepare` pushes work, `model` takes it and emits what is done, which
    /// takes about `weight` bytes, and `write` writes that on this thread.
    pub fn run(
        &self,
        prepare: impl FnOnce() + Send,
        model: impl FnOnce(Emit<D>) -> stream::Result<()> + Send,
        weight: fn(&D) -> usize,
        write: impl FnOnce(&Queue<D>) -> Result<()>,
    ) -> Result<()> {
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _end = self.work.end_with();
                prepare();
            });
            let running = scope.spawn(|| {
                let _end = self.done.end_with();
                model(&mut |done| {
                    let wanted = self.done.push(weight(&done), done).is_ok();
                    match wanted && self.stopped() == 0 {
                        true => ControlFlow::Continue(()),
                        false => ControlFlow::Break(()),
                    }
                })
            });
            let written = write(&self.done);
            // Whatever made this stage end early, the others have no reason to go on.
            self.input.abandon();
            self.work.abandon();
            self.done.abandon();
            if written.is_err() {
                let _ = self.stopped.compare_exchange(0, ENOUGH, Ordering::SeqCst, Ordering::SeqCst);
            }
            let ran = running.join();
            written?;
            match ran {
                Ok(ran) => Ok(ran?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }
}
