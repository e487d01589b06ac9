//! GGML block types to f32. Block layouts: ggml's `ggml-common.h` (format facts).
//!
//! Every value is one product and at most one sum, each rounded to f32. With d (and m) a block's f16 scale (and
//! minimum) and q the stored integer:
//! - types of 32 values: d * q, or d * q + m, q signed or less its offset;
//! - Q3_K and Q6_K, with a signed integer scale s for each 16 values: (d * s) * q;
//! - Q2_K, Q4_K and Q5_K, with an integer scale s and minimum t for each 16 or 32 values: (d * s) * q - m * t.

use half::{bf16, f16};
use lmgc_tensors::gguf::GgmlType;

/// What [`dequantise`] takes.
pub(crate) const READABLE_TYPES: [GgmlType; 13] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
    GgmlType::Q8_0,
    GgmlType::Q2K,
    GgmlType::Q3K,
    GgmlType::Q4K,
    GgmlType::Q5K,
    GgmlType::Q6K,
];

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Low and high nibbles: value i and value i + 16 share byte i.
fn nibble(bytes: &[u8], i: usize) -> u8 {
    let byte = bytes[i % 16];
    if i < 16 { byte & 15 } else { byte >> 4 }
}

/// The fifth bit of each value, from a little-endian u32.
fn high_bit(bytes: &[u8], i: usize) -> u8 {
    (bytes[i / 8] >> (i % 8) & 1) << 4
}

/// Applies `block` to each block of `N` bytes and its `V` values.
#[inline(always)]
fn blocks<const N: usize, const V: usize>(bytes: &[u8], out: &mut [f32], block: impl Fn(&[u8; N], &mut [f32; V])) {
    for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out.as_chunks_mut::<V>().0) {
        block(bytes, out);
    }
}

/// Blocks whose values depend on their place alone.
#[inline(always)]
fn values<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn(&[u8; N], usize) -> f32) {
    blocks::<N, 32>(bytes, out, |bytes, out| {
        for (i, out) in out.iter_mut().enumerate() {
            *out = value(bytes, i);
        }
    });
}

/// Plain elements of `N` bytes.
#[inline(always)]
fn plain<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
    blocks::<N, 1>(bytes, out, |bytes, [out]| *out = value(*bytes));
}

/// Scale and minimum of sub-block `j` of Q4_K and Q5_K: 6 bits each in 12 bytes.
fn scale_and_min(packed: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    };
    (f32::from(scale), f32::from(min))
}

/// 16 scales and minima of 4 bits, 256 values of 2 bits, d, m: sub-blocks of 16.
fn q2_k(bytes: &[u8; 84], out: &mut [f32; 256]) {
    let (scales, q) = (&bytes[..16], &bytes[16..80]);
    let (d, m) = (half_at(bytes, 80), half_at(bytes, 82));
    for (j, (out, &packed)) in out.chunks_exact_mut(16).zip(scales).enumerate() {
        let (scale, min) = (d * f32::from(packed & 15), m * f32::from(packed >> 4));
        for (i, out) in out.iter_mut().enumerate() {
            let two_bits = q[j / 8 * 32 + j % 2 * 16 + i] >> (j % 8 / 2 * 2) & 3;
            *out = scale * f32::from(two_bits) - min;
        }
    }
}

/// 256 third bits, 256 values of 2 bits, 16 scales of 6 bits less 32, d: sub-blocks of 16.
fn q3_k(bytes: &[u8; 110], out: &mut [f32; 256]) {
    let (high, q, packed) = (&bytes[..32], &bytes[32..96], &bytes[96..108]);
    let d = half_at(bytes, 108);
    for (j, out) in out.chunks_exact_mut(16).enumerate() {
        let low = if j < 8 { packed[j] & 15 } else { packed[j - 8] >> 4 };
        let scale = low | (packed[8 + j % 4] >> (j / 4 * 2) & 3) << 4;
        let scale = d * (f32::from(scale) - 32.0);
        for (i, out) in out.iter_mut().enumerate() {
            let at = j % 2 * 16 + i;
            let two_bits = q[j / 8 * 32 + at] >> (j % 8 / 2 * 2) & 3;
            let offset = if high[at] >> (j / 2) & 1 == 1 { 0.0 } else { 4.0 };
            *out = scale * (f32::from(two_bits) - offset);
        }
    }
}

