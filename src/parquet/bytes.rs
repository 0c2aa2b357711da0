//! A piece of a page that many values may share.

use std::ops::Deref;
use std::rc::Rc;

use super::error::{Error, Result};

/// Bytes of a page. Copies share them.
#[derive(Clone, Debug)]
pub(super) struct Bytes {
    all: Rc<[u8]>,
    start: usize,
    end: usize,
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        let end = bytes.len();
        Self { all: bytes.into(), start: 0, end }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.all[self.start..self.end]
    }
}

impl Bytes {
    /// Takes bytes off the front.
    pub(super) fn take(&mut self, count: usize) -> Result<Self> {
        if count > self.len() {
            return Err(Error::damaged("a page ends too early"));
        }
        let taken = Self { all: self.all.clone(), start: self.start, end: self.start + count };
        self.start += count;
        Ok(taken)
    }

    /// Takes as many off the front as an array has.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(&self.take(N)?);
        Ok(array)
    }

    /// Takes bytes off the front whose number stands before them.
    pub(super) fn counted(&mut self) -> Result<Self> {
        let count = u32::from_le_bytes(self.array()?);
        self.take(count as usize)
    }

    /// Takes a number of seven bits a byte.
    pub(super) fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Error::damaged("a number in a page is too long"))
    }

    /// Takes such a number whose last bit is its sign.
    pub(super) fn zigzag(&mut self) -> Result<i64> {
        Ok(zigzag(self.varint()?))
    }
}

/// A number whose last bit is its sign.
pub(super) fn zigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
