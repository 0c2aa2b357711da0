//! The four sets of scoring rules against independent implementations, by golden files.

use std::ops::Range;

use serde_json::Value;
use spanqa::decode::{Decoded, Decoding, Document, Hf, Ranking, Scoring, ScoringRules, Window};

use crate::support::{fixture_json, numbers};

/// Golden scores carry nine digits.
const RELATIVE: f64 = 1e-8;

fn assert_score(what: &str, expected: &Value, found: f64) {
    let expected = expected.as_f64().unwrap();
    let close = (expected - found).abs() <= RELATIVE * expected.abs().max(1e-6);
    assert!(close, "{what}: expected {expected}, found {found}");
}

/// A case of decode.json in the form that decoding takes.
struct Case {
    text: String,
    offsets: Vec<(usize, usize)>,
    words: Vec<u32>,
    layout: Vec<Range<usize>>,
    logits: Vec<(Vec<f32>, Vec<f32>)>,
    prefix: usize,
}

impl Case {
    fn read(case: &Value) -> Self {
        let text = case["context"].as_str().unwrap().to_owned();
        let bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let number = |value: &Value| value.as_u64().unwrap() as usize;
        let tokens = case["tokens"].as_array().unwrap();
        let windows = case["windows"].as_array().unwrap();
        Self {
            offsets: tokens
                .iter()
                .map(|token| (bytes[number(&token[0])], bytes[number(&token[1])]))
                .collect(),
            words: tokens.iter().map(|token| number(&token[2]) as u32).collect(),
            layout: windows
                .iter()
                .map(|window| number(&window["first"])..number(&window["first"]) + number(&window["count"]))
                .collect(),
            logits: windows
                .iter()
                .map(|window| (numbers(&window["start"]), numbers(&window["end"])))
                .collect(),
            prefix: number(&case["prefix"]),
            text,
        }
    }

    fn rank(&self, decoding: &Decoding) -> Ranking {
        let windows: Vec<Decoded> = (self.logits.iter().enumerate())
            .map(|(index, (start, end))| {
                let Self { text, offsets, layout, prefix, .. } = self;
                decoding.window(&Window { start, end, offset: *prefix, layout, index, text, offsets })
            })
            .collect();
        decoding.rank(&[Document {
            text: &self.text,
            offsets: &self.offsets,
            words: &self.words,
            layout: &self.layout,
            windows: &windows,
            priors: &[],
        }])
    }

    fn quote(&self, bytes: &Range<usize>) -> (&str, u64, u64) {
        let chars = |at: usize| self.text[..at].chars().count() as u64;
        (&self.text[bytes.clone()], chars(bytes.start), chars(bytes.end))
    }
}

/// Runs `check` on every result under `key` whose options pass `wanted`; returns how many there were.
fn each(key: &str, wanted: impl Fn(&Value) -> bool, mut check: impl FnMut(&str, &Case, &Value)) -> usize {
    let mut count = 0;
    for case in fixture_json("decode.json")["cases"].as_array().unwrap() {
        let read = Case::read(case);
        for result in case[key].as_array().unwrap().iter().filter(|result| wanted(&result["options"])) {
            check(case["name"].as_str().unwrap(), &read, result);
            count += 1;
        }
    }
    count
}

fn list<'a>(case: &'a Case, ranking: &'a Ranking) -> Vec<((&'a str, u64, u64), f64)> {
    ranking.spans.iter().map(|span| (case.quote(&span.bytes), span.score)).collect()
}

/// "No answer" as one of the answers, where the original would list it.
fn with_null(mut answers: Vec<((&str, u64, u64), f64)>, null: f64) -> Vec<((&str, u64, u64), f64)> {
    let place = answers.iter().take_while(|(_, score)| *score >= null).count();
    answers.insert(place, (("", 0, 0), null));
    answers
}

