//! Takes compression off. It is recognised by the first bytes and not by a name.

use std::fmt;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;

use super::zstd::ZstdFrames;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `.gz`
    Gzip,
    /// `.zst`
    Zstandard,
    /// `.bz2`
    Bzip2,
}

impl fmt::Display for Compression {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Zstandard => "zstd",
            Compression::Bzip2 => "bzip2",
        })
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTANDARD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// After it come a digit and the number of a block, or that of the end: text may begin with these letters, too.
const BZIP2: &[u8] = b"BZh";
const BZIP2_BLOCK: &[u8] = &[0x31, 0x41, 0x59, 0x26, 0x53, 0x59];
const BZIP2_END: &[u8] = &[0x17, 0x72, 0x45, 0x38, 0x50, 0x90];

impl Compression {
    /// What begins with these bytes.
    pub fn of(first: &[u8]) -> Option<Self> {
        if first.starts_with(GZIP) {
            Some(Compression::Gzip)
        } else if first.starts_with(ZSTANDARD) {
            Some(Compression::Zstandard)
        } else if first.starts_with(BZIP2)
            && first.get(4..10).is_some_and(|block| block == BZIP2_BLOCK || block == BZIP2_END)
        {
            Some(Compression::Bzip2)
        } else {
            None
        }
    }

    /// Whether more bytes are needed to tell.
    fn is_open(first: &[u8]) -> bool {
        let like = |mark: &[u8]| mark.starts_with(first) && first.len() < mark.len();
        let bzip2 = [BZIP2_BLOCK, BZIP2_END].iter().any(|block| {
            first.starts_with(BZIP2)
                && (first.len() == 3 || first.get(4..).is_some_and(|rest| block.starts_with(rest)))
        });
        like(GZIP) || like(ZSTANDARD) || like(BZIP2) || (bzip2 && first.len() < 10)
    }
}

/// What comes out of a source.
pub type Unpacked<'a> = Box<dyn BufRead + 'a>;

/// Reads a source without the compression that it may have, and says which it was.
pub fn unpack<'a>(source: impl Read + 'a) -> io::Result<(Option<Compression>, Unpacked<'a>)> {
    let mut source = BufReader::with_capacity(1 << 16, source);
    let first = first_bytes(&mut source, Compression::is_open)?;
    let found = Compression::of(&first);
    let whole = BufReader::new(Cursor::new(first).chain(source));
    let unpacked: Unpacked = match found {
        None => Box::new(whole),
        Some(Compression::Gzip) => Box::new(BufReader::new(MultiGzDecoder::new(whole))),
        Some(Compression::Zstandard) => Box::new(BufReader::new(ZstdFrames::new(whole))),
        Some(Compression::Bzip2) => Box::new(BufReader::new(MultiBzDecoder::new(whole))),
    };
    Ok((found, unpacked))
}

/// Takes bytes one by one, and only as long as more of them are needed: the first line of somebody who writes slowly must not wait
/// for the second one.
pub fn first_bytes(source: &mut impl BufRead, more: impl Fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    while more(&first) {
        match source.by_ref().bytes().next() {
            Some(byte) => first.push(byte?),
            None => break,
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read(bytes: &[u8]) -> (Option<Compression>, io::Result<String>) {
        let (found, mut unpacked) = unpack(bytes).unwrap();
        let mut text = String::new();
        (found, unpacked.read_to_string(&mut text).map(|_| text))
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    }

    fn bzip2(text: &str) -> Vec<u8> {
        let mut out = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        out.write_all(text.as_bytes()).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn compression_is_told_by_the_first_bytes() {
        let zstandard = ruzstd::encoding::compress_to_vec(
            "the sea".as_bytes(),
            ruzstd::encoding::CompressionLevel::Fastest,
        );
        for (bytes, expected) in [
            (gzip("the sea"), Compression::Gzip),
            (bzip2("the sea"), Compression::Bzip2),
            (zstandard, Compression::Zstandard),
        ] {
            let (found, text) = read(&bytes);
            assert_eq!((found, text.unwrap().as_str()), (Some(expected), "the sea"));
            let (_, cut) = read(&bytes[..bytes.len() - 3]);
            assert!(cut.is_err(), "{expected}");
        }
        let twice = [bzip2("a"), bzip2("b")].concat();
        assert_eq!(read(&twice).1.unwrap(), "ab");
        assert_eq!(read(&bzip2("")).1.unwrap(), "");
    }

    #[test]
    fn what_only_begins_like_a_mark_is_left_alone() {
        for text in ["", "B", "BZh", "BZh9", "BZh91", "BZh91AY is not it", "BZhang met us", "(", "\u{1f}"] {
            let (found, read) = read(text.as_bytes());
            assert_eq!((found, read.unwrap().as_str()), (None, text));
        }
    }

    #[test]
    fn no_byte_is_read_that_is_not_needed() {
        let is_open = Compression::is_open;
        assert!(is_open(b"") && is_open(b"BZ") && is_open(b"BZh9") && is_open(b"BZh91AY"));
        assert!(!is_open(b"{") && !is_open(b"BZx") && !is_open(b"BZh9x") && !is_open(GZIP));
    }
}
