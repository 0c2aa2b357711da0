//! Replies as lines that editors jump to.

use std::io::Write;
use std::ops::Range;

use anyhow::Result;
use spanqa::request::reply::Answer;
use spanqa::text::sentences::Surroundings;

use super::color::Palette;
use super::{Page, Printer};
use crate::cli::terminal::{flowing, one_line};

impl Printer {
    /// `file:line:column: answer`, and a tab and the question if there are several. With context its sentences follow as
    /// `file-line-sentence`, and `--` parts the answers, as grep has it.
    pub(super) fn grep(&self, page: &Page, out: &mut dyn Write) -> Result<()> {
        let Palette { answer: strong, name, reset, .. } = self.palette;
        for answer in &page.reply.answers {
            let (document, text) = (page.document(answer), one_line(&answer.text));
            write!(out, "{name}{document}{reset}:{}:{}: {strong}{text}{reset}", answer.line, answer.column)?;
            if self.look.several {
                write!(out, "\t{}", one_line(&page.reply.question))?;
            }
            writeln!(out)?;
            if let Some(neighbours) = self.look.context {
                self.sentences(page, answer, neighbours, out)?;
                writeln!(out, "--")?;
            }
        }
        Ok(())
    }

    fn sentences(&self, page: &Page, answer: &Answer, neighbours: usize, out: &mut dyn Write) -> Result<()> {
        let Palette { answer: strong, name, reset, .. } = self.palette;
        let (text, document) = (page.text_of(answer), page.document(answer));
        let Surroundings { before, sentence, after } = page.surroundings(answer, neighbours);
        let line = |at: usize| 1 + text[..at].matches('\n').count();
        let mut write = |range: &Range<usize>, shown: &str| {
            writeln!(out, "{name}{document}{reset}-{}-{shown}", line(range.start))
        };
        for range in &before {
            write(range, &flowing(&text[range.clone()]))?;
        }
        let marked = [
            &flowing(&text[sentence.start..answer.bytes.start]),
            strong,
            &flowing(&text[answer.bytes.clone()]),
            reset,
            &flowing(&text[answer.bytes.end..sentence.end]),
        ];
        write(&sentence, &marked.concat())?;
        for range in &after {
            write(range, &flowing(&text[range.clone()]))?;
        }
        Ok(())
    }
}
