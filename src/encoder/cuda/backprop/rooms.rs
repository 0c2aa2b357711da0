//! What a pass that learns reads and writes beside the numbers.

use candle_core::cuda::cudarc::driver::{CudaEvent, DeviceRepr, PinnedHostSlice, ValidAsZeroBits};

use super::rows::SharedRows;
use super::{OUTPUTS, ROWS_OF_COLUMNS, ROWS_OF_SUM};
use crate::checkpoint::config::EncoderConfig;
use crate::encoder::Precision;
use crate::encoder::cuda::card::{Address, Card, Memory};
use crate::encoder::cuda::workspace::{Indices, widest, width};
use crate::encoder::error::Result;

/// The memory of one pass after another. It grows to what the largest pass needed.
pub(super) struct Rooms {
    /// Tokens that there is room for.
    tokens: usize,
    /// The state in f32.
    pub(super) residual: Memory<f32>,
    /// Its gradients.
    pub(super) gradients: Memory<f32>,
    /// What a product adds to the state, and on the way back the gradients of that.
    pub(super) delta: Memory<u8>,
    /// Gradients of the inner layer, or of query, key and value.
    pub(super) wide: Memory<u8>,
    /// Gradients of what attention gave.
    pub(super) attended: Memory<u8>,
    pub(super) dots: Memory<f32>,
    /// Sums that blocks leave.
    pub(super) sums: Memory<f32>,
    pub(super) embedding: Normed,
    pub(super) layers: Vec<Kept>,
    pub(super) logits: Memory<f32>,
}

/// What passes between host and card, in memory that the card copies from and to by itself.
pub(super) struct Traffic {
    indices: Crossing<u32>,
    /// Which tokens share rows of tables.
    shared: Crossing<u32>,
    row_sums: Memory<f32>,
    logits: PinnedHostSlice<f32>,
    slopes: Crossing<f32>,
    /// Reached once the logits are here.
    done: CudaEvent,
}

/// What a normalisation leaves behind for its way back.
pub(super) struct Normed {
    /// Rows of mean zero and width one, before weight and bias.
    pub(super) rows: Memory<f32>,
    /// What each row was multiplied with.
    pub(super) factors: Memory<f32>,
}

/// What a layer leaves behind for its way back.
pub(super) struct Kept {
    pub(super) input: Memory<u8>,
    pub(super) qkv: Memory<u8>,
    pub(super) logs: Memory<f32>,
    pub(super) attended: Memory<u8>,
    pub(super) middle_norm: Normed,
    pub(super) middle: Memory<u8>,
    pub(super) inner: Memory<u8>,
    pub(super) active: Memory<u8>,
    pub(super) output_norm: Normed,
}

/// Numbers that go from the host to the card.
struct Crossing<T> {
    here: PinnedHostSlice<T>,
    there: Memory<T>,
}

impl<T: DeviceRepr + ValidAsZeroBits> Crossing<T> {
    fn new(card: &Card, count: usize) -> Result<Self> {
        Ok(Self { here: card.host_room(count)?, there: card.room(count)? })
    }

    fn holds(&self, count: usize) -> bool {
        count <= self.there.len()
    }

    /// Starts sending numbers.
    fn send(&mut self, card: &Card, numbers: impl Iterator<Item = T>) -> Result<()> {
        let here = card.check(self.here.as_mut_slice())?;
        let mut count = 0;
        for (place, number) in here.iter_mut().zip(numbers) {
            *place = number;
            count += 1;
        }
        card.send(&here[..count], &mut self.there)
    }
}

/// Where the indices of a pass are on the card.
pub(super) struct Sent {
    pub(super) ids: Address,
    pub(super) positions: Address,
    pub(super) segments: Address,
    pub(super) starts: Address,
    pub(super) tiles: Address,
}

/// Where it says which tokens share rows.
pub(super) struct SentRows {
    pub(super) order: Address,
    pub(super) pieces: Address,
    pub(super) targets: Address,
    pub(super) sums: Address,
}

/// Memory in which there is room for these indices; what there was goes first.
pub(super) fn room_for<'a>(
    memory: &'a mut Option<(Rooms, Traffic)>,
    indices: &Indices,
    (card, config, precision): (&Card, &EncoderConfig, Precision),
) -> Result<&'a mut (Rooms, Traffic)> {
    let found = match memory.take() {
        Some((rooms, traffic))
            if indices.tokens <= rooms.tokens && traffic.indices.holds(indices.numbers.len()) =>
        {
            (rooms, traffic)
        }
        small => {
            let before =
                small.as_ref().map_or((0, 0), |(rooms, traffic)| (rooms.tokens, traffic.indices.there.len()));
            if small.is_some() {
                // The card may be copying from it still.
                card.finish()?;
            }
            drop(small);
            // Passes grow in steps, so that a few of them settle it.
            let tokens = indices.tokens.max(before.0).next_multiple_of(1024);
            let numbers = indices.numbers.len().max(before.1).next_multiple_of(4096);
            (Rooms::new(tokens, card, config, precision)?, Traffic::new(tokens, numbers, card)?)
        }
    };
    Ok(memory.insert(found))
}

