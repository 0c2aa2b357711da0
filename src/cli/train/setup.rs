//! What a run of training works with, from its flags.

use std::path::Path;

use anyhow::{Context, Result};
use spanqa::decode::ScoringRules;
use spanqa::encoder::Runtime;
use spanqa::eval::score::metrics::Rules;
use spanqa::eval::{Dataset, Options};
use spanqa::random::Random;
use spanqa::source::Resolved;
use spanqa::text::window::Limits;
use spanqa::train::examples::Counts;
use spanqa::train::learn::{Learner, Learning};
use spanqa::train::plan::Mixing;
use spanqa::train::recipe::{Laying, Objective, Recipe, Teaching};
use spanqa::train::run::Dev;

use super::{Args, Usage};
use crate::cli::terminal;

/// What sets the draw of held-out articles apart from other draws with the same seed.
const HELD_OUT: u64 = 0x4e1d;

/// What is learned from, and what the weights are tried on.
pub(super) struct Data {
    pub learn: Vec<Dataset>,
    pub dev: Option<Dataset>,
}

impl Args {
    /// Finds the files of a model.
    pub(super) fn resolve(&self, name: &str) -> Result<Resolved> {
        self.source.resolve(name, self.quiet)
    }

    /// Loads what learns.
    pub(super) fn learner(&self, base: &Resolved, runtime: &Runtime) -> Result<Learner> {
        let learning = Learning {
            fresh_head: self.fresh_head,
            seed: self.seed,
            dropout: self.dropout as f32,
            freeze_embeddings: self.freeze_embeddings,
            freeze_layers: self.freeze_layers,
        };
        Learner::load(&base.files, runtime, learning)
            .with_context(|| format!("cannot train from {}", self.base))
    }

    /// Reads the data sets.
    pub(super) fn data(&self) -> Result<Data> {
        let mut learn = self.datasets()?;
        let dev = match (&self.dev, self.hold_out.zip(learn.first_mut())) {
            (Some(path), _) => Some(self.open(path, self.dev_sample)?),
            (None, Some((share, first))) => {
                Some(first.hold_out(share, &mut Random::derive(self.seed, HELD_OUT)))
            }
            (None, None) => None,
        };
        Ok(Data { learn, dev })
    }

    fn open(&self, path: &Path, sample: Option<usize>) -> Result<Dataset> {
        let mut dataset = Dataset::open(path, Options::default())?;
        if !self.quiet {
            dataset
                .flaws
                .remarks()
                .iter()
                .for_each(|remark| terminal::note(format!("{}: {remark}", path.display())));
        }
        if let Some(count) = sample {
            dataset.sample(count, &mut Random::new(self.seed));
        }
        if dataset.is_empty() {
            let message = format!("no question is left of {}", path.display());
            return Err(Usage::new(message, "check the file, `--sample` and `--dev-sample`").into());
        }
        Ok(dataset)
    }

    /// The data sets. Of several, a sample takes from each as much as belongs to it.
    fn datasets(&self) -> Result<Vec<Dataset>> {
        let Some(sample) = self.sample else {
            return self.data.iter().map(|path| self.open(path, None)).collect();
        };
        let [path] = &self.data[..] else {
            let hint = "put the questions into one file, or leave out `--sample`";
            return Err(Usage::new("--sample draws from one data set", hint).into());
        };
        Ok(vec![self.open(path, Some(sample))?])
    }

    /// How many windows of a document are learned from together, if that is the objective.
    pub(super) fn together(&self) -> Option<usize> {
        (self.objective == Objective::Joint).then(|| self.read.unwrap_or(Laying::default().read))
    }

    /// How questions become examples.
    pub(super) fn laying(&self) -> Result<Laying> {
        if self.read.is_some() && self.objective != Objective::Joint {
            let hint =
                "add `--objective joint`, or leave out `--read`: one by one, all windows are learned from";
            return Err(Usage::new("`--read` belongs to the joint objective", hint).into());
        }
        let usual = Laying::default();
        Ok(Laying {
            objective: self.objective,
            read: self.together().unwrap_or(usual.read),
            crop: self.crop,
            seed: self.seed,
        })
    }

    /// How the weights are tried on questions: as those who publish scores do, or as `ask` reads.
    pub(super) fn examination<'a>(&self, dataset: &'a Dataset, limits: Limits, runtime: Runtime) -> Dev<'a> {
        let (scoring, read) = match self.objective {
            Objective::Window => (ScoringRules::Squad, None),
            Objective::Joint => (ScoringRules::Joint, Some(spanqa::request::PROMISING)),
        };
        Dev { dataset, rules: Rules::of(dataset), limits, scoring, read, runtime }
    }

    /// The conditions of the run.
    pub(super) fn recipe(
        &self,
        base: &Resolved,
        teacher: Option<&Resolved>,
        data: &Data,
        counts: &[Counts],
        laying: Laying,
    ) -> Result<Recipe> {
        let limits = self.limits.limits(self.together())?;
        let mut inputs = vec![
            ("base".to_owned(), base.files.identity()?.digest),
            ("window".into(), limits.max_tokens.to_string()),
            ("whole document".into(), limits.whole.to_string()),
            ("overlap".into(), limits.overlap.to_string()),
            ("max question tokens".into(), limits.max_question_tokens.to_string()),
            ("held out".into(), self.hold_out.unwrap_or(0.0).to_string()),
        ];
        for (number, (dataset, counts)) in data.learn.iter().zip(counts).enumerate() {
            let content = format!("{} windows, content {}", counts.windows, dataset.whole_digest());
            inputs.push((format!("data set {}", number + 1), content));
        }
        if let Some(teacher) = teacher {
            inputs.push(("teacher".into(), teacher.files.identity()?.digest));
        }
        if let Some(dev) = &data.dev {
            let content = format!("{} questions, content {}", dev.len(), dev.whole_digest());
            inputs.push(("data set to evaluate on".into(), content));
        }
        Ok(Recipe {
            epochs: self.epochs,
            steps: self.steps,
            laying,
            mixing: Mixing { batch_tokens: self.batch_tokens, null_share: self.null_share, seed: self.seed },
            micro_tokens: self.micro_tokens,
            rate: self.rate,
            warmup: self.warmup,
            weight_decay: self.weight_decay,
            beta2: self.beta2,
            clip: self.clip,
            layer_decay: self.layer_decay,
            dropout: self.dropout as f32,
            freeze_embeddings: self.freeze_embeddings,
            freeze_layers: self.freeze_layers,
            fresh_head: self.fresh_head,
            teaching: teacher.map(|teacher| Teaching {
                teacher: teacher.files.name.clone(),
                temperature: self.teacher_temperature,
                weight: self.teacher_weight,
            }),
            eval_every: self.eval_every.unwrap_or(0),
            keep: self.keep,
            patience: self.patience.unwrap_or(0),
            inputs: inputs.into_iter().collect(),
        })
    }
}
