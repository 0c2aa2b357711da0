//! Learning on a CUDA card: forwards with everything kept that the way back needs, the way back, and the step, all where the numbers are.
//!
//! ```text
//! host                                    card
//! indices of a batch                 ->   embeddings, layers, projection
//! the loss and its gradients         <-   logits, two for each token
//! the gradients of the logits        ->   the way back; gradients add up
//! rates of a step                    ->   norm, AdamW
//! the norm                           <-
//! ```
//!
//! The equations are those of [`cpu::Backprop`](crate::encoder::cpu::Backprop), by which it is tested, and dropout leaves out the same
//! numbers. Values, gradients, moments, sums and the gradients of states are f32; products read and write their own type and add up in f32.

mod product;
mod resident;
mod rooms;
mod rows;

use std::ops::Range;

use candle_core::cuda::cudarc::driver::{CudaFunction, PushKernelArg};

use self::product::{Kind, Matrices, Products};
use self::resident::Resident;
use self::rooms::{Kept, Normed, Rooms, Sent, SentRows, Traffic, room_for};
use self::rows::SharedRows;
use super::card::{Address, Card, Memory};
use super::workspace::Indices;
use super::{Cards, Precision, QUERIES, THREADS, WARP, WARPS, by_token, kind, quads, suits};
use crate::checkpoint::config::EncoderConfig;
use crate::encoder::batch::Batch;
use crate::encoder::dropout::{Dropout, Site};
use crate::encoder::error::{Error, Result};
use crate::encoder::places::{Affine, Norm, Numbers, Pass, Places, Slot, Step};

/// What the projection on top gives for each token: kernels are made for two numbers.
const OUTPUTS: usize = 2;

/// Tokens that a block of the row kernels adds up.
const ROWS_OF_SUM: usize = 32;

/// Columns and tokens that a block of the column kernels adds up, and the threads that do.
const COLUMNS: usize = 128;
const ROWS_OF_COLUMNS: usize = 64;
const GROUPS: u32 = 8;

/// Lanes that share a row on the way back through attention in f32.
const SHARERS: u32 = 4;

/// f16 has a narrow range: gradients are multiplied with as much as it bears, and divided again.
const HIGHEST_SCALE: f32 = 65_536.0;

/// Passes without overflow after which a larger scale is tried.
const PATIENCE: u32 = 500;

/// What stands on top of the projection: gets the logits, `[tokens, 2]`, and gives the gradient of each. `None` if it cannot.
pub(crate) type LogitTop<'a> = dyn FnMut(&[f32]) -> Option<Vec<f32>> + 'a;

/// What of the model is the same in all passes.
#[derive(Clone, Copy)]
pub(crate) struct Model<'a> {
    /// The places; the values are those on the card.
    pub(crate) numbers: Numbers<'a>,
    /// The projection on top.
    pub(crate) head: &'a Affine,
}

/// Computes gradients and takes steps on a card.
pub(crate) struct Backprop {
    config: EncoderConfig,
    precision: Precision,
    kernels: Kernels,
    products: Products,
    resident: Resident,
    memory: Option<(Rooms, Traffic)>,
    loss_scale: Option<LossScale>,
    /// Last, so that it is dropped after everything that lies in its memory.
    card: Card,
}

struct Kernels {
    embed: CudaFunction,
    attention: CudaFunction,
    add_norm: CudaFunction,
    activate: CudaFunction,
    project: CudaFunction,
    unproject: CudaFunction,
    unnormalise: CudaFunction,
    unactivate: CudaFunction,
    sum_columns: CudaFunction,
    attention_dots: CudaFunction,
    attention_queries: CudaFunction,
    attention_keys: CudaFunction,
    add_sums: CudaFunction,
    sum_rows: CudaFunction,
    add_rows: CudaFunction,
}

