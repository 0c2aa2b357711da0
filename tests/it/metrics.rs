//! Scores against Python's: the official rules, to the last digit.

use serde_json::Value;
use spanqa::eval::score::metrics::{NoAnswer, Rules, Score, official};
use spanqa::eval::score::mlqa::{self, Language};
use spanqa::eval::score::normalize::normalize;
use spanqa::eval::score::predictions::{NoAnswerScores, Predictions};
use spanqa::eval::score::unicode;
use spanqa::eval::{Dataset, Gold, Options, Question};

use crate::support::{fixture, fixture_json};

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn question(golds: &[&str]) -> Question {
    let golds = golds.iter().map(|gold| Gold { text: (*gold).into(), start: None }).collect();
    Question { id: "1".into(), text: "Which?".into(), golds, number: 0 }
}

fn score(pair: &Value) -> Score {
    Score { exact: pair[0].as_f64().unwrap(), f1: pair[1].as_f64().unwrap() }
}

#[test]
fn the_published_vectors_hold() {
    let golden = fixture_json("eval_golden.json");
    for case in golden["normalize"].as_array().unwrap() {
        assert_eq!(normalize(text(&case["in"])), text(&case["out"]), "{case}");
    }
    for case in golden["pairs_v2"].as_array().unwrap() {
        let gold = text(&case["gold"]);
        let question = if gold.is_empty() { question(&[]) } else { question(&[gold]) };
        let found = Rules::Squad2.score(text(&case["pred"]), &question);
        let expected = Score { exact: case["em"].as_f64().unwrap(), f1: case["f1"].as_f64().unwrap() };
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn rules_have_names() {
    for name in ["squad1", "squad2", "mlqa:de"] {
        assert_eq!(name.parse::<Rules>().unwrap().to_string(), name);
    }
    for name in ["", "squad", "mlqa", "mlqa:", "mlqa:xx", "SQUAD2"] {
        assert!(name.parse::<Rules>().is_err(), "{name}");
    }
}

#[test]
fn random_texts_are_normalised_and_scored_as_in_python() {
    let golden = fixture_json("metrics/normal.json");
    for case in golden["squad"].as_array().unwrap() {
        assert_eq!(normalize(text(&case[0])), text(&case[1]), "{case}");
    }
    for case in golden["mlqa"].as_array().unwrap() {
        let language: Language = text(&case[0]).parse().unwrap();
        assert_eq!(mlqa::normalize(text(&case[1]), language), text(&case[2]), "{case}");
    }
    for case in golden["pairs"].as_array().unwrap() {
        let golds: Vec<&str> = case["golds"].as_array().unwrap().iter().map(text).collect();
        let question = question(&golds);
        let prediction = text(&case["prediction"]);
        let language = text(&case["language"]).parse().unwrap();
        assert_eq!(Rules::Squad1.score(prediction, &question), score(&case["v1"]), "{case}");
        assert_eq!(Rules::Squad2.score(prediction, &question), score(&case["v2"]), "{case}");
        assert_eq!(Rules::Mlqa(language).score(prediction, &question), score(&case["mlqa"]), "{case}");
    }
}

/// Every code point that Python knows is in the same classes here; newer ones are for this side to decide.
#[test]
fn character_classes_are_pythons() {
    let golden = fixture_json("metrics/classes.json");
    let contains = |name: &str| {
        let ranges: Vec<(u32, u32)> = golden[name]
            .as_array()
            .unwrap()
            .iter()
            .map(|range| (range[0].as_u64().unwrap() as u32, range[1].as_u64().unwrap() as u32))
            .collect();
        move |char: char| {
            let at = ranges.partition_point(|&(_, end)| end < char as u32);
            ranges.get(at).is_some_and(|&(start, _)| start <= char as u32)
        }
    };
    let assigned = contains("assigned");
    let (word, punctuation, space) = (contains("word"), contains("punctuation"), contains("space"));
    let mut seen = 0;
    for char in ('\0'..=char::MAX).filter(|&char| assigned(char)) {
        let code = char as u32;
        assert_eq!(unicode::is_word(char), word(char), "word: U+{code:04X}");
        assert_eq!(unicode::is_punctuation(char), punctuation(char), "punctuation: U+{code:04X}");
        assert_eq!(unicode::is_space(char), space(char), "space: U+{code:04X}");
        seen += 1;
    }
    assert!(seen > 200_000, "{seen}");
    for pair in golden["lower"].as_array().unwrap() {
        let char = char::from_u32(pair[0].as_u64().unwrap() as u32).unwrap();
        assert_eq!(char.to_string().to_lowercase(), text(&pair[1]));
    }
}

#[test]
fn official_results_are_the_same_text() {
    let open = |name: &str| fixture("metrics").join(name);
    let all = Dataset::open(&open("squad2.json"), Options { strict: true }).unwrap();
    assert_eq!((all.len(), Rules::of(&all)), (198, Rules::Squad2));
    let mut answerable = all.clone();
    answerable.retain(Question::has_answer);
    let predictions = Predictions::open(&open("predictions.json")).unwrap();
    let probabilities = NoAnswerScores::open(&open("na_probs.json")).unwrap();
    let odds = NoAnswerScores::open(&open("null_odds.json")).unwrap();
    let expected = fixture_json("metrics/expected.json");
    let check = |name: &str, rules, dataset: &Dataset, predictions: &Predictions, no_answer| {
        let found = official(rules, dataset, predictions, no_answer).unwrap();
        assert_eq!(found.json(), text(&expected[name]), "{name}");
    };
    let no_answer = |scores, threshold| Some(NoAnswer { scores, threshold, curves: true });
    check("v2", Rules::Squad2, &all, &predictions, None);
    check("v2_half", Rules::Squad2, &all, &predictions, no_answer(&probabilities, 0.5));
    check("v2_odds", Rules::Squad2, &all, &predictions, no_answer(&odds, 1.0));
    check("v2_answerable", Rules::Squad2, &answerable, &predictions, None);
    check("v1", Rules::Squad1, &answerable, &predictions, None);
    let mut half = Predictions::new("half");
    for (id, answer) in predictions.iter().step_by(2) {
        half.insert(id.into(), answer.clone());
    }
    check("v1_missing", Rules::Squad1, &answerable, &half, None);
    for language in Language::ALL {
        check(&format!("mlqa_{language}"), Rules::Mlqa(language), &answerable, &predictions, None);
    }
    let error = official(Rules::Squad2, &all, &half, None).unwrap_err();
    assert_eq!(error.code(), "missing_predictions");
    assert!(error.to_string().contains("lacks 99 of the 198 questions"), "{error}");
}
