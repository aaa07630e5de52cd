//! What is done to single numbers, in forms that compilers make vector code of.

/// e to the power of `x`, to 2 units of the last place. Beyond ±87 the nearest that is finite and not zero.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Added, it leaves a whole number in the low bits.
    const SHIFT: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let whole = shifted - SHIFT;
    let rest = (x - whole * LN2_HIGH) - whole * LN2_LOW;
    let mut sum = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
        sum = sum * rest + coefficient;
    }
    let power = sum * rest * rest + rest + 1.0;
    let exponent = shifted.to_bits().wrapping_sub(SHIFT.to_bits()).wrapping_add(127);
    power * f32::from_bits(exponent << 23)
}

/// The error function, to 2e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let mut sum = 1.061_405_4;
    for coefficient in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
        sum = sum * t + coefficient;
    }
    (1.0 - sum * t * exp(-x * x)).copysign(x)
}

/// GELU with the error function.
pub fn gelu_erf(values: &mut [f32]) {
    for x in values {
        *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
    }
}

/// GELU by the hyperbolic tangent.
pub fn gelu_tanh(values: &mut [f32]) {
    for x in values {
        let inner = 0.797_884_6 * (*x + 0.044_715 * *x * *x * *x);
        // (1 + tanh y) / 2 is the logistic function of 2y.
        *x /= 1.0 + exp(-2.0 * inner);
    }
}

pub fn relu(values: &mut [f32]) {
    values.iter_mut().for_each(|x| *x = x.max(0.0));
}

/// Numbers that add up to 1.
pub fn softmax(row: &mut [f32]) {
    let most = row.iter().fold(f32::MIN, |most, x| most.max(*x));
    row.iter_mut().for_each(|x| *x = exp(*x - most));
    let sum = 1.0 / lane_sum(row, |x| x);
    row.iter_mut().for_each(|x| *x *= sum);
}

/// Adds `more` to `row` and brings the sum to mean 0 and variance 1, then to the learnt scale.
pub fn add_layer_norm(row: &mut [f32], more: &[f32], (weight, bias, epsilon): (&[f32], &[f32], f32)) {
    row.iter_mut().zip(more).for_each(|(x, more)| *x += more);
    layer_norm(row, (weight, bias, epsilon));
}

/// Brings a row to mean 0 and variance 1, then to the learnt scale.
pub fn layer_norm(row: &mut [f32], (weight, bias, epsilon): (&[f32], &[f32], f32)) {
    let count = row.len() as f32;
    let mean = lane_sum(row, |x| x) / count;
    let variance = lane_sum(row, |x| (x - mean) * (x - mean)) / count;
    let scale = 1.0 / (variance + epsilon).sqrt();
    for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
        *x = (*x - mean) * scale * weight + bias;
    }
}

/// A sum in sixteen parts, which need not wait for each other.
#[inline(always)]
fn lane_sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; 16];
    let chunks = row.chunks_exact(16);
    let rest: f32 = chunks.remainder().iter().map(|x| of(*x)).sum();
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, x)| *lane += of(*x));
    }
    lanes.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_near_the_library_s() {
        for n in -8_700..=8_700 {
            let x = n as f32 / 100.0;
            let (found, expected) = (exp(x), x.exp());
            assert!((found - expected).abs() <= 4e-7 * expected, "{x}: {found} {expected}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::MIN) > 0.0 && exp(f32::MAX).is_finite());
    }

    #[test]
    fn activations_are_as_defined() {
        // erf by its series, in 64 bits.
        let exact = |x: f64| {
            let (mut term, mut sum) = (x, x);
            for n in 1..200 {
                term *= -x * x / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            sum * 2.0 / std::f64::consts::PI.sqrt()
        };
        for n in -400..=400 {
            let x = f64::from(n) / 100.0;
            let mut found = [x as f32; 2];
            gelu_erf(&mut found[..1]);
            gelu_tanh(&mut found[1..]);
            let by_erf = 0.5 * x * (1.0 + exact(x / 2.0_f64.sqrt()));
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            let by_tanh = 0.5 * x * (1.0 + inner.tanh());
            assert!((f64::from(found[0]) - by_erf).abs() < 1e-6, "{x}: {} {by_erf}", found[0]);
            assert!((f64::from(found[1]) - by_tanh).abs() < 1e-6, "{x}: {} {by_tanh}", found[1]);
        }
    }

    #[test]
    fn rows_are_normalised() {
        let mut row: Vec<f32> = (0..37).map(|n| n as f32 * 0.3 - 90.0).collect();
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6 && row.is_sorted());
        let mut row: Vec<f32> = (0..37).map(|n| n as f32).collect();
        let (more, weight, bias) = (vec![1.0; 37], vec![2.0; 37], vec![3.0; 37]);
        add_layer_norm(&mut row, &more, (&weight, &bias, 1e-12));
        let mean = row.iter().sum::<f32>() / 37.0;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / 37.0;
        assert!((mean - 3.0).abs() < 1e-5 && (variance - 4.0).abs() < 1e-4);
    }
}
