//! Encoders: packed token ids in, a row of numbers for every token that is read out. The only folder that knows about tensors.
//!
//! ```text
//! Batch -> cpu::Engine | cuda::Engines | tensors::Engine -> WindowRows: hidden states, or a Projection of them
//! ```
//!
//! What the rows mean is the business of [`heads`](crate::heads). Training runs the same equations forwards and backwards:
//! `cpu::Backprop`, `cuda::Backprop` and `tensors::Autograd` compute gradients of the numbers whose `places` say where they lie.

pub mod batch;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod device;
pub(crate) mod dropout;
pub mod error;
pub(crate) mod layer;
mod output;
pub(crate) mod places;
mod projection;
mod tables;
pub(crate) mod tensors;

use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

pub use cpu::kernels;
#[doc(hidden)]
pub use cpu::speed;
pub use device::{Cards, DeviceChoice, Precision};
pub use error::{Error, Result};
pub use output::{Tap, WindowRows};
pub use projection::Projection;

use crate::checkpoint::{self, EncoderConfig, ModelFiles, Weights};
use crate::encoder::batch::Batch;

/// The tokens of a batch on a CPU: enough to keep every core busy, few enough to stay in cache.
pub(crate) const CPU_BATCH_TOKENS: usize = 2048;

/// The tokens of a batch where a GPU runs one tensor operation after the other.
const TENSOR_BATCH_TOKENS: usize = 16_384;

/// How a model runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Runtime {
    /// The device.
    pub device: DeviceChoice,
    /// The type of matrix products; `None` for f16 on CUDA cards, for integers if the weights are stored as such and a CPU runs
    /// them, else for f32.
    pub precision: Option<Precision>,
    /// Threads for the CPU; `None` for one per core.
    pub threads: Option<usize>,
    /// Compute with plain tensor operations even where the CPU engine would do: the yardstick of tests, and
    /// what can show attention probabilities and gradients.
    pub reference: bool,
}

/// A checkpoint's encoder, ready to run.
pub struct Encoder {
    backend: Backend,
    device: DeviceChoice,
    pool: ThreadPool,
}

/// What computes the encoder's equations.
enum Backend {
    /// Kernels of our own.
    Cpu(cpu::Engine),
    /// Kernels of our own on CUDA cards.
    #[cfg(feature = "cuda")]
    Cuda(cuda::Engines),
    /// Tensor operations: other GPUs, half precision on the CPU, and the reference.
    Tensors(tensors::Engine),
}

impl Backend {
    fn load(
        config: EncoderConfig,
        weights: &Weights,
        device: DeviceChoice,
        runtime: &Runtime,
        projection: Option<Projection>,
    ) -> Result<Self> {
        let reference = runtime.reference;
        let unavailable =
            |dtype: Precision| Error::DtypeUnavailable { dtype: dtype.name(), device: device.to_string() };
        let usual = match device {
            DeviceChoice::Cuda(_) => Precision::F16,
            DeviceChoice::Cpu if weights.are_quantised() && !reference => Precision::Int8,
            _ => Precision::F32,
        };
        let precision = runtime.precision.unwrap_or(usual);
        #[cfg(feature = "cuda")]
        if let DeviceChoice::Cuda(cards) = device
            && !reference
            && precision != Precision::Int8
            && let Some(engines) =
                cuda::Engines::load(&config, weights, cards, precision, projection.as_ref())?
        {
            return Ok(Backend::Cuda(engines));
        }
        // Whoever builds with Apple's library wants it to make the products.
        let kernels = device == DeviceChoice::Cpu
            && !reference
            && (precision == Precision::Int8 || precision == Precision::F32 && !cfg!(feature = "accelerate"));
        match precision {
            _ if kernels => cpu::Engine::load(config, weights, precision, projection).map(Backend::Cpu),
            Precision::Int8 | Precision::Tf32 => Err(unavailable(precision)),
            _ => tensors::Engine::load(config, weights, device.for_tensors()?, precision, projection)
                .map(Backend::Tensors),
        }
    }
}

impl Encoder {
    /// Loads a checkpoint onto a device, whatever head it has or has not.
    pub fn open(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        Self::load(EncoderConfig::from_files(files)?, &Weights::open(files)?, runtime, None)
    }

