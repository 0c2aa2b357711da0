//! Hostile inputs: real files, requests and lines, damaged at random, go through the library until a budget is used up.
//!
//! A case fails if anything panics (also where the panic is caught, unless it is one of the tokenizers library, which becomes an error), if
//! it takes more than [`runner::LONGEST`] or more than [`runner::MOST_MEMORY`], or if what comes back breaks a promise: an answer that
//! is not where it says, a row that does not come back. Cases are numbered, and depend on the seed and their number alone.
//!
//! ```text
//! cargo test --release --test fuzz                            a few cases of each target, within seconds
//! SPANQA_FUZZ_SECONDS=600 cargo test --release --test fuzz    ten minutes of each
//! SPANQA_FUZZ_SEED=7                                          other cases
//! SPANQA_FUZZ_CASE=1234 ... -- safetensors                    one case again
//! ```
//!
//! The input of the running case is in `target/tmp/fuzz-TARGET`, so that one which ends the process can be found. What was found so far
//! is a small test beside the code that was wrong.

mod allocator;
mod data;
mod decode;
mod files;
mod models;
mod mutate;
mod runner;
#[cfg(all(feature = "serve", feature = "mcp"))]
mod wires;

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;
