//! A CUDA card: its memory, its kernels, and the one stream that all work goes through.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::cuda::cudarc::driver::{
    CudaContext, CudaEvent, CudaFunction, CudaGraph, CudaSlice, CudaStream, DevicePtr, DeviceRepr,
    DriverError, LaunchArgs, LaunchConfig, PinnedHostSlice, ValidAsZeroBits, sys,
};
use candle_core::cuda::cudarc::nvrtc::Ptx;
use half::{bf16, f16};

use crate::encoder::Precision;
use crate::encoder::error::{Error, Result};

/// The kernels, as build.rs compiles them.
const KERNELS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kernels.fatbin"));

/// The oldest compute capability that has the kernels' instructions.
const OLDEST: (i32, i32) = (8, 0);

/// An address in the card's memory.
pub(super) type Address = sys::CUdeviceptr;

/// Whether there is a card of that number; the error says why not. Says nothing of whether it has memory to spare.
pub(crate) fn look_for(number: usize) -> Result<()> {
    let name = format!("cuda:{number}");
    let count = CudaContext::device_count().map_err(|error| unavailable(&name, error))?;
    if usize::try_from(count).is_ok_and(|count| number < count) {
        return Ok(());
    }
    let reason = match count {
        1 => "there is one card, number 0".into(),
        count => format!("there are {count} cards, numbered from 0"),
    };
    Err(Error::DeviceUnavailable { device: name, reason })
}

/// One card.
pub(super) struct Card {
    pub(super) name: String,
    pub(super) context: Arc<CudaContext>,
    pub(super) stream: Arc<CudaStream>,
    turn: Mutex<()>,
}

/// A piece of the card's memory. All work goes through one stream, so it is never freed under a kernel.
pub(super) struct Memory<T>(CudaSlice<T>);

/// Work that can be started over and over, in one call instead of one for each kernel.
pub(super) struct Recording(CudaGraph);

// SAFETY: a graph may move between threads as long as only one uses it at a time; it is only ever reached through `&mut Rooms`.
unsafe impl Send for Recording {}

impl<T> Memory<T> {
    /// Where it starts.
    pub(super) fn address(&self) -> Address {
        self.0.device_ptr(self.0.stream()).0
    }

    /// Where the number of that place is.
    pub(super) fn at(&self, place: usize) -> Address {
        self.address() + (place * size_of::<T>()) as Address
    }

    /// Numbers that there is room for.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Card {
    /// Opens a card by number.
    pub(super) fn open(number: usize) -> Result<Self> {
        let name = format!("cuda:{number}");
        let context = CudaContext::new(number).map_err(|error| unavailable(&name, error))?;
        // SAFETY: nothing of this context is used from a second stream, so there is nothing to track.
        unsafe { context.disable_event_tracking() };
        let stream = context.new_stream().map_err(|error| unavailable(&name, error))?;
        Ok(Self { name, context, stream, turn: Mutex::default() })
    }

    /// Its name here and its maker's.
    pub(super) fn describe(&self) -> String {
        match self.context.name() {
            Ok(product) => format!("{} ({product})", self.name),
            Err(_) => self.name.clone(),
        }
    }

    /// Whether the kernels run on it.
    pub(super) fn has_matrix_units(&self) -> Result<bool> {
        Ok(self.check(self.context.compute_capability())? >= OLDEST)
    }

    /// Bytes that are free.
    pub(super) fn free(&self) -> Result<usize> {
        Ok(self.check(self.context.mem_get_info())?.0)
    }

    /// Gives a driver's answer the card's name.
    pub(super) fn check<T>(&self, answer: std::result::Result<T, DriverError>) -> Result<T> {
        answer.map_err(|error| failed(&self.name, error))
    }

    /// Loads the kernels of these names.
    pub(super) fn kernels<const N: usize>(&self, names: [String; N]) -> Result<[CudaFunction; N]> {
        let module = self.check(self.context.load_module(Ptx::from_binary(KERNELS.to_vec())))?;
        let kernels: Result<Vec<CudaFunction>> =
            names.iter().map(|name| self.check(module.load_function(name))).collect();
        kernels?.try_into().map_err(|_| failed(&self.name, "a kernel is missing"))
    }

    /// Memory for so many numbers; what is in it is not defined.
    pub(super) fn room<T: DeviceRepr>(&self, count: usize) -> Result<Memory<T>> {
        // SAFETY: it is written before it is read: by uploads and kernels that come earlier in the stream.
        unsafe { self.stream.alloc::<T>(count.max(1)) }.map(Memory).map_err(|error| match error {
            DriverError(sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                Error::CardTooSmall { device: self.name.clone() }
            }
            error => failed(&self.name, error),
        })
    }

    /// Memory full of zeros.
    pub(super) fn zeros<T: DeviceRepr + ValidAsZeroBits>(&self, count: usize) -> Result<Memory<T>> {
        let mut memory = self.room(count)?;
        self.clear(&mut memory)?;
        Ok(memory)
    }

