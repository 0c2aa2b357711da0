//! Answers a stream of questions: as many at a time as there are, in bounded memory.
//!
//! Some threads prepare questions and push them into a [`Queue`]; another one runs [`answer_stream`], which takes whatever is
//! waiting, up to a budget, and answers it together. While a group is in the model the next one gathers. So a stream that
//! trickles is answered question by question, and a fast one in groups that are large enough to sort windows by length,
//! without a clock and without a setting.

pub mod error;
mod queue;
mod shelf;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use crate::reader::{Asking, Event, Passage, Query, Reader};
use crate::request::reply::{Id, Reply};
use crate::text::BYTES_PER_TOKEN;

pub use error::{Error, Result};
pub use queue::Queue;
pub use shelf::Shelf;

/// A question that is ready to be asked.
pub struct Ask {
    /// What its reply is called.
    pub id: Id,
    /// The question.
    pub question: String,
    /// Where the answer may be.
    pub passages: Vec<Arc<Passage>>,
}

/// Something to be answered, or to be passed on because it cannot be. `T` is whatever tells the receiver whose it is.
pub struct Work<T> {
    /// Whose it is.
    pub ticket: T,
    /// What there is to do.
    pub ask: Result<Ask>,
    /// Bytes that the ticket takes.
    pub ticket_bytes: usize,
}

impl<T> Work<T> {
    /// About how much memory and time it takes, in tokens: what a [`Queue`] of work should count.
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 64;
        OVERHEAD
            + self.ticket_bytes / BYTES_PER_TOKEN
            + self.ask.as_ref().map_or(0, |ask| {
                let passages = ask
                    .passages
                    .iter()
                    .map(|passage| passage.tokens().max(passage.text.len() / BYTES_PER_TOKEN));
                ask.question.len() / BYTES_PER_TOKEN + passages.sum::<usize>()
            })
    }
}

/// What comes out of a stream.
pub enum Done<T> {
    /// What came of a piece of work.
    Reply(T, Result<Reply, Arc<Error>>),
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
/// group come before any of the next. Work that asks the same of the same passages is done once.
pub fn answer_stream<T>(
    reader: &Reader,
    asking: &Asking,
    work: &Queue<Work<T>>,
    group: usize,
    emit: &mut dyn FnMut(Done<T>) -> ControlFlow<()>,
) -> Result<()> {
    while let Some(first) = work.pop() {
        let mut room = group.saturating_sub(first.weight());
        let mut gathered = vec![first];
        while let Some(next) = work.pop_waiting(room) {
            room -= next.weight().min(room);
            gathered.push(next);
        }
        if answer_group(reader, asking, gathered, emit)?.is_break() {
            break;
        }
    }
    Ok(())
}

fn answer_group<T>(
    reader: &Reader,
    asking: &Asking,
    gathered: Vec<Work<T>>,
    emit: &mut dyn FnMut(Done<T>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>> {
    let mut asks: Vec<Ask> = Vec::new();
    let mut waiting: Vec<Vec<(T, Id)>> = Vec::new();
    let mut known: HashMap<(String, Vec<*const Passage>), usize> = HashMap::new();
    for Work { ticket, ask, .. } in gathered {
        match ask {
            Ok(ask) => {
                let same = (ask.question.clone(), ask.passages.iter().map(Arc::as_ptr).collect());
                let place = *known.entry(same).or_insert(asks.len());
                let id = ask.id.clone();
                if place == asks.len() {
                    asks.push(ask);
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
    let queries: Vec<Query> = (asks.iter())
        .map(|ask| Query {
            id: ask.id.clone(),
            question: &ask.question,
            passages: ask.passages.iter().map(Arc::as_ref).collect(),
        })
        .collect();
    let mut flow = ControlFlow::Continue(());
    let mut before = (0, 0, Duration::ZERO);
    reader.answer_each(&queries, asking, &mut |event| {
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
            Event::Reply(query, reply) => hand_out(std::mem::take(&mut waiting[query]), reply, emit),
        };
        // Breaking off is remembered: replies that are ready at the same time still come.
        if step.is_break() {
            flow = step;
        }
        flow
    })?;
    Ok(flow)
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
