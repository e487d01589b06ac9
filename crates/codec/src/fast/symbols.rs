//! Values to symbols and plain bits.
//!
//! A symbol holds how far a value's exponent is from its scale's, whether its sign is that of the value before that is not zero, and the
//! mantissa's first bit.

use lmgc_kernels::{Kernel, Simd};

use super::CHUNK;
use super::planes::{Crumbs, Planes};
use super::scales::{Scales, weighted_scale};
use super::view::View;
use super::word::{Format, Word};

/// The symbol of +0.0.
pub(super) const ZERO: u8 = 0;
/// The symbol of a value whose exponent is sent.
pub(super) const ESCAPE: u8 = 1;
/// Residual exponents of symbols. One larger stands for all others until the escapes are made.
pub(super) const FIRST_EXPONENT: u8 = 1;
pub(super) const LAST_EXPONENT: u8 = 62;
/// The residual exponent of a value whose exponent is its scale's.
pub(super) const EXPONENT_BIAS: i16 = 31;

/// How often symbols occur in each context, in four parts: a counter is slow that grows right after it has grown.
pub(super) type Counts = [[u32; 1024]; 4];

/// Room for what is made of a chunk.
pub(super) struct Scratch<W> {
    /// The chunk's values behind the last one before that is not zero.
    pub(super) words: Vec<W>,
    /// For each value the last one before it that is not zero.
    pub(super) previous: Vec<W>,
    pub(super) scales: Vec<i16>,
    pub(super) indices: Vec<u16>,
    pub(super) crumbs: Box<Crumbs>,
}

impl<W: Word> Scratch<W> {
    pub(super) fn new() -> Self {
        Self {
            words: vec![W::default(); CHUNK + 1],
            previous: vec![W::default(); CHUNK],
            scales: vec![0; CHUNK],
            indices: vec![0; CHUNK],
            crumbs: Box::new([0; CHUNK + 8]),
        }
    }
}

/// Makes symbols and plain bits of a piece.
pub(super) struct ToSymbols<'a, W> {
    pub(super) format: Format,
    pub(super) view: View,
    /// Scales of the rows are filled in where there are weights.
    pub(super) scales: &'a mut Scales,
    pub(super) weights: &'a [f32],
    pub(super) planes: Planes,
    /// Whether +0.0 has no plain bits.
    pub(super) is_compact: bool,
    pub(super) has_zeros: bool,
    pub(super) n_contexts: usize,
    /// Whole elements.
    pub(super) bytes: &'a [u8],
    pub(super) scratch: &'a mut Scratch<W>,
    /// Each symbol as 256 * context + symbol, appended.
    pub(super) indices: &'a mut Vec<u16>,
    pub(super) plain: &'a mut Vec<u8>,
    pub(super) counts: &'a mut Counts,
}

impl<W: Word> Kernel for ToSymbols<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { format, view, scales, weights, planes, bytes, scratch, indices, plain, .. } = self;
        let mut rows = bytes.chunks(view.n_columns * format.n_bytes);
        scratch.words[0] = W::default();
        let mut start = 0;
        for part in bytes.chunks(CHUNK * format.n_bytes) {
            let n = part.len() / format.n_bytes;
            if !weights.is_empty() {
                // Now that the row is on its way to the cache.
                while scales.rows.len() * view.n_columns < start + n
                    && let Some(row) = rows.next()
                {
                    let before = scales.rows.last().copied().unwrap_or_default();
                    let scale = weighted_scale(format, row, weights, &mut scratch.previous);
                    scales.rows.push(scale.unwrap_or(before));
                }
            }
            W::load(part, &mut scratch.words[1..=n]);
            scales.fill(view, start, &mut scratch.scales[..n]);
            start += n;
            let mut last = scratch.words[n];
            let previous = if self.has_zeros {
                last = scratch.words[0];
                for (previous, &word) in scratch.previous.iter_mut().zip(&scratch.words[1..=n]) {
                    *previous = last;
                    last = if word == W::default() { last } else { word };
                }
                &scratch.previous[..n]
            } else {
                &scratch.words[..n]
            };
            let now = &mut scratch.indices[..n];
            to_symbols(format, self.n_contexts, &scratch.words[1..=n], previous, &scratch.scales[..n], now);
            indices.extend_from_slice(now);
            count(now, self.counts);
            let values = if self.is_compact {
                let mut n_kept = 0;
                for at in 0..n {
                    let word = scratch.words[at + 1];
                    scratch.previous[n_kept] = word;
                    n_kept += usize::from(word != W::default());
                }
                &scratch.previous[..n_kept]
            } else {
                &scratch.words[1..=n]
            };
            planes.pack(values, &mut scratch.crumbs, plain);
            scratch.words[0] = last;
        }
    }
}

