//! Other programs that make text of a file. Their arguments never pass through a shell.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::kind::{Kind, Office};

/// A program that makes text of a kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Converter {
    /// The program.
    pub program: &'static str,
    /// What its text is said to be from, in records.
    pub format: &'static str,
    /// What such a file is.
    pub what: &'static str,
    before: &'static [&'static str],
    after: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

/// PDF: a form feed ends each page.
const PDFTOTEXT: Converter = Converter {
    program: "pdftotext",
    format: "pdf",
    what: Kind::Pdf.describe(),
    before: &["-enc", "UTF-8"],
    after: &["-"],
    environment: &[],
};

/// The source of a manual page: 80 columns and hyphens in Unicode, whoever asks.
pub const MAN: Converter = Converter {
    program: "man",
    format: "roff",
    what: "the source of a manual page",
    before: &["-P", "cat", "-l"],
    after: &[],
    environment: &[("MANWIDTH", "80"), ("LC_ALL", "C.UTF-8"), ("MAN_KEEP_FORMATTING", "")],
};

const fn pandoc(kind: Kind, format: &'static str, before: &'static [&'static str]) -> Converter {
    Converter { program: "pandoc", format, what: kind.describe(), before, after: &[], environment: &[] }
}

impl Converter {
    /// What makes text of a kind of file, if something does.
    pub fn of(kind: Kind) -> Option<Self> {
        // Not wrapped: a paragraph is a line.
        let office = |office| match office {
            Office::Docx => pandoc(kind, "docx", &["-t", "plain", "--wrap=none", "-f", "docx"]),
            Office::Odt => pandoc(kind, "odt", &["-t", "plain", "--wrap=none", "-f", "odt"]),
            Office::Epub => pandoc(kind, "epub", &["-t", "plain", "--wrap=none", "-f", "epub"]),
            Office::Rtf => pandoc(kind, "rtf", &["-t", "plain", "--wrap=none", "-f", "rtf"]),
        };
        match kind {
            Kind::Pdf => Some(PDFTOTEXT),
            Kind::Office(kind) => Some(office(kind)),
            _ => None,
        }
    }

    /// What it makes of a file.
    pub fn run(&self, file: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut command = Command::new(self.program);
        command.args(self.before).arg(operand(file)).args(self.after).stdin(Stdio::null());
        command.envs(self.environment.iter().copied());
        output(command, limit)
    }

    /// The same for bytes that no file has in this form.
    pub fn run_on(&self, bytes: &mut dyn Read, limit: u64) -> Result<Vec<u8>, Failure> {
        let mut copy = || {
            let mut file = tempfile::NamedTempFile::new()?;
            // One byte more than allowed tells a file of the largest size from a larger one.
            let copied = io::copy(&mut bytes.take(limit.saturating_add(1)), &mut file)?;
            file.flush()?;
            Ok((file, copied))
        };
        let (file, copied) = copy().map_err(|error: io::Error| Failure::Failed(error.to_string()))?;
        if copied > limit { Err(Failure::TooLarge) } else { self.run(file.path(), limit) }
    }
}

/// What a command of the user's makes of a file, which it gets by its path and on standard input.
pub fn preprocess(command: &Path, file: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let input = std::fs::File::open(file).map_err(|error| Failure::Failed(error.to_string()))?;
    let mut call = Command::new(command);
    call.arg(operand(file)).stdin(input);
    output(call, limit)
}

/// A path that no program takes for a flag.
fn operand(file: &Path) -> OsString {
    match file.as_os_str().as_encoded_bytes().first() {
        Some(b'-') => PathBuf::from(".").join(file).into_os_string(),
        _ => OsStr::to_owned(file.as_os_str()),
    }
}

/// Why a program gave no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such program.
    Missing,
    /// Its text is longer than is allowed.
    TooLarge,
    /// It failed, and said this.
    Failed(String),
}

/// What a command prints, if it succeeds.
fn output(mut command: Command, limit: u64) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Failed(error.to_string());
    let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::Missing),
        Err(error) => return Err(failed(error)),
    };
    let (printed, said) = listen(&mut child, limit).map_err(failed)?;
    if printed.len() as u64 > limit {
        // It may still be printing, and nobody reads it any more.
        let _ = child.kill();
        let _ = child.wait();
        return Err(Failure::TooLarge);
    }
    let status = child.wait().map_err(failed)?;
    if status.success() {
        return Ok(printed);
    }
    let reason = first_line(&String::from_utf8_lossy(&said));
    Err(Failure::Failed(reason.unwrap_or_else(|| format!("it ended with {status}"))))
}

/// What a program says first; with the next line, where the first one only announces it.
fn first_line(said: &str) -> Option<String> {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next()?;
    Some(match lines.next().filter(|_| first.ends_with(':')) {
        Some(next) => format!("{first} {next}"),
        None => first.to_owned(),
    })
}

/// Bytes of what a program says about its troubles that are kept.
const REMARKS: u64 = 1 << 14;

/// What a program prints, one byte more than allowed at most, and what it says on standard error. Both are read at once: a program
/// that waits for one to be read does not go on with the other.
fn listen(child: &mut Child, limit: u64) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let remarks = scope.spawn(move || {
            let mut said = Vec::new();
            if let Some(mut stderr) = stderr {
                // What cannot be read is only missing from a message.
                let _ = stderr.by_ref().take(REMARKS).read_to_end(&mut said);
                let _ = io::copy(&mut stderr, &mut io::sink());
            }
            said
        });
        let mut printed = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(limit.saturating_add(1)).read_to_end(&mut printed)?;
            if printed.len() as u64 > limit {
                // Its standard error would only end with it.
                child.kill()?;
            }
        }
        Ok((printed, remarks.join().unwrap_or_default()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_is_a_flag() {
        assert_eq!(operand(Path::new("-o")), "./-o");
        assert_eq!(operand(Path::new("a/-o")), "a/-o");
    }

    #[test]
    fn what_a_program_says_is_one_line() {
        let said = "\nError at \"a.rtf\" (line 3, column 1):\n  unexpected end of input\n^\n";
        let line = "Error at \"a.rtf\" (line 3, column 1): unexpected end of input";
        assert_eq!(first_line(said).as_deref(), Some(line));
        assert_eq!(first_line("no luck\nat all").as_deref(), Some("no luck"));
        assert_eq!((first_line("only:").as_deref(), first_line(" \n")), (Some("only:"), None));
    }

    #[test]
    fn a_program_that_is_not_there_is_missing() {
        assert_eq!(output(Command::new("no-such-program-at-all"), 9), Err(Failure::Missing));
    }
}
