//! The windows as a safetensors file, for training elsewhere: Python scripts need not lay them again.

use std::collections::HashMap;
use std::path::Path;

use safetensors::Dtype;

use super::{Examples, NOWHERE};
use crate::checkpoint::store::{Stored, little_endian, write};
use crate::decode::ScoringRules;
use crate::train::error::Result;
use crate::train::learn::{Lesson, Target};

/// The columns of the file.
#[derive(Default)]
struct Columns {
    ids: Vec<u32>,
    segments: Vec<u8>,
    /// For each window its tokens, where its context starts and ends, and its example.
    windows: Vec<[u32; 4]>,
    priors: Vec<f32>,
    /// Window, first token, last token.
    golds: Vec<[u32; 3]>,
    /// For each example its data set.
    datasets: Vec<u32>,
}

impl Columns {
    fn stored(&self) -> Vec<Stored> {
        let whole = |name: &str, shape: Vec<usize>, numbers: &[u32]| Stored {
            name: name.into(),
            dtype: Dtype::U32,
            shape,
            bytes: numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        };
        let of =
            |dtype, name: &str, count, bytes| Stored { name: name.into(), dtype, shape: vec![count], bytes };
        vec![
            whole("ids", vec![self.ids.len()], &self.ids),
            of(Dtype::U8, "segments", self.segments.len(), self.segments.clone()),
            whole("windows", vec![self.windows.len(), 4], self.windows.as_flattened()),
            of(Dtype::F32, "priors", self.priors.len(), little_endian(&self.priors)),
            whole("golds", vec![self.golds.len(), 3], self.golds.as_flattened()),
            whole("datasets", vec![self.datasets.len()], &self.datasets),
        ]
    }
}

impl Examples {
    /// Writes all windows, whole or not at all: `ids` and `segments` of their tokens, all behind one another; `windows` `[window, 4]`, their
    /// tokens, the first one of the context, the first one behind it, and the example; `priors` `[window]`; `golds` `[gold, 3]`, the
    /// window, and the first and the last token of an answer in it; `datasets` `[example]`. Returns the file's size.
    pub fn write(&self, path: &Path) -> Result<u64> {
        let mut columns = Columns::default();
        for (number, example) in self.examples.iter().enumerate() {
            let (batch, lessons) = self.batch(&[number]);
            columns.ids.extend(&batch.ids);
            columns.segments.extend(batch.segments.iter().map(|&segment| segment as u8));
            let offset = self.template.context_offset(self.questions[example.question].len());
            let first = columns.windows.len();
            for (window, tokens) in example.windows.iter().zip(&batch.lengths) {
                let end = offset + window.shown.0.len();
                columns.windows.push([*tokens, offset, end, number].map(|number| number as u32));
            }
            let mut gold = |window: usize, Target { start, end }: Target| {
                columns.golds.push([first + window, start, end].map(|number| number as u32));
            };
            match &lessons[0] {
                Lesson::Window(target) => {
                    if *target != NOWHERE {
                        gold(0, *target);
                    }
                    columns.priors.push(0.0);
                }
                Lesson::Joint(views) => {
                    for (window, view) in views.iter().enumerate() {
                        view.golds.iter().for_each(|&target| gold(window, target));
                        columns.priors.push(view.prior as f32);
                    }
                }
            }
            columns.datasets.push(self.datasets.partition_point(|&end| end <= number) as u32);
        }
        let metadata = [
            ("objective", self.objective.name().to_owned()),
            ("longest", ScoringRules::Joint.default_answer_tokens().to_string()),
        ];
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(write(path, &columns.stored(), metadata)?)
    }
}
