//! An index of a folder or a corpus: which passages have a word, without reading them all.
//!
//! ```text
//! home      where indexes lie: in the cache, one folder for each folder that was indexed
//! manifest  which files are in the index, as they were when they were read, and in which segments
//! segment   passages of some files and where each term stands; never changed once it is written
//! write     makes a segment, of texts or of other segments
//! corpus    texts of a file of JSON lines
//! refresh   reads what is new or has changed, and forgets what is gone
//! vectors   a vector for each passage, in 8 bits a number
//! embed     makes those that are missing
//! search    the best passages of one or several indexes
//! memory    the same for texts in memory
//! ```
//!
//! A change is a new manifest, renamed into place: whoever searches sees the index before it or after it, and a process that is killed
//! leaves nothing but files that the next writer removes. Writers wait for each other; readers wait for nobody.

mod bytes;
mod corpus;
mod embed;
pub mod error;
mod home;
mod manifest;
mod memory;
mod refresh;
mod search;
mod segment;
mod vectors;
mod write;

pub use self::corpus::texts as corpus_texts;
pub use self::embed::{Embedded, Embedding};
pub use self::error::{Error, Result};
pub use self::home::{Home, Kept, Root};
pub use self::memory::Memory;
pub use self::refresh::{Progress, Refresh, Refreshed};
pub use self::search::{Found, Index, Texts, fused, nearest, search};

#[cfg(test)]
mod tests;
