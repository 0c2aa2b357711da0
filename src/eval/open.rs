//! Open questions: a question does not say which paragraph has its answer, so the paragraphs of all questions are searched.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::data::{Dataset, Paragraph, Question};

use super::run::Prediction;
use crate::index::{self, Memory};
use crate::reader::{self, Document, Found, Reader, Search};
use crate::request::reply::{DocumentId, Reply};
use crate::request::{FOUND, Options};

/// How far down the list the paragraph of a question is looked for.
const DEPTH: usize = 100;

/// Passages that are looked for, for each paragraph or window that is wanted.
const PASSAGES_EACH: usize = 4;

/// Texts that are searched.
pub struct Pool {
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
    words: Memory,
    /// Those that were read so far.
    documents: Vec<OnceLock<Arc<Document>>>,
}

/// Where the paragraph of a question came, from 1; absent if it did not come at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranks {
    /// By the words that it shares with the question, among the first hundred.
    pub words: Option<usize>,
    /// By the spans that the reader found, among those of the reply.
    pub reader: Option<usize>,
}

/// A question with what was found for it.
pub(super) struct Asked {
    pub(super) question: reader::Question,
    /// The number of its own paragraph.
    own: usize,
    /// Where that came by words.
    words: Option<usize>,
}

impl Asked {
    /// Where the question's own paragraph came.
    pub(super) fn ranks(&self, reply: &Reply) -> Ranks {
        let mut seen: Vec<&DocumentId> = Vec::new();
        for span in reply.spans() {
            if !seen.contains(&&span.document) {
                seen.push(&span.document);
            }
        }
        let own = |id: &&DocumentId| **id == DocumentId::Index(self.own);
        Ranks { words: self.words, reader: seen.iter().position(own).map(|at| at + 1) }
    }
}

impl Pool {
    /// The paragraphs of a data set, each once, among other texts with their titles.
    pub fn new(dataset: &Dataset, others: Vec<(String, String)>) -> index::Result<Self> {
        let paragraphs = dataset.articles.iter().flat_map(|article| {
            article.paragraphs.iter().map(|paragraph| (article.title.clone(), paragraph.context.clone()))
        });
        let (mut texts, mut titles, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
        for (title, text) in paragraphs.chain(others) {
            if numbers.contains_key(&text) {
                continue;
            }
            numbers.insert(text.clone(), texts.len());
            // Titles of SQuAD are parts of addresses: `Computational_complexity_theory`.
            titles.push(title.replace('_', " "));
            texts.push(text);
        }
        let words =
            Memory::of(texts.iter().zip(&titles).map(|(text, title)| (text.as_str(), title.as_str())))?;
        let documents = texts.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { texts, numbers, words, documents })
    }

    /// How many texts there are.
    pub fn texts(&self) -> usize {
        self.texts.len()
    }

    /// How many passages they have.
    pub fn passages(&self) -> usize {
        self.words.passages()
    }

    /// A question about what is found for it.
    pub(super) fn question(
        &self,
        reader: &Reader,
        paragraph: &Paragraph,
        question: &Question,
        options: &Arc<Options>,
    ) -> reader::Result<Asked> {
        let windows = options.read.unwrap_or(FOUND);
        let hits = self.words.search(&question.text, DEPTH.max(windows).saturating_mul(PASSAGES_EACH));
        let own = self.numbers.get(&paragraph.context).copied().unwrap_or(usize::MAX);
        let mut order: Vec<usize> = Vec::new();
        for (text, _, _) in &hits {
            if !order.contains(text) {
                order.push(*text);
            }
        }
        let words = order.iter().take(DEPTH).position(|text| *text == own).map(|at| at + 1);
        let read: Vec<&(usize, Range<usize>, f64)> = hits.iter().take(windows * PASSAGES_EACH).collect();
        let documents = order.iter().filter(|text| read.iter().any(|(found, _, _)| found == *text));
        let numbers: Vec<usize> = documents.copied().collect();
        let documents: reader::Result<Vec<Arc<Document>>> =
            numbers.iter().map(|&number| self.document(reader, number)).collect();
        let found = read.iter().filter_map(|(text, bytes, score)| {
            let document = numbers.iter().position(|number| number == text)?;
            Some(Found { document, bytes: bytes.clone(), score: *score })
        });
        let search = Search { found: found.collect(), passages: self.passages() };
        let mut asked =
            reader::Question::new(question.id.as_str(), question.text.clone(), documents?).with(options);
        asked.search = Some(search.into());
        Ok(Asked { question: asked, own, words })
    }

    fn document(&self, reader: &Reader, number: usize) -> reader::Result<Arc<Document>> {
        let slot = &self.documents[number];
        if let Some(known) = slot.get() {
            return Ok(known.clone());
        }
        let made = Arc::new(reader.prepare(DocumentId::Index(number), self.texts[number].clone())?);
        Ok(slot.get_or_init(|| made).clone())
    }
}

/// How often the paragraph of a question is among the first.
#[derive(Debug, Clone, Serialize)]
pub struct Retrieval {
    /// Texts that were searched.
    pub texts: usize,
    /// Passages of these.
    pub passages: usize,
    /// Questions that have an answer.
    pub questions: usize,
    /// By words, and by what the reader made of it.
    pub stages: Vec<Stage>,
}

/// An order of paragraphs.
#[derive(Debug, Clone, Serialize)]
pub struct Stage {
    /// What made it.
    pub by: &'static str,
    /// The share of questions, in percent, whose paragraph is the first.
    pub hit_1: f64,
    /// Among the first five.
    pub hit_5: f64,
    /// Among the first twenty.
    pub hit_20: f64,
    /// The mean of one over its place, 0 where it did not come.
    pub mrr: f64,
    /// The share for each number of paragraphs.
    pub hits: Vec<(usize, f64)>,
}

/// Numbers of paragraphs that are worth a point on a chart.
const SHOWN: [usize; 8] = [1, 2, 3, 5, 10, 20, 50, 100];

impl Retrieval {
    /// What came of the questions that have an answer; `None` if nothing was searched.
    pub fn of(pool: (usize, usize), dataset: &Dataset, run: &[Prediction]) -> Option<Self> {
        let answerable: HashMap<&str, bool> = dataset
            .entries()
            .map(|entry| (entry.question.id.as_str(), entry.question.has_answer()))
            .collect();
        let ranks: Vec<Ranks> = (run.iter())
            .filter(|said| answerable.get(said.id.as_str()).is_some_and(|has| *has))
            .filter_map(|said| said.ranks)
            .collect();
        let stage = |by, rank: fn(&Ranks) -> Option<usize>| {
            let share = |sum: f64| 100.0 * sum / ranks.len() as f64;
            let within = |most: usize| {
                share(ranks.iter().filter(|ranks| rank(ranks).is_some_and(|rank| rank <= most)).count() as f64)
            };
            Stage {
                by,
                hit_1: within(1),
                hit_5: within(5),
                hit_20: within(20),
                mrr: ranks.iter().filter_map(rank).map(|rank| 1.0 / rank as f64).sum::<f64>()
                    / ranks.len() as f64,
                hits: SHOWN.iter().map(|&most| (most, within(most))).collect(),
            }
        };
        let (texts, passages) = pool;
        (!ranks.is_empty()).then(|| Self {
            texts,
            passages,
            questions: ranks.len(),
            stages: vec![stage("words", |ranks| ranks.words), stage("reader", |ranks| ranks.reader)],
        })
    }
}
