//! Compiles the CUDA kernels, when the feature `cuda` is on: for common cards, and to code that the driver finishes for any other.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Cards to compile for. 8.0 is the oldest with the instructions that the kernels use; its `compute_80` is for all that are not named.
const CARDS: [&str; 2] = ["arch=compute_80,code=[sm_80,compute_80]", "arch=compute_90,code=sm_90"];

fn main() {
    let sources = Path::new("src/encoder/cuda");
    println!("cargo::rerun-if-changed=build.rs");
    for name in ["kernels.cu", "learning.cuh", "common.cuh", "instructions.cuh"] {
        println!("cargo::rerun-if-changed={}", sources.join(name).display());
    }
    if std::env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for variable in ["NVCC", "NVCC_CCBIN", "CUDA_HOME", "CUDA_PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").unwrap_or_default()).join("kernels.fatbin");
    let nvcc = nvcc();
    let mut command = Command::new(&nvcc);
    command.args(["-fatbin", "-std=c++17", "-O3"]);
    command.args(CARDS.iter().flat_map(|card| ["-gencode", card]));
    command.arg("-o").arg(out).arg(sources.join("kernels.cu"));
    if let Some(compiler) = std::env::var_os("NVCC_CCBIN") {
        command.arg("-ccbin").arg(compiler);
    }
    match command.status() {
        Ok(status) if status.success() => {}
        Ok(status) => println!("cargo::error=nvcc failed on src/encoder/cuda/kernels.cu: {status}"),
        Err(error) => println!(
            "cargo::error=cannot run {}: {error}; the feature `cuda` needs a CUDA toolkit (set CUDA_HOME or NVCC)",
            nvcc.display()
        ),
    }
}

/// The compiler: the one that is named, that of the toolkit that is named, or the one on the path.
fn nvcc() -> PathBuf {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        return nvcc.into();
    }
    let name = format!("nvcc{}", std::env::consts::EXE_SUFFIX);
    let toolkits = ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os).map(PathBuf::from);
    let toolkits = toolkits.chain([PathBuf::from("/usr/local/cuda")]);
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = toolkits.map(|toolkit| toolkit.join("bin")).chain(std::env::split_paths(&on_path));
    let found = folders.map(|folder| folder.join(&name)).find(|path| path.is_file());
    found.unwrap_or_else(|| name.into())
}
