//! Symbols and plain bits back to values.

use lmgc_coder::{RansDecodeRounds, RansDecodeTable, RansDecoder};
use lmgc_kernels::{DecodeRounds, Kernel, Simd};

use super::planes::{Crumbs, Planes};
use super::scales::Scales;
use super::symbols::{ESCAPE, EXPONENT_BIAS};
use super::view::View;
use super::word::{Format, Word};
use super::{CHUNK, corrupt};
use crate::Error;

/// Room for a chunk on its way back.
pub(super) struct Scratch<W> {
    words: Vec<W>,
    scales: Vec<i16>,
    contexts: Vec<u8>,
    /// Some more than a chunk, for whole groups.
    symbols: Vec<u8>,
    crumbs: Box<Crumbs>,
    bytes: Vec<u8>,
    /// Where escapes are in the chunk, and their exponents.
    escaped: Vec<(usize, u16)>,
}

impl<W: Word> Scratch<W> {
    pub(super) fn new() -> Self {
        Self {
            words: vec![W::default(); CHUNK],
            scales: vec![0; CHUNK],
            contexts: vec![0; CHUNK],
            symbols: vec![0; CHUNK],
            crumbs: Box::new([0; CHUNK + 8]),
            bytes: vec![0; CHUNK * W::BITS as usize / 8],
            escaped: Vec::new(),
        }
    }
}

/// What is read of a block, from value to value.
pub(super) struct Streams<'a> {
    pub(super) decoder: RansDecoder<'a>,
    pub(super) escapes: &'a [[u8; 2]],
    pub(super) plain: &'a [u8],
}

/// Appends the values of a piece.
pub(super) struct ToValues<'a, 'b, W> {
    pub(super) format: Format,
    pub(super) view: View,
    pub(super) scales: &'a Scales,
    pub(super) planes: Planes,
    /// Whether +0.0 has no plain bits.
    pub(super) is_compact: bool,
    pub(super) table: &'a RansDecodeTable,
    pub(super) n_contexts: usize,
    pub(super) streams: &'a mut Streams<'b>,
    pub(super) scratch: &'a mut Scratch<W>,
    pub(super) out: &'a mut Vec<u8>,
}

impl<W: Word> Kernel for ToValues<'_, '_, W> {
    type Output = Result<(), Error>;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Result<(), Error> {
        let Self { format, view, planes, is_compact, table, n_contexts, streams, scratch, out, .. } = self;
        let mut start = 0;
        // The sign of the last value that is not zero.
        let mut sign = 0u8;
        while start < view.n_values {
            let n = (view.n_values - start).min(CHUNK);
            let scales = &mut scratch.scales[..n];
            self.scales.fill(view, start, scales);
            start += n;
            let symbols = &mut scratch.symbols[..n];
            let contexts = if n_contexts > 1 {
                let contexts = &mut scratch.contexts[..n];
                for (context, &scale) in contexts.iter_mut().zip(scales.iter()) {
                    *context = scale as u8 % super::tables::N_CONTEXTS as u8;
                }
                &*contexts
            } else {
                &[]
            };
            streams.decoder.decode_with(table, contexts, symbols, |rounds| decode_rounds(simd, rounds))?;
            take_escapes(symbols, &mut streams.escapes, &mut scratch.escaped)?;
            sign = to_signs(symbols, sign);
            let mut n_with_plain = n;
            if is_compact {
                n_with_plain = 0;
                for &symbol in symbols.iter() {
                    n_with_plain += usize::from(symbol >= 4);
                }
            }
            let plain = streams.plain.split_at_checked(planes.len(n_with_plain));
            let (plain, rest) = plain.ok_or_else(|| corrupt("plain bits are missing"))?;
            streams.plain = rest;
            let words = &mut scratch.words[..n];
            planes.unpack(plain, &mut scratch.crumbs, &mut words[..n_with_plain]);
            if is_compact {
                // To their places, from the last one on, so that none is overwritten before it has moved.
                let mut n_left = n_with_plain;
                for (at, &symbol) in symbols.iter().enumerate().rev() {
                    n_left -= usize::from(symbol >= 4);
                    words[at] = words[n_left.min(at)];
                }
            }
            let exponent_mask = (1u16 << format.exponent_bits) - 1;
            for ((word, &symbol), &scale) in words.iter_mut().zip(symbols.iter()).zip(scales.iter()) {
                let exponent =
                    u16::from(symbol >> 2).wrapping_add(((scale >> 2) - EXPONENT_BIAS) as u16) & exponent_mask;
                let sign = u16::from(symbol >> 1 & 1) << format.exponent_bits;
                let top = (sign | exponent) << 1 | u16::from(symbol & 1);
                let value = *word | W::from_u16(top) << (format.mantissa_bits - 1);
                *word = if symbol < 4 { W::default() } else { value };
            }
            for &(at, exponent) in &scratch.escaped {
                if exponent > exponent_mask {
                    return Err(corrupt(format!("an exponent of {exponent}")));
                }
                let others = !(u64::from(exponent_mask) << format.mantissa_bits);
                words[at] = words[at] & W::from_u64(others) | W::from_u16(exponent) << format.mantissa_bits;
            }
            let bytes = &mut scratch.bytes[..n * format.n_bytes];
            W::store(words, bytes);
            out.extend_from_slice(bytes);
        }
        Ok(())
    }
}

