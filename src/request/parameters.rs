//! What a request asks of its own replies, by the names that transformers' pipeline gave these options, and by those of the command line.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::Options;
use super::error::Error;
use crate::decode::{Dedup, Scoring, ScoringRules, TEMPERATURES};
use crate::text::offsets::OffsetUnit;
use crate::text::window::Limits;

/// The options of one request; what it does not name is as for everybody.
#[derive(Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Answers to return.
    #[serde(alias = "topk")]
    pub top_k: Option<usize>,
    /// Tokens of an answer.
    #[serde(alias = "max_answer_tokens")]
    pub max_answer_len: Option<usize>,
    /// Tokens of a window.
    #[serde(alias = "window")]
    pub max_seq_len: Option<usize>,
    /// Tokens that windows share.
    #[serde(alias = "overlap")]
    pub doc_stride: Option<usize>,
    /// Tokens of a question.
    #[serde(alias = "max_question_tokens")]
    pub max_question_len: Option<usize>,
    /// Whether "no answer" is a possible reply.
    pub handle_impossible_answer: Option<bool>,
    /// Whether answers are widened to whole words.
    pub align_to_words: Option<bool>,
    /// Taken, because it never changed an answer: nothing is padded here.
    padding: Option<IgnoredAny>,
    /// Whose rules make the scores.
    #[serde(default, deserialize_with = "named")]
    pub score: Option<ScoringRules>,
    /// How many logits "no answer" may lead by.
    pub null_threshold: Option<f32>,
    /// Whether "no answer" may not be given.
    pub always_answer: Option<bool>,
    /// What divides logits.
    pub temperature: Option<f64>,
    /// Which similar answers are dropped.
    #[serde(default, deserialize_with = "named")]
    pub dedup: Option<Dedup>,
    /// How many windows of long documents are read.
    pub read: Option<Windows>,
    /// What offsets count.
    #[serde(default, deserialize_with = "named")]
    pub offset_unit: Option<OffsetUnit>,
    /// Whether the reply explains itself.
    pub why: Option<bool>,
}

/// How much of long documents is read: `"all"`, or so many windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows(pub Option<usize>);

impl<'de> Deserialize<'de> for Windows {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Number(usize),
            Word(String),
        }
        match Either::deserialize(deserializer) {
            Ok(Either::Number(number)) if number > 0 => Ok(Self(Some(number))),
            Ok(Either::Word(word)) if word == "all" => Ok(Self(None)),
            _ => Err(D::Error::custom("`read` must be a number of windows or `all`")),
        }
    }
}

/// A value by its name; `null` names none.
fn named<'de, D: Deserializer<'de>, T: FromStr<Err = String>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let name: Option<String> = Option::deserialize(deserializer)?;
    name.map(|name| name.parse().map_err(D::Error::custom)).transpose()
}

