//! Hostile inputs: real files, requests and lines, damaged at random, go through the library until a budget is used up.
//!
//! A case fails if anything panics (also where the panic is caught, unless it is one of the tokenizers library, which becomes an error), if
//! it takes more than [`runner::LONGEST`] or more than [`runner::MOST_MEMORY`], or if what comes back breaks a promise: an answer that
//! is not where it says, a row that does not come back. Cases are numbered, and depend on the seed and their number alone.
//!
//! ```text
//! cargo test --release --test fuzz                            a few cases of each target, within seconds
//! SPANQA_FUZZ_SECONDS=600 cargo test --release --test fuzz    ten minutes of each
//! SPANQA_FUZZ_SEED=7                                          other cases
//! SPANQA_FUZZ_CASE=1234 ... -- safetensors                    one case again
//! ```
//!
//! The input of the running case is in `target/tmp/fuzz-TARGET`, so that one which ends the process can be found. What was found so far
//! is a small test beside the code that was wrong.
//!
//! The folder `fuzz` runs the same targets under libFuzzer. What it made that reaches other code than the rest is in `found`, and is run here
//! before the cases.

mod allocator;
mod data;
mod decode;
mod files;
mod models;
mod mutate;
mod runner;
mod target;
#[cfg(all(feature = "serve", feature = "mcp"))]
mod wires;

use std::collections::BTreeSet;
use std::path::Path;

/// The folder of the project.
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Tests of targets, each with the number of its cases, and the names that the targets have in the folder `fuzz`.
macro_rules! tests {
    ($($name:ident: $cases:literal of $targets:expr;)*) => {
        $(#[test]
        fn $name() {
            for target in $targets {
                runner::fuzz(&target, $cases);
            }
        })*

        fn programs() -> BTreeSet<String> {
            let mut programs = BTreeSet::new();
            $(programs.extend($targets.map(|target| target.program()));)*
            programs
        }
    };
}

tests! {
    requests: 2000 of [data::requests()];
    tables: 1500 of [data::tables()];
    parquet: 3000 of [data::parquet()];
    datasets: 1000 of [data::datasets()];
    documents: 1000 of [data::documents()];
    safetensors: 60 of [models::safetensors()];
    safetensors_index: 60 of [models::safetensors_index()];
    pickle: 150 of [models::pickle()];
    config: 40 of ["distilbert", "minilm", "roberta", "xlm-roberta"].map(models::config);
    tokenizer_json: 300 of [models::tokenizer_json()];
    legacy_vocabularies: 80 of models::LEGACY.map(models::legacy);
    windows: 3000 of [decode::windows()];
    decoding: 3000 of [decode::decoding()];
    index: 60 of files::INDEX.map(files::index);
    onnx: 150 of [files::onnx()];
    gguf: 150 of [files::gguf()];
}

/// A file that no target is named after would be run by nobody. Of files of one kind, such as two segments of an index, one has a program.
#[test]
fn programs_and_what_they_found_are_those_of_targets() {
    let programs = programs();
    for folder in ["fuzz/targets", "tests/fuzz/found"] {
        for entry in std::fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().and_then(|name| name.to_str()).unwrap();
            assert!(programs.contains(name), "{folder}/{name} belongs to none of {programs:?}");
        }
    }
}
