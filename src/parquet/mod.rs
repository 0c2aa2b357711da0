//! Tables in Parquet, the form in which data sets are published: read row by row, each as a line of JSON.
//!
//! No row and no column is held longer than it takes: of each column that is read, one page is in memory. A file may be damaged or made to do
//! harm; what it claims is checked before anything is done for it. That is why the format is read here: with Apache's crate a page of a few bytes
//! that claims 2³¹ entries ends the program, as there is no memory for them.
//!
//! ```text
//! footer, schema    where columns are, and how they lie in each other      (thrift: how that is written)
//! page              pages of a column, without compression
//! values, hybrid    values and levels of a page, one by one
//! column            the values of a row in one column
//! json              a value as JSON
//! ```

mod bytes;
mod column;
pub mod error;
mod footer;
mod hybrid;
mod json;
mod page;
mod schema;
mod thrift;
mod values;

use std::io::{Read, Seek};

pub use error::{BadRow, Error, Result};
pub use footer::MAGIC;

use column::{Column, Entry};
use footer::Footer;
use schema::{Meaning, Node, Physical, Shape};

/// Which columns are read.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Of each of these groups of names one has to be there. All that are there are read.
    pub needed: Vec<Vec<String>>,
    /// These are read if they are there.
    pub wanted: Vec<String>,
    /// And all others, but for those of bytes that are no text.
    pub others: bool,
}

/// The rows of a file.
pub struct Rows<S> {
    source: S,
    footer: Footer,
    /// Numbers of the columns that are read.
    chosen: Vec<usize>,
    /// Bytes that the JSON of a row may have.
    limit: usize,
    /// The group that is read, from 1, and rows of it that are still to come.
    group: usize,
    left: u64,
    columns: Vec<Leaves>,
    position: u64,
    length: u64,
}

/// The leaves of one column.
struct Leaves(Vec<Leaf>);

struct Leaf {
    column: Column,
    /// Of the row that is being written.
    entries: Vec<Entry>,
    next: usize,
}

impl<S: Read + Seek> Rows<S> {
    /// Reads where everything is.
    pub fn open(mut source: S, choice: &Choice, limit: usize) -> Result<Self> {
        let (footer, length) = footer::read(&mut source)?;
        let all = &footer.schema.columns;
        for group in &choice.needed {
            if !all.iter().any(|(name, _)| group.contains(name)) {
                let found = all.iter().map(|(name, _)| name.chars().take(40).collect()).take(12).collect();
                return Err(Error::NoColumn { wanted: group.clone(), found });
            }
        }
        let named =
            |name: &String| choice.needed.iter().flatten().chain(&choice.wanted).any(|other| other == name);
        let is_text = |node: &Node| {
            let leaves = &footer.schema.leaves[node.leaves.clone()];
            leaves.iter().all(|leaf| match leaf.meaning {
                Meaning::Plain => !matches!(leaf.physical, Physical::Bytes | Physical::Fixed(_)),
                Meaning::Other => false,
                _ => true,
            })
        };
        let chosen = |(name, node): &(String, Node)| named(name) || (choice.others && is_text(node));
        let chosen = (0..all.len()).filter(|&at| chosen(&all[at])).collect();
        Ok(Self {
            source,
            chosen,
            limit,
            group: 0,
            left: 0,
            columns: Vec::new(),
            position: 0,
            length,
            footer,
        })
    }

