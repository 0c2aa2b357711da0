//! The native rules, piece by piece and against a definition by brute force.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// A text of numbered words, one token each.
fn words(count: usize) -> (String, Vec<(usize, usize)>) {
    let text: String = (0..count).map(|word| format!("w{word:03} ")).collect();
    (text, (0..count).map(|word| (word * 5, word * 5 + 4)).collect())
}

struct Sample {
    text: String,
    offsets: Vec<(usize, usize)>,
    layout: Vec<Range<usize>>,
    logits: Vec<(Vec<f32>, Vec<f32>)>,
}

impl Sample {
    /// Windows of logits: index 0 is the null, the context follows.
    fn new(layout: Vec<Range<usize>>, logits: Vec<(Vec<f32>, Vec<f32>)>) -> Self {
        let (text, offsets) = words(layout.last().map_or(0, |window| window.end));
        Self { text, offsets, layout, logits }
    }

    /// A document of one window.
    fn single(tokens: usize, start: Vec<f32>, end: Vec<f32>) -> Self {
        Self::new(std::iter::once(0..tokens).collect(), vec![(start, end)])
    }

    fn decode(&self, decoding: &Decoding) -> Vec<Decoded> {
        let windows = self.logits.iter().enumerate();
        windows
            .map(|(index, (start, end))| {
                let Self { text, offsets, layout, .. } = self;
                decoding.window(&Window { start, end, offset: 1, layout, index, text, offsets })
            })
            .collect()
    }

    fn document<'a>(&'a self, windows: &'a [Decoded]) -> Document<'a> {
        Document {
            text: &self.text,
            offsets: &self.offsets,
            words: &[],
            layout: &self.layout,
            windows,
            priors: &[],
        }
    }
}

fn joint(options: Joint) -> Decoding {
    Decoding { scoring: Scoring::Joint(options), ..Decoding::default() }
}

fn rank(samples: &[Sample], decoding: &Decoding) -> Ranking {
    let decoded: Vec<Vec<Decoded>> = samples.iter().map(|sample| sample.decode(decoding)).collect();
    let documents: Vec<Document> =
        samples.iter().zip(&decoded).map(|(sample, windows)| sample.document(windows)).collect();
    decoding.rank(&documents)
}

#[test]
fn the_window_with_the_best_view_owns_a_span() {
    let layout = [0..20, 10..30, 20..40];
    let (start, end) = (vec![0.0; 21], vec![0.0; 21]);
    let owner = |first: usize, last: usize| -> Vec<usize> {
        let owns = |index: &usize| {
            let (text, offsets) = ("", &[][..]);
            let (start, end, layout) = (&start[..], &end[..], &layout[..]);
            let window = Window { start, end, offset: 1, layout, index: *index, text, offsets };
            let range = &layout[*index];
            range.start <= first && last < range.end && window.owns(first - range.start, last - range.start)
        };
        (0..3).filter(owns).collect()
    };
    assert_eq!(owner(0, 3), [0]);
    assert_eq!(owner(12, 13), [0]);
    assert_eq!(owner(16, 17), [1]);
    // As far from one edge as from the other: the earlier window.
    assert_eq!(owner(14, 15), [0]);
    assert_eq!(owner(38, 39), [2]);
}

#[test]
fn documents_are_measured_against_their_own_null() {
    let sample = |null: f32, best: f32| Sample::single(2, vec![null, best, -9.0], vec![0.0, 0.0, -9.0]);
    // The second document's best sum is lower, but its null is lower still.
    let ranking = rank(&[sample(5.0, 7.0), sample(-4.0, 1.0)], &Decoding { top_k: 2, ..Decoding::default() });
    assert_eq!((ranking.spans[0].document, ranking.spans[0].margin), (1, 5.0));
    assert_eq!((ranking.spans[1].document, ranking.spans[1].margin), (0, 2.0));
    assert_eq!(ranking.null_odds, Some(-5.0));
}

