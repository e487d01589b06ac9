//! The range coder: intervals in, bytes out, and back.
//!
//! The arithmetic is `constriction`'s `RangeEncoder` and `RangeDecoder` with 32-bit words and a 64-bit state
//! (Martin, "Range encoding", 1979; Pasco, 1976). What this module adds is the byte stream: words are written most
//! significant byte first, and the end of the stream is as short as it can be.
//!
//! **End of the stream.** After the last symbol, every code value in `[lower, lower + range)` decodes to the same
//! symbols. The encoder takes the one with the most trailing zero bytes and then drops all trailing zero bytes
//! of the stream; the decoder reads zeros past the end. A stream thus never ends in a zero byte, no symbols
//! need no bytes, and the flush costs one byte or two more than the information content.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::num::NonZeroU32;

use constriction::backends::ReadWords;
use constriction::stream::model::{DecoderModel, EncoderModel, EntropyModel};
use constriction::stream::queue::{EncoderSituation, RangeDecoder, RangeEncoder};
use constriction::stream::{Decode, Encode};
use constriction::{CoderError, Queue};

use crate::{Error, FrequencyTable};

/// Frequencies are fractions of 2^`PRECISION_BITS`.
pub const PRECISION_BITS: u32 = 28;

/// The sum of all frequencies.
pub(crate) const TOTAL: u32 = 1 << PRECISION_BITS;

const PRECISION: usize = PRECISION_BITS as usize;

/// The share of a symbol: `[cumulative, cumulative + frequency)` out of 2^[`PRECISION_BITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Interval {
    cumulative: u32,
    // Invariant: cumulative + frequency <= TOTAL.
    frequency: NonZeroU32,
}

impl Interval {
    /// An interval, unless `frequency` is zero or the interval's end lies beyond 2^[`PRECISION_BITS`].
    pub fn new(cumulative: u32, frequency: u32) -> Option<Self> {
        let frequency = NonZeroU32::new(frequency)?;
        let end = cumulative.checked_add(frequency.get())?;
        (end <= TOTAL).then_some(Self { cumulative, frequency })
    }

    /// Sum of the frequencies of all symbols before this one.
    pub fn cumulative(self) -> u32 {
        self.cumulative
    }

    /// The symbol's frequency, at least 1; it costs `PRECISION_BITS - log2(frequency)` bits.
    pub fn frequency(self) -> u32 {
        self.frequency.get()
    }
}

/// One interval, in the form that the coder asks for.
struct Fixed(Interval);

impl EntropyModel<PRECISION> for Fixed {
    type Symbol = ();
    type Probability = u32;
}

impl EncoderModel<PRECISION> for Fixed {
    fn left_cumulative_and_probability(&self, _: impl Borrow<()>) -> Option<(u32, NonZeroU32)> {
        Some((self.0.cumulative, self.0.frequency))
    }
}

/// A look-up from quantile to symbol, in the form that the coder asks for.
struct Lookup<F>(F);

impl<F> EntropyModel<PRECISION> for Lookup<F> {
    type Symbol = usize;
    type Probability = u32;
}

impl<F: Fn(u32) -> (usize, Interval)> DecoderModel<PRECISION> for Lookup<F> {
    fn quantile_function(&self, quantile: u32) -> (usize, u32, NonZeroU32) {
        let (symbol, interval) = (self.0)(quantile);
        (symbol, interval.cumulative, interval.frequency)
    }
}

