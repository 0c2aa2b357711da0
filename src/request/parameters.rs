//! What a request asks of its own replies, by the names that transformers' pipeline gave these options.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::Options;
use super::error::Error;
use crate::decode::Scoring;

/// The options of one request; what it does not name is as for everybody.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Answers to return.
    #[serde(alias = "topk")]
    pub top_k: Option<usize>,
    /// Tokens of an answer.
    pub max_answer_len: Option<usize>,
    /// Tokens of a window.
    pub max_seq_len: Option<usize>,
    /// Tokens that windows share.
    pub doc_stride: Option<usize>,
    /// Tokens of a question.
    pub max_question_len: Option<usize>,
    /// Whether "no answer" is a possible reply.
    pub handle_impossible_answer: Option<bool>,
    /// Whether answers are widened to whole words.
    pub align_to_words: Option<bool>,
    /// Taken, because it never changed an answer: nothing is padded here.
    padding: Option<IgnoredAny>,
}

impl Parameters {
    /// Reads a JSON object. A name that means nothing here is refused, because it would be ignored in silence.
    pub fn from_json(json: &RawValue) -> Result<Self, Error> {
        let parameters: Self = serde_json::from_str(json.get()).map_err(|error| {
            let reason = error.to_string();
            let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
            Error::BadParameters { reason }
        })?;
        let numbers = [
            ("top_k", parameters.top_k),
            ("max_answer_len", parameters.max_answer_len),
            ("max_seq_len", parameters.max_seq_len),
            ("max_question_len", parameters.max_question_len),
        ];
        match numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            Some((name, _)) => Err(Error::BadParameters { reason: format!("`{name}` must be at least 1") }),
            None => Ok(parameters),
        }
    }

    /// What everybody gets, with these changes.
    pub fn apply(&self, options: &Arc<Options>) -> Result<Arc<Options>, Error> {
        if *self == Self::default() {
            return Ok(options.clone());
        }
        let mut own = Options::clone(options);
        let (decoding, limits) = (&mut own.decoding, &mut own.limits);
        decoding.top_k = self.top_k.unwrap_or(decoding.top_k);
        decoding.max_answer_tokens = self.max_answer_len.or(decoding.max_answer_tokens);
        limits.max_tokens = self.max_seq_len.unwrap_or(limits.max_tokens);
        limits.overlap = self.doc_stride.unwrap_or(limits.overlap);
        limits.max_question_tokens = self.max_question_len.unwrap_or(limits.max_question_tokens);
        match (&mut decoding.scoring, self.handle_impossible_answer) {
            (_, None) => {}
            (Scoring::Hf(hf), Some(competes)) => hf.handle_impossible_answer = competes,
            // Under the other rules "no answer" always competes, unless it may not be given at all.
            (_, Some(competes)) => decoding.always_answer = !competes,
        }
        match (&mut decoding.scoring, self.align_to_words) {
            (_, None) => {}
            (Scoring::Hf(hf), Some(align)) => hf.align_to_words = align,
            (_, Some(true)) => {
                let reason = "`align_to_words` belongs to the pipeline's scoring (hf)".into();
                return Err(Error::BadParameters { reason });
            }
            (_, Some(false)) => {}
        }
        Ok(Arc::new(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::ScoringRules;

    fn read(json: &str) -> Result<Parameters, Error> {
        Parameters::from_json(&serde_json::from_str::<Box<RawValue>>(json).unwrap())
    }

    #[test]
    fn parameters_change_what_they_name_and_nothing_else() {
        let usual = Arc::new(Options::default());
        let options = read(r#"{"top_k": 3, "max_seq_len": 128}"#).unwrap().apply(&usual).unwrap();
        let mut expected = Options::default();
        expected.decoding.top_k = 3;
        expected.limits.max_tokens = 128;
        assert_eq!(*options, expected);
        assert!(Arc::ptr_eq(&read("{}").unwrap().apply(&usual).unwrap(), &usual));

        let impossible = read(r#"{"handle_impossible_answer": false}"#).unwrap();
        assert!(impossible.apply(&usual).unwrap().decoding.always_answer);
        let mut hf = Options::default();
        hf.decoding.scoring = ScoringRules::Hf.into();
        let options = read(r#"{"handle_impossible_answer": true, "align_to_words": false}"#).unwrap();
        let Scoring::Hf(hf) = options.apply(&hf.into()).unwrap().decoding.scoring.clone() else { panic!() };
        assert!(hf.handle_impossible_answer && !hf.align_to_words);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for (json, named) in [
            (r#"{"top_kk": 3}"#, "top_kk"),
            (r#"{"top_k": 0}"#, "top_k"),
            (r#"{"top_k": -1}"#, "-1"),
            (r#"{"top_k": "3"}"#, "3"),
            ("[]", "top_k"),
        ] {
            match read(json) {
                Err(Error::BadParameters { reason }) => {
                    assert!(reason.contains(named) || json == "[]", "{reason}")
                }
                other => panic!("{json}: {other:?}"),
            }
        }
        let usual = Arc::new(Options::default());
        assert!(read(r#"{"align_to_words": true}"#).unwrap().apply(&usual).is_err());
    }
}
