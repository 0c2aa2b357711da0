//! Where the arithmetic happens.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

use crate::error::{Error, Result};

/// A device as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The fastest one this binary can use here.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// A CUDA card by number.
    Cuda(usize),
    /// An Apple GPU.
    Metal,
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is not a device: expected auto, cpu, cuda, cuda:N or metal");
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            "metal" => Ok(DeviceChoice::Metal),
            _ => {
                let number = text.strip_prefix("cuda:").ok_or_else(expected)?;
                number.parse().map(DeviceChoice::Cuda).map_err(|_| expected())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => out.write_str("auto"),
            DeviceChoice::Cpu => out.write_str("cpu"),
            DeviceChoice::Cuda(number) => write!(out, "cuda:{number}"),
            DeviceChoice::Metal => out.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// Opens the device; one that was asked for and cannot be had is an error. Returns what `Auto` became, too.
    pub(super) fn open(self) -> Result<(Device, DeviceChoice)> {
        let unavailable = |reason: String| Error::DeviceUnavailable { device: self.to_string(), reason };
        match self {
            DeviceChoice::Cpu => Ok((Device::Cpu, self)),
            DeviceChoice::Cuda(_) if !cfg!(feature = "cuda") => {
                Err(unavailable("this binary was built without CUDA".into()))
            }
            DeviceChoice::Metal if !cfg!(feature = "metal") => {
                Err(unavailable("this binary was built without Metal".into()))
            }
            DeviceChoice::Cuda(number) => match Device::new_cuda(number) {
                Ok(device) => Ok((device, self)),
                Err(error) => Err(unavailable(error.to_string())),
            },
            DeviceChoice::Metal => match Device::new_metal(0) {
                Ok(device) => Ok((device, self)),
                Err(error) => Err(unavailable(error.to_string())),
            },
            DeviceChoice::Auto => {
                let gpu =
                    [DeviceChoice::Cuda(0), DeviceChoice::Metal].into_iter().find_map(|gpu| gpu.open().ok());
                Ok(gpu.unwrap_or((Device::Cpu, DeviceChoice::Cpu)))
            }
        }
    }
}

/// The type that matrices are multiplied in. Sums, normalisation and softmax are always computed in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: the reference.
    #[default]
    F32,
    /// 16 bits, narrow range.
    F16,
    /// 16 bits, narrow precision.
    Bf16,
    /// Integers: weights with one step per output, activations with one step per token. CPU only.
    Int8,
}

impl Precision {
    pub(super) fn dtype(self) -> DType {
        match self {
            // Tensors hold no such integers; only the CPU engine computes in them.
            Precision::F32 | Precision::Int8 => DType::F32,
            Precision::F16 => DType::F16,
            Precision::Bf16 => DType::BF16,
        }
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "metal"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for name in ["", "gpu", "cuda:", "cuda:x", "CPU"] {
            assert!(name.parse::<DeviceChoice>().is_err());
        }
    }

    #[test]
    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    fn a_missing_device_is_an_error() {
        assert!(matches!(DeviceChoice::Cuda(0).open(), Err(Error::DeviceUnavailable { .. })));
        assert!(matches!(DeviceChoice::Metal.open(), Err(Error::DeviceUnavailable { .. })));
        assert_eq!(DeviceChoice::Auto.open().unwrap().1, DeviceChoice::Cpu);
    }
}
