//! What a pickled state dictionary says about its tensors: names, shapes, and where their numbers lie.
//!
//! A pickle is a program for a machine with a stack, and Python's machine calls whatever it is told to. This one calls nothing.
//! It knows the instructions that `torch.save` uses for dictionaries of tensors, builds a list of nodes that refer to each other by
//! number, and reads tensors off it. A node that is used a thousand times is one node, however often it was doubled, and nothing
//! here recurses, neither when it reads nor when the list is dropped: time and memory are in proportion to the pickle.

use std::collections::HashMap;

/// The longest pickle that is read. The largest models have a thousand tensors, of some 300 bytes each.
const LONGEST: usize = 4 << 20;
/// The most dimensions that a tensor of any model has.
const MOST_DIMENSIONS: usize = 8;

/// A tensor, as the pickle describes it.
#[derive(Debug, PartialEq)]
pub(super) struct Tensor<'a> {
    /// Its name in the dictionary.
    pub(super) name: &'a str,
    /// The class of its storage, such as `FloatStorage`.
    pub(super) class: &'a str,
    /// The name of its storage in the archive.
    pub(super) storage: &'a str,
    /// How many numbers of the storage come before it.
    pub(super) offset: usize,
    /// Its dimensions.
    pub(super) shape: Vec<usize>,
    /// How far apart in the storage neighbours along each dimension are.
    pub(super) strides: Vec<usize>,
}

/// The tensors of a state dictionary. Entries that are none are left out.
pub(super) fn tensors(pickle: &[u8]) -> Result<Vec<Tensor<'_>>, String> {
    if pickle.len() > LONGEST {
        return Err(format!("its pickle has {} bytes; {LONGEST} are the most that are read", pickle.len()));
    }
    let mut machine = Machine::new(pickle);
    let result = machine.run()?;
    let Node::Dict(entries) = machine.node(result) else {
        return Err("it holds no state dictionary".into());
    };
    let mut tensors = Vec::new();
    for (key, value) in entries {
        let Node::Text(name) = machine.node(*key) else { continue };
        tensors.extend(machine.tensor(name, *value)?);
    }
    Ok(tensors)
}

/// The number of a node.
type Id = usize;

