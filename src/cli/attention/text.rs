//! For people at a terminal: which words the answer attends to, or which words moved it.

use std::fmt::Write;

use spanqa::inspect::{Word, by_word, sum_by_word};
use spanqa::reader::input::Part;

use super::{Method, View};
use crate::cli::terminal::{flowing, one_line};

impl View<'_> {
    /// The words that count most, as text.
    pub(super) fn text(&self, method: Method, most: usize) -> String {
        let mut out = format!("{}\n", flowing(&self.question.text));
        let _ = writeln!(out, "  {}", self.headline());
        match (method, &self.scores) {
            (Method::Gradient, Some(scores)) => self.moved(scores, most, &mut out),
            _ => self.attended(most, &mut out),
        }
        out
    }

    fn headline(&self) -> String {
        let place = format!("window {} of {}", self.input.window, self.document_name());
        let answer = self.reply.spans().first().map(|answer| flowing(&answer.text));
        match (answer, self.margin()) {
            (Some(text), Some(margin)) if self.reply.answered => {
                format!("answer \"{text}\", margin {margin:+.2}, {place}")
            }
            (Some(text), Some(margin)) => {
                format!("no answer; nearest is \"{text}\", margin {margin:+.2}, {place}")
            }
            _ => format!("{place}, where the answer is not"),
        }
    }

    /// For each word of the answer, or of the question if the answer is elsewhere, what it attends to.
    fn attended(&self, most: usize, out: &mut String) {
        let count = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (layers, heads) =
            (count(self.choice.layers.len(), "layer"), count(self.choice.heads.len(), "head"));
        let _ = writeln!(out, "  attention, the mean of {layers} and {heads}:");
        let attention = by_word(&self.inside.mean(&self.choice), &self.words);
        let is_asked = |word: &Word| match self.span {
            Some(span) => word.meets(span),
            None => word.part == Part::Question,
        };
        let rows = self.words.iter().zip(attention.chunks_exact(self.words.len().max(1)));
        let asked: Vec<(&Word, &[f32])> = rows.filter(|(word, _)| is_asked(word)).collect();
        let widest = asked.iter().map(|(word, _)| one_line(&word.text).chars().count()).max().unwrap_or(0);
        for (word, row) in asked {
            let special: f32 =
                self.words_with(row).filter(|(to, _)| to.part == Part::Special).map(|(_, paid)| paid).sum();
            let mut paid: Vec<(&Word, f32)> =
                self.words_with(row).filter(|(to, _)| to.part != Part::Special).collect();
            paid.sort_by(|(_, a), (_, b)| b.total_cmp(a));
            let shown = paid.iter().take(most).map(|(to, paid)| format!("{} {paid:.3}", named(to)));
            let shown: Vec<String> = shown.chain([format!("(special tokens {special:.3})")]).collect();
            let _ = writeln!(out, "    {:widest$}  {}", one_line(&word.text), shown.join(", "));
        }
    }

    /// The words that did most for the margin, or against it.
    fn moved(&self, scores: &[f32], most: usize, out: &mut String) {
        out.push_str("  gradient times input, summed over the pieces of a word:\n");
        let by_word = sum_by_word(scores, &self.words);
        let mut moved: Vec<(&Word, f32)> =
            self.words_with(&by_word).filter(|(word, _)| word.part != Part::Special).collect();
        moved.sort_by(|(_, a), (_, b)| b.abs().total_cmp(&a.abs()));
        for (word, score) in moved.iter().take(most) {
            let _ = writeln!(out, "    {score:+8.3}  {}", named(word));
        }
    }

    fn words_with<'a>(&'a self, numbers: &'a [f32]) -> impl Iterator<Item = (&'a Word, f32)> {
        self.words.iter().zip(numbers.iter().copied())
    }
}

/// A word, and where it is from if that is not the document.
fn named(word: &Word) -> String {
    let text = one_line(&word.text);
    if word.part == Part::Question { format!("{text} (question)") } else { text }
}
