//! Fast compression of floating-point tensors: what can be had at the speed of memory.
//!
//! Values of a tensor are noise whose scale differs from row to row and from column to column. So the scales are sent (`scales`), each
//! value's exponent is taken relative to its scale, and sign, exponent and first mantissa bit are a symbol (`symbols`), coded by fixed
//! frequencies (`tables`, `lmgc_coder::RansEncoder`). The rest of the mantissa goes as it is (`planes`). `docs/fast.md` has the
//! payload.
//!
//! All loops over values are simple enough for the compiler to make vector instructions of them, and run inside an
//! [`lmgc_kernels::Kernel`], which says which ones there are.

mod planes;
mod scales;
mod symbols;
mod tables;
mod values;
mod view;
mod word;

use std::ops::Range;

use lmgc_coder::{
    RANS_STATE_BYTES, RansDecodeTable, RansDecoder, RansEncodeRounds, RansEncodeTable, RansEncoder, RansFrequencies,
};
use lmgc_kernels::{EncodeRounds, Kernel, Kernels, Simd};

use self::planes::Planes;
use self::scales::{Findings, Look, Scales};
use self::symbols::{Escape, ToSymbols};
use self::tables::{Tables, n_contexts, n_states};
use self::values::{Streams, ToValues};
use self::view::View;
use self::word::{Format, Word};
use crate::baselines::{self, Auto, Raw};
use crate::float_layout::bits_of;
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, NoProgress, Place, Progress};

/// Values that are worked on at once: few enough to stay in the first-level cache. Part of the format.
const CHUNK: usize = 2048;
/// Bytes of the lengths at the payload's start: words, escapes, bytes of plain bits, and of frequencies.
const HEADER_BYTES: usize = 4 + 4 + 4 + 2;
/// zstd's level for blocks of other types.
const OTHERS_ZSTD_LEVEL: i32 = 1;
/// A difference of scales whose symbol is this or more has this one, and stands among the escapes.
const LARGE_DIFFERENCE: u16 = 255;

/// The fast codec.
#[derive(Clone, Copy, Debug)]
pub struct Fast {
    kernels: Kernels,
}

impl Default for Fast {
    fn default() -> Self {
        Self::new()
    }
}

impl Fast {
    /// The codec with the fastest kernels of this machine; they change the speed and nothing else.
    pub fn new() -> Self {
        Self::with_kernels(Kernels::detect())
    }

    /// The codec with given kernels.
    pub fn with_kernels(kernels: Kernels) -> Self {
        Self { kernels }
    }
}

fn corrupt(what: impl Into<String>) -> Error {
    Error::corrupt_block(format!("fast: {}", what.into()))
}

/// What is sent of a piece before its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Description {
    /// All elements are the same.
    Constant(u64),
    Values {
        low_bits: u32,
        is_compact: bool,
        is_matrix: bool,
    },
}

impl Description {
    /// In the place of the number of low bits.
    const CONSTANT: u8 = 63;
    const COMPACT: u8 = 1 << 6;
    const MATRIX: u8 = 1 << 7;

    fn write(self, format: Format, payload: &mut Vec<u8>) {
        match self {
            Self::Constant(bits) => {
                payload.push(Self::CONSTANT);
                payload.extend_from_slice(&bits.to_le_bytes()[..format.n_bytes]);
            }
            Self::Values { low_bits, is_compact, is_matrix } => {
                let flag = |is_set: bool, flag: u8| if is_set { flag } else { 0 };
                payload.push(low_bits as u8 | flag(is_compact, Self::COMPACT) | flag(is_matrix, Self::MATRIX));
            }
        }
    }

