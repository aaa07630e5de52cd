//! The dense layers: a matrix product with a bias, the largest of three pieces, and a layer norm.

use craton_kernels::{Linear, Rows, Steps, layer_norm};

/// A layer of `outputs` that each are the largest of `pieces` affine functions.
#[derive(Debug)]
pub(super) struct Maxout {
    /// All first pieces, then all second ones: the largest of each is then taken side by side.
    linear: Linear,
    pieces: usize,
    inputs: usize,
    gain: Vec<f32>,
    offset: Vec<f32>,
}

/// What products take on the way, kept from one to the next.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    product: Vec<f32>,
    steps: Option<Steps>,
}

impl Scratch {
    /// Products in bytes, where the processor is faster by them.
    pub(super) fn quick() -> Self {
        Self { product: Vec::new(), steps: Some(Steps::default()) }
    }

    /// `rows` rows of `left` times a layer, in rows of `columns`.
    pub(super) fn multiply(
        &mut self,
        layer: &Linear,
        left: Rows<'_>,
        (rows, columns): (usize, usize),
    ) -> &mut [f32] {
        self.product.resize(rows * columns, 0.0);
        layer.multiply(left, rows, (&mut self.product, columns), self.steps.as_mut());
        &mut self.product
    }
}

impl Maxout {
    /// From a matrix of outputs × pieces by inputs.
    pub(super) fn new(
        inputs: usize,
        matrix: &[f32],
        bias: &[f32],
        (gain, offset): (Vec<f32>, Vec<f32>),
    ) -> Option<Self> {
        let (rows, width) = (bias.len(), gain.len());
        let pieces = rows.checked_div(width)?;
        if pieces == 0 || rows != pieces * width || matrix.len() != rows * inputs || offset.len() != width {
            return None;
        }
        let order = (0..pieces).flat_map(|piece| (0..width).map(move |output| output * pieces + piece));
        let bias: Vec<f32> = order.clone().map(|row| bias[row]).collect();
        let matrix: Vec<f32> =
            order.flat_map(|row| matrix[row * inputs..(row + 1) * inputs].iter().copied()).collect();
        Some(Self { linear: Linear::new(&matrix, &bias), pieces, inputs, gain, offset })
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    pub(super) fn outputs(&self) -> usize {
        self.gain.len()
    }

    /// Hands each of `rows` rows of outputs to `each`, in turn.
    pub(super) fn apply(
        &self,
        left: Rows<'_>,
        rows: usize,
        scratch: &mut Scratch,
        mut each: impl FnMut(usize, &[f32]),
    ) {
        let width = self.gain.len();
        let product = scratch.multiply(&self.linear, left, (rows, self.pieces * width));
        for (index, row) in product.chunks_exact_mut(self.pieces * width).enumerate() {
            let (most, others) = row.split_at_mut(width);
            for piece in others.chunks_exact(width) {
                for (most, value) in most.iter_mut().zip(piece) {
                    *most = if *value > *most { *value } else { *most };
                }
            }
            layer_norm(most, (&self.gain, &self.offset, 1e-8));
            each(index, most);
        }
    }
}
