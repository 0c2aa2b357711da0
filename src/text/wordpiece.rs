//! WordPiece straight from the bytes of a vocab.txt.
//!
//! The built-in model's vocabulary is part of every start of the program. The general model of the `tokenizers` crate
//! copies each of its 30,522 entries into two hash maps; this one keeps the text where it lies and adds one table of
//! ids. It plugs into the crate's pipeline in place of that model and finds the same pieces.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use tokenizers::models::wordpiece::WordPieceTrainer;
use tokenizers::{Model, Token};

/// Marks a piece that continues a word.
pub(super) const CONTINUING: &str = "##";
/// Longer words are unknown as a whole.
pub(super) const LONGEST_WORD: usize = 100;
/// An empty place of the table.
const FREE: u32 = u32::MAX;

/// A vocabulary with one token a line.
#[derive(Clone)]
pub(super) struct WordPiece {
    text: Cow<'static, str>,
    /// Where the token of each id lies in `text`.
    lines: Arc<[(u32, u32)]>,
    /// Open addressing by the hash of the token; a power of two and at least twice as long as `lines`.
    table: Arc<[u32]>,
    /// The length of the longest token in bytes: no piece of text beyond it need be looked up.
    longest: usize,
    unknown: u32,
}

impl WordPiece {
    /// Takes a vocabulary over. The error says what is wrong with it.
    pub(super) fn new(bytes: Cow<'static, [u8]>, unknown: &str) -> Result<Self, String> {
        let text = match bytes {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(not_utf8)?,
            Cow::Owned(bytes) => {
                String::from_utf8(bytes).map(Cow::Owned).map_err(|error| not_utf8(error.utf8_error()))?
            }
        };
        if u32::try_from(text.len()).is_err() {
            return Err("it is larger than 4 GiB".into());
        }
        let lines = lines(&text);
        let mut table = vec![FREE; (lines.len() * 2).next_power_of_two()];
        for id in 0..lines.len() as u32 {
            let token = line(&text, &lines, id);
            let found =
                slot(&table, hash(SEED, token.as_bytes()), |found| line(&text, &lines, found) == token);
            // Of two equal lines the later one has the word, as in a Python dictionary.
            table[found] = id;
        }
        let longest = lines.iter().map(|(start, end)| (end - start) as usize).max().unwrap_or(0);
        let mut vocabulary = Self { text, lines: lines.into(), table: table.into(), longest, unknown: 0 };
        vocabulary.unknown = vocabulary.id(unknown).ok_or_else(|| format!("it has no `{unknown}`"))?;
        Ok(vocabulary)
    }

    /// The same from tokens and their ids; `None` if no file with a token a line could say that.
    pub(super) fn of(ids: &HashMap<String, u32>, unknown: &str) -> Option<Self> {
        let highest = *ids.values().max()? as usize;
        let most = 2 * ids.len() + 1024;
        if highest >= most || ids.keys().any(|token| token.contains(['\n', '\r'])) {
            return None;
        }
        let mut lines = vec![""; highest + 1];
        for (token, id) in ids {
            lines[*id as usize] = token;
        }
        Self::new(Cow::Owned(lines.join("\n").into_bytes()), unknown).ok()
    }

    /// How many lines there are, which is the highest id + 1.
    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }

    /// The id of the unknown token.
    pub(super) fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id of a token.
    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.find(hash(SEED, token.as_bytes()), |found| found == token)
    }

    fn line(&self, id: u32) -> &str {
        line(&self.text, &self.lines, id)
    }

    fn find(&self, hash: u64, is_it: impl Fn(&str) -> bool) -> Option<u32> {
        let id = self.table[slot(&self.table, hash, |id| is_it(self.line(id)))];
        (id != FREE).then_some(id)
    }

    /// Hands out the pieces of a word: their ids and bytes. `None` if it is not made of pieces; some may have been handed out by then.
    pub(super) fn pieces(&self, word: &str, each: &mut impl FnMut(u32, Range<usize>)) -> Option<()> {
        let mut start = 0;
        while start < word.len() {
            let (id, length) = self.longest_piece(&word[start..], start > 0)?;
            each(id, start..start + length);
            start += length;
        }
        Some(())
    }

    /// The longest piece that `rest` begins with, and its length. One pass: the hash grows with the piece.
    fn longest_piece(&self, rest: &str, continuing: bool) -> Option<(u32, usize)> {
        let prefix = if continuing { CONTINUING } else { "" };
        let mut state = hash(SEED, prefix.as_bytes());
        let mut best = None;
        for (start, character) in rest.char_indices() {
            let end = start + character.len_utf8();
            if prefix.len() + end > self.longest {
                break;
            }
            state = hash(state, &rest.as_bytes()[start..end]);
            let piece = &rest[..end];
            if let Some(id) = self.find(state, |found| found.strip_prefix(prefix) == Some(piece)) {
                best = Some((id, end));
            }
        }
        best
    }
}

impl Model for WordPiece {
    type Trainer = WordPieceTrainer;

