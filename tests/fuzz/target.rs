//! What a harness knows of a target.

use std::path::Path;

use spanqa::random::Random;

use crate::ROOT;

/// Makes another input of one of several.
pub type Change = dyn Fn(&mut Random, &[Vec<u8>]) -> Vec<u8>;
/// Reads an input and holds the library to its promises: it panics if one is broken.
pub type Run = dyn Fn(&[u8]);

/// A kind of input, and what the library does with it.
pub struct Target {
    pub name: String,
    /// Inputs without a flaw.
    pub seeds: Vec<Vec<u8>>,
    pub change: Box<Change>,
    pub run: Box<Run>,
}

impl Target {
    pub fn new(
        name: impl Into<String>,
        seeds: impl Into<Vec<Vec<u8>>>,
        change: impl Fn(&mut Random, &[Vec<u8>]) -> Vec<u8> + 'static,
        run: impl Fn(&[u8]) + 'static,
    ) -> Self {
        Self { name: name.into(), seeds: seeds.into(), change: Box::new(change), run: Box::new(run) }
    }

    /// What the target's program of libFuzzer is called, and the file of what it found.
    pub fn program(&self) -> String {
        self.name.replace(['.', '_'], "-")
    }

    /// Small inputs that libFuzzer found, which together reach all code that it reached: one a line, in hexadecimal digits.
    pub fn found(&self) -> Vec<Vec<u8>> {
        let file = Path::new(ROOT).join("tests/fuzz/found").join(self.program());
        let lines = std::fs::read_to_string(file).unwrap_or_default();
        let byte = |digits: &[u8]| u8::from_str_radix(str::from_utf8(digits).unwrap(), 16).unwrap();
        lines.lines().map(|line| line.as_bytes().chunks(2).map(byte).collect()).collect()
    }
}
