//! A decoder of lossless fpzip streams that trusts nothing.
//!
//! `fpzip-rs` panics on streams that no encoder writes and believes any size that one claims. Here its model of symbols is asked
//! only after the range coder's numbers have been checked, and the header must be the one that belongs to the block.
//!
//! The format (fpzip 1.3, `FPZIP_FP_INT`): values become unsigned integers of the same order; each is predicted from seven
//! neighbours (Lorenzo), and the difference is coded as its sign and number of bits (an adaptive symbol) and its lower bits
//! as they are, by a carry-less range coder.

use fpzip_rs::codec::rc_qs_model::RCQsModel;
use fpzip_rs::core::front::Front;

use super::grid::Grid;
use crate::Error;

/// Version and arithmetic that the streams are of.
const VERSION: (u64, u64) = (0x0110, 4);

/// Numbers that symbols' frequencies sum up to.
const TOTAL_FREQUENCY: u32 = 1 << 16;

/// Whether the predictor's 32-bit places suffice for a grid with its margins.
pub(super) fn can_hold(grid: Grid) -> bool {
    let with_margin = grid.extents.iter().try_fold(1usize, |volume, extent| volume.checked_mul(extent.checked_add(1)?));
    // The ring buffer is rounded up to a power of two.
    with_margin.is_some_and(|volume| volume < 1 << 29)
}

/// Decodes the values of `width_bits` (32 or 64) on a grid into little-endian bytes.
pub(super) fn decode(stream: &[u8], width_bits: u32, grid: Grid) -> Result<Vec<u8>, Error> {
    if !can_hold(grid) {
        return Err(Error::corrupt_block("fpzip grid is too large"));
    }
    let mut reader = RangeReader::new(stream);
    read_header(&mut reader, width_bits, grid)?;
    let [nx, ny, nz] = grid.extents;
    let (mask, sign) = (u64::MAX >> (64 - width_bits), 1u64 << (width_bits - 1));
    let width_bytes = width_bits as usize / 8;
    let mut bytes = Vec::with_capacity(nx * ny * nz * width_bytes);
    let mut model = RCQsModel::with_defaults(false, 2 * width_bits as usize + 1);
    // What +0.0 becomes.
    let mut front = Front::new(nx as i32, ny as i32, sign);
    front.advance(0, 0, 1);
    for _ in 0..nz {
        front.advance(0, 1, 0);
        for _ in 0..ny {
            front.advance(1, 0, 0);
            for _ in 0..nx {
                let predicted = lorenzo(&front);
                let value = predicted.wrapping_add(reader.difference(&mut model, width_bits)?) & mask;
                front.push(value);
                let bits = if value & sign == 0 { !value } else { !value ^ (mask >> 1) };
                bytes.extend_from_slice(&bits.to_le_bytes()[..width_bytes]);
            }
        }
    }
    reader.finish()?;
    Ok(bytes)
}

/// The value that would make the eight corners of a cube alternate to zero.
fn lorenzo(front: &Front<u64>) -> u64 {
    let odd = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)];
    let even = [(0, 1, 1), (1, 0, 1), (1, 1, 0)];
    let sum = |sum: u64, (x, y, z)| sum.wrapping_add(front.get(x, y, z));
    odd.into_iter().fold(0, sum).wrapping_sub(even.into_iter().fold(0, sum))
}

fn read_header(reader: &mut RangeReader<'_>, width_bits: u32, grid: Grid) -> Result<(), Error> {
    let mut expected = vec![(u64::from(b'f'), 8), (u64::from(b'p'), 8), (u64::from(b'z'), 8), (0, 8)];
    // Type, and precision, of which 0 is all of it.
    expected.extend([(VERSION.0, 16), (VERSION.1, 8), (u64::from(width_bits == 64), 1), (0, 7)]);
    expected.extend(grid.extents.iter().map(|&extent| (extent as u64, 32)));
    // One field.
    expected.push((1, 32));
    for (value, n_bits) in expected {
        if reader.bits(n_bits)? != value {
            return Err(Error::corrupt_block("fpzip header is not the one for this block"));
        }
    }
    Ok(())
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