#[test]
fn the_threshold_decides_and_nothing_to_read_is_no_answer() {
    let sample = || Sample::single(1, vec![3.0, 1.0], vec![0.0, 0.0]);
    let at = |null_threshold| rank(&[sample()], &joint(Joint { null_threshold, ..Joint::default() }));
    assert!(!at(0.0).answered && !at(1.9).answered);
    assert!(at(2.0).answered && at(f32::INFINITY).answered);
    assert!(!at(f32::NEG_INFINITY).answered);
    let always = rank(&[sample()], &Decoding { always_answer: true, ..Decoding::default() });
    assert!(always.answered && always.no_answer_score == 0.0 && (always.spans[0].score - 1.0).abs() < 1e-12);
    let nothing = rank(&[], &Decoding::default());
    assert_eq!((nothing.answered, nothing.no_answer_score, nothing.null_odds), (false, 1.0, None));
    let blank = Sample::new(vec![], vec![]);
    let beside = rank(&[blank, sample()], &joint(Joint { null_threshold: 2.0, ..Joint::default() }));
    assert_eq!((beside.answered, beside.spans[0].document), (true, 1));
}

#[test]
fn what_is_answered_is_more_probable_than_no_answer() {
    let sample = || Sample::single(1, vec![3.0, 1.0], vec![0.0, 0.0]);
    let at = |null_threshold| {
        rank(
            &[sample()],
            &joint(Joint { null_threshold, perhaps: 1.0, temperature: 2.0, ..Joint::default() }),
        )
    };
    for threshold in [-3.0, 0.0, 1.0, 1.9, 2.1, 5.0] {
        let ranking = at(threshold);
        assert_eq!(ranking.answered, ranking.spans[0].score > ranking.no_answer_score, "{threshold}");
        assert_eq!(ranking.perhaps, (1.0..2.0).contains(&threshold), "{threshold}");
        assert!((ranking.spans[0].score + ranking.no_answer_score - 1.0).abs() < 1e-12);
        assert_eq!(ranking.null_odds, Some(2.0));
    }
    for threshold in [f32::INFINITY, f32::NEG_INFINITY] {
        let ranking = at(threshold);
        assert!(ranking.no_answer_score.is_finite() && ranking.spans[0].score.is_finite());
    }
}

/// The same span in two windows, the first of which looks a little better but was not expected to hold the answer.
#[test]
fn a_window_that_promises_more_goes_before_one_that_looks_a_little_better() {
    let logits = |best: f32| (vec![0.0, best, -9.0], vec![0.0, 0.0, -9.0]);
    let sample = Sample::new(vec![0..2, 2..4], vec![logits(3.0), logits(2.5)]);
    let decoding = Decoding { top_k: 2, ..Decoding::default() };
    let windows = sample.decode(&decoding);
    let with = |priors| decoding.rank(&[Document { priors, ..sample.document(&windows) }]);
    let (plain, told) = (with(&[]), with(&[-1.0, 0.0]));
    let weighed = |rank_weight| {
        let decoding = Decoding { top_k: 2, ..joint(Joint { rank_weight, ..Joint::default() }) };
        decoding.rank(&[Document { priors: &[-1.0, 0.0], ..sample.document(&windows) }])
    };
    assert_eq!(weighed(0.0), plain);
    assert_eq!(weighed(2.0), with(&[-2.0, 0.0]));
    assert_eq!((plain.spans[0].start, told.spans[0].start), (0, 2));
    assert_eq!((told.spans[0].margin, told.spans[1].margin), (2.5, 2.0));
    let sum = |ranking: &Ranking| {
        ranking.spans.iter().map(|span| span.score).sum::<f64>() + ranking.no_answer_score
    };
    assert!(sum(&plain) <= 1.0 && sum(&told) <= 1.0 && told.no_answer_score > plain.no_answer_score);
}

