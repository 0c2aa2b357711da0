//! A profile: what was tuned, for which model, on what.

use std::path::Path;

use serde::Deserialize;

use crate::checkpoint::ModelFiles;
use crate::decode::TEMPERATURES;
use crate::decode::confidence::Confidence;
use crate::eval::error::{Error, Result};
use crate::fs;

/// Settings that fit one model, and where they come from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The model it was tuned for, by name.
    pub model: String,
    /// The digest of that model's identity. Older profiles have only the name.
    #[serde(default)]
    pub model_digest: Option<String>,
    /// Abstain when "no answer" leads by more logits.
    pub null_threshold: f32,
    /// What divides logits before they become probabilities.
    #[serde(default = "one")]
    pub temperature: f64,
    /// What replies are worth at that temperature. Older profiles do not say.
    #[serde(default)]
    pub confidence: Option<Confidence>,
    /// How much it counts which windows promised most before they were read.
    #[serde(default = "one")]
    pub rank_weight: f64,
    /// What it was tuned on, for whoever reads it.
    #[serde(default)]
    pub tuned_on: Option<TunedOn>,
}

fn one() -> f64 {
    1.0
}

/// Where a profile comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TunedOn {
    /// The data set's file.
    pub data: String,
    /// Its questions.
    pub questions: usize,
    /// Into how many parts its articles were split.
    pub folds: usize,
    /// Exact match on articles that had no part in the choice.
    pub exact: f64,
    /// F1 likewise.
    pub f1: f64,
    /// Expected calibration error likewise.
    pub ece: f64,
    /// F1 with threshold 0, for comparison.
    pub untuned_f1: f64,
    /// Expected calibration error with temperature 1, for comparison.
    pub untuned_ece: f64,
}

impl Profile {
    /// Reads a profile.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| fs::Error::Read { path: path.to_owned(), source })?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads one that is already in memory.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let bad = |reason: String| Error::BadProfile { file: file.into(), reason };
        let profile: Self = toml::from_str(text).map_err(|error| bad(error.to_string().trim().into()))?;
        if profile.null_threshold.is_nan() {
            return Err(bad("its null_threshold is not a number".into()));
        }
        if !TEMPERATURES.contains(&profile.temperature) {
            return Err(bad("its temperature is not from 0.000001 to 1000000".into()));
        }
        if let Some(flaw) = profile.confidence.and_then(|confidence| confidence.flaw()) {
            return Err(bad(format!("confidence: {flaw}")));
        }
        if !(profile.rank_weight.is_finite() && profile.rank_weight >= 0.0) {
            return Err(bad("its rank_weight is below 0".into()));
        }
        Ok(profile)
    }

    /// Fails if the profile is another model's.
    pub fn require_model(&self, file: &str, model: &ModelFiles) -> Result<()> {
        let other = |now: String| {
            let digest = self.model_digest.as_deref().and_then(|digest| digest.get(..12));
            let then =
                digest.map_or_else(|| self.model.clone(), |digest| format!("{} ({digest})", self.model));
            let reason = format!("it was tuned for {then}, not for {now}");
            Error::BadProfile { file: file.into(), reason }
        };
        match &self.model_digest {
            Some(digest) => {
                let identity = model.identity()?;
                if *digest == identity.digest { Ok(()) } else { Err(other(identity.to_string())) }
            }
            None if model.is_named(&self.model) => Ok(()),
            None => Err(other(model.name.clone())),
        }
    }

    /// The profile as a file.
    pub fn toml(&self) -> String {
        let mut text =
            format!("# Written by `spanqa tune`; read by `--profile`.\nmodel = {}\n", quoted(&self.model));
        if let Some(digest) = &self.model_digest {
            text.push_str(&format!("model_digest = {}\n", quoted(digest)));
        }
        text.push_str(&format!(
            "null_threshold = {:?}\ntemperature = {:?}\n",
            self.null_threshold, self.temperature
        ));
        if let Some(Confidence { slope, shift }) = self.confidence {
            text.push_str(&format!("confidence = {{ slope = {slope:?}, shift = {shift:?} }}\n"));
        }
        if self.rank_weight != 1.0 {
            text.push_str(&format!("rank_weight = {:?}\n", self.rank_weight));
        }
        if let Some(on) = &self.tuned_on {
            text.push_str(&format!(
                "\n# Scores are of cross-validation by article: each question was judged by settings that were chosen without its article.\n\
                 # The settings above were then chosen on all of them, so scores of this profile on this data would be optimistic.\n\
                 [tuned_on]\ndata = {}\nquestions = {}\nfolds = {}\nexact = {:.2}\nf1 = {:.2}\nece = {:.4}\nuntuned_f1 = {:.2}\nuntuned_ece = {:.4}\n",
                quoted(&on.data), on.questions, on.folds, on.exact, on.f1, on.ece, on.untuned_f1, on.untuned_ece
            ));
        }
        text
    }
}

