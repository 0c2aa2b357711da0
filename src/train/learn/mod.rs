//! Learning: a checkpoint's numbers, how a batch would have them changed, and the step that changes them.
//!
//! ```text
//! batch -> encoder forward -> span head -> loss -> its gradients
//!       -> span head backward -> encoder backward -> gradients -> norm, clip -> AdamW -> numbers
//! ```
//!
//! On a CPU, and where candle's autograd computes the gradients, numbers, gradients and moments live on the host. On a CUDA card that has
//! kernels for the model all of this happens there, but for the loss: the host's copies are fetched when somebody asks for them. There is one
//! form of a saved state, and a run may go on on another device.

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
#[cfg(feature = "cuda")]
use crate::encoder::cuda;
use crate::encoder::places::{Pass, Slot};
use crate::encoder::tensors::Autograd;
use crate::encoder::{DeviceChoice, Precision, Runtime};
use crate::heads::WindowLogits;
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

/// A tensor's name, shape, numbers and gradients.
pub type Tensor<'a> = (String, &'a [usize], &'a [f32], &'a [f32]);

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
    /// Gradients and steps. The learner's own numbers, gradients and moments are copies of those on the card, as old as the last time
    /// that somebody asked for them.
    #[cfg(feature = "cuda")]
    Card(Box<cuda::Backprop>),
}

impl Backend {
    fn load(
        runtime: &Runtime,
        #[cfg_attr(not(feature = "cuda"), expect(unused_variables))] (parameters, learning): (
            &Parameters,
            &Learning,
        ),
    ) -> Result<Self> {
        let choice = runtime.device.settle()?;
        let on_cpu = choice == DeviceChoice::Cpu;
        let precision = runtime.precision.unwrap_or(if on_cpu { Precision::F32 } else { Precision::Bf16 });
        let cannot = || Error::CannotLearnIn { dtype: precision.name(), device: choice.to_string() };
        if on_cpu && precision != Precision::F32 || precision == Precision::Int8 {
            return Err(cannot());
        }
        #[cfg(feature = "cuda")]
        if let DeviceChoice::Cuda(cards) = choice
            && !runtime.reference
        {
            let learns = |slot: &Slot| learning.learns(slot.depth);
            let Parameters { config, slots, .. } = parameters;
            if let Some(card) = cuda::Backprop::load(config, slots, learns, cards, precision)? {
                return Ok(Backend::Card(Box::new(card)));
            }
        }
        match precision {
            Precision::F32 if on_cpu && !runtime.reference => {
                Ok(Backend::Kernels(Box::new(Backprop::new()?)))
            }
            Precision::Tf32 => Err(cannot()),
            _ => Ok(Backend::Autograd(Box::new(Autograd::new(choice.for_tensors()?, precision)))),
        }
    }
}

impl Learner {
    /// Loads a checkpoint, with or without a span head.
    pub fn load(files: &ModelFiles, runtime: &Runtime, learning: Learning) -> Result<Self> {
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
        let mut learner = Self {
            backend: Backend::load(runtime, (&parameters, &learning))?,
            gradients: vec![0.0; length],
            moments: Moments::new(length),
            parameters,
            learning,
            head_is_fresh,
            pool,
        };
        learner.put()?;
        Ok(learner)
    }

    /// Numbers and moments have changed here: hands them to what computes with them.
    fn put(&mut self) -> Result<()> {
        match &mut self.backend {
            Backend::Kernels(_) => {}
            Backend::Autograd(autograd) => autograd.forget(),
            #[cfg(feature = "cuda")]
            Backend::Card(card) => {
                card.put(&self.parameters.values, [&self.moments.first, &self.moments.second])?;
            }
        }
        Ok(())
    }

    /// Brings the numbers here up to date.
    fn fetch_values(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Backend::Card(card) = &self.backend {
            card.fetch_values(&mut self.parameters.values)?;
        }
        Ok(())
    }

    /// Brings the gradients here up to date.
    fn fetch_gradients(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Backend::Card(card) = &self.backend {
            card.fetch_gradients(&mut self.gradients)?;
        }
        Ok(())
    }

