//! Regular expressions of a tokenizer.json, matched in a number of steps that is bounded by the length of the text.
//!
//! The engine below the `tokenizers` crate may go back a million times for each match, and each time read on to the end of the text: an
//! expression of ten letters can keep it busy for days. This one counts. It knows what texts are cut with (classes, repetitions,
//! alternatives, looking around, atomic groups), finds what that engine finds, and refuses the rest when the file is read. Its stack is on the
//! heap, and holds an entry for a run of characters, not for each.

use std::collections::HashMap;

use fancy_regex::{Assertion, Expr, LookAround};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, HirKind};
use tokenizers::Offsets;
use tokenizers::tokenizer::pattern::Pattern;

/// Steps that every text may take, and those that each byte of it adds: about a second for a megabyte. Real expressions take some ten a byte.
const STEPS: usize = 1_000;
const STEPS_A_BYTE: usize = 200;
/// The most instructions of one expression.
const MOST_CODE: usize = 16_384;

/// An expression, compiled.
#[derive(Debug)]
pub(super) struct Regex {
    code: Vec<Op>,
    classes: Vec<Letters>,
}

/// One instruction.
#[derive(Debug, Clone, Copy)]
enum Op {
    /// One character of a class.
    One(usize),
    /// As many of a class as there are between two numbers, or as few.
    Run {
        class: usize,
        least: usize,
        most: usize,
        greedy: bool,
    },
    /// Go on at the first, and if that fails at the second.
    Either(usize, usize),
    Jump(usize),
    Assert(Place),
    /// What follows up to `end` must match, or must not, so many characters back, without moving on.
    Look {
        back: usize,
        wanted: bool,
        end: usize,
    },
    /// What follows up to `end` matches in one way only.
    Atomic {
        end: usize,
    },
    Accept,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    TextStart,
    TextEnd,
    LineStart,
    LineEnd,
    /// Between a letter of the class and something else, or not.
    WordEdge {
        words: usize,
        wanted: bool,
    },
}

/// Where to go on when something fails.
#[derive(Debug, Clone, Copy)]
enum Back {
    At {
        code: usize,
        at: usize,
    },
    /// One character less, down to `least`.
    Less {
        code: usize,
        at: usize,
        least: usize,
    },
    /// One character more, if it is of the class.
    More {
        code: usize,
        at: usize,
        class: usize,
        left: usize,
    },
}

/// More steps were taken than the text allows.
#[derive(Debug, PartialEq)]
pub(super) struct TooLong;

impl Regex {
    pub(super) fn new(pattern: &str) -> Result<Self, String> {
        let tree = Expr::parse_tree(pattern).map_err(|error| error.to_string())?;
        let mut compiler = Compiler::default();
        compiler.add(&tree.expr)?;
        compiler.push(Op::Accept)?;
        Ok(Self { code: compiler.code, classes: compiler.classes })
    }

    /// All matches, as that engine lists them: from left to right, and none of nothing directly behind another one.
    pub(super) fn find_all(&self, text: &str) -> Result<Vec<(usize, usize)>, TooLong> {
        let mut search = Search { regex: self, text, steps: STEPS + STEPS_A_BYTE.saturating_mul(text.len()) };
        let mut found: Vec<(usize, usize)> = Vec::new();
        let mut start = 0;
        while start <= text.len() {
            let end = search.run(0, start)?;
            match end {
                Some(end) if end > start => {
                    found.push((start, end));
                    start = end;
                    continue;
                }
                Some(end) if found.last().is_none_or(|last| last.1 != end) => found.push((start, end)),
                _ => {}
            }
            start += text[start..].chars().next().map_or(1, char::len_utf8);
        }
        Ok(found)
    }
}

impl Pattern for &Regex {
    fn find_matches(&self, text: &str) -> tokenizers::Result<Vec<(Offsets, bool)>> {
        if text.is_empty() {
            return Ok(vec![((0, 0), false)]);
        }
        let found = self.find_all(text);
        let found =
            found.map_err(|TooLong| "a regular expression of its tokenizer takes too long for this text")?;
        let mut pieces = Vec::with_capacity(2 * found.len() + 1);
        let mut behind = 0;
        for (start, end) in found {
            if behind < start {
                pieces.push(((behind, start), false));
            }
            pieces.push(((start, end), true));
            behind = end;
        }
        if behind < text.len() {
            pieces.push(((behind, text.len()), false));
        }
        Ok(pieces)
    }
}

