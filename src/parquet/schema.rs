//! From the flat list in a file's footer to a tree of columns.

use super::error::{Error, Result};

/// How deep columns may lie in each other.
const DEEPEST: usize = 32;

/// An element of the list.
#[derive(Default)]
pub(super) struct Element {
    pub physical: Option<i32>,
    pub length: usize,
    pub repetition: Option<i32>,
    pub name: String,
    pub children: usize,
    /// What its values mean, in the older and in the newer way of saying so.
    pub converted: Option<i32>,
    pub logical: Option<Meaning>,
    pub scale: u32,
}

/// How values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Truth,
    Int32,
    Int64,
    Int96,
    Float,
    Double,
    Bytes,
    /// Bytes of one length, which is not 0.
    Fixed(usize),
}

/// What values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What is stored, or of a group: an object.
    Plain,
    Text,
    Unsigned,
    Decimal(u32),
    Date,
    Time(Fraction),
    Instant(Fraction),
    Uuid,
    Half,
    /// Of a group: a list. Maps are lists of keys and values.
    List,
    /// Something that is not read.
    Other,
}

/// What a number of time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fraction {
    Milli,
    Micro,
    Nano,
}

impl Fraction {
    /// How many of them are a second, and digits of them.
    pub(super) fn per_second(self) -> (i64, usize) {
        match self {
            Fraction::Milli => (1000, 3),
            Fraction::Micro => (1_000_000, 6),
            Fraction::Nano => (1_000_000_000, 9),
        }
    }
}

/// A column that has values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leaf {
    /// Names from the top to it.
    pub path: String,
    pub physical: Physical,
    pub meaning: Meaning,
    /// The definition level of a value that is there.
    pub definition: u32,
    /// How many lists it lies in.
    pub repetition: u32,
}

/// A column, or a part of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    /// From this definition level on it is not null; `None` if it never is.
    pub present: Option<u32>,
    pub shape: Shape,
    /// Numbers of its leaves.
    pub leaves: std::ops::Range<usize>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Value,
    Object(Vec<(String, Node)>),
    /// From the definition level on it has elements; of all but the first one the repetition level is that number.
    List {
        element: Box<Node>,
        definition: u32,
        repetition: u32,
    },
}

/// The columns of a file.
pub(super) struct Schema {
    pub columns: Vec<(String, Node)>,
    pub leaves: Vec<Leaf>,
}

const OPTIONAL: i32 = 1;
const REPEATED: i32 = 2;

impl Schema {
    pub(super) fn of(elements: &[Element]) -> Result<Self> {
        let root = elements.first().ok_or_else(damaged)?;
        let mut tree = Tree { elements, at: 1, leaves: Vec::new(), path: Vec::new() };
        let mut columns = Vec::new();
        for _ in 0..root.children {
            columns.push(tree.column((0, 0))?);
        }
        if tree.at != elements.len() {
            return Err(damaged());
        }
        Ok(Self { columns, leaves: tree.leaves })
    }
}

fn damaged() -> Error {
    Error::damaged("its columns cannot be understood")
}

struct Tree<'a> {
    elements: &'a [Element],
    at: usize,
    leaves: Vec<Leaf>,
    path: Vec<&'a str>,
}

/// Levels of definition and repetition.
type Levels = (u32, u32);

impl<'a> Tree<'a> {
    fn next(&mut self) -> Result<&'a Element> {
        let element = self.elements.get(self.at).ok_or_else(damaged)?;
        self.at += 1;
        Ok(element)
    }

    /// The next column in something of these levels. One that is repeated and in no list is a list itself.
    fn column(&mut self, (definition, repetition): Levels) -> Result<(String, Node)> {
        let element = self.next()?;
        let node = match element.repetition {
            Some(REPEATED) => self.list(element, (definition, repetition), None)?,
            Some(OPTIONAL) => self.node(element, (definition + 1, repetition), Some(definition + 1))?,
            _ => self.node(element, (definition, repetition), None)?,
        };
        Ok((element.name.clone(), node))
    }

    /// A list of what an element says.
    fn list(
        &mut self,
        element: &'a Element,
        (definition, repetition): Levels,
        present: Option<u32>,
    ) -> Result<Node> {
        let first = self.leaves.len();
        let levels = (definition + 1, repetition + 1);
        let element = Box::new(self.node(element, levels, None)?);
        let shape = Shape::List { element, definition: levels.0, repetition: levels.1 };
        Ok(Node { present, shape, leaves: first..self.leaves.len() })
    }

    /// What an element says, its own repetition aside.
    fn node(&mut self, element: &'a Element, levels: Levels, present: Option<u32>) -> Result<Node> {
        if self.path.len() == DEEPEST {
            return Err(Error::unsupported(format!(
                "its columns lie more than {DEEPEST} deep in each other"
            )));
        }
        self.path.push(&element.name);
        let first = self.leaves.len();
        let node = if element.children == 0 {
            self.leaf(element, levels)?;
            Node { present, shape: Shape::Value, leaves: first..first + 1 }
        } else if meaning(element) == Meaning::List && element.children == 1 {
            self.listed(levels, present)?
        } else {
            let mut fields = Vec::new();
            for _ in 0..element.children {
                fields.push(self.column(levels)?);
            }
            Node { present, shape: Shape::Object(fields), leaves: first..self.leaves.len() }
        };
        self.path.pop();
        Ok(node)
    }

    /// A list whose only child is repeated. That child is the element itself if it is no more than a wrap around one column.
    fn listed(&mut self, (definition, repetition): Levels, present: Option<u32>) -> Result<Node> {
        let child = self.next()?;
        if child.repetition != Some(REPEATED) {
            return Err(damaged());
        }
        let wraps = child.children == 1
            && child.name != "array"
            && !child.name.ends_with("_tuple")
            && meaning(child) != Meaning::List;
        if !wraps {
            return self.list(child, (definition, repetition), present);
        }
        let first = self.leaves.len();
        let levels = (definition + 1, repetition + 1);
        let element = Box::new(self.column(levels)?.1);
        let shape = Shape::List { element, definition: levels.0, repetition: levels.1 };
        Ok(Node { present, shape, leaves: first..self.leaves.len() })
    }

    fn leaf(&mut self, element: &'a Element, (definition, repetition): Levels) -> Result<()> {
        let physical = match element.physical {
            Some(0) => Physical::Truth,
            Some(1) => Physical::Int32,
            Some(2) => Physical::Int64,
            Some(3) => Physical::Int96,
            Some(4) => Physical::Float,
            Some(5) => Physical::Double,
            Some(6) => Physical::Bytes,
            Some(7) if element.length > 0 => Physical::Fixed(element.length),
            _ => return Err(damaged()),
        };
        let path = self.path.join(".");
        self.leaves.push(Leaf { path, physical, meaning: meaning(element), definition, repetition });
        Ok(())
    }
}

