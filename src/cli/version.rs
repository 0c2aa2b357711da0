//! What this binary is.

use std::sync::LazyLock;

/// The version and what was compiled in.
pub fn short() -> &'static str {
    static SHORT: LazyLock<String> = LazyLock::new(|| {
        format!("{} (features: {}; cpu: {})", env!("CARGO_PKG_VERSION"), features(), kernels())
    });
    &SHORT
}

/// The same, a line each.
pub fn long() -> &'static str {
    static LONG: LazyLock<String> = LazyLock::new(|| {
        format!("{}\nfeatures: {}\ncpu kernels: {}", env!("CARGO_PKG_VERSION"), features(), kernels())
    });
    &LONG
}

/// Cargo features of this build.
pub fn features() -> String {
    let features = [
        ("accelerate", cfg!(feature = "accelerate")),
        ("cuda", cfg!(feature = "cuda")),
        ("metal", cfg!(feature = "metal")),
    ];
    let on: Vec<&str> = features.iter().filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    if on.is_empty() { "none".into() } else { on.join(", ") }
}

/// What this binary can compute on, if it is there.
pub fn devices() -> &'static str {
    match (cfg!(feature = "cuda"), cfg!(feature = "metal")) {
        (false, false) => "CPUs",
        (true, false) => "CPUs and CUDA cards",
        (false, true) => "CPUs and Apple GPUs",
        (true, true) => "CPUs, CUDA cards and Apple GPUs",
    }
}

/// The instruction set that matrix products choose on this processor when they run.
pub fn kernels() -> &'static str {
    if cfg!(feature = "accelerate") { "accelerate" } else { spanqa::encoder::kernels() }
}
