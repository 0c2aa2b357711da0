//! The CPU engine: the encoder's equations as a few fused kernels over packed windows.
//!
//! ```text
//! batch -> groups of whole windows, side by side on all cores
//!   per layer:  gemm (query, key, value) -> attention -> gemm -> rows (add, normalise)
//!               -> gemm (+ GELU) -> gemm -> rows (add, normalise)
//!   the states of the rows that are read, or a projection of them
//! ```
//!
//! Every step cuts its own work into pieces, too, and idle threads take them: many windows keep all cores busy one group each,
//! a single window keeps them busy row by row. No piece knows how the rest was cut, so neither batch nor threads show in the bits.
//!
//! [`tensors::Engine`](super::tensors::Engine) computes the same equations with plain tensor operations and is what tests compare with.

mod attention;
mod backprop;
mod gemm;
mod isa;
mod math;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod quantise;
mod rows;
mod simd;
pub mod speed;
#[cfg(test)]
mod tests;
mod times;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::time::Duration;

use rayon::prelude::*;

use self::attention::{Asking, Heads, attend};
pub(crate) use self::backprop::Backprop;
use self::gemm::{Linear, Then};
use self::isa::Isa;
use self::memory::{Block, Idle, Sheet};
use self::quantise::CodedSheet;
pub(super) use self::rows::projector;
use self::rows::{Norm, projector_for};
use self::times::{Stage, Times};
use super::tables::Tables;
use super::{Precision, Projection, Tap, WindowRows, layer};
use crate::checkpoint::config::EncoderConfig;
use crate::checkpoint::weights::{Rows, Weights};
use crate::encoder::batch::Batch;
use crate::encoder::error::Result;

/// Tokens of whole windows that one thread takes at a time: enough rows to be worth a pass over the weights, few enough that their
/// states stay near.
const GROUP_TOKENS: usize = 256;

/// Rows that go from attention to the end of a layer together: 96 are whole tiles of every unit.
const LAYER_ROWS: usize = 96;

/// Rows whose embeddings one thread gathers at a time.
const EMBED_ROWS: usize = 32;

/// An encoder with its weights packed for this processor.
pub(super) struct Engine {
    isa: Isa,
    config: EncoderConfig,
    precision: Precision,
    tables: Tables,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    projection: Option<Projection>,
    times: Times,
    workspaces: Idle<Workspace>,
    scratch: Idle<Scratch>,
}

type Layer = layer::Layer<Linear, Norm>;

/// The intermediate results of one group.
#[derive(Default)]
struct Workspace {
    state: Sheet,
    kept: Sheet,
    qkv: Sheet,
    attended: Sheet,
    codes: CodedSheet,
}

/// The intermediate results of some rows of a group.
#[derive(Default)]
struct Scratch {
    delta: Sheet,
    inner: Sheet,
    codes: CodedSheet,
}

