//! What stays on the card between steps: the numbers, their gradients, the optimiser's moments, and the step itself.

use candle_core::cuda::cudarc::driver::{CudaEvent, CudaFunction, PinnedHostSlice, PushKernelArg};

use crate::encoder::Precision;
use crate::encoder::cuda::card::{Address, Card, Memory};
use crate::encoder::cuda::workspace::{copies, width};
use crate::encoder::cuda::{THREADS, kind};
use crate::encoder::error::Result;
use crate::encoder::places::{Slot, Step};

/// Numbers that a block sums or changes.
const PIECE: usize = 4096;

/// Numbers, gradients and moments, which lie as `places` says.
pub(super) struct Resident {
    precision: Precision,
    pub(super) values: Memory<f32>,
    /// The values in the type of the products, if that is another one.
    copy: Option<Memory<u8>>,
    pub(super) gradients: Memory<f32>,
    pub(super) first: Memory<f32>,
    pub(super) second: Memory<f32>,
    /// What learns, cut into pieces: for each its start, its length and its slot.
    pieces: Memory<u32>,
    count: usize,
    /// Two numbers for each slot.
    rules: Memory<f32>,
    sent: PinnedHostSlice<f32>,
    sums: Memory<f64>,
    /// The norm, and what gradients are multiplied with.
    settled: Memory<f64>,
    fetched: PinnedHostSlice<f64>,
    /// Reached once the norm is in `fetched`.
    done: CudaEvent,
    kernels: Kernels,
}

struct Kernels {
    narrow: CudaFunction,
    sum_squares: CudaFunction,
    settle: CudaFunction,
    adam: CudaFunction,
}

impl Resident {
    /// Memory for the numbers of these slots; what they are has to be [put](Self::put) there.
    pub(super) fn new(
        card: &Card,
        slots: &[Slot],
        learns: impl Fn(&Slot) -> bool,
        precision: Precision,
    ) -> Result<Self> {
        let numbers = slots.last().map_or(0, |slot| slot.place.end);
        let mut pieces = Vec::new();
        for (number, slot) in slots.iter().enumerate().filter(|(_, slot)| learns(slot)) {
            for start in slot.place.clone().step_by(PIECE) {
                pieces.extend([start as u32, (slot.place.end - start).min(PIECE) as u32, number as u32]);
            }
        }
        let kind = kind(precision);
        let [narrow, sum_squares, settle, adam] = card.kernels([
            format!("narrow_{kind}"),
            "sum_squares".into(),
            "settle".into(),
            format!("adam_{kind}"),
        ])?;
        let count = pieces.len() / 3;
        Ok(Self {
            precision,
            values: card.room(numbers)?,
            copy: copies(precision).then(|| card.room(numbers * width(precision))).transpose()?,
            gradients: card.zeros(numbers)?,
            first: card.room(numbers)?,
            second: card.room(numbers)?,
            pieces: card.upload(&pieces)?,
            count,
            rules: card.room(2 * slots.len())?,
            sent: card.host_room(2 * slots.len())?,
            sums: card.room(count)?,
            settled: card.room(2)?,
            fetched: card.host_room(2)?,
            done: card.event()?,
            kernels: Kernels { narrow, sum_squares, settle, adam },
        })
    }

    /// Sets values and moments.
    pub(super) fn put(&mut self, card: &Card, values: &[f32], [first, second]: [&[f32]; 2]) -> Result<()> {
        card.send(values, &mut self.values)?;
        card.send(first, &mut self.first)?;
        card.send(second, &mut self.second)?;
        if let Some(copy) = &self.copy {
            let (from, to, count) = (self.values.address(), copy.address(), values.len() as u64);
            let blocks = (count.div_ceil(u64::from(THREADS)) as u32, 1);
            // SAFETY: these are the kernel's arguments, and both arrays have so many numbers.
            unsafe {
                card.launch(&self.kernels.narrow, blocks, (THREADS, 1), |launch| {
                    launch.arg(&from).arg(&count).arg(&to);
                })?;
            }
        }
        card.finish()
    }

    /// Whether products read the values themselves.
    pub(super) fn is_f32(&self) -> bool {
        self.copy.is_none()
    }

    /// Where a value is.
    pub(super) fn value(&self, place: usize) -> Address {
        self.values.at(place)
    }

    /// Where a value is in the type of the products.
    pub(super) fn factor(&self, place: usize) -> Address {
        match &self.copy {
            Some(copy) => copy.at(place * width(self.precision)),
            None => self.values.at(place),
        }
    }

    /// Takes a step, and returns the norm of the gradients. If that is not a number nothing is changed; gradients are forgotten in
    /// any case.
    pub(super) fn step(&mut self, card: &Card, step: &Step) -> Result<f64> {
        let sent = card.check(self.sent.as_mut_slice())?;
        for (numbers, rule) in sent.chunks_exact_mut(2).zip(&step.rules) {
            numbers.copy_from_slice(&[rule.keep, rule.rate]);
        }
        card.send(sent, &mut self.rules)?;
        let (gradients, pieces) = (self.gradients.address(), self.pieces.address());
        let (sums, settled) = (self.sums.address(), self.settled.address());
        let (blocks, count) = ((self.count as u32, 1), self.count as i32);
        // SAFETY: these are the kernels' arguments; pieces lie inside the arrays, and there is a sum for each.
        unsafe {
            card.launch(&self.kernels.sum_squares, blocks, (THREADS, 1), |launch| {
                launch.arg(&gradients).arg(&pieces).arg(&sums);
            })?;
            card.launch(&self.kernels.settle, (1, 1), (THREADS, 1), |launch| {
                launch.arg(&sums).arg(&count).arg(&step.clip).arg(&settled);
            })?;
        }
        card.fetch(&self.settled, card.check(self.fetched.as_mut_slice())?)?;
        // The host goes on while the numbers are changed.
        card.check(self.done.record(&card.stream))?;
        let (values, copy) = (self.values.address(), self.copy.as_ref().map_or(0, Memory::address));
        let (first, second, rules) = (self.first.address(), self.second.address(), self.rules.address());
        // SAFETY: as above.
        unsafe {
            card.launch(&self.kernels.adam, blocks, (THREADS, 1), |launch| {
                launch.arg(&values).arg(&gradients).arg(&first).arg(&second).arg(&copy);
                launch.arg(&pieces).arg(&rules).arg(&settled);
                launch.arg(&step.beta1).arg(&step.beta2).arg(&step.spread).arg(&step.epsilon);
            })?;
        }
        card.check(self.done.synchronize())?;
        Ok(card.check(self.fetched.as_slice())?[0])
    }
}
