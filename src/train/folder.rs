//! The output folder of a run. Every file in it is whole at any time: written beside its place, then renamed.
//!
//! ```text
//! OUT/model.safetensors, config.json, tokenizer files    the best weights so far, ready for every command
//! OUT/README.md, metrics.jsonl, report.html              what happened
//! OUT/training/state.safetensors                         weights, moments and progress of the last saved step
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::examples::Counts;
use super::recipe::Recipe;
use crate::checkpoint::EncoderConfig;
use crate::checkpoint::parts::TOKENIZER_FILES;
use crate::checkpoint::{ModelFile, ModelFiles};
use crate::train::error::{Error, Result};
use crate::train::learn::{Learner, SavedState};
use crate::{checkpoint, fs};

/// How far a run has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps taken.
    pub step: u64,
    /// Tokens seen.
    pub tokens: u64,
    /// Seconds spent on steps.
    pub seconds: f64,
    /// The best evaluation's score and step.
    pub best: Option<(f64, u64)>,
    /// Evaluations since then.
    pub since_best: u64,
    /// Whether the run ended by itself.
    pub finished: bool,
    /// Whether the weights of the last step are still to be evaluated.
    #[serde(default)]
    pub evaluation_due: bool,
    /// The conditions of the run.
    pub recipe: Recipe,
    /// What became of each data set.
    pub counts: Vec<Counts>,
}

impl Progress {
    /// The beginning of a run.
    pub fn new(recipe: Recipe, counts: Vec<Counts>) -> Self {
        Self {
            step: 0,
            tokens: 0,
            seconds: 0.0,
            best: None,
            since_best: 0,
            finished: false,
            evaluation_due: false,
            recipe,
            counts,
        }
    }
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
}

const WEIGHTS: &str = "model.safetensors";

impl Folder {
    /// Makes the folder of a new run, with everything but weights.
    pub fn create(path: &Path, base: &ModelFiles) -> Result<Self> {
        let folder = Self { path: path.to_path_buf() };
        if folder.state().exists() || path.join(WEIGHTS).exists() {
            return Err(Error::Occupied { path: folder.path });
        }
        let training = path.join("training");
        std::fs::create_dir_all(&training).map_err(|source| fs::Error::Write { path: training, source })?;
        let config = base.require("config.json")?;
        let architecture = EncoderConfig::from_files(base)?.architecture;
        fs::write_json(&path.join("config.json"), &adapted(config, architecture)?)?;
        for name in TOKENIZER_FILES {
            if let Some(file) = base.get(name) {
                fs::write(&path.join(name), &file.read()?)?;
            }
        }
        Ok(folder)
    }

    /// Finds the run of a folder.
    pub fn resume(path: &Path) -> Result<(Self, SavedState, Progress)> {
        let folder = Self { path: path.to_path_buf() };
        let file = folder.state();
        if !file.exists() {
            return Err(Error::NothingToResume { path: folder.path });
        }
        let state = SavedState::open(&file)?;
        let progress = serde_json::from_str(state.notes()).map_err(|error| checkpoint::Error::BadFile {
            file: file.display().to_string(),
            reason: format!("its progress cannot be read: {error}"),
        })?;
        Ok((folder, state, progress))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the best weights are, or will be.
    pub fn weights(&self) -> PathBuf {
        self.path.join(WEIGHTS)
    }

    fn state(&self) -> PathBuf {
        self.path.join("training").join("state.safetensors")
    }

    /// Saves what a later run goes on from.
    pub fn save(&self, learner: &mut Learner, progress: &Progress) -> Result<()> {
        let notes = serde_json::to_string(progress)
            .map_err(|error| fs::Error::Write { path: self.state(), source: error.into() })?;
        learner.write_state(&self.state(), &notes)
    }

    /// Writes weights that may turn out to be the best, and shows them as a model.
    pub fn propose(&self, learner: &mut Learner) -> Result<ModelFiles> {
        let candidate = self.candidate();
        learner.write_weights(&candidate)?;
        let mut all: Vec<(String, ModelFile)> = TOKENIZER_FILES
            .into_iter()
            .chain(["config.json"])
            .map(|name| (name.to_owned(), self.path.join(name)))
            .filter(|(_, path)| path.exists())
            .map(|(name, path)| (name, ModelFile::OnDisk(path)))
            .collect();
        all.push((WEIGHTS.into(), ModelFile::OnDisk(candidate)));
        Ok(ModelFiles::new(self.path.display().to_string(), None, all))
    }

    /// Makes the proposed weights the model's, or forgets them.
    pub fn decide(&self, take: bool) -> Result<()> {
        let candidate = self.candidate();
        let done =
            if take { std::fs::rename(&candidate, self.weights()) } else { std::fs::remove_file(&candidate) };
        done.map_err(|source| fs::Error::Write { path: candidate, source }.into())
    }

    fn candidate(&self) -> PathBuf {
        self.path.join("training").join("candidate.safetensors")
    }
}

/// The base's config as transformers reads it for a span head.
fn adapted(config: &ModelFile, architecture: &str) -> Result<Value> {
    let mut json: Map<String, Value> = serde_json::from_slice(&config.read()?)
        .map_err(|error| config.bad(format!("it is not JSON: {error}")))?;
    json.insert("architectures".into(), vec![architecture].into());
    // Labels of another task would be a head of another size; a type other than f32 would be how the weights are stored no longer.
    for key in ["id2label", "label2id", "num_labels", "_name_or_path", "problem_type"] {
        json.remove(key);
    }
    for key in ["torch_dtype", "dtype"] {
        if json.contains_key(key) {
            json.insert(key.into(), "float32".into());
        }
    }
    Ok(json.into())
}
