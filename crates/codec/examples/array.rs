//! Arrays in memory: compress, decompress, and what each level comes to.
//!
//! ```text
//! cargo run --release -p lmgc-codec --example array
//! ```

use std::time::Instant;

use lmgc_codec::array::{Compressor, Decompressor};
use lmgc_codec::{CompressOptions, Error, Level};

/// The gradient of a layer with 256 inputs and 512 outputs for a batch of 32: a sum of 32 outer products, and rounding noise.
fn gradient() -> Vec<f32> {
    // Knuth's MMIX generator; the sum of four uniform numbers is nearly normal.
    let mut state = 1u64;
    let mut normal = move || {
        let mut sum = 0.0;
        for _ in 0..4 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            sum += (state >> 40) as f32 / (1 << 24) as f32 - 0.5;
        }
        sum
    };
    let errors: Vec<f32> = (0..32 * 512).map(|_| 1e-3 * normal()).collect();
    let activations: Vec<f32> = (0..32 * 256).map(|_| normal().max(0.0)).collect();
    let entry = |row: usize, col: usize| -> f32 {
        (0..32).map(|image| errors[image * 512 + row] * activations[image * 256 + col]).sum()
    };
    (0..512 * 256).map(|at| entry(at / 256, at % 256) + 1e-6 * normal()).collect()
}

fn main() -> Result<(), Error> {
    let values = gradient();
    // Both keep their memory: what a training loop wants that sends one gradient after the other.
    let mut decompressor = Decompressor::new();
    let (mut packed, mut restored) = (Vec::new(), Vec::new());
    for level in [1, 3, 5, 9] {
        let options = CompressOptions { level: Level::new(level).unwrap_or_default(), ..Default::default() };
        let compressor = Compressor::new(&options)?;
        let start = Instant::now();
        compressor.compress(&values, &[512, 256], &mut packed)?;
        let compressed_in = start.elapsed();
        let start = Instant::now();
        let shape = decompressor.decompress::<f32>(&packed, &mut restored)?;
        let decompressed_in = start.elapsed();
        assert!(shape == [512, 256] && restored == values, "every bit comes back");
        let rate = 100.0 * packed.len() as f64 / (4 * values.len()) as f64;
        println!("-{level}: {rate:.2} % ({compressed_in:.1?} in, {decompressed_in:.1?} out)");
    }
    Ok(())
}