struct Search<'a> {
    regex: &'a Regex,
    text: &'a str,
    /// Those that are left.
    steps: usize,
}

impl Search<'_> {
    /// Where a match ends that starts here. Inner code ends with `Accept`, too, so this is also how it is run.
    fn run(&mut self, mut code: usize, mut at: usize) -> Result<Option<usize>, TooLong> {
        let mut stack: Vec<Back> = Vec::new();
        loop {
            self.count()?;
            let goes_on = match self.regex.code[code] {
                Op::Accept => return Ok(Some(at)),
                Op::One(class) => self.next(at, class).map(|next| (code + 1, next)),
                Op::Run { class, least, most, greedy } => self
                    .many(class, (least, most, greedy), code + 1, at, &mut stack)?
                    .map(|next| (code + 1, next)),
                Op::Either(first, second) => {
                    stack.push(Back::At { code: second, at });
                    Some((first, at))
                }
                Op::Jump(code) => Some((code, at)),
                Op::Assert(place) => self.is_at(place, at).then_some((code + 1, at)),
                Op::Look { back, wanted, end } => {
                    let found = match self.before(at, back) {
                        Some(from) => self.run(code + 1, from)?.is_some(),
                        None => false,
                    };
                    (found == wanted).then_some((end, at))
                }
                Op::Atomic { end } => self.run(code + 1, at)?.map(|next| (end, next)),
            };
            (code, at) = match goes_on {
                Some(next) => next,
                None => match self.go_back(&mut stack)? {
                    Some(next) => next,
                    None => return Ok(None),
                },
            };
        }
    }

    fn count(&mut self) -> Result<(), TooLong> {
        self.steps = self.steps.checked_sub(1).ok_or(TooLong)?;
        Ok(())
    }

    /// Where the character at a place ends, if it is of the class.
    fn next(&self, at: usize, class: usize) -> Option<usize> {
        let char = self.text[at..].chars().next()?;
        self.regex.classes[class].has(char).then(|| at + char.len_utf8())
    }

    fn many(
        &mut self,
        class: usize,
        (least, most, greedy): (usize, usize, bool),
        code: usize,
        mut at: usize,
        stack: &mut Vec<Back>,
    ) -> Result<Option<usize>, TooLong> {
        let mut fewest = at;
        let (mut count, stop) = (0, if greedy { most } else { least });
        while count < stop {
            self.count()?;
            let Some(next) = self.next(at, class) else { break };
            at = next;
            count += 1;
            if count == least {
                fewest = at;
            }
        }
        if count < least {
            return Ok(None);
        }
        match greedy {
            true if at > fewest => stack.push(Back::Less { code, at, least: fewest }),
            false if count < most => stack.push(Back::More { code, at, class, left: most - count }),
            _ => {}
        }
        Ok(Some(at))
    }

    fn go_back(&mut self, stack: &mut Vec<Back>) -> Result<Option<(usize, usize)>, TooLong> {
        while let Some(back) = stack.pop() {
            self.count()?;
            match back {
                Back::At { code, at } => return Ok(Some((code, at))),
                Back::Less { code, at, least } => {
                    let at = self.before(at, 1).unwrap_or(least);
                    if at > least {
                        stack.push(Back::Less { code, at, least });
                    }
                    return Ok(Some((code, at)));
                }
                Back::More { code, at, class, left } => {
                    let Some(at) = self.next(at, class) else { continue };
                    if left > 1 {
                        stack.push(Back::More { code, at, class, left: left - 1 });
                    }
                    return Ok(Some((code, at)));
                }
            }
        }
        Ok(None)
    }

    /// The place so many characters before another one.
    fn before(&self, at: usize, characters: usize) -> Option<usize> {
        let mut back = self.text[..at].char_indices().rev();
        (0..characters).try_fold(at, |_, _| back.next().map(|(at, _)| at))
    }

    fn is_at(&self, place: Place, at: usize) -> bool {
        let (before, after) = (self.text[..at].chars().next_back(), self.text[at..].chars().next());
        match place {
            Place::TextStart => before.is_none(),
            Place::TextEnd => after.is_none(),
            Place::LineStart => before.is_none_or(|char| char == '\n'),
            Place::LineEnd => after.is_none_or(|char| char == '\n'),
            Place::WordEdge { words, wanted } => {
                let is_word =
                    |char: Option<char>| char.is_some_and(|char| self.regex.classes[words].has(char));
                (is_word(before) != is_word(after)) == wanted
            }
        }
    }
}