fn meaning(element: &Element) -> Meaning {
    let converted = || match element.converted {
        None | Some(15..=18) => Meaning::Plain,
        // Texts, names of an enumeration, JSON.
        Some(0 | 4 | 19) => Meaning::Text,
        Some(1..=3) => Meaning::List,
        Some(5) => Meaning::Decimal(element.scale),
        Some(6) => Meaning::Date,
        Some(7) => Meaning::Time(Fraction::Milli),
        Some(8) => Meaning::Time(Fraction::Micro),
        Some(9) => Meaning::Instant(Fraction::Milli),
        Some(10) => Meaning::Instant(Fraction::Micro),
        Some(11..=14) => Meaning::Unsigned,
        Some(_) => Meaning::Other,
    };
    element.logical.unwrap_or_else(converted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(name: &str, repetition: i32, children: usize, converted: Option<i32>) -> Element {
        let physical = (children == 0).then_some(6);
        Element {
            physical,
            repetition: Some(repetition),
            name: name.into(),
            children,
            converted,
            ..Element::default()
        }
    }

    /// The ways in which lists are written, newer and older ones.
    #[test]
    fn lists_are_lists_however_they_are_written() {
        let (text, list) = (Some(0), Some(3));
        let root = |children| element("schema", 0, children, None);
        let shape = |elements: Vec<Element>| {
            let schema = Schema::of(&elements).unwrap();
            let leaf = &schema.leaves[0];
            (draw(&schema.columns[0].1), leaf.definition, leaf.repetition)
        };
        let today = vec![
            root(1),
            element("a", 1, 1, list),
            element("list", 2, 1, None),
            element("element", 1, 0, text),
        ];
        assert_eq!(shape(today), ("?[?value]".into(), 3, 1));
        let bare = vec![root(1), element("a", 2, 0, text)];
        assert_eq!(shape(bare), ("[value]".into(), 1, 1));
        let two_levels = vec![root(1), element("a", 1, 1, list), element("array", 2, 0, text)];
        assert_eq!(shape(two_levels), ("?[value]".into(), 2, 1));
        let wrapped =
            vec![root(1), element("a", 0, 1, list), element("array", 2, 1, None), element("b", 0, 0, text)];
        assert_eq!(shape(wrapped), ("[{value}]".into(), 1, 1));
        let map = vec![
            root(1),
            element("a", 1, 1, Some(1)),
            element("key_value", 2, 2, None),
            element("key", 0, 0, text),
            element("value", 1, 0, text),
        ];
        assert_eq!(shape(map), ("?[{value,?value}]".into(), 2, 1));
    }

    fn draw(node: &Node) -> String {
        let inner = match &node.shape {
            Shape::Value => "value".into(),
            Shape::Object(fields) => {
                format!("{{{}}}", fields.iter().map(|(_, field)| draw(field)).collect::<Vec<_>>().join(","))
            }
            Shape::List { element, .. } => format!("[{}]", draw(element)),
        };
        format!("{}{inner}", if node.present.is_some() { "?" } else { "" })
    }

    #[test]
    fn trees_that_cannot_be_are_refused() {
        let deep = (0..100).map(|_| element("a", 0, 1, None)).chain([element("b", 0, 0, None)]);
        assert!(Schema::of(&deep.collect::<Vec<_>>()).is_err());
        assert!(Schema::of(&[]).is_err());
        assert!(Schema::of(&[element("schema", 0, 2, None), element("a", 0, 0, None)]).is_err());
        assert!(Schema::of(&[element("schema", 0, 0, None), element("a", 0, 0, None)]).is_err());
    }
}
