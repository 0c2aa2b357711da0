//! Number types, and numbers as their bytes.

use half::{bf16, f16};

use super::error::{Error, Result};

/// How an exported model stores its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits, 10 of them for the fraction.
    F16,
    /// 16 bits, 7 of them for the fraction.
    Bf16,
    /// Large matrices as 8-bit integers with quantisation scales, the rest in 32 bits.
    Int8,
}

impl Dtype {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }
}

/// A type that numbers with a fraction are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Float {
    F32,
    F16,
    Bf16,
}

impl Float {
    pub(super) fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// One number that is known to fit.
    pub(super) fn of(self, number: f32) -> Vec<u8> {
        match self {
            Self::F32 => number.to_le_bytes().to_vec(),
            Self::F16 => f16::from_f32(number).to_le_bytes().to_vec(),
            Self::Bf16 => bf16::from_f32(number).to_le_bytes().to_vec(),
        }
    }

    /// The numbers of a tensor as bytes. One that turns into infinity is refused: the model would answer with NaN.
    pub(super) fn bytes(self, numbers: &[f32], tensor: &str) -> Result<Vec<u8>> {
        let too_large = |stored: f32, number: f32| number.is_finite() && !stored.is_finite();
        let refuse = |number| Error::TooLarge { tensor: tensor.into(), number, dtype: self.name() };
        let mut bytes = Vec::with_capacity(numbers.len() * self.size());
        for &number in numbers {
            match self {
                Self::F32 => bytes.extend(number.to_le_bytes()),
                Self::F16 if too_large(f16::from_f32(number).to_f32(), number) => return Err(refuse(number)),
                Self::F16 => bytes.extend(f16::from_f32(number).to_le_bytes()),
                Self::Bf16 if too_large(bf16::from_f32(number).to_f32(), number) => {
                    return Err(refuse(number));
                }
                Self::Bf16 => bytes.extend(bf16::from_f32(number).to_le_bytes()),
            }
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_bytes() {
        assert_eq!(Float::F32.bytes(&[1.5], "t").unwrap(), 1.5f32.to_le_bytes());
        assert_eq!(Float::F16.bytes(&[1.5, -2.0], "t").unwrap(), [0x00, 0x3e, 0x00, 0xc0]);
        assert_eq!(Float::Bf16.bytes(&[1.5], "t").unwrap(), [0xc0, 0x3f]);
    }

    #[test]
    fn what_would_become_infinite_is_refused_by_name() {
        let refused = Float::F16.bytes(&[0.0, 65_520.0], "a.weight").unwrap_err();
        assert_eq!(refused.to_string(), "a.weight holds 65520, which is too large for f16");
        assert!(Float::Bf16.bytes(&[f32::MAX], "t").is_err());
        assert!(Float::F16.bytes(&[65_504.0, f32::INFINITY], "t").is_ok());
        assert!(Float::Bf16.bytes(&[65_520.0], "t").is_ok());
    }
}
