//! Where the arithmetic happens.

use std::fmt;
use std::str::FromStr;

use candle_core::{DType, Device};

use crate::encoder::error::{Error, Result};

/// A device as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The fastest one this binary can use here.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// One or more CUDA cards.
    Cuda(Cards),
    /// An Apple GPU.
    Metal,
}

/// Numbers of CUDA cards, each below 64; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cards(u64);

impl Cards {
    /// One card; `None` if its number is too high.
    pub fn one(number: usize) -> Option<Self> {
        (number < u64::BITS as usize).then(|| Self(1 << number))
    }

    /// The numbers, in order.
    pub fn numbers(self) -> impl Iterator<Item = usize> {
        (0..u64::BITS as usize).filter(move |number| self.0 >> number & 1 == 1)
    }

    /// How many cards there are.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl Default for Cards {
    /// The first card.
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Cards {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        for (place, number) in self.numbers().enumerate() {
            write!(out, "{}{number}", if place == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected =
            || format!("`{text}` is not a device: expected auto, cpu, cuda, cuda:N, cuda:N,M... or metal");
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(Cards::default())),
            "metal" => Ok(DeviceChoice::Metal),
            _ => {
                let numbers = text.strip_prefix("cuda:").ok_or_else(expected)?;
                let mut cards = Cards(0);
                for number in numbers.split(',') {
                    cards.0 |= number.parse().ok().and_then(Cards::one).ok_or_else(expected)?.0;
                }
                Ok(DeviceChoice::Cuda(cards))
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            DeviceChoice::Auto => out.write_str("auto"),
            DeviceChoice::Cpu => out.write_str("cpu"),
            DeviceChoice::Cuda(cards) => write!(out, "cuda:{cards}"),
            DeviceChoice::Metal => out.write_str("metal"),
        }
    }
}

impl DeviceChoice {
    /// What `Auto` becomes here. A device that was asked for and cannot be had is an error.
    pub(crate) fn settle(self) -> Result<DeviceChoice> {
        let unavailable = |reason: String| Error::DeviceUnavailable { device: self.to_string(), reason };
        match self {
            DeviceChoice::Cpu => Ok(self),
            #[cfg(feature = "cuda")]
            DeviceChoice::Cuda(cards) => {
                cards.numbers().try_for_each(super::cuda::look_for)?;
                Ok(self)
            }
            #[cfg(not(feature = "cuda"))]
            DeviceChoice::Cuda(_) => Err(unavailable(
                "this is the binary for CPUs; `cargo build --release --features cuda` makes the one for CUDA".into(),
            )),
            DeviceChoice::Metal if !cfg!(feature = "metal") => Err(unavailable(
                "this binary was built without Metal; `cargo build --release --features metal` on a Mac makes one with it"
                    .into(),
            )),
            DeviceChoice::Metal => match Device::new_metal(0) {
                Ok(_) => Ok(self),
                Err(error) => Err(unavailable(error.to_string())),
            },
            DeviceChoice::Auto => {
                let gpus = [DeviceChoice::Cuda(Cards::default()), DeviceChoice::Metal];
                Ok(gpus.into_iter().find_map(|gpu| gpu.settle().ok()).unwrap_or(DeviceChoice::Cpu))
            }
        }
    }

    /// The device as the tensor library sees it; of several cards the first.
    pub(crate) fn for_tensors(self) -> Result<Device> {
        let device = match self.settle()? {
            DeviceChoice::Cuda(cards) => Device::new_cuda(cards.numbers().next().unwrap_or(0)),
            DeviceChoice::Metal => Device::new_metal(0),
            DeviceChoice::Cpu | DeviceChoice::Auto => Ok(Device::Cpu),
        };
        device
            .map_err(|error| Error::DeviceUnavailable { device: self.to_string(), reason: error.to_string() })
    }
}

/// The type that matrices are multiplied in. Sums, normalisation and softmax are always computed in f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 32 bits: the reference.
    #[default]
    F32,
    /// 32 bits, of which the matrix units of CUDA cards read 19.
    Tf32,
    /// 16 bits, narrow range.
    F16,
    /// 16 bits, narrow precision.
    Bf16,
    /// Integers: weights with one quantisation scale per output, activations with one per token. CPU only.
    Int8,
}

impl Precision {
    pub(crate) fn dtype(self) -> DType {
        match self {
            // Tensors hold no such integers; only the CPU engine computes in them.
            Precision::F32 | Precision::Tf32 | Precision::Int8 => DType::F32,
            Precision::F16 => DType::F16,
            Precision::Bf16 => DType::BF16,
        }
    }

    /// The name as it is typed.
    pub fn name(self) -> &'static str {
        match self {
            Precision::F32 => "f32",
            Precision::Tf32 => "tf32",
            Precision::F16 => "f16",
            Precision::Bf16 => "bf16",
            Precision::Int8 => "int8",
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Precision::F32, Precision::Tf32, Precision::F16, Precision::Bf16, Precision::Int8]
            .into_iter()
            .find(|precision| precision.name() == text)
            .ok_or_else(|| format!("`{text}` is not a number type: expected f32, tf32, f16, bf16 or int8"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_names() {
        for name in ["auto", "cpu", "cuda:0", "cuda:3", "cuda:0,1,63", "metal"] {
            assert_eq!(name.parse::<DeviceChoice>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(Cards::default())));
        assert_eq!("cuda:1,0,1".parse::<DeviceChoice>().unwrap().to_string(), "cuda:0,1");
        for name in ["", "gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:64", "cuda:0,-1", "CPU"] {
            assert!(name.parse::<DeviceChoice>().is_err());
        }
    }

    #[test]
    #[cfg(not(any(feature = "cuda", feature = "metal")))]
    fn a_missing_device_is_an_error() {
        for device in [DeviceChoice::Cuda(Cards::default()), DeviceChoice::Metal] {
            assert!(matches!(device.settle(), Err(Error::DeviceUnavailable { .. })));
            assert!(matches!(device.for_tensors(), Err(Error::DeviceUnavailable { .. })));
        }
        assert_eq!(DeviceChoice::Auto.settle().unwrap(), DeviceChoice::Cpu);
    }
}