/// What `batch` compares of two runs. Options that came later show only where they are named, so that an interrupted run stays one that
/// can be gone on with.
impl fmt::Debug for Parameters {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let mut shown = out.debug_struct("Parameters");
        shown
            .field("top_k", &self.top_k)
            .field("max_answer_len", &self.max_answer_len)
            .field("max_seq_len", &self.max_seq_len)
            .field("doc_stride", &self.doc_stride)
            .field("max_question_len", &self.max_question_len)
            .field("handle_impossible_answer", &self.handle_impossible_answer)
            .field("align_to_words", &self.align_to_words)
            .field("padding", &self.padding);
        let later: [(&str, Option<&dyn fmt::Debug>); 8] = [
            ("score", self.score.as_ref().map(|score| score as _)),
            ("null_threshold", self.null_threshold.as_ref().map(|threshold| threshold as _)),
            ("always_answer", self.always_answer.as_ref().map(|always| always as _)),
            ("temperature", self.temperature.as_ref().map(|temperature| temperature as _)),
            ("dedup", self.dedup.as_ref().map(|dedup| dedup as _)),
            ("read", self.read.as_ref().map(|read| read as _)),
            ("offset_unit", self.offset_unit.as_ref().map(|unit| unit as _)),
            ("why", self.why.as_ref().map(|why| why as _)),
        ];
        for (name, value) in later {
            if let Some(value) = value {
                shown.field(name, value);
            }
        }
        shown.finish()
    }
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
        if let Some((name, _)) = numbers.into_iter().find(|(_, number)| *number == Some(0)) {
            return Err(Error::BadParameters { reason: format!("`{name}` must be at least 1") });
        }
        if parameters.temperature.is_some_and(|temperature| !TEMPERATURES.contains(&temperature)) {
            return Err(Error::BadParameters {
                reason: "`temperature` must be from 0.000001 to 1000000".into(),
            });
        }
        Ok(parameters)
    }

    /// What everybody gets, with these changes.
    pub fn apply(&self, options: &Arc<Options>) -> Result<Arc<Options>, Error> {
        if *self == Self::default() {
            return Ok(options.clone());
        }
        let mut own = Options::clone(options);
        if let Some(Windows(read)) = self.read {
            let usual = |read: Option<usize>| match read {
                Some(_) => Limits::AROUND_PASSAGES,
                None => Limits::default(),
            };
            // Windows that nobody has chosen are those that suit how much is read.
            let (before, now) = (usual(own.read), usual(read));
            let max_question_tokens = own.limits.max_question_tokens;
            if own.limits == (Limits { max_question_tokens, ..before }) {
                own.limits = Limits { max_question_tokens, ..now };
            }
            own.read = read;
        }
        own.unit = self.offset_unit.unwrap_or(own.unit);
        own.why = self.why.unwrap_or(own.why);
        let (decoding, limits) = (&mut own.decoding, &mut own.limits);
        decoding.top_k = self.top_k.unwrap_or(decoding.top_k);
        decoding.max_answer_tokens = self.max_answer_len.or(decoding.max_answer_tokens);
        if let Some(most) = self.max_seq_len {
            (limits.max_tokens, limits.whole) = (most, 0);
        }
        limits.overlap = self.doc_stride.unwrap_or(limits.overlap);
        limits.max_question_tokens = self.max_question_len.unwrap_or(limits.max_question_tokens);
        if let Some(rules) = self.score.filter(|rules| *rules != decoding.scoring.rules()) {
            decoding.scoring = rules.into();
        }
        decoding.always_answer = self.always_answer.unwrap_or(decoding.always_answer);
        self.apply_to_scoring(&mut decoding.scoring)?;
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

    /// What not all rules know.
    fn apply_to_scoring(&self, scoring: &mut Scoring) -> Result<(), Error> {
        let rules = scoring.rules();
        let foreign = |name: &str, known: &str| {
            Err(Error::BadParameters {
                reason: format!("`{name}` belongs to the scoring {known}, not to {rules}"),
            })
        };
        match (&mut *scoring, self.null_threshold) {
            (_, None) => {}
            (Scoring::Joint(joint), Some(threshold)) => joint.null_threshold = threshold,
            (Scoring::Squad { null_threshold }, Some(threshold)) => *null_threshold = threshold,
            (_, Some(_)) => return foreign("null_threshold", "joint and squad"),
        }
        match (scoring, self.temperature, self.dedup) {
            (_, None, None) => Ok(()),
            (Scoring::Joint(joint), temperature, dedup) => {
                if let Some(temperature) = temperature.filter(|&temperature| temperature != joint.temperature)
                {
                    // What is known of the model's confidence holds at its own temperature.
                    (joint.temperature, joint.confidence) = (temperature, None);
                }
                joint.dedup = dedup.unwrap_or(joint.dedup);
                Ok(())
            }
            (_, Some(_), _) => foreign("temperature", "joint"),
            (_, _, Some(_)) => foreign("dedup", "joint"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Joint;
    use crate::decode::confidence::Confidence;

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

    #[test]
    fn options_go_by_the_names_of_the_command_line_too() {
        let mut usual = Options { read: Some(24), limits: Limits::AROUND_PASSAGES, ..Options::default() };
        let measured = Some(Confidence::PLAIN);
        usual.decoding.scoring = Scoring::Joint(Joint { confidence: measured, ..Joint::default() });
        let usual = Arc::new(usual);
        let json = r#"{"max_answer_tokens": 5, "read": "all", "why": true, "offset_unit": "utf16", "null_threshold": -1.5,
                       "temperature": 2, "dedup": "text", "always_answer": true}"#;
        let options = read(json).unwrap().apply(&usual).unwrap();
        let mut expected = Options { unit: OffsetUnit::Utf16, why: true, ..Options::default() };
        expected.decoding.max_answer_tokens = Some(5);
        expected.decoding.always_answer = true;
        let joint = Joint { null_threshold: -1.5, temperature: 2.0, dedup: Dedup::Text, ..Joint::default() };
        expected.decoding.scoring = Scoring::Joint(joint);
        // What was measured at another temperature is gone.
        assert_eq!(*options, expected);
        let same = read(r#"{"temperature": 1}"#).unwrap().apply(&usual).unwrap();
        assert!(matches!(&same.decoding.scoring, Scoring::Joint(joint) if joint.confidence == measured));
        let few = read(r#"{"read": 3, "overlap": 10}"#).unwrap().apply(&Arc::default()).unwrap();
        assert_eq!((few.read, few.limits.max_tokens, few.limits.overlap), (Some(3), 192, 10));
        assert_eq!(few.limits.whole, Limits::AROUND_PASSAGES.whole);
        // Whoever says how long windows are means all of them.
        let cut = read(r#"{"read": 3, "max_seq_len": 192}"#).unwrap().apply(&Arc::default()).unwrap();
        assert_eq!((cut.limits.max_tokens, cut.limits.whole), (192, 0));
        for (json, named) in [
            (r#"{"score": "bm25"}"#, "bm25"),
            (r#"{"read": 0}"#, "read"),
            (r#"{"temperature": 0}"#, "temperature"),
            (r#"{"temperature": 1e-30}"#, "temperature"),
            (r#"{"score": "hf", "temperature": 2}"#, "temperature"),
            (r#"{"score": "haystack", "null_threshold": 2}"#, "null_threshold"),
        ] {
            let error = read(json).and_then(|parameters| parameters.apply(&usual)).expect_err(json);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    /// Journals of interrupted runs hold it.
    #[test]
    fn what_runs_compare_stays_as_it_is() {
        let shown = format!("{:?}", read(r#"{"top_k": 3}"#).unwrap());
        let expected = "Parameters { top_k: Some(3), max_answer_len: None, max_seq_len: None, doc_stride: None, \
                        max_question_len: None, handle_impossible_answer: None, align_to_words: None, padding: None }";
        assert_eq!(shown, expected);
        assert!(format!("{:?}", read(r#"{"why": true}"#).unwrap()).contains("padding: None, why: true }"));
    }
}
