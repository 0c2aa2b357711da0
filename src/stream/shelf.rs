//! Passages that were tokenised lately, so that a text which several requests share is tokenised once.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use crate::answer::DocumentId;
use crate::error::Result;
use crate::reader::{Passage, Reader};

/// A few passages, the oldest of which make room for new ones.
pub struct Shelf {
    known: HashMap<u64, Arc<Passage>>,
    order: VecDeque<u64>,
    hasher: RandomState,
    bytes: usize,
    capacity: usize,
}

impl Shelf {
    /// A shelf for passages that take about so many bytes, tokens included. The latest passage is kept whatever its size.
    pub fn new(capacity: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), hasher: RandomState::new(), bytes: 0, capacity }
    }

    /// The passage with that text, tokenised now unless it is here.
    pub fn passage(&mut self, reader: &Reader, id: DocumentId, text: String) -> Result<Arc<Passage>> {
        let key = self.hasher.hash_one((id.to_string(), &text));
        if let Some(known) = self.known.get(&key)
            && known.id == id
            && known.text == text
        {
            return Ok(known.clone());
        }
        let passage = Arc::new(reader.prepare(id, text)?);
        self.bytes += size(&passage);
        self.order.push_back(key);
        if let Some(other) = self.known.insert(key, passage.clone()) {
            self.bytes -= size(&other);
        }
        while self.bytes > self.capacity && self.order.len() > 1 {
            if let Some(oldest) = self.order.pop_front().and_then(|key| self.known.remove(&key)) {
                self.bytes -= size(&oldest);
            }
        }
        Ok(passage)
    }
}

/// About the memory that a passage takes. Of short ones, most is not text.
fn size(passage: &Passage) -> usize {
    const OVERHEAD: usize = 256;
    const TOKEN: usize = 24;
    OVERHEAD + passage.text.len() + TOKEN * passage.tokens()
}
