//! What the families call their tensors.

/// The names of a family's tensors below the checkpoint's own prefix (`bert.`, `roberta.`, `distilbert.` or none).
/// A name stands for a module: `weight` and `bias` follow it.
#[derive(Debug, PartialEq, Eq)]
pub struct NameTable {
    /// Word embeddings.
    pub words: &'static str,
    /// Position embeddings.
    pub positions: &'static str,
    /// Segment embeddings.
    pub segments: &'static str,
    /// Normalisation of the summed embeddings.
    pub embedding_norm: &'static str,
    /// What stands before a layer's number.
    pub layer: &'static str,
    /// Query projection, below the layer.
    pub query: &'static str,
    /// Key projection.
    pub key: &'static str,
    /// Value projection.
    pub value: &'static str,
    /// Projection of the attention's result.
    pub attention_out: &'static str,
    /// Normalisation after attention.
    pub attention_norm: &'static str,
    /// First half of the feed-forward layer.
    pub up: &'static str,
    /// Second half.
    pub down: &'static str,
    /// Normalisation after the feed-forward layer.
    pub output_norm: &'static str,
}

/// BERT, RoBERTa and XLM-R.
pub const BERT_NAMES: NameTable = NameTable {
    words: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    segments: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    layer: "encoder.layer.",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_out: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    up: "intermediate.dense",
    down: "output.dense",
    output_norm: "output.LayerNorm",
};

/// DistilBERT.
pub const DISTILBERT_NAMES: NameTable = NameTable {
    layer: "transformer.layer.",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_out: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up: "ffn.lin1",
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
    ..BERT_NAMES
};