/// A set of characters.
#[derive(Debug)]
struct Letters {
    ascii: u128,
    ranges: Vec<(char, char)>,
}

impl Letters {
    /// The class that an expression for one character stands for.
    fn of(expression: &str, any_case: bool) -> Option<Self> {
        let mut parser = ParserBuilder::new().case_insensitive(any_case).build();
        let ranges: Vec<(char, char)> = match parser.parse(expression).ok()?.into_kind() {
            HirKind::Class(Class::Unicode(class)) => {
                class.iter().map(|range| (range.start(), range.end())).collect()
            }
            HirKind::Class(Class::Bytes(class)) if class.is_ascii() => {
                class.iter().map(|range| (range.start().into(), range.end().into())).collect()
            }
            HirKind::Literal(literal) => {
                let mut chars = std::str::from_utf8(&literal.0).ok()?.chars();
                let (char, None) = (chars.next()?, chars.next()) else { return None };
                vec![(char, char)]
            }
            _ => return None,
        };
        let has = |char: u8| ranges.iter().any(|(first, last)| (*first..=*last).contains(&char::from(char)));
        let ascii = (0..128u8).filter(|char| has(*char)).fold(0, |set, char| set | 1 << char);
        Some(Self { ascii, ranges })
    }

    fn has(&self, char: char) -> bool {
        if char.is_ascii() {
            return self.ascii >> (char as u32) & 1 == 1;
        }
        let behind = self.ranges.partition_point(|(first, _)| *first <= char);
        behind > 0 && char <= self.ranges[behind - 1].1
    }
}

#[derive(Default)]
struct Compiler {
    code: Vec<Op>,
    classes: Vec<Letters>,
    known: HashMap<(String, bool), usize>,
}

impl Compiler {
    fn push(&mut self, op: Op) -> Result<usize, String> {
        if self.code.len() == MOST_CODE {
            return Err(format!("it takes more than {MOST_CODE} instructions"));
        }
        self.code.push(op);
        Ok(self.code.len() - 1)
    }

    fn class(&mut self, expression: &str, any_case: bool) -> Result<usize, String> {
        let key = (expression.to_owned(), any_case);
        if let Some(known) = self.known.get(&key) {
            return Ok(*known);
        }
        let letters =
            Letters::of(expression, any_case).ok_or(format!("`{expression}` is no class of characters"))?;
        self.classes.push(letters);
        self.known.insert(key, self.classes.len() - 1);
        Ok(self.classes.len() - 1)
    }

    /// The class of an expression that always is one character.
    fn single(&mut self, expression: &Expr) -> Result<Option<usize>, String> {
        Ok(Some(match expression {
            Expr::Any { newline: true } => self.class(r"[\s\S]", false)?,
            Expr::Any { newline: false } => self.class(r"[^\n]", false)?,
            Expr::Delegate { inner, size: 1, casei } => self.class(inner, *casei)?,
            Expr::Literal { val, casei } if val.chars().count() == 1 => {
                self.class(&regex_syntax::escape(val), *casei)?
            }
            Expr::Group(inner) => return self.single(inner),
            _ => return Ok(None),
        }))
    }

    fn add(&mut self, expression: &Expr) -> Result<(), String> {
        if let Some(class) = self.single(expression)? {
            self.push(Op::One(class))?;
            return Ok(());
        }
        match expression {
            Expr::Empty => {}
            Expr::Literal { val, casei } => {
                for char in val.chars() {
                    let class = self.class(&regex_syntax::escape(&char.to_string()), *casei)?;
                    self.push(Op::One(class))?;
                }
            }
            Expr::Concat(parts) => parts.iter().try_for_each(|part| self.add(part))?,
            Expr::Group(inner) => self.add(inner)?,
            Expr::Alt(ways) => self.alternatives(ways)?,
            Expr::Repeat { child, lo, hi, greedy } => self.repeat(child, *lo, *hi, *greedy)?,
            Expr::LookAround(inner, kind) => {
                let wanted = matches!(kind, LookAround::LookAhead | LookAround::LookBehind);
                let back = match kind {
                    LookAround::LookAhead | LookAround::LookAheadNeg => 0,
                    _ => width(inner).ok_or("it looks back by a number of characters that is not fixed")?,
                };
                self.inner(inner, |end| Op::Look { back, wanted, end })?;
            }
            Expr::AtomicGroup(inner) => self.inner(inner, |end| Op::Atomic { end })?,
            Expr::Assertion(assertion) => {
                let place = match assertion {
                    Assertion::StartText => Place::TextStart,
                    Assertion::EndText => Place::TextEnd,
                    Assertion::StartLine { crlf: false } => Place::LineStart,
                    Assertion::EndLine { crlf: false } => Place::LineEnd,
                    Assertion::WordBoundary | Assertion::NotWordBoundary => {
                        let wanted = *assertion == Assertion::WordBoundary;
                        Place::WordEdge { words: self.class(r"\w", false)?, wanted }
                    }
                    other => return Err(format!("{other:?} is not supported")),
                };
                self.push(Op::Assert(place))?;
            }
            other => {
                let name = format!("{other:?}");
                let name = name.split(['(', ' ', '{']).next().unwrap_or_default();
                return Err(format!("{name} is not supported"));
            }
        }
        Ok(())
    }

