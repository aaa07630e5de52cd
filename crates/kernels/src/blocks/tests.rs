use super::*;

/// Numbers that look like chance, the same ones each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| (self.next() & 0xFF) as u8).collect()
    }

    /// A half-precision number between a sixteenth and one, and the number that it is.
    fn half(&mut self) -> ([u8; 2], f64) {
        let (exponent, fraction) = (11 + self.next() % 4, self.next() % 1024);
        let bits = (exponent << 10 | fraction) as u16;
        (bits.to_le_bytes(), (1.0 + fraction as f64 / 1024.0) * (exponent as f64 - 15.0).exp2())
    }
}

struct Matrix {
    bytes: Vec<u8>,
    stride: usize,
    /// By row or column, then place.
    numbers: Vec<Vec<f64>>,
}

/// `count` rows with `depth` blocks each, as `block` makes them: bytes, and the numbers that they are.
fn matrix(
    (count, depth): (usize, usize),
    spare: usize,
    mut block: impl FnMut() -> (Vec<u8>, Vec<f64>),
) -> Matrix {
    let (mut bytes, mut numbers, mut stride) = (Vec::new(), Vec::new(), 0);
    for _ in 0..count {
        let (start, mut row) = (bytes.len(), Vec::new());
        for _ in 0..depth {
            let (written, meant) = block();
            bytes.extend(written);
            row.extend(meant);
        }
        bytes.extend(vec![0xEE; spare]);
        stride = bytes.len() - start;
        numbers.push(row);
    }
    Matrix { bytes, stride, numbers }
}

fn weights(format: Format, chance: &mut Chance) -> (Vec<u8>, Vec<f64>) {
    let (scale, scale_value) = chance.half();
    let (least, least_value) = chance.half();
    let packed = chance.bytes(format.bytes() - 2);
    let (head, numbers): (&[u8], Vec<f64>) = match format {
        Format::Q4_1 => (&least, half_bytes(&packed[2..]).map(|n| n * scale_value + least_value).collect()),
        Format::Q4_0 => (&[], half_bytes(&packed).map(|n| (n - 8.0) * scale_value).collect()),
        Format::Q8_0 => (&[], packed.iter().map(|byte| f64::from(*byte as i8) * scale_value).collect()),
    };
    let rest = &packed[head.len()..];
    ([&scale, head, rest].concat(), numbers)
}

fn half_bytes(packed: &[u8]) -> impl Iterator<Item = f64> {
    let high = packed.iter().map(|byte| f64::from(byte >> 4));
    packed.iter().map(|byte| f64::from(byte & 15)).chain(high)
}

fn activations(format: Format, chance: &mut Chance) -> (Vec<u8>, Vec<f64>) {
    let (scale, value) = chance.half();
    let bytes = chance.bytes(BLOCK);
    let numbers: Vec<f64> = bytes.iter().map(|byte| f64::from(*byte as i8) * value).collect();
    // The sum is in half precision as well; it is exact where it is a multiple of what that can say.
    let head = match format {
        Format::Q4_1 => return with_exact_sum(scale, value, bytes),
        Format::Q4_0 | Format::Q8_0 => scale,
    };
    ([&head[..], &bytes].concat(), numbers)
}

/// A block of Q8_1 whose bytes add up to 64, so that half precision has its scaled sum exactly.
fn with_exact_sum(scale: [u8; 2], value: f64, mut bytes: Vec<u8>) -> (Vec<u8>, Vec<f64>) {
    bytes.iter_mut().for_each(|byte| *byte = ((*byte as i8) / 8) as u8);
    let sum: i32 = bytes[..BLOCK - 8].iter().map(|byte| i32::from(*byte as i8)).sum();
    let mut left = 64 - sum;
    for byte in &mut bytes[BLOCK - 8..] {
        let part = left.clamp(-127, 127);
        *byte = part as i8 as u8;
        left -= part;
    }
    assert_eq!(left, 0, "eight bytes make up for the rest");
    // Times 64 is six more in the exponent.
    let sum = (u16::from_le_bytes(scale) + (6 << 10)).to_le_bytes();
    let numbers = bytes.iter().map(|byte| f64::from(*byte as i8) * value).collect();
    ([&scale[..], &sum, &bytes].concat(), numbers)
}

/// The product of the first `columns`, each after three numbers that must stay.
fn computed(
    format: Format,
    (left, right): (&Matrix, &Matrix),
    depth: usize,
    columns: usize,
    threads: usize,
) -> Vec<f32> {
    let rows = left.numbers.len();
    let mut result = vec![-7.0; columns * (rows + 3)];
    let product = Product {
        format,
        rows,
        columns,
        depth,
        weights: left.bytes.as_ptr(),
        weights_stride: left.stride,
        activations: right.bytes.as_ptr(),
        activations_stride: right.stride,
        result: result.as_mut_ptr(),
        result_stride: rows + 3,
    };
    for thread in 0..threads {
        // SAFETY: the matrices above, with as many rows, columns and blocks; one share after the other.
        unsafe { product.compute((thread, threads)) };
    }
    result
}

const SHAPES: [(usize, usize, usize); 7] =
    [(1, 1, 1), (16, 1, 8), (15, 3, 2), (33, 18, 9), (192, 5, 3), (40, 25, 17), (17, 49, 4)];

#[test]
fn products_are_those_of_the_numbers() {
    if !are_fast() {
        return;
    }
    for format in [Format::Q4_0, Format::Q4_1, Format::Q8_0] {
        for (rows, depth, columns) in SHAPES {
            let mut chance = Chance(7);
            let left = matrix((rows, depth), 3 * format.bytes(), || weights(format, &mut chance));
            let mut chance = Chance(8);
            let right = matrix((columns, depth), 0, || activations(format, &mut chance));
            let found = computed(format, (&left, &right), depth, columns, 2);
            for (column, activations) in right.numbers.iter().enumerate() {
                let found = &found[column * (rows + 3)..][..rows + 3];
                assert_eq!(found[rows..], [-7.0; 3], "what is beside a column stays");
                for (row, weights) in left.numbers.iter().enumerate() {
                    let products = || weights.iter().zip(activations).map(|(a, b)| a * b);
                    let (exact, size) = (products().sum::<f64>(), products().map(f64::abs).sum::<f64>());
                    let off = (f64::from(found[row]) - exact).abs();
                    assert!(
                        off <= 1e-5 * size,
                        "{format:?} {rows} {depth} {columns}: {} {exact}",
                        found[row]
                    );
                }
            }
        }
    }
}

#[test]
fn a_number_is_the_same_in_every_batch_and_share() {
    if !are_fast() {
        return;
    }
    for format in [Format::Q4_0, Format::Q4_1, Format::Q8_0] {
        let (mut chance, (rows, depth)) = (Chance(1), (50, 30));
        let left = matrix((rows, depth), 0, || weights(format, &mut chance));
        let right = matrix((13, depth), 0, || activations(format, &mut chance));
        let all = computed(format, (&left, &right), depth, 13, 1);
        for columns in 1..13 {
            let some = computed(format, (&left, &right), depth, columns, 1 + columns % 5);
            assert_eq!(some[..], all[..some.len()], "{columns} columns");
        }
    }
}

#[test]
fn more_threads_than_panels_have_nothing_to_do() {
    let (mut chance, format) = (Chance(3), Format::Q8_0);
    let left = matrix((5, 2), 0, || weights(format, &mut chance));
    let right = matrix((2, 2), 0, || activations(format, &mut chance));
    let one = computed(format, (&left, &right), 2, 2, 1);
    assert_eq!(computed(format, (&left, &right), 2, 2, 7), one);
}
