//! Values as GGUF lays them out: little-endian, texts and lists with their lengths before them.

/// Kinds of values.
pub(super) const NUMBER: u32 = 4;
pub(super) const INTEGER: u32 = 5;
pub(super) const FLOAT: u32 = 6;
pub(super) const BOOL: u32 = 7;
pub(super) const TEXT: u32 = 8;
pub(super) const LIST: u32 = 9;

/// Bytes that are put together value by value.
#[derive(Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    pub(super) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend(bytes);
        self
    }

    pub(super) fn number(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn long(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.long(text.len() as u64).raw(text.as_bytes())
    }
}
