//! The window in a file for Python: what its tokens are goes into the metadata.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::Result;
use serde_json::{Value, json};
use spanqa::inspect::write;
use spanqa::reader::input::Part;
use spanqa::text::offsets::{OffsetUnit, counted};

use super::{Args, View};
use crate::cli::terminal;

impl Args {
    /// Writes everything that was seen.
    pub(super) fn store(&self, view: &View) -> Result<()> {
        let Some(output) = &self.output else { return Ok(()) };
        let offsets = view.offsets();
        let seen = (&view.inside, &view.choice);
        let tokens = (&view.input.ids[..], &offsets[..]);
        let size = write(output, seen, tokens, view.scores.as_deref(), self.store_as, view.metadata())?;
        let name = output.display().to_string();
        self.note(&format!("{} has {:.1} MB", terminal::name(&name), size as f64 / 1e6));
        Ok(())
    }
}

impl View<'_> {
    /// Where each token stands in its text, in code points; special tokens stand at 0..0.
    fn offsets(&self) -> Vec<(usize, usize)> {
        let mut offsets = vec![(0, 0); self.input.ids.len()];
        for (part, text) in [(Part::Question, &self.question.text), (Part::Document, &self.document.text)] {
            let tokens = self.input.tokens_of(part);
            let ranges: Vec<Range<usize>> =
                self.input.places[tokens.clone()].iter().map(|place| place.bytes.clone()).collect();
            let counted = counted(text, &ranges, OffsetUnit::Char);
            for (offset, range) in offsets[tokens].iter_mut().zip(counted) {
                *offset = (range.start, range.end);
            }
        }
        offsets
    }

    fn metadata(&self) -> HashMap<String, String> {
        let tokenizer = self.reader.tokenizer();
        let tokens = self.input.ids.iter().map(|&id| tokenizer.token(id).unwrap_or_default());
        let parts = self.input.places.iter().map(|place| match place.part {
            Part::Special => "special",
            Part::Question => "question",
            Part::Document => "document",
        });
        let mut word_of = vec![0; self.input.ids.len()];
        for (number, word) in self.words.iter().enumerate() {
            word_of[word.tokens.clone()].fill(number);
        }
        let answer = self.span.zip(self.reply.spans().first()).map(|((start, end), answer)| {
            json!({
                "text": answer.text,
                "start": answer.start,
                "end": answer.end,
                "start_token": start,
                "end_token": end,
                "answered": self.reply.answered,
                "margin": self.margin(),
            })
        });
        let identity = self.reader.identity();
        let facts = [
            ("tokens", json!(tokens.collect::<Vec<_>>())),
            ("parts", json!(parts.collect::<Vec<_>>())),
            ("words", json!(word_of)),
            ("sentence_b_start", json!(self.input.tokens_of(Part::Document).start)),
            ("window", json!(self.input.window)),
            ("document", json!(self.document_name())),
            ("question", json!(self.question.text)),
            ("answer", json!(answer)),
            ("model", json!(self.reader.name())),
            ("revision", json!(identity.and_then(|identity| identity.revision.clone()))),
            ("digest", json!(identity.map(|identity| &identity.digest))),
        ];
        let facts = facts.into_iter().filter(|(_, value)| !value.is_null());
        // Texts stand there as they are, everything else as JSON.
        facts
            .map(|(key, value)| {
                let value = if let Value::String(text) = value { text } else { value.to_string() };
                (key.to_owned(), value)
            })
            .collect()
    }
}
