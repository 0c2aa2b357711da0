//! Learning: a checkpoint's numbers, how a batch would have them changed, and the step that changes them.
//!
//! ```text
//! batch -> encoder forward (CPU: cpu::backprop, else: candle's autograd) -> span head -> loss -> its gradients
//!       -> span head backward -> encoder backward -> gradients -> norm, clip -> AdamW -> numbers
//! ```
//!
//! Numbers, gradients and moments live on the host whatever computes the gradients: there is one optimiser and one form of a saved state.

mod adam;
mod joint;
mod loss;
mod parameters;
mod state;

use rayon::{ThreadPool, ThreadPoolBuilder};

pub use self::adam::Update;
use self::adam::{Moments, norm};
pub use self::joint::View;
use self::loss::loss;
pub use self::loss::{Lesson, SoftTargets, Target};
use self::parameters::Parameters;
pub use self::state::SavedState;
use crate::checkpoint::ModelFiles;
use crate::checkpoint::config::EncoderConfig;
use crate::encoder;
use crate::encoder::batch::Batch;
use crate::encoder::cpu::Backprop;
use crate::encoder::places::{Pass, Slot};
use crate::encoder::tensors::Autograd;
use crate::encoder::{DeviceChoice, Precision, Runtime};
use crate::heads::span::backward;
use crate::random::Random;
use crate::train::error::{Error, Result};

/// What learns, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Learning {
    /// Start the span head from small random numbers even if the checkpoint has one.
    pub fresh_head: bool,
    /// What the fresh head and dropout are drawn from.
    pub seed: u64,
    /// The share of states and attention that each pass leaves out.
    pub dropout: f32,
    /// Leave the embeddings as they are.
    pub freeze_embeddings: bool,
    /// Leave so many layers, from the bottom, as they are.
    pub freeze_layers: usize,
}

impl Default for Learning {
    fn default() -> Self {
        Self { fresh_head: false, seed: 0, dropout: 0.1, freeze_embeddings: false, freeze_layers: 0 }
    }
}

impl Learning {
    fn learns(&self, depth: usize) -> bool {
        if depth == 0 { !self.freeze_embeddings } else { depth > self.freeze_layers }
    }
}

/// A model that learns.
pub struct Learner {
    parameters: Parameters,
    gradients: Vec<f32>,
    moments: Moments,
    backend: Backend,
    learning: Learning,
    /// Whether the span head started from random numbers.
    head_is_fresh: bool,
    pool: ThreadPool,
}

/// What computes gradients.
enum Backend {
    Kernels(Box<Backprop>),
    Autograd(Box<Autograd>),
}

impl Learner {
    /// Loads a checkpoint, with or without a span head.
    pub fn load(files: &ModelFiles, runtime: &Runtime, learning: Learning) -> Result<Self> {
        let choice = runtime.device.settle()?;
        let on_cpu = choice == DeviceChoice::Cpu;
        let precision = runtime.precision.unwrap_or(if on_cpu { Precision::F32 } else { Precision::Bf16 });
        if on_cpu && precision != Precision::F32 || matches!(precision, Precision::Int8 | Precision::Tf32) {
            return Err(Error::CannotLearnIn { dtype: precision.name(), device: choice.to_string() });
        }
        let backend = if on_cpu && !runtime.reference {
            Backend::Kernels(Box::new(Backprop::new()?))
        } else {
            Backend::Autograd(Box::new(Autograd::new(choice.for_tensors()?, precision)))
        };
        let pool = ThreadPoolBuilder::new()
            .num_threads(runtime.threads.unwrap_or(0))
            .build()
            .map_err(|error| encoder::Error::Threads { reason: error.to_string() })?;
        let (parameters, head_is_fresh) = Parameters::load(files, learning.fresh_head, learning.seed)?;
        if learning.freeze_layers > parameters.config.layers {
            let layers = parameters.config.layers;
            return Err(Error::TooManyFrozen { asked: learning.freeze_layers, layers });
        }
        let length = parameters.values.len();
        Ok(Self {
            gradients: vec![0.0; length],
            moments: Moments::new(length),
            parameters,
            backend,
            learning,
            head_is_fresh,
            pool,
        })
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        &self.parameters.config
    }

    /// Whether the span head started from random numbers.
    pub fn head_is_fresh(&self) -> bool {
        self.head_is_fresh
    }

    /// How many numbers learn.
    pub fn learning_numbers(&self) -> usize {
        let slots = self.parameters.slots.iter().filter(|slot| self.learning.learns(slot.depth));
        slots.map(|slot| slot.place.len()).sum()
    }

