//! What was seen, as a safetensors file that Python opens.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use half::f16;
use safetensors::Dtype;

use super::{Choice, Error, Inside, Inspector, Result};
use crate::checkpoint::EncoderConfig;
use crate::checkpoint::store::{self, Stored, little_endian};

/// How attention and states are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// Half the size, to three digits.
    #[default]
    F16,
    /// As they were computed.
    F32,
}

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f16" => Ok(Self::F16),
            "f32" => Ok(Self::F32),
            _ => Err(format!("`{text}` is not a type: expected f16, f32")),
        }
    }
}

impl Numbers {
    fn bytes(self) -> u64 {
        match self {
            Self::F16 => 2,
            Self::F32 => 4,
        }
    }

    fn stored(self, name: &str, shape: Vec<usize>, numbers: &[f32]) -> Stored {
        let (dtype, bytes) = match self {
            Self::F16 => {
                let halves = numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes());
                (Dtype::F16, halves.collect())
            }
            Self::F32 => (Dtype::F32, little_endian(numbers)),
        };
        Stored { name: name.into(), dtype, shape, bytes }
    }
}

/// About how large the file of a window with so many tokens is, in bytes.
pub fn size(config: &EncoderConfig, tokens: usize, choice: &Choice, numbers: Numbers) -> u64 {
    let (tokens, hidden) = (tokens as u64, config.hidden as u64);
    let (layers, heads) = (choice.layers.len() as u64, choice.heads.len() as u64);
    numbers.bytes() * (layers * heads * tokens * tokens + (layers + 1) * tokens * hidden)
}

/// Writes what was seen of a window, whole or not at all: `attentions` `[layer, head, query, key]`, `hidden_states` `[layer, token, number]`, of
/// the embeddings and of the layers that were chosen, `input_ids`, `offsets` `[token, 2]`, `start_logits`, `end_logits` and, if there are some,
/// the tokens' `gradient_x_input`.
pub fn write(
    path: &Path,
    (inside, choice): (&Inside, &Choice),
    (ids, offsets): (&[u32], &[(usize, usize)]),
    gradient: Option<&[f32]>,
    numbers: Numbers,
    mut metadata: HashMap<String, String>,
) -> Result<u64> {
    let tokens = ids.len();
    let attentions: Vec<f32> =
        choice.pairs().flat_map(|(&layer, &head)| inside.head(layer, head)).copied().collect();
    let states: Vec<usize> = std::iter::once(0).chain(choice.layers.iter().map(|layer| layer + 1)).collect();
    let hidden: Vec<f32> =
        states.iter().filter_map(|&state| inside.hidden_states.get(state)).flatten().copied().collect();
    let width = hidden.len() / (states.len() * tokens).max(1);
    let whole = |name: &str, shape: Vec<usize>, numbers: &mut dyn Iterator<Item = usize>| Stored {
        name: name.into(),
        dtype: Dtype::I64,
        shape,
        bytes: numbers.flat_map(|number| (number as i64).to_le_bytes()).collect(),
    };
    let shape = vec![choice.layers.len(), choice.heads.len(), tokens, tokens];
    let mut tensors = vec![
        numbers.stored("attentions", shape, &attentions),
        numbers.stored("hidden_states", vec![states.len(), tokens, width], &hidden),
        whole("input_ids", vec![tokens], &mut ids.iter().map(|id| *id as usize)),
        whole("offsets", vec![tokens, 2], &mut offsets.iter().flat_map(|(start, end)| [*start, *end])),
        Numbers::F32.stored("start_logits", vec![tokens], &inside.logits.start),
        Numbers::F32.stored("end_logits", vec![tokens], &inside.logits.end),
    ];
    tensors.extend(gradient.map(|scores| Numbers::F32.stored("gradient_x_input", vec![tokens], scores)));
    let list = |numbers: &[usize]| serde_json::to_string(numbers).unwrap_or_default();
    metadata.insert("layers".into(), list(&choice.layers));
    metadata.insert("heads".into(), list(&choice.heads));
    metadata.insert("hidden_state_layers".into(), list(&states));
    store::write(path, &tensors, metadata).map_err(|error| match error {
        crate::checkpoint::Error::Fs(error) => Error::Fs(error),
        error => Error::Encoder(error.into()),
    })
}

impl Inspector {
    /// Refuses a file that would be larger than `limit` bytes, before anything is computed.
    pub fn refuse_large(&self, tokens: usize, choice: &Choice, numbers: Numbers, limit: u64) -> Result<()> {
        let size = size(self.config(), tokens, choice, numbers);
        if size > limit { Err(Error::TooLarge { size, limit }) } else { Ok(()) }
    }
}
