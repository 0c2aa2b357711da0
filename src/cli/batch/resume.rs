//! Goes on with an output that was left behind.
//!
//! The requests are read again from the start and laid beside the records that are there, one by one. A record belongs to a request
//! if it has its id or its line, and if the request still asks what it asked: a journal beside an output that is not complete holds
//! what the flags were and a fingerprint of each question with its documents. Of a complete output only the flags are kept, in a hidden file;
//! there the question and the place of each quotation are compared. At the first request whose records are not all there the output is cut, and
//! the run goes on from that request.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use spanqa::journal::{self, Changed, Journal};
use spanqa::request::lines::Line;
use spanqa::request::parser::{Parsed, Parser, Ticket};
use spanqa::request::record::Layout;
use spanqa::request::reply::DocumentId;
use spanqa::request::{DocumentRef, Settings};
use spanqa::stream::Queue;
use spanqa::text::offsets::OffsetUnit;

use super::output::{Partial, Quote, Record, Records};
use super::report::Tally;
use super::run::next_request;

/// What a run notes about its requests until its output is complete.
pub struct Trace {
    journal: Journal<String>,
    path: PathBuf,
    /// Whether this run made it.
    new: bool,
    settings: Settings,
    /// Fingerprints of an earlier run's requests, one for each of its records.
    before: Vec<String>,
    /// Those of records that have been written since the journal was.
    waiting: Vec<String>,
}

/// Why a journal cannot be gone on with.
enum Stop {
    Changed(Changed),
    Unreadable(spanqa::fs::Error),
}

impl From<spanqa::fs::Error> for Stop {
    fn from(error: spanqa::fs::Error) -> Self {
        Stop::Unreadable(error)
    }
}

/// Fingerprints that are written together.
const TOGETHER: usize = 256;

impl Trace {
    /// Starts a journal beside an output, or goes on with the one that is there. With `anyway` other flags are no obstacle.
    pub fn open(partial: &Partial, settings: Settings, resume: bool, anyway: bool) -> Result<Self> {
        let mut path = partial.path().as_os_str().to_owned();
        path.push(".journal");
        let path = PathBuf::from(path);
        let new = !(resume && path.exists());
        let (journal, before) = if new {
            if partial.is_copied()
                && !anyway
                && let Some(changed) = journal::changed(&partial.flags(), &settings)?
            {
                return Err(partial.foreign(&made_otherwise(&changed), true));
            }
            (Journal::create(&path, &settings)?, Vec::new())
        } else {
            match Journal::resume(&path, &settings, Stop::Changed) {
                Ok(opened) => opened,
                Err(Stop::Changed(_)) if anyway => (Journal::create(&path, &settings)?, Vec::new()),
                Err(Stop::Changed(changed)) => {
                    return Err(partial.foreign(&made_otherwise(&changed), true));
                }
                Err(Stop::Unreadable(error)) => return Err(error.into()),
            }
        };
        Ok(Self { journal, path, new, settings, before, waiting: Vec::new() })
    }

    /// Notes whose record is about to be written.
    pub fn note(&mut self, ticket: &Ticket) -> Result<()> {
        self.waiting.extend(ticket.fingerprint.clone());
        if self.waiting.len() >= TOGETHER { self.flush() } else { Ok(()) }
    }

    /// Writes what waits.
    pub fn flush(&mut self) -> Result<()> {
        Ok(self.journal.append(&std::mem::take(&mut self.waiting))?)
    }

    /// Makes the journal that of the records that stay: their lines go together again.
    fn keep(&mut self, kept: &[String]) -> Result<()> {
        if self.before != kept {
            self.journal = Journal::create(&self.path, &self.settings)?;
            self.journal.append(kept)?;
        }
        Ok(())
    }

    /// Forgets everything but the flags: the output is complete.
    pub fn complete(self, partial: &Partial) -> spanqa::fs::Result<()> {
        // If it stays it is taken for the journal of a run without records.
        let _ = fs::remove_file(&self.path);
        spanqa::fs::write_lines(&partial.flags(), &[&self.settings])
    }

