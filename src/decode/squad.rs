//! The rules of `run_qa`: the twenty best starts times the twenty best ends of each window, the smallest null score of
//! any window, the twenty best sums of all windows, a softmax over those.

use super::span::LogSum;
use super::{Candidate, Decoded, Decoding, Document, Ranked, Ranking, Window};
use crate::text::offsets::is_blank;

/// Starts and ends per window, and candidates per question, that are looked at.
const N_BEST: usize = 20;

pub(super) fn window(decoding: &Decoding, window: &Window) -> Decoded {
    let context = window.offset..window.offset + window.tokens().len();
    let first = window.tokens().start;
    let mut candidates = Vec::new();
    let ends = highest(window.end);
    for start in highest(window.start) {
        for &end in &ends {
            if context.contains(&start)
                && context.contains(&end)
                && start <= end
                && end - start < decoding.longest()
            {
                candidates.push(Candidate {
                    start: first + start - window.offset,
                    end: first + end - window.offset,
                    logit: window.start[start] + window.end[end],
                    score: 0.0,
                });
            }
        }
    }
    // Only the best of all windows together are kept, so no window needs to hand on more than that many that have something to quote.
    // The others count in the softmax. The sort is stable there and here: of equal sums the one that was generated first stays in front.
    candidates.sort_by(|a, b| b.logit.total_cmp(&a.logit));
    let mut quoting = 0;
    candidates.retain(|candidate| {
        let quotes = window.quotes(candidate.start - first, candidate.end - first);
        let wanted = quoting < N_BEST;
        quoting += usize::from(quotes);
        wanted
    });
    Decoded {
        null: window.null(),
        candidates,
        null_score: 0.0,
        log_sum: LogSum::default(),
        around: LogSum::default(),
    }
}

/// The positions of the highest logits, highest first; of equal ones the later first, as a reversed stable sort gives.
fn highest(logits: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(b.cmp(&a)));
    order.truncate(N_BEST);
    order
}

pub(super) fn rank(decoding: &Decoding, null_threshold: f32, documents: &[Document]) -> Ranking {
    let null = documents.iter().map(Document::null).fold(f32::INFINITY, f32::min);
    let mut spans: Vec<Ranked> = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        spans.extend(document.ranked(index, null));
    }
    spans.sort_by(|a, b| b.logit.total_cmp(&a.logit));
    // The null candidate was added last, so of equal sums it stands behind the spans.
    let with_null = !decoding.always_answer && null.is_finite();
    let before_null = spans.iter().take_while(|span| span.logit >= null).count();
    let kept = if with_null && before_null < N_BEST { N_BEST - 1 } else { N_BEST };

    let mut total = LogSum::default();
    for span in spans.iter().take(kept) {
        total.add(f64::from(span.logit));
    }
    if with_null {
        total.add(f64::from(null));
    }
    for span in &mut spans {
        span.score = (f64::from(span.logit) - total.ln()).exp();
    }
    spans.retain(|span| !is_blank(&documents[span.document].text[span.bytes.clone()]));
    spans.truncate(kept);
    let null_odds = spans.first().map(|best| null - best.logit);
    spans.truncate(decoding.top_k);
    Ranking {
        answered: null_odds.is_some_and(|odds| decoding.always_answer || odds <= null_threshold),
        perhaps: false,
        no_answer_score: match (with_null, null_odds) {
            (_, None) => 1.0,
            (true, _) => (f64::from(null) - total.ln()).exp(),
            (false, _) => 0.0,
        },
        spans,
        null_odds,
        confidence: None,
    }
}
