//! The codecs of numbers that are libraries: fpzip, pco and zfp (section 9).

use std::cmp::Ordering;
use std::ops::{Add, Sub};

use fpzip_rs::codec::rc_qs_model::RCQsModel;
use pco::data_types::Number;
use pco::metadata::{DeltaEncoding, Mode};
use pco::standalone::{DecompressorItem, FileDecompressor};
use zfp_rs::{ZfpBitStreamRef, ZfpConfig, ZfpFieldMut, ZfpScalar};

use super::bytes::Bytes;
use super::{Block, Refusal};

fn corrupt(error: impl std::fmt::Display) -> Refusal {
    Refusal::corrupt(error.to_string())
}

/// The payload without its tail, the tail, and the number of whole numbers of `size` bytes.
fn split_tail<'a>(block: &Block<'a>, size: usize) -> Result<(&'a [u8], &'a [u8], usize), Refusal> {
    let stream_len = block.payload.len().checked_sub(block.raw_len % size);
    let (stream, tail) = stream_len
        .and_then(|len| block.payload.split_at_checked(len))
        .ok_or_else(|| Refusal::corrupt("the payload is shorter than its tail"))?;
    Ok((stream, tail, block.raw_len / size))
}

pub(super) fn pco(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    match block.dtype {
        "F64" | "C128" => pco_of(block, f64::to_le_bytes),
        "F32" | "C64" => pco_of(block, f32::to_le_bytes),
        "F16" => pco_of(block, half::f16::to_le_bytes),
        "BF16" | "U16" => pco_of(block, u16::to_le_bytes),
        "I64" => pco_of(block, i64::to_le_bytes),
        "I32" => pco_of(block, i32::to_le_bytes),
        "I16" => pco_of(block, i16::to_le_bytes),
        "I8" => pco_of(block, i8::to_le_bytes),
        "U64" => pco_of(block, u64::to_le_bytes),
        "U32" => pco_of(block, u32::to_le_bytes),
        _ => pco_of(block, u8::to_le_bytes),
    }
}

/// Numbers that a chunk has at least, unless it is the only one.
const MIN_PCO_CHUNK: usize = 1 << 16;
/// How far back a chunk may look, as a power of 2.
const MAX_PCO_WINDOW: u32 = 15;

fn pco_of<T: Number + Default, const N: usize>(
    block: &Block<'_>,
    to_bytes: fn(T) -> [u8; N],
) -> Result<Vec<u8>, Refusal> {
    let (stream, tail, n) = split_tail(block, N)?;
    let mut numbers: Vec<T> = Vec::new();
    let mut left = stream;
    if n > 0 {
        let (file, chunks) = FileDecompressor::new(stream).map_err(corrupt)?;
        if stream.get(4) != Some(&3) || file.n_hint() != n {
            return Err(Refusal::corrupt("a pco file of another version or number of elements"));
        }
        left = chunks;
        loop {
            let mut chunk = match file.chunk_decompressor::<T, _>(left).map_err(corrupt)? {
                DecompressorItem::Chunk(chunk) => chunk,
                DecompressorItem::EndOfData(rest) => {
                    left = rest;
                    break;
                }
            };
            let is_allowed = chunk.n() <= n - numbers.len()
                && (chunk.n() >= MIN_PCO_CHUNK || chunk.n() == n)
                && !matches!(chunk.meta().mode, Mode::Dict(_))
                && match &chunk.meta().delta_encoding {
                    DeltaEncoding::Lookback { config, .. } => config.window_n_log <= MAX_PCO_WINDOW,
                    _ => true,
                };
            if !is_allowed {
                return Err(Refusal::corrupt("a pco chunk of a kind that is not allowed"));
            }
            let start = numbers.len();
            numbers.resize(start + chunk.n(), T::default());
            chunk.read(&mut numbers[start..]).map_err(corrupt)?;
            left = chunk.into_src();
        }
    }
    if !left.is_empty() || numbers.len() != n {
        return Err(Refusal::corrupt("a pco file of another length"));
    }
    let mut out: Vec<u8> = numbers.into_iter().flat_map(to_bytes).collect();
    out.extend_from_slice(tail);
    Ok(out)
}

pub(super) fn zfp(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    match block.dtype {
        "F32" => zfp_of(block, f32::to_le_bytes),
        "F64" => zfp_of(block, f64::to_le_bytes),
        "I32" => zfp_of(block, i32::to_le_bytes),
        "I64" => zfp_of(block, i64::to_le_bytes),
        other => Err(Refusal::corrupt(format!("zfp of {other}"))),
    }
}

