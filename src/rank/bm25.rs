//! What the words of a question say about each passage: Okapi BM25.

use std::borrow::Cow;

use super::terms::of_question;

/// How soon more of the same word says nothing new.
const K1: f64 = 1.2;
/// How much longer passages are held back.
const B: f64 = 0.75;

/// What is added to places before they are inverted: how little the first ones differ (Cormack, Clarke and Büttcher 2009).
const DAMPING: usize = 60;

/// What a place in one of several orders is worth, from 1: what orders are fused by.
pub fn worth(place: usize) -> f64 {
    1.0 / (DAMPING + place) as f64
}

/// Passages with the words of each, wherever they lie.
pub trait Words {
    /// The passages are numbered from 0 to this. Not every number needs to be a passage.
    fn numbers(&self) -> usize;

    /// How many passages there are.
    fn passages(&self) -> usize;

    /// How many terms all of them have.
    fn terms(&self) -> u64;

    /// How many terms one has.
    fn length(&self, passage: usize) -> u32;

    /// The passages that a term stands in, in order, and how often.
    fn holding(&self, term: &str) -> Cow<'_, [(u32, u32)]>;
}

/// A passage of one of several documents.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Which document.
    pub document: usize,
    /// Which of its passages.
    pub passage: usize,
    /// What the question's words make of it; 0 if it has none of them.
    pub score: f64,
}

/// All passages of some documents, the most promising first; those that nothing tells apart in their order.
pub fn rank(question: &str, documents: &[&impl Words]) -> Vec<Hit> {
    let mut hits: Vec<Hit> = (scores(question, documents).iter().enumerate())
        .flat_map(|(document, scores)| {
            scores.iter().enumerate().map(move |(passage, &score)| Hit { document, passage, score })
        })
        .collect();
    // A stable sort: passages of equal score stay in the order of the documents.
    hits.sort_by(order);
    hits
}

/// The passages that [`rank`] would put first, of those that have a word of the question: `most` of them, and as many more as are as good as
/// the last of these.
pub fn best(question: &str, documents: &[&impl Words], most: usize) -> Vec<Hit> {
    let mut hits: Vec<Hit> = Vec::new();
    for (document, scores) in scores(question, documents).iter().enumerate() {
        let found = scores.iter().enumerate().filter(|(_, score)| **score > 0.0);
        hits.extend(found.map(|(passage, &score)| Hit { document, passage, score }));
    }
    if let Some(last) = most.checked_sub(1).filter(|last| *last < hits.len()) {
        let least = hits.select_nth_unstable_by(last, order).1.score;
        hits.retain(|hit| hit.score >= least);
    }
    hits.sort_unstable_by(|a, b| order(a, b).then((a.document, a.passage).cmp(&(b.document, b.passage))));
    hits
}

fn order(a: &Hit, b: &Hit) -> std::cmp::Ordering {
    b.score.total_cmp(&a.score)
}

/// What the words of a question make of each passage of each document.
fn scores(question: &str, documents: &[&impl Words]) -> Vec<Vec<f64>> {
    let mut scores: Vec<Vec<f64>> = documents.iter().map(|document| vec![0.0; document.numbers()]).collect();
    let passages: usize = documents.iter().map(|document| document.passages()).sum();
    let terms: u64 = documents.iter().map(|document| document.terms()).sum();
    let usual = (terms as f64 / passages.max(1) as f64).max(1.0);
    for term in of_question(question) {
        let lists: Vec<Cow<[(u32, u32)]>> =
            documents.iter().map(|document| document.holding(&term)).collect();
        let holding: usize = lists.iter().map(|list| list.len()).sum();
        let rarity = (1.0 + (passages as f64 - holding as f64 + 0.5) / (holding as f64 + 0.5)).ln();
        for ((list, document), scores) in lists.iter().zip(documents).zip(&mut scores) {
            for &(passage, times) in list.iter() {
                let length = f64::from(document.length(passage as usize));
                let times = f64::from(times);
                let weight = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / usual));
                scores[passage as usize] += rarity * weight;
            }
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::super::passages::Passages;
    use super::*;

    fn texts(list: &Value) -> Vec<String> {
        serde_json::from_value(list.clone()).unwrap()
    }

    fn whole(passages: &[String]) -> Vec<Passages> {
        passages.iter().map(|passage| Passages::whole(passage)).collect()
    }

    fn terms(passages: &[String], questions: &[String]) -> Value {
        let passages: Vec<_> = passages.iter().map(|passage| super::super::terms::of_text(passage)).collect();
        let questions: Vec<_> = questions.iter().map(|question| of_question(question)).collect();
        json!({"passages": passages, "questions": questions})
    }

    /// The order of all passages, and the score of each.
    fn ranked(question: &str, passages: &[Passages]) -> (Vec<usize>, Vec<f64>) {
        let passages: Vec<&Passages> = passages.iter().collect();
        let hits = rank(question, &passages);
        let matching: Vec<Hit> = hits.iter().filter(|hit| hit.score > 0.0).copied().collect();
        for most in [1, 3, passages.len()] {
            let best = best(question, &passages, most);
            assert_eq!(best, matching[..best.len()]);
            assert!(best.len() == matching.len() || best.len() >= most);
            let as_good = |pair: &[Hit]| pair[0].score == pair[1].score;
            assert!(best.len() <= most || best[most - 1..].windows(2).all(as_good));
            assert!(matching.get(best.len()).is_none_or(|next| next.score < best[best.len() - 1].score));
        }
        let mut scores = vec![0.0; hits.len()];
        hits.iter().for_each(|hit| scores[hit.document] = hit.score);
        (hits.iter().map(|hit| hit.document).collect(), scores)
    }

    /// What bm25s makes of the same terms: tests/fixtures/bm25.py.
    #[test]
    fn passages_rank_as_bm25s_ranks_them() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bm25.json");
        let golden: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (passages, questions) = (texts(&golden["passages"]), texts(&golden["questions"]));
        assert_eq!(terms(&passages, &questions), golden["terms"], "make the golden file anew");
        let passages = whole(&passages);
        for (number, question) in questions.iter().enumerate() {
            let (order, scores) = ranked(question, &passages);
            assert_eq!(json!(order), golden["orders"][number], "{question}");
            for (at, score) in scores.iter().enumerate() {
                let expected = golden["scores"][number][at].as_f64().unwrap();
                assert!(
                    (score - expected).abs() < 1e-9,
                    "{question} [{at}]: expected {expected}, found {score}"
                );
            }
        }
    }

    /// Writes what tests/fixtures/bm25.py compares: our terms and our orders.
    #[test]
    #[ignore = "needs SPANQA_BM25, a JSON file with passages and questions"]
    fn exports_terms() {
        let path = std::env::var("SPANQA_BM25").expect("SPANQA_BM25 names a JSON file");
        let mut whole_file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let (passages, questions) = (texts(&whole_file["passages"]), texts(&whole_file["questions"]));
        whole_file["terms"] = terms(&passages, &questions);
        let passages = whole(&passages);
        let ranked: Vec<_> = questions.iter().map(|question| ranked(question, &passages)).collect();
        whole_file["orders"] = ranked.iter().map(|(order, _)| json!(order)).collect();
        whole_file["scores"] = ranked.iter().map(|(_, scores)| json!(scores)).collect();
        std::fs::write(format!("{path}.terms"), whole_file.to_string()).unwrap();
    }
}
