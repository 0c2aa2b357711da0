//! Looks at an ONNX file: whether it is whole, and what goes in and comes out. It does not run it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::checkpoint::ModelFile;
use crate::export::error::Result;

/// What an ONNX file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Operators, in order.
    pub nodes: Vec<Node>,
    /// What goes in.
    pub inputs: Vec<String>,
    /// What comes out.
    pub outputs: Vec<String>,
    /// The tensors it holds.
    pub tensors: Vec<TensorInfo>,
}

/// An operator of an ONNX file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Which one it is.
    pub operator: String,
    /// The values it takes.
    pub inputs: Vec<String>,
    /// The values it makes.
    pub outputs: Vec<String>,
    /// Attributes that are whole numbers, or lists of them.
    pub integers: BTreeMap<String, Vec<i64>>,
    /// Attributes that are numbers with a fraction.
    pub floats: BTreeMap<String, f32>,
}

/// A tensor of an ONNX file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// The number of its type in ONNX.
    pub element: u64,
    /// Where its bytes are: in the file, or in the other one.
    pub bytes: Range<u64>,
    /// The other file, if they are there.
    pub file: Option<String>,
}

/// Reads a file, and looks for the second one beside it. One that is cut short, or whose tensors have other sizes than their shapes
/// say, is refused.
pub fn read(file: &ModelFile) -> Result<Summary> {
    let bytes = file.map()?;
    let bad = |reason: &str| file.bad(reason.to_owned());
    let summary = model(&bytes).ok_or_else(|| bad("it is not a whole ONNX model"))?;
    if summary.nodes.is_empty() || summary.outputs.is_empty() {
        return Err(bad("it is not an ONNX model").into());
    }
    let folder = file.path().and_then(Path::parent);
    for tensor in &summary.tensors {
        let size = element_size(tensor.element).and_then(|size| {
            tensor.shape.iter().try_fold(size, |bytes: u64, &length| bytes.checked_mul(length))
        });
        if size != Some(tensor.bytes.end - tensor.bytes.start) {
            return Err(bad(&format!("{} is not as large as its shape", tensor.name)).into());
        }
        let Some(other) = &tensor.file else { continue };
        let path = folder.map(|folder| folder.join(other));
        let length = path.and_then(|path| path.metadata().ok()).map_or(0, |found| found.len());
        if tensor.bytes.end > length {
            return Err(bad(&format!("{other}, which holds {}, is missing or cut short", tensor.name)).into());
        }
    }
    Ok(summary)
}

/// Bytes of a number of the types that are written here.
fn element_size(element: u64) -> Option<u64> {
    match element {
        2 | 3 | 9 => Some(1),
        10 | 16 => Some(2),
        1 | 6 => Some(4),
        7 => Some(8),
        _ => None,
    }
}

/// The content of a field.
enum Content {
    Number(u64),
    Bytes(Range<usize>),
}

/// The fields of a message that lies in `range`; `None` stands for one that is damaged.
fn fields(bytes: &[u8], range: Range<usize>) -> impl Iterator<Item = Option<(u64, Content)>> {
    let (mut at, end) = (range.start, range.end);
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let field = field(bytes, &mut at, end);
        if field.is_none() {
            at = end;
        }
        Some(field)
    })
}

fn field(bytes: &[u8], at: &mut usize, end: usize) -> Option<(u64, Content)> {
    let key = varint(bytes, at, end)?;
    let length = match key & 7 {
        0 => return Some((key >> 3, Content::Number(varint(bytes, at, end)?))),
        1 => 8,
        5 => 4,
        2 => usize::try_from(varint(bytes, at, end)?).ok()?,
        _ => return None,
    };
    let start = *at;
    *at = start.checked_add(length).filter(|after| *after <= end)?;
    Some((key >> 3, Content::Bytes(start..*at)))
}

fn varint(bytes: &[u8], at: &mut usize, end: usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).filter(|_| *at < end)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn text(bytes: &[u8], range: Range<usize>) -> Option<String> {
    String::from_utf8(bytes[range].to_vec()).ok()
}

fn model(bytes: &[u8]) -> Option<Summary> {
    let mut summary = Summary::default();
    for field in fields(bytes, 0..bytes.len()) {
        if let (7, Content::Bytes(graph)) = field? {
            read_graph(bytes, graph, &mut summary)?;
        }
    }
    Some(summary)
}

fn read_graph(bytes: &[u8], graph: Range<usize>, summary: &mut Summary) -> Option<()> {
    for field in fields(bytes, graph) {
        match field? {
            (1, Content::Bytes(place)) => summary.nodes.push(node(bytes, place)?),
            (5, Content::Bytes(place)) => summary.tensors.push(tensor(bytes, place)?),
            (11, Content::Bytes(value)) => summary.inputs.extend(text_field(bytes, value, 1)?),
            (12, Content::Bytes(value)) => summary.outputs.extend(text_field(bytes, value, 1)?),
            _ => {}
        }
    }
    Some(())
}

/// A text of a message, if it has one; the outer `None` stands for damage.
fn text_field(bytes: &[u8], message: Range<usize>, number: u64) -> Option<Option<String>> {
    let mut found = None;
    for field in fields(bytes, message) {
        match field? {
            (field, Content::Bytes(range)) if field == number => found = Some(text(bytes, range)?),
            _ => {}
        }
    }
    Some(found)
}

fn node(bytes: &[u8], message: Range<usize>) -> Option<Node> {
    let mut node = Node::default();
    for field in fields(bytes, message) {
        match field? {
            (1, Content::Bytes(name)) => node.inputs.push(text(bytes, name)?),
            (2, Content::Bytes(name)) => node.outputs.push(text(bytes, name)?),
            (4, Content::Bytes(name)) => node.operator = text(bytes, name)?,
            (5, Content::Bytes(place)) => attribute(bytes, place, &mut node)?,
            _ => {}
        }
    }
    Some(node)
}

fn attribute(bytes: &[u8], message: Range<usize>, node: &mut Node) -> Option<()> {
    let (mut name, mut integers, mut float) = (String::new(), Vec::new(), None);
    for field in fields(bytes, message) {
        match field? {
            (1, Content::Bytes(place)) => name = text(bytes, place)?,
            (2, Content::Bytes(place)) => {
                float = Some(f32::from_le_bytes(bytes.get(place)?.try_into().ok()?));
            }
            (3 | 8, Content::Number(value)) => integers.push(value as i64),
            _ => {}
        }
    }
    match float {
        Some(float) => drop(node.floats.insert(name, float)),
        None => drop(node.integers.insert(name, integers)),
    }
    Some(())
}

fn tensor(bytes: &[u8], message: Range<usize>) -> Option<TensorInfo> {
    let mut tensor = TensorInfo::default();
    let (mut offset, mut length) = (0, 0);
    for field in fields(bytes, message) {
        match field? {
            (1, Content::Number(size)) => tensor.shape.push(size),
            (2, Content::Number(element)) => tensor.element = element,
            (8, Content::Bytes(name)) => tensor.name = text(bytes, name)?,
            (9, Content::Bytes(raw)) => tensor.bytes = raw.start as u64..raw.end as u64,
            (13, Content::Bytes(entry)) => {
                let value = text_field(bytes, entry.clone(), 2)??;
                match text_field(bytes, entry, 1)??.as_str() {
                    "location" => tensor.file = Some(value),
                    "offset" => offset = value.parse().ok()?,
                    "length" => length = value.parse().ok()?,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    if tensor.file.is_some() {
        tensor.bytes = offset..u64::checked_add(offset, length)?;
    }
    Some(tensor)
}
