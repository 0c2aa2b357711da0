//! Documents that were tokenised lately, so that a text which several requests share is tokenised once.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError};

use super::sync::{Mutex, MutexGuard, OnceLock};
use crate::document::Text;
use crate::reader::{Document, Reader, Result};
use crate::request::reply::DocumentId;

/// A few documents, the oldest of which make room for new ones. Several threads may use it at once.
pub struct Shelf {
    state: Mutex<State>,
    hasher: RandomState,
    /// Bytes.
    capacity: usize,
}

#[derive(Default)]
struct State {
    known: HashMap<u64, Slot>,
    /// Those that are not on their way any more, the oldest first.
    order: VecDeque<u64>,
    bytes: usize,
}

#[derive(Default)]
struct Slot {
    document: Pending,
    bytes: usize,
}

/// Empty while the first who wants it tokenises it; `None` if that failed.
type Pending = Arc<OnceLock<Option<Arc<Document>>>>;

impl Shelf {
    /// A shelf for documents that take about so many bytes, tokens included. The latest document is kept whatever its size.
    pub fn new(capacity: usize) -> Self {
        Self { state: Mutex::default(), hasher: RandomState::new(), capacity }
    }

    /// The document with that text, tokenised now unless it is here. Waits for another thread that is about to tokenise it.
    pub fn document(&self, reader: &Reader, id: DocumentId, text: Text) -> Result<Arc<Document>> {
        let key = self.hasher.hash_one((id.to_string(), &text.text));
        let slot = self.lock().slot(key);
        let (mut text, mut own) = (text, None);
        let found = slot.get_or_init(|| {
            let made = reader.prepare_document(id.clone(), std::mem::take(&mut text)).map(Arc::new);
            own.insert(made).as_ref().ok().cloned()
        });
        match (own, found) {
            (Some(made), _) => {
                let bytes = OVERHEAD + made.as_ref().map_or(0, |document| size(document));
                self.lock().weigh(key, bytes, self.capacity);
                made
            }
            (None, Some(known))
                if known.id == id && known.text == text.text && known.origin == text.origin =>
            {
                Ok(known.clone())
            }
            // Another text with the same key, or one that failed for somebody else, who has the error.
            (None, _) => Ok(Arc::new(reader.prepare_document(id, text)?)),
        }
    }

    /// What it says of itself is what it holds, once nobody is at it.
    #[cfg(all(test, feature = "model-checking"))]
    pub fn check(&self) {
        let state = self.lock();
        let bytes: usize = state.order.iter().map(|key| state.known[key].bytes).sum();
        assert_eq!((state.bytes, state.known.len()), (bytes, state.order.len()));
        assert!(state.bytes <= self.capacity || state.order.len() == 1);
    }

    /// Every change is whole before the lock is let go, so a panic elsewhere leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The place of a document, which may be on its way.
    fn slot(&mut self, key: u64) -> Pending {
        self.known.entry(key).or_default().document.clone()
    }

    /// Notes what a new document takes, and makes room for it.
    fn weigh(&mut self, key: u64, bytes: usize, capacity: usize) {
        let Some(slot) = self.known.get_mut(&key) else { return };
        slot.bytes = bytes;
        self.bytes += bytes;
        self.order.push_back(key);
        while self.bytes > capacity && self.order.len() > 1 {
            let oldest = self.order.pop_front().and_then(|key| self.known.remove(&key));
            self.bytes -= oldest.map_or(0, |slot| slot.bytes);
        }
    }
}

/// About the memory that a slot takes. Of short documents, most is not text.
const OVERHEAD: usize = 256;

/// About the memory that a document takes.
fn size(document: &Document) -> usize {
    const TOKEN: usize = 24;
    document.text.len() + TOKEN * document.tokens()
}
