//! Words of ASCII go past the pipeline of the `tokenizers` crate, which keeps for each letter where it came from: that takes most of a
//! tokenizer's time, and 150 times the memory of the text. What is not ASCII goes through the pipeline, from white space to white space.
//!
//! Both are possible because BERT's rules know no neighbours across white space.

use std::ops::Range;

use super::Tokens;
use super::engine::Engine;
use super::wordpiece::{LONGEST_WORD, WordPiece};

/// Words in other scripts go through the pipeline together, up to about so many bytes.
const TOGETHER: usize = 4096;

/// What a pipeline with BERT's normaliser, BERT's pre-tokenizer and WordPiece makes of ASCII.
pub(super) struct Plain {
    /// The pipeline's.
    pub(super) vocabulary: WordPiece,
    /// Whether the normaliser lower-cases.
    pub(super) lowercase: bool,
}

impl Plain {
    /// What the pipeline gives.
    pub(super) fn encode(&self, pipeline: &dyn Engine, text: &str) -> tokenizers::Result<Tokens> {
        let mut tokens = Tokens::default();
        let mut words = 0;
        let mut at = 0;
        while let Some((range, plain)) = next(text, at) {
            at = range.end;
            match plain {
                true => self.chunk(text, range, &mut tokens, &mut words),
                false => {
                    let through = pipeline.encode(&text[range.clone()])?;
                    tokens.append(&through, range.start, words);
                    words += through.word_count();
                }
            }
        }
        Ok(tokens)
    }

    /// Letters and digits that stand together are a word, and so is each other character.
    fn chunk(&self, text: &str, range: Range<usize>, tokens: &mut Tokens, words: &mut u32) {
        let bytes = text.as_bytes();
        let mut at = range.start;
        while at < range.end {
            let letters = bytes[at..range.end].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            let end = at + letters.max(1);
            self.word(&bytes[at..end], at, *words, tokens);
            *words += 1;
            at = end;
        }
    }

    fn word(&self, letters: &[u8], at: usize, word: u32, tokens: &mut Tokens) {
        let before = tokens.len();
        let mut lower = [0; LONGEST_WORD];
        let known = lower.get_mut(..letters.len()).and_then(|lower| {
            lower.copy_from_slice(letters);
            if self.lowercase {
                lower.make_ascii_lowercase();
            }
            let text = std::str::from_utf8(lower).ok()?;
            let mut push = |id, piece: Range<usize>| tokens.push(id, at + piece.start..at + piece.end, word);
            self.vocabulary.pieces(text, &mut push)
        });
        if known.is_none() {
            tokens.truncate(before);
            tokens.push(self.vocabulary.unknown(), at..at + letters.len(), word);
        }
    }
}

/// What comes next in a text: a chunk without white space that is all visible ASCII, or chunks that are not.
fn next(text: &str, from: usize) -> Option<(Range<usize>, bool)> {
    let bytes = text.as_bytes();
    let behind_spaces =
        |at: usize| bytes[at..].iter().position(|byte| !is_space(*byte)).map(|more| at + more);
    let plain_end = |at: usize| {
        let length = bytes[at..].iter().position(|byte| !byte.is_ascii_graphic());
        let end = length.map_or(bytes.len(), |length| at + length);
        bytes.get(end).is_none_or(|byte| is_space(*byte)).then_some(end)
    };
    let start = behind_spaces(from)?;
    if let Some(end) = plain_end(start) {
        return Some((start..end, true));
    }
    let mut end = chunk_end(text, start);
    while let Some(next) = behind_spaces(end).filter(|_| end - start < TOGETHER) {
        if plain_end(next).is_some() {
            break;
        }
        end = chunk_end(text, next);
    }
    Some((start..end, false))
}

/// Where a chunk ends: at white space or, if that is far away, behind a stop between ideographs, which are words of their own as it is.
fn chunk_end(text: &str, start: usize) -> usize {
    let bytes = text.as_bytes();
    let near = bytes.len().min(start + TOGETHER);
    if let Some(length) = bytes[start..near].iter().position(|byte| is_space(*byte)) {
        return start + length;
    }
    let far = (near..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    let mut chars = text[far..].char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        if char.is_ascii() && is_space(char as u8) {
            return far + at;
        }
        if is_stop(char) && chars.peek().is_some_and(|(_, next)| is_ideograph(*next)) {
            return far + at + char.len_utf8();
        }
    }
    text.len()
}

