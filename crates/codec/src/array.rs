//! Compressing one array in memory, for programs that hold tensors rather than files.
//!
//! What comes out is a `.lmgc` file with one tensor: `lmgc inspect` and `verify` understand it, too, and it has the file
//! format's checksums. [`Compressor`] and [`Decompressor`] keep their memory from call to call.
//!
//! ```
//! use lmgc_codec::CompressOptions;
//! use lmgc_codec::array::{compress, decompress};
//!
//! let gradient: Vec<f32> = (0..64 * 96).map(|i| (i as f32 * 0.37).sin() * 1e-3).collect();
//! let packed = compress(&gradient, &[64, 96], &CompressOptions::default())?;
//! let restored = decompress::<f32>(&packed)?;
//! assert_eq!(restored.shape, [64, 96]);
//! assert_eq!(restored.values, gradient);
//! # Ok::<(), lmgc_codec::Error>(())
//! ```
//!
//! A longer example, with sizes and times: `cargo run --release -p lmgc-codec --example array`.

use std::io::Cursor;

use lmgc_container::Reader;
use lmgc_tensors::{Dtype, Layout, Span};

use crate::compress::{Codecs, compress_layout};
use crate::decompress::decompress_with;
use crate::structural::Structural;
use crate::{CompressOptions, Error, NoModels, NoProgress};

/// A type of array elements.
pub trait Element: bytemuck::Pod {
    /// Its name in files.
    const DTYPE: Dtype;
}

macro_rules! elements {
    ($($t:ty: $dtype:ident),* $(,)?) => {
        $(impl Element for $t { const DTYPE: Dtype = Dtype::$dtype; })*
    };
}

elements!(
    f32: F32, f64: F64, half::f16: F16, half::bf16: BF16,
    u8: U8, u16: U16, u32: U32, u64: U64, i8: I8, i16: I16, i32: I32, i64: I64,
);

/// An array, the last dimension fastest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Array<T> {
    /// Elements along each dimension.
    pub shape: Vec<u64>,
    /// All elements.
    pub values: Vec<T>,
}

/// Compresses an array whose last dimension is the fastest.
///
/// # Errors
/// [`Error::ShapeMismatch`]; otherwise as [`crate::compress`].
pub fn compress<T: Element>(values: &[T], shape: &[u64], options: &CompressOptions<'_>) -> Result<Vec<u8>, Error> {
    let mut packed = Vec::new();
    Compressor::new(options)?.compress(values, shape, &mut packed)?;
    Ok(packed)
}

/// Gives back an array of [`compress`].
///
/// # Errors
/// As [`Decompressor::decompress`].
pub fn decompress<T: Element>(packed: &[u8]) -> Result<Array<T>, Error> {
    let mut values = Vec::new();
    let shape = Decompressor::new().decompress(packed, &mut values)?;
    Ok(Array { shape, values })
}

/// Compresses arrays one after the other.
pub struct Compressor<'a> {
    options: CompressOptions<'a>,
    codecs: Codecs<'a>,
}

impl<'a> Compressor<'a> {
    /// With these options. [`CompressOptions::reference`] finds tensors by name, and arrays have none: it is not used.
    ///
    /// # Errors
    /// [`Error::ModelRequired`], [`Error::CodecNotBuilt`].
    pub fn new(options: &CompressOptions<'a>) -> Result<Self, Error> {
        let options = CompressOptions { reference: None, ..*options };
        Ok(Self { options, codecs: Codecs::new(&options)? })
    }

    /// Replaces what is in `packed` by the compressed array. Nothing is decoded for comparison.
    ///
    /// # Errors
    /// As [`compress`].
    pub fn compress<T: Element>(&self, values: &[T], shape: &[u64], packed: &mut Vec<u8>) -> Result<(), Error> {
        let n_wanted = shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim));
        if n_wanted != Some(values.len() as u64) {
            return Err(Error::ShapeMismatch { shape: shape.to_vec(), n_values: values.len() });
        }
        // The file format is little-endian.
        let swapped = cfg!(target_endian = "big").then(|| swap(bytemuck::cast_slice(values), size_of::<T>()));
        let bytes: &[u8] = swapped.as_deref().unwrap_or(bytemuck::cast_slice(values));
        let len = bytes.len() as u64;
        let span = Span { name: String::new(), dtype: T::DTYPE, shape: shape.to_vec(), offset: 0, len };
        let layout = Layout { spans: vec![span], ..Layout::raw(len, None) };
        packed.clear();
        compress_layout(&mut Cursor::new(bytes), packed, &layout, &self.options, &self.codecs, None, &NoProgress)?;
        Ok(())
    }
}

/// Decompresses arrays one after the other.
#[derive(Debug, Default)]
pub struct Decompressor {
    bytes: Vec<u8>,
    structural: Structural,
}

impl Decompressor {
    /// One that has no memory yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces what is in `values` by the elements of a compressed array, and returns its shape.
    ///
    /// # Errors
    /// [`Error::NotThisArray`] for a file of several tensors or of another type; otherwise as [`crate::decompress`]. `values` is
    /// then unchanged.
    pub fn decompress<T: Element>(&mut self, packed: &[u8], values: &mut Vec<T>) -> Result<Vec<u64>, Error> {
        let reader = Reader::new(packed)?;
        let [tensor] = reader.header().tensors.as_slice() else {
            let n_tensors = reader.header().tensors.len();
            return Err(Error::NotThisArray { expected: T::DTYPE, found: format!("a file of {n_tensors} tensors") });
        };
        let n_values = tensor.shape.iter().try_fold(1u64, |n, &dim| n.checked_mul(dim));
        let n_bytes = n_values.and_then(|n| n.checked_mul(size_of::<T>() as u64));
        let is_whole = n_bytes == Some(tensor.len) && reader.header().original_len == tensor.len;
        if tensor.dtype != T::DTYPE.as_str() || !is_whole {
            let found = format!("{} of shape {:?} in {} bytes", tensor.dtype, tensor.shape, tensor.len);
            return Err(Error::NotThisArray { expected: T::DTYPE, found });
        }
        let shape = tensor.shape.clone();
        self.bytes.clear();
        let mut output = Cursor::new(&mut self.bytes);
        decompress_with(packed, &mut output, &NoModels, &self.structural, &NoProgress)?;
        let swapped = cfg!(target_endian = "big").then(|| swap(&self.bytes, size_of::<T>()));
        let bytes: &[u8] = swapped.as_deref().unwrap_or(&self.bytes);
        values.clear();
        values.resize(bytes.len() / size_of::<T>(), T::zeroed());
        bytemuck::cast_slice_mut(values).copy_from_slice(bytes);
        Ok(shape)
    }
}

/// Elements with their bytes in the other order.
fn swap(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes.chunks_exact(size).flat_map(|element| element.iter().rev().copied()).collect()
}
