//! The targets of `tests/fuzz` for libFuzzer, which sees what code an input reaches, and goes on from the inputs that reach new code.

use std::cell::OnceCell;
use std::path::Path;

use libfuzzer_sys::fuzzer_mutate;
use spanqa::random::Random;

#[path = "../tests/fuzz/data.rs"]
pub mod data;
#[path = "../tests/fuzz/decode.rs"]
pub mod decode;
#[path = "../tests/fuzz/files.rs"]
pub mod files;
#[path = "../tests/fuzz/models.rs"]
pub mod models;
#[path = "../tests/fuzz/mutate.rs"]
mod mutate;
#[path = "../tests/fuzz/target.rs"]
mod target;

use target::Target;

/// The folder of the project.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

thread_local! {
    // libFuzzer calls on one thread.
    static TARGET: OnceCell<Target> = const { OnceCell::new() };
}

/// The program of a target.
#[macro_export]
macro_rules! fuzz {
    ($target:expr) => {
        libfuzzer_sys::fuzz_target!(
            init: spanqa_fuzz::begin(env!("CARGO_BIN_NAME"), $target),
            |bytes: &[u8]| spanqa_fuzz::run(bytes)
        );
        libfuzzer_sys::fuzz_mutator!(|bytes: &mut [u8], size: usize, most: usize, seed: u32| {
            spanqa_fuzz::change(bytes, size, most, seed)
        });
    };
}

/// Puts the target's inputs where libFuzzer will look for them in a moment.
pub fn begin(name: &str, target: Target) {
    assert_eq!(name, target.program());
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    std::fs::create_dir_all(&corpus).unwrap();
    for (number, seed) in target.seeds.iter().enumerate() {
        std::fs::write(corpus.join(format!("seed-{number}")), seed).unwrap();
    }
    for (number, found) in target.found().iter().enumerate() {
        std::fs::write(corpus.join(format!("found-{number}")), found).unwrap();
    }
    // A panic ends the program, also where it is caught, unless it becomes an error of a tokenizer.
    let end = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !spanqa::text::panics_become_errors() {
            end(panic);
        }
    }));
    TARGET.with(|place| assert!(place.set(target).is_ok()));
}

pub fn run(bytes: &[u8]) {
    TARGET.with(|target| (target.get().unwrap().run)(bytes));
}

/// Changes an input as the target would, or as libFuzzer would.
pub fn change(bytes: &mut [u8], size: usize, most: usize, seed: u32) -> usize {
    let mut random = Random::new(seed.into());
    if random.below(2) == 0 {
        let seeds = [bytes[..size].to_vec()];
        let changed = TARGET.with(|target| (target.get().unwrap().change)(&mut random, &seeds));
        if (1..=most).contains(&changed.len()) {
            bytes[..changed.len()].copy_from_slice(&changed);
            return changed.len();
        }
    }
    fuzzer_mutate(bytes, size, most)
}
