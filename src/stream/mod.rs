//! Answers a stream of questions, or makes vectors of a stream of texts: as many at a time as there are, in bounded memory.
//!
//! Some threads prepare questions and push them into a [`Queue`]; another one runs [`answer_stream`], which takes whatever is
//! waiting, up to a budget, and answers it together. While a group is in the model the next one gathers. So a stream that
//! trickles is answered question by question, and a fast one in groups that are large enough to sort windows by length,
//! without a clock and without a setting.

pub mod error;
mod prepare;
mod questions;
mod queue;
#[cfg(all(test, feature = "model-checking"))]
pub(crate) mod schedules;
mod shelf;
pub(crate) mod sync;
mod texts;
mod turn;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::reader::{Document, Event, Question, Reader};
use crate::request::Options;
use crate::request::reply::{Id, Reply};
use crate::text::BYTES_PER_TOKEN;

pub use error::{Error, Result};
pub use prepare::Preparing;
pub use questions::{Libraries, Questions, nothing_is_searched};
pub use queue::Queue;
pub use shelf::Shelf;
pub use texts::{Embedded, Incoming, Piece, TextSource, TextWork, embed_stream, tokenise_each};

/// Something to be answered, or to be passed on because it cannot be. `T` is whatever tells the receiver whose it is.
pub struct Work<T> {
    /// Whose it is.
    pub ticket: T,
    /// The question, or why there is none.
    pub question: Result<Question>,
    /// Bytes that the ticket takes.
    pub ticket_bytes: usize,
}

impl<T> Work<T> {
    /// About how much memory and time it takes, in tokens: what a [`Queue`] of work should count.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD
            + self.ticket_bytes / BYTES_PER_TOKEN
            + self.question.as_ref().map_or(0, |question| {
                let documents = question
                    .documents
                    .iter()
                    .map(|document| document.tokens().max(document.text.len() / BYTES_PER_TOKEN));
                question.text.len() / BYTES_PER_TOKEN + documents.sum::<usize>()
            })
    }
}

/// What comes out of a stream, of questions unless it says otherwise.
pub enum Done<T, R = Reply> {
    /// What came of a piece of work.
    Reply(T, Result<R, Arc<Error>>),
    /// So many pieces of work were taken together and are on their way now. Their replies come before anybody else's.
    Began {
        /// Pieces of work.
        work: usize,
    },
    /// Windows and tokens that have been read, and the time that took, since the last time.
    Read {
        /// Windows.
        windows: usize,
        /// Tokens.
        tokens: usize,
        /// Time inside the model.
        model: Duration,
    },
}

/// Answers everything that comes out of the queue, in groups of about `group` tokens, until the queue ends or `emit` breaks off,
/// which takes effect once the windows in flight are through. Within a group replies come as they are ready; all replies of a
/// group come before any of the next. Work that asks the same of the same documents under the same options is done once.
pub fn answer_stream<T>(
    reader: &Reader,
    work: &Queue<Work<T>>,
    group: usize,
    emit: &mut dyn FnMut(Done<T>) -> ControlFlow<()>,
) -> Result<()> {
    while let Some(gathered) = gather(work, group, Work::weight) {
        if answer_group(reader, gathered, emit)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Answers what is waiting at this moment, as far as it weighs no more than `group` together: for whoever has a large question under
/// way, between two of its batches. Says whether `emit` broke off.
pub fn answer_waiting<T>(
    reader: &Reader,
    work: &Queue<Work<T>>,
    group: usize,
    emit: &mut dyn FnMut(Done<T>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    // Not only what is at the front: that may be as large as what is under way.
    match work.pop_fitting(group) {
        Some(first) => {
            let gathered = gather_with(first, group, Work::weight, |room| work.pop_fitting(room));
            answer_group(reader, gathered, emit)
        }
        None => Ok(ControlFlow::Continue(())),
    }
}

/// Waits for work, and takes with it what else is waiting, up to a weight. `None` once there will be no more.
fn gather<W>(work: &Queue<W>, most: usize, weight: impl Fn(&W) -> usize) -> Option<Vec<W>> {
    Some(gather_with(work.pop()?, most, weight, |room| work.pop_waiting(room)))
}

/// Takes what else is waiting with something, up to a weight.
fn gather_with<W>(
    first: W,
    most: usize,
    weight: impl Fn(&W) -> usize,
    pop: impl Fn(usize) -> Option<W>,
) -> Vec<W> {
    let mut room = most.saturating_sub(weight(&first));
    let mut gathered = vec![first];
    while let Some(next) = pop(room) {
        room -= weight(&next).min(room);
        gathered.push(next);
    }
    gathered
}

fn answer_group<T>(
    reader: &Reader,
    gathered: Vec<Work<T>>,
    emit: &mut dyn FnMut(Done<T>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    if emit(Done::Began { work: gathered.len() }).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let mut questions: Vec<Question> = Vec::new();
    let mut waiting: Vec<Vec<(T, Id)>> = Vec::new();
    let mut known: HashMap<Same, usize> = HashMap::new();
    for Work { ticket, question, .. } in gathered {
        match question {
            Ok(question) => {
                let id = question.id.clone();
                let place = match Same::of(&question) {
                    Some(same) => *known.entry(same).or_insert(questions.len()),
                    None => questions.len(),
                };
                if place == questions.len() {
                    questions.push(question);
                    waiting.push(Vec::new());
                }
                waiting[place].push((ticket, id));
            }
            Err(error) => {
                if emit(Done::Reply(ticket, Err(error.into()))).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
    }
    let mut flow = ControlFlow::Continue(());
    let mut before = (0, 0, Duration::ZERO);
    reader.answer_each(&questions, &mut |event| {
        let step = match event {
            Event::Read(now) => {
                let (windows, tokens, model) = before;
                before = (now.done, now.tokens, now.model);
                emit(Done::Read {
                    windows: now.done - windows,
                    tokens: now.tokens - tokens,
                    model: now.model - model,
                })
            }
            Event::Reply(place, reply) => hand_out(std::mem::take(&mut waiting[place]), reply, emit),
        };
        // Breaking off is remembered: replies that are ready at the same time still come.
        if step.is_break() {
            flow = step;
        }
        flow
    })?;
    Ok(flow)
}

/// What makes two questions one: the words, and the same documents and options, told apart by where they lie.
#[derive(PartialEq, Eq, Hash)]
struct Same(String, Vec<*const Document>, *const Options);

impl Same {
    /// `None` for a question that can be taken back or be too late: its fate is its own.
    fn of(question: &Question) -> Option<Self> {
        let documents = question.documents.iter().map(Arc::as_ptr).collect();
        let alone = question.cancel.is_some() || question.deadline.is_some();
        (!alone).then(|| Self(question.text.clone(), documents, Arc::as_ptr(&question.options)))
    }
}

/// Gives everybody who asked the same a reply of their own.
fn hand_out<T>(
    tickets: Vec<(T, Id)>,
    reply: crate::reader::Result<Reply>,
    emit: &mut dyn FnMut(Done<T>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut flow = ControlFlow::Continue(());
    let reply = reply.map_err(|error| Arc::new(error.into()));
    for (ticket, id) in tickets {
        let own = reply.clone().map(|reply| Reply { id, ..reply });
        if emit(Done::Reply(ticket, own)).is_break() {
            flow = ControlFlow::Break(());
        }
    }
    flow
}