impl Kernels {
    fn load(card: &Card, config: &EncoderConfig, precision: Precision) -> Result<Self> {
        let (kind, quads, head) = (kind(precision), quads(config), config.head_width());
        let [
            embed,
            attention,
            add_norm,
            activate,
            project,
            unproject,
            unnormalise,
            unactivate,
            sum_columns,
            attention_dots,
            attention_queries,
            attention_keys,
            add_sums,
            sum_rows,
            add_rows,
        ] = card.kernels([
            format!("learn_embed_{kind}_{quads}"),
            format!("learn_attention_{kind}_{head}"),
            format!("learn_add_norm_{kind}_{quads}"),
            format!("bias_gelu_{kind}"),
            "project".into(),
            format!("unproject_{quads}"),
            format!("unnormalise_{kind}_{quads}"),
            format!("unactivate_{kind}"),
            format!("sum_columns_{kind}"),
            format!("attention_dots_{kind}"),
            format!("attention_back_queries_{kind}_{head}"),
            format!("attention_back_keys_{kind}_{head}"),
            "add_sums".into(),
            "sum_rows".into(),
            "add_rows".into(),
        ])?;
        Ok(Self {
            embed,
            attention,
            add_norm,
            activate,
            project,
            unproject,
            unnormalise,
            unactivate,
            sum_columns,
            attention_dots,
            attention_queries,
            attention_keys,
            add_sums,
            sum_rows,
            add_rows,
        })
    }
}

/// What f16 needs so that small gradients do not become zero: they are `scale` times as large on their way, and where they overflow the way
/// is gone again with half of it.
struct LossScale {
    scale: f32,
    /// Passes since it was changed.
    steady: u32,
    /// The gradients of one pass, before it is known whether they are good.
    fresh: Memory<f32>,
    found: Memory<u32>,
    find_overflow: CudaFunction,
    add_scaled: CudaFunction,
}

impl LossScale {
    fn new(card: &Card, numbers: usize) -> Result<Self> {
        let [find_overflow, add_scaled] = card.kernels(["find_overflow".into(), "add_scaled".into()])?;
        let (fresh, found) = (card.room(numbers)?, card.room(1)?);
        Ok(Self { scale: HIGHEST_SCALE, steady: 0, fresh, found, find_overflow, add_scaled })
    }

    /// Adds the gradients of a pass to those that are there, and says that it did; not if they overflowed and there is a smaller scale.
    fn take(&mut self, card: &Card, gradients: Address) -> Result<bool> {
        card.clear(&mut self.found)?;
        let (fresh, found, count) = (self.fresh.address(), self.found.address(), self.fresh.len() as u64);
        let blocks = (count.div_ceil(u64::from(THREADS)) as u32, 1);
        // SAFETY: these are the kernel's arguments.
        unsafe {
            card.launch(&self.find_overflow, blocks, (THREADS, 1), |launch| {
                launch.arg(&fresh).arg(&count).arg(&found);
            })?;
        }
        let mut overflow = [0];
        card.fetch(&self.found, &mut overflow)?;
        card.finish()?;
        if overflow[0] > 0 && self.scale > 1.0 {
            self.scale /= 2.0;
            self.steady = 0;
            return Ok(false);
        }
        let factor = 1.0 / self.scale;
        // SAFETY: as above; both arrays have so many numbers.
        unsafe {
            card.launch(&self.add_scaled, blocks, (THREADS, 1), |launch| {
                launch.arg(&fresh).arg(&count).arg(&factor).arg(&gradients);
            })?;
        }
        self.steady += 1;
        if self.steady >= PATIENCE && self.scale < HIGHEST_SCALE {
            self.scale *= 2.0;
            self.steady = 0;
        }
        Ok(true)
    }
}

/// One pass, with everything that its parts ask for.
struct Way<'a> {
    config: &'a EncoderConfig,
    card: &'a Card,
    kernels: &'a Kernels,
    products: &'a mut Products,
    resident: &'a Resident,
    rooms: &'a Rooms,
    places: &'a Places,
    head: &'a Affine,
    pass: &'a Pass<'a>,
    sent: &'a Sent,
    tokens: usize,
    tiles: usize,
    /// Where gradients of numbers are added up.
    gradients: Address,
}

