//! The products of matrices that llama.cpp asks for.
//!
//! `llama.cmake` makes its C files ask [`craton_sgemm`] where they would ask its own `llamafile_sgemm`. What
//! [`craton_kernels::blocks`] multiplies faster on this processor is computed there: weights in Q4_0, Q4_1 and Q8_0 with
//! activations in blocks. The rest is handed on.
//!
//! `unsafe` because llama.cpp hands over matrices as pointers, which its threads share.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use craton_kernels::blocks::{BLOCK, Format, Product, are_fast};
use llama_cpp_sys_2::{
    GGML_TYPE_F32, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q8_0, GGML_TYPE_Q8_1, ggml_type,
};

static COMPUTED: AtomicU64 = AtomicU64::new(0);

/// Whether this processor multiplies weights in blocks faster here than llama.cpp does.
pub fn multiplies_blocks() -> bool {
    static FAST: OnceLock<bool> = OnceLock::new();
    *FAST.get_or_init(are_fast)
}

/// Products of all models of this process so far that were computed here.
pub fn computed_products() -> u64 {
    COMPUTED.load(Ordering::Relaxed)
}

/// The beginning of `ggml_compute_params`.
#[repr(C)]
struct Parameters {
    thread: c_int,
    threads: c_int,
}

unsafe extern "C" {
    fn llamafile_sgemm(
        parameters: *const Parameters,
        rows: i64,
        columns: i64,
        depth: i64,
        weights: *const c_void,
        weights_stride: i64,
        activations: *const c_void,
        activations_stride: i64,
        result: *mut c_void,
        result_stride: i64,
        weights_type: c_int,
        activations_type: c_int,
        result_type: c_int,
    ) -> bool;
}

/// How weights of a type are written, if they and these activations are multiplied here.
fn format_of(weights: ggml_type, activations: ggml_type, result: ggml_type) -> Option<Format> {
    match (weights, activations, result) {
        (GGML_TYPE_Q4_0, GGML_TYPE_Q8_0, GGML_TYPE_F32) => Some(Format::Q4_0),
        (GGML_TYPE_Q4_1, GGML_TYPE_Q8_1, GGML_TYPE_F32) => Some(Format::Q4_1),
        (GGML_TYPE_Q8_0, GGML_TYPE_Q8_0, GGML_TYPE_F32) => Some(Format::Q8_0),
        _ => None,
    }
}

/// Computes a thread's share of a product and says so, or computes nothing. `depth` and the strides of weights and
/// activations are in blocks, the result's in numbers.
///
/// # Safety
/// Called by llama.cpp only, with `llamafile_sgemm`'s contract: all threads call it with the same matrices, and nobody reads
/// the result before all have returned.
#[allow(clippy::too_many_arguments)]
#[unsafe(no_mangle)]
unsafe extern "C" fn craton_sgemm(
    parameters: *const Parameters,
    rows: i64,
    columns: i64,
    depth: i64,
    weights: *const c_void,
    weights_stride: i64,
    activations: *const c_void,
    activations_stride: i64,
    result: *mut c_void,
    result_stride: i64,
    weights_type: c_int,
    activations_type: c_int,
    result_type: c_int,
) -> bool {
    let kind = |kind: c_int| ggml_type::try_from(kind).unwrap_or(ggml_type::MAX);
    let format = format_of(kind(weights_type), kind(activations_type), kind(result_type));
    let Some(format) = format.filter(|_| multiplies_blocks()) else {
        // SAFETY: the caller's own arguments, to the function it meant.
        return unsafe {
            llamafile_sgemm(
                parameters,
                rows,
                columns,
                depth,
                weights,
                weights_stride,
                activations,
                activations_stride,
                result,
                result_stride,
                weights_type,
                activations_type,
                result_type,
            )
        };
    };
    let size = |size: i64| usize::try_from(size).unwrap_or(0);
    let product = Product {
        format,
        rows: size(rows),
        columns: size(columns),
        depth: size(depth),
        weights: weights.cast(),
        weights_stride: size(weights_stride) * format.bytes(),
        activations: activations.cast(),
        activations_stride: size(activations_stride) * format.activation_bytes(),
        result: result.cast(),
        result_stride: size(result_stride),
    };
    // SAFETY: the caller's parameters live through the call.
    let Parameters { thread, threads } = unsafe { parameters.read() };
    if thread == 0 {
        COMPUTED.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the matrices are as the caller describes them, and each thread has its own share.
    unsafe { product.compute((size(thread.into()), size(threads.into()))) };
    true
}

/// Blocks are as long there as here.
const _: () = assert!(BLOCK == 32);
