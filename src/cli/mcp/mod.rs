//! `spanqa mcp`: the library's session for agents, with folders and a model.

use std::path::PathBuf;

use anyhow::Result;
use spanqa::mcp::{Loading, Ready, Roots, serve};
use spanqa::request::{FOUND, Options};

use super::Outcome;
use super::inputs::{DEFAULT_MAX_BYTES, FileArgs};
use super::options::{CareArgs, Read, ReaderArgs};
use super::sandbox::Sandbox;
use super::searching::FindArgs;
use super::walk;

/// Give agents exact quotations: a session of the Model Context Protocol on standard input and output
///
/// An agent, or an editor that holds one, starts this program and calls its tools: find_quotes answers a question with the words of a file,
/// search_passages shows the passages that say most about something, read_lines what stands around them, verify_quote says whether a quotation
/// is exact, status what can be read. Nothing outside the folders is read, and nothing leaves the machine; only a model of the hub that --model
/// names is fetched, if it is not there yet and unless --offline is given.
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
    /// On Linux: have the kernel keep the session to the folders, their indexes and the model's files. Only the indexes are written, no other
    /// machine is reached; the model has to be on this one
    #[arg(long, help_heading = "Files")]
    sandbox: bool,
    #[command(flatten)]
    find: FindArgs,
    #[command(flatten)]
    care: CareArgs,
    #[command(flatten)]
    reader: ReaderArgs,
}

pub fn run(args: &Args) -> Result<Outcome> {
    let roots = Roots::new(&args.root)?;
    let mut args = args.clone();
    if args.sandbox {
        args.reader.model.source.offline = true;
        // Before the first thread, so that all are in it.
        args.sandbox(roots.folders())?.enter()?;
    }
    let model = Loading::default();
    std::thread::spawn({
        let (args, model) = (args.clone(), model.clone());
        // Standard output belongs to the session; the reason goes to whoever calls.
        move || model.load(|| args.open().map_err(|error| super::message(&error)))
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
    serve(roots, Box::new(index), model)?;
    Ok(Outcome::Success)
}

impl Args {
    /// What may be read and written below and beside some folders.
    fn sandbox(&self, folders: &[PathBuf]) -> Result<Sandbox> {
        let ReaderArgs { model, runtime, .. } = &self.reader;
        let files = FileArgs::usual(DEFAULT_MAX_BYTES);
        let sandbox = Sandbox::new(&runtime.device)?.model(&model.model, &model.source)?;
        let sandbox = match self.find.embedder(folders, &files)? {
            Some(embedder) => sandbox.model(&embedder, &model.source)?,
            None => sandbox,
        };
        // Text of PDF files and the like is made by programs.
        let sandbox = sandbox.programs().write(self.find.indexes(folders, &files)?);
        Ok(sandbox.read(folders.to_vec()).read(walk::ignored_by(folders)))
    }

    fn open(&self) -> Result<Ready> {
        let resolved = self.reader.resolve(true)?;
        let decoding = self.care.decoding(&self.reader.decoding, &resolved, true)?;
        let reading = |usual| -> Result<Options> {
            let read = self.reader.read(usual);
            let limits = self.reader.limits.limits(read)?;
            Ok(Options { decoding: decoding.clone(), limits, read, ..Options::default() })
        };
        let options = reading(self.reader.decoding.reads())?;
        let searching = reading(Read::Best(FOUND))?.searching();
        Ok(Ready { reader: self.reader.open(&resolved, true)?, options, searching })
    }
}
