//! The files inside a ZIP archive, as `torch.save` writes it: stored and never compressed, so that each of them lies in the
//! archive as it is and can be read where it lies.
//!
//! Nothing that the archive says is believed: every place is looked up with a check, and nothing is allocated but the list of
//! entries, which is no longer than the archive.

use std::collections::BTreeMap;
use std::ops::Range;

/// Where the entries of an archive lie, by name.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    entries: BTreeMap<&'a str, Range<usize>>,
}

const END: &[u8] = b"PK\x05\x06";
const END_64: &[u8] = b"PK\x06\x06";
const END_64_PLACE: &[u8] = b"PK\x06\x07";
const ENTRY: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// The length of the last record without its comment, and the longest comment.
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = u16::MAX as usize;

impl<'a> Archive<'a> {
    /// Finds the entries. The error says what is wrong with the archive.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        if !bytes.starts_with(LOCAL) {
            return Err("it is not what torch.save has written since PyTorch 1.6".into());
        }
        let broken = || "its archive is broken or cut short".to_owned();
        let (at, count) = directory(bytes).ok_or_else(broken)?;
        let mut entries = BTreeMap::new();
        let mut rest = bytes.get(at..).ok_or_else(broken)?;
        for _ in 0..count {
            let (name, range, after) = entry(bytes, rest).ok_or_else(broken)?;
            entries.insert(name, range.ok_or_else(|| format!("{name} in its archive is compressed"))?);
            rest = after;
        }
        Ok(Self { entries })
    }

    /// Where the only entry lies whose name ends so, and what stands before.
    pub(super) fn ending_in(&self, suffix: &str) -> Option<(&'a str, Range<usize>)> {
        let mut found =
            self.entries.iter().filter_map(|(name, range)| Some((name.strip_suffix(suffix)?, range.clone())));
        let only = found.next()?;
        found.next().is_none().then_some(only)
    }

    /// Where an entry lies.
    pub(super) fn get(&self, name: &str) -> Option<Range<usize>> {
        self.entries.get(name).cloned()
    }
}

/// Where the list of entries begins and how many there are.
fn directory(bytes: &[u8]) -> Option<(usize, u64)> {
    let last = bytes.len().checked_sub(END_LENGTH)?;
    let first = last.saturating_sub(LONGEST_COMMENT);
    let end = (first..=last).rev().find(|at| bytes[*at..].starts_with(END))?;
    let count = u64::from(u16_at(bytes, end + 10)?);
    let start = u64::from(u32_at(bytes, end + 16)?);
    // Archives of 4 GiB and more say so in a second record in front.
    let long = end.checked_sub(20).filter(|at| bytes[*at..].starts_with(END_64_PLACE));
    let (start, count) = match long {
        Some(place) => {
            let record = usize::try_from(u64_at(bytes, place + 8)?).ok()?;
            bytes.get(record..)?.starts_with(END_64).then_some(())?;
            (u64_at(bytes, record.checked_add(48)?)?, u64_at(bytes, record.checked_add(32)?)?)
        }
        None => (start, count),
    };
    Some((usize::try_from(start).ok()?, count))
}

/// The entry that `rest` begins with: its name, its place unless it is compressed, and what comes after.
#[allow(clippy::type_complexity)]
fn entry<'a>(bytes: &[u8], rest: &'a [u8]) -> Option<(&'a str, Option<Range<usize>>, &'a [u8])> {
    rest.starts_with(ENTRY).then_some(())?;
    let stored = u16_at(rest, 10)? == 0;
    let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(rest, at).map(usize::from));
    let (name, rest_of) = rest.get(46..)?.split_at_checked(name?)?;
    let (extra, rest_of) = rest_of.split_at_checked(extra?)?;
    let after = rest_of.get(comment?..)?;
    // What does not fit into four bytes stands in a field of its own, in this order.
    let mut long = long_numbers(extra);
    let mut number = |at| match u32_at(rest, at)? {
        u32::MAX => long.next(),
        short => Some(u64::from(short)),
    };
    let (length, _compressed, local) = (number(24)?, number(20)?, number(42)?);
    let local = usize::try_from(local).ok()?;
    bytes.get(local..)?.starts_with(LOCAL).then_some(())?;
    let before = 30 + usize::from(u16_at(bytes, local + 26)?) + usize::from(u16_at(bytes, local + 28)?);
    let start = local.checked_add(before)?;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(start..end)?;
    Some((std::str::from_utf8(name).ok()?, stored.then_some(start..end), after))
}

