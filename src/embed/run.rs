//! Texts on their way through the model.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use super::error::{Error, Result};
use super::{Embedder, Tokenised};
use crate::encoder;
use crate::encoder::batch::{Batch, pack};

/// What happens while vectors are made.
#[derive(Debug)]
pub enum Event {
    /// A batch has been read.
    Read {
        /// Its texts.
        texts: usize,
        /// Their tokens.
        tokens: usize,
        /// The time it took.
        model: Duration,
    },
    /// The text at this place has its vector, or has none because the model gave no numbers.
    Vector(usize, Result<Vec<f32>>),
}

/// What a batch of texts became.
type Vectors = encoder::Result<Vec<Vec<f32>>>;

impl Embedder {
    /// Makes the vector of each text and hands it out as soon as its batch has been read. Every text gets one, unless `watch` breaks
    /// off; that takes effect once the batches in flight are through.
    pub fn embed_each(
        &self,
        texts: &[Tokenised],
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        // Neighbours are packed together, so that the first vectors are there before the last texts are read.
        let mut from = 0;
        let runs = std::iter::from_fn(|| {
            let (start, mut tokens) = (from, 0);
            while from < texts.len()
                && (from == start || tokens + texts[from].ids.len() <= self.group_tokens())
            {
                tokens += texts[from].ids.len();
                from += 1;
            }
            (from > start).then_some(start..from)
        });
        let batches = runs.flat_map(|run| {
            let lengths: Vec<usize> = texts[run.clone()].iter().map(|text| text.ids.len()).collect();
            let packed = pack(&lengths, self.batch_tokens());
            packed.into_iter().map(move |members| -> Vec<usize> {
                members.into_iter().map(|member| run.start + member).collect()
            })
        });
        match self.model.encoder().lanes() {
            0 => self.one_by_one(texts, batches, watch),
            lanes => self.side_by_side(texts, batches, lanes, watch),
        }
    }

    /// Runs batches where the model needs the caller's cores.
    fn one_by_one(
        &self,
        texts: &[Tokenised],
        batches: impl Iterator<Item = Vec<usize>>,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        for members in batches {
            let started = Instant::now();
            let vectors = self.read(texts, &members);
            if self.hand_out(texts, &members, vectors?, started.elapsed(), watch).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Runs batches on a model with cores of its own, as many at a time as it has lanes.
    fn side_by_side(
        &self,
        texts: &[Tokenised],
        batches: impl Iterator<Item = Vec<usize>> + Send,
        lanes: usize,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        let batches = Mutex::new(batches);
        let (answer, answers) = mpsc::channel();
        std::thread::scope(|scope| {
            for _ in 0..lanes {
                let (batches, answer) = (&batches, answer.clone());
                scope.spawn(move || {
                    // The lock is free again before the batch runs.
                    let next = || batches.lock().ok()?.next();
                    while let Some(members) = next() {
                        // Nobody would hear of a panic here: the caller waits for this answer.
                        let vectors = catch_unwind(AssertUnwindSafe(|| self.read(texts, &members)));
                        if answer.send((members, vectors)).is_err() {
                            break;
                        }
                    }
                });
            }
            // Theirs are the only senders now: `recv` ends when they do. They end when `answers` is dropped.
            drop(answer);
            let answers = answers;
            let mut counted = Instant::now();
            while let Ok((members, vectors)) = answers.recv() {
                // Time counts once, however many batches share it.
                let time = counted.elapsed();
                counted += time;
                let vectors = vectors.unwrap_or_else(|panic| resume_unwind(panic))?;
                if self.hand_out(texts, &members, vectors, time, watch).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Runs the texts at some places.
    fn read(&self, texts: &[Tokenised], members: &[usize]) -> Vectors {
        let mut batch = Batch::default();
        for &member in members {
            let ids = &texts[member].ids;
            self.model.push(&mut batch, ids, &vec![self.template.segment; ids.len()]);
        }
        self.model.embed(&batch)
    }

    fn hand_out(
        &self,
        texts: &[Tokenised],
        members: &[usize],
        vectors: Vec<Vec<f32>>,
        model: Duration,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let tokens = members.iter().map(|&member| texts[member].ids.len()).sum();
        watch(Event::Read { texts: members.len(), tokens, model })?;
        for (&member, vector) in members.iter().zip(vectors) {
            let finite = vector.iter().all(|number| number.is_finite());
            let dtype = self.model.encoder().precision().name();
            watch(Event::Vector(member, if finite { Ok(vector) } else { Err(Error::NotFinite { dtype }) }))?;
        }
        ControlFlow::Continue(())
    }
}
