//! What the words of a question say about each passage: Okapi BM25.

use super::passages::Passages;
use super::terms::Analyser;

/// How soon more of the same word says nothing new.
const K1: f64 = 1.2;
/// How much longer passages are held back.
const B: f64 = 0.75;

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
pub fn rank(question: &str, documents: &[&Passages]) -> Vec<Hit> {
    let mut hits: Vec<Vec<f64>> = documents.iter().map(|document| vec![0.0; document.len()]).collect();
    let passages: usize = documents.iter().map(|document| document.len()).sum();
    let words: u64 =
        documents.iter().flat_map(|document| &document.lengths).map(|&length| u64::from(length)).sum();
    let usual = (words as f64 / passages.max(1) as f64).max(1.0);
    for term in Analyser::new().question(question) {
        let lists: Vec<&[(u32, u32)]> = documents
            .iter()
            .map(|document| document.postings.get(&term).map_or(&[][..], Vec::as_slice))
            .collect();
        let holding: usize = lists.iter().map(|list| list.len()).sum();
        let rarity = (1.0 + (passages as f64 - holding as f64 + 0.5) / (holding as f64 + 0.5)).ln();
        for ((list, document), scores) in lists.iter().zip(documents).zip(&mut hits) {
            for &(passage, times) in *list {
                let length = f64::from(document.lengths[passage as usize]);
                let times = f64::from(times);
                let weight = times * (K1 + 1.0) / (times + K1 * (1.0 - B + B * length / usual));
                scores[passage as usize] += rarity * weight;
            }
        }
    }
    let mut hits: Vec<Hit> = (hits.iter().enumerate())
        .flat_map(|(document, scores)| {
            scores.iter().enumerate().map(move |(passage, &score)| Hit { document, passage, score })
        })
        .collect();
    // A stable sort: passages of equal score stay in the order of the documents.
    hits.sort_by(|a, b| b.score.total_cmp(&a.score));
    hits
}
