//! Codec 18, by `docs/fast.md`.

use super::{Block, Piece, Refusal};

/// Values in a chunk.
const CHUNK: usize = 2048;
/// Values in a row of a piece that is no matrix.
const ROW: usize = 512;
/// The sum of all frequencies of a context, in bits.
const FREQUENCY_BITS: u32 = 11;
/// The lowest that states become, and what they are in the end.
const STATE_LOW: u32 = 1 << 16;
/// The symbol of scales that stands for an escape.
const SCALE_ESCAPE: u16 = 255;
/// Symbols that exponents from 1 to 62 can have, and the two before them.
const SYMBOLS: usize = 4 * 63;

/// Section "Payload".
pub(super) fn decode(block: &Block<'_>) -> Result<Vec<u8>, Refusal> {
    let float = Float::of(block.dtype)?;
    if block.n_lanes != 0 {
        return Err(Refusal::corrupt("codec fast has no lanes"));
    }
    let pieces = pieces(block);
    let mut payload = Cursor(block.payload);
    let n_words = payload.number(4)? as usize;
    let n_escapes = payload.number(4)? as usize;
    let n_plain = payload.number(4)? as usize;
    let n_frequencies = payload.number(2)? as usize;
    let plain = payload.take(n_plain)?;
    let mut descriptions = Vec::new();
    for piece in &pieces {
        descriptions.push(match piece.len / float.bytes {
            0 => Description::Empty,
            n_values => Description::read(&mut payload, piece, n_values, float)?,
        });
    }

    let is_coded = descriptions.iter().any(|description| matches!(description, Description::Values(_)));
    let mut decoder = if is_coded {
        let frequencies = Frequencies::read(payload.take(n_frequencies)?)?;
        let states: Vec<u32> =
            payload.take(4 * frequencies.n_states)?.chunks_exact(4).map(|bytes| little_endian(bytes) as u32).collect();
        if states.iter().any(|&state| state < STATE_LOW) {
            return Err(Refusal::corrupt("a state is too small"));
        }
        let words = payload.shorts(n_words)?;
        let escapes = payload.shorts(n_escapes)?;
        Some(Decoder { frequencies, states, place: 0, words, escapes, plain: Cursor(plain) })
    } else if [n_words, n_escapes, n_plain, n_frequencies] == [0; 4] {
        None
    } else {
        return Err(Refusal::corrupt("numbers of a payload without coded values are not 0"));
    };

    if let Some(decoder) = &mut decoder {
        decoder.scales(&mut descriptions)?;
    }
    let mut out = Vec::new();
    for (piece, description) in pieces.iter().zip(&descriptions) {
        match (description, &mut decoder) {
            (Description::Constant(value), _) => out.extend(value.repeat(piece.len / float.bytes)),
            (Description::Values(values), Some(decoder)) => decoder.piece(values, float, &mut out)?,
            _ => {}
        }
        out.extend(payload.take(piece.len % float.bytes)?);
    }
    let is_used_up = decoder.is_none_or(|decoder| decoder.is_at_end());
    if !payload.0.is_empty() || !is_used_up {
        return Err(Refusal::corrupt("something is left of the payload"));
    }
    Ok(out)
}

/// The block's pieces; a block of no tensor is one.
fn pieces<'a>(block: &Block<'a>) -> Vec<Piece<'a>> {
    if block.pieces.is_empty() {
        vec![Piece { shape: &[], start: 0, len: block.raw_len, tensor_len: block.raw_len as u64, reference: None }]
    } else {
        block.pieces.to_vec()
    }
}

/// Section "Values".
#[derive(Clone, Copy)]
struct Float {
    bytes: usize,
    exponent_bits: u32,
    mantissa_bits: u32,
}

impl Float {
    fn of(dtype: &str) -> Result<Self, Refusal> {
        let (bytes, exponent_bits, mantissa_bits) = match dtype {
            "F64" => (8, 11, 52),
            "F32" => (4, 8, 23),
            "F16" => (2, 5, 10),
            "BF16" => (2, 8, 7),
            _ => return Err(Refusal::corrupt("codec fast codes no such type")),
        };
        Ok(Self { bytes, exponent_bits, mantissa_bits })
    }
}

/// What is said of a piece before its values.
enum Description {
    /// There is no whole value.
    Empty,
    /// All values are this one.
    Constant(Vec<u8>),
    Values(Values),
}

struct Values {
    n_values: usize,
    /// Low bits of mantissas that are 0.
    low_bits: u32,
    zeros_are_left_out: bool,
    is_matrix: bool,
    n_columns: usize,
    row_scales: Vec<i16>,
    column_scales: Vec<i16>,
}

