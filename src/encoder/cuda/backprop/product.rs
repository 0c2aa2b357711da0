//! Products that learning needs, by cuBLASLt: forwards, back to the inputs, and onto the gradients of weights.
//!
//! Weights, and with them the addresses, are those of one large array, and sizes change from batch to batch. So a product is described and its
//! algorithm chosen when a size is first seen. Sums over several blocks are allowed, in an order of their own: a gradient of weights is a
//! small matrix that is summed over all tokens.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::Arc;

use candle_core::cuda::cudarc::cublas::sys::cublasOperation_t;
use candle_core::cuda::cudarc::cublaslt::{result, sys};

use crate::encoder::Precision;
use crate::encoder::cuda::card::{Address, Card, failed};
use crate::encoder::cuda::product::{Blas, Description, Layout, Preference, WORKSPACE_BYTES};
use crate::encoder::error::Result;

/// Sizes that are remembered.
const PLANS: usize = 1024;

/// The coarsest alignment that the library asks about.
const ALIGNMENT: u32 = 256;

/// Which of a linear module's products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// `outputs = inputs W^T + b`: from the weights and the inputs.
    Forward,
    /// The gradients of the inputs: from the weights and the gradients of the outputs.
    Back,
    /// The gradients of the inputs, in f32, added to those that are there.
    BackOnto,
    /// The gradients of the weights, in f32, added to those that are there: from the inputs and the gradients of the outputs.
    Learn,
}

/// What a product is, beside where its matrices lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    inputs: usize,
    outputs: usize,
    tokens: usize,
    has_bias: bool,
    /// Of the matrix that is aligned worst.
    alignment: u32,
}

/// A product as the library wants it described.
struct Plan {
    description: Description,
    left: Layout,
    right: Layout,
    result: Layout,
    algorithm: sys::cublasLtMatmulAlgo_t,
}

// SAFETY: the library's descriptions may be used from any thread, by one at a time, as `&mut Products` sees to.
unsafe impl Send for Plan {}

/// A product's matrices.
pub(super) struct Matrices {
    /// The number of inputs and outputs of the module.
    pub(super) shape: (usize, usize),
    pub(super) left: Address,
    pub(super) right: Address,
    /// Null for none.
    pub(super) bias: Address,
    pub(super) result: Address,
}

/// All products of a model.
pub(super) struct Products {
    blas: Arc<Blas>,
    plans: HashMap<Key, Plan>,
}

impl Products {
    pub(super) fn open(card: &Card, precision: Precision) -> Result<Self> {
        Ok(Self { blas: Blas::open(card, precision)?, plans: HashMap::new() })
    }

    /// Starts a product over so many tokens.
    ///
    /// # Safety
    ///
    /// The matrices are as large as kind, shape and tokens say, and of the products' type; a result that is added to is f32.
    pub(super) unsafe fn start(
        &mut self,
        card: &Card,
        kind: Kind,
        tokens: usize,
        matrices: &Matrices,
    ) -> Result<()> {
        let all = matrices.left | matrices.right | matrices.bias | matrices.result;
        let (inputs, outputs) = matrices.shape;
        let alignment = (1 << all.trailing_zeros().min(ALIGNMENT.ilog2())).min(ALIGNMENT);
        let key = Key { kind, inputs, outputs, tokens, has_bias: matrices.bias != 0, alignment };
        // SAFETY: the caller's promise.
        unsafe { self.try_to_start(card, key, matrices) }.map_err(|error| failed(&card.name, error))
    }

    unsafe fn try_to_start(
        &mut self,
        card: &Card,
        key: Key,
        matrices: &Matrices,
    ) -> Result<(), result::CublasError> {
        if self.plans.len() >= PLANS {
            self.plans.clear();
        }
        let plan = match self.plans.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Plan::new(&self.blas, key, matrices.bias)?),
        };
        if key.has_bias {
            plan.set_bias(matrices.bias)?;
        }
        let one = 1.0f32;
        let onto = if key.kind.adds() { 1.0f32 } else { 0.0 };
        // SAFETY: the plan lives until the call returns, which only queues; memory by the caller's promise.
        unsafe {
            result::matmul(
                self.blas.handle,
                plan.description.0,
                (&raw const one).cast(),
                (&raw const onto).cast(),
                matrices.left as *const c_void,
                plan.left.0,
                matrices.right as *const c_void,
                plan.right.0,
                matrices.result as *const c_void,
                plan.result.0,
                matrices.result as *mut c_void,
                plan.result.0,
                &raw const plan.algorithm,
                self.blas.workspace.address() as *mut c_void,
                WORKSPACE_BYTES,
                card.stream.cu_stream().cast(),
            )
        }
    }
}

impl Kind {
    /// Whether the result is added to what is there.
    fn adds(self) -> bool {
        matches!(self, Kind::BackOnto | Kind::Learn)
    }
}

impl Plan {
    /// The library counts by columns: what lies row by row here is transposed there.
    fn new(blas: &Blas, key: Key, bias: Address) -> Result<Self, result::CublasError> {
        use sys::cublasLtMatmulDescAttributes_t as Attribute;
        use sys::cublasLtMatmulPreferenceAttributes_t as Wish;
        let Key { kind, inputs, outputs, tokens, .. } = key;
        let description =
            Description(result::create_matmul_desc(blas.compute_type(), sys::cudaDataType_t::CUDA_R_32F)?);
        let (transposed, left, right, to) = match kind {
            Kind::Forward => (
                Some(Attribute::CUBLASLT_MATMUL_DESC_TRANSA),
                (inputs, outputs),
                (inputs, tokens),
                (outputs, tokens),
            ),
            Kind::Back | Kind::BackOnto => (None, (inputs, outputs), (outputs, tokens), (inputs, tokens)),
            Kind::Learn => (
                Some(Attribute::CUBLASLT_MATMUL_DESC_TRANSB),
                (inputs, tokens),
                (outputs, tokens),
                (inputs, outputs),
            ),
        };
        if let Some(transposed) = transposed {
            description.set(transposed, &cublasOperation_t::CUBLAS_OP_T)?;
        }
        if key.has_bias {
            description.set(
                Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE,
                &sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS,
            )?;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        let number_type = blas.number_type();
        let result_type = if kind.adds() { sys::cudaDataType_t::CUDA_R_32F } else { number_type };
        let left = Layout::new(number_type, left.0, left.1)?;
        let right = Layout::new(number_type, right.0, right.1)?;
        let result = Layout::new(result_type, to.0, to.1)?;
        let preference = Preference(result::create_matmul_pref()?);
        preference.set(Wish::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES)?;
        for attribute in [
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            Wish::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            preference.set(attribute, &key.alignment)?;
        }
        // SAFETY: everything that is handed over is alive.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                blas.handle,
                description.0,
                left.0,
                right.0,
                result.0,
                result.0,
                preference.0,
            )?
        };
        Ok(Self { description, left, right, result, algorithm: found.algo })
    }

    /// Layers share a plan, and have biases of their own.
    fn set_bias(&self, bias: Address) -> Result<(), result::CublasError> {
        self.description.set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)
    }
}
