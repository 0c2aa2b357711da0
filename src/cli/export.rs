//! `spanqa export`: a model in the form of another program.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use spanqa::export::{self, Dtype, Format, Layout, Options};

use super::models::readable;
use super::options::SourceArgs;
use super::{Outcome, Usage, terminal};

/// Write a model for ONNX Runtime, transformers, transformers.js or llama.cpp
///
/// Readers and embedders of all five families, whatever form they are in. The folder gets config.json and the tokenizer's files as well, and
/// check.jsonl: a few inputs with the logits or vectors that the model gives here, so that wherever it is to run somebody can see that it
/// says the same. docs/exporting.md has the ten lines that compare. The files appear together or not at all.
///
/// Prints the files and their sizes.
#[derive(clap::Args)]
#[command(after_help = "Example: spanqa export minilm minilm-onnx --format onnx --dtype int8")]
pub struct Args {
    /// A name from `spanqa models list`, `owner/repo[@revision]`, or a folder
    #[arg(value_name = "MODEL")]
    model: String,
    /// The folder to write; made if it is not there
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// The form of the weights
    #[arg(long, value_enum, default_value_t)]
    format: FormatArg,
    /// How numbers are stored; bf16 is for safetensors only, int8 not for GGUF
    #[arg(long, value_enum, default_value_t)]
    dtype: DtypeArg,
    /// Where the files of an ONNX model lie [default: optimum]
    #[arg(long, value_enum)]
    layout: Option<LayoutArg>,
    /// Replace files that are in the way
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    source: SourceArgs,
    /// No remarks and no progress on standard error; errors are still said
    #[arg(long)]
    quiet: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum FormatArg {
    /// A folder that transformers and spanqa open
    #[default]
    Safetensors,
    /// A graph that ONNX Runtime, OpenVINO and transformers.js run
    Onnx,
    /// One file that llama.cpp runs; for uncased embedders of the BERT family
    Gguf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum DtypeArg {
    #[default]
    F32,
    F16,
    Bf16,
    /// A quarter of the size; as safetensors in the form of the built-in model, which only spanqa reads
    Int8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LayoutArg {
    /// model.onnx beside config.json
    Optimum,
    /// onnx/model.onnx, model_fp16.onnx or model_quantized.onnx: several types may share a folder
    #[value(name = "transformers.js")]
    TransformersJs,
}

impl Args {
    fn options(&self) -> Result<Options> {
        if self.layout.is_some() && self.format != FormatArg::Onnx {
            let hint = "add `--format onnx`, or leave out `--layout`";
            return Err(Usage::new("--layout is for ONNX models", hint).into());
        }
        Ok(Options {
            format: match self.format {
                FormatArg::Safetensors => Format::Safetensors,
                FormatArg::Onnx => Format::Onnx,
                FormatArg::Gguf => Format::Gguf,
            },
            dtype: match self.dtype {
                DtypeArg::F32 => Dtype::F32,
                DtypeArg::F16 => Dtype::F16,
                DtypeArg::Bf16 => Dtype::Bf16,
                DtypeArg::Int8 => Dtype::Int8,
            },
            layout: match self.layout {
                None | Some(LayoutArg::Optimum) => Layout::Optimum,
                Some(LayoutArg::TransformersJs) => Layout::TransformersJs,
            },
            force: self.force,
            ..Options::default()
        })
    }
}

pub fn run(args: &Args, out: &mut dyn Write) -> Result<Outcome> {
    let options = args.options()?;
    let model = args.source.resolve(&args.model, args.quiet)?;
    for (name, bytes) in export::export(&model.files, &args.folder, &options)? {
        let path = args.folder.join(name);
        writeln!(out, "{} ({})", terminal::name(&path.display().to_string()), readable(bytes))?;
    }
    Ok(Outcome::Success)
}
