//! How a model is trained: everything that decides which weights come out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::journal::DevRecord;
use super::plan::{Mixing, Plan, Pool};
use crate::train::error::{Error, Result};
use crate::train::learn::Update;

/// More steps than anybody waits for: at a hundred a second they take a day.
pub const MOST_STEPS: u64 = 10_000_000;

/// The conditions of a run. Two runs with the same recipe, data and base on the same machine give the same weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// How often all of the data is seen, unless `steps` says something else.
    pub epochs: f64,
    /// How many steps are taken.
    pub steps: Option<u64>,
    /// What examples are made of.
    #[serde(default)]
    pub laying: Laying,
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
    /// What is learned from, and how windows are laid over it, each with its name.
    pub inputs: BTreeMap<String, String>,
}

/// How questions become examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Laying {
    /// What is minimised.
    pub objective: Objective,
    /// How many windows of a long document are learned from together.
    pub read: usize,
    /// The share of questions that are put to a few sentences of their context.
    pub crop: f64,
    /// What these are drawn from.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for Laying {
    fn default() -> Self {
        Self { objective: Objective::default(), read: 4, crop: 0.0, seed: 0 }
    }
}

/// What is minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// Each window for itself: the cross entropy of its start and its end.
    #[default]
    Window,
    /// The windows of a document that promise an answer together: one distribution over all their spans and "no answer".
    Joint,
}

impl Objective {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Window, Self::Joint];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Objective::Window => "window",
            Objective::Joint => "joint",
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|objective| objective.name() == text);
        known.ok_or_else(|| format!("`{text}` is not an objective: expected window or joint"))
    }
}

impl Keep {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::F1, Self::Exact];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Keep::F1 => "f1",
            Keep::Exact => "exact",
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|keep| keep.name() == text);
        known.ok_or_else(|| format!("`{text}` is not a score: expected f1 or exact"))
    }
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

impl Keep {
    /// The score of an evaluation that decides.
    pub fn of(self, scores: &DevRecord) -> f64 {
        match self {
            Keep::F1 => scores.f1,
            Keep::Exact => scores.exact,
        }
    }
}