    /// Runs a batch forwards and backwards and adds its gradients to those that are there. `share` is what an example counts for
    /// in the mean; `seed` chooses what dropout drops. Returns the examples' part of the loss; if logits are not finite that is not a
    /// number, and nothing is added.
    pub fn accumulate(
        &mut self,
        batch: &Batch,
        lessons: &[Lesson],
        soft_targets: Option<&SoftTargets>,
        (share, seed): (f64, u64),
    ) -> Result<f64> {
        let Self { parameters, gradients, learning, backend, .. } = self;
        let learns: Vec<bool> = (0..=parameters.config.layers).map(|depth| learning.learns(depth)).collect();
        let pass = Pass {
            dropout: learning.dropout,
            seed: Random::derive(learning.seed, seed).bits(),
            learns: &learns,
        };
        check(&parameters.config, batch)?;
        let (encoder_gradients, [weight_sums, bias_sums]) = parameters.split(gradients);
        let [weight, bias] = parameters.head();
        let mut total = 0.0;
        let mut top = |states: &mut [f32]| {
            let logits = backward::forward(states, [weight, bias], batch);
            let numbers = || logits.iter().flat_map(|window| window.start.iter().chain(&window.end));
            if numbers().any(|logit| !logit.is_finite()) {
                total = f64::NAN;
                return false;
            }
            let (sum, gradients) = loss(&logits, lessons, soft_targets, share);
            total = sum;
            backward::backward(states, weight, &gradients, [&mut *weight_sums, &mut *bias_sums]);
            true
        };
        let numbers = parameters.encoder();
        self.pool.install(|| match backend {
            Backend::Kernels(kernels) => {
                kernels.run(numbers, batch, &pass, &mut top, encoder_gradients);
                Ok(())
            }
            Backend::Autograd(autograd) => autograd.run(numbers, batch, &pass, &mut top, encoder_gradients),
        })?;
        Ok(total)
    }

    /// Changes the numbers by the gradients that have come together, and forgets these. Returns their norm before clipping. If that is
    /// not a number nothing is changed.
    pub fn step(&mut self, update: &Update) -> f64 {
        let Self { parameters, gradients, moments, learning, pool, backend, .. } = self;
        pool.install(|| {
            for slot in parameters.slots.iter().filter(|slot| !learning.learns(slot.depth)) {
                gradients[slot.place.clone()].fill(0.0);
            }
            let norm = norm(gradients);
            if norm.is_finite() {
                // As PyTorch's clip_grad_norm_ does.
                let shrink = if update.clip > 0.0 { (update.clip / (norm + 1e-6)).min(1.0) } else { 1.0 };
                let learns = |slot: &Slot| learning.learns(slot.depth);
                moments.step(&mut parameters.values, gradients, &parameters.slots, learns, (update, shrink));
                if let Backend::Autograd(autograd) = backend {
                    autograd.forget();
                }
            }
            gradients.fill(0.0);
            norm
        })
    }

    /// Each tensor's name, shape, numbers and gradients.
    pub fn tensors(&self) -> impl Iterator<Item = (String, &[usize], &[f32], &[f32])> {
        let Parameters { slots, values, .. } = &self.parameters;
        slots.iter().map(|slot| {
            let place = slot.place.clone();
            (
                self.parameters.name(slot),
                slot.shape.as_slice(),
                &values[place.clone()],
                &self.gradients[place],
            )
        })
    }
}

/// Refuses ids that are in no table.
fn check(config: &EncoderConfig, batch: &Batch) -> Result<()> {
    let highest = |numbers: &[u32]| numbers.iter().max().map_or(0, |highest| *highest as usize);
    let segments = if config.segments > 1 { highest(&batch.segments) } else { 0 };
    for (what, index, rows) in [
        ("vocabulary", highest(&batch.ids), config.vocabulary),
        ("segment table", segments, config.segments.max(1)),
        ("position table", highest(&batch.positions) + config.position_offset, config.positions),
    ] {
        if index >= rows {
            return Err(encoder::Error::OutOfTable { what, index, rows }.into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_vector_unit_finds_the_gradients_of_none() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny/distilbert");
        let files = ModelFiles::from_dir(&folder).unwrap();
        let learning = Learning { dropout: 0.2, ..Learning::default() };
        let mut batch = Batch::default();
        for length in [1u32, 7, 33, 50] {
            let ids: Vec<u32> = (0..length).map(|token| 5 + token * 7 % 60).collect();
            batch.push(&ids, &vec![0; ids.len()]);
        }
        let targets =
            [(0, 0), (2, 5), (32, 32), (0, 0)].map(|(start, end)| Lesson::Window(Target { start, end }));
        let gradients = |kernels: Backprop| {
            let mut learner = Learner::load(&files, &Runtime::default(), learning.clone()).unwrap();
            learner.backend = Backend::Kernels(Box::new(kernels));
            learner.accumulate(&batch, &targets, None, (0.25, 3)).unwrap();
            learner.gradients
        };
        let mut units = Backprop::on_every_unit();
        let plain = gradients(units.pop().unwrap().1);
        for (name, kernels) in units {
            let found = gradients(kernels);
            let gaps: Vec<f32> = plain.iter().zip(&found).map(|(a, b)| a - b).collect();
            assert!(norm(&gaps) < 1e-5 * norm(&plain), "{name}: {} of {}", norm(&gaps), norm(&plain));
        }
    }
}
