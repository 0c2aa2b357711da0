//! Answers to the questions of a data set, wherever they come from, and what is known beside them.

use std::collections::HashMap;

use crate::eval::analysis::{Given, NullOdds};
use crate::eval::data::{Dataset, Entry};
use crate::eval::run::Prediction;
use crate::eval::score::metrics::NoAnswer;
use crate::eval::score::predictions::{NoAnswerScores, Predictions};

/// Answers to score.
#[derive(Debug, Clone)]
pub struct Answers {
    /// Where they come from, as reports say it.
    pub source: String,
    /// What was abstained by; none if every question was answered, or if nobody knows.
    pub threshold: Option<f64>,
    /// The answers by question.
    pub predictions: Predictions,
    /// How sure each "no answer" is, if a file says so.
    pub na_probs: Option<NoAnswerScores>,
    /// What a model said, in the order of the data set; empty if answers come from a file.
    pub run: Vec<Prediction>,
    by_id: HashMap<String, usize>,
    /// How fast the model was.
    pub pace: Option<Pace>,
    /// The type that the model computed in, and on what.
    pub computed: Option<String>,
    /// How many texts and passages were searched, if any were.
    pub pool: Option<(usize, usize)>,
}

/// What was done in how long. Questions that were answered before are not in it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Seconds it took.
    pub seconds: f64,
    /// Questions that were asked.
    pub questions: usize,
    /// Tokens that went through the model.
    pub tokens: usize,
}

impl Answers {
    /// Answers from a file.
    pub fn from_file(source: String, predictions: Predictions) -> Self {
        let (run, by_id) = (Vec::new(), HashMap::new());
        Self {
            source,
            threshold: None,
            predictions,
            na_probs: None,
            run,
            by_id,
            pace: None,
            computed: None,
            pool: None,
        }
    }

    /// Answers of a model, in any order.
    pub fn from_run(source: String, dataset: &Dataset, said: &[Prediction]) -> Self {
        let found: HashMap<&str, &Prediction> =
            said.iter().map(|prediction| (prediction.id.as_str(), prediction)).collect();
        // Files are in the order of the data set, whatever was interrupted when.
        let run: Vec<Prediction> = (dataset.entries())
            .filter_map(|entry| found.get(entry.question.id.as_str()).map(|&prediction| prediction.clone()))
            .collect();
        let by_id = run.iter().enumerate().map(|(at, prediction)| (prediction.id.clone(), at)).collect();
        let mut predictions = Predictions::new(&source);
        for prediction in &run {
            predictions.insert(prediction.id.clone(), prediction.answer.clone());
        }
        Self {
            source,
            threshold: None,
            predictions,
            na_probs: None,
            run,
            by_id,
            pace: None,
            computed: None,
            pool: None,
        }
    }

    /// What is known of the answer to a question.
    pub fn given<'a>(&'a self, entry: Entry<'a>, no_answer: Option<NoAnswer>) -> Given<'a> {
        let id = entry.question.id.as_str();
        if let Some(said) = self.by_id.get(id).and_then(|&at| self.run.get(at)) {
            return said.given();
        }
        let answer = self.predictions.get(id).map_or("", String::as_str);
        let odds = no_answer.and_then(|no_answer| no_answer.scores.get(id)?.as_f64());
        let hidden = no_answer.zip(odds).is_some_and(|(no_answer, odds)| odds > no_answer.threshold);
        Given {
            answer: if hidden { "" } else { answer },
            best: answer,
            null_odds: odds.map_or(NullOdds::Unknown, NullOdds::By),
            ..Given::default()
        }
    }
}

impl Prediction {
    /// What is known of the answer.
    pub fn given(&self) -> Given<'_> {
        Given {
            answer: &self.answer,
            best: &self.best,
            null_odds: self.null_odds.map_or(NullOdds::NothingToQuote, |odds| NullOdds::By(odds.into())),
            probability: Some(self.probability()),
            confidence: self.confidence.map(f64::from),
            windows: self.windows,
            candidates: &self.candidates,
        }
    }
}
