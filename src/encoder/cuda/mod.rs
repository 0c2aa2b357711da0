//! The encoder on CUDA cards: packed windows, half precision, and kernels of our own between the products.
//!
//! ```text
//! ids, positions, segments -> embed (tables, normalise)
//!   per layer:  product (query, key, value + bias) -> attention, window by window -> product
//!               -> add_norm (bias, residual, normalise) -> product -> bias_gelu -> product -> add_norm
//!   the states, or project -> a few numbers for each token
//! ```
//!
//! Nothing is padded and nothing masked. Sums, softmax, GELU and normalisation are f32 in every type, and so is the state that each
//! residual starts from. The bits of a window do not depend on what else is in its batch.

mod backprop;
mod card;
mod product;
mod workspace;

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::cuda::cudarc::driver::{CudaFunction, PushKernelArg};

pub(crate) use self::backprop::{Backprop, Model};
pub(super) use self::card::look_for;
use self::card::{Card, Memory};
use self::product::{Blas, Product};
use self::workspace::{Indices, Lane, Places, Rooms};
use super::tables::Tables;
use super::{Cards, Precision, Projection, Tap, WindowRows, layer};
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::Weights;
use crate::encoder::batch::Batch;
use crate::encoder::error::{Error, Result};

/// Queries of a window that a block of the attention kernel answers.
const QUERIES: usize = 64;

/// Threads of a warp, and warps that work on one token each in a block.
const WARP: u32 = 32;
const WARPS: u32 = 4;

/// Threads of a block that works number by number.
const THREADS: u32 = 256;

/// The most tokens in one pass: beyond it nothing gets faster.
const MOST_TOKENS: usize = 65_536;

/// The share of the free memory that passes may fill.
const SHARE_OF_MEMORY: f64 = 0.8;

/// Passes that may be under way on a card: while it runs one, the host sees to what goes before and after another.
const LANES: usize = 2;

/// The same model on one or more cards: each batch goes to one that is free.
pub(super) struct Engines {
    /// At least one.
    engines: Vec<Engine>,
    turn: AtomicUsize,
}

impl Engines {
    /// Loads a model onto cards; `None` if one of them has no kernels for it.
    pub(super) fn load(
        config: &EncoderConfig,
        weights: &Weights,
        cards: Cards,
        precision: Precision,
        projection: Option<&Projection>,
    ) -> Result<Option<Self>> {
        let mut engines = Vec::with_capacity(cards.count());
        for number in cards.numbers() {
            match Engine::load(config, weights, number, precision, projection)? {
                Some(engine) => engines.push(engine),
                None => return Ok(None),
            }
        }
        Ok(Some(Self { engines, turn: AtomicUsize::new(0) }))
    }

    pub(super) fn config(&self) -> &EncoderConfig {
        &self.engines[0].config
    }

    pub(super) fn precision(&self) -> Precision {
        self.engines[0].precision
    }

    /// The cards.
    pub(super) fn describe(&self) -> String {
        let cards: Vec<String> = self.engines.iter().map(|engine| engine.card.describe()).collect();
        cards.join(", ")
    }

    /// How many batches are under way at the same time.
    pub(super) fn lanes(&self) -> usize {
        self.engines.len() * LANES
    }

    /// Tokens that suit one pass.
    pub(super) fn batch_tokens(&self) -> usize {
        let limits = self.engines.iter().map(|engine| engine.limit.load(Ordering::Relaxed));
        limits.min().unwrap_or(MOST_TOKENS)
    }

    /// What a person should know about how it ran.
    pub(super) fn notes(&self) -> Vec<String> {
        let cut = |engine: &Engine| {
            let limit = engine.limit.load(Ordering::Relaxed);
            let name = &engine.card.name;
            (limit < engine.first_limit).then(|| {
                format!("{name} ran out of memory and went on with at most {limit} tokens at a time")
            })
        };
        self.engines.iter().filter_map(cut).collect()
    }

