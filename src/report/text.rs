//! Texts and numbers as pages hold them.

/// A number as short as it may be.
pub(crate) fn number(value: f64) -> String {
    // Ten digits: more than a tick has, and too few to show how it was rounded. No minus before a zero.
    let rounded = format!("{value:.9e}").parse().unwrap_or(value) + 0.0;
    if rounded != 0.0 && rounded.abs() < 1e-3 { format!("{rounded:e}") } else { format!("{rounded}") }
}

/// Text as a web page may hold it.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            char if char.is_control() && char != '\n' && char != '\t' => safe.push(' '),
            char => safe.push(char),
        }
    }
    safe
}
