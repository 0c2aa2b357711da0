//! From what was found in windows to replies.

use super::plan::Job;
use super::promise::{prior, prior_of_found};
use super::{Document, Question, Reader};

use crate::checkpoint::Identity;
use crate::decode::{self, Decoded, Ranked};
use crate::request::Options;
use crate::request::reply::{
    Answer, Note, Reason, Reply, SpanReport, SpanSummary, TokenReport, Why, WindowReport,
};
use crate::text::offsets::{OffsetUnit, place};

impl Reader {
    /// Ranks what was found in the windows of a question.
    pub(super) fn reply(&self, question: &Question, job: &Job) -> Reply {
        let options = &*question.options;
        let windows: Vec<Vec<Decoded>> =
            job.places.iter().map(|place| place.windows.iter().flatten().cloned().collect()).collect();
        let of_rank = if question.search.is_some() { prior_of_found } else { prior };
        let priors: Vec<Vec<f64>> = job.places.iter().map(|place| place.priors(of_rank)).collect();
        let documents: Vec<decode::Document> = (question.documents.iter().zip(&job.places))
            .zip(windows.iter().zip(&priors))
            .map(|((document, place), (windows, priors))| decode::Document {
                text: &document.text,
                offsets: &document.tokens.offsets,
                words: &document.tokens.words,
                layout: &place.layout,
                windows,
                priors,
            })
            .collect();
        let ranking = options.decoding.rank(&documents);
        let spans: Vec<Answer> = ranking
            .spans
            .iter()
            .map(|span| answer(&question.documents[span.document], span, options.unit))
            .collect();
        let (answers, candidates) = if ranking.answered { (spans, Vec::new()) } else { (Vec::new(), spans) };
        Reply {
            id: question.id.clone(),
            question: question.text.clone(),
            answered: ranking.answered,
            perhaps: ranking.perhaps,
            confidence: ranking.confidence.map(|confidence| confidence as f32),
            answers,
            candidates,
            no_answer_score: ranking.no_answer_score as f32,
            null_odds: ranking.null_odds,
            windows: windows.iter().map(Vec::len).sum(),
            windows_total: job.total,
            unread: !(question.documents.iter().zip(&job.places))
                .all(|(document, place)| document.whole && place.covers(document.tokens.len())),
            passages_searched: question.search.as_ref().map(|search| search.passages),
            model: self.name.clone(),
            question_truncated: job.truncated,
            reason: windows.iter().all(Vec::is_empty).then_some(match question.search {
                Some(_) => Reason::NothingFound,
                None => Reason::EmptyContext,
            }),
            why: options.why.then(|| explain(question, job, &ranking.spans, self.identity().cloned()).into()),
            notes: notes(options, job, self.model.usable_positions()),
        }
    }
}

/// What a person should know about how the limits were applied.
fn notes(options: &Options, job: &Job, positions: usize) -> Vec<Note> {
    // Windows around passages need no overlap.
    let several = job.places.iter().any(|place| place.layout.len() > 1 && place.ranks.is_none());
    let (longest, overlap) = (options.decoding.longest(), job.shape.overlap);
    let mut notes = Vec::new();
    if options.limits.max_tokens > positions && job.places.iter().any(|place| !place.layout.is_empty()) {
        notes.push(Note::WindowReduced { asked: options.limits.max_tokens, used: positions });
    }
    if several && overlap < options.limits.overlap {
        let (width, asked) = (job.shape.width, options.limits.overlap);
        notes.push(Note::OverlapReduced { width, asked, used: overlap });
    }
    if several && longest != usize::MAX && overlap < longest {
        notes.push(Note::AnswersMayBeCut { overlap, longest });
    }
    if job.truncated {
        notes.push(Note::QuestionCut { kept: job.question.len() });
    }
    notes
}

fn answer(document: &Document, span: &Ranked, unit: OffsetUnit) -> Answer {
    let place = place(&document.text, &span.bytes, unit);
    Answer {
        text: document.text[span.bytes.clone()].to_owned(),
        start: place.start,
        end: place.end,
        document: document.id.clone(),
        line: place.line,
        column: place.column,
        source: document.origin.place(&document.text, &span.bytes),
        score: span.score as f32,
        margin: span.margin,
        document_index: span.document,
        bytes: span.bytes.clone(),
    }
}

/// Tokens shown on either side of a span.
const NEIGHBOURS: usize = 6;
/// Spans shown for each window.
const SPANS_PER_WINDOW: usize = 3;

fn explain(question: &Question, job: &Job, spans: &[Ranked], model: Option<Identity>) -> Why {
    let unit = question.options.unit;
    let mut windows = Vec::new();
    for (document, place_of) in question.documents.iter().zip(&job.places) {
        let tokens = &document.tokens.offsets;
        for (index, (range, decoded)) in place_of.layout.iter().zip(&place_of.windows).enumerate() {
            let Some(decoded) = decoded else { continue };
            let bytes = tokens[range.start].0..tokens[range.end - 1].1;
            let at = place(&document.text, &bytes, unit);
            let best = decoded.candidates.iter().take(SPANS_PER_WINDOW).map(|span| SpanSummary {
                text: document.text[tokens[span.start].0..tokens[span.end].1].to_owned(),
                logit: span.logit,
            });
            windows.push(WindowReport {
                document: document.id.clone(),
                window: index,
                start: at.start,
                end: at.end,
                tokens: range.len(),
                rank: place_of.ranks.as_ref().map(|ranks| ranks[index]),
                null_logit: decoded.null,
                null_parts: (place_of.logits[index].as_ref())
                    .map_or((0.0, 0.0), |logits| (logits.start[0], logits.end[0])),
                best: best.collect(),
            });
        }
    }
    let spans = spans.iter().map(|span| {
        let document = &question.documents[span.document];
        let place = &job.places[span.document];
        let window = place.layout[span.window].clone();
        let place_in = |token: usize| job.context_offset + token - window.start;
        let shown = span.start.saturating_sub(NEIGHBOURS).max(window.start)
            ..(span.end + 1 + NEIGHBOURS).min(window.end);
        let tokens = shown.filter_map(|token| {
            let logits = place.logits[span.window].as_ref()?;
            let at = place_in(token);
            let (start, end) = document.tokens.offsets[token];
            Some(TokenReport {
                text: document.text[start..end].to_owned(),
                start_logit: *logits.start.get(at)?,
                end_logit: *logits.end.get(at)?,
                inside: (span.start..=span.end).contains(&token),
            })
        });
        SpanReport {
            text: document.text[span.bytes.clone()].to_owned(),
            window: span.window,
            place: (place_in(span.start), place_in(span.end)),
            logit: span.logit,
            tokens: tokens.collect(),
            words: Vec::new(),
        }
    });
    Why { model, question_tokens: job.question.len(), windows, spans: spans.collect() }
}
