//! The native rules: one distribution over every span of every window of every document, and "no answer".
//!
//! A span that several windows hold counts once, as its owner sees it. Documents are made comparable by measuring each
//! span against its own document's null score. Where windows were ranked before they were read, each span starts with what its
//! window's rank is worth.

use std::collections::HashSet;

use super::span::{LogSum, Span, Spans};
use super::{Candidate, Decoded, Decoding, Dedup, Document, Joint, Ranked, Ranking, Window, null_odds};
use crate::text::offsets::tidy;

pub(super) fn window(decoding: &Decoding, joint: &Joint, window: &Window) -> Decoded {
    let (start, end) = window.context();
    let single = window.layout.len() == 1;
    let spans =
        Spans { start, end, longest: decoding.longest(), allowed: |i, j| single || window.owns(i, j) };
    // More than asked for, because some will turn out to be duplicates.
    let quotes = Spans {
        start,
        end,
        longest: spans.longest,
        allowed: |i, j| (spans.allowed)(i, j) && window.quotes(i, j),
    };
    let best = match joint.dedup {
        Dedup::Overlap => quotes.best_apart(decoding.top_k.saturating_add(4)),
        Dedup::Span | Dedup::Text | Dedup::None => {
            quotes.best(decoding.top_k.saturating_mul(4).saturating_add(16))
        }
    };
    let around =
        (joint.confidence.and(best.first())).map(|best| spans.log_sum_around(best, joint.temperature));
    let first = window.tokens().start;
    let absolute = |span: Span| Candidate {
        start: first + span.start,
        end: first + span.end,
        logit: span.logit,
        score: 0.0,
    };
    Decoded {
        null: window.null(),
        candidates: best.into_iter().map(absolute).collect(),
        null_score: 0.0,
        log_sum: spans.log_sum(joint.temperature),
        around: around.unwrap_or_default(),
    }
}

pub(super) fn rank(decoding: &Decoding, joint: &Joint, documents: &[Document]) -> Ranking {
    // What "no answer" weighs: the threshold says how much too likely the model finds it. So whatever is answered is also more
    // probable than no answer. A threshold without end is about the decision alone.
    let no_answer = match joint.null_threshold {
        threshold if threshold.is_finite() => -f64::from(threshold) / joint.temperature,
        _ => 0.0,
    };
    let mut of_spans = LogSum::default();
    let mut spans = Vec::new();
    for (index, document) in documents.iter().enumerate().filter(|(_, document)| !document.windows.is_empty())
    {
        let null = document.null();
        let prior = |window| joint.rank_weight * document.prior(window);
        let mut sum = LogSum::default();
        for (number, window) in document.windows.iter().enumerate() {
            sum.merge(window.log_sum.times(prior(number) / joint.temperature));
        }
        of_spans.add(sum.ln() - f64::from(null) / joint.temperature);
        spans.extend(document.ranked(index, null).filter_map(|span| {
            let bytes = tidy(document.text, span.bytes.clone())?;
            let margin = span.margin + prior(span.window) as f32;
            Some(Ranked { bytes, margin, ..span })
        }));
    }
    let mut total = of_spans;
    if !decoding.always_answer {
        total.add(no_answer);
    }
    spans.sort_by(|a, b| {
        (b.margin.total_cmp(&a.margin))
            .then(a.document.cmp(&b.document))
            .then(a.start.cmp(&b.start))
            .then(a.end.cmp(&b.end))
    });
    let mut spans = distinct(decoding.top_k, joint.dedup, documents, spans);
    for span in &mut spans {
        span.score = (f64::from(span.margin) / joint.temperature - total.ln()).exp();
    }
    let null_odds = null_odds(&spans);
    let answered = null_odds.is_some_and(|odds| decoding.always_answer || odds <= joint.null_threshold);
    Ranking {
        answered,
        perhaps: !answered && null_odds.is_some_and(|odds| odds <= joint.null_threshold + joint.perhaps),
        no_answer_score: match (decoding.always_answer, null_odds) {
            (_, None) => 1.0,
            (true, _) => 0.0,
            (false, _) => (no_answer - total.ln()).exp(),
        },
        confidence: confidence(joint, documents, (answered, spans.first()), of_spans),
        spans,
        null_odds,
    }
}

/// How likely the reply is to be right: from all spans that overlap the answer in its window, or from "no answer". What the model believes
/// does not depend on the threshold of whoever asks, so "no answer" weighs here what the model says.
fn confidence(
    joint: &Joint,
    documents: &[Document],
    (answered, best): (bool, Option<&Ranked>),
    of_spans: LogSum,
) -> Option<f64> {
    let (confidence, best) = (joint.confidence?, best?);
    let mut total = of_spans;
    total.add(0.0);
    let document = &documents[best.document];
    let lead = joint.rank_weight * document.prior(best.window) - f64::from(document.null());
    let around = document.windows[best.window].around.times(lead / joint.temperature);
    let held = if answered { around.ln() } else { 0.0 };
    Some(confidence.of((held - total.ln()).exp()))
}

/// The first `top_k` spans that no better one makes superfluous.
fn distinct(top_k: usize, dedup: Dedup, documents: &[Document], sorted: Vec<Ranked>) -> Vec<Ranked> {
    let mut places = HashSet::new();
    let mut texts = HashSet::new();
    let mut kept: Vec<Ranked> = Vec::new();
    for span in sorted {
        if kept.len() == top_k {
            break;
        }
        let fresh = match dedup {
            Dedup::None => true,
            Dedup::Span => places.insert((span.document, span.bytes.start, span.bytes.end)),
            Dedup::Text => texts.insert(documents[span.document].text[span.bytes.clone()].to_lowercase()),
            Dedup::Overlap => !kept.iter().any(|better| {
                better.document == span.document
                    && better.bytes.start < span.bytes.end
                    && span.bytes.start < better.bytes.end
            }),
        };
        if fresh {
            kept.push(span);
        }
    }
    kept
}
