//! A model with the thread that runs it, and the way of a request through it.
//!
//! There is no second reader path here: requests become questions as those of `batch` do, and go into a queue that
//! [`answer_stream`] takes them out of. Whatever waits while the model is busy is answered together.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::admission::{Admission, Held};
use super::metrics::Metrics;
use crate::decode::ScoringRules;
use crate::reader::{Cancel, Reader};
use crate::request::parser::Body;
use crate::request::reply::{Id, Reply};
use crate::request::{DocumentRef, Options};
use crate::stream::{self, Done, Questions, Queue, Work, answer_stream, answer_waiting, nothing_is_searched};
use crate::text::BYTES_PER_TOKEN;

/// A loaded model, and how its replies are made unless a request says otherwise.
pub struct Opened {
    /// The model.
    pub reader: Reader,
    /// As `ask` makes them; the first one is the usual one, the others are those of other rules.
    pub ask: Vec<Options>,
    /// As `batch` makes them.
    pub batch: Options,
    /// As transformers' pipeline made them.
    pub pipeline: Options,
}

/// In whose manner replies are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Ask,
    Batch,
    Pipeline,
}

/// A model that answers requests.
pub struct Engine {
    /// What requests call it.
    pub name: String,
    pub reader: Reader,
    ask: Vec<(ScoringRules, Questions)>,
    batch: Questions,
    pipeline: Questions,
    pipeline_options: Options,
    work: Queue<Work<Ticket>>,
    admission: Arc<Admission>,
    metrics: Arc<Metrics>,
}

/// Whose a question is.
pub struct Ticket {
    /// Which of its request's.
    place: usize,
    replies: mpsc::UnboundedSender<Answered>,
    asked: Instant,
    held: Held,
}

/// What came of a question.
pub struct Answered {
    /// Which of its request's.
    pub place: usize,
    pub reply: Result<Reply, Arc<stream::Error>>,
    /// When it began to wait for the model.
    pub asked: Instant,
    /// How long it was in the model.
    pub inference: Duration,
    /// Tokens of its windows.
    pub tokens: usize,
}

/// When nobody needs a reply any more.
#[derive(Clone, Default)]
pub struct Call {
    pub deadline: Option<Instant>,
    pub cancel: Cancel,
}

/// Nobody wants the rest of a request.
struct Unwanted;

/// The group that is in the model.
struct UnderWay {
    /// Questions that have no reply yet.
    questions: usize,
    since: Instant,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { questions: 0, since: Instant::now() }
    }
}

impl Engine {
    pub fn new(name: String, opened: Opened, admission: Arc<Admission>, metrics: Arc<Metrics>) -> Self {
        // No files are read, so their limit does not matter.
        let questions = |options: Options| Questions::new(Arc::new(options), 0);
        let by_rules = |options: Options| (options.decoding.scoring.rules(), questions(options));
        Self {
            name,
            reader: opened.reader,
            ask: opened.ask.into_iter().map(by_rules).collect(),
            batch: questions(opened.batch),
            pipeline: questions(opened.pipeline.clone()),
            pipeline_options: opened.pipeline,
            // What may wait is what was admitted.
            work: Queue::new(usize::MAX),
            admission,
            metrics,
        }
    }

    /// Makes questions of a request and queues them; one [`Answered`] comes back for each of `names`. It tokenises, so it takes time.
    pub fn prepare(
        &self,
        manner: Manner,
        body: Body,
        names: Vec<Id>,
        call: &Call,
        mut admitted: Held,
        replies: &mpsc::UnboundedSender<Answered>,
    ) {
        let tickets: Vec<(usize, Id)> = names.into_iter().enumerate().collect();
        let questions = self.questions(manner, body.parameters.score);
        let queued = questions.each(
            &self.reader,
            &nothing_is_searched,
            Ok(body),
            tickets,
            &|(_, id)| id.clone(),
            &mut |own, question| {
                let (place, _) = own;
                let asked = Instant::now();
                let mut question = match question {
                    Ok(question) => question,
                    Err(error) => {
                        let reply = Err(Arc::new(error));
                        let refused = Answered { place, reply, asked, inference: Duration::ZERO, tokens: 0 };
                        return replies.send(refused).map_err(|_| Unwanted);
                    }
                };
                question.deadline = call.deadline;
                question.cancel = Some(call.cancel.clone());
                let held = admitted.part(self.reader.cost(&question));
                let ticket = Ticket { place, replies: replies.clone(), asked, held };
                let work = Work { ticket, question: Ok(question), ticket_bytes: 0 };
                match call.cancel.is_cancelled() {
                    true => Err(Unwanted),
                    false => {
                        self.metrics.queued();
                        self.work.push(work.weight(), work).map_err(|_| Unwanted)
                    }
                }
            },
        );
        // Whoever asked has gone, and so has the need to say it.
        drop(queued);
    }