    fn read(format: Format, payload: &mut &[u8]) -> Result<Self, Error> {
        let byte = take(payload, 1)?[0];
        if byte == Self::CONSTANT {
            return Ok(Self::Constant(bits_of(take(payload, format.n_bytes)?)));
        }
        let low_bits = u32::from(byte % 64);
        if low_bits > format.mantissa_bits {
            return Err(corrupt("more bits are left out than there are"));
        }
        let (is_compact, is_matrix) = (byte & Self::COMPACT != 0, byte & Self::MATRIX != 0);
        Ok(Self::Values { low_bits, is_compact, is_matrix })
    }
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = bytes.split_at_checked(n).ok_or_else(|| corrupt("the payload is too short"))?;
    *bytes = rest;
    Ok(taken)
}

/// A piece's whole elements, the view of them that its shape gives, and the bytes behind them.
struct Part {
    elements: Range<usize>,
    matrix: Option<View>,
    tail: Range<usize>,
}

/// The pieces of a block; `None` if they do not add up to it.
fn parts(place: Place<'_>, format: Format, raw_len: usize) -> Option<Vec<Part>> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for (at, len) in place.piece_lens(raw_len)?.into_iter().enumerate() {
        let n_values = len / format.n_bytes;
        let end = start + n_values * format.n_bytes;
        let matrix = place.pieces.get(at).and_then(|piece| View::matrix(piece, n_values, format.n_bytes));
        parts.push(Part { elements: start..end, matrix, tail: end..start + len });
        start += len;
    }
    Some(parts)
}

/// How far apart two scales are; 0, -1, 1, -2 become 0, 1, 2, 3.
fn zigzag(scale: i16, before: i16) -> u16 {
    let difference = scale.wrapping_sub(before);
    (difference << 1 ^ difference >> 15) as u16
}

fn unzigzag(zigzag: u16, before: i16) -> i16 {
    before.wrapping_add((zigzag >> 1) as i16 ^ -((zigzag & 1) as i16))
}

/// Encodes runs, compiled for what instructions there are.
struct EncodeRuns<'a> {
    encoder: &'a mut RansEncoder,
    table: &'a RansEncodeTable,
    indices: &'a [u16],
}

impl Kernel for EncodeRuns<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for run in self.indices.chunks(CHUNK).rev() {
            self.encoder.encode_with(self.table, run, |rounds| {
                let RansEncodeRounds { states, words, n_free, entries, rounds } = rounds;
                simd.encode_rounds(EncodeRounds { states, words, n_free, entries, rounds })
            });
        }
    }
}

impl BlockCodec for Fast {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let BlockInput { bytes, place, .. } = input;
        let format = Format::of(place.dtype);
        let coded = match format.map(|format| (format, format.n_bytes)) {
            Some((format, 2)) => Some(self.encode_words::<u16>(format, bytes, place)?),
            Some((format, 4)) => Some(self.encode_words::<u32>(format, bytes, place)?),
            Some((format, _)) => Some(self.encode_words::<u64>(format, bytes, place)?),
            None => None,
        };
        let best = match coded {
            Some(payload) if payload.len() < bytes.len() => Encoded::plain(CodecId::Fast, payload),
            Some(_) => Raw.encode(input, &NoProgress)?,
            None => Auto::plain(OTHERS_ZSTD_LEVEL).encode(input, &NoProgress)?,
        };
        progress.advance(bytes.len() as u64);
        Ok(best)
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let dtype = block.place.dtype;
        let format = Format::of(dtype).ok_or_else(|| corrupt(format!("a block of {dtype}")))?;
        let bytes = match format.n_bytes {
            2 => self.decode_words::<u16>(format, block)?,
            4 => self.decode_words::<u32>(format, block)?,
            _ => self.decode_words::<u64>(format, block)?,
        };
        progress.advance(bytes.len() as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        baselines::BLOCK_BYTES
    }

    fn wants_whole_tensors(&self) -> bool {
        true
    }
}

