//! Gold answers: the shapes in which they come, and whether they stand where they should.

use serde_json::Value;

use crate::eval::data::dataset::Gold;

/// The three shapes in which answers come, and a single one without a list around it.
pub(super) fn golds(answers: Value) -> Result<Vec<Gold>, String> {
    match answers {
        Value::Array(list) => list.into_iter().map(gold).collect(),
        Value::Object(mut columns) => {
            let starts = columns.remove("answer_start").unwrap_or(Value::Null);
            match (columns.remove("text"), starts) {
                (Some(Value::Array(texts)), Value::Array(starts)) if texts.len() == starts.len() => {
                    texts.into_iter().zip(starts).map(|(text, at)| pair(Some(text), &at)).collect()
                }
                (Some(Value::Array(texts)), Value::Array(starts)) => {
                    Err(format!("has {} answers and {} answer_starts", texts.len(), starts.len()))
                }
                (Some(Value::Array(texts)), Value::Null) => {
                    texts.into_iter().map(|text| pair(Some(text), &Value::Null)).collect()
                }
                (text, at) => Ok(vec![pair(text, &at)?]),
            }
        }
        _ => Err("has `answers` that are neither a list nor an object".into()),
    }
}

fn gold(answer: Value) -> Result<Gold, String> {
    match answer {
        Value::Object(mut fields) => {
            let start = fields.remove("answer_start").unwrap_or(Value::Null);
            pair(fields.remove("text"), &start)
        }
        text => pair(Some(text), &Value::Null),
    }
}

fn pair(text: Option<Value>, start: &Value) -> Result<Gold, String> {
    let Some(Value::String(text)) = text else { return Err("has an answer without a text".into()) };
    let start = match start {
        Value::Null => None,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            // A start beyond any text is misaligned, and counted so.
            (None, Some(_)) => Some(usize::MAX),
            (Some(start), _) => Some(usize::try_from(start).unwrap_or(usize::MAX)),
            (None, None) => return Err(format!("has the answer_start {number}, which is no whole number")),
        },
        other => return Err(format!("has the answer_start {other}, which is no number")),
    };
    Ok(Gold { text, start })
}

/// Finds code points in a context.
pub(super) struct Aligner<'a> {
    context: &'a str,
    /// The byte of every code point, once one was asked for; none for ASCII.
    bytes: Option<Vec<usize>>,
}

impl<'a> Aligner<'a> {
    pub(super) fn new(context: &'a str) -> Self {
        Self { context, bytes: None }
    }

    /// Whether `text` stands at code point `start`.
    pub(super) fn stands(&mut self, text: &str, start: usize) -> bool {
        let at = if self.context.is_ascii() {
            start
        } else {
            let context = self.context;
            let bytes = self.bytes.get_or_insert_with(|| context.char_indices().map(|(at, _)| at).collect());
            bytes.get(start).copied().unwrap_or(usize::MAX)
        };
        self.context.get(at..).is_some_and(|rest| rest.starts_with(text))
    }
}
