//! Runs the graphs that are exported, slowly: as many operators as they have, in 64 bits, as ONNX defines them. Without it only programs that
//! the tests do without would notice a graph that computes something else.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;
use spanqa::checkpoint::ModelFile;
use spanqa::export::onnx::read::{Node, Summary, TensorInfo, read};

use crate::support::integers;

/// Numbers of any type.
#[derive(Debug, Clone)]
struct Tensor {
    shape: Vec<usize>,
    data: Vec<f64>,
}

pub struct Runner {
    summary: Summary,
    stored: HashMap<String, Tensor>,
}

impl Runner {
    pub fn new(folder: &Path) -> Self {
        let path = folder.join("model.onnx");
        let bytes = std::fs::read(&path).unwrap();
        let summary = read(&ModelFile::OnDisk(path)).unwrap();
        let stored = summary.tensors.iter().map(|tensor| (tensor.name.clone(), decoded(tensor, &bytes)));
        Self { stored: stored.collect(), summary }
    }

    /// The outputs for the first so many tokens of a line of check.jsonl, with so many tokens of padding behind them.
    pub fn run(&self, row: &Value, tokens: usize, padding: usize) -> Vec<(String, Vec<f32>)> {
        let mut values = self.stored.clone();
        for name in &self.summary.inputs {
            let mut data: Vec<f64> =
                integers(&row[name][0]).into_iter().map(f64::from).take(tokens).collect();
            // Of a word, so that only the mask says what it is.
            data.resize(data.len() + padding, if name == "input_ids" { data[1] } else { 0.0 });
            values.insert(name.clone(), Tensor { shape: vec![1, data.len()], data });
        }
        for node in &self.summary.nodes {
            let inputs: Vec<&Tensor> = node.inputs.iter().map(|name| &values[name]).collect();
            let outputs = run(node, &inputs);
            values.extend(node.outputs.iter().cloned().zip(outputs));
        }
        let output = |name: &String| (name.clone(), values[name].data.iter().map(|&x| x as f32).collect());
        self.summary.outputs.iter().map(output).collect()
    }
}

fn decoded(tensor: &TensorInfo, file: &[u8]) -> Tensor {
    let bytes = &file[tensor.bytes.start as usize..tensor.bytes.end as usize];
    let data = match tensor.element {
        1 => bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes).into()).collect(),
        3 => bytes.iter().map(|&byte| f64::from(byte as i8)).collect(),
        7 => bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes) as f64).collect(),
        10 => bytes.as_chunks().0.iter().map(|bytes| half::f16::from_le_bytes(*bytes).to_f64()).collect(),
        other => panic!("type {other}"),
    };
    Tensor { shape: tensor.shape.iter().map(|&size| size as usize).collect(), data }
}