impl Recipe {
    /// The steps of the run. None at all are refused, and so many that nobody would see the end of them.
    pub fn plan<'a, W: Pool>(&self, examples: &'a W) -> Result<Plan<'a, W>> {
        let too_many = |steps: f64| Error::TooManySteps { steps, most: MOST_STEPS };
        let wanted = self.steps.unwrap_or(u64::MAX);
        if self.steps.is_some_and(|steps| steps > MOST_STEPS) {
            return Err(too_many(wanted as f64));
        }
        let (mut ends, mut steps) = (Vec::new(), 0);
        for epoch in 0.. {
            let share = if self.steps.is_some() { 1.0 } else { (self.epochs - epoch as f64).min(1.0) };
            if share <= 0.0 || steps >= wanted {
                break;
            }
            let batches = self.mixing.epoch(examples, epoch).len();
            if self.steps.is_none() && self.epochs * batches as f64 > MOST_STEPS as f64 {
                return Err(too_many(self.epochs * batches as f64));
            }
            steps = (steps + (batches as f64 * share).round() as u64).min(wanted);
            if steps == 0 {
                return Err(Error::NoSteps { epochs: self.epochs, batches });
            }
            ends.push(steps);
        }
        Ok(Plan::new(self.mixing.clone(), examples, ends))
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
        let Laying { objective, read, crop, .. } = &self.laying;
        if *objective == Objective::Joint {
            let what = format!("one distribution over the {read} most promising windows of a document");
            rows.push(("objective", what));
        }
        if *crop > 0.0 {
            rows.push(("contexts cut to a few sentences", format!("{} %", 100.0 * crop)));
        }
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
        let (before, now) = (then.conditions(), self.conditions());
        let names: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
        let text = |conditions: &BTreeMap<String, Value>, name: &str| match conditions.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "not set".into(),
            Some(value) => value.to_string(),
        };
        for name in names {
            let (then, now) = (text(&before, name), text(&now, name));
            if then != now {
                return Err(Error::OtherRecipe { what: name.clone(), then, now });
            }
        }
        Ok(())
    }

    /// Everything by name; what is inside of `laying`, `mixing`, `teaching` and `inputs` by its own.
    fn conditions(&self) -> BTreeMap<String, Value> {
        let mut conditions = BTreeMap::new();
        if let Ok(Value::Object(fields)) = serde_json::to_value(self) {
            for (name, value) in fields {
                match value {
                    // Of the teacher its content counts, which is among the inputs, and not its name.
                    Value::Object(inner) if name == "teaching" => {
                        conditions.extend(inner.into_iter().filter(|(name, _)| name != "teacher"));
                    }
                    Value::Object(inner) => conditions.extend(inner),
                    value => drop(conditions.insert(name, value)),
                }
            }
        }
        conditions
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::train::plan::Planned;

    pub(in crate::train) fn recipe() -> Recipe {
        Recipe {
            epochs: 2.0,
            steps: None,
            laying: Laying::default(),
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
            inputs: BTreeMap::from([("data".into(), "1".into())]),
        }
    }

    struct Ten;

    impl Pool for Ten {
        fn count(&self) -> usize {
            10
        }

        fn tokens(&self, _: usize) -> usize {
            50
        }

        fn answerable(&self, example: usize) -> bool {
            example < 5
        }
    }

    fn planned(recipe: &Recipe) -> Vec<Planned> {
        let mut plan = recipe.plan(&Ten).unwrap();
        (0..plan.steps()).map(|step| plan.step(step).unwrap()).collect()
    }

    #[test]
    fn a_plan_has_as_many_epochs_or_steps_as_asked() {
        let plan = planned(&recipe());
        assert_eq!((plan.len(), plan[4].epoch, plan[9].epoch), (10, 1.0, 2.0));
        assert_eq!(planned(&Recipe { epochs: 0.6, ..recipe() }).len(), 3);
        let steps = planned(&Recipe { steps: Some(13), ..recipe() });
        assert_eq!((steps.len(), steps[12].epoch), (13, 2.6));
        assert_eq!(steps[..10], plan[..]);
        // Any step can be asked for, as after an interruption.
        let mut again = recipe().plan(&Ten).unwrap();
        for step in [7, 3, 9, 0] {
            assert_eq!(again.step(step).as_ref(), Some(&plan[step as usize]));
        }
        assert_eq!(again.step(10), None);
    }

    #[test]
    fn no_step_and_too_many_are_refused() {
        let refused = |recipe: Recipe| recipe.plan(&Ten).err().unwrap();
        // Five batches: a share that rounds to none.
        let error = refused(Recipe { epochs: 0.09, ..recipe() });
        assert!(error.to_string().contains("0.09 epochs of 5 batches make no step"), "{error}");
        for recipe in [
            Recipe { steps: Some(MOST_STEPS + 1), ..recipe() },
            Recipe { epochs: (MOST_STEPS / 5 + 1) as f64, ..recipe() },
            Recipe { epochs: 2f64.powi(31), ..recipe() },
            Recipe { epochs: f64::MAX, ..recipe() },
            Recipe { steps: Some(1 << 31), ..recipe() },
            Recipe { steps: Some(u64::MAX), ..recipe() },
        ] {
            assert_eq!(refused(recipe).code(), "too_many_steps");
        }
        assert_eq!(Recipe { steps: Some(1_000_000), ..recipe() }.plan(&Ten).unwrap().steps(), 1_000_000);
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
        let seed = Mixing { seed: 2, ..recipe().mixing };
        let inputs = BTreeMap::from([("data".into(), "2".into())]);
        for (other, expected) in [
            (Recipe { mixing: seed, ..recipe() }, "differently: seed was 1, now 2"),
            (Recipe { inputs, ..recipe() }, "differently: data was 1, now 2"),
            (
                Recipe { laying: Laying { objective: Objective::Joint, ..recipe().laying }, ..recipe() },
                "differently: objective was window, now joint",
            ),
            (Recipe { steps: Some(3), ..recipe() }, "differently: steps was not set, now 3"),
        ] {
            let message = other.require(&recipe()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
