//! The one path from documents and questions to replies.
//!
//! ```text
//! question  what is asked, of which documents, under which options
//! around    tokenises only what stands around passages that a search has found
//! plan      tokenises a question and lays windows over its documents
//! promise   or over the passages that share most words with the question, if not everything is to be read
//! round     takes the windows of many questions through the model, packed
//! enough    says when what has been read of what a search has found is enough
//! reply     makes one record of what was found in the windows of a question
//! input     shows a window as the model reads it, to whoever looks inside
//! ```

mod around;
mod enough;
pub mod error;
pub mod input;
pub mod memo;
mod plan;
pub mod promise;
mod question;
mod reply;
mod round;

use std::ops::ControlFlow;
use std::sync::OnceLock;
use std::time::Duration;

use rayon::prelude::*;

pub use self::error::{Error, Result};
use self::plan::{Job, read_ahead};
pub use self::question::{Cancel, Document, Found, Question, Search};
use self::round::Round;
use crate::checkpoint::{Identity, ModelFiles};
use crate::document::Text;
use crate::encoder::batch::pack;
use crate::encoder::{DeviceChoice, Runtime};
use crate::heads::{QaModel, SpanModel};
use crate::request::reply::{DocumentId, Reply};
use crate::text::{Tokenizer, Tokens};

/// A tokenizer and a model that answer questions together.
pub struct Reader {
    tokenizer: Tokenizer,
    model: Box<dyn SpanModel>,
    name: String,
    /// What the model was loaded from.
    files: Option<ModelFiles>,
    /// Found out when a reply has to explain itself.
    identity: OnceLock<Option<Identity>>,
    batch_tokens: Option<usize>,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Windows that have been read, or need not be read any more.
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
    /// The question at this place has its reply, or has none: it cannot be asked, its logits are no numbers, it was taken back.
    Reply(usize, Result<Reply>),
}

/// Batches whose windows are sorted by length together.
const SORTED_TOGETHER: usize = 16;

/// Batches of a group for each lane of the model, which are idle while the last ones of it run.
const GATHERED_PER_LANE: usize = 8;

impl Reader {
    /// Loads a model and its tokenizer.
    pub fn open(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        // The tokenizer takes as long as the weights of a small model; neither needs the other.
        let (tokenizer, model) =
            rayon::join(|| Tokenizer::from_files(files), || QaModel::load(files, runtime));
        let reader = Self::new(tokenizer?, Box::new(model?), &files.name)?;
        Ok(Self { files: Some(files.clone()), ..reader })
    }

    /// Joins a tokenizer and any model.
    pub fn new(tokenizer: Tokenizer, model: Box<dyn SpanModel>, name: &str) -> Result<Self> {
        if tokenizer.vocab_size() > model.vocabulary() {
            return Err(Error::VocabularyMismatch {
                model: name.into(),
                highest: tokenizer.vocab_size() - 1,
                rows: model.vocabulary(),
            });
        }
        Ok(Self {
            tokenizer,
            model,
            name: name.into(),
            files: None,
            identity: OnceLock::new(),
            batch_tokens: None,
        })
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

    /// How many tokens of questions and documents to gather where there are many: enough to sort windows by length, and to keep
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

    /// Which model it is, beyond its name; `None` if that cannot be told.
    pub fn identity(&self) -> Option<&Identity> {
        let find = || self.files.as_ref()?.identity().ok();
        self.identity.get_or_init(find).as_ref()
    }

    /// How long each kind of computation has taken so far: see [`SpanModel::times`].
    pub fn model_times(&self) -> Vec<(&'static str, Duration)> {
        self.model.times()
    }

    /// What a person should know about how the model ran so far.
    pub fn model_notes(&self) -> Vec<String> {
        self.model.notes()
    }

    /// The type that the model multiplies in.
    pub fn dtype(&self) -> &'static str {
        self.model.dtype()
    }

    /// Where the model runs.
    pub fn device(&self) -> DeviceChoice {
        self.model.device()
    }

    /// Tokenises a text.
    pub fn prepare(&self, id: DocumentId, text: String) -> Result<Document> {
        self.prepare_document(id, text.into())
    }

    /// Tokenises a document as the model is to see it. Its tokens say where they stand in the text itself.
    pub fn prepare_document(&self, id: DocumentId, document: Text) -> Result<Document> {
        let tokens = self.tokens(&document)?;
        let Text { text, origin, .. } = document;
        let runs = std::iter::once(0..tokens.len()).collect();
        Ok(Document { id, text, origin, tokens, runs, whole: true, passages: OnceLock::new() })
    }

    /// The tokens of what a model sees of a text.
    fn tokens(&self, document: &Text) -> Result<Tokens> {
        let read = document.seen();
        if read.trim().is_empty() {
            return Ok(Tokens::default());
        }
        let mut tokens = self.tokenizer.encode(read)?;
        if let Some(view) = &document.seen {
            for (start, end) in &mut tokens.offsets {
                let original = view.original(*start..*end);
                (*start, *end) = (original.start, original.end);
            }
        }
        Ok(tokens)
    }

    /// Answers questions, in order. A question that cannot be answered fails alone; a model that cannot run fails the call.
    pub fn answer(
        &self,
        questions: &[Question],
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Result<Reply>>> {
        let mut replies: Vec<Option<Result<Reply>>> = questions.iter().map(|_| None).collect();
        self.answer_each(questions, &mut |event| {
            match event {
                Event::Read(state) => progress(state),
                Event::Reply(question, reply) => replies[question] = Some(reply),
            }
            ControlFlow::Continue(())
        })?;
        // Replies are told apart by their places, so one that is missing may not be passed over.
        replies.into_iter().collect::<Option<_>>().ok_or(Error::ModelStopped)
    }

    /// Answers questions and hands out each reply as soon as its last window has been read. Every question gets one reply, unless
    /// `watch` breaks off; that takes effect once the windows in flight are through.
    pub fn answer_each(
        &self,
        questions: &[Question],
        watch: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut jobs: Vec<Option<Job>> = Vec::with_capacity(questions.len());
        for (index, job) in on_all_cores(questions, |question| self.plan(question)).into_iter().enumerate() {
            let reply = match job {
                Ok(job) if job.unread > 0 => {
                    jobs.push(Some(job));
                    continue;
                }
                // Nothing has to be read for these.
                job => job.map(|job| self.reply(&questions[index], &job)),
            };
            jobs.push(None);
            if watch(Event::Reply(index, reply)).is_break() {
                return Ok(());
            }
        }
        let total = jobs.iter().flatten().map(Job::left).sum();
        let progress = Progress { done: 0, total, tokens: 0, model: Duration::ZERO };
        let mut round = Round { reader: self, questions, jobs, progress, watch };
        // Of some questions more is read once it is known what the first windows say.
        while let windows = round.windows()
            && !windows.is_empty()
        {
            let tokens = self.batch_tokens();
            let batches = read_ahead(&windows, tokens.saturating_mul(SORTED_TOGETHER)).flat_map(|windows| {
                let lengths: Vec<usize> = windows.iter().map(|window| window.length).collect();
                pack(&lengths, tokens)
                    .into_iter()
                    .map(|members| members.iter().map(|&member| &windows[member]).collect())
            });
            let flow = match self.model.lanes() {
                0 => round.one_by_one(batches)?,
                lanes => round.side_by_side(batches, lanes)?,
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
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
