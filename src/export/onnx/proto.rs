//! Protocol buffers, as far as ONNX needs them: numbers, texts and messages in fields.

/// A message that is put together field by field.
#[derive(Debug, Clone, Default)]
pub(super) struct Message(Vec<u8>);

/// How a field is laid out.
const VARINT: u64 = 0;
const DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

impl Message {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn int(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3 | VARINT);
        // Negative numbers take all ten bytes.
        self.varint(value as u64);
        self
    }

    pub(super) fn ints(self, field: u64, values: impl IntoIterator<Item = i64>) -> Self {
        values.into_iter().fold(self, |message, value| message.int(field, value))
    }

    pub(super) fn float(mut self, field: u64, value: f32) -> Self {
        self.varint(field << 3 | FIXED_32);
        self.0.extend(value.to_le_bytes());
        self
    }

    pub(super) fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    pub(super) fn message(self, field: u64, message: &Message) -> Self {
        self.bytes(field, &message.0)
    }

    fn bytes(self, field: u64, bytes: &[u8]) -> Self {
        let mut message = self.begin(field, bytes.len() as u64);
        message.0.extend(bytes);
        message
    }

    /// Begins a field whose so many bytes are written behind the message, so that they need not be held.
    pub(super) fn begin(mut self, field: u64, length: u64) -> Self {
        self.varint(field << 3 | DELIMITED);
        self.varint(length);
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_the_format_says() {
        // The examples of the format's own description.
        assert_eq!(Message::new().int(1, 150).as_bytes(), [0x08, 0x96, 0x01]);
        assert_eq!(Message::new().text(2, "testing").as_bytes(), b"\x12\x07testing");
        let inner = Message::new().int(1, 150);
        assert_eq!(Message::new().message(3, &inner).as_bytes(), [0x1a, 0x03, 0x08, 0x96, 0x01]);
        let minus_two = [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Message::new().int(1, -2).as_bytes(), minus_two);
        assert_eq!(Message::new().float(2, 1.0).as_bytes(), [0x15, 0x00, 0x00, 0x80, 0x3f]);
        assert_eq!(Message::new().ints(8, [0, 1]).as_bytes(), [0x40, 0x00, 0x40, 0x01]);
        assert_eq!(Message::new().begin(16, 300).as_bytes(), [0x82, 0x01, 0xac, 0x02]);
    }
}
