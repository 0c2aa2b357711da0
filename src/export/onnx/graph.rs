//! A graph of ONNX operators: nodes, and tensors whose bytes are made when the file is written.

use super::proto::Message;
use crate::export::error::Result;

/// Types of tensors by their numbers in ONNX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32 = 1,
    I8 = 3,
    I64 = 7,
    F16 = 10,
    Bf16 = 16,
}

impl Element {
    fn size(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::I64 => 8,
        }
    }
}

/// Hands the bytes of a tensor over, part by part.
pub(super) type Fill<'a> = Box<dyn Fn(&mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> + 'a>;

/// A tensor that the graph holds.
pub(super) struct Stored<'a> {
    pub(super) name: String,
    pub(super) element: Element,
    pub(super) shape: Vec<usize>,
    pub(super) fill: Fill<'a>,
}

impl Stored<'_> {
    /// Its size in bytes.
    pub(super) fn len(&self) -> u64 {
        (self.shape.iter().product::<usize>() * self.element.size()) as u64
    }
}

/// An attribute of a node.
pub(super) enum Attribute<'a> {
    Int(&'a str, i64),
    Ints(&'a str, &'a [i64]),
    Float(&'a str, f32),
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        let (name, kind) = match self {
            Self::Float(name, _) => (name, 1),
            Self::Int(name, _) => (name, 2),
            Self::Ints(name, _) => (name, 7),
        };
        let message = Message::new().text(1, name);
        let message = match self {
            Self::Float(_, value) => message.float(2, *value),
            Self::Int(_, value) => message.int(3, *value),
            Self::Ints(_, values) => message.ints(8, values.iter().copied()),
        };
        message.int(20, kind)
    }
}

/// A size of an input or output that is known only when the model runs, or always.
pub(super) enum Dimension {
    Named(&'static str),
    Fixed(usize),
}

/// The graph so far. A value is known by its name.
#[derive(Default)]
pub(super) struct Graph<'a> {
    pub(super) nodes: Vec<Message>,
    pub(super) tensors: Vec<Stored<'a>>,
    pub(super) inputs: Vec<Message>,
    pub(super) outputs: Vec<Message>,
    /// Which part of the model nodes belong to, for whoever looks at the graph.
    pub(super) scope: String,
}

impl<'a> Graph<'a> {
    /// Adds a node with one output, and returns its name.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str], attributes: &[Attribute]) -> String {
        let name = self.name_of(operator);
        self.node_to(operator, inputs, &[&name], attributes);
        name
    }

    /// Adds a node with several outputs, and returns their names.
    pub(super) fn node_of<const N: usize>(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attributes: &[Attribute],
    ) -> [String; N] {
        let name = self.name_of(operator);
        let names: [String; N] = std::array::from_fn(|number| format!("{name}_{number}"));
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        self.node_to(operator, inputs, &outputs, attributes);
        names
    }

    /// Adds a node whose outputs have their names already.
    pub(super) fn node_to(
        &mut self,
        operator: &str,
        inputs: &[&str],
        outputs: &[&str],
        attributes: &[Attribute],
    ) {
        let node = inputs.iter().fold(Message::new(), |node, input| node.text(1, input));
        let node = outputs.iter().fold(node, |node, output| node.text(2, output));
        let node = node.text(3, &self.name_of(operator)).text(4, operator);
        let node = attributes.iter().fold(node, |node, attribute| node.message(5, &attribute.message()));
        self.nodes.push(node);
    }

    fn name_of(&self, operator: &str) -> String {
        format!("{}/{operator}_{}", self.scope, self.nodes.len())
    }

    /// Adds a tensor, unless there is one of that name already.
    pub(super) fn store(&mut self, tensor: Stored<'a>) -> String {
        let name = tensor.name.clone();
        if self.tensors.iter().all(|known| known.name != name) {
            self.tensors.push(tensor);
        }
        name
    }

    /// Adds a few numbers.
    pub(super) fn constant(
        &mut self,
        name: &str,
        element: Element,
        shape: &[usize],
        bytes: Vec<u8>,
    ) -> String {
        let fill: Fill = Box::new(move |put| put(&bytes));
        self.store(Stored { name: name.into(), element, shape: shape.to_vec(), fill })
    }

    /// Adds a list of whole numbers, which say what shape something has, or which axes.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::I64, &[values.len()], bytes)
    }

    pub(super) fn input(&mut self, name: &str, element: Element, shape: &[Dimension]) {
        self.inputs.push(value(name, element, shape));
    }

    pub(super) fn output(&mut self, name: &str, element: Element, shape: &[Dimension]) {
        self.outputs.push(value(name, element, shape));
    }
}

/// The description of an input or output.
fn value(name: &str, element: Element, shape: &[Dimension]) -> Message {
    let shape = shape.iter().fold(Message::new(), |shape, dimension| {
        shape.message(
            1,
            &match dimension {
                Dimension::Named(name) => Message::new().text(2, name),
                Dimension::Fixed(size) => Message::new().int(1, *size as i64),
            },
        )
    });
    let tensor = Message::new().int(1, element as i64).message(2, &shape);
    Message::new().text(1, name).message(2, &Message::new().message(1, &tensor))
}
