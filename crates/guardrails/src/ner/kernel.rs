//! The dense layers: a matrix product with a bias, the largest of three pieces, and a layer norm.

use candle_core::{Device, Tensor};

/// A layer of `outputs` that each are the largest of `pieces` affine functions.
#[derive(Debug)]
pub(super) struct Maxout {
    /// Inputs by outputs × pieces.
    matrix: Tensor,
    bias: Vec<f32>,
    gain: Vec<f32>,
    offset: Vec<f32>,
    inputs: usize,
    pieces: usize,
}

impl Maxout {
    /// From a matrix of outputs × pieces by inputs.
    pub(super) fn new(
        inputs: usize,
        matrix: Vec<f32>,
        bias: Vec<f32>,
        norm: (Vec<f32>, Vec<f32>),
    ) -> Option<Self> {
        let rows = bias.len();
        let pieces = rows.checked_div(norm.0.len())?;
        let matrix = transposed(rows, inputs, matrix)?;
        Some(Self { matrix, bias, gain: norm.0, offset: norm.1, inputs, pieces })
    }

    /// `rows` rows of inputs to as many of outputs.
    pub(super) fn apply(&self, input: Vec<f32>, rows: usize) -> Option<Vec<f32>> {
        let product = product(input, rows, self.inputs, &self.matrix)?;
        let width = self.gain.len();
        let mut out = Vec::with_capacity(rows * width);
        for row in product.chunks_exact(self.bias.len()) {
            let start = out.len();
            let pieces = row.chunks_exact(self.pieces).zip(self.bias.chunks_exact(self.pieces));
            out.extend(pieces.map(|(values, bias)| {
                values.iter().zip(bias).map(|(value, bias)| value + bias).fold(f32::NEG_INFINITY, f32::max)
            }));
            layer_norm(&mut out[start..], &self.gain, &self.offset);
        }
        Some(out)
    }
}

fn layer_norm(row: &mut [f32], gain: &[f32], offset: &[f32]) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|value| (value - mean) * (value - mean)).sum::<f32>() / count + 1e-8;
    let scale = 1.0 / variance.sqrt();
    for ((value, gain), offset) in row.iter_mut().zip(gain).zip(offset) {
        *value = (*value - mean) * scale * gain + offset;
    }
}

/// A matrix of `rows` by `columns` turned, ready to be multiplied with.
pub(super) fn transposed(rows: usize, columns: usize, matrix: Vec<f32>) -> Option<Tensor> {
    let tensor = Tensor::from_vec(matrix, (rows, columns), &Device::Cpu).ok()?;
    tensor.t().and_then(|it| it.contiguous()).ok()
}

/// Rows of `inputs` numbers times a matrix.
pub(super) fn product(input: Vec<f32>, rows: usize, inputs: usize, matrix: &Tensor) -> Option<Vec<f32>> {
    let input = Tensor::from_vec(input, (rows, inputs), &Device::Cpu).ok()?;
    input.matmul(matrix).ok()?.flatten_all().ok()?.to_vec1().ok()
}