    /// The rows of every window, of all its tokens.
    pub(super) fn forward(&self, batch: &Batch, tap: Option<&mut Tap>) -> Result<Vec<WindowRows>> {
        // A card with nothing to do comes before one that is busy.
        let lanes = || {
            (0..LANES).flat_map(|lane| self.engines.iter().map(move |engine| (engine, &engine.lanes[lane])))
        };
        for (engine, lane) in lanes() {
            if let Ok(mut lane) = lane.try_lock() {
                return engine.forward(&mut lane, batch, tap);
            }
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.lanes();
        let (engine, lane) = lanes().nth(turn).unwrap_or((&self.engines[0], &self.engines[0].lanes[0]));
        let mut held = lane.lock().unwrap_or_else(|poisoned| {
            // A pass that panicked may have left work under way in its memory.
            let mut held = poisoned.into_inner();
            let _turn = engine.card.turn();
            let _ = engine.card.finish();
            held.clear();
            lane.clear_poison();
            held
        });
        engine.forward(&mut held, batch, tap)
    }
}

/// An encoder on one card.
struct Engine {
    config: EncoderConfig,
    precision: Precision,
    /// The tables on the host: to check ids against.
    tables: Tables,
    embeddings: Embeddings,
    layers: Vec<Layer>,
    projection: Option<Projected>,
    kernels: Kernels,
    lanes: [Mutex<Lane>; LANES],
    /// Tokens that a pass may have, now and at first.
    limit: AtomicUsize,
    first_limit: usize,
    /// Last, so that it is dropped after everything that lies in its memory.
    card: Card,
}

type Layer = layer::Layer<Product, Norm>;

/// The tables on the card.
struct Embeddings {
    words: Memory<u8>,
    positions: Memory<u8>,
    segments: Option<Memory<u8>>,
    norm: Norm,
}

struct Norm {
    weight: Memory<f32>,
    bias: Memory<f32>,
}

/// A projection on the card.
struct Projected {
    weight: Memory<f32>,
    bias: Memory<f32>,
    outputs: usize,
}

/// The kernels that suit the model's size and type.
struct Kernels {
    embed: CudaFunction,
    attention: CudaFunction,
    add_norm: CudaFunction,
    bias_gelu: CudaFunction,
    project: CudaFunction,
}

/// What kernels for a type are called.
fn kind(precision: Precision) -> &'static str {
    match precision {
        Precision::F16 => "f16",
        Precision::Bf16 => "bf16",
        Precision::F32 | Precision::Tf32 | Precision::Int8 => "float",
    }
}

/// The size of rows that a model takes, by which kernels are called.
fn quads(config: &EncoderConfig) -> usize {
    ROW_SIZES.into_iter().find(|quads| config.hidden <= quads * NUMBERS_OF_A_QUAD).unwrap_or(0)
}

/// Whether there are kernels for the model's shape on this card.
fn suits(config: &EncoderConfig, card: &Card) -> Result<bool> {
    let largest = ROW_SIZES[ROW_SIZES.len() - 1] * NUMBERS_OF_A_QUAD;
    let shape = HEAD_WIDTHS.contains(&config.head_width()) && config.hidden <= largest;
    Ok(shape && config.inner.is_multiple_of(8) && card.has_matrix_units()?)
}

impl Kernels {
    fn load(card: &Card, config: &EncoderConfig, precision: Precision) -> Result<Self> {
        let (kind, quads) = (kind(precision), quads(config));
        let [embed, attention, add_norm, bias_gelu, project] = card.kernels([
            format!("embed_{kind}_{quads}"),
            format!("attention_{kind}_{}", config.head_width()),
            format!("add_norm_{kind}_{quads}"),
            format!("bias_gelu_{kind}"),
            "project".into(),
        ])?;
        Ok(Self { embed, attention, add_norm, bias_gelu, project })
    }
}

/// Sizes of rows that kernels exist for, in units of what a warp loads at a time.
const ROW_SIZES: [usize; 3] = [3, 6, 8];
const NUMBERS_OF_A_QUAD: usize = 128;

