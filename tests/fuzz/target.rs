//! What a harness knows of a target.

use std::path::{Path, PathBuf};

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

    /// Inputs that libFuzzer found: each reaches code that no other one reaches.
    pub fn found(&self) -> Vec<PathBuf> {
        let folder = Path::new(ROOT).join("tests/fuzz/found").join(&self.name);
        let Ok(files) = std::fs::read_dir(folder) else { return Vec::new() };
        let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
        files.sort();
        files
    }
}
