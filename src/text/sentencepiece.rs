//! XLM-R's tokenizer from a SentencePiece model file, and as much of protobuf as that takes.

use tokenizers::TokenizerBuilder;
use tokenizers::decoders::DecoderWrapper;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::Precompiled;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::roberta::RobertaProcessing;

use super::engine::{Parts, Shortcut, Way, guarded};
use super::fence::{LONGEST_PIECE, at_most, growth_at_most};
use super::legacy::Settings;
use crate::checkpoint::ModelFile;
use crate::text::error::Result;

/// What stands for a space inside pieces.
const SPACE: char = '\u{2581}';
/// XLM-R's four ids before the pieces.
const UNKNOWN: usize = 3;
/// SentencePiece's own `<unk>`, `<s>` and `</s>`, which XLM-R numbers otherwise.
const OWN_SPECIALS: usize = 3;

/// Builds XLM-R's tokenizer: `<s>`, `<pad>`, `</s>`, `<unk>`, the pieces from the fourth on, `<mask>`.
///
/// Text is split at white space before "▁" is put in front of every word, where the library itself squeezes runs of
/// spaces first. The ids are the same and no token's place begins with a space. (The one known difference:
/// U+0085 separates words here.)
pub(super) fn xlm_roberta(file: &ModelFile, settings: &Settings) -> Result<Parts> {
    let bytes = file.map()?;
    let model = ModelProto::read(&bytes).map_err(|reason| file.bad(reason))?;
    if model.algorithm != UNIGRAM {
        return Err(file.bad("it is not a Unigram model").into());
    }
    if model.pieces.len() <= OWN_SPECIALS
        || model.pieces[..OWN_SPECIALS].iter().any(|piece| piece.kind == Piece::NORMAL)
    {
        return Err(file
            .bad("it does not begin with <unk>, <s> and </s>, so its ids are not those of XLM-R")
            .into());
    }

    let [begin, pad, end, unknown, mask] = settings.special.xlm_roberta();
    let mut pieces = Vec::with_capacity(model.pieces.len() + 2);
    pieces.extend([begin, pad, end, unknown].map(|name| (unmatchable(name), 0.0)));
    pieces.extend(model.pieces[OWN_SPECIALS..].iter().map(|piece| {
        let text = if piece.matches_text() { piece.text.to_owned() } else { unmatchable(piece.text) };
        (text, f64::from(piece.score))
    }));
    let last = pieces.len() as u32;
    pieces.push((unmatchable(mask), 0.0));
    let names = [(0, begin), (1, pad), (2, end), (3, unknown), (last, mask)]
        .map(|(id, name)| (id, name.to_owned()))
        .to_vec();
    let vocab_size = pieces.len();

    let normalizer = match model.charsmap {
        [] => None,
        charsmap => {
            check_charsmap(charsmap).and_then(growth_at_most).map_err(|reason| file.bad(reason))?;
            Some(Precompiled::from(charsmap).map_err(|error| file.bad(error.to_string()))?)
        }
    };
    let prepend = match settings.add_prefix_space.unwrap_or(model.add_dummy_prefix) {
        true => PrependScheme::Always,
        false => PrependScheme::Never,
    };
    let mut split: Vec<PreTokenizerWrapper> = Vec::new();
    if model.remove_extra_whitespaces {
        split.push(WhitespaceSplit.into());
    }
    split.push(Metaspace::new(SPACE, prepend, true).into());

    let unigram =
        guarded(|| Unigram::from(pieces, Some(UNKNOWN), false)).map_err(|reason| file.bad(reason))?;
    // Segment 0 throughout and two `</s>` in the middle, as in RoBERTa, whose processor can do more than is needed.
    let post_processor =
        RobertaProcessing::new((end.to_owned(), 2), (begin.to_owned(), 0)).trim_offsets(false);
    let pipeline = TokenizerBuilder::<_, _, _, _, DecoderWrapper>::new()
        .with_model(unigram)
        .with_normalizer(normalizer)
        .with_pre_tokenizer(Some(Sequence::new(split)))
        .with_post_processor(Some(post_processor))
        .build()
        .map_err(|error| file.bad(error.to_string()))?;
    Ok(Parts {
        engine: Box::new(Shortcut { pipeline: Box::new(pipeline), way: Way::InPieces }),
        special: vec![0, 1, 2, last],
        unknown: Some(UNKNOWN as u32),
        names,
        vocab_size,
    })
}

/// A spelling that text cannot have when it reaches the model: by then a space has become "▁".
///
/// Unigram vocabularies hold their special tokens as pieces of score 0, the best there is. Unless they are made
/// unmatchable, `</s>` in a document is the end of the document; SentencePiece itself never matches them.
pub(super) fn unmatchable(piece: &str) -> String {
    format!(" {piece}")
}

/// `trainer_spec.model_type` of the models that can be read.
const UNIGRAM: u64 = 1;

