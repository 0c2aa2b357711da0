//! The encodings of values. Whatever a page claims, a value takes memory only when it is asked for.

use std::rc::Rc;

use super::bytes::Bytes;
use super::error::{Error, Result};
use super::hybrid::{Hybrid, packed};
use super::page::Page;
use super::schema::{Leaf, Physical};

/// A value as it is stored.
#[derive(Clone, Debug)]
pub(super) enum Value {
    Truth(bool),
    Int(i64),
    Float(f32),
    Double(f64),
    /// Texts, bytes of one length, and numbers of 96 bits.
    Bytes(Bytes),
}

/// Hands the values of a page out one by one.
pub(super) enum Values {
    Plain { bytes: Bytes, physical: Physical, taken: u64 },
    Dictionary { entries: Rc<[Value]>, numbers: Hybrid },
    Truths(Hybrid),
    Deltas { deltas: Deltas, narrow: bool },
    Lengths { lengths: Deltas, bytes: Bytes },
    Prefixes { prefixes: Deltas, suffixes: Box<Values>, last: Vec<u8>, fixed: Option<usize> },
    Split { bytes: Bytes, physical: Physical, width: usize, taken: usize },
}

impl Values {
    /// The values behind the levels of a page.
    pub(super) fn new(
        mut bytes: Bytes,
        encoding: i32,
        leaf: &Leaf,
        dictionary: Option<&Rc<[Value]>>,
    ) -> Result<Self> {
        let physical = leaf.physical;
        Ok(match (encoding, physical) {
            (0, _) => Values::Plain { bytes, physical, taken: 0 },
            (2 | 8, _) => {
                let entries = dictionary.ok_or_else(|| Error::damaged("a dictionary is missing"))?.clone();
                // A page of nothing but nulls need not even say how wide its numbers are.
                let width = if bytes.is_empty() { 0 } else { bytes.array::<1>()?[0].into() };
                Values::Dictionary { entries, numbers: Hybrid::new(bytes, width)? }
            }
            (3, Physical::Truth) => {
                let bytes = if bytes.is_empty() { bytes } else { bytes.counted()? };
                Values::Truths(Hybrid::new(bytes, 1)?)
            }
            (5, Physical::Int32 | Physical::Int64) => {
                let narrow = physical == Physical::Int32;
                Values::Deltas { deltas: Deltas::new(bytes)?, narrow }
            }
            (6, Physical::Bytes) => Values::lengths(bytes)?,
            (7, Physical::Bytes | Physical::Fixed(_)) => {
                let prefixes = Deltas::new(bytes)?;
                let suffixes = Box::new(Values::lengths(prefixes.clone().rest()?)?);
                let fixed = if let Physical::Fixed(length) = physical { Some(length) } else { None };
                Values::Prefixes { prefixes, suffixes, last: Vec::new(), fixed }
            }
            (9, _) if width(physical).is_some() => {
                let width = width(physical).unwrap_or(1);
                Values::Split { bytes, physical, width, taken: 0 }
            }
            (other, _) => return Err(Error::unsupported(format!("its values are in the encoding {other}"))),
        })
    }

    fn lengths(bytes: Bytes) -> Result<Self> {
        let lengths = Deltas::new(bytes)?;
        let bytes = lengths.clone().rest()?;
        Ok(Values::Lengths { lengths, bytes })
    }

    pub(super) fn next(&mut self) -> Result<Value> {
        match self {
            Values::Plain { bytes, physical: Physical::Truth, taken } => {
                let bit = packed(bytes, *taken, 1)?;
                *taken += 1;
                Ok(Value::Truth(bit == 1))
            }
            Values::Plain { bytes, physical: Physical::Bytes, .. } => Ok(Value::Bytes(bytes.counted()?)),
            Values::Plain { bytes, physical, .. } => {
                let stored = bytes.take(width(*physical).unwrap_or(1))?;
                value(*physical, stored)
            }
            Values::Dictionary { entries, numbers } => {
                let number = numbers.next()?;
                let entry = entries.get(number as usize);
                entry.cloned().ok_or_else(|| Error::damaged("a value is not in the dictionary"))
            }
            Values::Truths(hybrid) => Ok(Value::Truth(hybrid.next()? == 1)),
            Values::Deltas { deltas, narrow: false } => Ok(Value::Int(deltas.next()?)),
            Values::Deltas { deltas, narrow: true } => Ok(Value::Int((deltas.next()? as i32).into())),
            Values::Lengths { lengths, bytes } => Ok(Value::Bytes(bytes.take(length(lengths.next()?)?)?)),
            Values::Prefixes { prefixes, suffixes, last, fixed } => {
                let kept = length(prefixes.next()?)?;
                let Value::Bytes(suffix) = suffixes.next()? else { return Err(too_short()) };
                if kept > last.len() {
                    return Err(Error::damaged("a text begins with more of the last one than there is"));
                }
                last.truncate(kept);
                last.extend_from_slice(&suffix);
                if fixed.is_some_and(|length| length != last.len()) {
                    return Err(Error::damaged("a value has another length than its column"));
                }
                Ok(Value::Bytes(last.clone().into()))
            }
            Values::Split { bytes, physical, width, taken } => {
                let count = bytes.len() / *width;
                if *taken == count {
                    return Err(too_short());
                }
                let stored: Vec<u8> = (0..*width).map(|byte| bytes[byte * count + *taken]).collect();
                *taken += 1;
                value(*physical, stored.into())
            }
        }
    }
}