impl Description {
    fn read(payload: &mut Cursor<'_>, piece: &Piece<'_>, n_values: usize, float: Float) -> Result<Self, Refusal> {
        let flags = payload.number(1)? as u32;
        if flags == 63 {
            return Ok(Self::Constant(payload.take(float.bytes)?.to_vec()));
        }
        let is_matrix = flags & 128 != 0;
        let n_columns = if is_matrix { columns(piece, n_values, float)? } else { ROW };
        let low_bits = flags & 63;
        if low_bits > float.mantissa_bits {
            return Err(Refusal::corrupt("too many low bits"));
        }
        Ok(Self::Values(Values {
            n_values,
            low_bits,
            zeros_are_left_out: flags & 64 != 0,
            is_matrix,
            n_columns,
            row_scales: Vec::new(),
            column_scales: Vec::new(),
        }))
    }
}

/// Section "Rows": the columns of a piece that is said to be a matrix.
fn columns(piece: &Piece<'_>, n_values: usize, float: Float) -> Result<usize, Refusal> {
    let no_matrix = || Refusal::corrupt("this piece cannot be a matrix");
    let product = piece.shape.iter().skip(1).try_fold(1u64, |product, &length| product.checked_mul(length));
    let n_columns = product.and_then(|product| usize::try_from(product).ok()).ok_or_else(no_matrix)?;
    let row_bytes = n_columns.checked_mul(float.bytes).ok_or_else(no_matrix)? as u64;
    let has_rows = n_columns >= 32 && piece.start.is_multiple_of(row_bytes);
    if !has_rows || !n_values.is_multiple_of(n_columns) || n_values / n_columns < 32 {
        return Err(no_matrix());
    }
    Ok(n_columns)
}

/// Section "Frequencies".
struct Frequencies {
    n_states: usize,
    /// One or four; none for a context that does not occur.
    contexts: Vec<Option<Table>>,
    scales: Table,
}

impl Frequencies {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut bits = Bits { bytes, place: 0 };
        let (n_contexts, n_states) = if bits.take(1)? == 1 { (4, 64) } else { (1, 16) };
        let first = bits.take(6)? as usize;
        let last = bits.take(6)? as usize;
        if first < 1 || last < first || last > 62 {
            return Err(Refusal::corrupt("residual exponents out of range"));
        }
        let mut contexts = Vec::new();
        for _ in 0..n_contexts {
            contexts.push(if bits.take(1)? == 1 {
                let mut frequencies = vec![0; SYMBOLS];
                for symbol in [0, 1].into_iter().chain(4 * first..=4 * last + 3) {
                    if let Some(frequency) = frequencies.get_mut(symbol) {
                        *frequency = bits.frequency()?;
                    }
                }
                Some(Table::new(&frequencies)?)
            } else {
                None
            });
        }
        let largest = bits.take(8)?;
        let frequencies = (0..=largest).map(|_| bits.frequency()).collect::<Result<Vec<_>, _>>()?;
        if frequencies.last() == Some(&0) {
            return Err(Refusal::corrupt("the largest symbol of scales does not occur"));
        }
        let scales = Table::new(&frequencies)?;
        let n_left = 8 * bytes.len() - bits.place;
        if n_left >= 8 || bits.take(n_left as u32)? != 0 {
            return Err(Refusal::corrupt("something is left of the frequencies"));
        }
        Ok(Self { n_states, contexts, scales })
    }
}

/// For each slot the symbol, its start and its frequency.
struct Table(Vec<(u16, u32, u32)>);

impl Table {
    fn new(frequencies: &[u32]) -> Result<Self, Refusal> {
        if frequencies.iter().sum::<u32>() != 1 << FREQUENCY_BITS {
            return Err(Refusal::corrupt("frequencies do not add up"));
        }
        let mut slots = Vec::new();
        for (symbol, &frequency) in (0..).zip(frequencies) {
            let start = slots.len() as u32;
            slots.extend((0..frequency).map(|_| (symbol, start, frequency)));
        }
        Ok(Self(slots))
    }
}

struct Decoder<'a> {
    frequencies: Frequencies,
    states: Vec<u32>,
    /// The next symbol's place in its run.
    place: usize,
    words: Shorts<'a>,
    escapes: Shorts<'a>,
    plain: Cursor<'a>,
}