impl Fast {
    fn encode_words<W: Word + Into<u64>>(
        &self,
        format: Format,
        bytes: &[u8],
        place: Place<'_>,
    ) -> Result<Vec<u8>, Error> {
        let parts = parts(place, format, bytes.len()).ok_or_else(|| Error::CodecRefuses {
            codec: CodecId::Fast,
            reason: format!("the block's tensors do not add up to its {} bytes", bytes.len()),
        })?;
        let n_contexts = n_contexts(parts.iter().map(|part| part.elements.len()).sum::<usize>() / format.n_bytes);
        let mut scratch = symbols::Scratch::<W>::new();
        let mut payload = Vec::with_capacity(bytes.len());
        payload.resize(HEADER_BYTES, 0);
        let mut descriptions = Vec::new();
        // The elements of pieces that are not constant, and their scales.
        let mut pieces = Vec::new();
        let mut indices = Vec::with_capacity(bytes.len() / format.n_bytes);
        let mut counts = Box::new([[0u32; 1024]; 4]);
        for part in parts.iter().filter(|part| !part.elements.is_empty()) {
            let bytes = &bytes[part.elements.clone()];
            let look = Look { format, bytes, matrix: part.matrix, words: &mut scratch.words };
            let Findings { constant, low_bits, n_zeros, view, mut scales, weights } = self.kernels.run(look);
            if let Some(bits) = constant {
                Description::Constant(bits).write(format, &mut descriptions);
                continue;
            }
            // Where there are few zeros, their plain bits are not worth the time.
            let is_compact = n_zeros > view.n_values / 16;
            Description::Values { low_bits, is_compact, is_matrix: view.is_matrix }.write(format, &mut descriptions);
            self.kernels.run(ToSymbols {
                format,
                view,
                scales: &mut scales,
                weights: &weights,
                planes: Planes::new(format, low_bits),
                is_compact,
                has_zeros: n_zeros > 0,
                n_contexts,
                bytes,
                scratch: &mut scratch,
                indices: &mut indices,
                plain: &mut payload,
                counts: &mut counts,
            });
            pieces.push((bytes, scales));
        }
        let n_plain = payload.len() - HEADER_BYTES;
        payload.extend_from_slice(&descriptions);
        let (mut n_words, mut escapes, mut n_table_bytes) = (0, Vec::new(), 0);
        if !pieces.is_empty() {
            let counts = (0..n_contexts).map(|context| {
                std::array::from_fn(|symbol| counts.iter().map(|counts| counts[256 * context + symbol]).sum())
            });
            let (of_scales, of_large) = scale_symbols(pieces.iter().map(|piece| &piece.1));
            escapes = of_large;
            let mut counts_of_scales = [0; 256];
            of_scales.iter().for_each(|&symbol| counts_of_scales[usize::from(symbol)] += 1);
            let (tables, n_escapes) = Tables::new(counts.collect(), &counts_of_scales);
            if n_escapes > 0 {
                let mut rest = indices.as_mut_slice();
                for (bytes, _) in &pieces {
                    let (indices, later) = rest.split_at_mut(bytes.len() / format.n_bytes);
                    rest = later;
                    let escapes = &mut escapes;
                    self.kernels.run(Escape { format, range: tables.range(), bytes, indices, escapes });
                }
            }
            let packed = tables.pack();
            n_table_bytes = packed.len();
            payload.extend_from_slice(&packed);
            let mut encoder = RansEncoder::new(n_states(n_contexts));
            let table = RansEncodeTable::new(&tables.values);
            let mut rest = indices.as_slice();
            for (bytes, _) in pieces.iter().rev() {
                let (earlier, indices) = rest.split_at(rest.len() - bytes.len() / format.n_bytes);
                rest = earlier;
                self.kernels.run(EncodeRuns { encoder: &mut encoder, table: &table, indices });
            }
            encoder.encode(&RansEncodeTable::new(&[tables.scales]), &of_scales);
            n_words = encoder.n_words();
            encoder.finish(&mut payload);
        }
        escapes.iter().for_each(|escape| payload.extend_from_slice(&escape.to_le_bytes()));
        parts.iter().for_each(|part| payload.extend_from_slice(&bytes[part.tail.clone()]));
        let (header, _) = payload.split_at_mut(HEADER_BYTES);
        header[..4].copy_from_slice(&(n_words as u32).to_le_bytes());
        header[4..8].copy_from_slice(&(escapes.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(n_plain as u32).to_le_bytes());
        header[12..].copy_from_slice(&(n_table_bytes as u16).to_le_bytes());
        Ok(payload)
    }

    fn decode_words<W: Word>(&self, format: Format, block: EncodedBlock<'_>) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, n_lanes, place } = block;
        let parts = parts(place, format, raw_len).ok_or_else(|| corrupt("the tensors do not fit the block"))?;
        if n_lanes != 0 {
            return Err(corrupt(format!("{n_lanes} lanes")));
        }
        let mut rest = payload;
        let header = take(&mut rest, HEADER_BYTES)?;
        let [n_words, n_escapes, n_plain] = [0, 4, 8].map(|at| bits_of(&header[at..at + 4]) as usize);
        let n_table_bytes = bits_of(&header[12..]) as usize;
        let plain = take(&mut rest, n_plain)?;
        let (mut descriptions, mut views) = (Vec::new(), Vec::new());
        for part in parts.iter().filter(|part| !part.elements.is_empty()) {
            let description = Description::read(format, &mut rest)?;
            let mut view = View::flat(part.elements.len() / format.n_bytes);
            if let Description::Values { is_matrix, .. } = description {
                if is_matrix {
                    view = part.matrix.ok_or_else(|| corrupt("a tensor is no matrix"))?;
                }
                views.push(view);
            }
            descriptions.push((description, view));
        }
        let has_values = !views.is_empty();
        let packed = take(&mut rest, n_table_bytes)?;
        let tables = if has_values { Some(Tables::unpack(packed)?) } else { None };
        let n_state_bytes = tables.as_ref().map_or(0, |tables| RANS_STATE_BYTES * n_states(tables.values.len()));
        let coded = take(&mut rest, n_state_bytes + 2 * n_words)?;
        let escapes = take(&mut rest, 2 * n_escapes)?;
        if rest.len() != parts.iter().map(|part| part.tail.len()).sum::<usize>() {
            return Err(corrupt("the payload's length does not fit"));
        }
        if !has_values && n_words + n_escapes + n_plain + n_table_bytes > 0 {
            return Err(corrupt("values that there are not"));
        }
        let values = tables.map(|tables| Values::new(&tables, coded, escapes, plain, &views));
        let mut values = values.transpose()?;
        let mut scratch = values::Scratch::<W>::new();
        let mut bytes = Vec::with_capacity(raw_len);
        let mut descriptions = descriptions.into_iter();
        for part in &parts {
            if !part.elements.is_empty()
                && let Some((description, view)) = descriptions.next()
            {
                match (description, &mut values) {
                    (Description::Values { low_bits, is_compact, .. }, Some(values)) => {
                        let scales = &values.scales.next().ok_or_else(|| corrupt("scales are missing"))?;
                        self.kernels.run(ToValues {
                            format,
                            view,
                            scales,
                            planes: Planes::new(format, low_bits),
                            is_compact,
                            table: &values.table,
                            n_contexts: values.n_contexts,
                            streams: &mut values.streams,
                            scratch: &mut scratch,
                            out: &mut bytes,
                        })?;
                    }
                    (Description::Values { .. }, None) => return Err(corrupt("values without frequencies")),
                    (Description::Constant(bits), _) => {
                        let element = &bits.to_le_bytes()[..format.n_bytes];
                        bytes.extend_from_slice(&element.repeat(part.elements.len() / format.n_bytes));
                    }
                }
            }
            let tail;
            (tail, rest) = rest.split_at(part.tail.len());
            bytes.extend_from_slice(tail);
        }
        if let Some(values) = values {
            values.finish()?;
        }
        Ok(bytes)
    }
}

/// The symbols of all pieces' scales, and the differences that have none of their own.
fn scale_symbols<'a>(pieces: impl Iterator<Item = &'a Scales>) -> (Vec<u16>, Vec<u16>) {
    let (mut symbols, mut large, mut last) = (Vec::new(), Vec::new(), 0);
    for scales in pieces {
        let mut push = |scale: i16, before: i16| {
            let difference = zigzag(scale, before);
            symbols.push(difference.min(LARGE_DIFFERENCE));
            if difference >= LARGE_DIFFERENCE {
                large.push(difference);
            }
            scale
        };
        for &scale in &scales.rows {
            last = push(scale, last);
        }
        let mut before = 0;
        for &scale in &scales.columns {
            before = push(scale, before);
        }
    }
    (symbols, large)
}

