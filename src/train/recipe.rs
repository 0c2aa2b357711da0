//! How a model is trained: everything that decides which weights come out.

use serde::{Deserialize, Serialize};

use super::plan::{Mixing, Windows};
use crate::train::error::{Error, Result};
use crate::train::learn::Update;

/// The conditions of a run. Two runs with the same recipe, data and base on the same machine give the same weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// How often all of the data is seen, unless `steps` says something else.
    pub epochs: f64,
    /// How many steps are taken.
    pub steps: Option<u64>,
    /// How batches are made.
    pub mixing: Mixing,
    /// Tokens that go through the model together; their gradients are added up until a batch is through.
    pub micro_tokens: usize,
    /// The highest learning rate.
    pub rate: f64,
    /// The share of the steps in which the rate rises from zero; in the others it falls back to it.
    pub warmup: f64,
    /// Weight decay.
    pub weight_decay: f64,
    /// How fast the optimiser forgets squares of gradients.
    pub beta2: f64,
    /// The largest norm of the gradients.
    pub clip: f64,
    /// What the rate is multiplied with from each layer to the one below.
    pub layer_decay: f64,
    /// The share of numbers that dropout leaves out.
    pub dropout: f32,
    /// Whether embeddings stay as they are.
    pub freeze_embeddings: bool,
    /// Layers from the bottom that stay as they are.
    pub freeze_layers: usize,
    /// Whether the span head starts anew.
    pub fresh_head: bool,
    /// The teacher's part.
    pub teaching: Option<Teaching>,
    /// Steps between evaluations; 0 for one at the end.
    pub eval_every: u64,
    /// What makes weights the best.
    pub keep: Keep,
    /// Evaluations without a new best after which the run ends; 0 for never.
    pub patience: u64,
    /// What is learned from: files and how many windows of each, and the base.
    pub inputs: Vec<String>,
}

/// How a teacher's logits count.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Teaching {
    /// The teacher.
    pub teacher: String,
    /// What logits are divided by.
    pub temperature: f64,
    /// The teacher's share of the loss.
    pub weight: f64,
}

/// Which score decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// F1.
    F1,
    /// Exact match.
    Exact,
}

/// One step's windows, and how much of the data has been seen after it.
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    /// The windows.
    pub windows: Vec<usize>,
    /// 1.0 when each window was seen once.
    pub epoch: f64,
}

impl Recipe {
    /// The windows of every step.
    pub fn plan(&self, windows: &impl Windows) -> Vec<Planned> {
        let mut plan = Vec::new();
        let wanted = self.steps.unwrap_or(u64::MAX) as usize;
        for epoch in 0.. {
            let share = if self.steps.is_some() { 1.0 } else { (self.epochs - epoch as f64).min(1.0) };
            let batches = self.mixing.epoch(windows, epoch);
            let count = batches.len();
            if share <= 0.0 || plan.len() >= wanted || count == 0 {
                break;
            }
            let taken = (count as f64 * share).round() as usize;
            plan.extend(batches.into_iter().take(taken).enumerate().map(|(place, windows)| Planned {
                windows,
                epoch: epoch as f64 + (place + 1) as f64 / count as f64,
            }));
        }
        plan.truncate(wanted);
        plan
    }

    /// The optimiser's settings for a step, counted from 0.
    pub fn update(&self, step: u64, steps: u64) -> Update {
        let warmup = (self.warmup * steps as f64).ceil().max(1.0);
        let (now, steps) = (step as f64, steps as f64);
        let factor = if now < warmup { (now + 1.0) / warmup } else { (steps - now) / (steps - warmup) };
        Update {
            rate: self.rate * factor,
            clip: self.clip,
            beta2: self.beta2,
            decay: self.weight_decay,
            layer_decay: self.layer_decay,
            ..Update::default()
        }
    }

