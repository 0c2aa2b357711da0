//! Windows and decoding with logits that no model gives.

use std::ops::Range;

use spanqa::decode::{Decoding, Document, Hf, Joint, Scoring, Window};
use spanqa::random::Random;
use spanqa::text::window::{LastWindow, Limits, WindowShape};

use crate::target::Target;

/// The numbers of a case. The first eight bytes of an input are a seed; those behind them are the first numbers themselves.
struct Numbers<'a> {
    bytes: &'a [u8],
    random: Random,
}

impl Numbers<'_> {
    fn of(bytes: &[u8]) -> Numbers<'_> {
        let (seed, bytes) = bytes.split_at(bytes.len().min(8));
        let seed = seed.iter().fold(0u64, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte));
        Numbers { bytes, random: Random::new(seed) }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    fn below(&mut self, bound: usize) -> usize {
        match self.byte() {
            Some(byte) => (usize::from(byte) * bound) >> 8,
            None => self.random.below(bound),
        }
    }

    fn normal(&mut self) -> f32 {
        match self.byte() {
            Some(byte) => f32::from(byte as i8) / 64.0,
            None => self.random.normal(),
        }
    }

    fn one<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len())]
    }
}

/// Another seed for the same first numbers.
fn reseed(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    [&random.bits().to_le_bytes(), seeds[0].get(8..).unwrap_or_default()].concat()
}

fn size(numbers: &mut Numbers) -> usize {
    let most = *numbers.one(&[1, 3, 20, 100, 600]);
    *numbers.one(&[0, 1, usize::MAX, 7, 384, 64, most]).min(&most)
}

/// Windows cover every token.
pub fn windows() -> Target {
    Target::new("windows", [vec![]], reseed, |bytes| {
        let numbers = &mut Numbers::of(bytes);
        let extreme = |numbers: &mut Numbers| {
            *numbers.one(&[0, 1, 2, 16, 64, 128, 384, 512, usize::MAX / 2, usize::MAX])
        };
        let limits = Limits {
            max_tokens: extreme(numbers),
            whole: extreme(numbers),
            overlap: extreme(numbers),
            max_question_tokens: extreme(numbers),
        };
        let (question, special) = (numbers.below(200), numbers.below(5));
        let Ok(shape) = WindowShape::fit(question, special, extreme(numbers), &limits) else { return };
        assert!(shape.overlap <= shape.width / 2 && shape.width <= shape.whole);
        for last in [LastWindow::Full, LastWindow::Short] {
            let tokens = numbers.below(3000);
            let mut covered = 0;
            for window in shape.windows(tokens, last) {
                assert!(
                    window.start <= covered
                        && window.end > covered
                        && window.len() <= shape.width_over(tokens)
                );
                covered = window.end;
            }
            assert_eq!(covered, tokens);
        }
    })
}

fn logit(numbers: &mut Numbers, wild: bool) -> f32 {
    match numbers.below(if wild { 12 } else { 30 }) {
        0 => f32::MAX,
        1 => f32::MIN,
        2 => 0.0,
        3 => -0.0,
        4 => 1e-38,
        5 if wild => f32::NAN,
        6 if wild => f32::INFINITY,
        7 if wild => f32::NEG_INFINITY,
        _ => 8.0 * numbers.normal(),
    }
}

fn rules(numbers: &mut Numbers) -> Decoding {
    let scoring = match numbers.below(4) {
        0 => Scoring::Joint(Joint::default()),
        1 => Scoring::Squad { null_threshold: *numbers.one(&[0.0, -3.5, 1e30]) },
        2 => Scoring::Hf(Hf::default()),
        _ => Scoring::Haystack,
    };
    Decoding {
        scoring,
        top_k: 1 + size(numbers),
        max_answer_tokens: *numbers.one(&[None, Some(0), Some(1), Some(30), Some(usize::MAX)]),
        always_answer: numbers.below(2) == 0,
    }
}

/// A text of short words, some of which are white space only, and where its tokens lie.
fn text(numbers: &mut Numbers, tokens: usize) -> (String, Vec<(usize, usize)>) {
    let mut text = String::new();
    let mut offsets = Vec::new();
    for _ in 0..tokens {
        let start = text.len();
        text += *numbers.one(&["a", "bo", " ", "\u{a0}", "\u{4e2d}", "", "\n", "word"]);
        offsets.push((start, text.len()));
        text += *numbers.one(&["", " "]);
    }
    (text, offsets)
}

/// Spans lie in the document.
pub fn decoding() -> Target {
    Target::new("decoding", [vec![]], reseed, |bytes| {
        let numbers = &mut Numbers::of(bytes);
        let decoding = rules(numbers);
        let wild = numbers.below(4) == 0;
        let width = 16 + numbers.below(40);
        let shape = WindowShape { question: 1, width, whole: width, overlap: numbers.below(8) };
        let last = *numbers.one(&[LastWindow::Full, LastWindow::Short]);
        let mut parts = Vec::new();
        for _ in 0..numbers.below(4) {
            let tokens = size(numbers);
            let (text, offsets) = text(numbers, tokens);
            let layout: Vec<Range<usize>> = shape.windows(tokens, last);
            let mut decoded = Vec::new();
            for (index, range) in layout.iter().enumerate() {
                let length = range.len() + 3;
                let [start, end]: [Vec<f32>; 2] =
                    [(); 2].map(|()| (0..length).map(|_| logit(numbers, wild)).collect());
                let layout = &layout;
                decoded.push(decoding.window(&Window {
                    start: &start,
                    end: &end,
                    offset: 2,
                    layout,
                    index,
                    text: &text,
                    offsets: &offsets,
                }));
            }
            let words: Vec<u32> = (0..tokens as u32).map(|token| token / 2).collect();
            parts.push((text, offsets, words, layout, decoded));
        }
        let documents: Vec<Document> = (parts.iter())
            .map(|(text, offsets, words, layout, windows)| Document {
                text,
                offsets,
                words,
                layout,
                windows,
                priors: &[],
            })
            .collect();
        let ranking = decoding.rank(&documents);
        assert!(ranking.spans.len() <= decoding.top_k);
        for span in &ranking.spans {
            let document = &documents[span.document];
            let quoted = document.text.get(span.bytes.clone()).expect("a quotation");
            assert!(!quoted.trim().is_empty(), "{span:?}");
            assert!(span.start <= span.end && span.end < document.offsets.len());
            assert!(span.window < document.windows.len());
        }
        assert!(!ranking.answered || !ranking.spans.is_empty());
    })
}
