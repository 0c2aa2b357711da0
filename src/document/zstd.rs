//! Zstandard files: frames behind one another, some of which only carry notes.

use std::error::Error;
use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Decompresses all frames of a source.
pub(super) struct ZstdFrames<R> {
    source: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> ZstdFrames<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, decoder: FrameDecoder::new(), inside: false }
    }

    /// Goes to the next frame that holds data. False at the end.
    fn advance(&mut self) -> io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(damage(&error)),
            }
        }
        Ok(false)
    }
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if !self.inside {
                self.inside = self.advance()?;
                if !self.inside {
                    return Ok(0);
                }
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let step = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, step).map_err(|error| damage(&error))?;
            }
            let read = self.decoder.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            let (stored, computed) =
                (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
            if stored.is_some() && stored != computed {
                return Err(io::Error::other("the checksum of a Zstandard frame is wrong"));
            }
            self.inside = false;
        }
    }
}

/// What is wrong, in words. The decoder's own are the names of its types.
fn damage(error: &(dyn Error + 'static)) -> io::Error {
    let mut cause = Some(error);
    while let Some(error) = cause {
        // A disk that cannot be read has a reason of its own.
        if let Some(error) = error.downcast_ref::<io::Error>().filter(|error| error.raw_os_error().is_some())
        {
            return io::Error::new(error.kind(), error.to_string());
        }
        cause = error.source();
    }
    // Not every one of its errors hands out its cause.
    if format!("{error:?}").contains("UnexpectedEof") {
        io::Error::new(io::ErrorKind::UnexpectedEof, "it ends too early")
    } else {
        io::Error::new(io::ErrorKind::InvalidData, "its content is damaged")
    }
}