fn zfp_of<T: ZfpScalar, const N: usize>(block: &Block<'_>, to_bytes: fn(T) -> [u8; N]) -> Result<Vec<u8>, Refusal> {
    let (stream, tail, n) = split_tail(block, N)?;
    let (words, rest) = stream.as_chunks();
    let words: Vec<u64> = words.iter().map(|&word| u64::from_le_bytes(word)).collect();
    let mut numbers = vec![T::default(); n];
    let mut used = 0;
    if n > 0 {
        let mut field = ZfpFieldMut::new(&mut numbers, [n]).map_err(corrupt)?;
        used = ZfpBitStreamRef::from_words(&words).decompress(&ZfpConfig::reversible(), &mut field).map_err(corrupt)?;
    }
    if !rest.is_empty() || used != stream.len() {
        return Err(Refusal::corrupt("a zfp stream of another length"));
    }
    let mut out: Vec<u8> = numbers.into_iter().flat_map(to_bytes).collect();
    out.extend_from_slice(tail);
    Ok(out)
}

pub(super) fn fpzip(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    match block.dtype {
        "F32" => {
            fpzip_of(block, 0, |bits| f32::from_bits(bits as u32), |value| value.to_bits().into(), f32::to_le_bytes)
        }
        "F64" => fpzip_of(block, 1, f64::from_bits, f64::to_bits, f64::to_le_bytes),
        other => Err(Refusal::corrupt(format!("fpzip of {other}"))),
    }
}

fn fpzip_of<T: Float, const N: usize>(
    block: &Block<'_>,
    type_bit: u64,
    from_bits: fn(u64) -> T,
    to_bits: fn(T) -> u64,
    to_bytes: fn(T) -> [u8; N],
) -> Result<Vec<u8>, Refusal> {
    let (payload, tail, n) = split_tail(block, N)?;
    let mut payload = Bytes::of_body(payload);
    let n_dimensions = payload.u8("number of dimensions")?;
    let mut stream = FpzipDecoder::new(payload.rest());
    let mut values: Vec<T> = Vec::new();
    if (n_dimensions == 0) != (n == 0) {
        return Err(Refusal::corrupt("a stream of no element, or elements without a stream"));
    }
    if n > 0 {
        let [nx, ny, nz, nf] = fpzip_shape(block, n_dimensions, n)?;
        let header = [
            (b'f'.into(), 8),
            (b'p'.into(), 8),
            (b'z'.into(), 8),
            (0, 8),
            (0x0110, 16), // format version
            (1, 8),       // arithmetic
            (type_bit, 1),
            (0, 7), // precision
            (nx as u64, 32),
            (ny as u64, 32),
            (nz as u64, 32),
            (nf as u64, 32),
        ];
        for (expected, n_bits) in header {
            if stream.bits(n_bits)? != expected {
                return Err(Refusal::corrupt("an fpzip stream of another kind or shape"));
            }
        }
        let width = 8 * N as u32;
        let mask = u64::MAX >> (64 - width);
        let half = mask >> 1;
        for _ in 0..nf {
            let start = values.len();
            let mut model = RCQsModel::with_defaults(false, 2 * width as usize + 1);
            for place in 0..nx * ny * nz {
                let (x, y, z) = (place % nx, place / nx % ny, place / nx / ny);
                // The value so far to the left, above and behind.
                let f = |dx, dy, dz| {
                    let is_inside = x >= dx && y >= dy && z >= dz;
                    if is_inside { values[start + place - dx - nx * (dy + ny * dz)] } else { T::default() }
                };
                let predicted =
                    f(1, 0, 0) - f(0, 1, 1) + f(0, 1, 0) - f(1, 0, 1) + f(0, 0, 1) - f(1, 1, 0) + f(1, 1, 1);
                let predicted = if predicted.is_a_number() { predicted } else { T::default() };
                // Floats as integers in the same order.
                let mut ordered = !to_bits(predicted) & mask;
                if ordered > half {
                    ordered ^= half;
                }
                ordered = stream.value(&mut model, ordered, width)? & mask;
                if ordered > half {
                    ordered ^= half;
                }
                values.push(from_bits(!ordered & mask));
            }
        }
    }
    if stream.n_read != payload.rest().len() {
        return Err(Refusal::corrupt("an fpzip stream of another length"));
    }
    let mut out: Vec<u8> = values.into_iter().flat_map(to_bytes).collect();
    out.extend_from_slice(tail);
    Ok(out)
}

