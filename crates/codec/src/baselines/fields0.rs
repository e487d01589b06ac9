use lmgc_coder::{AdaptiveBit, AdaptiveModel, Decoder, Encoder};
use lmgc_tensors::Dtype;

use crate::bits::{BitPacker, BitUnpacker};
use crate::float_layout::{FloatLayout, bits_of};
use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// A yardstick of our own: sign, exponent and the highest mantissa bits of each value by how often they occurred before in the
/// same tensor, and the other bits as they are. Values of no floating-point type count byte by byte, each byte as an
/// exponent.
///
/// Payload, whose parts' lengths follow from the block's pieces: the plain bits of all values, packed; the bytes that make no
/// whole value; the range-coded rest.
#[derive(Clone, Copy, Debug)]
pub struct Fields0;

/// Mantissa bits that are coded. With 8, the shared dense gradients gain 0.01 points, one of many zeros 5.
const TOP_BITS: u32 = 4;

/// The fields of a value, from the highest bit: sign, exponent, highest mantissa bits, plain bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fields {
    has_sign: bool,
    exponent_bits: u32,
    top_bits: u32,
    plain_bits: u32,
}

impl Fields {
    fn of(dtype: Dtype) -> Self {
        match FloatLayout::of(dtype) {
            Some(FloatLayout { exponent_bits, mantissa_bits }) => {
                let top_bits = mantissa_bits.min(TOP_BITS);
                Self { has_sign: true, exponent_bits, top_bits, plain_bits: mantissa_bits - top_bits }
            }
            None => Self { has_sign: false, exponent_bits: 8, top_bits: 0, plain_bits: 0 },
        }
    }

    fn n_bytes(self) -> usize {
        (u32::from(self.has_sign) + self.exponent_bits + self.top_bits + self.plain_bits) as usize / 8
    }
}

/// What one tensor's values have looked like so far.
struct Models {
    fields: Fields,
    sign: AdaptiveBit,
    /// The upper half of the exponent's bits.
    exponent_high: AdaptiveModel,
    /// The lower half, by the upper one.
    exponent_low: Vec<AdaptiveModel>,
    top: AdaptiveModel,
}

impl Models {
    fn new(fields: Fields) -> Self {
        let low_bits = fields.exponent_bits / 2;
        let n_high = 1 << (fields.exponent_bits - low_bits);
        Self {
            fields,
            sign: AdaptiveBit::new(),
            exponent_high: AdaptiveModel::new(n_high),
            exponent_low: vec![AdaptiveModel::new(1 << low_bits); n_high],
            top: AdaptiveModel::new(1 << fields.top_bits),
        }
    }

    /// Codes all of a value but its plain bits.
    fn encode(&mut self, encoder: &mut Encoder, value: u64) {
        let Fields { has_sign, exponent_bits, top_bits, plain_bits } = self.fields;
        if has_sign {
            self.sign.encode(encoder, value >> (exponent_bits + top_bits + plain_bits) != 0);
        }
        let exponent = (value >> (top_bits + plain_bits)) as usize & ((1 << exponent_bits) - 1);
        let low_bits = exponent_bits / 2;
        let high = exponent >> low_bits;
        self.exponent_high.encode(encoder, high);
        self.exponent_low[high].encode(encoder, exponent & ((1 << low_bits) - 1));
        if top_bits > 0 {
            self.top.encode(encoder, (value >> plain_bits) as usize & ((1 << top_bits) - 1));
        }
    }

    /// A value whose plain bits are zero.
    fn decode(&mut self, decoder: &mut Decoder<'_>) -> Result<u64, lmgc_coder::Error> {
        let Fields { has_sign, exponent_bits, top_bits, plain_bits } = self.fields;
        let sign = has_sign && self.sign.decode(decoder)?;
        let high = self.exponent_high.decode(decoder)?;
        let low = self.exponent_low[high].decode(decoder)?;
        let exponent = high << (exponent_bits / 2) | low;
        let top = if top_bits > 0 { self.top.decode(decoder)? } else { 0 };
        Ok(((u64::from(sign) << exponent_bits | exponent as u64) << top_bits | top as u64) << plain_bits)
    }
}

