//! Reads the frames of an 8-bit FLAC stream of one channel (RFC 9639, section 9).
//!
//! Of our own, because libraries at hand panic on damaged frames, and a frame's checksum is seen last. Checksums are not
//! compared: the container has its own.

use crate::Error;

fn corrupt(what: &str) -> Error {
    Error::corrupt_block(format!("flac: {what}"))
}

/// Bits, the most significant first.
struct Bits<'a> {
    rest: &'a [u8],
    /// Bits that are read next, from the top down; zeros below them.
    held: u64,
    n_held: u32,
}

impl Bits<'_> {
    fn refill(&mut self) {
        while self.n_held <= 56
            && let Some((&byte, rest)) = self.rest.split_first()
        {
            self.held |= u64::from(byte) << (56 - self.n_held);
            self.n_held += 8;
            self.rest = rest;
        }
    }

    /// A number of up to 32 bits.
    fn take(&mut self, n: u32) -> Result<u32, Error> {
        if self.n_held < n {
            self.refill();
            if self.n_held < n {
                return Err(corrupt("the payload ends in a frame"));
            }
        }
        // No bits are left of the 32 where n is 0.
        let value = ((self.held >> 32) as u32).checked_shr(32 - n).unwrap_or(0);
        self.held <<= n;
        self.n_held -= n;
        Ok(value)
    }

    /// A number in two's complement of up to 31 bits.
    fn take_signed(&mut self, n: u32) -> Result<i32, Error> {
        let value = self.take(n)?;
        Ok(((value << 1) as i32) << (31 - n) >> (31 - n) >> 1)
    }

    /// Number of zeros before the next one.
    fn take_unary(&mut self) -> Result<u64, Error> {
        let mut n_zeros = 0;
        loop {
            if self.n_held == 0 {
                self.refill();
            }
            let leading = self.held.leading_zeros();
            if leading < self.n_held {
                self.held = self.held << leading << 1;
                self.n_held -= leading + 1;
                return Ok(n_zeros + u64::from(leading));
            }
            if self.n_held == 0 {
                return Err(corrupt("the payload ends in a frame"));
            }
            n_zeros += u64::from(self.n_held);
            (self.held, self.n_held) = (0, 0);
        }
    }

    fn skip_to_byte(&mut self) {
        self.held <<= self.n_held % 8;
        self.n_held -= self.n_held % 8;
    }

    fn is_at_end(&self) -> bool {
        self.n_held == 0 && self.rest.is_empty()
    }
}

/// The frames of a stream, to its end.
pub(super) struct Frames<'a>(Bits<'a>);