impl Decoder<'_> {
    /// Section "States and words"; without a context a symbol of scales.
    fn symbol(&mut self, context: Option<usize>) -> Result<u16, Refusal> {
        let table = match context {
            None => Some(&self.frequencies.scales),
            Some(context) => self.frequencies.contexts.get(context).and_then(Option::as_ref),
        };
        let table = table.ok_or_else(|| Refusal::corrupt("a context that does not occur is used"))?;
        let n_states = self.states.len();
        let state = self.states.get_mut(self.place % n_states).ok_or_else(|| Refusal::corrupt("no states"))?;
        self.place += 1;
        let slot = *state % (1 << FREQUENCY_BITS);
        let &(symbol, start, frequency) = table.0.get(slot as usize).ok_or_else(|| Refusal::corrupt("no such slot"))?;
        *state = frequency * (*state >> FREQUENCY_BITS) + slot - start;
        if *state < STATE_LOW {
            *state = (*state << 16) | u32::from(self.words.next()?);
        }
        Ok(symbol)
    }

    /// Section "Scales", of all pieces.
    fn scales(&mut self, descriptions: &mut [Description]) -> Result<(), Refusal> {
        let mut last_row = 0;
        for description in descriptions {
            let Description::Values(values) = description else { continue };
            for _ in 0..values.n_values.div_ceil(values.n_columns) {
                last_row = self.scale(last_row)?;
                values.row_scales.push(last_row);
            }
            let mut last_column = 0;
            for _ in 0..if values.is_matrix { values.n_columns } else { 0 } {
                last_column = self.scale(last_column)?;
                values.column_scales.push(last_column);
            }
        }
        Ok(())
    }

    fn scale(&mut self, before: i16) -> Result<i16, Refusal> {
        let mut z = self.symbol(None)?;
        if z == SCALE_ESCAPE {
            z = self.escapes.next()?;
        }
        let half = (z / 2) as i16;
        let difference = if z % 2 == 0 { half } else { -half - 1 };
        Ok(before.wrapping_add(difference))
    }

    /// A piece's chunks.
    fn piece(&mut self, values: &Values, float: Float, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let Float { bytes, exponent_bits, mantissa_bits } = float;
        let mut is_negative = false;
        for first in (0..values.n_values).step_by(CHUNK) {
            self.place = 0;
            // Of each value the bits that are not plain; nothing for symbol 0.
            let mut chunk = Vec::new();
            for index in first..values.n_values.min(first + CHUNK) {
                let row = values.row_scales.get(index / values.n_columns).copied().unwrap_or(0);
                let column = values.column_scales.get(index % values.n_columns).copied().unwrap_or(0);
                let scale = row.wrapping_add(column);
                let context = if self.frequencies.contexts.len() == 4 { (scale & 3) as usize } else { 0 };
                // Section "Symbols of values".
                let symbol = self.symbol(Some(context))?;
                if symbol == 0 {
                    chunk.push(None);
                    continue;
                }
                let (exponent, low) = if symbol == 1 {
                    let escape = self.escapes.next()?;
                    if escape >> 2 >> exponent_bits != 0 {
                        return Err(Refusal::corrupt("an escape's exponent is too large"));
                    }
                    (u64::from(escape >> 2), escape & 3)
                } else {
                    let exponent = i32::from(symbol >> 2) - 31 + i32::from(scale >> 2);
                    (exponent.rem_euclid(1 << exponent_bits) as u64, symbol & 3)
                };
                is_negative ^= low & 2 != 0;
                let sign = u64::from(is_negative) << (exponent_bits + mantissa_bits);
                chunk.push(Some(sign | exponent << mantissa_bits | u64::from(low & 1) << (mantissa_bits - 1)));
            }

            let n_values = chunk.iter().filter(|value| value.is_some() || !values.zeros_are_left_out).count();
            let mut plain = self.plain_bits(n_values, values.low_bits, mantissa_bits)?.into_iter();
            for value in chunk {
                let bits = if value.is_some() || !values.zeros_are_left_out { plain.next().unwrap_or(0) } else { 0 };
                let value = value.map_or(0, |value| value | bits);
                out.extend(value.to_le_bytes().into_iter().take(bytes));
            }
        }
        Ok(())
    }

    /// Section "Plain bits", in place in the mantissas.
    fn plain_bits(&mut self, n_values: usize, low_bits: u32, mantissa_bits: u32) -> Result<Vec<u64>, Refusal> {
        let n_bits = mantissa_bits.saturating_sub(low_bits + 1);
        let mut widths = vec![16; n_bits as usize / 16];
        widths.extend([8, 4, 2, 1].into_iter().filter(|width| n_bits & width != 0));
        let mut values = vec![0; n_values];
        let mut place = low_bits;
        for width in widths {
            if width >= 8 {
                let width_bytes = width as usize / 8;
                let plane = self.plain.take(n_values * width_bytes)?;
                for (value, bytes) in values.iter_mut().zip(plane.chunks_exact(width_bytes)) {
                    *value |= little_endian(bytes) << place;
                }
            } else {
                let plane = self.plain.take((n_values * width as usize).div_ceil(8))?;
                for (part, values) in (0..).zip(values.chunks_mut(plane.len().max(1))) {
                    for (value, &byte) in values.iter_mut().zip(plane) {
                        let bits = byte >> (part * width) & ((1 << width) - 1);
                        *value |= u64::from(bits) << place;
                    }
                }
            }
            place += width;
        }
        Ok(values)
    }

    fn is_at_end(&self) -> bool {
        let is_read = self.words.0.is_empty() && self.escapes.0.is_empty() && self.plain.0.is_empty();
        is_read && self.states.iter().all(|&state| state == STATE_LOW)
    }
}

