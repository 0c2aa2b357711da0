//! Replies for people: the sentence with the answer marked.

use std::io::Write;
use std::ops::Range;

use anyhow::Result;
use spanqa::request::reply::{Answer, Reason, Reply, Why, WordPart, WordReport};
use spanqa::text::sentences::Surroundings;

use super::color::Palette;
use super::wrap::wrap;
use super::{Page, Printer};
use crate::cli::terminal::{flowing, one_line};

impl Printer {
    pub(super) fn text(&self, page: &Page, out: &mut dyn Write) -> Result<()> {
        let Palette { strong, dim, reset, .. } = self.palette;
        let reply = page.reply;
        if !self.look.typed {
            self.line(0, &flowing(&reply.question), out)?;
        }
        if !reply.answered {
            match page.perhaps() {
                Some(best) => {
                    let text = flowing(&best.text);
                    let line = format!(
                        "{strong}perhaps \"{text}\"{reset} {dim}(probability {:.2}){reset}",
                        best.score
                    );
                    self.line(2, &line, out)?;
                }
                None => {
                    let line = format!("{strong}no answer{reset} {dim}({}){reset}", why_none(reply));
                    self.line(2, &line, out)?;
                }
            }
            if let Some(read) = page.unread() {
                self.line(2, &format!("in {read}"), out)?;
            }
            if !reply.candidates.is_empty() && !reply.perhaps {
                writeln!(out, "  {dim}nearest:{reset}")?;
            }
        }
        for (rank, answer) in reply.spans().iter().enumerate() {
            let confidence = reply.confidence.filter(|_| reply.answered && rank == 0);
            self.quote(page, (answer, confidence), out)?;
        }
        match &reply.why {
            Some(why) => self.why(page, why, out),
            None => Ok(()),
        }
    }

    /// The sentences around an answer, and where it stands.
    fn quote(
        &self,
        page: &Page,
        (answer, confidence): (&Answer, Option<f32>),
        out: &mut dyn Write,
    ) -> Result<()> {
        let Palette { answer: strong, name, dim, reset, .. } = self.palette;
        // Without colour the answer is set off by brackets that few texts use.
        let (open, close) = if self.palette.is_plain() { ("⟦", "⟧") } else { ("", "") };
        let text = page.text_of(answer);
        let piece = |range: Range<usize>| flowing(&text[range]);
        let neighbours = self.look.context.unwrap_or(0);
        let Surroundings { before, sentence, after } = page.surroundings(answer, neighbours);
        for range in before {
            self.line(2, &piece(range), out)?;
        }
        let marked = format!(
            "{}{strong}{open}{}{close}{reset}{}",
            piece(sentence.start..answer.bytes.start),
            piece(answer.bytes.clone()),
            piece(answer.bytes.end..sentence.end),
        );
        self.line(2, &marked, out)?;
        for range in after {
            self.line(2, &piece(range), out)?;
        }
        let sheet = answer.source.as_ref().and_then(|source| source.page);
        let sheet = sheet.map_or(String::new(), |number| format!("  page {number}"));
        let (place, Answer { score, margin, .. }) = (page.place(answer), answer);
        let sure = confidence.map_or(String::new(), |confidence| format!("confidence {confidence:.2}  "));
        let numbers = format!("{dim}{sure}score {score:.3}  margin {margin:+.2}{reset}");
        self.line(4, &format!("{name}{place}{reset}{sheet}  {numbers}"), out)
    }

    /// One line, or several on a narrow terminal.
    fn line(&self, indent: usize, text: &str, out: &mut dyn Write) -> Result<()> {
        Ok(writeln!(out, "{}", wrap(text, indent, self.width))?)
    }

    fn why(&self, page: &Page, why: &Why, out: &mut dyn Write) -> Result<()> {
        for window in &why.windows {
            let best = window.best.first().map_or(String::new(), |span| {
                format!("  best {:+.2} \"{}\"", span.logit, flowing(&span.text))
            });
            let name = page.name_of(&window.document);
            let (number, start, end) = (window.window, window.start, window.end);
            let line =
                format!("window {number} of {name}: {start}..{end}, null {:+.2}{best}", window.null_logit);
            self.line(4, &line, out)?;
        }
        for span in &why.spans {
            self.line(4, &format!("tokens of \"{}\": start and end logits", flowing(&span.text)), out)?;
            for token in &span.tokens {
                let mark = if token.inside { "▸" } else { " " };
                writeln!(
                    out,
                    "    {mark} {:>8.2} {:>8.2}  {}",
                    token.start_logit,
                    token.end_logit,
                    one_line(&token.text)
                )?;
            }
            self.words(&span.words, out)?;
        }
        Ok(())
    }

