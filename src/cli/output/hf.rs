//! Replies as transformers' pipeline returned them.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;
use spanqa::request::reply::Reply;

use super::Printer;

impl Printer {
    /// One object for one answer, otherwise a list: what the pipeline did.
    pub(super) fn hf(&self, reply: &Reply, out: &mut dyn Write) -> Result<()> {
        let question = self.look.several.then_some(reply.question.as_str());
        let row = |score, start, end, answer| Row { score, start, end, answer, question };
        let spans = reply.spans().iter();
        let mut rows: Vec<Row> =
            spans.map(|span| row(span.score, span.start, span.end, span.text.as_str())).collect();
        if self.look.null_competes {
            let null = row(reply.no_answer_score, 0, 0, "");
            let place = rows.iter().take_while(|row| row.score >= null.score).count();
            let wanted = rows.len().max(1);
            rows.insert(place, null);
            rows.truncate(wanted);
        }
        match rows.as_slice() {
            [only] => self.json.write(only, out)?,
            _ => self.json.write(&rows, out)?,
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Row<'a> {
    score: f32,
    start: usize,
    end: usize,
    answer: &'a str,
    /// Which question it belongs to, where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    question: Option<&'a str>,
}
