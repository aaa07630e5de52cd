//! The products of matrices that llama.cpp asks for.
//!
//! `llama.cmake` makes its C files ask [`craton_sgemm`] where they would ask its own `llamafile_sgemm`.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn llamafile_sgemm(
        parameters: *const c_void,
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

/// Computes a thread's share of a product and says so, or computes nothing.
///
/// # Safety
/// Called by llama.cpp only, with `llamafile_sgemm`'s contract.
#[allow(clippy::too_many_arguments)]
#[unsafe(no_mangle)]
unsafe extern "C" fn craton_sgemm(
    parameters: *const c_void,
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
    // SAFETY: the caller's own arguments, to the function it meant.
    unsafe {
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
    }
}
