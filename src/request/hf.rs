//! Replies as transformers' pipeline returned them.

use serde::Serialize;

use super::reply::Reply;

/// One answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row<'a> {
    /// Its score.
    pub score: f32,
    /// Offset of its first unit.
    pub start: usize,
    /// Offset after its last unit.
    pub end: usize,
    /// The text; empty for "no answer".
    pub answer: &'a str,
    /// Which question it belongs to, where somebody wants to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub question: Option<&'a str>,
}

/// The answers of a reply, best first, at most `top_k`. If `null_competes`, "no answer" is one of them.
pub fn rows(reply: &Reply, null_competes: bool, top_k: usize) -> Vec<Row<'_>> {
    let row = |score, start, end, answer| Row { score, start, end, answer, question: None };
    let spans = reply.spans().iter();
    let mut rows: Vec<Row> =
        spans.map(|span| row(span.score, span.start, span.end, span.text.as_str())).collect();
    if null_competes {
        let null = row(reply.no_answer_score, 0, 0, "");
        let place = rows.iter().take_while(|row| row.score >= null.score).count();
        rows.insert(place, null);
        rows.truncate(top_k);
    }
    rows
}