    /// Brings the moments here up to date.
    fn fetch_moments(&mut self) -> Result<()> {
        #[cfg(feature = "cuda")]
        if let Backend::Card(card) = &self.backend {
            card.fetch_moments([&mut self.moments.first, &mut self.moments.second])?;
        }
        Ok(())
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
        let mut judge = Judge { lessons, soft_targets, share, loss: 0.0 };
        let numbers = parameters.encoder();
        let (encoder_gradients, sums) = parameters.split(gradients);
        self.pool.install(|| match backend {
            Backend::Kernels(kernels) => {
                let mut top = on_states(&mut judge, parameters.head(), batch, sums);
                kernels.run(numbers, batch, &pass, &mut top, encoder_gradients);
                Ok(())
            }
            Backend::Autograd(autograd) => {
                let mut top = on_states(&mut judge, parameters.head(), batch, sums);
                autograd.run(numbers, batch, &pass, &mut top, encoder_gradients)
            }
            #[cfg(feature = "cuda")]
            Backend::Card(card) => {
                let model = cuda::Model { numbers, head: &parameters.head };
                let mut top = |logits: &[f32]| {
                    let slopes = judge.slopes(&backward::by_window(logits, batch));
                    slopes.map(|slopes| backward::by_token(&slopes))
                };
                card.run(model, batch, &pass, &mut top)
            }
        })?;
        Ok(judge.loss)
    }

    /// Changes the numbers by the gradients that have come together, and forgets these. Returns their norm before clipping. If that is
    /// not a number nothing is changed.
    pub fn step(&mut self, update: &Update) -> Result<f64> {
        let Self { parameters, gradients, moments, learning, pool, backend, .. } = self;
        let step = update.step(moments.steps + 1, &parameters.slots);
        let norm = match backend {
            #[cfg(feature = "cuda")]
            Backend::Card(card) => card.step(&step)?,
            Backend::Kernels(_) | Backend::Autograd(_) => pool.install(|| {
                for slot in parameters.slots.iter().filter(|slot| !learning.learns(slot.depth)) {
                    gradients[slot.place.clone()].fill(0.0);
                }
                let norm = norm(gradients);
                if norm.is_finite() {
                    let learns = |slot: &Slot| learning.learns(slot.depth);
                    let Parameters { values, slots, .. } = parameters;
                    moments.step(values, (gradients, norm), slots, learns, &step);
                }
                gradients.fill(0.0);
                norm
            }),
        };
        if norm.is_finite() {
            self.moments.steps += 1;
            if let Backend::Autograd(autograd) = &mut self.backend {
                autograd.forget();
            }
        }
        Ok(norm)
    }

    /// Every tensor, as it is now.
    pub fn tensors(&mut self) -> Result<impl Iterator<Item = Tensor<'_>>> {
        self.fetch_values()?;
        self.fetch_gradients()?;
        let Self { parameters, gradients, .. } = &*self;
        Ok(parameters.slots.iter().map(|slot| {
            let place = slot.place.clone();
            (
                parameters.name(slot),
                slot.shape.as_slice(),
                &parameters.values[place.clone()],
                &gradients[place],
            )
        }))
    }
}

/// What a batch should come to.
struct Judge<'a> {
    lessons: &'a [Lesson],
    soft_targets: Option<&'a SoftTargets>,
    share: f64,
    /// The loss, once logits have been seen.
    loss: f64,
}

impl Judge<'_> {
    /// How the loss changes with each logit; none if one is not finite.
    fn slopes(&mut self, logits: &[WindowLogits]) -> Option<Vec<WindowLogits>> {
        let mut numbers = logits.iter().flat_map(|window| window.start.iter().chain(&window.end));
        if numbers.any(|logit| !logit.is_finite()) {
            self.loss = f64::NAN;
            return None;
        }
        let (sum, slopes) = loss(logits, self.lessons, self.soft_targets, self.share);
        self.loss = sum;
        Some(slopes)
    }
}

/// The head and the loss on the host: from hidden states to their gradients, in place. Adds the head's own to `sums`.
fn on_states<'a>(
    judge: &'a mut Judge,
    [weight, bias]: [&'a [f32]; 2],
    batch: &'a Batch,
    [weight_sums, bias_sums]: [&'a mut [f32]; 2],
) -> impl FnMut(&mut [f32]) -> bool + 'a {
    move |states| {
        let slopes = judge.slopes(&backward::forward(states, [weight, bias], batch));
        let sums = [&mut *weight_sums, &mut *bias_sums];
        slopes.map(|slopes| backward::backward(states, weight, &slopes, sums)).is_some()
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