/// A value, its parts by number.
#[derive(Debug)]
enum Node<'a> {
    /// Whatever does not matter here: none, truth values, floating-point numbers, bytes.
    Other,
    Int(i64),
    Text(&'a str),
    Class(&'a str, &'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A call that is not made.
    Call(Id, Id),
    /// A reference to something outside: a storage.
    Outside(Id),
}

struct Machine<'a> {
    rest: &'a [u8],
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at which lists of arguments begin.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    /// Runs to the end. The number of the result.
    fn run(&mut self) -> Result<Id, String> {
        loop {
            match self.byte()? {
                b'.' => return self.pop(),
                // The version, and how long the next part is.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'N' | 0x88 | 0x89 => self.push(Node::Other),
                b'G' => {
                    self.take(8)?;
                    self.push(Node::Other);
                }
                b'K' => self.unsigned(1)?,
                b'M' => self.unsigned(2)?,
                b'J' => {
                    let number = self.long(4)?;
                    self.push(number);
                }
                0x8a => {
                    let length = usize::from(self.byte()?);
                    let number = self.long(length)?;
                    self.push(number);
                }
                b'X' | b'T' => self.text(4)?,
                0x8c | b'U' => self.text(1)?,
                0x8d => self.text(8)?,
                b'B' => self.bytes(4)?,
                b'C' => self.bytes(1)?,
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.push(Node::Class(module, name));
                }
                0x93 => {
                    let (name, module) = (self.pop_text()?, self.pop_text()?);
                    self.push(Node::Class(module, name));
                }
                b'(' => self.marks.push(self.stack.len()),
                b')' => self.push(Node::Tuple(Vec::new())),
                b']' => self.push(Node::List(Vec::new())),
                b'}' => self.push(Node::Dict(Vec::new())),
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Tuple(items));
                }
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::List(items));
                }
                b'd' => {
                    let items = self.pop_to_mark()?;
                    self.push(Node::Dict(pairs(&items)?));
                }
                length @ 0x85..=0x87 => {
                    let mut items =
                        (0x85..=length).map(|_| self.pop()).collect::<Result<Vec<Id>, String>>()?;
                    items.reverse();
                    self.push(Node::Tuple(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set(&items)?;
                }
                b'q' => self.put(1)?,
                b'r' => self.put(4)?,
                0x94 => {
                    let top = self.top()?;
                    self.memo.insert(self.memo.len() as u64, top);
                }
                b'h' => self.get(1)?,
                b'j' => self.get(4)?,
                b'0' => drop(self.pop()?),
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Node::Outside(id));
                }
                b'R' | 0x81 => self.call()?,
                // The state of an object; a dictionary's attributes, such as `_metadata`, are no tensors.
                b'b' => drop(self.pop()?),
                other => {
                    return Err(format!(
                        "its pickle has the instruction {other:#04x}, which no state dictionary needs"
                    ));
                }
            }
        }
    }

    fn node(&self, id: Id) -> &Node<'a> {
        self.nodes.get(id).unwrap_or(&Node::Other)
    }

    fn push(&mut self, node: Node<'a>) {
        self.stack.push(self.nodes.len());
        self.nodes.push(node);
    }

    /// The node on top; what lies below a mark is out of reach.
    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(*top),
            _ => Err("its pickle takes more from the stack than lies there".into()),
        }
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_text(&mut self) -> Result<&'a str, String> {
        let id = self.pop()?;
        match self.node(id) {
            Node::Text(text) => Ok(text),
            _ => Err("its pickle names a class by something that is not text".into()),
        }
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("its pickle ends a list that did not begin")?;
        Ok(self.stack.split_off(mark))
    }

    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let list = self.top()?;
        match self.nodes.get_mut(list) {
            Some(Node::List(list)) => list.extend(items),
            _ => return Err("its pickle appends to something that is not a list".into()),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Id]) -> Result<(), String> {
        let entries = pairs(items)?;
        let dict = self.top()?;
        match self.nodes.get_mut(dict) {
            Some(Node::Dict(dict)) => dict.extend(entries),
            _ => return Err("its pickle puts entries into something that is not a dictionary".into()),
        }
        Ok(())
    }

    fn put(&mut self, width: usize) -> Result<(), String> {
        let key = self.number(width)?;
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn get(&mut self, width: usize) -> Result<(), String> {
        let key = self.number(width)?;
        let id = self.memo.get(&key).ok_or("its pickle asks for what it did not keep")?;
        self.stack.push(*id);
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let empty = matches!(self.node(callable), Node::Class("collections", "OrderedDict" | "defaultdict"));
        self.push(if empty { Node::Dict(Vec::new()) } else { Node::Call(callable, arguments) });
        Ok(())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("its pickle is cut short")?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.number(1).map(|byte| byte as u8)
    }

    /// A number of one to eight bytes.
    fn number(&mut self, width: usize) -> Result<u64, String> {
        let bytes = self.take(width)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn unsigned(&mut self, width: usize) -> Result<(), String> {
        let number = self.number(width)?;
        self.push(Node::Int(number as i64));
        Ok(())
    }

    /// A signed number of any length; one that is longer than eight bytes is no size of anything.
    fn long(&mut self, length: usize) -> Result<Node<'a>, String> {
        let bytes = self.take(length)?;
        let sign = if bytes.last().is_some_and(|last| *last > 0x7f) { 0xff } else { 0 };
        let mut eight = [sign; 8];
        match eight.get_mut(..length) {
            Some(place) => place.copy_from_slice(bytes),
            None => return Ok(Node::Other),
        }
        Ok(Node::Int(i64::from_le_bytes(eight)))
    }

    fn sized(&mut self, width: usize) -> Result<&'a [u8], String> {
        let length = self.number(width)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let text = self.sized(width)?;
        self.push(std::str::from_utf8(text).map_or(Node::Other, Node::Text));
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Result<(), String> {
        self.sized(width)?;
        self.push(Node::Other);
        Ok(())
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let end = self.rest.iter().position(|byte| *byte == b'\n').ok_or("its pickle is cut short")?;
        let line = self.take(end)?;
        self.take(1)?;
        std::str::from_utf8(line).map_err(|_| "its pickle names a class that is not UTF-8".into())
    }

    /// The tensor that a value of the dictionary is, if it is one.
    fn tensor(&self, name: &'a str, value: Id) -> Result<Option<Tensor<'a>>, String> {
        let Node::Call(mut callable, mut arguments) = *self.node(value) else { return Ok(None) };
        // A parameter is a tensor with a flag; one with attributes names its function among its arguments.
        for _ in 0..3 {
            match (self.node(callable), self.items(arguments)) {
                (Node::Class("torch._utils", "_rebuild_tensor_v2"), parts) => {
                    let tensor = self.rebuilt(name, parts);
                    return tensor
                        .map(Some)
                        .ok_or_else(|| format!("its pickle describes no tensor as {name}"));
                }
                (Node::Class("torch._utils", "_rebuild_parameter"), [tensor, ..]) => {
                    let Node::Call(inner, parts) = *self.node(*tensor) else { return Ok(None) };
                    (callable, arguments) = (inner, parts);
                }
                (Node::Class("torch._tensor", "_rebuild_from_type_v2"), [inner, _, parts, ..]) => {
                    (callable, arguments) = (*inner, *parts);
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The arguments of `torch._utils._rebuild_tensor_v2`: storage, offset, size, stride, and what does not matter here.
    fn rebuilt(&self, name: &'a str, parts: &[Id]) -> Option<Tensor<'a>> {
        let [storage, offset, shape, strides, ..] = parts else { return None };
        let Node::Outside(storage) = self.node(*storage) else { return None };
        let [_, class, key, ..] = self.items(*storage) else { return None };
        let (Node::Class(_, class), Node::Text(storage)) = (self.node(*class), self.node(*key)) else {
            return None;
        };
        let [shape, strides] = [shape, strides].map(|list| self.sizes(*list));
        let (shape, strides) = (shape?, strides?);
        let fits = shape.len() == strides.len() && shape.len() <= MOST_DIMENSIONS;
        fits.then_some(Tensor { name, class, storage, offset: self.size(*offset)?, shape, strides })
    }

    fn items(&self, id: Id) -> &[Id] {
        match self.node(id) {
            Node::Tuple(items) => items,
            _ => &[],
        }
    }

    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        match self.node(id) {
            Node::Tuple(items) if items.len() <= MOST_DIMENSIONS => {
                items.iter().map(|item| self.size(*item)).collect()
            }
            _ => None,
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.node(id) {
            Node::Int(number) => usize::try_from(*number).ok(),
            _ => None,
        }
    }
}

/// Keys with their values.
fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, String> {
    match items.as_chunks::<2>() {
        (pairs, []) => Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect()),
        _ => Err("its pickle has a key without a value".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `{"w": tensor}` as `torch.save` writes it, for a storage called 0.
    fn dictionary(shape: &[u8], strides: &[u8], wrapper: &str) -> Vec<u8> {
        let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let sizes = |sizes: &[u8]| {
            let numbers: Vec<u8> = sizes.iter().flat_map(|size| [b'K', *size]).collect();
            [&b"("[..], &numbers, b"t"].concat()
        };
        let storage =
            [b"(", &text("storage")[..], b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x08tQ"]
                .concat();
        let tensor = [
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            &storage[..],
            b"K\x02",
            &sizes(shape),
            &sizes(strides),
            b"\x89ccollections\nOrderedDict\n)RtR",
        ]
        .concat();
        let tensor = match wrapper {
            "parameter" => [&b"ctorch._utils\n_rebuild_parameter\n"[..], &tensor, b"\x88N\x87R"].concat(),
            _ => tensor,
        };
        let entries = [&text("w"), &tensor[..], &text("epoch"), b"K\x03u"].concat();
        [b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(", &entries[..], b"}b."].concat()
    }

    #[test]
    fn a_tensor_is_read_off_and_what_is_none_is_left_out() {
        for wrapper in ["", "parameter"] {
            let pickle = dictionary(&[2, 3], &[3, 1], wrapper);
            let found = tensors(&pickle).unwrap();
            let expected = Tensor {
                name: "w",
                class: "FloatStorage",
                storage: "0",
                offset: 2,
                shape: vec![2, 3],
                strides: vec![3, 1],
            };
            assert_eq!(found, [expected], "{wrapper}");
        }
        assert!(tensors(&dictionary(&[2, 3], &[3], "")).unwrap_err().contains("no tensor as w"));
    }

    #[test]
    fn what_is_cut_or_changed_is_an_error_or_a_list() {
        let whole = dictionary(&[2, 3], &[3, 1], "parameter");
        let step = if cfg!(miri) { 51 } else { 1 };
        for length in (0..whole.len()).step_by(step) {
            assert!(tensors(&whole[..length]).is_err(), "{length}");
        }
        for at in (0..whole.len()).step_by(step) {
            for value in (0..=255).step_by(step) {
                let mut pickle = whole.clone();
                pickle[at] = value;
                let _ = tensors(&pickle);
            }
        }
    }

    /// Depth, lengths and doublings that cost other readers their stack or gigabytes.
    #[test]
    fn hostile_pickles_cost_what_they_are_long() {
        let deep = if cfg!(miri) { 1000 } else { 1_000_000 };
        for (pickle, said) in [
            ([&b")"[..], &vec![0x85; deep], b"."].concat(), "no state dictionary"),
            ([vec![b']'; deep], vec![b'a'; deep - 1], b".".to_vec()].concat(), "no state dictionary"),
            ([vec![b'('; deep], b".".to_vec()].concat(), "than lies there"),
            (b"X\xff\xff\xff\xff.".to_vec(), "cut short"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.".to_vec(), "cut short"),
            (b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R.".to_vec(), "no state dictionary"),
            (b"i".to_vec(), "instruction 0x69"),
            (vec![b'N'; LONGEST + 1], "the most that are read"),
        ] {
            let error = tensors(&pickle).unwrap_err();
            assert!(error.contains(said), "{said}: {error}");
        }
        // A dictionary of a tuple of a tuple of ..., each holding the one before twice: 2^100 values, 100 nodes.
        let mut pickle = b"X\x03\x00\x00\x00lolq\x00".to_vec();
        for level in 0..100 {
            pickle.extend([b'h', level, b'h', level, 0x86, b'q', level + 1]);
        }
        pickle.extend(b"}X\x01\x00\x00\x00wh\x64s.");
        assert_eq!(tensors(&pickle).unwrap(), []);
        // It holds itself.
        assert_eq!(tensors(b"}q\x00X\x01\x00\x00\x00wh\x00s.").unwrap(), []);
    }

    #[test]
    fn numbers_of_any_width_have_their_sign() {
        let long = |bytes: &[u8]| match Machine::new(bytes).long(bytes.len()).unwrap() {
            Node::Int(number) => Some(number),
            _ => None,
        };
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xff]), Some(-1));
        assert_eq!(long(&[0xff, 0]), Some(255));
        assert_eq!(long(&[0; 9]), None);
    }
}
