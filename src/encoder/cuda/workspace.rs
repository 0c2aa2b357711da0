//! What a pass reads and writes beside the weights.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ops::Range;

use candle_core::cuda::cudarc::driver::{CudaEvent, PinnedHostSlice};

use super::card::{Address, Card, Memory, Recording};
use crate::checkpoint::config::EncoderConfig;
use crate::encoder::Precision;
use crate::encoder::batch::Batch;
use crate::encoder::error::Result;

/// The memory of one pass after another, on the card and, for what crosses over, on the host. It grows to what the largest pass
/// needed, and is used again.
#[derive(Default)]
pub(super) struct Lane(Option<Rooms>);

/// The memory of passes up to some size.
pub(super) struct Rooms {
    /// Tokens and indices that there is room for.
    tokens: usize,
    numbers: usize,
    indices: Memory<u32>,
    sent: PinnedHostSlice<u32>,
    /// The state in f32.
    residual: Memory<f32>,
    /// The state in the type of the products, if that is another one.
    copy: Option<Memory<u8>>,
    /// Query, key and value; later the inner layer.
    wide: Memory<u8>,
    attended: Memory<u8>,
    /// What a product adds to the state.
    delta: Memory<u8>,
    /// What a projection gives; without one the state itself is fetched.
    projected: Option<Memory<f32>>,
    fetched: PinnedHostSlice<f32>,
    /// Numbers of each token in `fetched`.
    row: usize,
    /// Reached once the rows are in `fetched`.
    done: CudaEvent,
    /// For passes over one window of some length: what they start, once they have been seen twice.
    recordings: HashMap<usize, Option<Recording>>,
}

/// Where everything is during one pass.
pub(super) struct Places {
    pub(super) ids: Address,
    pub(super) positions: Address,
    pub(super) segments: Address,
    pub(super) starts: Address,
    pub(super) tiles: Address,
    pub(super) residual: Address,
    /// Null if `residual` is of the products' type already.
    pub(super) copy: Address,
    /// What products read: `copy`, or `residual`.
    pub(super) state: Address,
    pub(super) wide: Address,
    pub(super) attended: Address,
    pub(super) delta: Address,
    /// Null without a projection.
    pub(super) projected: Address,
}

/// What a pass is about, as the kernels want it.
pub(super) struct Indices {
    /// Ids, positions and segments, token by token; then the first token of each window and the number of tokens; then for each
    /// tile its window and its first query.
    pub(super) numbers: Vec<u32>,
    pub(super) tokens: usize,
    pub(super) windows: usize,
    pub(super) tiles: usize,
}

impl Indices {
    /// Those of some neighbouring windows of a batch; a tile has up to `queries` tokens.
    pub(super) fn of(
        batch: &Batch,
        windows: &[Range<usize>],
        config: &EncoderConfig,
        queries: usize,
    ) -> Self {
        let first = windows.first().map_or(0, |window| window.start);
        let all = first..windows.last().map_or(first, |window| window.end);
        let tokens = all.len();
        let mut numbers = Vec::with_capacity(4 * tokens + 3 * windows.len() + 1);
        numbers.extend(&batch.ids[all.clone()]);
        let offset = config.position_offset as u32;
        numbers.extend(batch.positions[all.clone()].iter().map(|position| position + offset));
        // Families with one row use it for every token, whatever their tokenizer says.
        let several = u32::from(config.segments > 1);
        numbers.extend(batch.segments[all].iter().map(|segment| segment * several));
        numbers.extend(windows.iter().map(|window| (window.start - first) as u32));
        numbers.push(tokens as u32);
        let before = numbers.len();
        for (number, window) in windows.iter().enumerate() {
            numbers
                .extend((0..window.len()).step_by(queries).flat_map(|query| [number as u32, query as u32]));
        }
        let tiles = (numbers.len() - before) / 2;
        Self { numbers, tokens, windows: windows.len(), tiles }
    }
}

/// Bytes of a number in the products' type.
pub(super) fn width(precision: Precision) -> usize {
    precision.dtype().size_in_bytes()
}

/// Whether products read a copy of the state: it is f32, and they may want another type.
pub(super) fn copies(precision: Precision) -> bool {
    width(precision) < size_of::<f32>()
}

/// Numbers per token of query, key and value, or of the inner layer.
pub(super) fn widest(config: &EncoderConfig) -> usize {
    config.inner.max(3 * config.hidden)
}

impl Lane {
    /// Gives the memory back; says whether there was any.
    pub(super) fn clear(&mut self) -> bool {
        self.0.take().is_some()
    }

    /// Memory in which there is room for these indices.
    pub(super) fn room_for(
        &mut self,
        indices: &Indices,
        card: &Card,
        config: &EncoderConfig,
        precision: Precision,
        outputs: Option<usize>,
    ) -> Result<&mut Rooms> {
        let rooms = match self.0.take() {
            Some(rooms) if rooms.hold(indices) => rooms,
            small => {
                let (tokens, numbers) = small.as_ref().map_or((0, 0), |rooms| (rooms.tokens, rooms.numbers));
                // What there was goes first: the card may not have room for both.
                drop(small);
                let (tokens, numbers) = (tokens.max(indices.tokens), numbers.max(indices.numbers.len()));
                Rooms::new((tokens, numbers), card, config, precision, outputs)?
            }
        };
        Ok(self.0.insert(rooms))
    }
}

