//! The encoder and its head as operators, for all five families.
//!
//! The order of operators is that of PyTorch's exporter, because ONNX Runtime looks for it: it makes one Attention of the first half of
//! a layer, and fuses normalisations with the sums before them and GELU with its bias.

use super::graph::{Attribute, Dimension, Element, Graph};
use super::weights::{Storage, integer_matrix, integer_table, matrix, plain};
use crate::export::error::Result;
use crate::export::model::{Head, Model, Tensor};
use crate::heads::pool::{PoolConfig, Pooling};

/// Added to the score of a token that is padding. ONNX Runtime looks for this number, and f16 can hold it.
const MASKED: f32 = -10_000.0;

/// No vector is divided by less when it is made 1 long.
const SHORTEST: f32 = 1e-12;

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const SEGMENTS: &str = "token_type_ids";

/// A model on its way to a graph.
struct Network<'a> {
    model: &'a Model,
    storage: Storage,
    graph: Graph<'a>,
    /// What was quantised last: query, key and value are made of the same states.
    quantised: Option<(String, [String; 3])>,
}

/// The graph of a model.
pub(super) fn graph(model: &Model, storage: Storage) -> Result<Graph<'_>> {
    let mut network = Network { model, storage, graph: Graph::default(), quantised: None };
    for name in [IDS, MASK].into_iter().chain(model.takes_segments().then_some(SEGMENTS)) {
        network.graph.input(name, Element::I64, &shape(&[]));
    }
    let states = network.encoder()?;
    match &model.head {
        Head::Span(module) => network.spans(&states, &model.span(module)),
        Head::Pool(config) => network.vectors(&states, config),
    }
    Ok(network.graph)
}

/// Batch and sequence, and what comes after them.
fn shape(after: &[usize]) -> Vec<Dimension> {
    let named = ["batch_size", "sequence_length"].map(Dimension::Named);
    named.into_iter().chain(after.iter().map(|&size| Dimension::Fixed(size))).collect()
}

