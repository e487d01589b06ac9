//! Codec 13 (section 9, *fields0*).

use super::bytes::Bytes;
use super::streams::{PRECISION, PlainBits, RangeDecoder};
use super::{Block, Refusal};

/// Sum of the frequencies of all symbols.
const TOTAL: u64 = 1 << PRECISION;

/// Numbers of bits of a value's fields, from the highest.
struct Fields {
    sign: u32,
    exponent: u32,
    top: u32,
    plain: u32,
}

impl Fields {
    fn of(dtype: &str) -> Self {
        let (sign, exponent, top, plain) = match dtype {
            "F32" | "C64" => (1, 8, 4, 19),
            "F64" | "C128" => (1, 11, 4, 48),
            "F16" => (1, 5, 4, 6),
            "BF16" => (1, 8, 4, 3),
            _ => (0, 8, 0, 0),
        };
        Self { sign, exponent, top, plain }
    }

    fn value_bytes(&self) -> usize {
        (self.sign + self.exponent + self.top + self.plain) as usize / 8
    }
}

pub(super) fn decode(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    let fields = Fields::of(block.dtype);
    let value_bytes = fields.value_bytes();
    let whole = [block.raw_len];
    let pieces: Vec<usize> = block.pieces.iter().map(|piece| piece.len).collect();
    let pieces = if pieces.is_empty() { &whole[..] } else { &pieces };
    let n_values: usize = pieces.iter().map(|len| len / value_bytes).sum();
    let tails_len: usize = pieces.iter().map(|len| len % value_bytes).sum();

    let mut payload = Bytes::of_body(block.payload);
    let plain_bits = n_values as u64 * u64::from(fields.plain);
    let mut plain = PlainBits::new(payload.take(plain_bits.div_ceil(8), "plain bits")?);
    let mut tails = Bytes::of_body(payload.take(tails_len as u64, "tails")?);
    let mut coded = RangeDecoder::new(payload.rest());

    let mut out = Vec::new();
    for len in pieces {
        let mut models = Models::new(&fields);
        for _ in 0..len / value_bytes {
            let mut value = models.decode(&fields, &mut coded)?;
            value = value << fields.plain | plain.take(fields.plain);
            out.extend_from_slice(&value.to_le_bytes()[..value_bytes]);
        }
        out.extend_from_slice(tails.take((len % value_bytes) as u64, "tail")?);
    }
    plain.check_rest_is_zero()?;
    coded.check_end()?;
    Ok(out)
}

/// What is known of a piece's fields.
struct Models {
    sign: Adaptive,
    upper: Adaptive,
    /// One for each upper half.
    lower: Vec<Adaptive>,
    top: Adaptive,
    lower_bits: u32,
}

impl Models {
    fn new(fields: &Fields) -> Self {
        let upper_bits = fields.exponent.div_ceil(2);
        let lower_bits = fields.exponent - upper_bits;
        Self {
            sign: Adaptive::new(2, 1 << 10),
            upper: Adaptive::new(1 << upper_bits, 1 << 14),
            lower: vec![Adaptive::new(1 << lower_bits, 1 << 14); 1 << upper_bits],
            top: Adaptive::new(1 << fields.top, 1 << 14),
            lower_bits,
        }
    }

    /// A value's bits down to the plain ones.
    fn decode(&mut self, fields: &Fields, coded: &mut RangeDecoder<'_>) -> Result<u64, Refusal> {
        let sign = if fields.sign > 0 { self.sign.decode(coded)? } else { 0 };
        let upper = self.upper.decode(coded)?;
        let lower = self.lower[upper].decode(coded)?;
        let top = if fields.top > 0 { self.top.decode(coded)? } else { 0 };
        let exponent = upper << self.lower_bits | lower;
        Ok(((sign << fields.exponent | exponent) << fields.top | top) as u64)
    }
}

/// An adaptive model.
#[derive(Clone)]
struct Adaptive {
    counts: Vec<u64>,
    sum: u64,
    limit: u64,
}

impl Adaptive {
    fn new(n: usize, limit: u64) -> Self {
        Self { counts: vec![1; n], sum: n as u64, limit }
    }

    fn decode(&mut self, coded: &mut RangeDecoder<'_>) -> Result<usize, Refusal> {
        let unit = TOTAL / self.sum;
        let quantile = coded.quantile()?;
        let last = self.counts.len() - 1;
        let (mut symbol, mut cumulative) = (0, 0);
        while symbol < last && quantile >= cumulative + self.counts[symbol] * unit {
            cumulative += self.counts[symbol] * unit;
            symbol += 1;
        }
        let frequency = if symbol == last { TOTAL - cumulative } else { self.counts[symbol] * unit };
        coded.take(cumulative, frequency);
        self.counts[symbol] += 2;
        self.sum += 2;
        if self.sum > self.limit {
            for count in &mut self.counts {
                *count = count.div_ceil(2);
            }
            self.sum = self.counts.iter().sum();
        }
        Ok(symbol)
    }
}