/// d, m, 8 scales and minima of 6 bits, 256 values of 4 bits: sub-blocks of 32.
fn q4_k(bytes: &[u8; 144], out: &mut [f32; 256]) {
    let (d, m) = (half_at(bytes, 0), half_at(bytes, 2));
    let (packed, q) = (&bytes[4..16], &bytes[16..]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(packed, j);
        let (scale, min) = (d * scale, m * min);
        for (out, q) in out.iter_mut().zip(&q[j / 2 * 32..]) {
            *out = scale * f32::from(q >> (j % 2 * 4) & 15) - min;
        }
    }
}

/// As Q4_K, with 256 fifth bits before the values.
fn q5_k(bytes: &[u8; 176], out: &mut [f32; 256]) {
    let (d, m) = (half_at(bytes, 0), half_at(bytes, 2));
    let (packed, high, q) = (&bytes[4..16], &bytes[16..48], &bytes[48..]);
    for (j, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, min) = scale_and_min(packed, j);
        let (scale, min) = (d * scale, m * min);
        for ((out, q), high) in out.iter_mut().zip(&q[j / 2 * 32..]).zip(high) {
            *out = scale * f32::from(q >> (j % 2 * 4) & 15 | (high >> j & 1) << 4) - min;
        }
    }
}

/// 256 low nibbles, 256 high pairs of bits, 16 signed scales of 8 bits, d: sub-blocks of 16, values less 32.
fn q6_k(bytes: &[u8; 210], out: &mut [f32; 256]) {
    let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let d = half_at(bytes, 208);
    for (j, (out, &scale)) in out.chunks_exact_mut(16).zip(scales).enumerate() {
        let scale = d * f32::from(scale as i8);
        // Halves of 128 values, each in four rows of 32: rows 0 and 2, and 1 and 3, share bytes of low nibbles.
        let (half, row, first) = (j / 8, j % 8 / 2, j % 2 * 16);
        for (i, out) in out.iter_mut().enumerate() {
            let low = low[half * 64 + row % 2 * 32 + first + i] >> (row / 2 * 4) & 15;
            let high = high[half * 32 + first + i] >> (row * 2) & 3;
            *out = scale * (f32::from(low | high << 4) - 32.0);
        }
    }
}

