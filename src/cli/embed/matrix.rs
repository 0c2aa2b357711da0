//! Vectors as the rows of a matrix, in files that start with the number of their rows. Where every token keeps its states, each has a row;
//! those of several layers lie behind one another in it.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::json;
use spanqa::embed::Embedder;
use spanqa::heads::pool::Pooling;

use super::output::{Format, line, place, spool};
use super::record::{Numbers, Record, Row};

/// What made the vectors.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    model: String,
    pooling: &'static str,
    normalised: bool,
    /// The layer whose states these are, or `all`.
    layer: String,
    /// What the rows are called where they have a name.
    tensor: &'static str,
    /// The shape of a row.
    row: Vec<usize>,
}

impl Facts {
    pub fn of(embedder: &Embedder) -> Self {
        let pooling = embedder.pooling();
        let layers = pooling.states.numbers(embedder.config().layers);
        let (layer, several) = match layers[..] {
            [layer] => (layer.to_string(), None),
            _ => ("all".into(), Some(layers.len())),
        };
        Self {
            model: embedder.name().into(),
            pooling: match pooling.pooling {
                Pooling::Mean => "mean",
                Pooling::First => "cls",
                Pooling::None => "none",
            },
            normalised: pooling.normalise,
            layer,
            tensor: if pooling.pooling == Pooling::None { "hidden_states" } else { "embeddings" },
            row: several.into_iter().chain([embedder.dimensions()]).collect(),
        }
    }

    /// The shape of so many rows.
    fn shape(&self, rows: u64) -> Vec<u64> {
        [rows].into_iter().chain(self.row.iter().map(|&size| size as u64)).collect()
    }
}

/// A matrix on its way.
pub struct Matrix {
    format: Format,
    target: PathBuf,
    pub facts: Facts,
    rows: u64,
    numbers: BufWriter<File>,
    /// What each row is, a line of JSON each.
    names: BufWriter<File>,
}

/// Readers of safetensors refuse a longer head.
const LONGEST_HEAD: u64 = 50 << 20;

impl Matrix {
    pub fn open(format: Format, target: &Path) -> Result<Self> {
        let (numbers, names) = (spool(target)?, spool(target)?);
        Ok(Self { format, target: target.into(), facts: Facts::default(), rows: 0, numbers, names })
    }

    pub fn target(&self) -> &Path {
        &self.target
    }

    pub fn row(&mut self, record: &Record) -> Result<()> {
        let &Record { name, tokens, truncated, .. } = record;
        let (rows, pieces) = match &record.numbers {
            Numbers::Vector { embedding } => {
                self.write(embedding)?;
                self.rows += 1;
                (None, None)
            }
            Numbers::States(states) => {
                let first = self.rows;
                for token in 0..states.pieces.pieces.len() {
                    states.hidden_states.iter().try_for_each(|layer| self.write(layer[token]))?;
                    self.rows += 1;
                }
                (Some([first, self.rows]), Some(&states.pieces))
            }
        };
        line(&mut self.names, &Row { name, tokens, truncated, rows, pieces })
    }

    fn write(&mut self, numbers: &[f32]) -> Result<()> {
        Ok(numbers.iter().try_for_each(|number| self.numbers.write_all(&number.to_le_bytes()))?)
    }

    /// Writes the file, and what its rows are beside it if it has no place for that.
    pub fn complete(mut self) -> Result<Option<PathBuf>> {
        let length = self.names.stream_position()?;
        match self.format {
            Format::Safetensors if length <= LONGEST_HEAD => {
                let mut names = self.names.into_inner().map_err(|error| error.into_error())?;
                let mut lines = String::with_capacity(length as usize);
                names.seek(SeekFrom::Start(0))?;
                names.read_to_string(&mut lines)?;
                let ids = format!("[{}]", lines.trim_end().replace('\n', ","));
                let head = safetensors_head(&self.facts, self.rows, Some(&ids));
                place(&self.target, &head, self.numbers)?;
                Ok(None)
            }
            format => {
                let mut beside = self.target.clone().into_os_string();
                beside.push(".ids.jsonl");
                let beside = PathBuf::from(beside);
                let head = match format {
                    Format::Npy => npy_head(&self.facts.shape(self.rows)),
                    _ => safetensors_head(&self.facts, self.rows, None),
                };
                // First: a matrix that is there has its names.
                place(&beside, b"", self.names)?;
                place(&self.target, &head, self.numbers)?;
                Ok(Some(beside))
            }
        }
    }
}

/// What a .npy file of the first version starts with: a Python dictionary, padded so that the numbers begin at a multiple of 64 bytes.
fn npy_head(shape: &[u64]) -> Vec<u8> {
    const BEFORE: usize = 10;
    let shape = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    let mut dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let padded = (BEFORE + dictionary.len() + 1).next_multiple_of(64) - BEFORE;
    dictionary.push_str(&" ".repeat(padded - 1 - dictionary.len()));
    dictionary.push('\n');
    let mut head = b"\x93NUMPY\x01\x00".to_vec();
    head.extend((dictionary.len() as u16).to_le_bytes());
    head.extend(dictionary.into_bytes());
    head
}

/// What a .safetensors file starts with: the length of a JSON object, and the object.
fn safetensors_head(facts: &Facts, rows: u64, ids: Option<&str>) -> Vec<u8> {
    let mut metadata = json!({
        "model": facts.model,
        "pooling": facts.pooling,
        "normalized": facts.normalised.to_string(),
        "layer": facts.layer,
    });
    if let Some(ids) = ids {
        metadata["ids"] = ids.into();
    }
    let shape = facts.shape(rows);
    let bytes = 4 * shape.iter().product::<u64>();
    let tensor = json!({"dtype": "F32", "shape": shape, "data_offsets": [0, bytes]});
    let mut object = json!({"__metadata__": metadata, facts.tensor: tensor}).to_string().into_bytes();
    object.resize(object.len().next_multiple_of(8), b' ');
    let mut head = (object.len() as u64).to_le_bytes().to_vec();
    head.extend(object);
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_where_readers_look_for_them() {
        for shape in [&[0, 1][..], &[7, 384], &[7, 13, 384], &[u64::MAX; 3]] {
            let head = npy_head(shape);
            assert_eq!((head.len() % 64, head.last()), (0, Some(&b'\n')));
            assert_eq!(usize::from(u16::from_le_bytes([head[8], head[9]])) + 10, head.len());
        }
        let facts = Facts { model: "m \"1\"".into(), tensor: "embeddings", row: vec![2], ..Facts::default() };
        let mut file = safetensors_head(&facts, 1, Some(r#"[{"id":"a \" b"}]"#));
        assert_eq!(file.len() % 8, 0);
        file.extend([0; 8]);
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&file).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["ids"], r#"[{"id":"a \" b"}]"#);
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(tensors.tensor("embeddings").unwrap().shape(), [1, 2]);
    }
}