    /// Loads an encoder whose rows are hidden states, or a projection of them.
    pub fn load(
        config: EncoderConfig,
        weights: &Weights,
        runtime: &Runtime,
        projection: Option<Projection>,
    ) -> Result<Self> {
        if let Some(projection) = projection.as_ref().filter(|found| found.inputs() != config.hidden) {
            return Err(checkpoint::Error::WrongShape {
                file: "the projection".into(),
                tensor: "weight".into(),
                expected: [projection.outputs(), config.hidden].into(),
                found: [projection.outputs(), projection.inputs()].into(),
            }
            .into());
        }
        let device = runtime.device.settle()?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(runtime.threads.unwrap_or(0))
            .build()
            .map_err(|error| Error::Threads { reason: error.to_string() })?;
        let backend = pool.install(|| Backend::load(config, weights, device, runtime, projection))?;
        Ok(Self { backend, device, pool })
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        match &self.backend {
            Backend::Cpu(engine) => engine.config(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.config(),
            Backend::Tensors(engine) => engine.config(),
        }
    }

    /// The type that it multiplies in.
    pub fn precision(&self) -> Precision {
        match &self.backend {
            Backend::Cpu(engine) => engine.precision(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.precision(),
            Backend::Tensors(engine) => engine.precision(),
        }
    }

    /// What computes, for people: the number type and the vector unit or device.
    pub fn describe(&self) -> String {
        let on = match &self.backend {
            Backend::Cpu(engine) => engine.unit().to_owned(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.describe(),
            Backend::Tensors(_) => self.device.to_string(),
        };
        format!("{} on {on}", self.precision().name())
    }

    /// The rows of each window of the batch, in order. They do not depend on what else is in the batch.
    pub fn forward(&self, batch: &Batch, tap: Option<&mut Tap>) -> Result<Vec<WindowRows>> {
        let attention = tap.as_ref().is_some_and(|tap| tap.attention.is_some());
        if attention && !matches!(self.backend, Backend::Tensors(_)) {
            return Err(Error::NoAttention { encoder: self.describe() });
        }
        match &self.backend {
            // Its threads only wait for the card, and may be more than those that compute here.
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.forward(batch, tap),
            Backend::Cpu(engine) => self.pool.install(|| engine.forward(batch, tap)),
            Backend::Tensors(engine) => self.pool.install(|| engine.forward(batch, tap)),
        }
    }

    /// What the word of each token contributes to a weighted sum of the rows of a batch, to first order: gradient times input. There is a
    /// weight for each number of each row. Only an encoder that was loaded with [`Runtime::reference`] has it.
    pub fn gradient_times_input(&self, batch: &Batch, weights: &[f32]) -> Result<Vec<f32>> {
        match &self.backend {
            Backend::Tensors(engine) => self.pool.install(|| engine.gradient_times_input(batch, weights)),
            _ => Err(Error::NoAttention { encoder: self.describe() }),
        }
    }

    /// Batches that it works on at the same time, on cores of its own; 0 if it needs those of the caller.
    pub fn lanes(&self) -> usize {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.lanes(),
            // One operation after the other goes through one queue.
            Backend::Tensors(_) if self.device != DeviceChoice::Cpu => 1,
            _ => 0,
        }
    }

    /// Tokens that suit a batch: enough to keep everything busy, few enough to stay near.
    pub fn batch_tokens(&self) -> usize {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.batch_tokens(),
            Backend::Tensors(_) if self.device != DeviceChoice::Cpu => TENSOR_BATCH_TOKENS,
            _ => CPU_BATCH_TOKENS,
        }
    }

    /// How long each kind of computation has taken so far, summed over threads; empty if nobody counts.
    pub fn times(&self) -> Vec<(&'static str, Duration)> {
        match &self.backend {
            Backend::Cpu(engine) => engine.times(),
            _ => Vec::new(),
        }
    }

    /// What a person should know about how it ran.
    pub fn notes(&self) -> Vec<String> {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.notes(),
            _ => Vec::new(),
        }
    }

    /// Where it runs: never [`DeviceChoice::Auto`].
    pub fn device(&self) -> DeviceChoice {
        self.device
    }
}

/// Why a device cannot be used, if it cannot.
pub fn device_problem(device: DeviceChoice) -> Option<String> {
    match device.settle() {
        Ok(_) => None,
        Err(Error::DeviceUnavailable { reason, .. }) => Some(reason),
        Err(error) => Some(error.to_string()),
    }
}
