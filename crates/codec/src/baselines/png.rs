use png::{BitDepth, ColorType, DecodeOptions, Decoder, DeflateCompression, Encoder, Filter, Limits};

use crate::{BlockCodec, BlockInput, CodecId, Encoded, EncodedBlock, Error, Progress};

/// An 8-bit grey PNG without interlacing a block: a pixel for each byte, width and height the two factors of the number
/// of bytes that are closest to each other, a filter chosen for each row, and zlib's level 9. LM-GC's baseline.
#[derive(Clone, Copy, Debug)]
pub struct Png;

/// Largest width or height.
const MAX_SIDE: usize = (1 << 31) - 1;

/// Signature, length and name of IHDR, width and height, and the fields that say 8-bit grey without interlacing.
const HEADER_BYTES: usize = 29;

/// What the library may keep beside the image.
const OTHER_BYTES: usize = 1 << 20;

/// The two closest factors of `n`, the larger one first.
fn sides(n: usize) -> (usize, usize) {
    let height = (1..=n.isqrt()).rev().find(|side| n.is_multiple_of(*side)).unwrap_or(1);
    (n / height, height)
}

fn header(width: u32, height: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR");
    header[16..20].copy_from_slice(&width.to_be_bytes());
    header[20..24].copy_from_slice(&height.to_be_bytes());
    header[24] = 8;
    header
}

fn refuse(reason: impl Into<String>) -> Error {
    Error::CodecRefuses { codec: CodecId::Png, reason: reason.into() }
}

impl BlockCodec for Png {
    fn encode(&self, input: BlockInput<'_>, progress: &dyn Progress) -> Result<Encoded, Error> {
        let (width, height) = sides(input.bytes.len());
        if width == 0 {
            return Err(refuse("an image has one pixel or more, and there are no bytes"));
        }
        if width > MAX_SIDE {
            return Err(refuse(format!("an image of {width} x {height} pixels is too wide")));
        }
        let mut payload = Vec::new();
        let mut encoder = Encoder::new(&mut payload, width as u32, height as u32);
        encoder.set_color(ColorType::Grayscale);
        encoder.set_depth(BitDepth::Eight);
        encoder.set_deflate_compression(DeflateCompression::Level(9));
        encoder.set_filter(Filter::Adaptive);
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(input.bytes)?;
            writer.finish()
        });
        written.map_err(|e| refuse(e.to_string()))?;
        progress.advance(input.bytes.len() as u64);
        Ok(Encoded::plain(CodecId::Png, payload))
    }

    fn decode(&self, block: EncodedBlock<'_>, progress: &dyn Progress) -> Result<Vec<u8>, Error> {
        let EncodedBlock { payload, raw_len, .. } = block;
        // The library reserves a row before it compares with its limits, so the size is checked first.
        let (width, height) = sides(raw_len);
        if width > MAX_SIDE || !payload.starts_with(&header(width as u32, height as u32)) {
            return Err(Error::corrupt_block(format!("no grey PNG of {width} x {height} pixels")));
        }
        let corrupt = |e: png::DecodingError| Error::corrupt_block(format!("png: {e}"));
        let mut options = DecodeOptions::default();
        options.set_ignore_text_chunk(true);
        options.set_ignore_iccp_chunk(true);
        let mut decoder = Decoder::new_with_options(std::io::Cursor::new(payload), options);
        decoder.set_limits(Limits { bytes: raw_len + OTHER_BYTES });
        let mut reader = decoder.read_info().map_err(corrupt)?;
        if reader.output_buffer_size() != Some(raw_len) {
            return Err(Error::corrupt_block(format!("png gives another length than {raw_len} bytes")));
        }
        let mut bytes = vec![0; raw_len];
        reader.next_frame(&mut bytes).map_err(corrupt)?;
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
    fn closest_factors() {
        let found = [0, 1, 2, 7, 12, 36, 512, 1 << 23].map(sides);
        assert_eq!(found, [(0, 1), (1, 1), (2, 1), (7, 1), (4, 3), (6, 6), (32, 16), (4096, 2048)]);
    }
}