/// Not all that Rust calls white space: BERT's normaliser drops a form feed, and the words beside it become one.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_stop(char: char) -> bool {
    matches!(char, '。' | '，' | '、' | '！' | '？' | '；' | '：')
}

fn is_ideograph(char: char) -> bool {
    matches!(char, '\u{4e00}'..='\u{9fff}' | '\u{3041}'..='\u{3096}' | '\u{30a1}'..='\u{30fa}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelFile;
    use crate::text::engine::tests::check;
    use crate::text::{json, legacy};
    use proptest::prelude::*;
    use std::sync::LazyLock;

    /// Pieces of words, marks, scripts with and without spaces, and what BERT's normaliser drops or takes apart.
    const FRAGMENTS: &[&str] = &[
        "the",
        "The",
        "LIGHTHOUSES",
        "unaffable",
        "x",
        "1871",
        "3.14",
        "don't",
        "(a)",
        "[SEP]",
        "[unused1]",
        "##s",
        "--",
        "_",
        "$1,000",
        " ",
        "  ",
        "\t",
        "\n",
        "\r\n",
        "\u{b}",
        "\u{c}",
        "\0",
        "\u{7f}",
        "\u{a0}",
        "\u{3000}",
        "\u{2028}",
        "\u{200b}",
        "\u{ad}",
        "\u{feff}",
        "é",
        "E\u{301}",
        "\u{301}",
        "ß",
        "İ",
        "ﬁ",
        "ǅ",
        "naïve",
        "Škoda",
        "Ελλάδα",
        "Россия",
        "한국어",
        "日本語",
        "中文。",
        "，",
        "が",
        "ภาษาไทย",
        "العربية",
        "👑",
        "👩\u{200d}🚒",
        "½",
        "—",
        "“",
        "…",
        "\u{fffd}",
    ];

    /// With lower-casing and without, from both kinds of files.
    fn engines() -> [Box<dyn Engine>; 3] {
        let file = |path: &str| ModelFile::OnDisk(path.into());
        let lowercase = |lowercase: bool| {
            let settings = serde_json::from_value(serde_json::json!({"do_lower_case": lowercase})).unwrap();
            legacy::wordpiece(&file("models/builtin/vocab.txt"), &settings).unwrap().engine
        };
        let json = json::build(&file("tests/fixtures/tokenizers/bert-cased/tokenizer.json")).unwrap().engine;
        [lowercase(true), lowercase(false), json]
    }

    fn texts() -> impl Strategy<Value = String> {
        let fragment = (prop::sample::select(FRAGMENTS), any::<bool>());
        prop::collection::vec(fragment, 0..40).prop_map(|fragments| {
            let spaced =
                fragments.iter().map(|(text, space)| format!("{text}{}", if *space { " " } else { "" }));
            spaced.collect()
        })
    }

    proptest! {
        #[test]
        fn tokens_are_those_of_the_pipeline(text in texts(), any in ".{0,60}") {
            static ENGINES: LazyLock<[Box<dyn Engine>; 3]> = LazyLock::new(engines);
            for engine in &*ENGINES {
                check(&**engine, &text);
                check(&**engine, &any);
            }
        }
    }

    /// Longer than what goes through at once, with and without white space.
    #[test]
    fn long_texts_are_cut_where_the_pipeline_cuts() {
        let [plain, ..] = engines();
        for unit in
            ["Ünder the sea. ", "深海の王、城。", "ÄÖÜ", "中文，", "a中 ", "é\u{c}", "word ", &"z".repeat(99)]
        {
            check(&*plain, &unit.repeat(3 * TOGETHER / unit.len()));
        }
        let mixed = format!("{}\n{}, {} end.", "a".repeat(101), "b".repeat(100), "長い。".repeat(5000));
        check(&*plain, &mixed);
    }
}
