//! Little-endian bytes as numbers and back.

/// A number as tensors hold it.
pub(super) trait LittleEndian: Copy + Default {
    /// All whole numbers in `bytes`.
    fn read_all(bytes: &[u8]) -> Vec<Self>;

    /// The numbers' bytes.
    fn write_all(numbers: &[Self]) -> Vec<u8>;
}

macro_rules! little_endian {
    ($($number:ty),*) => {$(
        impl LittleEndian for $number {
            fn read_all(bytes: &[u8]) -> Vec<Self> {
                bytes.as_chunks().0.iter().map(|&element| Self::from_le_bytes(element)).collect()
            }

            fn write_all(numbers: &[Self]) -> Vec<u8> {
                numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
            }
        }
    )*};
}

little_endian!(f32, f64, i32, i64);
#[cfg(feature = "pco")]
little_endian!(half::f16, i8, i16, u8, u16, u32, u64);