/// A basic string of TOML. What JSON escapes, TOML escapes the same way; a delete character must be escaped on top.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_back_as_it_was_written() {
        let tuned_on = TunedOn {
            data: "a \"b\" \\c\n\u{7f}é.json".into(),
            questions: 10,
            folds: 5,
            exact: 50.25,
            f1: 60.5,
            ece: 0.0125,
            untuned_f1: 59.0,
            untuned_ece: 0.1,
        };
        for null_threshold in [-1.5, 0.0, 1e-7, f32::INFINITY, f32::NEG_INFINITY] {
            let profile = Profile {
                model: "m@1".into(),
                model_digest: null_threshold.is_finite().then(|| "0123456789abcdef".into()),
                null_threshold,
                temperature: 1.15,
                confidence: (null_threshold > 0.0).then_some(Confidence { slope: 0.61, shift: -1e-7 }),
                rank_weight: if null_threshold == 0.0 { 1.0 } else { 0.5 },
                tuned_on: Some(tuned_on.clone()),
            };
            assert_eq!(Profile::parse("p", &profile.toml()).unwrap(), profile);
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for (text, reason) in [
            ("", "missing field `model`"),
            ("model = 1", "model"),
            ("model = \"m\"\nnull_threshold = nan", "null_threshold is not a number"),
            ("model = \"m\"\nnull_threshold = 1\ntemperature = 0", "temperature is not from 0.000001"),
            (
                "model = \"m\"\nnull_threshold = 1\nconfidence = { slope = -1.0, shift = 0.0 }",
                "slope is not from 0",
            ),
            ("model = \"m\"\nnull_threshold = 1\nrank_weight = -1", "rank_weight is below 0"),
            ("model = \"m\"\nnull_threshold = 1\nnul_treshold = 2", "unknown field"),
        ] {
            let error = Profile::parse("p", text).unwrap_err();
            assert_eq!(error.code(), "bad_profile");
            assert!(error.to_string().contains(reason), "{error}");
        }
        let profile = Profile::parse("p", "model = \"m\"\nnull_threshold = 1").unwrap();
        assert_eq!((profile.null_threshold, profile.temperature), (1.0, 1.0));
    }

    fn model(folder: &Path) -> ModelFiles {
        std::fs::create_dir_all(folder).unwrap();
        for (name, content) in [("config.json", "{}"), ("vocab.txt", "a"), ("model.safetensors", "x")] {
            std::fs::write(folder.join(name), content).unwrap();
        }
        ModelFiles::from_dir(folder).unwrap()
    }

    #[test]
    fn an_old_profile_knows_its_model_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let profile = |name: &Path| {
            Profile::parse("p", &format!("model = {}\nnull_threshold = 1", quoted(name.to_str().unwrap())))
                .unwrap()
        };
        let (m, n) = (dir.path().join("m"), dir.path().join("n"));
        let (files, other) = (model(&m), model(&n));
        for way in [m.clone(), dir.path().join("n/../m"), dir.path().join("./m/")] {
            profile(&way).require_model("p", &files).unwrap();
            let error = profile(&way).require_model("p", &other).unwrap_err();
            assert!(error.to_string().contains(&format!("not for {}", n.display())), "{error}");
        }
        let named = ModelFiles::new("m", None, []);
        profile(Path::new("m")).require_model("p", &named).unwrap();
        assert!(profile(&m).require_model("p", &named).is_err());
    }

    #[test]
    fn a_profile_with_a_digest_knows_the_weights() {
        let dir = tempfile::tempdir().unwrap();
        let files = model(&dir.path().join("m"));
        let digest = files.identity().unwrap().digest;
        let text = format!("model = \"m\"\nmodel_digest = \"{digest}\"\nnull_threshold = 1");
        let profile = Profile::parse("p", &text).unwrap();
        profile.require_model("p", &files).unwrap();
        profile.require_model("p", &model(&dir.path().join("a copy"))).unwrap();
        std::fs::write(dir.path().join("m/model.safetensors"), "y").unwrap();
        let error = profile.require_model("p", &files).unwrap_err();
        assert_eq!(error.code(), "bad_profile");
        assert!(error.to_string().contains(&format!("tuned for m ({}), not for ", &digest[..12])), "{error}");
    }
}
