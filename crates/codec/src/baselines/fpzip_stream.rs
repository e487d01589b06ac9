//! Lossless fpzip streams, byte for byte those of LLNL's fpzip 1.3 as it is usually built (`FPZIP_FP_FAST`).
//!
//! The range encoder, the model of symbols and the ring buffer are those of `fpzip-rs`. Its own predictor works on integers
//! (`FPZIP_FP_INT`), which is another format with larger files, and its decoder panics on streams that no encoder writes and
//! believes any size that one claims. Here the model is asked only after the range coder's numbers have been checked, and
//! the header must be the one that belongs to the block.
//!
//! Each value is predicted from seven neighbours (Lorenzo) in its own arithmetic. Value and prediction become unsigned integers
//! of the same order; their difference is coded as its sign and number of bits (an adaptive symbol) and its lower bits as
//! they are, by a carry-less range coder. Each field (the slowest dimension of four) starts afresh.

use std::ops::{Add, Sub};

use fpzip_rs::codec::range_encoder::RangeEncoder;
use fpzip_rs::codec::rc_qs_model::RCQsModel;
use fpzip_rs::core::front::Front;

use super::grid::Grid;
use crate::Error;
use crate::float_layout::bits_of;

/// Numbers that symbols' frequencies sum up to.
const TOTAL_FREQUENCY: u32 = 1 << 16;

/// A number that fpzip knows, by its bits.
pub(super) trait Float: Copy + Default + Add<Output = Self> + Sub<Output = Self> {
    const WIDTH_BITS: u32;
    const SIGN: u64 = 1 << (Self::WIDTH_BITS - 1);
    const MASK: u64 = u64::MAX >> (64 - Self::WIDTH_BITS);

    fn from_bits(bits: u64) -> Self;
    /// Its bits; zero for what is not a number, whose bits depend on the machine after arithmetic.
    fn to_portable_bits(self) -> u64;
}

impl Float for f32 {
    const WIDTH_BITS: u32 = 32;

    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits as u32)
    }

    fn to_portable_bits(self) -> u64 {
        if self.is_nan() { 0 } else { self.to_bits().into() }
    }
}

impl Float for f64 {
    const WIDTH_BITS: u32 = 64;

    fn from_bits(bits: u64) -> Self {
        Self::from_bits(bits)
    }

    fn to_portable_bits(self) -> u64 {
        if self.is_nan() { 0 } else { self.to_bits() }
    }
}

/// An integer that grows with the float of these bits, -0.0 just below +0.0.
fn ordered<T: Float>(bits: u64) -> u64 {
    if bits & T::SIGN == 0 { !bits & T::MASK ^ T::MASK >> 1 } else { !bits & T::MASK }
}

/// The bits that [`ordered`] makes this integer of.
fn unordered<T: Float>(value: u64) -> u64 {
    if value & T::SIGN == 0 { !value & T::MASK } else { !value & T::MASK ^ T::MASK >> 1 }
}

/// Whether the ring buffer's 32-bit places suffice for a grid with its margins.
pub(super) fn can_hold(grid: Grid) -> bool {
    let [nx, ny, nz, nf] = grid.extents;
    let with_margin = [nx, ny, nz].iter().try_fold(1usize, |volume, extent| volume.checked_mul(extent.checked_add(1)?));
    // The buffer's length is rounded up to a power of two.
    with_margin.is_some_and(|volume| volume < 1 << 29) && u32::try_from(nf).is_ok()
}

/// Goes through a field; `code` gets the prediction of a value as an ordered integer and gives the value's bits.
fn for_each_value<T: Float>(
    [nx, ny, nz]: [usize; 3],
    mut code: impl FnMut(u64) -> Result<u64, Error>,
) -> Result<(), Error> {
    let mut front = Front::new(nx as i32, ny as i32, T::default());
    front.advance(0, 0, 1);
    for _ in 0..nz {
        front.advance(0, 1, 0);
        for _ in 0..ny {
            front.advance(1, 0, 0);
            for _ in 0..nx {
                // In this order: rounding depends on it.
                let predicted: T = front.get(1, 0, 0) - front.get(0, 1, 1) + front.get(0, 1, 0) - front.get(1, 0, 1)
                    + front.get(0, 0, 1)
                    - front.get(1, 1, 0)
                    + front.get(1, 1, 1);
                front.push(T::from_bits(code(ordered::<T>(predicted.to_portable_bits()))?));
            }
        }
    }
    Ok(())
}

/// A field's model: a symbol for each sign and number of bits of a difference.
fn new_model<T: Float>(is_encoder: bool) -> RCQsModel {
    RCQsModel::with_defaults(is_encoder, 2 * T::WIDTH_BITS as usize + 1)
}

