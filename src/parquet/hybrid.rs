//! Small numbers, packed into few bits each or told once with how often they come.

use super::bytes::Bytes;
use super::error::{Error, Result};

/// Hands them out one by one.
pub(super) struct Hybrid {
    bytes: Bytes,
    width: u32,
    run: Run,
}

enum Run {
    Repeated { value: u32, left: u64 },
    Packed { bytes: Bytes, next: u64, count: u64 },
}

impl Hybrid {
    /// Numbers of so many bits.
    pub(super) fn new(bytes: Bytes, width: u32) -> Result<Self> {
        match width {
            0..=32 => Ok(Self { bytes, width, run: Run::Repeated { value: 0, left: 0 } }),
            _ => Err(Error::damaged(format!("a page has numbers of {width} bits"))),
        }
    }

    /// Those up to a highest one.
    pub(super) fn up_to(bytes: Bytes, most: u32) -> Result<Self> {
        Self::new(bytes, u32::BITS - most.leading_zeros())
    }

    pub(super) fn next(&mut self) -> Result<u32> {
        loop {
            match &mut self.run {
                Run::Repeated { value, left } if *left > 0 => {
                    *left -= 1;
                    return Ok(*value);
                }
                Run::Packed { bytes, next, count } if *next < *count => {
                    let number = packed(bytes, *next, self.width)?;
                    *next += 1;
                    return Ok(number as u32);
                }
                _ => self.run = self.next_run()?,
            }
        }
    }

    fn next_run(&mut self) -> Result<Run> {
        let head = self.bytes.varint()?;
        let count = head >> 1;
        if head & 1 == 0 {
            let mut value = [0; 4];
            let bytes = self.width.div_ceil(8) as usize;
            value[..bytes].copy_from_slice(&self.bytes.take(bytes)?);
            return Ok(Run::Repeated { value: u32::from_le_bytes(value), left: count });
        }
        // Groups of eight, of which the last one may have been cut.
        let bytes = count.saturating_mul(self.width.into()).min(self.bytes.len() as u64);
        let bytes = self.bytes.take(bytes as usize)?;
        Ok(Run::Packed { bytes, next: 0, count: count.saturating_mul(8) })
    }
}

/// One of many numbers of so many bits, at most 64.
pub(super) fn packed(bytes: &[u8], index: u64, width: u32) -> Result<u64> {
    if width == 0 {
        return Ok(0);
    }
    let bit = index * u64::from(width);
    let (first, shift) = ((bit / 8) as usize, (bit % 8) as u32);
    let count = (shift + width).div_ceil(8) as usize;
    let bytes = bytes.get(first..first + count).ok_or_else(|| Error::damaged("a page ends too early"))?;
    let number = bytes.iter().rev().fold(0u128, |number, &byte| number << 8 | u128::from(byte)) >> shift;
    Ok(number as u64 & u64::MAX >> (64 - width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_follow_each_other() {
        // Three times 5, then eight numbers of three bits: 0 to 7.
        let bytes = vec![6, 5, 3, 0b1000_1000, 0b1100_0110, 0b1111_1010];
        let mut hybrid = Hybrid::new(Bytes::from(bytes), 3).unwrap();
        let numbers: Vec<u32> = (0..11).map(|_| hybrid.next().unwrap()).collect();
        assert_eq!(numbers, [5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert!(hybrid.next().is_err());
        assert!(Hybrid::new(Bytes::from(vec![]), 33).is_err());
    }
}
