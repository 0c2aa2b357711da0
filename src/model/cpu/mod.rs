//! The CPU engine: the encoder's equations as a few fused kernels over packed windows.
//!
//! ```text
//! batch -> groups of whole windows, side by side on all cores
//!   per layer:  gemm (query, key, value) -> attention -> gemm -> rows (add, normalise)
//!               -> gemm (+ GELU) -> gemm -> rows (add, normalise)
//!   rows (span head) -> logits
//! ```
//!
//! Every step cuts its own work into pieces, too, and idle threads take them: many windows keep all cores busy one group each,
//! a single window keeps them busy row by row. No piece knows how the rest was cut, so neither batch nor threads show in the bits.
//!
//! [`Encoder`](super::encoder::Encoder) computes the same equations with plain tensor operations and is what tests compare with.

mod attention;
mod gemm;
mod math;
mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod peak;
mod quantise;
mod rows;
mod simd;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::ops::Range;
use std::sync::Mutex;

use rayon::prelude::*;

use self::attention::{Asking, Heads, attend};
use self::gemm::{Linear, Then};
use self::memory::Sheet;
use self::quantise::CodedSheet;
use self::rows::{Head, Norm};
use self::simd::Isa;
use super::config::EncoderConfig;
use super::tables::Tables;
use super::weights::{Rows, Weights};
use super::{Precision, Tap, WindowLogits};
use crate::batch::Batch;
use crate::error::{Error, Result};

/// Tokens of whole windows that one thread takes at a time: enough rows to be worth a pass over the weights, few enough that their
/// states stay near.
const GROUP_TOKENS: usize = 384;

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
    head: Head,
    /// Put back after use, so that memory is asked for once.
    workspaces: Mutex<Vec<Workspace>>,
}

struct Layer {
    /// Query, key and value in one product.
    qkv: Linear,
    attention_out: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// The intermediate results of one group.
#[derive(Default)]
struct Workspace {
    state: Sheet,
    qkv: Sheet,
    attended: Sheet,
    delta: Sheet,
    inner: Sheet,
    codes: CodedSheet,
    kept: Sheet,
}

impl Engine {
    /// The vector unit and the number type in use.
    pub(super) fn describe(&self) -> String {
        format!("{} on {}", self.precision.name(), self.isa.name())
    }

    pub(super) fn load(config: EncoderConfig, weights: &Weights, precision: Precision) -> Result<Self> {
        Self::load_for(Isa::all()[0], config, weights, precision)
    }

    fn load_for(isa: Isa, config: EncoderConfig, weights: &Weights, precision: Precision) -> Result<Self> {
        let names = config.names;
        let prefix = weights.prefix_of(names.words)?;
        let head = weights.head_module()?;
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
        let layer = |number: usize| -> Result<Layer> {
            let module = |name: &str| format!("{prefix}{}{number}.{name}", names.layer);
            Ok(Layer {
                qkv: linear(&[names.query, names.key, names.value].map(module), hidden, hidden)?,
                attention_out: linear(&[module(names.attention_out)], hidden, hidden)?,
                attention_norm: norm(&module(names.attention_norm))?,
                up: linear(&[module(names.up)], config.inner, hidden)?,
                down: linear(&[module(names.down)], hidden, config.inner)?,
                output_norm: norm(&module(names.output_norm))?,
            })
        };
        // Collected before it is looked through, so that of several errors the first layer's is reported.
        let layers: Vec<Result<Layer>> = (0..config.layers).into_par_iter().map(layer).collect();
        let head_weight = weights.matrix(&format!("{head}.weight"), 2, hidden)?;
        let head_bias = weights.vector(&[format!("{head}.bias")], 2)?;
        Ok(Self {
            isa,
            tables: Tables::load(weights, &prefix, &config)?,
            embedding_norm: norm(&format!("{prefix}{}", names.embedding_norm))?,
            layers: layers.into_iter().collect::<Result<_>>()?,
            head: Head {
                weight: [head_weight[..hidden].to_vec(), head_weight[hidden..].to_vec()],
                bias: [head_bias[0], head_bias[1]],
            },
            config,
            precision,
            workspaces: Mutex::default(),
        })
    }

