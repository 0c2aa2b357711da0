//! The integration tests, as one binary: every extra binary links the whole program again.

mod tokenizers;