#[test]
fn similar_candidates_are_dropped_as_asked() {
    // Words 1 and 2 are good starts and ends, so spans 1-1, 1-2, 2-2 lead.
    let mut sample = Sample::single(4, vec![0.0, 0.0, 6.0, 5.0, 1.0], vec![0.0, 0.0, 5.0, 5.5, 1.0]);
    let texts = |sample: &Sample, dedup| -> Vec<String> {
        let decoding = Decoding { top_k: 3, ..joint(Joint { dedup, ..Joint::default() }) };
        let decoded = sample.decode(&decoding);
        let ranking = decoding.rank(&[sample.document(&decoded)]);
        ranking.spans.iter().map(|span| sample.text[span.bytes.clone()].to_owned()).collect()
    };
    assert_eq!(texts(&sample, Dedup::Span), ["w001 w002", "w001", "w002"]);
    assert_eq!(texts(&sample, Dedup::Overlap), ["w001 w002", "w003", "w000"]);
    sample.text = sample.text.replace("w002", "W001");
    assert_eq!(texts(&sample, Dedup::Text), ["w001 W001", "w001", "w001 W001 w003"]);
    assert_eq!(texts(&sample, Dedup::None), ["w001 W001", "w001", "W001"]);
    // Two tokens over the same bytes, as byte-level vocabularies make them, are one place.
    sample.offsets[2] = sample.offsets[1];
    assert_eq!(texts(&sample, Dedup::Span)[..2], ["w001", "w001 W001 w003"]);
}

/// Whatever the rules, white space and nothing at all are no answers; what comes next is.
#[test]
fn what_trims_to_nothing_is_no_candidate() {
    // Token 1 is a line break, token 2 has no text at all, and both score highest.
    let mut sample = Sample::single(40, vec![0.0; 41], vec![0.0; 41]);
    sample.text = sample.text.replacen("w001", "\r\n\u{a0}", 1);
    assert_eq!(sample.offsets[1], (5, 9));
    sample.offsets[2] = (9, 9);
    for (token, logit) in [(1, 9.0), (2, 8.0), (7, 4.0)] {
        (sample.logits[0].0[token + 1], sample.logits[0].1[token + 1]) = (logit, logit);
    }
    let all = [ScoringRules::Joint, ScoringRules::Squad, ScoringRules::Hf, ScoringRules::Haystack];
    for rules in all {
        for align_to_words in [true, false] {
            let scoring = match Scoring::from(rules) {
                Scoring::Hf(hf) => Scoring::Hf(Hf { align_to_words, ..hf }),
                other => other,
            };
            for top_k in [1, 5, 100] {
                let decoding = Decoding {
                    scoring: scoring.clone(),
                    max_answer_tokens: Some(1),
                    top_k,
                    ..Decoding::default()
                };
                let decoded = sample.decode(&decoding);
                let mut document = sample.document(&decoded);
                let words = vec![u32::MAX; 40];
                document.words = &words;
                let ranking = decoding.rank(&[document]);
                let texts: Vec<&str> =
                    ranking.spans.iter().map(|span| &sample.text[span.bytes.clone()]).collect();
                assert_eq!(texts[0], "w007", "{rules} {top_k}");
                assert!(texts.iter().all(|text| !is_blank(text)), "{rules} {top_k}: {texts:?}");
                assert!(ranking.answered, "{rules} {top_k}");
            }
        }
    }
    // Where there is nothing else there is no answer.
    sample.text = " ".repeat(sample.text.len());
    for rules in all {
        let decoding = Decoding { scoring: rules.into(), ..Decoding::default() };
        let decoded = sample.decode(&decoding);
        let words = vec![u32::MAX; 40];
        let ranking = decoding.rank(&[Document { words: &words, ..sample.document(&decoded) }]);
        assert!(ranking.spans.is_empty() && !ranking.answered && ranking.null_odds.is_none(), "{rules}");
    }
}

