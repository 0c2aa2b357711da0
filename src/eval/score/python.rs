//! Numbers and JSON as Python prints them, because the official scripts are Python and their output is compared as text.

use std::fmt::Write;

/// A number in an official result.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
#[serde(untagged)]
pub enum Figure {
    /// A count.
    Count(usize),
    /// A percentage, or a threshold that Python computed.
    Real(f64),
    /// A threshold that was a whole number in the file it came from.
    Whole(i64),
}

impl Figure {
    /// The number, whatever it was.
    pub fn value(&self) -> f64 {
        match *self {
            Figure::Count(count) => count as f64,
            Figure::Real(number) => number,
            Figure::Whole(number) => number as f64,
        }
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Figure::Count(count) => write!(out, "{count}"),
            Figure::Real(number) => out.write_str(&float(*number)),
            Figure::Whole(number) => write!(out, "{number}"),
        }
    }
}

/// `repr` of a float: the fewest digits that read back as the same number, with an exponent outside 1e-4..1e16.
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if (-4..16).contains(&exponent) => {
            let mut text = format!("{number}");
            if !text.contains('.') {
                text.push_str(".0");
            }
            text
        }
        Ok(exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        Err(_) => scientific,
    }
}

/// `json.dumps` of named numbers: indented by two as the v2.0 script prints them, or on one line as the others do.
pub fn dumps(figures: &[(&str, Figure)], indented: bool) -> String {
    let (open, between, close) = if indented { ("\n  ", ",\n  ", "\n") } else { ("", ", ", "") };
    let mut text = String::from("{");
    let mut before = open;
    for (name, figure) in figures {
        // Writing to a string cannot fail.
        let _ = write!(text, "{before}\"{name}\": {figure}");
        before = between;
    }
    text.push_str(close);
    text.push('}');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_look_like_pythons() {
        let cases = [
            (0.0, "0.0"),
            (100.0, "100.0"),
            (55.81757, "55.81757"),
            (2.0 / 3.0, "0.6666666666666666"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e15, "1000000000000000.0"),
            (-6.25, "-6.25"),
            (f64::INFINITY, "Infinity"),
        ];
        for (number, text) in cases {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn objects_look_like_pythons() {
        let figures = [("exact", Figure::Real(50.0)), ("total", Figure::Count(2)), ("t", Figure::Whole(-1))];
        assert_eq!(dumps(&figures, false), r#"{"exact": 50.0, "total": 2, "t": -1}"#);
        assert_eq!(dumps(&figures, true), "{\n  \"exact\": 50.0,\n  \"total\": 2,\n  \"t\": -1\n}");
        assert_eq!(dumps(&[], false), "{}");
    }
}
