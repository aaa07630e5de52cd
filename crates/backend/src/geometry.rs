//! The little that everybody does with vectors. Inlined, so that it is as quick as its caller is compiled to be.

/// The scalar product; of two vectors of length 1 it is their cosine. In sixteen sums, which need not wait for each
/// other.
#[inline]
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0_f32; 16];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().sum::<f32>() + rest
}

/// The Euclidean length, summed in double precision.
#[inline]
pub fn length(vector: &[f32]) -> f32 {
    length_f64(vector) as f32
}

/// The vector with length 1; a zero vector stays what it is.
#[inline]
pub fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    normalise(&mut vector);
    vector
}

/// Gives a vector length 1 where it is.
#[inline]
pub fn normalise(vector: &mut [f32]) {
    let length = length_f64(vector);
    if length > 0.0 {
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) / length) as f32);
    }
}

#[inline]
fn length_f64(vector: &[f32]) -> f64 {
    vector.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_become_unit_length() {
        assert_eq!(unit(vec![3.0, 4.0]), [0.6, 0.8]);
        assert_eq!(unit(vec![0.0, 0.0]), [0.0, 0.0]);
        let (a, b): (Vec<f32>, _) = ((0..37_u8).map(f32::from).collect(), vec![2.0; 37]);
        assert!((dot(&a, &b) - 1332.0).abs() < 1e-3);
        assert_eq!((length(&[3.0, 4.0]), dot(&[1.0, 2.0], &[3.0, 4.0])), (5.0, 11.0));
    }
}
