//! The little arithmetic of vectors, in lanes: sums in the order of the elements can't be computed side by side.

const LANES: usize = 16;

/// The sum of products of two vectors of one length.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (whole_a, rest_a) = a.as_chunks::<LANES>();
    let (whole_b, rest_b) = b.as_chunks::<LANES>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// The sum of a vector's elements.
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let (whole, rest) = values.as_chunks::<LANES>();
    for values in whole {
        for lane in 0..LANES {
            sums[lane] += values[lane];
        }
    }
    sums.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

/// A vector's own direction, of length 1; zeros stay.
pub(crate) fn normalise(vector: &mut [f32]) {
    let length = dot(vector, vector).sqrt();
    if length > 1e-9 {
        vector.iter_mut().for_each(|value| *value /= length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_what_is_left_over_are_summed() {
        let a: Vec<f32> = (0..37_u8).map(f32::from).collect();
        let b = vec![2.0; 37];
        assert!((dot(&a, &b) - 1332.0).abs() < 1e-3 && (sum(&a) - 666.0).abs() < 1e-3);
        let mut unit = vec![3.0, 4.0];
        normalise(&mut unit);
        assert!((unit[0] - 0.6).abs() < 1e-6 && (dot(&unit, &unit) - 1.0).abs() < 1e-6);
    }
}
