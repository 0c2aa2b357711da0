//! Exact quotations for agents: a session of the Model Context Protocol over standard input and output.
//!
//! ```text
//! session  the protocol, of both eras: rmcp's work
//! tools    what can be called, and with which arguments
//! find     quotations and passages, from files or by an index
//! shelf    the files below the roots: which there are, and what they say
//! roots    which files may be read
//! quote    whether a quotation stands in a text
//! ```
//!
//! Nothing is fetched, and nothing is written but, by whoever opens it, the index of folders that have one. Every path is taken to its real place first, and has to lie below one of the roots.

pub mod error;
mod find;
mod quote;
mod roots;
mod session;
mod shelf;
mod tools;

pub use error::{Error, Result};
pub use roots::Roots;
pub use session::serve;
pub use tools::{Loading, OpenIndex, Ready};
