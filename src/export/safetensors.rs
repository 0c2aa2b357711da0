//! The form of Hugging Face: tensors under transformers' names in one file.

use std::collections::HashMap;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::model::Model;
use super::number::Float;
use super::place::Output;
use crate::export::error::Result;

/// The header is filled up to a multiple of so many bytes, so that numbers are aligned.
const ALIGNMENT: usize = 8;

impl Float {
    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }
}

/// Writes the model's tensors one by one.
pub(super) fn write(model: &Model, float: Float, output: &mut Output) -> Result<()> {
    let mut tensors = model.tensors();
    tensors.sort_by(|one, two| one.name.cmp(&two.name));
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let start = end;
        end += tensor.len() * float.size();
        let info =
            TensorInfo { dtype: float.dtype(), shape: tensor.shape.clone(), data_offsets: (start, end) };
        (tensor.name.clone(), info)
    });
    // transformers refuses a file that does not say so.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let mut header = Metadata::new(Some(format), infos.collect())
        .map_err(std::io::Error::other)
        .and_then(|metadata| Ok(serde_json::to_vec(&metadata)?))
        .map_err(|source| output.refused(source))?;
    header.resize(header.len().next_multiple_of(ALIGNMENT), b' ');
    output.put(&(header.len() as u64).to_le_bytes())?;
    output.put(&header)?;
    for tensor in &tensors {
        model.for_each_block(tensor, |block| output.put(&float.bytes(block, &tensor.name)?))?;
    }
    Ok(())
}
