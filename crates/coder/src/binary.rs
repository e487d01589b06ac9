//! A range coder for binary decisions, without division, and for intervals: for models that code many decisions for each value.
//!
//! Range coding as Martin (1979) has it, with a 64-bit range and 32-bit words, carries propagated into what was written
//! (Schindler, 1998). [`Encoder`](crate::Encoder) would need a 64-bit division a decision to decode.
//!
//! **The stream.** `low` is 0 and `range` 2^64 - 1 at first. A decision splits the range at
//! `(range >> 16) * probability`: a one takes the lower part, a zero the upper. An interval `[start, end)` of 2^18 takes
//! `[start, end) * (range >> 18)`. Below 2^32, `range` grows by a word, and the
//! highest word of `low` is written, most significant byte first. The end is as short as it can be, as in module `range`:
//! the value of `[low, low + range)` with the most trailing zero bits, trailing zero bytes dropped, and the decoder reads
//! zeros past the end.

use crate::Error;

/// Probabilities are fractions of 2^`BINARY_PRECISION_BITS`.
pub const BINARY_PRECISION_BITS: u32 = 16;
/// Intervals are parts of 2^`INTERVAL_PRECISION_BITS`.
pub const INTERVAL_PRECISION_BITS: u32 = 18;

const MIN_RANGE: u64 = 1 << 32;
const WORD_BYTES: usize = 4;

/// Writes decisions into a byte stream.
#[derive(Debug, Clone)]
pub struct BinaryEncoder {
    words: Vec<u32>,
    low: u64,
    range: u64,
}

impl Default for BinaryEncoder {
    fn default() -> Self {
        Self::new()
    }
}

impl BinaryEncoder {
    /// An encoder that has written nothing.
    pub fn new() -> Self {
        Self { words: Vec::new(), low: 0, range: u64::MAX }
    }

    /// Appends a decision. `probability` is that of a one, in 1..2^16.
    #[inline(always)]
    pub fn encode(&mut self, bit: bool, probability: u32) {
        debug_assert!((1..1 << BINARY_PRECISION_BITS).contains(&probability), "probability {probability}");
        let split = (self.range >> BINARY_PRECISION_BITS) * u64::from(probability);
        if bit {
            self.range = split;
        } else {
            self.range -= split;
            self.advance(split);
        }
        self.grow();
    }

    /// Appends an interval that is not empty, `start < end <= 2^18`.
    #[inline(always)]
    pub fn encode_interval(&mut self, start: u32, end: u32) {
        self.encode_interval_of(INTERVAL_PRECISION_BITS, start, end);
    }

    /// As [`encode_interval`](Self::encode_interval), of 2^`bits`, 24 at most.
    #[inline(always)]
    pub fn encode_interval_of(&mut self, bits: u32, start: u32, end: u32) {
        debug_assert!(start < end && end <= 1 << bits && bits <= 24, "interval {start}..{end}");
        let unit = self.range >> bits;
        self.range = unit * u64::from(end - start);
        self.advance(unit * u64::from(start));
        self.grow();
    }

    #[inline(always)]
    fn advance(&mut self, by: u64) {
        let (low, carries) = self.low.overflowing_add(by);
        self.low = low;
        if carries {
            self.carry();
        }
    }

    #[inline(always)]
    fn grow(&mut self) {
        if self.range < MIN_RANGE {
            self.words.push((self.low >> 32) as u32);
            self.low <<= 32;
            self.range <<= 32;
        }
    }

    #[cold]
    fn carry(&mut self) {
        for word in self.words.iter_mut().rev() {
            let (sum, carries) = word.overflowing_add(1);
            *word = sum;
            if !carries {
                return;
            }
        }
    }

    /// The stream.
    pub fn finish(mut self) -> Vec<u8> {
        // The value in [low, low + range) with the most trailing zero bits; it may be 2^64, which is a carry.
        let top = u128::from(self.low) + u128::from(self.range) - 1;
        let mut value = u128::from(self.low);
        for n_bits in (0..=64).rev() {
            let rounded = (value + ((1u128 << n_bits) - 1)) >> n_bits << n_bits;
            if rounded <= top {
                value = rounded;
                break;
            }
        }
        if value >> 64 != 0 {
            self.carry();
        }
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend_from_slice(&(value as u64).to_be_bytes());
        let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        bytes.truncate(len);
        bytes
    }
}