/// Values and numbers of bits of the header of a grid's stream.
fn header<T: Float>(grid: Grid) -> impl Iterator<Item = (u64, u32)> {
    let magic = b"fpz\0".map(|byte| (u64::from(byte), 8));
    // Version, arithmetic, type, and precision, of which 0 is all of it.
    let format = [(0x0110, 16), (1, 8), (u64::from(T::WIDTH_BITS == 64), 1), (0, 7)];
    magic.into_iter().chain(format).chain(grid.extents.map(|extent| (extent as u64, 32)))
}

/// Encodes the little-endian values of a grid for which [`can_hold`] is true.
pub(super) fn encode<T: Float>(bytes: &[u8], grid: Grid) -> Result<Vec<u8>, Error> {
    let mut encoder = RangeEncoder::with_capacity(bytes.len());
    for (value, n_bits) in header::<T>(grid) {
        encoder.encode_ulong(value, n_bits as i32);
    }
    let [nx, ny, nz, _] = grid.extents;
    let field_bytes = nx * ny * nz * T::WIDTH_BITS as usize / 8;
    for field in bytes.chunks_exact(field_bytes) {
        let mut model = new_model::<T>(true);
        let mut elements = field.chunks_exact(T::WIDTH_BITS as usize / 8).map(bits_of);
        for_each_value::<T>([nx, ny, nz], |predicted| {
            let bits = elements.next().unwrap_or_default();
            let value = ordered::<T>(bits);
            let size = value.abs_diff(predicted);
            match size.checked_ilog2() {
                None => encoder.encode_with_model(T::WIDTH_BITS, &mut model),
                Some(n_lower) => {
                    let n_bits = n_lower + 1;
                    let is_above = value > predicted;
                    let symbol = if is_above { T::WIDTH_BITS + n_bits } else { T::WIDTH_BITS - n_bits };
                    encoder.encode_with_model(symbol, &mut model);
                    encoder.encode_ulong(size ^ 1 << n_lower, n_lower as i32);
                }
            }
            Ok(bits)
        })?;
    }
    Ok(encoder.finish())
}

/// Decodes the values of a grid into little-endian bytes.
pub(super) fn decode<T: Float>(stream: &[u8], grid: Grid) -> Result<Vec<u8>, Error> {
    if !can_hold(grid) {
        return Err(Error::corrupt_block("fpzip grid is too large"));
    }
    let mut reader = RangeReader::new(stream);
    for (value, n_bits) in header::<T>(grid) {
        if reader.bits(n_bits)? != value {
            return Err(Error::corrupt_block("fpzip header is not the one for this block"));
        }
    }
    let [nx, ny, nz, nf] = grid.extents;
    let width_bytes = T::WIDTH_BITS as usize / 8;
    let mut bytes = Vec::with_capacity(nx * ny * nz * nf * width_bytes);
    for _ in 0..nf {
        let mut model = new_model::<T>(false);
        for_each_value::<T>([nx, ny, nz], |predicted| {
            let difference = reader.difference(&mut model, T::WIDTH_BITS)?;
            let bits = unordered::<T>(predicted.wrapping_add(difference) & T::MASK);
            bytes.extend_from_slice(&bits.to_le_bytes()[..width_bytes]);
            Ok(bits)
        })?;
    }
    reader.finish()?;
    Ok(bytes)
}

/// A carry-less range decoder (Subbotin) over 32 bits.
struct RangeReader<'a> {
    /// Bytes not yet read.
    rest: &'a [u8],
    is_exhausted: bool,
    // Invariant: `range` is 2^16 or more between symbols.
    low: u32,
    range: u32,
    code: u32,
}

impl<'a> RangeReader<'a> {
    fn new(stream: &'a [u8]) -> Self {
        let mut reader = Self { rest: stream, is_exhausted: false, low: 0, range: u32::MAX, code: 0 };
        reader.shift(4);
        reader
    }

    /// Where the code lies in a range that was cut into equal units, and below how many it must lie.
    fn unit(&self, n_units: u32) -> Result<u32, Error> {
        let unit = self.code.wrapping_sub(self.low).checked_div(self.range);
        unit.filter(|&unit| unit < n_units).ok_or_else(|| Error::corrupt_block("fpzip stream is none"))
    }

    fn narrow(&mut self, first_unit: u32, n_units: u32) -> Result<(), Error> {
        self.low = self.low.wrapping_add(self.range.wrapping_mul(first_unit));
        self.range = self.range.wrapping_mul(n_units);
        if self.range == 0 {
            return Err(Error::corrupt_block("fpzip stream is none"));
        }
        while (self.low ^ self.low.wrapping_add(self.range)) >> 24 == 0 && self.range != 0 {
            self.shift(1);
            self.range <<= 8;
        }
        if self.range >> 16 == 0 {
            self.shift(2);
            self.range = self.low.wrapping_neg();
        }
        if self.is_exhausted {
            return Err(Error::corrupt_block("fpzip stream ends before its values"));
        }
        Ok(())
    }