    /// About how many tokens of windows a request will be, before anything is tokenised: no more than will be read.
    pub fn expected_tokens(&self, manner: Manner, body: &Body) -> usize {
        let Ok(options) = self.questions(manner, body.parameters.score).options(&body.parameters) else {
            // It will be refused.
            return 0;
        };
        let most =
            options.read.map_or(usize::MAX, |windows| windows.saturating_mul(options.limits.max_tokens));
        let length = |document: &DocumentRef| match document {
            DocumentRef::Text(text) => text.len(),
            DocumentRef::File(_) | DocumentRef::Search(_) => 0,
        };
        let tokens = body.items.iter().map(|item| {
            let documents: usize = body.documents[item.documents.clone()].iter().map(length).sum();
            ((item.question.len() + documents) / BYTES_PER_TOKEN + 1).min(most)
        });
        tokens.sum()
    }

    /// Tokens that a stream lets wait ahead of it: enough to keep the model busy, so few that requests beside it are soon served.
    pub fn stream_room(&self) -> usize {
        self.group().saturating_mul(2)
    }

    /// Tokens of questions that are answered together: enough to sort windows by length. What is gathered beyond makes others wait.
    fn group(&self) -> usize {
        self.reader.batch_tokens().saturating_mul(2)
    }

    /// How replies are made in the manner of the pipeline.
    pub fn pipeline_options(&self) -> &Options {
        &self.pipeline_options
    }

    fn questions(&self, manner: Manner, rules: Option<ScoringRules>) -> &Questions {
        let of_rules = || self.ask.iter().find(|(known, _)| Some(*known) == rules);
        match (manner, self.ask.first()) {
            (Manner::Ask, Some(usual)) => &of_rules().unwrap_or(usual).1,
            (Manner::Ask | Manner::Batch, _) => &self.batch,
            (Manner::Pipeline, _) => &self.pipeline,
        }
    }

    /// Answers what is queued until [`Engine::stop`]. A panic or a failure of the model costs the questions that were in it their replies, and
    /// nobody else's.
    pub fn run(&self) {
        let group = self.group();
        loop {
            let mut under_way = UnderWay::default();
            let answered = catch_unwind(AssertUnwindSafe(|| {
                answer_stream(&self.reader, &self.work, group, &mut |done| {
                    // A batch of a long document is through: those who came meanwhile need not wait for the rest of it.
                    let between = matches!(done, Done::Read { .. });
                    self.note(done, &mut under_way);
                    if between && under_way.questions > 0 {
                        self.answer_between();
                    }
                    ControlFlow::Continue(())
                })
            }));
            self.metrics.idle();
            match answered {
                Ok(Ok(())) => return,
                Ok(Err(_)) | Err(_) => self.metrics.failed("model"),
            }
        }
    }

    /// Answers what fits into a batch, so that what is under way gets every other one at least. If that fails, what is under way goes on.
    fn answer_between(&self) {
        let mut under_way = UnderWay::default();
        let answered = catch_unwind(AssertUnwindSafe(|| {
            answer_waiting(&self.reader, &self.work, self.reader.batch_tokens(), &mut |done| {
                self.note(done, &mut under_way);
                ControlFlow::Continue(())
            })
        }));
        if !matches!(answered, Ok(Ok(_))) {
            self.metrics.failed("model");
        }
    }

    /// Notes what happens to a group, and hands out its replies.
    fn note(&self, done: Done<Ticket>, under_way: &mut UnderWay) {
        match done {
            Done::Began { work } => {
                *under_way = UnderWay { questions: work, since: Instant::now() };
                self.metrics.began(work);
            }
            Done::Read { tokens, model, .. } => {
                self.metrics.read(tokens);
                self.admission.measured(tokens, model);
            }
            Done::Reply(ticket, reply) => {
                under_way.questions -= 1;
                self.metrics.answered();
                ticket.answer(reply, under_way.since);
            }
        }
    }

    /// Ends [`Engine::run`] once what is queued is answered.
    pub fn stop(&self) {
        self.work.end();
    }
}

impl Ticket {
    fn answer(self, reply: Result<Reply, Arc<stream::Error>>, began: Instant) {
        let Self { place, replies, asked, held } = self;
        let (inference, tokens) = (began.elapsed(), held.tokens());
        // Before the reply can be seen: whoever sees it finds the room that it leaves.
        drop(held);
        let _ = replies.send(Answered { place, reply, asked, inference, tokens });
    }
}
