//! The command line: one file per command, and what several of them share.

mod ask;
mod attention;
mod batch;
mod chat;
mod clock;
mod compare;
mod data;
mod doctor;
mod embed;
mod eval;
mod export;
mod folders;
mod hints;
mod index;
mod inputs;
#[cfg(feature = "mcp")]
mod mcp;
mod meter;
mod models;
mod notice;
mod options;
mod output;
mod progress;
mod provenance;
mod rank;
#[cfg(any(feature = "mcp", feature = "serve"))]
mod sandbox;
mod search;
mod searching;
#[cfg(feature = "serve")]
mod serve;
mod session;
mod shell;
mod signals;
mod skipped;
mod stages;
mod stdout;
mod suggest;
mod target;
mod terminal;
mod train;
mod tune;
mod verify;
mod version;
mod waiting;
mod walk;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use spanqa::ErrorClass;

/// Quotes the span of a document that answers a question, or says that there is none.
#[derive(Parser)]
#[command(
    name = "spanqa",
    version = version::short(),
    long_version = version::long(),
    max_term_width = 110,
    styles = output::color::HELP,
    after_help = "Exit codes: 0 answered, 1 no answer, 2 error.\n\
                  Example: spanqa ask \"Who designed it?\" README.md"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Answer questions from files, standard input or a text
    Ask(Box<ask::Args>),
    /// Ask one question after another: the files stay loaded
    Chat(Box<chat::Args>),
    /// Find the passages of folders and corpora that a question is about
    Search(Box<search::Args>),
    /// Prepare folders and corpora for searching
    Index(Box<index::Args>),
    /// Put passages in order: those of files for a question, or those of JSON lines
    Rank(Box<rank::Args>),
    /// Answer a stream of requests: JSON lines or a table in, a record for each question out
    Batch(Box<batch::Args>),
    /// Make vectors of texts, to compare them by meaning
    Embed(Box<embed::Args>),
    /// Show what a model looks at, and which words moved its answer
    Attention(Box<attention::Args>),
    /// Answer requests over HTTP
    #[cfg(feature = "serve")]
    Serve(Box<serve::Args>),
    /// Give agents exact quotations: the Model Context Protocol
    #[cfg(feature = "mcp")]
    Mcp(Box<mcp::Args>),
    /// Score a model, or predictions, on a data set of questions with known answers
    Eval(Box<eval::Args>),
    /// Compare two sets of answers question by question
    Compare(Box<compare::Args>),
    /// Choose when a model should say "no answer", and how sure it may sound
    Tune(Box<tune::Args>),
    /// Fine-tune a model on questions with known answers
    Train(Box<train::Args>),
    /// Write a model for transformers, ONNX Runtime, transformers.js or llama.cpp
    Export(Box<export::Args>),
    /// List, fetch, inspect and check models
    Models(models::ModelsArgs),
    /// Print what a bug report needs: build, processor, devices, caches, environment
    Doctor(doctor::Args),
    /// Print a completion script for a shell
    Completions(shell::CompletionArgs),
    /// Print the manual page in roff
    Man(shell::ManArgs),
}

/// How a command ended, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did what was asked; every question was answered.
    Success,
    /// A question has no answer, or a thing that was looked for is not there.
    Negative,
    /// It went through, but not everything could be done.
    Failed,
    /// Something asked it to end; the exit code says what.
    Stopped(u8),
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Success => ExitCode::SUCCESS,
            Outcome::Negative => ExitCode::from(1),
            Outcome::Failed => ExitCode::from(2),
            Outcome::Stopped(code) => ExitCode::from(code),
        }
    }
}

/// Understands what was typed, or ends the program with what is wrong with it.
pub fn parse() -> Cli {
    let words = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    Cli::try_parse().unwrap_or_else(|error| suggest::nearer(error, words).exit())
}

/// Runs the command that was typed.
pub fn run(cli: Cli) -> Result<Outcome> {
    // Its session writes to standard output itself, which would wait for the lock that is taken below.
    #[cfg(feature = "mcp")]
    if let Command::Mcp(args) = &cli.command {
        return mcp::run(args);
    }
    let mut out = stdout::Stdout::new();
    run_command(cli.command, &mut out).map_err(|error| out.refused().map_or(error, anyhow::Error::from))
}

fn run_command(command: Command, out: &mut dyn Write) -> Result<Outcome> {
    let outcome = match command {
        Command::Ask(args) => ask::run(&args, out),
        Command::Chat(args) => chat::run(&args, out),
        Command::Search(args) => search::run(&args, out),
        Command::Index(args) => index::run(&args, out),
        Command::Rank(args) => rank::run(&args, out),
        Command::Batch(args) => batch::run(&args, out),
        Command::Embed(args) => embed::run(&args, out),
        Command::Attention(args) => attention::run(&args, out),
        #[cfg(feature = "serve")]
        Command::Serve(args) => serve::run(&args, out),
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => mcp::run(&args),
        Command::Eval(args) => eval::run(&args, out),
        Command::Compare(args) => compare::run(&args, out),
        Command::Tune(args) => tune::run(&args, out),
        Command::Train(args) => train::run(&args, out),
        Command::Export(args) => export::run(&args, out),
        Command::Models(args) => models::run(&args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Completions(args) => shell::completions(&args, out),
        Command::Man(args) => shell::man(&args, out),
    }?;
    out.flush()?;
    Ok(outcome)
}

/// A mistake in how the command was used, with the way out.
#[derive(Debug)]
pub struct Usage {
    message: String,
    hint: String,
}

impl Usage {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: hint.into() }
    }
}

impl std::fmt::Display for Usage {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for Usage {}

/// What happened, from the outside in. A cause that the message around it has told already is not told again.
pub fn message(error: &anyhow::Error) -> String {
    let told = error.chain().map(ToString::to_string).fold(String::new(), |told, cause| {
        if told.is_empty() {
            cause
        } else if told.contains(&cause) {
            told
        } else {
            format!("{told}: {cause}")
        }
    });
    terminal::message(&told).into_owned()
}

/// What the user can do about an error.
pub fn hint(error: &anyhow::Error) -> Option<String> {
    let hint = error.chain().find_map(|cause| {
        let usage = cause.downcast_ref::<Usage>().map(|usage| usage.hint.clone());
        usage.or_else(|| hints::advice(cause)?.hint)
    });
    hint.map(|hint| terminal::message(&hint).into_owned())
}

/// Who has to do something about an error: what is not the library's came from the system, unless it is a mistake in use.
pub fn class(error: &anyhow::Error) -> ErrorClass {
    let class = error.chain().find_map(|cause| match cause.downcast_ref::<Usage>() {
        Some(_) => Some(ErrorClass::Caller),
        None => hints::advice(cause).map(|advice| advice.class),
    });
    class.unwrap_or(ErrorClass::Machine)
}

/// How the program ends on an error of a class.
pub fn exit_code(class: ErrorClass) -> ExitCode {
    match class {
        ErrorClass::Caller | ErrorClass::Model | ErrorClass::Machine | ErrorClass::Network => {
            ExitCode::from(2)
        }
    }
}

/// Whether whoever read our output has gone away, which is their right.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| cause.kind() == io::ErrorKind::BrokenPipe)
}
