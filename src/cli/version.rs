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

/// The instruction set that matrix products choose on this processor when they run.
pub fn kernels() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if cfg!(feature = "accelerate") {
            "accelerate"
        } else if std::arch::is_x86_feature_detected!("fma") {
            "avx2+fma"
        } else {
            "portable"
        }
    }
    #[cfg(target_arch = "aarch64")]
    {
        if cfg!(feature = "accelerate") { "accelerate" } else { "neon" }
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        "portable"
    }
}