/// Turns `bytes` into `out.len()` values, or returns false where the type is not one that is read here.
///
/// `bytes` must hold exactly the blocks of `out.len()` values (the format's reader has checked this).
pub(crate) fn dequantise(ggml_type: GgmlType, bytes: &[u8], out: &mut [f32]) -> bool {
    match ggml_type {
        GgmlType::F32 => plain(bytes, out, f32::from_le_bytes),
        GgmlType::F16 => plain(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        GgmlType::BF16 => plain(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        GgmlType::Q4_0 => {
            values::<18>(bytes, out, |b, i| half_at(b, 0) * (f32::from(nibble(&b[2..], i)) - 8.0));
        }
        GgmlType::Q4_1 => {
            values::<20>(bytes, out, |b, i| half_at(b, 0) * f32::from(nibble(&b[4..], i)) + half_at(b, 2));
        }
        GgmlType::Q5_0 => values::<22>(bytes, out, |b, i| {
            half_at(b, 0) * (f32::from(nibble(&b[6..], i) | high_bit(&b[2..], i)) - 16.0)
        }),
        GgmlType::Q5_1 => values::<24>(bytes, out, |b, i| {
            half_at(b, 0) * f32::from(nibble(&b[8..], i) | high_bit(&b[4..], i)) + half_at(b, 2)
        }),
        GgmlType::Q8_0 => values::<34>(bytes, out, |b, i| half_at(b, 0) * f32::from(b[2 + i] as i8)),
        GgmlType::Q2K => blocks(bytes, out, q2_k),
        GgmlType::Q3K => blocks(bytes, out, q3_k),
        GgmlType::Q4K => blocks(bytes, out, q4_k),
        GgmlType::Q5K => blocks(bytes, out, q5_k),
        GgmlType::Q6K => blocks(bytes, out, q6_k),
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One block: scale 0.5 (and minimum -1 where there is one), then `rest`.
    fn block(has_min: bool, rest: &[u8]) -> Vec<u8> {
        let mut bytes = f16::from_f32(0.5).to_le_bytes().to_vec();
        if has_min {
            bytes.extend(f16::from_f32(-1.0).to_le_bytes());
        }
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn hand_checked_blocks() {
        let nibbles: Vec<u8> = (0..16).map(|i| i | (15 - i) << 4).collect();
        let high = [0xff, 0x00, 0x00, 0xff];
        let with_high = [&high[..], &nibbles].concat();
        let mut out = [0.0; 32];

        assert!(dequantise(GgmlType::Q4_0, &block(false, &nibbles), &mut out));
        assert_eq!((out[0], out[1], out[16], out[31]), (-4.0, -3.5, 3.5, -4.0));
        assert!(dequantise(GgmlType::Q4_1, &block(true, &nibbles), &mut out));
        assert_eq!((out[0], out[1], out[16], out[31]), (-1.0, -0.5, 6.5, -1.0));
        assert!(dequantise(GgmlType::Q5_0, &block(false, &with_high), &mut out));
        assert_eq!((out[0], out[8], out[16], out[31]), (0.0, -4.0, -0.5, 0.0));
        assert!(dequantise(GgmlType::Q5_1, &block(true, &with_high), &mut out));
        assert_eq!((out[0], out[8], out[16], out[31]), (7.0, 3.0, 6.5, 7.0));
        let bytes: Vec<u8> = (0..32).map(|i| (i as i8 - 16) as u8).collect();
        assert!(dequantise(GgmlType::Q8_0, &block(false, &bytes), &mut out));
        assert_eq!((out[0], out[16], out[31]), (-8.0, 0.0, 7.5));
        assert!(dequantise(GgmlType::BF16, &[0x80, 0x3f], &mut out[..1]));
        assert_eq!(out[0], 1.0);
        assert!(!dequantise(GgmlType::Other(999), &[], &mut out));
    }

    #[test]
    fn random_blocks_agree_with_pypi_gguf() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/models/quants");
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let (all_blocks, all_values) = (read("blocks.bin"), read("values.bin"));
        let (mut blocks, mut expected) = (all_blocks.as_slice(), all_values.as_slice());
        // The file has three blocks of each block type, in this order.
        for ggml_type in &READABLE_TYPES[3..] {
            let n_bytes = 3 * ggml_type.block_bytes().unwrap() as usize;
            let n_values = 3 * ggml_type.block_len().unwrap() as usize;
            let mut values = vec![0.0; n_values];
            assert!(dequantise(*ggml_type, &blocks[..n_bytes], &mut values));
            let found: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
            let wanted: Vec<u32> =
                expected[..4 * n_values].as_chunks().0.iter().map(|&b| u32::from_le_bytes(b)).collect();
            // -0 and 0 are one value to whoever reads them, and which of them comes out is a matter of how it is written.
            let same = |(&a, &b): (&u32, &u32)| a == b || (a | b) == 1 << 31;
            assert!(found.iter().zip(&wanted).all(same), "{ggml_type}");
            (blocks, expected) = (&blocks[n_bytes..], &expected[4 * n_values..]);
        }
        assert!(blocks.is_empty() && expected.is_empty());
    }
}
