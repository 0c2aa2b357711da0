//! Exact quotations for agents: a session of the Model Context Protocol over standard input and output.
//!
//! ```text
//! session   the protocol, of both eras: rmcp's work
//! tools     what can be called, and with which arguments
//! find      quotations and passages, from files or by an index
//! lines     the lines around them
//! verify    whether a quotation stands in the files
//! quote     whether it stands in a text
//! files     what the files below the roots say
//! roots     which files may be read
//! model     the model, which may still be on its way
//! patience  how long a call is worked at
//! ```
//!
//! Every path is taken to its real place first, and has to lie below one of the roots. This room writes nothing and fetches nothing; whoever
//! opens models and indexes for it may fetch the one and bring the other up to date.

pub mod error;
mod files;
mod find;
mod lines;
mod model;
mod patience;
mod quote;
mod roots;
mod session;
mod tools;
mod verify;

pub use error::{Error, Result};
pub use model::{Loading, Ready};
pub use roots::Roots;
pub use session::serve;
pub use tools::OpenIndex;