    fn tokenize(&self, word: &str) -> tokenizers::Result<Vec<Token>> {
        let unknown =
            || Ok(vec![Token::new(self.unknown, self.line(self.unknown).to_owned(), (0, word.len()))]);
        if word.chars().count() > LONGEST_WORD {
            return unknown();
        }
        let mut tokens = Vec::new();
        let mut push = |id, piece: Range<usize>| {
            tokens.push(Token::new(id, self.line(id).to_owned(), (piece.start, piece.end)));
        };
        match self.pieces(word, &mut push) {
            Some(()) => Ok(tokens),
            None => unknown(),
        }
    }

    fn token_to_id(&self, token: &str) -> Option<u32> {
        self.id(token)
    }

    fn id_to_token(&self, id: u32) -> Option<String> {
        ((id as usize) < self.lines.len()).then(|| self.line(id).to_owned())
    }

    fn get_vocab(&self) -> HashMap<String, u32> {
        (0..self.lines.len() as u32).map(|id| (self.line(id).to_owned(), id)).collect()
    }

    fn get_vocab_size(&self) -> usize {
        self.lines.len()
    }

    fn save(&self, _folder: &Path, _name: Option<&str>) -> tokenizers::Result<Vec<PathBuf>> {
        Err("this vocabulary is read-only".into())
    }

    fn get_trainer(&self) -> Self::Trainer {
        WordPieceTrainer::default()
    }
}

/// As the crate's own model of that name.
impl Serialize for WordPiece {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut model = serializer.serialize_struct("WordPiece", 5)?;
        model.serialize_field("type", "WordPiece")?;
        model.serialize_field("unk_token", self.line(self.unknown))?;
        model.serialize_field("continuing_subword_prefix", CONTINUING)?;
        model.serialize_field("max_input_chars_per_word", &LONGEST_WORD)?;
        model.serialize_field("vocab", &self.get_vocab())?;
        model.end()
    }
}

fn not_utf8(error: std::str::Utf8Error) -> String {
    format!("it is not UTF-8 after byte {}", error.valid_up_to())
}

fn line<'a>(text: &'a str, lines: &[(u32, u32)], id: u32) -> &'a str {
    match lines.get(id as usize) {
        Some((start, end)) => &text[*start as usize..*end as usize],
        None => "",
    }
}

/// The place of the token whose id `is_it` accepts, or the free place where it would go. There always is a free place.
fn slot(table: &[u32], hash: u64, is_it: impl Fn(u32) -> bool) -> usize {
    let mask = table.len() - 1;
    let mut slot = (hash ^ (hash >> 32)) as usize & mask;
    while table[slot] != FREE && !is_it(table[slot]) {
        slot = (slot + 1) & mask;
    }
    slot
}

/// Where the lines lie, ended by `\n`, `\r\n` or `\r` as for Python's text files. Blank lines count: an id is a
/// line number.
fn lines(text: &str) -> Vec<(u32, u32)> {
    let bytes = text.as_bytes();
    let mut lines = Vec::with_capacity(bytes.len() / 7);
    let mut start = 0;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at > start || at == 0 || bytes[at - 1] != b'\r' => {
                lines.push((start as u32, at as u32));
                start = at + 1;
            }
            // The second half of a `\r\n` whose line has been counted.
            b'\n' => start = at + 1,
            b'\r' => {
                lines.push((start as u32, at as u32));
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < bytes.len() {
        lines.push((start as u32, bytes.len() as u32));
    }
    lines
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: short keys, and it can go on where it stopped.
fn hash(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, byte| (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(vocabulary: &WordPiece, word: &str) -> Vec<u32> {
        vocabulary.tokenize(word).unwrap().iter().map(|token| token.id).collect()
    }

    #[test]
    fn ids_are_line_numbers() {
        for text in ["[UNK]\na\n\n##b", "[UNK]\r\na\r\n\r\n##b\r\n", "[UNK]\ra\r\r##b\r", "[UNK]\na\n\n##b\n"]
        {
            let vocabulary = WordPiece::new(Cow::Borrowed(text.as_bytes()), "[UNK]").unwrap();
            assert_eq!(vocabulary.len(), 4, "{text:?}");
            assert_eq!(vocabulary.id("##b"), Some(3), "{text:?}");
            assert_eq!(pieces(&vocabulary, "ab"), [1, 3]);
            assert_eq!(pieces(&vocabulary, "ba"), [0]);
        }
    }

    #[test]
    fn the_longest_piece_wins_and_the_later_of_two_equal_lines() {
        let text = "[UNK]\nab\nabc\n##c\n##cd\nab\n##d";
        let vocabulary = WordPiece::new(Cow::Borrowed(text.as_bytes()), "[UNK]").unwrap();
        assert_eq!(pieces(&vocabulary, "abcd"), [2, 6]);
        assert_eq!(pieces(&vocabulary, "ab"), [5]);
        assert_eq!(pieces(&vocabulary, ""), [0u32; 0]);
    }

    #[test]
    fn a_vocabulary_needs_its_unknown_token() {
        for text in ["", "\n", "a\nb"] {
            assert!(WordPiece::new(Cow::Borrowed(text.as_bytes()), "[UNK]").is_err(), "{text:?}");
        }
        assert!(WordPiece::new(Cow::Borrowed(b"[UNK]\n\xff"), "[UNK]").is_err());
    }
}
