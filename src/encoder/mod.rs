//! The neural part: plain integers in, plain numbers out. The only folder that knows about tensors.

pub mod batch;
pub(crate) mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
pub(crate) mod device;
pub mod error;
pub(crate) mod layer;
mod tables;
pub(crate) mod tensors;

use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

pub use device::{Cards, DeviceChoice, Precision};
pub use error::{Error, Result};

use crate::checkpoint::ModelFiles;
use crate::checkpoint::{EncoderConfig, Weights};
use crate::encoder::batch::Batch;
use cpu::Engine;
pub use cpu::{kernels, speed};
use tensors::Encoder;

/// The tokens of a batch on a CPU: enough to keep every core busy, few enough to stay in cache.
const CPU_BATCH_TOKENS: usize = 2048;

/// The tokens of a batch where a GPU runs one tensor operation after the other.
const TENSOR_BATCH_TOKENS: usize = 16_384;

/// Something that scores the tokens of windows: the seam between text and tensors.
pub trait SpanModel: Send + Sync {
    /// The longest window it takes.
    fn usable_positions(&self) -> usize;

    /// One past the highest token id it takes.
    fn vocabulary(&self) -> usize;

    /// The logits of each window of the batch, in order and exactly as long as the window. They do not depend on what else is in
    /// the batch. Those that [nobody reads](Batch::read) may be negative infinity.
    fn logits(&self, batch: &Batch) -> Result<Vec<WindowLogits>>;

    /// Batches that it works on at the same time, on cores of its own; 0 if it needs those of the caller.
    fn lanes(&self) -> usize {
        0
    }

    /// Tokens that suit a batch: enough to keep everything busy, few enough to stay near.
    fn batch_tokens(&self) -> usize {
        CPU_BATCH_TOKENS
    }

    /// How long each kind of computation has taken so far, summed over threads; empty if nobody counts.
    fn times(&self) -> Vec<(&'static str, Duration)> {
        Vec::new()
    }

    /// The type that it computes in, for messages.
    fn dtype(&self) -> &'static str {
        "f32"
    }

    /// What a person should know about how it ran.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where it runs: never [`DeviceChoice::Auto`].
    fn device(&self) -> DeviceChoice {
        DeviceChoice::Cpu
    }
}

/// What a model says about one window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WindowLogits {
    /// For each token, how much it looks like the start of the answer.
    pub start: Vec<f32>,
    /// For each token, how much it looks like the end of the answer.
    pub end: Vec<f32>,
}

/// Collects what a forward pass computes on its way; absent in normal runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tap {
    /// The normalised embeddings, then each layer's output, as flat `[tokens, hidden]` arrays.
    pub hidden_states: Vec<Vec<f32>>,
}

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
    /// Compute with plain tensor operations even where the CPU engine would do: the yardstick of tests.
    pub reference: bool,
}

/// A checkpoint ready to run.
pub struct Model {
    backend: Backend,
    device: DeviceChoice,
    pool: ThreadPool,
}

/// What computes the encoder's equations.
enum Backend {
    /// Kernels of our own.
    Engine(Engine),
    /// Kernels of our own on CUDA cards.
    #[cfg(feature = "cuda")]
    Cuda(cuda::Engines),
    /// Tensor operations: other GPUs, half precision on the CPU, and the reference.
    Tensors(Encoder),
}

