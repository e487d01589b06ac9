//! How many bits a tensor's values need if nothing is known of a value but how often its parts occur.
//!
//! A yardstick for codecs that look at each value alone, such as [`fields0`](crate::CodecId::Fields0). It is **no lower bound**:
//! a codec that sees a value's neighbours, its row or its layer can stay below it, and the good ones do. Nor does it
//! count what a decoder must be told about the frequencies.
//!
//! # Definition
//! For `n` values and a field that takes value `v` in `n_v` of them, the field costs `sum over v of n_v * log2(n / n_v)` bits:
//! its empirical entropy of order 0, times `n`. Fields of a float (complex numbers are two):
//!
//! - the exponent, all its bits together;
//! - the sign, and the mantissa in groups of four bits from its highest bit down (the last group takes what is left: 4, 4, 4,
//!   4, 4, 3 bits for F32), each group on its own. Values whose exponent field is zero, the exact zeros above all, are
//!   counted apart from the rest, so that a zero costs what its exponent costs.
//!
//! A mantissa whose low bits are constant, as after a conversion from a shorter type, is thus cheaper, and one of
//! noise costs all its bits. Fields of any other type: each of the element's bytes, by its place. Bytes that make no whole
//! element cost 8 bits each.

use lmgc_tensors::Dtype;

use crate::float_layout::{FloatLayout, bits_of};

/// Entropy of a F32 value drawn independently from a normal distribution, in bits (arXiv 2605.11546); 82.7 % of its 32.
pub const GAUSSIAN_F32_BITS: f64 = 26.46;

/// Bits of a mantissa group.
const GROUP_BITS: u32 = 4;

/// Bits that the elements of one tensor cost by the entropies of their fields (see the [module](self)).
///
/// `bytes` are the tensor's little-endian elements of type `dtype`. The sum over a file's tensors is the file's. No
/// bytes cost 0.0 bits.
pub fn order0_bits(bytes: &[u8], dtype: Dtype) -> f64 {
    match FloatLayout::of(dtype) {
        Some(layout) => float_bits(bytes, layout),
        None => byte_bits(bytes, dtype.size_bytes() as usize),
    }
}

/// A number of bits in percent of `n_bytes` raw bytes; 100 where there are none.
pub fn percent_of_raw(bits: f64, n_bytes: u64) -> f64 {
    if n_bytes == 0 { 100.0 } else { 100.0 * bits / (8.0 * n_bytes as f64) }
}

fn float_bits(bytes: &[u8], layout: FloatLayout) -> f64 {
    let FloatLayout { exponent_bits, mantissa_bits } = layout;
    // From the lowest bit of each group to the one above it, the highest group first.
    let groups: Vec<(u32, u64)> = (0..mantissa_bits.div_ceil(GROUP_BITS))
        .map(|group| {
            let end = mantissa_bits - group * GROUP_BITS;
            let start = end.saturating_sub(GROUP_BITS);
            (start, (1 << (end - start)) - 1)
        })
        .collect();
    let mut exponents = vec![0; 1 << exponent_bits];
    let mut signs = [[0; 2]; 2];
    let mut mantissas = vec![[[0; 1 << GROUP_BITS]; 2]; groups.len()];
    let elements = bytes.chunks_exact(layout.n_bytes());
    let tail = elements.remainder();
    for element in elements {
        let bits = bits_of(element);
        let exponent = (bits >> mantissa_bits & ((1 << exponent_bits) - 1)) as usize;
        let class = usize::from(exponent != 0);
        exponents[exponent] += 1;
        signs[class][(bits >> (mantissa_bits + exponent_bits)) as usize & 1] += 1;
        for (&(start, mask), counts) in groups.iter().zip(&mut mantissas) {
            counts[class][(bits >> start & mask) as usize] += 1;
        }
    }
    let by_class = signs.iter().map(|counts| entropy_bits(counts)).sum::<f64>()
        + mantissas.iter().flatten().map(|counts| entropy_bits(counts)).sum::<f64>();
    entropy_bits(&exponents) + by_class + 8.0 * tail.len() as f64
}

fn byte_bits(bytes: &[u8], element_bytes: usize) -> f64 {
    let mut counts = vec![[0; 256]; element_bytes];
    let elements = bytes.chunks_exact(element_bytes);
    let tail = elements.remainder();
    for element in elements {
        for (&byte, counts) in element.iter().zip(&mut counts) {
            counts[usize::from(byte)] += 1;
        }
    }
    counts.iter().map(|counts| entropy_bits(counts)).sum::<f64>() + 8.0 * tail.len() as f64
}

