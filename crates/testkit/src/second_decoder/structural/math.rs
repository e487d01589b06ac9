//! Section 2: elementary functions.

use std::sync::LazyLock;

/// log2 of a positive normal number.
pub(super) fn log2(x: f32) -> f32 {
    let n = (x.to_bits() >> 23) as i32 - 127;
    let m = f32::from_bits(x.to_bits() & 0x007f_ffff | 0x3f80_0000);
    let t = m - 1.0;
    let coefficients = [-0.077314414, 0.19133031, -0.3239718, 0.4729156, -0.72048783, 1.4426627];
    let p = coefficients.into_iter().fold(0.014865402, |p: f32, k| p.mul_add(t, k));
    t.mul_add(p, n as f32)
}

pub(super) fn exp2(x: f32) -> f32 {
    let x = x.clamp(-50.0, 50.0);
    let n = x.round_ties_even();
    let r = x - n;
    #[expect(clippy::approx_constant, reason = "the nearest polynomial's, not ln 2")]
    let coefficients = [0.009671513, 0.055507336, 0.24022242, 0.693147, 1.0];
    let p = coefficients.into_iter().fold(0.0013264727, |p: f32, k| p.mul_add(r, k));
    p * power_of_two(n as i32)
}

/// ln of a positive normal number.
pub(super) fn ln(x: f64) -> f64 {
    let mut n = f64::from((x.to_bits() >> 52) as u32) - 1023.0;
    let mut m = f64::from_bits(x.to_bits() & (u64::MAX >> 12) | 1023 << 52);
    if m > std::f64::consts::SQRT_2 {
        m /= 2.0;
        n += 1.0;
    }
    let z = (m - 1.0) / (m + 1.0);
    let z2 = z * z;
    let s = (0..=15).rev().fold(0.0, |s, k| s * z2 + 1.0 / f64::from(2 * k + 1));
    n * std::f64::consts::LN_2 + 2.0 * z * s
}

/// 2^n, for n from -126 to 127.
pub(super) fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n.clamp(-126, 127) + 127) as u32) << 23)
}

/// floor(log2 x) of a positive normal number, -127 for 0.
pub(super) fn octave(x: f32) -> i32 {
    (x.abs().to_bits() >> 23) as i32 - 127
}

/// stretch of a probability in 1 / 2^12.
pub(crate) fn stretch(p: u32) -> f32 {
    static STRETCH: LazyLock<Vec<f32>> = LazyLock::new(|| {
        let stretched = |i| {
            let p = (i as f32 + 0.5) / 4096.0;
            log2(p / (1.0 - p))
        };
        (0..4096).map(stretched).collect()
    });
    STRETCH.get(p as usize).copied().unwrap_or(0.0)
}

/// A probability in 1 / 2^16, 1 to 65535.
pub(crate) fn squash(x: f32) -> u32 {
    static SQUASH: LazyLock<Vec<u32>> = LazyLock::new(|| {
        let squashed = |i| {
            let x = i as f32 / 64.0 - 16.0;
            (65536.0 / (1.0 + exp2(-x))).clamp(1.0, 65535.0) as u32
        };
        (0..=2048).map(squashed).collect()
    });
    let place = (x * 64.0 + 1024.0).round_ties_even().clamp(0.0, 2048.0);
    SQUASH.get(place as usize).copied().unwrap_or(1 << 15)
}

/// The sum of 16 numbers, as a tree.
pub(super) fn sum16(mut x: [f32; 16]) -> f32 {
    for h in [8, 4, 2, 1] {
        let (lower, upper) = x.split_at_mut(h);
        for (lower, upper) in lower.iter_mut().zip(upper) {
            *lower += *upper;
        }
    }
    let [sum, ..] = x;
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 16.
    #[test]
    fn examples() {
        assert_eq!([3.0, 0.1].map(|x| log2(x).to_bits()), [0x3fca_e010, 0xc054_9a79]);
        assert_eq!([0.3, -7.7].map(|x| exp2(x).to_bits()), [0x3f9d_9624, 0x3b9d_9625]);
        assert_eq!([3.0, 0.7].map(|x| ln(x).to_bits()), [0x3ff1_93ea_7aad_030a, 0xbfd6_d3c3_24e1_3f4f]);
        let stretched = [0, 620, 3374, 4095].map(|p| stretch(p).to_bits());
        assert_eq!(stretched, [0xc14f_ff47, 0xc01f_15fe, 0x400e_7046, 0x414f_ff47]);
        let squashed = [0, 512, 900, 1024, 1025, 2047, 2048].map(|i| squash(i as f32 / 64.0 - 16.0));
        assert_eq!(squashed, [1, 255, 13567, 32768, 32945, 65534, 65535]);
    }

    #[test]
    fn octaves_and_sums() {
        assert_eq!([1.0, -1.9, 0.3, 0.0].map(octave), [0, 0, -2, -127]);
        let mut x = [0.0; 16];
        // Neighbours of the large number in the tree are lost in it.
        (x[0], x[8], x[7], x[15]) = (1e8, 1.0, 3.0, 4.0);
        assert_eq!(sum16(x), 1e8 + 7.0);
    }
}
