//! Thrift's compact protocol, in which Parquet writes its headers. Structures are read field by field; what nobody asks for is skipped.

use super::bytes::zigzag;
use super::error::{Error, Result};

/// How deep structures may lie in each other.
const DEEPEST: usize = 32;

/// Reads from the front of a header.
pub(super) struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// What a field holds.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
    True,
    False,
    Byte,
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
}

impl Kind {
    fn of(code: u8) -> Result<Self> {
        Ok(match code {
            1 => Kind::True,
            2 => Kind::False,
            3 => Kind::Byte,
            4..=6 => Kind::Int,
            7 => Kind::Double,
            8 => Kind::Binary,
            9 | 10 => Kind::List,
            11 => Kind::Map,
            12 => Kind::Struct,
            _ => return Err(damaged()),
        })
    }

    /// In lists and maps a truth value takes a byte; in fields it is the kind itself. So every element takes a byte at least.
    fn of_element(code: u8) -> Result<Self> {
        Ok(match Self::of(code)? {
            Kind::True | Kind::False => Kind::Byte,
            kind => kind,
        })
    }
}

fn damaged() -> Error {
    Error::damaged("a header cannot be understood")
}

impl<'a> Thrift<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that were read.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Hands every field of a structure to somebody who reads or skips it.
    pub(super) fn fields(&mut self, mut read: impl FnMut(&mut Self, i16, Kind) -> Result<()>) -> Result<()> {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            id = match head >> 4 {
                0 => i16::try_from(zigzag(self.varint()?)).map_err(|_| damaged())?,
                step => id.checked_add(step.into()).ok_or_else(damaged)?,
            };
            read(self, id, Kind::of(head & 15)?)?;
        }
    }

    /// Hands every element of a list to somebody who reads or skips it.
    pub(super) fn list(
        &mut self,
        kind: Kind,
        mut read: impl FnMut(&mut Self, Kind) -> Result<()>,
    ) -> Result<()> {
        self.expect(kind, Kind::List)?;
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.varint()?,
            count => count.into(),
        };
        if count == 0 {
            return Ok(());
        }
        let kind = Kind::of_element(head & 15)?;
        for _ in 0..count {
            read(self, kind)?;
        }
        Ok(())
    }

    /// A structure as field of another one.
    pub(super) fn structure(
        &mut self,
        kind: Kind,
        read: impl FnMut(&mut Self, i16, Kind) -> Result<()>,
    ) -> Result<()> {
        self.expect(kind, Kind::Struct)?;
        self.fields(read)
    }

    pub(super) fn int<T: TryFrom<i64>>(&mut self, kind: Kind) -> Result<T> {
        let number = match kind {
            Kind::Byte => (self.byte()? as i8).into(),
            Kind::Int => zigzag(self.varint()?),
            _ => return Err(damaged()),
        };
        T::try_from(number).map_err(|_| damaged())
    }

    pub(super) fn truth(&mut self, kind: Kind) -> Result<bool> {
        match kind {
            Kind::True => Ok(true),
            Kind::False => Ok(false),
            _ => Err(damaged()),
        }
    }

    pub(super) fn text(&mut self, kind: Kind) -> Result<String> {
        self.expect(kind, Kind::Binary)?;
        let length = self.varint()?;
        Ok(String::from_utf8_lossy(self.take(length)?).into_owned())
    }

    pub(super) fn skip(&mut self, kind: Kind) -> Result<()> {
        self.skip_below(kind, DEEPEST)
    }

    fn skip_below(&mut self, kind: Kind, depth: usize) -> Result<()> {
        let depth = depth.checked_sub(1).ok_or_else(damaged)?;
        match kind {
            Kind::True | Kind::False => Ok(()),
            Kind::Byte => self.byte().map(drop),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Binary => {
                let length = self.varint()?;
                self.take(length).map(drop)
            }
            Kind::List => self.list(kind, |thrift, kind| thrift.skip_below(kind, depth)),
            Kind::Struct => self.fields(|thrift, _, kind| thrift.skip_below(kind, depth)),
            Kind::Map => {
                let count = self.varint()?;
                let kinds = if count == 0 { 0 } else { self.byte()? };
                for _ in 0..count {
                    self.skip_below(Kind::of_element(kinds >> 4)?, depth)?;
                    self.skip_below(Kind::of_element(kinds & 15)?, depth)?;
                }
                Ok(())
            }
        }
    }

    fn expect(&self, found: Kind, expected: Kind) -> Result<()> {
        if found == expected { Ok(()) } else { Err(damaged()) }
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let count = usize::try_from(count).ok().filter(|count| *count <= rest.len()).ok_or_else(damaged)?;
        self.at += count;
        Ok(&rest[..count])
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(damaged())
    }
}