/// The other way round; takes the differences that have no symbol from `large`.
fn scales_of_symbols(mut symbols: &[u8], views: &[View], large: &mut &[[u8; 2]]) -> Result<Vec<Scales>, Error> {
    let mut take = |n: usize, mut before: i16| {
        let (now, later) = symbols.split_at(n);
        symbols = later;
        let mut scales = Vec::with_capacity(n);
        for &symbol in now {
            let mut difference = u16::from(symbol);
            if difference == LARGE_DIFFERENCE {
                let (first, rest) = large.split_first().ok_or_else(|| corrupt("a difference is missing"))?;
                *large = rest;
                difference = u16::from_le_bytes(*first);
            }
            before = unzigzag(difference, before);
            scales.push(before);
        }
        Ok::<_, Error>(scales)
    };
    let mut last = 0;
    let mut all = Vec::with_capacity(views.len());
    for view in views {
        let rows = take(view.n_rows(), last)?;
        last = rows.last().copied().unwrap_or(last);
        all.push(Scales { rows, columns: take(view.n_column_scales(), 0)? });
    }
    Ok(all)
}

/// What is read of a block's values.
struct Values<'a> {
    n_contexts: usize,
    table: RansDecodeTable,
    streams: Streams<'a>,
    scales: std::vec::IntoIter<Scales>,
}