/// The fields of SentencePiece's model file that matter here.
#[derive(Debug)]
struct ModelProto<'a> {
    pieces: Vec<Piece<'a>>,
    algorithm: u64,
    charsmap: &'a [u8],
    add_dummy_prefix: bool,
    remove_extra_whitespaces: bool,
}

#[derive(Debug)]
struct Piece<'a> {
    text: &'a str,
    score: f32,
    kind: u64,
}

impl<'a> Piece<'a> {
    const NORMAL: u64 = 1;
    const USER_DEFINED: u64 = 4;

    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut piece = Self { text: "", score: 0.0, kind: Self::NORMAL };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(text)) => {
                    piece.text = std::str::from_utf8(text).map_err(|_| "a piece is not UTF-8")?;
                }
                (2, Field::Four(bits)) => piece.score = f32::from_le_bytes(bits),
                (3, Field::Number(kind)) => piece.kind = kind,
                (1..=3, _) => return Err("a piece has fields of the wrong type".into()),
                _ => {}
            }
        }
        if piece.text.is_empty() {
            return Err("a piece is empty".into());
        }
        at_most("bytes in a piece", piece.text.len(), LONGEST_PIECE)?;
        if !piece.score.is_finite() {
            return Err(format!("the score of `{}` is not a number", piece.text));
        }
        Ok(piece)
    }

    /// Whether text can be made of it. The rest are control codes, bytes and unused entries.
    fn matches_text(&self) -> bool {
        matches!(self.kind, Self::NORMAL | Self::USER_DEFINED)
    }
}