    /// Starts filling memory with zeros.
    pub(super) fn clear<T: DeviceRepr + ValidAsZeroBits>(&self, memory: &mut Memory<T>) -> Result<()> {
        self.check(self.stream.memset_zeros(&mut memory.0))
    }

    /// Copies numbers to the card.
    pub(super) fn upload<T: DeviceRepr>(&self, numbers: &[T]) -> Result<Memory<T>> {
        let mut memory = self.room(numbers.len())?;
        self.check(self.stream.memcpy_htod(numbers, &mut memory.0))?;
        Ok(memory)
    }

    /// Copies numbers to the card in the type of the products.
    pub(super) fn upload_as(&self, precision: Precision, numbers: &[f32]) -> Result<Memory<u8>> {
        let bytes: Vec<u8> = match precision {
            Precision::F16 => {
                numbers.iter().flat_map(|&number| f16::from_f32(number).to_le_bytes()).collect()
            }
            Precision::Bf16 => {
                numbers.iter().flat_map(|&number| bf16::from_f32(number).to_le_bytes()).collect()
            }
            Precision::F32 | Precision::Tf32 | Precision::Int8 => {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            }
        };
        self.upload(&bytes)
    }

    /// Host memory that the card copies from and to by itself.
    pub(super) fn host_room<T: DeviceRepr + ValidAsZeroBits>(
        &self,
        count: usize,
    ) -> Result<PinnedHostSlice<T>> {
        // SAFETY: its users write before they read, or let the card write.
        self.check(unsafe { self.context.alloc_pinned_with_flags(count.max(1), 0) })
    }

    /// Something to wait for, without keeping a core busy: others have texts to tokenise.
    pub(super) fn event(&self) -> Result<CudaEvent> {
        self.check(self.context.new_event(Some(sys::CUevent_flags::CU_EVENT_BLOCKING_SYNC)))
    }

    /// The right to start work, for one thread at a time.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts copying from host memory that stays as it is until the copy is done.
    pub(super) fn send<T: DeviceRepr>(&self, from: &[T], to: &mut Memory<T>) -> Result<()> {
        self.check(self.stream.memcpy_htod(from, &mut to.0))
    }

    /// Starts copying the first numbers to the host; they are there once the card has come that far.
    pub(super) fn fetch<T: DeviceRepr>(&self, from: &Memory<T>, to: &mut [T]) -> Result<()> {
        self.check(self.stream.memcpy_dtoh(&from.0.slice(..to.len()), to))
    }

    /// Records what `start` starts instead of running it.
    pub(super) fn record(&self, start: impl FnOnce() -> Result<()>) -> Result<Recording> {
        // Other threads may go on allocating on other cards.
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        self.check(self.stream.begin_capture(mode))?;
        let started = start();
        // Ended in any case: a stream that records runs nothing.
        let graph = self.stream.end_capture(sys::CUgraphInstantiate_flags(0));
        started?;
        let graph = self.check(graph)?.ok_or_else(|| failed(&self.name, "nothing was recorded"))?;
        Ok(Recording(graph))
    }

    /// Starts everything that was recorded.
    pub(super) fn replay(&self, recording: &Recording) -> Result<()> {
        self.check(recording.0.launch())
    }

    /// Waits until everything that was started is done.
    pub(super) fn finish(&self) -> Result<()> {
        self.check(self.stream.synchronize())
    }

    /// Starts a kernel over `blocks` blocks of `threads` threads.
    ///
    /// # Safety
    ///
    /// The arguments are those that the kernel declares, and what they point to is as large as the kernel takes it to be.
    pub(super) unsafe fn launch<'a>(
        &'a self,
        kernel: &'a CudaFunction,
        blocks: (u32, u32),
        threads: (u32, u32),
        arguments: impl FnOnce(&mut LaunchArgs<'a>),
    ) -> Result<()> {
        let mut launch = self.stream.launch_builder(kernel);
        arguments(&mut launch);
        let shape = LaunchConfig {
            grid_dim: (blocks.0, blocks.1, 1),
            block_dim: (threads.0, threads.1, 1),
            shared_mem_bytes: 0,
        };
        // SAFETY: the caller's promise.
        self.check(unsafe { launch.launch(shape) })?;
        Ok(())
    }
}

fn unavailable(device: &str, error: DriverError) -> Error {
    let reason = match error {
        DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE) => {
            "there is no CUDA card, or none that this process may see".into()
        }
        error => error.to_string(),
    };
    Error::DeviceUnavailable { device: device.into(), reason }
}

/// An error of the card's libraries.
pub(super) fn failed(device: &str, error: impl std::fmt::Display) -> Error {
    Error::CardFailed { device: device.into(), reason: error.to_string() }
}
