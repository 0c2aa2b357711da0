//! Numbers as they lie in a segment.

/// The number at a place; 0 beyond the end, which only a damaged file has.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The same for longer ones.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found.map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Appends a number in as few bytes as it needs, seven bits in each.
pub(super) fn push_short(out: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes such a number from the front.
pub(super) fn take_short(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0u32;
    for shift in (0..u32::BITS).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_come_back() {
        let numbers = [0, 1, 127, 128, 300, 16383, 16384, u32::MAX - 1, u32::MAX];
        let mut bytes = Vec::new();
        numbers.iter().for_each(|&number| push_short(&mut bytes, number));
        let mut rest = bytes.as_slice();
        assert!(numbers.iter().all(|&number| take_short(&mut rest) == Some(number)));
        assert_eq!(take_short(&mut rest), None);
        assert_eq!(take_short(&mut &[0xff; 9][..]), None);
    }
}