/// The 64-bit numbers among an entry's extra fields.
fn long_numbers(mut extra: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut numbers: &[u8] = &[];
    while let (Some(kind), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some((field, rest)) = extra[4..].split_at_checked(usize::from(length)) else { break };
        if kind == 1 {
            numbers = field;
            break;
        }
        extra = rest;
    }
    numbers.as_chunks::<8>().0.iter().map(|number| u64::from_le_bytes(*number))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|number| u64::from_le_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of one stored file, whose place may be told in 64 bits.
    fn archive(name: &str, content: &[u8], long: bool) -> Vec<u8> {
        let short = |number: usize| (number as u32).to_le_bytes();
        let mut bytes = LOCAL.to_vec();
        bytes.extend([0; 22]);
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend([0; 2]);
        bytes.extend(name.as_bytes());
        bytes.extend(content);
        let directory = bytes.len();
        bytes.extend(ENTRY);
        bytes.extend([0; 16]);
        bytes.extend(if long { [0xff; 4] } else { short(content.len()) });
        bytes.extend(if long { [0xff; 4] } else { short(content.len()) });
        bytes.extend((name.len() as u16).to_le_bytes());
        bytes.extend((if long { 24u16 } else { 0 }).to_le_bytes());
        bytes.extend([0; 10]);
        bytes.extend(if long { [0xff; 4] } else { short(0) });
        bytes.extend(name.as_bytes());
        if long {
            // A field of another kind would be 1 + 2 + 2 bytes and is passed over; this one is ours.
            bytes.extend(1u16.to_le_bytes());
            bytes.extend(20u16.to_le_bytes());
            bytes.extend([content.len() as u64, content.len() as u64].map(u64::to_le_bytes).concat());
            bytes.extend([0; 4]);
        }
        let size = bytes.len() - directory;
        bytes.extend(END);
        bytes.extend([0; 4]);
        bytes.extend([1, 0, 1, 0]);
        bytes.extend(short(size));
        bytes.extend(short(directory));
        bytes.extend([0; 2]);
        bytes
    }

    #[test]
    fn a_stored_entry_is_found_where_it_lies() {
        let bytes = archive("m/data.pkl", b"content", false);
        let found = Archive::read(&bytes).unwrap();
        let (before, range) = found.ending_in("/data.pkl").unwrap();
        assert_eq!((before, &bytes[range.clone()]), ("m", &b"content"[..]));
        assert_eq!(found.get("m/data.pkl"), Some(range));
        assert_eq!(found.get("m"), None);
    }

    #[test]
    fn long_numbers_stand_in_a_field_of_their_own() {
        let numbers = |bytes: &[u8]| long_numbers(bytes).collect::<Vec<_>>();
        let mut extra = vec![7, 0, 2, 0, 9, 9, 1, 0, 16, 0];
        extra.extend([5u64, 6].map(u64::to_le_bytes).concat());
        assert_eq!(numbers(&extra), [5, 6]);
        assert_eq!(numbers(&extra[..20]), [0u64; 0]);
        // Too few of them: the place is missing.
        assert!(Archive::read(&archive("a", b"b", true)).is_err());
    }

    #[test]
    fn whatever_is_cut_or_changed_is_an_error_or_an_entry_inside() {
        let whole = archive("m/data.pkl", b"content", false);
        for length in 0..whole.len() {
            assert!(Archive::read(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                if let Ok(archive) = Archive::read(&bytes) {
                    assert!(archive.entries.values().all(|range| range.end <= bytes.len()));
                }
            }
        }
    }

    #[test]
    fn compression_is_refused_by_name() {
        let mut bytes = archive("m/data.pkl", b"content", false);
        let directory = bytes.windows(4).position(|four| four == ENTRY).unwrap();
        bytes[directory + 10] = 8;
        assert!(Archive::read(&bytes).unwrap_err().contains("m/data.pkl in its archive is compressed"));
        assert!(Archive::read(b"version https://git-lfs").unwrap_err().contains("PyTorch 1.6"));
    }
}
