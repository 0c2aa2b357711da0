//! `spanqa attention`: what a model looks at in the window of an answer, and which words moved its margin.
//!
//! The answer is the one that `ask` gives, from the same windows. One of them is then looked at: see [`spanqa::inspect`].

mod file;
mod numbers;
mod text;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use spanqa::inspect::{Choice, Inside, Inspector, Numbers, Picture, Word, page, sum_by_word, words};
use spanqa::reader::input::ModelInput;
use spanqa::reader::{Document, Question, Reader};
use spanqa::request::Options;
use spanqa::request::reply::Reply;

use self::numbers::NumberList;
use super::inputs::{InputArgs, Text};
use super::options::{ReaderArgs, choice, size};
use super::target::{refuse_folder, refuse_present};
use super::{Outcome, Usage, output, terminal, walk};

const FORMATS: &[(&str, &str)] = &[
    ("text", "For each word of the answer the words that it attends to most"),
    ("html", "A page that needs nothing else: heads, layers, words, the answer"),
    ("safetensors", "All numbers: attentions, hidden states, logits; for Python, see docs/inspecting.md"),
];

const METHODS: &[(&str, &str)] = &[
    ("attention", "Where each word looks"),
    ("gradient", "What each word does for the margin of the answer over \"no answer\": gradient times input"),
];

const STORED: &[(&str, &str)] =
    &[("f16", "Half the size, to three digits"), ("f32", "As they were computed")];

/// Show what a model looks at, and which words moved its answer
///
/// The question is answered as `spanqa ask` does it. Then the window of the answer, or of the span that came nearest, goes through the model
/// once more, in f32 and with everything kept. Attention says where numbers went, not why: for that there is --method gradient.
///
/// Exits 0 if the question was answered, 1 if it was not, 2 after an error.
#[derive(clap::Args)]
pub struct Args {
    /// The file to read, - or nothing for standard input; one document
    files: Vec<PathBuf>,
    /// The question
    #[arg(short, long, value_name = "QUESTION")]
    question: String,
    #[command(flatten)]
    inputs: InputArgs,
    /// What to show
    #[arg(long, value_parser = choice::<Method>(METHODS), value_name = "METHOD", default_value = "attention", help_heading = "Picture")]
    method: Method,
    /// How to show it [default: by the name of --output, else text]
    #[arg(short, long, value_parser = choice::<Format>(FORMATS), value_name = "FORMAT", help_heading = "Picture")]
    format: Option<Format>,
    /// The same as --format html
    #[arg(long, conflicts_with = "format", help_heading = "Picture")]
    html: bool,
    /// Write here instead of standard output; the file appears when it is complete
    #[arg(short, long, value_name = "FILE", help_heading = "Picture")]
    output: Option<PathBuf>,
    /// Replace the output if it is there
    #[arg(long, help_heading = "Picture")]
    force: bool,
    /// Layers, from 0 as in transformers' `attentions`: `0,2-3` [default: all]
    #[arg(long, value_name = "LIST", help_heading = "Picture")]
    layers: Option<NumberList>,
    /// Heads of each layer, from 0: `0,2-3` [default: all]
    #[arg(long, value_name = "LIST", help_heading = "Picture")]
    heads: Option<NumberList>,
    /// Which window to look at, as `spanqa ask --why` numbers them [default: that of the answer]
    #[arg(long, value_name = "N", help_heading = "Windows")]
    window_number: Option<usize>,
    /// With --format safetensors: the type of attentions and hidden states
    #[arg(long, value_parser = choice::<Numbers>(STORED), value_name = "TYPE", default_value = "f16", help_heading = "Picture")]
    store_as: Numbers,
    /// With --format safetensors: refuse to write a file larger than this; 10k, 5M and 1G are powers of 1024
    #[arg(long, value_name = "BYTES", value_parser = size, default_value = "256M", help_heading = "Picture")]
    max_size: u64,
    /// Words to show for each word, with --format text
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = super::options::at_least_one, help_heading = "Picture")]
    most: usize,
    /// No remarks on standard error; errors are still said
    #[arg(long, help_heading = "Picture")]
    quiet: bool,
    #[command(flatten)]
    reader: ReaderArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Attention,
    Gradient,
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "attention" => Ok(Self::Attention),
            "gradient" => Ok(Self::Gradient),
            _ => Err(format!("`{text}` is not a method: expected attention, gradient")),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    Html,
    Safetensors,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "html" => Ok(Self::Html),
            "safetensors" => Ok(Self::Safetensors),
            _ => Err(format!("`{text}` is not a format: expected text, html, safetensors")),
        }
    }
}