    /// About how many bytes of the file belong to the rows so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next row.
    #[expect(
        clippy::should_implement_trait,
        reason = "after an error nothing comes any more, and one row may be bad alone"
    )]
    pub fn next(&mut self) -> Result<Option<Result<String, BadRow>>> {
        while self.left == 0 {
            if self.group == self.footer.groups.len() {
                self.position = self.length;
                return Ok(None);
            }
            self.open_group();
        }
        let rows = self.footer.groups[self.group - 1].rows;
        let row = self.row().map_err(|error| {
            error.at(|| format!("group {} of its rows, row {}", self.group, rows - self.left + 1))
        })?;
        self.left -= 1;
        let groups = self.footer.groups.len() as f64;
        let done = (self.group as f64 - self.left as f64 / rows as f64) / groups;
        self.position = (done * self.length as f64) as u64;
        Ok(Some(row))
    }

    fn open_group(&mut self) {
        let group = &self.footer.groups[self.group];
        let leaf = |at: usize| Leaf {
            column: Column::new(&self.footer.schema.leaves[at], &group.chunks[at]),
            entries: Vec::new(),
            next: 0,
        };
        let nodes = self.chosen.iter().map(|&at| &self.footer.schema.columns[at].1);
        self.columns = nodes.map(|node| Leaves(node.leaves.clone().map(leaf).collect())).collect();
        self.left = group.rows;
        self.group += 1;
    }

    fn row(&mut self) -> Result<Result<String, BadRow>> {
        let mut row = Row { out: String::from("{"), limit: self.limit, bad: None };
        for (&at, leaves) in self.chosen.iter().zip(&mut self.columns) {
            let (name, node) = &self.footer.schema.columns[at];
            for leaf in &mut leaves.0 {
                leaf.next = 0;
                if !leaf.column.row(&mut self.source, self.limit, &mut leaf.entries)? {
                    row.bad = Some(BadRow::TooLong);
                }
            }
            if row.bad.is_some() {
                continue;
            }
            if row.out.len() > 1 {
                row.out.push(',');
            }
            json::text_to(&mut row.out, name)?;
            row.out.push(':');
            let first = node.leaves.start;
            let written = row.write(node, &mut leaves.0, first, &self.footer.schema.leaves);
            written.map_err(|error| error.at(|| format!("column `{name}`")))?;
            if row.bad.is_none() && leaves.0.iter().any(|leaf| leaf.next < leaf.entries.len()) {
                return Err(unequal().at(|| format!("column `{name}`")));
            }
        }
        row.out.push('}');
        if row.bad.is_none() && row.out.len() > self.limit {
            row.bad = Some(BadRow::TooLong);
        }
        Ok(row.bad.map_or(Ok(row.out), Err))
    }
}

fn unequal() -> Error {
    Error::damaged("its parts have different numbers of values")
}

/// A row on its way to JSON.
struct Row {
    out: String,
    limit: usize,
    /// Why it is of no use. Then the rest of it need not be written.
    bad: Option<BadRow>,
}

impl Row {
    /// Writes a column or a part of one. `first` is the number of the first of its leaves that are there.
    fn write(
        &mut self,
        node: &Node,
        leaves: &mut [Leaf],
        first: usize,
        about: &[schema::Leaf],
    ) -> Result<()> {
        let own = node.leaves.start - first..node.leaves.end - first;
        let definition = |leaves: &[Leaf]| -> Result<u32> {
            let leaf = leaves.get(own.start).ok_or_else(unequal)?;
            Ok(leaf.entries.get(leaf.next).ok_or_else(unequal)?.definition)
        };
        let pass = |leaves: &mut [Leaf]| leaves[own.clone()].iter_mut().for_each(|leaf| leaf.next += 1);
        if let Some(present) = node.present
            && definition(leaves)? < present
        {
            pass(leaves);
            self.out.push_str("null");
            return Ok(());
        }
        if self.out.len() > self.limit {
            self.bad = Some(BadRow::TooLong);
        }
        if self.bad.is_some() {
            return Ok(());
        }
        match &node.shape {
            Shape::Value => {
                let leaf = &mut leaves[own.start];
                let value =
                    leaf.entries.get(leaf.next).and_then(|entry| entry.value.as_ref()).ok_or_else(unequal)?;
                let written = json::write(&mut self.out, value, &about[node.leaves.start])?;
                leaf.next += 1;
                self.bad = written.err();
            }
            Shape::Object(fields) => {
                self.out.push('{');
                for (at, (name, field)) in fields.iter().enumerate() {
                    if at > 0 {
                        self.out.push(',');
                    }
                    json::text_to(&mut self.out, name)?;
                    self.out.push(':');
                    self.write(field, leaves, first, about)?;
                }
                self.out.push('}');
            }
            Shape::List { definition: there, .. } if definition(leaves)? < *there => {
                pass(leaves);
                self.out.push_str("[]");
            }
            Shape::List { element, repetition, .. } => {
                self.out.push('[');
                loop {
                    self.write(element, leaves, first, about)?;
                    let leaf = &leaves[own.start];
                    let next = leaf.entries.get(leaf.next);
                    if self.bad.is_some() || next.is_none_or(|entry| entry.repetition != *repetition) {
                        break;
                    }
                    self.out.push(',');
                }
                self.out.push(']');
            }
        }
        Ok(())
    }
}
