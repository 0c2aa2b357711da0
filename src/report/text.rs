//! Texts and numbers as pages hold them.

/// A number as short as it may be.
pub(crate) fn number(value: f64) -> String {
    // Ten digits: more than a tick has, and too few to show how it was rounded. No minus before a zero.
    let rounded = format!("{value:.9e}").parse().unwrap_or(value) + 0.0;
    if rounded != 0.0 && rounded.abs() < 1e-3 { format!("{rounded:e}") } else { format!("{rounded}") }
}

/// A number to three digits.
pub(crate) fn rounded(value: f64) -> String {
    number(format!("{value:.2e}").parse().unwrap_or(value))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_are_enough() {
        assert_eq!(rounded(1.388888889e-6), "1.39e-6");
        assert_eq!([rounded(5e-5), rounded(0.0), rounded(123456.0)], ["5e-5", "0", "123000"]);
    }
}