    /// The words that did most for a span's margin, or against it.
    fn words(&self, words: &[WordReport], out: &mut dyn Write) -> Result<()> {
        if words.is_empty() {
            return Ok(());
        }
        let mut most: Vec<&WordReport> = words.iter().collect();
        most.sort_by(|a, b| b.score.abs().total_cmp(&a.score.abs()));
        let shown = most.iter().take(WORDS).map(|word| {
            let from = if word.part == WordPart::Question { " (question)" } else { "" };
            format!("{:+.2} {}{from}", word.score, one_line(&word.text))
        });
        let shown = shown.collect::<Vec<_>>().join(", ");
        self.line(4, &format!("what words do for its margin, to first order: {shown}"), out)
    }
}

/// Words that are shown of an explained answer.
const WORDS: usize = 8;

/// Why there is no answer. "No answer" may win over every single place with little probability of its own, where many places share the rest:
/// then its number would read as the opposite.
fn why_none(reply: &Reply) -> String {
    match (reply.reason, reply.confidence) {
        (Some(Reason::NothingFound), _) => "nothing was found".into(),
        (Some(_), _) => "there is nothing to read".into(),
        (None, Some(confidence)) => format!("confidence {confidence:.2}"),
        (None, None) if reply.no_answer_score >= 0.5 => format!("probability {:.2}", reply.no_answer_score),
        (None, None) => "no place is likely enough".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use spanqa::checkpoint::ModelFiles;
    use spanqa::encoder::Runtime;
    use spanqa::reader::{Document, Reader};
    use spanqa::request::reply::DocumentId;

    use super::*;
    use crate::cli::output::color::ColorArg;
    use crate::cli::output::{Format, Look, json};

    const TEXT: &str = "The last keeper was Olav. He left in 1986.";

    fn documents() -> Vec<Arc<Document>> {
        let files = ModelFiles::from_dir(Path::new("tests/fixtures/tiny/minilm")).unwrap();
        let reader = Reader::open(&files, &Runtime::default()).unwrap();
        vec![Arc::new(reader.prepare(DocumentId::Index(0), TEXT.into()).unwrap())]
    }

    /// A reply without an answer, whose candidate is Olav.
    fn reply(no_answer_score: f32, perhaps: bool) -> Reply {
        let olav = Answer {
            text: "Olav".into(),
            start: 20,
            end: 24,
            document: DocumentId::Index(0),
            line: 1,
            column: 21,
            source: None,
            score: 0.31,
            margin: -1.5,
            document_index: 0,
            bytes: 20..24,
        };
        Reply {
            id: "1".into(),
            question: "Who was it?".into(),
            answered: false,
            perhaps,
            confidence: None,
            answers: Vec::new(),
            candidates: vec![olav],
            no_answer_score,
            null_odds: Some(1.5),
            windows: 2,
            windows_total: 2,
            passages_searched: None,
            unread: false,
            model: "tiny".into(),
            question_truncated: false,
            reason: None,
            why: None,
            notes: Vec::new(),
        }
    }

    fn shown(reply: &Reply, typed: bool) -> String {
        let look = Look {
            format: Format::Text,
            color: ColorArg::Never,
            context: None,
            null_competes: false,
            top_k: 1,
            several: false,
            typed,
            quiet: true,
        };
        let json = json::Style::new(ColorArg::Never);
        let printer = Printer { look, palette: Palette::default(), json, width: None };
        let mut out = Vec::new();
        printer.print(reply, &documents(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    const QUOTE: &str = "  The last keeper was ⟦Olav⟧.\n    (text):1:21  score 0.310  margin -1.50\n";

    #[test]
    fn a_number_beside_no_answer_speaks_for_it() {
        let sure = shown(&reply(0.99, false), false);
        assert_eq!(sure, format!("Who was it?\n  no answer (probability 0.99)\n  nearest:\n{QUOTE}"));
        let weak = shown(&reply(0.06, false), false);
        assert_eq!(
            weak,
            format!("Who was it?\n  no answer (no place is likely enough)\n  nearest:\n{QUOTE}")
        );
    }

    #[test]
    fn perhaps_stands_in_the_place_of_no_answer() {
        let expected = format!("Who was it?\n  perhaps \"Olav\" (probability 0.31)\n{QUOTE}");
        assert_eq!(shown(&reply(0.06, true), false), expected);
        let (reply, documents) = (reply(0.06, true), documents());
        let page = Page { reply: &reply, documents: &documents };
        let said = "no answer to \"Who was it?\"; perhaps \"Olav\" ((text):1:21, probability 0.31)";
        assert_eq!(page.no_answer(), said);
    }

    #[test]
    fn what_was_not_read_is_said() {
        // Two windows may cover what three of another layout would.
        let covered = Reply { windows_total: 3, ..reply(0.99, false) };
        assert!(!shown(&covered, true).contains("--read all"));
        let reply = Reply { windows_total: 93, unread: true, ..covered };
        let shown = shown(&reply, true);
        assert!(
            shown.starts_with(
                "  no answer (probability 0.99)\n  in 2 of 93 windows; `--read all` reads the rest\n"
            ),
            "{shown}"
        );
    }
}