/// What fpzip calculates with.
trait Float: Copy + Default + Add<Output = Self> + Sub<Output = Self> {
    fn is_a_number(self) -> bool;
}

impl Float for f32 {
    fn is_a_number(self) -> bool {
        !self.is_nan()
    }
}

impl Float for f64 {
    fn is_a_number(self) -> bool {
        !self.is_nan()
    }
}

/// `nx`, `ny`, `nz` and `nf`.
fn fpzip_shape(block: &Block<'_>, n_dimensions: u8, n: usize) -> Result<[usize; 4], Refusal> {
    let wrong = || Refusal::corrupt("an fpzip stream of a shape that is not the tensor's");
    if n_dimensions == 1 {
        return Ok([n, 1, 1, 1]);
    }
    let [piece] = block.pieces else { return Err(wrong()) };
    let is_whole = piece.len as u64 == piece.tensor_len;
    if !is_whole || usize::from(n_dimensions) != piece.shape.len().min(4) {
        return Err(wrong());
    }
    let mut dims = [1_usize; 4];
    for (i, &len) in piece.shape.iter().rev().enumerate() {
        let len = usize::try_from(len).map_err(|_| wrong())?;
        dims[i.min(3)] = dims[i.min(3)].checked_mul(len).ok_or_else(wrong)?;
    }
    let product = dims.into_iter().try_fold(1_usize, usize::checked_mul);
    if product != Some(n) {
        return Err(wrong());
    }
    Ok(dims)
}

/// The range coder of fpzip. The library's own panics on damaged streams.
struct FpzipDecoder<'a> {
    bytes: &'a [u8],
    n_read: usize,
    low: u32,
    range: u32,
    code: u32,
}

impl<'a> FpzipDecoder<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes, n_read: 0, low: 0, range: u32::MAX, code: 0 };
        decoder.shift(4.min(bytes.len()));
        decoder
    }

    fn shift(&mut self, n_bytes: usize) {
        for _ in 0..n_bytes {
            self.code = self.code << 8 | u32::from(self.bytes.get(self.n_read).copied().unwrap_or(0));
            self.low <<= 8;
            self.n_read += 1;
        }
    }

    /// Narrows the range to `size` units from the `start`-th on.
    fn narrow(&mut self, start: u32, size: u32) -> Result<(), Refusal> {
        self.low = self.low.wrapping_add(self.range.wrapping_mul(start));
        self.range = self.range.wrapping_mul(size);
        if self.range == 0 {
            return Err(Refusal::corrupt("an fpzip stream points beyond its range"));
        }
        while (self.low ^ self.low.wrapping_add(self.range)) >> 24 == 0 {
            self.shift(1);
            self.range <<= 8;
        }
        if self.range >> 16 == 0 {
            self.shift(2);
            self.range = self.low.wrapping_neg();
        }
        Ok(())
    }

    /// Which of `2^n_bits` equal units of the range comes next.
    fn unit(&mut self, n_bits: u32) -> Result<u32, Refusal> {
        self.range >>= n_bits;
        let unit = self.code.wrapping_sub(self.low).checked_div(self.range);
        unit.filter(|unit| unit >> n_bits == 0)
            .ok_or_else(|| Refusal::corrupt("an fpzip stream points beyond its range"))
    }

    /// An unsigned number, the lowest 16 bits first.
    fn bits(&mut self, n_bits: u32) -> Result<u64, Refusal> {
        let mut number = 0;
        let mut n_done = 0;
        while n_done < n_bits {
            let n_now = (n_bits - n_done).min(16);
            let unit = self.unit(n_now)?;
            self.narrow(unit, 1)?;
            number |= u64::from(unit) << n_done;
            n_done += n_now;
        }
        Ok(number)
    }

    fn value(&mut self, model: &mut RCQsModel, predicted: u64, width: u32) -> Result<u64, Refusal> {
        let (mut start, mut size) = (self.unit(16)?, 0);
        let symbol = model.decode(&mut start, &mut size);
        self.narrow(start, size)?;
        // The difference's sign and number of bits.
        Ok(match symbol.cmp(&width) {
            Ordering::Equal => predicted,
            Ordering::Greater => predicted.wrapping_add(self.with_leading_one(symbol - width - 1)?),
            Ordering::Less => predicted.wrapping_sub(self.with_leading_one(width - 1 - symbol)?),
        })
    }

    fn with_leading_one(&mut self, n_bits: u32) -> Result<u64, Refusal> {
        Ok(1 << n_bits | self.bits(n_bits)?)
    }
}
