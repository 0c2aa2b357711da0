//! The values of one column, row after row.

use std::io::{Read, Seek};
use std::rc::Rc;

use super::bytes::Bytes;
use super::error::{Error, Result};
use super::footer::Chunk;
use super::hybrid::Hybrid;
use super::page::{PageKind, Pages};
use super::schema::Leaf;
use super::values::{Value, Values, dictionary};

/// A value, or how far down there is none.
pub(super) struct Entry {
    /// 0 if it begins a row; else the innermost list that it goes on with.
    pub repetition: u32,
    /// How much of its path is there.
    pub definition: u32,
    pub value: Option<Value>,
}

/// Reads a column.
pub(super) struct Column {
    leaf: Leaf,
    pages: Pages,
    dictionary: Option<Rc<[Value]>>,
    /// Values of the column, and of the page, that are still to come.
    left: u64,
    left_in_page: u64,
    repetitions: Option<Hybrid>,
    definitions: Option<Hybrid>,
    values: Option<Values>,
    /// The repetition level of the next value, read ahead.
    ahead: Option<u32>,
}

impl Column {
    pub(super) fn new(leaf: &Leaf, chunk: &Chunk) -> Self {
        Self {
            leaf: leaf.clone(),
            pages: Pages::new(chunk),
            dictionary: None,
            left: chunk.values,
            left_in_page: 0,
            repetitions: None,
            definitions: None,
            values: None,
            ahead: None,
        }
    }

    /// Reads the entries of the next row. Those beyond `limit` bytes are read past; whether there were none.
    pub(super) fn row(
        &mut self,
        source: &mut (impl Read + Seek),
        limit: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<bool> {
        self.read(source, limit, entries).map_err(|error| error.at(|| format!("column `{}`", self.leaf.path)))
    }

    fn read(
        &mut self,
        source: &mut (impl Read + Seek),
        limit: usize,
        entries: &mut Vec<Entry>,
    ) -> Result<bool> {
        entries.clear();
        let mut weight = 0usize;
        match self.repetition(source)? {
            Some(0) => {}
            Some(_) => return Err(Error::damaged("a row begins in the middle")),
            None => return Err(Error::damaged("it has fewer rows than the file says")),
        }
        loop {
            let entry = self.entry()?;
            weight = weight.saturating_add(match &entry.value {
                Some(Value::Bytes(bytes)) => bytes.len() + 1,
                _ => 1,
            });
            if weight <= limit {
                entries.push(entry);
            }
            if self.leaf.repetition == 0 || matches!(self.repetition(source)?, None | Some(0)) {
                return Ok(weight <= limit);
            }
        }
    }

    /// The repetition level of the next value; `None` behind the last one.
    fn repetition(&mut self, source: &mut (impl Read + Seek)) -> Result<Option<u32>> {
        if self.ahead.is_none() && self.left > 0 {
            while self.left_in_page == 0 {
                self.page(source)?;
            }
            let level = self.repetitions.as_mut().map_or(Ok(0), Hybrid::next)?;
            if level > self.leaf.repetition {
                return Err(Error::damaged("a level is too high"));
            }
            self.ahead = Some(level);
        }
        Ok(self.ahead)
    }

    /// The value whose repetition level was read.
    fn entry(&mut self) -> Result<Entry> {
        let repetition = self.ahead.take().unwrap_or(0);
        self.left = self.left.saturating_sub(1);
        self.left_in_page = self.left_in_page.saturating_sub(1);
        let definition = self.definitions.as_mut().map_or(Ok(0), Hybrid::next)?;
        let value = match (&mut self.values, definition.cmp(&self.leaf.definition)) {
            (Some(values), std::cmp::Ordering::Equal) => Some(values.next()?),
            (_, std::cmp::Ordering::Less) => None,
            _ => return Err(Error::damaged("a level is too high")),
        };
        Ok(Entry { repetition, definition, value })
    }

    /// Goes to the next page.
    fn page(&mut self, source: &mut (impl Read + Seek)) -> Result<()> {
        let page = self.pages.next(source)?;
        let mut page = page.ok_or_else(|| Error::damaged("it has fewer values than it says"))?;
        let (repetition, definition) = (self.leaf.repetition, self.leaf.definition);
        let (repetitions, definitions): (Bytes, Bytes) = match page.kind {
            PageKind::Dictionary => {
                self.dictionary = Some(dictionary(page, &self.leaf)?);
                return Ok(());
            }
            PageKind::Data => {
                let bytes = &mut page.bytes;
                let mut levels = |most: u32| if most == 0 { bytes.take(0) } else { bytes.counted() };
                (levels(repetition)?, levels(definition)?)
            }
            PageKind::Data2 { repetition, definition } => {
                (page.bytes.take(repetition)?, page.bytes.take(definition)?)
            }
        };
        let levels = |bytes, most: u32| (most > 0).then(|| Hybrid::up_to(bytes, most)).transpose();
        self.repetitions = levels(repetitions, repetition)?;
        self.definitions = levels(definitions, definition)?;
        self.values = Some(Values::new(page.bytes, page.encoding, &self.leaf, self.dictionary.as_ref())?);
        self.left_in_page = page.values.min(self.left);
        Ok(())
    }
}