impl Rooms {
    /// What a token takes on the card.
    pub(super) fn bytes_per_token(
        config: &EncoderConfig,
        precision: Precision,
        outputs: Option<usize>,
    ) -> usize {
        let copy = if copies(precision) { config.hidden } else { 0 };
        let numbers = copy + widest(config) + 2 * config.hidden;
        // At worst a tile of its own.
        let rest = 6 * size_of::<u32>() + outputs.unwrap_or(0) * size_of::<f32>();
        numbers * width(precision) + config.hidden * size_of::<f32>() + rest
    }

    fn new(
        (tokens, numbers): (usize, usize),
        card: &Card,
        config: &EncoderConfig,
        precision: Precision,
        outputs: Option<usize>,
    ) -> Result<Self> {
        // Passes grow in steps, so that a few of them settle it.
        let (tokens, numbers) = (tokens.next_multiple_of(1024), numbers.next_multiple_of(4096));
        let row = outputs.unwrap_or(config.hidden);
        let bytes = |columns: usize| card.room(tokens * columns * width(precision));
        Ok(Self {
            tokens,
            numbers,
            indices: card.room(numbers)?,
            sent: card.host_room(numbers)?,
            residual: card.room(tokens * config.hidden)?,
            copy: copies(precision).then(|| bytes(config.hidden)).transpose()?,
            wide: bytes(widest(config))?,
            attended: bytes(config.hidden)?,
            delta: bytes(config.hidden)?,
            projected: outputs.map(|outputs| card.room(tokens * outputs)).transpose()?,
            fetched: card.host_room(tokens * row)?,
            row,
            done: card.event()?,
            recordings: HashMap::new(),
        })
    }

    fn hold(&self, indices: &Indices) -> bool {
        indices.tokens <= self.tokens && indices.numbers.len() <= self.numbers
    }

    /// Where everything is during a pass over these indices.
    pub(super) fn places(&self, indices: &Indices) -> Places {
        // The parts lie behind one another, see `Indices::numbers`.
        let number = |place: usize| self.indices.address() + (place * size_of::<u32>()) as Address;
        let (residual, copy) = (self.residual.address(), self.copy.as_ref().map(Memory::address));
        Places {
            ids: number(0),
            positions: number(indices.tokens),
            segments: number(2 * indices.tokens),
            starts: number(3 * indices.tokens),
            tiles: number(3 * indices.tokens + indices.windows + 1),
            residual,
            copy: copy.unwrap_or(0),
            state: copy.unwrap_or(residual),
            wide: self.wide.address(),
            attended: self.attended.address(),
            delta: self.delta.address(),
            projected: self.projected.as_ref().map_or(0, Memory::address),
        }
    }

    /// Starts copying the indices to the card.
    pub(super) fn send(&mut self, indices: &Indices, card: &Card) -> Result<()> {
        let sent = &mut card.check(self.sent.as_mut_slice())?[..indices.numbers.len()];
        sent.copy_from_slice(&indices.numbers);
        card.send(sent, &mut self.indices)
    }

    /// Starts a pass. One over a single window takes the card hardly longer than the host needs to start its kernels one by one, so
    /// from the second time on that a length is seen it is recorded and replayed.
    pub(super) fn start(
        &mut self,
        indices: &Indices,
        card: &Card,
        start: impl FnOnce(&Places) -> Result<()>,
    ) -> Result<()> {
        let places = self.places(indices);
        if indices.windows != 1 {
            return start(&places);
        }
        match self.recordings.entry(indices.tokens) {
            Entry::Vacant(first) => {
                first.insert(None);
                start(&places)
            }
            Entry::Occupied(mut again) => {
                let recording = match again.get_mut() {
                    Some(recording) => recording,
                    none => none.insert(card.record(|| start(&places))?),
                };
                card.replay(recording)
            }
        }
    }

    /// Starts copying the rows of so many tokens to the host.
    pub(super) fn fetch(&mut self, tokens: usize, card: &Card) -> Result<()> {
        let fetched = &mut card.check(self.fetched.as_mut_slice())?[..self.row * tokens];
        card.fetch(self.projected.as_ref().unwrap_or(&self.residual), fetched)?;
        card.check(self.done.record(&card.stream))
    }

    /// Waits for what was fetched: the rows, and the numbers of each.
    pub(super) fn rows(&self, tokens: usize, card: &Card) -> Result<(&[f32], usize)> {
        card.check(self.done.synchronize())?;
        Ok((&card.check(self.fetched.as_slice())?[..self.row * tokens], self.row))
    }

    /// Waits for the state of so many tokens.
    pub(super) fn state(&self, tokens: usize, card: &Card, config: &EncoderConfig) -> Result<Vec<f32>> {
        let mut state = vec![0.0; tokens * config.hidden];
        card.fetch(&self.residual, &mut state)?;
        card.finish()?;
        Ok(state)
    }
}
