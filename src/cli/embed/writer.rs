//! The last stage: writes records or rows, and says how far it is. Texts come in the order of the input.

use anyhow::Result;
use spanqa::embed::Embedder;
use spanqa::heads::pool::Pooling;
use spanqa::request::record::Failure;
use spanqa::stream::{self, Done, Embedded, Queue};
use spanqa::{document, request};

use super::output::Output;
use super::record::{Failed, Numbers, Pieces, Record, States, Ticket};
use super::report::Report;
use crate::cli::skipped::Skipped;
use crate::cli::{Usage, hints, terminal};

/// The last stage.
pub struct Writer<'a, 'o> {
    output: &'a mut Output<'o>,
    report: &'a mut Report,
    embedder: &'a Embedder,
    /// The layers whose states are written, if every token keeps its own.
    layers: Vec<usize>,
    /// Remarks so far.
    notes: usize,
    binaries: Skipped,
}

/// Remarks that are made at most.
const NOTES: usize = 4;

impl<'a, 'o> Writer<'a, 'o> {
    pub fn new(output: &'a mut Output<'o>, report: &'a mut Report, embedder: &'a Embedder) -> Self {
        let layers = embedder.pooling().states.numbers(embedder.config().layers);
        Self { output, report, embedder, layers, notes: 0, binaries: Skipped::binaries() }
    }

    /// Writes everything that comes.
    pub fn write_all(&mut self, done: &Queue<Done<Ticket, Embedded>>) -> Result<()> {
        while let Some(next) = done.pop() {
            match next {
                Done::Began { .. } => {}
                Done::Read { tokens, model, .. } => {
                    self.report.tally.tokens += tokens as u64;
                    self.report.tally.model += model;
                }
                Done::Reply(ticket, embedded) => {
                    self.report.reached(ticket.position);
                    match embedded {
                        Ok(embedded) => self.vector(&ticket, &embedded)?,
                        Err(error) => self.error(&ticket, &error)?,
                    }
                }
            }
            // Nobody waits for a record while nothing else is ready.
            if done.is_empty() {
                self.output.flush()?;
            }
            self.report.tick();
        }
        let report = &*self.report;
        self.binaries.report(&mut |text| report.note(&text));
        self.output.flush()
    }

    fn vector(&mut self, ticket: &Ticket, embedded: &Embedded) -> Result<()> {
        let &Embedded { ref vector, ref pieces, tokens, truncated } = embedded;
        self.report.tally.texts += 1;
        self.report.tally.truncated += u64::from(truncated);
        // An empty line is common, an empty file is a surprise.
        if let (Some(file), None) = (&ticket.name.file, ticket.name.line)
            && tokens == self.embedder.special_tokens()
        {
            self.note(&format!("there is nothing to read in {}", terminal::name(file)));
        }
        let dimensions = self.embedder.dimensions();
        let numbers = match self.embedder.pooling().pooling {
            Pooling::None => Numbers::States(States {
                pieces: Pieces {
                    pieces: pieces.iter().map(|piece| self.embedder.token(piece.id)).collect(),
                    offsets: pieces.iter().map(|piece| (piece.start, piece.end)).collect(),
                },
                layers: &self.layers,
                hidden_states: (vector.chunks_exact((pieces.len() * dimensions).max(1)))
                    .map(|layer| layer.chunks_exact(dimensions).collect())
                    .collect(),
            }),
            Pooling::Mean | Pooling::First => Numbers::Vector { embedding: vector },
        };
        let model = self.embedder.name();
        self.output.vector(&Record { name: &ticket.name, numbers, dimensions, tokens, truncated, model })
    }

    fn error(&mut self, ticket: &Ticket, error: &stream::Error) -> Result<()> {
        if ticket.in_folder {
            match error {
                stream::Error::Document(binary) if binary.is_binary() => self.binaries.count(binary),
                _ => self.note(&format!("skipped: {error}")),
            }
            return Ok(());
        }
        self.report.tally.texts += 1;
        self.report.tally.errors += 1;
        let hint = hint(error);
        if self.output.is_matrix() {
            let what = format!("{}: {error}", terminal::name(&ticket.label()));
            let out = "a matrix has no place for an error; `--format jsonl` has";
            return Err(Usage::new(what, hint.unwrap_or_else(|| out.into())).into());
        }
        let failure = Failure { code: error.code(), message: error.to_string(), hint };
        self.output.failed(&Failed::new(ticket, &failure))
    }

    fn note(&mut self, text: &str) {
        if self.notes < NOTES {
            self.report.note(text);
        }
        self.notes += 1;
    }
}

/// What the sender of a text can do about an error.
fn hint(error: &stream::Error) -> Option<String> {
    use request::Error;
    match error {
        stream::Error::Request(
            Error::MissingField { .. }
            | Error::NotAnObject { .. }
            | Error::WrongType { .. }
            | Error::Conflict { .. },
        ) => Some(
            "a line is {\"id\": 7, \"text\": \"...\"}, {\"id\": 7, \"texts\": [\"...\"]} or a JSON string"
                .into(),
        ),
        stream::Error::Document(document::Error::TooLarge { .. }) => {
            Some("`--max-bytes` sets the limit".into())
        }
        _ => hints::stream(error),
    }
}