fn run(node: &Node, inputs: &[&Tensor]) -> Vec<Tensor> {
    let one = |tensor: Tensor| vec![tensor];
    let number = |name: &str, usual: i64| node.integers.get(name).map_or(usual, |list| list[0]);
    let map = |each: fn(f64) -> f64| {
        vec![Tensor {
            shape: inputs[0].shape.clone(),
            data: inputs[0].data.iter().map(|&x| each(x)).collect(),
        }]
    };
    match node.operator.as_str() {
        "Add" => one(broadcast(inputs, |a, b| a + b)),
        "Sub" => one(broadcast(inputs, |a, b| a - b)),
        "Mul" => one(broadcast(inputs, |a, b| a * b)),
        "Div" => one(broadcast(inputs, |a, b| a / b)),
        "Max" => one(broadcast(inputs, f64::max)),
        "Equal" => one(broadcast(inputs, |a, b| f64::from(a == b))),
        "Cast" | "Identity" => one(inputs[0].clone()),
        "Not" => map(|x| 1.0 - x),
        "Sqrt" => map(f64::sqrt),
        "Erf" => map(erf),
        "Shape" => {
            let range = number("start", 0) as usize
                ..number("end", i64::MAX).min(inputs[0].shape.len() as i64) as usize;
            let data: Vec<f64> = inputs[0].shape[range].iter().map(|&size| size as f64).collect();
            one(Tensor { shape: vec![data.len()], data })
        }
        "Gather" => one(gather(inputs[0], inputs[1], number("axis", 0) as usize)),
        "Slice" => {
            assert_eq!((inputs[1].data[0], inputs[3].data[0]), (0.0, 0.0));
            let rows = (inputs[2].data[0] as usize).min(inputs[0].shape[0]);
            let width = inputs[0].data.len() / inputs[0].shape[0];
            let shape = [&[rows][..], &inputs[0].shape[1..]].concat();
            one(Tensor { shape, data: inputs[0].data[..rows * width].to_vec() })
        }
        "CumSum" => {
            assert_eq!((inputs[0].shape[0], inputs[1].data[0]), (1, 1.0));
            let mut sum = 0.0;
            let sums = inputs[0].data.iter().map(|x| {
                sum += x;
                sum
            });
            one(Tensor { shape: inputs[0].shape.clone(), data: sums.collect() })
        }
        "LayerNormalization" => one(normalised(inputs, f64::from(node.floats["epsilon"]))),
        "Softmax" => one(by_row(inputs[0], |row| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let exponents: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
            let sum: f64 = exponents.iter().sum();
            exponents.into_iter().map(|x| x / sum).collect()
        })),
        "MatMul" => one(product(inputs[0], inputs[1], 0.0)),
        "MatMulInteger" => one(product(inputs[0], inputs[1], inputs[2].data[0])),
        "DynamicQuantizeLinear" => quantised(inputs[0]),
        "Reshape" => {
            let sizes = inputs[1].data.iter().zip(&inputs[0].shape);
            let mut shape: Vec<usize> =
                sizes.map(|(&size, &before)| if size == 0.0 { before } else { size as usize }).collect();
            shape.extend(inputs[1].data.iter().skip(shape.len()).map(|&size| size as usize));
            assert_eq!(shape.iter().product::<usize>(), inputs[0].data.len());
            one(Tensor { shape, data: inputs[0].data.clone() })
        }
        "Transpose" => one(transposed(inputs[0], &node.integers["perm"])),
        "Split" => {
            let parts = number("num_outputs", 0) as usize;
            assert_eq!(inputs[0].shape.last(), Some(&parts));
            let part = |start: usize| Tensor {
                shape: [&inputs[0].shape[..inputs[0].shape.len() - 1], &[1]].concat(),
                data: inputs[0].data.iter().skip(start).step_by(parts).copied().collect(),
            };
            (0..parts).map(part).collect()
        }
        "Squeeze" | "Unsqueeze" => {
            let mut shape = inputs[0].shape.clone();
            match inputs[1].data[0] {
                -1.0 if node.operator == "Squeeze" => assert_eq!(shape.pop(), Some(1)),
                -1.0 => shape.push(1),
                axis => shape.insert(axis as usize, 1),
            }
            one(Tensor { shape, data: inputs[0].data.clone() })
        }
        "ReduceSum" => {
            assert_eq!((inputs[0].shape[0], inputs[1].data[0]), (1, 1.0));
            let width = inputs[0].shape[2..].iter().product::<usize>();
            let mut sums = vec![0.0; width];
            inputs[0].data.iter().enumerate().for_each(|(place, x)| sums[place % width] += x);
            let kept = if number("keepdims", 1) == 1 { vec![1, 1] } else { vec![1] };
            one(Tensor { shape: [&kept[..], &inputs[0].shape[2..]].concat(), data: sums })
        }
        other => panic!("{other} is not known here"),
    }
}

/// The place in a tensor of what stands at `place` of a shape that it is broadcast to.
fn source(shape: &[usize], to: &[usize], mut place: usize) -> usize {
    let (mut found, mut stride) = (0, 1);
    for (axis, &size) in to.iter().enumerate().rev() {
        let at = place % size;
        place /= size;
        if let Some(own) = (axis + shape.len()).checked_sub(to.len()) {
            found += if shape[own] == 1 { 0 } else { at * stride };
            stride *= shape[own];
        }
    }
    found
}

fn broadcast(inputs: &[&Tensor], of: impl Fn(f64, f64) -> f64) -> Tensor {
    let (left, right) = (inputs[0], inputs[1]);
    let rank = left.shape.len().max(right.shape.len());
    let size =
        |shape: &[usize], axis: usize| (axis + shape.len()).checked_sub(rank).map_or(1, |own| shape[own]);
    let shape: Vec<usize> = (0..rank)
        .map(|axis| match (size(&left.shape, axis), size(&right.shape, axis)) {
            (1, other) => other,
            (size, other) => {
                assert!(other == 1 || other == size, "{:?} {:?}", left.shape, right.shape);
                size
            }
        })
        .collect();
    let pair = |place| {
        (left.data[source(&left.shape, &shape, place)], right.data[source(&right.shape, &shape, place)])
    };
    let data = (0..shape.iter().product()).map(pair).map(|(a, b)| of(a, b)).collect();
    Tensor { shape, data }
}