/// A window, the answer in it, and its inside.
struct View<'a> {
    question: &'a Question,
    document: &'a Document,
    reader: &'a Reader,
    reply: &'a Reply,
    input: &'a ModelInput,
    words: Vec<Word>,
    /// The first and the last token of the answer, or of what came nearest, if it is in this window.
    span: Option<(usize, usize)>,
    choice: Choice,
    inside: Inside,
    /// What each token does for the span's margin, if that was asked for.
    scores: Option<Vec<f32>>,
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    if args.inputs.files.walk.type_list {
        out.write_all(walk::type_list().as_bytes())?;
        return Ok(Outcome::Success);
    }
    if args.question.trim().is_empty() {
        let hint = "spanqa attention -q \"Who wrote it?\" FILE";
        return Err(Usage::new("the question is empty", hint).into());
    }
    let format = args.format()?;
    let mut note = |text: String| args.note(&text);
    let text = args.one_document(&mut note)?;
    let limits_of = args.reader.read(args.reader.decoding.reads());
    let limits = args.reader.limits.limits(limits_of)?;
    let resolved = args.reader.resolve(args.quiet)?;
    let decoding = args.reader.decoding.decoding(&resolved, true)?;
    let options = Options { decoding, limits, read: limits_of, why: true, ..Options::default() };
    let reader = args.reader.open(&resolved, args.quiet)?;
    let runtime = args.reader.runtime.device.runtime();
    let inspector = Inspector::open(&resolved.files, &runtime)
        .with_context(|| format!("cannot look into model {}", args.reader.model.model))?;
    let choice = inspector.choose(args.layers.as_deref(), args.heads.as_deref())?;

    let document = Arc::new(reader.prepare_document(text.id, text.text)?);
    let question = Question::new("1", args.question.as_str(), vec![document.clone()]).with(&options.into());
    let reply = reader.answer(std::slice::from_ref(&question), &mut |_| {})?.remove(0)?;
    let inputs = reader.inputs(&question)?;
    let (input, span) = args.window(&inputs, &reply, &output::name_of(&document.id, 1))?;
    if format == Format::Safetensors {
        inspector.refuse_large(input.ids.len(), &choice, args.store_as, args.max_size)?;
    }
    let inside = inspector.look(input)?;
    let scores = match (span, args.method == Method::Gradient || format == Format::Html) {
        (Some(span), true) => Some(inspector.gradient_times_input(input, span)?),
        _ => None,
    };
    let words = words(input, &question.text, &document.text, reader.tokenizer());
    let view = View {
        question: &question,
        document: &document,
        reader: &reader,
        reply: &reply,
        input,
        words,
        span,
        choice,
        inside,
        scores,
    };
    args.show(&view, format, out)?;
    Ok(if reply.answered { Outcome::Success } else { Outcome::Negative })
}

impl Args {
    fn note(&self, text: &str) {
        if !self.quiet {
            terminal::note(text);
        }
    }

    /// What to write, after a look at where to.
    fn format(&self) -> Result<Format> {
        let by_name = |path: &Path| match path.extension()?.to_str()? {
            "html" | "htm" => Some(Format::Html),
            "safetensors" => Some(Format::Safetensors),
            _ => None,
        };
        let named = self.output.as_deref().and_then(by_name);
        let format = match self.html {
            true => Format::Html,
            false => self.format.or(named).unwrap_or(Format::Text),
        };
        let Some(output) = &self.output else {
            return match format {
                Format::Safetensors => {
                    let hint = "add `--output FILE.safetensors`";
                    Err(Usage::new("safetensors cannot be written to standard output", hint).into())
                }
                Format::Text | Format::Html => Ok(format),
            };
        };
        refuse_folder(output, "attention.html")?;
        refuse_present(output, self.force)?;
        Ok(format)
    }

    /// Attention is within one text.
    fn one_document(&self, note: &mut dyn FnMut(String)) -> Result<Text> {
        let mut texts = self.inputs.read(&self.files, note)?;
        match (texts.pop(), texts.len()) {
            (Some(only), 0) => Ok(only),
            (_, more) => {
                let what = format!("there are {} documents, and one can be looked at", more + 1);
                let hint = "`spanqa ask` says in which file the answer is: name that one alone";
                Err(Usage::new(what, hint).into())
            }
        }
    }

    /// The window to look at, and the tokens of the best span if it is in there.
    fn window<'a>(
        &self,
        inputs: &'a [ModelInput],
        reply: &Reply,
        document: &str,
    ) -> Result<(&'a ModelInput, Option<(usize, usize)>)> {
        let best = reply.why.as_ref().and_then(|why| why.spans.first());
        let wanted = self.window_number.or(best.map(|span| span.window));
        let found = match wanted {
            Some(number) => inputs.iter().find(|input| input.window == number),
            None => inputs.first(),
        };
        let Some(input) = found else {
            let document = document.to_owned();
            let Some(asked) = wanted.filter(|_| !inputs.is_empty()) else {
                return Err(spanqa::inspect::Error::NothingToRead { document }.into());
            };
            let read = inputs.iter().map(|input| input.window).collect();
            return Err(spanqa::inspect::Error::NoSuchWindow { document, read, asked }.into());
        };
        let span = best.filter(|span| span.window == input.window).map(|span| span.place);
        if span.is_none() && self.method == Method::Gradient {
            let what =
                format!("the answer is not in window {}, so there is no margin to explain", input.window);
            return Err(Usage::new(what, "leave out `--window-number`").into());
        }
        Ok((input, span))
    }

    fn show(&self, view: &View, format: Format, out: &mut dyn Write) -> Result<()> {
        let shown = match format {
            Format::Safetensors => return self.store(view),
            Format::Text => view.text(self.method, self.most),
            Format::Html => view.page(),
        };
        match &self.output {
            None => out.write_all(shown.as_bytes())?,
            Some(output) => spanqa::fs::write(output, shown.as_bytes())?,
        }
        Ok(())
    }
}

impl View<'_> {
    /// What the document is called.
    fn document_name(&self) -> String {
        output::name_of(&self.document.id, 1)
    }

    /// How many logits the span leads "no answer" by, here and in f32.
    fn margin(&self) -> Option<f32> {
        let (start, end) = self.span?;
        let logits = &self.inside.logits;
        Some(logits.start[start] + logits.end[end] - logits.start[0] - logits.end[0])
    }

    fn page(&self) -> String {
        let scores = self.scores.as_ref().map(|scores| sum_by_word(scores, &self.words));
        let picture = Picture {
            question: &self.question.text,
            document: &self.document_name(),
            model: self.reader.name(),
            window: self.input.window,
            words: &self.words,
            texts: [&self.question.text, &self.document.text],
            span: self.span,
            answered: self.reply.answered,
            margin: self.margin(),
            scores: scores.as_deref().unwrap_or_default(),
        };
        page(&picture, &self.inside, &self.choice)
    }
}