fn assert_answers(name: &str, expected: &Value, found: &[((&str, u64, u64), f64)]) {
    let expected = expected.as_array().unwrap();
    assert_eq!(expected.len(), found.len(), "{name}: {expected:?} {found:?}");
    for (expected, (quote, score)) in expected.iter().zip(found) {
        let text = expected["text"].as_str().unwrap_or("");
        let place = (text, expected["start"].as_u64().unwrap_or(0), expected["end"].as_u64().unwrap_or(0));
        assert_eq!(&place, quote, "{name}");
        assert_score(name, &expected["score"], *score);
    }
}

#[test]
fn hf_scores_are_the_pipelines() {
    let checked = each(
        "pipeline",
        |_| true,
        |name, case, result| {
            let options = &result["options"];
            let decoding = Decoding {
                scoring: Scoring::Hf(Hf {
                    handle_impossible_answer: options["handle_impossible_answer"] == true,
                    align_to_words: options["align_to_words"] == true,
                }),
                top_k: options["top_k"].as_u64().unwrap() as usize,
                max_answer_tokens: Some(options["max_answer_len"].as_u64().unwrap() as usize),
                ..Decoding::default()
            };
            let ranking = case.rank(&decoding);
            let mut answers = list(case, &ranking);
            if options["handle_impossible_answer"] == true {
                let abstains = result["answers"][0]["text"] == "";
                assert_eq!(ranking.answered, !abstains, "{name}");
                answers = with_null(answers, ranking.no_answer_score);
                answers.truncate(decoding.top_k);
            }
            assert_answers(name, &result["answers"], &answers);
        },
    );
    assert!(checked > 70, "{checked}");
}

#[test]
fn squad_scores_are_run_qas() {
    let standard = |options: &Value| options["n_best"] == 20;
    let mut lists = 0;
    let checked = each("run_qa", standard, |name, case, result| {
        for (threshold, expected) in
            [-2.0, 0.0, 2.0].into_iter().zip(result["predictions"].as_array().unwrap())
        {
            let decoding = Decoding {
                scoring: Scoring::Squad { null_threshold: threshold },
                top_k: 20,
                ..Decoding::default()
            };
            let ranking = case.rank(&decoding);
            let prediction = match (ranking.answered, ranking.spans.first()) {
                (true, Some(best)) => &case.text[best.bytes.clone()],
                _ => "",
            };
            // The original says the word "empty" where a context has no tokens, an artefact that we do not repeat.
            if case.offsets.is_empty() {
                assert_eq!(prediction, "");
                continue;
            }
            assert_eq!(expected, prediction, "{name} at {threshold}");
            if let Some(odds) = ranking.null_odds {
                assert_eq!(result["score_diff"].as_f64().unwrap() as f32, odds, "{name}");
            }
            if let Some(nbest) = result["nbest"].as_array().filter(|_| threshold == 0.0) {
                let null = nbest.iter().find(|row| row["text"] == "").unwrap();
                assert_score(name, &null["probability"], ranking.no_answer_score);
                let rows: Vec<&Value> = nbest.iter().filter(|row| row["text"] != "").collect();
                assert_eq!(rows.len(), ranking.spans.len(), "{name}");
                for (row, span) in rows.iter().zip(&ranking.spans) {
                    let quote = case.quote(&span.bytes);
                    assert_eq!(
                        (row["text"].as_str().unwrap(), row["start"].as_u64().unwrap()),
                        (quote.0, quote.1)
                    );
                    assert_score(name, &row["probability"], span.score);
                }
                lists += 1;
            }
        }
    });
    assert!(checked > 30 && lists > 25, "{checked} {lists}");
}

#[test]
fn haystack_scores_are_its_readers() {
    let standard = |options: &Value| options["overlap_threshold"] == 0.01;
    let checked = each("haystack2", standard, |name, case, result| {
        let decoding = Decoding {
            scoring: Scoring::Haystack,
            top_k: result["options"]["top_k"].as_u64().unwrap() as usize,
            ..Decoding::default()
        };
        let ranking = case.rank(&decoding);
        let answers = with_null(list(case, &ranking), ranking.no_answer_score);
        assert_answers(name, &result["answers"], &answers);
    });
    assert!(checked > 30, "{checked}");
}

