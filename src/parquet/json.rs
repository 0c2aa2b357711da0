//! Values as JSON, as somebody would write them who makes lines of a table.

use std::fmt::Write;

use super::error::{BadRow, Error, Result};
use super::schema::{Fraction, Leaf, Meaning, Physical};
use super::values::Value;

/// Writes a value. What JSON has no word for becomes null.
pub(super) fn write(out: &mut String, value: &Value, leaf: &Leaf) -> Result<Result<(), BadRow>> {
    let before = out.len();
    let written = match (value, leaf.meaning) {
        (Value::Int(number), Meaning::Decimal(scale)) => decimal(out, (*number).into(), scale),
        (Value::Bytes(bytes), Meaning::Decimal(scale)) => match signed(bytes) {
            Some(number) => decimal(out, number, scale),
            None => Some(()),
        },
        (Value::Int(number), Meaning::Unsigned) => match leaf.physical {
            Physical::Int32 => put(out, format_args!("{}", *number as u32)),
            _ => put(out, format_args!("{}", *number as u64)),
        },
        (Value::Int(days), Meaning::Date) => put(out, format_args!("\"{}\"", Day(*days))),
        (Value::Int(time), Meaning::Time(unit)) => put(out, format_args!("\"{}\"", Clock(*time, unit))),
        (Value::Int(time), Meaning::Instant(unit)) => instant(out, *time, unit),
        (Value::Int(number), _) => put(out, format_args!("{number}")),
        (Value::Truth(truth), _) => put(out, format_args!("{truth}")),
        (Value::Float(number), _) if number.is_finite() => put(out, format_args!("{number:?}")),
        (Value::Double(number), _) if number.is_finite() => put(out, format_args!("{number:?}")),
        (Value::Float(_) | Value::Double(_), _) => Some(()),
        (Value::Bytes(bytes), _) if leaf.physical == Physical::Int96 => old_instant(out, bytes),
        (Value::Bytes(bytes), Meaning::Half) => match bytes[..] {
            [low, high] => {
                let number = half::f16::from_le_bytes([low, high]).to_f32();
                if number.is_finite() { put(out, format_args!("{number:?}")) } else { Some(()) }
            }
            _ => Some(()),
        },
        (Value::Bytes(bytes), Meaning::Uuid) => uuid(out, bytes),
        (Value::Bytes(bytes), _) => match std::str::from_utf8(bytes) {
            Ok(text) => {
                text_to(out, text)?;
                Some(())
            }
            Err(error) => return Ok(Err(BadRow::NotUtf8(error.valid_up_to()))),
        },
    };
    written.ok_or_else(|| Error::damaged("a value cannot be written"))?;
    if out.len() == before {
        out.push_str("null");
    }
    Ok(Ok(()))
}

/// Writes a text with its quotation marks.
pub(super) fn text_to(out: &mut String, text: &str) -> Result<()> {
    let json = serde_json::to_string(text).map_err(|error| Error::damaged(error.to_string()))?;
    out.push_str(&json);
    Ok(())
}

fn put(out: &mut String, words: std::fmt::Arguments) -> Option<()> {
    out.write_fmt(words).ok()
}

/// A number that is stored as a multiple of a tenth, a hundredth and so on.
fn decimal(out: &mut String, number: i128, scale: u32) -> Option<()> {
    // More digits than a number of this size can have say nothing.
    let scale = scale.min(60) as usize;
    let digits = format!("{:0>width$}", number.unsigned_abs(), width = scale + 1);
    let (whole, part) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if number < 0 { "-" } else { "" }, if scale > 0 { "." } else { "" });
    put(out, format_args!("{sign}{whole}{point}{part}"))
}

/// A number whose highest byte comes first, if it is no longer than numbers here.
fn signed(bytes: &[u8]) -> Option<i128> {
    let first = *bytes.first().filter(|_| bytes.len() <= 16)?;
    let start = if first < 0x80 { 0 } else { -1 };
    Some(bytes.iter().fold(start, |number, &byte| number << 8 | i128::from(byte)))
}

const DAY: i64 = 24 * 60 * 60;

fn instant(out: &mut String, time: i64, unit: Fraction) -> Option<()> {
    let day = DAY * unit.per_second().0;
    put(out, format_args!("\"{}T{}\"", Day(time.div_euclid(day)), Clock(time.rem_euclid(day), unit)))
}

/// Nanoseconds of a day, and the day's number in the count of astronomers.
fn old_instant(out: &mut String, bytes: &[u8]) -> Option<()> {
    let (nanos, day) = bytes.split_at_checked(8)?;
    let nanos = i64::from_le_bytes(nanos.try_into().ok()?);
    let day = u32::from_le_bytes(day.try_into().ok()?);
    let days = i64::from(day) - 2_440_588 + nanos.div_euclid(DAY * 1_000_000_000);
    let clock = Clock(nanos.rem_euclid(DAY * 1_000_000_000), Fraction::Nano);
    put(out, format_args!("\"{}T{clock}\"", Day(days)))
}

fn uuid(out: &mut String, bytes: &[u8]) -> Option<()> {
    out.push('"');
    for (at, byte) in bytes.iter().enumerate() {
        put(out, format_args!("{}{byte:02x}", if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" }))?;
    }
    out.push('"');
    Some(())
}

/// A day, counted from the first of 1970.
struct Day(i64);

impl std::fmt::Display for Day {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        // Years that begin in March have their odd day at the end, and 400 of them are always as long.
        let days = self.0.saturating_add(719_468);
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
        write!(out, "{:04}-{month:02}-{day:02}", era * 400 + year + next)
    }
}

/// A time of day, with as many digits of a second as its unit has, or none if they are all 0.
struct Clock(i64, Fraction);

impl std::fmt::Display for Clock {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        let (one, digits) = self.1.per_second();
        let (seconds, part) = (self.0.div_euclid(one), self.0.rem_euclid(one));
        write!(out, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if part > 0 { write!(out, ".{part:0digits$}") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        for (days, written) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (20_784, "2026-11-27"),
            (-719_162, "0001-01-01"),
        ] {
            assert_eq!(Day(days).to_string(), written);
        }
        let _ = (Day(i64::MAX).to_string(), Day(i64::MIN).to_string());
    }

    #[test]
    fn decimals_keep_their_digits() {
        for (number, scale, written) in [
            (12_345, 2, "123.45"),
            (-5, 2, "-0.05"),
            (7, 0, "7"),
            (i128::MIN, 1, "-17014118346046923173168730371588410572.8"),
        ] {
            let mut out = String::new();
            decimal(&mut out, number, scale).unwrap();
            assert_eq!(out, written);
        }
        assert_eq!((signed(&[0xff, 0xfe]), signed(&[1, 0]), signed(&[])), (Some(-2), Some(256), None));
    }
}
