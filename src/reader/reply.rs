//! From what was found in windows to replies.

use std::collections::BTreeSet;

use super::plan::Asked;
use super::{Asking, Passage, Query, Reader};
use crate::decode::{Decoded, Document, Ranked};
use crate::request::reply::{Answer, Reason, Reply, SpanReport, SpanSummary, TokenReport, Why, WindowReport};
use crate::text::offsets::{OffsetUnit, place};

impl Reader {
    /// Ranks what was found in the windows of a question.
    pub(super) fn reply(&self, query: &Query, asked: &Asked, asking: &Asking) -> Reply {
        let windows: Vec<Vec<Decoded>> =
            asked.places.iter().map(|place| place.windows.iter().flatten().cloned().collect()).collect();
        let documents: Vec<Document> = (query.passages.iter().zip(&asked.places).zip(&windows))
            .map(|((passage, place), windows)| Document {
                text: &passage.text,
                offsets: &passage.tokens.offsets,
                words: &passage.tokens.words,
                layout: &place.layout,
                windows,
            })
            .collect();
        let ranking = asking.decoding.rank(&documents);
        let spans: Vec<Answer> = ranking
            .spans
            .iter()
            .map(|span| answer(query.passages[span.document], span, asking.unit))
            .collect();
        let (answers, candidates) = if ranking.answered { (spans, Vec::new()) } else { (Vec::new(), spans) };
        Reply {
            id: query.id.clone(),
            question: query.question.to_owned(),
            answered: ranking.answered,
            answers,
            candidates,
            no_answer_score: ranking.no_answer_score as f32,
            null_odds: ranking.null_odds,
            windows: windows.iter().map(Vec::len).sum(),
            model: self.name.clone(),
            question_truncated: asked.truncated,
            reason: windows.iter().all(Vec::is_empty).then_some(Reason::EmptyContext),
            why: asking.why.then(|| explain(query, asked, &ranking.spans, asking.unit)),
            notes: self.notes(asked, asking),
        }
    }

    /// What a person should know about how the limits were applied.
    fn notes(&self, asked: &Asked, asking: &Asking) -> Vec<String> {
        let mut notes = BTreeSet::new();
        if asked.truncated {
            notes.insert(format!(
                "the question was cut to its first {} tokens; `--max-question-tokens` sets the limit",
                asked.question.len()
            ));
        }
        let several = asked.places.iter().any(|place| place.layout.len() > 1);
        let longest =
            asking.decoding.max_answer_tokens.unwrap_or(asking.decoding.scoring.default_answer_tokens());
        if several && asked.shape.overlap < self.limits.overlap {
            notes.insert(format!(
                "windows hold {} tokens of text, so their overlap was reduced from {} to {}",
                asked.shape.width, self.limits.overlap, asked.shape.overlap
            ));
        }
        if several && longest != usize::MAX && asked.shape.overlap < longest {
            notes.insert(format!(
                "windows overlap by {} tokens, so an answer of up to {longest} may lie in none of them whole",
                asked.shape.overlap
            ));
        }
        notes.into_iter().collect()
    }
}

fn answer(passage: &Passage, span: &Ranked, unit: OffsetUnit) -> Answer {
    let place = place(&passage.text, &span.bytes, unit);
    Answer {
        text: passage.text[span.bytes.clone()].to_owned(),
        start: place.start,
        end: place.end,
        document: passage.id.clone(),
        line: place.line,
        column: place.column,
        score: span.score as f32,
        margin: span.margin,
        passage: span.document,
        bytes: span.bytes.clone(),
    }
}

/// Tokens shown on either side of a span.
const NEIGHBOURS: usize = 6;
/// Spans shown for each window.
const SPANS_PER_WINDOW: usize = 3;

fn explain(query: &Query, asked: &Asked, spans: &[Ranked], unit: OffsetUnit) -> Why {
    let mut windows = Vec::new();
    for (passage, place_of) in query.passages.iter().zip(&asked.places) {
        let tokens = &passage.tokens.offsets;
        for (index, (range, decoded)) in place_of.layout.iter().zip(&place_of.windows).enumerate() {
            let Some(decoded) = decoded else { continue };
            let bytes = tokens[range.start].0..tokens[range.end - 1].1;
            let at = place(&passage.text, &bytes, unit);
            let best = decoded.candidates.iter().take(SPANS_PER_WINDOW).map(|span| SpanSummary {
                text: passage.text[tokens[span.start].0..tokens[span.end].1].to_owned(),
                logit: span.logit,
            });
            windows.push(WindowReport {
                document: passage.id.clone(),
                window: index,
                start: at.start,
                end: at.end,
                tokens: range.len(),
                null_logit: decoded.null,
                null_parts: (place_of.logits[index].as_ref())
                    .map_or((0.0, 0.0), |logits| (logits.start[0], logits.end[0])),
                best: best.collect(),
            });
        }
    }
    let spans = spans.iter().map(|span| {
        let passage = query.passages[span.document];
        let place = &asked.places[span.document];
        let window = place.layout[span.window].clone();
        let shown = span.start.saturating_sub(NEIGHBOURS).max(window.start)
            ..(span.end + 1 + NEIGHBOURS).min(window.end);
        let tokens = shown.filter_map(|token| {
            let logits = place.logits[span.window].as_ref()?;
            let at = asked.context_offset + token - window.start;
            let (start, end) = passage.tokens.offsets[token];
            Some(TokenReport {
                text: passage.text[start..end].to_owned(),
                start_logit: *logits.start.get(at)?,
                end_logit: *logits.end.get(at)?,
                inside: (span.start..=span.end).contains(&token),
            })
        });
        SpanReport {
            text: passage.text[span.bytes.clone()].to_owned(),
            window: span.window,
            logit: span.logit,
            tokens: tokens.collect(),
        }
    });
    Why { question_tokens: asked.question.len(), windows, spans: spans.collect() }
}