impl Network<'_> {
    /// The last hidden states.
    fn encoder(&mut self) -> Result<String> {
        let model = self.model;
        let mask = self.mask();
        let mut state = self.embeddings()?;
        for number in 0..model.config.layers {
            self.graph.scope = format!("/layer.{number}");
            let attended = self.attention(number, &state, &mask)?;
            let inner = self.feed_forward(number, &attended)?;
            let sum = self.graph.node("Add", &[&inner, &attended], &[]);
            state = self.norm(&model.norm(&model.layer(number, model.config.names.output_norm)), &sum);
        }
        self.graph.scope = String::new();
        Ok(state)
    }

    /// What is added to the scores of attention: nothing for a token, much less for padding.
    fn mask(&mut self) -> String {
        self.graph.scope = "/mask".into();
        let (one, two) = (self.graph.integers("axis_1", &[1]), self.graph.integers("axis_2", &[2]));
        let rows = self.graph.node("Unsqueeze", &[MASK, &one], &[]);
        let heads = self.graph.node("Unsqueeze", &[&rows, &two], &[]);
        let present = self.cast(&heads);
        let (whole, masked) = (self.number("one", 1.0), self.number("masked", MASKED));
        let missing = self.graph.node("Sub", &[&whole, &present], &[]);
        self.graph.node("Mul", &[&missing, &masked], &[])
    }

    fn embeddings(&mut self) -> Result<String> {
        self.graph.scope = "/embeddings".into();
        let (model, config) = (self.model, &self.model.config);
        let names = config.names;
        let words = self.words(&model.table(names.words, config.vocabulary))?;
        let positions = self.positions(&model.table(names.positions, config.positions));
        let mut sum = words;
        if config.segments > 0 {
            let table = self.plain(&model.table(names.segments, config.segments));
            // A table of one row has the same for every token.
            let segments = match model.takes_segments() {
                true => self.graph.node("Gather", &[&table, SEGMENTS], &[]),
                false => table,
            };
            sum = self.graph.node("Add", &[&sum, &segments], &[]);
        }
        let sum = self.graph.node("Add", &[&sum, &positions], &[]);
        Ok(self.norm(&model.norm(names.embedding_norm), &sum))
    }

    fn words(&mut self, table: &Tensor) -> Result<String> {
        if self.storage != Storage::Int8 {
            let table = self.plain(table);
            return Ok(self.graph.node("Gather", &[&table, IDS], &[]));
        }
        let [codes, scales] = integer_table(self.model, table)?.map(|stored| self.graph.store(stored));
        let rows = self.graph.node("Gather", &[&codes, IDS], &[]);
        let (rows, scales) = (self.cast(&rows), self.graph.node("Gather", &[&scales, IDS], &[]));
        Ok(self.graph.node("Mul", &[&rows, &scales], &[]))
    }

    /// The vectors of positions: the first rows of the table, or, where padding has a row of its own, those that count what is none.
    fn positions(&mut self, table: &Tensor) -> String {
        let table = self.plain(table);
        let offset = self.model.config.position_offset as i64;
        if offset == 0 {
            let (zero, axis) = (self.graph.integers("zero", &[0]), self.graph.integers("axis_0", &[0]));
            // ONNX Runtime does not know this sum to be as long as the input, and leaves normalisations alone when it loads the graph. Fused
            // there they take more time on a CPU.
            let only_length = [Attribute::Int("start", 1), Attribute::Int("end", 2)];
            let length = self.graph.node("Shape", &[IDS], &only_length);
            return self.graph.node("Slice", &[&table, &zero, &length, &axis], &[]);
        }
        let padding = self.graph.constant("padding", Element::I64, &[], (offset - 1).to_le_bytes().to_vec());
        let along = self.graph.constant("along", Element::I64, &[], 1i64.to_le_bytes().to_vec());
        let to_integer = [Attribute::Int("to", Element::I64 as i64)];
        let is_padding = self.graph.node("Equal", &[IDS, &padding], &[]);
        let is_token = self.graph.node("Not", &[&is_padding], &[]);
        let is_token = self.graph.node("Cast", &[&is_token], &to_integer);
        let count = self.graph.node("CumSum", &[&is_token, &along], &[]);
        let count = self.graph.node("Mul", &[&count, &is_token], &[]);
        let rows = self.graph.node("Add", &[&count, &padding], &[]);
        self.graph.node("Gather", &[&table, &rows], &[])
    }

    /// The first half of a layer.
    fn attention(&mut self, number: usize, state: &str, mask: &str) -> Result<String> {
        let (model, config) = (self.model, &self.model.config);
        let (names, hidden) = (config.names, config.hidden);
        let linear = |module| model.linear(&model.layer(number, module), hidden, hidden);
        let query = self.linear(&linear(names.query), state)?;
        let query = self.by_head(&query, &[0, 2, 1, 3]);
        let key = self.linear(&linear(names.key), state)?;
        let key = self.by_head(&key, &[0, 2, 3, 1]);
        let value = self.linear(&linear(names.value), state)?;
        let value = self.by_head(&value, &[0, 2, 1, 3]);
        let scores = self.graph.node("MatMul", &[&query, &key], &[]);
        let width = self.number("root_of_head_width", (config.head_width() as f32).sqrt());
        let scores = self.graph.node("Div", &[&scores, &width], &[]);
        let scores = self.graph.node("Add", &[&scores, mask], &[]);
        let weights = self.graph.node("Softmax", &[&scores], &[Attribute::Int("axis", -1)]);
        let mixed = self.graph.node("MatMul", &[&weights, &value], &[]);
        let mixed = self.graph.node("Transpose", &[&mixed], &[Attribute::Ints("perm", &[0, 2, 1, 3])]);
        let joined = self.graph.integers("joined", &[0, 0, hidden as i64]);
        let mixed = self.graph.node("Reshape", &[&mixed, &joined], &[]);
        let out = self.linear(&linear(names.attention_out), &mixed)?;
        let sum = self.graph.node("Add", &[&out, state], &[]);
        Ok(self.norm(&model.norm(&model.layer(number, names.attention_norm)), &sum))
    }

    /// From `[batch, sequence, hidden]` to a matrix for each head, its axes in the order that a product takes.
    fn by_head(&mut self, rows: &str, order: &[i64]) -> String {
        let config = &self.model.config;
        let parted = [0, 0, config.heads as i64, config.head_width() as i64];
        let parted = self.graph.integers("parted", &parted);
        let rows = self.graph.node("Reshape", &[rows, &parted], &[]);
        self.graph.node("Transpose", &[&rows], &[Attribute::Ints("perm", order)])
    }

    /// The second half of a layer, up to the sum.
    fn feed_forward(&mut self, number: usize, state: &str) -> Result<String> {
        let (model, config) = (self.model, &self.model.config);
        let (names, hidden, inner) = (config.names, config.hidden, config.inner);
        let up = self.linear(&model.linear(&model.layer(number, names.up), inner, hidden), state)?;
        let active = self.gelu(&up);
        self.linear(&model.linear(&model.layer(number, names.down), hidden, inner), &active)
    }

    fn gelu(&mut self, input: &str) -> String {
        let root = self.number("root_of_two", std::f32::consts::SQRT_2);
        let (one, half) = (self.number("one", 1.0), self.number("half", 0.5));
        let scaled = self.graph.node("Div", &[input, &root], &[]);
        let erf = self.graph.node("Erf", &[&scaled], &[]);
        let above = self.graph.node("Add", &[&erf, &one], &[]);
        let product = self.graph.node("Mul", &[input, &above], &[]);
        self.graph.node("Mul", &[&product, &half], &[])
    }

    fn linear(&mut self, [weight, bias]: &[Tensor; 2], input: &str) -> Result<String> {
        let product = match self.storage {
            Storage::Float(float) => {
                let weight = self.graph.store(matrix(self.model, weight, float));
                self.graph.node("MatMul", &[input, &weight], &[])
            }
            Storage::Int8 => self.integer_product(weight, input)?,
        };
        let bias = self.plain(bias);
        Ok(self.graph.node("Add", &[&product, &bias], &[]))
    }

    /// A product of integers. Those of the input get one scale and zero point for all tokens when the model runs.
    fn integer_product(&mut self, weight: &Tensor, input: &str) -> Result<String> {
        let [weight, scales] = integer_matrix(self.model, weight)?.map(|stored| self.graph.store(stored));
        let [codes, scale, zero] = match &self.quantised {
            Some((known, quantised)) if known == input => quantised.clone(),
            _ => {
                let quantised = self.graph.node_of("DynamicQuantizeLinear", &[input], &[]);
                self.quantised = Some((input.to_owned(), quantised.clone()));
                quantised
            }
        };
        let product = self.graph.node("MatMulInteger", &[&codes, &weight, &zero], &[]);
        let product = self.cast(&product);
        let scales = self.graph.node("Mul", &[&scale, &scales], &[]);
        Ok(self.graph.node("Mul", &[&product, &scales], &[]))
    }

    fn norm(&mut self, [weight, bias]: &[Tensor; 2], input: &str) -> String {
        let (weight, bias) = (self.plain(weight), self.plain(bias));
        let epsilon = Attribute::Float("epsilon", self.model.config.epsilon as f32);
        self.graph.node(
            "LayerNormalization",
            &[input, &weight, &bias],
            &[Attribute::Int("axis", -1), epsilon],
        )
    }

    /// Start and end logits. The head stays in floating point: it is small, and it decides.
    fn spans(&mut self, states: &str, [weight, bias]: &[Tensor; 2]) {
        let float = self.storage.float();
        let weight = self.graph.store(matrix(self.model, weight, float));
        let bias = self.plain(bias);
        let product = self.graph.node("MatMul", &[states, &weight], &[]);
        let logits = self.graph.node("Add", &[&product, &bias], &[]);
        let logits = self.widened(&logits);
        let into_two = [Attribute::Int("axis", -1), Attribute::Int("num_outputs", 2)];
        let halves: [String; 2] = self.graph.node_of("Split", &[&logits], &into_two);
        let last = self.graph.integers("last_axis", &[-1]);
        for (half, name) in halves.iter().zip(["start_logits", "end_logits"]) {
            self.graph.node_to("Squeeze", &[half, &last], &[name], &[]);
            self.graph.output(name, Element::F32, &shape(&[]));
        }
    }

    /// Hidden states and one vector of them.
    fn vectors(&mut self, states: &str, config: &PoolConfig) {
        const STATES: &str = "last_hidden_state";
        const VECTOR: &str = "sentence_embedding";
        let hidden = self.model.config.hidden;
        // Sums of many tokens need more digits than f16 has.
        let states = self.widened(states);
        self.graph.node_to("Identity", &[&states], &[STATES], &[]);
        self.graph.output(STATES, Element::F32, &shape(&[hidden]));
        let one = self.graph.integers("axis_1", &[1]);
        let vector = match config.pooling {
            Pooling::None => return,
            Pooling::First => {
                let first = self.graph.constant("first", Element::I64, &[], 0i64.to_le_bytes().to_vec());
                self.graph.node("Gather", &[STATES, &first], &[Attribute::Int("axis", 1)])
            }
            Pooling::Mean => {
                let last = self.graph.integers("last_axis", &[-1]);
                let to_f32 = Attribute::Int("to", Element::F32 as i64);
                let present = self.graph.node("Cast", &[MASK], &[to_f32]);
                let column = self.graph.node("Unsqueeze", &[&present, &last], &[]);
                let masked = self.graph.node("Mul", &[STATES, &column], &[]);
                let sum = self.graph.node("ReduceSum", &[&masked, &one], &[Attribute::Int("keepdims", 0)]);
                let count = self.graph.node("ReduceSum", &[&column, &one], &[Attribute::Int("keepdims", 0)]);
                self.graph.node("Div", &[&sum, &count], &[])
            }
        };
        if config.normalise {
            let shortest =
                self.graph.constant("shortest", Element::F32, &[], SHORTEST.to_le_bytes().to_vec());
            // Not ReduceL2: ONNX Runtime's optimiser cannot tell its shape, and then fuses less of the whole graph.
            let squares = self.graph.node("Mul", &[&vector, &vector], &[]);
            let sum = self.graph.node("ReduceSum", &[&squares, &one], &[]);
            let length = self.graph.node("Sqrt", &[&sum], &[]);
            let length = self.graph.node("Max", &[&length, &shortest], &[]);
            self.graph.node_to("Div", &[&vector, &length], &[VECTOR], &[]);
        } else {
            self.graph.node_to("Identity", &[&vector], &[VECTOR], &[]);
        }
        self.graph.output(VECTOR, Element::F32, &[Dimension::Named("batch_size"), Dimension::Fixed(hidden)]);
    }

    fn plain(&mut self, tensor: &Tensor) -> String {
        self.graph.store(plain(self.model, tensor, self.storage.float()))
    }

    /// One number in the type in which the model computes.
    fn number(&mut self, name: &str, number: f32) -> String {
        let float = self.storage.float();
        self.graph.constant(name, float.element(), &[], float.of(number))
    }

    /// Whole numbers in the type in which the model computes.
    fn cast(&mut self, integers: &str) -> String {
        let to = Attribute::Int("to", self.storage.float().element() as i64);
        self.graph.node("Cast", &[integers], &[to])
    }

    /// Results in f32, whatever the model computes in.
    fn widened(&mut self, numbers: &str) -> String {
        match self.storage.float().element() {
            Element::F32 => numbers.to_owned(),
            _ => self.graph.node("Cast", &[numbers], &[Attribute::Int("to", Element::F32 as i64)]),
        }
    }
}