impl BlockCodec for Fields0 {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let BlockInput { bytes, place, .. } = input;
        let fields = Fields::of(place.dtype);
        let lens = place.piece_lens(bytes.len()).ok_or_else(|| Error::CodecRefuses {
            codec: CodecId::Fields0,
            reason: format!("the block's tensors do not add up to its {} bytes", bytes.len()),
        })?;
        let (mut encoder, mut plain, mut tails) = (Encoder::new(), BitPacker::default(), Vec::new());
        let mut rest = bytes;
        for len in lens {
            let (piece, later) = rest.split_at(len);
            rest = later;
            let mut models = Models::new(fields);
            let values = piece.chunks_exact(fields.n_bytes());
            tails.extend_from_slice(values.remainder());
            for value in values.map(bits_of) {
                models.encode(&mut encoder, value);
                plain.push(value, fields.plain_bits);
            }
        }
        let payload = [plain.finish(), tails, encoder.finish()].concat();
        progress.advance(bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Fields0, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, place, .. } = block;
        let fields = Fields::of(place.dtype);
        let lens = place
            .piece_lens(raw_len)
            .ok_or_else(|| Error::corrupt_block(format!("tensors that do not add up to {raw_len} bytes")))?;
        let n_tail = lens.iter().map(|len| len % fields.n_bytes()).sum::<usize>();
        let n_values = (raw_len - n_tail) / fields.n_bytes();
        let n_plain = (n_values as u64 * u64::from(fields.plain_bits)).div_ceil(8) as usize;
        let parts = payload.split_at_checked(n_plain).and_then(|(plain, rest)| {
            let (tails, coded) = rest.split_at_checked(n_tail)?;
            Some((plain, tails, coded))
        });
        let (plain, mut tails, coded) = parts
            .ok_or_else(|| Error::corrupt_block(format!("fields0 payload of {} bytes is too short", payload.len())))?;

        let corrupt = |e: lmgc_coder::Error| Error::corrupt_block(format!("fields0: {e}"));
        let (mut decoder, mut plain) = (Decoder::new(coded), BitUnpacker::new(plain));
        let mut bytes = Vec::with_capacity(raw_len);
        for len in lens {
            let mut models = Models::new(fields);
            for _ in 0..len / fields.n_bytes() {
                let value = models.decode(&mut decoder).map_err(corrupt)? | plain.take(fields.plain_bits);
                bytes.extend_from_slice(&value.to_le_bytes()[..fields.n_bytes()]);
            }
            let (tail, later) = tails.split_at(len % fields.n_bytes());
            bytes.extend_from_slice(tail);
            tails = later;
        }
        decoder.finish().map_err(corrupt)?;
        progress.advance(raw_len as u64);
        Ok(bytes)
    }

    fn block_bytes(&self) -> usize {
        super::BLOCK_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_fill_their_values() {
        for dtype in Dtype::ALL {
            let fields = Fields::of(dtype);
            assert_eq!(dtype.size_bytes() as usize % fields.n_bytes(), 0, "{dtype}");
            assert!(fields.plain_bits <= 48, "{dtype}");
        }
        assert_eq!(Fields::of(Dtype::F32), Fields { has_sign: true, exponent_bits: 8, top_bits: 4, plain_bits: 19 });
    }

    #[test]
    fn bits_are_packed_from_the_lowest() {
        let mut packer = BitPacker::default();
        packer.push(0b101, 3);
        packer.push(0xff, 0);
        packer.push(0x1_ffff_ffff_ffff, 48);
        packer.push(0b01, 2);
        let bytes = packer.finish();
        assert_eq!(bytes, [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]);
        let mut unpacker = BitUnpacker::new(&bytes);
        assert_eq!(
            [unpacker.take(3), unpacker.take(0), unpacker.take(48), unpacker.take(2)],
            [0b101, 0, 0xffff_ffff_ffff, 1]
        );
        assert_eq!(unpacker.take(20), 0);
    }
}