impl Engine {
    /// The vector unit in use.
    pub(super) fn unit(&self) -> &'static str {
        self.isa.name()
    }

    pub(super) fn precision(&self) -> Precision {
        self.precision
    }

    pub(super) fn load(
        config: EncoderConfig,
        weights: &Weights,
        precision: Precision,
        projection: Option<Projection>,
    ) -> Result<Self> {
        Self::load_for(Isa::chosen()?, config, weights, precision, projection)
    }

    fn load_for(
        isa: Isa,
        config: EncoderConfig,
        weights: &Weights,
        precision: Precision,
        projection: Option<Projection>,
    ) -> Result<Self> {
        let names = config.names;
        let prefix = weights.prefix_of(names.words)?;
        let hidden = config.hidden;
        let norm = |module: &str| -> Result<Norm> {
            let (weight, bias) = weights.norm(module, hidden)?;
            Ok(Norm { weight, bias, epsilon: config.epsilon as f32 })
        };
        let linear = |modules: &[String], rows: usize, columns: usize| -> Result<Linear> {
            let mut matrices: Vec<Rows> = Vec::new();
            let mut bias = Vec::new();
            for module in modules {
                matrices.push(weights.table(&format!("{module}.weight"), rows, columns)?);
                bias.extend(weights.vector(&[format!("{module}.bias")], rows)?);
            }
            Ok(Linear::pack(isa, &matrices, &bias, columns, precision == Precision::Int8))
        };
        let layers = Layer::load_all(&config, weights, &prefix, linear, norm)?;
        Ok(Self {
            isa,
            tables: Tables::load(weights, &prefix, &config)?,
            embedding_norm: norm(&format!("{prefix}{}", names.embedding_norm))?,
            layers,
            projection,
            config,
            precision,
            times: Times::default(),
            workspaces: Idle::default(),
            scratch: Idle::default(),
        })
    }

    pub(super) fn config(&self) -> &EncoderConfig {
        &self.config
    }

    pub(super) fn times(&self) -> Vec<(&'static str, Duration)> {
        self.times.read()
    }

    /// The rows of every window: those of the tokens that are read, or all if a tap is there.
    pub(super) fn forward(&self, batch: &Batch, tap: Option<&mut Tap>) -> Result<Vec<WindowRows>> {
        self.tables.check(batch)?;
        let windows: Vec<Range<usize>> = batch.ranges().collect();
        if let Some(tap) = tap {
            // Whoever looks at the states wants all of them, in order.
            let everything = windows.iter().map(|window| vec![window.clone()]).collect::<Vec<_>>();
            return Ok(self.run(batch, &windows, &everything, Some(tap)));
        }
        let read: Vec<Vec<Range<usize>>> =
            windows.iter().zip(&batch.read).map(|(window, read)| kept(window, read)).collect();
        let groups = group(&windows);
        let rows: Vec<Vec<WindowRows>> = groups
            .into_par_iter()
            .with_max_len(1)
            .map(|group| self.run(batch, &windows[group.clone()], &read[group], None))
            .collect();
        Ok(rows.into_iter().flatten().collect())
    }

    /// Runs some neighbouring windows of a batch. `read` are the tokens of each that are read.
    fn run(
        &self,
        batch: &Batch,
        windows: &[Range<usize>],
        read: &[Vec<Range<usize>>],
        tap: Option<&mut Tap>,
    ) -> Vec<WindowRows> {
        self.workspaces.with(|workspace| {
            self.encode(workspace, batch, windows, read, tap);
            self.collect(&workspace.state, windows, read)
        })
    }

    /// Leaves the last layer's states of the tokens that are read in `workspace.state`, one behind the other.
    fn encode(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        windows: &[Range<usize>],
        read: &[Vec<Range<usize>>],
        mut tap: Option<&mut Tap>,
    ) {
        let isa = self.isa;
        let width = self.config.hidden;
        let heads = Heads { count: self.config.heads, width: self.config.head_width() };
        let Workspace { state, kept, qkv, attended, codes } = workspace;
        let first = windows.first().map_or(0, |window| window.start);
        let tokens = windows.last().map_or(0, |window| window.end) - first;
        let all = windows.iter().map(|window| (window, window));
        let some =
            windows.iter().zip(read).flat_map(|(window, read)| read.iter().map(move |read| (window, read)));
        let (all, _) = Asking::lay_out(first, all);
        let (some, rows_read) = Asking::lay_out(first, some);

        let mut watch = self.times.start();
        state.shape(tokens, width);
        let stride = state.stride();
        state.blocks_mut(EMBED_ROWS).enumerate().for_each(|(block, rows)| {
            for (row, out) in rows.chunks_exact_mut(stride).enumerate() {
                self.tables.embed(batch, first + block * EMBED_ROWS + row, &mut out[..width]);
            }
            self.embedding_norm.normalise(isa, rows, stride);
        });
        watch.lap(Stage::Embedding);
        record(&mut tap, state, width);
        for (number, layer) in self.layers.iter().enumerate() {
            layer.qkv.forward(isa, state.whole(), codes, qkv, Then::Nothing);
            watch.lap(Stage::QueryKeyValue);
            if number + 1 < self.layers.len() {
                attend(isa, heads, qkv, &all, (attended, tokens));
            } else {
                // From here on only the tokens that are read matter.
                attend(isa, heads, qkv, &some, (attended, rows_read));
                keep_rows(state, &some, kept, rows_read, width);
                std::mem::swap(state, kept);
            }
            watch.lap(Stage::Attention);
            let blocks = state.rows().div_ceil(LAYER_ROWS).max(1);
            let rows = state.rows().div_ceil(blocks);
            state.blocks_mut(rows).enumerate().for_each(|(block, states)| {
                let start = block * rows;
                let attended = attended.block(start..start + states.len() / stride);
                self.scratch.with(|scratch| self.finish_layer(layer, states, stride, attended, scratch));
            });
            watch = self.times.start();
            record(&mut tap, state, width);
        }
    }

    /// What a layer does after attention, on some rows: small enough a block that everything in between stays in cache.
    fn finish_layer(
        &self,
        layer: &Layer,
        states: &mut [f32],
        stride: usize,
        attended: Block,
        Scratch { delta, inner, codes }: &mut Scratch,
    ) {
        let isa = self.isa;
        let mut watch = self.times.start();
        layer.attention_out.forward(isa, attended, codes, delta, Then::Nothing);
        watch.lap(Stage::AttentionOut);
        layer.attention_norm.add_and_normalise(isa, states, stride, delta.whole());
        watch.lap(Stage::Normalisation);
        layer.up.forward(isa, Block::new(states, stride), codes, inner, Then::Gelu);
        watch.lap(Stage::Up);
        layer.down.forward(isa, inner.whole(), codes, delta, Then::Nothing);
        watch.lap(Stage::Down);
        layer.output_norm.add_and_normalise(isa, states, stride, delta.whole());
        watch.lap(Stage::Normalisation);
    }

    /// What leaves the engine of the states of the tokens that are read.
    fn collect(
        &self,
        state: &Sheet,
        windows: &[Range<usize>],
        read: &[Vec<Range<usize>>],
    ) -> Vec<WindowRows> {
        let width = self.projection.as_ref().map_or(self.config.hidden, Projection::outputs);
        let project = projector_for(self.isa);
        let mut rows = 0..state.rows();
        let window = |(window, read): (&Range<usize>, &Vec<Range<usize>>)| {
            let count: usize = read.iter().map(Range::len).sum();
            let mut numbers = vec![0.0; count * width];
            for (out, row) in numbers.chunks_exact_mut(width).zip(&mut rows) {
                match &self.projection {
                    Some(projection) => project(projection, state.row(row), out),
                    None => out.copy_from_slice(&state.row(row)[..width]),
                }
            }
            let present = read.iter().map(|part| part.start - window.start..part.end - window.start);
            WindowRows { tokens: window.len(), present: present.collect(), width, numbers }
        };
        windows.iter().zip(read).map(window).collect()
    }
}