/// Whole rounds, with what instructions there are.
#[inline(always)]
fn decode_rounds<S: Simd>(simd: S, rounds: RansDecodeRounds<'_>) -> (usize, usize) {
    let RansDecodeRounds { states, words, slots, contexts, symbols } = rounds;
    simd.decode_rounds(DecodeRounds { states, words, slots, contexts, symbols })
}

/// Finds the escapes of a chunk, and gives them symbols of values.
#[inline(always)]
fn take_escapes(symbols: &mut [u8], escapes: &mut &[[u8; 2]], found: &mut Vec<(usize, u16)>) -> Result<(), Error> {
    const GROUP: usize = 64;
    found.clear();
    for (group, symbols) in symbols.chunks_mut(GROUP).enumerate() {
        let mut any = false;
        for &mut symbol in symbols.iter_mut() {
            any |= symbol == ESCAPE;
        }
        if !any {
            continue;
        }
        for (at, symbol) in symbols.iter_mut().enumerate() {
            if *symbol == ESCAPE {
                let (escape, rest) = escapes.split_first().ok_or_else(|| corrupt("an escape is missing"))?;
                *escapes = rest;
                let escape = u16::from_le_bytes(*escape);
                found.push((group * GROUP + at, escape >> 2));
                *symbol = 4 | (escape & 3) as u8;
            }
        }
    }
    Ok(())
}

/// Replaces bit 1 of each symbol, whether its sign is another than the one before, by the sign. Returns the last sign.
#[inline(always)]
fn to_signs(symbols: &mut [u8], mut sign: u8) -> u8 {
    const BIT_0: u64 = u64::MAX / 0xff;
    let (groups, rest) = symbols.as_chunks_mut::<8>();
    let mut before = u64::from(sign);
    for group in groups {
        let eight = u64::from_le_bytes(*group);
        // In byte i: whether the signs of the values up to i differ from the group's first an odd number of times.
        let mut parity = eight >> 1 & BIT_0;
        parity ^= parity << 8;
        parity ^= parity << 16;
        parity ^= parity << 32;
        let signs = parity ^ (before * BIT_0);
        before ^= parity >> 56;
        *group = (eight & !(2 * BIT_0) | signs << 1).to_le_bytes();
    }
    sign = before as u8;
    for symbol in rest {
        sign ^= *symbol >> 1 & 1;
        *symbol = *symbol & !2 | sign << 1;
    }
    sign
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_those_before_or_not() {
        let mut state = 7u32;
        for n in [0, 1, 7, 8, 9, 64, 100] {
            for first in [0, 1] {
                let changes: Vec<u8> = (0..n)
                    .map(|_| {
                        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                        (state >> 24) as u8
                    })
                    .collect();
                let mut symbols = changes.clone();
                let last = to_signs(&mut symbols, first);
                let mut sign = first;
                for (&symbol, &change) in symbols.iter().zip(&changes) {
                    sign ^= change >> 1 & 1;
                    assert_eq!((symbol >> 1 & 1, symbol & !2), (sign, change & !2));
                }
                assert_eq!(last, sign);
            }
        }
    }
}