/// Writes symbols, given as their intervals, into a byte stream.
#[derive(Debug, Clone)]
pub struct Encoder {
    coder: RangeEncoder<u32, u64>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Encoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self { coder: RangeEncoder::new() }
    }

    /// Appends a symbol.
    pub fn encode(&mut self, interval: Interval) {
        match self.coder.encode_symbol((), Fixed(interval)) {
            Ok(()) => {}
            // An `Interval` is never empty, and a `Vec` never refuses a word.
            Err(_) => unreachable!("non-empty intervals can always be encoded"),
        }
    }

    /// Appends the low `n_bits` bits of `value` as they are, most significant first.
    ///
    /// # Panics
    /// If `n_bits` is above 64.
    pub fn encode_bits(&mut self, value: u64, n_bits: u32) {
        assert!(n_bits <= u64::BITS, "a u64 has no {n_bits} bits");
        let mut left = n_bits;
        while left > 0 {
            let step = left.min(BITS_PER_STEP);
            left -= step;
            let bits = (value >> left) as u32 & ((1 << step) - 1);
            let shift = PRECISION_BITS - step;
            let interval = Interval::new(bits << shift, 1 << shift);
            self.encode(interval.expect("step <= PRECISION_BITS"));
        }
    }

    /// Ends the stream and returns its bytes; the last one, if any, is not zero.
    pub fn finish(self) -> Vec<u8> {
        let (words, state, situation) = self.coder.into_raw_parts();
        let (lower, range) = (state.lower(), state.range().get());
        let (point, carry) = shortest_point(lower, range);

        let mut bytes = Vec::with_capacity(words.len() * 4 + 16);
        for word in words {
            bytes.extend_from_slice(&word.to_be_bytes());
        }
        // Words that the coder held back because a carry could still change them.
        if let EncoderSituation::Inverted(n_words, first) = situation {
            let (first, rest) = if carry { (first.wrapping_add(1), 0) } else { (first, u32::MAX) };
            bytes.extend_from_slice(&first.to_be_bytes());
            for _ in 1..n_words.get() {
                bytes.extend_from_slice(&rest.to_be_bytes());
            }
        }
        bytes.extend_from_slice(&point.to_be_bytes());
        let len = bytes.iter().rposition(|&byte| byte != 0);
        bytes.truncate(len.map_or(0, |last| last + 1));
        bytes
    }
}

/// How many plain bits go into one coding step: few enough that the coder's rounding costs nothing.
const BITS_PER_STEP: u32 = 16;

/// The value in `[lower, lower + range)` with the most trailing zero bytes, modulo 2^64, and whether it wrapped.
fn shortest_point(lower: u64, range: u64) -> (u64, bool) {
    let (lower, upper) = (u128::from(lower), u128::from(lower) + u128::from(range));
    (0..=64u32)
        .rev()
        .step_by(8)
        .map(|zero_bits| lower.next_multiple_of(1 << zero_bits))
        .find(|&point| point < upper)
        .map_or((lower as u64, false), |point| (point as u64, point >> 64 != 0))
}

/// Reads big-endian words; the last may be short, which means zeros.
#[derive(Debug, Clone)]
struct Words<'a> {
    bytes: &'a [u8],
    n_read_bytes: usize,
}

impl ReadWords<u32, Queue> for Words<'_> {
    type ReadError = Infallible;

    fn read(&mut self) -> Result<Option<u32>, Infallible> {
        let rest = self.bytes.get(self.n_read_bytes..).unwrap_or(&[]);
        if let Some(word) = rest.first_chunk() {
            self.n_read_bytes += 4;
            return Ok(Some(u32::from_be_bytes(*word)));
        }
        if rest.is_empty() {
            return Ok(None);
        }
        let mut word = [0; 4];
        for (to, from) in word.iter_mut().zip(rest) {
            *to = *from;
        }
        self.n_read_bytes = self.bytes.len();
        Ok(Some(u32::from_be_bytes(word)))
    }

    fn maybe_exhausted(&self) -> bool {
        self.n_read_bytes >= self.bytes.len()
    }
}