impl Backend {
    fn load(
        config: EncoderConfig,
        weights: &Weights,
        device: DeviceChoice,
        precision: Option<Precision>,
        reference: bool,
    ) -> Result<Self> {
        let unavailable =
            |dtype: Precision| Error::DtypeUnavailable { dtype: dtype.name(), device: device.to_string() };
        let usual = match device {
            DeviceChoice::Cuda(_) => Precision::F16,
            DeviceChoice::Cpu if weights.are_packed() && !reference => Precision::Int8,
            _ => Precision::F32,
        };
        let precision = precision.unwrap_or(usual);
        #[cfg(feature = "cuda")]
        if let DeviceChoice::Cuda(cards) = device
            && !reference
            && precision != Precision::Int8
            && let Some(engines) = cuda::Engines::load(&config, weights, cards, precision)?
        {
            return Ok(Backend::Cuda(engines));
        }
        // Whoever builds with Apple's library wants it to make the products.
        let kernels = device == DeviceChoice::Cpu
            && !reference
            && (precision == Precision::Int8 || precision == Precision::F32 && !cfg!(feature = "accelerate"));
        match precision {
            _ if kernels => Engine::load(config, weights, precision).map(Backend::Engine),
            Precision::Int8 | Precision::Tf32 => Err(unavailable(precision)),
            _ => Encoder::load(config, weights, device.for_tensors()?, precision).map(Backend::Tensors),
        }
    }
}

impl Model {
    /// Loads a checkpoint onto a device.
    pub fn load(files: &ModelFiles, runtime: &Runtime) -> Result<Self> {
        let config = EncoderConfig::from_files(files)?;
        let weights = Weights::open(files)?;
        let device = runtime.device.settle()?;
        let pool = ThreadPoolBuilder::new()
            .num_threads(runtime.threads.unwrap_or(0))
            .build()
            .map_err(|error| Error::Threads { reason: error.to_string() })?;
        let backend =
            pool.install(|| Backend::load(config, &weights, device, runtime.precision, runtime.reference))?;
        Ok(Self { backend, device, pool })
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &EncoderConfig {
        match &self.backend {
            Backend::Engine(engine) => engine.config(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.config(),
            Backend::Tensors(encoder) => encoder.config(),
        }
    }

    /// What computes, for people: the number type and the vector unit or device.
    pub fn describe(&self) -> String {
        match &self.backend {
            Backend::Engine(engine) => engine.describe(),
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.describe(),
            Backend::Tensors(encoder) => format!("{} on {}", encoder.precision().name(), self.device),
        }
    }

    fn forward(&self, batch: &Batch, tap: Option<&mut Tap>) -> Result<Vec<WindowLogits>> {
        match &self.backend {
            // Its threads only wait for the card, and may be more than those that compute here.
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.forward(batch, tap),
            Backend::Engine(engine) => self.pool.install(|| engine.forward(batch, tap)),
            Backend::Tensors(encoder) => self.pool.install(|| encoder.forward(batch, tap)),
        }
    }

    /// Like [`SpanModel::logits`], and shows the intermediate states.
    pub fn logits_with_tap(&self, batch: &Batch, tap: &mut Tap) -> Result<Vec<WindowLogits>> {
        self.forward(batch, Some(tap))
    }
}

impl SpanModel for Model {
    fn usable_positions(&self) -> usize {
        self.config().usable_positions()
    }

    fn vocabulary(&self) -> usize {
        self.config().vocabulary
    }

    fn logits(&self, batch: &Batch) -> Result<Vec<WindowLogits>> {
        self.forward(batch, None)
    }

    fn lanes(&self) -> usize {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.lanes(),
            // One operation after the other goes through one queue.
            Backend::Tensors(_) if self.device != DeviceChoice::Cpu => 1,
            _ => 0,
        }
    }

    fn batch_tokens(&self) -> usize {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.batch_tokens(),
            Backend::Tensors(_) if self.device != DeviceChoice::Cpu => TENSOR_BATCH_TOKENS,
            _ => CPU_BATCH_TOKENS,
        }
    }

    fn times(&self) -> Vec<(&'static str, Duration)> {
        match &self.backend {
            Backend::Engine(engine) => engine.times(),
            _ => Vec::new(),
        }
    }

    fn notes(&self) -> Vec<String> {
        match &self.backend {
            #[cfg(feature = "cuda")]
            Backend::Cuda(engines) => engines.notes(),
            _ => Vec::new(),
        }
    }

    fn device(&self) -> DeviceChoice {
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