impl Backprop {
    /// Makes room for the numbers of a model on the first of the cards; `None` if it has no kernels for it. `learns` says which slots do.
    pub(crate) fn load(
        config: &EncoderConfig,
        slots: &[Slot],
        learns: impl Fn(&Slot) -> bool,
        cards: Cards,
        precision: Precision,
    ) -> Result<Option<Self>> {
        let card = Card::open(cards.numbers().next().unwrap_or(0))?;
        let numbers = slots.last().map_or(0, |slot| slot.place.end);
        // Places are sent as 32 bits.
        if !suits(config, &card)? || u32::try_from(numbers).is_err() {
            return Ok(None);
        }
        let small = |error| too_small(error, None);
        let loss_scale = (precision == Precision::F16)
            .then(|| LossScale::new(&card, numbers))
            .transpose()
            .map_err(small)?;
        Ok(Some(Self {
            config: config.clone(),
            precision,
            kernels: Kernels::load(&card, config, precision)?,
            products: Products::open(&card, precision).map_err(small)?,
            resident: Resident::new(&card, slots, learns, precision).map_err(small)?,
            memory: None,
            loss_scale,
            card,
        }))
    }

    /// Sets values and moments.
    pub(crate) fn put(&mut self, values: &[f32], moments: [&[f32]; 2]) -> Result<()> {
        self.resident.put(&self.card, values, moments)
    }

    /// Copies the values to the host.
    pub(crate) fn fetch_values(&self, to: &mut [f32]) -> Result<()> {
        self.fetch(&self.resident.values, to)
    }

    /// Copies the gradients that have come together to the host.
    pub(crate) fn fetch_gradients(&self, to: &mut [f32]) -> Result<()> {
        self.fetch(&self.resident.gradients, to)
    }

    /// Copies the optimiser's moments to the host.
    pub(crate) fn fetch_moments(&self, [first, second]: [&mut [f32]; 2]) -> Result<()> {
        self.fetch(&self.resident.first, first)?;
        self.fetch(&self.resident.second, second)
    }

    fn fetch(&self, from: &Memory<f32>, to: &mut [f32]) -> Result<()> {
        self.card.fetch(from, to)?;
        self.card.finish()
    }

    /// Changes the values by the gradients that have come together, and forgets these. Returns their norm; if that is not finite nothing
    /// is changed.
    pub(crate) fn step(&mut self, step: &Step) -> Result<f64> {
        self.resident.step(&self.card, step)
    }

    /// Runs a batch forwards, lets `top` turn logits into their gradients, and adds those of all numbers that learn to the gradients
    /// on the card. Ids are inside the tables.
    pub(crate) fn run(&mut self, model: Model, batch: &Batch, pass: &Pass, top: &mut LogitTop) -> Result<()> {
        let done = self.try_to_run(model, batch, pass, top);
        done.map_err(|error| {
            // What was started reads and writes memory that somebody else may get.
            let _ = self.card.finish();
            too_small(error, Some(batch.tokens()))
        })
    }

    fn try_to_run(&mut self, model: Model, batch: &Batch, pass: &Pass, top: &mut LogitTop) -> Result<()> {
        let Self { config, precision, kernels, products, resident, memory, loss_scale, card } = self;
        let windows: Vec<Range<usize>> = batch.ranges().collect();
        let indices = Indices::of(batch, &windows, config, QUERIES);
        let (rooms, traffic) = room_for(memory, &indices, (card, config, *precision))?;
        let sent = traffic.send(card, &indices)?;
        let (own, tokens) = (resident.gradients.address(), indices.tokens);
        let mut way = Way {
            config,
            card,
            kernels,
            products,
            resident,
            rooms,
            places: model.numbers.places,
            head: model.head,
            pass,
            sent: &sent,
            tokens,
            tiles: indices.tiles,
            gradients: loss_scale.as_ref().map_or(own, |loss_scale| loss_scale.fresh.address()),
        };
        way.forward()?;
        // The card is busy meanwhile.
        let shared = match pass.learns[0] {
            true => {
                let shared = SharedRows::of(batch, config, model.numbers.places);
                let sent = traffic.send_rows(card, &shared, config.hidden)?;
                Some((shared, sent))
            }
            false => None,
        };
        let Some(slopes) = top(traffic.fetch_logits(card, &rooms.logits, tokens)?) else { return Ok(()) };
        let slopes = traffic.send_slopes(card, &slopes)?;
        let shared = shared.as_ref().map(|(shared, sent)| (shared, sent));
        let Some(loss_scale) = loss_scale else { return way.back(slopes, 1.0, shared) };
        loop {
            card.clear(&mut loss_scale.fresh)?;
            way.back(slopes, loss_scale.scale, shared)?;
            if loss_scale.take(card, own)? {
                return Ok(());
            }
        }
    }
}

