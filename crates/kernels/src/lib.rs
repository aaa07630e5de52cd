//! The arithmetic of small networks that run here: products of matrices, and what is done to single numbers between them.
//! The encoder of sentences and the recogniser of names stand on it.
//!
//! Written out rather than taken from a tensor library, whose products are made for any shape on the way and whose
//! functions of single numbers run on one thread, unvectorised: together they cost a network of this size more than half of its time.
//! A matrix that stays is packed once, in panels of [`LANES`] columns, which is the order that [`tile`] reads it in.

pub mod blocks;
mod bytes;
mod pointwise;
mod processor;
mod tile;

use std::sync::OnceLock;

use bytes::Bytes;
pub use bytes::Steps;
pub use pointwise::{add_layer_norm, gelu_erf, gelu_tanh, layer_norm, relu, softmax};
pub use tile::LANES;

/// Rows of numbers, `stride` apart, each read from its beginning.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    pub data: &'a [f32],
    pub stride: usize,
}

/// The right side of a product, packed: for each panel, for each row of depth, [`LANES`] columns side by side.
#[derive(Debug, Default)]
pub struct Packed {
    panels: Vec<f32>,
    /// As many as there are columns in all panels; empty for none.
    bias: Vec<f32>,
    depth: usize,
    columns: usize,
}

impl Packed {
    /// A layer's weight, `[columns, depth]`, and its bias.
    fn layer(weight: &[f32], bias: &[f32]) -> Self {
        let columns = bias.len();
        let depth = weight.len() / columns.max(1);
        let mut packed = Self::default();
        packed.set_columns(Rows { data: weight, stride: depth }, (depth, columns));
        packed.bias = bias.to_vec();
        packed.bias.resize(columns.next_multiple_of(LANES), 0.0);
        packed
    }

    fn reset(&mut self, depth: usize, columns: usize) {
        self.panels.clear();
        self.panels.resize(columns.div_ceil(LANES) * LANES * depth, 0.0);
        (self.depth, self.columns) = (depth, columns);
    }

    /// Takes the rows of `source` as columns.
    pub fn set_columns(&mut self, source: Rows<'_>, (depth, columns): (usize, usize)) {
        self.reset(depth, columns);
        if depth == 0 {
            return;
        }
        for (number, panel) in self.panels.chunks_exact_mut(LANES * depth).enumerate() {
            for column in 0..LANES.min(columns - number * LANES) {
                let from = &source.data[(number * LANES + column) * source.stride..][..depth];
                panel[column..].iter_mut().step_by(LANES).zip(from).for_each(|(to, from)| *to = *from);
            }
        }
    }

    /// Takes the rows of `source` as rows of depth.
    pub fn set_rows(&mut self, source: Rows<'_>, (depth, columns): (usize, usize)) {
        self.reset(depth, columns);
        if depth == 0 {
            return;
        }
        for (number, panel) in self.panels.chunks_exact_mut(LANES * depth).enumerate() {
            let wide = LANES.min(columns - number * LANES);
            for (row, to) in panel.chunks_exact_mut(LANES).enumerate() {
                to[..wide].copy_from_slice(&source.data[row * source.stride + number * LANES..][..wide]);
            }
        }
    }

    /// Writes `left · self + bias` for `rows` rows of `left` into rows of `out`, `stride` apart.
    pub fn multiply(&self, left: Rows<'_>, rows: usize, (out, stride): (&mut [f32], usize)) {
        tile::multiply(self, left, rows, (out, stride));
    }
}

/// A layer's weight and bias, exact and, once they were asked for, in bytes.
#[derive(Debug)]
pub struct Linear {
    exact: Packed,
    /// None inside where this processor is not faster by them.
    bytes: OnceLock<Option<Bytes>>,
}

impl Linear {
    /// A weight, `[columns, depth]`, and its bias.
    pub fn new(weight: &[f32], bias: &[f32]) -> Self {
        Self { exact: Packed::layer(weight, bias), bytes: OnceLock::new() }
    }

    /// Writes `left · weight + bias` for `rows` rows of `left` into rows of `out`, `stride` apart; with `quick`, in bytes.
    pub fn multiply(
        &self,
        left: Rows<'_>,
        rows: usize,
        (out, stride): (&mut [f32], usize),
        quick: Option<&mut Steps>,
    ) {
        if let Some(steps) = quick
            && let Some(bytes) = self.bytes.get_or_init(|| Bytes::of(&self.exact))
        {
            return bytes.multiply(left, rows, (out, stride), steps);
        }
        self.exact.multiply(left, rows, (out, stride));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: f32) -> Vec<f32> {
        (0..count).map(|n| (seed + 0.37 * n as f32).sin()).collect()
    }

    #[test]
    fn products_of_every_shape_are_right() {
        for (rows, depth, columns) in
            [(1, 1, 1), (3, 5, 31), (8, 32, 32), (9, 7, 33), (17, 40, 96), (4, 0, 3)]
        {
            let (left, right) = (numbers(rows * (depth + 2), 1.0), numbers(columns * depth, 2.0));
            let bias = numbers(columns, 3.0);
            let layer = match depth {
                0 => continue,
                _ => Packed::layer(&right, &bias),
            };
            let mut out = vec![9.0; rows * (columns + 1)];
            layer.multiply(Rows { data: &left, stride: depth + 2 }, rows, (&mut out, columns + 1));
            for row in 0..rows {
                for column in 0..columns {
                    let expected: f32 = bias[column]
                        + (0..depth)
                            .map(|k| left[row * (depth + 2) + k] * right[column * depth + k])
                            .sum::<f32>();
                    let found = out[row * (columns + 1) + column];
                    assert!((found - expected).abs() < 1e-4, "{rows} {depth} {columns}: {found} {expected}");
                }
                assert_eq!(out[row * (columns + 1) + columns], 9.0, "wrote beyond a row");
            }
        }
    }

    #[test]
    fn rows_and_columns_pack_to_the_same() {
        let (depth, columns) = (6, 37);
        let by_row = numbers(depth * columns, 0.5);
        let mut by_column = vec![0.0; by_row.len()];
        for row in 0..depth {
            for column in 0..columns {
                by_column[column * depth + row] = by_row[row * columns + column];
            }
        }
        let (mut one, mut other) = (Packed::default(), Packed::default());
        one.set_rows(Rows { data: &by_row, stride: columns }, (depth, columns));
        other.set_columns(Rows { data: &by_column, stride: depth }, (depth, columns));
        assert_eq!(one.panels, other.panels);
    }
}
