//! From bytes to text: UTF-8, or UTF-16 that says so by its byte order mark.
//!
//! A byte order mark says how a text is written and is no part of it: it is dropped, and offsets and columns count without it.

use std::io::{self, BufRead, Read};

use super::kind::ByteOrder;

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
    match ByteOrder::marked(bytes) {
        Some(_) => None,
        None => bytes.iter().take(PROBE).position(|&byte| byte == 0),
    }
}

/// The text that bytes stand for.
pub fn decode(mut bytes: Vec<u8>) -> Result<String, NotText> {
    if let Some(order) = ByteOrder::marked(&bytes) {
        return from_utf16(&bytes[2..], order);
    }
    if bytes.starts_with("\u{feff}".as_bytes()) {
        bytes.drain(..3);
    }
    String::from_utf8(bytes)
        .map_err(|error| NotText { at: error.utf8_error().valid_up_to(), encoding: "UTF-8" })
}

fn from_utf16(bytes: &[u8], order: ByteOrder) -> Result<String, NotText> {
    let pairs = bytes.chunks_exact(2).map(|pair| order.unit([pair[0], pair[1]]));
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

/// Reads UTF-16 as UTF-8, no further ahead than its source does. A byte order mark stays one.
pub struct FromUtf16<R> {
    source: R,
    order: ByteOrder,
    /// The first byte of a unit.
    byte: Option<u8>,
    /// The first unit of a character.
    high: Option<u16>,
    text: String,
    /// Bytes of the text that were handed out.
    taken: usize,
}

impl<R: BufRead> FromUtf16<R> {
    /// What a source holds in this order.
    pub fn new(source: R, order: ByteOrder) -> Self {
        Self { source, order, byte: None, high: None, text: String::new(), taken: 0 }
    }

    /// Takes what the source has. False at its end.
    fn advance(&mut self) -> io::Result<bool> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "it is not valid UTF-16");
        self.text.clear();
        self.taken = 0;
        let bytes = self.source.fill_buf()?;
        if bytes.is_empty() {
            let cut = self.byte.is_some() || self.high.is_some();
            return if cut { Err(damaged()) } else { Ok(false) };
        }
        for &byte in bytes {
            let Some(first) = self.byte.take() else {
                self.byte = Some(byte);
                continue;
            };
            match (self.high.take(), self.order.unit([first, byte])) {
                (None, unit @ 0xd800..0xdc00) => self.high = Some(unit),
                (high, unit) => {
                    for char in char::decode_utf16(high.into_iter().chain([unit])) {
                        self.text.push(char.map_err(|_| damaged())?);
                    }
                }
            }
        }
        let count = bytes.len();
        self.source.consume(count);
        Ok(true)
    }
}

impl<R: BufRead> Read for FromUtf16<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.text.len() {
            if !self.advance()? {
                return Ok(0);
            }
        }
        let read = (&self.text.as_bytes()[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
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
    fn utf16_is_read_as_it_comes() {
        let text = "é 😀\nwhy";
        for (order, big) in [(ByteOrder::Big, true), (ByteOrder::Little, false)] {
            let bytes = utf16(text, big);
            let read = |bytes: &[u8], size: usize| {
                let source = io::BufReader::with_capacity(size, bytes);
                let mut read = String::new();
                FromUtf16::new(source, order).read_to_string(&mut read).map(|_| read)
            };
            for size in [1, 3, 5, 100] {
                assert_eq!(read(&bytes, size).unwrap(), format!("\u{feff}{text}"));
                assert!(read(&bytes[..bytes.len() - 1], size).is_err());
                assert!(read(&bytes[..8], size).is_err(), "half a character");
            }
        }
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
