//! Which vector unit this processor has.

use std::sync::OnceLock;

use super::portable::Portable;
use super::simd::{Codes, Kernel, Simd, TILE_VECTORS};
use crate::encoder::error::{Error, Result};

/// The variable of the environment that names a vector unit.
const VARIABLE: &str = "SPANQA_CPU";

/// The vector unit that a model uses.
#[derive(Debug, Clone, Copy)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(super::x86::Avx512Vnni),
    #[cfg(target_arch = "x86_64")]
    Avx512(super::x86::Avx512),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(super::x86::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Avx2(super::x86::Avx2),
    #[cfg(target_arch = "aarch64")]
    NeonDot(super::neon::NeonDot),
    #[cfg(target_arch = "aarch64")]
    Neon(super::neon::Neon),
    Portable(Portable),
}

/// Evaluates an expression with `$simd` bound to the vector unit, whichever it is.
macro_rules! with_unit {
    ($isa:expr, $simd:ident => $result:expr) => {
        match $isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni($simd) => $result,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512($simd) => $result,
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni($simd) => $result,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2($simd) => $result,
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot($simd) => $result,
            #[cfg(target_arch = "aarch64")]
            Isa::Neon($simd) => $result,
            Isa::Portable($simd) => $result,
        }
    };
}

impl Isa {
    /// Everything that this processor can run, the fastest first. The last one runs everywhere.
    pub(super) fn all() -> Vec<Isa> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            use super::x86::{Avx2, Avx512, Avx512Vnni, AvxVnni};
            all.extend(Avx512Vnni::detect().map(Isa::Avx512Vnni));
            all.extend(Avx512::detect().map(Isa::Avx512));
            all.extend(AvxVnni::detect().map(Isa::AvxVnni));
            all.extend(Avx2::detect().map(Isa::Avx2));
        }
        #[cfg(target_arch = "aarch64")]
        {
            use super::neon::{Neon, NeonDot};
            all.extend(NeonDot::detect().map(Isa::NeonDot));
            all.extend(Neon::detect().map(Isa::Neon));
        }
        all.push(Isa::Portable(Portable));
        all
    }

    /// The one that this process computes on: the fastest, or the one that the environment names, so that a machine with more can measure
    /// what others have.
    pub(super) fn chosen() -> Result<Isa> {
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        if let Some(chosen) = CHOSEN.get() {
            return Ok(*chosen);
        }
        let asked = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        let chosen = Self::named(asked.as_ref().map(|name| name.to_string_lossy()).as_deref())?;
        Ok(*CHOSEN.get_or_init(|| chosen))
    }

    /// The same where a model runs already, or none will: a name that is wrong was or will be told elsewhere.
    pub(super) fn in_use() -> Isa {
        Self::chosen().unwrap_or_else(|_| Self::all()[0])
    }

    fn named(asked: Option<&str>) -> Result<Isa> {
        let all = Self::all();
        let plain = |name: &str| name.to_lowercase().replace([' ', '-', '_'], "");
        let found = all.iter().find(|isa| asked.is_none_or(|asked| plain(asked) == plain(isa.name())));
        found.copied().ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|isa| isa.name()).collect();
            let asked = asked.unwrap_or_default();
            let reason = format!("{VARIABLE} is `{asked}`, and this processor has {}", known.join(", "));
            Error::DeviceUnavailable { device: "cpu".into(), reason }
        })
    }

    /// Runs a kernel compiled for this unit.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        with_unit!(self, simd => simd.run(kernel))
    }

    /// What its makers call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(_) => "AVX-512 VNNI",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512(_) => "AVX-512",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni(_) => "AVX-VNNI",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(_) => "AVX2",
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(_) => "NEON with dot products",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(_) => "NEON",
            Isa::Portable(_) => "portable",
        }
    }

    /// Columns of a tile.
    pub(super) fn tile_width(self) -> usize {
        fn width<S: Simd>(_: S) -> usize {
            TILE_VECTORS * S::LANES
        }
        with_unit!(self, simd => width(simd))
    }

    /// How integer products take their operands.
    pub(super) fn codes(self) -> Codes {
        fn codes<S: Simd>(_: S) -> Codes {
            S::CODES
        }
        with_unit!(self, simd => codes(simd))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_found_by_its_name() {
        let all = Isa::all();
        assert_eq!(Isa::named(None).unwrap().name(), all[0].name());
        for isa in all {
            let typed = isa.name().to_lowercase().replace(' ', "-");
            assert_eq!(Isa::named(Some(&typed)).unwrap().name(), isa.name());
        }
        let error = Isa::named(Some("mmx")).unwrap_err().to_string();
        assert!(error.contains("SPANQA_CPU is `mmx`") && error.ends_with("portable"), "{error}");
    }
}
