//! Damage: of bytes, of text and of JSON.

use serde_json::{Map, Value, json};
use spanqa::random::Random;

/// One of several things.
pub fn one<'a, T>(random: &mut Random, of: &'a [T]) -> &'a T {
    &of[random.below(of.len())]
}

/// Numbers at which sizes go wrong.
const SIZES: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 32,
    i64::MAX as u64,
    u64::MAX - 7,
    u64::MAX,
];

/// One of the seeds with a few bytes changed, moved, lost or added.
pub fn bytes(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let seed = one(random, seeds).clone();
    let all = seed.len();
    damaged(random, seeds, seed, 0, all)
}

/// The same for files whose middle is mostly numbers: only the first and the last of the bytes are changed.
pub fn ends(random: &mut Random, seeds: &[Vec<u8>], first: usize, last: usize) -> Vec<u8> {
    let seed = one(random, seeds).clone();
    let (from, to) = match random.below(3) {
        0 => (seed.len().saturating_sub(last), seed.len()),
        _ => (0, first.min(seed.len())),
    };
    damaged(random, seeds, seed, from, to)
}

fn damaged(random: &mut Random, seeds: &[Vec<u8>], mut bytes: Vec<u8>, from: usize, to: usize) -> Vec<u8> {
    for _ in 0..1 + random.below(6) {
        let to = to.min(bytes.len());
        let from = from.min(to);
        let room = to - from;
        let mut place = || from + random.below(room.max(1));
        let (at, other) = (place(), place());
        let length = random.below(16) + 1;
        match random.below(10) {
            0 if room > 0 => bytes[at] ^= 1 << random.below(8),
            1 if room > 0 => {
                let any = random.bits() as u8;
                bytes[at] = *one(random, &[0, 0xff, b'"', b'{', b'9', 0x80, any]);
            }
            2 if room > 0 => {
                let end = (at + length).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let some: Vec<u8> = (0..length).map(|_| random.bits() as u8).collect();
                bytes.splice(at.min(bytes.len())..at.min(bytes.len()), some);
            }
            4 if room > 0 => {
                let end = (other + length * 8).min(bytes.len());
                let copy = bytes[other.min(end)..end].to_vec();
                bytes.splice(at..at, copy);
            }
            5 | 6 if room > 0 => {
                let width = *one(random, &[1, 2, 4, 8]);
                let number = match random.below(4) {
                    0 => bytes.len() as u64,
                    1 => random.bits(),
                    _ => *one(random, &SIZES),
                };
                let end = (at + width).min(bytes.len());
                bytes[at..end].copy_from_slice(&number.to_le_bytes()[..end - at]);
            }
            7 if random.below(4) == 0 => bytes.truncate(at),
            8 if random.below(4) == 0 => {
                let tail = one(random, seeds);
                let cut = random.below(tail.len() + 1);
                bytes.truncate(at);
                bytes.extend(&tail[cut..]);
            }
            _ if room > 0 => bytes[at] = bytes[other.min(bytes.len() - 1)],
            _ => {}
        }
    }
    bytes
}

/// Text that programs trip over.
const NASTY: [&str; 40] = [
    "",
    " ",
    "\"",
    "\"\"",
    "'",
    ",",
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\0",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\u{feff}",
    "\u{2028}",
    "\u{200d}",
    "\u{301}",
    "\u{202e}",
    "\u{fdfa}",
    "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}",
    "\u{10ffff}",
    "\u{e000}",
    "\u{fffd}",
    "[SEP]",
    "</s>",
    "[CLS]",
    "<script>",
    "&#x110000;",
    "&lt;",
    "{",
    "}",
    "[",
    "]",
    "null",
    "-0",
    "1e999",
    "99999999999999999999",
    "../../etc/passwd",
];

