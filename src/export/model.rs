//! A model as it leaves: its tensors under the names that transformers knows, read where they lie.

use crate::checkpoint::weights::Rows;
use crate::checkpoint::{EncoderConfig, Error as CheckpointError, ModelFiles, Weights};
use crate::export::error::Result;
use crate::heads::pool::PoolConfig;
use crate::heads::span;

/// A tensor that is exported.
#[derive(Debug, Clone)]
pub(super) struct Tensor {
    /// What transformers calls it.
    pub(super) name: String,
    /// What this checkpoint may call it.
    sources: Vec<String>,
    pub(super) shape: Vec<usize>,
}

impl Tensor {
    /// Numbers in it.
    pub(super) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What the model makes of hidden states.
pub(super) enum Head {
    /// Logits of spans; the module's name in the checkpoint.
    Span(String),
    /// Vectors of texts.
    Pool(PoolConfig),
}

/// A checkpoint to export.
pub(super) struct Model {
    pub(super) config: EncoderConfig,
    pub(super) head: Head,
    weights: Weights,
    /// What stands before the encoder's names in this checkpoint.
    prefix: String,
}

/// The linear module that classification uses. What makes vectors may have one left over, and transformers makes up what it misses.
const POOLER: &str = "pooler.dense";

impl Model {
    /// Opens a checkpoint. One that neither answers nor makes vectors is refused.
    pub(super) fn open(files: &ModelFiles) -> Result<Self> {
        let config = EncoderConfig::from_files(files)?;
        let weights = Weights::open(files)?;
        let head = match weights.module(span::MODULE) {
            Some(module) => {
                config.expect_labels(files, span::OUTPUTS)?;
                Head::Span(module)
            }
            None if PoolConfig::is_in(files) => Head::Pool(PoolConfig::from_files(files)?),
            None => return Err(span::no_head(&weights).into()),
        };
        let prefix = weights.prefix_of(config.names.words)?;
        let model = Self { config, head, weights, prefix };
        // Whatever is missing or has another shape is said before anything is written.
        model.tensors().iter().try_for_each(|tensor| model.rows(tensor).map(drop))?;
        Ok(model)
    }

    /// Whether it tells the two texts of a pair apart by segment ids.
    pub(super) fn takes_segments(&self) -> bool {
        self.config.segments > 1
    }

    /// What transformers puts before the encoder's names: nothing where there is no head.
    fn prefix(&self) -> &'static str {
        match self.head {
            Head::Span(_) => self.config.prefix,
            Head::Pool(_) => "",
        }
    }

    fn tensor(&self, module: &str, kinds: &[&str], shape: &[usize]) -> Tensor {
        Tensor {
            name: format!("{}{module}.{}", self.prefix(), kinds[0]),
            sources: kinds.iter().map(|kind| format!("{}{module}.{kind}", self.prefix)).collect(),
            shape: shape.to_vec(),
        }
    }

    /// An embedding table.
    pub(super) fn table(&self, module: &str, rows: usize) -> Tensor {
        self.tensor(module, &["weight"], &[rows, self.config.hidden])
    }

    /// Weight, `[outputs, inputs]`, and bias of a linear module.
    pub(super) fn linear(&self, module: &str, outputs: usize, inputs: usize) -> [Tensor; 2] {
        [self.tensor(module, &["weight"], &[outputs, inputs]), self.tensor(module, &["bias"], &[outputs])]
    }

    /// Weight and bias of a normalisation, which had other names once.
    pub(super) fn norm(&self, module: &str) -> [Tensor; 2] {
        let width = [self.config.hidden];
        [self.tensor(module, &["weight", "gamma"], &width), self.tensor(module, &["bias", "beta"], &width)]
    }

    /// Weight and bias of the span head.
    pub(super) fn span(&self, module: &str) -> [Tensor; 2] {
        let tensor = |kind: &str, shape: &[usize]| Tensor {
            name: format!("{}.{kind}", span::MODULE),
            sources: vec![format!("{module}.{kind}")],
            shape: shape.to_vec(),
        };
        [tensor("weight", &[span::OUTPUTS, self.config.hidden]), tensor("bias", &[span::OUTPUTS])]
    }

    /// The name of a module of a layer.
    pub(super) fn layer(&self, number: usize, module: &str) -> String {
        format!("{}{number}.{module}", self.config.names.layer)
    }

    /// Every tensor that transformers looks for, and no other.
    pub(super) fn tensors(&self) -> Vec<Tensor> {
        let (config, names) = (&self.config, self.config.names);
        let (hidden, inner) = (config.hidden, config.inner);
        let mut tensors =
            vec![self.table(names.words, config.vocabulary), self.table(names.positions, config.positions)];
        if config.segments > 0 {
            tensors.push(self.table(names.segments, config.segments));
        }
        tensors.extend(self.norm(names.embedding_norm));
        for number in 0..config.layers {
            for module in [names.query, names.key, names.value, names.attention_out] {
                tensors.extend(self.linear(&self.layer(number, module), hidden, hidden));
            }
            tensors.extend(self.norm(&self.layer(number, names.attention_norm)));
            tensors.extend(self.linear(&self.layer(number, names.up), inner, hidden));
            tensors.extend(self.linear(&self.layer(number, names.down), hidden, inner));
            tensors.extend(self.norm(&self.layer(number, names.output_norm)));
        }
        match &self.head {
            Head::Span(module) => tensors.extend(self.span(module)),
            Head::Pool(_) => {
                let pooler = self.linear(POOLER, hidden, hidden);
                if self.rows(&pooler[0]).is_ok() {
                    tensors.extend(pooler);
                }
            }
        }
        tensors
    }

    /// The numbers of a tensor, left where they are.
    pub(super) fn rows(&self, tensor: &Tensor) -> Result<Rows, CheckpointError> {
        self.weights.tensor(&tensor.sources, &tensor.shape)
    }

    /// All numbers of a tensor, row by row.
    pub(super) fn numbers(&self, tensor: &Tensor) -> Result<Vec<f32>, CheckpointError> {
        Ok(self.rows(tensor)?.into_all())
    }

    /// Hands the numbers of a tensor over in blocks of whole rows, so that a large table is never held.
    pub(super) fn for_each_block(
        &self,
        tensor: &Tensor,
        mut each: impl FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        /// Numbers of a block, unless a row has more.
        const BLOCK: usize = 1 << 18;
        let rows = self.rows(tensor)?;
        let width = tensor.len() / rows.len().max(1);
        let at_once = (BLOCK / width.max(1)).max(1);
        let mut block = vec![0.0; at_once * width];
        for start in (0..rows.len()).step_by(at_once) {
            let count = at_once.min(rows.len() - start);
            for (row, out) in block.chunks_exact_mut(width.max(1)).take(count).enumerate() {
                rows.copy_row(start + row, out);
            }
            each(&block[..count * width])?;
        }
        Ok(())
    }
}
