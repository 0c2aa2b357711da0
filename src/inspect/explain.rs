//! Which words moved the margin: what `ask --why=words` adds to a reply.

use std::ops::Range;

use super::words::{Word, sum_by_word, words};
use super::{Inspector, Result};
use crate::reader::input::{ModelInput, Part};
use crate::reader::{Question, Reader};
use crate::request::reply::{Reply, WordPart, WordReport};
use crate::text::offsets::counted;

impl Inspector {
    /// Adds to each span of an explained reply what the words of its window do for its margin over "no answer".
    pub fn explain(&self, reader: &Reader, question: &Question, reply: &mut Reply) -> Result<()> {
        let documents: Vec<usize> = reply.spans().iter().map(|span| span.document_index).collect();
        let Some(why) = reply.why.as_mut().filter(|why| !why.spans.is_empty()) else { return Ok(()) };
        let inputs = reader.inputs(question)?;
        for (span, document) in why.spans.iter_mut().zip(documents) {
            let input = inputs.iter().find(|input| (input.document, input.window) == (document, span.window));
            if let Some(input) = input {
                span.words = self.words(reader, question, input, span.place)?;
            }
        }
        Ok(())
    }

    fn words(
        &self,
        reader: &Reader,
        question: &Question,
        input: &ModelInput,
        span: (usize, usize),
    ) -> Result<Vec<WordReport>> {
        let document = &question.documents[input.document].text;
        let words = words(input, &question.text, document, reader.tokenizer());
        let scores = sum_by_word(&self.gradient_times_input(input, span)?, &words);
        let mut reports = Vec::with_capacity(words.len());
        for (part, text, reported) in [
            (Part::Question, &question.text, WordPart::Question),
            (Part::Document, document, WordPart::Document),
        ] {
            let own = words.iter().zip(&scores).filter(|(word, _)| word.part == part);
            let (own, scores): (Vec<&Word>, Vec<&f32>) = own.unzip();
            let ranges: Vec<Range<usize>> = own.iter().map(|word| word.bytes.clone()).collect();
            let places = counted(text, &ranges, question.options.unit).into_iter();
            reports.extend(own.iter().zip(scores).zip(places).map(|((word, &score), at)| WordReport {
                text: word.text.clone(),
                part: reported,
                start: at.start,
                end: at.end,
                score,
            }));
        }
        Ok(reports)
    }
}