/// The hand-made cases, with every group of numbers in them. Tokens stand for themselves: token n of window w is a text of
/// its own, so that equal texts do not merge.
#[test]
fn the_toy_cases_hold() {
    for case in fixture_json("decode_golden.json").as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let mask = case["p_mask"].as_array().unwrap();
        let first = mask.iter().skip(1).position(|masked| masked == 0).unwrap() + 1;
        let count = mask.iter().skip(first).take_while(|masked| **masked == 0).count();
        let windows = case["windows"].as_array().unwrap();
        let text: String = (0..windows.len() * count).map(|token| format!("t{token:02} ")).collect();
        let read = Case {
            offsets: (0..windows.len() * count).map(|token| (token * 4, token * 4 + 3)).collect(),
            words: (0..(windows.len() * count) as u32).collect(),
            layout: (0..windows.len()).map(|window| window * count..(window + 1) * count).collect(),
            logits: windows
                .iter()
                .map(|window| (numbers(&window["start"]), numbers(&window["end"])))
                .collect(),
            prefix: first,
            text,
        };
        let place = |span: &spanqa::decode::Ranked| {
            (span.window, span.start % count + first, span.end % count + first)
        };
        let expected_place = |span: &Value| {
            let number = |key: &str| span[key].as_i64().unwrap() as usize;
            (number("w"), number("s"), number("e"))
        };
        let rank = |scoring| read.rank(&Decoding { scoring, top_k: 40, ..Decoding::default() });

        for impossible in [false, true] {
            let expected =
                &case[if impossible { "pipeline_impossible_True" } else { "pipeline_impossible_False" }];
            let ranking = rank(Scoring::Hf(Hf { handle_impossible_answer: impossible, ..Hf::default() }));
            for span in expected["spans"].as_array().unwrap() {
                let found = ranking.spans.iter().find(|found| place(found) == expected_place(span)).unwrap();
                assert_score(name, &span["score"], found.score);
            }
            if impossible {
                assert_score(name, &expected["min_null"], ranking.no_answer_score);
            }
        }

        let squad = &case["run_qa_v2"];
        let ranking = rank(ScoringRules::Squad.into());
        assert_eq!(ranking.null_odds.map(f64::from), squad["score_diff"].as_f64(), "{name}");
        assert_eq!(ranking.answered, squad["answer_empty_at_threshold_0"] == false, "{name}");
        assert_eq!(place(&ranking.spans[0]), expected_place(&squad["best_non_null"]), "{name}");
        let mut spans = ranking.spans.iter();
        for row in squad["top3"].as_array().unwrap() {
            if row["w"] == -1 {
                assert_score(name, &row["prob"], ranking.no_answer_score);
            } else {
                assert_score(name, &row["prob"], spans.next().unwrap().score);
            }
        }

        let ranking = rank(Scoring::Haystack);
        for (span, expected) in
            ranking.spans.iter().zip(case["haystack2_top3_after_overlap"].as_array().unwrap())
        {
            assert_eq!(place(span), expected_place(expected), "{name}");
            assert_score(name, &expected["p"], span.score);
        }
        let top = Decoding { scoring: Scoring::Haystack, top_k: 3, ..Decoding::default() };
        assert_score(name, &case["haystack2_no_answer"], read.rank(&top).no_answer_score);

        let joint = &case["joint"];
        let ranking = rank(Scoring::default());
        assert_eq!(ranking.null_odds.map(f64::from), squad["score_diff"].as_f64(), "{name}");
        assert_score(name, &joint["p_best_given_all_with_min_null"], ranking.spans[0].score);
        let all = read.rank(&Decoding { always_answer: true, ..Decoding::default() });
        let log_sum = f64::from(all.spans[0].logit) - all.spans[0].score.ln();
        assert_score(name, &joint["log_sum_spans"], log_sum);
    }
}
