//! JSON as it is printed: a line in a pipe, indented and coloured on a terminal.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::color::{ColorArg, Palette};

/// How JSON looks where it goes.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    indented: bool,
    color: bool,
}

impl Style {
    pub fn new(color: ColorArg) -> Self {
        Self { indented: io::stdout().is_terminal(), color: color.for_programs() }
    }

    /// Writes a value and a line break.
    pub fn write(self, value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
        let mut line = Vec::new();
        match self {
            Self { indented: false, color: false } => serde_json::to_writer(&mut line, value),
            Self { indented: true, color: false } => serde_json::to_writer_pretty(&mut line, value),
            Self { indented: false, color: true } => coloured(value, CompactFormatter, &mut line),
            Self { indented: true, color: true } => coloured(value, PrettyFormatter::new(), &mut line),
        }?;
        line.push(b'\n');
        out.write_all(&line)
    }
}

fn coloured(value: &impl Serialize, inner: impl Formatter, out: &mut Vec<u8>) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Coloured { inner, in_key: false }))
}

/// Puts colours around the keys and texts that another formatter writes.
struct Coloured<F> {
    inner: F,
    in_key: bool,
}

const KEY: &str = Palette::COLORS.strong;
const TEXT: &str = Palette::COLORS.name;
const RESET: &str = Palette::COLORS.reset;

impl<F: Formatter> Formatter for Coloured<F> {
    fn begin_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(if self.in_key { KEY } else { TEXT }.as_bytes())?;
        self.inner.begin_string(out)
    }

    fn end_string<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_string(out)?;
        out.write_all(RESET.as_bytes())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.in_key = true;
        self.inner.begin_object_key(out, first)
    }

    fn end_object_key<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.in_key = false;
        self.inner.end_object_key(out)
    }

    // The rest is the other formatter's, which knows where lines end and how deep they are.

    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.begin_array(out)
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_array(out)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.inner.begin_array_value(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_array_value(out)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.begin_object(out)
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_object(out)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.begin_object_value(out)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.inner.end_object_value(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(indented: bool, color: bool) -> String {
        let value = serde_json::json!({"a": ["x\u{1b}y", 1.5, null, {}], "b": {"c": true}});
        let mut out = Vec::new();
        Style { indented, color }.write(&value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn colours_change_nothing_else() {
        for indented in [false, true] {
            let plain =
                [KEY, TEXT, RESET].iter().fold(written(indented, true), |text, code| text.replace(code, ""));
            assert_eq!(plain, written(indented, false));
        }
        assert_eq!(written(false, false), "{\"a\":[\"x\\u001by\",1.5,null,{}],\"b\":{\"c\":true}}\n");
        assert!(written(true, false).contains("\n  \"b\": {\n    \"c\": true\n  }\n}\n"));
        let start = format!("{{{KEY}\"a\"{RESET}:[{TEXT}\"x\\u001by\"{RESET},1.5,");
        assert!(written(false, true).starts_with(&start), "{:?}", written(false, true));
    }
}