    fn inner(&mut self, expression: &Expr, op: impl Fn(usize) -> Op) -> Result<(), String> {
        let place = self.push(op(0))?;
        self.add(expression)?;
        self.push(Op::Accept)?;
        self.code[place] = op(self.code.len());
        Ok(())
    }

    fn alternatives(&mut self, ways: &[Expr]) -> Result<(), String> {
        let mut ends = Vec::new();
        for (number, way) in ways.iter().enumerate() {
            if number + 1 == ways.len() {
                self.add(way)?;
                break;
            }
            let fork = self.push(Op::Jump(0))?;
            self.add(way)?;
            ends.push(self.push(Op::Jump(0))?);
            self.code[fork] = Op::Either(fork + 1, self.code.len());
        }
        for end in ends {
            self.code[end] = Op::Jump(self.code.len());
        }
        Ok(())
    }

    fn repeat(&mut self, child: &Expr, least: usize, most: usize, greedy: bool) -> Result<(), String> {
        if let Some(class) = self.single(child)? {
            self.push(Op::Run { class, least, most, greedy })?;
            return Ok(());
        }
        if most > 1 && may_be_empty(child) {
            return Err("it repeats what may be nothing".into());
        }
        for _ in 0..least {
            self.add(child)?;
        }
        let fork =
            |go: usize, leave: usize| if greedy { Op::Either(go, leave) } else { Op::Either(leave, go) };
        if most == usize::MAX {
            let place = self.push(Op::Jump(0))?;
            self.add(child)?;
            self.push(Op::Jump(place))?;
            self.code[place] = fork(place + 1, self.code.len());
            return Ok(());
        }
        let mut forks = Vec::new();
        for _ in least..most {
            forks.push(self.push(Op::Jump(0))?);
            self.add(child)?;
        }
        for place in forks {
            self.code[place] = fork(place + 1, self.code.len());
        }
        Ok(())
    }
}

/// How many characters an expression matches, if that is fixed.
fn width(expression: &Expr) -> Option<usize> {
    match expression {
        Expr::Empty | Expr::Assertion(_) | Expr::LookAround(..) => Some(0),
        Expr::Any { .. } => Some(1),
        Expr::Delegate { size, .. } => Some(*size),
        Expr::Literal { val, .. } => Some(val.chars().count()),
        Expr::Concat(parts) => parts.iter().map(width).sum(),
        Expr::Alt(ways) => {
            let first = width(ways.first()?)?;
            ways.iter().all(|way| width(way) == Some(first)).then_some(first)
        }
        Expr::Group(inner) | Expr::AtomicGroup(inner) => width(inner),
        Expr::Repeat { child, lo, hi, .. } if lo == hi => width(child)?.checked_mul(*lo),
        _ => None,
    }
}

