//! Attention as a page: one file that needs nothing else, for a browser on a desk or in a hand.
//!
//! Probabilities between words travel as one byte each, the square root of the probability: small ones keep their difference. Most are nearly 0, so
//! gzip makes a fifth of them; the browser unpacks them itself.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::words::{Word, by_word};
use super::{Choice, Inside};
use crate::reader::input::Part;
use crate::report::text::escape;

const TEMPLATE: &str = include_str!("page.html");

/// What a page shows beside attention.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Picture<'a> {
    /// The question.
    pub question: &'a str,
    /// What the document is called.
    pub document: &'a str,
    /// The model.
    pub model: &'a str,
    /// The window's number.
    pub window: usize,
    /// The words of the window.
    pub words: &'a [Word],
    /// The texts that words were cut from: question and document.
    pub texts: [&'a str; 2],
    /// The answer, if the window has one: its first and last token.
    pub span: Option<(usize, usize)>,
    /// Whether the reply is that span, and not "no answer".
    pub answered: bool,
    /// The span's margin over "no answer".
    pub margin: Option<f32>,
    /// What each word does for the margin, to first order; empty without a span.
    pub scores: &'a [f32],
}

/// What the page's script reads.
#[derive(Serialize)]
struct Data<'a> {
    question: &'a str,
    document: &'a str,
    model: &'a str,
    window: usize,
    answered: bool,
    margin: Option<f32>,
    layers: &'a [usize],
    heads: &'a [usize],
    words: Vec<DataWord<'a>>,
    scores: &'a [f32],
    attention: String,
}

#[derive(Serialize)]
struct DataWord<'a> {
    text: &'a str,
    /// `s`, `q` or `d`: special, question, document.
    part: &'static str,
    /// Whether it touches the word before it.
    joined: bool,
    answer: bool,
}

/// The page, complete.
pub fn page(picture: &Picture, inside: &Inside, choice: &Choice) -> String {
    let words = picture.words;
    let data = Data {
        question: picture.question,
        document: picture.document,
        model: picture.model,
        window: picture.window,
        answered: picture.answered,
        margin: picture.margin,
        layers: &choice.layers,
        heads: &choice.heads,
        words: words.iter().enumerate().map(|(at, word)| data_word(picture, at, word)).collect(),
        scores: picture.scores,
        attention: packed(inside, choice, words),
    };
    // Texts and numbers always have a JSON form. What ends a script is spelled so that it does not.
    let json = serde_json::to_string(&data).unwrap_or_default().replace('<', "\\u003c");
    // The data come last: a question may spell what stands for them.
    let title = escape(&format!("Attention: {}", picture.question));
    let page = TEMPLATE.replacen("{{title}}", &title, 1);
    let (head, tail) = page.rsplit_once("{{data}}").unwrap_or((&page, ""));
    format!("{head}{json}{tail}")
}

fn data_word<'a>(picture: &Picture<'a>, at: usize, word: &'a Word) -> DataWord<'a> {
    let before =
        at.checked_sub(1).map(|before| &picture.words[before]).filter(|before| before.part == word.part);
    let joined = before.is_some_and(|before| match word.part {
        Part::Special => false,
        Part::Question => before.bytes.end >= start_of(word, picture.texts[0]),
        Part::Document => before.bytes.end >= start_of(word, picture.texts[1]),
    });
    DataWord {
        text: &word.text,
        part: match word.part {
            Part::Special => "s",
            Part::Question => "q",
            Part::Document => "d",
        },
        joined,
        answer: picture.span.is_some_and(|span| word.meets(span)),
    }
}

/// Where a word's letters start: some tokenizers count the space in front of it.
fn start_of(word: &Word, text: &str) -> usize {
    let said = text.get(word.bytes.clone()).unwrap_or_default();
    word.bytes.start + said.len() - said.trim_start().len()
}

/// The probabilities between words of each layer and head that was chosen, as base64.
fn packed(inside: &Inside, choice: &Choice, words: &[Word]) -> String {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    for (&layer, &head) in choice.pairs() {
        let bytes: Vec<u8> = by_word(inside.head(layer, head), words)
            .iter()
            .map(|probability| (255.0 * probability.clamp(0.0, 1.0).sqrt()).round() as u8)
            .collect();
        // Writing to memory does not fail, here and below.
        let _ = packer.write_all(&bytes);
    }
    base64(&packer.finish().unwrap_or_default())
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for letter in 0..4 {
            let shown = letter <= three.len();
            out.push(if shown { LETTERS[(bits >> (18 - 6 * letter) & 63) as usize] as char } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_spelled_in_letters() {
        for (bytes, letters) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes.as_bytes()), letters);
        }
    }

    #[test]
    fn a_text_cannot_end_the_script_nor_stand_for_the_data() {
        let hostile = "</script><img src=x> {{data}} {{title}}";
        let picture = Picture { question: hostile, ..Picture::default() };
        let inside = Inside { hidden_states: Vec::new(), attentions: Vec::new(), logits: Default::default() };
        let page = page(&picture, &inside, &Choice { layers: Vec::new(), heads: Vec::new() });
        assert!(!page.contains("</script><img") && !page.contains("<img"));
        let json = page.split("<script type=\"application/json\" id=\"data\">").nth(1).unwrap();
        let json = json.split("</script>").next().unwrap();
        let data: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(data["question"], hostile);
    }
}