proptest! {
    /// Probabilities are those of the definition: every span of every document once, as its owner sees it, and the null.
    #[test]
    fn joint_scores_sum_to_one(cells in prop::collection::vec((-9i8..9, -9i8..9), 62), longest in 1usize..6,
                               temperature in prop::sample::select(vec![0.5, 1.0, 2.0])) {
        let logits = |range: Range<usize>| -> (Vec<f32>, Vec<f32>) {
            cells[range].iter().map(|&(s, e)| (f32::from(s) * 0.5, f32::from(e) * 0.5)).unzip()
        };
        // A document of two overlapping windows and one of a single window.
        let (start, end) = logits(42..62);
        let last = Sample::single(19, start, end);
        let samples = [
            Sample::new(vec![0..20, 8..28], vec![logits(0..21), logits(21..42)]),
            last,
        ];
        let decoding = Decoding {
            top_k: 400, max_answer_tokens: Some(longest), ..joint(Joint { temperature, dedup: Dedup::None, ..Joint::default() })
        };
        let ranking = rank(&samples, &decoding);
        let sum: f64 = ranking.spans.iter().map(|span| span.score).sum();
        prop_assert!((sum + ranking.no_answer_score - 1.0).abs() < 1e-9);
        let spans = |tokens: usize| (0..tokens).map(|i| longest.min(tokens - i)).sum::<usize>();
        prop_assert_eq!(ranking.spans.len(), spans(28) + spans(19));
        prop_assert_eq!(ranking.answered, ranking.spans[0].margin >= 0.0);
        prop_assert!(ranking.spans.windows(2).all(|pair| pair[0].margin >= pair[1].margin));
        // The odds between any two spans of a document are those of their logits.
        let (a, b) = (&ranking.spans[0], &ranking.spans[ranking.spans.len() - 1]);
        let odds = f64::from(a.margin - b.margin) / temperature;
        prop_assert!(((a.score / b.score).ln() - odds).abs() < 1e-6);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    /// By its definition: the share of the spans that overlap the answer, or of "no answer", made into a confidence. Two documents of one
    /// window each, one of which promised less.
    #[test]
    fn confidence_is_what_the_spans_around_the_answer_hold(
        cells in prop::collection::vec(prop::collection::vec((-6i8..6, -6i8..6), 2..12), 2),
        longest in 1usize..5, temperature in 0.5f64..3.0, prior in -2.0f64..0.0, threshold in -3.0f32..3.0, always in any::<bool>()
    ) {
        let samples: Vec<Sample> = cells.iter().map(|cells| {
            let side = |of: fn(&(i8, i8)) -> i8| cells.iter().map(|cell| f32::from(of(cell)) * 0.25).collect::<Vec<_>>();
            Sample::single(cells.len() - 1, side(|cell| cell.0), side(|cell| cell.1))
        }).collect();
        let priors = [[0.0], [prior]];
        let fitted = Confidence { slope: 0.7, shift: 0.2 };
        let with = |options: Joint, always_answer| {
            let options = Joint { temperature, confidence: Some(fitted), ..options };
            let decoding = Decoding { max_answer_tokens: Some(longest), always_answer, ..joint(options) };
            let decoded: Vec<Vec<Decoded>> = samples.iter().map(|sample| sample.decode(&decoding)).collect();
            let documents: Vec<Document> = (samples.iter().zip(&decoded).zip(&priors))
                .map(|((sample, windows), priors)| Document { priors, ..sample.document(windows) })
                .collect();
            decoding.rank(&documents)
        };
        let found = with(Joint { null_threshold: threshold, ..Joint::default() }, always);
        let best = &found.spans[0];
        let (mut total, mut around) = (1.0, 0.0);
        for (number, sample) in samples.iter().enumerate() {
            let (start, end) = &sample.logits[0];
            for (i, j) in (1..start.len()).flat_map(|i| (i..end.len().min(i + longest)).map(move |j| (i, j))) {
                let lead = f64::from(start[i] + end[j] - start[0] - end[0]) + priors[number][0];
                let weight = (lead / temperature).exp();
                total += weight;
                if number == best.document && i - 1 <= best.end && best.start < j {
                    around += weight;
                }
            }
        }
        let expected = fitted.of(if found.answered { around } else { 1.0 } / total);
        prop_assert!((found.confidence.unwrap() - expected).abs() < 1e-6, "{found:?} {expected}");
        // Only the decision depends on the threshold.
        let other = with(Joint { null_threshold: if found.answered { 99.0 } else { -99.0 }, ..Joint::default() }, false);
        prop_assert_eq!((other.answered, other.confidence), (found.answered, found.confidence));
    }
}
