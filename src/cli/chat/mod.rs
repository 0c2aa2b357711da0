//! `spanqa chat`: the documents stay loaded, and questions come one by one.

mod lines;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;

use self::lines::{Line, Lines};
use super::inputs::InputArgs;
use super::output::Format;
use super::session::{Manner, Session, SessionArgs};
use super::{Outcome, Usage, signals, terminal, walk};

/// Ask one question after another: the files stay loaded
///
/// Questions are typed at a prompt, one a line; the arrow keys bring back earlier ones, those of earlier days included. Ctrl-C takes back
/// the question under way; Ctrl-D leaves, as `exit` and `quit` do. If standard input is no terminal, each line of it is a question.
///
/// Exits 0 after Ctrl-D. With questions from a pipe it exits as `spanqa ask` does: 1 if one was not answered.
#[derive(clap::Args)]
#[command(after_help = "Example: spanqa chat README.md docs/*.md")]
pub struct Args {
    /// The files to read
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Neither read nor write the file of earlier questions
    #[arg(long)]
    no_history: bool,
    #[command(flatten)]
    session: SessionArgs,
}

/// What somebody types at a prompt who wants to leave.
const GOODBYES: [&str; 2] = ["exit", "quit"];

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.session.inputs.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    args.refuse_standard_input()?;
    let at_prompt = io::stdin().is_terminal();
    let typed = at_prompt && io::stdout().is_terminal();
    let mut session =
        Session::open(&args.session, &args.files, &Manner { format: Format::Text, several: true, typed })?;
    // Whoever pipes questions ends the program with an interrupt, as any other one.
    let stop = if at_prompt { signals::flag()? } else { Arc::default() };
    let mut lines = Lines::open(typed, at_prompt, !args.no_history);
    if at_prompt && !args.session.quiet {
        terminal::note(welcome(&session));
    }
    let outcome = ask_all(&mut session, &mut lines, at_prompt, &stop, out)?;
    session.close();
    Ok(if at_prompt { Outcome::Success } else { outcome })
}

fn ask_all(
    session: &mut Session,
    lines: &mut Lines,
    at_prompt: bool,
    stop: &AtomicBool,
    out: &mut dyn Write,
) -> Result<Outcome> {
    let mut outcome = Outcome::Success;
    let mut number = 0;
    loop {
        let question = match lines.next()? {
            Line::Typed(question) if at_prompt && GOODBYES.contains(&question.trim()) => break,
            Line::Typed(question) => question,
            Line::TakenBack => continue,
            Line::End => break,
        };
        if question.trim().is_empty() {
            continue;
        }
        number += 1;
        stop.store(false, Ordering::Relaxed);
        match session.ask([(number, question)], stop, out)? {
            Some(Outcome::Success) => {}
            Some(Outcome::Negative) if outcome == Outcome::Failed => {}
            Some(other) => outcome = other,
            None => terminal::note("taken back"),
        }
    }
    Ok(outcome)
}

fn welcome(session: &Session) -> String {
    format!("{}; Ctrl-C takes a question back, Ctrl-D leaves", session.extent())
}

impl Args {
    /// Questions come from there, so documents cannot.
    fn refuse_standard_input(&self) -> Result<()> {
        let InputArgs { contexts, recursive, .. } = &self.session.inputs;
        let named = !self.files.is_empty() || !contexts.is_empty() || *recursive || self.session.search;
        if named && self.files.iter().all(|file| file.as_os_str() != "-") {
            return Ok(());
        }
        let what = "chat reads questions from standard input, so its documents have to be files";
        Err(Usage::new(what, "name them: spanqa chat FILE...").into())
    }
}
