//! Looks at a GGUF file: whether it is whole, and what it holds. It does not run it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::bytes::{BOOL, FLOAT, INTEGER, LIST, NUMBER, TEXT};
use super::{ALIGNMENT, MAGIC, VERSION};
use crate::checkpoint::ModelFile;
use crate::export::error::Result;

/// What a GGUF file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// What it says of itself by name, but for its lists.
    pub fields: BTreeMap<String, Value>,
    /// Its tensors.
    pub tensors: Vec<TensorInfo>,
    /// Tokens of its vocabulary.
    pub tokens: Vec<String>,
}

/// A tensor of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its shape as the file has it: the axis along which numbers lie side by side comes first.
    pub shape: Vec<u64>,
    /// The number of its type in GGUF.
    pub element: u32,
    /// Where its bytes begin in the file.
    pub start: u64,
    /// How many there are.
    pub length: u64,
}

/// Reads a file of the kind that is written here. One that is cut short is refused.
pub fn read(file: &ModelFile) -> Result<Summary> {
    let bytes = file.map()?;
    let summary = Reader { bytes: &bytes, at: 0 }.file();
    let whole = summary.filter(|summary| {
        let ends = summary.tensors.iter().map(|tensor| tensor.start.checked_add(tensor.length));
        let mut ends = ends.map(|end| end.is_some_and(|end| end <= bytes.len() as u64));
        !summary.tensors.is_empty() && ends.all(|inside| inside)
    });
    Ok(whole.ok_or_else(|| file.bad("it is not a whole GGUF file".to_owned()))?)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn file(&mut self) -> Option<Summary> {
        let known = self.take(MAGIC.len() as u64)? == MAGIC && self.number()? == VERSION;
        let (tensors, fields) = known.then_some((self.long()?, self.long()?))?;
        let mut summary = Summary::default();
        for _ in 0..fields {
            let key = self.text()?;
            match self.number()? {
                LIST => self.list(key, &mut summary)?,
                kind => {
                    let value = self.value(kind)?;
                    summary.fields.insert(key.to_owned(), value);
                }
            }
        }
        for _ in 0..tensors {
            summary.tensors.push(self.tensor()?);
        }
        let data = (self.at as u64).next_multiple_of(ALIGNMENT);
        for tensor in &mut summary.tensors {
            tensor.start = tensor.start.checked_add(data)?;
        }
        Some(summary)
    }

    fn list(&mut self, key: &str, summary: &mut Summary) -> Option<()> {
        let (kind, length) = (self.number()?, self.long()?);
        for _ in 0..length {
            match (key, kind) {
                ("tokenizer.ggml.tokens", TEXT) => summary.tokens.push(self.text()?.to_owned()),
                _ => self.value(kind).map(drop)?,
            }
        }
        Some(())
    }

    fn tensor(&mut self) -> Option<TensorInfo> {
        let name = self.text()?.to_owned();
        let mut shape = Vec::new();
        for _ in 0..self.number()? {
            shape.push(self.long()?);
        }
        let (element, start) = (self.number()?, self.long()?);
        let size = match element {
            0 => 4,
            1 | 30 => 2,
            _ => return None,
        };
        let length = shape.iter().try_fold(size, |bytes: u64, &size| bytes.checked_mul(size))?;
        Some(TensorInfo { name, shape, element, start, length })
    }

    fn value(&mut self, kind: u32) -> Option<Value> {
        Some(match kind {
            BOOL => json!(self.take(1)? != [0]),
            NUMBER => json!(self.number()?),
            INTEGER => json!(self.number()? as i32),
            FLOAT => json!(f32::from_bits(self.number()?)),
            TEXT => json!(self.text()?),
            _ => return None,
        })
    }

    fn take(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let found = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(found)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.long()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}