/// One of the seeds as text, with pieces that do not belong there.
pub fn text(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = one(random, seeds).clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len() + 1);
        match random.below(6) {
            0 | 1 => {
                let piece = one(random, &NASTY);
                bytes.splice(at..at, piece.bytes());
            }
            2 => {
                let piece = one(random, &NASTY).repeat(1 + random.below(200));
                bytes.splice(at..at, piece.bytes());
            }
            3 => {
                let end = (at + random.below(40)).min(bytes.len());
                bytes.drain(at..end);
            }
            4 => {
                let end = (at + random.below(80)).min(bytes.len());
                let copy = bytes[at..end].repeat(1 + random.below(3));
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            _ if !bytes.is_empty() => {
                let at = at.min(bytes.len() - 1);
                bytes[at] = random.bits() as u8;
            }
            _ => {}
        }
    }
    bytes
}

/// One of the seeds, which are JSON, with a few values that are of another kind, size or place. Now and then its bytes are damaged instead.
pub fn json(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    if random.below(8) == 0 {
        return bytes(random, seeds);
    }
    let seed = one(random, seeds);
    let Ok(mut value) = serde_json::from_slice::<Value>(seed) else { return text(random, seeds) };
    for _ in 0..1 + random.below(4) {
        let count = nodes(&value);
        let copied = nth(&mut value, random.below(count)).clone();
        let change = replacement(random, &copied);
        let count = nodes(&value);
        // Values near the top are few, and as good to change as the many entries of a list.
        let at = if random.below(3) == 0 { random.below(count.min(30)) } else { random.below(count) };
        let place = nth(&mut value, at);
        match (place, random.below(4)) {
            (Value::Object(fields), 0) if !fields.is_empty() => {
                let name = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
                let old = fields.remove(&name);
                if random.below(2) == 0 {
                    let other =
                        if random.below(2) == 0 { name + "x" } else { (*one(random, &NASTY)).to_owned() };
                    fields.insert(other, old.unwrap_or_default());
                }
            }
            (Value::Array(items), 0) if !items.is_empty() => {
                items.remove(random.below(items.len()));
            }
            (Value::Array(items), 1) if !items.is_empty() => {
                let item = one(random, items).clone();
                let small = nodes(&item) < 10 && item.as_str().is_none_or(|text| text.len() < 100);
                let many = if small && random.below(10) == 0 { 5000 } else { 3 };
                items.extend(vec![item; many]);
            }
            (place, _) => *place = change,
        }
    }
    value.to_string().into_bytes()
}

fn replacement(random: &mut Random, other: &Value) -> Value {
    match random.below(14) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(*one(random, &SIZES)),
        3 => json!(*one(random, &[-1i64, i64::MIN, -1000])),
        4 => json!(*one(random, &[0.5, -0.0, 1e308, 1e-308, 3.5])),
        5 => json!(one(random, &NASTY).repeat(1 + random.below(4))),
        6 => json!("x".repeat(*one(random, &[100, 5000, 100_000]))),
        7 => json!([]),
        8 => json!({}),
        9 => (0..*one(random, &[3, 60, 120])).fold(Value::Null, |inner, _| json!([inner])),
        10 => Value::Object(Map::from_iter([("type".to_owned(), other.clone())])),
        11 => json!([other, other]),
        12 => json!(random.below(200)),
        _ => other.clone(),
    }
}

/// How many values there are, this one counted.
fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(nodes).sum(),
        Value::Object(fields) => fields.values().map(nodes).sum(),
        _ => 0,
    }
}

/// One of them by its number; the first is the value itself.
fn nth(value: &mut Value, mut number: usize) -> &mut Value {
    if number == 0 {
        return value;
    }
    number -= 1;
    let inside: Vec<&mut Value> = match value {
        Value::Array(items) => items.iter_mut().collect(),
        Value::Object(fields) => fields.values_mut().collect(),
        _ => unreachable!("a number below the count"),
    };
    for value in inside {
        let count = nodes(value);
        if number < count {
            return nth(value, number);
        }
        number -= count;
    }
    unreachable!("a number below the count")
}
