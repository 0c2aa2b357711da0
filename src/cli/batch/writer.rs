//! The last stage: puts records into the order of the input, writes them, and says how far it is.

use std::collections::{BTreeMap, HashSet};
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
    /// Fields of requests that were said to find no room.
    pub left_out: HashSet<String>,
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
/// Fields that are named at most as having no room.
const NAMES: usize = 100;

impl Writer<'_> {
    /// Writes everything that comes.
    pub fn write_all(&mut self, done: &Queue<Done<Ticket>>) -> Result<()> {
        while let Some(next) = done.pop() {
            match next {
                Done::Began { .. } => {}
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
        self.say_what_is_left_out(ticket);
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

    /// Names every field once, those of one request together.
    fn say_what_is_left_out(&mut self, ticket: &Ticket) {
        let layout = self.layout;
        let (mut named, mut unexpected) = (Vec::new(), Vec::new());
        for name in layout.left_out(ticket) {
            if self.left_out.len() == NAMES {
                // Requests with ever new fields would fill the memory with names.
                break;
            }
            if self.left_out.insert(name.to_owned()) {
                (if COLUMNS.contains(&name) { &mut named } else { &mut unexpected }).push(name);
            }
        }
        if let Some((fields, have)) = fields(&named) {
            self.report.note(&format!("{fields} left out: records have {have}"));
        }
        if let Some((fields, _)) = fields(&unexpected) {
            let why = "the first request has no such field; `--columns` names columns";
            self.report.note(&format!("{fields} left out: {why}"));
        }
    }

    fn note(&mut self, text: &str) {
        if self.notes.len() < NOTES && !self.notes.iter().any(|known| known == text) {
            self.report.note(text);
            self.notes.push(text.to_owned());
        }
    }
}

/// Fields as a remark names them, and what records have instead.
fn fields(names: &[&str]) -> Option<(String, &'static str)> {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => None,
        [one] => Some((format!("the field {one} is"), "a column of that name")),
        [most @ .., last] => {
            Some((format!("the fields {} and {last} are", most.join(", ")), "columns of these names"))
        }
    }
}

/// What the sender of a request is told.
fn failure(error: &stream::Error) -> Failure {
    Failure { code: error.code(), message: error.to_string(), hint: hints::stream(error) }
}