impl Drop for Backprop {
    fn drop(&mut self) {
        // The card may be copying from memory of the host still. There is nobody to tell of a failure.
        let _ = self.card.finish();
    }
}

/// Says what a card was too small for.
fn too_small(error: Error, tokens: Option<usize>) -> Error {
    match error {
        Error::CardTooSmall { device } => Error::CardTooSmallToLearn { device, tokens },
        error => error,
    }
}

/// What kernels take in place of a dropout: seed, bound and the factor of what is kept.
fn parts(dropout: Option<Dropout>) -> (u32, u32, f32) {
    dropout.map_or((0, 0, 1.0), Dropout::parts)
}

impl Way<'_> {
    /// Where a value is.
    fn value(&self, place: &Range<usize>) -> Address {
        self.resident.value(place.start)
    }

    /// Where a gradient is added up.
    fn gradient(&self, place: &Range<usize>) -> Address {
        self.gradients + (place.start * size_of::<f32>()) as Address
    }

    fn hidden(&self) -> i32 {
        self.config.hidden as i32
    }

    fn count(&self) -> i32 {
        self.tokens as i32
    }

    fn epsilon(&self) -> f32 {
        self.config.epsilon as f32
    }

    fn forward(&mut self) -> Result<()> {
        self.embed()?;
        for layer in 0..self.config.layers {
            self.layer(layer)?;
        }
        let (card, state, logits) = (self.card, self.rooms.residual.address(), self.rooms.logits.address());
        let (weight, bias) = (self.value(&self.head.weight), self.value(&self.head.bias));
        let (hidden, outputs, count) = (self.hidden(), OUTPUTS as i32, self.count());
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens.
        unsafe {
            card.launch(&self.kernels.project, by_token(self.tokens), (WARP, WARPS), |launch| {
                launch.arg(&state).arg(&weight).arg(&bias);
                launch.arg(&hidden).arg(&outputs).arg(&count).arg(&logits);
            })
        }
    }

    fn embed(&self) -> Result<()> {
        let Self { card, places, rooms, sent, .. } = self;
        let (words, positions) = (self.value(&places.words), self.value(&places.positions));
        let segments = places.segments.as_ref().map_or(0, |place| self.value(place));
        let norm = &places.embedding_norm;
        let (weight, bias) = (self.value(&norm.weight), self.value(&norm.bias));
        let (epsilon, hidden, count) = (self.epsilon(), self.hidden(), self.count());
        let (seed, bound, kept) = parts(self.pass.dropout_at(Site::Embeddings));
        let (rows, factors) = (rooms.embedding.rows.address(), rooms.embedding.factors.address());
        let (residual, state) = (rooms.residual.address(), self.state_after(None));
        // SAFETY: these are the kernel's arguments; ids are inside the tables, and the rooms hold so many tokens.
        unsafe {
            card.launch(&self.kernels.embed, by_token(self.tokens), (WARP, WARPS), |launch| {
                launch.arg(&sent.ids).arg(&sent.positions).arg(&sent.segments);
                launch.arg(&words).arg(&positions).arg(&segments).arg(&weight).arg(&bias);
                launch.arg(&epsilon).arg(&hidden).arg(&count).arg(&seed).arg(&bound).arg(&kept);
                launch.arg(&rows).arg(&factors).arg(&residual).arg(&state);
            })
        }
    }

    /// Where the state after a layer, or after the embeddings, goes in the type of the products: to the next layer's input.
    fn state_after(&self, layer: Option<usize>) -> Address {
        let next = layer.map_or(0, |layer| layer + 1);
        self.rooms.layers.get(next).map_or(0, |kept| kept.input.address())
    }

    fn layer(&mut self, number: usize) -> Result<()> {
        let (rooms, layer) = (self.rooms, &self.places.layers[number]);
        let kept = &rooms.layers[number];
        let bias = self.resident.factor(layer.qkv.bias.start);
        self.multiply(&layer.qkv, kept.input.address(), bias, kept.qkv.address())?;
        self.attend(number, kept)?;
        let delta = rooms.delta.address();
        self.multiply(&layer.attention_out, kept.attended.address(), 0, delta)?;
        let dropout = self.pass.dropout_at(Site::Attention(number));
        let (linear, norm) = (&layer.attention_out, &layer.attention_norm);
        self.add_norm(linear, norm, dropout, &kept.middle_norm, kept.middle.address())?;
        self.multiply(&layer.up, kept.middle.address(), 0, kept.inner.address())?;
        self.activate(&layer.up, kept)?;
        self.multiply(&layer.down, kept.active.address(), 0, delta)?;
        let dropout = self.pass.dropout_at(Site::Output(number));
        let (linear, norm) = (&layer.down, &layer.output_norm);
        self.add_norm(linear, norm, dropout, &kept.output_norm, self.state_after(Some(number)))
    }

    /// Starts a linear module's product.
    fn multiply(&mut self, affine: &Affine, from: Address, bias: Address, to: Address) -> Result<()> {
        let left = self.resident.factor(affine.weight.start);
        let shape = (affine.inputs, affine.outputs);
        let matrices = Matrices { shape, left, right: from, bias, result: to };
        // SAFETY: the rooms hold so many tokens, each as wide as the module makes them.
        unsafe { self.products.start(self.card, Kind::Forward, self.tokens, &matrices) }
    }

    /// Starts a linear module's product on the way back: from the gradients of its outputs to those of its inputs.
    fn multiply_back(&mut self, kind: Kind, affine: &Affine, from: Address, to: Address) -> Result<()> {
        let left = self.resident.factor(affine.weight.start);
        let shape = (affine.inputs, affine.outputs);
        let matrices = Matrices { shape, left, right: from, bias: 0, result: to };
        // SAFETY: as forwards.
        unsafe { self.products.start(self.card, kind, self.tokens, &matrices) }
    }

    /// Starts adding up the gradients of a linear module's weights.
    fn learn(&mut self, affine: &Affine, inputs: Address, output_gradients: Address) -> Result<()> {
        let shape = (affine.inputs, affine.outputs);
        let result = self.gradient(&affine.weight);
        let matrices = Matrices { shape, left: inputs, right: output_gradients, bias: 0, result };
        // SAFETY: as forwards; gradients of weights lie as the weights do.
        unsafe { self.products.start(self.card, Kind::Learn, self.tokens, &matrices) }
    }

    fn scale(&self) -> f32 {
        1.0 / (self.config.head_width() as f32).sqrt()
    }

    fn attend(&self, number: usize, kept: &Kept) -> Result<()> {
        let (qkv, to, logs) = (kept.qkv.address(), kept.attended.address(), kept.logs.address());
        let (heads, tokens) = (self.config.heads as i32, self.tokens as u32);
        let scale = self.scale() * std::f32::consts::LOG2_E;
        let (seed, bound, factor) = parts(self.pass.dropout_at(Site::Probabilities(number)));
        let threads = if self.in_f32() { QUERIES as u32 } else { WARPS * WARP };
        // SAFETY: these are the kernel's arguments; tiles cover the windows.
        unsafe {
            self.card.launch(&self.kernels.attention, self.tiles(), (threads, 1), |launch| {
                launch
                    .arg(&qkv)
                    .arg(&self.sent.starts)
                    .arg(&self.sent.tiles)
                    .arg(&to)
                    .arg(&heads)
                    .arg(&scale);
                launch.arg(&tokens).arg(&seed).arg(&bound).arg(&factor).arg(&logs);
            })
        }
    }

    fn tiles(&self) -> (u32, u32) {
        (self.tiles as u32, self.config.heads as u32)
    }

    fn in_f32(&self) -> bool {
        self.resident.is_f32()
    }

    fn add_norm(
        &self,
        linear: &Affine,
        norm: &Norm,
        dropout: Option<Dropout>,
        normed: &Normed,
        state: Address,
    ) -> Result<()> {
        let (delta, residual) = (self.rooms.delta.address(), self.rooms.residual.address());
        let (shift, weight, bias) =
            (self.value(&linear.bias), self.value(&norm.weight), self.value(&norm.bias));
        let (epsilon, hidden, count) = (self.epsilon(), self.hidden(), self.count());
        let (seed, bound, kept) = parts(dropout);
        let (rows, factors) = (normed.rows.address(), normed.factors.address());
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens.
        unsafe {
            self.card.launch(&self.kernels.add_norm, by_token(self.tokens), (WARP, WARPS), |launch| {
                launch.arg(&delta).arg(&shift).arg(&weight).arg(&bias).arg(&epsilon).arg(&hidden).arg(&count);
                launch.arg(&seed).arg(&bound).arg(&kept);
                launch.arg(&rows).arg(&factors).arg(&residual).arg(&state);
            })
        }
    }

    fn activate(&self, up: &Affine, kept: &Kept) -> Result<()> {
        let (from, to, bias) = (kept.inner.address(), kept.active.address(), self.value(&up.bias));
        let (inner, fours) = (up.outputs as u32, (self.tokens * up.outputs / 4) as u64);
        let blocks = (fours.div_ceil(u64::from(THREADS)) as u32, 1);
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens.
        unsafe {
            self.card.launch(&self.kernels.activate, blocks, (THREADS, 1), |launch| {
                launch.arg(&from).arg(&bias).arg(&inner).arg(&fours).arg(&to);
            })
        }
    }

    /// From the gradients of the logits, `scale` times, to those of all numbers that learn.
    fn back(&mut self, slopes: Address, scale: f32, rows: Option<(&SharedRows, &SentRows)>) -> Result<()> {
        self.unproject(slopes, scale)?;
        let lowest = self.pass.lowest();
        for number in (0..self.config.layers).rev() {
            if number + 1 < lowest {
                return Ok(());
            }
            // The gradients of the input are nobody's business below the lowest layer that learns.
            self.layer_back(number, number + 1 > lowest)?;
        }
        match rows {
            Some((shared, sent)) => self.embed_back(shared, sent),
            None => Ok(()),
        }
    }

    fn unproject(&self, slopes: Address, scale: f32) -> Result<()> {
        let (states, weight) = (self.rooms.residual.address(), self.value(&self.head.weight));
        let (gradients, sums) = (self.rooms.gradients.address(), self.rooms.sums.address());
        let (hidden, count) = (self.hidden(), self.count());
        let blocks = self.tokens.div_ceil(ROWS_OF_SUM);
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens, and sums for each block.
        unsafe {
            self.card.launch(&self.kernels.unproject, (blocks as u32, 1), (WARP, WARPS), |launch| {
                launch.arg(&states).arg(&weight).arg(&slopes).arg(&scale).arg(&hidden).arg(&count);
                launch.arg(&gradients).arg(&sums);
            })?;
        }
        // Weight and bias lie side by side.
        let width = OUTPUTS * (self.config.hidden + 1);
        self.add_sums(blocks, width, (self.gradient(&self.head.weight), width), 0)
    }

    /// Starts adding the sums that blocks have left to gradients: the first ones to one place, the rest to another. Null for nowhere.
    fn add_sums(
        &self,
        blocks: usize,
        width: usize,
        (first, split): (Address, usize),
        second: Address,
    ) -> Result<()> {
        let sums = self.rooms.sums.address();
        let (rows, columns, split) = (blocks as i32, width as i32, split as i32);
        let grid = ((width as u32).div_ceil(WARP), 1);
        // SAFETY: these are the kernel's arguments; the blocks before have left so many sums.
        unsafe {
            self.card.launch(&self.kernels.add_sums, grid, (WARP, GROUPS), |launch| {
                launch.arg(&sums).arg(&rows).arg(&columns).arg(&first).arg(&split).arg(&second);
            })
        }
    }

    fn layer_back(&mut self, number: usize, needs_input: bool) -> Result<()> {
        let (rooms, layer) = (self.rooms, &self.places.layers[number]);
        let kept = &rooms.layers[number];
        let learns = self.pass.learns[number + 1];
        let state = rooms.gradients.address();
        let (delta, wide, attended) = (rooms.delta.address(), rooms.wide.address(), rooms.attended.address());

        let dropout = self.pass.dropout_at(Site::Output(number));
        let linear = Some((&layer.down, dropout));
        self.unnormalise(&layer.output_norm, &kept.output_norm, None, linear, learns)?;
        if learns {
            self.learn(&layer.down, kept.active.address(), delta)?;
        }
        self.multiply_back(Kind::Back, &layer.down, delta, wide)?;
        self.unactivate(&layer.up, kept, learns)?;
        if learns {
            self.learn(&layer.up, kept.middle.address(), wide)?;
        }
        self.multiply_back(Kind::BackOnto, &layer.up, wide, state)?;

        let dropout = self.pass.dropout_at(Site::Attention(number));
        let linear = Some((&layer.attention_out, dropout));
        self.unnormalise(&layer.attention_norm, &kept.middle_norm, None, linear, learns)?;
        if learns {
            self.learn(&layer.attention_out, kept.attended.address(), delta)?;
        }
        self.multiply_back(Kind::Back, &layer.attention_out, delta, attended)?;
        self.attend_back(number, kept)?;
        if learns {
            self.sum_columns(&layer.qkv)?;
            self.learn(&layer.qkv, kept.input.address(), wide)?;
        }
        if needs_input {
            self.multiply_back(Kind::BackOnto, &layer.qkv, wide, state)?;
        }
        Ok(())
    }

    /// From the gradients of a normalisation's result, behind the dropout `before`, to those of what was normalised; and behind the dropout of
    /// the linear module that was added there, to those of what the module gave.
    fn unnormalise(
        &self,
        norm: &Norm,
        normed: &Normed,
        before: Option<Dropout>,
        linear: Option<(&Affine, Option<Dropout>)>,
        learns: bool,
    ) -> Result<()> {
        let (gradients, sums) = (self.rooms.gradients.address(), self.rooms.sums.address());
        let (rows, factors) = (normed.rows.address(), normed.factors.address());
        let (weight, hidden, count) = (self.value(&norm.weight), self.hidden(), self.count());
        let (seed, bound, kept) = parts(before);
        let (after_seed, after_bound, after_kept) = parts(linear.and_then(|(_, after)| after));
        let delta = linear.map_or(0, |_| self.rooms.delta.address());
        let blocks = self.tokens.div_ceil(ROWS_OF_SUM);
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens, and sums for each block.
        unsafe {
            self.card.launch(&self.kernels.unnormalise, (blocks as u32, 1), (WARP, WARPS), |launch| {
                launch.arg(&gradients).arg(&rows).arg(&factors).arg(&weight).arg(&hidden).arg(&count);
                launch.arg(&seed).arg(&bound).arg(&kept);
                launch.arg(&after_seed).arg(&after_bound).arg(&after_kept);
                launch.arg(&delta).arg(&sums);
            })?;
        }
        if !learns {
            return Ok(());
        }
        // Weight and bias of a normalisation lie side by side.
        let second = linear.map_or(0, |(linear, _)| self.gradient(&linear.bias));
        let hidden = self.config.hidden;
        self.add_sums(blocks, 3 * hidden, (self.gradient(&norm.weight), 2 * hidden), second)
    }

    fn unactivate(&self, up: &Affine, kept: &Kept, learns: bool) -> Result<()> {
        let (gradients, inner, bias) =
            (self.rooms.wide.address(), kept.inner.address(), self.value(&up.bias));
        let (width, count, sums) = (up.outputs as i32, self.count(), self.rooms.sums.address());
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens, and sums for each block.
        unsafe {
            self.card.launch(&self.kernels.unactivate, self.by_column(up), (WARP, GROUPS), |launch| {
                launch.arg(&gradients).arg(&inner).arg(&bias).arg(&width).arg(&count).arg(&sums);
            })?;
        }
        if learns { self.add_column_sums(up) } else { Ok(()) }
    }

    /// Starts adding up the gradients of a linear module's bias, from those of its outputs.
    fn sum_columns(&self, linear: &Affine) -> Result<()> {
        let (gradients, sums) = (self.rooms.wide.address(), self.rooms.sums.address());
        let (width, count) = (linear.outputs as i32, self.count());
        // SAFETY: as above.
        unsafe {
            self.card.launch(
                &self.kernels.sum_columns,
                self.by_column(linear),
                (WARP, GROUPS),
                |launch| {
                    launch.arg(&gradients).arg(&width).arg(&count).arg(&sums);
                },
            )?;
        }
        self.add_column_sums(linear)
    }

    fn add_column_sums(&self, linear: &Affine) -> Result<()> {
        let (_, blocks) = self.by_column(linear);
        self.add_sums(blocks as usize, linear.outputs, (self.gradient(&linear.bias), linear.outputs), 0)
    }

    fn by_column(&self, linear: &Affine) -> (u32, u32) {
        (linear.outputs.div_ceil(COLUMNS) as u32, self.tokens.div_ceil(ROWS_OF_COLUMNS) as u32)
    }

    /// From the gradients of what attention gave to those of query, key and value.
    fn attend_back(&self, number: usize, kept: &Kept) -> Result<()> {
        let rooms = self.rooms;
        let (results, gradients, dots) =
            (kept.attended.address(), rooms.attended.address(), rooms.dots.address());
        let (qkv, logs, to) = (kept.qkv.address(), kept.logs.address(), rooms.wide.address());
        let (heads, width, tokens) =
            (self.config.heads as i32, self.config.head_width() as i32, self.tokens as u32);
        let (seed, bound, factor) = parts(self.pass.dropout_at(Site::Probabilities(number)));
        let (scale, scale_to_2) = (self.scale(), self.scale() * std::f32::consts::LOG2_E);
        let each = (self.tokens * self.config.heads).div_ceil(THREADS as usize) as u32;
        // SAFETY: these are the kernel's arguments; the rooms hold so many tokens.
        unsafe {
            self.card.launch(&self.kernels.attention_dots, (each, 1), (THREADS, 1), |launch| {
                launch.arg(&results).arg(&gradients).arg(&heads).arg(&width).arg(&tokens).arg(&dots);
            })?;
        }
        let threads = if self.in_f32() { QUERIES as u32 * SHARERS } else { WARPS * WARP };
        for kernel in [&self.kernels.attention_queries, &self.kernels.attention_keys] {
            // SAFETY: as above; tiles cover the windows.
            unsafe {
                self.card.launch(kernel, self.tiles(), (threads, 1), |launch| {
                    launch.arg(&qkv).arg(&gradients).arg(&logs).arg(&dots);
                    launch.arg(&self.sent.starts).arg(&self.sent.tiles).arg(&to).arg(&heads);
                    launch.arg(&scale).arg(&scale_to_2).arg(&tokens).arg(&seed).arg(&bound).arg(&factor);
                })?;
            }
        }
        Ok(())
    }

    fn embed_back(&self, shared: &SharedRows, sent: &SentRows) -> Result<()> {
        let before = self.pass.dropout_at(Site::Embeddings);
        self.unnormalise(&self.places.embedding_norm, &self.rooms.embedding, before, None, true)?;
        let (rows, hidden, table) = (self.rooms.gradients.address(), self.hidden(), self.gradients);
        let (pieces, targets) = (shared.pieces.len(), shared.targets.len());
        let (piece_count, target_count) = (pieces as i32, targets as i32);
        // SAFETY: these are the kernels' arguments; there is a sum for each piece, and rows are those of the tables.
        unsafe {
            self.card.launch(&self.kernels.sum_rows, by_token(pieces), (WARP, WARPS), |launch| {
                launch.arg(&rows).arg(&sent.order).arg(&sent.pieces).arg(&hidden).arg(&piece_count);
                launch.arg(&sent.sums);
            })?;
            self.card.launch(&self.kernels.add_rows, by_token(targets), (WARP, WARPS), |launch| {
                launch.arg(&sent.sums).arg(&sent.targets).arg(&hidden).arg(&target_count).arg(&table);
            })
        }
    }
}
