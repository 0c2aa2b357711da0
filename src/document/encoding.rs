//! From bytes to text: UTF-8, or UTF-16 that says so by its byte order mark.
//!
//! A byte order mark says how a text is written and is no part of it: it is dropped, and offsets and columns count without it.

/// Why bytes are no text: where, and whether they were read as UTF-16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotText {
    /// The first byte that does not fit.
    pub at: usize,
    /// What it does not fit.
    pub encoding: &'static str,
}

/// How far into a file a NUL marks it as binary.
const PROBE: usize = 8192;

/// Where a NUL says that the bytes are no text.
pub fn nul(bytes: &[u8]) -> Option<usize> {
    match utf16(bytes) {
        Some(_) => None,
        None => bytes.iter().take(PROBE).position(|&byte| byte == 0),
    }
}

/// The text that bytes stand for.
pub fn decode(mut bytes: Vec<u8>) -> Result<String, NotText> {
    if let Some(unit) = utf16(&bytes) {
        return from_utf16(&bytes[2..], unit);
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes)
        .map_err(|error| NotText { at: error.utf8_error().valid_up_to(), encoding: "UTF-8" })
}

/// How to make a number of two bytes.
type Unit = fn([u8; 2]) -> u16;

fn utf16(bytes: &[u8]) -> Option<Unit> {
    match bytes {
        [0xff, 0xfe, ..] => Some(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Some(u16::from_be_bytes),
        _ => None,
    }
}

fn from_utf16(bytes: &[u8], unit: Unit) -> Result<String, NotText> {
    let pairs = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    let mut text = String::with_capacity(bytes.len());
    let mut at = 2;
    let damage = |at| NotText { at, encoding: "UTF-16" };
    for char in char::decode_utf16(pairs) {
        let char = char.map_err(|_| damage(at))?;
        at += 2 * char.len_utf16();
        text.push(char);
    }
    if bytes.len() % 2 == 1 { Err(damage(at)) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf16(text: &str, big: bool) -> Vec<u8> {
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        "\u{feff}".encode_utf16().chain(text.encode_utf16()).flat_map(bytes).collect()
    }

    #[test]
    fn texts_are_read_without_their_marks() {
        let text = "é 😀\nwhy";
        assert_eq!(decode(text.into()).unwrap(), text);
        assert_eq!(decode(format!("\u{feff}{text}").into()).unwrap(), text);
        for big in [true, false] {
            let bytes = utf16(text, big);
            assert_eq!(nul(&bytes), None);
            assert_eq!(decode(bytes).unwrap(), text);
        }
        assert_eq!(nul(b"ab\0"), Some(2));
    }

    #[test]
    fn what_does_not_fit_is_named_by_its_byte() {
        let fails = |bytes: Vec<u8>| {
            let failed = decode(bytes).unwrap_err();
            (failed.at, failed.encoding)
        };
        assert_eq!(fails(b"caf\xe9".into()), (3, "UTF-8"));
        let mut half = utf16("ab", false);
        half.pop();
        assert_eq!(fails(half), (4, "UTF-16"));
        let mut lone = utf16("a", false);
        lone.extend(0xd800u16.to_le_bytes());
        assert_eq!(fails(lone), (4, "UTF-16"));
    }
}
