//! The one path from documents and questions to replies.
//!
//! ```text
//! plan    tokenises a question and lays windows over its passages
//! round   takes the windows of many questions through the model, packed
//! reply   makes one record of what was found in the windows of a question
//! ```

pub mod error;
pub mod memo;
mod plan;
mod reply;
mod round;

use std::ops::ControlFlow;
use std::time::Duration;

use rayon::prelude::*;

pub use self::error::{Error, Result};
use self::plan::{Asked, Job, read_ahead};
use self::round::Round;
use crate::checkpoint::ModelFiles;
use crate::decode::Decoding;
use crate::encoder::batch::pack;
use crate::encoder::{DeviceChoice, Runtime};
use crate::heads::{QaModel, SpanModel};
use crate::request::reply::{DocumentId, Id, Reply};
use crate::text::offsets::OffsetUnit;
use crate::text::window::Limits;
use crate::text::{Tokenizer, Tokens};

/// A tokenizer and a model that answer questions together.
pub struct Reader {
    tokenizer: Tokenizer,
    model: Box<dyn SpanModel>,
    name: String,
    limits: Limits,
    batch_tokens: Option<usize>,
}

/// A document that has been tokenised; any number of questions can be put to it.
#[derive(Debug, Clone)]
pub struct Passage {
    /// What records call it.
    pub id: DocumentId,
    /// Its text.
    pub text: String,
    tokens: Tokens,
}

impl Passage {
    /// Whether there is nothing to read in it.
    pub fn is_blank(&self) -> bool {
        self.tokens.is_empty()
    }

    /// How many tokens it has.
    pub fn tokens(&self) -> usize {
        self.tokens.len()
    }
}

/// A question and the passages to look in.
#[derive(Debug, Clone)]
pub struct Query<'a> {
    /// What the reply is called.
    pub id: Id,
    /// The question.
    pub question: &'a str,
    /// Where the answer may be.
    pub passages: Vec<&'a Passage>,
}

/// How replies are made.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asking {
    /// How answers are chosen.
    pub decoding: Decoding,
    /// What offsets count.
    pub unit: OffsetUnit,
    /// Whether replies explain themselves.
    pub why: bool,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Windows that have been read.
    pub done: usize,
    /// Windows there are to read.
    pub total: usize,
    /// Tokens in the windows that have been read.
    pub tokens: usize,
    /// Time spent inside the model.
    pub model: Duration,
}

/// What happens while questions are answered.
#[derive(Debug)]
pub enum Event {
    /// A batch of windows has been read.
    Read(Progress),
    /// The question at this place has its reply, or cannot be asked.
    Reply(usize, Result<Reply>),
}

/// Batches whose windows are sorted by length together.
const SORTED_TOGETHER: usize = 16;

/// Batches of a group for each lane of the model, which are idle while the last ones of it run.
const GATHERED_PER_LANE: usize = 8;

impl Reader {
    /// Loads a model and its tokenizer.
    pub fn open(files: &ModelFiles, runtime: &Runtime, limits: Limits) -> Result<Self> {
        // The tokenizer takes as long as the weights of a small model; neither needs the other.
        let (tokenizer, model) =
            rayon::join(|| Tokenizer::from_files(files), || QaModel::load(files, runtime));
        Self::new(tokenizer?, Box::new(model?), &files.name, limits)
    }

    /// Joins a tokenizer and any model.
    pub fn new(tokenizer: Tokenizer, model: Box<dyn SpanModel>, name: &str, limits: Limits) -> Result<Self> {
        if tokenizer.vocab_size() > model.vocabulary() {
            return Err(Error::VocabularyMismatch {
                model: name.into(),
                highest: tokenizer.vocab_size() - 1,
                rows: model.vocabulary(),
            });
        }
        Ok(Self { tokenizer, model, name: name.into(), limits, batch_tokens: None })
    }

    /// Sets how many tokens go through the model together, if not what suits the model. Replies do not depend on it.
    pub fn with_batch_tokens(mut self, tokens: Option<usize>) -> Self {
        self.batch_tokens = tokens.map(|tokens| tokens.max(1));
        self
    }

