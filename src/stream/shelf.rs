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
    /// A shelf for about so many bytes of text. The latest passage is kept whatever its size.
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
        self.bytes += passage.text.len();
        self.order.push_back(key);
        if let Some(other) = self.known.insert(key, passage.clone()) {
            self.bytes -= other.text.len();
        }
        while self.bytes > self.capacity && self.order.len() > 1 {
            if let Some(oldest) = self.order.pop_front().and_then(|key| self.known.remove(&key)) {
                self.bytes -= oldest.text.len();
            }
        }
        Ok(passage)
    }
}
