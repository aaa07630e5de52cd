//! The dense layers: a matrix product with a bias, the largest of three pieces, and a layer norm.

use candle_core::{Device, Tensor};

use crate::arithmetic::{dot, sum};

/// A layer of `outputs` that each are the largest of `pieces` affine functions.
#[derive(Debug)]
pub(super) struct Maxout {
    /// Inputs by pieces × outputs.
    matrix: Tensor,
    bias: Vec<f32>,
    gain: Vec<f32>,
    offset: Vec<f32>,
    inputs: usize,
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
        let width = norm.0.len();
        let pieces = rows.checked_div(width)?;
        if pieces == 0 || rows != pieces * width || matrix.len() != rows * inputs {
            return None;
        }
        // All first pieces, then all second ones: the largest of each is then taken side by side.
        let order = (0..pieces).flat_map(|piece| (0..width).map(move |output| output * pieces + piece));
        let bias = order.clone().map(|row| bias[row]).collect();
        let matrix = order.flat_map(|row| matrix[row * inputs..(row + 1) * inputs].iter().copied()).collect();
        let matrix = transposed(rows, inputs, matrix)?;
        Some(Self { matrix, bias, gain: norm.0, offset: norm.1, inputs })
    }

    /// `rows` rows of inputs to as many of outputs.
    pub(super) fn apply(&self, input: Vec<f32>, rows: usize) -> Option<Vec<f32>> {
        let product = product(input, rows, self.inputs, &self.matrix)?;
        let width = self.gain.len();
        let mut out = Vec::with_capacity(rows * width);
        for row in product.chunks_exact(self.bias.len()) {
            let start = out.len();
            let mut pieces = row.chunks_exact(width).zip(self.bias.chunks_exact(width));
            if let Some((values, bias)) = pieces.next() {
                out.extend(values.iter().zip(bias).map(|(value, bias)| value + bias));
            }
            for (values, bias) in pieces {
                for ((most, value), bias) in out[start..].iter_mut().zip(values).zip(bias) {
                    let value = value + bias;
                    *most = if value > *most { value } else { *most };
                }
            }
            layer_norm(&mut out[start..], &self.gain, &self.offset);
        }
        Some(out)
    }
}

fn layer_norm(row: &mut [f32], gain: &[f32], offset: &[f32]) {
    let count = row.len() as f32;
    let mean = sum(row) / count;
    row.iter_mut().for_each(|value| *value -= mean);
    let scale = 1.0 / (dot(row, row) / count + 1e-8).sqrt();
    for ((value, gain), offset) in row.iter_mut().zip(gain).zip(offset) {
        *value = *value * scale * gain + offset;
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