impl Rooms {
    fn new(tokens: usize, card: &Card, config: &EncoderConfig, precision: Precision) -> Result<Self> {
        let (hidden, inner) = (config.hidden, config.inner);
        let bytes = |columns: usize| card.room(tokens * columns * width(precision));
        let floats = |columns: usize| card.room(tokens * columns);
        let normed = || -> Result<Normed> { Ok(Normed { rows: floats(hidden)?, factors: floats(1)? }) };
        let layer = |_| {
            Ok(Kept {
                input: bytes(hidden)?,
                qkv: bytes(3 * hidden)?,
                logs: floats(config.heads)?,
                attended: bytes(hidden)?,
                middle_norm: normed()?,
                middle: bytes(hidden)?,
                inner: bytes(inner)?,
                active: bytes(inner)?,
                output_norm: normed()?,
            })
        };
        let by_row = tokens.div_ceil(ROWS_OF_SUM) * (3 * hidden + OUTPUTS);
        let by_column = tokens.div_ceil(ROWS_OF_COLUMNS) * widest(config);
        Ok(Self {
            tokens,
            residual: floats(hidden)?,
            gradients: floats(hidden)?,
            delta: bytes(hidden)?,
            wide: bytes(widest(config))?,
            attended: bytes(hidden)?,
            dots: floats(config.heads)?,
            sums: card.room(by_row.max(by_column))?,
            embedding: normed()?,
            layers: (0..config.layers).map(layer).collect::<Result<_>>()?,
            logits: floats(OUTPUTS)?,
        })
    }
}

impl Traffic {
    fn new(tokens: usize, numbers: usize, card: &Card) -> Result<Self> {
        Ok(Self {
            indices: Crossing::new(card, numbers)?,
            shared: Crossing::new(card, 0)?,
            row_sums: card.room(0)?,
            logits: card.host_room(tokens * OUTPUTS)?,
            slopes: Crossing::new(card, tokens * OUTPUTS)?,
            done: card.event()?,
        })
    }

    /// Starts sending what a pass is about.
    pub(super) fn send(&mut self, card: &Card, indices: &Indices) -> Result<Sent> {
        self.indices.send(card, indices.numbers.iter().copied())?;
        // The parts lie behind one another, see `Indices::numbers`.
        let there = &self.indices.there;
        Ok(Sent {
            ids: there.at(0),
            positions: there.at(indices.tokens),
            segments: there.at(2 * indices.tokens),
            starts: there.at(3 * indices.tokens),
            tiles: there.at(3 * indices.tokens + indices.windows + 1),
        })
    }

    /// Starts sending which tokens share rows of `hidden` numbers.
    pub(super) fn send_rows(&mut self, card: &Card, shared: &SharedRows, hidden: usize) -> Result<SentRows> {
        if !self.shared.holds(shared.len()) {
            self.shared = Crossing::new(card, shared.len().next_multiple_of(4096))?;
        }
        let sums = shared.pieces.len() * hidden;
        if sums > self.row_sums.len() {
            self.row_sums = card.room(0)?;
            self.row_sums = card.room(sums.next_multiple_of(1 << 20))?;
        }
        self.shared.send(card, shared.numbers())?;
        let there = &self.shared.there;
        Ok(SentRows {
            order: there.at(0),
            pieces: there.at(shared.order.len()),
            targets: there.at(shared.order.len() + 2 * shared.pieces.len()),
            sums: self.row_sums.address(),
        })
    }

    /// Waits for the logits of so many tokens, and for everything before them.
    pub(super) fn fetch_logits(
        &mut self,
        card: &Card,
        logits: &Memory<f32>,
        tokens: usize,
    ) -> Result<&[f32]> {
        let fetched = &mut card.check(self.logits.as_mut_slice())?[..OUTPUTS * tokens];
        card.fetch(logits, fetched)?;
        card.check(self.done.record(&card.stream))?;
        card.check(self.done.synchronize())?;
        Ok(fetched)
    }

    /// Starts sending the gradients of the logits. Returns where they are.
    pub(super) fn send_slopes(&mut self, card: &Card, slopes: &[f32]) -> Result<Address> {
        self.slopes.send(card, slopes.iter().copied())?;
        Ok(self.slopes.there.address())
    }
}
