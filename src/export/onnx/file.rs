//! The file of a graph, and beside it that of its tensors where one file would be too large.

use super::graph::{Graph, Stored};
use super::proto::Message;
use crate::export::error::Result;
use crate::export::place::{FileSet, Output};

/// The version of the format, and of its operators: the oldest that has LayerNormalization and Split as they are used here.
const IR_VERSION: i64 = 8;
const OPERATORS: i64 = 18;

/// Tensors of fewer bytes stay in the graph: whoever reads it wants to know shapes without another file.
const SMALL: u64 = 1 << 10;

/// Where a tensor may begin in the other file, so that it can be mapped.
const PAGE: u64 = 1 << 12;

/// A tensor of the graph as the file holds it.
struct Entry<'a> {
    /// What is said of it, up to its bytes.
    head: Message,
    /// It, if its bytes follow.
    bytes: Option<&'a Stored<'a>>,
}

impl<'a> Entry<'a> {
    fn new(tensor: &'a Stored, place: Option<Place>) -> Self {
        let head = Message::new().ints(1, tensor.shape.iter().map(|&size| size as i64));
        let head = head.int(2, tensor.element as i64).text(8, &tensor.name);
        match place {
            None => Self { head: head.begin(9, tensor.len()), bytes: Some(tensor) },
            Some(place) => {
                let entry = |key: &str, value: &str| Message::new().text(1, key).text(2, value);
                let head = head.message(13, &entry("location", place.file));
                let head = head.message(13, &entry("offset", &place.offset.to_string()));
                let head = head.message(13, &entry("length", &tensor.len().to_string()));
                Self { head: head.int(14, 1), bytes: None }
            }
        }
    }

    fn len(&self) -> u64 {
        self.head.len() + self.bytes.map_or(0, Stored::len)
    }
}

/// Where a tensor is in the other file.
struct Place<'a> {
    file: &'a str,
    offset: u64,
}

/// Writes a graph. If its tensors take more than `limit` bytes, they go to a second file with `_data` after its name. Returns whether
/// they did.
pub(super) fn write(graph: &Graph, set: &mut FileSet, name: &str, limit: u64) -> Result<bool> {
    let tensors = &graph.tensors;
    let split = tensors.iter().map(Stored::len).sum::<u64>() > limit;
    let other = format!("{name}_data");
    // Without its folder: it is looked for beside the graph.
    let file = other.rsplit('/').next().unwrap_or_default();
    let mut entries = Vec::with_capacity(tensors.len());
    if split {
        set.add(&other, |output| {
            for tensor in tensors {
                let mut place = None;
                if tensor.len() >= SMALL {
                    output.align(PAGE)?;
                    place = Some(Place { file, offset: output.written() });
                    (tensor.fill)(&mut |bytes| output.put(bytes))?;
                }
                entries.push(Entry::new(tensor, place));
            }
            Ok(())
        })?;
    } else {
        entries.extend(tensors.iter().map(|tensor| Entry::new(tensor, None)));
    }
    set.add(name, |output| write_graph(graph, &entries, output))?;
    Ok(split)
}

fn write_graph(graph: &Graph, entries: &[Entry], output: &mut Output) -> Result<()> {
    let content = graph.nodes.iter().fold(Message::new(), |content, node| content.message(1, node));
    let content = content.text(2, "spanqa");
    let content = graph.inputs.iter().fold(content, |content, input| content.message(11, input));
    let content = graph.outputs.iter().fold(content, |content, output| content.message(12, output));
    let begin = |entry: &Entry| Message::new().begin(5, entry.len());
    let tensors: u64 = entries.iter().map(|entry| begin(entry).len() + entry.len()).sum();
    let operators = Message::new().text(1, "").int(2, OPERATORS);
    let model = Message::new().int(1, IR_VERSION).text(2, "spanqa").text(3, env!("CARGO_PKG_VERSION"));
    let model = model.message(8, &operators).begin(7, content.len() + tensors);
    output.put(model.as_bytes())?;
    output.put(content.as_bytes())?;
    for entry in entries {
        output.put(begin(entry).as_bytes())?;
        output.put(entry.head.as_bytes())?;
        if let Some(tensor) = entry.bytes {
            (tensor.fill)(&mut |bytes| output.put(bytes))?;
        }
    }
    Ok(())
}
