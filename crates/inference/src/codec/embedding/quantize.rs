//! Smaller forms of a vector.
//!
//! Bytes are scaled by the vector's own largest component, so that cosines survive; bits are the components' signs,
//! packed eight to a byte with the first in the highest bit.

/// 1 for components above zero, else 0.
pub(super) fn signs(vector: &[f32]) -> Vec<u8> {
    vector.iter().map(|value| u8::from(*value > 0.0)).collect()
}

pub(super) fn int8(vector: &[f32]) -> Vec<i8> {
    let largest = vector.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    let scale = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    // Within ±127 by the scale; a cast of a float saturates anyway.
    #[allow(clippy::cast_possible_truncation)]
    vector.iter().map(|value| (value * scale).round() as i8).collect()
}

/// [`int8`] moved up by 128.
pub(super) fn uint8(vector: &[f32]) -> Vec<u8> {
    int8(vector).into_iter().map(|value| value.cast_unsigned() ^ 0x80).collect()
}

pub(super) fn ubinary(vector: &[f32]) -> Vec<u8> {
    vector
        .chunks(8)
        .map(|chunk| {
            chunk
                .iter()
                .enumerate()
                .fold(0, |byte, (bit, value)| byte | (u8::from(*value > 0.0) << (7 - bit)))
        })
        .collect()
}

/// [`ubinary`] moved down by 128.
pub(super) fn binary(vector: &[f32]) -> Vec<i8> {
    ubinary(vector).into_iter().map(|byte| (byte ^ 0x80).cast_signed()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_are_packed_from_the_highest() {
        let vector = [1.0, -1.0, 0.0, 0.5, -0.1, -0.1, -0.1, 0.1, 1.0];
        assert_eq!(signs(&vector), [1, 0, 0, 1, 0, 0, 0, 1, 1]);
        assert_eq!(ubinary(&vector), [0b1001_0001, 0b1000_0000]);
        assert_eq!(binary(&vector), [17, 0]);
    }

    proptest! {
        #[test]
        fn bytes_keep_direction(vector in proptest::collection::vec(-1.0_f32..1.0, 8..64)) {
            prop_assume!(vector.iter().any(|value| value.abs() > 0.1));
            let small: Vec<f32> = int8(&vector).into_iter().map(f32::from).collect();
            let dot: f32 = vector.iter().zip(&small).map(|(a, b)| a * b).sum();
            let length = |v: &[f32]| v.iter().map(|x| x * x).sum::<f32>().sqrt();
            prop_assert!(dot / (length(&vector) * length(&small)) > 0.999);
            let shifted: Vec<i16> = uint8(&vector).into_iter().map(|value| i16::from(value) - 128).collect();
            let signed: Vec<i16> = int8(&vector).into_iter().map(i16::from).collect();
            prop_assert_eq!(shifted, signed);
        }
    }
}
