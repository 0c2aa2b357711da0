//! Products of the tokens' states with weights, by cuBLASLt.
//!
//! Left to itself the library picks an algorithm by the number of tokens, and with it an order of summation: the bits of a token would
//! depend on what else is in the batch. So each product picks one algorithm when it is loaded, for a batch of usual size and without
//! sums over several blocks, and keeps it.

use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda::cudarc::cublas::sys::cublasOperation_t;
use candle_core::cuda::cudarc::cublaslt::{result, sys};

use super::card::{Address, Card, Memory, failed};
use crate::encoder::Precision;
use crate::encoder::error::Result;

/// Tokens for which the algorithms are chosen.
const USUAL_TOKENS: usize = 8192;

/// Memory that algorithms may ask for: what the library's makers recommend for Hopper.
pub(super) const WORKSPACE_BYTES: usize = 32 << 20;

/// The library on one card.
pub(super) struct Blas {
    pub(super) handle: sys::cublasLtHandle_t,
    pub(super) workspace: Memory<u8>,
    precision: Precision,
}

// SAFETY: the library's handles may be used from any thread; the workspace is only written by the card's one stream.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

impl Drop for Blas {
    fn drop(&mut self) {
        // SAFETY: `handle` came from `create_handle`, and no product outlives its `Arc<Blas>`. There is nobody to tell of a failure.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

impl Blas {
    pub(super) fn open(card: &Card, precision: Precision) -> Result<Arc<Self>> {
        let workspace = card.room(WORKSPACE_BYTES)?;
        let handle = result::create_handle().map_err(|error| failed(&card.name, error))?;
        Ok(Arc::new(Self { handle, workspace, precision }))
    }

    /// The type of a product's factors.
    pub(super) fn number_type(&self) -> sys::cudaDataType {
        match self.precision {
            Precision::F16 => sys::cudaDataType_t::CUDA_R_16F,
            Precision::Bf16 => sys::cudaDataType_t::CUDA_R_16BF,
            Precision::F32 | Precision::Tf32 | Precision::Int8 => sys::cudaDataType_t::CUDA_R_32F,
        }
    }

    /// Sums are f32 in all types.
    pub(super) fn compute_type(&self) -> sys::cublasComputeType_t {
        match self.precision {
            Precision::Tf32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        }
    }
}

/// The library's description of a matrix, by columns.
pub(super) struct Layout(pub(super) sys::cublasLtMatrixLayout_t);

impl Layout {
    pub(super) fn new(
        number_type: sys::cudaDataType,
        rows: usize,
        columns: usize,
    ) -> Result<Self, result::CublasError> {
        result::create_matrix_layout(number_type, rows as u64, columns as u64, rows as i64).map(Self)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: created above and owned by this value.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// The library's description of a product.
pub(super) struct Description(pub(super) sys::cublasLtMatmulDesc_t);

impl Description {
    /// Sets what it says about one thing; the value is of the type that the library has for it.
    pub(super) fn set<V>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &V,
    ) -> Result<(), result::CublasError> {
        // SAFETY: the description is alive, and the value is read at once.
        unsafe {
            result::set_matmul_desc_attribute(self.0, attribute, (&raw const *value).cast(), size_of::<V>())
        }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: whoever makes one has just created it, and it is owned by this value.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// What the library should keep to when it picks an algorithm.
pub(super) struct Preference(pub(super) sys::cublasLtMatmulPreference_t);

impl Preference {
    /// As with descriptions.
    pub(super) fn set<V>(
        &self,
        attribute: sys::cublasLtMatmulPreferenceAttributes_t,
        value: &V,
    ) -> Result<(), result::CublasError> {
        // SAFETY: the preference is alive, and the value is read at once.
        unsafe {
            result::set_matmul_pref_attribute(self.0, attribute, (&raw const *value).cast(), size_of::<V>())
        }
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: as with descriptions.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

/// A weight matrix on a card.
pub(super) struct Product {
    blas: Arc<Blas>,
    description: Description,
    weight_layout: Layout,
    algorithm: sys::cublasLtMatmulAlgo_t,
    weight: Memory<u8>,
    bias: Bias,
    inputs: usize,
    outputs: usize,
    /// The card's name, for errors.
    name: String,
}

/// Who adds the bias.
enum Bias {
    /// The product, in its own type.
    Inside(Memory<u8>),
    /// The kernel that comes next, in f32.
    Later(Memory<f32>),
}

// SAFETY: descriptions are plain data on the host that `forward` only reads.
unsafe impl Send for Product {}
// SAFETY: as above.
unsafe impl Sync for Product {}

impl Product {
    /// Uploads a matrix of `outputs` rows. Its bias is added by the product if `adds_bias`, else by whoever reads [`Product::bias`].
    pub(super) fn load(
        card: &Card,
        blas: &Arc<Blas>,
        (weight, bias): (&[f32], &[f32]),
        inputs: usize,
        adds_bias: bool,
    ) -> Result<Self> {
        let outputs = bias.len();
        let uploaded = card.upload_as(blas.precision, weight)?;
        let bias = if adds_bias {
            Bias::Inside(card.upload_as(blas.precision, bias)?)
        } else {
            Bias::Later(card.upload(bias)?)
        };
        let (description, weight_layout, algorithm) =
            plan(blas, inputs, outputs, &bias).map_err(|error| failed(&card.name, error))?;
        Ok(Self {
            blas: Arc::clone(blas),
            description,
            weight_layout,
            algorithm,
            weight: uploaded,
            bias,
            inputs,
            outputs,
            name: card.name.clone(),
        })
    }

    /// The bias that is still to be added; null if there is none.
    pub(super) fn bias(&self) -> Address {
        match &self.bias {
            Bias::Inside(_) => 0,
            Bias::Later(bias) => bias.address(),
        }
    }

    /// Starts `to[tokens, outputs] = from[tokens, inputs] x weight`.
    ///
    /// # Safety
    ///
    /// Both addresses point to as many numbers of the product's type.
    pub(super) unsafe fn forward(
        &self,
        card: &Card,
        tokens: usize,
        from: Address,
        to: Address,
    ) -> Result<()> {
        let run = || {
            let states = Layout::new(self.blas.number_type(), self.inputs, tokens)?;
            let results = Layout::new(self.blas.number_type(), self.outputs, tokens)?;
            let (one, zero) = (1.0f32, 0.0f32);
            // SAFETY: layouts and description live until the call returns, which only queues; memory by the caller's promise.
            unsafe {
                result::matmul(
                    self.blas.handle,
                    self.description.0,
                    (&raw const one).cast(),
                    (&raw const zero).cast(),
                    self.weight.address() as *const c_void,
                    self.weight_layout.0,
                    from as *const c_void,
                    states.0,
                    to as *const c_void,
                    results.0,
                    to as *mut c_void,
                    results.0,
                    &raw const self.algorithm,
                    self.blas.workspace.address() as *mut c_void,
                    WORKSPACE_BYTES,
                    card.stream.cu_stream().cast(),
                )
            }
        };
        run().map_err(|error| failed(&self.name, error))
    }
}

/// Describes the product and picks its algorithm. The library counts by columns: a token is a column of states and results, and
/// the weights, stored row by row, are transposed.
fn plan(
    blas: &Blas,
    inputs: usize,
    outputs: usize,
    bias: &Bias,
) -> Result<(Description, Layout, sys::cublasLtMatmulAlgo_t), result::CublasError> {
    use sys::cublasLtMatmulDescAttributes_t as Attribute;
    use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
    let description =
        Description(result::create_matmul_desc(blas.compute_type(), sys::cudaDataType_t::CUDA_R_32F)?);
    description.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &cublasOperation_t::CUBLAS_OP_T)?;
    if let Bias::Inside(bias) = bias {
        description.set(
            Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
            &sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS,
        )?;
        description.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.address())?;
    }
    let weight = Layout::new(blas.number_type(), inputs, outputs)?;
    let states = Layout::new(blas.number_type(), inputs, USUAL_TOKENS)?;
    let results = Layout::new(blas.number_type(), outputs, USUAL_TOKENS)?;
    let preference = Preference(result::create_matmul_pref()?);
    let no_sums_over_blocks = 0u32;
    preference.set(Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES)?;
    preference.set(Wish::CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &no_sums_over_blocks)?;
    // SAFETY: everything that is handed over is alive.
    let found = unsafe {
        result::get_matmul_algo_heuristic(
            blas.handle,
            description.0,
            weight.0,
            states.0,
            results.0,
            results.0,
            preference.0,
        )?
    };
    Ok((description, weight, found.algo))
}
