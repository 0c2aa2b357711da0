//! The model's tensors as a graph stores them: as they are, transposed, or as integers.

use super::graph::{Element, Fill, Stored};
use crate::checkpoint::quantised::quantise;
use crate::encoder::tensors::transposed;
use crate::export::error::Result;
use crate::export::model::{Model, Tensor};
use crate::export::number::Float;

/// The largest integer of a matrix that is multiplied. Without VNNI two products of eight bits are added up in sixteen, and beyond seven
/// bits such a sum can saturate: answers would depend on the processor.
const SEVEN_BITS: f32 = 64.0;

/// The largest integer of a table whose rows are only looked up.
const EIGHT_BITS: f32 = 127.0;

/// How the numbers of a graph are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::export) enum Storage {
    /// All of them in one type, in which the model computes, too.
    Float(Float),
    /// Matrices and the vocabulary as integers, the rest in f32.
    Int8,
}

impl Storage {
    /// The type of what is not an integer.
    pub(super) fn float(self) -> Float {
        match self {
            Self::Float(float) => float,
            Self::Int8 => Float::F32,
        }
    }
}

/// A tensor as it is.
pub(super) fn plain<'a>(model: &'a Model, tensor: &Tensor, float: Float) -> Stored<'a> {
    let tensor = tensor.clone();
    let (name, shape) = (tensor.name.clone(), tensor.shape.clone());
    let fill: Fill =
        Box::new(move |put| model.for_each_block(&tensor, |block| put(&float.bytes(block, &tensor.name)?)));
    Stored { name, element: float.element(), shape, fill }
}

/// A matrix as products take it, `[inputs, outputs]`.
pub(super) fn matrix<'a>(model: &'a Model, tensor: &Tensor, float: Float) -> Stored<'a> {
    let (outputs, inputs, name) = transposed_shape(tensor);
    let tensor = tensor.clone();
    let fill: Fill = Box::new(move |put| {
        let numbers = transposed(&model.numbers(&tensor)?, inputs);
        put(&float.bytes(&numbers, &tensor.name)?)
    });
    Stored { name, element: float.element(), shape: vec![inputs, outputs], fill }
}

/// The same in seven bits, and the quantisation scale of each output.
pub(super) fn integer_matrix<'a>(model: &'a Model, tensor: &Tensor) -> Result<[Stored<'a>; 2]> {
    let (outputs, inputs, name) = transposed_shape(tensor);
    let tensor = tensor.clone();
    let scales = scales(model, &tensor, &[outputs], SEVEN_BITS)?;
    let fill: Fill = Box::new(move |put| {
        let (codes, _) = quantise(&model.numbers(&tensor)?, inputs, SEVEN_BITS);
        put(&transposed(&codes, inputs))
    });
    let name = format!("{name}_quantized");
    Ok([Stored { name, element: Element::I8, shape: vec![inputs, outputs], fill }, scales])
}

/// A table in eight bits, and the quantisation scale of each row.
pub(super) fn integer_table<'a>(model: &'a Model, tensor: &Tensor) -> Result<[Stored<'a>; 2]> {
    let tensor = tensor.clone();
    let scales = scales(model, &tensor, &[tensor.shape[0], 1], EIGHT_BITS)?;
    let (name, shape) = (format!("{}_quantized", tensor.name), tensor.shape.clone());
    let fill: Fill = Box::new(move |put| {
        let columns = tensor.shape[1];
        model.for_each_block(&tensor, |block| put(&quantise(block, columns, EIGHT_BITS).0))
    });
    Ok([Stored { name, element: Element::I8, shape, fill }, scales])
}

fn scales(model: &Model, tensor: &Tensor, shape: &[usize], most: f32) -> Result<Stored<'static>> {
    let columns = tensor.shape[1];
    let mut bytes = Vec::with_capacity(tensor.shape[0] * size_of::<f32>());
    model.for_each_block(tensor, |block| {
        let (_, scales) = quantise(block, columns, most);
        bytes.extend(scales.iter().flat_map(|scale| scale.to_le_bytes()));
        Ok(())
    })?;
    let fill: Fill = Box::new(move |put| put(&bytes));
    let name = format!("{}_scale", tensor.name);
    Ok(Stored { name, element: Element::F32, shape: shape.to_vec(), fill })
}

/// Outputs and inputs of a linear module, and the name of its transposed matrix.
fn transposed_shape(tensor: &Tensor) -> (usize, usize, String) {
    (tensor.shape[0], tensor.shape[1], format!("{}_transposed", tensor.name))
}
