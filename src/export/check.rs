//! `check.jsonl`: inputs, and what the model says of them here. Whoever runs the exported model elsewhere can see that it says the same.
//!
//! The commonest complaint about converted models is silent garbage, and nobody can tell without numbers to compare with.

use serde::Serialize;

use super::model::{Head, Model};
use crate::checkpoint::ModelFiles;
use crate::embed::Embedder;
use crate::encoder::batch::Batch;
use crate::encoder::{DeviceChoice, Precision, Runtime};
use crate::export::error::{Error, Result};
use crate::heads::{QaModel, SpanModel};
use crate::text::Tokenizer;
use crate::text::window::{LastWindow, Limits, WindowShape};

/// Questions and documents: one with its answer, one without, one that is not English, and one that fills a window.
const SAMPLES: [(&str, &str); 4] = [
    (
        "Who kept the light at Kerguen?",
        "The light at Kerguen was kept by Anne Le Bris from 1921 until it was made automatic in 1957.",
    ),
    ("What does a ticket cost?", "The ferry leaves every hour; in winter it stays in the harbour."),
    (
        "Wann öffnet das Café „Zürich“?",
        "Das Café „Zürich“ öffnet um 7 Uhr 30, am 1. Mai schon um 6 Uhr. 東京では九時に開きます。☕",
    ),
    ("How long is the wall?", LONG),
];

const LONG: &str = "The old harbour wall was raised in three stages. The first stones were laid after the storm of 1703, which had \
    taken eleven boats and the roof of the customs house in a single night. For sixty years nobody added to it, and at spring tides \
    children walked to school through water. In 1768 the parish bought granite from a quarry that had failed, and masons from two \
    villages built the second stage in one summer; it is the part with the iron rings. The third stage is of concrete. It was poured \
    in 1934 by men who had been promised work through the winter, and it made the wall 212 metres long. Since then little has been \
    changed. A lamp was put on its end and taken down again, a bench was given by a widow in Leeds, and every autumn the joints are \
    filled with lime, since cement breaks the older stones. Whoever walks to the end at low water can see the stumps of an earlier \
    wall, of oak, of which no paper says a word. Divers who measured it found 38 posts, and under them a layer of hazel and clay \
    that is older than the church. The council has asked twice for money to protect it, and was told twice to ask again.";

/// A line for a window of a question and a document.
#[derive(Serialize)]
struct Window<'a> {
    question: &'a str,
    context: &'a str,
    #[serde(flatten)]
    inputs: Inputs,
    start_logits: &'a [f32],
    end_logits: &'a [f32],
}

/// A line for a text.
#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
    #[serde(flatten)]
    inputs: Inputs,
    sentence_embedding: &'a [f32],
}

/// What goes into the model, by the names that it has there: a batch of one, as runtimes take it.
#[derive(Serialize)]
struct Inputs {
    input_ids: [Vec<u32>; 1],
    attention_mask: [Vec<u32>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    token_type_ids: Option<[Vec<u32>; 1]>,
}

impl Inputs {
    fn new(model: &Model, ids: Vec<u32>, segments: Vec<u32>) -> Self {
        Self {
            attention_mask: [vec![1; ids.len()]],
            input_ids: [ids],
            token_type_ids: model.takes_segments().then_some([segments]),
        }
    }
}

/// The lines of the file. The numbers are those of the model in 32 bits, whatever type is exported.
pub(super) fn lines(model: &Model, files: &ModelFiles) -> Result<Vec<u8>> {
    let precision = Some(Precision::F32);
    let runtime = Runtime { device: DeviceChoice::Cpu, precision, ..Runtime::default() };
    let mut lines = Lines { bytes: Vec::new(), file: files.name.clone() };
    match model.head {
        Head::Span(_) => spans(model, files, &runtime, &mut lines)?,
        Head::Pool(_) => vectors(model, files, &runtime, &mut lines)?,
    }
    Ok(lines.bytes)
}

fn spans(model: &Model, files: &ModelFiles, runtime: &Runtime, lines: &mut Lines) -> Result<()> {
    let tokenizer = Tokenizer::from_files(files)?;
    let reader = QaModel::load(files, runtime)?;
    let template = tokenizer.template();
    for (question, context) in SAMPLES {
        let (mut asked, read) = (tokenizer.encode(question)?.ids, tokenizer.encode(context)?.ids);
        let (special, positions) = (template.special_tokens(), reader.usable_positions());
        let shape = WindowShape::fit(asked.len(), special, positions, &Limits::default())?;
        asked.truncate(shape.question);
        let window = shape.windows(read.len(), LastWindow::Full).into_iter().next().unwrap_or_default();
        let (ids, segments) = template.join(&asked, &read[window]);
        let mut batch = Batch::default();
        batch.push(&ids, &segments);
        for logits in reader.logits(&batch)? {
            let inputs = Inputs::new(model, ids.clone(), segments.clone());
            let (start_logits, end_logits) = (&logits.start, &logits.end);
            let numbers = start_logits.iter().chain(end_logits);
            lines.add(numbers, &Window { question, context, inputs, start_logits, end_logits })?;
        }
    }
    Ok(())
}

fn vectors(model: &Model, files: &ModelFiles, runtime: &Runtime, lines: &mut Lines) -> Result<()> {
    let embedder = Embedder::open(files, runtime)?;
    for (_, text) in SAMPLES {
        let ids = embedder.tokenise(text)?.ids;
        let segments = vec![0; ids.len()];
        for sentence_embedding in &embedder.embed(&[text])? {
            let inputs = Inputs::new(model, ids.clone(), segments.clone());
            lines.add(sentence_embedding.iter(), &Text { text, inputs, sentence_embedding })?;
        }
    }
    Ok(())
}

/// Lines of JSON.
struct Lines {
    bytes: Vec<u8>,
    /// The model, for messages.
    file: String,
}

impl Lines {
    fn add<'a>(&mut self, mut numbers: impl Iterator<Item = &'a f32>, line: &impl Serialize) -> Result<()> {
        let line = serde_json::to_vec(line).ok().filter(|_| numbers.all(|number| number.is_finite()));
        self.bytes.extend(line.ok_or_else(|| Error::NotFinite { model: self.file.clone() })?);
        self.bytes.push(b'\n');
        Ok(())
    }
}