/// Widths of heads that attention kernels exist for.
const HEAD_WIDTHS: [usize; 2] = [32, 64];

impl Engine {
    /// Loads a model onto a card; `None` if there are no kernels for it.
    fn load(
        config: &EncoderConfig,
        weights: &Weights,
        number: usize,
        precision: Precision,
        projection: Option<&Projection>,
    ) -> Result<Option<Self>> {
        let card = Card::open(number)?;
        if !suits(config, &card)? {
            return Ok(None);
        }
        let (names, hidden) = (config.names, config.hidden);
        let prefix = weights.prefix_of(names.words)?;
        let blas = Blas::open(&card, precision)?;
        let norm = |module: &str| -> Result<Norm> {
            let (weight, bias) = weights.norm(module, hidden)?;
            Ok(Norm { weight: card.upload(&weight)?, bias: card.upload(&bias)? })
        };
        let linear = |modules: &[String], rows: usize, columns: usize| -> Result<Product> {
            let mut weight = Vec::with_capacity(modules.len() * rows * columns);
            let mut bias = Vec::with_capacity(modules.len() * rows);
            for module in modules {
                weight.extend(weights.matrix(&format!("{module}.weight"), rows, columns)?);
                bias.extend(weights.vector(&[format!("{module}.bias")], rows)?);
            }
            // Only attention takes what a product leaves as it is; the other kernels add the bias themselves.
            Product::load(&card, &blas, (&weight, &bias), columns, modules.len() > 1)
        };
        let table = |module: &str, rows: usize| {
            card.upload_as(precision, &weights.matrix(&format!("{prefix}{module}.weight"), rows, hidden)?)
        };
        let layers = Layer::load_all(config, weights, &prefix, linear, norm)?;
        let embeddings = Embeddings {
            words: table(names.words, config.vocabulary)?,
            positions: table(names.positions, config.positions)?,
            segments: match config.segments {
                0 => None,
                rows => Some(table(names.segments, rows)?),
            },
            norm: norm(&format!("{prefix}{}", names.embedding_norm))?,
        };
        let outputs = projection.map(Projection::outputs);
        let projection = match projection {
            None => None,
            Some(projection) => Some(Projected {
                weight: card.upload(projection.weight())?,
                bias: card.upload(projection.bias())?,
                outputs: projection.outputs(),
            }),
        };
        let kernels = Kernels::load(&card, config, precision)?;
        // The weights have to be there before other threads start work that reads them.
        card.finish()?;
        let room = (card.free()? as f64 * SHARE_OF_MEMORY) as usize / LANES;
        let limit = (room / Rooms::bytes_per_token(config, precision, outputs)).clamp(QUERIES, MOST_TOKENS);
        Ok(Some(Self {
            tables: Tables::load(weights, &prefix, config)?,
            config: config.clone(),
            precision,
            embeddings,
            layers,
            projection,
            kernels,
            lanes: Default::default(),
            limit: AtomicUsize::new(limit),
            first_limit: limit,
            card,
        }))
    }

    /// The rows of every window, of all its tokens.
    fn forward(&self, lane: &mut Lane, batch: &Batch, mut tap: Option<&mut Tap>) -> Result<Vec<WindowRows>> {
        self.tables.check(batch)?;
        let windows: Vec<Range<usize>> = batch.ranges().collect();
        let mut rows = Vec::with_capacity(windows.len());
        while rows.len() < windows.len() {
            let limit = self.limit.load(Ordering::Relaxed);
            let rest = &windows[rows.len()..];
            let fits = |window: &&Range<usize>| window.end - rest[0].start <= limit;
            // Whoever looks at the states wants those of all windows together.
            let count = if tap.is_some() { rest.len() } else { rest.iter().take_while(fits).count().max(1) };
            let together = &rest[..count];
            match self.run(lane, batch, together, tap.as_deref_mut()) {
                Err(Error::CardTooSmall { .. }) if self.clear_idle_lanes() => {}
                // Fewer tokens at a time take less memory: somebody else may be using the card, too.
                Err(Error::CardTooSmall { .. }) if together.len() > 1 => {
                    let tokens = together[together.len() - 1].end - together[0].start;
                    self.limit.fetch_min(tokens / 2, Ordering::Relaxed);
                }
                run => rows.extend(run?),
            }
        }
        Ok(rows)
    }