impl<'a> ModelProto<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut model = Self {
            pieces: Vec::new(),
            algorithm: UNIGRAM,
            charsmap: &[],
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
        };
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (1, Field::Bytes(piece)) => model.pieces.push(Piece::read(piece)?),
                (2, Field::Bytes(trainer)) => model.read_trainer(trainer)?,
                (3, Field::Bytes(normalizer)) => model.read_normalizer(normalizer)?,
                (1..=3, _) => return Err("it is not a SentencePiece model".into()),
                _ => {}
            }
        }
        Ok(model)
    }

    fn read_trainer(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            if let (3, Field::Number(algorithm)) = field {
                self.algorithm = algorithm;
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &'a [u8]) -> Result<(), String> {
        let mut fields = Fields::new(bytes);
        while let Some(field) = fields.next()? {
            match field {
                (2, Field::Bytes(charsmap)) => self.charsmap = charsmap,
                (3, Field::Number(yes)) => self.add_dummy_prefix = yes != 0,
                (4, Field::Number(yes)) => self.remove_extra_whitespaces = yes != 0,
                (2..=4, _) => return Err("its normaliser has fields of the wrong type".into()),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The value of a protobuf field. What it means depends on the message; nested messages are bytes until somebody reads
/// them, so nothing here recurses and no length is believed before it is checked.
#[derive(Debug, PartialEq)]
enum Field<'a> {
    Number(u64),
    Eight,
    Bytes(&'a [u8]),
    Four([u8; 4]),
}

/// The fields of one message, in order.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The next field and its number.
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, String> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 {
            return Err("it is not a protobuf message (a field has the number 0)".into());
        }
        let field = match key & 7 {
            0 => Field::Number(self.varint()?),
            1 => self.take(8).map(|_| Field::Eight)?,
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => match self.take(4)? {
                &[a, b, c, d] => Field::Four([a, b, c, d]),
                _ => return Err("it ends in the middle of a field".into()),
            },
            kind => {
                return Err(format!("it is not a protobuf message that can be read (wire type {kind})"));
            }
        };
        Ok(Some((number, field)))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let taken = usize::try_from(length).ok().and_then(|length| self.rest.split_at_checked(length));
        let (taken, rest) = taken.ok_or("it ends in the middle of a field")?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().enumerate() {
            let low = u64::from(byte & 0x7f);
            // Ten bytes hold 64 bits, and then the tenth holds only one.
            if index > 9 || (index == 9 && low > 1) {
                return Err("it is not a protobuf message (a number is too long)".into());
            }
            value |= low << (7 * index);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err("it ends in the middle of a number".into())
    }
}

/// Checks that every walk through a precompiled character map stays inside it. The `tokenizers` crate walks without
/// looking, and would panic in the middle of somebody's text.
///
/// The map is the length of a trie in bytes, the trie as a double array of 32-bit units, and the replacements, each
/// ended by a zero byte, which the trie's leaves point at. Returns the length of the longest of these, by which a text of single
/// bytes could grow.
pub(super) fn check_charsmap(charsmap: &[u8]) -> Result<usize, String> {
    let broken = || "its character map is broken".to_owned();
    let (length, rest) = charsmap.split_first_chunk::<4>().ok_or_else(broken)?;
    let length = u32::from_le_bytes(*length) as usize;
    let (trie, replacements) = rest.split_at_checked(length).ok_or_else(broken)?;
    if length == 0 || !length.is_multiple_of(4) {
        return Err(broken());
    }
    let replacements = std::str::from_utf8(replacements).map_err(|_| broken())?;
    let units: Vec<usize> =
        trie.as_chunks::<4>().0.iter().map(|unit| u32::from_le_bytes(*unit) as usize).collect();

    // Where a unit's children begin, what byte leads to a unit, and whether a key ends there.
    let offset = |unit: usize| (unit >> 10) << ((unit & (1 << 9)) >> 6);
    let label = |unit: usize| unit & ((1 << 31) | 0xff);
    let has_leaf = |unit: usize| (unit >> 8) & 1 == 1;

    let mut seen = vec![false; units.len()];
    let mut waiting = vec![offset(units[0])];
    while let Some(base) = waiting.pop() {
        // A walk tries all bytes from here before it compares labels.
        if base | 0xff >= units.len() {
            return Err(broken());
        }
        for byte in 1..=0xff {
            let at = base ^ byte;
            if label(units[at]) != byte || std::mem::replace(&mut seen[at], true) {
                continue;
            }
            let next = at ^ offset(units[at]);
            if has_leaf(units[at]) {
                let replacement = units.get(next).ok_or_else(broken)? & 0x7fff_ffff;
                if !replacements.is_char_boundary(replacement) {
                    return Err(broken());
                }
            }
            waiting.push(next);
        }
    }
    Ok(replacements.split('\0').map(str::len).max().unwrap_or(0).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_they_should() {
        let number = |bytes: &[u8]| Fields::new(bytes).varint();
        assert_eq!(number(&[0x96, 0x01]), Ok(150));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Ok(u64::MAX));
        assert!(number(&[]).is_err());
        assert!(number(&[0x80]).is_err());
        assert!(number(&[0xff; 9]).is_err());
        assert!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).is_err());
        assert!(number(&[0x80; 200]).is_err());
    }

    #[test]
    fn lengths_are_checked_before_they_are_used() {
        let field = |bytes: &[u8]| Fields::new(bytes).next().map(|field| field.is_some());
        assert_eq!(field(&[0x0a, 0x01, b'x']), Ok(true));
        assert!(field(&[0x0a, 0x02, b'x']).is_err());
        assert!(field(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_err());
        assert!(field(&[0x0d, 0, 0, 0]).is_err());
        assert!(field(&[0x0b]).is_err(), "groups nest, and are not read");
        assert!(field(&[0x02, 0x00]).is_err(), "field number 0");
    }

    #[test]
    fn pieces_must_be_text_with_a_score() {
        assert!(Piece::read(&[0x0a, 0x01, b'x', 0x15, 0, 0, 0x80, 0xbf]).is_ok_and(|p| p.score == -1.0));
        assert!(Piece::read(&[0x0a, 0x01, 0xff]).is_err());
        assert!(Piece::read(&[0x15, 0, 0, 0, 0]).is_err());
        assert!(Piece::read(&[0x0a, 0x01, b'x', 0x15, 0, 0, 0xc0, 0x7f]).is_err());
        assert!(Piece::read(&[0x0a, 0x01, b'x', 0x10, 1]).is_err());
        // The trie of pieces is as deep as the longest is long.
        let piece = |length: usize| {
            let size = [(length & 0x7f) as u8 | 0x80, (length >> 7) as u8];
            Piece::read(&[&[0x0a][..], &size, &vec![b'x'; length]].concat()).map(|_| ())
        };
        assert_eq!(piece(LONGEST_PIECE), Ok(()));
        assert!(piece(LONGEST_PIECE + 1).is_err());
    }

    #[test]
    fn a_character_map_that_leads_outside_is_refused() {
        assert!(check_charsmap(&[]).is_err());
        assert!(check_charsmap(&[0, 0, 0, 0]).is_err());
        assert!(check_charsmap(&[0xff, 0xff, 0xff, 0xff, 0, 0]).is_err());
        // One block of units whose root stays in the block: an empty map.
        let mut map = 1024u32.to_le_bytes().to_vec();
        map.resize(4 + 1024, 0);
        assert_eq!(check_charsmap(&map), Ok(1));
        // A root that leads to a second block, which is not there.
        map[4..8].copy_from_slice(&(256u32 << 10).to_le_bytes());
        assert!(check_charsmap(&map).is_err());
        // A leaf for "a" that points behind the replacements.
        let mut map = 1024u32.to_le_bytes().to_vec();
        map.resize(4 + 1024, 0);
        let unit = 4 + 4 * usize::from(b'a');
        map[unit..unit + 4].copy_from_slice(&(u32::from(b'a') | (1 << 8) | (3 << 10)).to_le_bytes());
        let leaf = 4 + 4 * usize::from(b'a' ^ 3);
        map[leaf..leaf + 4].copy_from_slice(&9u32.to_le_bytes());
        assert!(check_charsmap(&map).is_err());
        map.extend(b"xxxxxxxxy\0");
        assert_eq!(check_charsmap(&map), Ok(9));
    }
}