    /// Forgets a journal that this run made: it was refused, and its flags are not those of the records.
    pub fn remove_if_new(&self) {
        if self.new {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Says how the flags of an output differ from those of this run.
fn made_otherwise(Changed { field, found, expected }: &Changed) -> String {
    // A flag without a value, and lists and flags that were not given.
    let absent = |value: &str| matches!(value, "" | "false" | "not set");
    let given = |value: &str| if value == "true" { String::new() } else { format!(" {value}") };
    match (absent(found), absent(expected)) {
        (true, false) => format!("was made without --{field}{},", given(expected)),
        (false, true) => format!("was made with --{field}{},", given(found)),
        _ => format!("was made with --{field} {found}, not {expected},"),
    }
}

/// Where a run goes on.
#[derive(Default)]
pub struct Start {
    /// Bytes of the output that stay.
    pub bytes: u64,
    /// The request to go on with, unless it is the next line.
    pub first: Option<Parsed>,
    /// Bytes of the inputs that need not be worked on again.
    pub position: u64,
}

/// What an earlier run left behind, and what this one brings.
pub struct Earlier<'a> {
    pub partial: &'a Partial,
    pub layout: &'a Layout,
    pub model: &'a str,
    pub unit: OffsetUnit,
    /// Keep records though requests have changed.
    pub anyway: bool,
}

impl Earlier<'_> {
    /// Lays requests, of which one may have been read ahead, beside records until either end. Counts what is kept.
    pub fn lay_beside(
        &self,
        (ahead, lines): (Option<Parsed>, &Queue<Line>),
        parser: &mut Parser,
        trace: &mut Trace,
        tally: &mut Tally,
    ) -> Result<Start> {
        let mut records = self.partial.records(self.layout)?;
        if !records.header()? {
            return Ok(Start { first: ahead, ..Start::default() });
        }
        let mut start = Start { bytes: records.taken(), ..Start::default() };
        let mut kept = Vec::new();
        let mut next = ahead;
        while let Some(parsed) = next.take().or_else(|| next_request(lines, parser)) {
            let mut found = Vec::new();
            for (item, ticket) in parsed.tickets.iter().enumerate() {
                let Some(record) = self.next(&mut records, ticket)? else {
                    start.first = Some(parsed);
                    trace.keep(&kept)?;
                    return Ok(start);
                };
                if !self.anyway {
                    let noted = trace.before.get(ticket.sequence as usize);
                    self.compare(&record, &parsed, item, noted)?;
                }
                found.push(record.outcome);
            }
            kept.extend(parsed.tickets.iter().filter_map(|ticket| ticket.fingerprint.clone()));
            start.bytes = records.taken();
            start.position = parsed.tickets.last().map_or(start.position, |ticket| ticket.position);
            found.into_iter().for_each(|outcome| tally.resumed(outcome));
        }
        trace.keep(&kept)?;
        Ok(start)
    }

    fn next(&self, records: &mut Records, ticket: &Ticket) -> Result<Option<Record>> {
        let Some(record) = records.next()? else { return Ok(None) };
        if !record.is_of(ticket) {
            return Err(self.differs(ticket, "it has another id or line"));
        }
        Ok(Some(record))
    }

    /// Refuses a record of something that the request does not ask any more.
    fn compare(&self, record: &Record, parsed: &Parsed, item: usize, noted: Option<&String>) -> Result<()> {
        let ticket = &parsed.tickets[item];
        if let Some(other) = record.model.as_ref().filter(|other| *other != self.model) {
            let what = format!("was made with the model {other}, not {},", self.model);
            return Err(self.partial.foreign(&what, true));
        }
        match (noted, &ticket.fingerprint) {
            (Some(then), Some(now)) if then == now => return Ok(()),
            (Some(_), Some(_)) => {
                return Err(self.differs(ticket, "its question or its documents have changed"));
            }
            _ => {}
        }
        let body = match &parsed.request {
            Ok(body) => body,
            Err(problem) if record.may_be_error(problem.code()) => return Ok(()),
            Err(_) if record.code.is_some() => return Err(self.differs(ticket, "it has another error")),
            Err(_) => {
                let how = "it has a reply to a request that cannot be understood any more";
                return Err(self.differs(ticket, how));
            }
        };
        let Some(asked) = body.items.get(item) else { return Ok(()) };
        match &record.question {
            Some(question) if *question != asked.question => {
                return Err(self.differs(ticket, "it asks another question"));
            }
            None if record.code.is_none() && !record.has_id => {
                let what = "has neither the column id nor question, so nothing tells whose its rows are,";
                return Err(self.partial.foreign(what, true));
            }
            _ => {}
        }
        let documents = &body.documents[asked.documents.clone()];
        match record.quotes.iter().find(|quote| !self.stands_in(quote, documents)) {
            Some(_) => Err(self.differs(ticket, "its document has changed")),
            None => Ok(()),
        }
    }

    /// Whether a quotation still stands where it was found. Files are not read for that.
    fn stands_in(&self, quote: &Quote, documents: &[DocumentRef]) -> bool {
        let text = match &quote.document {
            Some(DocumentId::Index(index)) => match documents.get(*index) {
                Some(DocumentRef::Text(text)) => text,
                _ => return false,
            },
            Some(DocumentId::Path(path)) => {
                return documents.iter().any(|document| match document {
                    DocumentRef::File(file) => file.display().to_string() == *path,
                    DocumentRef::Search(_) => true,
                    DocumentRef::Text(_) => false,
                });
            }
            // The columns of the table do not say which document it is.
            None => match documents {
                [DocumentRef::Text(text)] => text,
                _ => return true,
            },
        };
        self.unit.slice(text, quote.start..quote.end) == Some(&*quote.text)
    }

    fn differs(&self, ticket: &Ticket, how: &str) -> anyhow::Error {
        let place = match (ticket.line, &ticket.id) {
            (Some(line), Some(id)) => format!("line {line} (id {id})"),
            (Some(line), None) => format!("line {line}"),
            (None, _) => format!("request {}", ticket.name()),
        };
        self.partial.foreign(&format!("does not belong to this input: {how} at {place},"), true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_flags_are_said_as_they_are_typed() {
        for (field, found, expected, said) in [
            ("top-k", "1", "2", "was made with --top-k 1, not 2,"),
            ("flat", "not set", "true", "was made without --flat,"),
            ("keep-fields", "true", "false", "was made with --keep-fields,"),
            ("columns", "", "id,rank", "was made without --columns id,rank,"),
            ("columns", "id,rank", "", "was made with --columns id,rank,"),
        ] {
            let changed = Changed { field: field.into(), found: found.into(), expected: expected.into() };
            assert_eq!(made_otherwise(&changed), said);
        }
    }
}
