//! Replies as transformers' pipeline returned them.

use std::io::Write;

use anyhow::Result;
use spanqa::request::hf;
use spanqa::request::reply::Reply;

use super::Printer;

impl Printer {
    /// One object for one answer, otherwise a list: what the pipeline did.
    pub(super) fn hf(&self, reply: &Reply, out: &mut dyn Write) -> Result<()> {
        let mut rows = hf::rows(reply, self.look.null_competes, self.look.top_k);
        let question = self.look.several.then_some(reply.question.as_str());
        rows.iter_mut().for_each(|row| row.question = question);
        match rows.as_slice() {
            [only] => self.json.write(only, out)?,
            _ => self.json.write(&rows, out)?,
        }
        Ok(())
    }
}