    fn shift(&mut self, n_bytes: u32) {
        for _ in 0..n_bytes {
            let byte = self.rest.split_off_first().copied();
            self.is_exhausted |= byte.is_none();
            self.code = self.code << 8 | u32::from(byte.unwrap_or(0));
            self.low <<= 8;
        }
    }

    /// `n_bits` (up to 64) as they are, the lowest 16 first.
    fn bits(&mut self, n_bits: u32) -> Result<u64, Error> {
        let (mut value, mut done) = (0, 0);
        while done < n_bits {
            let step = (n_bits - done).min(16);
            self.range >>= step;
            let bits = self.unit(1 << step)?;
            self.narrow(bits, 1)?;
            value |= u64::from(bits) << done;
            done += step;
        }
        Ok(value)
    }

    /// A value minus its prediction, modulo 2^64.
    fn difference(&mut self, model: &mut RCQsModel, width_bits: u32) -> Result<u64, Error> {
        model.normalize(&mut self.range);
        let (mut first_unit, mut n_units) = (self.unit(TOTAL_FREQUENCY)?, 0);
        let symbol = model.decode(&mut first_unit, &mut n_units);
        self.narrow(first_unit, n_units)?;
        let n_bits = symbol.abs_diff(width_bits);
        let Some(n_lower) = n_bits.checked_sub(1) else { return Ok(0) };
        let size = 1 << n_lower | self.bits(n_lower)?;
        Ok(if symbol > width_bits { size } else { size.wrapping_neg() })
    }

    /// An encoder writes as many bytes as its decoder reads.
    fn finish(self) -> Result<(), Error> {
        match self.rest.len() {
            0 => Ok(()),
            n => Err(Error::corrupt_block(format!("{n} bytes after the fpzip stream"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_in_the_order_of_the_floats() {
        let values = [f32::NEG_INFINITY, -1.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, f32::MAX, f32::INFINITY];
        let ordered: Vec<u64> = values.iter().map(|value| ordered::<f32>(value.to_bits().into())).collect();
        assert!(ordered.is_sorted_by(|a, b| a < b), "{ordered:x?}");
        for bits in [0, 1, 0x7fff_ffff, 0x8000_0000, 0x8000_0001, 0xffff_ffff, 0x7fa0_0000, 0x3f80_0000] {
            assert_eq!(unordered::<f32>(super::ordered::<f32>(bits)), bits);
            let bits = bits << 32 | bits;
            assert_eq!(unordered::<f64>(super::ordered::<f64>(bits)), bits);
        }
    }

    /// What PyPI's fpzip 1.2.5 writes, by `fpzip.compress(values.reshape(shape), precision=0, order="C").hex()`.
    #[test]
    fn streams_are_those_of_llnl() {
        let values = [1.0f32, 1.5, -0.25, 0.0, -0.0, 3.0e-39, 7.0, -8.125, 0.1, 0.2, 0.3, -1.0e30];
        let bytes = |n: usize| values[..n].iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>();
        let doubles: Vec<u8> = values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect();
        let hex = |stream: Result<Vec<u8>, Error>| -> String {
            stream.unwrap().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let grid = |n_dimensions, extents| Grid { n_dimensions, extents };
        let [line, cube, fields] = [grid(1, [12, 1, 1, 1]), grid(3, [3, 2, 2, 1]), grid(4, [3, 1, 2, 2])];
        assert_eq!(
            hex(encode::<f32>(&bytes(12), line)),
            "66707929870ef0ff000bf4000000ff000000ff000000ff00f33bd3dc6a8c9c0007933af1179da0e679ce8c42a95547fc9ce400006ffc6a60542ddf187c805b799c959e265388078e0000"
        );
        assert_eq!(
            hex(encode::<f32>(&bytes(12), cube)),
            "66707929870ef0ff0002fd000001fe000001fe000000ff00f33bd3dc6a8c9c0007933af0fbec7c74281d117c9c319eb608063f900a85400070420cd7a76b3e3c2fc49f48b6128a30802290d2b40000"
        );
        assert_eq!(
            hex(encode::<f32>(&bytes(12), fields)),
            "66707929870ef0ff0002fd000000ff000001fe000001fe00f33bd3dc6a8c9c0007933af0fbec7c74281d117c9c319eb60806e7e40062000001bf800544c2c1dcf684def70ec8e819144d5f3cad040000"
        );
        assert_eq!(
            hex(encode::<f64>(&doubles, cube)),
            "66707929870ef17e8002fd000001fe000001fe000000ff00f911f400000001f9113816400000000007cc43cc000007c52dfc04e00000003de107b463da000003d64455b6bd2414650b5dcf31f000000000b580001e120784800ecbed51e16029a695bf0d3c8162017998fd22bb362320f68efc7514007a6a895c988dc80000"
        );
    }
}