    /// Gives back the memory of lanes that nobody uses at the moment. Says whether there was any.
    fn clear_idle_lanes(&self) -> bool {
        let _turn = self.card.turn();
        let mut cleared = false;
        for lane in &self.lanes {
            cleared |= lane.try_lock().is_ok_and(|mut lane| lane.clear());
        }
        cleared && self.card.finish().is_ok()
    }

    /// Runs some neighbouring windows of a batch.
    fn run(
        &self,
        lane: &mut Lane,
        batch: &Batch,
        windows: &[Range<usize>],
        tap: Option<&mut Tap>,
    ) -> Result<Vec<WindowRows>> {
        let indices = Indices::of(batch, windows, &self.config, QUERIES);
        let rooms = self.queue_up(lane, &indices, tap)?;
        // Other passes may be queued up now, whose end nobody waits for here.
        let (numbers, width) = rooms.rows(indices.tokens, &self.card)?;
        let first = windows.first().map_or(0, |window| window.start);
        let own = |window: &Range<usize>| {
            let rows = window.start - first..window.end - first;
            WindowRows::complete(width, numbers[rows.start * width..rows.end * width].to_vec())
        };
        Ok(windows.iter().map(own).collect())
    }

    /// Starts everything from the indices on the host to the rows on the host.
    fn queue_up<'a>(
        &self,
        lane: &'a mut Lane,
        indices: &Indices,
        tap: Option<&mut Tap>,
    ) -> Result<&'a mut Rooms> {
        // A recording takes in whatever comes to the queue meanwhile, and ends when somebody waits for the whole queue.
        let _turn = self.card.turn();
        self.queue_up_in_turn(lane, indices, tap).inspect_err(|_| {
            // What was started reads and writes memory that the next pass would use.
            let _ = self.card.finish();
        })
    }

    fn queue_up_in_turn<'a>(
        &self,
        lane: &'a mut Lane,
        indices: &Indices,
        tap: Option<&mut Tap>,
    ) -> Result<&'a mut Rooms> {
        let card = &self.card;
        let rooms = lane.room_for(indices, card, &self.config, self.precision, self.outputs())?;
        rooms.send(indices, card)?;
        match tap {
            None => rooms.start(indices, card, |at| {
                // SAFETY: there is room for these indices, they are on their way, and they have been checked against the tables.
                unsafe { self.start(at, indices, &mut || Ok(())) }
            })?,
            Some(tap) => {
                let at = rooms.places(indices);
                let mut show = || {
                    tap.hidden_states.push(rooms.state(indices.tokens, card, &self.config)?);
                    Ok(())
                };
                // SAFETY: as above.
                unsafe { self.start(&at, indices, &mut show)? };
            }
        }
        rooms.fetch(indices.tokens, card)?;
        Ok(rooms)
    }

    /// Numbers that a projection gives for each token, if there is one.
    fn outputs(&self) -> Option<usize> {
        self.projection.as_ref().map(|projection| projection.outputs)
    }

    /// Starts everything between the indices and the rows. `after_layer` is called after the embeddings and after each layer.
    ///
    /// # Safety
    ///
    /// The places hold the indices, these are inside the tables, and there is room for their tokens.
    unsafe fn start(
        &self,
        at: &Places,
        indices: &Indices,
        after_layer: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        let (card, kernels) = (&self.card, &self.kernels);
        let tokens = indices.tokens;
        let (hidden, count) = (self.config.hidden as i32, tokens as i32);
        let epsilon = self.config.epsilon as f32;
        let tables = &self.embeddings;
        let (words, positions) = (tables.words.address(), tables.positions.address());
        let segments = tables.segments.as_ref().map_or(0, Memory::address);
        let (weight, bias) = (tables.norm.weight.address(), tables.norm.bias.address());
        // SAFETY: these are the kernel's arguments; rows of the tables by the caller's promise, the rest by the workspace's size.
        unsafe {
            card.launch(&kernels.embed, by_token(tokens), (WARP, WARPS), |launch| {
                launch.arg(&at.ids).arg(&at.positions).arg(&at.segments);
                launch.arg(&words).arg(&positions).arg(&segments).arg(&weight).arg(&bias);
                launch.arg(&epsilon).arg(&hidden).arg(&count).arg(&at.residual).arg(&at.copy);
            })?;
        }
        after_layer()?;
        let heads = self.config.heads as i32;
        // exp(x) is 2 to the power of x * log2(e).
        let scale = std::f32::consts::LOG2_E / (self.config.head_width() as f32).sqrt();
        let attention_threads = if at.copy == 0 { QUERIES as u32 } else { WARPS * WARP };
        let fours = (tokens * self.config.inner / 4) as u64;
        let by_four = (fours.div_ceil(u64::from(THREADS)) as u32, 1);
        let inner = self.config.inner as u32;
        for layer in &self.layers {
            // SAFETY: products and kernels read and write `tokens` rows of places that are as wide as the model makes them.
            unsafe {
                layer.qkv.forward(card, tokens, at.state, at.wide)?;
                let tiles = (indices.tiles as u32, heads as u32);
                card.launch(&kernels.attention, tiles, (attention_threads, 1), |launch| {
                    launch
                        .arg(&at.wide)
                        .arg(&at.starts)
                        .arg(&at.tiles)
                        .arg(&at.attended)
                        .arg(&heads)
                        .arg(&scale);
                })?;
                layer.attention_out.forward(card, tokens, at.attended, at.delta)?;
                self.add_norm(at, tokens, &layer.attention_out, &layer.attention_norm)?;
                layer.up.forward(card, tokens, at.state, at.wide)?;
                let bias = layer.up.bias();
                card.launch(&kernels.bias_gelu, by_four, (THREADS, 1), |launch| {
                    launch.arg(&at.wide).arg(&bias).arg(&inner).arg(&fours).arg(&at.wide);
                })?;
                layer.down.forward(card, tokens, at.wide, at.delta)?;
                self.add_norm(at, tokens, &layer.down, &layer.output_norm)?;
            }
            after_layer()?;
        }
        let Some(projection) = &self.projection else { return Ok(()) };
        let (weight, bias) = (projection.weight.address(), projection.bias.address());
        let outputs = projection.outputs as i32;
        // SAFETY: as above.
        unsafe {
            card.launch(&kernels.project, by_token(tokens), (WARP, WARPS), |launch| {
                launch.arg(&at.residual).arg(&weight).arg(&bias);
                launch.arg(&hidden).arg(&outputs).arg(&count).arg(&at.projected);
            })
        }
    }

    /// Starts adding what a product left in `delta`, with its bias, to the state, and normalising that.
    ///
    /// # Safety
    ///
    /// The places have room for so many tokens.
    unsafe fn add_norm(&self, at: &Places, tokens: usize, product: &Product, norm: &Norm) -> Result<()> {
        let (hidden, count) = (self.config.hidden as i32, tokens as i32);
        let epsilon = self.config.epsilon as f32;
        let (product_bias, weight, bias) = (product.bias(), norm.weight.address(), norm.bias.address());
        // SAFETY: these are the kernel's arguments; sizes by the caller's promise.
        unsafe {
            self.card.launch(&self.kernels.add_norm, by_token(tokens), (WARP, WARPS), |launch| {
                launch.arg(&at.delta).arg(&product_bias).arg(&weight).arg(&bias).arg(&epsilon);
                launch.arg(&hidden).arg(&count).arg(&at.residual).arg(&at.copy);
            })
        }
    }
}

/// The blocks of a kernel in which each warp takes a token.
fn by_token(tokens: usize) -> (u32, u32) {
    ((tokens as u32).div_ceil(WARPS), 1)
}
