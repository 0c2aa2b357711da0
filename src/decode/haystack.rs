//! The rules of Haystack 2's extractive reader: a flattened sigmoid per span that knows nothing of other spans, overlaps
//! removed, and "no answer" as the product of what the kept answers leave over.

use std::ops::Range;

use super::span::{LogSum, Spans};
use super::{Candidate, Decoded, Decoding, Document, Ranked, Ranking, Window, null_odds};

/// Spans taken from each window.
const ANSWERS_PER_WINDOW: usize = 20;
/// What logits are multiplied with before the sigmoid.
const CALIBRATION: f64 = 0.1;
/// The share of either span that may be common before the lower one is dropped.
const OVERLAP: f64 = 0.01;

pub(super) fn window(decoding: &Decoding, window: &Window) -> Decoded {
    let (start, end) = window.context();
    let first = window.tokens().start;
    let spans = Spans { start, end, longest: decoding.longest(), allowed: |i, j| window.quotes(i, j) };
    let candidates = spans.best(ANSWERS_PER_WINDOW).into_iter().map(|span| Candidate {
        start: first + span.start,
        end: first + span.end,
        logit: span.logit,
        score: sigmoid(f64::from(span.logit) * CALIBRATION),
    });
    Decoded {
        null: window.null(),
        candidates: candidates.collect(),
        null_score: 0.0,
        log_sum: LogSum::default(),
        around: LogSum::default(),
    }
}

fn sigmoid(value: f64) -> f64 {
    1.0 / (1.0 + (-value).exp())
}

pub(super) fn rank(decoding: &Decoding, documents: &[Document]) -> Ranking {
    let mut all: Vec<Ranked> = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        all.extend(document.ranked(index, document.null()));
    }
    let null_odds = null_odds(&all);
    all.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut spans: Vec<Ranked> = Vec::new();
    for span in all {
        if spans.len() == decoding.top_k {
            break;
        }
        let doubled =
            |better: &Ranked| better.document == span.document && too_common(&better.bytes, &span.bytes);
        if !spans.iter().any(doubled) {
            spans.push(span);
        }
    }
    let no_answer_score = spans.iter().map(|span| 1.0 - span.score).product();
    Ranking {
        answered: spans.first().is_some_and(|best| decoding.always_answer || best.score >= no_answer_score),
        perhaps: false,
        spans,
        no_answer_score,
        null_odds,
        confidence: None,
    }
}

fn too_common(a: &Range<usize>, b: &Range<usize>) -> bool {
    let common = a.end.min(b.end) as f64 - a.start.max(b.start) as f64;
    common > OVERLAP * a.len() as f64 || common > OVERLAP * b.len() as f64
}
