//! The rules of transformers' question-answering pipeline: probabilities within each window, product of start and end,
//! equal texts added up, answers widened to whole words.

use std::collections::HashMap;
use std::ops::Range;

use super::span::{LogSum, Span};
use super::{Candidate, Decoded, Decoding, Document, Hf, Ranked, Ranking, Window, null_odds};

pub(super) fn window(decoding: &Decoding, options: &Hf, window: &Window) -> Decoded {
    let (start, end) = window.context();
    let start_sum = softmax_denominator(window.start[0], start);
    let end_sum = softmax_denominator(window.end[0], end);
    let first = window.tokens().start;
    let mut candidates: Vec<Candidate> = Vec::new();
    for (i, &start_logit) in start.iter().enumerate() {
        for (j, &end_logit) in end.iter().enumerate().skip(i).take(decoding.longest()) {
            if !window.quotes(i, j) {
                continue;
            }
            let start_probability = (f64::from(start_logit) - start_sum).exp();
            candidates.push(Candidate {
                start: first + i,
                end: first + j,
                logit: start_logit + end_logit,
                score: start_probability * (f64::from(end_logit) - end_sum).exp(),
            });
        }
    }
    let rank = |candidate: &Candidate| Span { start: candidate.start, end: candidate.end, logit: 0.0 };
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| rank(a).rank(&rank(b))));
    // Words make answers equal that were not, so the pipeline looked at more of them then.
    let top_k = decoding.top_k;
    candidates.truncate(if options.align_to_words {
        top_k.saturating_mul(2).saturating_add(10)
    } else {
        top_k
    });
    Decoded {
        null: window.null(),
        candidates,
        null_score: (f64::from(window.start[0]) - start_sum + f64::from(window.end[0]) - end_sum).exp(),
        log_sum: LogSum::default(),
        around: LogSum::default(),
    }
}

/// The logarithm of the softmax denominator over the classification token and the context.
fn softmax_denominator(null: f32, context: &[f32]) -> f64 {
    let mut sum = LogSum::default();
    sum.add(f64::from(null));
    context.iter().for_each(|&logit| sum.add(f64::from(logit)));
    sum.ln()
}

pub(super) fn rank(decoding: &Decoding, options: &Hf, documents: &[Document]) -> Ranking {
    let mut spans: Vec<Ranked> = Vec::new();
    let mut by_text: HashMap<String, usize> = HashMap::new();
    for (index, document) in documents.iter().enumerate() {
        for span in document.ranked(index, document.null()) {
            let bytes =
                if options.align_to_words { whole_words(document, &span) } else { span.bytes.clone() };
            let text = document.text[bytes.clone()].to_lowercase();
            match by_text.get(&text) {
                Some(&known) => spans[known].score += span.score,
                None => {
                    by_text.insert(text, spans.len());
                    spans.push(Ranked { bytes, ..span });
                }
            }
        }
    }
    let null_odds = null_odds(&spans);
    spans.sort_by(|a, b| b.score.total_cmp(&a.score));
    spans.truncate(decoding.top_k);
    // The running minimum starts at a million there, which no probability reaches.
    let null_scores = documents.iter().flat_map(|document| document.windows).map(|window| window.null_score);
    let null_score = null_scores.min_by(f64::total_cmp);
    let competes = options.handle_impossible_answer && !decoding.always_answer;
    let best = spans.first().map(|span| span.score);
    Ranking {
        answered: best.is_some_and(|best| !competes || null_score.is_none_or(|null| best >= null)),
        perhaps: false,
        spans,
        no_answer_score: null_score.unwrap_or(1.0),
        null_odds,
        confidence: None,
    }
}

/// From the start of the first token's word to the end of the last token's word, as far as the window shows them.
fn whole_words(document: &Document, span: &Ranked) -> Range<usize> {
    let visible = document.layout[span.window].clone();
    let word = |token: usize| document.words[token];
    let is_word = |token: usize| word(token) != u32::MAX;
    let mut start = span.start;
    while is_word(start) && start > visible.start && word(start - 1) == word(start) {
        start -= 1;
    }
    let mut end = span.end;
    while is_word(end) && end + 1 < visible.end && word(end + 1) == word(end) {
        end += 1;
    }
    document.bytes(start, end)
}
