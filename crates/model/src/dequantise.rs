//! GGML block types to f32. Block layouts: ggml's `ggml-common.h` (format facts), 32 values a block.
//!
//! Every value is one product and at most one sum, each rounded to f32: d * q, or d * q + m.

use half::{bf16, f16};
use lmgc_tensors::gguf::GgmlType;

/// Values in a block of the Q4, Q5 and Q8 types.
const BLOCK: usize = 32;

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

/// Turns `bytes` into `out.len()` values, or returns false where the type is not one that is read here.
///
/// `bytes` must hold exactly the blocks of `out.len()` values (the GGUF reader has checked this).
pub(crate) fn dequantise(ggml_type: GgmlType, bytes: &[u8], out: &mut [f32]) -> bool {
    let mut blocks = |block_bytes: usize, value: &dyn Fn(&[u8], usize) -> f32| {
        for (block, out) in bytes.chunks_exact(block_bytes).zip(out.chunks_mut(BLOCK)) {
            for (i, out) in out.iter_mut().enumerate() {
                *out = value(block, i);
            }
        }
    };
    match ggml_type {
        GgmlType::F32 => {
            for (b, out) in bytes.chunks_exact(4).zip(out) {
                *out = f32::from_le_bytes([b[0], b[1], b[2], b[3]]);
            }
        }
        GgmlType::F16 => {
            for (b, out) in bytes.chunks_exact(2).zip(out) {
                *out = half_at(b, 0);
            }
        }
        GgmlType::BF16 => {
            for (b, out) in bytes.chunks_exact(2).zip(out) {
                *out = bf16::from_le_bytes([b[0], b[1]]).to_f32();
            }
        }
        GgmlType::Q4_0 => blocks(18, &|b, i| half_at(b, 0) * (f32::from(nibble(&b[2..], i)) - 8.0)),
        GgmlType::Q4_1 => blocks(20, &|b, i| half_at(b, 0) * f32::from(nibble(&b[4..], i)) + half_at(b, 2)),
        GgmlType::Q5_0 => {
            blocks(22, &|b, i| half_at(b, 0) * (f32::from(nibble(&b[6..], i) | high_bit(&b[2..], i)) - 16.0))
        }
        GgmlType::Q5_1 => {
            blocks(24, &|b, i| half_at(b, 0) * f32::from(nibble(&b[8..], i) | high_bit(&b[4..], i)) + half_at(b, 2))
        }
        GgmlType::Q8_0 => blocks(34, &|b, i| half_at(b, 0) * f32::from(b[2 + i] as i8)),
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
}