impl<'a> Frames<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(Bits { rest: bytes, held: 0, n_held: 0 })
    }

    /// The bytes that the samples stand for; as many as they should be.
    pub(super) fn decode(mut self, raw_len: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while bytes.len() < raw_len {
            let n_samples = self.frame_header()?;
            if n_samples > raw_len - bytes.len() {
                return Err(corrupt("a frame goes on beyond the block"));
            }
            let samples = self.subframe(n_samples)?;
            // -128 to 127, each.
            bytes.extend(samples.iter().map(|&sample| (sample + 128) as u8));
            self.0.skip_to_byte();
            self.0.take(16)?;
        }
        if !self.0.is_at_end() {
            return Err(corrupt("bytes after the last frame"));
        }
        Ok(bytes)
    }

    /// Number of samples in the frame, 1 to 65536.
    fn frame_header(&mut self) -> Result<usize, Error> {
        let bits = &mut self.0;
        // 15 bits of synchronisation, and one that says how frames are numbered.
        if bits.take(15)? != 0x7ffc {
            return Err(corrupt("a frame does not begin where it should"));
        }
        bits.take(1)?;
        let (size_code, rate_code) = (bits.take(4)?, bits.take(4)?);
        let (channels, sample_bits, reserved) = (bits.take(4)?, bits.take(3)?, bits.take(1)?);
        if channels != 0 || !matches!(sample_bits, 0 | 1) || reserved != 0 {
            return Err(corrupt("a frame of something else than one channel of 8 bits"));
        }
        // The frame's number, with as many bytes after the first as UTF-8 would have.
        let n_more = match (bits.take(8)? as u8).leading_ones() {
            0 => 0,
            n @ 2..=7 => n - 1,
            _ => return Err(corrupt("a frame's number")),
        };
        for _ in 0..n_more {
            bits.take(8)?;
        }
        let n_samples = match size_code {
            1 => 192,
            2..=5 => 144 << size_code,
            6 => bits.take(8)? + 1,
            7 => bits.take(16)? + 1,
            8..=15 => 256 << (size_code - 8),
            _ => return Err(corrupt("a frame's number of samples")),
        };
        match rate_code {
            0..=11 => {}
            12 => _ = bits.take(8)?,
            13 | 14 => _ = bits.take(16)?,
            _ => return Err(corrupt("a frame's sample rate")),
        }
        bits.take(8)?;
        Ok(n_samples as usize)
    }

    fn subframe(&mut self, n_samples: usize) -> Result<Vec<i32>, Error> {
        let bits = &mut self.0;
        if bits.take(1)? != 0 {
            return Err(corrupt("a subframe does not begin where it should"));
        }
        let kind = bits.take(6)?;
        let n_wasted = if bits.take(1)? == 0 { 0 } else { bits.take_unary()? + 1 };
        if n_wasted > 7 {
            return Err(corrupt("a subframe without bits"));
        }
        let sample_bits = 8 - n_wasted as u32;
        let mut samples = match kind {
            0 => vec![bits.take_signed(sample_bits)?; n_samples],
            1 => (0..n_samples).map(|_| bits.take_signed(sample_bits)).collect::<Result<_, _>>()?,
            8..=12 => {
                let order = kind as usize - 8;
                let mut samples = self.warm_up(order, sample_bits, n_samples)?;
                let coefficients = [&[][..], &[1], &[2, -1], &[3, -3, 1], &[4, -6, 4, -1]][order];
                self.residuals(&mut samples, order)?;
                predict(&mut samples, coefficients, 0, sample_bits)?;
                samples
            }
            32..=63 => {
                let order = kind as usize - 31;
                let mut samples = self.warm_up(order, sample_bits, n_samples)?;
                let precision = self.0.take(4)? + 1;
                let shift = self.0.take(5)?;
                if precision > 15 || shift > 15 {
                    return Err(corrupt("the precision or the shift of a prediction"));
                }
                let coefficients = (0..order).map(|_| self.0.take_signed(precision)).collect::<Result<Vec<_>, _>>()?;
                self.residuals(&mut samples, order)?;
                predict(&mut samples, &coefficients, shift, sample_bits)?;
                samples
            }
            _ => return Err(corrupt("an unknown kind of subframe")),
        };
        samples.iter_mut().for_each(|sample| *sample <<= n_wasted);
        Ok(samples)
    }

    /// The samples before the first that is predicted, with room for the others.
    fn warm_up(&mut self, order: usize, sample_bits: u32, n_samples: usize) -> Result<Vec<i32>, Error> {
        if order > n_samples {
            return Err(corrupt("a prediction from more samples than there are"));
        }
        let mut samples = Vec::with_capacity(n_samples);
        for _ in 0..order {
            samples.push(self.0.take_signed(sample_bits)?);
        }
        samples.resize(n_samples, 0);
        Ok(samples)
    }

    /// Reads what the samples beyond the first `order` differ from their predictions.
    fn residuals(&mut self, samples: &mut [i32], order: usize) -> Result<(), Error> {
        let bits = &mut self.0;
        let parameter_bits = match bits.take(2)? {
            0 => 4,
            1 => 5,
            _ => return Err(corrupt("an unknown coding of residuals")),
        };
        let n_partitions = 1 << bits.take(4)?;
        let partition_len = samples.len() / n_partitions;
        if !samples.len().is_multiple_of(n_partitions) || partition_len < order {
            return Err(corrupt("the number of partitions"));
        }
        for (i, partition) in samples.chunks_exact_mut(partition_len.max(1)).enumerate() {
            let start = if i == 0 { order } else { 0 };
            let parameter = bits.take(parameter_bits)?;
            let is_escape = parameter == (1 << parameter_bits) - 1;
            let width = if is_escape { bits.take(5)? } else { 0 };
            for residual in &mut partition[start..] {
                *residual = if is_escape { bits.take_signed(width)? } else { rice(bits, parameter)? };
            }
        }
        Ok(())
    }
}

/// A residual in Rice's code of a parameter below 31.
fn rice(bits: &mut Bits<'_>, parameter: u32) -> Result<i32, Error> {
    let (high, low) = (bits.take_unary()?, bits.take(parameter)?);
    let folded = high.checked_mul(1 << parameter).and_then(|high| u32::try_from(high | u64::from(low)).ok());
    let folded = folded.ok_or_else(|| corrupt("a residual beyond 32 bits"))?;
    Ok((folded >> 1) as i32 ^ -((folded & 1) as i32))
}