/// The counts' empirical entropy, times their sum.
fn entropy_bits(counts: &[u64]) -> f64 {
    let n: u64 = counts.iter().sum();
    counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 * (n as f64 / count as f64).log2()).sum()
}

#[cfg(test)]
mod tests {
    use lmgc_testkit::Random;

    use super::*;

    fn f32_bits(values: &[f32]) -> f64 {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        order0_bits(&bytes, Dtype::F32)
    }

    #[test]
    fn constants_and_nothing_are_free() {
        for dtype in Dtype::ALL {
            assert_eq!(order0_bits(&[], dtype), 0.0, "{dtype}");
            assert_eq!(order0_bits(&[7; 160], dtype), 0.0, "{dtype}");
        }
    }

    #[test]
    fn fields_add_up() {
        // One bit of sign each.
        assert_eq!(f32_bits(&[1.0, -1.0, 1.0, -1.0]), 4.0);
        // Two bits of exponent each.
        assert_eq!(f32_bits(&[1.0, 2.0, 4.0, 8.0]), 8.0);
        // The highest mantissa group alone differs: 1.0, 1.25, 1.5, 1.75.
        assert_eq!(f32_bits(&[1.0, 1.25, 1.5, 1.75]), 8.0);
        // Sign, exponent and mantissa each take one bit, independent or not.
        assert_eq!(f32_bits(&[1.0, -3.0, 1.0, -3.0]), 12.0);
        // A quarter of zeros: 4 * H(1/4) for the exponent, and one bit of sign for two of the three others... of -1, 1, 1.
        let quarter = 4.0f64.log2() + 3.0 * (4.0f64 / 3.0).log2();
        let signs = 3.0f64.log2() + 2.0 * (3.0f64 / 2.0).log2();
        assert!((f32_bits(&[0.0, -1.0, 1.0, 1.0]) - quarter - signs).abs() < 1e-12);
    }

    #[test]
    fn zeros_cost_their_exponent_alone() {
        let noise = Random::new(1).bytes(4000);
        let odd: Vec<u8> = noise.chunks_exact(4).flat_map(|b| [b[0], b[1], b[2] & 0x7f | 0x80, 0x3f]).collect();
        let with_zeros = [odd.as_slice(), &[0; 4000]].concat();
        let (without, with) = (order0_bits(&odd, Dtype::F32), order0_bits(&with_zeros, Dtype::F32));
        assert!((with - without - 2000.0).abs() < 1e-6, "one bit each of 2000 values more: {without} {with}");
    }

    #[test]
    fn noise_costs_what_it_holds() {
        let noise = Random::new(2).bytes(1 << 20);
        for dtype in Dtype::ALL {
            let percent = percent_of_raw(order0_bits(&noise, dtype), noise.len() as u64);
            assert!((98.9..=100.0).contains(&percent), "{dtype}: {percent}");
        }
        // bfloat16 in a F32: the lower half is constant.
        let widened: Vec<u8> = noise.chunks_exact(2).flat_map(|b| [0, 0, b[0], b[1]]).collect();
        let percent = percent_of_raw(order0_bits(&widened, Dtype::F32), widened.len() as u64);
        assert!((49.5..=50.0).contains(&percent), "{percent}");
    }

    #[test]
    fn incomplete_elements_cost_all_their_bits() {
        assert_eq!(order0_bits(&[0; 7], Dtype::F32), 24.0);
        assert_eq!(order0_bits(&[1, 2, 1, 2, 9], Dtype::I16), 8.0);
        assert_eq!(order0_bits(&[1, 2, 1, 2], Dtype::U8), 4.0);
        assert_eq!(percent_of_raw(0.0, 0), 100.0);
        assert_eq!(percent_of_raw(16.0, 4), 50.0);
    }

    #[test]
    fn gaussian_values_come_near_their_entropy() {
        let mut random = Random::new(3);
        let values: Vec<f32> = (0..1 << 17).map(|_| random.next_normal()).collect();
        let bits_per_value = f32_bits(&values) / values.len() as f64;
        // Fields taken apart cost a little more than the value as a whole.
        assert!((bits_per_value - GAUSSIAN_F32_BITS).abs() < 0.1, "{bits_per_value}");
    }
}
