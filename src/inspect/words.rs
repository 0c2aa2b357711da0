//! From tokens to words: nobody reads word pieces.

use std::ops::Range;

use crate::reader::input::{ModelInput, Part};
use crate::text::Tokenizer;

/// A word of a window, or a special token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What it belongs to.
    pub part: Part,
    /// Its tokens in the window.
    pub tokens: Range<usize>,
    /// Its bytes in the question or the document.
    pub bytes: Range<usize>,
    /// What it says, on one line.
    pub text: String,
}

impl Word {
    /// Whether one of its tokens is from the first to the last of a span.
    pub fn meets(&self, (first, last): (usize, usize)) -> bool {
        first < self.tokens.end && self.tokens.start <= last
    }
}

/// The words of a window, in order: the pre-tokenizer's. A token that belongs to none stands for itself.
pub fn words(input: &ModelInput, question: &str, document: &str, tokenizer: &Tokenizer) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    let mut before = None;
    for (token, place) in input.places.iter().enumerate() {
        let key = place.word.map(|word| (place.part, word));
        match words.last_mut() {
            Some(last) if key.is_some() && key == before => {
                last.tokens.end = token + 1;
                last.bytes.end = last.bytes.end.max(place.bytes.end);
            }
            _ => words.push(Word {
                part: place.part,
                tokens: token..token + 1,
                bytes: place.bytes.clone(),
                text: String::new(),
            }),
        }
        before = key;
    }
    for word in &mut words {
        let text = match word.part {
            Part::Special => "",
            Part::Question => question,
            Part::Document => document,
        };
        let said = text.get(word.bytes.clone()).unwrap_or_default();
        word.text = said.split_whitespace().collect::<Vec<_>>().join(" ");
        if word.text.is_empty() {
            word.text = tokenizer.token(input.ids[word.tokens.start]).unwrap_or_default();
        }
    }
    words
}

/// Attention `[query, key]` between words: a word pays what its tokens pay on average, and gets what they get together. Rows still sum
/// to 1.
pub fn by_word(attention: &[f32], words: &[Word]) -> Vec<f32> {
    let tokens = words.last().map_or(0, |last| last.tokens.end);
    let mut out = Vec::with_capacity(words.len() * words.len());
    for from in words {
        let count = from.tokens.len() as f32;
        let paid = |to: &Word| -> f32 {
            let rows = attention[from.tokens.start * tokens..from.tokens.end * tokens].chunks_exact(tokens);
            rows.map(|row| row[to.tokens.clone()].iter().sum::<f32>()).sum::<f32>() / count
        };
        out.extend(words.iter().map(paid));
    }
    out
}

/// The sum of the tokens' scores for each word.
pub fn sum_by_word(scores: &[f32], words: &[Word]) -> Vec<f32> {
    words.iter().map(|word| scores[word.tokens.clone()].iter().sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::ModelFiles;
    use crate::reader::input::TokenPlace;

    #[test]
    fn pieces_of_a_word_are_one_and_rows_still_sum_to_one() {
        let files = ModelFiles::from_dir(std::path::Path::new("tests/fixtures/tiny/minilm")).unwrap();
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        let place = |part, bytes: Range<usize>, word| TokenPlace { part, bytes, word };
        let input = ModelInput {
            ids: vec![2, 40, 41, 3, 42, 43],
            places: vec![
                TokenPlace::default(),
                place(Part::Question, 0..2, Some(0)),
                place(Part::Question, 2..4, Some(0)),
                TokenPlace::default(),
                place(Part::Document, 4..6, Some(0)),
                place(Part::Document, 6..9, None),
            ],
            ..ModelInput::default()
        };
        let words = words(&input, "seas", "and the\n x", &tokenizer);
        let said: Vec<(&str, Range<usize>)> =
            words.iter().map(|word| (word.text.as_str(), word.tokens.clone())).collect();
        assert_eq!(said, [("[CLS]", 0..1), ("seas", 1..3), ("[SEP]", 3..4), ("th", 4..5), ("e", 5..6)]);
        let met = |span| words.iter().map(|word| word.meets(span)).collect::<Vec<bool>>();
        assert_eq!(met((2, 2)), [false, true, false, false, false]);
        assert_eq!(met((3, 4)), [false, false, true, true, false]);
        let attention: Vec<f32> = (0..36).map(|at| if at % 7 == 0 { 0.5 } else { 0.1 }).collect();
        let by_word = by_word(&attention, &words);
        assert!(by_word.chunks(5).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-6), "{by_word:?}");
        // What both pieces pay each other and themselves, on average.
        assert!((by_word[6] - 0.6).abs() < 1e-6 && (by_word[1] - 0.2).abs() < 1e-6);
        assert_eq!(sum_by_word(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], &words), [1.0, 6.0, 8.0, 16.0, 32.0]);
    }
}
