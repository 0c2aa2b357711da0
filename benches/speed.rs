//! How long the first answer takes and how many tokens a second go through the built-in model.
//!
//! `cargo bench` prints medians, with the fastest and slowest run beside them: on a shared machine the spread says how far
//! to trust them. Only ratios of figures from one run mean anything.

use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use spanqa::batch::Batch;
use spanqa::model::{Model, Runtime, SpanModel};
use spanqa::source::{SourceOptions, resolve};

/// Window lengths like those of SQuAD: most near 180 tokens, some long, some short.
const LENGTHS: [usize; 16] = [384, 310, 260, 228, 210, 199, 188, 181, 174, 168, 160, 151, 140, 126, 108, 82];

fn main() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/text/lighthouse.txt");
    report("first answer, four paragraphs", "ms", 15, || {
        let start = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_spanqa"))
            .args(["ask", "Who was the last keeper?", example, "--quiet"])
            .stdout(Stdio::null())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "the example must be answered");
        start.elapsed().as_secs_f64() * 1e3
    });

    let files = match resolve("builtin", &SourceOptions::default()) {
        Ok(resolved) => resolved.files,
        Err(error) => panic!("the built-in model must load: {error}"),
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [1, cores] {
        let runtime = Runtime { threads: Some(threads), ..Runtime::default() };
        let model = match Model::load(&files, &runtime) {
            Ok(model) => model,
            Err(error) => panic!("the built-in model must load: {error}"),
        };
        let mut batch = Batch::default();
        for length in LENGTHS {
            let ids: Vec<u32> = (0..length as u32).map(|token| 1000 + token * 7919 % 20000).collect();
            let segments: Vec<u32> = (0..length).map(|token| u32::from(token > 16)).collect();
            batch.push(&ids, &segments);
        }
        report(&format!("built-in model, {threads} threads"), "tokens/s", 9, || {
            let start = Instant::now();
            black_box(model.logits(&batch)).expect("the model must run");
            batch.tokens() as f64 / start.elapsed().as_secs_f64()
        });
    }
}

/// Runs once to warm up, then `runs` times, and prints median, least and greatest.
fn report(what: &str, unit: &str, runs: usize, mut measure: impl FnMut() -> f64) {
    measure();
    let mut figures: Vec<f64> = (0..runs).map(|_| measure()).collect();
    figures.sort_by(f64::total_cmp);
    let (least, median, greatest) = (figures[0], figures[runs / 2], figures[runs - 1]);
    println!("{what:36} {median:8.0} {unit}  ({least:.0} to {greatest:.0}, {runs} runs)");
}