/// Reads the symbols that an [`Encoder`] wrote, given the same frequencies in the same order.
///
/// The caller knows how many symbols there are: past the end, a stream goes on with whatever zeros decode to.
#[derive(Debug, Clone)]
pub struct Decoder<'a> {
    coder: RangeDecoder<u32, u64, Words<'a>>,
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// A decoder at the start of a stream. Any bytes are accepted.
    pub fn new(bytes: &'a [u8]) -> Self {
        let words = Words { bytes, n_read_bytes: 0 };
        let Ok(coder) = RangeDecoder::with_backend(words);
        Self { coder, bytes }
    }

    /// Reads a symbol, below `table.n_symbols()`.
    ///
    /// # Errors
    /// [`Error::InvalidStream`] where the bytes are none that an encoder writes.
    pub fn decode(&mut self, table: &FrequencyTable) -> Result<usize, Error> {
        self.decode_with(|quantile| table.locate(quantile))
    }

    /// Reads `n_bits` bits that [`Encoder::encode_bits`] wrote.
    ///
    /// # Errors
    /// [`Error::InvalidStream`] where the bytes are none that an encoder writes.
    ///
    /// # Panics
    /// If `n_bits` is above 64.
    pub fn decode_bits(&mut self, n_bits: u32) -> Result<u64, Error> {
        assert!(n_bits <= u64::BITS, "a u64 has no {n_bits} bits");
        let mut value = 0;
        let mut left = n_bits;
        while left > 0 {
            let step = left.min(BITS_PER_STEP);
            left -= step;
            let shift = PRECISION_BITS - step;
            let bits = self.decode_with(|quantile| {
                let bits = quantile >> shift;
                let interval = Interval::new(bits << shift, 1 << shift);
                (bits as usize, interval.expect("quantiles are below TOTAL"))
            })?;
            value = value << step | bits as u64;
        }
        Ok(value)
    }

    /// Reads a symbol; `lookup` gives the symbol and the interval around any quantile below [`TOTAL`].
    pub(crate) fn decode_with(&mut self, lookup: impl Fn(u32) -> (usize, Interval)) -> Result<usize, Error> {
        self.coder.decode_symbol(Lookup(lookup)).map_err(|error| match error {
            CoderError::Frontend(_) => {
                let (words, ..) = self.coder.clone().into_raw_parts();
                Error::InvalidStream { offset_bytes: words.n_read_bytes, len_bytes: self.bytes.len() }
            }
            CoderError::Backend(never) => match never {},
        })
    }

    /// Ends the reading: no byte may be left that no symbol has needed.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`].
    pub fn finish(self) -> Result<(), Error> {
        let (words, ..) = self.coder.into_raw_parts();
        if words.maybe_exhausted() {
            Ok(())
        } else {
            Err(Error::TrailingBytes { used_bytes: words.n_read_bytes, len_bytes: self.bytes.len() })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use constriction::stream::queue::RangeCoderState;

    use super::*;

    /// Ends a stream in the given state of the coder.
    fn finish(words: &[u32], lower: u64, range: u64, held_back: Option<(usize, u32)>) -> Vec<u8> {
        let situation = held_back.map_or(EncoderSituation::Normal, |(n_words, first)| {
            EncoderSituation::Inverted(NonZeroUsize::new(n_words).unwrap(), first)
        });
        let state = RangeCoderState::new(lower, range).unwrap();
        Encoder { coder: RangeEncoder::from_raw_parts(words.to_vec(), state, situation) }.finish()
    }

    #[test]
    fn streams_end_with_as_few_bytes_as_possible() {
        assert_eq!(finish(&[0x0102_0304], 0, 1 << 32, None), [1, 2, 3, 4]);
        assert_eq!(finish(&[0x0102_0000], 0, 1 << 32, None), [1, 2]);
        assert_eq!(finish(&[1], 1, 1 << 62, None), [0, 0, 0, 1, 1]);
        assert_eq!(finish(&[1], (5 << 40) + 1, 1 << 40, None), [0, 0, 0, 1, 0, 0, 6]);
        assert_eq!(finish(&[1], 0x1234 << 48, 1 << 40, None), [0, 0, 0, 1, 0x12, 0x34]);
    }

    #[test]
    fn held_back_words_are_written_with_or_without_the_carry() {
        // Past 2^64, the carry ripples through, and only zeros are left.
        let top = 0u64.wrapping_sub(1 << 33);
        assert_eq!(finish(&[1], top, (1 << 33) + 1, Some((3, 7))), [0, 0, 0, 1, 0, 0, 0, 8]);
        // Up to 2^64 exactly, it does not.
        let expected = [0, 0, 0, 1, 0, 0, 0, 7, 255, 255, 255, 255, 255, 255, 255, 254];
        assert_eq!(finish(&[1], top, 1 << 33, Some((2, 7))), expected);
    }

    #[test]
    fn carries_come_back() {
        let (mut n_held_back, mut random) = (0, 1u64);
        for n_symbols in 1..3000 {
            let mut encoder = Encoder::new();
            let mut intervals = Vec::new();
            for _ in 0..n_symbols % 30 + 1 {
                // Knuth's MMIX generator; the upper bits are good enough.
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let start = (random >> 36) as u32;
                let frequency = 1 + (random as u32 >> (random >> 59)) % (TOTAL - start);
                let interval = Interval::new(start, frequency).unwrap();
                encoder.encode(interval);
                intervals.push(interval);
            }
            let (_, _, situation) = encoder.coder.clone().into_raw_parts();
            n_held_back += usize::from(situation != EncoderSituation::Normal);
            let bytes = encoder.finish();
            let mut decoder = Decoder::new(&bytes);
            for &interval in &intervals {
                let is_inside = decoder.decode_with(|quantile| {
                    let offset = quantile.checked_sub(interval.cumulative());
                    (usize::from(offset.is_some_and(|offset| offset < interval.frequency())), interval)
                });
                assert_eq!(is_inside, Ok(1));
            }
            assert_eq!(decoder.finish(), Ok(()));
        }
        assert!(n_held_back > 10, "only {n_held_back} streams ended with words held back");
    }
}
