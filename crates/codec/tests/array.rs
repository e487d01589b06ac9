//! Arrays in memory: the same bits back, memory that is used again, and refusals.

use lmgc_codec::array::{Array, Compressor, Decompressor, Element, compress, decompress};
use lmgc_codec::{CodecId, CodecName, CompressOptions, Error, Level, NoModels, NoProgress};
use lmgc_testkit::{Random, gradient_like};
use proptest::prelude::*;

fn round_trip<T: Element + PartialEq + std::fmt::Debug>(values: &[T], shape: &[u64]) {
    for level in [1, 5] {
        let options = CompressOptions { level: Level::new(level).unwrap(), ..Default::default() };
        let packed = compress(values, shape, &options).unwrap();
        let Array { shape: found, values: restored } = decompress::<T>(&packed).unwrap();
        assert_eq!(found, shape);
        // Bits, since NaNs are not equal to themselves.
        assert_eq!(bytemuck::cast_slice::<T, u8>(&restored), bytemuck::cast_slice::<T, u8>(values));
    }
}

fn values_of<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

#[test]
fn every_type_comes_back() {
    let bytes = gradient_like(3, 4800);
    macro_rules! all {
        ($($t:ty),*) => {$(
            let values: Vec<$t> = values_of(&bytes);
            round_trip(&values, &[values.len() as u64]);
            round_trip(&values, &[20, values.len() as u64 / 20]);
            round_trip::<$t>(&[], &[0, 7]);
            round_trip(&values[..1], &[]);
        )*};
    }
    all!(f32, f64, half::f16, half::bf16, u8, u16, u32, u64, i8, i16, i32, i64);
}

#[test]
fn compressors_serve_one_array_after_the_other() {
    let mut random = Random::new(1);
    let compressor = Compressor::new(&CompressOptions::default()).unwrap();
    let mut decompressor = Decompressor::new();
    let (mut packed, mut restored) = (Vec::new(), Vec::new());
    for n in [3000u64, 10, 0, 70_000, 500] {
        let values: Vec<f32> = values_of(&gradient_like(random.next_u64(), 4 * n as usize));
        compressor.compress(&values, &[n], &mut packed).unwrap();
        assert_eq!(packed, compress(&values, &[n], &CompressOptions::default()).unwrap());
        assert_eq!(decompressor.decompress::<f32>(&packed, &mut restored).unwrap(), [n]);
        assert_eq!(bytemuck::cast_slice::<f32, u8>(&restored), bytemuck::cast_slice::<f32, u8>(&values));
    }
}

#[test]
fn what_is_wrong_is_said() {
    let options = CompressOptions::default();
    let error = compress(&[1.0f32; 6], &[2, 2], &options).unwrap_err();
    assert_eq!(error.to_string(), "shape [2, 2] is not that of 6 values");
    assert!(matches!(compress(&[1.0f32], &[u64::MAX, 2], &options), Err(Error::ShapeMismatch { .. })));
    let lm = CompressOptions { codec: CodecName::One(CodecId::Lm), ..Default::default() };
    assert!(matches!(compress(&[1.0f32], &[1], &lm), Err(Error::ModelRequired)));

    let packed = compress(&[1.0f32; 6], &[2, 3], &options).unwrap();
    let error = decompress::<f64>(&packed).unwrap_err();
    assert_eq!(error.to_string(), "an array of F64 is wanted, but this is F32 of shape [2, 3] in 24 bytes");
    for len in 0..packed.len() {
        assert!(decompress::<f32>(&packed[..len]).unwrap_err().is_bad_input());
    }
    // An array is a file like any other, but not every file is an array.
    let mut file = std::io::Cursor::new(Vec::new());
    lmgc_codec::decompress(packed.as_slice(), &mut file, &NoModels, &NoProgress).unwrap();
    assert_eq!(file.into_inner(), 1.0f32.to_le_bytes().repeat(6));
    let mut packed = Vec::new();
    lmgc_codec::compress(&mut std::io::Cursor::new([1, 2, 3]), &mut packed, &options, &NoProgress).unwrap();
    let mut values = vec![7.0f32];
    let error = Decompressor::new().decompress(&packed, &mut values).unwrap_err();
    assert!(matches!(error, Error::NotThisArray { .. }) && values == [7.0], "{error}");
}

proptest! {
    #[test]
    fn any_bits(words in proptest::collection::vec(any::<u32>(), 0..400)) {
        let values: Vec<f32> = words.iter().map(|&word| f32::from_bits(word)).collect();
        round_trip(&values, &[values.len() as u64]);
    }
}
