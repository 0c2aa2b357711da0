//! What is written down of a model that learns: its weights for everyone, and all that goes on from there for itself.

use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::Learner;
use super::parameters::Parameters;
use crate::checkpoint::store::{Stored, little_endian, write};
use crate::train::error::{Error, Result};
use crate::{checkpoint, fs};

/// The key under which the caller's notes lie in the state's header.
const NOTES: &str = "notes";

/// The key of the optimiser's count of steps.
const STEPS: &str = "steps";

/// The parts of a state, in the order in which they are stored.
const PARTS: [&str; 3] = ["value", "first", "second"];

/// A state that was found on disk.
pub struct SavedState {
    bytes: Vec<u8>,
    path: std::path::PathBuf,
    steps: u64,
    notes: String,
}

impl SavedState {
    /// Reads a state.
    pub fn open(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| fs::Error::Read { path: path.to_path_buf(), source })?;
        let bad = |reason: String| -> Error {
            checkpoint::Error::BadFile { file: path.display().to_string(), reason }.into()
        };
        let (_, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|error| bad(format!("its safetensors header does not describe it: {error}")))?;
        let get = |key: &str| header.metadata().as_ref().and_then(|notes| notes.get(key)).cloned();
        let (Some(notes), Some(steps)) = (get(NOTES), get(STEPS).and_then(|steps| steps.parse().ok())) else {
            return Err(bad("it is not the state of a training run".into()));
        };
        Ok(Self { path: path.to_path_buf(), steps, notes, bytes })
    }

    /// What the caller wrote beside the numbers.
    pub fn notes(&self) -> &str {
        &self.notes
    }
}

impl Learner {
    /// Writes the weights under the names that transformers looks for; whole or not at all.
    pub fn write_weights(&mut self, path: &Path) -> Result<()> {
        self.fetch_values()?;
        let Parameters { slots, values, .. } = &self.parameters;
        let tensors = slots.iter().map(|slot| Stored {
            name: self.parameters.name(slot),
            dtype: Dtype::F32,
            shape: slot.shape.clone(),
            bytes: little_endian(&values[slot.place.clone()]),
        });
        write(path, &tensors.collect::<Vec<_>>(), HashMap::from([("format".into(), "pt".into())]))?;
        Ok(())
    }

    /// Writes everything that a later run needs to go on as if nothing had happened, with the caller's notes; whole or not at all.
    pub fn write_state(&mut self, path: &Path, notes: &str) -> Result<()> {
        self.fetch_values()?;
        self.fetch_moments()?;
        let parts = [&self.parameters.values, &self.moments.first, &self.moments.second];
        let mut tensors = Vec::new();
        for slot in &self.parameters.slots {
            for (part, numbers) in PARTS.iter().zip(parts) {
                tensors.push(Stored {
                    name: format!("{part}/{}", self.parameters.name(slot)),
                    dtype: Dtype::F32,
                    shape: slot.shape.clone(),
                    bytes: little_endian(&numbers[slot.place.clone()]),
                });
            }
        }
        let header =
            [(NOTES.to_owned(), notes.to_owned()), (STEPS.to_owned(), self.moments.steps.to_string())];
        write(path, &tensors, HashMap::from(header))?;
        Ok(())
    }

    /// Goes on from a state of a model of the same shape.
    pub fn restore(&mut self, state: &SavedState) -> Result<()> {
        let bad = |reason: String| -> Error {
            checkpoint::Error::BadFile { file: state.path.display().to_string(), reason }.into()
        };
        let tensors = SafeTensors::deserialize(&state.bytes).map_err(|error| bad(error.to_string()))?;
        let slots = &self.parameters.slots;
        let names: Vec<String> = slots.iter().map(|slot| self.parameters.name(slot)).collect();
        let parts = [&mut self.parameters.values, &mut self.moments.first, &mut self.moments.second];
        for (part, numbers) in PARTS.iter().zip(parts) {
            for (slot, name) in slots.iter().zip(&names) {
                let name = format!("{part}/{name}");
                let tensor = tensors.tensor(&name).map_err(|_| bad(format!("it has no {name}")))?;
                if tensor.shape() != slot.shape || tensor.dtype() != Dtype::F32 {
                    return Err(bad(format!("{name} has another shape than the base model's")));
                }
                let bytes = tensor.data().as_chunks().0;
                for (number, bytes) in numbers[slot.place.clone()].iter_mut().zip(bytes) {
                    *number = f32::from_le_bytes(*bytes);
                }
            }
        }
        self.moments.steps = state.steps;
        self.put()
    }
}