/// The tokens of a window that are read: its first and those of a range, which counts from the window's start.
fn kept(window: &Range<usize>, read: &Range<usize>) -> Vec<Range<usize>> {
    let end = window.end.min(window.start + read.end);
    let start = (window.start + read.start).min(end);
    let first = window.start..window.end.min(window.start + 1);
    if start <= first.end { vec![window.start..end.max(first.end)] } else { vec![first, start..end] }
}

/// Copies the rows that still ask to where their results go.
fn keep_rows(state: &Sheet, asking: &[Asking], kept: &mut Sheet, rows: usize, width: usize) {
    kept.shape(rows, width);
    let stride = kept.stride();
    for asking in asking {
        for (to, row) in asking.rows.clone().enumerate() {
            let to = asking.to + to;
            kept.all_mut()[to * stride..][..width].copy_from_slice(&state.row(row)[..width]);
        }
    }
}

/// The vector unit that the engine uses.
pub fn kernels() -> &'static str {
    Isa::in_use().name()
}

/// Cuts the windows of a batch into neighbouring groups of about as many tokens as suit the caches.
fn group(windows: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut next = 0;
    while let Some(first) = windows.get(next) {
        let fits = |window: &&Range<usize>| window.end - first.start <= GROUP_TOKENS;
        let count = windows[next..].iter().take_while(fits).count().max(1);
        groups.push(next..next + count);
        next += count;
    }
    groups
}

fn record(tap: &mut Option<&mut Tap>, state: &Sheet, width: usize) {
    if let Some(tap) = tap {
        let rows = (0..state.rows()).flat_map(|row| state.row(row)[..width].iter().copied());
        tap.hidden_states.push(rows.collect());
    }
}
