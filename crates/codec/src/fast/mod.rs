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

use lmgc_coder::{RANS_STATE_BYTES, RansDecodeTable, RansDecoder, RansEncodeTable, RansEncoder, RansFrequencies};
use lmgc_kernels::{Kernel, Kernels, Simd};

use self::planes::Planes;
use self::scales::{Look, Scales};
use self::symbols::{Escape, Known, ToSymbols};
use self::tables::{N_CONTEXTS, Tables, n_contexts};
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
    fn run<S: Simd>(self, _simd: S) {
        for run in self.indices.chunks(CHUNK).rev() {
            self.encoder.encode(self.table, run);
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
        let mut scratch = symbols::Scratch::<W>::new();
        let mut payload = Vec::with_capacity(bytes.len());
        payload.resize(HEADER_BYTES, 0);
        // Pieces that are not constant.
        let mut pieces = Vec::new();
        for part in parts.iter().filter(|part| !part.elements.is_empty()) {
            let elements = &bytes[part.elements.clone()];
            let words = &mut scratch.words;
            let found = self.kernels.run(Look { format, bytes: elements, matrix: part.matrix, words });
            let n_zeros = found.n_zeros;
            let description = match found.constant {
                Some(bits) => Description::Constant(bits),
                None => Description::Values {
                    low_bits: found.low_bits,
                    // Else the few bits are not worth the time.
                    is_compact: n_zeros > found.view.n_values / 16,
                    is_matrix: found.view.is_matrix,
                },
            };
            description.write(format, &mut payload);
            if let Description::Values { low_bits, is_compact, .. } = description {
                pieces.push((
                    elements,
                    found.view,
                    found.scales,
                    Planes::new(format, low_bits),
                    is_compact,
                    n_zeros > 0,
                ));
            }
        }
        let start_of_plain = payload.len();
        let n_values: usize = pieces.iter().map(|piece| piece.1.n_values).sum();
        let n_contexts = n_contexts(n_values);
        let mut indices = Vec::with_capacity(n_values);
        let mut counts = Box::new([[0u32; 1024]; 4]);
        for (elements, view, scales, planes, is_compact, has_zeros) in &pieces {
            let known = Known { format, view: *view, scales, planes: *planes, is_compact: *is_compact };
            self.kernels.run(ToSymbols {
                known,
                has_zeros: *has_zeros,
                n_contexts,
                bytes: elements,
                scratch: &mut scratch,
                indices: &mut indices,
                plain: &mut payload,
                counts: &mut counts,
            });
        }
        let n_plain = payload.len() - start_of_plain;
        let (mut n_words, mut escapes, mut n_table_bytes) = (0, Vec::new(), 0);
        if n_values > 0 {
            let counts = (0..n_contexts).map(|context| {
                std::array::from_fn(|symbol| counts.iter().map(|counts| counts[256 * context + symbol]).sum())
            });
            let (of_scales, of_large) = scale_symbols(pieces.iter().map(|piece| &piece.2));
            escapes = of_large;
            let mut counts_of_scales = [0; 256];
            of_scales.iter().for_each(|&symbol| counts_of_scales[usize::from(symbol)] += 1);
            let (tables, n_escapes) = Tables::new(counts.collect(), &counts_of_scales);
            if n_escapes > 0 {
                let mut rest = indices.as_mut_slice();
                for (elements, view, ..) in &pieces {
                    let (indices, later) = rest.split_at_mut(view.n_values);
                    rest = later;
                    let escapes = &mut escapes;
                    self.kernels.run(Escape { format, range: tables.range(), bytes: elements, indices, escapes });
                }
            }
            let packed = tables.pack();
            n_table_bytes = packed.len();
            payload.extend_from_slice(&packed);
            let mut encoder = RansEncoder::new(n_values + of_scales.len());
            let table = RansEncodeTable::new(&tables.values);
            let mut rest = indices.as_slice();
            for (_, view, ..) in pieces.iter().rev() {
                let (earlier, indices) = rest.split_at(rest.len() - view.n_values);
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
        let plain = take(&mut rest, n_plain)?;
        let packed = take(&mut rest, n_table_bytes)?;
        let coded = take(&mut rest, if has_values { RANS_STATE_BYTES } else { 0 } + 2 * n_words)?;
        let escapes = take(&mut rest, 2 * n_escapes)?;
        if rest.len() != parts.iter().map(|part| part.tail.len()).sum::<usize>() {
            return Err(corrupt("the payload's length does not fit"));
        }
        if !has_values && n_words + n_escapes + n_plain + n_table_bytes > 0 {
            return Err(corrupt("values that there are not"));
        }
        let mut values = if has_values { Some(Values::new(packed, coded, escapes, plain, &views)?) } else { None };
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
                        let planes = Planes::new(format, low_bits);
                        let known = Known { format, view, scales, planes, is_compact };
                        self.kernels.run(ToValues {
                            known,
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
                        bytes.extend(element.iter().copied().cycle().take(part.elements.len()));
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
    fn new(packed: &[u8], coded: &'a [u8], escapes: &'a [u8], plain: &'a [u8], views: &[View]) -> Result<Self, Error> {
        let tables = Tables::unpack(packed)?;
        let table = |contexts: &[RansFrequencies]| RansDecodeTable::new(contexts).ok_or_else(|| corrupt("frequencies"));
        let mut decoder = RansDecoder::new(coded)?;
        let mut symbols = vec![0; views.iter().map(View::n_scales).sum()];
        decoder.decode(&table(&[tables.scales])?, &[], &mut symbols)?;
        let (mut escapes, _) = escapes.as_chunks();
        let scales = scales_of_symbols(&symbols, views, &mut escapes)?;
        Ok(Self {
            n_contexts: if tables.values.len() > 1 { N_CONTEXTS } else { 1 },
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
