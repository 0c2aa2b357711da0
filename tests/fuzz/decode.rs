//! Windows and decoding with logits that no model gives.

use std::ops::Range;

use spanqa::decode::{Decoding, Document, Hf, Joint, Scoring, Window};
use spanqa::random::Random;
use spanqa::text::window::{LastWindow, Limits, WindowShape};

use super::mutate::one;
use super::runner::fuzz;

/// Numbers for a case, from its bytes.
fn random_of(bytes: &[u8]) -> Random {
    let seed = bytes.iter().fold(0u64, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte));
    Random::new(seed)
}

fn eight_bytes(random: &mut Random, _: &[Vec<u8>]) -> Vec<u8> {
    random.bits().to_le_bytes().to_vec()
}

fn size(random: &mut Random) -> usize {
    let most = *one(random, &[1, 3, 20, 100, 600]);
    *one(random, &[0, 1, usize::MAX, 7, 384, 64, most]).min(&most)
}

#[test]
fn windows_cover_every_token() {
    fuzz("windows", 3000, &[vec![]], eight_bytes, |bytes| {
        let random = &mut random_of(bytes);
        let extreme =
            |random: &mut Random| *one(random, &[0, 1, 2, 16, 64, 128, 384, 512, usize::MAX / 2, usize::MAX]);
        let limits = Limits {
            max_tokens: extreme(random),
            whole: extreme(random),
            overlap: extreme(random),
            max_question_tokens: extreme(random),
        };
        let (question, special) = (random.below(200), random.below(5));
        let Ok(shape) = WindowShape::fit(question, special, extreme(random), &limits) else { return };
        assert!(shape.overlap <= shape.width / 2 && shape.width <= shape.whole);
        for last in [LastWindow::Full, LastWindow::Short] {
            let tokens = random.below(3000);
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
    });
}

fn logit(random: &mut Random, wild: bool) -> f32 {
    match random.below(if wild { 12 } else { 30 }) {
        0 => f32::MAX,
        1 => f32::MIN,
        2 => 0.0,
        3 => -0.0,
        4 => 1e-38,
        5 if wild => f32::NAN,
        6 if wild => f32::INFINITY,
        7 if wild => f32::NEG_INFINITY,
        _ => 8.0 * random.normal(),
    }
}

fn decoding(random: &mut Random) -> Decoding {
    let scoring = match random.below(4) {
        0 => Scoring::Joint(Joint::default()),
        1 => Scoring::Squad { null_threshold: *one(random, &[0.0, -3.5, 1e30]) },
        2 => Scoring::Hf(Hf::default()),
        _ => Scoring::Haystack,
    };
    Decoding {
        scoring,
        top_k: 1 + size(random),
        max_answer_tokens: *one(random, &[None, Some(0), Some(1), Some(30), Some(usize::MAX)]),
        always_answer: random.below(2) == 0,
    }
}

/// A text of short words, some of which are white space only, and where its tokens lie.
fn text(random: &mut Random, tokens: usize) -> (String, Vec<(usize, usize)>) {
    let mut text = String::new();
    let mut offsets = Vec::new();
    for _ in 0..tokens {
        let start = text.len();
        text += *one(random, &["a", "bo", " ", "\u{a0}", "\u{4e2d}", "", "\n", "word"]);
        offsets.push((start, text.len()));
        text += *one(random, &["", " "]);
    }
    (text, offsets)
}

#[test]
fn spans_lie_in_the_document() {
    fuzz("decoding", 3000, &[vec![]], eight_bytes, |bytes| {
        let random = &mut random_of(bytes);
        let decoding = decoding(random);
        let wild = random.below(4) == 0;
        let width = 16 + random.below(40);
        let shape = WindowShape { question: 1, width, whole: width, overlap: random.below(8) };
        let last = *one(random, &[LastWindow::Full, LastWindow::Short]);
        let mut parts = Vec::new();
        for _ in 0..random.below(4) {
            let tokens = size(random);
            let (text, offsets) = text(random, tokens);
            let layout: Vec<Range<usize>> = shape.windows(tokens, last);
            let mut decoded = Vec::new();
            for (index, range) in layout.iter().enumerate() {
                let length = range.len() + 3;
                let [start, end]: [Vec<f32>; 2] =
                    [(); 2].map(|()| (0..length).map(|_| logit(random, wild)).collect());
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
    });
}
