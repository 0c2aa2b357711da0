//! Requests as other programs write them, and the records that they get back: the same whoever asks.
//!
//! ```text
//! lines        bytes -> lines, or rows of a table
//! parser       a line -> a request, with a ticket for each record that will come of it
//! shapes       what requests look like
//! passages     requests to put passages in order
//! texts        the same of texts that somebody wants vectors of
//! options      how replies are made
//! parameters   what a request asks of its own replies
//! reply        what a question gets back
//! hf           the same as transformers' pipeline returned it
//! record       a reply or an error as it is written down
//! rows         the same as rows of cells
//! ```

pub mod error;
pub mod hf;
pub mod lines;
mod options;
pub mod parameters;
pub mod parser;
pub mod passages;
pub mod record;
pub mod reply;
pub mod rows;
pub mod shapes;
pub mod table;
pub mod texts;

pub use error::{Error, Result};
pub use options::{FOUND, Options, PROMISING, Settings};
pub use shapes::{DocumentRef, Extra, Fields, Item, Rejected, Request};