impl<'a> Values<'a> {
    fn new(
        tables: &Tables,
        coded: &'a [u8],
        escapes: &'a [u8],
        plain: &'a [u8],
        views: &[View],
    ) -> Result<Self, Error> {
        let table = |contexts: &[RansFrequencies]| RansDecodeTable::new(contexts).ok_or_else(|| corrupt("frequencies"));
        let mut decoder = RansDecoder::new(n_states(tables.values.len()), coded)?;
        let mut symbols = vec![0; views.iter().map(View::n_scales).sum()];
        decoder.decode(&table(&[tables.scales])?, &[], &mut symbols)?;
        let (mut escapes, _) = escapes.as_chunks();
        let scales = scales_of_symbols(&symbols, views, &mut escapes)?;
        Ok(Self {
            n_contexts: tables.values.len(),
            table: table(&tables.values)?,
            streams: Streams { decoder, escapes, plain },
            scales: scales.into_iter(),
        })
    }

    /// Nothing may be left over.
    fn finish(self) -> Result<(), Error> {
        let Streams { decoder, escapes, plain } = self.streams;
        decoder.finish()?;
        if !escapes.is_empty() || !plain.is_empty() {
            return Err(corrupt("escapes or plain bits are left over"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_come_back() {
        for before in [0, 1, -1, 300, i16::MIN, i16::MAX] {
            for scale in [0, 1, -1, -2, 127, 128, 4000, i16::MIN, i16::MAX] {
                assert_eq!(unzigzag(zigzag(scale, before), before), scale);
            }
        }
        assert_eq!([0, -1, 1, -2].map(|scale| zigzag(scale, 0)), [0, 1, 2, 3]);
    }
}