/// Turns residuals into samples, each of which must fit in its bits.
fn predict(samples: &mut [i32], coefficients: &[i32], shift: u32, sample_bits: u32) -> Result<(), Error> {
    let limit = 1i64 << (sample_bits - 1);
    for at in coefficients.len()..samples.len() {
        let (known, rest) = samples.split_at_mut(at);
        let sum: i64 = known.iter().rev().zip(coefficients).map(|(&x, &c)| i64::from(x) * i64::from(c)).sum();
        let sample = i64::from(rest[0]) + (sum >> shift);
        if !(-limit..limit).contains(&sample) {
            return Err(corrupt("a sample beyond its bits"));
        }
        rest[0] = sample as i32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(bytes: &[u8]) -> Bits<'_> {
        Bits { rest: bytes, held: 0, n_held: 0 }
    }

    #[test]
    fn numbers_of_bits() {
        let mut reader = bits(&[0b1010_0111, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff]);
        assert_eq!(reader.take(0).unwrap(), 0);
        assert_eq!(reader.take(3).unwrap(), 0b101);
        assert_eq!(reader.take_signed(0).unwrap(), 0);
        assert_eq!(reader.take_signed(4).unwrap(), 3);
        assert_eq!(reader.take_signed(2).unwrap(), -1);
        assert_eq!(reader.take_unary().unwrap(), 7 + 8 * 8 + 7);
        assert_eq!(reader.take(7).unwrap(), 0x7f);
        assert!(!reader.is_at_end());
        reader.skip_to_byte();
        assert!(reader.is_at_end());
        assert!(reader.take(1).is_err() && reader.take_unary().is_err());
        assert_eq!(bits(&[0x80, 0, 0, 1]).take(32).unwrap(), 0x8000_0001);
        assert_eq!(bits(&[0x80, 0, 0, 1]).take_signed(31).unwrap(), -(1 << 30));
        assert_eq!(bits(&[0, 0, 1]).take_unary().unwrap(), 23);
    }

    /// The examples of RFC 9639, appendix D, have other sample sizes, so these frames are made by hand.
    fn frame(subframe: &[u8], n_samples: u8) -> Vec<u8> {
        [&[0xff, 0xf8, 0x60, 0x02, 0, n_samples - 1, 0], subframe, &[0, 0]].concat()
    }

    fn decode(frame: &[u8], raw_len: usize) -> Result<Vec<u8>, Error> {
        Frames::new(frame).decode(raw_len)
    }

    #[test]
    fn kinds_of_subframes() {
        // Constant, and constant with four wasted bits.
        assert_eq!(decode(&frame(&[0, 0x7f], 3), 3).unwrap(), [255; 3]);
        assert_eq!(decode(&frame(&[0x01, 0b0001_1000], 3), 3).unwrap(), [0x80 - 0x80; 3]);
        // Verbatim.
        assert_eq!(decode(&frame(&[0x02, 1, 0x80, 0xff], 3), 3).unwrap(), [129, 0, 127]);
        // Second order: 1, 2, then residuals 0 and -1 with Rice parameter 0: 3, 3.
        let fixed = frame(&[0b0001_0100, 1, 2, 0b0000_0000, 0b0010_1000], 4);
        assert_eq!(decode(&fixed, 4).unwrap(), [129, 130, 131, 131]);
        // The same, with residuals of 2 bits as they are.
        let escaped = frame(&[0b0001_0100, 1, 2, 0b0000_0011, 0b1100_0100, 0b0110_0000], 4);
        assert_eq!(decode(&escaped, 4).unwrap(), [129, 130, 131, 131]);
        // Order 1, precision 4, shift 1, coefficient 2, residual 0.
        let lpc = frame(&[0b0100_0000, 5, 0b0011_0000, 0b1001_0000, 0b0000_0001, 0b1000_0000], 3);
        assert_eq!(decode(&lpc, 3).unwrap(), [133, 133, 133]);
    }

    #[test]
    fn what_no_frame_may_say() {
        let good = frame(&[0x02, 1, 0x80, 0xff], 3);
        for raw_len in [0, 2, 4] {
            assert!(decode(&good, raw_len).is_err(), "{raw_len}");
        }
        // More partitions than samples.
        assert!(decode(&frame(&[0b0001_0000, 0b0011_1100, 0xff, 0xff], 3), 3).is_err());
        // Order 4 of 3 samples; all bits wasted; a sum beyond 8 bits; two channels.
        assert!(decode(&frame(&[0b0001_1000, 1, 1, 1, 1, 0, 0], 3), 3).is_err());
        assert!(decode(&frame(&[0x01, 0, 0, 1], 3), 3).is_err());
        assert!(decode(&frame(&[0b0001_0100, 0, 127, 0b0000_0000, 0b0011_0000], 4), 4).is_err());
        let mut stereo = good;
        stereo[3] |= 0x10;
        assert!(decode(&stereo, 3).is_err());
    }
}