#[inline(always)]
fn to_symbols<W: Word>(
    format: Format,
    n_contexts: usize,
    words: &[W],
    previous: &[W],
    scales: &[i16],
    indices: &mut [u16],
) {
    let exponent_mask = (1u16 << format.exponent_bits) - 1;
    let context_mask = (n_contexts - 1) as u16;
    for (((&word, &previous), &scale), index) in words.iter().zip(previous).zip(scales).zip(indices) {
        // Sign, exponent and the mantissa's first bit.
        let top = (word >> (format.mantissa_bits - 1)).as_u16();
        let differs = ((word ^ previous) >> (W::BITS - 1)).as_u16();
        let exponent = (top >> 1 & exponent_mask).wrapping_sub(((scale >> 2) - EXPONENT_BIAS) as u16);
        let exponent = if exponent.wrapping_sub(1) < u16::from(LAST_EXPONENT) { exponent } else { 63 };
        let symbol = exponent << 2 | differs << 1 | top & 1;
        let symbol = if word == W::default() { u16::from(ZERO) } else { symbol };
        *index = symbol | (scale as u16 & context_mask) << 8;
    }
}

#[inline(always)]
fn count(indices: &[u16], counts: &mut Counts) {
    let (groups, rest) = indices.as_chunks::<4>();
    for group in groups {
        for (counts, &index) in counts.iter_mut().zip(group) {
            counts[usize::from(index) % 1024] += 1;
        }
    }
    for &index in rest {
        counts[0][usize::from(index) % 1024] += 1;
    }
}

/// Replaces symbols that have none, or whose frequency is 0, by escapes.
pub(super) struct Escape<'a> {
    pub(super) format: Format,
    /// The first and the last symbol that stands for a value.
    pub(super) range: [u8; 2],
    /// Whole elements.
    pub(super) bytes: &'a [u8],
    /// Their symbols.
    pub(super) indices: &'a mut [u16],
    /// For each escape four times the exponent and the symbol's lowest two bits, appended.
    pub(super) escapes: &'a mut Vec<u16>,
}

/// Symbols that are looked at together.
const GROUP: usize = 64;

impl Kernel for Escape<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { format, range: [first, last], bytes, indices, escapes } = self;
        let elements = bytes.chunks(GROUP * format.n_bytes);
        for (group, elements) in indices.chunks_mut(GROUP).zip(elements) {
            let mut any = false;
            for &mut index in group.iter_mut() {
                any |= is_outside(index, first, last);
            }
            if !any {
                continue;
            }
            for (index, element) in group.iter_mut().zip(elements.chunks_exact(format.n_bytes)) {
                if is_outside(*index, first, last) {
                    let bits = crate::float_layout::bits_of(element);
                    let exponent = (bits >> format.mantissa_bits) as u16 & ((1 << format.exponent_bits) - 1);
                    escapes.push(exponent << 2 | *index & 3);
                    *index = *index & 0xff00 | u16::from(ESCAPE);
                }
            }
        }
    }
}

#[inline(always)]
fn is_outside(index: u16, first: u8, last: u8) -> bool {
    let symbol = index as u8;
    (symbol != ZERO) & (symbol.wrapping_sub(first) > last - first)
}