/// What is left of a run of bytes.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n_bytes: usize) -> Result<&'a [u8], Refusal> {
        let (taken, rest) =
            self.0.split_at_checked(n_bytes).ok_or_else(|| Refusal::corrupt("the payload is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self, n_bytes: usize) -> Result<u64, Refusal> {
        self.take(n_bytes).map(little_endian)
    }

    fn shorts(&mut self, n: usize) -> Result<Shorts<'a>, Refusal> {
        let n_bytes = n.checked_mul(2).ok_or_else(|| Refusal::corrupt("the payload is too short"))?;
        self.take(n_bytes).map(Shorts)
    }
}

/// What is left of a run of u16.
struct Shorts<'a>(&'a [u8]);

impl Shorts<'_> {
    fn next(&mut self) -> Result<u16, Refusal> {
        let (&short, rest) =
            self.0.split_first_chunk().ok_or_else(|| Refusal::corrupt("words or escapes are used up"))?;
        self.0 = rest;
        Ok(u16::from_le_bytes(short))
    }
}

/// Bits from the lowest of each byte up.
struct Bits<'a> {
    bytes: &'a [u8],
    place: usize,
}

impl Bits<'_> {
    fn take(&mut self, n_bits: u32) -> Result<u32, Refusal> {
        let mut bits = 0;
        for i in 0..n_bits {
            let byte =
                self.bytes.get(self.place / 8).ok_or_else(|| Refusal::corrupt("the frequencies are too short"))?;
            bits |= u32::from(byte >> (self.place % 8) & 1) << i;
            self.place += 1;
        }
        Ok(bits)
    }

    fn frequency(&mut self) -> Result<u32, Refusal> {
        match self.take(4)? {
            0 => Ok(0),
            n_bits => Ok(1 << (n_bits - 1) | self.take(n_bits - 1)?),
        }
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three BF16 values of one symbol each, which has all of the frequency, a constant piece, and their tails.
    #[test]
    fn a_payload_made_by_hand() {
        let piece = |len| Piece { shape: &[], start: 0, len, tensor_len: len as u64, reference: None };
        let symbol = 31 * 4 + 2 + 1;
        let mut bits: Vec<u8> = vec![0];
        bits.extend([31, 31].map(|e| (0..6).map(move |i| e >> i & 1)).into_iter().flatten());
        bits.push(1);
        let one_of_all = |is_one| if is_one { [&[0, 0, 1, 1][..], &[0; 11]].concat() } else { vec![0; 4] };
        bits.extend([0, 1].into_iter().chain(4 * 31..4 * 31 + 4).flat_map(|s| one_of_all(s == symbol)));
        bits.extend([0; 8]);
        bits.extend(one_of_all(true));
        let frequencies: Vec<u8> = bits.chunks(8).map(|bits| (0..).zip(bits).map(|(i, bit)| bit << i).sum()).collect();
        let mut payload = [&[0; 8][..], &3u32.to_le_bytes(), &(frequencies.len() as u16).to_le_bytes()].concat();
        // Planes of 4 bits, values 0 and 2 in the first byte, and of 2 bits.
        payload.extend([0x31, 0x02, 0b11_10_01]);
        payload.extend([0, 63, 0x80, 0x3f]);
        payload.extend(frequencies);
        payload.extend([0, 0, 1, 0].repeat(16));
        payload.extend([9, 8]);

        let pieces = [piece(7), piece(1), piece(4)];
        let mut block = Block { payload: &payload, raw_len: 12, n_lanes: 0, dtype: "BF16", pieces: &pieces };
        // The sign changes with each value.
        let values = [0x8000 | 0x40 | 0x10 | 1, 0x40 | 0x20 | 2, 0x8000 | 0x40 | 0x30 | 3u16];
        let values = values.map(u16::to_le_bytes).concat();
        assert_eq!(decode(&block).unwrap(), [&values[..], &[9, 8, 0x80, 0x3f, 0x80, 0x3f]].concat());

        block.payload = &payload[..payload.len() - 1];
        assert_eq!(decode(&block).unwrap_err().class, super::super::Class::Corrupt);
        let longer = [&payload[..], &[0]].concat();
        block.payload = &longer;
        assert_eq!(decode(&block).unwrap_err().class, super::super::Class::Corrupt);
    }
}