fn may_be_empty(expression: &Expr) -> bool {
    match expression {
        Expr::Any { .. } => false,
        Expr::Delegate { size, .. } => *size == 0,
        Expr::Literal { val, .. } => val.is_empty(),
        Expr::Concat(parts) => parts.iter().all(may_be_empty),
        Expr::Alt(ways) => ways.iter().any(may_be_empty),
        Expr::Group(inner) | Expr::AtomicGroup(inner) => may_be_empty(inner),
        Expr::Repeat { child, lo, .. } => *lo == 0 || may_be_empty(child),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What tokenizers in use are cut with, and what shows the rest of the language.
    const REAL: &[&str] = &[
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{M}]*[\p{Ll}\p{M}]+(?i:'s|'ll)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+",
        r" {2,}",
        r"\w+|[^\w\s]+",
        r"[一-龥ࠀ-一가-퟿]+",
        r"(?<=\s)\S|\b\w",
        r"(?<!\d)\d{2,4}?(?!\d)",
        r"^\s+|\s+$",
        r"\r\n|\r|\n",
        r"(?>a+)b|a",
        r"(?m)^a|b$",
        r"(a|b|ab)(c|bcd)(d*)",
        r"(?s).b|.",
        r"x*",
        r"\x{20}+|[[:punct:]]",
        r"(?i)straße|K",
    ];
    const PIECES: &[&str] = &[
        "a", "b", "ab", "c", "d", " ", "  ", "\n", "\r\n", "'s", "'LL", "12", "3", "é", "中", "한", "👑",
        "\u{a0}", "-", "the", "KING", "\t", "x", "ß", "STRAẞE", "\u{301}", "²",
    ];
    const ATOMS: &[&str] = &[
        "a",
        "b",
        "[ab]",
        r"\s",
        ".",
        "(?:a|b)",
        "(?:ab|a)",
        "(?=a)",
        "(?!b)",
        "(?<=a)",
        "(?<! )",
        r"\b",
        r"\B",
        "^",
        "$",
        "a+",
        "b*",
        "[^a]+",
        r"\s*",
        "a?",
        "b+?",
        "(?:ab)+",
        "(?>a+)",
        "(?:a|ab){1,2}",
        "a{2}",
        r"\S",
        "|",
        "(?:ab)*?",
    ];

    fn pick(random: &mut Random, from: &[&str], most: usize) -> String {
        let count = random.below(most + 1);
        (0..count).map(|_| from[random.below(from.len())]).collect()
    }

    fn same(pattern: &str, theirs: &fancy_regex::Regex, text: &str) {
        let expected: Vec<_> = theirs
            .find_iter(text)
            .map(|found| found.unwrap())
            .map(|found| (found.start(), found.end()))
            .collect();
        let ours = Regex::new(pattern).unwrap_or_else(|reason| panic!("{pattern}: {reason}"));
        assert_eq!(ours.find_all(text).as_ref(), Ok(&expected), "{pattern} in {text:?}");
    }

    #[test]
    fn it_finds_what_the_other_engine_finds() {
        let mut random = Random::new(1);
        for pattern in REAL {
            let theirs = fancy_regex::Regex::new(pattern).unwrap();
            for most in [0, 3, 12, 12, 12, 12, 300] {
                for _ in 0..8 {
                    same(pattern, &theirs, &pick(&mut random, PIECES, most));
                }
            }
        }
        for _ in 0..3000 {
            let pattern = pick(&mut random, ATOMS, 4);
            let theirs = fancy_regex::Regex::new(&pattern).unwrap();
            for _ in 0..3 {
                same(&pattern, &theirs, &pick(&mut random, &["a", "b", " ", "\n", "é"], 10));
            }
        }
    }

    /// Any of these keeps the other engine busy for minutes, over less text than this.
    #[test]
    fn what_would_take_for_ever_is_given_up() {
        let text = "x".repeat(200_000);
        for pattern in [
            r"[\s\S]*Q|x",
            r"(?:(?=[\s\S]*Q)|x)",
            r"(?:(?:(?=[\s\S]*Q)|(?=x))x)*?(?!x)(?=y)",
            r"(?:x|x)*?(?=y)",
            r"(x+x+)+(?=y)",
        ] {
            let regex = Regex::new(pattern).unwrap();
            assert_eq!(regex.find_all(&text), Err(TooLong), "{pattern}");
            let error = (&regex).find_matches(&text).unwrap_err().to_string();
            assert!(error.contains("takes too long for this text"), "{error}");
        }
        // What is long, but simple, is not given up.
        for text in [" ".repeat(200_000), text, "a\n".repeat(100_000)] {
            for pattern in REAL {
                assert!(Regex::new(pattern).unwrap().find_all(&text).is_ok(), "{pattern}");
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for (pattern, said) in [
            (r"(a)\1", "Backref is not supported"),
            (r"a\Kb", "KeepOut is not supported"),
            (r"(?<=a+)b", "a number of characters that is not fixed"),
            (r"(?:a*)*", "repeats what may be nothing"),
            (r"(?:(?:(?:ab){99}){99}){99}", "more than 16384 instructions"),
            ("(", "error"),
        ] {
            let reason = Regex::new(pattern).unwrap_err();
            assert!(reason.contains(said), "{pattern}: {reason}");
        }
    }
}
