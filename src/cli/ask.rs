//! `spanqa ask`: questions against files, standard input or a text.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Result;

use super::hints::files::quoted;
use super::output::Format;
use super::session::{Manner, Session, SessionArgs};
use super::{Outcome, Usage, terminal, walk};

/// Answer questions from files, standard input or a text
///
/// Every file is one document. Several documents are read as one: their answers compete, and "no answer" means that none of them
/// answers. Without files the text is read from standard input.
///
/// Exits 0 if every question was answered, 1 if one was not, 2 after an error.
#[derive(clap::Args)]
#[command(override_usage = "spanqa ask [OPTIONS] <QUESTION> [FILE]...\n       \
                            spanqa ask [OPTIONS] -q <QUESTION>... [FILE]...")]
pub struct Args {
    /// The question, in quotes, unless it is given with -q; then the files to read, or - for standard input
    #[arg(value_name = "QUESTION] [FILE")]
    words: Vec<OsString>,
    /// A question; may be repeated
    #[arg(short, long = "question", value_name = "QUESTION")]
    questions: Vec<String>,
    #[command(flatten)]
    session: SessionArgs,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.session.inputs.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    let (questions, files) = args.split()?;
    let manner = Manner { format: Format::Json, several: questions.len() > 1, typed: false };
    let mut session = Session::open(&args.session, &files, &manner)?;
    // Nobody sets this: an interrupt ends the program.
    let never = AtomicBool::new(false);
    let outcome = session.ask((1..).zip(questions), &never, out)?;
    session.close();
    Ok(outcome.unwrap_or(Outcome::Failed))
}

impl Args {
    /// The questions and the files among what was typed.
    fn split(&self) -> Result<(Vec<String>, Vec<PathBuf>)> {
        let mut words = self.words.iter();
        let mut questions = self.questions.clone();
        if questions.is_empty() {
            let hint = "spanqa ask \"Who wrote it?\" FILE, or -q \"...\" for each of several questions";
            let word = words.next().ok_or_else(|| Usage::new("there is no question", hint))?;
            let question = word.to_str().ok_or_else(|| {
                Usage::new("the question is not valid UTF-8", "type it in a UTF-8 terminal")
            })?;
            questions.push(question.to_owned());
        }
        if let Some(blank) = questions.iter().position(|question| question.trim().is_empty()) {
            return Err(Usage::new(
                format!("question {} is empty", blank + 1),
                "type a question, in quotes: spanqa ask \"Who wrote it?\" FILE",
            )
            .into());
        }
        let files: Vec<PathBuf> = words.map(PathBuf::from).collect();
        if self.questions.is_empty() {
            self.refuse_no_question(&questions, &files)?;
        } else {
            self.refuse_question_as_file(&files)?;
        }
        Ok((questions, files))
    }

    /// A lone word that names a file or a folder is a forgotten question, not a question.
    fn refuse_no_question(&self, questions: &[String], files: &[PathBuf]) -> Result<()> {
        let [only] = questions else { return Ok(()) };
        let path = Path::new(only);
        if !files.is_empty() || !self.session.inputs.contexts.is_empty() || !path.exists() {
            return Ok(());
        }
        let (kind, flag) = match (path.is_dir(), self.session.search) {
            (true, true) => ("folder", "--search "),
            (false, true) => ("file", "--search "),
            (true, false) => ("folder", "-r "),
            (false, false) => ("file", ""),
        };
        let name = terminal::name(only);
        Err(Usage::new(
            format!("{name} is a {kind}, and there is no question"),
            format!("put the question first: spanqa ask \"Who wrote it?\" {flag}{}", quoted(&name)),
        )
        .into())
    }

    /// With -q a question among the files is one that lacks its own -q.
    fn refuse_question_as_file(&self, files: &[PathBuf]) -> Result<()> {
        let Some(first) = files.first().filter(|path| !path.exists()) else { return Ok(()) };
        let text = first.to_string_lossy();
        if !text.trim().contains(char::is_whitespace) && !text.ends_with('?') {
            return Ok(());
        }
        let text = terminal::name(&text);
        let flags = std::iter::once(&*text).chain(self.questions.iter().map(String::as_str));
        let flags: Vec<String> =
            flags.map(|question| format!("-q {}", quoted(&terminal::name(question)))).collect();
        let files: Vec<String> =
            (files[1..].iter()).map(|file| quoted(&terminal::name(&file.to_string_lossy()))).collect();
        Err(Usage::new(
            format!("with -q everything else is a file, and there is no file \"{text}\""),
            format!("give each question its -q: spanqa ask {} {}", flags.join(" "), files.join(" ")),
        )
        .into())
    }
}
