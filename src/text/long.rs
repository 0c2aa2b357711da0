//! Long texts go through a pipeline of the `tokenizers` crate in pieces: it takes 150 times the memory of what goes through at once.

use super::Tokens;
use super::engine::Engine;

/// About how many bytes go through at once.
const PIECE: usize = 1 << 16;

/// What a pipeline gives that cuts text at spaces before anything else, and knows no neighbours beyond.
pub(super) fn encode(pipeline: &dyn Engine, text: &str) -> tokenizers::Result<Tokens> {
    let mut start = cut(text, 0);
    let mut tokens = pipeline.encode(&text[..start])?;
    let mut words = tokens.word_count();
    while start < text.len() {
        let end = cut(text, start);
        // The letter before the space goes along, and its tokens are dropped: what stands first in a text is treated otherwise.
        let letter = start - 1;
        let mut piece = pipeline.encode(&text[letter..end])?;
        piece.drop_first_word();
        words -= 1;
        tokens.append(&piece, letter, words);
        words += piece.word_count();
        start = end;
    }
    Ok(tokens)
}

/// Where a piece ends: at a space between letters or digits of ASCII, in front of which every pipeline of this kind cuts, or at the end.
fn cut(text: &str, start: usize) -> usize {
    let letter = |byte: u8| byte.is_ascii_alphanumeric();
    let far = text.len().min(start + PIECE);
    let mut threes = text.as_bytes()[far..].windows(3);
    let found = threes.position(|three| letter(three[0]) && three[1] == b' ' && letter(three[2]));
    found.map_or(text.len(), |at| far + at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelFiles;
    use crate::text::engine::{Parts, tests::check};
    use crate::text::{json, legacy, sentencepiece};
    use std::path::Path;

    fn engines() -> Vec<Box<dyn Engine>> {
        let open = |folder: &str| {
            let files = ModelFiles::from_dir(&Path::new("tests/fixtures/tokenizers").join(folder)).unwrap();
            let settings = legacy::Config::read(&files).unwrap().legacy(&files).unwrap();
            (files, settings)
        };
        let ((roberta, of_roberta), (xlm, of_xlm)) = (open("roberta"), open("xlm-roberta"));
        let prefixed = serde_json::from_value(serde_json::json!({"add_prefix_space": true})).unwrap();
        let file = |files: &ModelFiles, name: &str| files.get(name).unwrap().clone();
        let bpe = |settings| {
            legacy::byte_level_bpe(&file(&roberta, "vocab.json"), &file(&roberta, "merges.txt"), settings)
        };
        let parts = [
            bpe(&of_roberta),
            bpe(&prefixed),
            json::build(&file(&roberta, "tokenizer.json")),
            sentencepiece::xlm_roberta(&file(&xlm, "sentencepiece.bpe.model"), &of_xlm),
            json::build(&file(&xlm, "tokenizer.json")),
        ];
        parts.into_iter().map(|parts: crate::text::Result<Parts>| parts.unwrap().engine).collect()
    }

    /// Builders make engines that take pieces, and the tokens are those of a text that goes through whole.
    #[test]
    fn tokens_are_those_of_the_whole() {
        let unit = "The 3 old kings didn't see  the sea; été,\tnaïve\n\nfoo_bar x y z 中文 ";
        for engine in &engines() {
            for step in [0, 1, 7] {
                // Cuts fall at other places of the unit.
                let text = format!("{}{}", "a".repeat(step), unit.repeat(3 * PIECE / unit.len()));
                check(&**engine, &text);
            }
        }
    }

    #[test]
    fn pieces_end_at_single_spaces() {
        let text = |middle: &str| format!("{}{middle}{}", "a".repeat(PIECE - 1), "b ".repeat(9));
        assert_eq!(cut(&text("a b"), 0), PIECE + 3);
        // Two spaces, a mark and no space at all are gone past.
        assert_eq!(cut(&text("xb  , é b c"), 0), PIECE + 9);
        assert_eq!(cut(&"é".repeat(PIECE), 0), 2 * PIECE);
        assert_eq!(cut("a b", 0), 3);
    }
}