fn gather(data: &Tensor, places: &Tensor, axis: usize) -> Tensor {
    let (before, after) = (&data.shape[..axis], &data.shape[axis + 1..]);
    let (outer, width) = (before.iter().product::<usize>(), after.iter().product::<usize>());
    let mut out = Vec::new();
    for block in 0..outer {
        for &place in &places.data {
            let start = (block * data.shape[axis] + place as usize) * width;
            out.extend_from_slice(&data.data[start..start + width]);
        }
    }
    Tensor { shape: [before, &places.shape, after].concat(), data: out }
}

fn by_row(input: &Tensor, each: impl Fn(&[f64]) -> Vec<f64>) -> Tensor {
    let rows = input.data.chunks(*input.shape.last().unwrap());
    Tensor { shape: input.shape.clone(), data: rows.flat_map(each).collect() }
}

fn normalised(inputs: &[&Tensor], epsilon: f64) -> Tensor {
    by_row(inputs[0], |row| {
        let mean = row.iter().sum::<f64>() / row.len() as f64;
        let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let scaled = row.iter().zip(&inputs[1].data).zip(&inputs[2].data);
        scaled.map(|((x, weight), bias)| (x - mean) / (variance + epsilon).sqrt() * weight + bias).collect()
    })
}

/// `left` less `zero`, times `right`: a matrix for all, or one for each of the left ones.
fn product(left: &Tensor, right: &Tensor, zero: f64) -> Tensor {
    let [.., rows, inner] = left.shape[..] else { panic!("{:?}", left.shape) };
    let [.., same, columns] = right.shape[..] else { panic!("{:?}", right.shape) };
    assert_eq!(inner, same);
    let matrices = left.data.len() / (rows * inner);
    let mut data = Vec::with_capacity(matrices * rows * columns);
    for (number, left) in left.data.chunks(rows * inner).enumerate() {
        let start = if right.shape.len() == 2 { 0 } else { number * inner * columns };
        let right = &right.data[start..start + inner * columns];
        for row in left.chunks(inner) {
            let cell = |column: usize| {
                row.iter().enumerate().map(|(k, x)| (x - zero) * right[k * columns + column]).sum()
            };
            data.extend((0..columns).map(|column| -> f64 { cell(column) }));
        }
    }
    Tensor { shape: [&left.shape[..left.shape.len() - 1], &[columns]].concat(), data }
}

fn transposed(input: &Tensor, order: &[i64]) -> Tensor {
    let mut strides = vec![1; input.shape.len()];
    for axis in (1..input.shape.len()).rev() {
        strides[axis - 1] = strides[axis] * input.shape[axis];
    }
    let shape: Vec<usize> = order.iter().map(|&axis| input.shape[axis as usize]).collect();
    let place = |mut place: usize| {
        let axes = order.iter().zip(&shape).rev().map(|(&axis, size)| {
            let at = place % size;
            place /= size;
            at * strides[axis as usize]
        });
        axes.sum::<usize>()
    };
    Tensor { data: (0..input.data.len()).map(|at| input.data[place(at)]).collect(), shape }
}

/// Codes from 0 to 255, their scale and the code of zero.
fn quantised(input: &Tensor) -> Vec<Tensor> {
    let least = input.data.iter().copied().fold(0.0, f64::min);
    let most = input.data.iter().copied().fold(0.0, f64::max);
    let scale = (most - least) / 255.0;
    let zero = (-least / scale).clamp(0.0, 255.0).round_ties_even();
    let codes = input.data.iter().map(|x| ((x / scale).round_ties_even() + zero).clamp(0.0, 255.0));
    let single = |number| Tensor { shape: Vec::new(), data: vec![number] };
    vec![Tensor { shape: input.shape.clone(), data: codes.collect() }, single(scale), single(zero)]
}

/// By its series, which is exact enough where the function is not 1.
fn erf(x: f64) -> f64 {
    if x.abs() > 4.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..120 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    sum * std::f64::consts::FRAC_2_SQRT_PI
}
