//! Standard output, which may be a full disk: an error of the system names no file, and here it gets its name.

use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use super::Usage;

/// What commands print to.
pub struct Stdout {
    out: BufWriter<StdoutLock<'static>>,
    refused: Option<io::Error>,
}

impl Stdout {
    pub fn new() -> Self {
        Self { out: BufWriter::new(io::stdout().lock()), refused: None }
    }

    /// What the system said when it took no more. That a reader went away is no trouble.
    pub fn refused(&mut self) -> Option<Usage> {
        let error = self.refused.take()?;
        let hint = match error.kind() {
            ErrorKind::StorageFull => "free some space, or send the output elsewhere",
            _ => "check where standard output goes",
        };
        Some(Usage::new(format!("cannot write to standard output: {error}"), hint))
    }

    fn kept<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result
            && !matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted)
        {
            let copy = error.raw_os_error().map(io::Error::from_raw_os_error);
            self.refused = Some(copy.unwrap_or_else(|| error.kind().into()));
        }
        result
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.kept(result)
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.kept(result)
    }
}
