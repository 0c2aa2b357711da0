//! spanqa as `benches/peers` measures it: a process that loads a model and a list of windows, and then does what lines on its
//! standard input say, answering each with a line of JSON. The protocol is described in benches/peers/README.md.
//!
//! `cargo bench --bench worker -- --model DIR --windows FILE --threads N --dtype f32` runs it by hand.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Parser, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};
use spanqa::checkpoint::ModelFiles;
use spanqa::encoder::batch::{Batch, pack};
use spanqa::encoder::{DeviceChoice, Precision, Runtime, speed};
use spanqa::heads::{QaModel, SpanModel};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// Folder with config.json and model.safetensors
    #[arg(long)]
    model: PathBuf,
    /// JSON: {"windows": [{"ids": [...], "segments": [...]}]}
    #[arg(long)]
    windows: PathBuf,
    #[arg(long)]
    threads: Option<usize>,
    #[arg(long, default_value = "f32")]
    dtype: Dtype,
    #[arg(long, default_value_t = DeviceChoice::Cpu)]
    device: DeviceChoice,
    /// Tokens in a batch; by default what suits the device
    #[arg(long)]
    batch_tokens: Option<usize>,
    /// What `cargo bench` passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Dtype {
    F32,
    Tf32,
    F16,
    Bf16,
    Int8,
    /// The plain tensor operations that tests compare with
    Reference,
}

#[derive(Deserialize)]
struct Windows {
    windows: Vec<Window>,
}

#[derive(Deserialize)]
struct Window {
    ids: Vec<u32>,
    segments: Vec<u32>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let windows: Windows = serde_json::from_slice(&std::fs::read(&arguments.windows)?)?;
    let start = Instant::now();
    let files = ModelFiles::from_dir(&arguments.model)?;
    let runtime = Runtime {
        device: arguments.device,
        threads: arguments.threads,
        precision: Some(match arguments.dtype {
            Dtype::F32 | Dtype::Reference => Precision::F32,
            Dtype::Tf32 => Precision::Tf32,
            Dtype::F16 => Precision::F16,
            Dtype::Bf16 => Precision::Bf16,
            Dtype::Int8 => Precision::Int8,
        }),
        reference: matches!(arguments.dtype, Dtype::Reference),
    };
    let model = QaModel::load(&files, &runtime)?;
    let load_seconds = start.elapsed().as_secs_f64();
    answer(json!({"ready": true, "load_seconds": load_seconds, "detail": model.describe()}));

    let batch_tokens = arguments.batch_tokens.unwrap_or_else(|| model.batch_tokens());
    let worker = Worker { model, windows: windows.windows, batch_tokens };
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["quit"] {
            break;
        }
        answer(worker.obey(&words).unwrap_or_else(|error| json!({"error": error.to_string()})));
    }
    Ok(())
}

fn answer(reply: Value) {
    println!("{reply}");
    let _ = std::io::stdout().flush();
}

struct Worker {
    model: QaModel,
    windows: Vec<Window>,
    batch_tokens: usize,
}

impl Worker {
    fn obey(&self, words: &[&str]) -> Result<Value> {
        match words {
            ["pass"] => self.timed(&self.windows),
            ["single", index] => {
                let window = self.windows.get(index.parse::<usize>()?).ok_or("there is no such window")?;
                self.timed(std::slice::from_ref(window))
            }
            ["rate", length, count] => {
                let (length, count) = (length.parse::<usize>()?, count.parse::<usize>()?);
                let mut ids = self.windows.iter().flat_map(|window| &window.ids).copied().cycle();
                let window =
                    |_| Window { ids: ids.by_ref().take(length).collect(), segments: vec![0; length] };
                self.timed(&(0..count).map(window).collect::<Vec<_>>())
            }
            ["logits", path, count @ ..] => {
                let count = match count {
                    [] => self.windows.len(),
                    [count] => self.windows.len().min(count.parse()?),
                    _ => return Err("logits PATH [COUNT]".into()),
                };
                let all = self.logits(&self.windows[..count])?;
                let numbers = all.iter().flat_map(|(start, end)| start.iter().chain(end));
                let bytes: Vec<u8> = numbers.flat_map(|number| number.to_le_bytes()).collect();
                std::fs::write(path, &bytes)?;
                Ok(json!({"written": bytes.len() / 4}))
            }
            ["times"] => {
                let times = self.model.times().into_iter();
                Ok(times.map(|(stage, time)| (stage.to_owned(), json!(time.as_secs_f64()))).collect())
            }
            ["peak"] => {
                let all = std::thread::available_parallelism()?.get();
                Ok(json!({"f32_gflops_1": speed::peak(1), "f32_gflops_all": speed::peak(all)}))
            }
            _ => Err(format!("unknown command: {}", words.join(" ")).into()),
        }
    }

    fn timed(&self, windows: &[Window]) -> Result<Value> {
        let start = Instant::now();
        self.logits(windows)?;
        Ok(json!({
            "seconds": start.elapsed().as_secs_f64(),
            "tokens": windows.iter().map(|window| window.ids.len()).sum::<usize>(),
            "windows": windows.len(),
            "peak_rss_bytes": peak_memory(),
        }))
    }

    /// The way the reader takes: packed under a token budget, long windows first, as many batches at once as the model likes.
    fn logits(&self, windows: &[Window]) -> Result<Vec<(Vec<f32>, Vec<f32>)>> {
        let lengths: Vec<usize> = windows.iter().map(|window| window.ids.len()).collect();
        let batches = Mutex::new(pack(&lengths, self.batch_tokens).into_iter());
        let all = Mutex::new(vec![(Vec::new(), Vec::new()); windows.len()]);
        let lane = || -> spanqa::encoder::Result<()> {
            let next = || batches.lock().unwrap_or_else(PoisonError::into_inner).next();
            while let Some(members) = next() {
                let mut batch = Batch::default();
                for &member in &members {
                    batch.push(&windows[member].ids, &windows[member].segments);
                }
                let found = self.model.logits(&batch)?;
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                for (&member, logits) in members.iter().zip(found) {
                    all[member] = (logits.start, logits.end);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            // This thread is the first lane, and the only one of a model that needs it.
            let others: Vec<_> = (1..self.model.lanes()).map(|_| scope.spawn(lane)).collect();
            lane()?;
            others
                .into_iter()
                .try_for_each(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The most memory this process has had, where the system says.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
}