/// The entries of a dictionary.
pub(super) fn dictionary(page: Page, leaf: &Leaf) -> Result<Rc<[Value]>> {
    // Plain, by its number and by an older one. Every value takes room in the page then.
    if !matches!(page.encoding, 0 | 2) {
        return Err(Error::damaged("a dictionary is not plain"));
    }
    let mut values = Values::new(page.bytes, 0, leaf, None)?;
    (0..page.values).map(|_| values.next()).collect()
}

/// Bytes of a value, if all have the same number.
fn width(physical: Physical) -> Option<usize> {
    match physical {
        Physical::Int32 | Physical::Float => Some(4),
        Physical::Int64 | Physical::Double => Some(8),
        Physical::Int96 => Some(12),
        Physical::Fixed(length) => Some(length),
        Physical::Truth | Physical::Bytes => None,
    }
}

fn value(physical: Physical, mut stored: Bytes) -> Result<Value> {
    Ok(match physical {
        Physical::Int32 => Value::Int(i32::from_le_bytes(stored.array()?).into()),
        Physical::Int64 => Value::Int(i64::from_le_bytes(stored.array()?)),
        Physical::Float => Value::Float(f32::from_le_bytes(stored.array()?)),
        Physical::Double => Value::Double(f64::from_le_bytes(stored.array()?)),
        Physical::Int96 | Physical::Fixed(_) | Physical::Bytes => Value::Bytes(stored),
        Physical::Truth => Value::Truth(stored.first() == Some(&1)),
    })
}

fn length(number: i64) -> Result<usize> {
    usize::try_from(number).map_err(|_| Error::damaged("a text has less than no bytes"))
}

fn too_short() -> Error {
    Error::damaged("a page ends too early")
}

/// Whole numbers, told by how they differ from the one before: blocks of small ones, each of few bits.
#[derive(Clone)]
pub(super) struct Deltas {
    bytes: Bytes,
    /// Miniblocks of a block, and numbers of one.
    miniblocks: usize,
    size: u64,
    /// Numbers that are still to come.
    left: u64,
    first: bool,
    value: i64,
    least: i64,
    /// Bits of the numbers of the miniblocks to come.
    widths: Bytes,
    block: Bytes,
    width: u32,
    taken: u64,
}

impl Deltas {
    fn new(mut bytes: Bytes) -> Result<Self> {
        let damaged = || Error::damaged("numbers in a page cannot be understood");
        let (block, miniblocks) = (bytes.varint()?, bytes.varint()?);
        let left = bytes.varint()?;
        let value = bytes.zigzag()?;
        // As the format has it, and so that every miniblock is made of whole bytes.
        let size =
            block.checked_div(miniblocks).filter(|size| *size > 0 && size % 8 == 0).ok_or_else(damaged)?;
        if block > 1 << 24 {
            return Err(damaged());
        }
        let none = Bytes::from(Vec::new());
        Ok(Self {
            bytes,
            miniblocks: miniblocks as usize,
            size,
            left,
            first: true,
            value,
            least: 0,
            widths: none.clone(),
            block: none,
            width: 0,
            taken: size,
        })
    }

    fn next(&mut self) -> Result<i64> {
        self.left = self.left.checked_sub(1).ok_or_else(too_short)?;
        if std::mem::take(&mut self.first) {
            return Ok(self.value);
        }
        if self.taken == self.size {
            self.miniblock()?;
        }
        let delta = packed(&self.block, self.taken, self.width)? as i64;
        self.taken += 1;
        self.value = self.value.wrapping_add(self.least).wrapping_add(delta);
        Ok(self.value)
    }

    fn miniblock(&mut self) -> Result<()> {
        if self.widths.is_empty() {
            self.least = self.bytes.zigzag()?;
            self.widths = self.bytes.take(self.miniblocks)?;
        }
        self.width = self.widths.array::<1>()?[0].into();
        if self.width > 64 {
            return Err(Error::damaged(format!("a page has numbers of {} bits", self.width)));
        }
        self.block = self.bytes.take((self.size / 8) as usize * self.width as usize)?;
        self.taken = 0;
        Ok(())
    }

    /// What stands behind the last number.
    fn rest(mut self) -> Result<Bytes> {
        // Behind the first one, whole miniblocks are passed over at a time.
        let mut left = self.left.saturating_sub(1);
        while left > 0 {
            self.miniblock()?;
            left = left.saturating_sub(self.size);
        }
        Ok(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_add_up() {
        // 7, 5, 3, 1, 2, 3, 4, 5 as the format's own description has them: blocks of 128 in 4 miniblocks.
        let mut bytes = vec![0x80, 0x01, 0x04, 0x08, 0x0e, 0x03, 2, 0, 0, 0];
        bytes.extend([0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0]);
        bytes.push(99);
        let mut deltas = Deltas::new(bytes.into()).unwrap();
        assert_eq!(&*deltas.clone().rest().unwrap(), [99]);
        let numbers: Vec<i64> = (0..8).map(|_| deltas.next().unwrap()).collect();
        assert_eq!(numbers, [7, 5, 3, 1, 2, 3, 4, 5]);
        assert!(deltas.next().is_err());
    }
}
