//! *stretch* and *squash* ("Decisions"), with the functions of `docs/structural-format.md`, section 2.

/// Both as tables.
pub(super) struct Logistic {
    stretched: Vec<f32>,
    squashed: Vec<u32>,
}

impl Logistic {
    pub(super) fn new() -> Self {
        let stretch = |i: u16| {
            let q = (f32::from(i) + 0.5) / 4096.0;
            log2(q / (1.0 - q))
        };
        let squash = |i: u16| (65536.0 / (1.0 + exp2(16.0 - f32::from(i) / 64.0))).clamp(1.0, 65535.0) as u32;
        Self { stretched: (0..4096).map(stretch).collect(), squashed: (0..=2048).map(squash).collect() }
    }

    /// Of a probability in 1 / 2^16.
    pub(super) fn stretch(&self, p: u32) -> f32 {
        self.stretched[(p / 16).min(4095) as usize]
    }

    /// A probability in 1 / 2^16.
    pub(super) fn squash(&self, x: f32) -> u32 {
        self.squashed[(x * 64.0 + 1024.0).round_ties_even().clamp(0.0, 2048.0) as usize]
    }
}

/// Of a positive normal number.
fn log2(x: f32) -> f32 {
    let n = (x.to_bits() >> 23) as i32 - 127;
    let t = x / 2f32.powi(n) - 1.0;
    let coefficients =
        [0x3c73_8e04, 0xbd9e_5705, 0x3e43_ec18, 0xbea5_dfa2, 0x3ef2_21fe, 0xbf38_71e4, 0x3fb8_a92c].map(f32::from_bits);
    let p = coefficients.into_iter().reduce(|p, k| p.mul_add(t, k)).unwrap_or(0.0);
    t.mul_add(p, n as f32)
}

fn exp2(x: f32) -> f32 {
    let x = x.clamp(-50.0, 50.0);
    let n = x.round_ties_even();
    let r = x - n;
    let coefficients =
        [0x3aad_dd0a, 0x3c1e_7544, 0x3d63_5ba9, 0x3e75_fcde, 0x3f31_7215, 0x3f80_0000].map(f32::from_bits);
    let p = coefficients.into_iter().reduce(|p, k| p.mul_add(r, k)).unwrap_or(0.0);
    p * 2f32.powi(n as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of `docs/structural-format.md`, section 16.
    #[test]
    fn examples() {
        assert_eq!([3.0, 0.1].map(|x| log2(x).to_bits()), [0x3fca_e010, 0xc054_9a79]);
        assert_eq!([0.3, -7.7].map(|x| exp2(x).to_bits()), [0x3f9d_9624, 0x3b9d_9625]);
        let logistic = Logistic::new();
        let stretched = [0, 620, 3374, 4095].map(|i| logistic.stretch(16 * i).to_bits());
        assert_eq!(stretched, [0xc14f_ff47, 0xc01f_15fe, 0x400e_7046, 0x414f_ff47]);
        let squashed = [0, 512, 900, 1024, 1025, 2047, 2048].map(|i| logistic.squash(i as f32 / 64.0 - 16.0));
        assert_eq!(squashed, [1, 255, 13567, 32768, 32945, 65534, 65535]);
    }
}