/// Reads decisions from a byte stream.
#[derive(Debug, Clone)]
pub struct BinaryDecoder<'a> {
    bytes: &'a [u8],
    /// Bytes taken, those past the end included.
    n_read: usize,
    /// The stream's value less `low`, to the decoder's precision.
    offset: u64,
    range: u64,
    /// Whether a point was in no interval: what follows means nothing.
    is_lost: bool,
}

impl<'a> BinaryDecoder<'a> {
    /// A decoder at a stream's beginning.
    pub fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self { bytes, n_read: 0, offset: 0, range: u64::MAX, is_lost: false };
        let high = decoder.word();
        decoder.offset = high << 32 | decoder.word();
        decoder
    }

    #[inline(always)]
    fn word(&mut self) -> u64 {
        let word = match self.bytes.get(self.n_read..).and_then(<[u8]>::first_chunk::<WORD_BYTES>) {
            Some(whole) => u32::from_be_bytes(*whole),
            None => self.last_word(),
        };
        self.n_read += WORD_BYTES;
        u64::from(word)
    }

    #[cold]
    fn last_word(&self) -> u32 {
        let rest = self.bytes.get(self.n_read..).unwrap_or_default();
        let mut word = [0; WORD_BYTES];
        word[..rest.len()].copy_from_slice(rest);
        u32::from_be_bytes(word)
    }

    /// Reads a decision; `probability` is that of a one, in 1..2^16. What a damaged stream gives is anything.
    #[inline(always)]
    pub fn decode(&mut self, probability: u32) -> bool {
        debug_assert!((1..1 << BINARY_PRECISION_BITS).contains(&probability), "probability {probability}");
        let split = (self.range >> BINARY_PRECISION_BITS) * u64::from(probability);
        let bit = self.offset < split;
        if bit {
            self.range = split;
        } else {
            self.offset -= split;
            self.range -= split;
        }
        self.grow();
        bit
    }

    /// Reads an interval: `find` says which one a point of 2^18 is in, as `(start, end, what it stands for)`.
    #[inline(always)]
    pub fn decode_interval<T>(&mut self, find: impl FnOnce(u32) -> (u32, u32, T)) -> T {
        self.decode_interval_of(INTERVAL_PRECISION_BITS, find)
    }

    /// As [`decode_interval`](Self::decode_interval), of 2^`bits`, 24 at most. An interval without the point makes
    /// [`finish`](Self::finish) fail.
    #[inline(always)]
    pub fn decode_interval_of<T>(&mut self, bits: u32, find: impl FnOnce(u32) -> (u32, u32, T)) -> T {
        debug_assert!(bits <= 24);
        let unit = self.range >> bits;
        // What is lost by the shift is above the last interval; only damaged streams lead there.
        let point = (self.offset / unit).min((1 << bits) - 1) as u32;
        let (start, end, found) = find(point);
        if !(start <= point && point < end) {
            self.is_lost = true;
            (self.offset, self.range) = (0, u64::MAX);
            return found;
        }
        self.offset = self.offset.wrapping_sub(unit * u64::from(start));
        self.range = unit * u64::from(end - start);
        self.grow();
        found
    }

    #[inline(always)]
    fn grow(&mut self) {
        if self.range < MIN_RANGE {
            let word = self.word();
            self.offset = self.offset << 32 | word;
            self.range <<= 32;
        }
    }

    /// Ends the reading: all bytes must have been needed.
    ///
    /// # Errors
    /// [`Error::TrailingBytes`], and [`Error::InvalidStream`] if a point was in no interval.
    pub fn finish(self) -> Result<(), Error> {
        if self.is_lost {
            return Err(Error::InvalidStream { offset_bytes: self.n_read, len_bytes: self.bytes.len() });
        }
        if self.n_read >= self.bytes.len() {
            Ok(())
        } else {
            Err(Error::TrailingBytes { used_bytes: self.n_read, len_bytes: self.bytes.len() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_in_no_interval_is_an_invalid_stream() {
        for interval in [(7, 7), (0, 0), (1 << 18, 1 << 18), (9, 2)] {
            let mut decoder = BinaryDecoder::new(&[0x55; 8]);
            for _ in 0..100 {
                decoder.decode_interval(|_| (interval.0, interval.1, ()));
                decoder.decode(1 << 15);
            }
            assert!(matches!(decoder.finish(), Err(Error::InvalidStream { .. })));
        }
    }

    /// Pseudo-random numbers (Knuth's MMIX generator), upper bits.
    fn random(state: &mut u64) -> u32 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*state >> 33) as u32
    }

    fn round_trip(decisions: &[(bool, u32)]) -> Vec<u8> {
        let mut encoder = BinaryEncoder::new();
        for &(bit, probability) in decisions {
            encoder.encode(bit, probability);
        }
        let bytes = encoder.finish();
        let mut decoder = BinaryDecoder::new(&bytes);
        for &(bit, probability) in decisions {
            assert_eq!(decoder.decode(probability), bit);
        }
        decoder.finish().unwrap();
        bytes
    }

    #[test]
    fn decisions_come_back_at_their_cost() {
        let mut state = 1;
        for n in [0, 1, 2, 3, 100, 10_000] {
            for skew in 0..16 {
                let mut bits = 0.0;
                let decisions: Vec<(bool, u32)> = (0..n)
                    .map(|_| {
                        let probability = (random(&mut state) & 0xffff).clamp(1, 0xffff) >> skew | 1;
                        let bit = (random(&mut state) & 0xffff) < probability;
                        let share = f64::from(probability) / 65536.0;
                        bits -= if bit { share } else { 1.0 - share }.log2();
                        (bit, probability)
                    })
                    .collect();
                let len = round_trip(&decisions).len() as f64;
                assert!(len <= bits / 8.0 * 1.0001 + 2.0, "{n} {skew}: {len} bytes for {bits} bits");
            }
        }
    }

    #[test]
    fn intervals_among_decisions_come_back_at_their_cost() {
        const TOTAL: u32 = 1 << INTERVAL_PRECISION_BITS;
        let mut state = 3;
        let steps: Vec<(u32, u32, bool)> = (0..20_000)
            .map(|_| {
                let start = (random(&mut state) % TOTAL) >> (random(&mut state) % 18);
                let len = (1 + random(&mut state) % (TOTAL - start)) >> (random(&mut state) % 18);
                (start, start + len.max(1), random(&mut state) & 1 == 1)
            })
            .chain([(0, TOTAL, true), (TOTAL - 1, TOTAL, false), (0, 1, true)])
            .collect();
        let mut encoder = BinaryEncoder::new();
        let mut bits = 0.0;
        for &(start, end, bit) in &steps {
            encoder.encode_interval(start, end);
            encoder.encode(bit, 0x8000);
            bits += 1.0 + f64::from(INTERVAL_PRECISION_BITS) - f64::from(end - start).log2();
        }
        let bytes = encoder.finish();
        assert!((bytes.len() as f64) <= bits / 8.0 * 1.0001 + 2.0, "{} bytes for {bits} bits", bytes.len());
        let mut decoder = BinaryDecoder::new(&bytes);
        for &(start, end, bit) in &steps {
            let find = |point| {
                assert!((start..end).contains(&point));
                (start, end, ())
            };
            decoder.decode_interval(find);
            assert_eq!(decoder.decode(0x8000), bit);
        }
        decoder.finish().unwrap();
    }

    #[test]
    fn improbable_decisions_and_carries_come_back() {
        for bit in [false, true] {
            round_trip(&[(bit, 1); 1000]);
            round_trip(&[(bit, 0xffff); 1000]);
        }
        let mut state = 7;
        for _ in 0..2000 {
            let n = random(&mut state) as usize % 60;
            let decisions: Vec<_> = (0..n)
                .map(|_| {
                    let probability = if random(&mut state) & 1 == 0 { 1 } else { 0xffff };
                    (random(&mut state) & 7 == 0, probability)
                })
                .collect();
            round_trip(&decisions);
        }
    }

    #[test]
    fn carries_ripple_through_written_words() {
        let mut encoder =
            BinaryEncoder { words: vec![1, u32::MAX, u32::MAX], low: u64::MAX - 10, range: MIN_RANGE + 100 };
        encoder.encode(false, 0x8000);
        assert_eq!(encoder.words[..3], [2, 0, 0]);
    }

    #[test]
    fn bytes_beyond_the_last_decision_are_noticed() {
        let bytes = round_trip(&[(true, 100), (false, 5)]);
        let mut longer = bytes.clone();
        longer.resize(20, 1);
        let mut decoder = BinaryDecoder::new(&longer);
        decoder.decode(100);
        assert!(matches!(decoder.finish(), Err(Error::TrailingBytes { used_bytes: 8, len_bytes: 20 })));
    }
}
