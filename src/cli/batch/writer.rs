//! The last stage: puts records into the order of the input, writes them, and says how far it is.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use spanqa::request::parser::Ticket;
use spanqa::request::record::{COLUMNS, Failure, Layout};
use spanqa::request::reply::Reply;
use spanqa::stream::{self, Done, Queue};

use super::report::Report;
use super::resume::Trace;
use crate::cli::{Usage, hints};

/// The last stage.
pub struct Writer<'a> {
    pub layout: &'a Layout,
    pub out: &'a mut dyn Write,
    pub report: &'a mut Report,
    /// What is noted of each request before its record is written.
    pub trace: Option<&'a mut Trace>,
    pub order: Order,
    pub failures: Failures,
    /// What was remarked already.
    pub notes: Vec<String>,
}

/// In which order records are written.
pub enum Order {
    /// As they come.
    Any,
    /// That of the requests.
    Input {
        /// The record that is to be written next.
        next: u64,
        /// Records that are ready before their turn.
        held: BTreeMap<u64, (Ticket, Result<Reply, Arc<stream::Error>>)>,
    },
}

impl Order {
    /// That of the requests, from this record on.
    pub fn from(next: u64) -> Self {
        Order::Input { next, held: BTreeMap::new() }
    }
}

/// What happens when a request cannot be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failures {
    /// It gets a record, and the run goes on.
    Recorded,
    /// It gets a record, and the run ends.
    Last,
    /// The run ends without a record of it: after it was mended, a run that goes on from here has to see it again.
    Left,
}

/// Remarks that are made at most.
const NOTES: usize = 4;

impl Writer<'_> {
    /// Writes everything that comes.
    pub fn write_all(&mut self, done: &Queue<Done<Ticket>>) -> Result<()> {
        while let Some(next) = done.pop() {
            match next {
                Done::Read { windows, tokens, model } => {
                    self.report.tally.windows += windows as u64;
                    self.report.tally.tokens += tokens as u64;
                    self.report.tally.model += model;
                }
                Done::Reply(ticket, reply) => {
                    if let Order::Input { held, .. } = &mut self.order {
                        held.insert(ticket.sequence, (ticket, reply));
                        while let Some((ticket, reply)) = self.next_in_order() {
                            self.write(&ticket, reply)?;
                        }
                    } else {
                        self.write(&ticket, reply)?;
                    }
                }
            }
            // Nobody waits for a record while nothing else is ready.
            if done.is_empty() {
                self.flush()?;
            }
            self.report.tick();
        }
        self.flush()
    }

    fn next_in_order(&mut self) -> Option<(Ticket, Result<Reply, Arc<stream::Error>>)> {
        let Order::Input { next, held } = &mut self.order else { return None };
        let found = held.remove(next)?;
        *next += 1;
        Some(found)
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(trace) = &mut self.trace {
            trace.flush()?;
        }
        Ok(self.out.flush()?)
    }

    fn write(&mut self, ticket: &Ticket, reply: Result<Reply, Arc<stream::Error>>) -> Result<()> {
        let tally = &mut self.report.tally;
        tally.requests += 1;
        match &reply {
            Ok(reply) if reply.answered => tally.answered += 1,
            Ok(_) => tally.no_answer += 1,
            Err(_) => tally.errors += 1,
        }
        self.report.reached(ticket.position);
        if let Some(trace) = &mut self.trace
            && !(reply.is_err() && self.failures == Failures::Left)
        {
            trace.note(ticket)?;
        }
        if let Some(name) = self.layout.left_out(ticket) {
            let why = match COLUMNS.contains(&name) {
                true => "records have a column of that name",
                false => "the first request has no such field; `--columns` names columns",
            };
            self.note(&format!("the field `{name}` is left out: {why}"));
        }
        match reply {
            Ok(reply) => {
                for note in &reply.notes {
                    self.note(&hints::note(note));
                }
                Ok(self.layout.reply(ticket, &reply, self.out)?)
            }
            Err(error) => {
                if self.failures != Failures::Left {
                    self.layout.error(ticket, &failure(&error), self.out)?;
                }
                if self.failures == Failures::Recorded {
                    return Ok(());
                }
                self.flush()?;
                let hint = hints::stream(&error)
                    .unwrap_or_else(|| "mend the request, or leave --fail-fast out".into());
                let place = match (&ticket.place, ticket.line) {
                    (Some((file, line)), _) => format!("{file}, line {line}"),
                    (None, Some(line)) => format!("line {line}"),
                    (None, None) => format!("request {}", ticket.name()),
                };
                Err(Usage::new(format!("{place}: {error}"), hint).into())
            }
        }
    }

    fn note(&mut self, text: &str) {
        if self.notes.len() < NOTES && !self.notes.iter().any(|known| known == text) {
            self.report.note(text);
            self.notes.push(text.to_owned());
        }
    }
}

/// What the sender of a request is told.
fn failure(error: &stream::Error) -> Failure {
    Failure { code: error.code(), message: error.to_string(), hint: hints::stream(error) }
}
