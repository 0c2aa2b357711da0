//! Attention within each window of a packed batch.
//!
//! On the CPU every window is multiplied by itself: nothing is padded and nothing masked. On a GPU thousands of small
//! products would cost more than padding does, so there the windows are spread over one padded array behind a mask.

use candle_core::{DType, Device, Result, Tensor};

/// Where the windows of a packed batch lie.
pub(super) struct Layout {
    lengths: Vec<usize>,
    padded: Option<Padded>,
}

/// Index arrays between packed and padded order, and the mask that keeps padding out.
struct Padded {
    windows: usize,
    longest: usize,
    /// For each padded place the packed token to show there; padding shows token 0.
    gather: Tensor,
    /// For each packed token its padded place.
    scatter: Tensor,
    /// `[windows, 1, 1, longest]`: zero for tokens, very negative for padding.
    mask: Tensor,
}

impl Layout {
    /// The layout that suits the device.
    pub(super) fn new(lengths: &[usize], device: &Device) -> Result<Self> {
        if device.is_cpu() { Ok(Self::packed(lengths)) } else { Self::padded(lengths, device) }
    }

    fn packed(lengths: &[usize]) -> Self {
        Self { lengths: lengths.to_vec(), padded: None }
    }

    fn padded(lengths: &[usize], device: &Device) -> Result<Self> {
        let (windows, longest) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let mut gather = vec![0u32; windows * longest];
        let mut mask = vec![f32::MIN; windows * longest];
        let mut scatter = Vec::new();
        for (window, &length) in lengths.iter().enumerate() {
            for place in window * longest..window * longest + length {
                gather[place] = scatter.len() as u32;
                mask[place] = 0.0;
                scatter.push(place as u32);
            }
        }
        let padded = Padded {
            windows,
            longest,
            gather: Tensor::new(gather, device)?,
            scatter: Tensor::new(scatter, device)?,
            mask: Tensor::from_vec(mask, (windows, 1, 1, longest), device)?,
        };
        Ok(Self { lengths: lengths.to_vec(), padded: Some(padded) })
    }

    /// What the softmax of a layer gave, as `[head, query, key]` for each window.
    pub(super) fn by_window(&self, probabilities: &[Tensor]) -> Result<Vec<Vec<f32>>> {
        let mut packed = probabilities.iter();
        let window = |(number, &length): (usize, &usize)| match &self.padded {
            _ if length == 0 => Ok(Vec::new()),
            None => packed.next().map_or(Ok(Vec::new()), |all| all.flatten_all()?.to_vec1()),
            Some(_) => {
                let own = probabilities[0].get(number)?;
                own.narrow(1, 0, length)?.narrow(2, 0, length)?.flatten_all()?.to_vec1()
            }
        };
        self.lengths.iter().enumerate().map(window).collect()
    }
}

/// Scaled dot-product attention. `qkv` is `[tokens, 3 * heads * width]`; the result `[tokens, heads * width]`, in the same type.
/// Scores and their softmax are f32 whatever the type of the products.
/// `probabilities` is the softmax of each row, and whatever happens to its result before values are multiplied with it.
pub(super) fn attention(
    qkv: &Tensor,
    heads: usize,
    width: usize,
    layout: &Layout,
    probabilities: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let tokens = qkv.dim(0)?;
    let qkv = qkv.reshape((tokens, 3, heads, width))?;
    match &layout.padded {
        None => {
            let mut windows = Vec::with_capacity(layout.lengths.len());
            let mut start = 0;
            for &length in layout.lengths.iter().filter(|&&length| length > 0) {
                // [3, heads, length, width]
                let window = qkv.narrow(0, start, length)?.permute((1, 2, 0, 3))?;
                let parts = [window.get(0)?, window.get(1)?, window.get(2)?];
                windows.push(
                    attend(parts, None, probabilities)?.transpose(0, 1)?.reshape((length, heads * width))?,
                );
                start += length;
            }
            Tensor::cat(&windows, 0)
        }
        Some(padded) => {
            let shape = (padded.windows, padded.longest, 3, heads, width);
            // [3, windows, heads, longest, width]
            let spread = qkv.index_select(&padded.gather, 0)?.reshape(shape)?.permute((2, 0, 3, 1, 4))?;
            let parts = [spread.get(0)?, spread.get(1)?, spread.get(2)?];
            let attended = attend(parts, Some(&padded.mask), probabilities)?.transpose(1, 2)?;
            attended
                .reshape((padded.windows * padded.longest, heads * width))?
                .index_select(&padded.scatter, 0)
        }
    }
}

/// Attention over the last two dimensions of query, key and value.
fn attend(
    [query, key, value]: [Tensor; 3],
    mask: Option<&Tensor>,
    probabilities: &dyn Fn(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let dtype = query.dtype();
    let scale = 1.0 / (query.dim(candle_core::D::Minus1)? as f64).sqrt();
    // Scaling the smaller factor first also keeps f16 products in range.
    let query = (query.contiguous()? * scale)?;
    let key = key.contiguous()?;
    let scores = query.matmul(&key.transpose(candle_core::D::Minus1, candle_core::D::Minus2)?)?;
    let mut scores = scores.to_dtype(DType::F32)?;
    if let Some(mask) = mask {
        scores = scores.broadcast_add(mask)?;
    }
    probabilities(&scores)?.to_dtype(dtype)?.matmul(&value.contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use candle_nn::ops::softmax_last_dim;

    #[test]
    fn padded_and_packed_attention_agree() {
        let (heads, width, lengths) = (3, 8, [5, 1, 17, 2]);
        let tokens: usize = lengths.iter().sum();
        let device = Device::Cpu;
        let noise = Random::new(1).noise(tokens * 3 * heads * width).into_iter().map(|x| 3.0 * x);
        let qkv = Tensor::from_vec(noise.collect(), (tokens, 3 * heads * width), &device).unwrap();
        let run = |layout: &Layout| {
            let attended = attention(&qkv, heads, width, layout, &softmax_last_dim).unwrap();
            attended.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let packed = run(&Layout::packed(&lengths));
        let mut layout = Layout::padded(&lengths, &device).unwrap();
        let largest_gap =
            |other: &[f32]| packed.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest_gap(&run(&layout)) < 1e-5);
        // The comparison notices a lost mask.
        if let Some(padded) = &mut layout.padded {
            padded.mask = padded.mask.zeros_like().unwrap();
        }
        assert!(largest_gap(&run(&layout)) > 1e-2);
    }
}