    pub(super) fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Start and end logits of every token of every window.
    pub(super) fn forward(&self, batch: &Batch, mut tap: Option<&mut Tap>) -> Result<Vec<WindowLogits>> {
        self.tables.check(batch)?;
        let windows: Vec<Range<usize>> = batch.ranges().collect();
        let logits: Vec<Vec<WindowLogits>> = if tap.is_some() {
            // Whoever looks at the states wants all of them, in order.
            vec![self.run(batch, &windows, tap.take())]
        } else {
            group(&windows).into_par_iter().with_max_len(1).map(|group| self.run(batch, group, None)).collect()
        };
        let logits: Vec<WindowLogits> = logits.into_iter().flatten().collect();
        let read = |window: &WindowLogits| {
            window.start.iter().chain(&window.end).all(|logit| logit.is_finite())
        };
        if logits.iter().all(read) { Ok(logits) } else { Err(Error::NotFinite { dtype: self.precision.name() }) }
    }

    /// Runs some neighbouring windows of a batch.
    fn run(&self, batch: &Batch, windows: &[Range<usize>], tap: Option<&mut Tap>) -> Vec<WindowLogits> {
        let workspace = self.workspaces.lock().ok().and_then(|mut idle| idle.pop());
        let mut workspace = workspace.unwrap_or_default();
        let logits = self.run_in(&mut workspace, batch, windows, tap);
        if let Ok(mut idle) = self.workspaces.lock() {
            idle.push(workspace);
        }
        logits
    }

    fn run_in(
        &self,
        workspace: &mut Workspace,
        batch: &Batch,
        windows: &[Range<usize>],
        mut tap: Option<&mut Tap>,
    ) -> Vec<WindowLogits> {
        let isa = self.isa;
        let heads = Heads { count: self.config.heads, width: self.config.head_width() };
        let Workspace { state, qkv, attended, delta, inner, codes, kept } = workspace;
        let first = windows.first().map_or(0, |window| window.start);
        let tokens = windows.last().map_or(0, |window| window.end) - first;
        let asking: Vec<Asking> = windows
            .iter()
            .map(|window| window.start - first..window.end - first)
            .flat_map(|rows| Asking::pieces(rows.clone(), rows.clone(), rows.start))
            .collect();

        let width = self.config.hidden;
        state.shape(tokens, width);
        let stride = state.stride();
        state.blocks_mut(EMBED_ROWS).enumerate().for_each(|(block, rows)| {
            for (row, out) in rows.chunks_exact_mut(stride).enumerate() {
                self.tables.embed(batch, first + block * EMBED_ROWS + row, &mut out[..width]);
            }
        });
        self.embedding_norm.normalise(isa, state);
        record(&mut tap, state, width);
        for layer in &self.layers {
            layer.qkv.forward(isa, state, codes, qkv, Then::Nothing);
            attend(isa, heads, qkv, &asking, (attended, tokens));
            layer.attention_out.forward(isa, attended, codes, delta, Then::Nothing);
            layer.attention_norm.add_and_normalise(isa, state, delta);
            layer.up.forward(isa, state, codes, inner, Then::Gelu);
            layer.down.forward(isa, inner, codes, delta, Then::Nothing);
            layer.output_norm.add_and_normalise(isa, state, delta);
            record(&mut tap, state, width);
        }
        let _ = kept;
        let mut logits = Vec::with_capacity(windows.len());
        for window in windows {
            let mut found = WindowLogits::default();
            for token in window.clone() {
                let [start, end] = self.head.logits(isa, state.row(token - first));
                found.start.push(start);
                found.end.push(end);
            }
            logits.push(found);
        }
        logits
    }
}

/// Billions of f32 operations per second that this processor does at best, without touching memory.
pub fn peak_gflops(threads: usize) -> f64 {
    peak::f32_gflops(threads)
}

/// Cuts the windows of a batch into neighbouring groups of about as many tokens as suit the caches.
fn group(windows: &[Range<usize>]) -> Vec<&[Range<usize>]> {
    let mut groups = Vec::new();
    let mut rest = windows;
    while let Some(first) = rest.first() {
        let fits = rest.iter().take_while(|window| window.end - first.start <= GROUP_TOKENS).count();
        let (group, others) = rest.split_at(fits.max(1));
        groups.push(group);
        rest = others;
    }
    groups
}

fn record(tap: &mut Option<&mut Tap>, state: &Sheet, width: usize) {
    if let Some(tap) = tap {
        let rows = (0..state.rows()).flat_map(|row| state.row(row)[..width].iter().copied());
        tap.hidden_states.push(rows.collect());
    }
}