    /// The recipe as rows of a table.
    pub fn rows(&self) -> Vec<(String, String)> {
        let mut rows = vec![
            ("tokens a step", self.mixing.batch_tokens.to_string()),
            (
                "optimiser",
                format!(
                    "AdamW (0.9, {}), weight decay {}, clipped to {}",
                    self.beta2, self.weight_decay, self.clip
                ),
            ),
            (
                "learning rate",
                format!("{:e}, {} % warm-up, then linear to zero", self.rate, 100.0 * self.warmup),
            ),
            ("dropout", self.dropout.to_string()),
            ("seed", self.mixing.seed.to_string()),
        ];
        if self.layer_decay != 1.0 {
            rows.push(("learning rate per layer", format!("times {} from layer to layer", self.layer_decay)));
        }
        if self.freeze_embeddings {
            rows.push(("frozen", "embeddings".into()));
        }
        if self.freeze_layers > 0 {
            rows.push(("frozen layers", self.freeze_layers.to_string()));
        }
        if let Some(share) = self.mixing.null_share {
            rows.push(("windows without an answer", format!("{} %", 100.0 * share)));
        }
        if let Some(teaching) = &self.teaching {
            let Teaching { teacher, temperature, weight } = teaching;
            rows.push(("teacher", format!("{teacher}, weight {weight}, temperature {temperature}")));
        }
        rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Refuses to go on with a run that was started under other conditions.
    pub fn require(&self, then: &Recipe) -> Result<()> {
        let fields = |recipe: &Recipe| match serde_json::to_value(recipe) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let before = fields(then);
        for (what, now) in fields(self) {
            let then = before.get(&what).cloned().unwrap_or_default();
            if then != now {
                let (then, now) = (then.to_string(), now.to_string());
                return Err(Error::OtherRecipe { what, then, now });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::train) fn recipe() -> Recipe {
        Recipe {
            epochs: 2.0,
            steps: None,
            mixing: Mixing { batch_tokens: 100, null_share: None, seed: 1 },
            micro_tokens: 50,
            rate: 1e-3,
            warmup: 0.3,
            weight_decay: 0.01,
            beta2: 0.98,
            clip: 1.0,
            layer_decay: 0.9,
            dropout: 0.0,
            freeze_embeddings: false,
            freeze_layers: 0,
            fresh_head: false,
            teaching: None,
            eval_every: 0,
            keep: Keep::F1,
            patience: 0,
            inputs: vec!["data".into()],
        }
    }

    struct Ten;

    impl Windows for Ten {
        fn count(&self) -> usize {
            10
        }

        fn tokens(&self, _: usize) -> usize {
            50
        }

        fn answerable(&self, window: usize) -> bool {
            window < 5
        }
    }

    #[test]
    fn a_plan_has_as_many_epochs_or_steps_as_asked() {
        let plan = recipe().plan(&Ten);
        assert_eq!((plan.len(), plan[4].epoch, plan[9].epoch), (10, 1.0, 2.0));
        assert_eq!(Recipe { epochs: 0.6, ..recipe() }.plan(&Ten).len(), 3);
        let steps = Recipe { steps: Some(13), ..recipe() }.plan(&Ten);
        assert_eq!((steps.len(), steps[12].epoch), (13, 2.6));
        assert_eq!(steps[..10], plan[..]);
    }

    #[test]
    fn the_rate_rises_and_falls() {
        let rates: Vec<f64> = (0..10).map(|step| recipe().update(step, 10).rate * 1e3).collect();
        let expected = [
            1.0 / 3.0,
            2.0 / 3.0,
            1.0,
            1.0,
            6.0 / 7.0,
            5.0 / 7.0,
            4.0 / 7.0,
            3.0 / 7.0,
            2.0 / 7.0,
            1.0 / 7.0,
        ];
        for (rate, expected) in rates.iter().zip(expected) {
            assert!((rate - expected).abs() < 1e-12, "{rates:?}");
        }
        assert!(Recipe { warmup: 1.0, ..recipe() }.update(9, 10).rate.is_finite());
    }

    #[test]
    fn another_recipe_is_named() {
        assert!(recipe().require(&recipe()).is_ok());
        let other = Recipe { rate: 2e-3, ..recipe() };
        let message = other.require(&recipe()).unwrap_err().to_string();
        assert!(message.contains("rate was 0.001, now 0.002"), "{message}");
    }
}
