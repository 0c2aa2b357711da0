//! Pages of a column: found in the file, without compression.

use std::io::{Read, Seek, SeekFrom};

use flate2::Crc;

use super::bytes::Bytes;
use super::error::{Error, Result};
use super::footer::Chunk;
use super::thrift::{Kind, Thrift};
use crate::document::compression::{Compression, unpack};

/// The largest page in bytes. Most have one or two million.
const LARGEST: usize = 256 << 20;
/// How much of a column is read to find the header of a page in it, at first and at most: it may tell the page's least and greatest text.
const HEADER: u64 = 4 << 10;
const LONGEST_HEADER: u64 = 16 << 20;
/// Snappy writes at most 64 bytes for every 3.
const SNAPPY_GROWTH: usize = 22;

/// A page without compression.
pub(super) struct Page {
    pub kind: PageKind,
    /// Values, nulls included.
    pub values: u64,
    pub encoding: i32,
    pub bytes: Bytes,
}

pub(super) enum PageKind {
    Dictionary,
    /// Levels stand before the values, each kind with its length before it.
    Data,
    /// The same, with lengths told in the header.
    Data2 {
        repetition: usize,
        definition: usize,
    },
}

/// Reads the pages of a column one after another.
pub(super) struct Pages {
    codec: i32,
    at: u64,
    end: u64,
}

#[derive(Default)]
struct Header {
    kind: i32,
    uncompressed: usize,
    compressed: usize,
    checksum: Option<i32>,
    values: u64,
    encoding: i32,
    repetition: usize,
    definition: usize,
    packed: bool,
}

impl Pages {
    pub(super) fn new(chunk: &Chunk) -> Self {
        Self { codec: chunk.codec, at: chunk.start, end: chunk.start + chunk.bytes }
    }

    /// The next page with values or with a dictionary; `None` behind the last one.
    pub(super) fn next(&mut self, source: &mut (impl Read + Seek)) -> Result<Option<Page>> {
        while self.at < self.end {
            let header = self.header(source)?;
            if header.compressed as u64 > self.end - self.at {
                return Err(Error::damaged("a page is longer than its column"));
            }
            if header.compressed.max(header.uncompressed) > LARGEST {
                return Err(Error::unsupported(format!(
                    "a page has {} bytes; {LARGEST} are the most that are read",
                    header.compressed.max(header.uncompressed)
                )));
            }
            let mut stored = vec![0; header.compressed];
            source.seek(SeekFrom::Start(self.at))?;
            source.read_exact(&mut stored)?;
            self.at += header.compressed as u64;
            let kind = match header.kind {
                0 => PageKind::Data,
                2 => PageKind::Dictionary,
                3 => PageKind::Data2 { repetition: header.repetition, definition: header.definition },
                // Something else, which values do not need.
                _ => continue,
            };
            if let Some(expected) = header.checksum {
                let mut found = Crc::new();
                found.update(&stored);
                if found.sum() != expected as u32 {
                    return Err(Error::damaged("the checksum of a page is wrong"));
                }
            }
            let bytes = self.plain(stored, &header)?.into();
            return Ok(Some(Page { kind, values: header.values, encoding: header.encoding, bytes }));
        }
        Ok(None)
    }

    /// Reads the header of the next page, and goes behind it.
    fn header(&mut self, source: &mut (impl Read + Seek)) -> Result<Header> {
        let mut most = HEADER;
        loop {
            let count = most.min(self.end - self.at);
            let mut bytes = vec![0; count as usize];
            source.seek(SeekFrom::Start(self.at))?;
            source.read_exact(&mut bytes)?;
            let mut thrift = Thrift::new(&bytes);
            match header(&mut thrift) {
                Ok(header) => {
                    self.at += thrift.at() as u64;
                    return Ok(header);
                }
                // It may go on behind what was read.
                Err(_) if count == most && most < LONGEST_HEADER => most *= 8,
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes compression off. In newer pages the levels have none.
    fn plain(&self, mut stored: Vec<u8>, header: &Header) -> Result<Vec<u8>> {
        let levels = header.repetition.saturating_add(header.definition);
        if levels > stored.len() || levels > header.uncompressed {
            return Err(Error::damaged("a page has more levels than bytes"));
        }
        if !header.packed || self.codec == 0 {
            return Ok(stored);
        }
        let values = stored.split_off(levels);
        let expected = header.uncompressed - levels;
        let unpacked = match self.codec {
            _ if expected == 0 => Vec::new(),
            1 => snappy(&values, expected)?,
            2 => through(&values, Compression::Gzip, expected)?,
            6 => through(&values, Compression::Zstandard, expected)?,
            other => {
                let name = match other {
                    3 => "LZO",
                    4 => "Brotli",
                    5 | 7 => "LZ4",
                    _ => "something unknown",
                };
                let reason =
                    format!("it is compressed by {name}; what is read is snappy, zstd, gzip and none");
                return Err(Error::unsupported(reason));
            }
        };
        if unpacked.len() != expected {
            return Err(Error::damaged("a page has another length than it says"));
        }
        stored.extend(unpacked);
        Ok(stored)
    }
}

fn snappy(bytes: &[u8], expected: usize) -> Result<Vec<u8>> {
    let damaged = |_| Error::damaged("a page cannot be decompressed");
    let length = snap::raw::decompress_len(bytes).map_err(damaged)?;
    if length != expected || length > bytes.len().saturating_mul(SNAPPY_GROWTH) {
        return Err(Error::damaged("a page has another length than it says"));
    }
    snap::raw::Decoder::new().decompress_vec(bytes).map_err(damaged)
}

/// Takes off a compression that files have, too. No more is kept than is expected.
fn through(bytes: &[u8], expected: Compression, length: usize) -> Result<Vec<u8>> {
    let damaged = |error: std::io::Error| Error::damaged(format!("a page cannot be decompressed: {error}"));
    let (found, unpacked) = unpack(bytes).map_err(damaged)?;
    if found != Some(expected) {
        return Err(Error::damaged("a page is compressed in another way than it says"));
    }
    let mut plain = Vec::new();
    unpacked.take(length as u64 + 1).read_to_end(&mut plain).map_err(damaged)?;
    Ok(plain)
}

fn header(thrift: &mut Thrift) -> Result<Header> {
    let mut header = Header { packed: true, ..Header::default() };
    thrift.fields(|thrift, id, kind| {
        match id {
            1 => header.kind = thrift.int(kind)?,
            2 => header.uncompressed = thrift.int(kind)?,
            3 => header.compressed = thrift.int(kind)?,
            4 => header.checksum = Some(thrift.int(kind)?),
            5 | 7 => thrift.structure(kind, |thrift, id, kind| {
                match id {
                    1 => header.values = thrift.int(kind)?,
                    2 => header.encoding = thrift.int(kind)?,
                    _ => thrift.skip(kind)?,
                }
                Ok(())
            })?,
            8 => thrift.structure(kind, |thrift, id, kind| {
                match id {
                    1 => header.values = thrift.int(kind)?,
                    4 => header.encoding = thrift.int(kind)?,
                    5 => header.definition = thrift.int(kind)?,
                    6 => header.repetition = thrift.int(kind)?,
                    7 if matches!(kind, Kind::True | Kind::False) => header.packed = thrift.truth(kind)?,
                    _ => thrift.skip(kind)?,
                }
                Ok(())
            })?,
            _ => thrift.skip(kind)?,
        }
        Ok(())
    })?;
    Ok(header)
}