    /// How many tokens go through the model together.
    pub fn batch_tokens(&self) -> usize {
        self.batch_tokens.unwrap_or_else(|| self.model.batch_tokens())
    }

    /// How many tokens of questions and passages to gather where there are many: enough to sort windows by length, and to keep
    /// every part of the model busy for a while.
    pub fn group_tokens(&self) -> usize {
        self.batch_tokens().saturating_mul(SORTED_TOGETHER.max(self.model.lanes() * GATHERED_PER_LANE))
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// What the model is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long each kind of computation has taken so far: see [`SpanModel::times`].
    pub fn model_times(&self) -> Vec<(&'static str, Duration)> {
        self.model.times()
    }

    /// What a person should know about how the model ran so far.
    pub fn model_notes(&self) -> Vec<String> {
        self.model.notes()
    }

    /// Where the model runs.
    pub fn device(&self) -> DeviceChoice {
        self.model.device()
    }

    /// Tokenises a document.
    pub fn prepare(&self, id: DocumentId, text: String) -> Result<Passage> {
        let tokens = if text.trim().is_empty() { Tokens::default() } else { self.tokenizer.encode(&text)? };
        Ok(Passage { id, text, tokens })
    }

    /// Answers questions, in order. A question that cannot be asked fails alone; a model that cannot run fails the call.
    pub fn answer(
        &self,
        queries: &[Query],
        asking: &Asking,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Result<Reply>>> {
        let mut replies: Vec<Option<Result<Reply>>> = queries.iter().map(|_| None).collect();
        self.answer_each(queries, asking, &mut |event| {
            match event {
                Event::Read(state) => progress(state),
                Event::Reply(query, reply) => replies[query] = Some(reply),
            }
            ControlFlow::Continue(())
        })?;
        Ok(replies.into_iter().flatten().collect())
    }

    /// Answers questions and hands out each reply as soon as its last window has been read. Every question gets one reply, unless
    /// `watch` breaks off; that takes effect once the windows in flight are through.
    pub fn answer_each(
        &self,
        queries: &[Query],
        asking: &Asking,
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut asked: Vec<Option<Asked>> = Vec::with_capacity(queries.len());
        for (index, plan) in on_all_cores(queries, |query| self.plan(query, asking)).into_iter().enumerate() {
            let reply = match plan {
                Ok(plan) if plan.unread > 0 => {
                    asked.push(Some(plan));
                    continue;
                }
                // Nothing has to be read for these.
                plan => plan.map(|plan| self.reply(&queries[index], &plan, asking)),
            };
            asked.push(None);
            if watch(Event::Reply(index, reply)).is_break() {
                return Ok(());
            }
        }
        let jobs: Vec<Job> = (asked.iter().enumerate())
            .filter_map(|(query, asked)| Some(asked.as_ref()?.jobs(query)))
            .flatten()
            .collect();
        let tokens = self.batch_tokens();
        let batches = read_ahead(&jobs, tokens.saturating_mul(SORTED_TOGETHER)).flat_map(|jobs| {
            let lengths: Vec<usize> = jobs.iter().map(|job| job.length).collect();
            pack(&lengths, tokens)
                .into_iter()
                .map(|members| members.iter().map(|&member| &jobs[member]).collect())
        });
        let progress = Progress { done: 0, total: jobs.len(), tokens: 0, model: Duration::ZERO };
        let round = Round { reader: self, queries, asking, asked, progress, watch };
        match self.model.lanes() {
            0 => round.one_by_one(batches),
            lanes => round.side_by_side(batches, lanes),
        }
    }
}

/// Things that are dealt with faster than other threads wake up.
const FEW: usize = 4;

/// Makes something of each thing.
fn on_all_cores<T: Sync, R: Send>(things: &[T], make: impl Fn(&T) -> R + Send + Sync) -> Vec<R> {
    match things.len() {
        0..=FEW => things.iter().map(make).collect(),
        _ => things.par_iter().map(&make).collect(),
    }
}
