//! Prints replies: JSON for programs, marked text for people, `file:line:column` for editors.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use spanqa::reader::Document;
use spanqa::request::reply::{Answer, Reply};
use spanqa::text::offsets::sentence;

use super::terminal::{name, one_line};

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A record per question: indented on a terminal, one line in a pipe
    Json,
    /// The sentence with the answer marked
    Text,
    /// file:line:column: answer
    Grep,
    /// What transformers' pipeline returned: score, start, end, answer
    Hf,
}

#[derive(ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColorArg {
    Auto,
    Always,
    Never,
}

/// Prints replies in one format.
pub struct Printer {
    format: Format,
    color: bool,
    pretty: bool,
    /// "No answer" is one of the pipeline's candidates.
    null_competes: bool,
}

const BOLD_GREEN: &str = "\x1b[1;32m";
const DIM: &str = "\x1b[2m";
const RESET: &str = "\x1b[0m";

impl Printer {
    pub fn new(format: Format, color: ColorArg, null_competes: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let color = match color {
            ColorArg::Always => true,
            ColorArg::Never => false,
            ColorArg::Auto => terminal && !no_color,
        };
        Self { format, color, pretty: terminal, null_competes }
    }

    /// Prints one reply. What is written ends with a line break.
    pub fn print(&self, reply: &Reply, documents: &[Arc<Document>], out: &mut dyn Write) -> Result<()> {
        match self.format {
            Format::Json => self.json(reply, out),
            Format::Text => self.text(reply, documents, out),
            Format::Grep => grep(reply, out),
            Format::Hf => self.hf(reply, out),
        }
    }

    fn json(&self, value: &impl Serialize, out: &mut dyn Write) -> Result<()> {
        let mut line =
            if self.pretty { serde_json::to_vec_pretty(value)? } else { serde_json::to_vec(value)? };
        line.push(b'\n');
        Ok(out.write_all(&line)?)
    }

    fn text(&self, reply: &Reply, documents: &[Arc<Document>], out: &mut dyn Write) -> Result<()> {
        let (dim, strong, reset) = if self.color { (DIM, BOLD_GREEN, RESET) } else { ("", "", "") };
        // Without colour the answer is set off by brackets that few texts use.
        let (open, close) = if self.color { ("", "") } else { ("⟦", "⟧") };
        writeln!(out, "{dim}{}{reset}", one_line(&reply.question))?;
        if !reply.answered {
            let why = match reply.reason {
                Some(_) => "there is nothing to read".into(),
                None => format!("probability {:.2}", reply.no_answer_score),
            };
            writeln!(out, "  {strong}no answer{reset} {dim}({why}){reset}")?;
            if !reply.candidates.is_empty() {
                writeln!(out, "  {dim}nearest:{reset}")?;
            }
        }
        for answer in reply.spans() {
            let text = &documents[answer.document_index].text;
            let around = sentence(text, &answer.bytes);
            writeln!(
                out,
                "  {}{strong}{open}{}{close}{reset}{}",
                one_line(&text[around.start..answer.bytes.start]),
                one_line(&answer.text),
                one_line(&text[answer.bytes.end..around.end]),
            )?;
            writeln!(
                out,
                "    {dim}{}:{}:{}  score {:.3}  margin {:+.2}{reset}",
                document(answer),
                answer.line,
                answer.column,
                answer.score,
                answer.margin
            )?;
        }
        if let Some(why) = &reply.why {
            for window in &why.windows {
                let best = window
                    .best
                    .first()
                    .map_or(String::new(), |span| format!("  best {:+.2} {:?}", span.logit, span.text));
                writeln!(
                    out,
                    "    {dim}window {} of {}: {}..{}, null {:+.2}{best}{reset}",
                    window.window,
                    name(&window.document.to_string()),
                    window.start,
                    window.end,
                    window.null_logit
                )?;
            }
            for span in &why.spans {
                writeln!(out, "    {dim}tokens of {:?}: start and end logits{reset}", span.text)?;
                for token in &span.tokens {
                    let mark = if token.inside { "▸" } else { " " };
                    writeln!(
                        out,
                        "    {dim}{mark} {:>8.2} {:>8.2}  {}{reset}",
                        token.start_logit,
                        token.end_logit,
                        one_line(&token.text)
                    )?;
                }
            }
        }
        Ok(())
    }

    /// One object for one answer, otherwise a list: what the pipeline did.
    fn hf(&self, reply: &Reply, out: &mut dyn Write) -> Result<()> {
        let mut rows: Vec<HfAnswer> = reply.spans().iter().map(HfAnswer::from).collect();
        if self.null_competes {
            let null = HfAnswer { score: reply.no_answer_score, start: 0, end: 0, answer: "" };
            let place = rows.iter().take_while(|row| row.score >= null.score).count();
            let wanted = rows.len().max(1);
            rows.insert(place, null);
            rows.truncate(wanted);
        }
        match rows.as_slice() {
            [only] => self.json(only, out),
            _ => self.json(&rows, out),
        }
    }
}

#[derive(Serialize)]
struct HfAnswer<'a> {
    score: f32,
    start: usize,
    end: usize,
    answer: &'a str,
}

impl<'a> From<&'a Answer> for HfAnswer<'a> {
    fn from(answer: &'a Answer) -> Self {
        Self { score: answer.score, start: answer.start, end: answer.end, answer: &answer.text }
    }
}

/// The document's name, without power over a terminal.
fn document(answer: &Answer) -> String {
    name(&answer.document.to_string()).into_owned()
}

fn grep(reply: &Reply, out: &mut dyn Write) -> Result<()> {
    for answer in &reply.answers {
        let text = one_line(&answer.text);
        writeln!(out, "{}:{}:{}: {text}", document(answer), answer.line, answer.column)?;
    }
    Ok(())
}
