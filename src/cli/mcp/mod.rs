//! `spanqa mcp`: the library's session for agents, with folders and a model.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use spanqa::mcp::{Loading, Ready, Roots, serve};
use spanqa::request::Options;

use super::Outcome;
use super::inputs::{DEFAULT_MAX_BYTES, FileArgs};
use super::options::{CareArgs, ReaderArgs};
use super::searching::FindArgs;

/// Give agents exact quotations: a session of the Model Context Protocol on standard input and output
///
/// An agent, or an editor that holds one, starts this program and calls its tools: find_quotes answers a question with the words of a file,
/// search_passages shows the passages that say most about something, read_lines what stands around them, verify_quote says whether a quotation
/// is exact, status what can be read. Nothing is fetched, and nothing outside the folders is read.
///
/// Folders that `spanqa index` has indexed are searched by that index, which is brought up to date with each call; those that have none are
/// read file by file, and nothing is written.
///
/// The session begins at once; the model is loaded behind it. It ends when the input ends.
#[derive(clap::Args, Clone)]
pub struct Args {
    /// A folder below which files may be read; may be repeated
    #[arg(long, value_name = "DIR", required = true, num_args = 1.., help_heading = "Files")]
    root: Vec<PathBuf>,
    #[command(flatten)]
    find: FindArgs,
    #[command(flatten)]
    care: CareArgs,
    #[command(flatten)]
    reader: ReaderArgs,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let roots = Roots::new(&args.root)?;
    let model = Loading::default();
    std::thread::spawn({
        let (args, model) = (args.clone(), model.clone());
        // Standard output belongs to the session; the reason goes to whoever calls.
        move || model.done(args.open().map_err(|error| super::message(&error)))
    });
    let folders = roots.folders().to_vec();
    let index = {
        let args = args.clone();
        move || {
            let files = FileArgs::usual(DEFAULT_MAX_BYTES);
            let opened = args.find.open_if_there(&folders, &files, &args.reader);
            opened.map_err(|error| super::message(&error))
        }
    };
    serve(roots, Arc::new(index), model)?;
    Ok(Outcome::Success)
}

impl Args {
    fn open(&self) -> Result<Ready> {
        let read = self.reader.read(self.reader.decoding.reads());
        let limits = self.reader.limits.limits(read)?;
        let resolved = self.reader.resolve(true)?;
        let decoding = self.care.decoding(&self.reader.decoding, &resolved, true)?;
        let options = Options { decoding, limits, read, ..Options::default() };
        Ok(Ready { reader: self.reader.open(&resolved, true)?, options })
    }
}
